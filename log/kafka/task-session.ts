// Task session: one task of one group on this instance, from its assignment to its end. It works in rounds:
//
//     open the transactional id -> gained (restores) -> read inputs -> lost        a failed commit starts the next
//     round
//
//   L1. Nothing of a round is restored before its transactional id is ours: by then an earlier owner's commit either is
//       in the changelog, or never will be.
//   L2. The handler's calls never overlap: one loop makes them all.
//   L3. After `lost` has resolved, or a commit has failed, that round's TaskLog commits nothing more.
//   L4. After being fenced, an instance asks the group before it takes the task again, so that a zombie does not fence
//       its successor.
//   L5. When records of an input are gone before they were read, or its log is not the one that was read, the task
//       ends. For a lossy input, or with an operator's consent to this very loss, it continues with the first record
//       that was not read, and reports it. It does not continue where offsets are the versions of stored rows and would
//       be given a second time: that needs a new incarnation.
//   L6. The epoch and the consent that are stored with the group's offset of an input are overwritten only once they
//       have been used: not before the input is read, and not while the task's position is still that of the loss.

import type { Commit, OutRecord, TaskHandler, TaskLog } from '../../runtime/ports.ts';
import type { Logger } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { Change } from '../../state/store.ts';
import { backoffMs, type Health, pauseFor, type RawCluster, refresh } from './client.ts';
import { fateOf, reasonOf } from './failure.ts';
import { LeaderEpochs, type ReadPosition, textOfEpoch } from './leader-epochs.ts';
import { acceptedLoss, committedIn } from './loss.ts';
import {
  type Kept,
  offsetsOf,
  type Place,
  type Position,
  type ReadBatch,
  type ReadingSettings,
  read,
} from './reading.ts';
import type { WireRecord } from './record-batch.ts';
import { NO_EPOCH } from './requests.ts';
import { type Placed, Transaction } from './transaction.ts';

/** A partition that a task consumes; `name` is the handler's name of the topic. */
export interface Input extends Place {
  readonly name: string;
  readonly lossy: boolean;
  readonly versions: boolean;
}

export interface TaskPlan {
  readonly group: string;
  /** The consumer group in Kafka. */
  readonly groupId: string;
  readonly partition: Partition;
  readonly changelog: Place;
  readonly removalsKeptMs: number;
  /** The inputs, by the handler's names. */
  readonly inputs: readonly Input[];
  readonly transactionalId: string;
  readonly physicalOf: (topic: string) => string;
}

export interface TaskSettings {
  readonly reading: ReadingSettings;
  readonly transactionTimeoutMs: number;
  readonly batchBytesMax: number;
}

export interface TaskEnds {
  /** Whether the group still counts this instance as a member (L4). */
  confirm(): Promise<boolean>;
  /** The task cannot continue, and neither can the membership. */
  fatal(error: unknown): void;
}

/** After a round that lasted this long, a failure counts as new and retries start again from the shortest pause. */
const GOOD_ROUND_MS = 10_000;

export class TaskSession {
  readonly #plan: TaskPlan;
  readonly #settings: TaskSettings;
  readonly #handler: TaskHandler;
  readonly #openCluster: () => RawCluster;
  readonly #ends: TaskEnds;
  readonly #health: Health;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #orderly = false;
  #round: OwnedTask | undefined;
  /** Inputs whose loss at this round's position an operator has accepted. */
  #accepted: ReadonlySet<string> = new Set();
  #life: Promise<void> | undefined;

  constructor(
    plan: TaskPlan,
    settings: TaskSettings,
    handler: TaskHandler,
    openCluster: () => RawCluster,
    ends: TaskEnds,
    health: Health,
    logger: Logger,
  ) {
    this.#plan = plan;
    this.#settings = settings;
    this.#handler = handler;
    this.#openCluster = openCluster;
    this.#ends = ends;
    this.#health = health;
    this.#logger = logger;
  }

  get stopping(): boolean {
    return this.#stop.signal.aborted;
  }

  start(): void {
    this.#life ??= this.#live();
  }

  /**
   * Resolves when the task has ended and its connections are closed. When not orderly, what is not committed is
   * dropped.
   */
  async stop(orderly: boolean): Promise<void> {
    if (!this.stopping) this.#orderly = orderly;
    else if (!orderly) this.#orderly = false;
    if (!orderly) this.#round?.end();
    this.#stop.abort();
    this.#round?.interrupt();
    if (this.#round !== undefined) this.#handler.leaving?.(this.#round, this.#orderly);
    await this.#life;
  }

  get #name(): string {
    return `task ${this.#plan.group}-${this.#plan.partition}`;
  }

  async #live(): Promise<void> {
    const [reading, writing] = [this.#openCluster(), this.#openCluster()];
    const transaction = new Transaction(writing, this.#plan.transactionalId, {
      timeoutMs: this.#settings.transactionTimeoutMs,
      batchBytesMax: this.#settings.batchBytesMax,
    });
    for (let attempt = 0; !this.stopping; attempt++) {
      const began = performance.now();
      try {
        await this.#runRound(reading, transaction);
      } catch (error) {
        if (this.stopping) break;
        if (fateOf(error) === 'final') {
          this.#ends.fatal(error);
          break;
        }
        if (performance.now() - began > GOOD_ROUND_MS) attempt = 0;
        this.#report(error, attempt);
        await Promise.all([refresh(reading, error), refresh(writing, error)]);
        await this.#untilOurs(error);
        await pauseFor(backoffMs(attempt), this.#stop.signal);
      }
    }
    this.#health.well(this.#name);
    await Promise.allSettled([reading.disconnect(), writing.disconnect()]);
  }

  /** One round, until the task is stopped; rejects when the next one should begin. */
  async #runRound(reading: RawCluster, transaction: Transaction): Promise<void> {
    await transaction.open(); // L1
    if (this.stopping) return;
    const round = new OwnedTask(this.#plan, this.#settings, reading, transaction, this.#health);
    this.#round = round;
    let failure: unknown;
    try {
      const inputs = await this.#handler.gained(round);
      this.#health.well(this.#name);
      await this.#readInputs(round, reading, inputs);
    } catch (error) {
      failure = error;
    }
    failure = round.failure ?? failure;
    const orderly = failure === undefined && this.#orderly && this.stopping;
    if (!orderly) round.end(); // L3
    try {
      await this.#handler.lost(round, orderly);
    } catch (error) {
      failure ??= error;
    } finally {
      round.end(); // L3
      this.#round = undefined;
    }
    if (failure !== undefined) throw failure;
  }

  async #readInputs(round: OwnedTask, cluster: RawCluster, inputs: Readonly<Record<string, Offset>>): Promise<void> {
    if (round.interrupted.aborted) return;
    const names = new Map(this.#plan.inputs.map((each) => [each.topic, each.name]));
    const from = await this.#positionsOf(cluster, inputs);
    round.begins(from, this.#accepted);
    await read({
      cluster,
      from,
      take: (batch) => {
        round.reads(batch);
        return this.#handler.records(round, { ...batch, topic: names.get(batch.topic)! });
      },
      lost: (position, kept) => this.#goOnAfterLoss(position, kept),
      signal: round.interrupted,
      health: this.#health,
      name: `${this.#name} reading`,
      settings: this.#settings.reading,
    });
  }

  /** The position of each input, with the leader epoch of what was read last. */
  async #positionsOf(cluster: RawCluster, inputs: Readonly<Record<string, Offset>>): Promise<ReadPosition[]> {
    const known = this.#plan.inputs.filter((each) => inputs[placeOf(each)] !== undefined);
    const fresh = this.#plan.inputs.filter((each) => inputs[placeOf(each)] === undefined);
    const starts = fresh.length === 0 ? [] : await offsetsOf(cluster, fresh, 'start');
    const committed = known.length === 0 ? [] : await committedIn(cluster, this.#plan.groupId, known);
    this.#accepted = new Set(committed.filter((each) => acceptedLoss(each)).map(lossOf));
    return [
      ...starts.map((each) => ({ ...each, leaderEpoch: NO_EPOCH })),
      ...known.map((each): ReadPosition => {
        const { topic, partition } = each;
        const offset = inputs[placeOf(each)]!;
        const found = committed.find((other) => other.topic === topic && other.partition === partition);
        return { topic, partition, offset, leaderEpoch: found?.offset === offset ? found.leaderEpoch : NO_EPOCH };
      }),
    ];
  }

  /** Continues without the lost records when they were measurements, or when an operator has consented (L5). */
  #goOnAfterLoss(position: ReadPosition, { start, end, next }: Kept): Offset {
    const { topic, partition, offset } = position;
    const { name, lossy, versions } = this.#plan.inputs.find((each) => isAt(each, position))!;
    const isAnother = next < offset;
    const facts = { topic, partition, offset, start, end, next };
    const what = isAnother
      ? `partition ${partition} of topic ${topic} was consumed up to offset ${offset}, but its log is no longer the one that was read: the two agree up to offset ${next}, and it now holds ${start} to ${end}. A broker lost what it had written, or the topic was created anew`
      : `partition ${partition} of topic ${topic} was consumed up to offset ${offset}, but now holds ${start} to ${end}: records are gone that were not read`;
    if (isAnother && versions)
      throw new AppError(
        'INPUT_TRUNCATED',
        `${what}. To read it from its start: raise FORESHARD_INCARNATION by one`,
        facts,
      );
    if (!lossy && !this.#accepted.has(lossOf(position)))
      throw new AppError('INPUT_TRUNCATED', `${what}. To go on at ${next}: foreshard accept-loss`, facts);
    this.#health.alarm(new AppError('INPUT_TRUNCATED', `${what}. It goes on at ${next}`, facts), name);
    return next;
  }

  #report(error: unknown, attempt: number): void {
    const facts = { task: this.#name, reason: reasonOf(error), attempt };
    this.#health.ill(this.#name, facts.reason);
    this.#logger.warn(facts, 'a task stopped because of a failure of the log; it starts again from its last commit');
  }

  /** After fencing, waits until the group says that the task is ours, or takes it away (L4). */
  async #untilOurs(error: unknown): Promise<void> {
    if (fateOf(error) !== 'fenced') return;
    for (let attempt = 0; !this.stopping; attempt++) {
      try {
        if (await this.#ends.confirm()) return;
      } catch {
        // Kafka does not answer: nothing is known yet.
      }
      await pauseFor(backoffMs(attempt), this.#stop.signal);
    }
  }
}

/** The handler's view of one round. */
class OwnedTask implements TaskLog {
  readonly group: string;
  readonly partition: Partition;
  readonly removalsKeptMs: number;
  /** Why the round is over, when a commit ended it. */
  failure: AppError | undefined;
  readonly #plan: TaskPlan;
  readonly #settings: TaskSettings;
  readonly #cluster: RawCluster;
  readonly #transaction: Transaction;
  readonly #health: Health;
  readonly #interrupt = new AbortController();
  #ended = false;
  /** The changelog's end as far as this round knows it. */
  #next: Offset = 0;
  readonly #epochs = new LeaderEpochs();
  /** How far each input was read, by `topic/partition` in Kafka's names. */
  readonly #read = new Map<string, Offset>();
  /** The task's position at an input until it has processed something after a loss (L6). */
  readonly #lostAt = new Map<string, Offset>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(plan: TaskPlan, settings: TaskSettings, cluster: RawCluster, transaction: Transaction, health: Health) {
    this.group = plan.group;
    this.partition = plan.partition;
    this.removalsKeptMs = plan.removalsKeptMs;
    this.#plan = plan;
    this.#settings = settings;
    this.#cluster = cluster;
    this.#transaction = transaction;
    this.#health = health;
  }

  get interrupted(): AbortSignal {
    return this.#interrupt.signal;
  }

  interrupt(): void {
    this.#interrupt.abort();
  }

  end(): void {
    this.#ended = true;
  }

  /** The inputs are read from these positions; an accepted loss may still be met there. */
  begins(positions: readonly ReadPosition[], accepted: ReadonlySet<string>): void {
    for (const position of positions) {
      const place = kafkaPlaceOf(position);
      this.#epochs.begin(place, position);
      this.#read.set(place, position.offset);
      if (accepted.has(lossOf(position))) this.#lostAt.set(place, position.offset);
    }
  }

  reads(batch: ReadBatch): void {
    const place = kafkaPlaceOf(batch);
    const before = this.#read.get(place)!;
    if (batch.restartsAt !== undefined && batch.nextOffset !== before) this.#lostAt.set(place, before);
    else this.#lostAt.delete(place);
    if (batch.restartsAt !== undefined) this.#epochs.begin(place, { offset: batch.restartsAt, leaderEpoch: NO_EPOCH });
    this.#epochs.read(place, batch.restartsAt ?? before, batch.leaderEpoch);
    this.#read.set(place, batch.nextOffset);
  }

  async restore(
    from: Offset,
    page: (changes: readonly Change[], next: Offset, end: Offset) => Promise<void>,
  ): Promise<Offset> {
    const { changelog } = this.#plan;
    const [last] = await offsetsOf(this.#cluster, [changelog], 'end');
    let end = Math.max(last!.offset, this.#next); // A commit of ours is durable a moment before Kafka shows it.
    this.#next = end;
    if (from >= end) return end;
    const done = new AbortController();
    const stop = (): void => done.abort();
    this.interrupted.addEventListener('abort', stop, { once: true });
    if (this.interrupted.aborted) stop();
    let next = from;
    await read({
      cluster: this.#cluster,
      from: [{ ...changelog, offset: from }],
      take: async (batch) => {
        next = batch.nextOffset;
        end = Math.max(end, next);
        await page(batch.records.map(changeOf), next, end);
        if (next >= this.#next) stop();
      },
      lost: ({ offset }, { start }) => {
        if (offset < start) return start;
        throw new AppError(
          'INPUT_TRUNCATED',
          `the changelog of task ${this.group}-${this.partition} is no longer the log that was restored up to ${offset}: it was truncated meanwhile. Remove the state folder of this instance, and start it again`,
          { task: `${this.group}-${this.partition}`, offset },
        );
      },
      signal: done.signal,
      health: this.#health,
      name: `task ${this.group}-${this.partition} restoring`,
      settings: this.#settings.reading,
    });
    this.interrupted.removeEventListener('abort', stop);
    if (next < this.#next) throw new AppError('STOPPED', 'the task was taken away while it was restored');
    this.#next = end;
    return end;
  }

  commit(commit: Commit): Promise<Offset> {
    const result = this.#last.then(() => this.#commit(commit));
    this.#last = result.catch(() => {});
    return result;
  }

  async #commit(commit: Commit): Promise<Offset> {
    if (this.#ended) throw new AppError('TASK_FENCED', 'the task is no longer ours; nothing of this commit remains'); // L3
    const { changelog, groupId, physicalOf } = this.#plan;
    const records: Placed[] = [
      ...commit.changelog.map((change) => ({
        ...changelog,
        record: { key: Buffer.from(change.key), value: change.value ?? null, headers: undefined },
      })),
      ...commit.outputs.map((out) => placedOf(out, physicalOf)),
    ];
    const offsets = Object.entries(commit.inputs).flatMap(([place, offset]) => {
      const slash = place.lastIndexOf('/');
      const [topic, partition] = [physicalOf(place.slice(0, slash)), Number(place.slice(slash + 1))];
      const kafkaPlace = kafkaPlaceOf({ topic, partition });
      if (!this.#read.has(kafkaPlace) || this.#lostAt.get(kafkaPlace) === offset) return []; // L6
      return [{ topic, partition, offset, metadata: textOfEpoch(this.#epochs.commit(kafkaPlace, offset)) }];
    });
    try {
      for (const written of await this.#transaction.commit(records, { groupId, offsets }))
        if (written.topic === changelog.topic && written.partition === changelog.partition)
          this.#next = written.baseOffset + written.count + 1; // The marker takes one.
      return this.#next;
    } catch (error) {
      this.#ended = true; // L3
      this.failure = error as AppError;
      this.interrupt();
      throw error;
    }
  }
}

const lossOf = ({ topic, partition, offset }: Position): string => `${topic}/${partition} at ${offset}`;
const placeOf = ({ name, partition }: Input): string => `${name}/${partition}`;
const kafkaPlaceOf = ({ topic, partition }: Place): string => `${topic}/${partition}`;
const isAt = (one: Place, other: Place): boolean => one.topic === other.topic && one.partition === other.partition;

const changeOf = ({ key, value }: { key: Buffer | null; value: Buffer | null }): Change => ({
  key: key === null ? '' : key.toString('utf8'),
  value: value ?? undefined,
});

export function placedOf(out: OutRecord, physicalOf: (topic: string) => string): Placed {
  const record: WireRecord = {
    key: typeof out.key === 'string' ? Buffer.from(out.key) : out.key,
    value: out.value,
    headers: out.headers,
  };
  return { topic: physicalOf(out.topic), partition: out.partition, record };
}
