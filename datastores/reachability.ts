// Reachability: which shards answer a look-up now, for whoever shows shards to people.
//
//   R1. Asking is bounded: so many shards at a time, each for ANSWER_MS, and what was asked within FRESH_MS is not asked again.

import { epoch, type ShardId } from '../schemas/ids.ts';
import type { Provisioner } from './shard-store.ts';

/** Patient enough for a busy store, and short enough for a person who waits. */
const ANSWER_MS = 1_500;
const FRESH_MS = 5_000;
const AT_ONCE_MAX = 32;
/** Any filter does: the answer is not looked at. */
const PROBE = ['foreshard/reach'];

export interface ReachabilityPorts {
  now(): number;
  sleep(ms: number): Promise<void>;
}

/** A function that tells which of the given shards do not answer. */
export function reachabilityOver(
  provisioner: Pick<Provisioner, 'store'>,
  { now, sleep }: ReachabilityPorts,
): (shards: readonly ShardId[]) => Promise<ReadonlySet<ShardId>> {
  const known = new Map<ShardId, { readonly at: number; readonly answers: boolean }>();

  const ask = async (shard: ShardId): Promise<boolean> => {
    try {
      await (await provisioner.store(shard)).lookup(PROBE, epoch(0));
      return true;
    } catch {
      return false; // Whatever the reason: a look-up of a broker's would fare no better.
    }
  };

  return async (shards) => {
    const wanted = new Set(shards);
    for (const [shard, { at }] of known) if (!wanted.has(shard) || now() - at > FRESH_MS) known.delete(shard);
    const waiting = [...wanted].filter((shard) => !known.has(shard));
    const askAll = async (): Promise<void> => {
      for (let shard = waiting.pop(); shard !== undefined; shard = waiting.pop()) {
        const answers = await Promise.race([ask(shard), sleep(ANSWER_MS).then(() => false)]);
        known.set(shard, { at: now(), answers });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE_MAX }, askAll)); // R1
    return new Set(shards.filter((shard) => known.get(shard)?.answers === false));
  };
}
