// Unclean election: three real brokers, and a partition on two of them. The one that was away while the other wrote becomes
// the leader, without what was written meanwhile, and fills its offsets with other records.

import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import {
  type Batch,
  type Log,
  MARK_KEY,
  type Membership,
  type TaskHandler,
  type TaskLog,
} from '../../runtime/ports.ts';
import type { Offset } from '../../schemas/ids.ts';
import { openLog } from '../support/kafka-under-test.ts';
import { startKafkaCluster } from '../support/real-kafka.ts';

const cluster = await startKafkaCluster({
  settings: {
    'unclean.leader.election.enable': 'true',
    'min.insync.replicas': '1',
    'transaction.state.log.min.isr': '1',
  },
});
afterAll(() => cluster?.stop());

const APP = 'unclean';
const SPEC = { name: 'work', topics: [{ name: 'in', partitions: 'all' as const }], gathers: false };

test.skipIf(cluster === undefined)(
  'a log whose leader lacks what was read is not read on, however far it has grown; accepted, it is read from there',
  async () => {
    const admin = new Kafka({ brokers: [...cluster!.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    onTestFinished(() => admin.disconnect());
    const topic = `${APP}.in`;
    await admin.createTopics({ topics: [{ topic, replicaAssignment: [{ partition: 0, replicas: [1, 2] }] }] });
    const partition = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]!.partitions[0]!;

    await append(numbered('old', 10));
    await cluster!.kill9(2);
    await until(async () => (await partition()).isr.join() === '1');
    await append(numbered('lost', 10));
    const before = await Taker.join();
    await until(async () => before.values.length === 20);
    await before.close();
    await cluster!.kill9(1);
    await cluster!.restart(2);
    await until(async () => (await partition()).leader === 2);
    await append(numbered('new', 15)); // Up to offset 25, so past the position.

    const stopped = await Taker.join();
    await expect(stopped.membership.done).rejects.toMatchObject({
      code: 'INPUT_TRUNCATED',
      facts: { topic, partition: 0, offset: 20, start: 0, end: 25, next: 10 },
    });
    expect(stopped.values).toEqual([]);
    await stopped.close();
    const log = await opened();
    expect(await log.acceptLosses!(SPEC)).toEqual([{ topic: 'in', partition: 0, from: 10, to: 20, wasRead: true }]);
    const after = await Taker.join();
    await until(async () => after.values.length === 15);
    expect(after.values).toEqual(numbered('new', 15));
  },
);

async function opened(): Promise<Log> {
  const log = await openLog(APP, cluster!.brokers);
  onTestFinished(() => log.close());
  return log;
}

const numbered = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}-${i}`);

async function append(values: readonly string[]): Promise<void> {
  const log = await openLog(APP, cluster!.brokers);
  await log.append(values.map((value) => ({ topic: 'in', partition: 0, key: 'k', value: Buffer.from(value) })));
  await log.close();
}

/** Keeps what it is given, and commits it at once. */
class Taker implements TaskHandler {
  readonly values: string[] = [];
  membership!: Membership;
  readonly #log: Log;

  private constructor(log: Log) {
    this.#log = log;
  }

  static async join(): Promise<Taker> {
    const log = await opened();
    const taker = new Taker(log);
    taker.membership = await log.join({ ...SPEC, address: '' }, taker);
    return taker;
  }

  async gained(task: TaskLog): Promise<Readonly<Record<string, Offset>>> {
    let inputs: Readonly<Record<string, Offset>> = {};
    await task.restore(0, async (changes) => {
      for (const { key, value } of changes) if (key === MARK_KEY) inputs = JSON.parse(String(value));
    });
    return inputs;
  }

  async records(task: TaskLog, { records, nextOffset }: Batch): Promise<void> {
    this.values.push(...records.map(({ value }) => String(value)));
    const inputs = { 'in/0': nextOffset };
    const mark = { key: MARK_KEY, value: Buffer.from(JSON.stringify(inputs)) };
    await task.commit({ changelog: [mark], outputs: [], inputs });
  }

  async lost(): Promise<void> {}

  close(): Promise<void> {
    return this.#log.close();
  }
}

/** Waits for a condition, a minute at most; Kafka may be away meanwhile. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`waited a minute in vain for: ${condition}`);
    await sleep(100);
  }
}
