// Damped trend: a level and a slope that fades (Gardner and McKenzie, 1985). It sees a ramp coming from its first minutes;
// the damping keeps it from promising that a ramp goes on for ever.

import type { History } from '../history.ts';
import type { Model } from '../model.ts';

/** Quick on purpose: steady series have other models, this one must see a ramp in its second minute. */
const LEVEL_GAIN = 0.6;
const TREND_GAIN = 0.2;
/** Slope kept per step: half of it is gone after 14 minutes. */
const DAMPING = 0.95;
/** State: level, slope, whether there was a first value. */
const LEVEL = 0;
const TREND = 1;
const STARTED = 2;

/** The damped trend around a season: none, or the daily profile. */
export function dampedTrendAround(
  name: string,
  season: (history: History, step: number) => number,
  hasSeason: (history: History) => boolean,
): Model {
  return {
    name,
    stateSize: 3,
    fitEvery: 0,
    ready: (history, state) => state[STARTED] === 1 && history.seen >= 3 && hasSeason(history),
    fit() {},
    update(history, state) {
      const rate = history.last - season(history, history.step);
      if (state[STARTED] === 0 || history.seen === 1) {
        state[LEVEL] = rate;
        state[TREND] = 0;
        state[STARTED] = 1;
        return;
      }
      const expected = state[LEVEL]! + DAMPING * state[TREND]!;
      const after = expected + LEVEL_GAIN * (rate - expected);
      const slope = after - state[LEVEL]!;
      state[TREND] = DAMPING * state[TREND]! + TREND_GAIN * (slope - DAMPING * state[TREND]!);
      state[LEVEL] = after;
    },
    forecast(history, state, path) {
      let slope = state[TREND]!;
      let sum = state[LEVEL]!;
      for (let k = 0; k < path.length; k++) {
        slope *= DAMPING;
        sum += slope;
        path[k] = sum + season(history, history.step + 1 + k);
      }
    },
  };
}

export const dampedTrend: Model = {
  ...dampedTrendAround(
    'damped-trend',
    () => 0,
    () => true,
  ),
  seesRamps: true,
};
