// Silent shards: asks every shard that is in use, again and again, whether it answers. One that never comes back is in no
// other way different from one that is away.
//
//   S1. A shard that has answered no question of this process for `lostAfterMs` is reported. The time counts from question
//       to question, at most twice the pause between them each: a process that was itself away knows nothing of that time.
//   S2. A shard that the pointer table calls lost and that answers here is reported as found, once for each time that it
//       is called so: what one process cannot reach is not lost. It does not contradict what it has reported itself.
//   S3. A shard has at most one question at a time, and a limited number of shards is asked at once.

import { LOSSES } from '../datastores/identity.ts';
import { AppError } from '../schemas/errors.ts';
import type { ShardId } from '../schemas/ids.ts';
import type { ShardEntry } from '../schemas/records.ts';
import type { LostShards } from './lost-shards.ts';

export interface SilentShardsParts {
  /** Asks the shard something that it answers from its data; throws when it does not. */
  readonly ask: (shard: ShardId) => Promise<unknown>;
  /** Those that the pointer table has. */
  readonly shards: () => Iterable<ShardEntry>;
  readonly reports: Pick<LostShards, 'lost' | 'found' | 'silent' | 'deny'>;
  readonly now: () => number;
  readonly lostAfterMs: number;
}

/** Many questions fit into any time after which a shard is sensibly called lost. */
export const ASK_EVERY_MS = 10_000;
const AT_ONCE_MAX = 16;

interface Silence {
  readonly askedAt: number;
  readonly forMs: number;
}

export class SilentShards {
  readonly #parts: SilentShardsParts;
  readonly #silent = new Map<ShardId, Silence>();
  /** In which entry each was contradicted (S2). */
  readonly #denied = new Map<ShardId, number>();
  #isAsking = false;

  constructor(parts: SilentShardsParts) {
    this.#parts = parts;
  }

  /** Asks all of them once; nothing when a round is still under way (S3). */
  async round(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const entries = [...this.#parts.shards()].filter(({ state }) => state === 'READY');
      const known = new Set(entries.map(({ shardId }) => shardId));
      for (const shard of this.#silent.keys()) if (!known.has(shard)) this.#silent.delete(shard);
      for (const shard of this.#denied.keys()) if (!known.has(shard)) this.#denied.delete(shard);
      const askAll = async (): Promise<void> => {
        for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) await this.#ask(entry);
      };
      await Promise.all(Array.from({ length: AT_ONCE_MAX }, askAll));
    } finally {
      this.#isAsking = false;
    }
  }

  async #ask(entry: ShardEntry): Promise<void> {
    const { shardId: shard } = entry;
    const { ask, reports, lostAfterMs } = this.#parts;
    try {
      await ask(shard);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // That nobody here has the shard is no answer: another process may have it.
      if (LOSSES.has(error.code)) {
        this.#silent.delete(shard);
        reports.lost(shard, error.message, error.code === 'FLEET_MISMATCH');
        return;
      }
      const forMs = this.#silenceOf(shard);
      if (forMs >= lostAfterMs)
        reports.silent(shard, `it has not answered for ${Math.round(forMs / 1000)} s: ${error.message}`);
      return;
    }
    this.#silent.delete(shard);
    reports.found(shard, false);
    if ((entry.loss ?? 'NONE') === 'NONE' || this.#denied.get(shard) === entry.epoch) return;
    this.#denied.set(shard, entry.epoch);
    reports.deny(shard);
  }

  /** S1. */
  #silenceOf(shard: ShardId): number {
    const now = this.#parts.now();
    const before = this.#silent.get(shard);
    const sinceMs = before === undefined ? 0 : Math.min(Math.max(0, now - before.askedAt), 2 * ASK_EVERY_MS);
    const forMs = (before?.forMs ?? 0) + sinceMs;
    this.#silent.set(shard, { askedAt: now, forMs });
    return forMs;
  }
}
