// Compare: what a load would have cost under simple policies, with the same catalogue. Pure.
//
//   C1. Every policy gets the best case: its load divides evenly over its shards and moves for free. So its savings
//       against Foreshard are never understated, and its minutes above safe capacity are never overstated.

import type { DatastoreType } from '../processors/plan/cluster/catalog.ts';

/** Operations per second of each minute, for all shards of one kind of store together. */
export interface KindLoad {
  readonly type: DatastoreType;
  readonly perMinute: readonly number[];
}

export interface PolicyCost {
  readonly dollars: number;
  /** Minutes in which the load was above the safe capacity of the shards. */
  readonly overloadedMinutes: number;
  readonly shardsMax: number;
}

export interface ReactiveSettings {
  readonly safeUtilisation: number;
  /** Time from a new shard's readiness until it has taken over its share. */
  readonly moveMs: number;
  /** Consecutive minutes that must need fewer shards before some are given back. */
  readonly coldMinutes: number;
}

export const REACTIVE_DEFAULTS: ReactiveSettings = { safeUtilisation: 0.8, moveMs: 30_000, coldMinutes: 10 };

const MINUTES_PER_HOUR = 60;

/** At all times as many shards as the busiest minute needs: the choice of somebody who knows the peak in advance. */
export function staticPeak({ type, perMinute }: KindLoad, safeUtilisation: number): PolicyCost {
  const shards = perMinute.reduce((most, load) => Math.max(most, shardsFor(load, type, safeUtilisation)), 1);
  const hours = perMinute.length / MINUTES_PER_HOUR;
  return {
    dollars: shards * (type.dollarsPerHour * hours + type.dollarsPerProvisioning),
    overloadedMinutes: 0,
    shardsMax: shards,
  };
}

/** Orders shards when a minute was above safe capacity, and gives them back when they were not needed for a while. */
export function reactive({ type, perMinute }: KindLoad, settings: ReactiveSettings): PolicyCost {
  const { safeUtilisation, coldMinutes } = settings;
  const waitMinutes = (type.provisioningMs + settings.moveMs) / 60_000;
  let ready = shardsFor(perMinute[0] ?? 0, type, safeUtilisation);
  let dollars = ready * type.dollarsPerProvisioning;
  let overloadedMinutes = 0;
  let shardsMax = ready;
  const coming: { readonly atMinute: number; readonly shards: number }[] = [];
  for (const [minute, load] of perMinute.entries()) {
    while (coming[0] !== undefined && coming[0].atMinute <= minute) ready += coming.shift()!.shards;
    const needed = shardsFor(load, type, safeUtilisation);
    if (needed > ready) overloadedMinutes++;
    const asked = coming.reduce((sum, { shards }) => sum + shards, ready);
    dollars += (asked * type.dollarsPerHour) / MINUTES_PER_HOUR;
    shardsMax = Math.max(shardsMax, asked);
    if (needed > asked) {
      coming.push({ atMinute: minute + 1 + waitMinutes, shards: needed - asked }); // Known at the end of the minute.
      dollars += (needed - asked) * type.dollarsPerProvisioning;
    } else if (coming.length === 0 && minute + 1 >= coldMinutes) {
      const lately = perMinute.slice(minute + 1 - coldMinutes, minute + 1);
      ready = Math.min(ready, Math.max(...lately.map((each) => shardsFor(each, type, safeUtilisation))));
    }
  }
  return { dollars, overloadedMinutes, shardsMax };
}

/** Shards of the type that carry the load safely; at least one. */
const shardsFor = (load: number, type: DatastoreType, safeUtilisation: number): number =>
  Math.max(1, Math.ceil(load / (safeUtilisation * type.operationsPerSecond) - 1e-9));
