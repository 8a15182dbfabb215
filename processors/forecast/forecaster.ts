// Forecaster: closes the steps of a series and forecasts it with all models together. There is one for all series of a
// grid; what it knows of a series lies in that series' memory, a few flat arrays that are stored as they are.
//
//   F1. A forecast made at a step depends on nothing after it.
//   F2. NaN or infinity from a model never reaches a forecast: the fallback's forecast replaces it, it is counted, and
//       the model's state is reset.
//   F3. Whatever the rates and the models are, quantiles ascend, are finite and not negative, and are at most HEADROOM
//       above what was seen lately or is forecast.
//   F4. When rates run away upwards, the model that follows ramps replaces the others (ramp-detector.ts).
//   F5. When a new regime begins, the history before it is forgotten, and so are the fits that used it; new fits are
//       due.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { Calibration, LEVELS } from './combine/calibration.ts';
import { Combination } from './combine/combination.ts';
import { type InterpolationGrid, interpolationGridOf } from './combine/interpolation-grid.ts';
import { PendingForecasts } from './combine/pending-forecasts.ts';
import { RampDetector } from './combine/ramp-detector.ts';
import { type Ensemble, Evaluation, Workspace } from './evaluation.ts';
import { type Grid, placesOf } from './grid.ts';
import { BRIDGE_STEPS_MAX, History, type HistoryShape, RATE_MAX } from './history/history.ts';
import { lookEvery, regimeBegin } from './history/regime.ts';
import { SeasonalMemo } from './history/seasonal-memo.ts';
import { type Model, NO_PARAMETERS, type Parameters } from './model.ts';
import { GARBAGE_AGE, GARBAGE_COUNT, type SeriesMemory, StateLayout, type StateViews } from './series-memory.ts';

/**
 * The models of a forecaster, the fallback first; `ramp` names the model that replaces the others when rates run away
 * upwards.
 */
export interface ModelSet {
  readonly models: readonly Model[];
  readonly ramp: string;
}

/** Number of recent steps that a model reads again after its state was reset. */
const REPLAYED_STEPS = 60;
const LEVEL_COUNT = LEVELS.length;
/** Age in steps at which a series is fitted for the first time. */
const FIRST_FIT_AGE = 60;

export class Forecaster {
  readonly grid: Grid;
  readonly models: readonly Model[];
  readonly shape: HistoryShape;
  readonly #names: string;
  readonly #ensemble: Ensemble;
  readonly #calibration: Calibration;
  readonly #combination: Combination;
  readonly #ramps: RampDetector;
  readonly #pending: PendingForecasts;
  readonly #layout: StateLayout;
  /** Numbers of the models that are fitted. */
  readonly #fitted: readonly number[];
  readonly #lookEvery: number;
  readonly #seasonals = new SeasonalMemo();
  readonly #interpolationFor = new WeakMap<readonly number[], InterpolationGrid>();
  readonly #work: Workspace;
  /** Evaluation of the last closed step of the series asked about last. */
  #evaluation: Evaluation | undefined;
  // Scratch, overwritten by every call.
  readonly #logs: Float64Array;
  #anchored = new Float64Array(0);

  constructor(grid: Grid, { models, ramp }: ModelSet, shape: HistoryShape) {
    this.grid = grid;
    this.models = models;
    this.shape = shape;
    this.#names = models.map(({ name }) => name).join();
    this.#lookEvery = lookEvery(grid.season);
    this.#ramps = new RampDetector(grid.stepMs);
    this.#pending = new PendingForecasts(grid.distances, models.length);
    this.#calibration = new Calibration(grid);
    this.#combination = new Combination(grid, models);
    this.#layout = new StateLayout({
      models: models.map((model) => model.stateSize(grid)),
      combination: this.#combination.size,
      calibration: this.#calibration.size,
      ramp: this.#ramps.size,
    });
    this.#ensemble = {
      grid,
      models,
      rooms: models.map((model) => model.room?.(grid)),
      ramp: models.findIndex(({ name }) => name === ramp),
      ramps: this.#ramps,
      combination: this.#combination,
      calibration: this.#calibration,
      places: placesOf(grid),
    };
    this.#work = new Workspace(models.length, grid.distances.length);
    this.#fitted = models.flatMap((model, m) => (model.fitEvery(grid) > 0 ? [m] : []));
    this.#logs = new Float64Array(models.length);
  }

  fresh(): SeriesMemory {
    const state = this.#layout.fresh();
    this.#calibration.begin(this.#layout.viewsOf(state).calibration);
    return {
      history: new History(this.grid, this.shape, this.#seasonals),
      state,
      waiting: this.#pending.fresh(),
      parameters: this.models.map(() => NO_PARAMETERS),
    };
  }

  /**
   * Closes a step with its rate; a value that is not a rate is clipped to one. Steps come in order; one that is left
   * out begins a gap.
   */
  close(memory: SeriesMemory, step: number, given: number): void {
    const rate = given > 0 ? Math.min(given, RATE_MAX) : 0; // NaN too.
    const { history } = memory;
    const state = this.#layout.viewsOf(memory.state);
    if (history.seen > 0 && step > history.end + BRIDGE_STEPS_MAX) {
      this.#pending.clear(memory.waiting);
      this.#ramps.end(state.ramp);
      for (const own of state.models) own.fill(0);
    }
    this.#judge(memory, state, step, rate);
    const { unit, units } = history;
    history.put(step, rate);
    if ((step + 1) % this.#lookEvery === 0) this.#look(memory, state);
    if (history.units !== units) this.#retell(memory, state, unit);
    else this.#update(memory, state, step);
    if (state.garbage[GARBAGE_AGE]! > 0) state.garbage[GARBAGE_AGE]!++;
    this.#evaluation = new Evaluation(this.#ensemble, this.#work, memory, state);
    this.#issue(this.#evaluation);
  }

  /** Closes a step and at once makes the fits that are due: for callers that do not use fitting threads. */
  learn(memory: SeriesMemory, step: number, given: number): void {
    this.close(memory, step, given);
    this.fit(memory, this.fitsDue(memory));
  }

  /**
   * Numbers of the models whose fit is due: young series are fitted at growing ages, old ones every `fitEvery` steps.
   */
  fitsDue(memory: SeriesMemory): readonly number[] {
    const { age } = memory.history;
    const { fittedAt } = this.#viewsOf(memory);
    return this.#fitted.filter((m) => {
      const before = fittedAt[m]!;
      return age - before >= Math.min(this.models[m]!.fitEvery(this.grid), Math.max(FIRST_FIT_AGE, before / 2));
    });
  }

  /** Fits these models now, in this thread, and takes the parameters. */
  fit(memory: SeriesMemory, models: readonly number[]): void {
    for (const m of models) this.take(memory, m, this.models[m]!.fit(memory.history));
  }

  /**
   * Takes a model's parameters from a fit; `undefined` keeps the present ones. `regime` is that of the history that was
   * fitted: parameters that come late, from another regime, are dropped (F5).
   */
  take(memory: SeriesMemory, m: number, parameters: Parameters | undefined, regime = memory.history.regime): void {
    if (regime !== memory.history.regime) return;
    this.#viewsOf(memory).fittedAt[m] = memory.history.age;
    if (parameters !== undefined) memory.parameters[m] = parameters;
    this.#evaluation = undefined;
  }

  /**
   * Writes the quantiles of the steps `ahead` of the last closed one, ascending, into `into`: `LEVEL_COUNT` for each,
   * in events per second. Beyond one slot they are interpolated linearly between slots, where slots are longer than a
   * step. Valid after `close`.
   */
  quantiles(memory: SeriesMemory, ahead: readonly number[], into: Float64Array): void {
    const { interpolation, at, share } = this.#interpolationOf(ahead);
    if (this.#anchored.length < interpolation.length * LEVEL_COUNT)
      this.#anchored = new Float64Array(interpolation.length * LEVEL_COUNT);
    const anchored = this.#anchored;
    this.#evaluationOf(memory).quantiles(interpolation, anchored);
    for (let i = 0; i < ahead.length; i++) {
      const from = at[i]! * LEVEL_COUNT;
      const next = share[i] === 0 ? from : from + LEVEL_COUNT;
      for (let l = 0; l < LEVEL_COUNT; l++) {
        const here = anchored[from + l]!;
        into[i * LEVEL_COUNT + l] = here + share[i]! * (anchored[next + l]! - here);
      }
    }
  }

  /** Weight of each model at each distance; valid until the next call. */
  shares(memory: SeriesMemory): readonly Float64Array[] {
    return this.#evaluationOf(memory).weights();
  }

  /** The model that leads at distance number `d`. */
  leader(memory: SeriesMemory, d: number): string {
    const evaluation = this.#evaluationOf(memory);
    return this.models[this.#combination.lead(evaluation.state.combination, d, evaluation.weights()[d]!)]!.name;
  }

  /** Share of recently judged steps at or below their 0.95 quantile at distance number `d`; NaN while unknown. */
  coverage(memory: SeriesMemory, d: number): number {
    return this.#calibration.coverage(this.#viewsOf(memory).calibration, d);
  }

  /** Recent mean absolute error of the combination at distance number `d`, in rates; NaN while unknown. */
  meanError(memory: SeriesMemory, d: number): number {
    return this.#combination.meanError(this.#viewsOf(memory).combination, d);
  }

  /** How many forecasts of models were NaN or infinite so far, and the number of steps since the last one. */
  garbage(memory: SeriesMemory): { readonly count: number; readonly age: number } {
    const { garbage } = this.#viewsOf(memory);
    const age = garbage[GARBAGE_AGE]!;
    return { count: garbage[GARBAGE_COUNT]!, age: age === 0 ? Number.POSITIVE_INFINITY : age - 1 };
  }

  /**
   * Starts a new series from a similar one's state: what that learned about its models and errors is kept with little
   * weight.
   */
  inherit(memory: SeriesMemory, from: SeriesMemory): void {
    const { combination, calibration } = this.#layout.viewsOf(memory.state);
    const learned = this.#layout.viewsOf(from.state);
    combination.set(learned.combination);
    calibration.set(learned.calibration);
    this.#combination.forget(combination);
    this.#calibration.forget(calibration);
    for (const m of this.#fitted) memory.parameters[m] = from.parameters[m]!;
    this.#evaluation = undefined;
  }

  /** Writes what changes with each step, and the history since `step`. */
  writeTail(memory: SeriesMemory, to: BinaryWriter, step: number): void {
    memory.history.writeTail(to, step);
    to.text(this.#names).count(memory.state.length).numbers(memory.state);
    to.count(memory.waiting.length).numbers(memory.waiting);
  }

  /** Reads what `writeTail` wrote. When it was written with other models, only the history is taken over. */
  readTail(memory: SeriesMemory, from: BinaryReader): void {
    this.#evaluation = undefined;
    memory.history.readTail(from);
    const isOurs = from.text() === this.#names;
    const state = from.numbers(new Float32Array(from.count()));
    const waiting = from.numbers(new Uint16Array(from.count()));
    if (!isOurs || state.length !== memory.state.length || waiting.length !== memory.waiting.length) return;
    memory.state.set(state);
    memory.waiting.set(waiting);
  }

  /** Writes what is large and changes seldom: the whole history, and the fitted parameters. */
  writePast(memory: SeriesMemory, to: BinaryWriter): void {
    memory.history.write(to);
    to.text(this.#names).count(memory.parameters.length);
    for (const parameters of memory.parameters) to.count(parameters.length).numbers(parameters);
  }

  /** Reads a memory from its past; `readTail` completes it. */
  readPast(from: BinaryReader): SeriesMemory {
    const history = History.read(from, this.grid, this.shape, this.#seasonals);
    const isOurs = from.text() === this.#names;
    const parameters = Array.from({ length: from.count() }, () => from.numbers(new Float32Array(from.count())));
    const memory = this.fresh();
    return { ...memory, history, parameters: isOurs ? parameters : memory.parameters };
  }

  /** The evaluation of a series' last closed step: the present one, or a new one. */
  #evaluationOf(memory: SeriesMemory): Evaluation {
    if (this.#evaluation?.isOf(memory)) return this.#evaluation;
    this.#evaluation = new Evaluation(this.#ensemble, this.#work, memory, this.#layout.viewsOf(memory.state));
    return this.#evaluation;
  }

  #viewsOf(memory: SeriesMemory): StateViews {
    return this.#evaluation?.memory === memory ? this.#evaluation.state : this.#layout.viewsOf(memory.state);
  }

  #interpolationOf(ahead: readonly number[]): InterpolationGrid {
    let interpolation = this.#interpolationFor.get(ahead);
    if (interpolation === undefined) {
      interpolation = interpolationGridOf(ahead, this.grid.slotSteps);
      this.#interpolationFor.set(ahead, interpolation);
    }
    return interpolation;
  }

  /** Judges the pending forecasts of the step that is closing, one distance after the other. */
  #judge(memory: SeriesMemory, state: StateViews, step: number, rate: number): void {
    const { history, waiting } = memory;
    const { ramp, combination, calibration } = this.#ensemble;
    const logs = this.#logs;
    const log = history.logOf(rate);
    const restless = calibration.restless(state.calibration);
    for (let d = 0; d < this.grid.distances.length; d++) {
      const combined = this.#pending.take(waiting, d, step, logs);
      if (Number.isNaN(combined)) continue;
      const others = combination.learn(state.combination, d, logs, rate, history.unit);
      calibration.learn(state.calibration, d, log - combined, restless);
      if (d > 0) continue;
      calibration.follow(state.calibration, log - combined);
      const usual = calibration.spread(state.calibration, 0);
      this.#ramps.learn(state.ramp, log, others, ramp < 0 ? Number.NaN : logs[ramp]!, usual);
    }
  }

  #update({ history, parameters }: SeriesMemory, state: StateViews, step: number): void {
    for (let m = 0; m < this.models.length; m++)
      this.models[m]!.update(history, state.models[m]!, parameters[m]!, step);
  }

  /** Stores the new forecasts of the distances that are due as pending. */
  #issue(evaluation: Evaluation): void {
    const { history, waiting } = evaluation.memory;
    const combined = evaluation.combined(this.#pending.dueAt(history.step));
    this.#pending.put(waiting, history.step, evaluation.said, combined);
  }

  /** Looks whether a new regime has begun (F5). */
  #look({ history, parameters }: SeriesMemory, { fittedAt }: StateViews): void {
    const begin = regimeBegin(history);
    if (begin === undefined) return;
    history.cut(begin);
    for (const m of this.#fitted) {
      parameters[m] = NO_PARAMETERS;
      fittedAt[m] = 0;
    }
  }

  /**
   * After the history's unit has changed: converts the pending forecasts, and lets the models read the last steps
   * again.
   */
  #retell(memory: SeriesMemory, state: StateViews, before: number): void {
    const { history, waiting } = memory;
    this.#pending.map(waiting, (log) => history.logOf(before * Math.expm1(log)));
    const first = Math.max(history.nearBegin, history.end - Math.min(history.seen, REPLAYED_STEPS));
    for (const own of state.models) own.fill(0);
    for (let step = first; step < history.end; step++) this.#update(memory, state, step);
  }
}
