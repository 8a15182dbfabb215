// Holt-Winters, additive with a damped trend: level and slope around the daily profile of the history. The profile is
// learned from whole days, by slot of five minutes, and not from one-step errors as in the textbook: with a season of 1,440
// steps and a quick level the level would take all of every error, and the season would never be learned.

import type { Model } from '../model.ts';
import { dampedTrendAround } from './damped-trend.ts';

export const holtWinters: Model = dampedTrendAround(
  'holt-winters',
  (history, step) => history.seasonal(step),
  (history) => history.hasProfile,
);
