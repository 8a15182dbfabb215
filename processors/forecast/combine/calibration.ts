// Calibration: turns the combined forecast into quantiles, using the errors that the series' forecasts made before, for
// each distance separately. Errors are differences of logarithms, because rates grow and fall by factors. For short
// distances they are divided by how restless the series has been lately. Each quantile offset is updated online: when
// an error lies above it, it rises in proportion to its level; otherwise it falls in proportion to one minus its level.
// This is the conformal quantile tracker of Angelopoulos, Candes and Tibshirani (2023) with the decaying steps of
// Angelopoulos, Barber and Bates (2024). Whatever the errors are, their long-run share below the quantile converges to
// its level.
//
//   C1. Quantiles ascend with their level and are finite.
//   C2. The same errors in the same order give the same quantiles.

import type { Grid, Place } from '../grid.ts';
import { layoutOf } from '../layout.ts';

export const LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99] as const;
export const MEDIAN = LEVELS.indexOf(0.5);
/** The quantile at which coverage is measured. */
const UPPER = LEVELS.indexOf(0.95);

/** Quantiles of a normal error in units of its mean absolute size: the prior, before any error was seen. */
const NORMAL = [-1.606, -1.055, -0.657, -0.317, 0, 0.317, 0.657, 1.055, 1.606, 2.062, 2.916];
/** Prior mean absolute error one step ahead; it grows with the fourth root of the distance. Arbitrary. */
const PRIOR_SPREAD = 0.15;
/** The prior weighs as much as this many observed errors. */
const PRIOR_WEIGHT = 8;
/** Factor on the update step of each quantile: larger in the tails, where errors that move the quantile are rare. */
const REACH = [2, 1.3, 1, 1, 1, 1, 1, 1.3, 2, 4, 10];
/** Smallest update gain: about the last few hundred judged errors count. */
const GAIN_MIN = 0.008;
const SPREAD_GAIN_MIN = 0.01;
/** Gain of the coverage's running mean: about the last few hundred judged errors count. */
const COVERED_GAIN = 0.005;
/** Gains of the recent and of the usual mean error one step ahead, whose ratio is the restlessness. */
const FAST_GAIN = 0.1;
const SLOW_GAIN = 0.004;
/**
 * Power of the restlessness by which the spread one step ahead is scaled; the power is multiplied by 0.7 at each
 * doubling of the distance.
 */
const RESTLESS_POWER = 0.5;
const RESTLESS_KEPT = 0.7;
const RESTLESS_MAX = 5;
/** Smallest spread: without it, a tracker that never misses would shrink to nothing; rates are not that certain. */
const SPREAD_MIN = 0.002;
/** Largest error, in logarithms: e^12 is 160,000 times the forecast. */
const LOG_ERROR_MAX = 12;

/** State: the two mean errors behind the restlessness and how many errors were seen; then a block for each distance. */
const HEAD = layoutOf({ fast: 1, slow: 1, seen: 1 });
const ROW = layoutOf({ quantiles: LEVELS.length, spread: 1, count: 1, covered: 1 });
const { fast: FAST, slow: SLOW, seen: SEEN } = HEAD.at;
const { spread: SPREAD, count: COUNT, covered: COVERED } = ROW.at;

/** There is one for all series of a grid; the caller passes each series' state, an array of `size` numbers. */
export class Calibration {
  readonly size: number;
  readonly #distances: readonly number[];
  readonly #powers: readonly number[];
  readonly #offsets: Float64Array;

  constructor(grid: Grid) {
    this.#distances = grid.distances;
    this.size = HEAD.size + this.#distances.length * ROW.size;
    this.#powers = this.#distances.map((ahead) => RESTLESS_POWER * RESTLESS_KEPT ** Math.log2(ahead));
    this.#offsets = new Float64Array(this.#distances.length * LEVELS.length);
  }

  begin(state: Float32Array): void {
    state.fill(0, 0, HEAD.size);
    for (const [d, ahead] of this.#distances.entries()) {
      const spread = PRIOR_SPREAD * ahead ** 0.25;
      const from = rowOf(d);
      state.set(NORMAL, from);
      state[from + SPREAD] = spread;
      state[from + COUNT] = 0;
    }
  }

  /**
   * Learns from one error: the forecast for distance number `d` was made at restlessness `restless`; `error` is the
   * observed log less the forecast log.
   */
  learn(state: Float32Array, d: number, error: number, restless: number): void {
    const from = rowOf(d);
    const miss = clamped(error) / restless ** this.#powers[d]!;
    const count = state[from + COUNT]!;
    const gain = Math.max(GAIN_MIN, 1 / (PRIOR_WEIGHT + count));
    const inSpreads = miss / Math.max(state[from + SPREAD]!, SPREAD_MIN);
    const covered = inSpreads <= state[from + UPPER]! ? 1 : 0;
    state[from + COVERED]! += Math.max(COVERED_GAIN, 1 / (count + 1)) * (covered - state[from + COVERED]!);
    for (let l = 0; l < LEVELS.length; l++)
      state[from + l]! += gain * REACH[l]! * (inSpreads > state[from + l]! ? LEVELS[l]! : LEVELS[l]! - 1);
    state[from + SPREAD]! += Math.max(gain, SPREAD_GAIN_MIN) * (Math.abs(miss) - state[from + SPREAD]!);
    state[from + COUNT] = count + 1;
  }

  /** Updates the restlessness from an error one step ahead. */
  follow(state: Float32Array, error: number): void {
    const size = Math.min(Math.abs(error), LOG_ERROR_MAX);
    const seen = ++state[SEEN]!;
    state[FAST]! += Math.max(FAST_GAIN, 1 / seen) * (size - state[FAST]!);
    state[SLOW]! += Math.max(SLOW_GAIN, 1 / seen) * (size - state[SLOW]!);
  }

  /** Recent mean error divided by the usual one: 1 when nothing is unusual. */
  restless(state: Float32Array): number {
    const ratio = (state[FAST]! + SPREAD_MIN) / (state[SLOW]! + SPREAD_MIN);
    return Math.min(Math.max(ratio, 1 / RESTLESS_MAX), RESTLESS_MAX);
  }

  /** Offsets of the quantiles from the forecast, in logs: `LEVELS.length` for each distance, ascending (C1). */
  offsetsOf(state: Float32Array): Float64Array {
    const restless = this.restless(state);
    const offsets = this.#offsets;
    for (let d = 0; d < this.#distances.length; d++) {
      const from = rowOf(d);
      const scale = Math.max(state[from + SPREAD]!, SPREAD_MIN) * restless ** this.#powers[d]!;
      const first = d * LEVELS.length;
      // Insertion sort: the offsets are nearly always in order already.
      for (let l = 0; l < LEVELS.length; l++) {
        const offset = clamped(state[from + l]! * scale);
        let place = first + l;
        for (; place > first && offsets[place - 1]! > offset; place--) offsets[place] = offsets[place - 1]!;
        offsets[place] = offset;
      }
    }
    return offsets;
  }

  /** Share of recently judged errors at or below the 0.95 quantile; NaN before the first. */
  coverage(state: Float32Array, d: number): number {
    const from = rowOf(d);
    return state[from + COUNT]! > 0 ? state[from + COVERED]! : Number.NaN;
  }

  /**
   * Lowers the weight of what was learned to that of a few errors: for a new series that starts from another one's
   * state.
   */
  forget(state: Float32Array): void {
    state.fill(0, 0, HEAD.size);
    for (let d = 0; d < this.#distances.length; d++)
      state[rowOf(d) + COUNT] = Math.min(state[rowOf(d) + COUNT]!, PRIOR_WEIGHT);
  }

  /** Usual mean absolute error at a distance, in logs. */
  spread(state: Float32Array, d: number): number {
    return state[rowOf(d) + SPREAD]!;
  }
}

/** The offset of one level at a place between two distances. */
export function offsetAt(offsets: Float64Array, { near, share }: Place, level: number): number {
  const here = offsets[near * LEVELS.length + level]!;
  return share === 0 ? here : here + share * (offsets[(near + 1) * LEVELS.length + level]! - here);
}

const rowOf = (d: number): number => HEAD.size + d * ROW.size;
const clamped = (log: number): number => Math.min(Math.max(log, -LOG_ERROR_MAX), LOG_ERROR_MAX);
