// Trainer: trains one network on many series (global, or cross-series, learning: Salinas et al., 2020; Smyl, 2020;
// Montero-Manso and Hyndman, 2021), by Adam (Kingma and Ba, 2015) with clipped gradients (Pascanu et al., 2013).
//
//   T1. Pure: the same series, options and random numbers give the same weights.
//   T2. The last fifth of each series is used for validation only, and when there are enough series, every eighth as a
//       whole. No training example reaches into it.
//   T3. The result is the best weights by validation; the initial weights are among the candidates. Their coefficients
//       are scaled by `trust`: on other series, a mean of a forecast and a simple rule does better than either (Bates
//       and Granger, 1969).

import { goOver, type Losses, Workspace } from './gradient.ts';
import { freshWeights, MEMORY, shrinkCoefficients, WEIGHTS } from './network.ts';
import type { TrainingSeries } from './training-series.ts';

export interface TrainingOptions {
  /** Most rounds. */
  readonly rounds: number;
  /** Updates in a round; by default UPDATES_IN_ROUND. */
  readonly updates?: number;
  /** Weights to begin with; by default fresh ones. */
  readonly from?: Float32Array;
  /** The first and largest learning rate. */
  readonly rate?: number;
  /** The share of the learned coefficients that is kept. Below 1 when other series than these are to be forecast. */
  readonly trust?: number;
}

/** Errors in usual errors of the base, the rule that needs no learning: 1 is as good as the base, less is better. */
export interface TrainingProgress {
  readonly round: number;
  readonly rounds: number;
  readonly trainingError: number;
  readonly validationError: number;
  readonly bestError: number;
}

export interface Trained {
  readonly weights: Float32Array;
  readonly before: number;
  readonly after: number;
  readonly rounds: number;
}

export const UPDATES_IN_ROUND = 100;
const RATE = 0.004;
/** The learning rate falls to this share of the first one, along half a cosine (Loshchilov and Hutter, 2017). */
const RATE_LAST = 0.03;
/** Number of places in the series that one update learns from, and of steps at each. */
const LANES = 16;
const WINDOW = 48;
/** Steps after which a lane jumps to another series and day. */
const RUN = 20 * WINDOW;
const NORM_MAX = 0.5;
const ADAM_MEAN = 0.9;
const ADAM_SQUARE = 0.999;
const ADAM_SMALL = 1e-8;
const VALIDATION_SHARE = 0.2;
const HELD_OUT_EVERY = 8;
/** Steps read before the validated ones, to fill the memory. */
const VALIDATION_WARM = 128;
/**
 * Windows of validation in all, divided among the series: with few series each is validated over a long time, with many
 * only at its beginning.
 */
const VALIDATION_WINDOWS = 500;
/** Training ends after this many rounds without an improvement. */
const PATIENCE = 40;

interface Lane {
  series: TrainingSeries;
  at: number;
  end: number;
  readonly memory: Float64Array;
}

/** Yields the progress after each round; returns the best weights. */
export function* train(
  allSeries: readonly TrainingSeries[],
  options: TrainingOptions,
  random: () => number,
): Generator<TrainingProgress, Trained> {
  const weights = options.from === undefined ? freshWeights(random) : Float64Array.from(options.from);
  const before = validationError(weights, allSeries);
  let best = Float32Array.from(weights);
  let bestError = before;
  let bestRound = 0;
  const taught = allSeries.filter(
    (_, s) => allSeries.length < HELD_OUT_EVERY || s % HELD_OUT_EVERY !== HELD_OUT_EVERY - 1,
  );
  const lanes = Array.from({ length: LANES }, () => laneOver(taught, random));
  const adam = { mean: new Float64Array(WEIGHTS), square: new Float64Array(WEIGHTS), updates: 0 };
  const work = new Workspace(WINDOW);
  const gradient = new Float64Array(WEIGHTS);
  const updates = options.updates ?? UPDATES_IN_ROUND;
  let round = 0;
  while (round < options.rounds && round - bestRound < PATIENCE) {
    const losses: Losses = { loss: 0, error: 0, count: 0 };
    for (let update = 0; update < updates; update++) {
      const taken = losses.count;
      gradient.fill(0);
      for (const lane of lanes) learnFrom(lane, taught, weights, work, losses, gradient, random);
      const passed = (round + update / updates) / options.rounds;
      const share = RATE_LAST + (1 - RATE_LAST) * 0.5 * (1 + Math.cos(Math.PI * passed));
      descend(weights, gradient, Math.max(1, losses.count - taken), share * (options.rate ?? RATE), adam);
    }
    round++;
    const error = validationError(weights, allSeries);
    if (error < bestError) {
      best = Float32Array.from(weights);
      bestError = error;
      bestRound = round;
    }
    const trainingError = losses.error / Math.max(1, losses.count);
    yield { round, rounds: options.rounds, trainingError, validationError: error, bestError };
  }
  const trust = options.trust ?? 1;
  if (trust === 1) return { weights: best, before, after: bestError, rounds: round };
  shrinkCoefficients(best, trust);
  return { weights: best, before, after: validationError(Float64Array.from(best), allSeries), rounds: round };
}

/** First step of the part for validation. */
const splitOf = (series: TrainingSeries): number => Math.floor(series.steps * (1 - VALIDATION_SHARE));

function laneOver(allSeries: readonly TrainingSeries[], random: () => number): Lane {
  const lane: Lane = { series: allSeries[0]!, at: 0, end: 0, memory: new Float64Array(MEMORY) };
  send(lane, allSeries, random);
  return lane;
}

/** Moves a lane to another place, chosen at random; every series is equally likely, however long. */
function send(lane: Lane, allSeries: readonly TrainingSeries[], random: () => number): void {
  lane.series = allSeries[Math.floor(random() * allSeries.length)]!;
  const split = splitOf(lane.series);
  lane.at = Math.floor(random() * Math.max(0, split - RUN));
  lane.end = Math.min(lane.at + RUN, split);
  lane.memory.fill(0);
}

function learnFrom(
  lane: Lane,
  allSeries: readonly TrainingSeries[],
  weights: Float64Array,
  work: Workspace,
  losses: Losses,
  gradient: Float64Array,
  random: () => number,
): void {
  if (lane.at >= lane.end) send(lane, allSeries, random);
  goOver(weights, lane.series, lane.at, splitOf(lane.series), lane.memory, work, losses, gradient);
  lane.at += WINDOW;
}

/** One update by Adam, of the gradient's mean over `count` examples, its length at most NORM_MAX. */
function descend(
  weights: Float64Array,
  gradient: Float64Array,
  count: number,
  rate: number,
  adam: { readonly mean: Float64Array; readonly square: Float64Array; updates: number },
): void {
  let square = 0;
  for (let i = 0; i < gradient.length; i++) square += gradient[i]! * gradient[i]!;
  const norm = Math.sqrt(square) / count;
  if (!Number.isFinite(norm)) return; // A window with an infinite gradient is skipped.
  const scale = (norm > NORM_MAX ? NORM_MAX / norm : 1) / count;
  adam.updates++;
  const meanShare = 1 - ADAM_MEAN ** adam.updates;
  const squareShare = 1 - ADAM_SQUARE ** adam.updates;
  for (let i = 0; i < gradient.length; i++) {
    const slope = gradient[i]! * scale;
    adam.mean[i]! += (1 - ADAM_MEAN) * (slope - adam.mean[i]!);
    adam.square[i]! += (1 - ADAM_SQUARE) * (slope * slope - adam.square[i]!);
    const usual = Math.sqrt(adam.square[i]! / squareShare) + ADAM_SMALL;
    weights[i]! -= (rate * (adam.mean[i]! / meanShare)) / usual;
  }
}

/** Mean error over windows of the validation part of the series, the same windows each time. */
function validationError(weights: Float64Array, allSeries: readonly TrainingSeries[]): number {
  const work = new Workspace(WINDOW);
  const unheard: Losses = { loss: 0, error: 0, count: 0 };
  const losses: Losses = { loss: 0, error: 0, count: 0 };
  const windows = Math.max(1, Math.round(VALIDATION_WINDOWS / allSeries.length));
  for (const series of allSeries) {
    const split = splitOf(series);
    const memory = new Float64Array(MEMORY);
    let at = Math.max(0, split - VALIDATION_WARM);
    while (at < split) {
      goOver(weights, series, at, 0, memory, work, unheard);
      at += WINDOW;
    }
    for (let window = 0; window < windows && at < series.steps; window++, at += WINDOW)
      goOver(weights, series, at, series.steps, memory, work, losses);
  }
  return losses.count === 0 ? Number.POSITIVE_INFINITY : losses.error / losses.count;
}
