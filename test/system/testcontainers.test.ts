// The log suite on the Kafka of an image, run by testcontainers: FORESHARD_KAFKA_IMAGE, by default Apache's own;
// test/setup/with-containers.sh starts an engine and makes an image. The same suite runs on a Kafka from Maven's jars in
// kafka-log.test.ts, so a machine without a container engine skips this one, by name. Under CI=true that is a failure,
// and so is a named image that an engine cannot run.

import { afterAll, describe, expect, test } from 'vitest';
import { kafkaLogSuite, openLog, underTest } from '../support/kafka-under-test.ts';
import { containerKafka, kafkaImage } from '../support/real-kafka.ts';

const suite = `kafka in a container of ${kafkaImage()}`;
const tested = await underTest(containerKafka);

if ('reason' in tested) {
  const { engineAnswers, reason } = tested;
  const isNamed = engineAnswers && process.env.FORESHARD_KAFKA_IMAGE !== undefined;
  if (process.env.CI === 'true' || isNamed) throw new Error(`${suite}: ${reason}`);
  process.stderr.write(`SKIPPED: ${suite} did not run: ${reason}\n`);
  describe.skip(`log: ${suite}`, () => {
    test(`the whole suite (${reason})`, () => {});
  });
} else {
  afterAll(() => tested.stop());

  kafkaLogSuite(suite, tested);

  test('a container killed and started again has its records', async () => {
    const { kafka } = tested;
    const log = await openLog('killed', kafka.brokers);
    await log.prepare([{ name: 'kept', partitions: 1, cleanup: 'delete', retentionMs: 3_600_000 }]);
    await log.append([{ topic: 'kept', partition: 0, key: 'k', value: Buffer.from('before') }]);
    await kafka.kill9();
    await kafka.restart();
    await log.append([{ topic: 'kept', partition: 0, key: 'k', value: Buffer.from('after') }]);
    const seen: string[] = [];
    const follower = await log.follow('kept', 'earliest', async (batch) => {
      seen.push(...batch.records.map((each) => String(each.value)));
    });
    await follower.caughtUp;
    expect(seen).toEqual(['before', 'after']);
    await follower.close();
    await log.close();
  });
}
