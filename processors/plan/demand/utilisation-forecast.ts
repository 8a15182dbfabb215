// Utilisation forecast: how full a shard gets over the horizon, with its present slices and with one more.
//
//   F1. The load of a shard in a bucket is sum(median) + sqrt((1-r) sum(spread^2) + r sum(spread)^2), with r the
//       correlation of forecast errors: spreads neither simply add up nor cancel out. It never falls when a slice is
//       added.
//   F2. The load in a bucket has a log-logistic distribution (Fisk, 1961) through its median and its upper quantile:
//       the probability of a load above c is 1 / (1 + (c/median)^s), with s from the upper quantile. It has the heavy
//       tail of loads with flash crowds.

import { type DatastoreType, FLOWING, type Flowing, limitOf } from '../cluster/catalog.ts';
import type { PlanSettings } from '../settings.ts';
import type { Flow, Load } from './demand.ts';
import { baseShare, type Footprint, takenShare } from './footprint.ts';

/** The sum of several slices' flows over the horizon (F1). */
export interface FlowSum {
  readonly median: Float64Array;
  readonly spread: Float64Array;
  readonly spreadSquares: Float64Array;
}

/** A sum that includes the present amount. */
export interface TimedSum extends FlowSum {
  now: number;
}

/** Everything on a shard together, bucket by bucket. */
export interface ShardLoad extends FlowSum {
  type: DatastoreType;
  /** Clients and bytes that come with the operations; absent where no type of the catalogue limits them. */
  readonly flows: Readonly<Record<Flowing, TimedSum | undefined>>;
  nowPerSecond: number;
  entries: number;
  bytes: number;
  /** Measured load of the shard's store, divided by the load that its slices explain. */
  calibration: number;
}

/** The load of one more slice. */
export interface SliceLoad {
  readonly load: Load;
  readonly entries: number;
  readonly bytes: number;
}

export interface UtilisationForecast {
  /** The highest utilisation of all dimensions and buckets; 1 is full. */
  readonly utilisation: number;
  readonly peakPerSecond: number;
  readonly peakStep: number;
  /** The first bucket above safe utilisation; -1 for none. */
  readonly crossingStep: number;
  /** The fullest dimension at the peak. */
  readonly dimension: 'operations' | 'entries' | 'memory' | 'storage' | Flowing;
}

export function utilisationForecastOf(
  shard: Readonly<ShardLoad>,
  footprint: Footprint,
  settings: PlanSettings,
  plus?: SliceLoad,
): UtilisationForecast {
  const { type, calibration } = shard;
  const { safeUtilisation } = settings;
  const course = courseOf(shard, shard.nowPerSecond, plus?.load, calibration, type.operationsPerSecond, settings);
  const { peak: peakPerSecond, peakStep } = course;
  let { crossingStep } = course;
  const operations = peakPerSecond / type.operationsPerSecond;
  const held = { entries: shard.entries + (plus?.entries ?? 0), bytes: shard.bytes + (plus?.bytes ?? 0) };
  const entries = held.entries / type.entriesMax;
  const bytes = baseShare(type, footprint) + takenShare(held, type, footprint);
  let utilisation = Math.max(operations, entries, bytes);
  const place = type.storageBytes > 0 ? 'storage' : 'memory';
  let dimension: UtilisationForecast['dimension'] =
    utilisation === operations ? 'operations' : utilisation === entries ? 'entries' : place;
  if (Math.max(entries, bytes) > safeUtilisation) crossingStep = 0;
  for (const flowing of FLOWING) {
    const sum = shard.flows[flowing];
    if (sum === undefined) continue;
    const limit = limitOf(type, flowing);
    const flow = courseOf(sum, sum.now, plus?.load[flowing], 1, limit, settings);
    if (flow.crossingStep >= 0 && (crossingStep < 0 || flow.crossingStep < crossingStep))
      crossingStep = flow.crossingStep;
    if (flow.peak / limit <= utilisation) continue;
    utilisation = flow.peak / limit;
    dimension = flowing;
  }
  return { utilisation, peakPerSecond, peakStep, crossingStep, dimension };
}

export const emptySum = (steps: number): FlowSum => ({
  median: new Float64Array(steps),
  spread: new Float64Array(steps),
  spreadSquares: new Float64Array(steps),
});

/** Adds a flow to a sum, or subtracts it. */
export function addTo({ median, spread, spreadSquares }: FlowSum, flow: Flow, sign: 1 | -1): void {
  for (let k = 0; k < median.length; k++) {
    const own = flow.spread[k]!;
    median[k]! += sign * flow.median[k]!;
    spread[k]! += sign * own;
    spreadSquares[k]! += sign * own * own;
  }
}

/**
 * The highest amount of a flow, and the first bucket in which it is above the safe part of a limit; `calibration`
 * multiplies the flow.
 */
function courseOf(
  sum: FlowSum,
  now: number,
  plus: Flow | undefined,
  calibration: number,
  limit: number,
  { errorCorrelation, safeUtilisation }: PlanSettings,
): { readonly peak: number; readonly peakStep: number; readonly crossingStep: number } {
  const safe = safeUtilisation * limit;
  let peak = (now + (plus?.now ?? 0)) * calibration;
  let peakStep = 0;
  let crossingStep = peak > safe ? 0 : -1;
  for (let k = 0; k < sum.median.length; k++) {
    const upper = upperAt(sum, k, errorCorrelation, plus) * calibration;
    if (upper > safe && crossingStep < 0) crossingStep = k;
    if (upper > peak) {
      peak = upper;
      peakStep = k;
    }
  }
  return { peak, peakStep, crossingStep };
}

/** A lower bound of the utilisation with the slice added, computed from the peak bucket alone. */
export function utilisationAtLeast(
  shard: Readonly<ShardLoad>,
  utilisation: UtilisationForecast,
  slice: SliceLoad,
  settings: PlanSettings,
): number {
  const perSecond = upperAt(shard, utilisation.peakStep, settings.errorCorrelation, slice.load) * shard.calibration;
  return Math.max(utilisation.utilisation, perSecond / shard.type.operationsPerSecond);
}

/**
 * The probability that a shard is above safe capacity in a bucket (F2), in operations or in the clients or bytes that
 * come with them.
 */
export function riskAt(
  shard: Readonly<ShardLoad>,
  step: number,
  settings: PlanSettings,
  dimension: 'operations' | Flowing = 'operations',
): number {
  const { errorCorrelation, safeUtilisation, upperQuantile } = settings;
  const isOperations = dimension === 'operations';
  const sum = isOperations ? shard : shard.flows[dimension]!;
  const calibration = isOperations ? shard.calibration : 1;
  const limit = isOperations ? shard.type.operationsPerSecond : limitOf(shard.type, dimension);
  const median = sum.median[step]! * calibration + FEW;
  const upper = upperAt(sum, step, errorCorrelation, undefined) * calibration + FEW;
  const safe = safeUtilisation * limit + FEW;
  const steepness = Math.log(upperQuantile / (1 - upperQuantile)) / Math.max(SPREAD_MIN, Math.log(upper / median));
  return 1 / (1 + (safe / median) ** steepness);
}

/** Smallest distance between the logarithms of median and upper quantile: no load is known more precisely. */
const SPREAD_MIN = 0.02;
/** Amounts below this (operations/s, clients, bytes/s) count as none, so that a median of 0 still has a risk. */
const FEW = 1;

/** The spread of a sum, from the sum of spreads and the sum of their squares (F1). */
export const spreadOf = (sum: number, squares: number, r: number): number =>
  Math.sqrt(Math.max(0, (1 - r) * squares + r * sum * sum));

/** The upper quantile of one bucket (F1). */
export function upperAt(sum: FlowSum, step: number, r: number, plus: Flow | undefined): number {
  const extra = plus === undefined ? 0 : plus.spread[step]!;
  const spread = sum.spread[step]! + extra;
  const squares = sum.spreadSquares[step]! + extra * extra;
  const median = sum.median[step]! + (plus === undefined ? 0 : plus.median[step]!);
  return median + spreadOf(spread, squares, r);
}
