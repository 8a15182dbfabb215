// Model: the contract of every forecast model. A model is a value without state of its own. What it learns step by step
// lies in a flat vector of numbers that the series owns, its `state`. What is fitted from a whole history now and then
// are its `parameters`, which are never changed, only replaced, so that many series can share them.
//
//   M1. Pure: the result depends on the arguments alone, and nothing but `state` (update) or `into` (forecast) changes.
//       Scratch arrays and cached results lie in a `room`, which does not affect results and is not stored.
//   M2. A model sees closed steps only: `history` ends at `history.step`.
//   M3. `update` and `forecast` are O(1) in the length of the history. What costs more belongs in `fit`, which may run
//       in another thread, over a copy of the history; its answer may come some steps late.
//   M4. A model works in logarithms, as the history does, and returns the middle of what it expects. Quantiles come
//       from the errors of the combined forecast, in one way for all models (calibration.ts): no model is relied on to
//       know its own spread.
//
// Whatever a model returns, NaN and 1e308 included, is checked before it is used (evaluation.ts).

import type { Grid } from './grid.ts';
import type { History } from './history/history.ts';

export type State = Float32Array;
export type Parameters = Float32Array;

export interface Model<Room = unknown> {
  readonly name: string;
  /** Length of its state; the state of a new series is all zeros. */
  stateSize(grid: Grid): number;
  /** Steps between two fits; 0 for a model without a fit. */
  fitEvery(grid: Grid): number;
  /** False while there is too little data for `forecast`. */
  ready(history: History, state: State, parameters: Parameters): boolean;
  /** Fits the parameters to the whole history; `undefined` while it is too short, or nothing can be learned from it. */
  fit(history: History): Parameters | undefined;
  /** Learns from one step: the newest, or an older recent one after the state was reset. */
  update(history: History, state: State, parameters: Parameters, step: number): void;
  /** Makes the scratch space of `forecast`, for models that need it: each forecaster has one, for all of its series. */
  room?(grid: Grid): Room;
  /** Writes the expected log of step `history.step + ahead[i]` to `into[i]`; `ahead` ascends. */
  forecast(
    history: History,
    state: State,
    parameters: Parameters,
    ahead: readonly number[],
    into: Float64Array,
    room: Room,
  ): void;
}

export const NO_PARAMETERS: Parameters = new Float32Array(0);
export const NO_STATE: State = new Float32Array(0);

/** For models without a fit. */
export const unfitted = {
  fitEvery: () => 0,
  fit: () => undefined,
} as const;

/** For models without a state. */
export const stateless = {
  stateSize: () => 0,
  update() {},
} as const;
