// Genesis: the placement that every process takes for granted before the planner has said anything, so that the first
// event has a home. Plan and apply both compute it; no message is needed.

import { type Epoch, epoch, type ShardId, type SliceKey, shardId } from '../schemas/ids.ts';
import { isTrieSlice } from './keys.ts';
import { firstSlices } from './slice-tree.ts';

export const FIRST_EPOCH: Epoch = epoch(1);
export const FIRST_CONCRETE_SHARD: ShardId = shardId('shard-0001');
export const FIRST_TRIE_SHARD: ShardId = shardId('shard-0002');

/** Datastore types, by their name in the catalogue, that the first two shards live on. */
export interface GenesisSettings {
  readonly concreteType: string;
  readonly trieType: string;
}

/** The shard that a first slice lives on. */
export const firstShardOf = (slice: SliceKey): ShardId =>
  isTrieSlice(slice) ? FIRST_TRIE_SHARD : FIRST_CONCRETE_SHARD;

/** Every first slice with its shard. */
export function firstPlacement(partitions: number): Map<SliceKey, ShardId> {
  return new Map(firstSlices(partitions).map((slice) => [slice, firstShardOf(slice)]));
}
