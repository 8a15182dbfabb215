// The topology: every stage, in order. The page to read first. Records flow down; what flows back up goes through a
// topic, visibly: `progress` tells the planner what apply has done, `pointer-table` at which offsets its own
// changes are. `clock`, `effects` and `outcomes`, `fits` and `fitted` are local: they never leave the task.

import { type ApplySettings, carryOut, partitionStates, subscriptionsOnDisk } from '../processors/apply/apply.ts';
import { forecastWith } from '../processors/forecast/forecast.ts';
import type { ForecastSettings } from '../processors/forecast/settings.ts';
import { ingestWith } from '../processors/ingest/ingest.ts';
import type { Constraint } from '../processors/plan/cluster/actions.ts';
import { cells, type PlanSettings, planWith } from '../processors/plan/stage/plan-stage.ts';
import { countRates, windows } from '../processors/rates/rates.ts';
import type { RatesSettings } from '../processors/rates/settings.ts';
import { sessionWork } from '../processors/sessions/rows.ts';
import { sessionsWith } from '../processors/sessions/sessions.ts';
import type { SessionSettings } from '../processors/sessions/settings.ts';
import { defineTopology, PLAN, stage, type Topology } from './graph.ts';
import {
  clientEvents,
  clock,
  commands,
  decisions,
  effects,
  fits,
  fitted,
  forecasts,
  metrics,
  outcomes,
  pointers,
  progress,
  rates,
  sessionOperations,
  sessions,
  subscriptions,
  subscriptionTable,
  tallies,
  wildcards,
} from './topics.ts';

export interface TopologySettings {
  readonly sessions: SessionSettings;
  readonly rates: RatesSettings;
  readonly forecast: ForecastSettings;
  readonly plan: PlanSettings;
  /** Constraints that the planner's actions must pass; by default the built-in ones. */
  readonly constraints?: readonly Constraint[];
  readonly apply: ApplySettings;
}

// biome-ignore format: a table reads as a table
export function topologyOf(settings: TopologySettings): Topology {
  const keptSessions = sessionsWith(settings.sessions, settings.apply.subscriptionTable);
  const forecast = forecastWith(settings.forecast);
  const { subscriptionTable: isKept } = settings.apply;
  const kept = isKept ? ([subscriptionTable] as const) : ([] as const);
  return defineTopology([
    stage('ingest',   { reads: [subscriptions],                                                       emits: [wildcards, clientEvents],      step: ingestWith(settings.apply.incarnation) }),
    stage('sessions', { reads: [sessions, clientEvents, metrics, sessionOperations, clock], keeps: sessionWork, onDisk: keptSessions.onDisk, emits: [subscriptions, sessionOperations, tallies], step: keptSessions.step }),
    stage('rates',    { reads: [subscriptions, wildcards, metrics, clock],           keeps: windows,   emits: [rates],                        step: countRates(settings.rates) }),
    stage('forecast', { reads: [rates, clock, fitted],                               keeps: forecast.keeps, emits: [forecasts, fits],          step: forecast.step }),
    stage('plan',     { reads: [forecasts, rates, metrics, progress, pointers, clock], keeps: cells,   emits: [commands, pointers, decisions], step: planWith(settings.plan, settings.constraints), group: PLAN }),
    stage('apply',    { reads: [subscriptions, wildcards, commands, outcomes, clock], keeps: partitionStates,    onDisk: isKept ? subscriptionsOnDisk(settings.apply) : undefined, emits: [progress, effects, tallies, ...kept], step: carryOut(settings.apply) }),
  ], { inputs: [subscriptions, sessions, metrics] });
}
