import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LEVELS } from '../../../processors/forecast/calibration.ts';
import { FORECAST_DEFAULTS } from '../../../processors/forecast/forecast.ts';
import { HORIZON_STEPS, SignalForecast } from '../../../processors/forecast/signal-forecast.ts';
import { BinaryReader, BinaryWriter } from '../../../state/binary.ts';
import {
  bursts,
  constant,
  DAY_STEPS,
  daily,
  fed,
  noiseFrom,
  quantile,
  ramp,
  type Shape,
  STEP_0,
  sawtooth,
  zero,
} from './series.ts';

const noise = noiseFrom(7);
const noisyDaily: Shape = (step) => Math.max(0, daily(step) + 5 * noise(step));

function expectSound(signal: SignalForecast): void {
  const quantiles = signal.quantiles();
  expect(quantiles.length).toBe(HORIZON_STEPS * LEVELS.length);
  for (let i = 0; i < quantiles.length; i++) {
    expect(quantiles[i]).toBeGreaterThanOrEqual(0);
    expect(Number.isFinite(quantiles[i])).toBe(true);
    if (i % LEVELS.length > 0) expect(quantiles[i]).toBeGreaterThanOrEqual(quantiles[i - 1]!);
  }
  const { dispersion, peakToMean, seasonMs } = signal.traits();
  for (const number of [dispersion, peakToMean, seasonMs, signal.recentError()])
    expect(Number.isFinite(number)).toBe(true);
}

describe('signal forecast: whatever comes in, numbers come out', () => {
  for (const { name, shape, steps } of [
    { name: 'one value', shape: constant, steps: 1 },
    { name: 'two values', shape: ramp, steps: 2 },
    { name: 'a constant', shape: constant, steps: 300 },
    { name: 'zeros', shape: zero, steps: 300 },
    { name: 'a ramp', shape: ramp, steps: 300 },
    { name: 'a daily wave', shape: daily, steps: 2 * DAY_STEPS },
    { name: 'bursts', shape: bursts, steps: 1000 },
    { name: 'NaN', shape: () => Number.NaN, steps: 200 },
    { name: 'infinity', shape: () => Number.POSITIVE_INFINITY, steps: 200 },
    { name: '1e308', shape: () => 1e308, steps: 200 },
    { name: 'negative rates', shape: () => -5, steps: 200 },
    { name: '1e308 now and then', shape: (step: number) => (step % 17 === 0 ? 1e308 : 1), steps: 400 },
    { name: 'the least double', shape: () => Number.MIN_VALUE, steps: 200 },
  ])
    test(`G2: quantiles of ${name} ascend, are finite and not negative`, () => expectSound(fed(shape, steps)));

  test('G2: the same for any mix of rates', () => {
    const rate = fc.oneof(fc.double(), fc.double({ min: 0, max: 1000 }), fc.constant(0));
    fc.assert(
      fc.property(fc.array(rate, { minLength: 1, maxLength: 250 }), (rates) =>
        expectSound(fed((step) => rates[step]!, rates.length)),
      ),
      { numRuns: 60 },
    );
  });
});

describe('signal forecast: what is foreseen', () => {
  test('a constant goes on, within a few percent', () => {
    const signal = fed(constant, 600);
    expect(quantile(signal, 60, 0.5)).toBeCloseTo(100, 0);
    expect(quantile(signal, 60, 0.99)).toBeLessThan(110);
    expect(signal.distrust(FORECAST_DEFAULTS.trust)).toBe('');
  });

  test('zeros go on as nearly nothing', () => {
    expect(quantile(fed(zero, 600), 60, 0.99)).toBeLessThan(1 / 60);
  });

  test('a daily wave is foreseen an hour ahead, up the slope and down', () => {
    for (const at of [3 * DAY_STEPS, 3 * DAY_STEPS + 720]) {
      const signal = fed(noisyDaily, at);
      const truth = daily(at + 59);
      expect(Math.abs(quantile(signal, 60, 0.5) - truth)).toBeLessThan(0.12 * truth);
      expect(signal.recentError()).toBeLessThan(1);
    }
  });

  test('a wave after a gap of hours is still foreseen: the days before are not forgotten', () => {
    const signal = fed(noisyDaily, 4 * DAY_STEPS);
    const from = 4 * DAY_STEPS + 400;
    for (let step = from; step < from + 90; step++) signal.close(STEP_0 + step, noisyDaily(step));
    expect(signal.history.seen).toBe(90);
    const truth = daily(from + 90 + 59);
    expect(Math.abs(quantile(signal, 60, 0.5) - truth)).toBeLessThan(0.2 * truth);
  });

  for (const { minutes } of [{ minutes: 12 }, { minutes: 16 }, { minutes: 20 }])
    test(`a flash crowd that takes ${minutes} minutes to its fivefold is seen to cross twice the rate minutes before it does`, () => {
      const quiet = 3 * DAY_STEPS;
      const crowd: Shape = (step) => (100 + 3 * noise(step)) * (step < quiet ? 1 : 1 + (4 * (step - quiet)) / minutes);
      const signal = fed(crowd, quiet);
      const crossing = quiet + Math.ceil(minutes / 4);
      let alarm = Number.POSITIVE_INFINITY;
      for (let step = quiet; step <= crossing; step++) {
        signal.close(STEP_0 + step, crowd(step));
        if (quantile(signal, 10, 0.95) > 200) alarm = Math.min(alarm, step);
      }
      expect(crossing - alarm).toBeGreaterThanOrEqual(1);
      expect(alarm - quiet).toBeLessThanOrEqual(3);
    });

  for (const level of [0.1, 0.5, 0.9, 0.95, 0.99] as const)
    test(`over three days, ${level * 100} % of a noisy wave lie below the quantile of that level, at 1, 15 and 60 steps`, () => {
      const steps = 6 * DAY_STEPS;
      const aheads = [1, 15, 60];
      const below = new Map(aheads.map((ahead) => [ahead, 0]));
      const signal = new SignalForecast();
      for (let step = 0; step < steps - 60; step++) {
        signal.close(STEP_0 + step, noisyDaily(step));
        if (step < 3 * DAY_STEPS) continue;
        for (const ahead of aheads)
          if (noisyDaily(step + ahead) <= quantile(signal, ahead, level)) below.set(ahead, below.get(ahead)! + 1);
      }
      for (const [ahead, count] of below)
        expect(Math.abs(count / (3 * DAY_STEPS - 60) - level), `${ahead} ahead`).toBeLessThan(
          level === 0.5 ? 0.06 : 0.03,
        );
    });
});

describe('signal forecast: no look-ahead, no memory outside the row', () => {
  for (const poison of [Number.NaN, 1e308, -1, 0])
    test(`F3: forecasts before a future of ${poison} are those before any other future`, () => {
      const [honest, poisoned] = [new SignalForecast(), new SignalForecast()];
      for (let step = 0; step < 400; step++) {
        honest.close(STEP_0 + step, noisyDaily(step));
        poisoned.close(STEP_0 + step, step < 350 ? noisyDaily(step) : poison);
        if (step < 350) expect(poisoned.quantiles()).toEqual(honest.quantiles());
      }
      expect(poisoned.quantiles()).not.toEqual(honest.quantiles());
    });

  for (const { name, shape, steps } of [
    { name: 'a young series', shape: ramp, steps: 20 },
    { name: 'two days of a wave', shape: noisyDaily, steps: 2 * DAY_STEPS + 17 },
    { name: 'bursts', shape: bursts, steps: 500 },
  ])
    test(`stored and read back, ${name} goes on as if it had not been`, () => {
      const straight = fed(shape, steps);
      const writer = new BinaryWriter();
      straight.write(writer);
      const resumed = SignalForecast.read(new BinaryReader(writer.bytes()));
      for (let step = steps; step < steps + 150; step++)
        for (const each of [straight, resumed]) each.close(STEP_0 + step, shape(step));
      expect(resumed.quantiles()).toEqual(straight.quantiles());
      expect(resumed.traits()).toEqual(straight.traits());
      expect(resumed.ensemble.shares()).toEqual(straight.ensemble.shares());
    });

  test('a signal of many days takes less than 2,600 bytes', () => {
    const writer = new BinaryWriter();
    fed(noisyDaily, 3 * DAY_STEPS).write(writer);
    expect(writer.bytes().length).toBeLessThan(2_600);
  });
});

describe('signal forecast: trust', () => {
  for (const { name, shape, steps, reason } of [
    { name: 'too few steps', shape: constant, steps: 59, reason: 'only 59 of 60 steps seen' },
    {
      name: 'noise larger than its mean',
      shape: (step: number) => Math.max(0, 40 * noiseFrom(3)(step) ** 5),
      steps: 500,
      reason: 'of the mean rate',
    },
    { name: 'a wave', shape: noisyDaily, steps: 3 * DAY_STEPS, reason: '' },
  ])
    test(`${name}: ${reason === '' ? 'trusted' : `not trusted, since ${reason}`}`, () => {
      const distrust = fed(shape, steps).distrust(FORECAST_DEFAULTS.trust);
      if (reason === '') expect(distrust).toBe('');
      else expect(distrust).toContain(reason);
    });
});

describe('traits', () => {
  for (const { name, shape, steps, pattern, seasonMs } of [
    { name: 'a young series', shape: constant, steps: 10, pattern: 'UNKNOWN', seasonMs: 0 },
    { name: 'a constant', shape: constant, steps: 600, pattern: 'CONSISTENT', seasonMs: 0 },
    { name: 'zeros', shape: zero, steps: 600, pattern: 'CONSISTENT', seasonMs: 0 },
    { name: 'noise', shape: (step: number) => 100 + 5 * noise(step), steps: 600, pattern: 'CONSISTENT', seasonMs: 0 },
    { name: 'a ramp', shape: ramp, steps: 300, pattern: 'TRENDING', seasonMs: 0 },
    { name: 'a daily wave', shape: noisyDaily, steps: 3 * DAY_STEPS, pattern: 'PERIODIC', seasonMs: 86_400_000 },
    { name: 'half-hour waves', shape: sawtooth, steps: 600, pattern: 'PERIODIC', seasonMs: 30 * 60_000 },
    {
      name: 'rare bursts',
      shape: (step: number) => (step % 1000 > 990 ? 900 : 20 + noise(step)),
      steps: 1995,
      pattern: 'BURSTY',
      seasonMs: 0,
    },
  ])
    test(`${name}: ${pattern}`, () => expect(fed(shape, steps).traits()).toMatchObject({ pattern, seasonMs }));

  test('the index of dispersion of independent events is about one, of bursts far above', () => {
    const poisson: Shape = (step) => Math.max(0, 20 + Math.sqrt(20) * noise(step)) / 60;
    expect(fed(poisson, 600).traits().dispersion).toBeGreaterThan(0.6);
    expect(fed(poisson, 600).traits().dispersion).toBeLessThan(1.5);
    expect(fed((step) => (step % 100 > 90 ? 900 : 20), 500).traits().dispersion).toBeGreaterThan(100);
  });
});

const TRACE = process.env.FORESHARD_TRACES === undefined ? '' : `${process.env.FORESHARD_TRACES}/wc98_1min.csv`;
test.skipIf(!existsSync(TRACE))(
  'World Cup 1998, last quarter: ten minutes ahead, better than the naive forecast, 95 % covered',
  () => {
    const rates = readFileSync(TRACE, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => Number(line.split(',')[1]) / 60);
    const signal = new SignalForecast();
    const from = Math.floor(0.75 * rates.length);
    let [ours, naive, covered] = [0, 0, 0];
    for (let i = 0; i + 10 < rates.length; i++) {
      signal.close(STEP_0 + i, rates[i]!);
      if (i < from) continue;
      ours += Math.abs(rates[i + 10]! - quantile(signal, 10, 0.5));
      naive += Math.abs(rates[i + 10]! - rates[i]!);
      if (rates[i + 10]! <= quantile(signal, 10, 0.95)) covered++;
    }
    expect(ours / naive).toBeLessThan(0.95);
    expect(Math.abs(covered / (rates.length - 10 - from) - 0.95)).toBeLessThan(0.02);
  },
);
