import { describe, expect, test } from 'vitest';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import { Forecaster, type ModelSet } from '../../../processors/forecast/forecaster.ts';
import { MINUTE_GRID, NEAR_STEPS } from '../../../processors/forecast/grid.ts';
import { level } from '../../../processors/forecast/models/level.ts';
import { DEFAULT_MODELS } from '../../../processors/forecast/models/models.ts';
import { FORECAST_DEFAULTS } from '../../../processors/forecast/settings.ts';
import { Signal } from '../../../processors/forecast/signal.ts';
import { BinaryReader, BinaryWriter } from '../../../state/binary.ts';
import { fc } from '../../support/property.ts';
import { bursts, constant, DAY_STEPS, daily, noiseFrom, ramp, type Shape, STEP_0, saying, zero } from './shapes.ts';

const SHAPE = { nearSteps: 3 * DAY_STEPS, farSlots: 4_320 };
const brain = new Forecaster(MINUTE_GRID, DEFAULT_MODELS, SHAPE);
const { trust } = FORECAST_DEFAULTS;
const noise = noiseFrom(7);
const noisyDaily: Shape = (step) => Math.max(0, daily(step) + 5 * noise(step));

function fed(shape: Shape, steps: number, models = brain): Signal {
  const signal = new Signal(models);
  feed(signal, shape, 0, steps, models);
  return signal;
}

function feed(signal: Signal, shape: Shape, from: number, to: number, models = brain): void {
  for (let step = from; step < to; step++) {
    signal.close(STEP_0 + step, shape(step));
    models.fit(signal.memory, models.fitsDue(signal.memory));
  }
}

function quantile(signal: Signal, ahead: number, wanted: (typeof LEVELS)[number]): number {
  return signal.quantiles().near[(ahead - 1) * LEVELS.length + LEVELS.indexOf(wanted)]!;
}

function problemOf(signal: Signal): string {
  const { near, far } = signal.quantiles();
  if (near.length !== NEAR_STEPS * LEVELS.length || far.length !== 23 * LEVELS.length) return 'a wrong length';
  for (const quantiles of [near, far])
    for (const [i, value] of quantiles.entries()) {
      if (!(value >= 0 && Number.isFinite(value))) return `${value}`;
      if (i % LEVELS.length > 0 && value < quantiles[i - 1]!) return `${value} below the level before`;
    }
  const { dispersion, peakToMean } = signal.pattern;
  for (const figure of [dispersion, peakToMean, signal.recentError(), signal.coverage()])
    if (!Number.isFinite(figure)) return `a figure of ${figure}`;
  return '';
}

describe('signal: whatever comes in, numbers come out', () => {
  for (const { name, shape, steps } of [
    { name: 'one value', shape: constant, steps: 1 },
    { name: 'two values', shape: ramp, steps: 2 },
    { name: 'a constant', shape: constant, steps: 300 },
    { name: 'zeros', shape: zero, steps: 300 },
    { name: 'a daily wave', shape: daily, steps: 2 * DAY_STEPS },
    { name: 'bursts', shape: bursts, steps: 1000 },
    { name: 'NaN', shape: () => Number.NaN, steps: 200 },
    { name: 'infinity', shape: () => Number.POSITIVE_INFINITY, steps: 200 },
    { name: '1e308', shape: () => 1e308, steps: 200 },
    { name: 'negative rates', shape: () => -5, steps: 200 },
    { name: '1e308 now and then', shape: (step: number) => (step % 17 === 0 ? 1e308 : 1), steps: 400 },
    { name: 'the least double', shape: () => Number.MIN_VALUE, steps: 200 },
  ])
    test(`G2: quantiles of ${name} ascend, are finite and not negative`, () =>
      expect(problemOf(fed(shape, steps))).toBe(''));

  test('G2: the same for any mix of rates', () => {
    const rate = fc.oneof(fc.double(), fc.double({ min: 0, max: 1000 }), fc.constant(0));
    fc.assert(
      fc.property(fc.array(rate, { minLength: 1, maxLength: 150 }), (rates) => {
        expect(problemOf(fed((step) => rates[step]!, rates.length))).toBe('');
      }),
      { numRuns: 40, seed: 11 },
    );
  });
});

describe('signal: what is foreseen', () => {
  test('a constant goes on, within a few percent', () => {
    const signal = fed(constant, 600);
    expect(quantile(signal, 60, 0.5)).toBeCloseTo(100, 0);
    expect(quantile(signal, 60, 0.99)).toBeLessThan(115);
    expect(signal.distrust(trust)).toBe('');
  });

  test('zeros go on as nearly nothing', () => {
    expect(quantile(fed(zero, 600), 60, 0.99)).toBeLessThan(1 / 60);
  });

  test('a daily wave is foreseen an hour ahead, and hour by hour for a day', () => {
    const at = 3 * DAY_STEPS + 720;
    const signal = fed(noisyDaily, at);
    expect(Math.abs(quantile(signal, 60, 0.5) / daily(at + 59) - 1)).toBeLessThan(0.12);
    expect(signal.recentError()).toBeLessThan(1);
    const { far } = signal.quantiles();
    for (let hour = 2; hour <= 24; hour++) {
      const median = far[(hour - 2) * LEVELS.length + LEVELS.indexOf(0.5)]!;
      expect(Math.abs(median / daily(at + hour * 60 - 1) - 1), `${hour} hours ahead`).toBeLessThan(0.25);
    }
  });

  test('a wave after a gap of hours is still foreseen: the days before are not forgotten', () => {
    const signal = fed(noisyDaily, 4 * DAY_STEPS);
    const from = 4 * DAY_STEPS + 400;
    feed(signal, noisyDaily, from, from + 90);
    expect(signal.memory.history.seen).toBe(90);
    expect(Math.abs(quantile(signal, 60, 0.5) / daily(from + 90 + 59) - 1)).toBeLessThan(0.2);
  });
});

describe('signal: stored and read back', () => {
  for (const { name, shape, steps } of [
    { name: 'a young series', shape: ramp, steps: 20 },
    { name: 'two days of a wave', shape: noisyDaily, steps: 2 * DAY_STEPS + 17 },
    { name: 'bursts', shape: bursts, steps: 500 },
  ])
    test(`${name} goes on as if it had not been, from its past and what came after it`, () => {
      const straight = fed(shape, steps);
      const past = new BinaryWriter();
      straight.writePast(past);
      const since = straight.memory.history.end;
      const { revision } = straight.memory.history;
      let end = steps;
      for (; end < steps + 50 && straight.memory.history.revision === revision; end++)
        feed(straight, shape, end, end + 1);
      const tail = new BinaryWriter();
      straight.writeTail(tail, since);
      if (straight.memory.history.revision !== revision) return; // Then the past has to be written again (S1).
      const resumed = new Signal(brain, brain.readPast(new BinaryReader(past.bytes())));
      resumed.memory.parameters.splice(0, Number.POSITIVE_INFINITY, ...straight.memory.parameters);
      resumed.readTail(new BinaryReader(tail.bytes()));
      for (const each of [straight, resumed]) feed(each, shape, end, end + 100);
      expect(resumed.quantiles()).toEqual(straight.quantiles());
      expect(resumed.pattern).toEqual(straight.pattern);
      expect(resumed.opinion()).toEqual(straight.opinion());
      expect(resumed.recentError()).toBe(straight.recentError());
    });

  test('other models than those that were stored take over the history, and begin to learn', () => {
    const stored = fed(noisyDaily, 2 * DAY_STEPS);
    const [past, tail] = [new BinaryWriter(), new BinaryWriter()];
    stored.writePast(past);
    stored.writeTail(tail, 0);
    const others = new Forecaster(MINUTE_GRID, { models: [level, DEFAULT_MODELS.models[1]!], ramp: '' }, SHAPE);
    const signal = new Signal(others, others.readPast(new BinaryReader(past.bytes())));
    signal.readTail(new BinaryReader(tail.bytes()));
    feed(signal, noisyDaily, 2 * DAY_STEPS, 2 * DAY_STEPS + 5, others);
    expect(problemOf(signal)).toBe('');
    expect(Math.abs(quantile(signal, 1, 0.5) / daily(2 * DAY_STEPS + 5) - 1)).toBeLessThan(0.3);
    expect(signal.memory.history.age).toBe(2 * DAY_STEPS + 5);
  });
});

describe('signal: trust', () => {
  for (const { name, shape, steps, models, reason } of [
    { name: 'too few steps', shape: constant, steps: 59, reason: 'only 59 of 60 steps seen' },
    {
      name: 'bursts that nobody foresees',
      shape: (step: number) => (noise(step) > 1.3 ? 1_000 : 1),
      steps: 500,
      reason: 'times the mean rate',
    },
    {
      name: 'a model that says NaN',
      shape: constant,
      steps: 100,
      models: { models: [level, saying('liar', () => Number.NaN)], ramp: '' },
      reason: 'a model returned NaN or infinity',
    },
    { name: 'a wave', shape: noisyDaily, steps: 3 * DAY_STEPS, reason: '' },
  ] as { name: string; shape: Shape; steps: number; models?: ModelSet; reason: string }[])
    test(`${name}: ${reason === '' ? 'trusted' : `not trusted, since ${reason}`}`, () => {
      const used = models === undefined ? brain : new Forecaster(MINUTE_GRID, models, SHAPE);
      const distrust = fed(shape, steps, used).distrust(trust);
      if (reason === '') expect(distrust).toBe('');
      else expect(distrust).toContain(reason);
    });
});
