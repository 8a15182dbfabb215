// The models that compete for each series, the fallback first. A new model is a file beside these and a name here; the
// order is part of the stored rows, so that a new one goes to the end.

import type { Model } from '../model.ts';
import { autoRegression } from './auto-regression.ts';
import { dampedTrend } from './damped-trend.ts';
import { holtWinters } from './holt-winters.ts';
import { level } from './level.ts';
import { seasonalNaive } from './seasonal-naive.ts';

export const MODELS: readonly Model[] = [level, seasonalNaive, dampedTrend, holtWinters, autoRegression];
