// Forecaster: closes the steps of a series and forecasts it, by all models together. There is one for all series of a grid;
// what it knows of one of them lies in that series' memory, a few flat arrays that are stored as they are.
//
//   F1. A forecast made at a step depends on nothing after it.
//   F2. Garbage (not a number, infinite) never leaves a model's forecast: the fallback takes its place, it is counted, and
//       the model begins anew.
//   F3. Whatever the rates and the models are, quantiles ascend, are finite and not negative, and stay within HEADROOM
//       above what was lately seen or is foreseen.
//   F4. When rates run away upwards, the model that sees ramps speaks for the others (ramp-detector.ts).
//   F5. Where a new regime begins, what was before is forgotten, and so are the fits that have seen it; new ones are due.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { LOG_MAX } from '../../state/log-ring.ts';
import { Calibration, LEVELS, offsetAt } from './combine/calibration.ts';
import { Combination } from './combine/combination.ts';
import { type InterpolationGrid, interpolationGridOf } from './combine/interpolation-grid.ts';
import { PendingForecasts } from './combine/pending-forecasts.ts';
import { RampDetector } from './combine/ramp-detector.ts';
import { type Grid, type Place, placesOf } from './grid.ts';
import { BRIDGE_STEPS_MAX, History, type HistoryShape, RATE_MAX } from './history/history.ts';
import { lookEvery, regimeBegin } from './history/regime.ts';
import { type Model, NO_PARAMETERS, NO_STATE, type Parameters } from './model.ts';

export interface SeriesMemory {
  readonly history: History;
  /** What the models, the combination and the calibration have learned. */
  readonly state: Float32Array;
  /** Forecasts that wait for their step (pending-forecasts.ts). */
  readonly waiting: Uint16Array;
  /** By model; replaced as a whole when a fit comes back. */
  readonly parameters: Parameters[];
}

/** The models of a forecaster, the fallback first; `ramp` names the one that speaks when rates run away. */
export interface ModelSet {
  readonly models: readonly Model[];
  readonly ramp: string;
}

/** Steps that a model reads again when it begins anew. */
const REPLAYED_STEPS = 60;
/** Half as much again as the most lately seen, and more while the series is young and has shown little. */
const HEADROOM = Math.log(1.25);
const YOUNG_HEADROOM = 1;
const LEVEL_COUNT = LEVELS.length;
/** Steps after which a series is fitted for the first time. */
const FIRST_FIT_AGE = 60;

/** Where in the counters of a series. */
const GARBAGE = 0;
/** Steps since the last garbage, plus one; 0: never. */
const GARBAGE_AGE = 1;
const COUNTERS = 2;

/** What the weights at hand are of: the series, its age, which models spoke, and at which distances, as bits. */
interface Weighed {
  readonly memory: SeriesMemory | undefined;
  readonly age: number;
  readonly spoke: number;
  distances: number;
}

/** Nobody has been asked. */
const NOTHING = { memory: undefined, age: -1 };

export class Forecaster {
  readonly grid: Grid;
  readonly models: readonly Model[];
  readonly shape: HistoryShape;
  private readonly names: string;
  private readonly calibration: Calibration;
  private readonly combination: Combination;
  private readonly places: readonly Place[];
  private readonly waiting: PendingForecasts;
  private readonly ramps: RampDetector;
  private readonly stateAt: readonly number[];
  private readonly combinationAt: number;
  private readonly calibrationAt: number;
  private readonly runawayAt: number;
  private readonly countersAt: number;
  private readonly fitsAt: number;
  private readonly fitted: readonly number[];
  private readonly stateSize: number;
  private readonly ramp: number;
  private readonly lookEvery: number;
  // Scratch, overwritten by every call.
  private readonly logs: Float64Array;
  private readonly weights: Float64Array[];
  /** By model, the logs said since the step closed, of the distances in `columns`. */
  private said: Float64Array[];
  private answer: Float64Array;
  private readonly columns = new Map<number, number>();
  private answered: { readonly memory: SeriesMemory | undefined; readonly age: number } = NOTHING;
  /** By model: a number when it spoke, else NaN. */
  private readonly spoken: Float64Array;
  private weighed: Weighed = { ...NOTHING, spoke: 0, distances: 0 };
  private combinedLogs = new Float64Array(0);
  private anchored = new Float64Array(0);
  private readonly anchorsFor = new WeakMap<readonly number[], InterpolationGrid>();

  constructor(grid: Grid, { models, ramp }: ModelSet, shape: HistoryShape) {
    this.grid = grid;
    this.models = models;
    this.names = models.map(({ name }) => name).join();
    this.shape = shape;
    this.lookEvery = lookEvery(grid.season);
    this.ramp = models.findIndex(({ name }) => name === ramp);
    this.ramps = new RampDetector(grid.stepMs);
    this.waiting = new PendingForecasts(grid.distances, models.length);
    this.calibration = new Calibration(grid);
    this.combination = new Combination(grid, models);
    this.places = placesOf(grid);
    let at = 0;
    this.stateAt = models.map((model) => {
      const from = at;
      at += model.stateSize(grid);
      return from;
    });
    this.combinationAt = at;
    this.calibrationAt = this.combinationAt + this.combination.size;
    this.runawayAt = this.calibrationAt + this.calibration.size;
    this.countersAt = this.runawayAt + this.ramps.size;
    this.fitsAt = this.countersAt + COUNTERS;
    this.stateSize = this.fitsAt + models.length;
    this.fitted = models.flatMap((model, m) => (model.fitEvery(grid) > 0 ? [m] : []));
    this.logs = new Float64Array(models.length);
    this.spoken = new Float64Array(models.length);
    this.weights = grid.distances.map(() => new Float64Array(models.length));
    this.said = models.map(() => new Float64Array(grid.distances.length));
    this.answer = new Float64Array(grid.distances.length);
  }

  fresh(): SeriesMemory {
    const state = new Float32Array(this.stateSize);
    this.calibration.begin(state, this.calibrationAt);
    return {
      history: new History(this.grid, this.shape),
      state,
      waiting: this.waiting.fresh(),
      parameters: this.models.map(() => NO_PARAMETERS),
    };
  }

  /** Closes a step with its rate; whatever is not a rate is cut to one. Steps come in order; one left out begins a gap. */
  close(memory: SeriesMemory, step: number, given: number): void {
    const rate = given > 0 ? Math.min(given, RATE_MAX) : 0; // NaN too.
    const { history, state } = memory;
    if (history.seen > 0 && step > history.end + BRIDGE_STEPS_MAX) {
      this.waiting.clear(memory.waiting);
      this.ramps.end(state, this.runawayAt);
      for (let m = 0; m < this.models.length; m++) this.stateOf(memory, m).fill(0);
    }
    this.judge(memory, step, rate);
    const { unit, units } = history;
    history.put(step, rate);
    if ((step + 1) % this.lookEvery === 0) this.look(memory);
    if (history.units !== units) this.retell(memory, unit);
    else for (let m = 0; m < this.models.length; m++) this.update(memory, m, step);
    if (state[this.countersAt + GARBAGE_AGE]! > 0) state[this.countersAt + GARBAGE_AGE]!++;
    this.issue(memory);
  }

  /** Closes a step and fits at once what is due: where nobody waits for it. */
  learn(memory: SeriesMemory, step: number, given: number): void {
    this.close(memory, step, given);
    this.fit(memory, this.fitsDue(memory));
  }

  /** Numbers of the models whose fit is due: young series fit at growing ages, old ones each `fitEvery` steps. */
  fitsDue(memory: SeriesMemory): readonly number[] {
    const { age } = memory.history;
    return this.fitted.filter((m) => {
      const before = memory.state[this.fitsAt + m]!;
      return age - before >= Math.min(this.models[m]!.fitEvery(this.grid), Math.max(FIRST_FIT_AGE, before / 2));
    });
  }

  /** Fits these models here and now, and takes what comes of it. */
  fit(memory: SeriesMemory, models: readonly number[]): void {
    for (const m of models) this.take(memory, m, this.models[m]!.fit(memory.history));
  }

  /**
   * Takes a model's parameters, as a fit gave them; without any, those from before stay. `regime` is that of the history
   * which was fitted: what comes back late from another one is dropped (F5).
   */
  take(memory: SeriesMemory, m: number, parameters: Parameters | undefined, regime = memory.history.regime): void {
    if (regime !== memory.history.regime) return;
    this.forgetAnswers();
    memory.state[this.fitsAt + m] = memory.history.age;
    if (parameters !== undefined) memory.parameters[m] = parameters;
  }

  /**
   * Writes the quantiles of the steps `ahead` of the last closed one, ascending, into `into`: `LEVEL_COUNT` for each, in
   * rates. Beyond one slot they lie on straight lines between slots, where slots are longer than a step. Valid after `close`.
   */
  quantiles(memory: SeriesMemory, ahead: readonly number[], into: Float64Array): void {
    const { interpolation, at, share } = this.anchorsOf(ahead);
    if (this.anchored.length < interpolation.length * LEVEL_COUNT)
      this.anchored = new Float64Array(interpolation.length * LEVEL_COUNT);
    const { anchored } = this;
    this.quantilesAt(memory, interpolation, anchored);
    for (let i = 0; i < ahead.length; i++) {
      const from = at[i]! * LEVEL_COUNT;
      const next = share[i] === 0 ? from : from + LEVEL_COUNT;
      for (let l = 0; l < LEVEL_COUNT; l++) {
        const here = anchored[from + l]!;
        into[i * LEVEL_COUNT + l] = here + share[i]! * (anchored[next + l]! - here);
      }
    }
  }

  /** Share of each model in the forecast at each distance; valid until the next call. */
  shares(memory: SeriesMemory): readonly Float64Array[] {
    if (this.weighed.memory !== memory || this.weighed.age !== memory.history.age)
      this.ask(memory, this.grid.distances);
    for (let d = 0; d < this.weights.length; d++) this.weightsAt(memory, d);
    return this.weights;
  }

  /** The model that leads at distance number `d`. */
  leader(memory: SeriesMemory, d: number): string {
    const weights = this.shares(memory)[d]!;
    return this.models[this.combination.lead(memory.state, this.combinationAt, d, weights)]!.name;
  }

  /** Share of lately judged steps at or below their 0.95 quantile at distance number `d`; NaN while unknown. */
  coverage(memory: SeriesMemory, d: number): number {
    return this.calibration.coverage(memory.state, this.calibrationAt, d);
  }

  /** Mean absolute error of the combination at distance number `d` lately, in rates; NaN while unknown. */
  meanError(memory: SeriesMemory, d: number): number {
    return this.combination.meanError(memory.state, this.combinationAt, d);
  }

  /** Forecasts of models that were no numbers so far, and how many steps ago the last one was. */
  garbage(memory: SeriesMemory): { readonly count: number; readonly age: number } {
    const age = memory.state[this.countersAt + GARBAGE_AGE]!;
    return { count: memory.state[this.countersAt + GARBAGE]!, age: age === 0 ? Number.POSITIVE_INFINITY : age - 1 };
  }

  /** Begins a young series where a kindred one stands: what that has learned of its models and errors is believed a little. */
  inherit(memory: SeriesMemory, from: SeriesMemory): void {
    const { state } = memory;
    this.forgetAnswers();
    state.set(from.state.subarray(this.combinationAt, this.runawayAt), this.combinationAt);
    this.combination.forget(state, this.combinationAt);
    this.calibration.forget(state, this.calibrationAt);
    for (const m of this.fitted) memory.parameters[m] = from.parameters[m]!;
  }

  /** Writes what changes with each step, and the history since `step`. */
  writeTail(memory: SeriesMemory, to: BinaryWriter, step: number): void {
    memory.history.writeTail(to, step);
    to.text(this.names).count(memory.state.length).numbers(memory.state);
    to.count(memory.waiting.length).numbers(memory.waiting);
  }

  /** Of other models only the history is taken over. */
  readTail(memory: SeriesMemory, from: BinaryReader): void {
    this.forgetAnswers();
    memory.history.readTail(from);
    const isOurs = from.text() === this.names;
    const state = from.numbers(new Float32Array(from.count()));
    const waiting = from.numbers(new Uint16Array(from.count()));
    if (!isOurs || state.length !== memory.state.length || waiting.length !== memory.waiting.length) return;
    memory.state.set(state);
    memory.waiting.set(waiting);
  }

  /** Writes what is large and changes seldom: the whole history, and what was fitted. */
  writePast(memory: SeriesMemory, to: BinaryWriter): void {
    memory.history.write(to);
    to.text(this.names).count(memory.parameters.length);
    for (const parameters of memory.parameters) to.count(parameters.length).numbers(parameters);
  }

  /** A memory that `readTail` has to complete. */
  readPast(from: BinaryReader): SeriesMemory {
    const history = History.read(from, this.grid, this.shape);
    const isOurs = from.text() === this.names;
    const parameters = Array.from({ length: from.count() }, () => from.numbers(new Float32Array(from.count())));
    const memory = this.fresh();
    return { ...memory, history, parameters: isOurs ? parameters : memory.parameters };
  }

  private quantilesAt(memory: SeriesMemory, ahead: readonly number[], into: Float64Array): void {
    const { history, state } = memory;
    const logs = this.combined(memory, ahead);
    const offsets = this.calibration.offsetsOf(state, this.calibrationAt);
    const headroom = HEADROOM + YOUNG_HEADROOM / (1 + (10 * history.age) / this.grid.season);
    for (let i = 0; i < ahead.length; i++) {
      const place = this.placeOf(ahead[i]!);
      const ceiling = Math.min(Math.max(history.peak, logs[i]!) + headroom, LOG_MAX);
      for (let l = 0; l < LEVEL_COUNT; l++) {
        const log = Math.min(logs[i]! + offsetAt(offsets, place, l), ceiling);
        into[i * LEVEL_COUNT + l] = log > 0 ? Math.min(history.rateOf(log), RATE_MAX) : 0; // F3
      }
    }
  }

  private anchorsOf(ahead: readonly number[]): InterpolationGrid {
    let interpolation = this.anchorsFor.get(ahead);
    if (interpolation === undefined) {
      interpolation = interpolationGridOf(ahead, this.grid.slotSteps);
      this.anchorsFor.set(ahead, interpolation);
    }
    return interpolation;
  }

  private stateOf(memory: SeriesMemory, m: number): Float32Array {
    const at = this.stateAt[m]!;
    if (this.stateAt[m + 1] === at) return NO_STATE;
    return memory.state.subarray(at, this.stateAt[m + 1] ?? this.combinationAt);
  }

  private update(memory: SeriesMemory, m: number, step: number): void {
    this.models[m]!.update(memory.history, this.stateOf(memory, m), memory.parameters[m]!, step);
  }

  /** Judges the forecasts of the step that closes now, one distance after the other. */
  private judge(memory: SeriesMemory, step: number, rate: number): void {
    const { history, state, waiting } = memory;
    const { logs, calibration } = this;
    const log = history.logOf(rate);
    const restless = calibration.restless(state, this.calibrationAt);
    for (let d = 0; d < this.weights.length; d++) {
      const combined = this.waiting.take(waiting, d, step, logs);
      if (Number.isNaN(combined)) continue;
      const others = this.combination.learn(state, this.combinationAt, d, logs, rate, history.unit);
      calibration.learn(state, this.calibrationAt, d, log - combined, restless);
      if (d > 0) continue;
      calibration.follow(state, this.calibrationAt, log - combined);
      const usual = calibration.spread(state, this.calibrationAt, 0);
      const ramp = this.ramp < 0 ? Number.NaN : logs[this.ramp]!;
      this.ramps.learn(state, this.runawayAt, log, others, ramp, usual);
    }
  }

  /** Puts the forecasts of the distances whose turn it is where they wait. */
  private issue(memory: SeriesMemory): void {
    const { step } = memory.history;
    const combined = this.combined(memory, this.waiting.dueAt(step));
    this.waiting.put(memory.waiting, step, this.said, combined);
  }

  /** The combined forecast's logs for `ahead`; valid until the next call. */
  private combined(memory: SeriesMemory, ahead: readonly number[]): Float64Array {
    this.ask(memory, ahead);
    const { history } = memory;
    const running = this.rampSpoke() ? this.ramps.belief(memory.state, this.runawayAt) : 0;
    if (this.combinedLogs.length < ahead.length) this.combinedLogs = new Float64Array(ahead.length);
    const combined = this.combinedLogs;
    for (let i = 0; i < ahead.length; i++) {
      const column = this.columns.get(ahead[i]!)!;
      const { near, share } = this.placeOf(ahead[i]!);
      const here = this.weightsAt(memory, near);
      const next = share === 0 ? here : this.weightsAt(memory, near + 1);
      let sum = 0;
      let log = 0;
      for (let m = 0; m < this.models.length; m++) {
        const weight = here[m]! + share * (next[m]! - here[m]!);
        if (!(weight > 0)) continue;
        sum += weight;
        log += weight * this.said[m]![column]!;
      }
      log = sum > 0 ? log / sum : history.typical;
      if (running > 0) log += running * this.ramps.kept(ahead[i]!) * (this.said[this.ramp]![column]! - log);
      combined[i] = Math.min(Math.max(log, 0), LOG_MAX);
    }
    return combined;
  }

  private rampSpoke(): boolean {
    return this.ramp >= 0 && this.said[this.ramp]![0]! >= 0;
  }

  /** Asks every model for what it has not said yet of `ahead` since the step closed; NaN from those not ready (F2). */
  private ask(memory: SeriesMemory, ahead: readonly number[]): void {
    const { history, state, parameters } = memory;
    const { answered, columns } = this;
    if (answered.memory !== memory || answered.age !== history.age) {
      columns.clear();
      this.answered = { memory, age: history.age };
    }
    const missing = ahead.filter((steps) => !columns.has(steps));
    if (missing.length === 0) return;
    const first = columns.size;
    for (const steps of missing) columns.set(steps, columns.size);
    this.makeRoomFor(columns.size);
    const { answer } = this;
    let spoke = 0;
    for (let m = 0; m < this.models.length; m++) {
      const model = this.models[m]!;
      const said = this.said[m]!;
      const own = this.stateOf(memory, m);
      if (!model.ready(history, own, parameters[m]!)) {
        said.fill(Number.NaN, first, columns.size);
        this.spoken[m] = Number.NaN;
        continue;
      }
      spoke |= 1 << m;
      model.forecast(history, own, parameters[m]!, missing, answer);
      let isSound = true;
      for (let i = 0; i < missing.length; i++) {
        if (!Number.isFinite(answer[i]!)) isSound = false;
        said[first + i] = Math.min(Math.max(answer[i]!, 0), LOG_MAX);
      }
      this.spoken[m] = said[first]!;
      if (isSound) continue;
      state[this.countersAt + GARBAGE]!++;
      state[this.countersAt + GARBAGE_AGE] = 1;
      own.fill(0);
      parameters[m] = NO_PARAMETERS;
      const fallback = this.said[0]!;
      for (let at = first; at < columns.size; at++)
        said[at] = m > 0 && fallback[at]! >= 0 ? fallback[at]! : history.typical;
    }
    const { weighed } = this;
    if (weighed.memory === memory && weighed.age === history.age && weighed.spoke === spoke) return;
    this.weighed = { memory, age: history.age, spoke, distances: 0 };
  }

  /** What models have said, and what they weigh, holds no longer. */
  private forgetAnswers(): void {
    this.answered = NOTHING;
    this.weighed = { ...NOTHING, spoke: 0, distances: 0 };
  }

  private makeRoomFor(distances: number): void {
    if (this.answer.length >= distances) return;
    this.answer = new Float64Array(2 * distances);
    this.said = this.said.map((before) => {
      const said = new Float64Array(2 * distances);
      said.set(before);
      return said;
    });
  }

  /** The weights at distance number `d` of the models that spoke last: worked out once for a step. */
  private weightsAt(memory: SeriesMemory, d: number): Float64Array {
    const weights = this.weights[d]!;
    if ((this.weighed.distances & (1 << d)) !== 0) return weights;
    this.weighed.distances |= 1 << d;
    this.combination.weigh(memory.state, this.combinationAt, d, this.spoken, weights);
    return weights;
  }

  /** Looks whether a new regime has begun (F5). */
  private look(memory: SeriesMemory): void {
    const begin = regimeBegin(memory.history);
    if (begin === undefined) return;
    memory.history.cut(begin);
    for (const m of this.fitted) {
      memory.parameters[m] = NO_PARAMETERS;
      memory.state[this.fitsAt + m] = 0;
    }
  }

  /** The history's unit has changed: what waits is told in the new one, and the models read the last steps again. */
  private retell(memory: SeriesMemory, before: number): void {
    const { history, waiting } = memory;
    this.waiting.map(waiting, (log) => history.logOf(before * Math.expm1(log)));
    const first = Math.max(history.nearBegin, history.end - Math.min(history.seen, REPLAYED_STEPS));
    for (let m = 0; m < this.models.length; m++) {
      this.stateOf(memory, m).fill(0);
      for (let step = first; step < history.end; step++) this.update(memory, m, step);
    }
  }

  private placeOf(ahead: number): Place {
    return this.places[Math.min(ahead, this.places.length) - 1]!;
  }
}
