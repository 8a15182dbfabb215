import { describe, expect, test } from 'vitest';
import { medianOf, robustRidge } from '../../../../processors/forecast/models/robust-ridge.ts';
import { fc } from '../../../support/property.ts';
import { noiseFrom, uniformFrom } from '../shapes.ts';

const COUNT = 400;
const TRUE = [2, -1, 0.5] as const;
const INTERCEPT = 3;

/** Rows of a line with a little noise; every tenth is wild by `wildness`. */
function rowsOf(wildness: number) {
  const noise = noiseFrom(1);
  const columns = Float64Array.from({ length: COUNT * TRUE.length }, (_, i) => noise(i));
  const targets = Float64Array.from({ length: COUNT }, (_, r) => {
    const line = TRUE.reduce((sum, coefficient, j) => sum + coefficient * columns[r * TRUE.length + j]!, INTERCEPT);
    return line + 0.1 * noise(10_000 + r) + (r % 10 === 0 ? wildness : 0);
  });
  return { columns, targets, count: COUNT, width: TRUE.length };
}

function fitted(rows: Parameters<typeof robustRidge>[0], shrink: number): Float64Array {
  const into = new Float64Array(rows.width + 1);
  robustRidge(rows, shrink, into);
  return into;
}

describe('robust ridge regression', () => {
  for (const { name, wildness, within } of [
    { name: 'clean rows', wildness: 0, within: 0.02 },
    { name: 'a tenth of the rows wild', wildness: 20, within: 0.05 },
    { name: 'a tenth of the rows as wild as logarithms get', wildness: -22, within: 0.05 },
  ])
    test(`with ${name} the coefficients are found within ${within}`, () => {
      const found = fitted(rowsOf(wildness), 1e-4);
      for (const [j, coefficient] of [...TRUE, INTERCEPT].entries())
        expect(Math.abs(found[j]! - coefficient), `coefficient ${j}`).toBeLessThan(within);
    });

  test('shrinking holds coefficients towards zero and leaves the mean alone', () => {
    const [free, held] = [fitted(rowsOf(0), 1e-4), fitted(rowsOf(0), 1)];
    for (let j = 0; j < TRUE.length; j++) {
      expect(Math.abs(held[j]!)).toBeLessThan(0.7 * Math.abs(free[j]!));
      expect(Math.sign(held[j]!)).toBe(Math.sign(TRUE[j]!));
    }
    const { targets } = rowsOf(0);
    expect(Math.abs(held[TRUE.length]! - targets.reduce((sum, target) => sum + target, 0) / COUNT)).toBeLessThan(0.2);
  });

  test('L1: the same rows give the same coefficients', () =>
    expect(fitted(rowsOf(20), 0.05)).toEqual(fitted(rowsOf(20), 0.05)));

  test('L1: a column that never varies has the coefficient 0', () => {
    const rows = rowsOf(0);
    for (let r = 0; r < COUNT; r++) rows.columns[r * TRUE.length + 1] = 7;
    expect(fitted(rows, 0.05)[1]).toBe(0);
  });

  test('L2: two equal columns share what one would have, finite', () => {
    const rows = rowsOf(0);
    for (let r = 0; r < COUNT; r++) rows.columns[r * TRUE.length + 1] = rows.columns[r * TRUE.length]!;
    const [one, other] = fitted(rows, 1e-6);
    expect(one).toBeCloseTo(other!, 3);
    expect(Number.isFinite(one)).toBe(true);
  });

  test('L2: coefficients of any finite rows are finite', () => {
    const number = fc.oneof(fc.double({ min: -30, max: 30, noNaN: true }), fc.constant(0), fc.constant(1e-300));
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 30 }),
        fc.array(number, { minLength: 210, maxLength: 210 }),
        (width, count, numbers) => {
          const columns = Float64Array.from(numbers.slice(0, count * width));
          const targets = Float64Array.from(numbers.slice(180, 180 + count));
          for (const found of fitted({ columns, targets, count, width }, 0.05))
            expect(found).toSatisfy(Number.isFinite);
        },
      ),
      { numRuns: 200, seed: 5 },
    );
  });

  test('the median of an even number is the upper of the middle two, and the values stay in their order', () => {
    const values = Float64Array.of(5, 1, 4, 2);
    expect(medianOf(values)).toBe(4);
    expect([...values]).toEqual([5, 1, 4, 2]);
    const uniform = uniformFrom(2);
    expect(medianOf(Float64Array.from({ length: 1_001 }, (_, i) => uniform(i)))).toBeCloseTo(0.5, 1);
  });
});
