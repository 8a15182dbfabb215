// Minutes: a trace series minute by minute, as rates that can be compared with those of other series. Pure.
//
//   N1. A rate is valid in the middle of its interval; between two middles it is interpolated linearly.

/** A trace series as it is replayed: its rate in each minute, up to the trace's end. */
export interface Played {
  readonly name: string;
  readonly perMinute: Float64Array;
}

const MINUTE_SECONDS = 60;

/** Number of whole minutes in `rows` rows of `stepSeconds`. */
export const minutesIn = (rows: number, stepSeconds: number): number =>
  Math.floor((rows * stepSeconds) / MINUTE_SECONDS + 1e-9);

/** The last `minutes` minutes of a series with one value for each `stepSeconds` (N1). */
export function lastMinutes(values: Float64Array, stepSeconds: number, minutes: number): Float64Array {
  const stepMinutes = stepSeconds / MINUTE_SECONDS;
  const from = values.length * stepMinutes - minutes;
  return Float64Array.from({ length: minutes }, (_, minute) => {
    const row = (from + minute + 0.5) / stepMinutes - 0.5;
    const before = Math.min(values.length - 1, Math.max(0, Math.floor(row)));
    const after = Math.min(values.length - 1, before + 1);
    const share = Math.min(1, Math.max(0, row - before));
    return values[before]! + share * (values[after]! - values[before]!);
  });
}

/** The quantile at `share`: the value that this share of all values does not exceed. */
export function quantileOf(values: Float64Array, share: number): number {
  const sorted = values.slice().sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}
