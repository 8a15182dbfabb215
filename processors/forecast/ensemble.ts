// Ensemble: every model forecasts, and each is believed, at each distance, by the errors it made there in this series. A
// model that was short costs more than one that was long: a shard too few hurts more than one too many.
//
//   E1. A forecast is judged by the step it spoke of, once, when that step has closed.
//   E2. Garbage (not a number, infinite) never leaves a model's path: the fallback takes its place, and it is counted.
//   E3. Paths stay within 0 and GROWTH_MAX times the most that was seen in a day.
//   E4. The leader at a distance gives way only to a model that is a tenth better.
//   E5. When rates run away upwards, minute after minute and farther than errors usually reach, the model that sees ramps
//       speaks for the others, which were chosen in quieter times (a one-sided cumulative sum; Page, 1954).

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { BETWEEN, Calibration, DISTANCES } from './calibration.ts';
import type { History } from './history.ts';
import type { Model } from './model.ts';

/** A shortage costs as much as twice the surplus. */
const SHORT_COST = 2;
/** Weight of one more judged forecast at each distance: some 60 of them count, fewer where they are rare. */
const COST_GAINS = [0.03, 0.03, 0.05, 0.1];
const LEADER_BONUS = 0.9;
/** Weights fall with the fourth power of the cost: a model twice as bad has a sixteenth of the weight. */
const WEIGHT_MIN = 0.02;
const GROWTH_MAX = 4;
/**
 * A surprise counts from three usual errors on, and for five at most, so that one wild minute is no ramp but two in a row
 * begin one; the sum fades within minutes.
 */
const SURPRISE_USUAL = 3;
const SURPRISE_MAX = 5;
const RUNAWAY_KEPT = 0.8;
const RUNAWAY_FROM = SURPRISE_MAX;
const RUNAWAY_FULL = 9;
const NO_FORECAST = Number.NaN;

const SLOTS = DISTANCES.reduce((sum, each) => sum + each.slots, 0);

export class Ensemble {
  calibration = new Calibration();
  /** Paths that were garbage since the beginning, and the step of the last one. */
  garbage = 0;
  garbageStep = -1;
  /** The sum of surprises (E5). */
  private runaway = 0;
  /** Recent absolute error of the blend at each distance; NaN while unknown. */
  readonly errors = new Float32Array(DISTANCES.length).fill(Number.NaN);
  private readonly models: readonly Model[];
  private readonly states: readonly Float32Array[];
  /** By distance and model; NaN while a model was never judged there. */
  private readonly costs: Float32Array;
  private readonly leaders = new Uint8Array(DISTANCES.length);
  /** Forecasts that wait for their step: by slot, each model's and then the blend's. */
  private readonly waiting: Float32Array;
  /** Derived at each `next`, not stored. */
  private lastWeights: readonly Float64Array[] = [];

  constructor(models: readonly Model[]) {
    this.models = models;
    this.states = models.map((model) => new Float32Array(model.stateSize));
    this.costs = new Float32Array(DISTANCES.length * models.length).fill(Number.NaN);
    this.waiting = new Float32Array(SLOTS * (models.length + 1)).fill(NO_FORECAST);
  }

  /** The blend's path from the newest step of `history`, after learning from that step. */
  next(history: History, floor: number, path: Float64Array): void {
    this.judge(history, floor);
    this.learn(history);
    const paths = this.forecasts(history, path.length);
    const weights = this.weights(paths);
    blend(paths, weights, path);
    this.wait(history.step, paths, path);
  }

  /** Forgets forecasts of steps that will never come. What was learned of the models stays. */
  gap(): void {
    this.waiting.fill(NO_FORECAST);
    this.runaway = 0;
    for (const state of this.states) state.fill(0);
  }

  /** Share of each model in the forecast, over the distances. */
  shares(): Record<string, number> {
    const shares: Record<string, number> = {};
    for (const row of this.lastWeights)
      for (let m = 0; m < row.length; m++)
        if (row[m]! > 0) {
          const name = this.models[m]!.name;
          shares[name] = (shares[name] ?? 0) + row[m]! / DISTANCES.length;
        }
    return shares;
  }

  private judge(history: History, floor: number): void {
    const seen = history.last;
    const width = this.models.length + 1;
    let first = 0;
    for (let d = 0; d < DISTANCES.length; first += DISTANCES[d]!.slots, d++) {
      const { every, slots } = DISTANCES[d]!;
      if (history.step % every !== 0) continue;
      const at = (first + ((history.step / every) % slots)) * width;
      for (let m = 0; m < this.models.length; m++) {
        const foreseen = this.waiting[at + m]!;
        if (Number.isNaN(foreseen)) continue;
        const cost = foreseen < seen ? SHORT_COST * (seen - foreseen) : foreseen - seen;
        this.costs[d * this.models.length + m] = followed(
          this.costs[d * this.models.length + m]!,
          cost,
          COST_GAINS[d]!,
        );
      }
      const foreseen = this.waiting[at + this.models.length]!;
      if (Number.isNaN(foreseen)) continue;
      this.errors[d] = followed(this.errors[d]!, Math.abs(seen - foreseen), COST_GAINS[d]!);
      if (d === 0) this.watch(this.calibration.surprise(foreseen, seen, floor));
      this.calibration.learn(d, foreseen, seen, floor);
    }
  }

  private watch(surprise: number): void {
    this.runaway =
      RUNAWAY_KEPT * this.runaway + (surprise < SURPRISE_USUAL ? -SURPRISE_MAX : Math.min(surprise, SURPRISE_MAX));
    if (this.runaway < 0) this.runaway = 0;
  }

  private learn(history: History): void {
    for (let m = 0; m < this.models.length; m++) {
      const model = this.models[m]!;
      model.update(history, this.states[m]!);
      if (model.fitEvery > 0 && history.seen % model.fitEvery === 0) model.fit(history, this.states[m]!);
    }
  }

  /** A path for each model, `undefined` for those that are not ready. The first model is the fallback (E2). */
  private forecasts(history: History, steps: number): (Float64Array | undefined)[] {
    const most = GROWTH_MAX * history.peak();
    const paths: (Float64Array | undefined)[] = [];
    for (let m = 0; m < this.models.length; m++) {
      const model = this.models[m]!;
      if (!model.ready(history, this.states[m]!)) {
        paths.push(undefined);
        continue;
      }
      const path = new Float64Array(steps);
      model.forecast(history, this.states[m]!, path);
      if (!isFinitePath(path)) {
        this.garbage++;
        this.garbageStep = history.step;
        this.states[m]!.fill(0);
        const fallback = paths[0];
        if (fallback === undefined) path.fill(history.last);
        else path.set(fallback);
      }
      for (let k = 0; k < steps; k++) path[k] = Math.min(Math.max(path[k]!, 0), most); // E3
      paths.push(path);
    }
    paths[0] ??= new Float64Array(steps).fill(history.last);
    return paths;
  }

  private weights(paths: readonly (Float64Array | undefined)[]): readonly Float64Array[] {
    const count = this.models.length;
    const all: Float64Array[] = [];
    const ramps = this.models.findIndex((model) => model.seesRamps);
    const seesRamp = ramps >= 0 && paths[ramps] !== undefined;
    for (let d = 0; d < DISTANCES.length; d++) {
      const costOf = (m: number): number => {
        const cost = paths[m] === undefined ? Number.NaN : this.costs[d * count + m]!;
        return m === this.leaders[d] ? cost * LEADER_BONUS : cost;
      };
      let best = -1;
      for (let m = 0; m < count; m++) if (!Number.isNaN(costOf(m)) && (best < 0 || costOf(m) < costOf(best))) best = m; // E4
      const weights = new Float64Array(count);
      all.push(weights);
      if (best < 0) {
        weights[0] = 1;
        continue;
      }
      this.leaders[d] = best;
      const least = costOf(best);
      let sum = 0;
      for (let m = 0; m < count; m++) {
        const cost = costOf(m);
        if (Number.isNaN(cost)) continue;
        const ratio = cost <= least ? 1 : least / cost;
        const weight = ratio ** 4;
        weights[m] = weight < WEIGHT_MIN ? 0 : weight;
        sum += weights[m]!;
      }
      // An hour ahead a ramp is over, or nobody knows.
      const ramp =
        d === DISTANCES.length - 1
          ? 0
          : Math.min(1, Math.max(0, (this.runaway - RUNAWAY_FROM) / (RUNAWAY_FULL - RUNAWAY_FROM)));
      for (let m = 0; m < count; m++) {
        weights[m]! *= (1 - (seesRamp ? ramp : 0)) / sum;
        if (m === ramps && seesRamp) weights[m]! += ramp; // E5
      }
    }
    this.lastWeights = all;
    return all;
  }

  private wait(step: number, paths: readonly (Float64Array | undefined)[], path: Float64Array): void {
    const width = this.models.length + 1;
    let first = 0;
    for (const { ahead, every, slots } of DISTANCES) {
      if (step % every === 0) {
        const at = (first + ((step / every) % slots)) * width;
        for (let m = 0; m < this.models.length; m++) this.waiting[at + m] = paths[m]?.[ahead - 1] ?? NO_FORECAST;
        this.waiting[at + this.models.length] = path[ahead - 1]!;
      }
      first += slots;
    }
  }

  get leader(): string {
    return this.models[this.leaders[2]!]!.name;
  }

  write(to: BinaryWriter): void {
    to.count(this.garbage)
      .count(this.garbageStep + 1)
      .double(this.runaway);
    for (const numbers of [...this.states, this.errors, this.costs, this.leaders, this.waiting]) to.numbers(numbers);
    this.calibration.write(to);
  }

  static read(from: BinaryReader, models: readonly Model[]): Ensemble {
    const ensemble = new Ensemble(models);
    ensemble.garbage = from.count();
    ensemble.garbageStep = from.count() - 1;
    ensemble.runaway = from.double();
    for (const state of ensemble.states) from.numbers(state);
    for (const numbers of [ensemble.errors, ensemble.costs, ensemble.leaders, ensemble.waiting]) from.numbers(numbers);
    ensemble.calibration = Calibration.read(from);
    return ensemble;
  }
}

function blend(
  paths: readonly (Float64Array | undefined)[],
  weights: readonly Float64Array[],
  into: Float64Array,
): void {
  into.fill(0);
  for (let m = 0; m < paths.length; m++) {
    const path = paths[m];
    if (path === undefined) continue;
    for (let k = 0; k < into.length; k++) {
      const { near, share } = BETWEEN[Math.min(k, BETWEEN.length - 1)]!;
      const weight = weights[near]![m]!;
      const far = share === 0 ? weight : weights[near + 1]![m]!;
      into[k]! += (weight + share * (far - weight)) * path[k]!;
    }
  }
}

const followed = (before: number, value: number, gain: number): number =>
  Number.isNaN(before) ? value : before + gain * (value - before);

function isFinitePath(path: Float64Array): boolean {
  for (let k = 0; k < path.length; k++) if (!Number.isFinite(path[k]!)) return false;
  return true;
}
