// Coefficients: what look-ups, subscribes, unsubscribes and stored entries cost a store. They are learned by comparing
// the resources that stores used with the operations that they were asked for: one estimate (estimate.ts) for each kind
// of store and each resource, in operations of the catalogue. The memory of entries is in footprint.ts.
//   K1. The cost of a look-up depends on its work (lookup-work.ts): the places that it visits, and the subscriptions
//       that it finds in a trie.
//   K2. Nothing is learned from a store while a move or a resize disturbs it, nor for a while after: copying loads it
//       with work that no subscriber asked for.
//   K3. An operation is charged its cost in the scarcer resource, so that a shard planned by it is short of neither.
//   K4. A store at its limit shows only that more is asked of it than it can do; its measurements are not taken as
//       proof that operations are cheap.

import type { StoreKind } from '../../../schemas/records.ts';
import { type Catalog, typesOfKind } from '../cluster/catalog.ts';
import type { CostCoefficients } from '../settings.ts';
import { type Bounds, type Estimate, expectedOf, freshEstimate, learnFrom } from './estimate.ts';
import { type LookupWork, usualLookupWork } from './lookup-work.ts';

/** In operations of the catalogue. */
export interface OperationCosts {
  /** For each place that a look-up visits: a key, or a node of a trie. */
  readonly visit: number;
  /** For each subscription that a look-up finds in a trie. */
  readonly match: number;
  readonly subscribe: number;
  readonly unsubscribe: number;
  /** For each stored entry and second: a store's background work grows with what it holds. */
  readonly entry: number;
}

export type Costs = Readonly<Record<StoreKind, OperationCosts>>;

/** By resource; absent when no store has measured it. */
export interface Learned {
  cpu?: Estimate;
  iops?: Estimate;
  /** Estimate of the footprint (footprint.ts). */
  memory?: Estimate;
}

/** The operations that a store was asked for, and the share of its resources that was used. */
export interface CostSample {
  readonly lookupsPerSecond: number;
  readonly reach: LookupWork;
  readonly subscribesPerSecond: number;
  readonly unsubscribesPerSecond: number;
  readonly entries: number;
  /** Capacity of the instance: operations per second at full load. */
  readonly operationsPerSecond: number;
  readonly shares: Readonly<Record<'cpu' | 'iops', number | undefined>>;
}

/** What one look-up costs (K1). */
export const lookupCost = ({ visit, match }: OperationCosts, { nodes, matches }: LookupWork): number =>
  visit * nodes + match * matches;

/** The costs before anything is measured. */
export function priorCosts(kind: StoreKind, settings: CostCoefficients): OperationCosts {
  const lookup = kind === 'TRIE' ? settings.operationsPerWildcardLookup : settings.operationsPerConcreteLookup;
  return {
    visit: lookup / usualLookupWork(kind, settings).nodes,
    match: 0,
    subscribe: settings.operationsPerSubscribe,
    unsubscribe: settings.operationsPerUnsubscribe,
    entry: 0,
  };
}

/** The costs by everything learned so far (K3). */
export function costsOf(kind: StoreKind, learned: Learned, settings: CostCoefficients): OperationCosts {
  const known = [learned.cpu, learned.iops].filter(isOfNow);
  if (known.length === 0) return priorCosts(kind, settings);
  const most = (i: number): number => Math.max(...known.map(({ coefficients }) => coefficients[i]!));
  return { visit: most(0), match: most(1), subscribe: most(2), unsubscribe: most(3), entry: most(4) };
}

/** Learns from one sample, for each resource that was measured. */
export function learn(
  learned: Learned,
  kind: StoreKind,
  sample: CostSample,
  settings: CostCoefficients,
  catalog: Catalog,
): void {
  const bounds = boundsOf(kind, settings, catalog);
  const { lookupsPerSecond, reach, subscribesPerSecond, unsubscribesPerSecond, entries, operationsPerSecond } = sample;
  const asked = [
    lookupsPerSecond * reach.nodes,
    lookupsPerSecond * reach.matches,
    subscribesPerSecond,
    unsubscribesPerSecond,
    entries,
  ].map((amount) => amount / operationsPerSecond);
  if (!asked.every((amount) => Number.isFinite(amount) && amount >= 0)) return;
  for (const resource of ['cpu', 'iops'] as const) {
    const share = sample.shares[resource];
    if (share === undefined || !(share >= 0 && share <= SHARE_MAX)) continue;
    const before = learned[resource];
    const estimate = isOfNow(before) ? before : freshEstimate(bounds);
    learned[resource] = estimate;
    if (share >= FULL && expectedOf(estimate, asked) > share) continue; // K4
    learnFrom(estimate, asked, Math.min(share, 1), bounds);
  }
}

/** False for an estimate of an earlier release, which had other coefficients: learning then starts again. */
const isOfNow = (estimate: Estimate | undefined): estimate is Estimate => estimate?.coefficients.length === SIZE;
const SIZE = 5;

/** A shortage costs more than spare capacity, so a measurement below the prior moves the estimate less. */
const LEAST_FACTOR = 0.5;
const MOST_FACTOR = 8;
/** The background work of a full store takes at most half of its capacity. */
const ENTRIES_SHARE_MAX = 0.5;
/** A subscription that is found is only passed on: about a tenth of the cost of visiting a place. */
const MATCH_DEVIATION = 0.1;
/** A larger measurement is not a share; a little above 1 is a rounding error. */
const SHARE_MAX = 1.5;
/** From this utilisation on, a store may be asked for more than it can do (K4). */
const FULL = 0.95;

/** In the order of `OperationCosts`. */
function boundsOf(kind: StoreKind, settings: CostCoefficients, catalog: Catalog): Bounds[] {
  const { visit, subscribe, unsubscribe } = priorCosts(kind, settings);
  const around = (prior: number): Bounds => ({
    prior,
    least: prior * LEAST_FACTOR,
    most: prior * MOST_FACTOR,
    deviation: prior,
  });
  const match = { prior: 0, least: 0, most: visit, deviation: kind === 'TRIE' ? visit * MATCH_DEVIATION : 0 };
  const perEntry = typesOfKind(catalog, kind).map((type) => type.operationsPerSecond / type.entriesMax);
  const most = ENTRIES_SHARE_MAX * Math.min(...perEntry);
  const entry = { prior: 0, least: 0, most, deviation: most / 4 };
  return [around(visit), match, around(subscribe), around(unsubscribe), entry];
}
