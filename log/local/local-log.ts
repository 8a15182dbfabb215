// Local log: the Log port within one process, over any LogStorage: groups, delivery, followers, commits and fencing.
// embedded/embedded-log.ts puts it on LevelDB, test/support/memory-log.ts on arrays. No I/O, no timers.
//
//   L1. Records become visible in all partitions of a write at once, after the storage holds all of them.
//   L2. Writes that wait together are written together (group commit), in the order they were made.
//   L3. A task's calls run one after the other; a reader has at most one batch in processing and one being read.
//   L4. A task has one owner: a newer `join` of its group, an unknown commit or a fence ends all its later commits.
//   L5. After a failed write nothing more is written: what the storage holds is unknown until it is opened again.

import {
  type Batch,
  type Commit,
  changelogOf,
  type Follower,
  type GroupSpec,
  type Log,
  type Membership,
  type OutRecord,
  type RawRecord,
  type TaskHandler,
  type TopicShape,
} from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { Change } from '../../state/store.ts';
import { type GroupLog, Member, type MemberOptions, type OwnedTask } from './local-member.ts';
import { LocalFollower, type Part } from './local-reading.ts';
import type { Append, Extent, LogStorage, NewRecord, Position } from './log-storage.ts';

export interface LocalLogOptions extends MemberOptions {
  /** Number of partitions of each topic that has `all`; also the number of tasks of a group that does not gather. */
  readonly partitions: number;
  readonly now: () => number;
}

/** Most records in one group commit: bounds the memory of a batch, not the throughput. */
const RECORDS_PER_WRITE_MAX = 100_000;
/** How long `close` waits for the groups that still have members. */
const CLOSE_MS = 10_000;

interface Topic {
  readonly shape: TopicShape;
  readonly parts: readonly Part[];
}

interface Write {
  readonly task: OwnedTask | undefined;
  readonly outputs: readonly OutRecord[];
  readonly changelog: readonly Change[];
  readonly inputs: Commit['inputs'];
  readonly resolve: (changelogEnd: Offset) => void;
  readonly reject: (error: unknown) => void;
}

export class LocalLog implements Log, GroupLog {
  readonly options: LocalLogOptions;
  readonly #storage: LogStorage;
  readonly #topics = new Map<string, Topic>();
  readonly #members = new Map<string, Member>();
  readonly #followers = new Set<LocalFollower>();
  readonly #activity = new Set<() => void>();
  #queue: Write[] = [];
  #writing: Promise<void> | undefined;
  #failure: AppError | undefined;
  #closing: Promise<void> | undefined;

  constructor(storage: LogStorage, options: LocalLogOptions) {
    this.options = options;
    this.#storage = storage;
    for (const { shape, extents } of storage.topics()) this.#addTopic(shape, extents);
  }

  async prepare(shapes: readonly TopicShape[]): Promise<void> {
    for (const shape of shapes) {
      this.#mustBeOpen();
      const found = this.#topics.get(shape.name)?.shape;
      if (found === undefined) await this.#create(shape);
      else if (found.partitions !== shape.partitions || found.cleanup !== shape.cleanup)
        throw new AppError(
          'TOPIC_MISCONFIGURED',
          `topic ${shape.name} has ${found.partitions} partitions and clean-up "${found.cleanup}", but ${shape.partitions} and "${shape.cleanup}" are asked for: use the settings that the log was made with, or a new folder`,
          { topic: shape.name, found, expected: shape },
        );
    }
  }

  async join(group: GroupSpec, handler: TaskHandler): Promise<Membership> {
    this.#mustBeOpen();
    const changelog = changelogOf(this.options.app, group.name);
    const tasks = group.gathers ? 1 : this.options.partitions;
    await this.prepare([{ name: changelog, partitions: tasks, cleanup: 'compact', retentionMs: -1 }]);
    for (const { name } of group.topics) this.part(name, 0);
    this.#members.get(group.name)?.supersede();
    const member = new Member(this, group, handler, tasks);
    this.#members.set(group.name, member);
    member.start();
    return member;
  }

  async append(records: readonly OutRecord[]): Promise<void> {
    this.#mustBeOpen();
    for (const record of records) this.part(record.topic, record.partition);
    if (records.length > 0) await this.write(undefined, { outputs: records, changelog: [], inputs: {} });
  }

  async follow(topic: string, from: 'earliest' | 'latest', take: (batch: Batch) => Promise<void>): Promise<Follower> {
    this.#mustBeOpen();
    this.part(topic, 0);
    const follower = new LocalFollower(this, this.partsOf(topic), from, take, () => this.#followers.delete(follower));
    this.#followers.add(follower);
    follower.start();
    return follower;
  }

  /** How many partitions a topic has; `undefined` when there is no such topic yet. */
  partitionsOf(topic: string): number | undefined {
    return this.#topics.get(topic)?.shape.partitions;
  }

  health(): { readonly ok: boolean; readonly reason: string } {
    if (this.#failure !== undefined) return { ok: false, reason: this.#failure.message };
    return this.#closing === undefined ? { ok: true, reason: '' } : { ok: false, reason: 'the log is closed' };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Fences the owner of a task, as another process would: its next commit is refused. */
  fence(group: string, partition: Partition): void {
    this.#members.get(group)?.fence(partition);
  }

  /** True when nothing waits to be written, delivered or processed. */
  get idle(): boolean {
    if (this.#queue.length > 0 || this.#writing !== undefined) return false;
    return [...this.#members.values(), ...this.#followers].every((each) => each.idle);
  }

  /** Resolves when the log is idle. */
  async whenIdle(): Promise<void> {
    while (!this.idle) await new Promise<void>((resolve) => this.#activity.add(resolve));
  }

  /** Something has changed: callers of `whenIdle` check again. */
  stirred(): void {
    const waiting = [...this.#activity];
    this.#activity.clear();
    for (const each of waiting) each();
  }

  // ---- for the members, followers and tasks below ------------------------------------------------------------------

  /** Why nothing is written any more (L5). */
  get failure(): AppError | undefined {
    return this.#failure;
  }

  part(topic: string, partition: Partition): Part {
    const part = this.#topics.get(topic)?.parts[partition];
    if (part !== undefined) return part;
    const found = this.#topics.get(topic)?.shape;
    throw new AppError(
      'TOPIC_MISCONFIGURED',
      found === undefined
        ? `topic ${topic} does not exist in the log: prepare it first`
        : `topic ${topic} has ${found.partitions} partitions, so no partition ${partition}`,
      { topic, partition },
    );
  }

  partsOf(topic: string): readonly Part[] {
    return this.#topics.get(topic)!.parts;
  }

  shapeOf(topic: string): TopicShape {
    return this.#topics.get(topic)!.shape;
  }

  startOf(part: Part): Offset {
    return this.#storage.start(part.topic, part.partition);
  }

  async read(part: Part, from: Offset, end: Offset): Promise<{ records: readonly RawRecord[]; next: Offset }> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await this.#storage.read(part.topic, part.partition, from, end);
    } catch (error) {
      throw this.fail(error);
    }
  }

  write(task: OwnedTask | undefined, commit: Commit): Promise<Offset> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ task, ...commit, resolve, reject });
      this.#writing ??= Promise.resolve().then(() => this.#drain());
    });
  }

  left(member: Member): void {
    if (this.#members.get(member.group.name) === member) this.#members.delete(member.group.name);
    this.stirred();
  }

  // ---- writing -----------------------------------------------------------------------------------------------------

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) await this.#writeSome();
    this.#writing = undefined;
    this.stirred();
  }

  /** One group commit (L2). */
  async #writeSome(): Promise<void> {
    const writes: Write[] = [];
    const ends: Offset[] = []; // For each write, the next offset of its changelog.
    const touched: Part[] = [];
    const positions: Position[] = [];
    const add = (part: Part, record: NewRecord): void => {
      if (part.pending.length === 0) touched.push(part);
      part.pending.push(record);
    };
    let count = 0;
    let taken = 0;
    for (const write of this.#queue) {
      if (count >= RECORDS_PER_WRITE_MAX) break;
      taken++;
      const refusal = this.#failure ?? write.task?.refusal();
      if (refusal !== undefined) {
        write.reject(refusal);
        continue;
      }
      for (const record of write.outputs) add(this.part(record.topic, record.partition), record);
      if (write.task !== undefined) {
        const changelog = write.task.changelog;
        for (const change of write.changelog) add(changelog, change);
        for (const place in write.inputs)
          positions.push({ group: write.task.group, place, next: write.inputs[place]! });
        ends.push(changelog.end + changelog.pending.length);
      } else ends.push(0);
      count += write.outputs.length + write.changelog.length;
      writes.push(write);
    }
    this.#queue.splice(0, taken);
    if (writes.length === 0) return;
    const appends = touched.map((part): Append => {
      const { topic, partition, end, pending } = part;
      part.pending = [];
      return { topic, partition, base: end, records: pending };
    });
    try {
      await this.#storage.write(appends, positions, this.options.now());
    } catch (error) {
      const failure = this.fail(error);
      for (const write of writes)
        write.reject(
          write.task === undefined
            ? failure
            : new AppError('COMMIT_UNKNOWN', 'the commit may or may not be in the log: its write failed', {}, failure),
        );
      return;
    }
    for (let i = 0; i < touched.length; i++) touched[i]!.end += appends[i]!.records.length; // L1
    for (let i = 0; i < writes.length; i++) writes[i]!.resolve(ends[i]!);
    for (const part of touched) for (const wake of part.wakers) wake();
  }

  /** Ends all writing (L5), and every group and follower. */
  fail(cause: unknown): AppError {
    if (this.#failure === undefined) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#failure = new AppError(
        'LOG_UNAVAILABLE',
        `the log can no longer be used until it is opened again: ${reason}`,
        {},
        cause,
      );
      for (const member of this.#members.values()) member.fail(this.#failure);
      for (const follower of [...this.#followers]) follower.fail(this.#failure);
    }
    return this.#failure;
  }

  async #create(shape: TopicShape): Promise<void> {
    await this.#storage.create(shape);
    // Two callers may have prepared the same topic at the same time.
    if (!this.#topics.has(shape.name))
      this.#addTopic(
        shape,
        Array.from({ length: shape.partitions }, () => ({ start: 0, end: 0 })),
      );
  }

  #addTopic(shape: TopicShape, extents: readonly Extent[]): void {
    const parts = extents.map(
      ({ end }, partition): Part => ({
        topic: shape.name,
        partition,
        place: `${shape.name}/${partition}`,
        end,
        pending: [],
        wakers: new Set(),
      }),
    );
    this.#topics.set(shape.name, { shape, parts });
  }

  #mustBeOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw new AppError('LOG_UNAVAILABLE', 'the log is closed');
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#members.values()].map((member) => member.leave(CLOSE_MS)));
    await Promise.all([...this.#followers].map((follower) => follower.close()));
    await this.#writing;
    await this.#storage.close();
  }
}
