// Ramp detector: when rates run away upwards, step after step and farther than errors usually reach (a one-sided cumulative sum;
// Page, 1954), the model that sees ramps speaks for the others, which were chosen in quieter times.
//
//   U1. It speaks as far as it has been nearer to the last few steps than they.
//   U2. Surprises are those to the others together. By its own the ramp's model would fall silent once it is right.

import { layoutOf } from '../layout.ts';

/**
 * A surprise counts from three usual errors on, and for five at most, so that one wild step is no ramp but two in a row
 * begin one; the sum fades within a few steps.
 */
const SURPRISE_USUAL = 3;
const SURPRISE_MAX = 5;
const USUAL_MIN = 0.01;
const KEPT = 0.8;
const FROM = SURPRISE_MAX;
const FULL = 9;
/** So far ahead a ramp is over, or nobody knows: its word fades until here, and in long steps until the twelfth. */
const REACH_MS = 90 * 60_000;
const REACH_STEPS_MIN = 12;
const LATE_GAIN = 0.3;
/** The ramp's model speaks alone when the others err so many times as much. */
const RAMP_BETTER = 1.25;
const ERROR_MIN = 1e-6;

/** The sum of surprises, and absolute log errors one step ahead over the last few steps, the others' and the ramp's. */
const STATE = layoutOf({ sum: 1, othersError: 1, rampError: 1 });
const { sum: SUM, othersError: OTHERS_ERROR, rampError: RAMP_ERROR } = STATE.at;

export class RampDetector {
  readonly size = STATE.size;
  readonly #reachSteps: number;

  constructor(stepMs: number) {
    this.#reachSteps = Math.max(REACH_STEPS_MIN, REACH_MS / stepMs);
  }

  /** Learns from the step that closed at `log`: `others` and `ramp` were expected (NaN: nothing was), errors are usually `usual`. */
  learn(state: Float32Array, log: number, others: number, ramp: number, usual: number): void {
    const surprise = (log - others) / Math.max(usual, USUAL_MIN);
    const counted = surprise < SURPRISE_USUAL ? -SURPRISE_MAX : Math.min(surprise, SURPRISE_MAX);
    state[SUM] = Math.max(0, KEPT * state[SUM]! + counted);
    if (!(ramp >= 0)) return;
    state[OTHERS_ERROR]! += LATE_GAIN * (Math.abs(log - others) - state[OTHERS_ERROR]!);
    state[RAMP_ERROR]! += LATE_GAIN * (Math.abs(log - ramp) - state[RAMP_ERROR]!);
  }

  /** After a gap nothing runs. */
  end(state: Float32Array): void {
    state[SUM] = 0;
  }

  /** 0 when the ramp's model is not to speak for the others, 1 when it alone is to. */
  belief(state: Float32Array): number {
    const sum = state[SUM]!;
    if (sum <= FROM) return 0;
    const better = state[OTHERS_ERROR]! / Math.max(state[RAMP_ERROR]!, ERROR_MIN);
    const nearer = Math.min(1, Math.max(0, (better - 1) / (RAMP_BETTER - 1)));
    return nearer * Math.min(1, (sum - FROM) / (FULL - FROM));
  }

  /** How much of the belief is left so far ahead. */
  kept(ahead: number): number {
    return Math.max(0, 1 - ahead / this.#reachSteps);
  }
}
