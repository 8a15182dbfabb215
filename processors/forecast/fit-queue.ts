// Fit queue: decides which series of a task are fitted next. Fits are costly, so there is a budget of them for each
// minute of event time, and the busiest series come first. A series that has to wait takes over the parameters that
// were fitted to a series with a similar shape of day (QB5000: Ma et al., SIGMOD 2018), and is fitted itself later.
//
//   Q1. At most `fitsPerMinute` fits are asked for in a minute; after a quiet time, at most that many at once.
//   Q2. A series is not asked for again before its answer has come, or `ANSWER_STEPS` have passed.
//   Q3. Bounded: `CANDIDATES_MAX` wait, `CLUSTERS_MAX` shapes are remembered. Nothing here is stored: after a restart the
//       series that are due offer themselves again.

import type { History } from './history/history.ts';
import type { Parameters } from './model.ts';

export interface Candidate {
  readonly key: string;
  /** Its priority: events per second. The busier a series, the more a better forecast is worth. */
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
/** Steps (an hour) after which an answer is no longer expected. */
const ANSWER_STEPS = 60;
const SHAPE_PARTS = 24;
/** Cosine likeness of two days' shapes, -1 to 1, from which one fit serves both. QB5000 clusters from 0.8 on. */
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

  /**
   * Adds a candidate. When the queue is full, the one with the lowest value is dropped. False when the candidate itself
   * is not taken.
   */
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

  /** Removes and returns the candidates to fit at `minute`, the most valuable first. */
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

  /**
   * Removes and returns the candidates that are still waiting, so that they can be served from a similar series' fit.
   */
  rest(): readonly Candidate[] {
    const rest = [...this.#waiting.values()];
    this.#waiting.clear();
    return rest;
  }

  answered(key: string): void {
    this.#asked.delete(key);
  }

  /** Remembers what was fitted to this history, for series with a similar day. */
  learn(history: History, parameters: readonly Parameters[]): void {
    const shape = shapeOf(history);
    if (shape === undefined) return;
    const known = this.#clusters.findIndex((cluster) => likeness(cluster.shape, shape) >= LIKENESS_MIN);
    if (known >= 0) this.#clusters.splice(known, 1);
    this.#clusters.push({ shape, parameters: [...parameters] });
    if (this.#clusters.length > CLUSTERS_MAX) this.#clusters.shift();
  }

  /** What was fitted to the series with the most similar day; `undefined` when none is similar enough. */
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

/**
 * Shape of the last day: means of its parts, less their mean, scaled to length 1. `undefined` before a day has passed,
 * and for a flat day.
 */
function shapeOf(history: History): Float32Array | undefined {
  const { season } = history.grid;
  if (history.end - history.begin < season) return undefined;
  const shape = new Float32Array(SHAPE_PARTS);
  const part = season / SHAPE_PARTS;
  // Rotated so that the shape begins at a multiple of the season: shapes taken at different hours can be compared.
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
