// Gauges: metrics that are computed when they are scraped, since keeping them current would cost a scan at every
// change.

import type { Row as ApplyRow } from '../processors/apply/apply.ts';
import { waitsForSource } from '../processors/apply/move.ts';
import { type SeriesRow, SIGNALS } from '../processors/forecast/series-row.ts';
import { FORECAST_DEFAULTS } from '../processors/forecast/settings.ts';
import { costsOfCell, footprintsOfCell } from '../processors/plan/demand/cost-learning.ts';
import { PLAN_DEFAULTS } from '../processors/plan/settings.ts';
import { type CellReader, readerOf } from '../processors/plan/stage/cell-state.ts';
import { type MemoryRow, sessionWork } from '../processors/sessions/rows.ts';
import type { Fitter } from '../runtime/ports.ts';
import type { Running } from '../runtime/runner.ts';
import type { Meter, Sample } from '../runtime/telemetry.ts';
import type { MoveState, OperationAction } from '../schemas/records.ts';
import { planRowsOf } from './plan-rows.ts';

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

/** Gauges of this process's tasks: series of a task that has moved away are no longer reported here. */
export function reportGauges(
  running: Pick<Running, 'read' | 'rows' | 'readiness' | 'lags'>,
  fitter: Pick<Fitter, 'pending'>,
  meter: Meter,
  now: number,
): void {
  reportProgress(running, meter, now);
  meter.set('foreshard_fits_pending', fitter.pending);
  reportForecasts(running, meter);
  reportAway(running, meter);
  reportSessions(running, meter);
  reportChecks(running, meter, now);
  const planner = readerOf(planRowsOf(running));
  reportMoves(planner, meter);
  reportCosts(planner, meter);
}

function reportMoves({ moves }: Pick<CellReader, 'moves'>, meter: Meter): void {
  const counts = new Map(MOVE_STATES.map((state) => [state, 0]));
  for (const { state } of moves.all()) counts.set(state, counts.get(state)! + 1);
  for (const [state, count] of counts) meter.set('foreshard_moves', count, { state });
}

/**
 * What waits for shards that do not answer: moves whose source does not answer, slices of which a shard that was given
 * up has not been told yet, and writes on disk.
 */
function reportAway(running: Pick<Running, 'rows'>, meter: Meter): void {
  const left = new Map<string, number>();
  const waiting = new Map<string, number>();
  const spilled = new Map<string, number>();
  const count = (shards: Map<string, number>, shard: string) => shards.set(shard, (shards.get(shard) ?? 0) + 1);
  for (const [, row] of running.rows<ApplyRow>('work', 'lives')) {
    if (row.kind === 'left') count(left, row.shard);
    else if (row.kind === 'spill') spilled.set(row.shard, (spilled.get(row.shard) ?? 0) + row.rows);
    else if (row.kind === 'move' && waitsForSource(row)) count(waiting, row.from);
  }
  const samples = (shards: Map<string, number>): Sample[] =>
    [...shards].map(([shard, value]) => ({ value, labels: { shard } }));
  meter.replace('foreshard_slices_left', samples(left));
  meter.replace('foreshard_moves_waiting', samples(waiting));
  meter.replace('foreshard_spilled_rows', samples(spilled));
}

const OPERATIONS: readonly OperationAction[] = ['LOSE', 'DISCONNECT', 'RESTORE'];

function reportSessions(running: Pick<Running, 'rows'>, meter: Meter): void {
  const operations = new Map(OPERATIONS.map((action) => [action, 0]));
  let work = 0;
  for (const [, row] of running.rows<MemoryRow>('work', sessionWork.name)) {
    if (row.kind === 'agenda') work += row.pending;
    else if (row.kind === 'operation' && row.state === 'RUNNING')
      operations.set(row.action, operations.get(row.action)! + 1);
  }
  meter.set('foreshard_session_work', work);
  for (const [action, count] of operations) meter.set('foreshard_session_operations', count, { action });
}

/**
 * Incomplete tables, and the continuous check of the tasks here: the age of the oldest last pass, and the findings of
 * the last passes.
 */
function reportChecks(running: Pick<Running, 'rows'>, meter: Meter, now: number): void {
  const found = { missing: 0, extra: 0, different: 0, stray: 0, unchecked: 0 };
  let oldest: number | undefined;
  let partial = 0;
  for (const [, row] of running.rows<ApplyRow>('work', 'lives')) {
    if (row.kind === 'life' && !row.tableIsWhole) partial += 1;
    if (row.kind !== 'pass') continue;
    oldest = Math.min(oldest ?? row.endedWallMs, row.endedWallMs);
    for (const kind of Object.keys(found) as (keyof typeof found)[]) found[kind] += row.findings[kind];
  }
  meter.set('foreshard_partial_tables', partial);
  meter.replace(
    'foreshard_check_age_seconds',
    oldest === undefined ? [] : [{ value: (now - oldest) / 1_000, labels: {} }],
  );
  const samples = Object.entries(found).map(([kind, value]) => ({ value, labels: { kind } }));
  meter.replace('foreshard_check_differences', oldest === undefined ? [] : samples);
}

/** The progress of the tasks, and what they wait for. */
function reportProgress(running: Pick<Running, 'readiness' | 'lags'>, meter: Meter, now: number): void {
  const { restoredPercent, waiting, standing } = running.readiness();
  const lags = running.lags();
  meter.set('foreshard_restore_percent', restoredPercent);
  meter.replace(
    'foreshard_store_waiting_seconds',
    waiting.map(({ group, partition, since }) => ({
      value: (now - since) / 1000,
      labels: { group, partition: String(partition) },
    })),
  );
  const told = lags.filter(({ owner }) => owner !== 'other');
  meter.replace(
    'foreshard_lag_records',
    told.map(({ group, topic, partition, records }) => ({
      value: records,
      labels: { group, topic, partition: String(partition) },
    })),
  );
  const groups = [...new Set(lags.map(({ group }) => group))];
  meter.replace(
    'foreshard_standing_partitions',
    groups.map((group) => ({ value: standing.filter((each) => each.group === group).length, labels: { group } })),
  );
}

/** What the planner has learned about stores; only where it runs. */
function reportCosts({ cell }: Pick<CellReader, 'cell'>, meter: Meter): void {
  const samplesOf = (name: string, all: Record<'KEY_VALUE' | 'TRIE', object>): Sample[] =>
    (['KEY_VALUE', 'TRIE'] as const).flatMap((store_kind) =>
      Object.entries(all[store_kind]).map(([part, value]) => ({ value, labels: { store_kind, [name]: part } })),
    );
  const costs = cell === undefined ? [] : samplesOf('operation', costsOfCell(cell, PLAN_DEFAULTS));
  const footprints = cell === undefined ? [] : samplesOf('part', footprintsOfCell(cell));
  meter.replace('foreshard_operation_cost', costs);
  meter.replace('foreshard_memory_footprint', footprints);
}

/** Accuracy of the forecasts; series without a figure yet are left out of the means. */
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
  const samples = (measure: (signal: (typeof known)[number]) => number | undefined): Sample[] =>
    known.flatMap((signal, index) => {
      const value = measure(signal);
      return value === undefined ? [] : [{ value, labels: { signal: SIGNALS[index]! } }];
    });
  meter.replace(
    'foreshard_series_distrusted',
    samples(({ distrusted }) => distrusted),
  );
  meter.replace(
    'foreshard_forecast_error_ratio',
    samples(({ errors }) => errors.sort((a, b) => a - b)[errors.length >> 1]),
  );
  meter.replace(
    'foreshard_forecast_coverage',
    samples(({ coverages }) =>
      coverages.length === 0 ? undefined : coverages.reduce((sum, each) => sum + each, 0) / coverages.length,
    ),
  );
}
