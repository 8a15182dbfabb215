// References: policies that need no learned model, by the rules of the protocol.

import { shardsDecided } from '../../processors/plan/search/provisioning.ts';
import { AIMED_UTILISATION, type Load, needOf, type Outcome, provision } from './resource.ts';

export type ReferencePolicy = (load: Load, history: SeasonalHistory) => Outcome;

/** What the seasonal-naive forecast reads. */
export interface SeasonalHistory {
  readonly season: number;
  readonly fitWindow: number;
}

/** By the names of the protocol's reference scores. */
export const REFERENCES: ReadonlyMap<string, ReferencePolicy> = new Map<string, ReferencePolicy>([
  ['static_peak', (load) => constant(load, peak(load, 0, load.testStart))],
  ['static_peak_hindsight', (load) => constant(load, peak(load, load.testStart, load.values.length))],
  ['static_mean', (load) => constant(load, needOf(meanBefore(load), load.shardCapacity))],
  ['reactive', reactive],
  ['oracle', oracle],
  ['pred_snaive90', seasonalNaive],
]);

/** The reactive policy orders shards above this utilisation, and removes shards below the other one. */
export const ORDER_ABOVE = 0.8;
export const REMOVE_BELOW = 0.4;
/** Standard normal quantile of 0.9. */
const Z90 = 1.28155;
/** Rows between two computations of the forecast's usual error; the reference scores were made with the same number. */
const SPREAD_EVERY = 12;

const constant = (load: Load, shards: number): Outcome => provision(load, () => 0, shards);

function peak({ values, shardCapacity }: Load, from: number, to: number): number {
  let most = 1;
  for (let row = from; row < to; row++) most = Math.max(most, needOf(values[row]!, shardCapacity));
  return most;
}

function meanBefore({ values, testStart }: Load): number {
  let sum = 0;
  for (let row = 0; row < testStart; row++) sum += values[row]!;
  return sum / testStart;
}

function reactive(load: Load): Outcome {
  const { values, shardCapacity } = load;
  return provision(load, (row, shards) => {
    const seen = values[row - 1]!;
    const all = shardsDecided(shards);
    const aimed = needOf(seen / AIMED_UTILISATION, shardCapacity);
    if (seen > ORDER_ABOVE * all * shardCapacity) return aimed - all;
    if (seen < REMOVE_BELOW * all * shardCapacity && shards.ordered === 0) return aimed - all;
    return 0;
  });
}

/** Knows all future rows: it always serves what is needed, and pays for it from the lead time before. */
function oracle({ values, testStart, shardCapacity, leadRows }: Load): Outcome {
  const serving: number[] = [];
  for (let row = testStart; row < values.length; row++) serving.push(needOf(values[row]!, shardCapacity));
  return { serving, paid: serving.map((_, row) => Math.max(...serving.slice(row, row + leadRows + 1))) };
}

/** Provisions the 0.9-quantile of a forecast that repeats the last season. */
function seasonalNaive(load: Load, { season, fitWindow }: SeasonalHistory): Outcome {
  const { values, shardCapacity, leadRows } = load;
  let margin = 0;
  return provision(load, (row, shards) => {
    if ((row - load.testStart) % SPREAD_EVERY === 0) margin = Z90 * seasonalSpread(values, row, season, fitWindow);
    let up = 1;
    let keep = 1;
    for (let ahead = 0; ahead <= 2 * leadRows; ahead++) {
      const seasonsBack = Math.ceil((ahead + 1) / season);
      const need = needOf(values[row + ahead - season * seasonsBack]! + margin, shardCapacity);
      keep = Math.max(keep, need);
      if (ahead >= leadRows) up = Math.max(up, need);
    }
    const all = shardsDecided(shards);
    if (up > all) return up - all;
    return keep < all && shards.ordered === 0 ? keep - all : 0;
  });
}

/** Root mean square of the seasonal differences of the last `window` rows before `row`. */
function seasonalSpread(values: Float64Array, row: number, season: number, window: number): number {
  const first = Math.max(season, row - window);
  let sum = 0;
  for (let i = first; i < row; i++) sum += (values[i]! - values[i - season]!) ** 2;
  return Math.sqrt(sum / Math.max(1, row - first));
}
