// Combination: the weight of each model at each distance, from the forecasts it made for this series. A weight is the
// product of three factors: a prior from experience with many series; the size of the model's own recent errors (Bates
// and Granger, 1969); and what the model adds to the others, learned by the exponentiated gradient of the combined
// forecast's error (Kivinen and Warmuth, 1997): a model gains weight when more of it would have reduced the combined
// error, not by being right alone. In that gradient a forecast that was too low costs more than one that was too high,
// because one shard too few does more harm than one too many. The upward bias that this gives the combination is
// removed from the median by calibration.
//
//   E1. A forecast is judged once: when the step that it forecast has closed.
//   E2. The weights of the models that gave a forecast sum to one. What was learned fades towards the prior.
//   E3. The forecast is named after the leader at a distance. The leader changes only when another model is a tenth
//       heavier.

import type { Grid } from '../grid.ts';
import { type Layout, layoutOf } from '../layout.ts';

/** Prior weights one step ahead, and 64 or more ahead: from the traces of the backtest. Other models have `UNKNOWN`. */
const EXPERIENCE: Readonly<Record<string, readonly [near: number, far: number]>> = {
  level: [0.03, 0.01],
  'seasonal-naive-day': [0.01, 0.02],
  'seasonal-naive-week': [0.01, 0.02],
  'damped-trend': [0.02, 0.002],
  'holt-winters': [0.03, 0.02],
  'auto-regression': [0.2, 0.03],
  regression: [0.7, 0.9],
  spar: [0.1, 0.1],
};
const UNKNOWN = [0.02, 0.02] as const;
/** Prior while there is no day to compare with: then only a ramp can be foreseen far ahead. */
const YOUNG: typeof EXPERIENCE = { ...EXPERIENCE, 'damped-trend': [0.1, 0.1] };
const DAY_MODEL = 'seasonal-naive-day';
const FAR_STEPS = 64;

/**
 * A weight is proportional to this power of one over the model's recent error; to a smaller power while few forecasts
 * were judged.
 */
const ERROR_POWER = 3;
const ERROR_POWER_FROM = 30;
/**
 * A model's recent error is a mean over about ten judged forecasts; a single error counts for at most this many usual
 * ones.
 */
const MODEL_ERROR_GAIN = 0.1;
const MODEL_ERROR_CLIP = 4;
const LOG_ERROR_MIN = 1e-4;
/** A forecast that was too low costs this many times what one that was too high by the same amount does. */
const SHORT_COST = 1.5;
/** Step size of the gradient, and share by which what was learned fades, at each judged forecast. */
const LEARNING = 0.01;
const FADING = 0.001;
/** Largest error of one forecast in the gradient, in usual errors. */
const PULL_MAX = 2;
/**
 * The usual error of the combination is a mean over about fifty forecasts; a single error counts for at most this many
 * usual ones.
 */
const USUAL_GAIN = 0.02;
const USUAL_CLIP = 4;
/** The reported mean error is a mean over about fifty forecasts, unclipped. */
const ERROR_GAIN = 0.02;
const LEADER_BONUS = 1.1;

export class Combination {
  readonly size: number;
  readonly #count: number;
  /** For each distance: for each model its learned log weight and its recent error in logs; then single numbers. */
  readonly #row: Layout<'taught' | 'errors' | 'usual' | 'judged' | 'leader' | 'error'>;
  readonly #priors: readonly Float64Array[];
  readonly #youngPriors: readonly Float64Array[];
  /** The model that gives no forecast while there is no day to compare with; -1 without one. */
  readonly #dayModel: number;
  readonly #scratch: Float64Array;

  constructor(grid: Grid, models: readonly { readonly name: string }[]) {
    const count = models.length;
    this.#count = count;
    this.#row = layoutOf({ taught: count, errors: count, usual: 1, judged: 1, leader: 1, error: 1 });
    this.size = grid.distances.length * this.#row.size;
    this.#scratch = new Float64Array(this.#count);
    this.#priors = priorsOf(grid, models, EXPERIENCE);
    this.#youngPriors = priorsOf(grid, models, YOUNG);
    this.#dayModel = models.findIndex(({ name }) => name === DAY_MODEL);
  }

  /**
   * Writes each model's weight at distance number `d`; a model whose `logs` entry is NaN gets none. False when no model
   * gave a forecast.
   */
  weigh(state: Float32Array, d: number, logs: Float64Array, into: Float64Array): boolean {
    const { at, size } = this.#row;
    const from = d * size;
    const isYoung = this.#dayModel >= 0 && Number.isNaN(logs[this.#dayModel]!);
    const prior = (isYoung ? this.#youngPriors : this.#priors)[d]!;
    const judged = state[from + at.judged]!;
    const power = (ERROR_POWER * judged) / (judged + ERROR_POWER_FROM);
    let most = Number.NEGATIVE_INFINITY;
    for (let m = 0; m < this.#count; m++) {
      into[m] = Number.NEGATIVE_INFINITY;
      if (Number.isNaN(logs[m]!)) continue;
      const error = Math.max(state[from + at.errors + m]!, LOG_ERROR_MIN);
      into[m] = prior[m]! + state[from + at.taught + m]! - power * Math.log(error);
      if (into[m]! > most) most = into[m]!;
    }
    if (most === Number.NEGATIVE_INFINITY) {
      into.fill(0);
      return false;
    }
    let sum = 0;
    for (let m = 0; m < this.#count; m++) sum += into[m] = Math.exp(into[m]! - most);
    for (let m = 0; m < this.#count; m++) into[m]! /= sum;
    return true;
  }

  /**
   * Learns from the forecasts of the step that has just closed with `rate`; `logs` are the models' forecasts, in the
   * history's `unit`. Returns the combined log, NaN when no model gave a forecast.
   */
  learn(state: Float32Array, d: number, logs: Float64Array, rate: number, unit: number): number {
    const weights = this.#scratch;
    if (!this.weigh(state, d, logs, weights)) return Number.NaN;
    const { at, size } = this.#row;
    const from = d * size;
    let combined = 0;
    for (let m = 0; m < this.#count; m++) if (weights[m]! > 0) combined += weights[m]! * logs[m]!;
    const judged = ++state[from + at.judged]!;
    this.#learnErrors(state, from, logs, Math.log1p(rate / unit), combined);
    const foreseen = unit * Math.expm1(combined);
    const error = Math.abs(rate - foreseen);
    state[from + at.error]! += Math.max(ERROR_GAIN, 1 / judged) * (error - state[from + at.error]!);
    const usual = state[from + at.usual]!;
    const counted = judged > USUAL_CLIP ? Math.min(error, USUAL_CLIP * usual) : error;
    const followed = usual + Math.max(USUAL_GAIN, 1 / judged) * (counted - usual);
    state[from + at.usual] = followed;
    if (!(followed > 0)) return combined;
    const slope = ((foreseen < rate ? -SHORT_COST : 1) * (foreseen + unit)) / followed;
    for (let m = 0; m < this.#count; m++) {
      const pull = weights[m]! > 0 ? slope * (logs[m]! - combined) : 0;
      const move = LEARNING * Math.min(Math.max(pull, -PULL_MAX), PULL_MAX);
      state[from + at.taught + m] = (1 - FADING) * state[from + at.taught + m]! - move;
    }
    return combined;
  }

  /** Number of the model that leads at distance `d`, given the weights there (E3). */
  lead(state: Float32Array, d: number, weights: Float64Array): number {
    const { at, size } = this.#row;
    const slot = d * size + at.leader;
    let best = state[slot]!;
    for (let m = 0; m < this.#count; m++) if (weights[m]! > weights[best]! * LEADER_BONUS) best = m;
    state[slot] = best;
    return best;
  }

  /** Recent mean absolute error of the combination at distance number `d`, in rates; NaN before the first. */
  meanError(state: Float32Array, d: number): number {
    const { at, size } = this.#row;
    const from = d * size;
    return state[from + at.judged]! > 0 ? state[from + at.error]! : Number.NaN;
  }

  /** Forgets the errors and keeps the learned weights: for a new series that starts from another one's state. */
  forget(state: Float32Array): void {
    const { at, size } = this.#row;
    for (let from = 0; from < this.size; from += size) {
      state[from + at.usual] = 0;
      state[from + at.error] = 0;
      state[from + at.judged] = 0;
    }
  }

  /** A model that gave no forecast is charged with the combined forecast's error. */
  #learnErrors(state: Float32Array, from: number, logs: Float64Array, log: number, combined: number): void {
    const { at } = this.#row;
    const gain = Math.max(MODEL_ERROR_GAIN, 1 / state[from + at.judged]!);
    for (let m = 0; m < this.#count; m++) {
      const slot = from + at.errors + m;
      const was = state[slot]!;
      const now = Math.abs(log - (Number.isNaN(logs[m]!) ? combined : logs[m]!));
      state[slot] = was === 0 ? now : was + gain * (Math.min(now, MODEL_ERROR_CLIP * was + 0.01) - was);
    }
  }
}

/** Logarithms of the prior weights at each distance, by model. */
function priorsOf(
  grid: Grid,
  models: readonly { readonly name: string }[],
  experience: typeof EXPERIENCE,
): readonly Float64Array[] {
  return grid.distances.map((ahead) => {
    const share = Math.min(1, Math.log(ahead) / Math.log(FAR_STEPS));
    return Float64Array.from(models, ({ name }) => {
      const [near, far] = experience[name] ?? UNKNOWN;
      return Math.log(near) + share * (Math.log(far) - Math.log(near));
    });
  });
}
