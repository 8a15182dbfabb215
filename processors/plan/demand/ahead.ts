// Ahead: the total forecast load of all slices of one kind of store, by slots of time: buckets up to the horizon, hours
// beyond it.
//
//   A1. Within the horizon the load is at least the measured rate, unless the forecast foresaw that rate. Without a
//       trusted forecast it is the measured rate at every slot. A slot counts as the mean of its steps (as in demand.ts
//       E3 and E4).
//   A2. Spreads of series add up as those of slices do (utilisation-forecast.ts F1).

import type { EventTime } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { parseSlice, partitionOf, ROOT_KEY } from '../../../state/keys.ts';
import type { DemandQuantiles as Rows } from '../search/provisioning.ts';
import type { PlanSettings } from '../settings.ts';
import { type SeriesForecast, TOP_QUANTILE } from '../stage/rows.ts';
import { type Costs, lookupCost } from './coefficients.ts';
import { eventCost, isInSight, type SeriesFacts, STALE_MS } from './demand.ts';
import type { LookupWork } from './lookup-work.ts';
import { spreadOf } from './utilisation-forecast.ts';

/** Sums over the series of one kind. */
export interface TotalLoad {
  now: number;
  readonly median: Float64Array;
  /** How far the upper and the top quantile lie above the median. */
  readonly spreads: readonly [Spreads, Spreads];
}

interface Spreads {
  readonly sum: Float64Array;
  readonly squares: Float64Array;
}

export type TotalLoads = Readonly<Record<StoreKind, TotalLoad>>;

/** Hours beyond the horizon: a little more than a day, so that a whole daily wave is covered. */
const FAR_SLOTS = 24;
const HOUR_MS = 3_600_000;

export const emptyTotal = (settings: PlanSettings): TotalLoad => {
  const slots = settings.horizonSteps + FAR_SLOTS;
  const spreads = (): Spreads => ({ sum: new Float64Array(slots), squares: new Float64Array(slots) });
  return { now: 0, median: new Float64Array(slots), spreads: [spreads(), spreads()] };
};

/**
 * Loads in operations per second; `reaches` gives the work of a look-up. A heavy topic counts in its leaf, which
 * contains it.
 */
export function totalLoads(
  facts: Iterable<SeriesFacts>,
  costs: Costs,
  reaches: Readonly<Record<StoreKind, LookupWork>>,
  settings: PlanSettings,
  now: EventTime,
): TotalLoads {
  const totals = { KEY_VALUE: emptyTotal(settings), TRIE: emptyTotal(settings) };
  const asksAll = partitionOf(ROOT_KEY, settings.partitions);
  for (const fact of facts) {
    const { series, subscriptions, publishes, surge } = fact;
    const slice = parseSlice(series);
    if (slice === undefined || slice.kind === 'spread' || slice.kind === 'pin') continue;
    const kind = slice.kind === 'group' ? 'TRIE' : 'KEY_VALUE';
    const total = totals[kind];
    const { perEvent } = eventCost(costs[kind], fact);
    add(total, subscriptions, surge?.subscriptionsPerSecond ?? 0, perEvent, settings, now);
    // The partition that every PUBLISH asks also gets the look-ups of its groups.
    if (slice.kind === 'group' && slice.prefix !== '' && slice.partition === asksAll) continue;
    add(total, publishes, surge?.publishesPerSecond ?? 0, lookupCost(costs[kind], reaches[kind]), settings, now);
  }
  return totals;
}

/** The total over rows of `rowMs`, from `fromMs` after now on, times `factor`; a row counts as its highest slot. */
export function rowsAhead(
  total: TotalLoad,
  settings: PlanSettings,
  { fromMs, rowMs, rows, factor }: { fromMs: number; rowMs: number; rows: number; factor: number },
): Rows {
  const levels = [0.5, settings.upperQuantile, TOP_QUANTILE];
  const bySlot = slotQuantiles(total, settings);
  const quantiles = new Float64Array(rows * 3);
  for (let row = 0; row < rows; row++) {
    const first = slotAt(fromMs + row * rowMs, settings);
    const last = Math.max(first, slotAt(fromMs + (row + 1) * rowMs - 1, settings));
    for (let slot = first; slot <= last; slot++)
      for (let l = 0; l < 3; l++)
        quantiles[row * 3 + l] = Math.max(quantiles[row * 3 + l]!, bySlot[slot * 3 + l]! * factor);
  }
  return { levels, quantiles };
}

function slotQuantiles({ median, spreads }: TotalLoad, { errorCorrelation: r }: PlanSettings): Float64Array {
  const quantiles = new Float64Array(median.length * 3);
  for (let slot = 0; slot < median.length; slot++) {
    let before = median[slot]!;
    quantiles[slot * 3] = before;
    for (const [l, { sum, squares }] of spreads.entries()) {
      const spread = spreadOf(sum[slot]!, squares[slot]!, r); // A2
      before = Math.max(before, median[slot]! + spread);
      quantiles[slot * 3 + 1 + l] = before;
    }
  }
  return quantiles;
}

/** The slot of a time from now; the last slot for all later times. */
function slotAt(ms: number, { horizonMs, horizonSteps }: PlanSettings): number {
  if (ms < horizonMs) return Math.floor((ms / horizonMs) * horizonSteps);
  return Math.min(horizonSteps + FAR_SLOTS - 1, horizonSteps + Math.floor((ms - horizonMs) / HOUR_MS));
}

/** Adds one signal of one series. */
function add(
  total: TotalLoad,
  forecast: SeriesForecast | undefined,
  surgePerSecond: number,
  cost: number,
  { horizonMs, horizonSteps }: PlanSettings,
  now: EventTime,
): void {
  const isFresh = forecast !== undefined && now - forecast.madeAt < STALE_MS;
  const measured = Math.max(isFresh ? forecast.current : 0, surgePerSecond);
  total.now += measured * cost;
  const trusted = isFresh && forecast.trusted && forecast.median.length > 0 ? forecast : undefined;
  const bucketMs = horizonMs / horizonSteps;
  const nearLeast = trusted !== undefined && isInSight(trusted, now, measured) ? 0 : measured;
  for (let slot = 0; slot < total.median.length; slot++) {
    const near = slot < horizonSteps;
    const from = now + (near ? slot * bucketMs : horizonMs + (slot - horizonSteps) * HOUR_MS);
    const least = trusted === undefined ? measured : near ? nearLeast : 0; // A1
    const median = Math.max(least, meanWithin(trusted, 'median', from, from + (near ? bucketMs : HOUR_MS)));
    total.median[slot]! += median * cost;
    if (trusted === undefined) continue;
    for (const [l, level] of (['upper', 'top'] as const).entries()) {
      const spread = Math.max(0, meanWithin(trusted, level, from, from + (near ? bucketMs : HOUR_MS)) - median) * cost;
      const { sum, squares } = total.spreads[l]!;
      sum[slot]! += spread;
      squares[slot]! += spread * spread;
    }
  }
}

/** The mean of the forecast's steps within a time: of the near steps where they reach, else of the far ones. */
function meanWithin(
  forecast: SeriesForecast | undefined,
  level: 'median' | 'upper' | 'top',
  from: number,
  to: number,
): number {
  if (forecast === undefined) return 0;
  const { madeAt, stepMs, far } = forecast;
  const isNear = far === undefined || from < madeAt + forecast.median.length * stepMs;
  // The k-th far step begins at madeAt + (k + 1) * far.stepMs.
  const steps = isNear ? forecast[level] : far[level];
  const start = isNear ? madeAt : madeAt + far.stepMs;
  const step = isNear ? stepMs : far.stepMs;
  const first = Math.min(steps.length - 1, Math.max(0, Math.floor((from - start) / step)));
  const last = Math.min(steps.length - 1, Math.max(first, Math.ceil((to - start) / step) - 1));
  let sum = 0;
  for (let k = first; k <= last; k++) sum += steps[k]!;
  return sum / (last - first + 1);
}
