import { beforeAll, describe, expect, test } from 'vitest';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import type { ModelSet } from '../../../processors/forecast/forecaster.ts';
import { gridOf, MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import { COMPACT, RATE_MAX } from '../../../processors/forecast/history/history.ts';
import { level } from '../../../processors/forecast/models/level.ts';
import { DEFAULT_MODELS, MODELS } from '../../../processors/forecast/models/models.ts';
import { fc } from '../../support/property.ts';
import {
  bursts,
  bytesOf,
  constant,
  DAY_STEPS,
  daily,
  type Fed,
  fed,
  feed,
  fresh,
  HISTORY_SHAPE,
  noiseFrom,
  quantile,
  quantilesOf,
  ramp,
  readBack,
  type Shape,
  saying,
  uniformFrom,
  wave,
  zero,
} from './shapes.ts';

const noise = noiseFrom(7);
const noisyDaily: Shape = (step) => Math.max(0, daily(step) + 5 * noise(step));
const AHEAD = [1, 2, 3, 4, 10, 16, 40, 60, 240, 700, 1440];
const HOUR_GRID = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });
const ALL_MODELS: ModelSet = { models: MODELS, ramp: DEFAULT_MODELS.ramp };

/** F3. */
function expectSound(each: Fed): void {
  const quantiles = quantilesOf(each, AHEAD);
  for (let i = 0; i < quantiles.length; i++) {
    expect(quantiles[i]).toBeGreaterThanOrEqual(0);
    expect(quantiles[i]).toBeLessThanOrEqual(RATE_MAX);
    if (i % LEVELS.length > 0) expect(quantiles[i]).toBeGreaterThanOrEqual(quantiles[i - 1]!);
  }
}

/** Four days of a wave with noise. */
let fourDays: Fed;
beforeAll(() => {
  fourDays = fed(noisyDaily, 4 * DAY_STEPS);
});

describe('forecaster: whatever comes in, numbers come out', () => {
  for (const { name, shape, steps } of [
    { name: 'one value', shape: constant, steps: 1 },
    { name: 'two values', shape: ramp, steps: 2 },
    { name: 'a constant', shape: constant, steps: 300 },
    { name: 'zeros', shape: zero, steps: 300 },
    { name: 'a ramp', shape: ramp, steps: 300 },
    { name: 'bursts', shape: bursts, steps: 1000 },
    { name: 'NaN', shape: () => Number.NaN, steps: 200 },
    { name: 'infinity', shape: () => Number.POSITIVE_INFINITY, steps: 200 },
    { name: '1e308', shape: () => 1e308, steps: 200 },
    { name: 'negative rates', shape: () => -5, steps: 200 },
    { name: '1e308 now and then', shape: (step: number) => (step % 17 === 0 ? 1e308 : 1), steps: 400 },
    { name: 'the least double', shape: () => Number.MIN_VALUE, steps: 200 },
    { name: 'a leap of a million', shape: (step: number) => (step < 150 ? 1 : 1e6), steps: 160 },
    { name: 'one rate among zeros', shape: (step: number) => (step === 100 ? 50 : 0), steps: 300 },
  ])
    test(`F3: quantiles of ${name} ascend, are finite and not negative`, () => {
      const each = fed(shape, steps, ALL_MODELS);
      expectSound(each);
      expect(each.forecaster.garbage(each.memory).count).toBe(0);
    });

  test('F3: the same for any mix of rates and gaps', () => {
    const rate = fc.oneof(fc.double(), fc.double({ min: 0, max: 1000 }), fc.constant(0));
    const leap = fc.oneof({ weight: 20, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 3_000 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(rate, leap), { minLength: 1, maxLength: 150 }), (steps) => {
        const each = fresh(DEFAULT_MODELS);
        let step = -1;
        for (const [value, left] of steps) {
          step += left;
          each.forecaster.close(each.memory, step, value);
          each.forecaster.fit(each.memory, each.forecaster.fitsDue(each.memory));
        }
        expectSound(each);
      }),
      { numRuns: 25, seed: 4 },
    );
  });

  test('F3: the highest quantile stays within a quarter above what was seen or is foreseen, and more while young', () => {
    const each = readBack(fourDays);
    const { history } = each.memory;
    const seen = history.rateOf(history.peak);
    for (const ahead of AHEAD) expect(quantile(each, ahead, 0.99)).toBeLessThan(1.3 * (seen + history.unit));
    const wild = fresh({ models: [level, saying('liar', () => 21.8)], ramp: '' });
    feed(wild, constant, 0, 3);
    expect(quantile(wild, 1, 0.99)).toBeLessThanOrEqual(RATE_MAX);
  });
});

describe('forecaster: models that go wrong', () => {
  for (const { name, said, isGarbage } of [
    { name: 'NaN', said: () => Number.NaN, isGarbage: true },
    { name: 'infinity', said: () => Number.POSITIVE_INFINITY, isGarbage: true },
    { name: 'minus infinity', said: () => Number.NEGATIVE_INFINITY, isGarbage: true },
    { name: 'NaN for one step in seven', said: (step: number) => (step % 7 === 0 ? Number.NaN : 4.6), isGarbage: true },
    { name: '1e308', said: () => 1e308, isGarbage: false },
    { name: '-1e308', said: () => -1e308, isGarbage: false },
    { name: 'noise', said: (step: number) => 20 * Math.abs(noise(step)), isGarbage: false },
  ])
    test(`F2: a model that says ${name} does no harm and is ${isGarbage ? '' : 'not '}counted as garbage`, () => {
      const each = fed(constant, 1_000, { models: [level, saying('liar', said)], ramp: 'liar' });
      expectSound(each);
      for (const ahead of [1, 16, 60]) expect(Math.abs(quantile(each, ahead, 0.5) - 100)).toBeLessThan(5);
      const { count, age } = each.forecaster.garbage(each.memory);
      if (isGarbage) {
        expect(count).toBeGreaterThanOrEqual(140);
        expect(age).toBeLessThan(8);
      } else expect([count, age]).toEqual([0, Number.POSITIVE_INFINITY]);
    });

  test('F2: when the fallback itself says nonsense, what is typical takes its place', () => {
    const each = fed(constant, 300, { models: [saying('liar', () => Number.NaN)], ramp: '' });
    expectSound(each);
    expect(Math.abs(quantile(each, 1, 0.5) - 100)).toBeLessThan(5);
  });

  test('F2: a model begins anew after garbage, its state and its fit', () => {
    let isSick = false;
    const patient = {
      ...saying('patient', () => (isSick ? Number.NaN : Math.log1p(1))),
      stateSize: () => 1,
      fitEvery: () => 100,
      fit: () => Float32Array.of(1),
      update: (_history: unknown, state: Float32Array) => {
        state[0]!++;
      },
    };
    const each = fed(constant, 100, { models: [level, patient], ramp: '' });
    expect(each.memory.parameters[1]!.length).toBe(1);
    isSick = true;
    feed(each, constant, 100, 101);
    isSick = false;
    expect(each.memory.parameters[1]!.length).toBe(0);
    expect(each.forecaster.garbage(each.memory)).toEqual({ count: 1, age: 0 });
    feed(each, constant, 101, 111);
    expect(each.forecaster.garbage(each.memory)).toEqual({ count: 1, age: 10 });
  });
});

describe('forecaster: no look-ahead, no memory outside the series', () => {
  for (const { name, grid, steps } of [
    { name: 'minutes', grid: MINUTE_GRID, steps: 250 },
    { name: 'hours', grid: HOUR_GRID, steps: 320 },
  ])
    for (const poison of [Number.NaN, 1e308, 0])
      test(`F1: forecasts of ${name} before a future of ${poison} are those before any other future`, () => {
        const shape: Shape = (step) => wave(grid.season)(step) * Math.exp(0.1 * noise(step));
        const end = steps - 50;
        const [honest, poisoned] = [fresh(ALL_MODELS, grid), fresh(ALL_MODELS, grid)];
        for (let step = 0; step < steps; step++) {
          feed(honest, shape, step, step + 1);
          feed(poisoned, (at) => (at < end ? shape(at) : poison), step, step + 1);
          if (step < end && step % 10 === 9) expect(quantilesOf(poisoned, AHEAD)).toEqual(quantilesOf(honest, AHEAD));
        }
        expect(quantilesOf(poisoned, AHEAD)).not.toEqual(quantilesOf(honest, AHEAD));
      });

  for (const { name, shape, steps } of [
    { name: 'a series not begun', shape: ramp, steps: 0 },
    { name: 'a young series', shape: ramp, steps: 20 },
    { name: 'bursts', shape: bursts, steps: 500 },
    { name: 'a day and a half of a wave', shape: noisyDaily, steps: 1.5 * DAY_STEPS },
  ])
    test(`stored and read back, ${name} goes on as if it had not been`, () => {
      const straight = fed(shape, steps, ALL_MODELS);
      const resumed = readBack(straight);
      for (const each of [straight, resumed]) feed(each, shape, steps, steps + 150);
      expect(quantilesOf(resumed, AHEAD)).toEqual(quantilesOf(straight, AHEAD));
      expect(bytesOf(resumed)).toEqual(bytesOf(straight));
      expect(resumed.forecaster.leader(resumed.memory, 0)).toBe(straight.forecaster.leader(straight.memory, 0));
    });

  test('two series of one forecaster do not know of each other', () => {
    const alone = fed(noisyDaily, 200);
    const both = fresh(DEFAULT_MODELS);
    const other: Fed = { forecaster: both.forecaster, memory: both.forecaster.fresh() };
    for (let step = 0; step < 200; step++) {
      feed(both, noisyDaily, step, step + 1);
      feed(other, bursts, step, step + 1);
    }
    expect(quantilesOf(both, AHEAD)).toEqual(quantilesOf(alone, AHEAD));
  });

  test('what is stored without parameters and with a compact history takes less than 4,000 bytes', () => {
    const each = fresh({ models: [level], ramp: '' }, MINUTE_GRID, COMPACT);
    feed(each, noisyDaily, 0, 3 * DAY_STEPS);
    expect(bytesOf(each).length).toBeLessThan(4_000);
  });
});

describe('forecaster: fits', () => {
  const counted = (every: number) => {
    const ages: number[] = [];
    const model = {
      ...saying('fitted', () => Math.log1p(1)),
      fitEvery: () => every,
      fit: (history: { readonly age: number }) => {
        ages.push(history.age);
        return Float32Array.of(history.age);
      },
    };
    return { ages, model };
  };

  test('are due at growing ages while a series is young, and then each so many steps', () => {
    const { ages, model } = counted(200);
    fed(constant, 1_000, { models: [level, model], ramp: '' });
    expect(ages).toEqual([60, 120, 180, 270, 405, 605, 805]);
  });

  test('are due until taken, and not again before the next turn, even when nothing was learned', () => {
    const { model } = counted(200);
    const { forecaster, memory } = fresh({ models: [level, model], ramp: '' });
    for (let step = 0; step < 70; step++) forecaster.close(memory, step, 100);
    expect(forecaster.fitsDue(memory)).toEqual([1]);
    forecaster.take(memory, 1, undefined);
    expect(forecaster.fitsDue(memory)).toEqual([]);
    expect(memory.parameters[1]!.length).toBe(0);
  });

  test('one that brings nothing leaves the parameters from before', () => {
    const { model } = counted(200);
    const { forecaster, memory } = fed(constant, 100, { models: [level, model], ramp: '' });
    forecaster.take(memory, 1, undefined);
    expect([...memory.parameters[1]!]).toEqual([60]);
  });

  test('one that arrives steps late, over a copy, is taken and used', () => {
    const each = fresh(DEFAULT_MODELS);
    const { forecaster, memory } = each;
    for (let step = 0; step < 2 * DAY_STEPS; step++) forecaster.close(memory, step, noisyDaily(step));
    const due = forecaster.fitsDue(memory);
    expect(due.map((m) => forecaster.models[m]!.name)).toEqual(['auto-regression', 'regression', 'spar']);
    const copy = readBack(each).memory.history;
    const late = due.map((m) => forecaster.models[m]!.fit(copy));
    for (let step = 2 * DAY_STEPS; step < 2 * DAY_STEPS + 30; step++) forecaster.close(memory, step, noisyDaily(step));
    const before = quantilesOf(each, AHEAD);
    for (const [i, m] of due.entries()) forecaster.take(memory, m, late[i]);
    expect(forecaster.fitsDue(memory)).toEqual([]);
    expect(quantilesOf(each, AHEAD)).not.toEqual(before);
    expectSound(each);
    feed(each, noisyDaily, 2 * DAY_STEPS + 30, 2 * DAY_STEPS + 60);
    const truth = daily(2 * DAY_STEPS + 59 + 60);
    expect(Math.abs(quantile(each, 60, 0.5) - truth)).toBeLessThan(0.15 * truth);
  });
});

describe('forecaster: what it says of itself', () => {
  test('a model that knows the future leads within two hours and has nearly all the weight', () => {
    const shape: Shape = (step) => 100 + 50 * uniformFrom(3)(step);
    const oracle = saying('oracle', (step, logOf) => logOf(shape(step)));
    const { forecaster, memory } = fed(shape, 120, { models: [level, oracle], ramp: '' });
    expect(forecaster.leader(memory, 0)).toBe('oracle');
    expect(forecaster.shares(memory)[0]![1]).toBeGreaterThan(0.95);
  });

  test('shares at each distance sum to one', () => {
    for (const shares of fourDays.forecaster.shares(fourDays.memory))
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 10);
  });

  test('the usual error is that of the forecasts, and unknown before one was judged', () => {
    const { forecaster, memory } = fourDays;
    for (const [d] of MINUTE_GRID.distances.entries()) {
      expect(forecaster.meanError(memory, d)).toBeGreaterThan(2);
      expect(forecaster.meanError(memory, d)).toBeLessThan(12);
    }
    const young = fed(constant, 5);
    expect(young.forecaster.meanError(young.memory, 0)).toBeLessThan(1);
    expect(young.forecaster.meanError(young.memory, 3)).toBeNaN();
  });

  test('what models have said since a step closed is not asked again, and never of another series, step or fit', () => {
    const one = readBack(fourDays);
    const { forecaster } = one;
    const other = { forecaster, memory: forecaster.fresh() };
    feed(other, ramp, 0, 300);
    const anew = (each: Fed) =>
      quantilesOf({ forecaster: fresh(DEFAULT_MODELS).forecaster, memory: each.memory }, AHEAD);
    const end = one.memory.history.end;
    for (const change of [
      () => {},
      () => forecaster.close(one.memory, end, 100),
      () => quantilesOf(one, [1, 5, 300]),
      () => forecaster.fit(one.memory, [5, 6, 7]),
      () => quantilesOf(other, [1, 2]),
      () => forecaster.inherit(one.memory, fourDays.memory),
      () => forecaster.close(other.memory, 300, 5),
    ]) {
      change();
      expect(quantilesOf(one, AHEAD)).toEqual(anew(one));
      expect(quantilesOf(other, AHEAD)).toEqual(anew(other));
      expect(quantilesOf(one, [3, 1440])).toEqual(
        anew(one).filter((_, i) => [2, 10].includes(Math.floor(i / LEVELS.length))),
      );
    }
  });

  test('the shape of the history is the one asked for', () =>
    expect(fourDays.memory.history.shape).toEqual(HISTORY_SHAPE));
});
