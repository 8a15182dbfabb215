// Every model under one table: what it must foresee, and what it must not do.

import { describe, expect, test } from 'vitest';
import { type Grid, gridOf } from '../../../../processors/forecast/grid.ts';
import { History } from '../../../../processors/forecast/history/history.ts';
import { type Model, NO_PARAMETERS, type Parameters } from '../../../../processors/forecast/model.ts';
import { DEFAULT_MODELS, MODELS } from '../../../../processors/forecast/models/models.ts';
import { bursts, constant, noiseFrom, type Shape, wave, zero } from '../shapes.ts';

const HALF_HOURS = gridOf({ stepMs: 1_800_000, horizonSteps: 48 });
const DAY = HALF_HOURS.season;
/** Enough for every variant of every model: ten days. */
const STEPS = 10 * DAY;
const AHEAD = [1, 2, 4, 16, 30, 48];
const REPLAYED_STEPS = 60;

/** A history that fails the test when a step is read that is not over. */
class GuardedHistory extends History {
  override near(step: number): number {
    this.#guard(step);
    return super.near(step);
  }
  override nearMean(from: number, to: number): number {
    this.#guard(to - 1);
    return super.nearMean(from, to);
  }
  override far(step: number): number {
    this.#guard(step);
    return super.far(step);
  }
  override farMean(from: number, to: number): number {
    this.#guard(to - 1);
    return super.farMean(from, to);
  }
  #guard(step: number): void {
    if (step >= this.end) throw new Error(`step ${step} was read at the end of step ${this.step}`);
  }
}

interface Run {
  readonly model: Model;
  readonly history: History;
  readonly state: Float32Array;
  readonly parameters: Parameters;
}

/** The model after a series, fitted at its end. */
function run(model: Model, shape: Shape, steps: number, grid: Grid = HALF_HOURS): Run {
  const history = new GuardedHistory(grid, { nearSteps: 3 * grid.season, farSlots: 12_000 });
  const state = new Float32Array(model.stateSize(grid));
  for (let step = 0; step < steps; step++) {
    const { units } = history;
    history.put(step, shape(step));
    if (history.units !== units) {
      state.fill(0);
      for (let old = Math.max(0, step - REPLAYED_STEPS); old < step; old++)
        model.update(history, state, NO_PARAMETERS, old);
    }
    model.update(history, state, NO_PARAMETERS, step);
  }
  return { model, history, state, parameters: model.fit(history) ?? NO_PARAMETERS };
}

function forecast({ model, history, state, parameters }: Run, ahead: readonly number[] = AHEAD): number[] {
  const into = new Float64Array(ahead.length);
  model.forecast(history, state, parameters, ahead, into, model.room?.(history.grid));
  return [...into].map((log) => history.rateOf(log));
}

const isReady = ({ model, history, state, parameters }: Run): boolean => model.ready(history, state, parameters);

const SEASONAL = [
  'seasonal-naive-day',
  'seasonal-naive-week',
  'holt-winters',
  'auto-regression',
  'regression',
  'theta',
  'spar',
  'arima',
];

describe('models', () => {
  test('have names of their own, and the default ones are among them, the fallback first', () => {
    expect(new Set(MODELS.map(({ name }) => name)).size).toBe(MODELS.length);
    for (const model of DEFAULT_MODELS.models) expect(MODELS).toContain(model);
    expect(DEFAULT_MODELS.models[0]!.name).toBe('level');
    expect(DEFAULT_MODELS.models.map(({ name }) => name)).toContain(DEFAULT_MODELS.ramp);
  });

  for (const model of MODELS) {
    for (const { name, shape, rate } of [
      { name: 'a constant', shape: constant, rate: 100 },
      { name: 'zeros', shape: zero, rate: 0 },
    ])
      test(`${model.name}: ${name} goes on`, () => {
        const ended = run(model, shape, STEPS);
        // Nothing happens, so that there may be nothing to be fitted.
        if (model.fit(ended.history) !== undefined || model.fitEvery(HALF_HOURS) === 0)
          expect(isReady(ended)).toBe(true);
        if (isReady(ended))
          for (const foreseen of forecast(ended)) expect(Math.abs(foreseen - rate)).toBeLessThan(0.01 * rate + 0.01);
      });

    if (SEASONAL.includes(model.name))
      for (const at of [STEPS, STEPS + DAY / 4, STEPS + DAY / 2])
        test(`${model.name}: a daily wave is foreseen a day ahead, from step ${at % DAY} of the day`, () => {
          const noise = noiseFrom(7);
          const ended = run(model, (step) => wave(DAY)(step) * Math.exp(0.01 * noise(step)), at);
          for (const [i, foreseen] of forecast(ended).entries()) {
            const truth = wave(DAY)(at - 1 + AHEAD[i]!);
            expect(Math.abs(foreseen / truth - 1), `${AHEAD[i]} ahead`).toBeLessThan(0.12);
          }
        });

    test(`M1: ${model.name} says the same twice, changes nothing by saying it, and fits the same again`, () => {
      const noise = noiseFrom(8);
      const ended = run(model, (step) => wave(DAY)(step) * Math.exp(0.1 * noise(step)), STEPS);
      expect(isReady(ended)).toBe(true);
      const [state, parameters] = [ended.state.slice(), ended.parameters.slice()];
      expect(forecast(ended)).toEqual(forecast(ended));
      // What is said of a step does not depend on which other steps are asked for.
      expect(forecast(ended, [4])[0]).toBe(forecast(ended)[2]);
      expect(ended.state).toEqual(state);
      expect(ended.parameters).toEqual(parameters);
      expect(model.fit(ended.history) ?? NO_PARAMETERS).toEqual(parameters);
    });

    test(`M2: ${model.name} at a step says the same whatever comes after it, and reads no step that is not over`, () => {
      const noise = noiseFrom(9);
      const past: Shape = (step) => wave(DAY)(step) * Math.exp(0.1 * noise(step));
      const said = (future: Shape): number[][] => {
        const before = run(model, past, STEPS);
        const { history, state, parameters } = before;
        const forecasts = [forecast(before)];
        for (let step = STEPS; step < STEPS + 5; step++) {
          history.put(step, future(step));
          model.update(history, state, parameters, step);
          forecasts.push(forecast(before));
        }
        return forecasts;
      };
      const [one, other] = [said(past), said((step) => (step === STEPS + 2 ? 5 : past(step)))];
      // The same until the step that differs is over, and then not, unless the model looks days back alone.
      expect(other.slice(0, 3)).toEqual(one.slice(0, 3));
      if (!model.name.startsWith('seasonal-naive')) expect(other[3]).not.toEqual(one[3]);
    });

    for (const { name, shape } of [
      { name: 'bursts', shape: bursts },
      { name: 'a leap of a million', shape: (step: number) => (step < STEPS - 5 ? 1 : 1e6) },
      { name: 'the greatest rate now and then', shape: (step: number) => (step % 17 === 0 ? 1e12 : 1) },
      { name: 'one rate among zeros', shape: (step: number) => (step === 300 ? 5 : 0) },
      { name: 'growth without end', shape: (step: number) => 1.05 ** step },
      { name: 'up and down', shape: (step: number) => (step % 2) * 100 },
    ])
      test(`${model.name}: after ${name} it is silent or says numbers`, () => {
        for (const steps of [1, 2, 3, 20, 61, 130, STEPS]) {
          const ended = run(model, shape, steps);
          if (isReady(ended)) for (const foreseen of forecast(ended)) expect(Number.isNaN(foreseen)).toBe(false);
        }
      });
  }

  for (const { name, aheads } of [
    { name: 'damped-trend', aheads: [1, 4, 8] },
    { name: 'theta', aheads: [4, 8] },
  ])
    test(`${name}: a ramp goes on upwards`, () => {
      const model = MODELS.find((each) => each.name === name)!;
      const last = 100 + 10 * 39;
      const said = forecast(
        run(model, (step) => 100 + 10 * step, 40),
        aheads,
      );
      for (const [i, foreseen] of said.entries()) {
        expect(foreseen).toBeGreaterThan(i === 0 ? last : said[i - 1]!);
        expect(foreseen).toBeLessThan(last * 1.5);
      }
    });

  test('auto-regression carries a momentum on that it has learned', () => {
    // Deviations follow x[t] = 1.6 x[t-1] - 0.8 x[t-2] + noise: a swing of some fourteen steps.
    const noise = noiseFrom(5);
    const logs = [0, 0];
    for (let step = 2; step < 400; step++)
      logs.push(1.6 * logs[step - 1]! - 0.8 * logs[step - 2]! + 0.05 * noise(step));
    const model = MODELS.find(({ name }) => name === 'auto-regression')!;
    let ours = 0;
    let naive = 0;
    for (let at = 300; at < 340; at++) {
      const [foreseen] = forecast(
        run(model, (step) => 1000 * Math.exp(logs[step]!), at, gridOf({ stepMs: 60_000, horizonSteps: 10 })),
        [3],
      );
      ours += Math.abs(Math.log(foreseen! / 1000) - logs[at + 2]!);
      naive += Math.abs(logs[at - 1]! - logs[at + 2]!);
    }
    expect(ours).toBeLessThan(0.7 * naive);
  });
});
