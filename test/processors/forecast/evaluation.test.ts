import { expect, test } from 'vitest';
import { MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import { level } from '../../../processors/forecast/models/level.ts';
import { DEFAULT_MODELS } from '../../../processors/forecast/models/models.ts';
import { constant, DAY_STEPS, daily, feed, fresh, quantilesOf, saying } from './shapes.ts';

const AHEAD = [1, 2, 5, 60, 240];
const SHAPE = { nearSteps: 128, farSlots: 600 };

test('V1: a model is asked about a step ahead once, until the next step closes', () => {
  const asked: number[] = [];
  const listening = saying('listening', () => Math.log1p(100));
  const each = fresh({
    models: [
      level,
      {
        ...listening,
        forecast: (history, state, parameters, ahead, into, room) => {
          asked.push(...ahead);
          listening.forecast(history, state, parameters, ahead, into, room);
        },
      },
    ],
    ramp: '',
  });
  feed(each, constant, 0, 5);
  for (let times = 0; times < 3; times++) {
    feed(each, constant, 5 + times, 6 + times);
    const since = asked.length;
    quantilesOf(each, AHEAD);
    quantilesOf(each, AHEAD);
    each.forecaster.shares(each.memory);
    expect(new Set(asked.slice(since)).size).toBe(asked.length - since);
  }
  expect(asked).toContain(240);
});

test('what is said of one series is not heard of another, whichever is asked about in between', () => {
  const shapes = [daily, constant] as const;
  const apart = shapes.map((shape) => {
    const each = fresh(DEFAULT_MODELS, MINUTE_GRID, SHAPE);
    feed(each, shape, 0, 2 * DAY_STEPS);
    return each;
  });
  const [first] = apart;
  const together = shapes.map(() => ({ forecaster: first!.forecaster, memory: first!.forecaster.fresh() }));
  for (let step = 0; step < 2 * DAY_STEPS; step++)
    for (const [s, each] of together.entries()) {
      feed(each, shapes[s]!, step, step + 1);
      if (step % 97 === 0) for (const other of together) quantilesOf(other, AHEAD);
    }
  for (const [s, each] of together.entries()) expect(quantilesOf(each, AHEAD)).toEqual(quantilesOf(apart[s]!, AHEAD));
});
