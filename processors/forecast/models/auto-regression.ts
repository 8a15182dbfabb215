// Auto-regression of logarithms relative to their season, with the coefficients of the `timeseries-analysis` library
// (maximum entropy, that is Burg's method, 1967, whose process is stable by construction).
//
// The library's other estimator can be unstable and prints to the console, and its forecasting functions always print.
// So we take only the coefficients from it, and run the recursion here.

import timeseries from 'timeseries-analysis';
import type { History } from '../history/history.ts';
import { type Model, stateless } from '../model.ts';

const DEGREE = 12;
/** With fewer values twelve coefficients mean nothing. */
const SAMPLES_MIN = 60;
const SAMPLES_MAX = 2_016;
/** Most steps that the recursion runs; further ahead the deviation stays as it is there. */
const RECURSION_MAX = 64;
/** Parameters: the coefficients, then the mean. */
const MEAN = DEGREE;

export const autoRegression: Model<Float64Array> = {
  ...stateless,
  name: 'auto-regression',
  fitEvery: (grid) => Math.max(24, Math.ceil(grid.season / 3)),
  ready: (history, _state, parameters) => parameters.length > 0 && history.seen > DEGREE,
  fit(history) {
    const samples = samplesOf(history);
    if (samples.length < SAMPLES_MIN) return undefined;
    const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
    const scale = samples.reduce((most, sample) => Math.max(most, Math.abs(sample - mean)), 0);
    if (!(scale > 0)) return undefined; // Nothing but the season to fit: the library would divide by zero.
    const data = samples.map((sample, index) => [index, (sample - mean) / scale] as const);
    const coefficients = new timeseries.main(data).ARMaxEntropy({ degree: DEGREE, data });
    if (coefficients.length !== DEGREE || !coefficients.every(Number.isFinite)) return undefined;
    return Float32Array.from([...coefficients.map((coefficient) => -coefficient), mean]);
  },
  /** The last deviations, then the forecast ones, the oldest first. */
  room: () => new Float64Array(DEGREE + RECURSION_MAX),
  forecast(history, _state, parameters, ahead, into, path) {
    const mean = parameters[MEAN]!;
    for (let i = 0; i < DEGREE; i++) path[DEGREE - 1 - i] = besideSeason(history, history.step - i) - mean;
    let end = DEGREE;
    for (let i = 0; i < ahead.length; i++) {
      const last = DEGREE + Math.min(ahead[i]!, RECURSION_MAX);
      for (; end < last; end++) {
        let next = 0;
        for (let j = 0; j < DEGREE; j++) next += parameters[j]! * path[end - 1 - j]!;
        path[end] = next;
      }
      into[i] = mean + path[last - 1]! + seasonOf(history, history.step + ahead[i]!);
    }
  },
};

function samplesOf(history: History): number[] {
  const first = Math.max(history.nearBegin, history.end - Math.min(history.seen, SAMPLES_MAX));
  const samples: number[] = [];
  for (let step = first; step < history.end; step++) samples.push(besideSeason(history, step));
  return samples;
}

const besideSeason = (history: History, step: number): number => history.near(step) - seasonOf(history, step);
const seasonOf = (history: History, step: number): number => (history.seasons >= 1 ? history.seasonal(step) : 0);
