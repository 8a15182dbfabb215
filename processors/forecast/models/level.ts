// Level: an exponentially weighted mean, held constant (Brown, 1956). Four gains run side by side and the one with the
// least recent error is used: 1 is the naive forecast, 0.04 a steady mean. The fallback for every other model.

import { type Model, unfitted } from '../model.ts';

const GAINS = [1, 0.4, 0.15, 0.04] as const;
const ERROR_GAIN = 0.02;
/** State: levels, their errors, and whether there was a first value. */
const ERRORS = GAINS.length;
const STARTED = 2 * GAINS.length;

export const level: Model = {
  ...unfitted,
  name: 'level',
  stateSize: () => STARTED + 1,
  ready: (_history, state) => state[STARTED] === 1,
  update(history, state, _parameters, step) {
    const log = history.near(step);
    if (state[STARTED] === 0) {
      state.fill(log, 0, ERRORS).fill(0, ERRORS, STARTED);
      state[STARTED] = 1;
      return;
    }
    for (let i = 0; i < GAINS.length; i++) {
      const miss = log - state[i]!;
      state[ERRORS + i]! += ERROR_GAIN * (Math.abs(miss) - state[ERRORS + i]!);
      state[i]! += GAINS[i]! * miss;
    }
  },
  forecast(_history, state, _parameters, ahead, into) {
    let best = 0;
    for (let i = 1; i < GAINS.length; i++) if (state[ERRORS + i]! < state[ERRORS + best]!) best = i;
    into.fill(state[best]!, 0, ahead.length);
  },
};
