// Standing: the recent values of a series at a step, as its history has them: the newest logs, means of the last ones,
// and the same times on the days before. All spans are in seasons, so that steps of a minute and of an hour are read
// alike.

import type { History } from '../history/history.ts';

export interface Standing {
  step: number;
  /** True when a season before the step is held; otherwise the mean of the last steps is used in its place. */
  hasDay: boolean;
  hasWeek: boolean;
  now: number;
  last: number;
  lately: number;
  longer: number;
  /** Mean of the last season, and of the one before it. */
  day: number;
  dayBefore: number;
  /**
   * The usual day (mean of the seasons before) at this step, and the mean of the last few steps a day and a week ago.
   */
  usual: number;
  dayAgo: number;
  weekAgo: number;
  /** The longer mean a day ago. */
  dayAgoLonger: number;
  /** Steps in an hour, when an hour has a beat (clients that report at fixed minutes do so every hour); otherwise 0. */
  hour: number;
  /** Mean of the last `BEATS` hours. */
  hours: number;
}

/** Hours over which the beat is averaged. */
export const BEATS = 4;
/** With fewer steps in an hour, no beat is computed. */
const HOUR_STEPS_MIN = 4;

export const emptyStanding = (): Standing => ({
  step: -1,
  hasDay: false,
  hasWeek: false,
  now: 0,
  last: 0,
  lately: 0,
  longer: 0,
  day: 0,
  dayBefore: 0,
  usual: 0,
  dayAgo: 0,
  weekAgo: 0,
  dayAgoLonger: 0,
  hour: 0,
  hours: 0,
});

/** Reads nothing after `step`. */
export function readStanding(history: History, step: number, into: Standing): void {
  const { season, longSeason } = history.grid;
  const end = step + 1;
  const few = fewOf(season);
  const many = Math.min(48, season >> 1);
  into.step = step;
  into.hasDay = step - history.begin >= season + many;
  into.hasWeek = step - history.begin >= longSeason + few;
  into.now = history.near(step);
  into.last = history.seen > 1 && step > history.nearBegin ? history.near(step - 1) : into.now;
  into.lately = history.nearMean(Math.max(end - few, history.nearBegin), end);
  into.longer = history.nearMean(Math.max(end - many, history.nearBegin), end);
  into.day = history.farMean(Math.max(end - season, history.begin), end);
  if (into.hasDay) {
    const ago = end - season;
    into.usual = history.seasonal(step);
    into.dayAgo = history.farMean(ago - few, ago);
    into.dayAgoLonger = history.farMean(ago - many, ago);
    into.dayBefore = history.farMean(Math.max(ago - season, history.begin), ago);
  } else {
    into.usual = into.dayAgo = into.dayAgoLonger = into.longer;
    into.dayBefore = into.day;
  }
  const hour = season / 24;
  const hasBeat = hour >= HOUR_STEPS_MIN && Number.isInteger(hour) && step - history.nearBegin >= BEATS * hour;
  into.hour = hasBeat ? hour : 0;
  into.hours = hasBeat ? history.farMean(end - BEATS * hour, end) : 0;
  into.weekAgo = into.hasWeek ? history.farMean(end - longSeason - few, end - longSeason) : into.dayAgo;
}

/** A twenty-fourth of a season, but two to six steps. */
const fewOf = (season: number): number => Math.max(2, Math.min(6, Math.round(season / 24)));
