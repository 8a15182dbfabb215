import { describe, expect, test } from 'vitest';
import { Combination } from '../../../../processors/forecast/combine/combination.ts';
import { MINUTE_GRID } from '../../../../processors/forecast/grid.ts';
import { noiseFrom, type Shape } from '../shapes.ts';

const noise = noiseFrom(1);
const TRUTH = Math.log1p(100);
const UNIT = 1;

/** Learns at distance 0 what the models said of a rate of about 100; each says the log of 100 plus its error. */
function learned(errors: readonly Shape[], steps: number, rates: Shape = () => 100) {
  const combination = new Combination(
    MINUTE_GRID,
    errors.map((_, m) => ({ name: `model ${m}` })),
  );
  const state = new Float32Array(combination.size);
  const logs = new Float64Array(errors.length);
  const weights = new Float64Array(errors.length);
  const leaders: number[] = [];
  for (let step = 0; step < steps; step++) {
    for (let m = 0; m < errors.length; m++) logs[m] = TRUTH + errors[m]!(step);
    combination.weigh(state, 0, logs, weights);
    leaders.push(combination.lead(state, 0, weights));
    combination.learn(state, 0, logs, rates(step), UNIT);
  }
  combination.weigh(state, 0, logs, weights);
  return { combination, state, logs, weights, leaders };
}

const good: Shape = (step) => 0.05 * noise(step);
const bad: Shape = (step) => 0.3 * noise(step + 10_000);
const exact: Shape = () => 0;
const silent: Shape = () => Number.NaN;

describe('combination: what is believed', () => {
  test('before anything was judged, as much as experience says', () => {
    const combination = new Combination(MINUTE_GRID, [{ name: 'regression' }, { name: 'level' }]);
    const weights = new Float64Array(2);
    combination.weigh(new Float32Array(combination.size), 0, Float64Array.of(1, 1), weights);
    expect(weights[0]! / weights[1]!).toBeCloseTo(0.7 / 0.03, 5);
  });

  for (const { name, errors, steps, best } of [
    {
      name: 'a model with a sixth of the error has 0.8 of the weight within 60 steps',
      errors: [bad, good],
      steps: 60,
      best: 1,
    },
    { name: 'the same wherever it stands', errors: [good, bad], steps: 60, best: 0 },
    { name: 'an oracle has it all within 60 steps', errors: [bad, good, exact], steps: 60, best: 2 },
    {
      name: 'a model that has become the better one has it within 100 steps',
      errors: [(step: number) => (step < 500 ? good : bad)(step), (step: number) => (step < 500 ? bad : good)(step)],
      steps: 600,
      best: 1,
    },
  ])
    test(name, () => expect(learned(errors, steps).weights[best]).toBeGreaterThan(0.8));

  test('of two that err by as much, the one that is long is believed more than the one that is short', () => {
    const { weights } = learned([() => -0.1, () => 0.1], 2_000, (step) => 100 * Math.exp(0.5 * noise(step)));
    expect(weights[1]).toBeGreaterThan(1.2 * weights[0]!);
  });

  test('E2: weights are shares of one', () => {
    for (const steps of [1, 2, 10, 100, 1_000]) {
      const { weights } = learned([good, bad, (step) => noise(step + 77), silent], steps);
      expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 10);
      for (const weight of weights) expect(weight).toBeGreaterThanOrEqual(0);
    }
  });

  test('E2: a silent model has no weight, and one that begins to speak is not believed at once', () => {
    const { combination, state, logs, weights } = learned([good, silent], 500);
    expect([...weights]).toEqual([1, 0]);
    logs[1] = TRUTH;
    combination.weigh(state, 0, logs, weights);
    expect(weights[1]).toBeGreaterThan(0);
    expect(weights[1]).toBeLessThan(0.6);
  });

  test('E2: when nobody speaks nobody is weighed and nothing is learned', () => {
    const { combination, state } = learned([good, bad], 100);
    const before = state.slice();
    const [logs, weights] = [Float64Array.of(Number.NaN, Number.NaN), new Float64Array(2)];
    expect(combination.weigh(state, 0, logs, weights)).toBe(false);
    combination.learn(state, 0, logs, 100, UNIT);
    expect([...weights]).toEqual([0, 0]);
    expect(state).toEqual(before);
  });

  test('learning tells what the models combine to', () => {
    const { combination, state, logs, weights } = learned([good, bad], 50);
    const combined = weights[0]! * logs[0]! + weights[1]! * logs[1]!;
    expect(combination.learn(state, 0, logs, 100, UNIT)).toBeCloseTo(combined, 10);
    expect(combination.learn(state, 0, Float64Array.of(Number.NaN, Number.NaN), 100, UNIT)).toBeNaN();
  });

  test('E2: what the gradient has taught fades when there is nothing more to learn', () => {
    const taught = (steps: number): number => {
      const { state } = learned([(step) => (step < 500 ? -0.3 : 0.05), (step) => (step < 500 ? 0.1 : 0.05)], steps);
      return Math.abs(state[0]!);
    };
    expect(taught(3_500)).toBeLessThan(0.1 * taught(500));
  });

  for (const { name, said } of [
    { name: '1e308 of a rate', said: 21.8 },
    { name: 'nothing', said: -TRUTH },
  ])
    test(`a model that always says ${name} loses its weight, and the others' weights stay finite`, () => {
      const { weights, state } = learned([good, () => said], 200);
      expect(weights[0]).toBeGreaterThan(0.99);
      for (const number of state) expect(number).toSatisfy(Number.isFinite);
    });

  test('what is learned at one distance is not known at another', () => {
    const { combination, state, logs } = learned([good, bad], 500);
    const weights = new Float64Array(2);
    combination.weigh(state, 1, logs, weights);
    expect([...weights]).toEqual([0.5, 0.5]);
  });
});

describe('combination: leader and error', () => {
  test('E3: the leader gives way to a model that is a tenth heavier, to none less heavy', () => {
    const combination = new Combination(MINUTE_GRID, [{ name: 'one' }, { name: 'other' }]);
    const state = new Float32Array(combination.size);
    expect(combination.lead(state, 0, Float64Array.of(0.48, 0.52))).toBe(0);
    expect(combination.lead(state, 0, Float64Array.of(0.47, 0.53))).toBe(1);
    expect(combination.lead(state, 0, Float64Array.of(0.51, 0.49))).toBe(1);
  });

  test('the usual error is that of the combined forecast, in rates, and unknown before the first', () => {
    const { combination, state } = learned([good], 0);
    expect(combination.meanError(state, 0)).toBeNaN();
    const off = learned([() => Math.log1p(110) - TRUTH], 300);
    expect(off.combination.meanError(off.state, 0)).toBeCloseTo(10, 1);
    expect(off.combination.meanError(off.state, 1)).toBeNaN();
  });
});
