// Training series: one series as the network learns from it: the inputs of each step, and examples: at every few steps, for each
// distance of its grid, the terms and the base of the forecast that could be made then, and what came.
//
//   L1. Inputs, terms and base of a step are read from a history that ends there, by the very functions that forecast.
//   L2. An error is told in the base's own usual error at that distance over the whole series, so that every series and
//       distance counts alike, and for more in the busy hours, where a shard too few hurts.

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
  /** `INPUTS` of each step. */
  readonly inputs: Float32Array;
  /** Of each example step and distance: terms, what the base missed, the weight of the error; weight 0: nothing came. */
  readonly examples: Float32Array;
  /** What the network is told of each distance. */
  readonly places: readonly Float64Array[];
}

/** Steps from one to the next that examples are made at: neighbours say nearly the same. */
export const EXAMPLE_EVERY = 4;
/** One example: its terms, the base's miss, the weight. */
export const EXAMPLE = TERMS + 2;
export const MISS = TERMS;
export const WEIGHT = TERMS + 1;

/** Steps before the first example: running means need some. */
const WARM_STEPS = 16;
/** A step counts by its rate beside the mean, within these. */
const BUSY_MIN = 0.2;
const BUSY_MAX = 3;
/** Logs: below this a base is as good as exact. */
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

/** L2. */
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
