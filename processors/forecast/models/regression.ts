// Direct regression on lags and the calendar: the present distance from the day and the week before, the recent
// movement, and the movement from this time of day to the target's on the days before. All columns are differences of
// logarithms, so that coefficients mean the same for every series whatever its rate. The ridge penalty holds the
// forecast towards its base: the usual shape of the day, shifted by the series' present distance from it, which fades
// with the distance ahead.

import type { Grid } from '../grid.ts';
import type { LogReader } from '../history/log-reader.ts';
import { direct, type Features } from './direct.ts';

/** Variants: the columns that a day of history allows, and those that a week allows. */
const DAY = 0;
const WEEK = 1;
const DAY_ORIGIN_WIDTH = 14;
const WEEK_ORIGIN_WIDTH = DAY_ORIGIN_WIDTH + 4;
const DAY_WIDTH = DAY_ORIGIN_WIDTH + 9;
const WEEK_WIDTH = WEEK_ORIGIN_WIDTH + 13;
/** Number of days whose mean is the usual shape of a day. */
const SHAPE_DAYS = [2, 5] as const;
/** Weights of the usual day, yesterday and a week ago in the base. */
const DAY_BASE = { usual: 0.6, yesterday: 0.4, week: 0 };
const WEEK_BASE = { usual: 0.4, yesterday: 0.2, week: 0.4 };
/** The present distance from the usual day fades by half in this fraction of a day. */
const FADES_IN_SEASON = 8;
/** Steps of a mean whose length does not depend on the season. */
const LONGER = 12;
/**
 * In the origin: the values from which a distance's columns are made, then the columns that are the same at each
 * distance.
 */
const NOW = 0;
const LATELY = 1;
const DAY_MEAN = 2;
const DAY_AGO = 3;
const USUAL_NOW = 4;
const WEEK_AGO = 5;
const HOURS = 6;
const COLUMNS = 7;
const ORIGIN_SIZE = COLUMNS + WEEK_ORIGIN_WIDTH;
const HOUR_STEPS_MIN = 4;
/** Number of hours over which the beat is averaged. */
const BEATS = 6;

const features: Features = {
  name: 'regression',
  variantOf(grid, begin, end) {
    const steps = end - begin;
    if (steps >= grid.longSeason + 2 * grid.season) return WEEK;
    return steps > grid.season ? DAY : undefined;
  },
  reach: (grid, variant) => (variant === WEEK ? grid.longSeason + grid.season : 2 * grid.season),
  width: (variant) => (variant === DAY ? DAY_WIDTH : WEEK_WIDTH),
  fitEvery: (grid) => Math.max(24, Math.ceil(grid.season / 3)),
  originSize: ORIGIN_SIZE,
  halfLife: ({ season }) => Math.max(3, season / FADES_IN_SEASON),
  fixed: (variant) => ({ from: COLUMNS, at: 0, count: variant === WEEK ? WEEK_ORIGIN_WIDTH : DAY_ORIGIN_WIDTH }),
  look,
  write,
};

export const regression = direct(features);

/** Steps of the windows that are averaged, from the narrowest to the widest. */
function windowsOf(season: number) {
  const hours = Math.round(season / 24);
  return {
    close: Math.max(1, Math.min(3, Math.round(season / 72))),
    few: Math.max(2, Math.min(6, hours)),
    wide: Math.max(2, Math.min(12, hours)),
    many: Math.min(48, season >> 1),
  };
}

const around = (reader: LogReader, at: number, steps: number, end: number): number =>
  reader.farMean(at - steps, Math.min(at + steps + 1, end));
const before = (reader: LogReader, at: number, steps: number): number => reader.farMean(at - steps + 1, at + 1);

function look(reader: LogReader, grid: Grid, variant: number, step: number, origin: Float64Array): void {
  const { season, longSeason } = grid;
  const { few, many } = windowsOf(season);
  const end = step + 1;
  const now = reader.near(step);
  const lately = reader.nearMean(end - few, end);
  const longer = reader.nearMean(end - LONGER, end);
  const longest = reader.nearMean(end - many, end);
  const day = reader.farMean(end - season, end);
  const back1 = reader.near(step - 1);
  const back2 = reader.near(step - 2);
  const dayAgo = step - season;
  const dayAgoLately = before(reader, dayAgo, few);
  const days = SHAPE_DAYS[variant]!;
  let usualNow = 0;
  let usualLongest = 0;
  for (let back = 0; back < days; back++) {
    usualNow += before(reader, dayAgo - back * season, few) / days;
    usualLongest += before(reader, dayAgo - back * season, many) / days;
  }
  origin[NOW] = now;
  origin[LATELY] = lately;
  origin[DAY_MEAN] = day;
  origin[DAY_AGO] = dayAgoLately;
  origin[USUAL_NOW] = usualNow;
  origin[HOURS] = reader.farMean(end - Math.max(1, Math.round((BEATS * season) / 24)), end);
  let i = COLUMNS;
  origin[i++] = now - day;
  origin[i++] = now - back1;
  origin[i++] = back1 - back2;
  origin[i++] = back2 - reader.near(step - 3);
  origin[i++] = now - lately;
  origin[i++] = lately - longer;
  origin[i++] = longer - longest;
  origin[i++] = now - reader.far(dayAgo);
  origin[i++] = lately - dayAgoLately;
  origin[i++] = longest - before(reader, dayAgo, many);
  origin[i++] = lately - usualNow;
  origin[i++] = longest - usualLongest;
  origin[i++] = day - before(reader, dayAgo, season);
  origin[i++] = day;
  if (variant !== WEEK) return;
  const weekAgo = step - longSeason;
  const weekAgoLately = before(reader, weekAgo, few);
  origin[WEEK_AGO] = weekAgoLately;
  origin[i++] = lately - weekAgoLately;
  origin[i++] = longest - before(reader, weekAgo, many);
  origin[i++] = day - before(reader, weekAgo, season);
  origin[i++] = now - reader.far(weekAgo);
}

function write(
  reader: LogReader,
  grid: Grid,
  variant: number,
  step: number,
  ahead: number,
  kept: number,
  origin: Float64Array,
  into: Float64Array,
): number {
  const { season, longSeason } = grid;
  const { close, wide } = windowsOf(season);
  const end = step + 1;
  const isWeek = variant === WEEK;
  const usualNow = origin[USUAL_NOW]!;
  const dayAgo = origin[DAY_AGO]!;
  const weekAgo = origin[WEEK_AGO]!;

  const target = step + ahead;
  const yesterday = target - season * Math.ceil(ahead / season);
  const days = SHAPE_DAYS[variant]!;
  const yesterdayNext = around(reader, yesterday, 1, end);
  const yesterdayWide = around(reader, yesterday, wide, end);
  const yesterdayClose = around(reader, yesterday, close, end);
  let usual = yesterdayNext / days;
  let usualWide = yesterdayWide / days;
  for (let back = 1; back < days; back++) {
    usual += around(reader, yesterday - back * season, 1, end) / days;
    usualWide += around(reader, yesterday - back * season, wide, end) / days;
  }

  let i = isWeek ? WEEK_ORIGIN_WIDTH : DAY_ORIGIN_WIDTH;
  into[i++] = yesterdayNext - dayAgo;
  into[i++] = usual - usualNow;
  into[i++] = usual - origin[DAY_MEAN]!;
  into[i++] = reader.far(yesterday) - yesterdayClose;
  into[i++] = yesterdayClose - yesterdayWide;
  into[i++] = usual - usualWide;
  into[i++] = yesterdayClose - usual;
  // The beat of the hour: clients that report at fixed minutes do so every hour.
  const hour = season / 24;
  into[i] = 0;
  into[i + 1] = 0;
  if (hour >= HOUR_STEPS_MIN && Number.isInteger(hour)) {
    const hourAgo = target - hour * Math.ceil(ahead / hour);
    const hourEnd = Math.min(hourAgo + (hour >> 1), end);
    let beat = 0;
    for (let back = 0; back < BEATS; back++) beat += reader.far(hourAgo - back * hour) / BEATS;
    into[i] = reader.far(hourAgo) - reader.farMean(hourAgo - (hour >> 1), hourEnd);
    into[i + 1] = beat - origin[HOURS]!;
  }
  i += 2;

  const shares = isWeek ? WEEK_BASE : DAY_BASE;
  let shape = shares.usual * usual + shares.yesterday * yesterdayNext;
  let shapeNow = shares.usual * usualNow + shares.yesterday * dayAgo;
  if (isWeek) {
    const lastWeek = target - longSeason * Math.ceil(ahead / longSeason);
    const lastWeekClose = around(reader, lastWeek, close, end);
    into[i++] = lastWeekClose - weekAgo;
    into[i++] = lastWeekClose - usual;
    into[i++] = reader.far(lastWeek) - lastWeekClose;
    into[i++] = lastWeekClose - around(reader, lastWeek, wide, end);
    shape += shares.week * lastWeekClose;
    shapeNow += shares.week * weekAgo;
  }
  // One step ahead the last step itself says most; further ahead the mean of a few steps does.
  const nearness = Math.min(1, 1.5 / (ahead + 0.5));
  const stands = nearness * origin[NOW]! + (1 - nearness) * origin[LATELY]!;
  return shape + kept * (stands - shapeNow);
}
