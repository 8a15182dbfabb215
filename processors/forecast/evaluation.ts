// Evaluation: the forecast of one series after one closed step: what each model forecasts for the steps ahead, its
// weights, and the combined forecast. It is made when the step has closed, or when somebody asks about a series after
// another series was evaluated. The next evaluation ends it: all evaluations of a forecaster share one `Workspace`.
//
//   V1. Each model is asked at most once about a step ahead, whoever wants to know; weights are computed once for each
//       distance.

import { LOG_MAX } from '../../state/log-ring.ts';
import { type Calibration, LEVELS, offsetAt } from './combine/calibration.ts';
import type { Combination } from './combine/combination.ts';
import type { RampDetector } from './combine/ramp-detector.ts';
import type { Grid, Place } from './grid.ts';
import { RATE_MAX } from './history/history.ts';
import { type Model, NO_PARAMETERS } from './model.ts';
import { GARBAGE_AGE, GARBAGE_COUNT, type SeriesMemory, type StateViews } from './series-memory.ts';

/** The models and what combines them: the same for all series of a forecaster. */
export interface Ensemble {
  readonly grid: Grid;
  readonly models: readonly Model[];
  /** By model, its scratch space (`Model.room`). */
  readonly rooms: readonly unknown[];
  /** Number of the model that replaces the others when rates run away upwards; -1 without one. */
  readonly ramp: number;
  readonly ramps: RampDetector;
  readonly combination: Combination;
  readonly calibration: Calibration;
  /** By step ahead. */
  readonly places: readonly Place[];
}

/**
 * Quantiles end at 1.25 times the highest rate lately seen; the limit is looser while the series is young and has shown
 * little.
 */
const HEADROOM = Math.log(1.25);
const YOUNG_HEADROOM = 1;
const LEVEL_COUNT = LEVELS.length;

/** Arrays that evaluations work in, one evaluation after the other. */
export class Workspace {
  /** By model, its forecasts so far, as logs, for the steps ahead in `columns`. */
  said: Float64Array[];
  answer: Float64Array;
  /** The steps ahead that the models have been asked about, and the index of each in `said`. */
  readonly columns = new Map<number, number>();
  /** By model: a number when it gave a forecast, else NaN. */
  readonly spoken: Float64Array;
  /** By distance, the models' weights. */
  readonly weights: readonly Float64Array[];
  combined = new Float64Array(0);

  constructor(models: number, distances: number) {
    this.said = Array.from({ length: models }, () => new Float64Array(distances));
    this.answer = new Float64Array(distances);
    this.spoken = new Float64Array(models);
    this.weights = Array.from({ length: distances }, () => new Float64Array(models));
  }

  makeRoomFor(columns: number): void {
    if (this.answer.length >= columns) return;
    this.answer = new Float64Array(2 * columns);
    this.said = this.said.map((before) => {
      const said = new Float64Array(2 * columns);
      said.set(before);
      return said;
    });
  }
}

export class Evaluation {
  readonly memory: SeriesMemory;
  readonly state: StateViews;
  readonly #age: number;
  readonly #ensemble: Ensemble;
  readonly #work: Workspace;
  /** Bit sets: the models that gave a forecast last, and the distances whose weights are computed. */
  #spoke = 0;
  #weighed = 0;

  constructor(ensemble: Ensemble, work: Workspace, memory: SeriesMemory, state: StateViews) {
    this.#ensemble = ensemble;
    this.#work = work;
    this.memory = memory;
    this.state = state;
    this.#age = memory.history.age;
    work.columns.clear();
  }

  /** False when this evaluation is of another series, or of a step that is no longer the last. */
  isOf(memory: SeriesMemory): boolean {
    return this.memory === memory && this.#age === memory.history.age;
  }

  /** By model, its forecasts as logs, in the order in which steps ahead were first asked for. */
  get said(): readonly Float64Array[] {
    return this.#work.said;
  }

  /** Writes the quantiles of the steps `ahead`: `LEVEL_COUNT` for each, ascending, in rates (forecaster.ts F3). */
  quantiles(ahead: readonly number[], into: Float64Array): void {
    const { calibration, grid } = this.#ensemble;
    const { history } = this.memory;
    const logs = this.combined(ahead);
    const offsets = calibration.offsetsOf(this.state.calibration);
    const headroom = HEADROOM + YOUNG_HEADROOM / (1 + (10 * history.age) / grid.season);
    for (let i = 0; i < ahead.length; i++) {
      const place = this.#placeOf(ahead[i]!);
      const ceiling = Math.min(Math.max(history.peak, logs[i]!) + headroom, LOG_MAX);
      for (let l = 0; l < LEVEL_COUNT; l++) {
        const log = Math.min(logs[i]! + offsetAt(offsets, place, l), ceiling);
        into[i * LEVEL_COUNT + l] = log > 0 ? Math.min(history.rateOf(log), RATE_MAX) : 0;
      }
    }
  }

  /** Logs of the combined forecast for the steps `ahead`; valid until the next call. */
  combined(ahead: readonly number[]): Float64Array {
    this.#ask(ahead);
    const { models, ramp, ramps } = this.#ensemble;
    const { columns, said } = this.#work;
    const { history } = this.memory;
    const running = ramp >= 0 && said[ramp]![0]! >= 0 ? ramps.belief(this.state.ramp) : 0;
    if (this.#work.combined.length < ahead.length) this.#work.combined = new Float64Array(ahead.length);
    const { combined } = this.#work;
    for (let i = 0; i < ahead.length; i++) {
      const column = columns.get(ahead[i]!)!;
      const { near, share } = this.#placeOf(ahead[i]!);
      const here = this.#weightsAt(near);
      const next = share === 0 ? here : this.#weightsAt(near + 1);
      let sum = 0;
      let log = 0;
      for (let m = 0; m < models.length; m++) {
        const weight = here[m]! + share * (next[m]! - here[m]!);
        if (!(weight > 0)) continue;
        sum += weight;
        log += weight * said[m]![column]!;
      }
      log = sum > 0 ? log / sum : history.typical;
      if (running > 0) log += running * ramps.kept(ahead[i]!) * (said[ramp]![column]! - log);
      combined[i] = Math.min(Math.max(log, 0), LOG_MAX);
    }
    return combined;
  }

  /** Weight of each model at each distance; valid until the next evaluation. */
  weights(): readonly Float64Array[] {
    const { distances } = this.#ensemble.grid;
    if (this.#work.columns.size === 0) this.#ask(distances);
    return distances.map((_, d) => this.#weightsAt(d));
  }

  /**
   * Asks every model for those steps of `ahead` that it was not asked about yet (V1); NaN from models that are not
   * ready (forecaster.ts F2).
   */
  #ask(ahead: readonly number[]): void {
    const { models, rooms } = this.#ensemble;
    const { history, parameters } = this.memory;
    const { columns, spoken } = this.#work;
    const missing = ahead.filter((steps) => !columns.has(steps));
    if (missing.length === 0) return;
    const first = columns.size;
    for (const steps of missing) columns.set(steps, columns.size);
    this.#work.makeRoomFor(columns.size);
    const { answer } = this.#work;
    let spoke = 0;
    for (let m = 0; m < models.length; m++) {
      const model = models[m]!;
      const said = this.#work.said[m]!;
      const own = this.state.models[m]!;
      if (!model.ready(history, own, parameters[m]!)) {
        said.fill(Number.NaN, first, columns.size);
        spoken[m] = Number.NaN;
        continue;
      }
      spoke |= 1 << m;
      model.forecast(history, own, parameters[m]!, missing, answer, rooms[m]);
      let isSound = true;
      for (let i = 0; i < missing.length; i++) {
        if (!Number.isFinite(answer[i]!)) isSound = false;
        said[first + i] = Math.min(Math.max(answer[i]!, 0), LOG_MAX);
      }
      spoken[m] = said[first]!;
      if (!isSound) this.#beginAnew(m, first);
    }
    if (spoke === this.#spoke) return;
    this.#spoke = spoke;
    this.#weighed = 0;
  }

  /**
   * Resets model `m`, which has returned NaN or infinity, and replaces its answers from column `first` on by the
   * fallback's forecast, or by the typical log where the fallback has none.
   */
  #beginAnew(m: number, first: number): void {
    const { history, parameters } = this.memory;
    const { garbage, models } = this.state;
    const { columns } = this.#work;
    garbage[GARBAGE_COUNT]!++;
    garbage[GARBAGE_AGE] = 1;
    models[m]!.fill(0);
    parameters[m] = NO_PARAMETERS;
    const said = this.#work.said[m]!;
    const fallback = this.#work.said[0]!;
    for (let at = first; at < columns.size; at++)
      said[at] = m > 0 && fallback[at]! >= 0 ? fallback[at]! : history.typical;
  }

  /** The weights at distance number `d` of the models that gave a forecast last (V1). */
  #weightsAt(d: number): Float64Array {
    const weights = this.#work.weights[d]!;
    if ((this.#weighed & (1 << d)) !== 0) return weights;
    this.#weighed |= 1 << d;
    this.#ensemble.combination.weigh(this.state.combination, d, this.#work.spoken, weights);
    return weights;
  }

  #placeOf(ahead: number): Place {
    const { places } = this.#ensemble;
    return places[Math.min(ahead, places.length) - 1]!;
  }
}
