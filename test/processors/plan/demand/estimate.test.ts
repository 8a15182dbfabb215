// Estimate: a sum of coefficients is learned within its bounds, one measurement at a time, and what cannot be told apart
// is not guessed.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { type Bounds, expectedOf, freshEstimate, learnFrom } from '../../../../processors/plan/demand/estimate.ts';

const ABOUT_ONE: Bounds = { prior: 1, least: 0.5, most: 8, deviation: 1 };

describe('two coefficients', () => {
  test('that come apart now and then are both found', () => {
    const estimate = freshEstimate([ABOUT_ONE, ABOUT_ONE]);
    const random = randomFrom(1);
    for (let i = 0; i < 500; i++) {
      const amounts = i % 5 === 0 ? [0.3 * random(), 0] : [0.2 * random(), 0.2 * random()];
      learnFrom(estimate, amounts, amounts[0]! * 3 + amounts[1]! * 0.7, [ABOUT_ONE, ABOUT_ONE]);
    }
    expect(estimate.coefficients[0]).toBeCloseTo(3, 1);
    expect(estimate.coefficients[1]).toBeCloseTo(0.7, 1);
  });

  for (const { name, deviations } of [
    { name: 'equally uncertain ones share what was learned', deviations: [1, 1] },
    { name: 'the more uncertain one takes more of it', deviations: [2, 1] },
  ])
    test(`that always come together are learned as one sum: ${name} (R3)`, () => {
      const bounds = deviations.map((deviation) => ({ ...ABOUT_ONE, deviation }));
      const estimate = freshEstimate(bounds);
      for (let i = 0; i < 2_000; i++) {
        const amount = 0.1 + 0.05 * Math.sin(i / 10);
        learnFrom(estimate, [amount, amount], amount * 4, bounds);
      }
      const [first, second] = estimate.coefficients.map((coefficient) => coefficient - 1);
      expect(first! + second!).toBeCloseTo(2, 1);
      expect(first! / second!).toBeCloseTo((deviations[0]! / deviations[1]!) ** 2, 1);
    });
});

test('one that is known stays as it is', () => {
  const bounds = [ABOUT_ONE, { ...ABOUT_ONE, deviation: 0 }];
  const estimate = freshEstimate(bounds);
  for (let i = 0; i < 200; i++) learnFrom(estimate, [0.2, 0.2], 0.8, bounds);
  expect(estimate.coefficients[1]).toBe(1);
  expect(expectedOf(estimate, [0.2, 0.2])).toBeCloseTo(0.8, 1);
});

test('whatever is measured, coefficients stay within their bounds (R1), and move a tenth of a deviation at most (R2)', () => {
  const bounds = [ABOUT_ONE, { prior: 0, least: 0, most: 0.5, deviation: 0.1 }];
  const estimate = freshEstimate(bounds);
  const random = randomFrom(7);
  for (let i = 0; i < 2_000; i++) {
    const before = [...estimate.coefficients];
    learnFrom(estimate, [10 ** (6 * random() - 4), 10 ** (6 * random() - 4)], random() < 0.5 ? 0 : 1, bounds);
    for (const [j, { least, most, deviation }] of bounds.entries()) {
      const coefficient = estimate.coefficients[j]!;
      expect(coefficient >= least && coefficient <= most, `coefficient ${j} is ${coefficient}`).toBe(true);
      expect(Math.abs(coefficient - before[j]!)).toBeLessThanOrEqual(0.1 * deviation * (1 + 1e-9));
    }
  }
});
