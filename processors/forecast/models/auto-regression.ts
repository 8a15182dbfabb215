// Auto-regression on minute-to-minute differences, with the coefficients of the `timeseries-analysis` library (maximum
// entropy, that is Burg's method, whose process is stable by construction). On differences it has no mean to fall back to:
// it carries a momentum on and then stays where that leads.
//
// The library's other estimator can be unstable and prints to the console; its forecasting functions print always. So we
// ask it for the coefficients alone, and run the recursion here.

import timeseries from 'timeseries-analysis';
import { type History, RECENT_STEPS } from '../history.ts';
import type { Model } from '../model.ts';

const DEGREE = 6;
/** Differences below which six coefficients mean nothing. */
const SAMPLES_MIN = 40;
/** State: whether the coefficients may be used, then the coefficients. */
const FITTED = 0;

export const autoRegression: Model = {
  name: 'auto-regression',
  stateSize: 1 + DEGREE,
  fitEvery: 15,
  ready: (history, state) => state[FITTED] === 1 && history.seen > DEGREE + 1,
  fit(history, state) {
    state[FITTED] = 0;
    const samples = differences(history);
    if (samples.length < SAMPLES_MIN) return;
    const scale = Math.max(...samples.map(Math.abs));
    if (!(scale > 0)) return; // A constant series has no differences to learn from, and the library would divide by zero.
    const data = samples.map((value, index) => [index, value / scale] as const);
    const coefficients = new timeseries.main(data).ARMaxEntropy({ degree: DEGREE, data });
    if (coefficients.length !== DEGREE || !coefficients.every(Number.isFinite)) return;
    for (let i = 0; i < DEGREE; i++) state[1 + i] = -coefficients[i]!;
    state[FITTED] = 1;
  },
  update() {},
  forecast(history, state, path) {
    const momentum = new Float64Array(DEGREE);
    for (let i = 0; i < DEGREE; i++) {
      const difference = history.recent.at(history.step - i) - history.recent.at(history.step - i - 1);
      momentum[i] = Number.isNaN(difference) ? 0 : difference;
    }
    let rate = history.last;
    for (let k = 0; k < path.length; k++) {
      let next = 0;
      for (let i = 0; i < DEGREE; i++) next += state[1 + i]! * momentum[i]!;
      momentum.copyWithin(1, 0, DEGREE - 1);
      momentum[0] = next;
      rate += next;
      path[k] = rate;
    }
  },
};

function differences(history: History): number[] {
  const found: number[] = [];
  for (let step = history.step - RECENT_STEPS + 2; step <= history.step; step++) {
    const difference = history.recent.at(step) - history.recent.at(step - 1);
    if (!Number.isNaN(difference)) found.push(difference);
  }
  return found;
}
