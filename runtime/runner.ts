// Runner: runs a topology on a log. It joins one group for each kind of task, hands the log's batches to tasks, tells
// tasks the time, and answers queries about rows. Every side effect of the system goes through here or a port.
//
//   U1. A task gets batches only after its state is restored; a lost task commits nothing.
//   U2. Ticks carry the event time that the tasks of this process have reported (state/watermark.ts); while no input
//       comes, event time follows the host's clock, so that quiet series close their windows.
//   U3. No task waits for another: each has at most one tick under way, and a task that waits for a store is named in
//       `readiness`. A task that has to leave gets ORDERLY_MS to commit; after that its next owner repeats uncommitted
//       work.
//   U4. How far a group is behind is asked of the log, for every partition. `readiness` names partitions that stand
//       still, also those of other instances, and is false while one of this instance or of no instance stands still.
//   U5. `liveness` fails only for what a restart may fix: ticks that no longer come, and a task that has had work for
//       HUNG_MS without progress, unless it waits for a log that does not answer.
//   U6. A bug (any error that is not an AppError) or a fatal log error ends the run; nothing continues with an
//       inconsistent state.

import { TABLE_UNREAD, type Tick } from '../processors/step.ts';
import { AppError } from '../schemas/errors.ts';
import type { Partition } from '../schemas/ids.ts';
import { MERGED_SOURCES, Watermark } from '../state/watermark.ts';
import type { Group, Topology } from '../topology/graph.ts';
import type { AnyTopic } from '../topology/topics.ts';
import { type Lag, LagWatch } from './lag-watch.ts';
import type { Waiting } from './patient-effects.ts';
import {
  type Batch,
  changelogOf,
  type Log,
  type Membership,
  type TaskHandler,
  type TaskLog,
  type TopicShape,
} from './ports.ts';
import { Task, type TaskEvents, type TaskPorts, type TaskSettings } from './task.ts';

export interface RunnerPorts extends TaskPorts {
  readonly log: Log;
  /**
   * The epoch of the pointer table as this process has read it, once that is complete; absent when nobody reads it
   * beside the tasks.
   */
  readonly pointerEpoch?: () => number | undefined;
}

export interface RunnerSettings extends TaskSettings {
  readonly app: string;
  /** `host:port` of this instance's HTTP API for other instances; '' when there is none. */
  readonly address: string;
  /** Time between two ticks of the tasks. */
  readonly tickMs: number;
  /** After this much silence event time follows the host's clock. */
  readonly idleMs: number;
}

/** A row of the running topology, or the instance that has it. */
export type Found<Row> =
  | { readonly kind: 'here'; readonly row: Row | undefined }
  | { readonly kind: 'elsewhere'; readonly address: string }
  | { readonly kind: 'unknown' };

export interface Running {
  /** One row of a table at the task of that partition. */
  read<Row>(group: Group['name'], table: string, partition: Partition, key: string): Found<Row>;
  /** All rows of a table in the tasks of this process. */
  rows<Row>(group: Group['name'], table: string): IterableIterator<[string, Row]>;
  /** Whether the rows of that task are here. */
  where(group: Group['name'], partition: Partition): Found<undefined>;
  /** Ticks every task now. The runner does so itself every `tickMs`; runs in simulated time call it. */
  tick(): Promise<void>;
  /**
   * Whether every loop makes progress. A store or a log that does not answer is no reason to restart: the new process
   * would only wait again.
   */
  liveness(): { readonly live: boolean; readonly reasons: readonly string[] };
  /** The event time that the tasks of this process have reported; 0 before the first event. */
  readonly eventTime: number;
  /** Ready when the process has restored its tasks and they make progress; otherwise the reasons. */
  readiness(): Readiness;
  /** The lag of each partition, where it is known, and the owner of its task. */
  lags(): readonly OwnedLag[];
  /** Resolves after `stop`; rejects when the run cannot continue. */
  readonly done: Promise<void>;
  /** Commits, closes the stores, leaves the groups. Idempotent; takes at most the deadline. */
  stop(deadlineMs: number): Promise<void>;
}

export interface Readiness {
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly restoredPercent: number;
  readonly tasks: number;
  /** Tasks that wait for a store, listed at once; they make the process unready after STUCK_MS. */
  readonly waiting: readonly Waiting[];
  /** Records that the groups have not consumed, for the tasks of all instances; -1 while unknown. */
  readonly lagRecords: number;
  /** Partitions with records to consume whose position does not move, whichever instance has their tasks. */
  readonly standing: readonly OwnedLag[];
}

export interface OwnedLag extends Lag {
  /** `nobody`: no instance is known to have the task. */
  readonly owner: 'self' | 'other' | 'nobody';
}

/** Joins the groups of the topology and runs it until `stop`. */
export async function run(topology: Topology, ports: RunnerPorts, settings: RunnerSettings): Promise<Running> {
  await ports.log.prepare(shapesOf(topology, settings));
  const runner = new Runner(topology, ports, settings);
  await runner.start();
  return runner;
}

/** The topics and changelogs that the topology needs. */
export function shapesOf(
  topology: Topology,
  settings: { readonly app: string; readonly partitions: number },
): TopicShape[] {
  const shapeOf = (topic: AnyTopic): TopicShape => ({
    name: topic.name,
    partitions: topic.partitions === 'one' ? 1 : settings.partitions,
    cleanup: topic.cleanup,
    retentionMs: topic.retentionMs,
  });
  const changelogs = topology.groups.map(
    (group): TopicShape => ({
      name: changelogOf(settings.app, group.name),
      partitions: group.gathers ? 1 : settings.partitions,
      cleanup: 'compact',
      retentionMs: -1,
    }),
  );
  // A dead letter holds up to 1 MiB of value, the refused record's headers and its own.
  const letters: TopicShape = { ...shapeOf(topology.letters), recordBytesMax: 2 << 20 };
  return [...topology.topics.map(shapeOf), letters, ...changelogs];
}

/** Longer than many commits take, and well below the 30 s for which a Kafka group waits for its members. */
const ORDERLY_MS = 10_000;
/** Longer than a store's restart or a short network fault, which operators need not be told of. */
const STUCK_MS = 10_000;
/** Ticks come five times a second; no garbage collection and no batch takes this long. */
const TICK_SILENT_MS = 30_000;
/** Far longer than the limits of a batch, a page, a commit or an attempt on a store. */
const HUNG_MS = 300_000;
/** How often the log is asked how far the groups are behind: two requests to Kafka for each group. */
const LOOK_MS = 3_000;

class Runner implements Running {
  readonly done: Promise<void>;
  readonly #topology: Topology;
  readonly #ports: RunnerPorts;
  readonly #settings: RunnerSettings;
  readonly #members = new Map<Group['name'], Membership>();
  readonly #tasks = new Map<string, Task>();
  readonly #ready = new Set<string>(); // Names of tasks that are restored.
  readonly #ticking = new Set<Task>(); // Tasks that have not finished their last tick yet.
  readonly #leaving = new Set<Task>(); // Tasks that are to leave in order and have not left yet.
  #finish: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #stopTicks: () => void = () => {};
  #stopLooks: () => void = () => {};
  readonly #watch = new LagWatch();
  readonly #looking = new Set<Group['name']>();
  #stopping: Promise<void> | undefined;
  readonly #watermark = new Watermark();
  #provedAt = 0; // The host's time at which the reported event time last moved.
  #lastTickAt: number;

  constructor(topology: Topology, ports: RunnerPorts, settings: RunnerSettings) {
    this.#topology = topology;
    this.#ports = ports;
    this.#settings = settings;
    this.#lastTickAt = ports.clock.now();
    this.done = new Promise((resolve, reject) => {
      this.#finish = { resolve, reject };
    });
    this.done.catch(() => {}); // Callers may await it or not; without this, its rejection would be unhandled when none does.
  }

  async start(): Promise<void> {
    const filed = new Set<string>();
    for (const group of this.#topology.groups) {
      const files = new Set(group.topics.map((topic) => topic.name).filter((name) => !filed.has(name)));
      for (const name of files) filed.add(name);
      const events: TaskEvents = {
        eventTime: (millis) => this.#proveEventTime(millis),
        filesDeadLetters: (topic) => files.has(topic),
      };
      const membership = await this.#ports.log.join(
        {
          name: group.name,
          topics: group.topics.map(({ name, partitions, lossy, versions }) => ({ name, partitions, lossy, versions })),
          gathers: group.gathers,
          address: this.#settings.address,
        },
        this.#handlerOf(group, events),
      );
      membership.done.catch((error) => this.#fail(error));
      this.#members.set(group.name, membership);
    }
    this.#stopTicks = this.#ports.clock.every(this.#settings.tickMs, () => void this.tick());
    this.#stopLooks = this.#ports.clock.every(LOOK_MS, () => {
      for (const [name, membership] of this.#members) void this.#look(name, membership);
    });
  }

  /** Tells the time to every task that has finished its last tick (U3). */
  async tick(): Promise<void> {
    this.#lastTickAt = this.#ports.clock.now();
    if (this.#stopping !== undefined) return;
    if (this.#watermark.watch(this.#lastTickAt, MERGED_SOURCES)) this.#provedAt = this.#lastTickAt;
    const tick = this.#now();
    await Promise.all([...this.#tasks.values()].map((task) => this.#tickOf(task, tick)));
  }

  async #tickOf(task: Task, tick: Tick): Promise<void> {
    if (this.#ticking.has(task)) return;
    this.#ticking.add(task);
    await this.#guarded(task.tick(tick));
    this.#ticking.delete(task);
  }

  /** Asks the log how far a group is behind; one request at a time. After failures the lag becomes unknown. */
  async #look(group: Group['name'], membership: Membership): Promise<void> {
    if (this.#looking.has(group)) return;
    this.#looking.add(group);
    try {
      this.#watch.take(group, await membership.standings(), this.#ports.clock.now());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#ports.logger.debug({ group, reason }, 'the log could not be asked how far the group is behind');
    } finally {
      this.#looking.delete(group);
    }
  }

  get eventTime(): number {
    return Math.max(0, this.#watermark.time);
  }

  liveness(): { readonly live: boolean; readonly reasons: readonly string[] } {
    const now = this.#ports.clock.now();
    const silentMs = now - this.#lastTickAt;
    const reasons = silentMs > TICK_SILENT_MS ? [`no task has had a clock tick for ${silentMs} ms`] : [];
    const logIsWell = this.#ports.log.health().ok;
    for (const { name, busy } of this.#tasks.values()) {
      if (busy === undefined || now - busy.since <= HUNG_MS || (busy.at === 'log' && !logIsWell)) continue;
      reasons.push(`task ${name} has made no progress for ${now - busy.since} ms (${busy.at})`);
    }
    return { live: reasons.length === 0, reasons };
  }

  read<Row>(group: Group['name'], table: string, partition: Partition, key: string): Found<Row> {
    const task = this.#served(`${group}-${partition}`);
    if (task !== undefined) return { kind: 'here', row: task.rowsOf(table)?.get(key) as Row | undefined };
    return this.where(group, partition) as Found<Row>;
  }

  *rows<Row>(group: Group['name'], table: string): IterableIterator<[string, Row]> {
    for (const name of this.#ready) {
      const task = this.#served(name);
      if (task?.group.name !== group) continue;
      yield* (task.rowsOf(table)?.entries() ?? []) as IterableIterator<[string, Row]>;
    }
  }

  where(group: Group['name'], partition: Partition): Found<undefined> {
    if (this.#served(`${group}-${partition}`) !== undefined) return { kind: 'here', row: undefined };
    const owner = this.#members.get(group)?.ownerOf(partition);
    if (owner === undefined || owner.self || !owner.address) return { kind: 'unknown' };
    return { kind: 'elsewhere', address: owner.address };
  }

  readiness(): Readiness {
    const reasons: string[] = [];
    const health = this.#ports.log.health();
    if (!health.ok) reasons.push(health.reason);
    if (this.#stopping !== undefined) reasons.push('stopping');
    let done = 0;
    let total = 0;
    let restoring = 0;
    for (const [name, task] of this.#tasks) {
      if (this.#ready.has(name)) continue;
      restoring++;
      done += task.restored.done;
      total += task.restored.total;
    }
    if (restoring > 0) reasons.push(`restoring ${restoring} of ${this.#tasks.size} tasks`);
    if (this.#members.size < this.#topology.groups.length) reasons.push('joining the consumer groups');
    const waiting = [...this.#tasks.values()].flatMap((task) => task.waiting ?? []);
    const now = this.#ports.clock.now();
    for (const { task, shard, since } of waiting)
      if (now - since >= STUCK_MS)
        reasons.push(`task ${task} waits for the store of ${shard} since ${new Date(since).toISOString()}`);
    const lags = this.lags();
    const isKnown = this.#topology.groups.every(({ name }) => this.#watch.knows(name, now));
    const standing = lags.filter(({ standsSince }) => standsSince !== undefined);
    for (const { owner, group, task, topic, partition, records, standsSince } of standing) {
      const name = `${group}-${task}`;
      const told = waiting.some((each) => each.task === name) || (owner === 'self' && !this.#ready.has(name));
      if (told || owner === 'other' || now - standsSince! < STUCK_MS) continue;
      const where = owner === 'self' ? 'on this instance' : 'on no known instance';
      const since = new Date(standsSince!).toISOString();
      reasons.push(
        `${topic}/${partition} stands still since ${since}, ${records} records behind: task ${name} is ${where}`,
      );
    }
    return {
      ready: reasons.length === 0,
      reasons,
      restoredPercent: restoring === 0 ? 100 : total === 0 ? 0 : Math.min(99, Math.floor((100 * done) / total)),
      tasks: this.#tasks.size,
      waiting,
      lagRecords: isKnown ? lags.reduce((sum, { records }) => sum + records, 0) : -1,
      standing,
    };
  }

  lags(): readonly OwnedLag[] {
    return this.#watch.lags(this.#ports.clock.now()).map((lag) => {
      const owner = this.#members.get(lag.group)?.ownerOf(lag.task);
      return { ...lag, owner: owner?.self ? 'self' : owner?.address === undefined ? 'nobody' : 'other' };
    });
  }

  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  async #stop(deadlineMs: number): Promise<void> {
    this.#stopTicks();
    this.#stopLooks();
    const abandon = setAside(this.#ports.clock.sleep(deadlineMs), () => {
      for (const task of this.#tasks.values()) task.abandon();
    });
    await Promise.all([...this.#members.values()].map((membership) => membership.leave(deadlineMs)));
    abandon.cancel();
    await Promise.all([...this.#tasks.values()].map((task) => task.stop(false)));
    this.#finish?.resolve();
  }

  /** The task of this name, when its rows can be read: not while they are being restored, and not once it is dead. */
  #served(name: string): Task | undefined {
    const task = this.#ready.has(name) ? this.#tasks.get(name) : undefined;
    return task?.alive ? task : undefined;
  }

  #handlerOf(group: Group, events: TaskEvents): TaskHandler {
    const nameOf = (log: TaskLog): string => `${group.name}-${log.partition}`;
    return {
      gained: async (log) => {
        const name = nameOf(log);
        this.#ready.delete(name);
        const before = this.#tasks.get(name);
        before?.abandon();
        await before?.stop(false);
        const task = new Task(group, log, this.#ports, this.#settings, events);
        this.#tasks.set(name, task);
        const inputs = await this.#fatal(task.restore());
        this.#ready.add(name);
        this.#ports.logger.info({ task: name, records: task.restored.done }, 'task restored and running');
        return inputs;
      },
      records: async (log, batch: Batch) => {
        const task = this.#tasks.get(nameOf(log));
        if (task !== undefined) await this.#guarded(task.take(batch));
      },
      leaving: (log, orderly) => {
        const task = this.#tasks.get(nameOf(log));
        if (!orderly) task?.abandon();
        else if (task !== undefined) this.#limitLeaving(task);
      },
      lost: async (log, orderly) => {
        const name = nameOf(log);
        const task = this.#tasks.get(name);
        if (task === undefined) return;
        if (!orderly) task.abandon();
        await this.#guarded(task.stop(orderly));
        this.#leaving.delete(task);
        if (this.#tasks.get(name) === task) this.#tasks.delete(name);
        this.#ready.delete(name);
      },
    };
  }

  /** A task that is wanted elsewhere does not wait for a store without limit (U3). */
  #limitLeaving(task: Task): void {
    if (this.#leaving.has(task)) return;
    this.#leaving.add(task);
    void this.#ports.clock.sleep(ORDERLY_MS).then(() => {
      if (!this.#leaving.delete(task)) return;
      this.#ports.logger.warn(
        { task: task.name, shard: task.waiting?.shard, reason: task.waiting?.reason },
        'a task that is handed over could not commit in time; its next owner starts from its last commit',
      );
      task.abandon();
    });
  }

  /**
   * A failed commit has killed the task; the log, which saw the failure, assigns it again or revokes it. Other errors
   * are fatal.
   */
  async #guarded(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      const code = error instanceof AppError ? error.code : undefined;
      if (code !== 'TASK_FENCED' && code !== 'COMMIT_UNKNOWN' && code !== 'LOG_UNAVAILABLE') return this.#fail(error);
      this.#ports.logger.warn(
        { code, reason: (error as AppError).message },
        'a commit failed; its task starts again from the last commit',
      );
    }
  }

  async #fatal<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof AppError) || error.code === 'INPUT_TRUNCATED' || error.code === 'CONFIG_INVALID')
        this.#fail(error);
      throw error;
    }
  }

  #fail(error: unknown): void {
    this.#stopTicks();
    this.#stopLooks();
    for (const task of this.#tasks.values()) task.abandon();
    this.#finish?.reject(error); // U6
  }

  #proveEventTime(millis: number): void {
    const { eventTime, wallTime } = this.#now();
    const before = this.#watermark.time;
    this.#watermark.hear(millis, MERGED_SOURCES, eventTime);
    if (this.#watermark.time !== before) this.#provedAt = wallTime;
  }

  #now(): Tick {
    const wallTime = this.#ports.clock.now();
    const silentMs = wallTime - this.#provedAt - this.#settings.idleMs;
    const proved = this.eventTime;
    const eventTime = proved === 0 || silentMs <= 0 ? proved : proved + silentMs; // U2
    const { pointerEpoch } = this.#ports;
    if (pointerEpoch === undefined) return { eventTime, wallTime };
    return { eventTime, wallTime, pointerEpoch: pointerEpoch() ?? TABLE_UNREAD };
  }
}

/** Runs `then` when `after` resolves, unless cancelled first. */
function setAside(after: Promise<void>, then: () => void): { cancel(): void } {
  let cancelled = false;
  void after.then(() => {
    if (!cancelled) then();
  });
  return {
    cancel() {
      cancelled = true;
    },
  };
}
