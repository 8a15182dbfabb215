// Reading: fetches partitions from a position and hands over committed records, one batch at a time. Tasks, restores
// and followers all read this way, without Kafka's own consumer, because a position has to advance over transaction
// markers and emptied batches too, and because only we may decide where reading continues after a loss of records.
//
//   D1. Positions only grow, by what was handed over; a batch is handed over once, in the order of its partition.
//   D2. Fetching continues while a batch is being processed, until `queueBytesMax` are waiting; then it pauses.
//   D3. An offset that the log no longer has (or does not have yet) is never skipped silently, and a log that is not
//       the one read so far (leader-epochs.ts) is not read on: `lost` decides where to continue.
//   D4. A damaged batch is fetched again until it is intact: it may have been damaged on the way, or be intact at
//       another leader. Other partitions continue meanwhile. After a few tries health reports it, until it is intact.

import type { Batch } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import { anyBroker, backoffMs, type Health, pauseFor, type RawCluster, refresh } from './client.ts';
import { fateOf, reasonOf } from './failure.ts';
import { goesOnAt, type ReadPosition, sharedUpTo } from './leader-epochs.ts';
import { decodeRecords } from './record-batch.ts';
import { describeTopics, ERROR, type Fetched, type FetchSettings, fetchRecords, NO_EPOCH } from './requests.ts';

export interface Place {
  readonly topic: string;
  readonly partition: Partition;
}

export interface Position extends Place {
  readonly offset: Offset;
}

export interface ReadBatch extends Batch {
  /** Leader epoch of the records before `nextOffset`; NO_EPOCH when not known. */
  readonly leaderEpoch: number;
}

/** The offsets that the log has, when it does not continue from a position. */
export interface Kept {
  readonly start: Offset;
  readonly end: Offset;
  /** The first record that was not read: behind the position when the log is another one from there on. */
  readonly next: Offset;
}

/** The state of reading one partition. */
interface Fetching extends Place {
  offset: Offset;
  /** Leader epoch of the records read last. */
  leaderEpoch: number;
  /** Epoch of the leader that is asked now. */
  currentLeaderEpoch: number;
  /** The offset that reading went back to, until a batch has reported it. */
  restartsAt: Offset | undefined;
  /** How many times in a row the batch here was found damaged (D4). */
  damaged: number;
  /** Not fetched before this time, on the clock of `performance.now()`. */
  restsUntil: number;
}

export interface Reading {
  readonly cluster: RawCluster;
  /** Positions to read from. `leaderEpoch`: of the records before; absent when not known, or when nothing was read. */
  readonly from: readonly (Position & { readonly leaderEpoch?: number })[];
  /**
   * Processes a batch, with the topic's name in Kafka; the next batch, of whichever partition, comes after it resolves.
   */
  readonly take: (batch: ReadBatch) => Promise<void>;
  /** Where to continue when the log does not follow what was read up to `position`; throws to stop reading. */
  readonly lost: (position: ReadPosition, kept: Kept) => Offset | Promise<Offset>;
  readonly signal: AbortSignal;
  readonly health: Health;
  /** Name of the reader in health reports. */
  readonly name: string;
  readonly settings: ReadingSettings;
}

export interface ReadingSettings extends FetchSettings {
  /** Most bytes fetched and not yet processed. */
  readonly queueBytesMax: number;
  /** A batch is handed over in parts of at most this many records, so that the receiver can commit in between. */
  readonly recordsMax: number;
}

interface Waiting {
  readonly batch: ReadBatch;
  readonly sizeBytes: number;
}

/** In place of a leader's number: no leader. */
const NOBODY = -1;
/** Up to this many tries the damage may have happened on the way; after that it is in the log. */
const DAMAGED_ALARM = 3;
/** How often a paused partition is checked. */
const REST_MS = 50;
/** Most bytes held after decompression: reached only when batches are compressed 10:1 or better. */
const HELD_BYTES_MAX = 128 * 1024 * 1024;

/** Reads until the signal aborts; rejects with what `take` or `lost` threw. */
export async function read(reading: Reading): Promise<void> {
  await new Reader(reading).run();
}

/**
 * The offset after the last committed record, or of the first record kept, of each partition. Rejects when Kafka cannot
 * be asked.
 */
export async function offsetsOf(
  cluster: RawCluster,
  places: readonly Place[],
  which: 'start' | 'end',
): Promise<Position[]> {
  const byTopic = new Map<string, Partition[]>();
  for (const { topic, partition } of places) byTopic.set(topic, [...(byTopic.get(topic) ?? []), partition]);
  await cluster.addMultipleTargetTopics([...byTopic.keys()]);
  const found = await cluster.fetchTopicsOffset(
    [...byTopic].map(([topic, partitions]) => ({
      topic,
      partitions: partitions.map((partition) => ({ partition })),
      fromBeginning: which === 'start',
    })),
  );
  const positions = found.flatMap(({ topic, partitions }) =>
    partitions.map(({ partition, offset }) => ({ topic, partition, offset: Number(offset) })),
  );
  if (positions.length < places.length)
    throw new AppError(
      'LOG_UNAVAILABLE',
      `Kafka did not return the ${which} of all partitions of ${[...byTopic.keys()]}`,
    );
  return positions;
}

class Reader {
  readonly #reading: Reading;
  /** Where to fetch next: ahead of what was processed, by what waits in the queue. */
  readonly #positions: readonly Fetching[];
  readonly #queue: Waiting[] = [];
  /** Stops reading, from outside or after a failure. */
  readonly #stop = new AbortController();
  #queueBytes = 0;
  #wakeTaker = (): void => {};
  #wakeFetchers: (() => void)[] = [];

  constructor(reading: Reading) {
    this.#reading = reading;
    this.#positions = reading.from.map((each) => ({
      ...each,
      leaderEpoch: each.leaderEpoch ?? NO_EPOCH,
      currentLeaderEpoch: NO_EPOCH,
      restartsAt: undefined,
      damaged: 0,
      restsUntil: 0,
    }));
  }

  async run(): Promise<void> {
    const { signal, health, name } = this.#reading;
    if (signal.aborted || this.#positions.length === 0) return;
    const stop = (): void => {
      this.#stop.abort();
      this.#wakeTaker();
      for (const wake of this.#wakeFetchers.splice(0)) wake();
    };
    signal.addEventListener('abort', stop, { once: true });
    try {
      // When one loop ends, the other one is stopped too.
      const ends = await Promise.allSettled([this.#fetchAll().finally(stop), this.#takeAll().finally(stop)]);
      for (const end of ends) if (end.status === 'rejected') throw end.reason;
    } finally {
      signal.removeEventListener('abort', stop);
      health.well(name);
      for (const position of this.#positions) health.well(this.#damageName(position));
    }
  }

  /** Runs one loop for each leader; starts them anew when one fails, as happens when leaders move. */
  async #fetchAll(): Promise<void> {
    const { cluster, health, name } = this.#reading;
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      try {
        const topics = [...new Set(this.#positions.map((each) => each.topic))];
        await cluster.addMultipleTargetTopics(topics);
        const leaders = await this.#byLeader(topics);
        const round = new AbortController();
        const loops = [...leaders].map(([nodeId, positions]) =>
          this.#fetchFrom(nodeId, positions, round.signal, () => {
            attempt = 0;
          }).finally(() => round.abort()),
        );
        const ends = await Promise.allSettled(loops);
        for (const end of ends) if (end.status === 'rejected') throw end.reason;
      } catch (error) {
        if (fateOf(error) === 'final') throw error;
        if (this.#stop.signal.aborted) return;
        health.ill(name, reasonOf(error));
        await refresh(cluster, error);
        await pauseFor(backoffMs(attempt), this.#stop.signal);
      }
    }
  }

  /** Asks for the leaders with their epochs, which kafkajs does not do. */
  async #byLeader(topics: readonly string[]): Promise<Map<string, Fetching[]>> {
    const told = await describeTopics(await anyBroker(this.#reading.cluster), topics);
    const byLeader = new Map<string, Fetching[]>();
    for (const position of this.#positions) {
      const { topic, partition } = position;
      const found = told.find((each) => each.topic === topic)?.partitions.find((each) => each.partition === partition);
      if (found === undefined || found.leader === NOBODY)
        throw new AppError('LOG_UNAVAILABLE', `partition ${partition} of topic ${topic} has no leader`);
      position.currentLeaderEpoch = found.leaderEpoch;
      const leader = String(found.leader);
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), position]);
    }
    return byLeader;
  }

  async #fetchFrom(nodeId: string, positions: Fetching[], round: AbortSignal, answered: () => void): Promise<void> {
    const { cluster, settings, health, name } = this.#reading;
    while (!this.#stop.signal.aborted && !round.aborted) {
      if (this.#queueBytes >= settings.queueBytesMax) {
        await new Promise<void>((resolve) => this.#wakeFetchers.push(resolve)); // D2
        continue;
      }
      const now = performance.now();
      const due = positions.filter((each) => each.restsUntil <= now);
      if (due.length === 0) {
        await pauseFor(REST_MS, round);
        continue;
      }
      await cluster.refreshMetadataIfNecessary();
      const broker = await cluster.findBroker({ nodeId });
      const answers = await fetchRecords(broker, due, settings);
      if (this.#stop.signal.aborted) return;
      answered();
      health.well(name);
      const nothing = answers.every((each) => each.records.length === 0);
      for (const answer of answers) {
        const position = positions.find((each) => each.topic === answer.topic && each.partition === answer.partition);
        if (this.#queueBytes >= HELD_BYTES_MAX) break; // The rest is fetched again.
        if (position !== undefined) await this.#accept(answer, position, nothing);
      }
      positions.push(positions.shift()!); // Rotated, so that another partition comes first in the next answer.
    }
  }

  async #accept(answer: Fetched, position: Fetching, nothing: boolean): Promise<void> {
    if (answer.errorCode === ERROR.offsetOutOfRange) return this.#decideLoss(position);
    if (answer.errorCode !== ERROR.none)
      throw new AppError(
        'LOG_UNAVAILABLE',
        `partition ${answer.partition} of topic ${answer.topic} cannot be read now: Kafka error ${answer.errorCode}`,
        { topic: answer.topic, partition: answer.partition, errorCode: answer.errorCode },
      );
    let { records, nextOffset, isCorrupt, leaderEpoch } = decodeRecords(
      answer.records,
      position.offset,
      answer.aborted,
    );
    if (!(await this.#isTheSameLog(position, leaderEpoch))) return this.#decideLoss(position);
    if (isCorrupt && nextOffset === position.offset) return this.#restAt(position); // D4
    if (position.damaged > 0) this.#mended(position);
    // Below the end, and yet nothing to read: compaction has removed everything up to the end.
    if (nothing && answer.stableOffset > nextOffset) {
      nextOffset = answer.stableOffset;
      leaderEpoch = undefined;
    }
    if (nextOffset === position.offset) return;
    const { restartsAt } = position;
    position.offset = nextOffset; // D1
    position.leaderEpoch = leaderEpoch ?? NO_EPOCH;
    position.restartsAt = undefined;
    const endOffset = Math.max(answer.stableOffset, nextOffset);
    const batch: ReadBatch = {
      topic: answer.topic,
      partition: answer.partition,
      records,
      nextOffset,
      endOffset,
      leaderEpoch: position.leaderEpoch,
      ...(restartsAt === undefined ? {} : { restartsAt }),
    };
    this.#queue.push({ batch, sizeBytes: answer.records.length });
    this.#queueBytes += answer.records.length;
    this.#wakeTaker();
  }

  #restAt(position: Fetching): void {
    const { topic, partition, offset } = position;
    const damaged = ++position.damaged;
    position.restsUntil = performance.now() + backoffMs(damaged);
    if (damaged < DAMAGED_ALARM) return;
    const failure = new AppError(
      'RECORDS_CORRUPT',
      `the batch at offset ${offset} of partition ${partition} of topic ${topic} is damaged: its checksum does not match`,
      { topic, partition, offset, tries: damaged },
    );
    this.#reading.health.ill(this.#damageName(position), failure.message);
    if (damaged === DAMAGED_ALARM) this.#reading.health.alarm(failure, topic);
  }

  #mended(position: Fetching): void {
    position.damaged = 0;
    this.#reading.health.well(this.#damageName(position));
  }

  #damageName({ topic, partition }: Place): string {
    return `${this.#reading.name} of ${topic}/${partition}`;
  }

  /** Whether the next records, written under this epoch, follow what was read. */
  async #isTheSameLog(position: Fetching, leaderEpoch: number | undefined): Promise<boolean> {
    if (leaderEpoch === undefined || leaderEpoch === position.leaderEpoch || position.leaderEpoch === NO_EPOCH)
      return true;
    return (await sharedUpTo(this.#reading.cluster, position)) === position.offset;
  }

  async #decideLoss(position: Fetching): Promise<void> {
    const { cluster, lost } = this.#reading;
    const [first] = await offsetsOf(cluster, [position], 'start');
    const [last] = await offsetsOf(cluster, [position], 'end');
    const [start, end] = [first!.offset, last!.offset];
    const next = await goesOnAt(cluster, position, { start, end });
    if (next === undefined)
      throw new AppError('LOG_UNAVAILABLE', `the leader of ${position.topic} is still recovering`);
    const offset = await lost(position, { start, end, next }); // D3
    if (offset < position.offset) position.restartsAt = offset;
    position.offset = offset;
    position.leaderEpoch = NO_EPOCH;
  }

  async #takeAll(): Promise<void> {
    const { take, settings } = this.#reading;
    while (!this.#stop.signal.aborted) {
      const next = this.#queue.shift();
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          this.#wakeTaker = resolve;
        });
        continue;
      }
      for (const part of partsOf(next.batch, settings.recordsMax)) {
        if (this.#stop.signal.aborted) return;
        await take(part);
      }
      this.#queueBytes -= next.sizeBytes;
      for (const wake of this.#wakeFetchers.splice(0)) wake();
    }
  }
}

function* partsOf(batch: ReadBatch, recordsMax: number): Generator<ReadBatch> {
  const { records, restartsAt, ...rest } = batch;
  if (records.length <= recordsMax) return yield batch;
  for (let at = 0; at < records.length; at += recordsMax) {
    const last = at + recordsMax >= records.length;
    const nextOffset = last ? batch.nextOffset : records[at + recordsMax - 1]!.offset + 1;
    const restart = at > 0 || restartsAt === undefined ? {} : { restartsAt }; // Reported once.
    yield { ...rest, ...restart, records: records.slice(at, at + recordsMax), nextOffset };
  }
}
