// Holt-Winters, additive in logarithms with a damped trend (ETS(A,Ad,A); Holt, 1957; Winters, 1960): level and slope
// relative to the mean of the days before. The season is read from the history and not learned from one-step errors as
// in the textbook: with a season of 1,440 steps and a quick level, the level would absorb every error and the season
// would learn nothing.

import { type Model, unfitted } from '../model.ts';
import { fadingOf, type OfSteps, travelOf } from './damped.ts';

const LEVEL_GAIN = 0.5;
const TREND_GAIN = 0.05;
const DAMPING = 0.9;
/**
 * The level's distance from the season halves in this fraction of a season: a quiet morning says little about the
 * night.
 */
const RETURNS_IN_SEASON = 12;
/** State: level and slope relative to the season, whether there was a first value. */
const LEVEL = 0;
const TREND = 1;
const STARTED = 2;

interface Room {
  readonly travelled: OfSteps;
  readonly kept: OfSteps;
}

export const holtWinters: Model<Room> = {
  ...unfitted,
  name: 'holt-winters',
  stateSize: () => STARTED + 1,
  ready: (history, state) => state[STARTED] === 1 && history.seasons >= 1,
  update(history, state, _parameters, step) {
    const log = history.near(step) - history.seasonal(step);
    if (state[STARTED] === 0) {
      state[LEVEL] = log;
      state[STARTED] = 1;
      return;
    }
    const expected = state[LEVEL]! + DAMPING * state[TREND]!;
    const after = expected + LEVEL_GAIN * (log - expected);
    const slope = after - state[LEVEL]!;
    state[TREND] = DAMPING * state[TREND]! + TREND_GAIN * (slope - DAMPING * state[TREND]!);
    state[LEVEL] = after;
  },
  room: ({ season }) => ({ travelled: travelOf(DAMPING), kept: fadingOf(season / RETURNS_IN_SEASON) }),
  forecast(history, state, _parameters, ahead, into, { travelled, kept }) {
    for (let i = 0; i < ahead.length; i++) {
      const beside = state[LEVEL]! + state[TREND]! * travelled(ahead[i]!);
      into[i] = history.seasonal(history.step + ahead[i]!) + kept(ahead[i]!) * beside;
    }
  },
};
