// Genesis: the first placement, which every process assumes before the planner has written anything, so that the first
// event has a shard to go to. Plan and apply both compute it; no message is needed.

import { type Epoch, epoch, type ShardId, type SliceKey, shardId } from '../schemas/ids.ts';
import { isTrieSlice } from './keys.ts';
import { firstSlices } from './slice-tree.ts';

export const FIRST_EPOCH: Epoch = epoch(1);
export const FIRST_CONCRETE_SHARD: ShardId = shardId('shard-0001');
export const FIRST_TRIE_SHARD: ShardId = shardId('shard-0002');

/** Datastore types of the first two shards, by their names in the catalogue. */
export interface GenesisSettings {
  readonly concreteType: string;
  readonly trieType: string;
}

/** The shard that a first slice is on. */
export const firstShardOf = (slice: SliceKey): ShardId =>
  isTrieSlice(slice) ? FIRST_TRIE_SHARD : FIRST_CONCRETE_SHARD;

/** Every first slice with its shard. */
export function firstPlacement(partitions: number): Map<SliceKey, ShardId> {
  return new Map(firstSlices(partitions).map((slice) => [slice, firstShardOf(slice)]));
}
