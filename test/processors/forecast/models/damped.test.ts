import { describe, expect, test } from 'vitest';
import { fadingOf, travelOf } from '../../../../processors/forecast/models/damped.ts';

describe('a damped slope', () => {
  test('travels the sum of what is left of it after each step, in whatever order steps are asked for', () => {
    const travelled = travelOf(0.9);
    for (const ahead of [60, 1, 0, 7, 60]) {
      let sum = 0;
      for (let step = 1; step <= ahead; step++) sum += 0.9 ** step;
      expect(travelled(ahead)).toBeCloseTo(sum, 10);
    }
  });

  test('what halves in a few steps is a quarter after twice as many, whatever else was asked for', () => {
    for (const halfLife of [3, 120, 3])
      for (const times of [2, 0, 1]) expect(fadingOf(halfLife)(times * halfLife)).toBeCloseTo(0.5 ** times, 12);
  });
});
