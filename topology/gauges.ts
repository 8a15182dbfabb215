// Gauges: numbers that are looked up when somebody asks for metrics, since they would cost a scan at every change.

import type { MoveState } from '../schemas/records.ts';
import type { Running } from './runner.ts';
import type { Meter } from './telemetry.ts';

const MOVE_STATES: readonly MoveState[] = [
  'PLANNED',
  'PROVISIONING',
  'COPYING',
  'VERIFYING',
  'VERIFIED',
  'SWITCHED',
  'DRAINING',
  'RETIRED',
  'ABORTED',
];

/** Of the tasks of this process: the planner's moves are where its one task is. */
export function reportGauges(running: Pick<Running, 'rows' | 'readiness'>, meter: Meter): void {
  meter.set('foreshard_restore_percent', running.readiness().restoredPercent);
  let series = 0;
  for (const [, row] of running.rows<{ readonly kind: string }>('work', 'histories'))
    if (row.kind === 'series') series += 1;
  meter.set('foreshard_series', series);
  const moves = new Map<MoveState, number>(MOVE_STATES.map((state) => [state, 0]));
  for (const [, row] of running.rows<{ readonly kind: string; readonly state: MoveState }>('plan', 'cells'))
    if (row.kind === 'move') moves.set(row.state, (moves.get(row.state) ?? 0) + 1);
  for (const [state, count] of moves) meter.set('foreshard_moves', count, { state });
}
