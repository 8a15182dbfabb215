// ARIMA and SARIMA (Box and Jenkins, 1970) of logarithms, fitted by the `arima` library. Which series the process
// models is part of the choice: the log itself, with a seasonal part where a day has few enough steps to fit one; the
// log less the mean of the days before; or the log less the same step of the week before, which is a seasonal
// difference of any length. Among a few orders, the one with the smallest error over a held-out tail wins (Hyndman and
// Khandakar, 2008, choose by AICc; a tail also judges the recursion that we make of the fit).
//
// The library does not expose its coefficients, but its forecasts are linear in the series. Its forecast after zeros
// and a one gives the weights psi of the moving average; the weights pi of the auto-regression follow by dividing power
// series, pi(B) = 1 - 1 / psi(B). Only the weights pi are kept: a forecast is a recursion over as many of the last
// values as there are weights.
//
//   A1. Weights that let a deviation grow beyond PSI_MAX times itself are not kept.
//   A2. A forecast is at most RISE_MAX above the highest log lately seen.

import ARIMA from 'arima';
import type { History } from '../history/history.ts';
import { type Model, type Parameters, stateless } from '../model.ts';

interface Orders {
  readonly p: number;
  readonly d: number;
  readonly q: number;
  readonly P?: number;
  readonly D?: number;
  readonly Q?: number;
}

const ORDERS: readonly Orders[] = [
  { p: 2, d: 1, q: 1 },
  { p: 2, d: 0, q: 1 },
];
/** Order of a process of the log itself. */
const SEASONAL_ORDER: Orders = { p: 2, d: 0, q: 0, P: 1, D: 1, Q: 0 };
/**
 * A day in steps of half an hour: for longer seasons the library takes minutes, and a series would need too many
 * weights.
 */
const SEASON_MAX = 48;
/** With fewer samples a fit does not hold outside them. */
const SAMPLES_MIN = 120;
const SAMPLES_MAX = 1_008;
/** Fitting method of Box and Jenkins: with a season, a hundredth of the time of exact likelihood, and as good. */
const METHOD = 2;
/** Share of the samples held out to judge the orders. */
const TAIL_SHARE = 0.2;
/** Orders are judged by all steps up to two thirds of a season ahead, and at most this many. */
const TAIL_AHEAD_MAX = 48;
const TAIL_AHEAD_SEASON = 2 / 3;
/** About this many forecasts of the tail are judged. */
const TAIL_ORIGINS = 40;
/** Number of weights of a process without a season, and number of seasons of weights for one with a season. */
const LAGS = 32;
const LAG_SEASONS = 4;
/** Fewest samples for each weight. */
const FITTED_PER_LAG = 2;
/** Weights of a differenced process sum to one; a process whose weights within the lags sum to less is dropped. */
const SUM_MIN = 0.5;
/** Most steps that the recursion runs; further ahead the deviation stays as it is there. */
const RECURSION_MAX = 64;
/** Deviations smaller than this are rounding errors. */
const SCALE_MIN = 1e-3;
const PSI_MAX = 3;
const RISE_MAX = 1;
/** What the process is relative to: nothing, the mean of the seasons before, or the long season before. */
const ITSELF = 0;
const SEASON = 1;
const LONG_SEASON = 2;
/** Parameters: what the process is relative to, the intercept, then the weights, the newest value's first. */
const BESIDE = 0;
const INTERCEPT = 1;
const WEIGHTS = 2;

export const arima: Model = {
  ...stateless,
  name: 'arima',
  fitEvery: (grid) => Math.max(24, grid.season),
  ready: (history, _state, parameters) => parameters.length > 0 && history.seen > parameters.length - WEIGHTS,
  fit(history) {
    const steps = Math.min(history.end - history.nearBegin, history.seen, SAMPLES_MAX);
    if (steps < SAMPLES_MIN) return undefined;
    const { season, longSeason } = history.grid;
    const tailSteps = Math.floor(steps * TAIL_SHARE);
    const aheadMax = Math.min(TAIL_AHEAD_MAX, Math.ceil(TAIL_AHEAD_SEASON * season));
    const tail = { steps: tailSteps, ahead: Math.min(aheadMax, tailSteps >> 1) };
    const logs = samplesOf(history, steps, ITSELF);
    const candidates: (Candidate | undefined)[] = [];
    for (const beside of [history.seasons >= 1 ? SEASON : ITSELF, LONG_SEASON]) {
      const known = Math.min(steps, history.end - history.begin - (beside === LONG_SEASON ? longSeason : 0));
      if (known <= 0) continue;
      const samples = beside === ITSELF ? logs : samplesOf(history, known, beside);
      for (const orders of ORDERS) candidates.push(candidateOf(samples, tail, beside, orders, 0));
    }
    if (season <= SEASON_MAX) candidates.push(candidateOf(logs, tail, ITSELF, SEASONAL_ORDER, season));
    let best: Candidate | undefined;
    for (const candidate of candidates)
      if (candidate !== undefined && !(candidate.error >= (best?.error ?? Number.POSITIVE_INFINITY))) best = candidate;
    return best?.parameters;
  },
  forecast(history, _state, parameters, ahead, into) {
    const beside = parameters[BESIDE]!;
    const lags = parameters.length - WEIGHTS;
    const furthest = Math.min(ahead.at(-1) ?? 0, RECURSION_MAX);
    const path = new Float64Array(lags + furthest); // The oldest first.
    for (let i = 0; i < lags; i++) path[i] = sampleOf(history, history.end - lags + i, beside);
    goOn(parameters, path, lags);
    for (let i = 0; i < ahead.length; i++) {
      const log = path[lags + Math.min(ahead[i]!, RECURSION_MAX) - 1]!;
      const usual = usualOf(history, history.step + ahead[i]!, beside);
      into[i] = Math.min(Math.max(log + usual, 0), history.peak + RISE_MAX); // A2
    }
  },
};

/** The last steps of the samples, held out of the fit, and how far ahead each forecast of them goes. */
interface Tail {
  readonly steps: number;
  readonly ahead: number;
}

interface Candidate {
  readonly parameters: Parameters;
  /** Mean absolute error over the tail. */
  readonly error: number;
}

function candidateOf(
  samples: Float64Array,
  tail: Tail,
  beside: number,
  orders: Orders,
  season: number,
): Candidate | undefined {
  const fitted = samples.length - tail.steps;
  const lags = season > 0 ? LAG_SEASONS * season : LAGS;
  if (fitted < FITTED_PER_LAG * lags) return undefined;
  const parameters = parametersOf(samples.subarray(0, fitted), lags, beside, orders, season);
  if (parameters === undefined) return undefined;
  const error = tailError(parameters, samples, tail);
  return Number.isFinite(error) ? { parameters, error } : undefined;
}

function parametersOf(
  samples: Float64Array,
  lags: number,
  beside: number,
  orders: Orders,
  season: number,
): Parameters | undefined {
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
  const scale = samples.reduce((most, sample) => Math.max(most, Math.abs(sample - mean)), 0);
  if (!(scale > SCALE_MIN)) return undefined; // Nothing but the season to fit.
  const process = processOf(
    Array.from(samples, (sample) => (sample - mean) / scale),
    orders,
    season,
    lags,
  );
  if (process === undefined) return undefined;
  const weights = weightsOf(process.psi);
  let sum = weights.reduce((total, weight) => total + weight, 0);
  if (orders.d + (orders.D ?? 0) > 0) {
    if (!(sum > SUM_MIN)) return undefined;
    for (let k = 0; k < lags; k++) weights[k]! /= sum;
    sum = 1;
  }
  const parameters = Float32Array.of(beside, process.constant * scale + mean * (1 - sum), ...weights);
  return isStable(parameters) ? parameters : undefined;
}

/**
 * The library's fit: its constant, and psi 1, 2, ...; `undefined` when it throws or returns numbers that are not
 * finite.
 */
function processOf(
  samples: number[],
  orders: Orders,
  season: number,
  lags: number,
): { readonly constant: number; readonly psi: Float64Array } | undefined {
  const fitted = new ARIMA({ ...orders, s: season, method: METHOD, verbose: false });
  try {
    fitted.train(samples);
    const series = new Float64Array(samples.length);
    fitted.ts = new Uint8Array(series.buffer);
    const [rest] = fitted.predict(lags);
    series[samples.length - 1] = 1;
    const [struck] = fitted.predict(lags);
    const psi = Float64Array.from(struck, (value, k) => value - rest[k]!);
    return psi.every(Number.isFinite) && Number.isFinite(rest[0]) ? { constant: rest[0]!, psi } : undefined;
  } catch {
    return undefined; // Its compiled code traps on some series.
  } finally {
    fitted.destroy();
  }
}

/** pi from psi: pi(k) = psi(k) - sum of pi(j) psi(k - j) over 0 < j < k. */
function weightsOf(psi: Float64Array): Float64Array {
  const weights = new Float64Array(psi.length);
  for (let k = 0; k < psi.length; k++) {
    weights[k] = psi[k]!;
    for (let j = 0; j < k; j++) weights[k]! -= weights[j]! * psi[k - 1 - j]!;
  }
  return weights;
}

/** A1. */
function isStable(parameters: Parameters): boolean {
  const lags = parameters.length - WEIGHTS;
  const path = new Float64Array(lags + RECURSION_MAX);
  path[lags - 1] = 1;
  const struck = parameters.slice();
  struck[INTERCEPT] = 0;
  goOn(struck, path, lags);
  return path.every((value) => Math.abs(value) <= PSI_MAX);
}

function tailError(parameters: Parameters, samples: Float64Array, { steps, ahead }: Tail): number {
  const lags = parameters.length - WEIGHTS;
  const path = new Float64Array(lags + ahead);
  const stride = Math.max(1, Math.floor((steps - ahead) / TAIL_ORIGINS));
  let sum = 0;
  let count = 0;
  for (let origin = samples.length - steps; origin + ahead <= samples.length; origin += stride) {
    path.set(samples.subarray(origin - lags, origin));
    goOn(parameters, path, lags);
    for (let k = 0; k < ahead; k++) sum += Math.abs(path[lags + k]! - samples[origin + k]!);
    count += ahead;
  }
  return sum / count;
}

/** Fills `path` from index `from` on, each value from those before it. */
function goOn(parameters: Parameters, path: Float64Array, from: number): void {
  for (let at = from; at < path.length; at++) {
    let next = parameters[INTERCEPT]!;
    for (let k = WEIGHTS; k < parameters.length; k++) next += parameters[k]! * path[at + 1 - k]!;
    path[at] = next;
  }
}

function samplesOf(history: History, steps: number, beside: number): Float64Array {
  const first = history.end - steps;
  return Float64Array.from({ length: steps }, (_, i) => sampleOf(history, first + i, beside));
}

const sampleOf = (history: History, step: number, beside: number): number =>
  history.near(step) - usualOf(history, step, beside);

function usualOf(history: History, step: number, beside: number): number {
  if (beside === SEASON) return history.seasonal(step);
  const { longSeason } = history.grid;
  return beside === LONG_SEASON
    ? history.far(step - longSeason * Math.max(1, Math.ceil((step - history.step) / longSeason)))
    : 0;
}
