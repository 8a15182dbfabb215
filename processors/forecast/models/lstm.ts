// Global LSTM: one recurrent network, trained beforehand on many series (lstm/trainer.ts) and used for all of them. It
// reads every closed step, remembers in a few vectors what kind of series this is and what is happening in it, and
// gives the weight of each counterpart on the days before, for each distance.
//
//   K1. With untrained weights the forecast is its base: a rule that needs no learning.
//   K2. A forecast is at most RISE_MAX above the highest log lately seen.
//   K3. Weights that are not finite, or not of this network, are refused before they forecast anything.

import { assert } from '../../../schemas/errors.ts';
import { type Grid, type Place, placesOf } from '../grid.ts';
import type { History } from '../history/history.ts';
import { SEEN, SPREAD, SPREAD_MIN, SUMS, writeInputs } from '../lstm/inputs.ts';
import {
  DENSE,
  GATES,
  INPUTS,
  MEMORY,
  PLACE,
  remember,
  TERMS,
  WEIGHTS,
  writeCoefficients,
  writeContext,
  writePlace,
} from '../lstm/network.ts';
import { emptyStanding, readStanding } from '../lstm/standing.ts';
import { writeTerms } from '../lstm/terms.ts';
import { type Model, type State, unfitted } from '../model.ts';

/** The network's trained weights, in one array. */
export const LSTM_NAME = 'lstm';

export type LstmWeights = Float32Array;

const RISE_MAX = 1;
/** State: memory, the inputs of the newest step, running means. */
const INPUTS_AT = MEMORY;
const SUMS_AT = INPUTS_AT + INPUTS;
const STATE = SUMS_AT + SUMS;
/** Steps it must have read before it forecasts. */
const READY_STEPS = 8;

/** Why these cannot be the network's weights; `undefined` when they can. */
export function weightsProblem(weights: LstmWeights): string | undefined {
  if (weights.length !== WEIGHTS) return `there must be ${WEIGHTS} weights, not ${weights.length}`;
  const wrong = weights.findIndex((weight) => !Number.isFinite(weight));
  return wrong < 0 ? undefined : `weight ${wrong} is not a finite number`;
}

export function lstmOf(trained: LstmWeights): Model {
  const problem = weightsProblem(trained);
  assert(problem === undefined, problem ?? '');
  const weights = Float64Array.from(trained);
  // Scratch, overwritten by every call.
  const state64 = new Float64Array(STATE);
  const inputs = new Float64Array(INPUTS);
  const sums = new Float64Array(SUMS);
  const gates = new Float64Array(GATES);
  const context = new Float64Array(DENSE);
  const dense = new Float64Array(DENSE);
  const place = new Float64Array(PLACE);
  const terms = new Float64Array(TERMS);
  const standing = emptyStanding();
  /**
   * The history that the standing was read from: a step is closed and then forecast, mostly one right after the other.
   */
  let looked: History | undefined;
  /** The grid used last; mostly there is only one. */
  let grid: Grid | undefined;
  let places: readonly Place[] = [];
  let coefficients = new Float64Array(0);
  return {
    ...unfitted,
    name: LSTM_NAME,
    stateSize: () => STATE,
    ready: (_history, state) => state[SUMS_AT + SEEN]! >= READY_STEPS,
    update(history, state, _parameters, step) {
      state64.set(state);
      sums.set(state64.subarray(SUMS_AT));
      readStanding(history, step, standing);
      looked = history;
      writeInputs(standing, history.grid, sums, inputs);
      remember(weights, inputs, 0, state64, 0, 0, gates, 0);
      state64.set(inputs, INPUTS_AT);
      state64.set(sums, SUMS_AT);
      state.set(state64);
    },
    forecast(history: History, state: State, _parameters, ahead, into) {
      const { distances, season } = history.grid;
      if (history.grid !== grid) {
        grid = history.grid;
        places = placesOf(grid);
        coefficients = new Float64Array(distances.length * TERMS);
      }
      state64.set(state);
      inputs.set(state64.subarray(INPUTS_AT, SUMS_AT));
      writeContext(weights, inputs, 0, state64, 0, context);
      for (let d = 0; d < distances.length; d++) {
        writePlace(distances[d]!, season, place);
        writeCoefficients(weights, context, place, dense, coefficients, d * TERMS);
      }
      if (looked !== history || standing.step !== history.step) readStanding(history, history.step, standing);
      looked = history;
      const spread = Math.max(state64[SUMS_AT + SPREAD]!, SPREAD_MIN);
      for (let i = 0; i < ahead.length; i++) {
        const steps = ahead[i]!;
        const { near, share } = places[Math.min(steps, places.length) - 1]!;
        const here = near * TERMS;
        const there = share === 0 ? here : here + TERMS;
        let log = writeTerms(history, standing, spread, steps, terms);
        for (let k = 0; k < TERMS; k++)
          log += ((1 - share) * coefficients[here + k]! + share * coefficients[there + k]!) * terms[k]!;
        into[i] = Math.min(Math.max(log, 0), history.peak + RISE_MAX); // K2
      }
    },
  };
}
