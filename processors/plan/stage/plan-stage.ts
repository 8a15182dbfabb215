// Plan: forecasts, rates, measurements and progress in; commands, pointers and decisions out. One task sees the whole
// cell. This file only says which input goes where:
//
//   intake.ts      forecasts and rates become rows
//   watch.ts       brokers, the table read back, wall time
//   cell-time.ts   event time
//   cell-state.ts  the rows, as repositories
//   moves.ts       the life of a move
//   checks.ts      checks that people ask for
//   shards.ts      genesis, shards, splits and merges
//   rebuilds.ts    shards that have lost their data
//   round.ts       one planning round: snapshot -> plan -> commands (plan.ts and what it imports are pure)
//   proposals.ts   plans that wait for a person
//   views.ts       what people may ask of the rows
//   ../audit/benefit-audit.ts   what actions promised, and what they saved
//
//   L1. What one change needs (pointers, commands, decisions, rows) comes out of one call: it is in one transaction.
//   L2. Nothing is planned before genesis has been published.

import type {
  Command,
  Decision,
  Forecast,
  Metric,
  PointerRecord,
  Progress,
  RateWindow,
} from '../../../schemas/records.ts';
import type { Emit, Input, Rows, Step, Tick } from '../../step.ts';
import { NOTHING } from '../../step.ts';
import type { Constraint } from '../cluster/actions.ts';
import { typeNamed } from '../cluster/catalog.ts';
import { CONSTRAINTS } from '../constraints/constraints.ts';
import type { PlanSettings } from '../settings.ts';
import { CellState, cellOf } from './cell-state.ts';
import { watchTime } from './cell-time.ts';
import { takeCheckProgress, takeCheckRequest } from './checks.ts';
import { takeForecast, takeRates } from './intake.ts';
import { takeMoveProgress, takeMoveRequest, watchMoves } from './moves.ts';
import { rebuildShards, takeRebuildRequest } from './rebuilds.ts';
import { takeRefusal } from './refusals.ts';
import { planRound, takeAnswer, takePlanRequest } from './round.ts';
import type { Row } from './rows.ts';
import {
  beginCell,
  takeShardProgress,
  takeSliceEntries,
  takeSliceLeft,
  takeSliceProgress,
  takeStoreMetrics,
  takeTableProgress,
  watchShards,
} from './shards.ts';
import { Turn } from './turn.ts';
import { takeHeartbeat, takePointer, watchBrokers, watchClock } from './watch.ts';

export { PLAN_DEFAULTS, type PlanMode, type PlanSettings } from '../settings.ts';
export { cells, type Row } from './rows.ts';

export type PlanInput =
  | Input<'forecasts', Forecast>
  | Input<'rates', RateWindow>
  | Input<'metrics', Metric>
  | Input<'progress', Progress>
  | Input<'pointer-table', PointerRecord | null>
  | Input<'clock', Tick>;

type PlanStep = Step<
  PlanInput,
  Row,
  Emit<'commands', Command> | Emit<'pointer-table', PointerRecord> | Emit<'decisions', Decision>
>;

/**
 * The step of the plan stage: every action that it takes has passed all of the constraints. Throws CATALOG_INVALID when
 * the first shards' types are not in the catalogue.
 */
export function planWith(settings: PlanSettings, constraints: readonly Constraint[] = CONSTRAINTS): PlanStep {
  typeNamed(settings.catalog, settings.genesis.concreteType);
  typeNamed(settings.catalog, settings.genesis.trieType);
  /** Made anew when the rows have been loaded anew: the cell's is another object then (turn.ts U3). */
  const states = new WeakMap<Rows<Row>, CellState>();
  const stateOf = (rows: Rows<Row>): CellState => {
    const cell = cellOf(rows);
    const known = states.get(rows);
    if (known !== undefined && known.cell === cell) return known;
    const state = cell === undefined ? beginCell(rows, settings) : new CellState(rows, cell);
    states.set(rows, state);
    return state;
  };
  return (rows, input) => {
    const state = stateOf(rows);
    if (input.topic === 'rates') {
      takeRates(state, input.value);
      return NOTHING;
    }
    if (input.topic === 'forecasts') {
      takeForecast(state, settings, input.value);
      return NOTHING;
    }
    const turn = new Turn(state, settings, constraints);
    if (input.topic === 'clock') onTick(turn, input.value.wallTime);
    else if (input.topic === 'metrics') onMetric(turn, input.value);
    else if (input.topic === 'progress') onProgress(turn, input.value);
    else takePointer(turn, input.key, input.value, input.offset);
    return turn.emits;
  };
}

function onTick(turn: Turn, wallTime: number): void {
  watchClock(turn, wallTime);
  watchTime(turn, wallTime);
  watchBrokers(turn, wallTime);
  watchMoves(turn, wallTime);
  watchShards(turn, wallTime);
  const { cell, settings } = turn;
  if (cell.started) rebuildShards(turn, wallTime);
  if (cell.started && cell.now - cell.plannedAt >= settings.tickMs) planRound(turn); // L2
}

function onMetric(turn: Turn, { body }: Metric): void {
  switch (body.kind) {
    case 'TopicTraffic':
      return; // Counted by the rates stage.
    case 'DatastoreMetrics':
      takeStoreMetrics(turn, body);
      return;
    case 'BrokerHeartbeat':
      takeHeartbeat(turn, body);
      return;
    case 'PlanRequest':
      takePlanRequest(turn, body);
      return;
    case 'PlanAnswer':
      takeAnswer(turn, body);
      return;
    case 'MoveRequest':
      takeMoveRequest(turn, body);
      return;
    case 'CheckRequest':
      takeCheckRequest(turn, body);
      return;
    case 'RebuildRequest':
      takeRebuildRequest(turn, body);
  }
}

function onProgress(turn: Turn, { body }: Progress): void {
  switch (body.kind) {
    case 'MoveProgress':
      takeMoveProgress(turn, body);
      return;
    case 'ShardProgress':
      takeShardProgress(turn, body);
      return;
    case 'SliceLeft':
      takeSliceLeft(turn, body);
      return;
    case 'TableProgress':
      takeTableProgress(turn, body);
      return;
    case 'SliceProgress':
      takeSliceProgress(turn, body);
      return;
    case 'SliceEntries':
      takeSliceEntries(turn, body);
      return;
    case 'CommandRefused':
      takeRefusal(turn, body);
      return;
    case 'CheckProgress':
      takeCheckProgress(turn, body);
  }
}
