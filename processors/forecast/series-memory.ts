// Series memory: all that is known of one signal of a series: its history, and what was learned from it. The latter is
// one flat array, stored as it is; each part of the forecaster sees its own part of the array, as a view.

import type { History } from './history/history.ts';
import { type Layout, layoutOf } from './layout.ts';
import { NO_STATE, type Parameters, type State } from './model.ts';

export interface SeriesMemory {
  readonly history: History;
  /** What the models, the combination and the calibration have learned (`StateLayout`). */
  readonly state: Float32Array;
  /** Forecasts whose step has not closed yet (pending-forecasts.ts). */
  readonly waiting: Uint16Array;
  /** By model; replaced as a whole when the answer of a fit comes. */
  readonly parameters: Parameters[];
}

/** The parts of `SeriesMemory.state`: views over it. */
export interface StateViews {
  /** By model; `NO_STATE` for those that have none. */
  readonly models: readonly State[];
  readonly combination: State;
  readonly calibration: State;
  readonly ramp: State;
  /** At `GARBAGE_COUNT` and `GARBAGE_AGE`. */
  readonly garbage: State;
  /** By model, the age in steps at which it was last fitted. */
  readonly fittedAt: State;
}

/** Index: how many forecasts of models were NaN or infinite so far. */
export const GARBAGE_COUNT = 0;
/** Index: steps since the last of them, plus one; 0: never. */
export const GARBAGE_AGE = 1;

/** Numbers of each part of a state. */
export interface StateSizes {
  readonly models: readonly number[];
  readonly combination: number;
  readonly calibration: number;
  readonly ramp: number;
}

/** Where each part of the state lies. There is one for all series of a forecaster. */
export class StateLayout {
  readonly #models: Layout<string>;
  readonly #modelParts: readonly (string | undefined)[];
  readonly #parts: Layout<keyof StateViews>;

  constructor({ models, combination, calibration, ramp }: StateSizes) {
    this.#models = layoutOf(Object.fromEntries(models.map((size, m) => [`model ${m}`, size])));
    this.#modelParts = models.map((size, m) => (size > 0 ? `model ${m}` : undefined));
    this.#parts = layoutOf({
      models: this.#models.size,
      combination,
      calibration,
      ramp,
      garbage: GARBAGE_AGE + 1,
      fittedAt: models.length,
    });
  }

  fresh(): Float32Array {
    return new Float32Array(this.#parts.size);
  }

  viewsOf(state: Float32Array): StateViews {
    const parts = this.#parts;
    const models = this.#models;
    return {
      // They lie at the beginning of the array, so no view of all of them is needed.
      models: this.#modelParts.map((part) => (part === undefined ? NO_STATE : models.view(state, part))),
      combination: parts.view(state, 'combination'),
      calibration: parts.view(state, 'calibration'),
      ramp: parts.view(state, 'ramp'),
      garbage: parts.view(state, 'garbage'),
      fittedAt: parts.view(state, 'fittedAt'),
    };
  }
}
