import { describe, expect, test } from 'vitest';
import { LEVELS, MEDIAN } from '../../../../processors/forecast/combine/calibration.ts';
import { Forecaster } from '../../../../processors/forecast/forecaster.ts';
import { History } from '../../../../processors/forecast/history/history.ts';
import { patternOf } from '../../../../processors/forecast/history/patterns.ts';
import { lookEvery, regimeBegin } from '../../../../processors/forecast/history/regime.ts';
import { DEFAULT_MODELS } from '../../../../processors/forecast/models/models.ts';
import { BinaryReader, BinaryWriter } from '../../../../state/binary.ts';
import { LogRing } from '../../../../state/log-ring.ts';
import {
  FIVE_MINUTES,
  historyOf,
  normalFrom,
  type Rates,
  redNoise,
  type Synthetic,
  wave,
} from '../synthetic-series.ts';

const { season: DAY, longSeason: WEEK } = FIVE_MINUTES;
/** Not at a look, not at midnight. */
const CHANGE = 10 * DAY + 85;

const shaped =
  (rate: Rates, spread = 0.1): Synthetic =>
  (seed) => {
    const normal = normalFrom(seed);
    return (step) => rate(step) * (1 + spread * normal());
  };
const daily = (step: number): number => 100 * wave(step, DAY, 0.6);
const day = (step: number): number => Math.floor(step / DAY);
const isWeekend = (step: number): boolean => day(step) % 7 >= 5;
const office = (step: number): number => daily(step) * (isWeekend(step) ? 0.2 : 1);
const isAfter = (step: number): boolean => step >= CHANGE;
const spikes = (step: number): number => (step % 6 === 0 ? 13 : 1) * 250;

/** Cuts that a forecaster would make: at which step, and where the new regime begins. */
function cutsOf(rates: Rates, steps: number): { at: number; begin: number }[] {
  const history = new History(FIVE_MINUTES, { nearSteps: 3 * DAY, farSlots: 6 * WEEK });
  const cuts: { at: number; begin: number }[] = [];
  for (let step = 0; step < steps; step++) {
    history.put(step, Math.max(0, rates(step)));
    if ((step + 1) % lookEvery(DAY) !== 0) continue;
    const begin = regimeBegin(history);
    if (begin === undefined) continue;
    history.cut(begin);
    cuts.push({ at: step, begin });
  }
  return cuts;
}

describe('regime: what is a new one', () => {
  for (const { name, rate, spread, days, off = DAY / 12 } of [
    {
      name: 'a level that trebles and stays',
      rate: (s: number) => daily(s) * (isAfter(s) ? 3 : 1),
      days: 1,
      off: DAY / 8,
    },
    {
      name: 'a level without a season that trebles',
      rate: (s: number) => 100 * (isAfter(s) ? 3 : 1),
      days: 1,
      off: DAY / 8,
    },
    { name: 'a level that falls to a third', rate: (s: number) => daily(s) * (isAfter(s) ? 1 / 3 : 1), days: 4 },
    { name: 'spikes twice an hour that stop for good', rate: (s: number) => (isAfter(s) ? 250 : spikes(s)), days: 4 },
    { name: 'spikes twice an hour that begin', rate: (s: number) => (isAfter(s) ? spikes(s) : 250), days: 4 },
    {
      name: 'a wave that ends at its middle',
      rate: (s: number) => (isAfter(s) ? 100 : daily(s)),
      spread: 0.02,
      days: 4,
    },
    { name: 'an office that moves out', rate: (s: number) => (isAfter(s) ? 0.05 : 1) * office(s), days: 7, off: DAY },
  ])
    test(`${name}: within ${days} days, and it begins about there`, () => {
      for (let seed = 1; seed <= 3; seed++) {
        const cuts = cutsOf(shaped(rate, spread)(seed, DAY), CHANGE + WEEK);
        expect(cuts).toHaveLength(1);
        expect(cuts[0]!.at).toBeLessThanOrEqual(CHANGE + days * DAY + lookEvery(DAY));
        expect(Math.abs(cuts[0]!.begin - CHANGE)).toBeLessThanOrEqual(off);
      }
    });

  for (const { name, made } of [
    { name: 'a constant', made: shaped(() => 100, 0) },
    { name: 'zeros', made: shaped(() => 0, 0) },
    { name: 'noise', made: shaped(() => 100, 0.5) },
    { name: 'a daily wave', made: shaped(daily) },
    { name: 'quiet weekends', made: shaped(office) },
    { name: 'weekends first', made: shaped((step: number) => office(step + 5 * DAY)) },
    { name: 'a holiday', made: shaped((step: number) => office(step) * (day(step) === 16 ? 0.2 : 1)) },
    { name: 'a long weekend', made: shaped((step: number) => office(step) * (day(step) % 21 === 14 ? 0.2 : 1)) },
    { name: 'an outage of a day', made: shaped((step: number) => (day(step) === 16 ? 0 : daily(step))) },
    { name: 'growth by a tenth a day', made: shaped((step: number) => daily(step) * 1.1 ** (step / DAY)) },
    { name: 'decline by a tenth a day', made: shaped((step: number) => daily(step) * 0.9 ** (step / DAY)) },
    {
      name: 'a flash crowd of eight hours, tenfold',
      made: shaped((step: number) => daily(step) * (step > CHANGE && step < CHANGE + DAY / 3 ? 10 : 1)),
    },
    {
      name: 'crowds on three evenings',
      made: shaped((step: number) => daily(step) * (day(step) >= 15 && day(step) < 18 && step % DAY > 200 ? 5 : 1)),
    },
    { name: 'a level a fifth higher', made: shaped((step: number) => daily(step) * (isAfter(step) ? 1.2 : 1)) },
    {
      name: 'one burst of a thousand times',
      made: shaped((step: number) => daily(step) * (step === CHANGE ? 1000 : 1)),
    },
    { name: 'a wandering level', made: redNoise(0.99, 0.05) },
  ] satisfies { name: string; made: Synthetic }[])
    test(`${name}: none`, () => {
      for (let seed = 1; seed <= 2; seed++) expect(cutsOf(made(seed, DAY), 4 * WEEK)).toEqual([]);
    });

  test('random walks of a sixth a day are cut less than once in ten months', () => {
    let cuts = 0;
    for (let seed = 1; seed <= 20; seed++) cuts += cutsOf(redNoise(1, 0.01)(seed, DAY), 4 * WEEK).length;
    expect(cuts).toBeLessThan(2);
  });
});

describe('regime: history after a cut', () => {
  const cut = (): History => {
    const history = historyOf((step) => (isAfter(step) ? 300 : 100), CHANGE + DAY, FIVE_MINUTES);
    history.cut(CHANGE);
    return history;
  };

  test('Y3: nothing from before is told, and what is left is as it was', () => {
    const history = cut();
    expect(history.begin).toBe(CHANGE);
    expect(history.nearBegin).toBe(CHANGE);
    for (const step of [0, CHANGE - 1, CHANGE, history.step])
      expect(history.rateOf(history.far(step))).toBeCloseTo(300, 0);
    expect(history.rateOf(history.typical)).toBeCloseTo(300, 0);
    expect(history.rateOf(history.seasonal(history.step + 1))).toBeCloseTo(300, 0);
  });

  test('it is stored with its cut, and grows again', () => {
    const writer = new BinaryWriter();
    cut().write(writer);
    const history = History.read(new BinaryReader(writer.bytes()), FIVE_MINUTES, {
      nearSteps: 3 * DAY,
      farSlots: 4_032,
    });
    for (let step = history.end; step < CHANGE + 9 * DAY; step++) history.put(step, 300);
    expect(history.begin).toBe(CHANGE);
    expect(history.regime).toBe(CHANGE);
    expect(history.seasons).toBe(9);
  });

  test('a pattern says how long ago it was', () => {
    expect(patternOf(cut()).changedSteps).toBe(DAY);
    expect(patternOf(historyOf(() => 100, DAY, FIVE_MINUTES)).changedSteps).toBe(0);
  });

  test('a ring that is cut holds what is not before the cut, while it grows and goes round', () => {
    const ring = new LogRing(200);
    for (let number = 0; number < 90; number++) ring.put(number, 1);
    ring.cut(80);
    for (let number = 90; number < 400; number++) {
      ring.put(number, 2);
      expect(ring.oldest).toBe(Math.max(80, number - 199));
      expect(ring.at(79)).toBeNaN();
      if (ring.oldest <= 85) expect(ring.at(85)).toBeCloseTo(1, 3);
      expect(ring.mean(0, 500)).toBeGreaterThanOrEqual(1);
    }
  });
});

describe('regime: the forecaster after a change', () => {
  const shape = { nearSteps: 3 * DAY, farSlots: 4_032 };
  const all = Array.from({ length: DAY }, (_, i) => i + 1);

  /** Error of the day ahead, as a share of the mean, at so many steps after the change. */
  function errorsAfter(rates: Rates, at: readonly number[], isCut: boolean): number[] {
    const forecaster = new Forecaster(FIVE_MINUTES, DEFAULT_MODELS, shape);
    const steps = CHANGE + at.at(-1)! + DAY;
    const seen = Array.from({ length: steps }, (_, step) => Math.max(0, rates(step)));
    const memory = forecaster.fresh();
    // Without slots to compare no change is seen.
    if (!isCut) memory.history.slot = () => Number.NaN;
    const quantiles = new Float64Array(LEVELS.length * DAY);
    const errors: number[] = [];
    for (let step = 0; step < steps - DAY; step++) {
      forecaster.close(memory, step, seen[step]!);
      // Fits from before the last step of the old regime would be replaced by then.
      if (step >= CHANGE - 1) forecaster.fit(memory, forecaster.fitsDue(memory));
      if (!at.includes(step + 1 - CHANGE)) continue;
      forecaster.quantiles(memory, all, quantiles);
      let [error, sum] = [0, 0];
      for (const ahead of all) {
        error += Math.abs(seen[step + ahead]! - quantiles[(ahead - 1) * LEVELS.length + MEDIAN]!);
        sum += seen[step + ahead]!;
      }
      errors.push(error / sum);
    }
    return errors;
  }

  test('the day ahead is at the trebled level within a day, and was far off it without the cut', () => {
    const rates = shaped((step) => daily(step) * (isAfter(step) ? 3 : 1), 0.05);
    const at = [DAY + lookEvery(DAY), 2 * DAY];
    const cut = errorsAfter(rates(5, DAY), at, true);
    const uncut = errorsAfter(rates(5, DAY), at, false);
    expect(cut[0]).toBeLessThan(0.15);
    expect(uncut[0]).toBeGreaterThan(0.5);
    expect(cut[1]).toBeLessThan(0.15);
  });

  test('fits that have seen the old regime are forgotten, and new ones are due at once', () => {
    const forecaster = new Forecaster(FIVE_MINUTES, DEFAULT_MODELS, shape);
    const memory = forecaster.fresh();
    const normal = normalFrom(3);
    let step = 0;
    for (; memory.history.regime === 0; step++) {
      forecaster.close(memory, step, (isAfter(step) ? 250 : spikes(step)) * (1 + 0.05 * normal()));
      if (memory.history.regime === 0 && step % 500 === 499) forecaster.fit(memory, forecaster.fitsDue(memory));
    }
    const fitted = forecaster.models.flatMap((model, m) => (model.fitEvery(FIVE_MINUTES) > 0 ? [m] : []));
    expect(forecaster.fitsDue(memory)).toEqual(fitted);
    for (const m of fitted) expect(memory.parameters[m]).toHaveLength(0);
    for (const m of fitted) forecaster.take(memory, m, new Float32Array(9), 0);
    expect(forecaster.fitsDue(memory), 'fits of the old regime that come back late').toEqual(fitted);
    for (const m of fitted) expect(memory.parameters[m]).toHaveLength(0);
    forecaster.fit(memory, fitted);
    expect(forecaster.fitsDue(memory)).toEqual([]);
  });
});
