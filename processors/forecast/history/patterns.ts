// Patterns: what a series is like, in words and figures for operators: how bursty it is, which seasons it has, how
// steadily it grows or falls. It is shown to people and in the Prediction Cache; no forecast depends on it. It reads
// the whole history, which takes a millisecond or two for two weeks of slots, so it runs once in many steps, not in
// each.
//
//   P1. Every figure is finite. The label of a series that is too short is UNKNOWN.
//   P2. A burst is what neither a season nor a trend explains: a peak that comes every hour is a season.
//   P3. Independent events, however rare, are never called bursts.

import type { Pattern as Label } from '../../../schemas/records.ts';
import type { History } from './history.ts';
import { periodicityOf, SAME_SHARE, type Season } from './periodicity.ts';

export interface Pattern {
  readonly label: Label;
  /** Index of dispersion of the recent counts per step: variance over mean; 1 for independent events. */
  readonly dispersion: number;
  readonly peakToMean: number;
  /** In steps, the shortest first. */
  readonly seasons: readonly Season[];
  /** Change of the rate over one season, as a share of its mean. */
  readonly trendPerSeason: number;
  /** How many standard deviations the trend is from zero. */
  readonly trendSignificance: number;
  /** Steps since the present regime began (regime.ts); 0 when it never changed. */
  readonly changedSteps: number;
}

export const UNKNOWN_PATTERN: Pattern = {
  label: 'UNKNOWN',
  dispersion: 0,
  peakToMean: 0,
  seasons: [],
  trendPerSeason: 0,
  trendSignificance: 0,
  changedSteps: 0,
};

/** With fewer steps the label is UNKNOWN. */
const STEPS_MIN = 30;
/** At most this many steps and slots are read: short seasons show within hours, and a week shows twice in two weeks. */
const STEPS_READ = 1_024;
const SLOTS_READ = 4_096;
/** An hour is a known season: clients that report at fixed minutes do so every hour. */
const HOURS = 24;
/** From this many slots on the trend is computed from slots, not from steps. */
const SLOTS_MIN = 48;
/** A peak of five times the expected rate, or errors as large as the mean, is a burst... */
const BURST_RATIO = 5;
const BURST_VARIATION = 1;
/** ...unless the events may be independent, which would have a dispersion of one. */
const BURST_DISPERSION_MIN = 2;
/** Number of blocks whose means give the trend. */
const TREND_BLOCKS = 32;
const TREND_DEVIATIONS_MIN = 3;
/** Least change over all that is read, as a share of the mean, that counts as a trend. */
const TREND_SHARE_MIN = 0.25;

export function patternOf(history: History): Pattern {
  const { stepMs, slotSteps } = history.grid;
  const changedSteps = history.regime > 0 ? history.end - history.regime : 0;
  if (Math.max(history.end - history.begin, history.seen) < STEPS_MIN) return { ...UNKNOWN_PATTERN, changedSteps };
  const fine = slotSteps > 1 ? [viewOf(history, stepsOf(history), 1)] : [];
  const coarse = viewOf(history, slotsOf(history), slotSteps);
  const views = [...fine, coarse];
  const mean = Math.max(...views.map((view) => view.mean));
  if (!(mean > 0)) return { ...UNKNOWN_PATTERN, label: 'CONSISTENT', changedSteps };
  const trend = trendOf(history, coarse.rates.length >= SLOTS_MIN ? coarse : views[0]!);
  // Steps and slots show the same seasons, slots less precisely.
  const seasons = [...(fine[0]?.seasons ?? [])];
  for (const season of coarse.seasons)
    if (!seasons.some(({ steps }) => Math.abs(season.steps - steps) < SAME_SHARE * steps)) seasons.push(season);
  seasons.sort((a, b) => a.steps - b.steps);
  const words: Label[] = [];
  if (views.some((view) => isBursty(view, mean, stepMs / 1000))) words.push('BURSTY');
  if (seasons.length > 0) words.push('PERIODIC');
  if (trend.deviations >= TREND_DEVIATIONS_MIN && Math.abs(trend.share) >= TREND_SHARE_MIN) words.push('TRENDING');
  return {
    label: words.length === 0 ? 'CONSISTENT' : words.length === 1 ? words[0]! : 'MIXED',
    dispersion: dispersionOf(views[0]!) * (stepMs / 1000),
    peakToMean: Math.max(...views.map((view) => view.peak)) / mean,
    seasons,
    trendPerSeason: trend.perStep * history.grid.season,
    trendSignificance: trend.deviations,
    changedSteps,
  };
}

/** The newest part of a history, in steps or in slots. */
interface View {
  readonly logs: Float64Array;
  readonly rates: Float64Array;
  /** What was expected of each: the mean of its season, plus the straight line through all values. */
  readonly expected: Float64Array;
  /** The seasons' part of each log. */
  readonly shape: Float64Array;
  readonly mean: number;
  readonly peak: number;
  /** Width of one value in steps; `seasons` are in steps too. */
  readonly width: number;
  readonly seasons: readonly Season[];
}

function viewOf(history: History, logs: Float64Array, width: number): View {
  const { season, longSeason } = history.grid;
  const hour = season / HOURS;
  const known = [hour, season, longSeason].map((steps) => steps / width).filter(Number.isInteger);
  const { seasons, shape, rest } = periodicityOf(logs, known);
  const rates = logs.map((log) => history.rateOf(log));
  return {
    logs,
    rates,
    expected: logs.map((log, i) => history.rateOf(Math.max(0, log - rest[i]!))),
    shape,
    mean: rates.length === 0 ? 0 : rates.reduce((sum, rate) => sum + rate, 0) / rates.length,
    peak: rates.reduce((most, rate) => Math.max(most, rate), 0),
    width,
    seasons: seasons.map(({ steps, correlation }) => ({ steps: steps * width, correlation })),
  };
}

/** Logs of the newest steps that are held one by one. */
function stepsOf(history: History): Float64Array {
  const first = Math.max(history.nearBegin, history.end - STEPS_READ);
  const logs = new Float64Array(history.end - first);
  for (let i = 0; i < logs.length; i++) logs[i] = history.near(first + i);
  return logs;
}

/** Logs of the newest slots that are over; a hole takes the value of a season before. */
function slotsOf(history: History): Float64Array {
  const { slotSteps } = history.grid;
  const end = Math.floor(history.end / slotSteps);
  const first = Math.max(Math.floor(history.begin / slotSteps), end - SLOTS_READ);
  const logs = new Float64Array(Math.max(0, end - first));
  for (let i = 0; i < logs.length; i++) {
    const log = history.slot(first + i);
    logs[i] = Number.isNaN(log) ? history.far((first + i) * slotSteps) : log;
  }
  return logs;
}

/** P2, P3. */
function isBursty({ rates, expected, width }: View, mean: number, stepSeconds: number): boolean {
  let ratio = 0;
  let square = 0;
  for (let i = 0; i < rates.length; i++) {
    ratio = Math.max(ratio, rates[i]! / Math.max(mean, expected[i]!));
    square += (rates[i]! - expected[i]!) ** 2 / rates.length;
  }
  return (
    (ratio >= BURST_RATIO || Math.sqrt(square) >= BURST_VARIATION * mean) &&
    (square / mean) * width * stepSeconds >= BURST_DISPERSION_MIN
  );
}

/** Variance over mean of the rates. */
function dispersionOf({ rates, mean }: View): number {
  if (rates.length < 2 || !(mean > 0)) return 0;
  return rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / (rates.length - 1) / mean;
}

interface Trend {
  /** Change over the whole view, and over one step, as shares of the mean. */
  readonly share: number;
  readonly perStep: number;
  readonly deviations: number;
}

/**
 * The slope of Theil (1950) and Sen (1968) through the means of blocks without their seasons, and the significance of
 * the rank correlation with time (Mann, 1945; Kendall), with its variance corrected for the correlation of neighbouring
 * blocks (Hamed and Rao, 1998; ours uses the lag-one correlation alone).
 */
function trendOf(history: History, { logs, shape, width }: View): Trend {
  const blocks = Math.min(TREND_BLOCKS, logs.length);
  const means: number[] = [];
  for (let b = 0; b < blocks; b++) {
    const [from, to] = [b, b + 1].map((edge) => Math.floor((edge * logs.length) / blocks)) as [number, number];
    let sum = 0;
    for (let i = from; i < to; i++) sum += logs[i]! - shape[i]!;
    means.push(history.rateOf(Math.max(0, sum / (to - from))));
  }
  const slopes: number[] = [];
  let signs = 0;
  for (let b = 1; b < blocks; b++)
    for (let a = 0; a < b; a++) {
      slopes.push((means[b]! - means[a]!) / (b - a));
      signs += Math.sign(means[b]! - means[a]!);
    }
  const slope = medianOf(slopes);
  const mean = means.reduce((sum, each) => sum + each, 0) / blocks;
  if (!(mean > 0)) return { share: 0, perStep: 0, deviations: 0 };
  const level = medianOf(means.map((each, b) => each - slope * b));
  const kept = Math.max(0, lagOne(means.map((each, b) => each - level - slope * b)));
  const variance = ((blocks * (blocks - 1) * (2 * blocks + 5)) / 18) * ((1 + kept) / Math.max(1 - kept, 1 / blocks));
  return {
    share: (slope * blocks) / mean,
    perStep: (slope * blocks) / (logs.length * width) / mean,
    deviations: Math.abs(signs) / Math.sqrt(variance),
  };
}

function medianOf(values: readonly number[]): number {
  return Float64Array.from(values).sort()[values.length >> 1] ?? 0;
}

/** Lag-one autocorrelation. */
function lagOne(values: readonly number[]): number {
  let products = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    squares += values[i]! ** 2;
    if (i > 0) products += values[i]! * values[i - 1]!;
  }
  return squares > 0 ? products / squares : 0;
}
