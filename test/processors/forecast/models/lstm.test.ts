import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { type Grid, gridOf, MINUTE_GRID } from '../../../../processors/forecast/grid.ts';
import { COMPACT, History, type HistoryShape } from '../../../../processors/forecast/history/history.ts';
import { freshWeights, WEIGHTS } from '../../../../processors/forecast/lstm/network.ts';
import { lstmOf } from '../../../../processors/forecast/models/lstm.ts';
import { BinaryReader, BinaryWriter } from '../../../../state/binary.ts';

const NONE = new Float32Array(0);
/** Weights that do say something: random in every layer. */
const someWeights = (): Float32Array => {
  const random = randomFrom(11);
  return Float32Array.from(freshWeights(random), (weight) => weight + 0.2 * (random() - 0.5));
};
const model = lstmOf(someWeights());

/** One series as the forecaster would hold it for this model alone. */
class Fed {
  history: History;
  state: Float32Array;

  constructor(grid: Grid, shape: HistoryShape = { nearSteps: 3 * grid.season, farSlots: 4_000 }) {
    this.history = new History(grid, shape);
    this.state = new Float32Array(model.stateSize(grid));
  }

  feed(rates: ArrayLike<number>): this {
    for (let i = 0; i < rates.length; i++) {
      const step = this.history.end;
      this.history.put(step, rates[i]!);
      model.update(this.history, this.state, NONE, step);
    }
    return this;
  }

  forecast(ahead: readonly number[] = [1, 2, 5, 12, 24]): Float64Array {
    const logs = new Float64Array(ahead.length);
    model.forecast(this.history, this.state, NONE, ahead, logs, undefined);
    return logs;
  }

  /** The same series after a store and a restart. */
  restored(): Fed {
    const writer = new BinaryWriter();
    this.history.write(writer);
    const fed = new Fed(this.history.grid, this.history.shape);
    fed.history = History.read(new BinaryReader(writer.bytes()), this.history.grid, this.history.shape);
    fed.state = this.state.slice();
    return fed;
  }
}

function daily(grid: Grid, steps: number, seed = 1): Float64Array {
  const random = randomFrom(seed);
  return Float64Array.from({ length: steps }, (_, t) => {
    return 100 + 80 * Math.sin((2 * Math.PI * t) / grid.season) + 10 * random();
  });
}

const HOURS = gridOf({ stepMs: 3_600_000, horizonSteps: 24 });

describe('the global LSTM', () => {
  for (const { name, weights } of [
    { name: 'a weight that is no number', weights: someWeights().fill(Number.NaN, 5, 6) },
    { name: 'an infinite weight', weights: someWeights().fill(Number.POSITIVE_INFINITY, 0, 1) },
    { name: 'too few weights', weights: new Float32Array(WEIGHTS - 1) },
  ])
    test(`${name} is refused (K3)`, () => expect(() => lstmOf(weights)).toThrow('assertion failed'));

  test('what comes later changes no forecast made before', () => {
    const rates = daily(HOURS, 400);
    const before = new Fed(HOURS).feed(rates.subarray(0, 300)).forecast();
    for (const after of [Number.NaN, 0, 1e12]) {
      const poisoned = rates.map((rate, t) => (t < 300 ? rate : after));
      expect(new Fed(HOURS).feed(poisoned.subarray(0, 300)).forecast()).toEqual(before);
    }
  });

  test('a step is read from what is closed: an update of an older step ignores the newer ones', () => {
    const rates = daily(HOURS, 400);
    const replay = (last: number): Float32Array => {
      const { history } = new Fed(HOURS).feed(rates.map((rate, t) => (t <= 350 ? rate : last)));
      const state = new Float32Array(model.stateSize(HOURS));
      for (let step = 340; step <= 350; step++) model.update(history, state, NONE, step);
      return state;
    };
    // The limit of the past and the typical log are those of the whole history, and move with it by a little.
    const calm = replay(100);
    const wild = replay(120);
    for (const [i, value] of calm.entries()) expect(wild[i]).toBeCloseTo(value, 1);
  });

  test('a series that was stored and restored forecasts the same, at once and later', () => {
    const rates = daily(HOURS, 400);
    const kept = new Fed(HOURS).feed(rates.subarray(0, 250));
    const restored = kept.restored();
    expect(restored.forecast()).toEqual(kept.forecast());
    kept.feed(rates.subarray(250));
    restored.feed(rates.subarray(250));
    expect(restored.forecast()).toEqual(kept.forecast());
  });

  test('series that take turns, in other grids too, say what each says alone', () => {
    const halves = gridOf({ stepMs: 1_800_000, horizonSteps: 48 });
    const [first, second] = [daily(HOURS, 300), daily(halves, 300, 2)];
    const alone = [new Fed(HOURS).feed(first).forecast(), new Fed(halves).feed(second).forecast()];
    const [a, b] = [new Fed(HOURS), new Fed(halves)];
    for (let t = 0; t < 300; t++) {
      a.feed([first[t]!]);
      b.feed([second[t]!]);
      a.forecast();
    }
    expect([a.forecast(), b.forecast()]).toEqual(alone);
  });

  test('one list of distances gives what each distance alone gives', () => {
    const fed = new Fed(HOURS).feed(daily(HOURS, 400));
    const ahead = Array.from({ length: 24 }, (_, i) => i + 1);
    const together = fed.forecast(ahead);
    for (const [i, steps] of ahead.entries()) expect(fed.forecast([steps])[0]).toBe(together[i]);
  });

  for (const { minutes, horizonSteps } of [
    { minutes: 1, horizonSteps: 1440 },
    { minutes: 5, horizonSteps: 288 },
    { minutes: 30, horizonSteps: 48 },
    { minutes: 60, horizonSteps: 24 },
    { minutes: 1440, horizonSteps: 7 },
  ])
    test(`steps of ${minutes} min: finite from the first steps on, through the first day and week`, () => {
      const grid = gridOf({ stepMs: minutes * 60_000, horizonSteps });
      const fed = new Fed(grid);
      const rates = daily(grid, 9 * grid.season + 50);
      const ahead = [1, 2, 3, horizonSteps];
      for (let from = 0; from < rates.length; from += 1 + (grid.season >> 3)) {
        fed.feed(rates.subarray(from, from + 1 + (grid.season >> 3)));
        expect(fed.forecast(ahead).every((log) => Number.isFinite(log) && log >= 0)).toBe(true);
      }
      expect(model.ready(fed.history, fed.state, NONE)).toBe(true);
    });

  test('it does with the compact history too', () => {
    const fed = new Fed(MINUTE_GRID, COMPACT).feed(daily(MINUTE_GRID, 3_000));
    expect(fed.forecast([1, 60, 1440]).every(Number.isFinite)).toBe(true);
  });

  test('it is silent until it has read a few steps', () => {
    const fed = new Fed(HOURS);
    expect(model.ready(fed.history, fed.state, NONE)).toBe(false);
    fed.feed(daily(HOURS, 7));
    expect(model.ready(fed.history, fed.state, NONE)).toBe(false);
    fed.feed([100]);
    expect(model.ready(fed.history, fed.state, NONE)).toBe(true);
  });

  for (const { name, rates } of [
    { name: 'zeros', rates: new Float64Array(300) },
    {
      name: 'a jump to the largest rate there is',
      rates: Float64Array.from({ length: 300 }, (_, t) => (t < 290 ? 1 : 1e12)),
    },
    { name: 'growth without end', rates: Float64Array.from({ length: 300 }, (_, t) => 1.08 ** t) },
    { name: 'every other step silent', rates: Float64Array.from({ length: 300 }, (_, t) => (t % 2) * 1e6) },
  ])
    test(`${name}: between nothing and a little above what was seen (K2)`, () => {
      const fed = new Fed(HOURS).feed(rates);
      for (const log of fed.forecast()) {
        expect(log).toBeGreaterThanOrEqual(0);
        expect(log).toBeLessThanOrEqual(fed.history.peak + 1);
      }
    });

  test('untrained it knows the day: no worse than half the wave away (K1)', () => {
    const untrained = lstmOf(Float32Array.from(freshWeights(randomFrom(1))));
    const { history } = new Fed(HOURS).feed(daily(HOURS, 240));
    const logs = new Float64Array(12);
    const ahead = Array.from({ length: 12 }, (_, i) => i + 1);
    untrained.forecast(history, new Float32Array(untrained.stateSize(HOURS)), NONE, ahead, logs, undefined);
    const coming = daily(HOURS, 252).subarray(240);
    for (const [i, log] of logs.entries()) expect(Math.abs(history.rateOf(log) - coming[i]!)).toBeLessThan(20);
  });
});
