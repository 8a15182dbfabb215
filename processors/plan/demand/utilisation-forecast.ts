// Utilisation forecast: how full a shard gets over the horizon, with what is on it and with a slice more.
//
//   F1. The load of a shard in a bucket is sum(median) + sqrt((1-r) sum(spread^2) + r sum(spread)^2), with r the
//       correlation of forecast errors: spreads neither simply add up nor cancel out. It never falls when a slice comes.
//   F2. A forecast between and beyond its median and its upper quantile is log-logistic (Fisk, 1961): the risk of a load
//       above c is 1 / (1 + (c/median)^s), with s as the upper quantile says. Its tail is that of loads with flash crowds.

import type { DatastoreType } from '../cluster/catalog.ts';
import type { PlanSettings } from '../settings.ts';
import type { Load } from './demand.ts';
import { baseShare, type Footprint, takenShare } from './footprint.ts';

/** What is on a shard together, bucket by bucket. */
export interface ShardLoad {
  type: DatastoreType;
  readonly median: Float64Array;
  readonly spread: Float64Array;
  readonly spreadSquares: Float64Array;
  nowPerSecond: number;
  entries: number;
  bytes: number;
  /** By how much its store is hotter than the load on it explains. */
  calibration: number;
}

/** What a slice more brings. */
export interface SliceLoad {
  readonly load: Load;
  readonly entries: number;
  readonly bytes: number;
}

export interface UtilisationForecast {
  /** The highest of all dimensions and buckets; 1 is full. */
  readonly utilisation: number;
  readonly peakPerSecond: number;
  readonly peakStep: number;
  /** The first bucket above safe utilisation; -1 for none. */
  readonly crossingStep: number;
  /** What is fullest at the peak. */
  readonly dimension: 'operations' | 'entries' | 'memory' | 'storage';
}

export function utilisationForecastOf(
  shard: Readonly<ShardLoad>,
  footprint: Footprint,
  settings: PlanSettings,
  plus?: SliceLoad,
): UtilisationForecast {
  const { type, calibration } = shard;
  const { errorCorrelation, safeUtilisation } = settings;
  let peakPerSecond = (shard.nowPerSecond + (plus?.load.now ?? 0)) * calibration;
  let peakStep = 0;
  const safe = safeUtilisation * type.operationsPerSecond;
  let crossingStep = peakPerSecond > safe ? 0 : -1;
  for (let k = 0; k < shard.median.length; k++) {
    const perSecond = upperAt(shard, k, errorCorrelation, plus) * calibration;
    if (perSecond > safe && crossingStep < 0) crossingStep = k;
    if (perSecond > peakPerSecond) {
      peakPerSecond = perSecond;
      peakStep = k;
    }
  }
  const operations = peakPerSecond / type.operationsPerSecond;
  const held = { entries: shard.entries + (plus?.entries ?? 0), bytes: shard.bytes + (plus?.bytes ?? 0) };
  const entries = held.entries / type.entriesMax;
  const bytes = baseShare(type, footprint) + takenShare(held, type, footprint);
  const utilisation = Math.max(operations, entries, bytes);
  const place = type.storageBytes > 0 ? 'storage' : 'memory';
  const dimension = utilisation === operations ? 'operations' : utilisation === entries ? 'entries' : place;
  if (Math.max(entries, bytes) > safeUtilisation) crossingStep = 0;
  return { utilisation, peakPerSecond, peakStep, crossingStep, dimension };
}

/** No more than the utilisation with the slice, from the bucket alone that is the peak without it. */
export function utilisationAtLeast(
  shard: Readonly<ShardLoad>,
  utilisation: UtilisationForecast,
  slice: SliceLoad,
  settings: PlanSettings,
): number {
  const perSecond = upperAt(shard, utilisation.peakStep, settings.errorCorrelation, slice) * shard.calibration;
  return Math.max(utilisation.utilisation, perSecond / shard.type.operationsPerSecond);
}

/** The probability that the shard is above safe capacity in a bucket (F2). */
export function riskAt(shard: Readonly<ShardLoad>, step: number, settings: PlanSettings): number {
  const { errorCorrelation, safeUtilisation, upperQuantile } = settings;
  const median = shard.median[step]! * shard.calibration + FEW;
  const upper = upperAt(shard, step, errorCorrelation, undefined) * shard.calibration + FEW;
  const safe = safeUtilisation * shard.type.operationsPerSecond + FEW;
  const steepness = Math.log(upperQuantile / (1 - upperQuantile)) / Math.max(SPREAD_MIN, Math.log(upper / median));
  return 1 / (1 + (safe / median) ** steepness);
}

/** The least distance of median and upper quantile, in logarithms: no load is known better than that. */
const SPREAD_MIN = 0.02;
/** Operations per second that are as good as none, so that a median of nothing has a risk too. */
const FEW = 1;

/** What spreads come to together, by their sum and the sum of their squares (F1). */
export const spreadOf = (sum: number, squares: number, r: number): number =>
  Math.sqrt(Math.max(0, (1 - r) * squares + r * sum * sum));

/** The upper quantile of one bucket (F1). */
function upperAt(shard: Readonly<ShardLoad>, step: number, r: number, plus: SliceLoad | undefined): number {
  const extra = plus === undefined ? 0 : plus.load.spread[step]!;
  const spread = shard.spread[step]! + extra;
  const squares = shard.spreadSquares[step]! + extra * extra;
  const median = shard.median[step]! + (plus === undefined ? 0 : plus.load.median[step]!);
  return median + spreadOf(spread, squares, r);
}
