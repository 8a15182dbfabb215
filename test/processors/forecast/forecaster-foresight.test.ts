// What the forecaster foresees of made series, and whether its quantiles hold what they say.

import { beforeAll, describe, expect, test } from 'vitest';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import {
  constant,
  DAY_STEPS,
  daily,
  type Fed,
  fed,
  feed,
  noiseFrom,
  quantile,
  quantilesOf,
  readBack,
  type Shape,
  uniformFrom,
  zero,
} from './shapes.ts';

const noise = noiseFrom(7);
const uniform = uniformFrom(8);
const noisyDaily: Shape = (step) => Math.max(0, daily(step) + 5 * noise(step));

/** Four days of a wave with noise: the start of several tests, each of which goes on with its own copy. */
let fourDays: Fed;
/** Three quiet days at 100. */
let quiet: Fed;
const crowdOf =
  (minutes: number): Shape =>
  (step) =>
    (100 + 3 * noise(step)) * (step < 3 * DAY_STEPS ? 1 : 1 + Math.min(4, (4 * (step - 3 * DAY_STEPS)) / minutes));

beforeAll(() => {
  fourDays = fed(noisyDaily, 4 * DAY_STEPS);
  quiet = fed(crowdOf(10), 3 * DAY_STEPS);
});

describe('forecaster: what is foreseen', () => {
  test('a constant goes on, within a few percent', () => {
    const each = fed(constant, 600);
    expect(quantile(each, 60, 0.5)).toBeCloseTo(100, 0);
    expect(quantile(each, 60, 0.99)).toBeLessThan(115);
  });

  test('zeros go on as nearly nothing', () => expect(quantile(fed(zero, 600), 60, 0.99)).toBeLessThan(0.1));

  for (const { name, at } of [
    { name: 'up the slope', at: 4 * DAY_STEPS },
    { name: 'down the slope', at: 4 * DAY_STEPS + 720 },
  ])
    test(`a daily wave is foreseen an hour ahead, ${name}`, () => {
      const each = readBack(fourDays);
      feed(each, noisyDaily, 4 * DAY_STEPS, at);
      for (const ahead of [1, 16, 60]) {
        const truth = daily(at - 1 + ahead);
        expect(Math.abs(quantile(each, ahead, 0.5) - truth), `${ahead} ahead`).toBeLessThan(0.12 * truth);
      }
    });

  test('a wave after a gap of hours is still foreseen: the days before are not forgotten', () => {
    const each = readBack(fourDays);
    const from = 4 * DAY_STEPS + 400;
    feed(each, noisyDaily, from, from + 90);
    expect(each.memory.history.seen).toBe(90);
    const truth = daily(from + 90 + 59);
    expect(Math.abs(quantile(each, 60, 0.5) - truth)).toBeLessThan(0.2 * truth);
  });

  for (const minutes of [12, 16, 20])
    test(`F4: a flash crowd that takes ${minutes} minutes to its fivefold is seen to cross twice the rate minutes before it does`, () => {
      const each = readBack(quiet);
      const start = 3 * DAY_STEPS;
      const crossing = start + Math.ceil(minutes / 4);
      let alarm = Number.POSITIVE_INFINITY;
      for (let step = start; step <= crossing; step++) {
        each.forecaster.close(each.memory, step, crowdOf(minutes)(step));
        if (quantile(each, 10, 0.95) > 200) alarm = Math.min(alarm, step);
      }
      expect(crossing - alarm).toBeGreaterThanOrEqual(1);
      expect(alarm - start).toBeLessThanOrEqual(3);
    });

  test('F4: while a crowd grows, the forecast for ten minutes later does not fall back behind what is seen', () => {
    const each = readBack(quiet);
    for (let step = 3 * DAY_STEPS; step < 3 * DAY_STEPS + 14; step++) {
      const rate = crowdOf(20)(step);
      each.forecaster.close(each.memory, step, rate);
      if (step >= 3 * DAY_STEPS + 3)
        expect(quantile(each, 10, 0.5), `minute ${step - 3 * DAY_STEPS}`).toBeGreaterThan(rate);
    }
  });

  test('F4: one wild step is no crowd', () => {
    const each = readBack(quiet);
    const start = 3 * DAY_STEPS;
    each.forecaster.close(each.memory, start, 1000);
    each.forecaster.close(each.memory, start + 1, 100);
    expect(quantile(each, 10, 0.5)).toBeLessThan(130);
  });

  test('when a crowd stays, so does the forecast', () => {
    const each = readBack(quiet);
    feed(each, crowdOf(12), 3 * DAY_STEPS, 3 * DAY_STEPS + 90);
    for (const ahead of [1, 4, 16]) {
      expect(quantile(each, ahead, 0.5)).toBeGreaterThan(400);
      expect(quantile(each, ahead, 0.5)).toBeLessThan(600);
    }
  });
});

describe('forecaster: quantiles hold what they say', () => {
  test('over days of three made series, as many values lie below each quantile as its level says', () => {
    const start = 3 * DAY_STEPS;
    const steps = 2 * DAY_STEPS;
    const aheads = [1, 15, 60];
    const shapes: Readonly<Record<string, Shape>> = {
      'a noisy wave': noisyDaily,
      'noise in proportion': (step) => daily(step) * Math.exp(0.2 * noise(step)),
      'a wave with outliers': (step) => daily(step) * (uniform(step) < 0.02 ? 3 : 1) + 3 * Math.abs(noise(step)),
    };
    const means = aheads.map(() => new Float64Array(LEVELS.length));
    for (const [name, shape] of Object.entries(shapes)) {
      const each = shape === noisyDaily ? readBack(fourDays) : fed(shape, start);
      const from = each.memory.history.end;
      const below = aheads.map(() => new Float64Array(LEVELS.length));
      for (let step = from; step < from + steps; step++) {
        feed(each, shape, step, step + 1);
        const quantiles = quantilesOf(each, aheads);
        for (const [i, ahead] of aheads.entries())
          for (let l = 0; l < LEVELS.length; l++)
            if (shape(step + ahead) <= quantiles[i * LEVELS.length + l]!) below[i]![l]! += 1 / steps;
      }
      for (const [i, ahead] of aheads.entries())
        for (const [l, wanted] of LEVELS.entries()) {
          means[i]![l]! += below[i]![l]! / 3;
          const within = wanted >= 0.95 ? 0.03 : 0.08;
          expect(Math.abs(below[i]![l]! - wanted), `${name}: ${wanted}, ${ahead} ahead`).toBeLessThan(within);
        }
    }
    for (const [i, ahead] of aheads.entries()) {
      const share = means[i]![LEVELS.indexOf(0.95)]!;
      expect(share, `${ahead} ahead`).toBeGreaterThan(0.93);
      expect(share, `${ahead} ahead`).toBeLessThan(0.97);
    }
  });
});
