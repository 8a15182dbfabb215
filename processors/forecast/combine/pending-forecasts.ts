// Pending forecasts: forecasts whose step has not closed yet, as log codes. For each distance a few are kept: each
// model's, then the combined one. Far ahead not every forecast is kept for judging, but eight, evenly spread.
//
//   T1. The forecasts of a step are taken once; those of a step that never comes are overwritten.

import { codeOf, logOf } from '../../../state/log-ring.ts';

const TURNS = 8;
const HOLE = codeOf(Number.NaN);

interface Turn {
  readonly ahead: number;
  /** Steps between two forecasts that are kept. */
  readonly every: number;
  readonly places: number;
  /** Where this distance's part of the array begins. */
  readonly at: number;
}

/** There is one for all series of a grid; each series' part is an array of `size` codes. */
export class PendingForecasts {
  readonly size: number;
  readonly #turns: readonly Turn[];
  readonly #width: number;
  readonly #due: number[] = [];

  constructor(distances: readonly number[], models: number) {
    this.#width = models + 1;
    let at = 0;
    this.#turns = distances.map((ahead) => {
      const every = everyOf(ahead);
      const turn = { ahead, every, places: ahead / every, at };
      at += turn.places * this.#width;
      return turn;
    });
    this.size = at;
  }

  fresh(): Uint16Array {
    return new Uint16Array(this.size).fill(HOLE);
  }

  clear(waiting: Uint16Array): void {
    waiting.fill(HOLE);
  }

  /**
   * Takes the forecasts that distance number `d` made of `step`: each model's log into `logs`; returns the combined
   * one, NaN for none.
   */
  take(waiting: Uint16Array, d: number, step: number, logs: Float64Array): number {
    const turn = this.#turns[d]!;
    if (step % turn.every !== 0) return Number.NaN;
    const from = this.#placeOf(turn, step);
    const combined = logOf(waiting[from + this.#width - 1]!);
    if (Number.isNaN(combined)) return combined;
    for (let m = 0; m < this.#width - 1; m++) logs[m] = logOf(waiting[from + m]!);
    waiting.fill(HOLE, from, from + this.#width);
    return combined;
  }

  /** Numbers of the distances whose forecast made at `step` is to be kept, ascending; valid until the next call. */
  dueAt(step: number): readonly number[] {
    this.#due.length = 0;
    for (const { ahead, every } of this.#turns) if ((step + ahead) % every === 0) this.#due.push(ahead);
    return this.#due;
  }

  /** Stores the forecasts made at `step` for the distances `dueAt(step)`: `said` by model, and the combined ones. */
  put(waiting: Uint16Array, step: number, said: readonly Float64Array[], combined: Float64Array): void {
    let i = 0;
    for (const turn of this.#turns) {
      if (this.#due[i] !== turn.ahead) continue;
      const from = this.#placeOf(turn, step + turn.ahead);
      for (let m = 0; m < this.#width - 1; m++) waiting[from + m] = codeOf(said[m]![i]!);
      waiting[from + this.#width - 1] = codeOf(combined[i]!);
      i++;
    }
  }

  /** Converts every pending forecast, as when the unit of the logs changes. */
  map(waiting: Uint16Array, change: (log: number) => number): void {
    for (let i = 0; i < waiting.length; i++) if (waiting[i] !== HOLE) waiting[i] = codeOf(change(logOf(waiting[i]!)));
  }

  #placeOf({ at, every, places }: Turn, step: number): number {
    return at + ((step / every) % places) * this.#width;
  }
}

/** The spacing of kept forecasts: a divisor of the distance, so that array places are reused in turn. */
function everyOf(ahead: number): number {
  let every = Math.max(1, Math.floor(ahead / TURNS));
  while (ahead % every !== 0) every--;
  return every;
}
