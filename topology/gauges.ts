// Gauges: numbers that are looked up when somebody asks for metrics, since they would cost a scan at every change.

import { type SeriesRow, SIGNALS } from '../processors/forecast/series-row.ts';
import { FORECAST_DEFAULTS } from '../processors/forecast/settings.ts';
import { costsOfCell, footprintsOfCell } from '../processors/plan/lessons.ts';
import type { CellRow, Row as PlanRow } from '../processors/plan/rows.ts';
import { PLAN_DEFAULTS } from '../processors/plan/settings.ts';
import type { MoveState } from '../schemas/records.ts';
import type { Fitter } from './ports.ts';
import type { Running } from './runner.ts';
import type { Meter } from './telemetry.ts';

const MOVE_STATES: readonly MoveState[] = [
  'PLANNED',
  'PROVISIONING',
  'COPYING',
  'VERIFYING',
  'VERIFIED',
  'SHARED',
  'SWITCHED',
  'DRAINING',
  'RETIRED',
  'ABORTED',
];

/** Of the tasks of this process: the planner's moves are where its one task is. */
export function reportGauges(
  running: Pick<Running, 'rows' | 'readiness'>,
  fitter: Pick<Fitter, 'pending'>,
  meter: Meter,
  now: number,
): void {
  const { restoredPercent, waiting } = running.readiness();
  meter.set('foreshard_restore_percent', restoredPercent);
  meter.replace(
    'foreshard_store_waiting_seconds',
    waiting.map(({ group, partition, since }) => ({
      value: (now - since) / 1000,
      labels: { group, partition: String(partition) },
    })),
  );
  meter.set('foreshard_fits_pending', fitter.pending);
  reportForecasts(running, meter);
  const moves = new Map<MoveState, number>(MOVE_STATES.map((state) => [state, 0]));
  for (const [, row] of running.rows<PlanRow>('plan', 'cells')) {
    if (row.kind === 'move') moves.set(row.state, (moves.get(row.state) ?? 0) + 1);
    if (row.kind === 'cell') reportCosts(row, meter);
  }
  for (const [state, count] of moves) meter.set('foreshard_moves', count, { state });
}

/** What the planner has learned of stores. */
function reportCosts(cell: CellRow, meter: Meter): void {
  const costs = costsOfCell(cell, PLAN_DEFAULTS);
  const footprints = footprintsOfCell(cell);
  for (const store_kind of ['KEY_VALUE', 'TRIE'] as const) {
    for (const [operation, cost] of Object.entries(costs[store_kind]))
      meter.set('foreshard_operation_cost', cost, { store_kind, operation });
    for (const [part, needs] of Object.entries(footprints[store_kind]))
      meter.set('foreshard_memory_footprint', needs, { store_kind, part });
  }
}

/** How well the series are foreseen; those of which nothing is known yet are left out of the means. */
function reportForecasts(running: Pick<Running, 'rows'>, meter: Meter): void {
  let series = 0;
  const known = SIGNALS.map(() => ({ errors: [] as number[], coverages: [] as number[], distrusted: 0 }));
  for (const [, row] of running.rows<SeriesRow | { readonly kind: 'stored' | 'past' | 'time' }>('work', 'histories')) {
    if (row.kind === 'series' || row.kind === 'stored') series++;
    if (row.kind !== 'series') continue;
    for (const [index, signal] of row.signals.entries()) {
      if (signal === undefined) continue;
      const { errors, coverages } = known[index]!;
      if (signal.recentError() >= 0) errors.push(signal.recentError());
      if (signal.coverage() >= 0) coverages.push(signal.coverage());
      if (signal.distrust(FORECAST_DEFAULTS.trust) !== '') known[index]!.distrusted++;
    }
  }
  meter.set('foreshard_series', series);
  for (const [index, { errors, coverages, distrusted }] of known.entries()) {
    const labels = { signal: SIGNALS[index]! };
    meter.set('foreshard_series_distrusted', distrusted, labels);
    if (errors.length > 0)
      meter.set('foreshard_forecast_error_ratio', errors.sort((a, b) => a - b)[errors.length >> 1]!, labels);
    if (coverages.length > 0)
      meter.set(
        'foreshard_forecast_coverage',
        coverages.reduce((sum, each) => sum + each, 0) / coverages.length,
        labels,
      );
  }
}
