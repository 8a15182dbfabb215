// Risk: how probable it is that a load is above some number, from a few of its quantiles. Between them -log(risk) is straight
// over the logarithm of the load; beyond the last one it goes on as between the last two: the tail of a Pareto
// distribution, as loads with flash crowds have it (Crovella and Bestavros, 1997).

/** The least distance of the last two quantiles, in logarithms: no load is known better than that. */
const TAIL_MIN = 0.02;

export class Risk {
  readonly #few: number;
  /** -log(risk) of no load, which is 0, and of each quantile. */
  readonly #exponents: Float64Array;
  /** The logarithms of the loads at them. */
  readonly #logs: Float64Array;
  /** How fast `exponents` grow with `logs` beyond the last. */
  readonly #tail: number;

  /** Levels and quantiles ascend, levels from above 0 to below 1; loads below `few` are as good as none. */
  constructor(levels: readonly number[], quantiles: Float64Array, few: number) {
    this.#few = few;
    this.#exponents = Float64Array.of(0, ...levels.map((level) => -Math.log(1 - level)));
    this.#logs = Float64Array.of(0, ...quantiles).map((load) => this.#logOf(load));
    const logs = this.#logs;
    const exponents = this.#exponents;
    const last = levels.length;
    this.#tail = (exponents[last]! - exponents[last - 1]!) / Math.max(TAIL_MIN, logs[last]! - logs[last - 1]!);
  }

  /** The probability of a load above `load`. */
  above(load: number): number {
    const logs = this.#logs;
    const exponents = this.#exponents;
    const log = this.#logOf(load);
    const last = logs.length - 1;
    let l = last;
    while (l > 0 && logs[l]! > log) l--;
    const slope = l === last ? this.#tail : (exponents[l + 1]! - exponents[l]!) / (logs[l + 1]! - logs[l]!);
    return Math.exp(-exponents[l]! - slope * (log - logs[l]!));
  }

  /** The load that is exceeded with the probability `risk`, from above 0 to 1. */
  loadAt(risk: number): number {
    const logs = this.#logs;
    const exponents = this.#exponents;
    const exponent = -Math.log(risk);
    const last = logs.length - 1;
    let l = last;
    while (l > 0 && exponents[l]! > exponent) l--;
    const slope = l === last ? 1 / this.#tail : (logs[l + 1]! - logs[l]!) / (exponents[l + 1]! - exponents[l]!);
    return Math.exp(logs[l]! + slope * (exponent - exponents[l]!)) - this.#few;
  }

  #logOf(load: number): number {
    return Math.log(load + this.#few);
  }
}
