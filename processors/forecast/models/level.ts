// Level: an exponentially weighted mean, held constant. Three gains run side by side and the one with the least recent
// error speaks: 1 is the naive forecast, 0.1 a steady mean. The fallback for every other model.

import type { Model } from '../model.ts';

const GAINS = [1, 0.4, 0.1] as const;
const ERROR_GAIN = 0.03;
/** State: levels, their errors, and whether there was a first value. */
const ERRORS = GAINS.length;
const STARTED = 2 * GAINS.length;

export const level: Model = {
  name: 'level',
  stateSize: STARTED + 1,
  fitEvery: 0,
  ready: (_history, state) => state[STARTED] === 1,
  fit() {},
  update(history, state) {
    const rate = history.last;
    if (state[STARTED] === 0 || history.seen === 1) {
      state.fill(rate, 0, ERRORS).fill(0, ERRORS, STARTED);
      state[STARTED] = 1;
      return;
    }
    for (let i = 0; i < GAINS.length; i++) {
      const miss = rate - state[i]!;
      state[ERRORS + i]! += ERROR_GAIN * (Math.abs(miss) - state[ERRORS + i]!);
      state[i]! += GAINS[i]! * miss;
    }
  },
  forecast(_history, state, path) {
    let best = 0;
    for (let i = 1; i < GAINS.length; i++) if (state[ERRORS + i]! < state[ERRORS + best]!) best = i;
    path.fill(state[best]!);
  },
};
