// Local member: the only member of a group of a local log; it has all of the group's tasks. It hands each task its
// batches one after the other, and assigns a task again after a failed commit (local-log.ts L3 and L4).

import {
  type Batch,
  type Commit,
  changelogOf,
  type GroupSpec,
  type Membership,
  type Standing,
  type TaskHandler,
  type TaskLog,
  type TopicShape,
} from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { Change } from '../../state/store.ts';
import { Cursor, type Part, pump, type ReadLog } from './local-reading.ts';

export interface MemberOptions {
  readonly app: string;
  /** How long compaction keeps removals; absent: for ever. */
  readonly removalsKeptMs?: number;
  /** Calls `fire` after `ms`, unless the returned function is called first. */
  readonly after: (ms: number, fire: () => void) => () => void;
  /** Tests intercept commits here. */
  readonly commit?: (perform: () => Promise<Offset>) => Promise<Offset>;
  readonly deliver?: (batch: Batch, hand: (batch: Batch) => Promise<void>) => Promise<void>;
}

/** What a member and its tasks need of the log. */
export interface GroupLog extends ReadLog {
  readonly options: MemberOptions;
  /** Why nothing is written any more. */
  readonly failure: AppError | undefined;
  /** Throws TOPIC_MISCONFIGURED when there is no such partition. */
  part(topic: string, partition: Partition): Part;
  partsOf(topic: string): readonly Part[];
  shapeOf(topic: string): TopicShape;
  /** Resolves with the next offset of the task's changelog once all is durable and visible. */
  write(task: OwnedTask | undefined, commit: Commit): Promise<Offset>;
  /** The member has left its group. */
  left(member: Member): void;
}

/** A task as one owner has it. */
export class OwnedTask implements TaskLog {
  readonly group: string;
  readonly partition: Partition;
  readonly changelog: Part;
  readonly removalsKeptMs: number;
  readonly #log: GroupLog;
  readonly #told: { committed(inputs: Commit['inputs']): void; broken(): void };
  #fencedBy: string | undefined;

  /** `told` is called with the positions of each commit, and of the one after which there are no more. */
  constructor(
    log: GroupLog,
    group: string,
    partition: Partition,
    told: { committed(inputs: Commit['inputs']): void; broken(): void },
  ) {
    this.#log = log;
    this.group = group;
    this.partition = partition;
    this.changelog = log.part(changelogOf(log.options.app, group), partition);
    this.removalsKeptMs = log.options.removalsKeptMs ?? Number.POSITIVE_INFINITY;
    this.#told = told;
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
      const next = await (this.#log.options.commit?.(perform) ?? perform());
      this.#told.committed(commit.inputs);
      return next;
    } catch (error) {
      if (isLoss(error)) {
        this.fence('must be assigned again: an earlier commit of it failed'); // L4
        this.#told.broken();
      }
      throw error;
    }
  }
}

/** True for errors of a commit after which a task starts again, or belongs to another owner. */
function isLoss(error: unknown): boolean {
  return (
    error instanceof AppError &&
    (error.code === 'TASK_FENCED' || error.code === 'COMMIT_UNKNOWN' || error.code === 'LOG_UNAVAILABLE')
  );
}

interface Life {
  task: OwnedTask | undefined;
  cursor: Cursor | undefined;
  committed: Commit['inputs'];
  busy: boolean;
  ended: boolean;
}

/** The only member of a group: it has all of the group's tasks. */
export class Member implements Membership {
  readonly group: GroupSpec;
  readonly done: Promise<void>;
  readonly #log: GroupLog;
  readonly #handler: TaskHandler;
  readonly #lives: Life[];
  #resolve!: () => void;
  #reject!: (error: unknown) => void;
  #running: Promise<unknown> = Promise.resolve();
  /** Why the tasks stop: in order, or because nothing can be committed any more. */
  #stopping: 'orderly' | 'lost' | undefined;

  constructor(log: GroupLog, group: GroupSpec, handler: TaskHandler, tasks: number) {
    this.#log = log;
    this.group = group;
    this.#handler = handler;
    this.#lives = Array.from({ length: tasks }, () => ({
      task: undefined,
      cursor: undefined,
      committed: {},
      busy: true,
      ended: false,
    }));
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.done.catch(() => {}); // Callers may await it or not; without this, its rejection would be unhandled when none does.
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

  async standings(): Promise<readonly Standing[]> {
    return this.#lives.flatMap(({ committed }, task) =>
      this.#partsOf(task).map((part) => {
        const { topic, partition, place, end } = part;
        return { topic, partition, task, end, committed: committed[place] ?? this.#log.startOf(part) };
      }),
    );
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
    this.#lives[partition]?.task?.fence('has another owner');
  }

  /** Another member of the group takes over all tasks (L4). */
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
    for (const { task, cursor } of this.#lives) {
      if (task !== undefined) this.#handler.leaving?.(task, this.#stopping === 'orderly' && !task.fenced);
      cursor?.stop();
    }
  }

  /** Runs one task, from gain to loss, again and again until the member stops. */
  async #live(partition: Partition): Promise<void> {
    const life = this.#lives[partition]!;
    try {
      while (this.#stopping === undefined) {
        const task = new OwnedTask(this.#log, this.group.name, partition, {
          committed: (inputs) => {
            life.committed = { ...life.committed, ...inputs };
          },
          broken: () => life.cursor?.stop(),
        });
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

  async #own(task: OwnedTask, life: Life): Promise<void> {
    try {
      const inputs = await this.#handler.gained(task);
      if (this.#stopping !== undefined || task.fenced) return;
      life.committed = { ...inputs }; // The task continues with a copy of its own.
      life.cursor = new Cursor(this.#log, this.#readsOf(task.partition, inputs));
      life.busy = false;
      await pump(life.cursor, async (batch) => {
        if (this.#stopping !== undefined) return;
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
    return this.#partsOf(partition).map((part) => {
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

  /** The partitions that a task consumes. */
  #partsOf(task: Partition): readonly Part[] {
    return this.group.topics.flatMap(({ name, partitions }) => {
      if (this.group.gathers) return this.#log.partsOf(name);
      if (partitions === 'all') return [this.#log.part(name, task)];
      return task === 0 ? [this.#log.part(name, 0)] : [];
    });
  }

  #isCompacted(part: Part): boolean {
    return this.#log.shapeOf(part.topic).cleanup === 'compact';
  }
}
