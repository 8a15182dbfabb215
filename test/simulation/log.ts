// Log: the log that a simulated fleet shares, and what a process sees of it. Delivery, groups, commits and fencing are those
// of the local log (log/local); the way to it takes time, loses answers, and ends with the process.

import { LocalLog } from '../../log/local/local-log.ts';
import type { Append, Position } from '../../log/local/log-storage.ts';
import type {
  Batch,
  Commit,
  Follower,
  GroupSpec,
  Log,
  Membership,
  OutRecord,
  TaskHandler,
  TaskLog,
} from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import { MemoryStorage } from '../support/memory-log.ts';
import type { Faults } from './faults.ts';
import type { Process } from './process.ts';
import type { Chance, Scheduler } from './scheduler.ts';

export interface SharedLogParts {
  readonly scheduler: Scheduler;
  readonly faults: Faults;
  readonly partitions: number;
  readonly recordsPerRead: number;
  readonly latencyMs: number;
  /** Told of what has become visible, at once. */
  readonly written: (appends: readonly Append[], positions: readonly Position[]) => void;
}

class WatchedStorage extends MemoryStorage {
  watch: SharedLogParts['written'] = () => {};

  override async write(appends: readonly Append[], positions: readonly Position[], timestamp: number): Promise<void> {
    await super.write(appends, positions, timestamp);
    this.watch(appends, positions);
  }
}

export const APP = 'simulated';
/** What a process is cut off from when it does not reach the log. */
export const THE_LOG = 'the log';

export class SharedLog {
  readonly local: LocalLog;
  readonly storage = new WatchedStorage();
  awayUntil = 0;
  /** Who makes the next commit: it begins at once. */
  committing: Process | undefined;
  readonly scheduler: Scheduler;
  readonly faults: Faults;
  readonly latencyMs: number;
  readonly chance: Chance;

  constructor({ scheduler, faults, partitions, recordsPerRead, latencyMs, written }: SharedLogParts) {
    this.scheduler = scheduler;
    this.faults = faults;
    this.latencyMs = latencyMs;
    this.chance = scheduler.stream('log');
    this.storage.recordsPerRead = recordsPerRead;
    this.storage.watch = (appends, positions) => {
      for (const { topic, partition, records } of appends) scheduler.note(`${topic}/${partition}+${records.length}`);
      written(appends, positions);
    };
    this.local = new LocalLog(this.storage, {
      app: APP,
      partitions,
      now: () => Math.floor(scheduler.now),
      after: (ms, fire) => scheduler.after(ms, 'log', fire),
      commit: (perform) => this.#commit(perform),
      deliver: async (batch, hand) => {
        await scheduler.pause(latencyMs, 'deliver');
        await hand(batch);
        if (faults.strikes('batch twice')) await hand(batch);
      },
    });
  }

  get isAway(): boolean {
    return this.awayUntil > this.scheduler.now;
  }

  /** Keeps of each key the last record alone, and no removals where nobody can be so far behind. */
  compact(topic: string): void {
    this.storage.compact(topic);
  }

  async #commit(perform: () => Promise<Offset>): Promise<Offset> {
    const cut = this.committing?.isCut(THE_LOG);
    this.committing = undefined;
    if (cut === 'there') throw new AppError('LOG_UNAVAILABLE', 'the log cannot be reached');
    if (this.isAway) {
      this.faults.meet('log away');
      throw new AppError('LOG_UNAVAILABLE', 'the log is away');
    }
    if (this.faults.strikes('commit unknown, not done')) throw new AppError('COMMIT_UNKNOWN', 'the commit was lost');
    const next = await perform();
    if (cut === 'back' || this.faults.strikes('commit unknown, done'))
      throw new AppError('COMMIT_UNKNOWN', 'the answer was lost');
    return next;
  }
}

/** A planted bug between a process and the log. */
export interface LogMutation {
  readonly gained?: (
    inputs: Readonly<Record<string, Offset>>,
    group: GroupSpec,
    task: TaskLog,
    log: LocalLog,
  ) => Readonly<Record<string, Offset>>;
  readonly commit?: (commit: Commit, log: LocalLog) => Commit;
  readonly batch?: (batch: Batch) => readonly Batch[];
}

/** What a process sees of the log. */
export function logOf(process: Process, shared: SharedLog, mutation: LogMutation = {}): Log {
  const { local, latencyMs, faults } = shared;
  const gated = (group: GroupSpec, handler: TaskHandler): TaskHandler => {
    const tasks = new Map<TaskLog, TaskLog>();
    return {
      gained: async (task) => {
        await process.live();
        const own = taskOf(process, shared, task, mutation);
        tasks.set(task, own);
        const inputs = await handler.gained(own);
        return mutation.gained?.(inputs, group, task, local) ?? inputs;
      },
      records: async (task, batch) => {
        await process.live();
        await process.whenJoined(THE_LOG);
        await process.live();
        for (const each of mutation.batch?.(batch) ?? [batch]) await handler.records(tasks.get(task) ?? task, each);
      },
      leaving: (task, orderly) => {
        const live = process.live();
        if (live === undefined) handler.leaving?.(task, orderly);
        else void live.then(() => handler.leaving?.(task, orderly));
      },
      lost: async (task, orderly) => {
        await process.live();
        await handler.lost(tasks.get(task) ?? task, orderly);
      },
    };
  };
  return {
    prepare: (topics) => process.call('prepare', latencyMs, () => local.prepare(topics)),
    join: (group, handler) =>
      process.call('join', latencyMs, async () =>
        membershipOf(process, await local.join(group, gated(group, handler))),
      ),
    append: (records) =>
      process.call('append', latencyMs, async () => {
        if (shared.isAway) {
          faults.meet('log away');
          throw new AppError('LOG_UNAVAILABLE', 'the log is away');
        }
        const cut = process.isCut(THE_LOG);
        if (cut === 'there') throw new AppError('LOG_UNAVAILABLE', 'the log cannot be reached');
        if (faults.strikes('append lost')) throw new AppError('LOG_UNAVAILABLE', 'the append was lost');
        await local.append(records);
        if (cut === 'back' || faults.strikes('append not acknowledged'))
          throw new AppError('LOG_UNAVAILABLE', 'the answer was lost');
      }),
    follow: (topic, from, take) => followed(process, shared, topic, from, take, latencyMs),
    health: () => local.health(),
    close: async () => {},
  };
}

/** Follows a topic with so much delay at most. */
export async function followed(
  process: Process,
  shared: SharedLog,
  topic: string,
  from: 'earliest' | 'latest',
  take: (batch: Batch) => Promise<void>,
  latencyMs: number,
): Promise<Follower> {
  const follower = await shared.local.follow(topic, from, async (batch) => {
    await process.live();
    await shared.scheduler.pause(latencyMs, 'follow');
    await process.whenJoined(THE_LOG);
    await process.live();
    await take(batch);
  });
  return { caughtUp: follower.caughtUp, close: () => follower.close() };
}

function taskOf(process: Process, shared: SharedLog, task: TaskLog, mutation: LogMutation): TaskLog {
  const { local, latencyMs } = shared;
  return {
    group: task.group,
    partition: task.partition,
    removalsKeptMs: task.removalsKeptMs,
    restore: (from, page) =>
      process.call('restore', latencyMs, () =>
        task.restore(from, async (changes, next, end) => {
          await process.live();
          await page(changes, next, end);
        }),
      ),
    commit: async (commit) => {
      process.at('before a commit');
      const next = await process.call('commit', latencyMs, () => {
        shared.committing = process;
        return task.commit(mutation.commit?.(commit, local) ?? commit);
      });
      process.at('after a commit');
      await process.live();
      return next;
    },
  };
}

function membershipOf(process: Process, membership: Membership): Membership {
  const done = (async () => {
    try {
      await membership.done;
    } finally {
      await process.live();
    }
  })();
  done.catch(() => {});
  return {
    done,
    ownerOf: (partition) => membership.ownerOf(partition),
    standings: () => process.call('standings', 0, () => membership.standings()),
    leave: (deadlineMs) => process.call('leave', 0, () => membership.leave(deadlineMs)),
  };
}

export type { OutRecord };
