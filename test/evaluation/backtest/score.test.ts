import { describe, expect, test } from 'vitest';
import { overallMean, type ScoreRow, scoresOf } from '../../../evaluation/backtest/score.ts';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import { SMALL } from './synthetic.ts';

/** The same quantile at every level but those given. */
const flat = (steps: number, value: number, over: Readonly<Record<number, number>> = {}): Float64Array =>
  Float64Array.from({ length: steps * LEVELS.length }, (_, at) => over[LEVELS[at % LEVELS.length]!] ?? value);

describe('scores by hand', () => {
  const values = Float64Array.of(0, 0, 10, 20, 30);

  test('a perfect forecast has no error and covers everything', () => {
    const perfect = Float64Array.from(
      { length: 3 * LEVELS.length },
      (_, at) => values[2 + Math.floor(at / LEVELS.length)]!,
    );
    expect(scoresOf(values, [2], [perfect], 3, 5)).toEqual({ MASE: 0, pinball90: 0, pinball99: 0, wQL: 0, cover95: 1 });
  });

  test('errors are divided by the scale, means are over steps and origins', () => {
    // Origin 2 misses by 4 and 6, origin 3 by 6 and 16.
    const scores = scoresOf(values, [2, 3], [flat(2, 14), flat(2, 14)], 2, 4);
    expect(scores.MASE).toBeCloseTo((4 + 6 + 6 + 16) / 4 / 4, 12);
    // Above the value by 4 costs 0.1 of it, below it by 28 costs 0.9 of it.
    expect(scores.pinball90).toBeCloseTo((0.1 * 4 + 0.9 * 28) / 4 / 4, 12);
    expect(scores.pinball99).toBeCloseTo((0.01 * 4 + 0.99 * 28) / 4 / 4, 12);
    expect(scores.cover95).toBe(0.25);
    // The levels 0.1 .. 0.9 have the mean 0.5: twice the mean pinball loss is the absolute error.
    expect(scores.wQL).toBeCloseTo((4 + 28) / (10 + 20 + 20 + 30), 12);
  });

  test('only the steps up to the horizon count', () => {
    expect(scoresOf(values, [2], [flat(3, 10)], 1, 1).MASE).toBe(0);
    expect(scoresOf(values, [2], [flat(3, 10)], 3, 1).MASE).toBe(10);
  });

  test('the point is the median, and the 0.95 quantile alone says what is covered', () => {
    const scores = scoresOf(values, [2], [flat(1, 0, { 0.5: 10, 0.95: 10 })], 1, 1);
    expect(scores).toMatchObject({ MASE: 0, cover95: 1 });
    expect(scores.pinball90).toBeCloseTo(9, 12);
  });

  test('forecasts below 0 count as 0', () => {
    expect(scoresOf(values, [0], [flat(2, -7)], 2, 1)).toMatchObject({ MASE: 0, pinball90: 0, cover95: 1 });
  });

  test('where all values are 0 there is no wQL', () => {
    expect(scoresOf(values, [0], [flat(2, 1)], 2, 1).wQL).toBeNaN();
  });
});

describe('means', () => {
  const protocol = [
    { ...SMALL, dataset: 'one', series: 'a' },
    { ...SMALL, dataset: 'one', series: 'b' },
    { ...SMALL, dataset: 'aws_netin_x', series: 'c', horizons: [1, 2, 4] },
  ];
  const row = (dataset: string, series: string, horizon: number, MASE: number, wQL: number): ScoreRow => ({
    ...{ dataset, series, model: 'M', set: 'all', horizon, MASE, wQL },
    ...{ pinball90: 0, pinball99: 0, cover95: 1, seconds: 0 },
  });
  const rows = [
    row('one', 'a', 5, 1, 0.1),
    row('one', 'b', 5, 3, Number.NaN),
    row('aws_netin_x', 'c', 4, 10, 7),
    { ...row('one', 'a', 5, 99, 99), model: 'other' },
  ];

  test('are over the series of a data set first, and the longest horizon of each', () => {
    expect(overallMean(protocol, rows, 'M', 'MASE', 2)).toBe(6);
  });

  test('leave out of wQL the data sets that it says nothing of, and what is not a number', () => {
    expect(overallMean(protocol, rows, 'M', 'wQL', 2)).toBe(0.1);
  });

  test('are not a number without any row', () => {
    expect(overallMean(protocol, rows, 'M', 'MASE', 0)).toBeNaN();
  });
});
