import { expect, test } from 'vitest';
import { RampDetector } from '../../../../processors/forecast/combine/ramp-detector.ts';

const USUAL = 0.05;

/** Errors of the others and of the ramp's model, step by step; the belief after the last. */
function beliefAfter(steps: readonly (readonly [others: number, ramp: number])[]): number {
  const ramps = new RampDetector(60_000);
  const state = new Float32Array(ramps.size);
  for (const [others, ramp] of steps) ramps.learn(state, 5, 5 - others, 5 - ramp, USUAL);
  return ramps.belief(state);
}

for (const { name, steps, least, most } of [
  { name: 'quiet steps', steps: Array(20).fill([0.05, 0.05]), least: 0, most: 0 },
  { name: 'one wild step', steps: [[0.5, 0.1]], least: 0, most: 0 },
  {
    name: 'two wild steps in a row, the ramp nearer',
    steps: [
      [0.5, 0.1],
      [0.5, 0.1],
    ],
    least: 0.9,
    most: 1,
  },
  {
    name: 'two wild steps in a row, the ramp as far off',
    steps: [
      [0.5, 0.5],
      [0.5, 0.5],
    ],
    least: 0,
    most: 0,
  },
  { name: 'a fall', steps: Array(5).fill([-0.5, -0.1]), least: 0, most: 0 },
  {
    name: 'a ramp that ended three steps ago',
    steps: [
      [0.5, 0.1],
      [0.5, 0.1],
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    least: 0,
    most: 0,
  },
  {
    name: 'a ramp whose model says nothing',
    steps: [
      [0.5, Number.NaN],
      [0.5, Number.NaN],
    ],
    least: 0,
    most: 0,
  },
] as { name: string; steps: [number, number][]; least: number; most: number }[])
  test(`U1: after ${name}, the ramp is believed ${least === most ? least : `${least} to ${most}`}`, () => {
    expect(beliefAfter(steps)).toBeGreaterThanOrEqual(least);
    expect(beliefAfter(steps)).toBeLessThanOrEqual(most);
  });

test('its word fades over an hour and a half of minutes, or twelve long steps', () => {
  expect([0, 45, 90, 200].map((ahead) => new RampDetector(60_000).kept(ahead))).toEqual([1, 0.5, 0, 0]);
  expect([6, 12].map((ahead) => new RampDetector(3_600_000).kept(ahead))).toEqual([0.5, 0]);
});
