// ShardMap: topic -> slice -> shard -> datastore instance, as a value: the contents of the pointer table at one epoch.
//
//   H1. `placementsOf(topic)` names every shard that can hold a subscription matching the topic, each slice once.
//   H2. `problemsOf` finds every breach of I5: a filter without owner, with two owners, or with an owner that does not
//       exist.
//
// A new map is built for each change of the table; a reader never sees one that is half changed.

import type { Epoch, ShardId, SliceKey } from '../schemas/ids.ts';
import type { PointerMode, ShardState, StoreKind } from '../schemas/records.ts';
import { isTrieSlice, parseSlice } from './keys.ts';
import { SliceTree } from './slice-tree.ts';

/** The shards of a slice, and the change that placed it there. */
export interface SlicePlacement {
  readonly slice: SliceKey;
  readonly mode: PointerMode;
  readonly shards: readonly ShardId[];
  readonly epoch: Epoch;
}

/** A shard and the datastore instance that serves it. */
export interface ShardInstance {
  readonly shardId: ShardId;
  readonly storeKind: StoreKind;
  readonly datastoreType: string;
  readonly instanceId: string;
  readonly address: string;
  readonly state: ShardState;
}

export interface TopicPlacement {
  readonly home: SlicePlacement;
  readonly shards: readonly ShardInstance[];
}

export interface ShardMap {
  readonly partitions: number;
  readonly slices: ReadonlyMap<SliceKey, SlicePlacement>;
  readonly shards: ReadonlyMap<ShardId, ShardInstance>;
  readonly tree: SliceTree;
}

/** The map of these entries; entries that are GONE are left out. */
export function shardMapOf(
  partitions: number,
  slices: Iterable<SlicePlacement>,
  shards: Iterable<ShardInstance>,
): ShardMap {
  const bySlice = new Map<SliceKey, SlicePlacement>();
  for (const home of slices) if (home.mode !== 'GONE') bySlice.set(home.slice, home);
  const byShard = new Map<ShardId, ShardInstance>();
  for (const home of shards) if (home.state !== 'GONE') byShard.set(home.shardId, home);
  return { partitions, slices: bySlice, shards: byShard, tree: new SliceTree(partitions, bySlice.keys()) };
}

/**
 * The placements of all slices that hold subscriptions matching a PUBLISH to this topic, the concrete slice first (H1).
 */
export function placementsOf(map: ShardMap, topic: string): TopicPlacement[] {
  return map.tree.slicesForTopic(topic).map((slice) => topicHome(map, slice));
}

/** The placement of this client's subscription of this filter; `undefined` when the map has no owner for it. */
export function placementOfFilter(map: ShardMap, filter: string, clientId: string): TopicPlacement | undefined {
  const slice = map.tree.sliceOf(filter, clientId);
  return slice === undefined ? undefined : topicHome(map, slice);
}

/** Every breach of I5 in the map, one sentence each; empty for a sound map (H2). */
export function problemsOf(map: ShardMap): string[] {
  const problems: string[] = [];
  const bitsOf = new Map<number, string[]>();
  const parts = new Map<string, { of: number; found: number }>();
  for (const [key, home] of map.slices) {
    problems.push(...homeProblems(map, home));
    const slice = parseSlice(key);
    if (slice === undefined) problems.push(`${key} is not a slice key`);
    else if (slice.kind === 'hash') bitsOf.set(slice.partition, [...(bitsOf.get(slice.partition) ?? []), slice.bits]);
    else if (slice.kind === 'spread') {
      const part = parts.get(slice.filter) ?? { of: slice.of, found: 0 };
      if (part.of !== slice.of) problems.push(`${slice.filter} is spread over ${part.of} and over ${slice.of} slices`);
      parts.set(slice.filter, { of: part.of, found: part.found + 1 });
      if (map.slices.has(`t/${slice.filter}` as SliceKey)) problems.push(`${slice.filter} is pinned and spread`);
    }
  }
  for (const [filter, { of, found }] of parts)
    if (of !== found) problems.push(`${filter} is spread over ${of} slices, of which ${found} exist`);
  for (let partition = 0; partition < map.partitions; partition++) {
    const gap = hashGap(bitsOf.get(partition) ?? []);
    if (gap !== undefined) problems.push(`concrete filters of partition ${partition}: ${gap}`);
    if (!map.slices.has(`w/${partition}/` as SliceKey))
      problems.push(`trie filters of partition ${partition} have no owner`);
  }
  return problems;
}

function topicHome(map: ShardMap, slice: SliceKey): TopicPlacement {
  const home = map.slices.get(slice)!;
  return { home, shards: home.shards.flatMap((shard) => map.shards.get(shard) ?? []) };
}

function homeProblems(map: ShardMap, home: SlicePlacement): string[] {
  const kind: StoreKind = isTrieSlice(home.slice) ? 'TRIE' : 'KEY_VALUE';
  const problems = home.shards.length === 0 ? [`${home.slice} has no shard`] : [];
  for (const id of home.shards) {
    const shard = map.shards.get(id);
    if (shard === undefined) problems.push(`${home.slice} is on ${id}, which does not exist`);
    else if (shard.storeKind !== kind) problems.push(`${home.slice} needs ${kind} but ${id} is ${shard.storeKind}`);
  }
  return problems;
}

/** Slices of one partition as ranges of the second hash: they must follow one another from 0 to 2^32. */
export function hashGap(bits: readonly string[]): string | undefined {
  const ranges = bits
    .map((text) => ({ from: Number.parseInt(text.padEnd(32, '0'), 2), size: 2 ** (32 - text.length) }))
    .sort((a, b) => a.from - b.from || b.size - a.size);
  let next = 0;
  for (const range of ranges) {
    if (range.from < next) return `two owners at hash ${range.from}`;
    if (range.from > next) return `no owner at hash ${next}`;
    next = range.from + range.size;
  }
  return next === 2 ** 32 ? undefined : `no owner at hash ${next}`;
}
