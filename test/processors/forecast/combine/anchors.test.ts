import { expect, test } from 'vitest';
import { anchorsOf } from '../../../../processors/forecast/combine/anchors.ts';

const HOUR = Array.from({ length: 60 }, (_, i) => i + 1);

test('an hour of minutes is forecast at twelve of them, and lies on lines between', () => {
  const { anchors, at, share } = anchorsOf(HOUR, 5);
  expect(anchors).toEqual([1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 60]);
  for (const [i, steps] of HOUR.entries()) {
    const from = anchors[at[i]!]!;
    const to = anchors[at[i]! + 1] ?? from;
    expect(from + share[i]! * (to - from)).toBeCloseTo(steps, 9);
  }
});

for (const { name, ahead, slotSteps, expected } of [
  { name: 'where a slot is a step, every step is an anchor', ahead: [1, 2, 7], slotSteps: 1, expected: [1, 2, 7] },
  { name: 'whole hours need no other anchors', ahead: [120, 180], slotSteps: 5, expected: [120, 180] },
  { name: 'a step between two anchors needs both', ahead: [33], slotSteps: 5, expected: [30, 40] },
])
  test(name, () => expect(anchorsOf(ahead, slotSteps).anchors).toEqual(expected));
