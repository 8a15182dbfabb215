// Damped trend: a level and a slope that fades, in rates and not in their logarithms (ETS(A,Ad,N); Gardner and
// McKenzie, 1985). It detects a ramp within minutes of its beginning; the damping keeps it from extending a ramp
// without end.

import { type Model, unfitted } from '../model.ts';
import { type OfSteps, travelOf } from './damped.ts';

/**
 * Deliberately quick: steady series are covered by other models; this one must follow a ramp from its second minute.
 */
const LEVEL_GAIN = 0.6;
const TREND_GAIN = 0.2;
/** Share of the slope kept per step: half of it is gone after 14 steps. */
const DAMPING = 0.95;
/** State, in units of the history: level, slope, whether there was a first value. */
const LEVEL = 0;
const TREND = 1;
const STARTED = 2;

export const dampedTrend: Model<OfSteps> = {
  ...unfitted,
  name: 'damped-trend',
  stateSize: () => STARTED + 1,
  ready: (history, state) => state[STARTED] === 1 && history.seen >= 3,
  update(history, state, _parameters, step) {
    const units = Math.expm1(history.near(step));
    if (state[STARTED] === 0) {
      state[LEVEL] = units;
      state[STARTED] = 1;
      return;
    }
    const expected = state[LEVEL]! + DAMPING * state[TREND]!;
    const after = expected + LEVEL_GAIN * (units - expected);
    const slope = after - state[LEVEL]!;
    state[TREND] = DAMPING * state[TREND]! + TREND_GAIN * (slope - DAMPING * state[TREND]!);
    state[LEVEL] = after;
  },
  room: () => travelOf(DAMPING),
  forecast(_history, state, _parameters, ahead, into, travelled) {
    for (let i = 0; i < ahead.length; i++)
      into[i] = Math.log1p(Math.max(0, state[LEVEL]! + state[TREND]! * travelled(ahead[i]!)));
  },
};
