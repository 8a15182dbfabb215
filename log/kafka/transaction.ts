// Transaction: one task's transactional producer. Its requests are sent one by one, so that the outcome of each is
// known:
//
//   X1. `open` fences every earlier owner of the task and completes or aborts what it left open.
//   X2. Nothing is retried except where the broker said that it did nothing. After any other failure the transaction is
//       over: not committed when the failure came before its end was requested, unknown when it came with that request.
//   X3. A failed transaction is never used again: the owner opens a new one. By then none of its requests is under way,
//       and records carry the producer epoch with which their own commit began, never a later one.

import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import { pauseFor, type RawBroker, type RawCluster, TRANSACTION_COORDINATOR } from './client.ts';
import { reasonOf, troubleOf } from './failure.ts';
import { encodeBatch, recordSizeMax, type WireRecord } from './record-batch.ts';
import { ERROR, type ProduceBatch, type Produced, produceBatches } from './requests.ts';

export interface Placed {
  readonly topic: string;
  readonly partition: number;
  readonly record: WireRecord;
}

/** A position to commit, with the metadata stored beside it. */
export interface Consumed {
  readonly topic: string;
  readonly partition: number;
  readonly offset: Offset;
  readonly metadata: string | null;
}

export interface Written extends Produced {
  readonly count: number;
}

/** What one `open` has taken over; a later `open` fences it. */
interface Session {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly sequences: Map<string, number>;
}

/** After a commit Kafka writes its markers, and refuses the next transaction for a few milliseconds. */
const BUSY_PAUSE_MS = 1;
const BUSY_PAUSE_MAX_MS = 8;
/** Longer than a coordinator takes to load; an open transaction of a dead owner is aborted at once by `open`. */
const BUSY_PATIENCE_MS = 30_000;

export class Transaction {
  readonly #cluster: RawCluster;
  readonly #id: string;
  readonly #timeoutMs: number;
  readonly #batchBytesMax: number;
  #session: Session | undefined;
  #coordinator: RawBroker | undefined;
  #groupCoordinator: RawBroker | undefined;

  constructor(
    cluster: RawCluster,
    id: string,
    settings: { readonly timeoutMs: number; readonly batchBytesMax: number },
  ) {
    this.#cluster = cluster;
    this.#id = id;
    this.#timeoutMs = settings.timeoutMs;
    this.#batchBytesMax = settings.batchBytesMax;
  }

  /** Takes over the transactional id (X1). */
  async open(): Promise<void> {
    if (!this.#cluster.isConnected()) await this.#cluster.connect();
    const { producerId, producerEpoch } = await this.#whileBusy(async () =>
      (await this.#findCoordinator()).initProducerId({
        transactionalId: this.#id,
        transactionTimeout: this.#timeoutMs,
      }),
    );
    this.#session = { producerId: Number(producerId), producerEpoch, sequences: new Map() };
  }

  /**
   * Commits records and consumed offsets together. Resolves with where each batch was written, in order. Throws
   * TASK_FENCED, LOG_UNAVAILABLE (nothing of it was committed), COMMIT_UNKNOWN, or VALUE_TOO_LARGE.
   */
  async commit(
    records: readonly Placed[],
    consumed: {
      readonly groupId: string;
      readonly offsets: readonly Consumed[];
    },
  ): Promise<readonly Written[]> {
    const session = this.#session!;
    let written: readonly Written[] = [];
    try {
      const topics = groupBy(
        records,
        (each) => each.topic,
        (each) => each.partition,
      );
      await this.#cluster.addMultipleTargetTopics([...topics.keys()]);
      if (topics.size > 0) {
        const partitions = [...topics].map(([topic, all]) => ({ topic, partitions: [...new Set(all)] }));
        await this.#whileBusy(async () =>
          (await this.#findCoordinator()).addPartitionsToTxn({ ...this.#ref(session), topics: partitions }),
        );
      }
      [written] = await allOrNone([
        this.#produce(records, session),
        this.#commitOffsets(consumed.groupId, consumed.offsets, session),
      ]);
    } catch (error) {
      throw this.#failureOf(error, 'LOG_UNAVAILABLE', 'a commit did not reach Kafka; it is rolled back'); // X2
    }
    try {
      await this.#whileBusy(async () =>
        (await this.#findCoordinator()).endTxn({ ...this.#ref(session), transactionResult: true }),
      );
    } catch (error) {
      throw this.#failureOf(error, 'COMMIT_UNKNOWN', 'Kafka did not say whether a commit took effect'); // X2
    }
    return written;
  }

  #ref({ producerId, producerEpoch }: Session) {
    return { transactionalId: this.#id, producerId, producerEpoch };
  }

  /** Sends batch after batch for each partition, all partitions of a leader in one request. */
  async #produce(records: readonly Placed[], session: Session): Promise<Written[]> {
    const { producerId, producerEpoch, sequences } = session;
    const written: Written[] = [];
    for (const round of roundsOf(records, this.#batchBytesMax)) {
      const byLeader = new Map<string, ProduceBatch[]>();
      for (const { topic, partition, records: batch } of round) {
        const [leader] = Object.keys(this.#cluster.findLeaderForPartitions(topic, [partition]));
        if (leader === undefined)
          throw new AppError('LOG_UNAVAILABLE', `topic ${topic} has no partition ${partition}`, { topic, partition });
        const key = `${topic}/${partition}`;
        const baseSequence = sequences.get(key) ?? 0;
        const producer = { producerId, producerEpoch, baseSequence, transactional: true };
        sequences.set(key, nextSequence(baseSequence, batch.length));
        const bytes = encodeBatch(batch, producer, Date.now());
        byLeader.set(leader, [...(byLeader.get(leader) ?? []), { topic, partition, batch: bytes }]);
      }
      const answers = await allOrNone(
        [...byLeader].map(async ([nodeId, batches]) =>
          produceBatches(await this.#cluster.findBroker({ nodeId }), this.#id, batches),
        ),
      );
      for (const answer of answers.flat()) {
        failOn(answer);
        const sent = round.find((each) => each.topic === answer.topic && each.partition === answer.partition);
        written.push({ ...answer, count: sent?.records.length ?? 0 });
      }
    }
    return written;
  }

  /** These offsets are for lag tools and to recognise the log; a task starts from the positions in its changelog. */
  async #commitOffsets(groupId: string, offsets: readonly Consumed[], session: Session): Promise<void> {
    if (offsets.length === 0) return;
    await this.#whileBusy(async () =>
      (await this.#findCoordinator()).addOffsetsToTxn({ ...this.#ref(session), groupId }),
    );
    const topics = [
      ...groupBy(
        offsets,
        (each) => each.topic,
        (each) => each,
      ),
    ].map(([topic, partitions]) => ({
      topic,
      partitions: partitions.map(({ partition, offset, metadata }) => ({
        partition,
        offset: String(offset),
        metadata,
      })),
    }));
    await this.#whileBusy(async () =>
      (await this.#findGroupCoordinator(groupId)).txnOffsetCommit({ ...this.#ref(session), groupId, topics }),
    );
  }

  async #findCoordinator(): Promise<RawBroker> {
    this.#coordinator ??= await this.#cluster.findGroupCoordinator({
      groupId: this.#id,
      coordinatorType: TRANSACTION_COORDINATOR,
    });
    return this.#coordinator;
  }

  async #findGroupCoordinator(groupId: string): Promise<RawBroker> {
    this.#groupCoordinator ??= await this.#cluster.findGroupCoordinator({ groupId });
    return this.#groupCoordinator;
  }

  #forgetCoordinators(): void {
    this.#coordinator = undefined;
    this.#groupCoordinator = undefined;
  }

  /** Retries while the broker says that it has done nothing yet (X2). */
  async #whileBusy<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    const deadline = performance.now() + BUSY_PATIENCE_MS;
    for (let pauseMs = BUSY_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, BUSY_PAUSE_MAX_MS)) {
      try {
        return await ask();
      } catch (error) {
        const trouble = troubleOf(error);
        if (trouble === 'moved') this.#forgetCoordinators();
        if ((trouble !== 'busy' && trouble !== 'moved') || performance.now() > deadline) throw error;
        await pauseFor(pauseMs);
      }
    }
  }

  #failureOf(error: unknown, code: 'LOG_UNAVAILABLE' | 'COMMIT_UNKNOWN', message: string): AppError {
    this.#forgetCoordinators();
    if (error instanceof AppError && error.code === 'VALUE_TOO_LARGE') return error;
    const facts = { transactionalId: this.#id, reason: reasonOf(error) };
    if (troubleOf(error) === 'fenced' || isFencedCode(error))
      return new AppError(
        'TASK_FENCED',
        'another owner has this task now; nothing of this commit remains',
        facts,
        error,
      );
    return new AppError(code, `${message}: ${facts.reason}`, facts, error);
  }
}

/** Resolves when all have; rejects with the first failure, but only after all have ended (X3). */
async function allOrNone<const Work extends readonly Promise<unknown>[]>(work: Work) {
  await Promise.allSettled(work);
  return Promise.all(work);
}

export const SEQUENCES = 0x8000_0000;

/** Sequence numbers are 31 bits and wrap to 0. */
export const nextSequence = (sequence: number, count: number): number => (sequence + count) % SEQUENCES;

const isFencedCode = (error: unknown): boolean =>
  error instanceof AppError &&
  (error.facts.errorCode === ERROR.invalidProducerEpoch || error.facts.errorCode === ERROR.producerFenced);

export function failOn({ topic, partition, errorCode }: Produced): void {
  if (errorCode === ERROR.none || errorCode === ERROR.duplicateSequence) return;
  const facts = { topic, partition, errorCode };
  if (errorCode === ERROR.messageTooLarge || errorCode === ERROR.recordListTooLarge)
    throw new AppError(
      'VALUE_TOO_LARGE',
      `topic ${topic} refuses a record as too large: raise its max.message.bytes, or write smaller records`,
      facts,
    );
  throw new AppError(
    'LOG_UNAVAILABLE',
    `partition ${partition} of topic ${topic} refused records: Kafka error ${errorCode}`,
    facts,
  );
}

export interface PartitionRecords {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly WireRecord[];
}

/** Splits the records into rounds with at most one batch for each partition, none larger than `batchBytesMax`. */
export function roundsOf(records: readonly Placed[], batchBytesMax: number): PartitionRecords[][] {
  const rounds: PartitionRecords[][] = [];
  const places = new Map<string, { round: number; bytes: number; records: WireRecord[] }>();
  for (const { topic, partition, record } of records) {
    const key = `${topic}/${partition}`;
    const size = recordSizeMax(record);
    let place = places.get(key);
    if (place === undefined || place.bytes + size > batchBytesMax) {
      place = { round: place === undefined ? 0 : place.round + 1, bytes: 0, records: [] };
      places.set(key, place);
      if (rounds[place.round] === undefined) rounds[place.round] = [];
      rounds[place.round]!.push({ topic, partition, records: place.records });
    }
    place.records.push(record);
    place.bytes += size;
  }
  return rounds;
}

function groupBy<Item, Value>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  pick: (item: Item) => Value,
): Map<string, Value[]> {
  const groups = new Map<string, Value[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [pick(item)]);
    else group.push(pick(item));
  }
  return groups;
}
