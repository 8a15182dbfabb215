// Theta (Assimakopoulos and Nikolopoulos, 2000), in the form that Hyndman and Billah (2003) gave it: simple exponential
// smoothing with a drift of half the slope of a straight line through the series. The line is fitted to logarithms
// relative to their season by least squares with fading memory, so that a step costs the same whatever came before.

import type { History } from '../history/history.ts';
import { type Model, unfitted } from '../model.ts';

const LEVEL_GAIN = 0.5;
/** Length of the line's fading memory, in seasons. */
const LINE_SEASONS = 2;
/** State: level; sums of weight, age, age squared, log, log times age; whether there was a first value. */
const LEVEL = 0;
const WEIGHT = 1;
const AGE = 2;
const AGE_SQUARE = 3;
const LOG = 4;
const PRODUCT = 5;
const STARTED = 6;
const STEPS_MIN = 10;

export const theta: Model = {
  ...unfitted,
  name: 'theta',
  stateSize: () => STARTED + 1,
  ready: (history, state) => state[STARTED] === 1 && history.seen >= STEPS_MIN,
  update(history, state, _parameters, step) {
    const log = history.near(step) - seasonOf(history, step);
    const keep = 1 - 1 / (LINE_SEASONS * history.grid.season);
    state[AGE_SQUARE] = keep * (state[AGE_SQUARE]! + 2 * state[AGE]! + state[WEIGHT]!);
    state[AGE] = keep * (state[AGE]! + state[WEIGHT]!);
    state[WEIGHT] = keep * state[WEIGHT]! + 1;
    state[PRODUCT] = keep * (state[PRODUCT]! + state[LOG]!);
    state[LOG] = keep * state[LOG]! + log;
    state[LEVEL] = state[STARTED] === 0 ? log : state[LEVEL]! + LEVEL_GAIN * (log - state[LEVEL]!);
    state[STARTED] = 1;
  },
  forecast(history, state, _parameters, ahead, into) {
    const spread = state[WEIGHT]! * state[AGE_SQUARE]! - state[AGE]! ** 2;
    // Age counts backwards: a rising series has its larger logs at the lower ages.
    const slope = spread > 0 ? -(state[WEIGHT]! * state[PRODUCT]! - state[AGE]! * state[LOG]!) / spread : 0;
    for (let i = 0; i < ahead.length; i++)
      into[i] =
        state[LEVEL]! + 0.5 * slope * (ahead[i]! - 1 + 1 / LEVEL_GAIN) + seasonOf(history, history.step + ahead[i]!);
  },
};

const seasonOf = (history: History, step: number): number => (history.seasons >= 1 ? history.seasonal(step) : 0);
