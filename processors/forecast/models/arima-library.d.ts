// The part of arima 0.2.8 that we use, and one thing that its own types leave out: the series lies in the open.

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
    /** The bytes of the series, as doubles, that `predict` goes on from; as many as were fitted. */
    ts: Uint8Array;
    /** Throws when the series is too short. */
    train(series: number[]): this;
    predict(steps: number): [expected: number[], variances: number[]];
    /** Gives back the memory, which the garbage collector does not see. */
    destroy(): void;
  }

  export default ARIMA;
}
