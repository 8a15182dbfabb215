// Pace: how finely time passes in a what-if, and how long things take there; for every policy the same.

import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import type { Pace } from './cell.ts';
import type { SizedPace } from './sized.ts';

/** Steps in which moves go on; load changes once a minute. */
export const STEP_SECONDS = 10;
export const STEPS_PER_MINUTE = 60 / STEP_SECONDS;

/** A row with its keys, about as the stores write it. */
export const BYTES_PER_ENTRY = 200;

export const PACE: Pace = {
  // What the planner takes for granted until it has measured it.
  rowsPerSecond: PLAN_DEFAULTS.copyBytesPerSecond / BYTES_PER_ENTRY,
  bytesPerEntry: BYTES_PER_ENTRY,
  shortMs: 1000 * STEP_SECONDS,
};

/** For shards that are moved to and fro by their number: as many copies at once as the planner has. */
export const SIZED_PACE: SizedPace = {
  ...PACE,
  links: PLAN_DEFAULTS.movesMax,
};
