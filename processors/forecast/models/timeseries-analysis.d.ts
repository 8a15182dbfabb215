// The part of timeseries-analysis 1.0.12 that we use; it ships no types.

declare module 'timeseries-analysis' {
  type Point = readonly [time: number, value: number];

  class TimeSeries {
    constructor(data: readonly Point[]);
    /** Burg's coefficients c: x[t] is expected to be -(c[0] x[t-1] + c[1] x[t-2] + ...). */
    ARMaxEntropy(options: { readonly degree: number; readonly data: readonly Point[] }): number[];
  }

  const timeseries: { readonly main: typeof TimeSeries };
  export default timeseries;
}
