import { describe, expect, test, vi } from 'vitest';
import { Health } from '../../../log/kafka/client.ts';
import type { ReadPosition } from '../../../log/kafka/leader-epochs.ts';
import { type Kept, type ReadBatch, read } from '../../../log/kafka/reading.ts';
import { NO_EPOCH } from '../../../log/kafka/requests.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';
import { AppError } from '../../../schemas/errors.ts';
import type { Offset } from '../../../schemas/ids.ts';
import { FakePartition } from '../../support/fake-partition.ts';

const SETTINGS = { maxWaitMs: 1, maxBytes: 1e6, maxBytesPerPartition: 1e6, queueBytesMax: 1e6, recordsMax: 2 };

/** Reads a partition, and goes on after a loss with what was not read, unless it is told otherwise. */
class Reading {
  readonly batches: ReadBatch[] = [];
  readonly losses: { readonly position: ReadPosition; readonly kept: Kept }[] = [];
  readonly counted: string[] = [];
  readonly health = new Health(silentLogger, { add: (name) => void this.counted.push(name) });
  readonly #stop = new AbortController();
  readonly done: Promise<void>;

  constructor(
    partition: FakePartition,
    from: Offset,
    { leaderEpoch = NO_EPOCH, lost = ({ next }: Kept): Offset => next } = {},
  ) {
    this.done = read({
      cluster: partition.cluster,
      from: [{ topic: partition.topic, partition: 0, offset: from, leaderEpoch }],
      take: async (batch) => void this.batches.push(batch),
      lost: (position, kept) => {
        this.losses.push({ position: { ...position }, kept });
        return lost(kept);
      },
      signal: this.#stop.signal,
      health: this.health,
      name: 'reading',
      settings: SETTINGS,
    });
    this.done.catch(() => {});
  }

  get values(): string[] {
    return this.batches.flatMap(({ records }) => records.map(({ value }) => String(value)));
  }

  async reads(count: number): Promise<void> {
    await vi.waitFor(() => expect(this.values.length).toBeGreaterThanOrEqual(count), { timeout: 10_000, interval: 1 });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }
}

function partitionOf(...values: readonly string[]): FakePartition {
  const partition = new FakePartition('in');
  partition.append(...values);
  return partition;
}

describe('reading on under another leader', () => {
  test('goes on where nothing was lost, and asks once for each leader', async () => {
    const partition = partitionOf('a', 'b');
    const reading = new Reading(partition, 0);
    await reading.reads(2);
    partition.elect();
    partition.append('c', 'd', 'e');
    await reading.reads(5);
    partition.append('f');
    await reading.reads(6);
    await reading.stop();
    expect(reading.values).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
    expect(reading.losses).toEqual([]);
    expect(partition.questions).toBe(1);
    expect(reading.batches.at(-1)).toMatchObject({ nextOffset: 6, leaderEpoch: 1 });
  });

  test('sees that what was read is gone and others have its offsets, and reads those', async () => {
    const partition = partitionOf('a', 'b', 'c', 'd');
    const reading = new Reading(partition, 0);
    await reading.reads(4);
    partition.elect(2);
    partition.append('C', 'D', 'E', 'F');
    await reading.reads(8);
    await reading.stop();
    expect(reading.losses).toMatchObject([
      { position: { offset: 4, leaderEpoch: 0 }, kept: { start: 0, end: 6, next: 2 } },
    ]);
    expect(reading.values).toEqual(['a', 'b', 'c', 'd', 'C', 'D', 'E', 'F']);
    // Told with the first records from there on, and no more after that.
    expect(reading.batches.filter(({ restartsAt }) => restartsAt !== undefined)).toMatchObject([
      { restartsAt: 2, records: [{ offset: 2 }, { offset: 3 }], nextOffset: 4, leaderEpoch: 1 },
    ]);
  });

  test('sees it when the log has become shorter, too', async () => {
    const partition = partitionOf('a', 'b', 'c', 'd');
    const reading = new Reading(partition, 0);
    await reading.reads(4);
    partition.elect(1);
    partition.append('B');
    await reading.reads(5);
    await reading.stop();
    expect(reading.losses).toMatchObject([{ kept: { end: 2, next: 1 } }]);
    expect(reading.values.at(-1)).toBe('B');
  });

  test('after a start, by the epoch that was committed with the position', async () => {
    const partition = partitionOf('a', 'b', 'c', 'd');
    partition.elect(2);
    partition.append('C', 'D', 'E');
    const reading = new Reading(partition, 4, { leaderEpoch: 0 });
    await reading.reads(3);
    await reading.stop();
    expect(reading.values).toEqual(['C', 'D', 'E']);
    expect(reading.losses).toMatchObject([{ kept: { next: 2 } }]);
  });

  test('reads from the start where the leader knows nothing of the epoch that was read: the topic was created anew', async () => {
    const partition = partitionOf('a');
    partition.elect();
    partition.append('b', 'c');
    partition.create();
    partition.append('x', 'y', 'z', 'u');
    const reading = new Reading(partition, 3, { leaderEpoch: 1 });
    await reading.reads(4);
    await reading.stop();
    expect(reading.values).toEqual(['x', 'y', 'z', 'u']);
    expect(reading.losses).toMatchObject([{ kept: { next: 0 } }]);
  });

  test('does not take a position whose epoch is not known for lost', async () => {
    const partition = partitionOf('a', 'b');
    partition.elect();
    partition.append('c');
    const reading = new Reading(partition, 2);
    await reading.reads(1);
    await reading.stop();
    expect(reading.values).toEqual(['c']);
    expect(partition.questions).toBe(0);
  });

  test('does not take what compaction has emptied for lost', async () => {
    const partition = partitionOf('a', 'b');
    const reading = new Reading(partition, 0);
    await reading.reads(2);
    partition.elect();
    partition.append('c');
    partition.onTheWay = () => Buffer.alloc(0); // The end is told, and no batch is left before it.
    await vi.waitFor(() => expect(reading.batches.at(-1)).toMatchObject({ nextOffset: 3, leaderEpoch: NO_EPOCH }));
    partition.elect();
    partition.onTheWay = (bytes) => bytes;
    partition.append('d');
    await reading.reads(3);
    await reading.stop();
    expect(reading.values).toEqual(['a', 'b', 'd']);
    expect(reading.losses).toEqual([]);
  });

  test('goes on after records that retention deleted, without telling of another log', async () => {
    const partition = partitionOf('a', 'b', 'c', 'd');
    partition.deleteBefore(3);
    const reading = new Reading(partition, 1, { leaderEpoch: 0 });
    await reading.reads(1);
    await reading.stop();
    expect(reading.losses).toMatchObject([{ kept: { start: 3, next: 3 } }]);
    expect(reading.batches[0]).not.toHaveProperty('restartsAt');
  });

  test('does not believe who was leader once, and has less than was read', async () => {
    const partition = partitionOf('a', 'b');
    partition.told = 1; // As Kafka names it; who answers does not know yet.
    const reading = new Reading(partition, 4, { leaderEpoch: 0 });
    await vi.waitFor(() => expect(reading.health.reason()).toMatch(/cannot be read now: Kafka error 75/));
    partition.append('c', 'd');
    partition.elect();
    partition.append('e');
    await reading.reads(1);
    await reading.stop();
    expect(reading.values).toEqual(['e']);
    expect(reading.losses).toEqual([]);
  });

  test('ends where a loss is not accepted', async () => {
    const partition = partitionOf('a', 'b', 'c');
    partition.elect(1);
    partition.append('B', 'C', 'D');
    const lost = (): never => {
      throw new AppError('INPUT_TRUNCATED', 'gone');
    };
    const reading = new Reading(partition, 3, { leaderEpoch: 0, lost });
    await expect(reading.done).rejects.toMatchObject({ code: 'INPUT_TRUNCATED' });
    expect(reading.values).toEqual([]);
  });
});

describe('a batch that is damaged', () => {
  const damaged = (bytes: Buffer): Buffer => {
    const copy = Buffer.from(bytes);
    copy[copy.length - 1]! ^= 1;
    return copy;
  };

  test('on the way is read whole the next time, and nobody is alarmed', async () => {
    const partition = partitionOf('a');
    let fetches = 0;
    partition.onTheWay = (bytes) => (fetches++ === 0 ? damaged(bytes) : bytes);
    const reading = new Reading(partition, 0);
    await reading.reads(1);
    partition.append('b');
    await reading.reads(2);
    await reading.stop();
    expect(reading.values).toEqual(['a', 'b']);
    expect(reading.counted).toEqual([]);
  });

  test('in the log is told of once, nothing after it is read, and it goes on when another replica has it whole', async () => {
    const partition = partitionOf('a', 'b');
    partition.onTheWay = damaged; // The last one of them.
    const reading = new Reading(partition, 0);
    await reading.reads(1);
    await vi.waitFor(() => expect(reading.counted).toEqual(['foreshard_damaged_batches_total']), { timeout: 10_000 });
    expect(reading.health.reason()).toMatch(/offset 1 of partition 0 of topic in is damaged/);
    expect(reading.values).toEqual(['a']);
    partition.elect();
    partition.onTheWay = (bytes) => bytes;
    partition.append('c');
    await reading.reads(3);
    expect(reading.health.reason()).toBeUndefined();
    await reading.stop();
    expect(reading.values).toEqual(['a', 'b', 'c']);
    expect(reading.counted).toEqual(['foreshard_damaged_batches_total']);
  });
});
