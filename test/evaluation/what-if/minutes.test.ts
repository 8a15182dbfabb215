import { describe, expect, test } from 'vitest';
import { lastMinutes, minutesIn, quantileOf } from '../../../evaluation/what-if/minutes.ts';

describe('minutes', () => {
  for (const { name, values, stepSeconds, minutes, expected } of [
    { name: 'a step of a minute is taken as it is', values: [1, 2, 3], stepSeconds: 60, minutes: 2, expected: [2, 3] },
    {
      name: 'a longer step holds in its middle and goes in a straight line from there',
      values: [10, 20, 40],
      stepSeconds: 120,
      minutes: 6,
      expected: [10, 12.5, 17.5, 25, 35, 40],
    },
    {
      name: 'a shorter step is read at the middle of the minute',
      values: [1, 3, 5, 7],
      stepSeconds: 30,
      minutes: 2,
      expected: [2, 6],
    },
  ])
    test(name, () => {
      expect([...lastMinutes(Float64Array.from(values), stepSeconds, minutes)]).toEqual(expected);
    });

  test('counts whole minutes', () => {
    expect([minutesIn(7, 30), minutesIn(3, 300), minutesIn(2, 3600)]).toEqual([3, 15, 120]);
  });

  test('a quantile is a value that the share of all values do not exceed', () => {
    const values = Float64Array.from({ length: 200 }, (_, at) => 199 - at);
    expect([quantileOf(values, 0), quantileOf(values, 0.5), quantileOf(values, 1)]).toEqual([0, 100, 199]);
  });
});
