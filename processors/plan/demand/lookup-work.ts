// Look-up work: the average work of one look-up in a store: the places that it visits (one in a key-value store, each
// visited node in a trie), and the subscriptions that it finds (its fan-out). Tries report both in their metrics.
//
//   W1. The figure of a trie changes in limited steps, so that one absurd measurement changes little.
//   W2. A trie that has reported nothing gets the average of the others; when none has reported, the value in the
//       settings.

import type { ShardId } from '../../../schemas/ids.ts';
import type { DatastoreMetrics, StoreKind } from '../../../schemas/records.ts';
import type { CostCoefficients } from '../settings.ts';

export interface LookupWork {
  readonly nodes: number;
  /** 0 where it is not reported. */
  readonly matches: number;
}

/** A store and what it has reported, which is absent when it has reported nothing. */
export interface MeasuredStore {
  readonly id: ShardId;
  readonly storeKind: StoreKind;
  readonly reach?: LookupWork | undefined;
}

/** Used while no store has reported any. */
export const usualLookupWork = (kind: StoreKind, settings: CostCoefficients): LookupWork => ({
  nodes: kind === 'TRIE' ? settings.nodesPerWildcardLookup : 1,
  matches: 0,
});

/** What a trie reports now, limited to one step from its earlier figure (W1); `undefined` when it reports nothing. */
export function measuredLookupWork(
  before: LookupWork | undefined,
  { nodesPerLookup, matchesPerLookup }: Pick<DatastoreMetrics, 'nodesPerLookup' | 'matchesPerLookup'>,
  settings: CostCoefficients,
): LookupWork | undefined {
  if (!(nodesPerLookup > 0)) return undefined;
  const from = before ?? usualLookupWork('TRIE', settings);
  const nodes = stepped(from.nodes, nodesPerLookup, from.nodes);
  // While the fan-out is still 0, its step is computed from the visited places.
  const matches =
    matchesPerLookup >= 0 ? stepped(from.matches, matchesPerLookup, Math.max(from.matches, from.nodes)) : 0;
  return { nodes, matches };
}

/** Largest step by one measurement, as a share of the earlier figure. */
const STEP = 0.1;
/** More than any trie needs. */
const LOOKUP_WORK_MAX = 1e6;

const stepped = (before: number, said: number, size: number): number =>
  Math.min(Math.max(Math.min(said, LOOKUP_WORK_MAX), before - size * STEP), before + size * STEP);

/** By shard, each with its own figure or the average of the others (W2). */
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
