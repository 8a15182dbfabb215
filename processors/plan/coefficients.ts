// Coefficients: what a look-up, a write and a stored entry cost a store, learned from what stores measure beside the rates
// they were asked for. One recursive estimate for each kind of store and each resource: a Kalman filter whose coefficients
// walk at random (Ljung and Söderström, Theory and Practice of Recursive Identification, 1983), in operations of the
// catalogue.
//
//   K1. It begins at what the settings say, and stays within stated bounds of that: whatever a store measures.
//   K2. A store that a move or a resize disturbs teaches nothing, nor does one for a while after it: copying costs it what
//       no subscriber asked for.
//   K3. An operation costs what it costs the scarcer resource: a shard planned by that is short of neither.
//   K4. One measurement changes little: what is far from the expected counts as far as three deviations, and is taken to
//       be so noisy that it moves no coefficient by more than a tenth of its first deviation. A store at its limit only
//       says that it is asked for more.

import type { StoreKind } from '../../schemas/records.ts';
import { type Catalog, typesOfKind } from './catalog.ts';
import type { CostCoefficients } from './settings.ts';

/** In operations of the catalogue. */
export interface OperationCosts {
  readonly lookup: number;
  readonly write: number;
  /** Of one stored entry, in each second: what a store does by itself grows with what it holds. */
  readonly entry: number;
}

export type Costs = Readonly<Record<StoreKind, OperationCosts>>;

/** A state of knowledge: the coefficients of `OperationCosts` in order, and how uncertain they are. */
export interface Estimate {
  coefficients: number[];
  /** Row-major. */
  covariance: number[];
}

/** By resource; one that no store has measured is absent. */
export interface Learned {
  cpu?: Estimate;
  iops?: Estimate;
}

/** What a store was asked for, and how much of it that took. */
export interface Lesson {
  readonly lookupsPerSecond: number;
  readonly writesPerSecond: number;
  readonly entries: number;
  /** Of an instance: operations per second at full load. */
  readonly operationsPerSecond: number;
  readonly shares: Readonly<Record<keyof Learned, number | undefined>>;
}

/** What is known before anything is measured. */
export function priorCosts(kind: StoreKind, settings: CostCoefficients): OperationCosts {
  const lookup = kind === 'TRIE' ? settings.operationsPerWildcardLookup : settings.operationsPerConcreteLookup;
  return { lookup, write: settings.operationsPerWrite, entry: 0 };
}

/** What operations cost by all that was learned (K3). */
export function costsOf(kind: StoreKind, learned: Learned, settings: CostCoefficients): OperationCosts {
  const known = [learned.cpu, learned.iops].filter((estimate) => estimate !== undefined);
  if (known.length === 0) return priorCosts(kind, settings);
  const [lookup, write, entry] = [0, 1, 2].map((i) => Math.max(...known.map(({ coefficients }) => coefficients[i]!)));
  return { lookup: lookup!, write: write!, entry: entry! };
}

/** Takes one lesson in, for each resource that was measured. */
export function learn(
  learned: Learned,
  kind: StoreKind,
  lesson: Lesson,
  settings: CostCoefficients,
  catalog: Catalog,
): void {
  const bounds = boundsOf(kind, settings, catalog);
  const { lookupsPerSecond, writesPerSecond, entries, operationsPerSecond } = lesson;
  const asked = [lookupsPerSecond, writesPerSecond, entries].map((amount) => amount / operationsPerSecond);
  if (!asked.every((amount) => Number.isFinite(amount) && amount >= 0)) return;
  for (const resource of ['cpu', 'iops'] as const) {
    const share = lesson.shares[resource];
    if (share === undefined || !(share >= 0 && share <= SHARE_MAX)) continue;
    learned[resource] ??= { coefficients: bounds.map(({ prior }) => prior), covariance: diagonal(bounds) };
    update(learned[resource], asked, Math.min(share, 1), bounds);
  }
}

interface Bounds {
  readonly prior: number;
  readonly least: number;
  readonly most: number;
  /** How far off the prior may be: one deviation. */
  readonly deviation: number;
}

/** Being short costs more than having too much, so less is believed of what costs less than was said. */
const LEAST_FACTOR = 0.5;
const MOST_FACTOR = 8;
/** What a full store does by itself is at most half of what it can do. */
const ENTRIES_SHARE_MAX = 0.5;
/** Of a measured share, from one minute to the next; generous, as rates and shares are not of the very same seconds. */
const NOISE = 0.05;
/** Of a coefficient's first deviation, from lesson to lesson: about one in a week of minutes. */
const DRIFT = 0.01;
/** A share above it is no share; a little above 1 is a rounded one. */
const SHARE_MAX = 1.5;
/** From here on a store may be asked for more than it says (K4). */
const FULL = 0.95;
const SURPRISE_MAX = 3;
/** Of a coefficient's first deviation, by one measurement. */
const MOVE_MAX = 0.1;

function boundsOf(kind: StoreKind, settings: CostCoefficients, catalog: Catalog): Bounds[] {
  const { lookup, write } = priorCosts(kind, settings);
  const around = (prior: number): Bounds => ({
    prior,
    least: prior * LEAST_FACTOR,
    most: prior * MOST_FACTOR,
    deviation: prior,
  });
  const perEntry = typesOfKind(catalog, kind).map((type) => type.operationsPerSecond / type.entriesMax);
  const most = ENTRIES_SHARE_MAX * Math.min(...perEntry);
  return [around(lookup), around(write), { prior: 0, least: 0, most, deviation: most / 4 }];
}

function diagonal(bounds: readonly Bounds[]): number[] {
  const size = bounds.length;
  const covariance = Array<number>(size * size).fill(0);
  for (const [i, { deviation }] of bounds.entries()) covariance[i * size + i] = deviation ** 2;
  return covariance;
}

/** One step of the filter: `share` = sum of coefficients x asked, and noise. */
function update(estimate: Estimate, asked: readonly number[], share: number, bounds: readonly Bounds[]): void {
  const { coefficients, covariance } = estimate;
  const size = coefficients.length;
  for (const [i, { deviation }] of bounds.entries()) {
    const at = i * size + i;
    covariance[at] = Math.min(covariance[at]! + (DRIFT * deviation) ** 2, deviation ** 2);
  }
  const spread = asked.map((_, i) => asked.reduce((sum, amount, j) => sum + covariance[i * size + j]! * amount, 0));
  const usual = asked.reduce((sum, amount, i) => sum + amount * spread[i]!, NOISE ** 2);
  const expected = asked.reduce((sum, amount, i) => sum + amount * coefficients[i]!, 0);
  if (share >= FULL && expected > share) return; // K4
  const limit = SURPRISE_MAX * Math.sqrt(usual);
  const surprise = Math.min(limit, Math.max(-limit, share - expected));
  const moves = bounds.map(({ deviation }, i) =>
    deviation > 0 ? Math.abs(spread[i]! * surprise) / (MOVE_MAX * deviation) : 0,
  );
  const variance = Math.max(usual, ...moves);
  for (let i = 0; i < size; i++) {
    const { least, most } = bounds[i]!;
    const learned = coefficients[i]! + (spread[i]! / variance) * surprise;
    coefficients[i] = Math.min(most, Math.max(least, learned)); // K1
    for (let j = 0; j < size; j++) covariance[i * size + j]! -= (spread[i]! * spread[j]!) / variance;
  }
}
