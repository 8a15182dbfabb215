// Pace: the time steps of a what-if, and how long actions take in it; the same for every policy.

import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import type { Pace } from './cell.ts';
import type { SizedPace } from './sized.ts';

/** Length of the steps in which moves progress; the load changes once a minute. */
export const STEP_SECONDS = 10;
export const STEPS_PER_MINUTE = 60 / STEP_SECONDS;

/** A row with its keys, about as large as in the stores. */
export const BYTES_PER_ENTRY = 200;

export const PACE: Pace = {
  // The planner's assumption until it has measured the rate.
  rowsPerSecond: PLAN_DEFAULTS.copyBytesPerSecond / BYTES_PER_ENTRY,
  bytesPerEntry: BYTES_PER_ENTRY,
  shortMs: 1000 * STEP_SECONDS,
};

/** For shards that are sized by their number: as many copies at a time as the planner has. */
export const SIZED_PACE: SizedPace = {
  ...PACE,
  links: PLAN_DEFAULTS.movesMax,
};
