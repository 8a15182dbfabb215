// Traits: what a series is like, in words and numbers an operator knows: how bursty, with what season, of what pattern.

import type { Pattern } from '../../schemas/records.ts';
import { DAY_SLOTS, type History, RECENT_STEPS, SLOT_STEPS, STEP_MS } from './history.ts';

export interface Traits {
  /** Index of dispersion of the counts per step: variance over mean; 1 for independent events. */
  readonly dispersion: number;
  readonly peakToMean: number;
  readonly seasonMs: number;
  readonly pattern: Pattern;
}

/** Likeness to the day before from which a series has a daily season. */
const DAY_LIKENESS_MIN = 0.5;
/** Autocorrelation, at a peak of it, from which a shorter period is a season; noise of 120 values stays well below. */
const SEASON_CORRELATION_MIN = 0.6;
/** A peak of five times the mean, or a coefficient of variation above one, is a burst. */
const BURST_PEAK_TO_MEAN = 5;
const BURST_VARIATION = 1;
/** Slope over the recent steps, as a share of their mean, and how well a line explains them. */
const TREND_SHARE_MIN = 0.25;
const TREND_FIT_MIN = 0.6;
const STEPS_MIN = 30;

/** `dayLikeness`: correlation of today's rates with yesterday's, NaN while unknown. `shortSeasonMs`: of `shortSeason`. */
export function traitsOf(history: History, dayLikeness: number, shortSeasonMs: number): Traits {
  const { count, mean, variance, slope, fit } = lineThrough(history);
  if (count < STEPS_MIN || mean === 0)
    return { dispersion: 0, peakToMean: 0, seasonMs: 0, pattern: count < STEPS_MIN ? 'UNKNOWN' : 'CONSISTENT' };
  const perStep = STEP_MS / 1000;
  const peakToMean = history.peak() / Math.max(history.dayMean(), mean);
  const daily = dayLikeness >= DAY_LIKENESS_MIN;
  const seasonMs = daily ? DAY_SLOTS * SLOT_STEPS * STEP_MS : shortSeasonMs;
  const patterns: Pattern[] = [];
  if (peakToMean >= BURST_PEAK_TO_MEAN || Math.sqrt(variance) / mean >= BURST_VARIATION) patterns.push('BURSTY');
  if (seasonMs > 0) patterns.push('PERIODIC');
  if (!daily && fit >= TREND_FIT_MIN && (Math.abs(slope) * count) / mean >= TREND_SHARE_MIN) patterns.push('TRENDING');
  return {
    dispersion: (variance / mean) * perStep,
    peakToMean,
    seasonMs,
    pattern: patterns.length === 0 ? 'CONSISTENT' : patterns.length === 1 ? patterns[0]! : 'MIXED',
  };
}

/** The shortest period, of minutes in the last two hours or of hours in the last day, at a peak of the autocorrelation; 0 for none. */
export function shortSeason(history: History): number {
  const minutes = valuesOf(RECENT_STEPS, (back) => history.recent.at(history.step - back));
  const fine = period(minutes, 4);
  if (fine > 0) return fine * STEP_MS;
  const slots = valuesOf(DAY_SLOTS, (back) => history.day.at(history.day.newest - back));
  return period(slots, 12) * SLOT_STEPS * STEP_MS;
}

/** The oldest value first; empty when any is missing. */
function valuesOf(count: number, at: (back: number) => number): number[] {
  const values = Array.from({ length: count }, (_, i) => at(count - 1 - i));
  return values.some(Number.isNaN) ? [] : values;
}

/** At least three cycles must fit. Differences are correlated, not values, so that a trend is not taken for a season. */
function period(values: readonly number[], lagMin: number): number {
  if (values.length === 0) return 0;
  const steady = (values.at(-1)! - values[0]!) / (values.length - 1);
  const changes = values.slice(1).map((value, i) => value - values[i]! - steady);
  const square = changes.reduce((sum, change) => sum + change * change, 0);
  // What is left of a straight line is rounding.
  if (!(square > 1e-9 * values.length * steady * steady) || !Number.isFinite(square)) return 0;
  const correlation = (lag: number): number => {
    let sum = 0;
    for (let i = lag; i < changes.length; i++) sum += changes[i]! * changes[i - lag]!;
    return (sum / square) * (changes.length / (changes.length - lag));
  };
  let before = correlation(lagMin - 1);
  let here = correlation(lagMin);
  for (let lag = lagMin; lag <= values.length / 3; lag++) {
    const after = correlation(lag + 1);
    if (here >= SEASON_CORRELATION_MIN && here >= before && here >= after) return lag;
    before = here;
    here = after;
  }
  return 0;
}

function lineThrough(history: History): { count: number; mean: number; variance: number; slope: number; fit: number } {
  let count = 0;
  let mean = 0;
  let time = 0;
  let squares = 0;
  let timeSquares = 0;
  let products = 0;
  for (let step = history.step - RECENT_STEPS + 1; step <= history.step; step++) {
    const rate = history.recent.at(step);
    if (Number.isNaN(rate)) continue;
    count++;
    const rateAway = rate - mean;
    const timeAway = step - history.step - time;
    mean += rateAway / count;
    time += timeAway / count;
    squares += rateAway * (rate - mean);
    timeSquares += timeAway * (step - history.step - time);
    products += rateAway * (step - history.step - time);
  }
  const variance = count < 2 ? 0 : squares / (count - 1);
  const slope = timeSquares === 0 ? 0 : products / timeSquares;
  const fit = squares === 0 || timeSquares === 0 ? 0 : (products * products) / (squares * timeSquares);
  return { count, mean, variance, slope, fit };
}
