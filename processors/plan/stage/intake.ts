// Intake: forecasts and rates become rows. Everything a forecaster says is checked here (I13), so nothing behind it meets
// a number that is not finite, not negative and not absurd.
//
//   Q1. A forecast with any such number is kept as untrusted: the planner then goes by measurement alone.
//   Q2. A rate record costs O(1), and marks a row only when it tells the reactive net something that the last forecast
//       did not bring: thousands of them come in a second when a log is replayed.

import { eventTime } from '../../../schemas/ids.ts';
import type { Forecast, RateWindow } from '../../../schemas/records.ts';
import type { Rows } from '../../step.ts';
import { USUAL_UNSUBSCRIBE_SHARE } from '../demand/demand.ts';
import type { PlanSettings } from '../settings.ts';
import { heardTime, NEAR_MS } from './cell-time.ts';
import {
  type CellRow,
  type Row,
  rowOf,
  type SeriesForecast,
  seriesKey,
  setCell,
  surgeKey,
  TOP_QUANTILE,
} from './rows.ts';

/** Above any rate of one series; a forecast beyond it says nothing. */
export const RATE_MAX_PER_SECOND = 1e9;

/** Takes a forecast into its series' row. */
export function takeForecast(rows: Rows<Row>, cell: CellRow, settings: PlanSettings, forecast: Forecast): void {
  const { madeAt } = forecast;
  const plausible = Number.isFinite(madeAt) && madeAt >= 0 && madeAt < TIME_MAX;
  if (!plausible || (cell.now > 0 && madeAt > cell.now + NEAR_MS)) {
    cell.ignored.forecasts++;
    setCell(rows, cell);
    return;
  }
  if (madeAt > cell.now) heardTime(rows, cell, madeAt); // An older one is of a series that has fallen silent.
  const key = seriesKey(forecast.series);
  const row = rowOf(rows, 'series', key) ?? { kind: 'series' };
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
  rows.set(key, row);
}

/** Takes a window of rates: event time goes on, and a surge is noted (Q2). */
export function takeRates(rows: Rows<Row>, cell: CellRow, window: RateWindow): void {
  const seconds = window.windowMs / 1000;
  const unsubscribes = window.unsubscribes / seconds;
  const subscriptions = window.subscribes / seconds + unsubscribes;
  const publishes = window.publishes / seconds;
  if (!(isRate(subscriptions) && isRate(unsubscribes) && isRate(publishes)) || window.subscribes < 0) return;
  if (!heardTime(rows, cell, eventTime(window.windowStart + window.windowMs))) return;

  const series = rowOf(rows, 'series', seriesKey(window.series));
  const key = surgeKey(window.series);
  const surge = rowOf(rows, 'surge', key);
  if (window.windowStart < (surge?.windowStart ?? 0)) return;
  // Windows of one series come from several partitions only for groups, which every partition's publishes ask. There
  // are few of them, and they are summed; of all others, a window counts alone when it is above what is known.
  const several = window.series.startsWith('w/');
  const same = surge?.windowStart === window.windowStart;
  if (!several && !same) {
    const isNews =
      subscriptions > known(series?.subscriptions) * SURGE_FACTOR + SURGE_FLOOR_PER_SECOND ||
      publishes > known(series?.publishes) * SURGE_FACTOR + SURGE_FLOOR_PER_SECOND;
    if (!isNews) {
      if (surge !== undefined) rows.delete(key); // The surge is over, or the forecast has caught up with it.
      return;
    }
  }
  rows.set(key, {
    kind: 'surge',
    windowStart: window.windowStart,
    subscriptionsPerSecond: subscriptions + (same ? surge.subscriptionsPerSecond : 0),
    unsubscribesPerSecond: unsubscribes + (same ? (surge.unsubscribesPerSecond ?? 0) : 0),
    publishesPerSecond: publishes + (same ? surge.publishesPerSecond : 0),
  });
}

const TIME_MAX = 253_402_300_799_999; // 9999-12-31, as for every input (state/validation.ts).
/** News to the reactive net: a fifth above what is known, and at least ten a second, so that small series stay silent. */
const SURGE_FACTOR = 1.2;
const SURGE_FLOOR_PER_SECOND = 10;
const isRate = (value: number): boolean => value >= 0 && value <= RATE_MAX_PER_SECOND;
/** So much of it for each event per second; `undefined` when that cannot be said now. */
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
  if (!forecast.trusted) return untrusted(forecast.distrust || 'the accuracy gate is closed');
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

/** The three levels that are planned by, of so many steps at most. Crossed quantiles are put in order. */
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
  if (!isRate(currentPerSecond)) return 'the measured rate is not a rate';
  if (!(stepMs >= 1_000 && stepMs <= 86_400_000)) return 'the step is not between a second and a day';
  if (levels.length === 0 || quantiles.length < levels.length || quantiles.length % levels.length !== 0)
    return 'the quantiles do not fill their steps';
  if (
    farQuantiles.length % levels.length !== 0 ||
    (farQuantiles.length > 0 && !(farStepMs >= stepMs && farStepMs <= 86_400_000))
  )
    return 'the quantiles further ahead do not fill their steps';
  if (!levels.every((level, index) => level >= 0 && level <= 1 && (index === 0 || level > levels[index - 1]!)))
    return 'the quantile levels do not ascend from 0 to 1';
  for (const values of [quantiles, farQuantiles])
    for (const value of values) if (!isRate(value)) return `a quantile is ${value}, which is not a rate`;
  return undefined;
}

/** The lowest level that is at least `wanted`; the highest when none is. */
function levelAt(levels: readonly number[], wanted: number): number {
  const found = levels.findIndex((level) => level >= wanted - 1e-9);
  return found < 0 ? levels.length - 1 : found;
}

/** Thousandths of an event per second: a float of 32 bits would take 17 digits as JSON. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000;
