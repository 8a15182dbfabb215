// Ramp detector: when rates run away upwards, step after step and farther than errors usually reach (a one-sided
// cumulative sum; Page, 1954), the forecast of the ramp's model replaces the combination of the others, whose weights
// were learned in quieter times.
//
//   U1. The ramp's model gets as much of the forecast as its errors over the last few steps were smaller than the
//       others'.
//   U2. Only errors of the others' combination count as surprises. If the ramp model's own errors counted, it would
//       switch itself off once it is right.

import { layoutOf } from '../layout.ts';

/**
 * An error counts as a surprise from three usual errors on, and for at most five: one wild step alone does not begin a
 * ramp, two in a row do. The sum fades within a few steps.
 */
const SURPRISE_USUAL = 3;
const SURPRISE_MAX = 5;
const USUAL_MIN = 0.01;
const KEPT = 0.8;
const FROM = SURPRISE_MAX;
const FULL = 9;
/**
 * A ramp rarely lasts longer: the ramp model's share fades to zero at this distance, or at twelve steps where steps are
 * long.
 */
const REACH_MS = 90 * 60_000;
const REACH_STEPS_MIN = 12;
const LATE_GAIN = 0.3;
/** The ramp's model replaces the others fully when their errors are this many times its own. */
const RAMP_BETTER = 1.25;
const ERROR_MIN = 1e-6;

/** State: the sum of surprises, and recent absolute log errors one step ahead of the others and of the ramp's model. */
const STATE = layoutOf({ sum: 1, othersError: 1, rampError: 1 });
const { sum: SUM, othersError: OTHERS_ERROR, rampError: RAMP_ERROR } = STATE.at;

export class RampDetector {
  readonly size = STATE.size;
  readonly #reachSteps: number;

  constructor(stepMs: number) {
    this.#reachSteps = Math.max(REACH_STEPS_MIN, REACH_MS / stepMs);
  }

  /**
   * Learns from the step that closed at `log`: `others` and `ramp` had forecast it (NaN: no forecast); `usual` is the
   * usual error.
   */
  learn(state: Float32Array, log: number, others: number, ramp: number, usual: number): void {
    const surprise = (log - others) / Math.max(usual, USUAL_MIN);
    const counted = surprise < SURPRISE_USUAL ? -SURPRISE_MAX : Math.min(surprise, SURPRISE_MAX);
    state[SUM] = Math.max(0, KEPT * state[SUM]! + counted);
    if (!(ramp >= 0)) return;
    state[OTHERS_ERROR]! += LATE_GAIN * (Math.abs(log - others) - state[OTHERS_ERROR]!);
    state[RAMP_ERROR]! += LATE_GAIN * (Math.abs(log - ramp) - state[RAMP_ERROR]!);
  }

  /** Ends any ramp: after a gap. */
  end(state: Float32Array): void {
    state[SUM] = 0;
  }

  /** Share of the ramp's model in the forecast one step ahead: 0 to 1. */
  belief(state: Float32Array): number {
    const sum = state[SUM]!;
    if (sum <= FROM) return 0;
    const better = state[OTHERS_ERROR]! / Math.max(state[RAMP_ERROR]!, ERROR_MIN);
    const nearer = Math.min(1, Math.max(0, (better - 1) / (RAMP_BETTER - 1)));
    return nearer * Math.min(1, (sum - FROM) / (FULL - FROM));
  }

  /** Share of the belief that is left at this many steps ahead. */
  kept(ahead: number): number {
    return Math.max(0, 1 - ahead / this.#reachSteps);
  }
}
