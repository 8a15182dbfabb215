// Ended: drops ended subscriptions from the subscription table (subscriptions.ts T4) after a time.
//
//   N1. Passes over the table are made one after the other, slowly, whatever state it is in: also where no shard is
//       checked.
//   N2. The age of an ended subscription is judged by the earlier of two clocks: event time, which may stand still, and
//       the host's. So a broker whose clock is ahead does not cause anything to be dropped too early.

import { NOTHING, type Page } from '../step.ts';
import type { EndedPass } from './check-state.ts';
import type { Kept, Out } from './out.ts';
import type { PartitionState } from './partition-state.ts';
import { dropRow, isSpilled } from './subscriptions.ts';

export interface EndedSettings {
  readonly tombstoneMs: number;
}

/** Takes a few hundredths of a process's time, for all of its partitions together. */
const ROWS_PER_SECOND = 300;
const PAGE_ROWS = 500;
const REST_MS = 60_000;
/** Pause after a pass that found no ended subscription: a fleet without sessions has none. */
const LONG_REST_MS = 3_600_000;

/** The pages of the table that a tick will read. */
export function pagesOfEnded({ ended }: PartitionState): readonly Page[] {
  return ended === undefined || ended.waitMs > 0 ? NOTHING : [pageOf(ended)];
}

export function onEndedTick(
  state: PartitionState,
  elapsedMs: number,
  { tombstoneMs }: EndedSettings,
  kept: Kept,
): readonly Out[] {
  if (kept === undefined) return NOTHING;
  state.ended ??= { ...BEGINNING, waitMs: REST_MS };
  const { ended } = state;
  if (ended.waitMs > 0 || !kept.hasPage(pageOf(ended))) {
    ended.waitMs -= Math.max(0, elapsedMs);
    return NOTHING;
  }
  const { rows, done, last } = kept.page(pageOf(ended));
  const oldest = Math.min(state.eventTime, state.wallTime!) - tombstoneMs; // N2
  const out: Out[] = [];
  for (const [key, row] of rows) {
    if (isSpilled(row) || row.removed !== true) continue;
    ended.isNeeded = true;
    if (row.at >= oldest) continue;
    out.push(dropRow(state.partition, kept, key), DROPPED);
  }
  const pauseMs = Math.ceil((rows.length / ROWS_PER_SECOND) * 1_000);
  if (!done) state.ended = { ...ended, after: last, waitMs: pauseMs };
  else if (ended.prefix === 'c') state.ended = { ...ended, prefix: 'w', after: undefined, waitMs: pauseMs };
  else state.ended = { ...BEGINNING, waitMs: ended.isNeeded ? REST_MS : LONG_REST_MS };
  return out;
}

// ---- private -------------------------------------------------------------------------------------------------------

const BEGINNING: EndedPass = { prefix: 'c', after: undefined, waitMs: 0, isNeeded: false };
const DROPPED: Out = { topic: 'tallies', key: '', value: { what: 'dropped' } };

const pageOf = ({ prefix, after }: EndedPass): Page => ({ prefix, after, limit: PAGE_ROWS });
