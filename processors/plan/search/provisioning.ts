// Provisioning: how many shards of one kind to have, when what is ordered serves, and what is removed stops serving, a lead
// time later. The load to come is known by its quantiles. A shard that serves or is ordered costs 1 in every row; a row
// with more load than its shards carry costs the shortage price. Each plan is a dynamic programme over the number of
// shards in the rows to come, of which only the first step is taken (as P-Store plans its moves: Taft et al., SIGMOD
// 2018). A row costs, with n shards in it and m in the row before,
//
//   n + orderRows * max(0, n - m) + price * P(load > n * capacity)
//
// for what is ordered is paid a lead time before it serves, beside what it costs once. So what will be needed again within
// that time is kept, and a row's best number, on its own, is the newsvendor's (Arrow, Harris and Marschak, 1951).
//
//   V1. There is at least one shard.
//   V2. Nothing is removed while something is ordered.
//   V3. Shards are removed when several plans in a row could do without them.
//   V4. A plan at a higher price never has fewer shards; among numbers that cost the same it has the smallest.

import { Risk } from '../demand/risk.ts';

/** Shards at the start of a row, before its decision. */
export interface ShardCount {
  readonly serving: number;
  /** Ordered and not serving yet. */
  readonly ordered: number;
  /** Serving still, and to be removed. */
  readonly removing: number;
}

/** The load in the rows to come, from the one on in which what is decided now takes effect. */
export interface DemandQuantiles {
  /** Of each quantile, ascending, from above 0 to below 1. */
  readonly levels: readonly number[];
  /** `levels.length` ascending loads for each row. */
  readonly quantiles: Float64Array;
}

/** What is weighed: money against shortage. */
export type PlanPolicy = 'balanced' | 'cautious';

/**
 * What a row with too few shards costs, in rows of as many shards as are needed on average: a fleet of ten that is short
 * fails more than one of two does. One number trades money against shortage, and there is no right one: on the shared
 * traces, balanced is short in 1.2 % of the rows at 1.33 times the oracle's money (reactive scaling: 5.9 % at 1.54),
 * cautious in 0.25 % at 1.9 times.
 */
export const SHORTAGE_RATIOS: Readonly<Record<PlanPolicy, number>> = { balanced: 31, cautious: 350 };

export interface ShardTerms {
  /** Load that one shard carries. */
  readonly capacity: number;
  /** What ordering a shard costs, in what it costs in a row: the rows until it serves, and what is paid once. */
  readonly orderRows: number;
  /** What a row with too few shards costs, in what a shard costs in a row; above 1. */
  readonly shortagePrice: number;
}

export interface ShardPlan {
  /** To have in the first row of the demand. */
  readonly shards: number;
  /** What that saves over the demand, beside keeping what was decided, in what a shard costs in a row. */
  readonly saves: number;
}

/** Loads below this share of a shard are as good as none. */
const FEW = 0.05;
/** No plan has more: a forecast that asks for them is wrong. */
const SHARDS_MAX = 4096;
/** Costs that differ by less are the same but for rounding. */
const TIE = 1e-9;

/** Rows that the demand should have: what lies farther ahead changes no first step by much. */
export const rowsNeeded = (orderRows: number): number => Math.ceil(3 * orderRows);

/** Shards that serve now or will, after all that was decided; in shards or in what they carry. */
export const shardsDecided = ({ serving, ordered, removing }: ShardCount): number => serving + ordered - removing;

/**
 * How many more shards to order now, or to remove when below 0: by the numbers of the last plans, the newest last, of
 * which `agreeing` must be able to do without what is removed.
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
  // By the number of shards in the row in hand, less 1: what it and those behind it cost.
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

/** From costs by the number in a row to the least costs by the number in the row before it, in place. */
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
