import { describe, expect, test } from 'vitest';
import { Risk } from '../../../../processors/plan/demand/risk.ts';

const LEVELS = [0.5, 0.9, 0.99];
const risk = (...quantiles: number[]): Risk => new Risk(LEVELS, Float64Array.from(quantiles), 1e-9);

describe('the risk of a load', () => {
  for (const { name, of, load, expected } of [
    { name: 'at the median', of: risk(10, 20, 40), load: 10, expected: 0.5 },
    { name: 'at the highest quantile', of: risk(10, 20, 40), load: 40, expected: 0.01 },
    { name: 'halfway between two, in logarithms', of: risk(10, 20, 40), load: 10 * Math.SQRT2, expected: 0.05 ** 0.5 },
    {
      name: 'as far beyond the last as the last is beyond the one before',
      of: risk(10, 20, 40),
      load: 80,
      expected: 0.001,
    },
    { name: 'of any load at all', of: risk(10, 20, 40), load: 0, expected: 1 },
    { name: 'where quantiles are equal, that of the highest', of: risk(10, 10, 40), load: 10, expected: 0.1 },
    { name: 'above a load that is known to be none', of: risk(0, 0, 40), load: 0, expected: 0.1 },
  ])
    test(`${name} is ${expected.toPrecision(3)}`, () => expect(of.above(load)).toBeCloseTo(expected, 6));

  test('falls with the load, and the load at a risk is above that risk nowhere before', () => {
    for (const of of [risk(10, 20, 40), risk(0, 0, 3), risk(5, 5, 5), risk(0, 0, 0)]) {
      let before = 1;
      for (let load = 0; load < 100; load += 0.5) {
        expect(of.above(load)).toBeLessThanOrEqual(before);
        before = of.above(load);
      }
      for (const level of [0.9, 0.5, 0.2, 0.1, 0.03, 0.01, 0.001])
        expect(of.above(of.loadAt(level) + 1e-6)).toBeLessThanOrEqual(level + 1e-9);
    }
  });
});
