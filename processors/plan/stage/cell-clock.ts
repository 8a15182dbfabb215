// Cell clock: the planner's event time, as windows and forecasts tell it.
//
//   C1. It grows with what is told, and what lies within an hour of it is believed at once.
//   C2. What lies farther away, ahead or behind, is believed once nothing nearer has been told for a minute of wall time:
//       one partition with a wrong clock does not lead the others away, and nobody stays led away.
//   C3. When it goes back, nothing that was noted at a later time binds any more.

import { type EventTime, eventTime } from '../../../schemas/ids.ts';
import type { Rows } from '../../step.ts';
import { type CellRow, type Row, rowsOf, setCell } from './rows.ts';
import type { Turn } from './turn.ts';

/** Partitions and forecasts are not further apart than this unless one of them is wrong or has been away. */
export const NEAR_MS = 3_600_000;
const PATIENCE_MS = 60_000;
const TIME_MAX = 253_402_300_799_999; // 9999-12-31, as for every input (state/validation.ts).
/** The cell's row is written when event time passes a new ten seconds, not for each of its milliseconds. */
const CLOCK_MS = 10_000;

/** Takes note of the time; false when it is not believed now, and nor should be what came with it. */
export function heardTime(rows: Rows<Row>, cell: CellRow, to: EventTime): boolean {
  if (!(to >= 0 && to <= TIME_MAX)) return false;
  if (cell.now > 0 && Math.abs(to - cell.now) > NEAR_MS) {
    const since = cell.strayed?.sinceWallTime ?? 0;
    cell.strayed = { to, sinceWallTime: since };
    if (since === 0) setCell(rows, cell);
    return false;
  }
  const moved = to >= cell.now + CLOCK_MS || (cell.now === 0 && to > 0);
  if (!moved && cell.strayed === undefined) return true;
  if (moved) cell.now = to;
  delete cell.strayed;
  setCell(rows, cell);
  return true;
}

/** On each tick: whether the time that was not believed is the only one left (C2). */
export function watchTime(turn: Turn, wallTime: number): void {
  const { cell } = turn;
  if (cell.strayed === undefined) return;
  const { to, sinceWallTime } = cell.strayed;
  if (sinceWallTime === 0 || wallTime < sinceWallTime) {
    cell.strayed = { to, sinceWallTime: wallTime };
    turn.keepCell();
    return;
  }
  if (wallTime - sinceWallTime < PATIENCE_MS) return;
  const before = cell.now;
  delete cell.strayed;
  cell.now = to;
  if (to < before) forgetTheFuture(turn, to);
  turn.keepCell();
}

/** C3 */
function forgetTheFuture(turn: Turn, now: EventTime): void {
  const { cell, rows, settings } = turn;
  const latest = now + settings.coolDownMs;
  cell.plannedAt = eventTime(Math.min(cell.plannedAt, now));
  cell.ledger = cell.ledger.map((spent) => (spent.at > now ? { ...spent, at: now } : spent));
  for (const [type, until] of Object.entries(cell.avoided)) if (until > latest) delete cell.avoided[type];
  for (const [key, row] of [...rows.entries()]) {
    if (row.kind === 'said' && row.at > now) rows.delete(key);
    else if (row.kind === 'surge' && row.windowStart > now) rows.delete(key);
    else if (row.kind === 'slice' && row.coolUntil > latest) rows.set(key, { ...row, coolUntil: now });
  }
  for (const [key, row] of [...rowsOf(rows, 'series')]) {
    const isLater = row.subscriptions !== undefined && row.subscriptions.madeAt > now + NEAR_MS;
    const isLaterToo = row.publishes !== undefined && row.publishes.madeAt > now + NEAR_MS;
    if (isLater) delete row.subscriptions;
    if (isLaterToo) delete row.publishes;
    if (isLater || isLaterToo) rows.set(key, row);
  }
}
