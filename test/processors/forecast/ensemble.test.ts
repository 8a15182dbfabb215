import { describe, expect, test } from 'vitest';
import { Ensemble } from '../../../processors/forecast/ensemble.ts';
import { History } from '../../../processors/forecast/history.ts';
import type { Model } from '../../../processors/forecast/model.ts';
import { autoRegression } from '../../../processors/forecast/models/auto-regression.ts';
import { level } from '../../../processors/forecast/models/level.ts';
import { MODELS } from '../../../processors/forecast/models/models.ts';
import { constant, daily, noiseFrom, ramp, type Shape, STEP_0, zero } from './series.ts';

/** Says the truth times a factor, plus an offset, of a shape it knows: an oracle, or a liar. */
const saying = (name: string, foreseen: (step: number) => number): Model => ({
  name,
  stateSize: 0,
  fitEvery: 0,
  ready: () => true,
  fit() {},
  update() {},
  forecast(history, _state, path) {
    for (let k = 0; k < path.length; k++) path[k] = foreseen(history.step + 1 + k - STEP_0);
  },
});

function run(models: readonly Model[], shape: Shape, steps: number, from = 0) {
  const history = new History();
  const ensemble = new Ensemble(models);
  const path = new Float64Array(60);
  const leaders: string[] = [];
  for (let step = from; step < steps; step++) {
    history.put(STEP_0 + step, shape(step));
    ensemble.next(history, 0.1, path);
    leaders.push(ensemble.leader);
  }
  return { ensemble, history, path, leaders };
}

describe('ensemble', () => {
  test('E1: a model that knows the future leads within two hours and has nearly all the weight', () => {
    const { ensemble } = run([level, saying('oracle', daily)], (step) => daily(step), 200);
    expect(ensemble.leader).toBe('oracle');
    expect(ensemble.shares().oracle).toBeGreaterThan(0.95);
  });

  for (const { name, value } of [
    { name: 'NaN', value: Number.NaN },
    { name: 'infinity', value: Number.POSITIVE_INFINITY },
    { name: 'minus infinity', value: Number.NEGATIVE_INFINITY },
  ])
    test(`E2: a model that says ${name} is replaced by the fallback and counted`, () => {
      const { ensemble, path } = run([level, saying('liar', () => value)], constant, 100);
      expect([...path]).toEqual(new Array(60).fill(100));
      expect(ensemble.garbage).toBe(100);
    });

  for (const value of [1e308, -1e308])
    test(`E3: a model that says ${value} is cut, judged, and loses its weight`, () => {
      const { ensemble, path } = run([level, saying('liar', () => value)], constant, 300);
      for (const rate of path) expect(rate).toBeCloseTo(100, 5);
      expect(ensemble.shares()).toEqual({ level: 1 });
    });

  test('being short costs more than being long by as much', () => {
    const { leaders } = run([saying('short', () => 90), saying('long', () => 110)], constant, 200);
    expect(leaders.at(-1)).toBe('long');
  });

  test('E4: two models that are nearly as good do not take turns', () => {
    const noise = noiseFrom(11);
    const { leaders } = run(
      [saying('one', (step) => 100 + noise(step * 3 + 1)), saying('other', (step) => 100 + noise(step * 3 + 2))],
      (step) => 100 + noise(step * 3),
      1000,
    );
    const changes = leaders.filter((leader, i) => i > 200 && leader !== leaders[i - 1]).length;
    expect(changes).toBeLessThan(12);
  });
});

describe('models', () => {
  for (const model of MODELS)
    for (const [name, shape] of Object.entries({ constant, zero, ramp, daily }))
      test(`M1: ${model.name} on ${name} says the same twice and changes nothing by saying it`, () => {
        const history = new History();
        const state = new Float32Array(model.stateSize);
        for (let step = 0; step < 1600; step++) {
          history.put(STEP_0 + step, shape(step));
          model.update(history, state);
          if (model.fitEvery > 0 && step % model.fitEvery === 0) model.fit(history, state);
        }
        // A straight line leaves auto-regression nothing to learn from.
        expect(model.ready(history, state)).toBe(model !== autoRegression || name === 'daily');
        if (!model.ready(history, state)) return;
        const before = state.slice();
        const [one, two] = [new Float64Array(60), new Float64Array(60)];
        model.forecast(history, state, one);
        model.forecast(history, state, two);
        expect(two).toEqual(one);
        expect(state).toEqual(before);
        for (const rate of one) expect(Number.isFinite(rate)).toBe(true);
      });

  test('auto-regression carries a momentum on that it has learned', () => {
    // Differences follow x[t] = 0.8 x[t-1] + noise.
    const noise = noiseFrom(5);
    let momentum = 0;
    let rate = 1000;
    const history = new History();
    const state = new Float32Array(autoRegression.stateSize);
    for (let step = 0; step < 120; step++) {
      momentum = 0.8 * momentum + noise(step);
      rate += momentum;
      history.put(STEP_0 + step, rate);
    }
    autoRegression.fit(history, state);
    expect(Math.abs(state[1]! - 0.8)).toBeLessThan(0.25);
    const path = new Float64Array(60);
    history.put(STEP_0 + 120, rate + 10);
    autoRegression.forecast(history, state, path);
    expect(path[9]! - (rate + 10)).toBeGreaterThan(10);
    expect(Math.abs(path[59]! - path[58]!)).toBeLessThan(0.1);
  });
});
