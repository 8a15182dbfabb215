// Regime: since when a series has behaved as it does now. After a host was moved, a job has stopped for good, or a
// customer has grown to three times the size, the history before the change teaches the models the wrong thing, and
// counterparts from a week ago mislead.
//
//   R1. Days are compared as distributions of their slots' logs, by the Wasserstein distance (the mean distance
//       between their quantiles): neither the hour at which something happened nor one burst matters.
//   R2. A regime is new when each of its days is far from every day before: much farther than the earlier days usually
//       are from their nearest neighbour, and than the new days are from each other (the two-sample idea of Szekely and
//       Rizzo, 2004, with the least distance in place of the mean). So a weekend after weekends is nothing new, and
//       neither is one more day of steady growth.
//   R3. It takes several days, so that a flash crowd, a holiday or a long weekend is not taken for a new regime. One
//       day is enough when nearly all of its slots have risen far above those of the same time on every day before:
//       waiting would be costly.

import type { History } from './history.ts';

/** Days of a new regime before it is recognised: a long weekend is over by then. */
const NEW_DAYS_MIN = 4;
const NEW_DAYS_MAX = 6;
/** Days needed before it: fewer may not contain a weekend. */
const OLD_DAYS_MIN = 5;
const OLD_DAYS_MAX = 21;
/**
 * Least distance of a new regime: in logs, in distances among its own days, and in usual distances among the days
 * before. Where days usually differ from each other the models already follow changes, and their history is worth more
 * than a cut.
 */
const AWAY_MIN = 0.25;
const AWAY_UNLIKE = 3;
const AWAY_USUAL = 10;
/**
 * The usual distance of older days: this quantile of their distances to the nearest one; what happens once in five days
 * is usual.
 */
const USUAL_SHARE = 0.8;
const QUANTILES = 16;
/** A day with a smaller share of its slots known is not used. */
const KNOWN_MIN = 0.75;
/** A rise, in logs: nine of ten slots by a factor of at least 1.65. */
const RISE_MIN = 0.5;
const RISEN_SHARE = 0.9;
/** Days needed before a rise: one or two do not tell what is usual. */
const RISEN_FROM_MIN = 3;
/** Looks in a day: with eight, one of them falls near the boundary between two whole days. */
const LOOKS = 8;
/** Number of places in a day at which the time of a change is searched. */
const EDGES_IN_DAY = 48;

/** Steps between two looks. */
export const lookEvery = (season: number): number => Math.max(1, Math.floor(season / LOOKS));

/** The step at which the present regime began; `undefined` when no change is found in the history. */
export function regimeBegin(history: History): number | undefined {
  const { season, slotSteps } = history.grid;
  const end = history.end - (history.end % slotSteps);
  // A whole day is kept, though its first hours may be of the old regime: with less the seasonal models could not
  // forecast.
  if (hasRisen(history)) return end - season;
  const recent = daysOf(history, NEW_DAYS_MAX + 1);
  for (let days = NEW_DAYS_MIN; days < recent.length; days++) {
    if (distance(recent[days - 1]!, recent[days]!) < AWAY_MIN) continue;
    const all = daysOf(history, days + OLD_DAYS_MAX);
    if (isApart(all.slice(0, days), all.slice(days))) return edgeNear(history, end - days * season);
  }
  return undefined;
}

/** R3: compares the last day with each of the week before. */
function hasRisen(history: History): boolean {
  const { season, longSeason, slotSteps } = history.grid;
  const slots = season / slotSteps;
  const end = Math.floor(history.end / slotSteps);
  const oldest = Math.max(Math.ceil(history.begin / slotSteps), end - slots - longSeason / slotSteps);
  const days = Math.floor((end - oldest) / slots) - 1;
  if (days < RISEN_FROM_MIN) return false;
  for (let day = 1; day <= days; day++) {
    let left = Math.floor((1 - RISEN_SHARE) * slots);
    for (let slot = end - slots; slot < end; slot++)
      if (!(history.slot(slot) - history.slot(slot - day * slots) >= RISE_MIN) && --left < 0) return false;
  }
  return true;
}

/** The place within half a day of `step` where the day before and the day after differ most. */
function edgeNear(history: History, step: number): number {
  const { season, slotSteps } = history.grid;
  const stride = Math.max(1, Math.floor(season / EDGES_IN_DAY / slotSteps)) * slotSteps;
  let best = step;
  let most = 0;
  for (let edge = step - (season >> 1); edge <= step + (season >> 1); edge += stride) {
    const before = quantilesOf(history, edge - season);
    const after = quantilesOf(history, edge);
    const apart = before === undefined || after === undefined ? 0 : distance(before, after);
    if (apart <= most) continue;
    most = apart;
    best = edge;
  }
  return best;
}

/** Quantiles of each of the last days, the newest first, up to the first day that is not known. */
function daysOf(history: History, count: number): Float64Array[] {
  const { season, slotSteps } = history.grid;
  const end = history.end - (history.end % slotSteps);
  const days: Float64Array[] = [];
  for (let day = 1; day <= count; day++) {
    const quantiles = quantilesOf(history, end - day * season);
    if (quantiles === undefined) break;
    days.push(quantiles);
  }
  return days;
}

/** Quantiles of the logs of the day that begins at `step`; `undefined` when too few of its slots are known. */
function quantilesOf(history: History, step: number): Float64Array | undefined {
  if (step < history.begin) return undefined;
  const { season, slotSteps } = history.grid;
  const first = Math.floor(step / slotSteps);
  const logs = new Float64Array(season / slotSteps);
  let known = 0;
  for (let slot = first; slot < first + logs.length; slot++) {
    const log = history.slot(slot);
    if (!Number.isNaN(log)) logs[known++] = log;
  }
  if (known < KNOWN_MIN * logs.length) return undefined;
  const sorted = logs.subarray(0, known).sort();
  const quantiles = new Float64Array(QUANTILES);
  for (let q = 0; q < QUANTILES; q++) quantiles[q] = sorted[Math.floor(((q + 0.5) * known) / QUANTILES)]!;
  return quantiles;
}

/** R2: whether the recent days are a new regime. */
function isApart(recent: readonly Float64Array[], old: readonly Float64Array[]): boolean {
  if (old.length < OLD_DAYS_MIN) return false;
  const away = Math.min(...recent.map((day) => nearestOf(day, old)));
  const nearest = old.map((day) => nearestOf(day, old)).sort((a, b) => a - b);
  const usual = nearest[Math.floor(USUAL_SHARE * (nearest.length - 1))]!;
  const pairs = recent.flatMap((day, i) => recent.slice(i + 1).map((other) => distance(day, other)));
  const unlike = pairs.reduce((sum, each) => sum + each, 0) / pairs.length;
  return away >= Math.max(AWAY_MIN, AWAY_UNLIKE * unlike, AWAY_USUAL * usual);
}

/** Distance to the nearest of `others`, itself excluded. */
function nearestOf(day: Float64Array, others: readonly Float64Array[]): number {
  let least = Number.POSITIVE_INFINITY;
  for (const other of others) if (other !== day) least = Math.min(least, distance(day, other));
  return least;
}

function distance(day: Float64Array, other: Float64Array): number {
  let sum = 0;
  for (let q = 0; q < QUANTILES; q++) sum += Math.abs(day[q]! - other[q]!);
  return sum / QUANTILES;
}
