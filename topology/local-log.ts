// Local log: the Log port within one process, over anything that keeps entries (Shelf): groups, delivery, followers,
// commits and fencing. edge/embedded-log.ts puts it on LevelDB, test/support/memory-log.ts on arrays. No I/O, no timers.
//
//   L1. Records become visible in all partitions of a write at once, after the shelf holds all of them.
//   L2. Writes that wait together are written together (group commit), in the order they were made.
//   L3. A task's calls run one after the other; a reader holds at most one batch in hand and one that is being read.
//   L4. A task has one owner: a newer `join` of its group, an unknown commit or a fence ends all its later commits.
//   L5. After a failed write nothing is written any more: what the shelf holds is unknown until it is opened anew.

import { AppError } from '../schemas/errors.ts';
import type { Offset, Partition } from '../schemas/ids.ts';
import type { Change } from '../state/store.ts';
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
  type TaskLog,
  type TopicShape,
} from './ports.ts';

/** What is to be kept of one record. An absent value is a removal. */
export interface NewRecord {
  readonly key: Buffer | string | null;
  readonly value: Buffer | null | undefined;
  readonly headers?: OutRecord['headers'];
}

/** Records of one partition, to lie at `base`, `base + 1` and so on. */
export interface Append {
  readonly topic: string;
  readonly partition: Partition;
  readonly base: Offset;
  readonly records: readonly NewRecord[];
}

/** The next offset that a group reads of a partition, as its task committed it. */
export interface Position {
  readonly group: string;
  /** `topic/partition`. */
  readonly place: string;
  readonly next: Offset;
}

/** Where a partition begins and ends: offsets in [start, end), some of which may be gone. */
export interface Extent {
  readonly start: Offset;
  readonly end: Offset;
}

/** Keeps the entries of a local log. One writer; reads run beside the writes. */
export interface Shelf {
  /** What it holds: every topic with its partitions' extents. */
  topics(): readonly { readonly shape: TopicShape; readonly extents: readonly Extent[] }[];
  /** Durable when it resolves. */
  create(shape: TopicShape): Promise<void>;
  /** Everything or nothing, durable when it resolves. Rejects when it cannot say which. */
  write(appends: readonly Append[], positions: readonly Position[], timestamp: number): Promise<void>;
  /** Records in [from, end), ascending, a bounded number; `next` says how far they reach. Holes are skipped. */
  read(
    topic: string,
    partition: Partition,
    from: Offset,
    end: Offset,
  ): Promise<{ readonly records: readonly RawRecord[]; readonly next: Offset }>;
  /** The earliest offset that may still be there. */
  start(topic: string, partition: Partition): Offset;
  close(): Promise<void>;
}

export interface LocalLogOptions {
  readonly app: string;
  /** Of each topic that has `all` partitions; the number of tasks of a group that does not gather. */
  readonly partitions: number;
  readonly now: () => number;
  /** Calls `fire` after `ms`, unless the returned function is called first. */
  readonly after: (ms: number, fire: () => void) => () => void;
  /** Tests put themselves between a task and the log here. */
  readonly commit?: (perform: () => Promise<Offset>) => Promise<Offset>;
  readonly deliver?: (batch: Batch, hand: (batch: Batch) => Promise<void>) => Promise<void>;
}

/** Writes that go into one group commit: bounds the memory of a batch, not the throughput. */
const RECORDS_PER_WRITE_MAX = 100_000;
/** How long `close` waits for the groups that are still there. */
const CLOSE_MS = 10_000;

interface Part {
  readonly topic: string;
  readonly partition: Partition;
  readonly place: string;
  end: Offset;
  /** What the current write appends. */
  pending: NewRecord[];
  readonly wakers: Set<() => void>;
}

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

export class LocalLog implements Log {
  readonly options: LocalLogOptions;
  readonly #shelf: Shelf;
  readonly #topics = new Map<string, Topic>();
  readonly #members = new Map<string, Member>();
  readonly #followers = new Set<LocalFollower>();
  readonly #activity = new Set<() => void>();
  #queue: Write[] = [];
  #writing: Promise<void> | undefined;
  #failure: AppError | undefined;
  #closing: Promise<void> | undefined;

  constructor(shelf: Shelf, options: LocalLogOptions) {
    this.options = options;
    this.#shelf = shelf;
    for (const { shape, extents } of shelf.topics()) this.#addTopic(shape, extents);
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

  health(): { readonly ok: boolean; readonly reason: string } {
    if (this.#failure !== undefined) return { ok: false, reason: this.#failure.message };
    return this.#closing === undefined ? { ok: true, reason: '' } : { ok: false, reason: 'the log is closed' };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Ends the owner of a task as another process would: its next commit is refused. */
  fence(group: string, partition: Partition): void {
    this.#members.get(group)?.fence(partition);
  }

  /** True when nothing waits to be written, delivered or taken. */
  get idle(): boolean {
    if (this.#queue.length > 0 || this.#writing !== undefined) return false;
    return [...this.#members.values(), ...this.#followers].every((each) => each.idle);
  }

  /** Resolves when the log is idle. */
  async whenIdle(): Promise<void> {
    while (!this.idle) await new Promise<void>((resolve) => this.#activity.add(resolve));
  }

  /** Tells those who wait for the log to be idle to look again. */
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
    return this.#shelf.start(part.topic, part.partition);
  }

  async read(part: Part, from: Offset, end: Offset): Promise<{ records: readonly RawRecord[]; next: Offset }> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return await this.#shelf.read(part.topic, part.partition, from, end);
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
    const ends: Offset[] = []; // For each write, where its changelog goes on.
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
      await this.#shelf.write(appends, positions, this.options.now());
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
    await this.#shelf.create(shape);
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
    await this.#shelf.close();
  }
}

// ---- reading -------------------------------------------------------------------------------------------------------

/** Reads several partitions in turn, and sleeps while all are at their end. */
class Cursor {
  readonly #log: LocalLog;
  readonly #reads: { readonly part: Part; next: Offset }[];
  readonly #wake = (): void => this.#wakeUp();
  #turn = 0;
  #sleeping: (() => void) | undefined;
  #stopped = false;

  constructor(log: LocalLog, reads: readonly { readonly part: Part; readonly next: Offset }[]) {
    this.#log = log;
    this.#reads = reads.map((each) => ({ ...each }));
    for (const { part } of this.#reads) part.wakers.add(this.#wake);
  }

  get sleeping(): boolean {
    return this.#sleeping !== undefined && this.#reads.every(({ part, next }) => next >= part.end);
  }

  /** The next batch, perhaps of no records where all are gone; `undefined` after `stop`. One call at a time. */
  async next(): Promise<Batch | undefined> {
    for (;;) {
      if (this.#stopped) return undefined;
      const read = this.#ready();
      if (read !== undefined) return this.#read(read);
      await new Promise<void>((resolve) => {
        this.#sleeping = resolve;
        this.#log.stirred();
      });
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { part } of this.#reads) part.wakers.delete(this.#wake);
    this.#wakeUp();
  }

  #ready(): { readonly part: Part; next: Offset } | undefined {
    for (let i = 0; i < this.#reads.length; i++) {
      const read = this.#reads[(this.#turn + i) % this.#reads.length]!;
      if (read.next >= read.part.end) continue;
      this.#turn = (this.#turn + i + 1) % this.#reads.length;
      return read;
    }
    return undefined;
  }

  async #read(read: { readonly part: Part; next: Offset }): Promise<Batch> {
    const { topic, partition, end } = read.part;
    const { records, next } = await this.#log.read(read.part, read.next, end);
    read.next = next;
    return { topic, partition, records, nextOffset: next, endOffset: end };
  }

  #wakeUp(): void {
    const resolve = this.#sleeping;
    this.#sleeping = undefined;
    resolve?.();
  }
}

/** Hands batches on until the cursor is stopped, reading one ahead (L3). */
async function pump(cursor: Cursor, hand: (batch: Batch) => Promise<void>): Promise<void> {
  let upcoming = cursor.next();
  for (;;) {
    const batch = await upcoming;
    if (batch === undefined) return;
    upcoming = cursor.next();
    upcoming.catch(() => {}); // Seen where it is awaited; but `hand` may throw first.
    await hand(batch);
  }
}

class LocalFollower implements Follower {
  readonly caughtUp: Promise<void>;
  readonly #log: LocalLog;
  readonly #cursor: Cursor;
  readonly #take: (batch: Batch) => Promise<void>;
  readonly #ended: () => void;
  readonly #behind = new Map<Partition, Offset>(); // Partitions not caught up, with the offset to reach.
  #reached!: () => void;
  #missed!: (error: unknown) => void;
  #running: Promise<void> = Promise.resolve();
  #handing = false;
  #closed = false;

  constructor(
    log: LocalLog,
    parts: readonly Part[],
    from: 'earliest' | 'latest',
    take: (batch: Batch) => Promise<void>,
    ended: () => void,
  ) {
    this.#log = log;
    this.#take = take;
    this.#ended = ended;
    const reads = parts.map((part) => ({ part, next: from === 'latest' ? part.end : log.startOf(part) }));
    for (const { part, next } of reads) if (next < part.end) this.#behind.set(part.partition, part.end);
    this.#cursor = new Cursor(log, reads);
    this.caughtUp = new Promise((resolve, reject) => {
      this.#reached = resolve;
      this.#missed = reject;
    });
    this.caughtUp.catch(() => {}); // Nobody need await it.
  }

  get idle(): boolean {
    return this.#closed || (!this.#handing && this.#cursor.sleeping);
  }

  start(): void {
    if (this.#behind.size === 0) this.#reached();
    this.#running = pump(this.#cursor, (batch) => this.#hand(batch)).catch((error) => {
      this.fail(error);
      this.#log.fail(error); // A taker that throws is a bug, and a follower has nobody else to tell.
    });
  }

  fail(error: unknown): void {
    this.#missed(error);
    this.#end();
  }

  async close(): Promise<void> {
    this.#end();
    this.#missed(new AppError('STOPPED', 'the follower was closed before it had caught up'));
    // Called by the taker itself, it would wait for its own end.
    if (!this.#handing) await this.#running;
  }

  async #hand(batch: Batch): Promise<void> {
    if (this.#closed) return;
    this.#handing = true;
    try {
      if (batch.records.length > 0) await this.#take(batch);
    } finally {
      this.#handing = false;
      this.#log.stirred();
    }
    const target = this.#behind.get(batch.partition);
    if (target === undefined || batch.nextOffset < target) return;
    this.#behind.delete(batch.partition);
    if (this.#behind.size === 0) this.#reached();
  }

  #end(): void {
    this.#closed = true;
    this.#cursor.stop();
    this.#ended();
    this.#log.stirred();
  }
}

// ---- tasks ---------------------------------------------------------------------------------------------------------

/** A task in the hands of one owner. */
class OwnedTask implements TaskLog {
  readonly group: string;
  readonly partition: Partition;
  readonly changelog: Part;
  readonly #log: LocalLog;
  readonly #broken: () => void;
  #fencedBy: string | undefined;

  constructor(log: LocalLog, group: string, partition: Partition, broken: () => void) {
    this.#log = log;
    this.group = group;
    this.partition = partition;
    this.changelog = log.part(changelogOf(log.options.app, group), partition);
    this.#broken = broken;
  }

  get fenced(): boolean {
    return this.#fencedBy !== undefined;
  }

  fence(by: string): void {
    this.#fencedBy ??= by;
  }

  refusal(): AppError | undefined {
    if (this.#fencedBy === undefined) return undefined;
    return new AppError('TASK_FENCED', `task ${this.group}-${this.partition} ${this.#fencedBy}`, {
      group: this.group,
      partition: this.partition,
    });
  }

  async restore(
    from: Offset,
    page: (changes: readonly Change[], next: Offset, end: Offset) => Promise<void>,
  ): Promise<Offset> {
    const end = this.changelog.end;
    let next = Math.max(from, this.#log.startOf(this.changelog));
    while (next < end) {
      const refusal = this.refusal();
      if (refusal !== undefined) throw refusal;
      const read = await this.#log.read(this.changelog, next, end);
      next = read.next;
      const changes = read.records.map(
        ({ key, value }): Change => ({ key: key === null ? '' : key.toString('utf8'), value: value ?? undefined }),
      );
      if (changes.length > 0) await page(changes, next, end);
    }
    return end;
  }

  async commit(commit: Commit): Promise<Offset> {
    const refusal = this.refusal();
    try {
      if (refusal !== undefined) throw refusal;
      if (this.#log.failure !== undefined) throw this.#log.failure;
      for (const { topic, partition } of commit.outputs) this.#log.part(topic, partition);
      const perform = () => this.#log.write(this, commit);
      return await (this.#log.options.commit?.(perform) ?? perform());
    } catch (error) {
      if (isLoss(error)) {
        this.fence('must be gained again: an earlier commit of it failed'); // L4
        this.#broken();
      }
      throw error;
    }
  }
}

/** Errors of a commit after which a task starts again, or is somebody else's. */
function isLoss(error: unknown): boolean {
  return (
    error instanceof AppError &&
    (error.code === 'TASK_FENCED' || error.code === 'COMMIT_UNKNOWN' || error.code === 'LOG_UNAVAILABLE')
  );
}

/** The one member of a group: it has all of the group's tasks. */
class Member implements Membership {
  readonly group: GroupSpec;
  readonly done: Promise<void>;
  readonly #log: LocalLog;
  readonly #handler: TaskHandler;
  readonly #lives: { task: OwnedTask | undefined; cursor: Cursor | undefined; busy: boolean; ended: boolean }[];
  #resolve!: () => void;
  #reject!: (error: unknown) => void;
  #running: Promise<unknown> = Promise.resolve();
  /** Why the tasks stop: in order, or because nothing can be committed any more. */
  #stopping: 'orderly' | 'lost' | undefined;

  constructor(log: LocalLog, group: GroupSpec, handler: TaskHandler, tasks: number) {
    this.#log = log;
    this.group = group;
    this.#handler = handler;
    this.#lives = Array.from({ length: tasks }, () => ({
      task: undefined,
      cursor: undefined,
      busy: true,
      ended: false,
    }));
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {}); // Whoever awaits it sees the error.
  }

  get idle(): boolean {
    return this.#lives.every((life) => life.ended || (!life.busy && life.cursor?.sleeping === true));
  }

  start(): void {
    this.#running = Promise.all(this.#lives.map((_, partition) => this.#live(partition)));
  }

  ownerOf(partition: Partition): { readonly self: boolean; readonly address: string | undefined } {
    const self = this.#stopping === undefined && partition < this.#lives.length;
    return { self, address: self ? this.group.address : undefined };
  }

  async leave(deadlineMs: number): Promise<void> {
    this.#stop('orderly');
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#log.options.after(deadlineMs, resolve);
    });
    await Promise.race([this.#running, late]);
    cancel();
    for (const { task } of this.#lives) task?.fence('has left the group');
    this.#log.left(this);
    this.#resolve();
  }

  fence(partition: Partition): void {
    this.#lives[partition]?.task?.fence('is in the hands of another owner');
  }

  /** Another member of the group takes all tasks (L4). */
  supersede(): void {
    const reason = `was taken over by a newer member of group ${this.group.name}`;
    for (const { task } of this.#lives) task?.fence(reason);
    this.fail(new AppError('TASK_FENCED', `each task of group ${this.group.name} ${reason}`));
  }

  fail(error: unknown): void {
    this.#reject(error);
    this.#stop('lost');
  }

  #stop(how: 'orderly' | 'lost'): void {
    this.#stopping ??= how;
    for (const { cursor } of this.#lives) cursor?.stop();
  }

  /** One task, from gain to loss, again and again until the member stops. */
  async #live(partition: Partition): Promise<void> {
    const life = this.#lives[partition]!;
    try {
      while (this.#stopping === undefined) {
        const task = new OwnedTask(this.#log, this.group.name, partition, () => life.cursor?.stop());
        life.task = task;
        life.busy = true;
        await this.#own(task, life);
        await this.#handler.lost(task, this.#stopping === 'orderly' && !task.fenced);
        task.fence('was given back');
      }
    } catch (error) {
      this.fail(error);
    } finally {
      life.ended = true;
      this.#log.stirred();
    }
  }

  async #own(task: OwnedTask, life: { cursor: Cursor | undefined; busy: boolean }): Promise<void> {
    try {
      const inputs = await this.#handler.gained(task);
      if (this.#stopping !== undefined || task.fenced) return;
      life.cursor = new Cursor(this.#log, this.#readsOf(task.partition, inputs));
      life.busy = false;
      await pump(life.cursor, async (batch) => {
        if (this.#stopping !== undefined || task.fenced === true || batch.records.length === 0) return;
        life.busy = true;
        await this.#deliver(task, batch);
        life.busy = false;
        this.#log.stirred();
      });
    } catch (error) {
      if (!isLoss(error) || this.#log.failure !== undefined) throw error;
    } finally {
      life.cursor?.stop();
      life.cursor = undefined;
      life.busy = true;
    }
  }

  #deliver(task: OwnedTask, batch: Batch): Promise<void> {
    const hand = (each: Batch) => this.#handler.records(task, each);
    return this.#log.options.deliver?.(batch, hand) ?? hand(batch);
  }

  #readsOf(partition: Partition, inputs: Commit['inputs']): { part: Part; next: Offset }[] {
    const parts = this.group.topics.flatMap(({ name, partitions }) => {
      if (this.group.gathers) return this.#log.partsOf(name);
      if (partitions === 'all') return [this.#log.part(name, partition)];
      return partition === 0 ? [this.#log.part(name, 0)] : [];
    });
    return parts.map((part) => {
      const start = this.#log.startOf(part);
      const next = inputs[part.place] ?? start;
      if (next > part.end || (next < start && !this.#isCompacted(part)))
        throw new AppError(
          'INPUT_TRUNCATED',
          `${part.place} holds offsets ${start} to ${part.end}, but task ${this.group.name}-${partition} goes on at ${next}: records were removed before they were read`,
          { place: part.place, start, end: part.end, next },
        );
      return { part, next: Math.max(next, start) };
    });
  }

  #isCompacted(part: Part): boolean {
    return this.#log.shapeOf(part.topic).cleanup === 'compact';
  }
}
