// Cell time: the planner's event time, from windows and forecasts. state/watermark.ts decides how far it has come; it
// is patient, so that one partition with a wrong clock does not lead the others away.
//
//   C1. A record whose time is not believed is not believed either.
//   C2. The row is written when event time passes a new ten seconds, not for each of its milliseconds.
//   C3. When event time goes back, everything that was noted at a later time is void.

import { type EventTime, eventTime } from '../../../schemas/ids.ts';
import { MERGED_SOURCES, Watermark, type WatermarkRule } from '../../../state/watermark.ts';
import type { CellState } from './cell-state.ts';
import type { CellRow } from './rows.ts';
import type { Turn } from './turn.ts';

const RULE: WatermarkRule = { ...MERGED_SOURCES, stepMs: 10_000 }; // C2
/** Partitions and forecasts are not further apart than this unless one of them is wrong or has been away. */
export const NEAR_MS = RULE.nearMs;
const TIME_MAX = 253_402_300_799_999; // 9999-12-31, as for every input (state/validation.ts).

/** Takes in a time; false when it is not believed, and then its record should not be either (C1). */
export function heardTime(state: CellState, to: EventTime): boolean {
  if (!(to >= 0 && to <= TIME_MAX)) return false;
  const watermark = watermarkOf(state.cell);
  const verdict = watermark.hear(to, RULE);
  if (keep(state.cell, watermark)) state.keepCell();
  return verdict === 'near' || verdict === 'restarted';
}

/** On each tick: whether the disbelieved time is the only one left, and so becomes the time. */
export function watchTime(turn: Turn, wallTime: number): void {
  const { cell } = turn;
  if (cell.strayed === undefined) return;
  const watermark = watermarkOf(cell);
  const before = cell.now;
  const isBelieved = watermark.watch(wallTime, RULE);
  if (keep(cell, watermark)) turn.keepCell();
  if (isBelieved && cell.now < before) forgetTheFuture(turn, cell.now);
}

function watermarkOf({ now, strayed }: CellRow): Watermark {
  const watermark = new Watermark();
  if (now > 0) {
    watermark.time = now;
    watermark.votes = 1;
  }
  if (strayed === undefined) return watermark;
  watermark.dissent = strayed.to > now ? 1 : -1;
  watermark.dissentTime = strayed.to;
  watermark.dissentSince = strayed.sinceWallTime;
  return watermark;
}

/** True when the row is to be written: of a lasting doubt, the beginning is stored. */
function keep(cell: CellRow, { time, dissent, dissentTime, dissentSince }: Watermark): boolean {
  const { now, strayed } = cell;
  if (time >= 0) cell.now = eventTime(time);
  if (dissent !== 0) cell.strayed = { to: eventTime(dissentTime), sinceWallTime: dissentSince };
  else if (strayed !== undefined) delete cell.strayed;
  return cell.now !== now || cell.strayed?.sinceWallTime !== strayed?.sinceWallTime;
}

/** C3 */
function forgetTheFuture(turn: Turn, now: EventTime): void {
  const { cell, settings, state } = turn;
  const latest = now + settings.coolDownMs;
  cell.plannedAt = eventTime(Math.min(cell.plannedAt, now));
  cell.ledger = cell.ledger.map((spent) => (spent.at > now ? { ...spent, at: now } : spent));
  for (const [type, until] of Object.entries(cell.avoided)) if (until > latest) delete cell.avoided[type];
  const later = { said: [] as string[], surges: [] as string[] };
  state.each({
    said: ({ at }, id) => at > now && later.said.push(id),
    surge: ({ windowStart }, id) => windowStart > now && later.surges.push(id),
    slice: (slice) => slice.coolUntil > latest && state.slices.put({ ...slice, coolUntil: now }),
    series(series, id) {
      const isLater = series.subscriptions !== undefined && series.subscriptions.madeAt > now + NEAR_MS;
      const isLaterToo = series.publishes !== undefined && series.publishes.madeAt > now + NEAR_MS;
      if (isLater) delete series.subscriptions;
      if (isLaterToo) delete series.publishes;
      if (isLater || isLaterToo) state.series.set(id, series);
    },
  });
  for (const id of later.said) state.said.delete(id);
  for (const id of later.surges) state.surges.delete(id);
}
