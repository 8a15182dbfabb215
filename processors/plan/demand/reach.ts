// Reach: how far one look-up reaches in a store, on average: the places that it looks at, one in a key-value store and each
// node that it visits in a trie, and the subscriptions that it finds, its fan-out. Tries say both in their metrics.
//
//   W1. A trie is believed a step at a time: one absurd measurement changes little.
//   W2. A trie that has said nothing is taken to be as the others are on average; where none has, as the settings say.

import type { ShardId } from '../../../schemas/ids.ts';
import type { DatastoreMetrics, StoreKind } from '../../../schemas/records.ts';
import type { CostCoefficients } from '../settings.ts';
import type { ShardRow } from '../stage/rows.ts';

export interface Reach {
  readonly nodes: number;
  /** 0 where nobody says. */
  readonly matches: number;
}

/** Where no store has said. */
export const usualReach = (kind: StoreKind, settings: CostCoefficients): Reach => ({
  nodes: kind === 'TRIE' ? settings.nodesPerWildcardLookup : 1,
  matches: 0,
});

/** What a trie says now, no further than a step from what it said before (W1); `undefined` when it says nothing. */
export function reachSaid(
  before: Reach | undefined,
  { nodesPerLookup, matchesPerLookup }: Pick<DatastoreMetrics, 'nodesPerLookup' | 'matchesPerLookup'>,
  settings: CostCoefficients,
): Reach | undefined {
  if (!(nodesPerLookup > 0)) return undefined;
  const from = before ?? usualReach('TRIE', settings);
  const nodes = stepped(from.nodes, nodesPerLookup, from.nodes);
  // What is found has no size of its own at first: a step is then one of what is visited.
  const matches =
    matchesPerLookup >= 0 ? stepped(from.matches, matchesPerLookup, Math.max(from.matches, from.nodes)) : 0;
  return { nodes, matches };
}

/** Of what was said before, by one measurement. */
const STEP = 0.1;
/** Above any trie's. */
const REACH_MAX = 1e6;

const stepped = (before: number, said: number, size: number): number =>
  Math.min(Math.max(Math.min(said, REACH_MAX), before - size * STEP), before + size * STEP);

/** By shard, each with what is known of it or of its like (W2). */
export function reachesOf(shards: Iterable<ShardRow>, settings: CostCoefficients): Map<ShardId, Reach> {
  const rows = [...shards];
  const said = rows.flatMap(({ storeKind, reach }) => (storeKind === 'TRIE' && reach !== undefined ? [reach] : []));
  const tries = said.length > 0 ? meanReach(said.map((reach) => ({ reach, weight: 1 }))) : usualReach('TRIE', settings);
  const unsaid = { TRIE: tries, KEY_VALUE: usualReach('KEY_VALUE', settings) };
  return new Map(rows.map(({ id, storeKind, reach }) => [id, reach ?? unsaid[storeKind]]));
}

/** The mean by weights, which must not all be zero. */
export function meanReach(each: readonly { readonly reach: Reach; readonly weight: number }[]): Reach {
  const total = each.reduce((sum, { weight }) => sum + weight, 0);
  const mean = (of: (reach: Reach) => number): number =>
    each.reduce((sum, { reach, weight }) => sum + of(reach) * weight, 0) / total;
  return { nodes: mean(({ nodes }) => nodes), matches: mean(({ matches }) => matches) };
}
