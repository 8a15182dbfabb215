// References: forecasts that need no model. A forecaster must beat them, and they verify the backtest itself: their
// scores under a shared protocol are known to its authors.
//
//   N1. The point forecast is a value of the past. The quantiles are those of a normal error, whose size is that of
//       such forecasts over the rows that it learns from; it grows with the square root of the seasons (or steps)
//       ahead.
//   N2. A quantile may be negative here: clipping is part of the scoring.

import { LEVELS } from '../../processors/forecast/combine/calibration.ts';
import type { SeriesProtocol } from './protocol.ts';

export interface Reference {
  readonly name: string;
  /** The quantiles of the `steps` after the history, `LEVELS.length` for each. */
  forecast(history: Float64Array, series: SeriesProtocol, steps: number): Float64Array;
}

/** Standard normal quantiles of LEVELS, to the digits of the protocol. */
const NORMAL = [-1.28155, -0.84162, -0.5244, -0.25335, 0, 0.25335, 0.5244, 0.84162, 1.28155, 1.64485, 2.32635];

export const REFERENCES: readonly Reference[] = [
  {
    name: 'Naive',
    forecast: (history, { fitWindow }, steps) => repeated(history, 1, fitWindow, steps),
  },
  {
    name: 'SeasonalNaive',
    forecast: (history, { season, fitWindow }, steps) => repeated(history, season, fitWindow, steps),
  },
  {
    /** By the day while there are less than two weeks. */
    name: 'SeasonalNaiveWeek',
    forecast(history, { season, longSeason, fitWindow }, steps) {
      const period = history.length < 2 * longSeason ? season : longSeason;
      return repeated(history, period, Math.max(fitWindow, 2 * longSeason), steps);
    },
  },
];

/** Repeats the last period, with the errors that this would have had over the last `window` rows. */
function repeated(history: Float64Array, period: number, window: number, steps: number): Float64Array {
  const spread = rootMeanSquare(history.subarray(Math.max(0, history.length - window)), period);
  const quantiles = new Float64Array(steps * LEVELS.length);
  for (let ahead = 1; ahead <= steps; ahead++) {
    const periods = Math.ceil(ahead / period);
    const point = history[history.length + ahead - 1 - period * periods]!;
    for (let l = 0; l < LEVELS.length; l++)
      quantiles[(ahead - 1) * LEVELS.length + l] = point + NORMAL[l]! * spread * Math.sqrt(periods);
  }
  return quantiles;
}

function rootMeanSquare(values: Float64Array, period: number): number {
  let sum = 0;
  for (let i = period; i < values.length; i++) sum += (values[i]! - values[i - period]!) ** 2;
  return Math.sqrt(sum / (values.length - period));
}
