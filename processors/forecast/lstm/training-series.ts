// Training series: one series prepared for training: the inputs of each step, and examples. At every few steps, for
// each distance of the grid, an example holds the terms and the base of the forecast that could be made then, and the
// base's error.
//
//   L1. Inputs, terms and base of a step are read from a history that ends there, by the same functions that forecast.
//   L2. An error is divided by the base's usual error at that distance over the whole series, so that every series and
//       distance has the same weight; busy hours have more, because there one shard too few does harm.

import type { Grid } from '../grid.ts';
import { History, RATE_MAX, shapeOfTrace } from '../history/history.ts';
import { SPREAD, SPREAD_MIN, SUMS, writeInputs } from './inputs.ts';
import { INPUTS, PLACE, TERMS, writePlace } from './network.ts';
import { emptyStanding, readStanding } from './standing.ts';
import { writeTerms } from './terms.ts';

export interface RateSeries {
  readonly grid: Grid;
  readonly rates: ArrayLike<number>;
}

export interface TrainingSeries {
  readonly grid: Grid;
  readonly steps: number;
  /** `INPUTS` numbers for each step. */
  readonly inputs: Float32Array;
  /**
   * For each example step and distance: the terms, the base's error, the weight of the error; weight 0: no observation.
   */
  readonly examples: Float32Array;
  /** The values that describe each distance to the network. */
  readonly places: readonly Float64Array[];
}

/** Steps between examples: neighbouring ones are nearly the same. */
export const EXAMPLE_EVERY = 4;
/** Numbers of one example: its terms, the base's error, the weight. */
export const EXAMPLE = TERMS + 2;
export const MISS = TERMS;
export const WEIGHT = TERMS + 1;

/** Steps before the first example: the running means need some. */
const WARM_STEPS = 16;
/** Bounds of a step's weight, which is its rate divided by the mean. */
const BUSY_MIN = 0.2;
const BUSY_MAX = 3;
/** In logs: a smaller usual error of the base counts as this. */
const USUAL_MISS_MIN = 0.01;

export function trainingSeriesOf({ grid, rates }: RateSeries): TrainingSeries {
  const steps = rates.length;
  const distances = grid.distances.length;
  const inputs = new Float32Array(steps * INPUTS);
  const examples = new Float32Array(Math.ceil(steps / EXAMPLE_EVERY) * distances * EXAMPLE);
  const history = new History(grid, shapeOfTrace(grid));
  const standing = emptyStanding();
  const sums = new Float64Array(SUMS);
  const row = new Float64Array(INPUTS);
  const terms = new Float64Array(TERMS);
  let mean = 0;
  for (let t = 0; t < steps; t++) mean += rates[t]! / steps;
  for (let t = 0; t < steps; t++) {
    const { units } = history;
    history.put(t, Math.min(rates[t]!, RATE_MAX));
    if (history.units !== units) sums.fill(0); // As the forecaster does when the unit changes.
    readStanding(history, t, standing);
    writeInputs(standing, grid, sums, row);
    inputs.set(row, t * INPUTS);
    if (t % EXAMPLE_EVERY !== 0 || t < WARM_STEPS) continue;
    for (const [d, ahead] of grid.distances.entries()) {
      if (t + ahead >= steps) continue;
      const base = writeTerms(history, standing, Math.max(sums[SPREAD]!, SPREAD_MIN), ahead, terms);
      const rate = rates[t + ahead]!;
      const at = ((t / EXAMPLE_EVERY) * distances + d) * EXAMPLE;
      examples.set(terms, at);
      examples[at + MISS] = history.logOf(rate) - base;
      const busy = (rate + history.unit) / (mean + history.unit);
      examples[at + WEIGHT] = Math.min(Math.max(busy, BUSY_MIN), BUSY_MAX);
    }
  }
  for (let d = 0; d < distances; d++) tellInUsualMisses(examples, d, distances);
  const places = grid.distances.map((ahead) => {
    const place = new Float64Array(PLACE);
    writePlace(ahead, grid.season, place);
    return place;
  });
  return { grid, steps, inputs, examples, places };
}

/** Divides the errors at distance number `d` by their usual size (L2). */
function tellInUsualMisses(examples: Float32Array, d: number, distances: number): void {
  let sum = 0;
  let count = 0;
  for (let at = d * EXAMPLE; at < examples.length; at += distances * EXAMPLE) {
    if (examples[at + WEIGHT] === 0) continue;
    sum += examples[at + WEIGHT]! * Math.abs(examples[at + MISS]!);
    count++;
  }
  const usual = Math.max(sum / Math.max(1, count), USUAL_MISS_MIN);
  for (let at = d * EXAMPLE; at < examples.length; at += distances * EXAMPLE) examples[at + WEIGHT]! /= usual;
}
