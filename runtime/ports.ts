// Ports: what the runner needs from outside. Each has an implementation for each runtime under edge/, and one in
// memory under test/support. The log suite (test/log/log-suite.ts) checks all logs against the promises written here.

import type { FitRequest, FitResult } from '../processors/forecast/fits.ts';
import type { Offset, Partition } from '../schemas/ids.ts';
import type { Effect, Outcome } from '../state/effects.ts';
import type { Change, Mark } from '../state/store.ts';

/** A record as it is in the log: not decoded and not judged. */
export interface RawRecord {
  readonly offset: Offset;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The log's own time of the record, in ms; used only for dead letters and lag. */
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
  /**
   * Set when the log is another one from this offset on: records from here on that were handed over before are gone
   * from it.
   */
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
    /** True: the loss of records that were not read yet is reported and does not stop the task. Absent: false. */
    readonly lossy?: boolean;
    /** True: their offsets are versions of stored rows, so none may be given a second time. Absent: false. */
    readonly versions?: boolean;
  }[];
  /** True: a single task 0 consumes every partition. False: task i consumes partition i of each topic (`one`: task 0 alone). */
  readonly gathers: boolean;
  /** `host:port` at which this instance answers queries of others; '' when it does not. */
  readonly address: string;
}

/**
 * What a log calls as it assigns and revokes tasks. Calls for one task never overlap, except `leaving`; different tasks
 * may run at the same time.
 */
export interface TaskHandler {
  /**
   * The task is ours, and every earlier owner is fenced. Resolves, when the state is restored, with the input positions
   * to start from; an absent `topic/partition` starts at the earliest record. No batch comes before that.
   */
  gained(task: TaskLog): Promise<Readonly<Record<string, Offset>>>;
  /** Takes the batch into memory; the next batch of the task comes after it resolves (back-pressure). */
  records(task: TaskLog, batch: Batch): Promise<void>;
  /**
   * The task will be `lost`. Called as soon as the log knows, possibly during another call: `lost` comes only after
   * that call has ended, which may be waiting for something that never comes. Called again when an orderly end is no
   * longer possible.
   */
  leaving?(task: TaskLog, orderly: boolean): void;
  /**
   * The task is no longer ours, or stops. With `orderly`, records taken may still be committed before this resolves.
   */
  lost(task: TaskLog, orderly: boolean): Promise<void>;
}

export interface TaskLog {
  readonly group: string;
  readonly partition: Partition;
  /** How long a removal stays in the changelog at least: a reader that was away for longer may have missed one. */
  readonly removalsKeptMs: number;
  /**
   * Reads the task's changelog from `from` to its present end, in order, in bounded pages. Resolves with the end.
   * A page's change with `value: undefined` is a removal. `from` may be before the earliest record kept (compaction).
   */
  restore(
    from: Offset,
    page: (changes: readonly Change[], next: Offset, end: Offset) => Promise<void>,
  ): Promise<Offset>;
  /**
   * One transaction. Resolves with the next changelog offset once all is durable and visible. Throws TASK_FENCED
   * (another owner has the task: drop everything), COMMIT_UNKNOWN or LOG_UNAVAILABLE (the log will call `gained`
   * again).
   */
  commit(commit: Commit): Promise<Offset>;
}

/** The position of a group in one partition that it consumes. */
export interface Standing {
  readonly topic: string;
  readonly partition: Partition;
  /** The task that consumes it. */
  readonly task: Partition;
  /**
   * The next offset to consume, as last committed by any owner of the task; the earliest one before the first commit.
   */
  readonly committed: Offset;
  /** The offset after the last committed record. */
  readonly end: Offset;
}

/** One instance's membership in a group. */
export interface Membership {
  /** The owner of a task: this instance, another one by its address ('' when it has none), or unknown at the moment. */
  ownerOf(partition: Partition): { readonly self: boolean; readonly address: string | undefined };
  /** Every partition of the group, as the log reports. Rejects with LOG_UNAVAILABLE while it cannot. */
  standings(): Promise<readonly Standing[]>;
  /** Leaves in order: `lost(…, true)` for each task, then leaves the group. Takes at most `deadlineMs`. */
  leave(deadlineMs: number): Promise<void>;
  /** Rejects when the membership cannot continue (a bug or a fatal log error); never resolves before `leave`. */
  readonly done: Promise<void>;
}

/** Reads a topic outside any group: every partition, only committed records. */
export interface Follower {
  /** Resolves once everything that was in the topic when following began has been handed over. */
  readonly caughtUp: Promise<void>;
  close(): Promise<void>;
}

export interface Log {
  /** Creates missing topics and checks existing ones; throws TOPIC_MISCONFIGURED, which says what to change. */
  prepare(topics: readonly TopicShape[]): Promise<void>;
  join(group: GroupSpec, handler: TaskHandler): Promise<Membership>;
  /** Appends outside any task, durably, in the order given for each partition. */
  append(records: readonly OutRecord[]): Promise<void>;
  follow(topic: string, from: 'earliest' | 'latest', take: (batch: Batch) => Promise<void>): Promise<Follower>;
  /**
   * An operator's consent that a group, which must be stopped, continues without the records that it has lost. Resolves
   * with these losses, none when nothing is lost. Absent in a log within the process, which never loses records before
   * they are read.
   */
  acceptLosses?(group: Pick<GroupSpec, 'name' | 'topics' | 'gathers'>): Promise<readonly Loss[]>;
  /** For /readyz. */
  health(): { readonly ok: boolean; readonly reason: string };
  close(): Promise<void>;
}

/** Records of `topic` from offset `from` up to, not including, `to` that are lost. */
export interface Loss {
  readonly topic: string;
  readonly partition: Partition;
  readonly from: Offset;
  readonly to: Offset;
  /** They had been read: the log is another one from there on, whose records were not read. */
  readonly wasRead: boolean;
}

export interface TopicShape {
  readonly name: string;
  readonly partitions: number;
  readonly cleanup: 'delete' | 'compact';
  readonly retentionMs: number;
  /** The largest record that it accepts; absent: the log's own default (Kafka: 1 MiB). */
  readonly recordBytesMax?: number;
}

/** The changelog topic of a group's tasks: `<app>-<group>-changelog`, as many partitions as tasks. */
export const changelogOf = (app: string, group: string): string => `${app}-${group}-changelog`;

/** Key of the changelog record with the task's input positions: the same in every commit, so a restore finds them. */
export const MARK_KEY = '\u0000mark';

export type Inputs = Mark['inputs'];

/**
 * Performs effects in order. Rejects with STORE_UNAVAILABLE when an owner's shard cannot be reached: the runner repeats
 * them, with the time waited so far in `waitedMs`.
 */
export interface Effects {
  perform(effects: readonly Effect[], waitedMs: () => number): Promise<readonly Outcome[]>;
}

/** Fits models beside the tasks. Always resolves: an error is in the result's `failure`. */
export interface Fitter {
  fit(request: FitRequest): Promise<FitResult>;
  /** Number of requests that are waiting or under way. */
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
