// Terms: the parts that a forecast is the sum of. Its base is a rule that needs no learning: the usual day, shifted by
// the series' present distance from it, which fades with the distance ahead. The network gives a coefficient for each
// term, a difference of logarithms, which is added to the base. The coefficients belong to a distance and the terms to
// one step: so the network is asked at a few distances and its coefficients are interpolated between them, while every
// step has its own counterparts on the days before. (A network that gives the coefficients of a simple model: Smyl,
// 2020; Rangapuram et al., 2018.)

import type { History } from '../history/history.ts';
import { BEATS, type Standing } from './standing.ts';

/** Weights of yesterday and a week ago in the base, beside the usual day; as in the direct regression. */
const DAY_BASE = { yesterday: 0.4, week: 0 };
const WEEK_BASE = { yesterday: 0.2, week: 0.4 };
/** The present distance from the usual day fades by half in this fraction of a day. */
const FADES_IN_SEASON = 8;

/**
 * Writes the terms of the forecast `ahead` steps from the standing; returns the base. `spread` is the unit of the bias
 * term.
 */
export function writeTerms(
  history: History,
  standing: Standing,
  spread: number,
  ahead: number,
  into: Float64Array,
  at = 0,
): number {
  const { season, longSeason } = history.grid;
  const { now, last, lately, longer, day, hasDay, hasWeek } = standing;
  const target = standing.step + ahead;
  let usual = longer;
  let yesterday = longer;
  if (hasDay) {
    usual = history.seasonal(target);
    const ago = target - season * Math.ceil(ahead / season);
    yesterday = history.farMean(ago - 1, Math.min(ago + 2, standing.step + 1));
  }
  let week = usual;
  if (hasWeek) {
    const ago = target - longSeason * Math.ceil(ahead / longSeason);
    week = history.farMean(ago - 1, Math.min(ago + 2, standing.step + 1));
  }
  into[at] = now - standing.usual;
  into[at + 1] = lately - standing.usual;
  into[at + 2] = longer - standing.dayAgoLonger;
  into[at + 3] = hasDay ? day - standing.dayBefore : 0;
  into[at + 4] = now - last;
  into[at + 5] = usual - day;
  into[at + 6] = usual - standing.usual;
  into[at + 7] = yesterday - usual;
  into[at + 8] = week - usual;
  into[at + 9] = hasWeek ? lately - standing.weekAgo : 0;
  into[at + 10] = beatOf(history, standing, ahead);
  into[at + 11] = spread;

  const shares = hasWeek ? WEEK_BASE : DAY_BASE;
  const shape = usual + shares.yesterday * (yesterday - usual) + shares.week * (week - usual);
  const shapeNow =
    standing.usual +
    shares.yesterday * (standing.dayAgo - standing.usual) +
    shares.week * (standing.weekAgo - standing.usual);
  // One step ahead the last step itself says most; further ahead the mean of a few steps does.
  const nearness = Math.min(1, 1.5 / (ahead + 0.5));
  const stands = nearness * now + (1 - nearness) * lately;
  return shape + 0.5 ** (ahead / Math.max(3, season / FADES_IN_SEASON)) * (stands - shapeNow);
}

/**
 * How far the target's minute of the hour was above or below the mean of its hour, averaged over the last few hours.
 */
function beatOf(history: History, { step, hour, hours }: Standing, ahead: number): number {
  if (hour === 0) return 0;
  let beat = 0;
  const ago = step + ahead - hour * Math.ceil(ahead / hour);
  for (let back = 0; back < BEATS; back++) beat += history.far(ago - back * hour);
  return beat / BEATS - hours;
}
