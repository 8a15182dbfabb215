// Gradient: the network's loss over a window of one series and its gradient by each weight, by back-propagation through
// time (Werbos, 1990), truncated at the window's beginning (Williams and Peng, 1990).

import {
  DENSE,
  decodeBackwards,
  GATES,
  HIDDEN,
  INPUTS,
  MEMORY,
  remember,
  rememberBackwards,
  TERMS,
  writeCoefficients,
  writeContext,
} from './network.ts';
import { EXAMPLE, EXAMPLE_EVERY, MISS, type TrainingSeries, WEIGHT } from './training-series.ts';

/**
 * Errors below this share of a usual one count by their square (Huber, 1964; the smooth form of Charbonnier et al.,
 * 1994).
 */
const SMOOTH = 0.1;

/** Loss and absolute error, in usual errors of the base forecast, each summed over `count` examples. */
export interface Losses {
  loss: number;
  error: number;
  count: number;
}

/** Scratch arrays for one window; each caller has one. */
export class Workspace {
  readonly steps: number;
  readonly memory: Float64Array;
  readonly inputs: Float64Array;
  readonly gates: Float64Array;
  readonly hiddenSlopes: Float64Array;
  readonly slopes = new Float64Array(MEMORY);
  readonly sums = new Float64Array(GATES);
  readonly context = new Float64Array(DENSE);
  readonly dense = new Float64Array(DENSE);
  readonly coefficients = new Float64Array(TERMS);

  constructor(steps: number) {
    this.steps = steps;
    this.memory = new Float64Array((steps + 1) * MEMORY);
    this.inputs = new Float64Array(steps * INPUTS);
    this.gates = new Float64Array(steps * GATES);
    this.hiddenSlopes = new Float64Array(steps * HIDDEN);
  }
}

/**
 * Runs the network over the steps from `from` on, up to the workspace's length. `memory` is the memory before these
 * steps, and afterwards the memory after them. Adds the errors of the examples before step `until` to `losses`, and
 * their gradient to `gradient` where one is given.
 */
export function goOver(
  weights: Float64Array,
  series: TrainingSeries,
  from: number,
  until: number,
  memory: Float64Array,
  work: Workspace,
  losses: Losses,
  gradient?: Float64Array,
): void {
  const steps = Math.min(work.steps, series.steps - from);
  work.memory.set(memory);
  work.hiddenSlopes.fill(0);
  for (let i = 0; i < steps * INPUTS; i++) work.inputs[i] = series.inputs[from * INPUTS + i]!;
  for (let i = 0; i < steps; i++) {
    remember(weights, work.inputs, i * INPUTS, work.memory, i * MEMORY, (i + 1) * MEMORY, work.gates, i * GATES);
    if ((from + i) % EXAMPLE_EVERY === 0) judge(weights, series, from + i, i, until, work, losses, gradient);
  }
  memory.set(work.memory.subarray(steps * MEMORY, (steps + 1) * MEMORY));
  if (gradient === undefined) return;
  const { slopes } = work;
  slopes.fill(0);
  for (let i = steps - 1; i >= 0; i--) {
    for (let j = 0; j < HIDDEN; j++) slopes[j]! += work.hiddenSlopes[i * HIDDEN + j]!;
    rememberBackwards(
      weights,
      work.inputs,
      i * INPUTS,
      work.memory,
      i * MEMORY,
      (i + 1) * MEMORY,
      work.gates,
      i * GATES,
      slopes,
      gradient,
      work.sums,
    );
  }
}

/** Adds the losses of the examples made at the `i`th step of the window. */
function judge(
  weights: Float64Array,
  series: TrainingSeries,
  step: number,
  i: number,
  until: number,
  work: Workspace,
  losses: Losses,
  gradient: Float64Array | undefined,
): void {
  const { grid, examples, places } = series;
  const { context, dense, coefficients } = work;
  const after = (i + 1) * MEMORY;
  let hasContext = false;
  for (let d = 0; d < places.length; d++) {
    const at = ((step / EXAMPLE_EVERY) * places.length + d) * EXAMPLE;
    const weight = examples[at + WEIGHT]!;
    if (weight === 0 || step + grid.distances[d]! >= until) continue;
    if (!hasContext) writeContext(weights, work.inputs, i * INPUTS, work.memory, after, context);
    hasContext = true;
    writeCoefficients(weights, context, places[d]!, dense, coefficients, 0);
    let miss = examples[at + MISS]!;
    for (let k = 0; k < TERMS; k++) miss -= coefficients[k]! * examples[at + k]!;
    const error = weight * miss;
    const size = Math.sqrt(error * error + SMOOTH * SMOOTH);
    losses.loss += size - SMOOTH;
    losses.error += Math.abs(error);
    losses.count++;
    if (gradient === undefined) continue;
    for (let k = 0; k < TERMS; k++) coefficients[k] = -(error / size) * weight * examples[at + k]!;
    decodeBackwards(
      weights,
      coefficients,
      dense,
      places[d]!,
      work.inputs,
      i * INPUTS,
      work.memory,
      after,
      gradient,
      work.hiddenSlopes,
      i * HIDDEN,
    );
  }
}
