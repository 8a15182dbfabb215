// Ended: what the table of subscriptions remembers of those that have ended (T4 of subscriptions.ts) is dropped after a time.
//
//   N1. One pass over the table after the other, slowly, whatever else is known of it: also where no shard is checked.
//   N2. How long ago something ended is told by the earlier of two clocks: that of the events, which may stand still, and the
//       host's, so that a broker whose clock is ahead has nothing dropped too early.

import { NOTHING, type Page } from '../step.ts';
import type { EndedPass } from './check-state.ts';
import type { Kept, Out } from './out.ts';
import type { PartitionState } from './partition-state.ts';
import { isSpilled, recordOf, subscriptionAt } from './subscriptions.ts';

export interface EndedSettings {
  readonly tombstoneMs: number;
}

/** Of all partitions of a process together a few hundredths of its time. */
const ROWS_PER_SECOND = 300;
const PAGE_ROWS = 500;
const REST_MS = 60_000;
/** After a pass that met nothing that has ended: a fleet without sessions has none. */
const LONG_REST_MS = 3_600_000;

/** What of the table a tick will look at. */
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
    kept.delete(key);
    const { filter, clientId } = subscriptionAt(key);
    out.push(recordOf(state.partition, filter, clientId, undefined), DROPPED);
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
