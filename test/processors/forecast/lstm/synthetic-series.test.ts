import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { FAMILY_NAMES, syntheticSeries } from '../../../../processors/forecast/lstm/synthetic-series.ts';

const made = (count: number, seed: number) => {
  const random = randomFrom(seed);
  return Array.from({ length: count }, (_, number) => syntheticSeries(number, random));
};

describe('made series', () => {
  const series = made(44, 7);

  test('the same seed makes the same series, another seed others', () => {
    expect(made(3, 7)).toEqual(series.slice(0, 3));
    expect(made(3, 8)).not.toEqual(series.slice(0, 3));
  });

  test('every rate is finite and not negative', () => {
    for (const { rates } of series) expect(rates.every((rate) => Number.isFinite(rate) && rate >= 0)).toBe(true);
  });

  test('every family comes round, in steps of a minute to an hour', () => {
    expect(new Set(series.map(({ family }) => family))).toEqual(new Set(FAMILY_NAMES));
    expect(new Set(series.map(({ grid }) => grid.stepMs / 60_000))).toEqual(new Set([1, 5, 30, 60]));
  });

  test('each is longer than a week and a day', () => {
    for (const { grid, rates } of series) expect(rates.length).toBeGreaterThan(grid.longSeason + grid.season);
  });

  test('counts are whole, and some of them zero for a third of the time', () => {
    const random = randomFrom(7);
    const turn = FAMILY_NAMES.indexOf('counts');
    const counts = Array.from({ length: 10 }, (_, k) => syntheticSeries(turn + k * FAMILY_NAMES.length, random));
    for (const { rates } of counts) expect(rates.every(Number.isInteger)).toBe(true);
    expect(counts.some(({ rates }) => rates.filter((rate) => rate === 0).length > rates.length / 3)).toBe(true);
  });

  for (const { family, about, holds } of [
    {
      family: 'flat with bursts',
      about: 'its peak is far above its middle',
      holds: (s: Float64Array) => peakToMiddle(s) > 5,
    },
    { family: 'waves', about: 'its peak is not', holds: (s: Float64Array) => peakToMiddle(s) < 30 },
  ])
    test(`${family}: ${about}`, () => {
      expect(series.filter((one) => one.family === family).every(({ rates }) => holds(rates))).toBe(true);
    });
});

function peakToMiddle(rates: Float64Array): number {
  const sorted = rates.slice().sort();
  return sorted.at(-1)! / Math.max(sorted[sorted.length >> 1]!, 1e-9);
}
