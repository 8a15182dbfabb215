// Signal forecast: one signal (subscriptions or publishes) of one series: its history, its models, its forecast, and
// whether that is to be trusted.
//
//   G1. A step is closed once, in order; a step left out begins a gap, after which levels start anew and days go on.
//   G2. Whatever the input, every number of a forecast is finite and not negative.

import type { Forecast } from '../../schemas/records.ts';
import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { LEVELS } from './calibration.ts';
import { Ensemble } from './ensemble.ts';
import { History, RATE_MAX } from './history.ts';
import { MODELS } from './models/models.ts';
import { shortSeason, type Traits, traitsOf } from './traits.ts';

/** One hour: the longest lead time that a move has needed, and more than a flash crowd takes to build up. */
export const HORIZON_STEPS = 60;

export interface TrustSettings {
  /** Closed steps before any forecast is trusted. */
  readonly stepsMin: number;
  /** Largest error of one step ahead, relative to the seasonal naive forecast's. */
  readonly errorMax: number;
  /** Largest error a quarter of an hour ahead, as a share of the mean rate. */
  readonly shareMax: number;
  /** For so many steps after a model gave garbage, nothing is trusted. */
  readonly garbageSteps: number;
}

/** Mean rates move over about a day. */
const MEAN_GAIN = 1 / 720;
const NAIVE_GAIN = 1 / 240;
/** One event a minute, and a twentieth of the mean: below it a factor says nothing. */
const FLOOR_PER_SECOND = 1 / 60;
const FLOOR_SHARE = 0.05;
const SEASON_EVERY_STEPS = 60;
/** Where in `day` the running means and products of today's and yesterday's rates lie. */
const TODAY = 0;
const YESTERDAY = 1;
const TODAY_SQUARE = 2;
const YESTERDAY_SQUARE = 3;
const PRODUCT = 4;
const DAY_COUNT = 5;

export class SignalForecast {
  readonly history: History;
  readonly ensemble: Ensemble;
  /** Closed steps in a row without an event. */
  silentSteps = 0;
  private mean = Number.NaN;
  /** Recent error of the seasonal naive forecast; NaN while there was no day before. */
  private naiveError = Number.NaN;
  private shortSeasonMs = 0;
  private readonly day = new Float64Array(DAY_COUNT + 1);
  private readonly path = new Float64Array(HORIZON_STEPS);

  constructor(history = new History(), ensemble = new Ensemble(MODELS)) {
    this.history = history;
    this.ensemble = ensemble;
  }

  /** Closes a step with its rate per second; whatever is not a rate is cut to one. */
  close(step: number, perSecond: number): void {
    const rate = perSecond > 0 ? Math.min(perSecond, RATE_MAX) : 0; // NaN too.
    const { history } = this;
    if (history.seen > 0 && step !== history.step + 1) {
      history.gap();
      this.ensemble.gap();
    }
    const yesterday = history.yesterday(step);
    history.put(step, rate);
    this.silentSteps = rate === 0 ? this.silentSteps + 1 : 0;
    this.mean = Number.isNaN(this.mean) ? rate : this.mean + Math.max(MEAN_GAIN, 1 / history.seen) * (rate - this.mean);
    if (!Number.isNaN(yesterday)) this.compareDays(rate, yesterday);
    if (history.seen % SEASON_EVERY_STEPS === 0) this.shortSeasonMs = shortSeason(history);
    this.ensemble.next(history, this.floor(), this.path);
  }

  /** Quantiles for the steps after the last closed one, step by step. Valid after `close`. */
  quantiles(): number[] {
    const quantiles = new Array<number>(HORIZON_STEPS * LEVELS.length);
    this.ensemble.calibration.spread(this.path, this.floor(), quantiles);
    for (let i = 0; i < quantiles.length; i++) if (!(quantiles[i]! <= RATE_MAX)) quantiles[i] = RATE_MAX; // G2
    return quantiles;
  }

  traits(): Traits {
    return traitsOf(this.history, this.dayLikeness(), this.shortSeasonMs);
  }

  /** MASE of one step ahead; -1 while unknown. */
  recentError(): number {
    const error = this.ensemble.errors[0]!;
    if (Number.isNaN(error) || Number.isNaN(this.naiveError)) return -1;
    return this.naiveError > 0 ? Math.min(error / this.naiveError, RATE_MAX) : error > 0 ? RATE_MAX : 0;
  }

  /** Why not to trust the forecast; '' when it is to be trusted. */
  distrust(trust: TrustSettings): Forecast['distrust'] {
    const { history, ensemble } = this;
    if (history.seen < trust.stepsMin) return `only ${history.seen} of ${trust.stepsMin} steps seen`;
    if (ensemble.garbageStep >= 0 && history.step - ensemble.garbageStep < trust.garbageSteps)
      return `a model gave numbers that are none (${ensemble.garbage} times); the fallback spoke for it`;
    const error = this.recentError();
    if (error > trust.errorMax) return `recent error ${rounded(error)} of the seasonal naive forecast’s`;
    const ahead = ensemble.errors[2]!;
    if (this.mean > 0 && ahead / this.mean > trust.shareMax)
      return `fifteen minutes ahead it errs by ${rounded(ahead / this.mean)} of the mean rate`;
    return '';
  }

  write(to: BinaryWriter): void {
    this.history.write(to);
    this.ensemble.write(to);
    to.count(this.silentSteps).double(this.mean).double(this.naiveError).count(this.shortSeasonMs).numbers(this.day);
  }

  static read(from: BinaryReader): SignalForecast {
    const signal = new SignalForecast(History.read(from), Ensemble.read(from, MODELS));
    signal.silentSteps = from.count();
    signal.mean = from.double();
    signal.naiveError = from.double();
    signal.shortSeasonMs = from.count();
    from.numbers(signal.day);
    return signal;
  }

  private floor(): number {
    return FLOOR_PER_SECOND + FLOOR_SHARE * this.mean;
  }

  private compareDays(rate: number, yesterday: number): void {
    const { day } = this;
    const miss = Math.abs(rate - yesterday);
    this.naiveError = Number.isNaN(this.naiveError)
      ? miss
      : this.naiveError + Math.max(NAIVE_GAIN, 1 / (day[DAY_COUNT]! + 1)) * (miss - this.naiveError);
    day[DAY_COUNT]!++;
    const gain = Math.max(MEAN_GAIN, 1 / day[DAY_COUNT]!);
    const rateAway = rate - day[TODAY]!;
    const yesterdayAway = yesterday - day[YESTERDAY]!;
    day[TODAY]! += gain * rateAway;
    day[YESTERDAY]! += gain * yesterdayAway;
    const keep = 1 - gain;
    day[TODAY_SQUARE] = keep * (day[TODAY_SQUARE]! + gain * rateAway * rateAway);
    day[YESTERDAY_SQUARE] = keep * (day[YESTERDAY_SQUARE]! + gain * yesterdayAway * yesterdayAway);
    day[PRODUCT] = keep * (day[PRODUCT]! + gain * rateAway * yesterdayAway);
  }

  /** Correlation of the rates with those a day before, NaN for less than half a day of both. */
  private dayLikeness(): number {
    const { day } = this;
    if (day[DAY_COUNT]! < 720) return Number.NaN;
    return day[PRODUCT]! / Math.sqrt(day[TODAY_SQUARE]! * day[YESTERDAY_SQUARE]!);
  }
}

const rounded = (value: number): string => String(Number(value.toPrecision(3)));
