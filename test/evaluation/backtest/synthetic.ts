// Made series for the tests of the backtest: a protocol small enough to compute by hand, and days with some noise.

import type { SeriesProtocol } from '../../../evaluation/backtest/protocol.ts';
import { randomFrom } from '../../../evaluation/random.ts';

/** A season of four rows, and a week of eight. */
export const SMALL: SeriesProtocol = {
  dataset: 'made',
  file: 'made.csv',
  series: 'rate',
  rows: 24,
  stepSeconds: 21_600,
  season: 4,
  longSeason: 8,
  fitWindow: 8,
  testStart: 16,
  origins: [16, 17, 18, 19],
  horizons: [1, 2, 5],
  scale: 2,
};

/** The same as a protocol file has it. */
export const SMALL_FILE = {
  quantiles: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99],
  series: [
    {
      dataset: 'made',
      file: 'made.csv',
      series: 'rate',
      n: 24,
      step_seconds: 21_600,
      season: 4,
      season2: 8,
      fit_window: 8,
      test_start: 16,
      origins: [16, 17, 18, 19],
      horizons: [1, 2, 5],
      mase_scale: 2,
    },
  ],
};

/** Hours of a daily wave with noise. */
export function hours(count: number, seed = 1): Float64Array {
  const random = randomFrom(seed);
  return Float64Array.from({ length: count }, (_, hour) =>
    Math.round(100 + 60 * Math.sin((hour / 24) * 2 * Math.PI) + 20 * random()),
  );
}

export const traceText = (
  series: Readonly<Record<string, Float64Array>>,
  stepSeconds: number,
  from = 1_767_571_200,
) => {
  const columns = Object.values(series);
  const rows = Array.from(columns[0]!, (_, row) =>
    [from + row * stepSeconds, ...columns.map((column) => column[row])].join(','),
  );
  return `t,${Object.keys(series).join(',')}\n${rows.join('\n')}\n`;
};
