import { expect, test } from 'vitest';
import { interpolationGridOf } from '../../../../processors/forecast/combine/interpolation-grid.ts';

const HOUR = Array.from({ length: 60 }, (_, i) => i + 1);

test('an hour of minutes is forecast at twelve of them, and lies on lines between', () => {
  const { interpolation: points, at, share } = interpolationGridOf(HOUR, 5);
  expect(points).toEqual([1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 60]);
  for (const [i, steps] of HOUR.entries()) {
    const from = points[at[i]!]!;
    const to = points[at[i]! + 1] ?? from;
    expect(from + share[i]! * (to - from)).toBeCloseTo(steps, 9);
  }
});

for (const { name, ahead, slotSteps, expected } of [
  { name: 'where a slot is a step, every step is a grid point', ahead: [1, 2, 7], slotSteps: 1, expected: [1, 2, 7] },
  { name: 'whole hours need no other points', ahead: [120, 180], slotSteps: 5, expected: [120, 180] },
  { name: 'a step between two points needs both', ahead: [33], slotSteps: 5, expected: [30, 40] },
])
  test(name, () => expect(interpolationGridOf(ahead, slotSteps).interpolation).toEqual(expected));
