// Seasonal memo: what a history's past says of the slots asked for lately: the models of a series ask for the same ones, one
// after the other. It remembers for one history at a time, as that stands; a forecaster has one for all of its series.

/** Slots remembered; one goes where another of the same remainder was. */
const KEPT = 64;

export class SeasonalMemo {
  #history: object | undefined;
  #newest = -1;
  #revision = -1;
  #limit = Number.NaN;
  readonly #slots = new Float64Array(KEPT);
  readonly #logs = new Float64Array(KEPT);

  /** Forgets everything when it was of another history, or of this one before something in it changed. */
  begin(history: object, newest: number, revision: number, limit: number): void {
    const isOf = this.#history === history && this.#newest === newest;
    if (isOf && this.#revision === revision && this.#limit === limit) return;
    this.#history = history;
    this.#newest = newest;
    this.#revision = revision;
    this.#limit = limit;
    this.#slots.fill(-1);
  }

  /** The log of a slot; NaN when it is not known. */
  of(slot: number): number {
    return this.#slots[slot % KEPT] === slot ? this.#logs[slot % KEPT]! : Number.NaN;
  }

  put(slot: number, log: number): void {
    this.#slots[slot % KEPT] = slot;
    this.#logs[slot % KEPT] = log;
  }
}
