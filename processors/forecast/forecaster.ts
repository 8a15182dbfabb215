// Forecaster: closes the steps of a series and forecasts it, by all models together. There is one for all series of a grid;
// what it knows of one of them lies in that series' memory, a few flat arrays that are stored as they are.
//
//   F1. A forecast made at a step depends on nothing after it.
//   F2. Garbage (not a number, infinite) never leaves a model's forecast: the fallback takes its place, it is counted, and
//       the model begins anew.
//   F3. Whatever the rates and the models are, quantiles ascend, are finite and not negative, and stay within HEADROOM
//       above what was lately seen or is foreseen.
//   F4. When rates run away upwards, step after step and farther than errors usually reach (a one-sided cumulative sum;
//       Page, 1954), the model that sees ramps speaks for the others, which were chosen in quieter times, as far as it has
//       been nearer to the last few steps than they.
//   F5. Where a new regime begins, what was before is forgotten, and so are the fits that have seen it; new ones are due.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { codeOf, LOG_MAX, logOf } from '../../state/log-ring.ts';
import { Calibration, LEVELS, offsetAt } from './calibration.ts';
import { Combination } from './combination.ts';
import { type Grid, type Place, placesOf } from './grid.ts';
import { BRIDGE_STEPS_MAX, History, type HistoryShape, RATE_MAX } from './history.ts';
import { type Model, NO_PARAMETERS, NO_STATE, type Parameters } from './model.ts';
import { lookEvery, regimeBegin } from './regime.ts';

export interface SeriesMemory {
  readonly history: History;
  /** What the models, the combination and the calibration have learned. */
  readonly state: Float32Array;
  /** Forecasts that wait for their step: by distance and turn, each model's and the combined one, as log codes. */
  readonly waiting: Uint16Array;
  /** By model; replaced as a whole when a fit comes back. */
  readonly parameters: Parameters[];
}

/** The models of a forecaster, the fallback first; `ramp` names the one that speaks when rates run away. */
export interface ModelSet {
  readonly models: readonly Model[];
  readonly ramp: string;
}

/** Forecasts of one distance that wait at a time. */
const TURNS = 8;
/** Steps that a model reads again when it begins anew. */
const REPLAYED_STEPS = 60;
/** Half as much again as the most lately seen, and more while the series is young and has shown little. */
const HEADROOM = Math.log(1.25);
const YOUNG_HEADROOM = 1;
/**
 * A surprise counts from three usual errors on, and for five at most, so that one wild step is no ramp but two in a row
 * begin one; the sum fades within a few steps.
 */
const SURPRISE_USUAL = 3;
const SURPRISE_MAX = 5;
const RUNAWAY_KEPT = 0.8;
const RUNAWAY_FROM = SURPRISE_MAX;
const RUNAWAY_FULL = 9;
/** So far ahead a ramp is over, or nobody knows: its word fades until here, and in long steps until the twelfth. */
const RUNAWAY_MS = 90 * 60_000;
const RUNAWAY_STEPS_MIN = 12;
const LATE_GAIN = 0.3;
/** The ramp's model speaks alone when the others err so many times as much. */
const RAMP_BETTER = 1.25;
/** From so many slots ahead on, quantiles are worked out for every second slot. */
const COARSE_FROM_SLOTS = 4;
const COARSE_SLOTS = 2;
const HOLE = codeOf(Number.NaN);
const LEVEL_COUNT = LEVELS.length;
/** Steps after which a series is fitted for the first time. */
const FIRST_FIT_AGE = 60;

/** Where in the counters of a series. */
const RUNAWAY = 0;
const GARBAGE = 1;
/** Steps since the last garbage, plus one; 0: never. */
const GARBAGE_AGE = 2;
/** Absolute log errors one step ahead over the last few steps: of all models together, and of the ramp's alone. */
const LATE_ERROR = 3;
const RAMP_LATE_ERROR = 4;
const COUNTERS = 5;

/** Steps ahead that are really forecast, and where the others lie: `share` of the way from anchor `at` to the next. */
interface Anchors {
  readonly anchors: readonly number[];
  readonly at: readonly number[];
  readonly share: readonly number[];
}

interface Weighed {
  readonly memory: SeriesMemory | undefined;
  readonly age: number;
  readonly spoke: number;
  distances: number;
}

interface Turn {
  readonly ahead: number;
  readonly every: number;
  readonly slots: number;
  /** Where its waiting forecasts begin. */
  readonly at: number;
}

export class Forecaster {
  readonly grid: Grid;
  readonly models: readonly Model[];
  readonly shape: HistoryShape;
  private readonly names: string;
  private readonly calibration: Calibration;
  private readonly combination: Combination;
  private readonly places: readonly Place[];
  private readonly turns: readonly Turn[];
  private readonly stateAt: readonly number[];
  private readonly combinationAt: number;
  private readonly calibrationAt: number;
  private readonly countersAt: number;
  private readonly fitsAt: number;
  private readonly fitted: readonly number[];
  private readonly stateSize: number;
  private readonly waitingSize: number;
  private readonly ramp: number;
  private readonly lookEvery: number;
  private readonly runawaySteps: number;
  // Scratch, overwritten by every call.
  private readonly logs: Float64Array;
  private readonly weights: Float64Array[];
  private said: Float64Array[];
  /** By model: a number when it spoke, else NaN. */
  private readonly spoken: Float64Array;
  /** What `weights` are of: the series, its age, which models spoke, and at which distances, as bits. */
  private weighed: Weighed = { memory: undefined, age: -1, spoke: 0, distances: 0 };
  private combinedLogs = new Float64Array(0);
  private anchored = new Float64Array(0);
  private readonly anchorsFor = new WeakMap<readonly number[], Anchors>();
  private readonly due: number[] = [];

  constructor(grid: Grid, { models, ramp }: ModelSet, shape: HistoryShape) {
    this.grid = grid;
    this.models = models;
    this.names = models.map(({ name }) => name).join();
    this.shape = shape;
    this.lookEvery = lookEvery(grid.season);
    this.ramp = models.findIndex(({ name }) => name === ramp);
    this.runawaySteps = Math.max(RUNAWAY_STEPS_MIN, RUNAWAY_MS / grid.stepMs);
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
    this.countersAt = this.calibrationAt + this.calibration.size;
    this.fitsAt = this.countersAt + COUNTERS;
    this.stateSize = this.fitsAt + models.length;
    this.fitted = models.flatMap((model, m) => (model.fitEvery(grid) > 0 ? [m] : []));
    let waitingAt = 0;
    this.turns = grid.distances.map((ahead) => {
      const every = turnOf(ahead);
      const turn = { ahead, every, slots: ahead / every, at: waitingAt };
      waitingAt += turn.slots * (models.length + 1);
      return turn;
    });
    this.waitingSize = waitingAt;
    this.logs = new Float64Array(models.length);
    this.spoken = new Float64Array(models.length);
    this.weights = grid.distances.map(() => new Float64Array(models.length));
    this.said = models.map(() => new Float64Array(grid.distances.length));
  }

  fresh(): SeriesMemory {
    const state = new Float32Array(this.stateSize);
    this.calibration.begin(state, this.calibrationAt);
    return {
      history: new History(this.grid, this.shape),
      state,
      waiting: new Uint16Array(this.waitingSize).fill(HOLE),
      parameters: this.models.map(() => NO_PARAMETERS),
    };
  }

  /** Closes a step with its rate; whatever is not a rate is cut to one. Steps come in order; one left out begins a gap. */
  close(memory: SeriesMemory, step: number, given: number): void {
    const rate = given > 0 ? Math.min(given, RATE_MAX) : 0; // NaN too.
    const { history, state } = memory;
    if (history.seen > 0 && step > history.end + BRIDGE_STEPS_MAX) {
      memory.waiting.fill(HOLE);
      state[this.countersAt + RUNAWAY] = 0;
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
    memory.state[this.fitsAt + m] = memory.history.age;
    if (parameters !== undefined) memory.parameters[m] = parameters;
  }

  /**
   * Writes the quantiles of the steps `ahead` of the last closed one, ascending, into `into`: `LEVEL_COUNT` for each, in
   * rates. Beyond one slot they lie on straight lines between slots, where slots are longer than a step. Valid after `close`.
   */
  quantiles(memory: SeriesMemory, ahead: readonly number[], into: Float64Array): void {
    const { anchors, at, share } = this.anchorsOf(ahead);
    if (this.anchored.length < anchors.length * LEVEL_COUNT)
      this.anchored = new Float64Array(anchors.length * LEVEL_COUNT);
    const { anchored } = this;
    this.quantilesAt(memory, anchors, anchored);
    for (let i = 0; i < ahead.length; i++) {
      const from = at[i]! * LEVEL_COUNT;
      for (let l = 0; l < LEVEL_COUNT; l++) {
        const here = anchored[from + l]!;
        into[i * LEVEL_COUNT + l] =
          share[i] === 0 ? here : here + share[i]! * (anchored[from + LEVEL_COUNT + l]! - here);
      }
    }
  }

  /** Share of each model in the forecast at each distance; valid until the next call. */
  shares(memory: SeriesMemory): readonly Float64Array[] {
    if (this.weighed.memory !== memory || this.weighed.age !== memory.history.age)
      this.ask(memory, this.grid.distances);
    for (let d = 0; d < this.turns.length; d++) this.weightsAt(memory, d);
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
    state.set(from.state.subarray(this.combinationAt, this.countersAt), this.combinationAt);
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

  private anchorsOf(ahead: readonly number[]): Anchors {
    let anchors = this.anchorsFor.get(ahead);
    if (anchors === undefined) {
      anchors = anchorsOf(ahead, this.grid.slotSteps);
      this.anchorsFor.set(ahead, anchors);
    }
    return anchors;
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
    const width = this.models.length + 1;
    const log = history.logOf(rate);
    const restless = this.calibration.restless(state, this.calibrationAt);
    for (let d = 0; d < this.turns.length; d++) {
      const { every, slots, at } = this.turns[d]!;
      if (step % every !== 0) continue;
      const from = at + ((step / every) % slots) * width;
      const combined = logOf(waiting[from + this.models.length]!);
      if (Number.isNaN(combined)) continue;
      for (let m = 0; m < this.models.length; m++) this.logs[m] = logOf(waiting[from + m]!);
      const others = this.combination.learn(state, this.combinationAt, d, this.logs, rate, history.unit);
      const error = log - combined;
      this.calibration.learn(state, this.calibrationAt, d, error, restless);
      waiting.fill(HOLE, from, from + width);
      if (d > 0) continue;
      this.calibration.follow(state, this.calibrationAt, error);
      this.watch(state, (log - others) / Math.max(this.calibration.spread(state, this.calibrationAt, 0), 0.01));
      if (!(this.ramp >= 0 && this.logs[this.ramp]! >= 0)) continue;
      const lateError = Math.abs(log - others);
      const rampError = Math.abs(log - this.logs[this.ramp]!);
      state[this.countersAt + LATE_ERROR]! += LATE_GAIN * (lateError - state[this.countersAt + LATE_ERROR]!);
      state[this.countersAt + RAMP_LATE_ERROR]! += LATE_GAIN * (rampError - state[this.countersAt + RAMP_LATE_ERROR]!);
    }
  }

  /** F4: follows the sum of surprises to the models together. By its own the ramp's would fall silent once it is right. */
  private watch(state: Float32Array, surprise: number): void {
    const at = this.countersAt + RUNAWAY;
    const counted = surprise < SURPRISE_USUAL ? -SURPRISE_MAX : Math.min(surprise, SURPRISE_MAX);
    state[at] = Math.max(0, RUNAWAY_KEPT * state[at]! + counted);
  }

  /** Puts the forecasts of the distances whose turn it is where they wait. */
  private issue(memory: SeriesMemory): void {
    const { history, waiting } = memory;
    const { due } = this;
    due.length = 0;
    for (const { ahead, every } of this.turns) if ((history.step + ahead) % every === 0) due.push(ahead);
    const combined = this.combined(memory, due);
    let i = 0;
    for (const { ahead, every, slots, at } of this.turns) {
      if (due[i] !== ahead) continue;
      const from = at + (((history.step + ahead) / every) % slots) * (this.models.length + 1);
      for (let m = 0; m < this.models.length; m++) waiting[from + m] = codeOf(this.said[m]![i]!);
      waiting[from + this.models.length] = codeOf(combined[i]!);
      i++;
    }
  }

  /** The combined forecast's logs for `ahead`; valid until the next call. */
  private combined(memory: SeriesMemory, ahead: readonly number[]): Float64Array {
    this.ask(memory, ahead);
    const { history } = memory;
    const runaway = this.runaway(memory);
    if (this.combinedLogs.length < ahead.length) this.combinedLogs = new Float64Array(ahead.length);
    const combined = this.combinedLogs;
    for (let i = 0; i < ahead.length; i++) {
      const { near, share } = this.placeOf(ahead[i]!);
      const here = this.weightsAt(memory, near);
      const next = share === 0 ? here : this.weightsAt(memory, near + 1);
      let sum = 0;
      let log = 0;
      for (let m = 0; m < this.models.length; m++) {
        const weight = here[m]! + share * (next[m]! - here[m]!);
        if (!(weight > 0)) continue;
        sum += weight;
        log += weight * this.said[m]![i]!;
      }
      log = sum > 0 ? log / sum : history.typical;
      if (runaway > 0 && ahead[i]! < this.runawaySteps) {
        const believed = runaway * (1 - ahead[i]! / this.runawaySteps);
        log += believed * (this.said[this.ramp]![i]! - log);
      }
      combined[i] = Math.min(Math.max(log, 0), LOG_MAX);
    }
    return combined;
  }

  /** 0 when the ramp's model is not to speak for the others, 1 when it alone is to. */
  private runaway(memory: SeriesMemory): number {
    if (this.ramp < 0 || !(this.said[this.ramp]![0]! >= 0)) return 0;
    const { state } = memory;
    const sum = state[this.countersAt + RUNAWAY]!;
    if (sum <= RUNAWAY_FROM) return 0;
    const better = state[this.countersAt + LATE_ERROR]! / Math.max(state[this.countersAt + RAMP_LATE_ERROR]!, 1e-6);
    const believed = Math.min(1, Math.max(0, (better - 1) / (RAMP_BETTER - 1)));
    return believed * Math.min(1, (sum - RUNAWAY_FROM) / (RUNAWAY_FULL - RUNAWAY_FROM));
  }

  /** Asks every model for `ahead`; NaN from those that are not ready (F2). */
  private ask(memory: SeriesMemory, ahead: readonly number[]): void {
    if (ahead.length === 0) return;
    const { history, state, parameters } = memory;
    let spoke = 0;
    if (this.said[0]!.length < ahead.length) this.said = this.models.map(() => new Float64Array(ahead.length));
    for (let m = 0; m < this.models.length; m++) {
      const model = this.models[m]!;
      const said = this.said[m]!;
      const own = this.stateOf(memory, m);
      if (!model.ready(history, own, parameters[m]!)) {
        said.fill(Number.NaN, 0, ahead.length);
        this.spoken[m] = Number.NaN;
        continue;
      }
      spoke |= 1 << m;
      model.forecast(history, own, parameters[m]!, ahead, said);
      let isSound = true;
      for (let i = 0; i < ahead.length; i++) {
        if (!Number.isFinite(said[i]!)) isSound = false;
        said[i] = Math.min(Math.max(said[i]!, 0), LOG_MAX);
      }
      this.spoken[m] = said[0]!;
      if (isSound) continue;
      state[this.countersAt + GARBAGE]!++;
      state[this.countersAt + GARBAGE_AGE] = 1;
      own.fill(0);
      parameters[m] = NO_PARAMETERS;
      const fallback = this.said[0]!;
      for (let i = 0; i < ahead.length; i++) said[i] = m > 0 && fallback[i]! >= 0 ? fallback[i]! : history.typical;
    }
    const { weighed } = this;
    if (weighed.memory === memory && weighed.age === history.age && weighed.spoke === spoke) return;
    this.weighed = { memory, age: history.age, spoke, distances: 0 };
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
    for (let i = 0; i < waiting.length; i++)
      if (waiting[i] !== HOLE) waiting[i] = codeOf(history.logOf(before * Math.expm1(logOf(waiting[i]!))));
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

/** Every step of the first slot, then whole slots, then pairs of them around those asked for; all steps without slots. */
function anchorsOf(ahead: readonly number[], slotSteps: number): Anchors {
  const spanAt = (steps: number): number =>
    slotSteps === 1 || steps <= slotSteps
      ? 1
      : steps < COARSE_FROM_SLOTS * slotSteps
        ? slotSteps
        : COARSE_SLOTS * slotSteps;
  const below = (steps: number): number => steps - (steps % spanAt(steps));
  const wanted = new Set<number>();
  for (const steps of ahead) {
    wanted.add(below(steps));
    if (below(steps) !== steps) wanted.add(below(steps) + spanAt(steps));
  }
  const anchors = [...wanted].sort((a, b) => a - b);
  return {
    anchors,
    at: ahead.map((steps) => anchors.indexOf(below(steps))),
    share: ahead.map((steps) => (steps - below(steps)) / spanAt(steps)),
  };
}

/** Steps between two judged forecasts of a distance: a divisor of it, so that their steps come round in turn. */
function turnOf(ahead: number): number {
  let every = Math.max(1, Math.floor(ahead / TURNS));
  while (ahead % every !== 0) every--;
  return every;
}
