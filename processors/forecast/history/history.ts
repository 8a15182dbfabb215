// History: what is remembered of one series and signal, in a bounded number of bytes: the recent steps one by one, and
// a longer past by slots, both as logarithms of the rate (state/log-ring.ts). Models read it; it never holds a value
// newer than the last closed step, so no model can look ahead.
//
//   Y1. A step is put once, in order. A few missing steps are interpolated linearly between logarithms. A longer
//       silence is a gap: the recent steps are forgotten, and the days before are kept, since tomorrow resembles
//       yesterday across a gap too. The caller puts a zero where nothing happened.
//   Y2. Every rate is finite and within 0 .. RATE_MAX.
//   Y3. After a cut, nothing before it is read: a regime that is over must not be learned from (regime.ts).
//   Y4. The unit follows the rates: a third of their median (of the rates above zero when most are zero), but at least
//       a twentieth of their mean. When it has changed by a factor of UNIT_RATIO, everything held is converted to the
//       new unit, and `units` is incremented.

import type { BinaryReader, BinaryWriter } from '../../../state/binary.ts';
import { LOG_MAX, LogRing } from '../../../state/log-ring.ts';
import type { Grid } from '../grid.ts';
import type { LogReader } from './log-reader.ts';
import { SeasonalMemo } from './seasonal-memo.ts';

/**
 * Events per second, or whatever a trace counts. Anything above is a broken counter; the square of this still fits a
 * double.
 */
export const RATE_MAX = 1e12;
/** Most missing steps that are interpolated. */
export const BRIDGE_STEPS_MAX = 10;

export interface HistoryShape {
  /** Steps held one by one where slots are longer than a step. */
  readonly nearSteps: number;
  readonly farSlots: number;
}

const NEAR_SEASONS = 3;
/** More than a month of slots of five minutes: everything in a trace that a model reads is kept. */
const TRACE_SLOTS = 12_000;
const HOUR_MS = 3_600_000;

/** Three days step by step, of which fits read the last two, and the given hours by slots. */
export const shapeOfHours = (grid: Grid, hours: number): HistoryShape => ({
  nearSteps: NEAR_SEASONS * grid.season,
  farSlots: Math.ceil((hours * HOUR_MS) / (grid.stepMs * grid.slotSteps)),
});

/** For a trace, which is read through once. */
export const shapeOfTrace = (grid: Grid): HistoryShape => ({
  nearSteps: NEAR_SEASONS * grid.season,
  farSlots: TRACE_SLOTS,
});

/** The least that the models without a fit need: an hour in minutes, and one season by slots. */
export const COMPACT: HistoryShape = { nearSteps: 64, farSlots: 300 };

/**
 * Shares of the median and the mean that make the unit; arbitrary within a factor of three (the benchmark's accuracy
 * hardly changes).
 */
const MEDIAN_SHARE = 0.3;
const MEAN_SHARE = 0.05;
const UNIT_MIN = 1e-9;
/** Unit until anything was seen: one event a minute. */
const UNIT_FIRST = 1 / 60;
/** Means over at least this many slots are read from the slots: five times cheaper, with the same result. */
const FAR_SLOTS_FROM = 4;
/** The limit: this quantile of the logs held, and half of its distance to the median on top. */
const USUAL_SHARE = 0.995;
const LIMIT_REACH = 0.5;
/** Everything is converted to a new unit when that would be this many times larger or smaller. */
const UNIT_RATIO = 2;
/** Ages in steps at which a young history updates its unit; an older one does so once a season. */
const UNIT_AT: ReadonlySet<number> = new Set([1, 4, 15, 60, 240]);
/** Most past seasons whose counterparts of a slot are averaged. */
const LEVELS_AVERAGED = 5;

export class History implements LogReader {
  readonly grid: Grid;
  readonly shape: HistoryShape;
  /**
   * Means over at least this many steps are read from the slots, and only from slots that are over at the end of the
   * span.
   */
  readonly wideSteps: number;
  /** Number of the last closed step, -1 before the first. */
  step = -1;
  /** Steps put since the beginning or the last gap. */
  seen = 0;
  /** Steps put in all. */
  age = 0;
  /** Rates are held as log(1 + rate / unit). */
  unit = UNIT_FIRST;
  /** How often the unit has changed. */
  units = 0;
  /** How often values that were held already have changed. */
  revision = 0;
  /** The highest log lately: it fades over a long season. */
  peak = 0;
  /**
   * No past log counts for more than this in a mean or as a counterpart: a burst does not repeat at the same time of
   * day.
   */
  limit = LOG_MAX;
  /** Mean log over about a season. */
  typical = 0;
  /** The step at which the present regime began, by the last cut; 0 without one. */
  regime = 0;
  readonly #steps: LogRing | undefined;
  readonly #slots: LogRing;
  readonly #finest: LogRing;
  #slotSum = 0;
  #slotCount = 0;
  #lastRate = 0;

  readonly #seasonals: SeasonalMemo;

  /** Histories that are read one after the other can share one memo. */
  constructor(grid: Grid, shape: HistoryShape, seasonals = new SeasonalMemo()) {
    this.#seasonals = seasonals;
    this.grid = grid;
    this.shape = shape;
    this.wideSteps = grid.slotSteps === 1 ? Number.POSITIVE_INFINITY : FAR_SLOTS_FROM * grid.slotSteps;
    this.#steps = grid.slotSteps > 1 ? new LogRing(shape.nearSteps) : undefined;
    this.#slots = new LogRing(shape.farSlots);
    this.#finest = this.#steps ?? this.#slots;
  }

  get end(): number {
    return this.step + 1;
  }

  /** Rate of the last closed step. */
  get last(): number {
    return this.#lastRate;
  }

  /** Number of whole past seasons that are held, at most. */
  get seasons(): number {
    return Math.floor(((this.#slots.newest - this.#slots.oldest + 1) * this.grid.slotSteps) / this.grid.season);
  }

  /** The first step that is held, by itself or in a slot. */
  get begin(): number {
    return this.#slots.newest < 0 ? this.end : this.#slots.oldest * this.grid.slotSteps;
  }

  /** The first step that is held by itself. */
  get nearBegin(): number {
    return this.#steps === undefined ? this.begin : this.#steps.newest < 0 ? this.end : this.#steps.oldest;
  }

  logOf(rate: number): number {
    return Math.log1p(rate / this.unit);
  }

  rateOf(log: number): number {
    return this.unit * Math.expm1(log);
  }

  put(step: number, rate: number): void {
    const left = step - this.end;
    if (this.seen > 0 && left > 0 && left <= BRIDGE_STEPS_MAX) {
      const from = this.near(this.step);
      const slope = (this.logOf(rate) - from) / (left + 1);
      for (let k = 1; k <= left; k++) this.#hold(this.end, this.rateOf(Math.max(0, from + slope * k)));
    } else if (this.seen > 0 && left > 0) this.#gap();
    this.#hold(step, rate);
  }

  /** Forgets the steps before `step` (Y3). */
  cut(step: number): void {
    const slot = Math.ceil(step / this.grid.slotSteps);
    this.regime = step;
    this.revision++;
    this.#steps?.cut(step);
    this.#slots.cut(slot);
    let sum = 0;
    let count = 0;
    this.peak = 0;
    for (let at = slot; at <= this.#slots.newest; at++) {
      const log = this.#slots.at(at);
      if (Number.isNaN(log)) continue;
      sum += log;
      count++;
      this.peak = Math.max(this.peak, log);
    }
    for (let at = Math.max(step, this.nearBegin); at <= this.step; at++) this.peak = Math.max(this.peak, this.near(at));
    if (count > 0) this.typical = sum / count;
    this.#followUnit();
  }

  near(step: number): number {
    const log = this.#finest.at(step);
    return Number.isNaN(log) ? this.far(step) : log;
  }

  nearMean(from: number, to: number): number {
    const mean = from < this.#finest.oldest ? Number.NaN : this.#finest.mean(from, to);
    return Number.isNaN(mean) ? this.farMean(from, to) : mean;
  }

  far(step: number): number {
    const { season } = this.grid;
    for (let tries = 0, at = step; tries < 3; tries++, at -= season) {
      const log = this.#held(at);
      if (!Number.isNaN(log)) return Math.min(log, this.limit);
    }
    // Older than all that is held: the first day that is held stands for the days before it.
    const later = step < this.begin ? this.#held(step + season) : Number.NaN;
    return Number.isNaN(later) ? this.typical : Math.min(later, this.limit);
  }

  farMean(from: number, to: number): number {
    const { slotSteps } = this.grid;
    const isWide = to - from >= this.wideSteps;
    let mean = isWide || from < this.#finest.oldest ? Number.NaN : this.#finest.mean(from, to, this.limit);
    if (Number.isNaN(mean)) {
      const first = Math.floor(from / slotSteps);
      const last = isWide ? Math.floor(to / slotSteps) : Math.max(first + 1, Math.ceil(to / slotSteps));
      mean = this.#slots.mean(first, last, this.limit);
    }
    return Number.isNaN(mean) ? this.far(from) : mean;
  }

  /** Log of a slot's mean rate; NaN for a hole and for the slot that is not over. */
  slot(number: number): number {
    return this.#slots.at(number);
  }

  /** Like `far`, but from the slots alone. */
  slotFar(step: number): number {
    const log = this.#slots.at(Math.floor(step / this.grid.slotSteps));
    return Number.isNaN(log) ? this.far(step) : Math.min(log, this.limit);
  }

  /**
   * The mean log of this step's counterparts in the seasons before, smoothed over three slots; the typical log when
   * there is none.
   */
  seasonal(step: number): number {
    const slot = Math.floor(step / this.grid.slotSteps);
    const memo = this.#seasonals;
    memo.begin(this, this.#slots.newest, this.revision, this.limit);
    const known = memo.of(slot);
    if (!Number.isNaN(known)) return known;
    const mean = this.#seasonOf(slot);
    if (Number.isNaN(mean)) return this.typical;
    memo.put(slot, mean);
    return mean;
  }

  /** Writes the whole history, for `read`. */
  write(to: BinaryWriter): void {
    this.#writeNumbers(to);
    this.#steps?.write(to);
    this.#slots.write(to);
  }

  static read(from: BinaryReader, grid: Grid, shape: HistoryShape, seasonals?: SeasonalMemo): History {
    const history = new History(grid, shape, seasonals);
    history.#readNumbers(from);
    history.#steps?.read(from);
    history.#slots.read(from);
    return history;
  }

  /**
   * Writes what has come since `step`. While `revision` is unchanged, this and what was written at `step` are the whole
   * history.
   */
  writeTail(to: BinaryWriter, step: number): void {
    this.#writeNumbers(to);
    this.#steps?.writeTail(to, step);
    this.#slots.writeTail(to, Math.floor(step / this.grid.slotSteps));
  }

  readTail(from: BinaryReader): void {
    this.#readNumbers(from);
    this.#steps?.readTail(from);
    this.#slots.readTail(from);
  }

  #writeNumbers(to: BinaryWriter): void {
    to.count(this.step + 1)
      .count(this.seen)
      .count(this.age)
      .count(this.units)
      .count(this.revision)
      .count(this.regime)
      .count(this.#slotCount);
    for (const number of [this.unit, this.limit, this.peak, this.typical, this.#slotSum, this.#lastRate])
      to.double(number);
  }

  #readNumbers(from: BinaryReader): void {
    this.step = from.count() - 1;
    this.seen = from.count();
    this.age = from.count();
    this.units = from.count();
    this.revision = from.count();
    this.regime = from.count();
    this.#slotCount = from.count();
    this.unit = from.double();
    this.limit = from.double();
    this.peak = from.double();
    this.typical = from.double();
    this.#slotSum = from.double();
    this.#lastRate = from.double();
  }

  /** The mean log of a slot's counterparts in the seasons before; NaN when none is held. */
  #seasonOf(asked: number): number {
    const seasonSlots = this.grid.season / this.grid.slotSteps;
    let slot = asked - seasonSlots;
    while (slot + 1 > this.#slots.newest) slot -= seasonSlots;
    let sum = 0;
    let count = 0;
    for (let back = 0; back < LEVELS_AVERAGED && slot + 1 >= this.#slots.oldest; back++, slot -= seasonSlots) {
      const mean = this.#slots.mean(slot - 1, slot + 2, this.limit);
      if (Number.isNaN(mean)) continue;
      sum += mean;
      count++;
    }
    return count === 0 ? Number.NaN : sum / count;
  }

  #held(step: number): number {
    const log = this.#finest.at(step);
    return Number.isNaN(log) ? this.#slots.at(Math.floor(step / this.grid.slotSteps)) : log;
  }

  #gap(): void {
    this.#steps?.clear();
    this.revision++;
    this.seen = 0;
    this.#slotSum = this.#slotCount = 0;
  }

  #hold(step: number, rate: number): void {
    const { slotSteps, season, longSeason } = this.grid;
    const slot = Math.floor(step / slotSteps);
    if (this.#slotCount > 0 && slot !== Math.floor(this.step / slotSteps)) this.#closeSlot();
    this.step = step;
    this.seen++;
    this.age++;
    this.#lastRate = rate;
    this.#slotSum += rate;
    this.#slotCount++;
    const log = this.logOf(rate);
    this.#steps?.put(step, log);
    this.peak = Math.max(log, this.peak - 1 / longSeason);
    this.typical += Math.max(1 / season, 1 / this.age) * (log - this.typical);
    if (step % slotSteps === slotSteps - 1) this.#closeSlot();
    if (UNIT_AT.has(this.age) || this.age % season === 0 || (this.units === 0 && rate > 0)) this.#followUnit();
  }

  #closeSlot(): void {
    this.#slots.put(Math.floor(this.step / this.grid.slotSteps), this.logOf(this.#slotSum / this.#slotCount));
    this.#slotSum = this.#slotCount = 0;
  }

  /** Updates the unit (Y4). */
  #followUnit(): void {
    const ring = this.#slots.newest < 0 ? this.#steps! : this.#slots;
    const logs: number[] = [];
    let sum = 0;
    for (let at = ring.oldest; at <= ring.newest; at++) {
      const log = ring.at(at);
      if (Number.isNaN(log)) continue;
      logs.push(log);
      sum += this.rateOf(log);
    }
    if (sum === 0) return;
    const sorted = Float64Array.from(logs).sort();
    const zeros = sorted.findIndex((log) => log > 0);
    const middle = zeros > sorted.length >> 1 ? (zeros + sorted.length) >> 1 : sorted.length >> 1;
    const wanted = Math.max(MEDIAN_SHARE * this.rateOf(sorted[middle]!), (MEAN_SHARE * sum) / sorted.length, UNIT_MIN);
    const median = sorted[sorted.length >> 1]!;
    const usual = Math.max(median, sorted[Math.floor(USUAL_SHARE * (sorted.length - 1))]!); // With only two logs, the median is the higher one.
    this.limit = usual + LIMIT_REACH * (usual - median);
    if (this.units > 0 && wanted < this.unit * UNIT_RATIO && wanted > this.unit / UNIT_RATIO) return;
    const before = this.unit;
    const change = (log: number): number => Math.log1p((before * Math.expm1(log)) / wanted);
    this.unit = wanted;
    this.units++;
    this.revision++;
    this.#steps?.map(change);
    this.#slots.map(change);
    this.limit = change(this.limit);
    this.peak = change(this.peak);
    this.typical = change(this.typical);
  }
}
