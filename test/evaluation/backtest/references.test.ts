import { describe, expect, test } from 'vitest';
import { REFERENCES } from '../../../evaluation/backtest/references.ts';
import { LEVELS, MEDIAN } from '../../../processors/forecast/combine/calibration.ts';
import { SMALL } from './synthetic.ts';

const LEVEL_95 = LEVELS.indexOf(0.95);
const LEVEL_10 = LEVELS.indexOf(0.1);

function forecast(name: string, history: readonly number[], steps = 5) {
  const quantiles = REFERENCES.find((reference) => reference.name === name)!.forecast(
    Float64Array.from(history),
    SMALL,
    steps,
  );
  const column = (level: number): number[] =>
    Array.from({ length: steps }, (_, k) => quantiles[k * LEVELS.length + level]!);
  return { median: column(MEDIAN), low: column(LEVEL_10), upper: column(LEVEL_95) };
}

// The last eight rows are learned from, four are a season, eight a week; before them lies what must not matter.
const HISTORY = [99, 99, 1, 2, 3, 4, 2, 3, 4, 5];

describe('references', () => {
  test('naive: the last value, as wide as the differences of the last rows and the root of the steps', () => {
    const { median, upper } = forecast('Naive', HISTORY);
    expect(median).toEqual([5, 5, 5, 5, 5]);
    // Differences 1, 1, 1, -2, 1, 1, 1: their mean square is 10 / 7.
    for (const [k, value] of upper.entries())
      expect(value).toBeCloseTo(5 + 1.64485 * Math.sqrt(10 / 7) * Math.sqrt(k + 1), 9);
  });

  test('seasonal naive: the season before over again, wider with each season', () => {
    const { median, upper, low } = forecast('SeasonalNaive', HISTORY);
    expect(median).toEqual([2, 3, 4, 5, 2]);
    // Every row of the window is one above that of the season before.
    expect(upper[0]).toBeCloseTo(2 + 1.64485, 9);
    expect(upper[4]).toBeCloseTo(2 + 1.64485 * Math.SQRT2, 9);
    expect(low[0]).toBeCloseTo(2 - 1.28155, 9);
  });

  test('weekly seasonal naive: the week before, from two weeks of history on', () => {
    const weeks = [...Array(8).keys(), ...Array(8).keys()].map((day, row) => day + (row < 8 ? 0 : 2));
    const { median, upper } = forecast('SeasonalNaiveWeek', weeks);
    expect(median).toEqual([2, 3, 4, 5, 6]);
    expect(upper[4]).toBeCloseTo(6 + 1.64485 * 2, 9);
  });

  test('weekly seasonal naive: by the day before that', () => {
    expect(forecast('SeasonalNaiveWeek', HISTORY).median).toEqual(forecast('SeasonalNaive', HISTORY).median);
  });
});
