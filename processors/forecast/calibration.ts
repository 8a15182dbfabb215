// Calibration: quantiles from the errors a series' forecasts have really made, at four distances. Errors are kept as
// logarithms of seen over foreseen, since rates grow and fall by factors, and in units of their own recent spread, which
// widens within minutes when a series grows restless. Each quantile of them is followed online, up by its level when the
// error was above it and down by the rest when below (the conformal quantile tracker of Angelopoulos, Candes and
// Tibshirani, 2023): whatever the errors are, their long-run share below the quantile comes to its level.
//
//   C1. Quantiles ascend with their level, are finite and never negative.
//   C2. The same errors in the same order give the same quantiles.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';

export const LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99] as const;

/** Distances at which forecasts are judged, in steps: each `slots` forecasts that wait for their step, one every `every`. */
export const DISTANCES = [
  { ahead: 1, every: 1, slots: 1 },
  { ahead: 5, every: 1, slots: 5 },
  { ahead: 15, every: 3, slots: 5 },
  { ahead: 60, every: 10, slots: 6 },
] as const;

/** Quantiles of a normal error in units of its mean absolute size, believed before any error was seen. */
const NORMAL = [-1.606, -1.055, -0.657, -0.317, 0, 0.317, 0.657, 1.055, 1.606, 2.062, 2.916];
/** Mean absolute error at each distance, believed before any was seen: arbitrary. */
const PRIOR_SPREAD = [0.12, 0.2, 0.3, 0.4];
/** Steps of a tail are larger: what moves it comes seldom. */
const REACH = [2, 1, 1, 1, 1, 1, 1, 1, 2, 3, 5];
const GAIN_MIN = 0.02;
const SPREAD_GAIN_MIN = 0.05;
/** What is believed before any error was seen weighs as much as so many errors. */
const PRIOR_WEIGHT = 3;
/** A tracker that never misses would shrink to nothing; rates are not that certain. */
const SPREAD_MIN = 0.01;
/** e^15: three million times the forecast. */
const LOG_MAX = 15;

export class Calibration {
  /** In units of the spread. */
  private readonly quantiles = new Float32Array(DISTANCES.length * LEVELS.length);
  private readonly spreads = Float32Array.from(PRIOR_SPREAD);
  private readonly counts = new Float32Array(DISTANCES.length);

  constructor() {
    for (let distance = 0; distance < DISTANCES.length; distance++)
      this.quantiles.set(NORMAL, distance * LEVELS.length);
  }

  /** `floor`: a small rate that keeps the logarithm calm where nothing happens. */
  learn(distance: number, foreseen: number, seen: number, floor: number): void {
    const error = clamped(Math.log((seen + floor) / (foreseen + floor)));
    const inSpreads = error / this.spreadAt(distance);
    const gain = Math.max(GAIN_MIN, 1 / (PRIOR_WEIGHT + this.counts[distance]!));
    for (let l = 0; l < LEVELS.length; l++) {
      const at = distance * LEVELS.length + l;
      const share = inSpreads > this.quantiles[at]! ? LEVELS[l]! : LEVELS[l]! - 1;
      this.quantiles[at]! += gain * REACH[l]! * share;
    }
    this.spreads[distance]! += Math.max(gain, SPREAD_GAIN_MIN) * (Math.abs(error) - this.spreads[distance]!);
    this.counts[distance]!++;
  }

  /** Writes `path.length * LEVELS.length` quantiles, step by step, into `into`. */
  spread(path: Float64Array, floor: number, into: number[]): void {
    const factors = this.factors();
    for (let k = 0; k < path.length; k++) {
      const { near, share } = BETWEEN[Math.min(k, BETWEEN.length - 1)]!;
      const from = near * LEVELS.length;
      const to = from + LEVELS.length;
      let least = 0;
      for (let l = 0; l < LEVELS.length; l++) {
        const factor = factors[from + l]! + (share === 0 ? 0 : share * (factors[to + l]! - factors[from + l]!));
        const value = (path[k]! + floor) * factor - floor;
        if (value > least) least = value; // C1
        into[k * LEVELS.length + l] = least;
      }
    }
  }

  write(to: BinaryWriter): void {
    to.numbers(this.quantiles).numbers(this.spreads).numbers(this.counts);
  }

  static read(from: BinaryReader): Calibration {
    const calibration = new Calibration();
    from.numbers(calibration.quantiles);
    from.numbers(calibration.spreads);
    from.numbers(calibration.counts);
    return calibration;
  }

  /** In units of its spread: how far above the forecast the rate was one step ahead; 0 at or below it. */
  surprise(foreseen: number, seen: number, floor: number): number {
    return seen <= foreseen ? 0 : clamped(Math.log((seen + floor) / (foreseen + floor))) / this.spreadAt(0);
  }

  private spreadAt(distance: number): number {
    return Math.max(this.spreads[distance]!, SPREAD_MIN);
  }

  /** e to the quantiles, ascending within each distance. */
  private factors(): Float64Array {
    const factors = new Float64Array(this.quantiles.length);
    const sorted = new Float32Array(LEVELS.length);
    for (let distance = 0; distance < DISTANCES.length; distance++) {
      const from = distance * LEVELS.length;
      sorted.set(this.quantiles.subarray(from, from + LEVELS.length));
      sorted.sort();
      for (let l = 0; l < LEVELS.length; l++)
        factors[from + l] = Math.exp(clamped(sorted[l]! * this.spreadAt(distance)));
    }
    return factors;
  }
}

const clamped = (log: number): number => Math.min(Math.max(log, -LOG_MAX), LOG_MAX);

/** For each step the distance at or before it, and how far it is (in the root of steps) towards the next one. */
export const BETWEEN: readonly { readonly near: number; readonly share: number }[] = Array.from(
  { length: DISTANCES.at(-1)!.ahead },
  (_, k) => {
    const ahead = k + 1;
    let near = DISTANCES.length - 1;
    while (DISTANCES[near]!.ahead > ahead) near--;
    const from = Math.sqrt(DISTANCES[near]!.ahead);
    const next = DISTANCES[near + 1];
    return { near, share: next === undefined ? 0 : (Math.sqrt(ahead) - from) / (Math.sqrt(next.ahead) - from) };
  },
);
