// The part of arima 0.2.8 that we use, and a field that its own types leave out: the bytes of the series.

declare module 'arima' {
  interface Orders {
    readonly p: number;
    readonly d: number;
    readonly q: number;
    readonly P?: number;
    readonly D?: number;
    readonly Q?: number;
    /** Steps of the season. */
    readonly s?: number;
  }

  class ARIMA {
    /** `method` 0 is exact maximum likelihood, 1 conditional sum of squares, 2 that of Box and Jenkins. */
    constructor(options: Orders & { readonly method: number; readonly verbose: false });
    /** The bytes of the series, as doubles, that `predict` continues; it must stay as long as the fitted one. */
    ts: Uint8Array;
    /** Throws when the series is too short. */
    train(series: number[]): this;
    predict(steps: number): [expected: number[], variances: number[]];
    /** Frees the compiled code's memory, which the garbage collector does not see. */
    destroy(): void;
  }

  export default ARIMA;
}
