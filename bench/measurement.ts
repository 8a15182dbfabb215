// Measurement: one figure of ours beside its peer's, taken in the same run on the same machine, and the bar (target) it
// must reach.

export interface Measurement {
  /** What was measured, for example `topic match, 100,000 filters`. */
  readonly name: string;
  readonly figure: number;
  readonly unit: string;
  /** The peer that it is compared with; '' when the bar is absolute. */
  readonly peer: string;
  readonly peerFigure: number | null;
  /** figure / peerFigure; for rates more is better, for times and sizes less. */
  readonly ratio: number | null;
  /** The bar in words, for example `at least 5 x qlobber`. */
  readonly bar: string;
  /** Whether the bar is met; `null` without a bar. A bar that this run could not judge counts as not met. */
  readonly met: boolean | null;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
