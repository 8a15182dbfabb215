// Seasonal memo: a cache of `History`'s seasonal means by slot: the models of a series ask for the same slots one after
// the other. It holds the values of one history at a time, in its present state; a forecaster has one memo for all of
// its series.

/** Number of slots held; a slot replaces another one with the same remainder. */
const KEPT = 64;

export class SeasonalMemo {
  #history: object | undefined;
  #newest = -1;
  #revision = -1;
  #limit = Number.NaN;
  readonly #slots = new Float64Array(KEPT);
  readonly #logs = new Float64Array(KEPT);

  /** Forgets everything when the values are of another history, or of an earlier state of this one. */
  begin(history: object, newest: number, revision: number, limit: number): void {
    const isOf = this.#history === history && this.#newest === newest;
    if (isOf && this.#revision === revision && this.#limit === limit) return;
    this.#history = history;
    this.#newest = newest;
    this.#revision = revision;
    this.#limit = limit;
    this.#slots.fill(-1);
  }

  /** The log of a slot; NaN when it is not held. */
  of(slot: number): number {
    return this.#slots[slot % KEPT] === slot ? this.#logs[slot % KEPT]! : Number.NaN;
  }

  put(slot: number, log: number): void {
    this.#slots[slot % KEPT] = slot;
    this.#logs[slot % KEPT] = log;
  }
}
