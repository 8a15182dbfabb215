// Standing: where a series stands at a step, as far as its history tells: the newest logs, means of the last ones, and the
// same places on the days before. All spans are told in seasons, so that steps of a minute and of an hour read alike.

import type { History } from '../history/history.ts';

export interface Standing {
  step: number;
  /** A season before the step is held; else what is read there is the mean of the last steps. */
  hasDay: boolean;
  hasWeek: boolean;
  now: number;
  last: number;
  lately: number;
  longer: number;
  /** Mean of the last season, and of the one before it. */
  day: number;
  dayBefore: number;
  /** The usual day (mean of the seasons before) at this step, and the last few steps a day and a week ago. */
  usual: number;
  dayAgo: number;
  weekAgo: number;
  /** The longer mean a day ago. */
  dayAgoLonger: number;
  /** Steps of an hour, where it has a beat: what reports at fixed minutes does so every hour. Else 0. */
  hour: number;
  /** Mean of the last BEATS hours. */
  hours: number;
}

/** Hours whose mean is the beat. */
export const BEATS = 4;
/** With fewer steps an hour has no beat. */
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

/** An hour, by two to six steps. */
const fewOf = (season: number): number => Math.max(2, Math.min(6, Math.round(season / 24)));
