// References: simple policies to compare the planner with, on shards of one type for each kind of store.
//
//   R1. A decision at the end of a minute uses only the minutes until then.
//   R2. Each policy knows how uneven its placement usually is (ladder.ts), and keeps to the planner's safe utilisation.
//   R3. Each uses the type on which it costs the least in the end: an advantage that it could not have in reality.

import { LEVELS, MEDIAN } from '../../processors/forecast/combine/calibration.ts';
import { NEAR_STEPS } from '../../processors/forecast/grid.ts';
import type { Catalog } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import type { StoreKind } from '../../schemas/records.ts';
import { ORDER_ABOVE, REMOVE_BELOW } from '../provision/references.ts';
import { AIMED_UTILISATION } from '../provision/resource.ts';
import type { Account } from './account.ts';
import { meanBefore, type SyntheticFleet } from './fleet.ts';
import { forecasterOfMinutes } from './forecast-source.ts';
import { type Ladder, laddersOf } from './ladder.ts';
import { INFLATION, nextMachines, type PStoreTerms, SCALE_IN_PLANS } from './p-store.ts';
import { SIZED_PACE, STEP_SECONDS, STEPS_PER_MINUTE } from './pace.ts';
import { SizedShards } from './sized.ts';

/** What a policy knows of the shards of one kind. */
export interface KindLoad {
  readonly ladder: Ladder;
  /** Operations per second of all of them together, by minute. A policy must not read a minute that is not over. */
  readonly perMinute: Float64Array;
  readonly learnMinutes: number;
  /**
   * The highest load predicted for each of the coming intervals, at the end of a minute; minutes are asked for in
   * order.
   */
  readonly predicted: (minute: number) => readonly number[];
}

/** The number of one kind's shards under a policy. */
export interface Sizing {
  /** Shards at the first paid minute. */
  readonly start: number;
  /** Shards wanted at the end of a minute, when there are `shards` and no change is going on (R1). */
  readonly wanted: (minute: number, shards: number) => number;
}

export const REFERENCES = {
  static_peak: staticPeak,
  static_mean: staticMean,
  reactive,
  p_store: pStore,
} as const satisfies Record<string, (kind: KindLoad) => Sizing>;

export type ReferenceName = keyof typeof REFERENCES;

export interface ReferenceRun {
  readonly fleet: SyntheticFleet;
  readonly catalog: Catalog;
  readonly account: Account;
  readonly startAt: number;
}

const MINUTE_MS = 60_000;
const { safeUtilisation } = PLAN_DEFAULTS;

/** Runs to the end of the fleet's load, from the first paid minute on; yields after each minute. */
export function* runReference(name: ReferenceName, run: ReferenceRun): Generator<number> {
  const loads = (['KEY_VALUE', 'TRIE'] as const).map((kind) => {
    const trials = kindLoadsOf(run, kind).map((load) => {
      const account = run.account.another();
      for (const _minute of pass(name, [load], { ...run, account }));
      return { load, dollars: account.score().dollars };
    });
    return trials.reduce((best, each) => (each.dollars < best.dollars ? each : best)).load; // R3
  });
  yield* pass(name, loads, run);
}

function* pass(
  name: ReferenceName,
  loads: readonly KindLoad[],
  { fleet, account, startAt }: ReferenceRun,
): Generator<number> {
  const kinds = loads.map((load) => {
    const sizing = REFERENCES[name](load);
    return { sizing, shards: new SizedShards(load.ladder, sizing.start, SIZED_PACE, account) };
  });
  for (let minute = fleet.settings.learnMinutes; minute < fleet.minutes; minute++) {
    const at = startAt + minute * MINUTE_MS;
    for (let step = 0; step < STEPS_PER_MINUTE; step++) {
      for (const { shards } of kinds) shards.tick(at + step * STEP_SECONDS * 1000);
      account.step(
        minute,
        kinds.flatMap(({ shards }) => shards.paid()),
        kinds.flatMap(({ shards }) => shards.serving((operations) => fleet.sum(operations, minute))),
      );
    }
    for (const { sizing, shards } of kinds)
      if (!shards.isChanging) shards.order(sizing.wanted(minute, shards.count), at + MINUTE_MS);
    yield minute;
  }
}

/** The load of a kind, with a ladder of each type that can be used. */
function kindLoadsOf({ fleet, catalog }: ReferenceRun, kind: StoreKind): KindLoad[] {
  const { learnMinutes } = fleet.settings;
  const ladders = laddersOf(fleet, catalog, kind);
  const { operations } = ladders[0]!;
  const perMinute = Float64Array.from({ length: fleet.minutes }, (_, minute) => fleet.sum(operations, minute));
  const predicted = predictions(perMinute);
  return ladders.map((ladder) => ({ ladder, perMinute, learnMinutes, predicted }));
}

const peakOf = (perMinute: Float64Array, minutes: number): number => {
  let peak = 0;
  for (let minute = 0; minute < minutes; minute++) peak = Math.max(peak, perMinute[minute]!);
  return peak;
};

const constant = (start: number): Sizing => ({ start, wanted: () => start });

/** As many shards as the highest minute so far needs. */
function staticPeak({ ladder, perMinute, learnMinutes }: KindLoad): Sizing {
  return constant(ladder.shardsFor(peakOf(perMinute, learnMinutes) / safeUtilisation));
}

/** As many shards as the mean so far needs. */
function staticMean({ ladder, perMinute, learnMinutes }: KindLoad): Sizing {
  return constant(ladder.shardsFor(meanBefore(perMinute, learnMinutes) / safeUtilisation));
}

/** Consecutive minutes of low load before shards are given back. */
const QUIET_MINUTES = 10;

/** Orders shards above one utilisation and gives them back below another, aiming between the two. */
function reactive({ ladder, perMinute, learnMinutes }: KindLoad): Sizing {
  let quiet = 0;
  return {
    start: ladder.shardsFor(perMinute[learnMinutes - 1]! / AIMED_UTILISATION),
    wanted(minute, shards) {
      const load = perMinute[minute]!;
      const full = ladder.capacity(shards);
      const aimed = ladder.shardsFor(load / AIMED_UTILISATION);
      quiet = load < REMOVE_BELOW * full ? quiet + 1 : 0;
      if (load > ORDER_ABOVE * full) return Math.max(aimed, shards);
      return quiet >= QUIET_MINUTES ? Math.min(aimed, shards) : shards;
    },
  };
}

/** Minutes between two plans, as in the paper. */
const INTERVAL_MINUTES = 5;
const AHEAD = Array.from({ length: NEAR_STEPS }, (_, step) => step + 1);

/** Plans reconfigurations by the forecast of the total load (p-store.ts). */
function pStore({ ladder, perMinute, learnMinutes, predicted }: KindLoad): Sizing {
  const terms = termsOf(ladder);
  let fewer = 0;
  return {
    start: ladder.shardsFor((INFLATION * perMinute[learnMinutes - 1]!) / safeUtilisation),
    wanted(minute, shards) {
      if ((minute + 1) % INTERVAL_MINUTES !== 0) return shards;
      const loads = predicted(minute).map((load) => load * INFLATION);
      const next = nextMachines(loads, shards, terms);
      fewer = next < shards ? fewer + 1 : 0;
      return next < shards && fewer < SCALE_IN_PLANS ? shards : next;
    },
  };
}

/**
 * The median forecasts of a load at the end of a minute: the highest of each interval. Cached, since they are asked for
 * again.
 */
export function predictions(perMinute: Float64Array): (minute: number) => readonly number[] {
  const forecaster = forecasterOfMinutes();
  const memory = forecaster.fresh();
  const quantiles = new Float64Array(NEAR_STEPS * LEVELS.length);
  const made = new Map<number, readonly number[]>();
  let closed = 0;
  return (minute) => {
    const before = made.get(minute);
    if (before !== undefined) return before;
    for (; closed <= minute; closed++) forecaster.learn(memory, closed, perMinute[closed]!);
    forecaster.quantiles(memory, AHEAD, quantiles);
    const intervals = Array.from({ length: NEAR_STEPS / INTERVAL_MINUTES }, (_, interval) => {
      const from = interval * INTERVAL_MINUTES;
      const steps = Array.from({ length: INTERVAL_MINUTES }, (_, step) => from + step);
      return Math.max(...steps.map((step) => quantiles[step * LEVELS.length + MEDIAN]!));
    });
    made.set(minute, intervals);
    return intervals;
  };
}

function termsOf(ladder: Ladder): PStoreTerms {
  const counts = Array.from({ length: ladder.shardsMax }, (_, index) => index + 1);
  const took = counts.map((before) => counts.map((after) => intervalsOf(ladder, before, after)));
  return {
    capacities: counts.map((n) => safeUtilisation * ladder.capacity(n)),
    intervals: (before, after) => took[before - 1]![after - 1]!,
  };
}

function intervalsOf(ladder: Ladder, before: number, after: number): number {
  const then = ladder.placement(before);
  let entries = 0;
  for (const [bucket, shard] of ladder.placement(after).entries())
    if (shard !== then[bucket]) entries += ladder.buckets[bucket]!.entries;
  const copyMs = (2 * entries * 1000) / (SIZED_PACE.rowsPerSecond * SIZED_PACE.links);
  const tookMs = copyMs + (after > before ? ladder.type.provisioningMs : 0);
  return Math.max(1, Math.ceil(tookMs / (INTERVAL_MINUTES * MINUTE_MS)));
}
