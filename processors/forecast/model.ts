// Model: the contract of every forecaster. A model is a value without state of its own; what it learns lies in a flat
// vector of numbers that the series owns, so that it is stored, copied and compared without knowing the model.
//
//   M1. Pure: the result depends on the arguments alone, and nothing but `state` (fit, update) or `path` (forecast) changes.
//   M2. A model sees closed steps only: `history` ends at `history.step`.
//   M3. `update` and `forecast` are O(1) in the length of the history. What costs more belongs in `fit`, which is called
//       every `fitEvery` steps, and for a model that is trained elsewhere (a global network) copies its parameters in.
//   M4. A model gives the middle of what it expects. Quantiles come from the errors it has really made, in one way for all
//       models (calibration.ts); no model is trusted to know its own spread.
//
// Whatever a model writes, NaN and 1e308 included, is checked before it is used (ensemble.ts).

import type { History } from './history.ts';

export interface Model {
  readonly name: string;
  /** Length of its state vector; all zeros for a series not seen yet. */
  readonly stateSize: number;
  /** Steps between two calls of `fit`; 0 for a model that needs none. */
  readonly fitEvery: number;
  /** True for the one model that speaks for all when rates run away upwards (ensemble.ts, E5). */
  readonly seesRamps?: boolean;
  /** False while there is too little history for `forecast`. */
  ready(history: History, state: Float32Array): boolean;
  /** Learns from the whole history at once. */
  fit(history: History, state: Float32Array): void;
  /** Learns from the newest step, `history.last`. */
  update(history: History, state: Float32Array): void;
  /** Writes the expected rates of the coming steps: `path[k]` for step `history.step + 1 + k`. */
  forecast(history: History, state: Float32Array, path: Float64Array): void;
}
