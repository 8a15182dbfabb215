// Log reader: what models read of a series: logarithms of its rates, by step. `near` is a recent step by itself; `far`
// is what a past step contributes to the forecast of its counterpart: at most the series' limit, since bursts do not
// repeat at the same time of day. Neither has holes: a hole takes the value of a season before, or the typical one.
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
