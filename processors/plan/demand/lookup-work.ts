// Look-up work: how far one look-up reaches in a store, on average: the places that it looks at, one in a key-value store and each
// node that it visits in a trie, and the subscriptions that it finds, its fan-out. Tries say both in their metrics.
//
//   W1. A trie is believed a step at a time: one absurd measurement changes little.
//   W2. A trie that has said nothing is taken to be as the others are on average; where none has, as the settings say.

import type { ShardId } from '../../../schemas/ids.ts';
import type { DatastoreMetrics, StoreKind } from '../../../schemas/records.ts';
import type { CostCoefficients } from '../settings.ts';

export interface LookupWork {
  readonly nodes: number;
  /** 0 where nobody says. */
  readonly matches: number;
}

/** A store, with what it has said; absent when it has said nothing. */
export interface MeasuredStore {
  readonly id: ShardId;
  readonly storeKind: StoreKind;
  readonly reach?: LookupWork | undefined;
}

/** Where no store has said. */
export const usualLookupWork = (kind: StoreKind, settings: CostCoefficients): LookupWork => ({
  nodes: kind === 'TRIE' ? settings.nodesPerWildcardLookup : 1,
  matches: 0,
});

/** What a trie says now, no further than a step from what it said before (W1); `undefined` when it says nothing. */
export function measuredLookupWork(
  before: LookupWork | undefined,
  { nodesPerLookup, matchesPerLookup }: Pick<DatastoreMetrics, 'nodesPerLookup' | 'matchesPerLookup'>,
  settings: CostCoefficients,
): LookupWork | undefined {
  if (!(nodesPerLookup > 0)) return undefined;
  const from = before ?? usualLookupWork('TRIE', settings);
  const nodes = stepped(from.nodes, nodesPerLookup, from.nodes);
  // What is found has no size of its own at first: a step is then one of what is visited.
  const matches =
    matchesPerLookup >= 0 ? stepped(from.matches, matchesPerLookup, Math.max(from.matches, from.nodes)) : 0;
  return { nodes, matches };
}

/** Of what was said before, by one measurement. */
const STEP = 0.1;
/** Above any trie's. */
const LOOKUP_WORK_MAX = 1e6;

const stepped = (before: number, said: number, size: number): number =>
  Math.min(Math.max(Math.min(said, LOOKUP_WORK_MAX), before - size * STEP), before + size * STEP);

/** By shard, each with what is known of it or of its like (W2). */
export function lookupWorkByShard(
  shards: Iterable<MeasuredStore>,
  settings: CostCoefficients,
): Map<ShardId, LookupWork> {
  const rows = [...shards];
  const said = rows.flatMap(({ storeKind, reach }) => (storeKind === 'TRIE' && reach !== undefined ? [reach] : []));
  const tries =
    said.length > 0 ? meanLookupWork(said.map((reach) => ({ reach, weight: 1 }))) : usualLookupWork('TRIE', settings);
  const unsaid = { TRIE: tries, KEY_VALUE: usualLookupWork('KEY_VALUE', settings) };
  return new Map(rows.map(({ id, storeKind, reach }) => [id, reach ?? unsaid[storeKind]]));
}

/** The mean by weights, which must not all be zero. */
export function meanLookupWork(each: readonly { readonly reach: LookupWork; readonly weight: number }[]): LookupWork {
  const total = each.reduce((sum, { weight }) => sum + weight, 0);
  const mean = (of: (reach: LookupWork) => number): number =>
    each.reduce((sum, { reach, weight }) => sum + of(reach) * weight, 0) / total;
  return { nodes: mean(({ nodes }) => nodes), matches: mean(({ matches }) => matches) };
}
