// Flat history: a history copied into plain arrays with running sums, for fits that read every step of it many times.
// It returns the same values as the history itself, as far back as the history goes.

import type { History } from './history.ts';
import type { LogReader } from './log-reader.ts';

export class FlatHistory implements LogReader {
  readonly begin: number;
  readonly end: number;
  /** The first step that is held by itself, not only as part of a slot. */
  readonly nearBegin: number;
  readonly #nears: Float64Array;
  readonly #fars: Float64Array;
  readonly #nearSums: Float64Array;
  readonly #farSums: Float64Array;
  readonly #slotSums: Float64Array;
  readonly #wideSteps: number;
  readonly #slotSteps: number;

  constructor(history: History) {
    this.begin = history.begin;
    this.end = history.end;
    this.nearBegin = history.nearBegin;
    const steps = Math.max(0, this.end - this.begin);
    this.#fars = new Float64Array(steps);
    for (let i = 0; i < steps; i++) this.#fars[i] = history.far(this.begin + i);
    this.#farSums = sumsOf(this.#fars);
    this.#nears = this.#fars.slice();
    for (let step = this.nearBegin; step < this.end; step++) this.#nears[step - this.begin] = history.near(step);
    this.#nearSums = sumsOf(this.#nears);
    this.#slotSums = sumsOf(this.#fars.map((_, i) => history.slotFar(this.begin + i)));
    this.#wideSteps = history.wideSteps;
    this.#slotSteps = history.grid.slotSteps;
  }

  near(step: number): number {
    return this.#nears[this.#within(step)]!;
  }

  nearMean(from: number, to: number): number {
    return this.#mean(this.#nearSums, from, to);
  }

  far(step: number): number {
    return this.#fars[this.#within(step)]!;
  }

  farMean(from: number, to: number): number {
    if (to - from < this.#wideSteps) return this.#mean(this.#farSums, from, to);
    return this.#mean(this.#slotSums, from - (from % this.#slotSteps), to - (to % this.#slotSteps));
  }

  #mean(sums: Float64Array, from: number, to: number): number {
    const first = this.#within(from);
    const last = Math.max(first + 1, this.#within(to - 1) + 1);
    return (sums[last]! - sums[first]!) / (last - first);
  }

  #within(step: number): number {
    const at = step - this.begin;
    return at < 0 ? 0 : at >= this.#nears.length ? this.#nears.length - 1 : at;
  }
}

function sumsOf(values: Float64Array): Float64Array {
  const sums = new Float64Array(values.length + 1);
  for (let i = 0; i < values.length; i++) sums[i + 1] = sums[i]! + values[i]!;
  return sums;
}
