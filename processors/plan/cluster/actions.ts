// Actions: what a plan may do, with the facts that its decision record shows, and refusals: what it did not do and why.

import { type EventTime, eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import type { Alternative, StoreKind } from '../../../schemas/records.ts';
import type { Cost } from '../costs/cost.ts';
import type { Trouble } from '../demand/capacity.ts';
import type { DatastoreType } from './catalog.ts';
import type { ClusterModel } from './cluster-model.ts';
import type { ClusterShard, PlannedSlice } from './cluster-shard.ts';

/** What the planner knew; goes into the Decision record. */
export interface Facts {
  readonly reason: string;
  readonly forecastPerSecond: number;
  readonly capacityPerSecond: number;
  /** 0 when capacity is not crossed. */
  readonly crossingAt: EventTime;
  readonly leadTimeMs: number;
  /** Change of running cost. */
  readonly dollarsPerHour: number;
  /** What is paid for it, once and over the horizon; compared by constraints/cost.ts with `savesDollars`. */
  readonly dollars: number;
  /** The same by what is paid for, and the overload it comes too late for; absent where nothing is paid. */
  readonly cost?: Cost;
  readonly savesDollars: number;
  readonly alternatives: readonly Alternative[];
  /** True against an overload, forecast or measured: churn and return do not hold such an action back. */
  readonly urgent: boolean;
  /** The shard whose shortage this answers; for upkeep, the slice's own shard. */
  readonly concerns: ShardId;
}

export type Action = Facts &
  (
    | Moving<'MOVE'>
    | {
        readonly kind: 'SPLIT' | 'MERGE';
        readonly shard: ShardId;
        readonly before: readonly PlannedSlice[];
        readonly after: readonly PlannedSlice[];
      }
    | {
        readonly kind: 'ALLOCATE';
        readonly shard: ShardId;
        readonly storeKind: StoreKind;
        readonly type: DatastoreType;
      }
    | { readonly kind: 'RESIZE'; readonly shard: ShardId; readonly type: DatastoreType }
    | { readonly kind: 'RETIRE'; readonly shard: ShardId }
    | { readonly kind: 'UNREPLICATE'; readonly slice: PlannedSlice }
    /** A move whose slice or target does not exist yet: counted as done now, commanded later. */
    | Moving<'WAIT'>
  );

interface Moving<Kind extends 'MOVE' | 'WAIT'> {
  readonly kind: Kind;
  readonly slice: PlannedSlice;
  readonly to: ShardId;
  /** A replica is made on the target and the slice stays; `slice.load` is then the load of each of the two. */
  readonly replicates: boolean;
}

/** The constraint that refused; the name of an installation's own constraint begins with `own-`. */
export type ConstraintName =
  | 'busy'
  | 'cool-down'
  | 'return'
  | 'moves-at-once'
  | 'moves-per-shard'
  | 'shards-per-hour'
  | 'shards-max'
  | 'slices-max'
  | 'dollars-per-hour'
  | 'churn'
  | 'capacity'
  | 'cost'
  | 'timing'
  | 'no-relief'
  | 'hot-key'
  | 'catalogue'
  | `own-${string}`;

export interface Refusal {
  readonly subject: string;
  readonly by: ConstraintName;
  readonly reason: string;
  readonly facts: Facts | undefined;
  /**
   * The action is right but has to wait. It counts as done, so that nothing more expensive is bought instead (plan.ts
   * P2).
   */
  readonly later?: boolean;
}

/** Returns why the action is refused, or `undefined` when it passes. Pure: reads the cluster and never changes it. */
export type Constraint = (cluster: ClusterModel, action: Action) => Refusal | undefined;

/** What an action is about: the subject of its decision. */
export function subjectOf(action: Action): SliceKey | ShardId {
  switch (action.kind) {
    case 'MOVE':
    case 'WAIT':
    case 'UNREPLICATE':
      return action.slice.slice;
    case 'SPLIT':
    case 'MERGE':
      return action.before[0]!.slice;
    default:
      return action.shard;
  }
}

/** An action in words, for alternatives and refusals. */
export function describe(action: Action): string {
  switch (action.kind) {
    case 'MOVE':
    case 'WAIT':
      return `${action.replicates ? 'replicate' : 'move'} ${action.slice.slice} ${action.replicates ? 'on' : 'to'} ${action.to}`;
    case 'UNREPLICATE':
      return `end the replica of ${action.slice.slice} on ${action.slice.replica}`;
    case 'SPLIT':
    case 'MERGE':
      return `${action.kind.toLowerCase()} ${action.before.map((slice) => slice.slice).join(', ')}`;
    case 'ALLOCATE':
      return `allocate ${action.shard} on ${action.type.name}`;
    case 'RESIZE':
      return `resize ${action.shard} to ${action.type.name}`;
    case 'RETIRE':
      return `retire ${action.shard}`;
  }
}

export const refusal = (action: Action, by: ConstraintName, reason: string): Refusal => ({
  subject: subjectOf(action),
  by,
  reason: `Not done: ${describe(action)}. ${reason}`,
  facts: action,
});

/** Facts of an action that answers no shortage. */
export function calmFacts(
  cluster: ClusterModel,
  shard: ClusterShard,
  reason: string,
): Omit<Facts, 'leadTimeMs' | 'dollars'> {
  return {
    reason,
    forecastPerSecond: cluster.rooms.utilisation(shard).peakPerSecond,
    capacityPerSecond: cluster.settings.safeUtilisation * shard.type.operationsPerSecond,
    crossingAt: eventTime(0),
    dollarsPerHour: 0,
    savesDollars: 0,
    alternatives: [],
    urgent: false,
    concerns: shard.id,
  };
}

/** Facts of an action that answers a shortage. */
export function factsOfTrouble(
  trouble: Trouble,
  shard: ClusterShard,
): Omit<Facts, 'leadTimeMs' | 'dollars' | 'reason'> {
  return {
    forecastPerSecond: trouble.peakPerSecond,
    capacityPerSecond: trouble.capacityPerSecond,
    crossingAt: trouble.crossingAt,
    dollarsPerHour: 0,
    savesDollars: trouble.overloadDollars,
    alternatives: [],
    urgent: true,
    concerns: shard.id,
  };
}
