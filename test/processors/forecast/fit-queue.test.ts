import { describe, expect, test } from 'vitest';
import { FitQueue } from '../../../processors/forecast/fit-queue.ts';
import { MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import { History } from '../../../processors/forecast/history/history.ts';
import { DAY_STEPS, daily, noiseFrom, type Shape } from './shapes.ts';

const keys = (candidates: readonly { readonly key: string }[]): string[] => candidates.map(({ key }) => key);

function historyOf(shape: Shape, steps = DAY_STEPS + 10): History {
  const history = new History(MINUTE_GRID, { nearSteps: DAY_STEPS, farSlots: 600 });
  for (let step = 0; step < steps; step++) history.put(step, shape(step));
  return history;
}

describe('fit queue', () => {
  test('Q1: the most valuable come first, as many as the budget allows', () => {
    const queue = new FitQueue(2);
    for (const [key, value] of [
      ['a', 1],
      ['b', 5],
      ['c', 3],
      ['d', 4],
    ] as const)
      queue.offer({ key, value, step: 0 });
    expect(keys(queue.next(0))).toEqual(['b', 'd']);
    expect(keys(queue.next(0))).toEqual([]);
    expect(keys(queue.next(1))).toEqual(['c', 'a']);
  });

  test('Q1: a quiet hour saves up no more than one minute’s budget', () => {
    const queue = new FitQueue(3);
    queue.next(0);
    for (let i = 0; i < 10; i++) queue.offer({ key: `${i}`, value: i, step: 60 });
    expect(queue.next(60)).toHaveLength(3);
  });

  test('Q2: who was asked for waits for the answer, or for an hour', () => {
    const queue = new FitQueue(9);
    queue.offer({ key: 'a', value: 1, step: 0 });
    queue.next(0);
    for (const { step, taken } of [
      { step: 1, taken: false },
      { step: 59, taken: false },
      { step: 60, taken: true },
    ])
      expect(queue.offer({ key: 'a', value: 1, step })).toBe(taken);
    queue.next(60);
    queue.answered('a');
    expect(queue.offer({ key: 'a', value: 1, step: 61 })).toBe(true);
  });

  test('Q3: of more candidates than there is room for, the least valuable gives way', () => {
    const queue = new FitQueue(1_000);
    for (let i = 0; i < 300; i++) queue.offer({ key: `${i}`, value: i, step: 0 });
    expect(queue.waitingCount).toBe(256);
    expect(queue.offer({ key: 'least', value: -1, step: 0 })).toBe(false);
    expect(keys(queue.next(0)).at(-1)).toBe('44');
  });

  const noise = noiseFrom(3);
  for (const { name, other, shares } of [
    {
      name: 'the same day at ten times the rate',
      other: (step: number) => 10 * daily(step) + noise(step),
      shares: true,
    },
    { name: 'the opposite day', other: (step: number) => 200 - daily(step), shares: false },
    { name: 'a flat day', other: () => 100, shares: false },
  ])
    test(`a series with ${name} ${shares ? 'takes over' : 'does not take over'} what was fitted to a daily wave`, () => {
      const queue = new FitQueue(1);
      const parameters = [Float32Array.of(1, 2, 3)];
      queue.learn(historyOf(daily), parameters);
      expect(queue.kindred(historyOf(other))).toEqual(shares ? parameters : undefined);
    });

  test('a series without a whole day is like no other', () => {
    const queue = new FitQueue(1);
    queue.learn(historyOf(daily), []);
    expect(queue.kindred(historyOf(daily, DAY_STEPS / 2))).toBeUndefined();
  });
});
