// Fit queue: which series of a task are fitted next. Fits are costly, so that there is a budget of them for each minute of
// event time; the busiest series come first. A series that has to wait takes over what was fitted to one of the same shape
// of day (QB5000: Ma et al., SIGMOD 2018), and is fitted itself when its turn comes round.
//
//   Q1. At most `fitsPerMinute` are asked for in a minute, and at most that many in a burst after a quiet time.
//   Q2. A series is not asked for again before its answer has come, or `ANSWER_STEPS` have passed.
//   Q3. Bounded: `CANDIDATES_MAX` wait, `CLUSTERS_MAX` shapes are remembered. Nothing here is stored: after a restart the
//       series that are due offer themselves again.

import type { History } from './history/history.ts';
import type { Parameters } from './model.ts';

export interface Candidate {
  readonly key: string;
  /** Events per second: what a better forecast is worth. */
  readonly value: number;
  /** Event time, in steps. */
  readonly step: number;
}

interface Cluster {
  readonly shape: Float32Array;
  readonly parameters: readonly Parameters[];
}

const CANDIDATES_MAX = 256;
const CLUSTERS_MAX = 64;
/** A fit that has not come back after an hour never will. */
const ANSWER_STEPS = 60;
const SHAPE_PARTS = 24;
/** Likeness of two days, from -1 to 1, from which one fit serves both. QB5000 clusters from 0.8 on. */
const LIKENESS_MIN = 0.9;

export class FitQueue {
  readonly #fitsPerMinute: number;
  readonly #waiting = new Map<string, Candidate>();
  readonly #asked = new Map<string, number>();
  readonly #clusters: Cluster[] = [];
  #tokens: number;
  #refilledAt = -1;

  constructor(fitsPerMinute: number) {
    this.#fitsPerMinute = fitsPerMinute;
    this.#tokens = fitsPerMinute;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  /** False when there is no place for it: the least valuable one gives way. */
  offer(candidate: Candidate): boolean {
    const since = this.#asked.get(candidate.key);
    if (since !== undefined && candidate.step - since < ANSWER_STEPS) return false; // Q2
    this.#waiting.set(candidate.key, candidate);
    if (this.#waiting.size <= CANDIDATES_MAX) return true;
    let least = candidate;
    for (const each of this.#waiting.values()) if (each.value < least.value) least = each;
    this.#waiting.delete(least.key);
    return least !== candidate;
  }

  /** Takes out those whose turn it is at `minute`, the most valuable first. */
  next(minute: number): readonly Candidate[] {
    if (this.#refilledAt >= 0)
      this.#tokens = Math.min(this.#fitsPerMinute, this.#tokens + (minute - this.#refilledAt) * this.#fitsPerMinute);
    this.#tokens = Math.max(0, this.#tokens);
    this.#refilledAt = minute;
    const count = Math.min(Math.floor(this.#tokens), this.#waiting.size);
    if (count === 0) return [];
    const chosen = [...this.#waiting.values()].sort((a, b) => b.value - a.value || (a.key < b.key ? -1 : 1));
    chosen.length = count;
    this.#tokens -= count;
    for (const { key, step } of chosen) {
      this.#waiting.delete(key);
      this.#asked.set(key, step);
    }
    return chosen;
  }

  /** Those that still wait, to be served from a cluster; they are no longer candidates. */
  rest(): readonly Candidate[] {
    const rest = [...this.#waiting.values()];
    this.#waiting.clear();
    return rest;
  }

  answered(key: string): void {
    this.#asked.delete(key);
  }

  /** Remembers what was fitted to this history for those like it. */
  learn(history: History, parameters: readonly Parameters[]): void {
    const shape = shapeOf(history);
    if (shape === undefined) return;
    const known = this.#clusters.findIndex((cluster) => likeness(cluster.shape, shape) >= LIKENESS_MIN);
    if (known >= 0) this.#clusters.splice(known, 1);
    this.#clusters.push({ shape, parameters: [...parameters] });
    if (this.#clusters.length > CLUSTERS_MAX) this.#clusters.shift();
  }

  /** What was fitted to the series most like this one; `undefined` when none is like it. */
  kindred(history: History): readonly Parameters[] | undefined {
    const shape = shapeOf(history);
    if (shape === undefined) return undefined;
    let best: Cluster | undefined;
    let most = LIKENESS_MIN;
    for (const cluster of this.#clusters) {
      const like = likeness(cluster.shape, shape);
      if (like < most) continue;
      most = like;
      best = cluster;
    }
    return best?.parameters;
  }
}

/** The last day in parts, as unit vector around its mean; `undefined` before a day has passed, and for a day without shape. */
function shapeOf(history: History): Float32Array | undefined {
  const { season } = history.grid;
  if (history.end - history.begin < season) return undefined;
  const shape = new Float32Array(SHAPE_PARTS);
  const part = season / SHAPE_PARTS;
  // From midnight of the step count on, so that shapes of different hours can be compared.
  const today = Math.floor(history.end / season) * season;
  for (let i = 0; i < SHAPE_PARTS; i++) {
    let from = today + Math.round(i * part);
    let to = today + Math.round((i + 1) * part);
    if (to > history.end) {
      from -= season;
      to -= season;
    }
    shape[i] = history.farMean(from, to);
  }
  const mean = shape.reduce((sum, log) => sum + log, 0) / SHAPE_PARTS;
  let square = 0;
  for (let i = 0; i < SHAPE_PARTS; i++) {
    shape[i]! -= mean;
    square += shape[i]! ** 2;
  }
  if (!(square > 1e-6)) return undefined;
  const size = Math.sqrt(square);
  return shape.map((log) => log / size);
}

function likeness(a: Float32Array, b: Float32Array): number {
  let product = 0;
  for (let i = 0; i < SHAPE_PARTS; i++) product += a[i]! * b[i]!;
  return product;
}
