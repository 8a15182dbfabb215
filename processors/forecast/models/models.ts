// The models that exist, and those that are used by default. A new model is a file beside these and a name here;
// the order of the default ones is part of the stored rows, so a new default model goes to the end.

import { AppError } from '../../../schemas/errors.ts';
import type { ModelSet } from '../forecaster.ts';
import type { Model } from '../model.ts';
import { arima } from './arima.ts';
import { autoRegression } from './auto-regression.ts';
import { dampedTrend } from './damped-trend.ts';
import { holtWinters } from './holt-winters.ts';
import { level } from './level.ts';
import { LSTM_NAME } from './lstm.ts';
import { regression } from './regression.ts';
import { seasonalNaiveDay, seasonalNaiveWeek } from './seasonal-naive.ts';
import { spar } from './spar.ts';
import { theta } from './theta.ts';

export const MODELS: readonly Model[] = [
  level,
  seasonalNaiveDay,
  seasonalNaiveWeek,
  dampedTrend,
  holtWinters,
  autoRegression,
  regression,
  theta,
  spar,
  arima,
];

/** Names of the models above, and of the global LSTM, which is made with its weights (lstm.ts). */
export const MODEL_NAMES: readonly string[] = [...MODELS.map(({ name }) => name), LSTM_NAME];

export const DEFAULT_MODELS: ModelSet = {
  models: [level, seasonalNaiveDay, seasonalNaiveWeek, dampedTrend, holtWinters, autoRegression, regression, spar],
  ramp: dampedTrend.name,
};

/** The models that need no fit: for a million series. */
export const CHEAP_MODELS: ModelSet = {
  models: [level, seasonalNaiveDay, dampedTrend, holtWinters, theta],
  ramp: dampedTrend.name,
};

/**
 * The models of these names, after the fallback, which is always included. `lstm` makes the model of that name, which
 * needs its weights. Throws CONFIG_INVALID for an unknown name.
 */
export function modelSetOf(names: readonly string[], lstm: () => Model): ModelSet {
  const models = names.map((name) => {
    const model = name === LSTM_NAME ? lstm() : MODELS.find((each) => each.name === name);
    if (model !== undefined) return model;
    const known = MODEL_NAMES.join(', ');
    throw new AppError('CONFIG_INVALID', `there is no model ${JSON.stringify(name)}; there are ${known}`, { name });
  });
  return { models: [level, ...models.filter((model) => model !== level)], ramp: DEFAULT_MODELS.ramp };
}
