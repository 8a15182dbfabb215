// Appender: writes outside any task, through one idempotent producer (KIP-98). Calls that come while a request is under
// way are sent together in the next request.
//
//   P1. Each partition gets its records once, in the order of the calls, however often a request has to be sent again.
//   P2. A call resolves when all in-sync replicas have its records. It rejects with LOG_UNAVAILABLE when that is not
//       confirmed within a time limit; then any of its records may have been written or not. The limit counts from the
//       call, so that a call does not wait longer because of others before it.
//   P3. The queue is bounded: a call that would exceed it is refused, and none of it is written.

import { AppError } from '../../schemas/errors.ts';
import { backoffMs, type Health, pauseFor, type RawCluster, refresh } from './client.ts';
import { fateOf, isAnswer, reasonOf } from './failure.ts';
import { encodeBatch, recordSizeMax } from './record-batch.ts';
import { ERROR, type Produced, produceBatches } from './requests.ts';
import { failOn, nextSequence, type PartitionRecords, type Placed, roundsOf } from './transaction.ts';

interface Call {
  readonly records: readonly Placed[];
  readonly bytes: number;
  /** On the clock of `performance.now()`, in milliseconds. */
  readonly deadline: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Prepared {
  readonly topic: string;
  readonly partition: number;
  readonly batch: Buffer;
}

export interface AppenderSettings {
  readonly batchBytesMax: number;
  /** Most bytes sent together. */
  readonly requestBytesMax: number;
  /** Most bytes that may wait. */
  readonly waitingBytesMax: number;
  readonly patienceMs: number;
}

/** Error codes of Kafka with which nothing was written, and the same request may succeed a moment later. */
const AGAIN: ReadonlySet<number> = new Set([
  ERROR.unknownTopicOrPartition,
  ERROR.leaderNotAvailable,
  ERROR.notLeader,
  7, // Timed out: sent again with the same sequence number, so written once.
  19, // Not enough replicas.
  20,
  56, // Storage error: the partition moves to another replica.
]);

export class Appender {
  readonly #cluster: RawCluster;
  readonly #settings: AppenderSettings;
  readonly #health: Health;
  readonly #closing = new AbortController();
  readonly #waiting: Call[] = [];
  #waitingBytes = 0;
  #sending: Promise<void> | undefined;
  #producerId = -1;
  #producerEpoch = -1;
  #sequences = new Map<string, number>();

  constructor(cluster: RawCluster, settings: AppenderSettings, health: Health) {
    this.#cluster = cluster;
    this.#settings = settings;
    this.#health = health;
  }

  append(records: readonly Placed[]): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(new AppError('STOPPED', 'the log is closed'));
    if (records.length === 0) return Promise.resolve();
    const bytes = records.reduce((sum, each) => sum + recordSizeMax(each.record), 0);
    const { waitingBytesMax, patienceMs } = this.#settings;
    if (this.#waitingBytes > 0 && this.#waitingBytes + bytes > waitingBytesMax)
      return Promise.reject(
        new AppError('LOG_UNAVAILABLE', `${this.#waitingBytes} bytes wait for Kafka already, and no more may`), // P3
      );
    this.#waitingBytes += bytes;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ records, bytes, deadline: performance.now() + patienceMs, resolve, reject });
      this.#sending ??= this.#sendAll();
    });
  }

  /** Gives up the calls that are still waiting. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#sending;
    await this.#cluster.disconnect();
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      let bytes = 0;
      let count = 0;
      for (; count < this.#waiting.length && (count === 0 || bytes < this.#settings.requestBytesMax); count++)
        bytes += this.#waiting[count]!.bytes;
      const calls = this.#waiting.splice(0, count);
      const deadline = calls[0]!.deadline; // P2
      try {
        for (const round of roundsOf(
          calls.flatMap((call) => call.records),
          this.#settings.batchBytesMax,
        ))
          await this.#sendRound(round, deadline);
        for (const call of calls) call.resolve();
      } catch (error) {
        this.#producerId = -1; // The sequence numbers are no longer known: a new producer starts from 0.
        for (const call of calls) call.reject(error);
      }
      this.#waitingBytes -= bytes;
    }
    this.#sending = undefined; // In the same turn that saw an empty queue: a call from now on starts the next request.
  }

  async #sendRound(round: readonly PartitionRecords[], deadline: number): Promise<void> {
    let prepared: readonly Prepared[] | undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#open(round);
        prepared ??= round.map((each) => this.#prepare(each));
        prepared = await this.#send(prepared);
        if (prepared.length === 0) {
          this.#health.well('append');
          return;
        }
      } catch (error) {
        if (fateOf(error) === 'final' || isAnswer(error)) throw error;
        this.#health.ill('append', reasonOf(error));
        if (performance.now() > deadline || this.#closing.signal.aborted)
          throw new AppError('LOG_UNAVAILABLE', `records could not be written: ${reasonOf(error)}`, {}, error);
        await refresh(this.#cluster, error);
      }
      if (performance.now() > deadline || this.#closing.signal.aborted)
        throw new AppError('LOG_UNAVAILABLE', 'records could not be written: their partitions have no leader');
      await pauseFor(backoffMs(attempt), this.#closing.signal);
    }
  }

  async #open(round: readonly PartitionRecords[]): Promise<void> {
    if (!this.#cluster.isConnected()) await this.#cluster.connect();
    await this.#cluster.addMultipleTargetTopics([...new Set(round.map((each) => each.topic))]);
    if (this.#producerId >= 0) return;
    const broker = await this.#cluster.findControllerBroker();
    const { producerId, producerEpoch } = await broker.initProducerId({
      transactionalId: undefined,
      transactionTimeout: 60_000,
    });
    this.#producerId = Number(producerId);
    this.#producerEpoch = producerEpoch;
    this.#sequences.clear();
  }

  #prepare({ topic, partition, records }: PartitionRecords): Prepared {
    const key = `${topic}/${partition}`;
    const baseSequence = this.#sequences.get(key) ?? 0;
    this.#sequences.set(key, nextSequence(baseSequence, records.length));
    const producer = {
      producerId: this.#producerId,
      producerEpoch: this.#producerEpoch,
      baseSequence,
      transactional: false,
    };
    return { topic, partition, batch: encodeBatch(records, producer, Date.now()) };
  }

  /** Resolves with the requests that have to be sent again, unchanged (P1). */
  async #send(prepared: readonly Prepared[]): Promise<Prepared[]> {
    const byLeader = new Map<string, Prepared[]>();
    const again = new Set(prepared);
    for (const each of prepared) {
      const [leader] = Object.keys(this.#cluster.findLeaderForPartitions(each.topic, [each.partition]));
      if (leader === undefined)
        throw new AppError(
          'TOPIC_MISCONFIGURED',
          `topic ${each.topic} has no partition ${each.partition}: create it first`,
        );
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), each]);
    }
    const answers = await Promise.allSettled(
      [...byLeader].map(
        async ([nodeId, batches]): Promise<Produced[]> =>
          produceBatches(await this.#cluster.findBroker({ nodeId }), undefined, batches),
      ),
    );
    let failure: unknown;
    for (const answer of answers) {
      if (answer.status === 'rejected') failure = answer.reason;
      else
        for (const produced of answer.value) {
          if (AGAIN.has(produced.errorCode)) continue;
          failOn(produced);
          for (const each of prepared)
            if (each.topic === produced.topic && each.partition === produced.partition) again.delete(each);
        }
    }
    if (failure !== undefined) await refresh(this.#cluster, failure);
    else if (again.size > 0) await refresh(this.#cluster, undefined);
    return [...again];
  }
}
