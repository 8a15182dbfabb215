// Ports: what the runner needs from the world. Each has one real implementation for each runtime under edge/ and one in
// memory under test/support. The log suite (test/log/log-suite.ts) holds all logs to the promises written here.

import type { FitRequest, FitResult } from '../processors/forecast/fits.ts';
import type { Offset, Partition } from '../schemas/ids.ts';
import type { Effect, Outcome } from '../state/effects.ts';
import type { Change, Mark } from '../state/store.ts';

/** A record as it lies in the log: not decoded, not judged. */
export interface RawRecord {
  readonly offset: Offset;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The log's own time of the record, in ms; used for dead letters and lag alone. */
  readonly timestamp: number;
  readonly headers: Readonly<Record<string, Buffer | string | readonly (Buffer | string)[] | undefined>> | undefined;
}

/** Records of one partition of one topic, offsets ascending, possibly with holes. */
export interface Batch {
  readonly topic: string;
  readonly partition: Partition;
  readonly records: readonly RawRecord[];
  /** The offset after the last one covered by this batch, holes and control records included. */
  readonly nextOffset: Offset;
  /** The log is another one from here on: what was handed over before of this offset and later ones is gone from it. */
  readonly restartsAt?: Offset;
  /** The end of the partition when the batch was read: lag = endOffset - nextOffset. */
  readonly endOffset: Offset;
}

export interface OutRecord {
  readonly topic: string;
  readonly partition: Partition;
  readonly key: Buffer | string | null;
  readonly value: Buffer | null;
  readonly headers?: RawRecord['headers'];
}

/** One atomic step of a task: all of it is in the log, or none. */
export interface Commit {
  readonly changelog: readonly Change[];
  readonly outputs: readonly OutRecord[];
  /** For each `topic/partition` the next offset to consume. */
  readonly inputs: Readonly<Record<string, Offset>>;
}

/** A group of stages that share tasks: one task for each partition, or one task for all partitions (`gathers`). */
export interface GroupSpec {
  readonly name: string;
  /** Topics that its tasks consume, without prefix and without local ones. */
  readonly topics: readonly {
    readonly name: string;
    readonly partitions: 'all' | 'one';
    /** Records that are gone before they were read are told of, and no reason to stop. Absent: they are. */
    readonly lossy?: boolean;
    /** Their offsets are versions of what is stored: none may be given a second time. Absent: they are not. */
    readonly versions?: boolean;
  }[];
  /** True: a single task 0 consumes every partition. False: task i consumes partition i of each topic (`one`: task 0 alone). */
  readonly gathers: boolean;
  /** Shown to the other instances: `host:port` where this one answers queries; '' when it does not. */
  readonly address: string;
}

/** What a log calls as it gives and takes tasks. Calls for one task never overlap, `leaving` apart; different tasks may run side by side. */
export interface TaskHandler {
  /**
   * The task is ours, and every earlier owner is fenced. Resolves, when the state is restored, with the inputs to start
   * from; an absent `topic/partition` starts at the earliest record. No batch comes before that.
   */
  gained(task: TaskLog): Promise<Readonly<Record<string, Offset>>>;
  /** Takes the batch into memory; the next batch of the task comes after it resolves (back-pressure). */
  records(task: TaskLog, batch: Batch): Promise<void>;
  /**
   * The task will be `lost`: told as soon as the log knows, in the middle of another call if need be, since `lost` comes
   * after that one, and what it waits for may never come. Told again when what was orderly no longer is.
   */
  leaving?(task: TaskLog, orderly: boolean): void;
  /** The task is no longer ours, or stops. With `orderly`, what was taken may still be committed before this resolves. */
  lost(task: TaskLog, orderly: boolean): Promise<void>;
}

export interface TaskLog {
  readonly group: string;
  readonly partition: Partition;
  /** How long a removal stays in the changelog at least: whoever has read less for longer may have missed one. */
  readonly removalsKeptMs: number;
  /**
   * Reads the task's changelog from `from` to its end as of now, in order, in bounded pages. Resolves with the end.
   * A page's change with `value: undefined` is a removal. `from` before the earliest kept record (compaction) is fine.
   */
  restore(
    from: Offset,
    page: (changes: readonly Change[], next: Offset, end: Offset) => Promise<void>,
  ): Promise<Offset>;
  /**
   * One transaction. Resolves with the next changelog offset once all is durable and visible. Throws TASK_FENCED (another
   * owner has it: drop everything), COMMIT_UNKNOWN or LOG_UNAVAILABLE (rejoin: the log will call `gained` again).
   */
  commit(commit: Commit): Promise<Offset>;
}

/** Where a group stands in one partition that it consumes. */
export interface Standing {
  readonly topic: string;
  readonly partition: Partition;
  /** The task that consumes it. */
  readonly task: Partition;
  /** The next offset to consume, as last committed by whoever had the task; the earliest one before the first commit. */
  readonly committed: Offset;
  /** After the last committed record. */
  readonly end: Offset;
}

/** One instance's place in a group. */
export interface Membership {
  /** Who owns a task: ourselves, another instance by its address ('' when it has none), or nobody known at the moment. */
  ownerOf(partition: Partition): { readonly self: boolean; readonly address: string | undefined };
  /** Every partition of the group, asked of the log. Rejects with LOG_UNAVAILABLE while it cannot tell. */
  standings(): Promise<readonly Standing[]>;
  /** Leaves in order: `lost(…, true)` for each task, then out of the group. Bounded by `deadlineMs`. */
  leave(deadlineMs: number): Promise<void>;
  /** Rejects when the membership cannot go on (a bug or a fatal log error); never resolves before `leave`. */
  readonly done: Promise<void>;
}

/** Reads a topic outside any group: every partition, committed records alone. */
export interface Follower {
  /** Resolves once everything that was in the topic when following began has been handed over. */
  readonly caughtUp: Promise<void>;
  close(): Promise<void>;
}

export interface Log {
  /** Creates the topics that are missing and checks those that exist; throws TOPIC_MISCONFIGURED saying what to change. */
  prepare(topics: readonly TopicShape[]): Promise<void>;
  join(group: GroupSpec, handler: TaskHandler): Promise<Membership>;
  /** Appends outside any task, durably, in the order given for each partition. */
  append(records: readonly OutRecord[]): Promise<void>;
  follow(topic: string, from: 'earliest' | 'latest', take: (batch: Batch) => Promise<void>): Promise<Follower>;
  /**
   * A person's word that a group, which must stand still, goes on without the records that it has lost. Resolves with what
   * they are, none when nothing is lost. Absent where nothing can be: a log in the process keeps what was not read.
   */
  acceptLosses?(group: Pick<GroupSpec, 'name' | 'topics' | 'gathers'>): Promise<readonly Loss[]>;
  /** For /readyz. */
  health(): { readonly ok: boolean; readonly reason: string };
  close(): Promise<void>;
}

/** Records of `topic` from `from` on, and before `to`, that are gone. */
export interface Loss {
  readonly topic: string;
  readonly partition: Partition;
  readonly from: Offset;
  readonly to: Offset;
  /** They were read, and the log is another one from there on, which was not. */
  readonly wasRead: boolean;
}

export interface TopicShape {
  readonly name: string;
  readonly partitions: number;
  readonly cleanup: 'delete' | 'compact';
  readonly retentionMs: number;
  /** The largest record it takes; absent: the log's own default (Kafka: 1 MiB). */
  readonly recordBytesMax?: number;
}

/** The changelog topic of a group's tasks: `<app>-<group>-changelog`, as many partitions as tasks. */
export const changelogOf = (app: string, group: string): string => `${app}-${group}-changelog`;

/** The changelog record that carries the task's inputs: the same in every commit, so a restore knows where to go on. */
export const MARK_KEY = '\u0000mark';

export type Inputs = Mark['inputs'];

/**
 * Performs effects in order. Rejects with STORE_UNAVAILABLE when an owner's shard cannot be reached: the runner repeats, and
 * `waitedMs` tells for how long it has.
 */
export interface Effects {
  perform(effects: readonly Effect[], waitedMs: () => number): Promise<readonly Outcome[]>;
}

/** Fits models beside the tasks. Always resolves: what went wrong is the result's `failure`. */
export interface Fitter {
  fit(request: FitRequest): Promise<FitResult>;
  /** Requests that wait or are under way. */
  readonly pending: number;
  close(): Promise<void>;
}

/** Time and its passing. */
export interface Clock {
  now(): number;
  /** Calls `tick` about every `ms` until the returned function is called. */
  every(ms: number, tick: () => void): () => void;
  sleep(ms: number): Promise<void>;
}
