// Provisioning: how many shards of one kind to have, when both an order and a removal take effect a lead time later.
// The load to come is known by its quantiles. A shard that serves or is ordered costs 1 in every row; a row with more
// load than its shards carry costs the shortage price. Each plan is a dynamic programme over the number of shards in
// the rows to come, of which only the first step is taken (as P-Store plans its moves: Taft et al., SIGMOD 2018). A row
// costs, with n shards in it and m in the row before,
//
//   n + orderRows * max(0, n - m) + price * P(load > n * capacity)
//
// because an ordered shard is paid for a lead time before it serves, in addition to its one-off cost. So a shard that
// will be needed again within that time is kept, and the best number for a single row is that of the newsvendor (Arrow,
// Harris and Marschak, 1951).
//
//   V1. There is at least one shard.
//   V2. Nothing is removed while an order is open.
//   V3. Shards are removed when several plans in a row could do without them.
//   V4. A plan at a higher price never has fewer shards; among numbers that cost the same it has the smallest.

import { Risk } from '../demand/risk.ts';

/** Shards at the start of a row, before its decision. */
export interface ShardCount {
  readonly serving: number;
  /** Ordered and not serving yet. */
  readonly ordered: number;
  /** Still serving, to be removed. */
  readonly removing: number;
}

/** The load in the coming rows, starting with the one in which the present decision takes effect. */
export interface DemandQuantiles {
  /** Of each quantile, ascending, from above 0 to below 1. */
  readonly levels: readonly number[];
  /** `levels.length` ascending loads for each row. */
  readonly quantiles: Float64Array;
}

/** How money is weighed against shortage. */
export type PlanPolicy = 'balanced' | 'cautious';

/**
 * What a row with too few shards costs, in rows of as many shards as are needed on average: a fleet of ten that is short
 * fails more than one of two does. One number trades money against shortage, and there is no right one: on the shared
 * traces, balanced is short in 1.2 % of the rows at 1.33 times the oracle's money (reactive scaling: 5.9 % at 1.54),
 * cautious in 0.25 % at 1.9 times.
 */
export const SHORTAGE_RATIOS: Readonly<Record<PlanPolicy, number>> = { balanced: 31, cautious: 350 };

export interface ShardTerms {
  /** The load that one shard carries. */
  readonly capacity: number;
  /** Cost of ordering a shard, in units of its cost for one row: the rows until it serves, and the one-off cost. */
  readonly orderRows: number;
  /** Cost of a row with too few shards, in units of the cost of one shard for one row; above 1. */
  readonly shortagePrice: number;
}

export interface ShardPlan {
  /** Shards to have in the first row of the demand. */
  readonly shards: number;
  /**
   * What that saves over all rows, compared with keeping the decided number, in units of the cost of one shard for one
   * row.
   */
  readonly saves: number;
}

/** Loads below this share of a shard count as none. */
const FEW = 0.05;
/** No plan has more: a forecast that asks for more is wrong. */
const SHARDS_MAX = 4096;
/** Costs that differ by less are equal within rounding. */
const TIE = 1e-9;

/** Rows that the demand should have: later rows hardly change the first step. */
export const rowsNeeded = (orderRows: number): number => Math.ceil(3 * orderRows);

/** Shards that serve, or will after everything decided so far; as a number of shards or as the load that they carry. */
export const shardsDecided = ({ serving, ordered, removing }: ShardCount): number => serving + ordered - removing;

/**
 * How many shards to order now, or to remove when below 0. `plans` are the numbers of the last plans, the newest last;
 * the last `agreeing` of them must be able to do without a shard before it is removed.
 */
export function shardChange(plans: readonly number[], agreeing: number, shards: ShardCount): number {
  const decided = shardsDecided(shards);
  const planned = plans.at(-1) ?? decided;
  if (planned >= decided) return planned - decided;
  if (shards.ordered > 0 || plans.length < agreeing) return 0; // V2, V3
  return Math.min(Math.max(...plans.slice(-agreeing)) - decided, 0); // V3
}

/** The plan for the first row of the demand, when there are `decided` shards, at least one, in the row before it. */
export function planShards(demand: DemandQuantiles, terms: ShardTerms, decided: number): ShardPlan {
  const { capacity, orderRows, shortagePrice } = terms;
  const risks = risksOf(demand, FEW * capacity);
  // Beyond the load that is exceeded with the probability 1 / price, not even a shard for a single row pays.
  const highest = Math.max(...risks.map((risk) => risk.loadAt(1 / shortagePrice)));
  const most = Math.max(1, decided, Math.min(SHARDS_MAX, Math.ceil(highest / capacity)));
  // Indexed by the number of shards in the current row, less 1: the cost of that row and all later ones.
  const costs = new Float64Array(most);
  for (let row = risks.length - 1; ; row--) {
    for (let n = 0; n < most; n++) costs[n]! += n + 1 + shortagePrice * risks[row]!.above((n + 1) * capacity);
    if (row === 0) return cheapest(costs, decided, orderRows);
    stepBack(costs, orderRows);
  }
}

function risksOf({ levels, quantiles }: DemandQuantiles, few: number): Risk[] {
  const risks: Risk[] = [];
  for (let from = 0; from < quantiles.length; from += levels.length)
    risks.push(new Risk(levels, quantiles.subarray(from, from + levels.length), few));
  return risks;
}

/** The cheapest number, when ordering costs `orderRows` for each shard more than `decided`. */
function cheapest(costs: Float64Array, decided: number, orderRows: number): ShardPlan {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let n = 0; n < costs.length; n++) {
    const cost = costs[n]! + orderRows * Math.max(0, n + 1 - decided);
    if (cost >= least - TIE) continue; // V4
    best = n;
    least = cost;
  }
  return { shards: best + 1, saves: costs[decided - 1]! - least };
}

/** Turns costs by the number in a row into the least costs by the number in the row before, in place. */
function stepBack(costs: Float64Array, orderRows: number): void {
  const after = costs.slice();
  let least = Number.POSITIVE_INFINITY;
  for (let n = 0; n < costs.length; n++) {
    least = Math.min(least, after[n]!); // Removing is free.
    costs[n] = least;
  }
  least = Number.POSITIVE_INFINITY;
  for (let n = costs.length - 1; n >= 0; n--) {
    least = Math.min(least + orderRows, after[n]!);
    costs[n] = Math.min(costs[n]!, least);
  }
}
