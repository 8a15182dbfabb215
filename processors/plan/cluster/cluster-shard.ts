// Cluster shard: what a plan knows of a shard and of a slice, and what a shard holds while the plan is being made.
//
//   B1. What a shard holds is the sum of its slices (utilisation-forecast.ts says how full that is).
//   B2. When a store measures itself busier than its load explains, the measurement is believed: its load is scaled up.

import type { EventTime, ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import type { Cargo } from '../costs/cost.ts';
import type { Flow } from '../demand/demand.ts';
import { addTo, emptySum, type ShardLoad, type SliceLoad, type TimedSum } from '../demand/utilisation-forecast.ts';
import type { PlanSettings } from '../settings.ts';
import type { LeftShard } from '../stage/rows.ts';
import type { DatastoreType, Flowing } from './catalog.ts';

export interface PlannedShard {
  readonly id: ShardId;
  readonly kind: StoreKind;
  readonly type: DatastoreType;
  /** False while it is being provisioned: it counts as capacity, but nothing can move to it yet. */
  readonly ready: boolean;
  readonly resizing: boolean;
  /** One of the first shards (genesis): never retired. */
  readonly first: boolean;
  /** As its store measures it; absent when the measurement is old or disturbed by a move. */
  readonly measuredUtilisation: number | undefined;
  readonly roomyPlans: number;
}

export interface PlannedSlice extends SliceLoad {
  readonly slice: SliceKey;
  /** Where it will be when the moves under way have ended. */
  readonly shard: ShardId;
  /** In a move, split or merge, or not existing yet. */
  readonly busy: boolean;
  readonly coolUntil: EventTime;
  /** Shards that it has left recently, and until when it does not return to each. */
  readonly left?: readonly LeftShard[] | undefined;
  /** Where its replica is, which takes half of its look-ups; `load` is the rest. */
  readonly replica?: ShardId | undefined;
  /** True for the replica itself: the placement of its slice decides where it is. */
  readonly isReplica?: true;
}

export interface ClusterShard extends PlannedShard, ShardLoad {
  type: DatastoreType;
  resizing: boolean;
  readonly slices: Map<SliceKey, PlannedSlice>;
  moves: number;
}

/** A shard without slices, that so many moves touch; of what comes and goes with the load, `followed` is summed up. */
export function emptyShard(
  shard: PlannedShard,
  moves: number,
  horizonSteps: number,
  followed: readonly Flowing[],
): ClusterShard {
  const flow = (flowing: Flowing): TimedSum | undefined =>
    followed.includes(flowing) ? { now: 0, ...emptySum(horizonSteps) } : undefined;
  return {
    ...shard,
    slices: new Map(),
    ...emptySum(horizonSteps),
    flows: { clients: flow('clients'), bandwidth: flow('bandwidth') },
    nowPerSecond: 0,
    entries: 0,
    bytes: 0,
    calibration: 1,
    moves,
  };
}

/** Adds a slice to what its shard holds and is asked for, or takes it off (B1). */
export function sumOnto(shard: ClusterShard, { load, entries, bytes }: PlannedSlice, sign: 1 | -1): void {
  shard.nowPerSecond += sign * load.now;
  shard.entries += sign * entries;
  shard.bytes += sign * bytes;
  addTo(shard, load, sign);
  const { clients, bandwidth } = shard.flows;
  if (clients !== undefined) addTimed(clients, load.clients, sign);
  if (bandwidth !== undefined) addTimed(bandwidth, load.bandwidth, sign);
}

function addTimed(sum: TimedSum, flow: Flow | undefined, sign: 1 | -1): void {
  if (flow === undefined) return;
  sum.now += sign * flow.now;
  addTo(sum, flow, sign);
}

/** What a move of the slice carries; its load is the mean of the horizon. */
export const cargoOf = ({ bytes, entries, load }: PlannedSlice): Cargo => ({
  bytes,
  entries,
  perSecond: meanOf(load.median),
});

/** A share of everything on a shard. */
export const cargoOfShard = (shard: ClusterShard, share: number): Cargo => ({
  bytes: shard.bytes * share,
  entries: shard.entries * share,
  perSecond: meanOf(shard.median) * shard.calibration * share,
});

const meanOf = (steps: Float32Array | Float64Array): number => {
  let sum = 0;
  for (const each of steps) sum += each;
  return sum / Math.max(1, steps.length);
};

/**
 * A store is taken to be at most four times as busy as its load explains: beyond that something else is wrong with it.
 */
const CALIBRATION_MAX = 4;

/** How many times busier a store is than its load explains (B2); 1 when it is not. */
export function calibrationOf(shard: PlannedShard, nowPerSecond: number, { safeUtilisation }: PlanSettings): number {
  const measured = shard.measuredUtilisation;
  const explained = nowPerSecond / shard.type.operationsPerSecond;
  if (measured === undefined || measured <= safeUtilisation || explained <= 0) return 1;
  return Math.min(CALIBRATION_MAX, Math.max(1, measured / explained));
}
