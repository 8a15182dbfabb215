// Kafka under test: what it takes to hold a real Kafka to the log suite, whatever started it: a proxy that loses answers
// where one can stand, and what the suite asks to be done to records and their owners.

import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs';
import { kafkaLog } from '../../log/kafka/kafka-log.ts';
import type { GroupSpec, Log } from '../../runtime/ports.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { logSuite } from '../log/log-suite.ts';
import { END_TRANSACTION, type KafkaProxy, kafkaProxy } from './kafka-proxy.ts';
import { freePort } from './processes.ts';
import type { RealKafka, RealKafkaOptions } from './real-kafka.ts';

/** A Kafka that was started for a suite, and the proxy before it. */
export interface KafkaUnderTest {
  readonly kafka: RealKafka;
  readonly proxy: KafkaProxy | undefined;
  readonly proxiedBrokers: readonly string[];
  stop(): Promise<void>;
}

/** `start` is given what the suite needs of its Kafka. Whatever else than a Kafka it answers is passed on. */
export async function underTest<Nothing extends { readonly origin: 'none' } | undefined>(
  start: (options: RealKafkaOptions) => Promise<RealKafka | Nothing>,
): Promise<KafkaUnderTest | Nothing> {
  const proxyPort = await freePort();
  const kafka = await start({ proxyPort, settings: { 'log.cleaner.backoff.ms': '200' } });
  if (kafka === undefined || kafka.origin === 'none') return kafka;
  const { proxiedPort } = kafka;
  const proxy = proxiedPort === undefined ? undefined : await kafkaProxy(proxyPort, proxiedPort);
  return {
    kafka,
    proxy,
    proxiedBrokers: proxy === undefined ? kafka.brokers : [`127.0.0.1:${proxyPort}`],
    async stop() {
      await proxy?.close();
      await kafka.stop();
    },
  };
}

export const openLog = (app: string, brokers: readonly string[]): Promise<Log> =>
  kafkaLog({ app, brokers, logger: silentLogger, topicPrefix: `${app}.`, heartbeatMs: 200, sessionTimeoutMs: 6_000 });

export const plainClient = (kafka: RealKafka): Kafka =>
  new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING });

export function kafkaLogSuite(name: string, { kafka, proxy, proxiedBrokers }: KafkaUnderTest): void {
  logSuite(
    name,
    async ({ app }) => {
      let log = await openLog(app, proxiedBrokers);
      const count = async (topic: string): Promise<number> => {
        let records = 0;
        const follower = await log.follow(topic, 'earliest', async (batch) => {
          records += batch.records.length;
        });
        await follower.caughtUp;
        await follower.close();
        return records;
      };
      return {
        log,
        async restart() {
          await log.close();
          log = await openLog(app, proxiedBrokers);
          return log;
        },
        fence: (group: GroupSpec, partition) => takeOver(kafka, `${app}-${group.name}-${partition}`),
        failNextCommit: (tookEffect) => proxy!.cutNext(END_TRANSACTION, tookEffect ? 'after' : 'before'),
        compact: (topic) =>
          compact(kafka, topic.endsWith('-changelog') ? topic : `${app}.${topic}`, () => count(topic)),
        dispose: () => log.close(),
      };
    },
    proxy === undefined ? { cannot: { failNextCommit: 'no proxy can stand before this Kafka' } } : {},
  );
}

/** Begins a transaction as another owner of that id would, which fences the one before; ends it by aborting. */
async function takeOver(
  kafka: RealKafka,
  transactionalId: string,
  topics: readonly { topic: string; partition: number }[] = [],
) {
  const producer = plainClient(kafka).producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const transaction = await producer.transaction();
  for (const { topic, partition } of topics)
    await transaction.send({ topic, messages: [{ partition, key: 'never', value: 'seen' }] });
  await transaction.abort();
  await producer.disconnect();
}

/** Compacts all but the segment being written, which an aborted record has begun. */
async function compact(kafka: RealKafka, topic: string, read: () => Promise<number>): Promise<void> {
  const admin = plainClient(kafka).admin();
  await admin.connect();
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  const partitions = topics[0]!.partitions.map((each) => each.partitionId);
  const configEntries = Object.entries({
    'cleanup.policy': 'compact',
    'delete.retention.ms': '604800000',
    'segment.ms': '1',
    'min.cleanable.dirty.ratio': '0.001',
    'min.compaction.lag.ms': '0',
  }).map(([name, value]) => ({ name, value }));
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }],
  });
  await admin.disconnect();
  const before = await read();
  await takeOver(
    kafka,
    `compact-${topic}`,
    partitions.map((partition) => ({ topic, partition })),
  );
  while ((await read()) >= before) await sleep(100); // Bounded by the test's own limit.
}
