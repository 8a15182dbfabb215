// Contenders: what is scored in a backtest, by name: the default combination, every model on its own, and the
// references. All make their forecasts in the same way, origin after origin.
//
//   B1. A forecast depends on nothing at or after its origin: a reference gets only the rows before it, and a
//       forecaster closes the rows before it one by one.

import { LEVELS } from '../../processors/forecast/combine/calibration.ts';
import { Forecaster, type ModelSet } from '../../processors/forecast/forecaster.ts';
import { gridOf } from '../../processors/forecast/grid.ts';
import { shapeOfTrace } from '../../processors/forecast/history/history.ts';
import type { Model } from '../../processors/forecast/model.ts';
import { level } from '../../processors/forecast/models/level.ts';
import { DEFAULT_MODELS, MODEL_NAMES, modelSetOf } from '../../processors/forecast/models/models.ts';
import { horizonMax, type SeriesProtocol } from './protocol.ts';
import { REFERENCES, type Reference } from './references.ts';

/** The name of the default combination in tables and files. */
export const DEFAULT_CONTENDER = 'Foreshard';
export const REFERENCE_NAMES: readonly string[] = REFERENCES.map(({ name }) => name);
/** The combination first, then the single models, then the references that they have to beat. */
export const CONTENDER_NAMES: readonly string[] = [DEFAULT_CONTENDER, ...MODEL_NAMES, ...REFERENCE_NAMES];

/**
 * The quantiles of the steps after each origin, up to the longest horizon: `LEVELS.length` numbers for each step, one
 * array for each origin, in order. They are yielded one by one, so that the caller can show progress. `lstm` makes the
 * model of that name; `own` is a model that is not one of ours.
 */
export function forecastsOf(
  contender: string,
  values: Float64Array,
  series: SeriesProtocol,
  origins: readonly number[],
  lstm: () => Model,
  own?: Model,
): Iterable<Float64Array> {
  const reference = REFERENCES.find(({ name }) => name === contender);
  return reference === undefined
    ? forecasterOver(modelsOf(contender, lstm, own), values, series, origins)
    : referenceOver(reference, values, series, origins);
}

/**
 * A single model is combined with the fallback, as every combination is: the fallback forecasts while the model is not
 * ready.
 */
function modelsOf(contender: string, lstm: () => Model, own: Model | undefined): ModelSet {
  if (own !== undefined) return { models: [level, own], ramp: '' };
  if (contender === DEFAULT_CONTENDER) return DEFAULT_MODELS;
  return { ...modelSetOf([contender], lstm), ramp: '' };
}

function* forecasterOver(
  models: ModelSet,
  values: Float64Array,
  series: SeriesProtocol,
  origins: readonly number[],
): Generator<Float64Array> {
  const { stepSeconds, season, longSeason } = series;
  const horizonSteps = horizonMax(series);
  const grid = gridOf({ stepMs: stepSeconds * 1000, horizonSteps, season, longSeason });
  const forecaster = new Forecaster(grid, models, shapeOfTrace(grid));
  const memory = forecaster.fresh();
  const ahead = Array.from({ length: horizonSteps }, (_, index) => index + 1);
  let row = 0;
  for (const origin of origins) {
    for (; row < origin; row++) forecaster.learn(memory, row, values[row]!);
    const quantiles = new Float64Array(horizonSteps * LEVELS.length);
    forecaster.quantiles(memory, ahead, quantiles);
    yield quantiles;
  }
}

function* referenceOver(
  reference: Reference,
  values: Float64Array,
  series: SeriesProtocol,
  origins: readonly number[],
): Generator<Float64Array> {
  for (const origin of origins) yield reference.forecast(values.subarray(0, origin), series, horizonMax(series));
}
