// Calibration: quantiles from the errors that a series' forecasts have really made, at each distance. Errors are kept in
// logarithms, since rates grow and fall by factors, and near ones in units of how restless the series has been lately.
// Each quantile of them is followed online, up by its level when the error was above it and down by the rest when below:
// the conformal quantile tracker of Angelopoulos, Candes and Tibshirani (2023) with the decaying steps of Angelopoulos,
// Barber and Bates (2024). Whatever the errors are, their long-run share below the quantile comes to its level.
//
//   C1. Quantiles ascend with their level and are finite.
//   C2. The same errors in the same order give the same quantiles.

import type { Grid, Place } from '../grid.ts';
import { layoutOf } from '../layout.ts';

export const LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99] as const;
export const MEDIAN = LEVELS.indexOf(0.5);
/** The quantile by which intervals are judged. */
const UPPER = LEVELS.indexOf(0.95);

/** Quantiles of a normal error in units of its mean absolute size, believed before any error was seen. */
const NORMAL = [-1.606, -1.055, -0.657, -0.317, 0, 0.317, 0.657, 1.055, 1.606, 2.062, 2.916];
/** Mean absolute error believed before any was seen: at one step, and more with the distance's fourth root. Arbitrary. */
const PRIOR_SPREAD = 0.15;
/** What is believed before any error was seen weighs as much as so many errors. */
const PRIOR_WEIGHT = 8;
/** Steps of a tail are larger: what moves it comes seldom. */
const REACH = [2, 1.3, 1, 1, 1, 1, 1, 1.3, 2, 4, 10];
/** The last few hundred judged errors count. */
const GAIN_MIN = 0.008;
const SPREAD_GAIN_MIN = 0.01;
/** Coverage is told of the last few hundred judged errors. */
const COVERED_GAIN = 0.005;
/** Lately, and as always, in steps. */
const FAST_GAIN = 0.1;
const SLOW_GAIN = 0.004;
/** Power of the restlessness in the spread one step ahead; at twice the distance 0.7 of it. */
const RESTLESS_POWER = 0.5;
const RESTLESS_KEPT = 0.7;
const RESTLESS_MAX = 5;
/** A tracker that never misses would shrink to nothing; rates are not that certain. */
const SPREAD_MIN = 0.002;
/** e^12: 160,000 times the forecast. */
const LOG_ERROR_MAX = 12;

/** How restless the series is, then what is known of the errors at each distance. */
const HEAD = layoutOf({ fast: 1, slow: 1, seen: 1 });
const ROW = layoutOf({ quantiles: LEVELS.length, spread: 1, count: 1, covered: 1 });
const { fast: FAST, slow: SLOW, seen: SEEN } = HEAD.at;
const { spread: SPREAD, count: COUNT, covered: COVERED } = ROW.at;

/** One for all series of a grid: each series' part of its state has `size` numbers. */
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

  /** The forecast for distance `d`, made when the series was `restless`, missed by `error`: seen less foreseen, in logs. */
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

  /** Follows how restless the series is, by the size of its errors one step ahead. */
  follow(state: Float32Array, error: number): void {
    const size = Math.min(Math.abs(error), LOG_ERROR_MAX);
    const seen = ++state[SEEN]!;
    state[FAST]! += Math.max(FAST_GAIN, 1 / seen) * (size - state[FAST]!);
    state[SLOW]! += Math.max(SLOW_GAIN, 1 / seen) * (size - state[SLOW]!);
  }

  /** Errors lately over errors as always: 1 when nothing is unusual. */
  restless(state: Float32Array): number {
    const ratio = (state[FAST]! + SPREAD_MIN) / (state[SLOW]! + SPREAD_MIN);
    return Math.min(Math.max(ratio, 1 / RESTLESS_MAX), RESTLESS_MAX);
  }

  /** How far the quantiles lie from the forecast, in logs: `LEVELS.length` for each distance, ascending (C1). */
  offsetsOf(state: Float32Array): Float64Array {
    const restless = this.restless(state);
    const offsets = this.#offsets;
    for (let d = 0; d < this.#distances.length; d++) {
      const from = rowOf(d);
      const scale = Math.max(state[from + SPREAD]!, SPREAD_MIN) * restless ** this.#powers[d]!;
      const first = d * LEVELS.length;
      // They nearly always ascend already: each is let sink to its place.
      for (let l = 0; l < LEVELS.length; l++) {
        const offset = clamped(state[from + l]! * scale);
        let place = first + l;
        for (; place > first && offsets[place - 1]! > offset; place--) offsets[place] = offsets[place - 1]!;
        offsets[place] = offset;
      }
    }
    return offsets;
  }

  /** Share of lately judged errors at or below the 0.95 quantile; NaN before the first. */
  coverage(state: Float32Array, d: number): number {
    const from = rowOf(d);
    return state[from + COUNT]! > 0 ? state[from + COVERED]! : Number.NaN;
  }

  /** What was learned counts as of a few errors: for a series that begins where another one stands. */
  forget(state: Float32Array): void {
    state.fill(0, 0, HEAD.size);
    for (let d = 0; d < this.#distances.length; d++)
      state[rowOf(d) + COUNT] = Math.min(state[rowOf(d) + COUNT]!, PRIOR_WEIGHT);
  }

  /** Mean absolute error in logs at a distance, as it usually is. */
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
