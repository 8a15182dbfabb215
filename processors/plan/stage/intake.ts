// Intake: forecasts and rates become rows. Everything that a forecaster publishes is checked here (I13), so all later
// code sees only finite, non-negative, plausible numbers.
//
//   Q1. A forecast with any such number is kept as untrusted: the planner then goes by measurement alone.
//   Q2. A rate record costs O(1), and changes a row only when the measured rate is well above the last forecast:
//       thousands of records a second come in when a log is replayed.

import { eventTime } from '../../../schemas/ids.ts';
import type { Forecast, RateWindow } from '../../../schemas/records.ts';
import { USUAL_UNSUBSCRIBE_SHARE } from '../demand/demand.ts';
import type { PlanSettings } from '../settings.ts';
import type { CellState } from './cell-state.ts';
import { heardTime, NEAR_MS } from './cell-time.ts';
import { type SeriesForecast, TOP_QUANTILE } from './rows.ts';

/** Above any rate of one series; a forecast beyond it is invalid. */
export const RATE_MAX_PER_SECOND = 1e9;

/** Takes a forecast into its series' row. */
export function takeForecast(state: CellState, settings: PlanSettings, forecast: Forecast): void {
  const { cell } = state;
  const { madeAt } = forecast;
  const plausible = Number.isFinite(madeAt) && madeAt >= 0 && madeAt < TIME_MAX;
  if (!plausible || (cell.now > 0 && madeAt > cell.now + NEAR_MS)) {
    cell.ignored.forecasts++;
    state.keepCell();
    return;
  }
  if (madeAt > cell.now) heardTime(state, madeAt); // An older forecast belongs to a series that has fallen silent.
  const row = state.series.get(forecast.series) ?? { kind: 'series' };
  const coming = seriesForecastOf(forecast, settings);
  if (forecast.signal === 'SUBSCRIPTIONS') {
    row.subscriptions = coming;
    row.unsubscribeShare = shareOf(forecast.unsubscribeShare);
    const clients = ratioOf(forecast.distinctClients, coming.current);
    if (clients !== undefined) row.clientsPerRate = clients;
  } else {
    row.publishes = coming;
    const bytes = ratioOf(forecast.bytesPerSecond, coming.current);
    if (bytes !== undefined) row.bytesPerPublish = bytes;
  }
  state.series.set(forecast.series, row);
}

/** Takes in a window of rates: event time advances, and a surge is noted (Q2). */
export function takeRates(state: CellState, window: RateWindow): void {
  const seconds = window.windowMs / 1000;
  const unsubscribes = window.unsubscribes / seconds;
  const subscriptions = window.subscribes / seconds + unsubscribes;
  const publishes = window.publishes / seconds;
  if (!(isRate(subscriptions) && isRate(unsubscribes) && isRate(publishes)) || window.subscribes < 0) return;
  if (!heardTime(state, eventTime(window.windowStart + window.windowMs))) return;

  const { surges } = state;
  const series = state.series.get(window.series);
  const surge = surges.get(window.series);
  if (window.windowStart < (surge?.windowStart ?? 0)) return;
  // Only groups have windows of one series from several partitions, since publishes of every partition ask them. These
  // are few and are summed; for all other series a single window counts when it is above the known rate.
  const several = window.series.startsWith('w/');
  const same = surge?.windowStart === window.windowStart;
  if (!several && !same) {
    const isNews =
      subscriptions > known(series?.subscriptions) * SURGE_FACTOR + SURGE_FLOOR_PER_SECOND ||
      publishes > known(series?.publishes) * SURGE_FACTOR + SURGE_FLOOR_PER_SECOND;
    if (!isNews) {
      if (surge !== undefined) surges.delete(window.series); // The surge is over, or the forecast now includes it.
      return;
    }
  }
  surges.set(window.series, {
    kind: 'surge',
    windowStart: window.windowStart,
    subscriptionsPerSecond: subscriptions + (same ? surge.subscriptionsPerSecond : 0),
    unsubscribesPerSecond: unsubscribes + (same ? (surge.unsubscribesPerSecond ?? 0) : 0),
    publishesPerSecond: publishes + (same ? surge.publishesPerSecond : 0),
  });
}

const TIME_MAX = 253_402_300_799_999; // 9999-12-31, as for every input (state/validation.ts).
/** A surge: a fifth above the known rate, and at least ten a second, so that small series raise none. */
const SURGE_FACTOR = 1.2;
const SURGE_FLOOR_PER_SECOND = 10;
const isRate = (value: number): boolean => value >= 0 && value <= RATE_MAX_PER_SECOND;
/** Its amount for each event per second; `undefined` while that is not known. */
const ratioOf = (amount: number, perSecond: number): number | undefined =>
  amount >= 0 && amount <= AMOUNT_MAX && perSecond > 0 ? Math.min(AMOUNT_MAX, rounded(amount / perSecond)) : undefined;
/** Above any number of clients or bytes per second of one series. */
const AMOUNT_MAX = 1e15;
const shareOf = (value: number): number => (value >= 0 && value <= 1 ? value : USUAL_UNSUBSCRIBE_SHARE);
const known = (forecast: SeriesForecast | undefined): number => forecast?.current ?? 0;

function seriesForecastOf(forecast: Forecast, settings: PlanSettings): SeriesForecast {
  const { levels, stepMs } = forecast;
  const current = isRate(forecast.currentPerSecond) ? forecast.currentPerSecond : 0;
  const untrusted = (distrust: string): SeriesForecast => ({
    madeAt: forecast.madeAt,
    stepMs: 60_000,
    current,
    median: [],
    upper: [],
    top: [],
    trusted: false,
    distrust,
  });
  if (!forecast.trusted) return untrusted(forecast.distrust || 'its accuracy is below the limits');
  const problem = problemOf(forecast);
  if (problem !== undefined) return untrusted(problem);

  const near = quantilesOf(
    forecast.quantiles,
    levels,
    settings.upperQuantile,
    Math.ceil((2 * settings.horizonMs) / stepMs),
  );
  const far = quantilesOf(forecast.farQuantiles, levels, settings.upperQuantile, STEPS_MAX);
  const coming: SeriesForecast = { madeAt: forecast.madeAt, stepMs, current, ...near, trusted: true, distrust: '' };
  return far.median.length === 0 ? coming : { ...coming, far: { stepMs: forecast.farStepMs, ...far } };
}

/** The three quantile levels that plans use, for a bounded number of steps. Crossed quantiles are sorted. */
function quantilesOf(
  quantiles: readonly number[],
  levels: readonly number[],
  upperQuantile: number,
  stepsMax: number,
): Pick<SeriesForecast, 'median' | 'upper' | 'top'> {
  const steps = Math.min(quantiles.length / levels.length, stepsMax, STEPS_MAX);
  const [middle, high, highest] = [0.5, upperQuantile, TOP_QUANTILE].map((level) => levelAt(levels, level));
  const median: number[] = [];
  const upper: number[] = [];
  const top: number[] = [];
  for (let step = 0; step < steps; step++) {
    const at = step * levels.length;
    median.push(rounded(quantiles[at + middle!]!));
    upper.push(Math.max(median[step]!, rounded(quantiles[at + high!]!)));
    top.push(Math.max(upper[step]!, rounded(quantiles[at + highest!]!)));
  }
  return { median, upper, top };
}

/** A row is rewritten with each forecast of its series, so its size is bounded. */
const STEPS_MAX = 180;

function problemOf(forecast: Forecast): string | undefined {
  const { levels, quantiles, stepMs, currentPerSecond, farQuantiles, farStepMs } = forecast;
  if (!isRate(currentPerSecond)) return 'the measured rate is not a valid rate';
  if (!(stepMs >= 1_000 && stepMs <= 86_400_000)) return 'the step is not between one second and one day';
  if (levels.length === 0 || quantiles.length < levels.length || quantiles.length % levels.length !== 0)
    return 'the quantiles do not match the levels and steps';
  if (
    farQuantiles.length % levels.length !== 0 ||
    (farQuantiles.length > 0 && !(farStepMs >= stepMs && farStepMs <= 86_400_000))
  )
    return 'the quantiles further ahead do not match the levels and steps';
  if (!levels.every((level, index) => level >= 0 && level <= 1 && (index === 0 || level > levels[index - 1]!)))
    return 'the quantile levels do not ascend from 0 to 1';
  for (const values of [quantiles, farQuantiles])
    for (const value of values) if (!isRate(value)) return `a quantile is ${value}, which is not a valid rate`;
  return undefined;
}

/** The lowest level that is at least `wanted`; the highest when none is. */
function levelAt(levels: readonly number[], wanted: number): number {
  const found = levels.findIndex((level) => level >= wanted - 1e-9);
  return found < 0 ? levels.length - 1 : found;
}

/** Thousandths of an event per second: a float of 32 bits would take 17 digits as JSON. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000;
