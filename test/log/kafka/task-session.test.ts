import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Health, type RawCluster } from '../../../log/kafka/client.ts';
import { acceptLosses } from '../../../log/kafka/loss.ts';
import { type Input, TaskSession } from '../../../log/kafka/task-session.ts';
import type { Batch, TaskHandler, TaskLog } from '../../../runtime/ports.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';
import type { AppError } from '../../../schemas/errors.ts';
import type { Offset } from '../../../schemas/ids.ts';
import { FakePartition } from '../../support/fake-partition.ts';

const READING = { maxWaitMs: 1, maxBytes: 1e6, maxBytesPerPartition: 1e6, queueBytesMax: 1e6, recordsMax: 100 };

/** One broker: a partition, and what the group has committed of it. */
class Kafka {
  readonly partition = new FakePartition('in');
  committed: { offset: string; metadata: string | null } = { offset: '-1', metadata: null };
  readonly #coordinator = {
    offsetFetch: async () => ({
      responses: [{ topic: 'in', partitions: [{ partition: 0, ...this.committed }] }],
    }),
    offsetCommit: async (request: Commits) => this.#commit(request),
    txnOffsetCommit: async (request: Commits) => this.#commit(request),
    initProducerId: async () => ({ producerId: 1, producerEpoch: 0 }),
    addPartitionsToTxn: async () => {},
    addOffsetsToTxn: async () => {},
    endTxn: async () => {},
  };

  readonly cluster = {
    ...this.partition.cluster,
    findGroupCoordinator: async () => this.#coordinator,
  } as unknown as RawCluster;

  #commit({ topics }: Commits): void {
    const { offset, metadata } = topics[0]!.partitions[0]!;
    this.committed = { offset, metadata };
  }
}

interface Commits {
  readonly topics: readonly { readonly partitions: readonly { offset: string; metadata: string | null }[] }[];
}

/** Commits each batch that it is given, at once. */
class Taker implements TaskHandler {
  readonly values: string[] = [];
  readonly restarts: Offset[] = [];
  readonly counted: string[] = [];
  failure: AppError | undefined;
  readonly #inputs: Readonly<Record<string, Offset>>;
  readonly #life: TaskSession;

  constructor(
    kafka: Kafka,
    inputs: Readonly<Record<string, Offset>>,
    of: Partial<Pick<Input, 'lossy' | 'versions'>> = {},
  ) {
    this.#inputs = inputs;
    this.#life = new TaskSession(
      {
        group: 'work',
        groupId: 'app-work',
        partition: 0,
        changelog: { topic: 'app-work-changelog', partition: 0 },
        removalsKeptMs: 1,
        inputs: [{ name: 'in', topic: 'in', partition: 0, lossy: false, versions: false, ...of }],
        transactionalId: 'app-work-0',
        physicalOf: (name) => name,
      },
      { reading: READING, transactionTimeoutMs: 1_000, batchBytesMax: 1e6 },
      this,
      () => kafka.cluster,
      {
        confirm: async () => true,
        fatal: (error) => {
          this.failure = error as AppError;
        },
      },
      new Health(silentLogger, { add: (name) => void this.counted.push(name) }),
      silentLogger,
    );
    this.#life.start();
    onTestFinished(() => this.stop());
  }

  async gained(_task: TaskLog): Promise<Readonly<Record<string, Offset>>> {
    return this.#inputs;
  }

  async records(task: TaskLog, { records, nextOffset, restartsAt }: Batch): Promise<void> {
    this.values.push(...records.map(({ value }) => String(value)));
    if (restartsAt !== undefined) this.restarts.push(restartsAt);
    await task.commit({ changelog: [], outputs: [], inputs: { 'in/0': nextOffset } });
  }

  async lost(): Promise<void> {}

  stop(): Promise<void> {
    return this.#life.stop(true);
  }

  has = (condition: () => boolean): Promise<void> =>
    vi.waitFor(() => expect(condition()).toBe(true), { timeout: 10_000, interval: 1 });
}

/** A group that has read four records, of which the leader has lost two, and written three others there. */
async function replaced(): Promise<Kafka> {
  const kafka = new Kafka();
  kafka.partition.append('a', 'b', 'c', 'd');
  const before = new Taker(kafka, {});
  await before.has(() => kafka.committed.offset === '4');
  await before.stop();
  kafka.partition.elect(2);
  kafka.partition.append('C', 'D', 'E');
  return kafka;
}

describe('a task whose input is no longer the log that was read', () => {
  test('keeps the epoch of what it read with what it commits', async () => {
    const kafka = new Kafka();
    kafka.partition.append('a');
    const taker = new Taker(kafka, {});
    await taker.has(() => kafka.committed.offset === '1');
    expect(kafka.committed.metadata).toBe('leader epoch 0');
    kafka.partition.elect();
    kafka.partition.append('b');
    await taker.has(() => kafka.committed.offset === '2');
    expect(kafka.committed.metadata).toBe('leader epoch 1');
  });

  test('ends, and says what a person can do', async () => {
    const taker = new Taker(await replaced(), { 'in/0': 4 });
    await taker.has(() => taker.failure !== undefined);
    expect(taker.failure).toMatchObject({
      code: 'INPUT_TRUNCATED',
      message: expect.stringMatching(
        /no longer the one that was read: the two agree up to offset 2.*To go on at 2: foreshard accept-loss/,
      ),
      facts: { topic: 'in', partition: 0, offset: 4, start: 0, end: 5, next: 2 },
    });
    expect(taker.values).toEqual([]);
  });

  test('goes on at what was not read once a person has accepted it, and that word is for this start alone', async () => {
    const kafka = await replaced();
    expect(await acceptLosses(kafka.cluster, 'app-work', [{ topic: 'in', partition: 0, start: 0, end: 5 }])).toEqual([
      { topic: 'in', partition: 0, offset: 4, next: 2 },
    ]);
    const taker = new Taker(kafka, { 'in/0': 4 });
    await taker.has(() => kafka.committed.offset === '5');
    expect(taker.values).toEqual(['C', 'D', 'E']);
    expect(taker.restarts).toEqual([2]);
    expect(taker.counted).toEqual(['foreshard_input_truncated_total']);
    expect(kafka.committed.metadata).toBe('leader epoch 1');
  });

  test('goes on by itself, and counts it, where the topic is lossy', async () => {
    const taker = new Taker(await replaced(), { 'in/0': 4 }, { lossy: true });
    await taker.has(() => taker.values.length === 3);
    expect(taker.values).toEqual(['C', 'D', 'E']);
    expect(taker.counted).toEqual(['foreshard_input_truncated_total']);
  });

  test('takes nobody’s word where offsets are versions of what is stored: that takes a new incarnation', async () => {
    const kafka = await replaced();
    await acceptLosses(kafka.cluster, 'app-work', [{ topic: 'in', partition: 0, start: 0, end: 5 }]);
    const taker = new Taker(kafka, { 'in/0': 4 }, { versions: true });
    await taker.has(() => taker.failure !== undefined);
    expect(taker.failure!.message).toMatch(/raise FORESHARD_INCARNATION/);
    const anew = new Taker(kafka, {}, { versions: true });
    await anew.has(() => anew.values.length === 5);
    expect(anew.values).toEqual(['a', 'b', 'C', 'D', 'E']);
  });

  test('commits no position of an input that is not read yet: what lies with it there is still to be made use of', async () => {
    const kafka = await replaced();
    const taker = new Taker(kafka, { 'in/0': 4 }, { versions: true });
    taker.gained = async (task: TaskLog) => {
      await task.commit({ changelog: [], outputs: [], inputs: { 'in/0': 4 } });
      return { 'in/0': 4 };
    };
    await taker.has(() => taker.failure !== undefined);
    expect(taker.failure!.code).toBe('INPUT_TRUNCATED');
    expect(kafka.committed).toEqual({ offset: '4', metadata: 'leader epoch 0' });
  });

  test('keeps a person’s word until it has taken what comes after the loss', async () => {
    const kafka = await replaced();
    await acceptLosses(kafka.cluster, 'app-work', [{ topic: 'in', partition: 0, start: 0, end: 5 }]);
    const word = { ...kafka.committed };
    const taker = new Taker(kafka, { 'in/0': 4 });
    const found: unknown[] = [];
    taker.records = async (task: TaskLog, { nextOffset }: Batch) => {
      await task.commit({ changelog: [], outputs: [], inputs: { 'in/0': 4 } }); // Of a tick that came before the batch.
      found.push({ ...kafka.committed });
      await task.commit({ changelog: [], outputs: [], inputs: { 'in/0': nextOffset } });
      found.push({ ...kafka.committed });
    };
    await taker.has(() => found.length === 2);
    expect(found).toEqual([word, { offset: '5', metadata: 'leader epoch 1' }]);
  });

  test('compares nothing where what is committed is not its own position', async () => {
    const kafka = await replaced();
    kafka.committed = { offset: '3', metadata: 'leader epoch 0' };
    const taker = new Taker(kafka, { 'in/0': 4 });
    await taker.has(() => taker.values.length === 1);
    expect(taker.values).toEqual(['E']);
  });
});
