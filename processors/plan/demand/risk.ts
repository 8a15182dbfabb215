// Risk: the probability that a load exceeds a given value, computed from a few quantiles of the load.
//
//   Q1. Between two quantiles, -log(probability) is linear in the logarithm of the load. Above the highest quantile the
//       line continues with the slope between the last two. That is the tail of a Pareto distribution, which loads with
//       flash crowds have (Crovella and Bestavros, 1997).

/** Smallest distance between the logarithms of the last two quantiles: no load is known more precisely. */
const TAIL_MIN = 0.02;

export class Risk {
  readonly #few: number;
  /** -log(probability of a higher load) at zero load, where it is 0, and at each quantile. */
  readonly #exponents: Float64Array;
  /** The logarithms of zero load and of the quantiles. */
  readonly #logs: Float64Array;
  /** Slope of `exponents` over `logs` above the last quantile. */
  readonly #tail: number;

  /**
   * `quantiles` are the loads at `levels`. Both ascend, with levels above 0 and below 1. Loads below `few`, in the unit
   * of the quantiles, count as nearly zero.
   */
  constructor(levels: readonly number[], quantiles: Float64Array, few: number) {
    this.#few = few;
    this.#exponents = Float64Array.of(0, ...levels.map((level) => -Math.log(1 - level)));
    this.#logs = Float64Array.of(0, ...quantiles).map((load) => this.#logOf(load));
    const logs = this.#logs;
    const exponents = this.#exponents;
    const last = levels.length;
    this.#tail = (exponents[last]! - exponents[last - 1]!) / Math.max(TAIL_MIN, logs[last]! - logs[last - 1]!);
  }

  /** The probability that the load is above `load`. */
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

  /** The load that is exceeded with probability `risk`, which is above 0 and at most 1. */
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
