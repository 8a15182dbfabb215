// Log reader: what models read of a series: logarithms of its rates, by step. `near` is a recent step as it was; `far` is
// what a step of the past says about its counterpart to come: a burst in it counts for no more than the series' limit, since
// bursts do not come again by the clock. Both are filled: a hole takes the season before it, or what is typical.
//
//   R1. Nothing at or after `end` is ever read.

export interface LogReader {
  /** The step after the newest one that may be read. */
  readonly end: number;
  near(step: number): number;
  /** Mean over [from, to). */
  nearMean(from: number, to: number): number;
  far(step: number): number;
  farMean(from: number, to: number): number;
}
