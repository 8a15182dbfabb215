// Inputs: what the cell reads of each closed step. They are differences of logarithms divided by the series' own
// spread, so that one network serves a series of any rate; further inputs tell how rough and how regular the series is,
// and how long its steps are. The time of day is not an input: noon means something else in each series. The usual day
// carries that information.
//
//   X1. Every input is finite and within -CLIP .. CLIP.
//   X2. An input that the series is too young for is 0.

import type { Grid } from '../grid.ts';
import type { Standing } from './standing.ts';

/**
 * Number of running means of a series: spread, roughness, distance to yesterday and to last week, and the steps
 * counted.
 */
export const SUMS = 5;
export const SPREAD = 0;
const ROUGHNESS = 1;
const DAILY = 2;
const WEEKLY = 3;
export const SEEN = 4;

/** In spreads: larger inputs are clipped to this. */
const CLIP = 4;
/** In logs: a series with a smaller spread counts as having this one. */
export const SPREAD_MIN = 0.05;
/** Five-minute steps in a day: the middle of the range of seasons, where this input is 0. */
const SEASON_MIDDLE = 288;

/** Updates the running means with a step, and writes the step's inputs. */
export function writeInputs(standing: Standing, grid: Grid, sums: Float64Array, into: Float64Array): void {
  const { now, last, lately, longer, day, usual, dayAgo, weekAgo, hasDay, hasWeek } = standing;
  sums[SEEN]! += 1;
  const gain = Math.max(1 / grid.season, 1 / sums[SEEN]!);
  follow(sums, SPREAD, Math.abs(now - day), gain);
  follow(sums, ROUGHNESS, Math.abs(now - last), gain);
  follow(sums, DAILY, hasDay ? Math.abs(lately - dayAgo) : sums[SPREAD]!, gain);
  follow(sums, WEEKLY, hasWeek ? Math.abs(lately - weekAgo) : sums[DAILY]!, gain);
  const spread = Math.max(sums[SPREAD]!, SPREAD_MIN);
  into[0] = clipped((now - last) / spread);
  into[1] = clipped((now - lately) / spread);
  into[2] = clipped((lately - longer) / spread);
  into[3] = clipped((now - day) / spread);
  into[4] = hasDay ? clipped((now - usual) / spread) : 0;
  into[5] = hasDay ? clipped((lately - dayAgo) / spread) : 0;
  into[6] = hasWeek ? clipped((lately - weekAgo) / spread) : 0;
  into[7] = hasDay ? clipped((day - standing.dayBefore) / spread) : 0;
  into[8] = clipped(sums[ROUGHNESS]! / spread);
  into[9] = hasDay ? clipped(sums[DAILY]! / spread) : 0;
  into[10] = hasWeek ? clipped(sums[WEEKLY]! / spread) : 0;
  into[11] = clipped(Math.log(spread));
  into[12] = clipped(Math.log(grid.season / SEASON_MIDDLE));
  into[13] = hasDay ? 1 : 0;
  into[14] = hasWeek ? 1 : 0;
  into[15] = clipped(day / 2);
}

function follow(sums: Float64Array, at: number, value: number, gain: number): void {
  sums[at]! += gain * (value - sums[at]!);
}

const clipped = (value: number): number => Math.min(Math.max(value, -CLIP), CLIP);
