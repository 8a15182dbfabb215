// Evaluation: one closed step of one series: what each model says of the steps ahead, what each weighs, and what they come
// to together. It is made when the step has closed, or when somebody asks about a series of which another has closed
// since, and it is over with the next one: all evaluations of a forecaster work in one `Workspace`.
//
//   V1. A model is asked once about a step ahead, whoever wants to know; weights are worked out once for each distance.

import { LOG_MAX } from '../../state/log-ring.ts';
import { type Calibration, LEVELS, offsetAt } from './combine/calibration.ts';
import type { Combination } from './combine/combination.ts';
import type { RampDetector } from './combine/ramp-detector.ts';
import type { Grid, Place } from './grid.ts';
import { RATE_MAX } from './history/history.ts';
import { type Model, NO_PARAMETERS } from './model.ts';
import { GARBAGE_AGE, GARBAGE_COUNT, type SeriesMemory, type StateViews } from './series-memory.ts';

/** Who speaks: the same for all series of a forecaster. */
export interface Ensemble {
  readonly grid: Grid;
  readonly models: readonly Model[];
  /** By model, what it works in. */
  readonly rooms: readonly unknown[];
  /** Number of the model that speaks when rates run away; -1 without one. */
  readonly ramp: number;
  readonly ramps: RampDetector;
  readonly combination: Combination;
  readonly calibration: Calibration;
  /** By step ahead. */
  readonly places: readonly Place[];
}

/** Half as much again as the most lately seen, and more while the series is young and has shown little. */
const HEADROOM = Math.log(1.25);
const YOUNG_HEADROOM = 1;
const LEVEL_COUNT = LEVELS.length;

/** Where evaluations work, one after the other. */
export class Workspace {
  /** By model, the logs said so far, of the steps ahead in `columns`. */
  said: Float64Array[];
  answer: Float64Array;
  /** Steps ahead that the models have been asked about, and where in `said` their answers are. */
  readonly columns = new Map<number, number>();
  /** By model: a number when it spoke, else NaN. */
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
  /** The models that spoke last, and the distances at which their weights are known: a bit for each. */
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

  /** False when it is of another series, or of a step that is no longer the last. */
  isOf(memory: SeriesMemory): boolean {
    return this.memory === memory && this.#age === memory.history.age;
  }

  /** By model, the logs said, in the order in which steps ahead were first asked for. */
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

  /** The combined forecast's logs for `ahead`; valid until the next call. */
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

  /** Share of each model at each distance; valid until the next evaluation. */
  weights(): readonly Float64Array[] {
    const { distances } = this.#ensemble.grid;
    if (this.#work.columns.size === 0) this.#ask(distances);
    return distances.map((_, d) => this.#weightsAt(d));
  }

  /** Asks every model for what it has not said yet of `ahead` (V1); NaN from those not ready (forecaster.ts F2). */
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
   * A model has returned NaN or infinity: the fallback's forecast, or the typical log, replaces its answers from column
   * `first` on.
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

  /** The weights at distance number `d` of the models that spoke last (V1). */
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
