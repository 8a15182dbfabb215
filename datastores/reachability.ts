// Reachability: which shards answer a look-up now, for pages that show shards to people.
//
//   R1. Bounded: a few shards are asked at a time, each for at most ANSWER_MS, and none again within FRESH_MS.

import { epoch, type ShardId } from '../schemas/ids.ts';
import type { Meant, Provisioner } from './shard-store.ts';

/** Long enough for a busy store, short enough for a person who waits. */
const ANSWER_MS = 1_500;
const FRESH_MS = 5_000;
const AT_ONCE_MAX = 32;
/** Any filter will do: the answer is not used. */
const PROBE = ['foreshard/reach'];

export interface ReachabilityPorts {
  now(): number;
  sleep(ms: number): Promise<void>;
}

/** Asks a shard something that it answers from its data. Throws what its store, or the way to it, throws. */
export const askShard = async (
  provisioner: Pick<Provisioner, 'store'>,
  shard: ShardId,
  meant: Meant = {},
): Promise<unknown> => (await provisioner.store(shard, meant)).lookup(PROBE, epoch(0));

/** Makes a function that returns which of the given shards do not answer. */
export function reachabilityOver(
  provisioner: Pick<Provisioner, 'store'>,
  { now, sleep }: ReachabilityPorts,
): (shards: readonly ShardId[]) => Promise<ReadonlySet<ShardId>> {
  const known = new Map<ShardId, { readonly at: number; readonly answers: boolean }>();

  const ask = async (shard: ShardId): Promise<boolean> => {
    try {
      await askShard(provisioner, shard);
      return true;
    } catch {
      return false; // Whatever the reason: a broker's look-up would fail as well.
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
