// Signal: one signal (subscriptions or publishes) of one series: its forecaster's memory, how accurate its recent
// forecasts were, its patterns, and whether its forecast is to be trusted.
//
//   G1. A step is closed once, in order. A longer silence begins a gap: levels start anew and the days before are kept.
//   G2. Whatever the input, every number of a forecast is finite and not negative.

import type { Forecast } from '../../schemas/records.ts';
import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { LEVELS } from './combine/calibration.ts';
import type { Forecaster } from './forecaster.ts';
import { NEAR_STEPS } from './grid.ts';
import { RATE_MAX } from './history/history.ts';
import { type Pattern, patternOf, UNKNOWN_PATTERN } from './history/patterns.ts';
import type { SeriesMemory } from './series-memory.ts';

export interface TrustSettings {
  /** Least number of closed steps before any forecast is trusted. */
  readonly stepsMin: number;
  /** Largest error one step ahead, relative to that of the seasonal naive forecast. */
  readonly errorMax: number;
  /** Largest error a quarter of an hour ahead, as a share of the mean rate. */
  readonly shareMax: number;
  /** Smallest share of steps at or below their 0.95 quantile, a quarter of an hour ahead. */
  readonly coverageMin: number;
  /** For this many steps after a model returned NaN or infinity, no forecast is trusted. */
  readonly garbageSteps: number;
}

/** Gain of the mean rate: over about a day of minutes. */
const MEAN_GAIN = 1 / 720;
const NAIVE_GAIN = 1 / 240;
/** The patterns of a series are computed once an hour. */
const PATTERN_EVERY_STEPS = 60;
const NEAR = Array.from({ length: NEAR_STEPS }, (_, i) => i + 1);
/** The far part of a forecast: from the second hour on to the end of a day, in steps of an hour. */
export const FAR_STEP_STEPS = 60;
export const FAR = Array.from({ length: 23 }, (_, i) => (i + 2) * FAR_STEP_STEPS);
const AHEAD = [...NEAR, ...FAR];
/** A quarter of an hour ahead, as a distance number of the minute grid. */
const QUARTER = 2;

export class Signal {
  readonly memory: SeriesMemory;
  /** Consecutive closed steps without an event. */
  silentSteps = 0;
  /** Mean rate over about a day, per second. */
  mean = 0;
  pattern: Pattern = UNKNOWN_PATTERN;
  /** Recent error of the seasonal naive forecast; NaN while there is no day before. */
  #naiveError = Number.NaN;
  readonly #brain: Forecaster;

  constructor(brain: Forecaster, memory = brain.fresh()) {
    this.#brain = brain;
    this.memory = memory;
  }

  /** Closes a step with its rate per second; a value that is not a rate is clipped to one. */
  close(step: number, perSecond: number): void {
    const { history } = this.memory;
    const dayBefore = step - history.grid.season;
    const hasDay = history.age > 0 && history.begin <= dayBefore;
    const naive = hasDay ? history.rateOf(history.far(dayBefore)) : Number.NaN;
    this.#brain.close(this.memory, step, perSecond);
    const rate = history.last;
    if (hasDay) {
      const miss = Math.abs(rate - naive);
      this.#naiveError = Number.isNaN(this.#naiveError)
        ? miss
        : this.#naiveError + NAIVE_GAIN * (miss - this.#naiveError);
    }
    this.silentSteps = rate === 0 ? this.silentSteps + 1 : 0;
    this.mean += Math.max(MEAN_GAIN, 1 / history.age) * (rate - this.mean);
    if (history.age % PATTERN_EVERY_STEPS === 0) this.pattern = patternOf(history);
  }

  /** Quantiles of the steps of the coming hour, and of the hours after it. Valid after `close`. */
  quantiles(): { readonly near: number[]; readonly far: number[] } {
    const all = new Float64Array(AHEAD.length * LEVELS.length);
    this.#brain.quantiles(this.memory, AHEAD, all);
    const nearCount = NEAR.length * LEVELS.length;
    return { near: Array.from(all.subarray(0, nearCount)), far: Array.from(all.subarray(nearCount)) };
  }

  /** The model that leads one step ahead, and the weight of each model there. */
  opinion(): { readonly leader: string; readonly weights: Record<string, number> } {
    const leader = this.#brain.leader(this.memory, 0);
    const shares = this.#brain.shares(this.memory)[0]!;
    const weights: Record<string, number> = {};
    for (const [m, { name }] of this.#brain.models.entries()) weights[name] = shares[m]!;
    return { leader, weights };
  }

  /** MASE (mean absolute error divided by the seasonal naive forecast's) one step ahead; -1 while unknown. */
  recentError(): number {
    const error = this.#brain.meanError(this.memory, 0);
    if (Number.isNaN(error) || Number.isNaN(this.#naiveError)) return -1;
    return this.#naiveError > 0 ? Math.min(error / this.#naiveError, RATE_MAX) : error > 0 ? RATE_MAX : 0;
  }

  /** Share of recent steps at or below their 0.95 quantile, a quarter of an hour ahead; -1 while unknown. */
  coverage(): number {
    const coverage = this.#brain.coverage(this.memory, QUARTER);
    return Number.isNaN(coverage) ? -1 : coverage;
  }

  /** Why the forecast is not trusted; '' when it is trusted. */
  distrust(trust: TrustSettings): Forecast['distrust'] {
    const { history } = this.memory;
    if (history.seen < trust.stepsMin) return `only ${history.seen} of ${trust.stepsMin} steps seen`;
    const { count, age } = this.#brain.garbage(this.memory);
    if (age < trust.garbageSteps)
      return `a model returned NaN or infinity (${count} times); the fallback model was used instead`;
    const error = this.recentError();
    if (error > trust.errorMax)
      return `its recent error is ${rounded(error)} times that of the seasonal naive forecast`;
    const ahead = this.#brain.meanError(this.memory, QUARTER);
    if (this.mean > 0 && ahead / this.mean > trust.shareMax)
      return `its error fifteen minutes ahead is ${rounded(ahead / this.mean)} times the mean rate`;
    const coverage = this.coverage();
    if (coverage >= 0 && coverage < trust.coverageMin)
      return `only a share of ${rounded(coverage)} of recent rates stayed below the 0.95 quantile forecast fifteen minutes before`;
    return '';
  }

  /** Writes what changes with each step, and the history since `step`. */
  writeTail(to: BinaryWriter, step: number): void {
    to.count(this.silentSteps).double(this.mean).double(this.#naiveError);
    to.text(JSON.stringify(this.pattern));
    this.#brain.writeTail(this.memory, to, step);
  }

  /** Writes what changes seldom. */
  writePast(to: BinaryWriter): void {
    this.#brain.writePast(this.memory, to);
  }

  readTail(from: BinaryReader): void {
    this.silentSteps = from.count();
    this.mean = from.double();
    this.#naiveError = from.double();
    this.pattern = JSON.parse(from.text()) as Pattern;
    this.#brain.readTail(this.memory, from);
  }
}

const rounded = (value: number): string => String(Number(value.toPrecision(3)));
