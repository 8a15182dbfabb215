// Plan: from one snapshot to one plan with its refusals. Pure: the same snapshot gives the same plan.
//
//   P1. Every action has passed every constraint on the cluster that the actions before it leave behind.
//   P2. A relief that is right but must wait (not urgent yet, too many moves, a slice in its cool-down) counts as done,
//       so that nothing more expensive is bought for the same shortage.
//   P3. Upkeep of a kind of store is looked at only while none of its shards is in trouble.
//   P4. Measured shortages come first: forecast ones get what the caps leave.
//   P5. While a shard is being emptied, nothing is balanced: balancing would fill it again.
//   P6. Cold slices go home before a shard is emptied: otherwise the two would undo each other's moves.

import type { ShardId } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import type { Action, Constraint, ConstraintName, Facts, Refusal } from './cluster/actions.ts';
import { ClusterModel, type Snapshot } from './cluster/cluster-model.ts';
import type { ClusterShard } from './cluster/cluster-shard.ts';
import { type FleetPlan, fleetPlan, growing, sparePerSecond } from './cluster/fleet.ts';
import { CONSTRAINTS, firstRefusal } from './constraints/constraints.ts';
import { type Trouble, troubledShards, troubleOf, troubleText } from './demand/capacity.ts';
import { balancing } from './search/balance.ts';
import { reliefs } from './search/placement.ts';
import { smallerTypes } from './search/sizing.ts';
import { emptying, leavingShard, merging, spareShard, unreplicating, unwantedShards } from './search/upkeep.ts';

export interface Plan {
  /** In the order in which they are to be carried out; WAIT is never among them. */
  readonly actions: readonly Action[];
  readonly refusals: readonly Refusal[];
  /** Actions that are right and must wait (P2), or that follow once their slice or target exists; counted as done. */
  readonly later: readonly Action[];
  /** Capacity planned for each kind of store. */
  readonly fleet: Readonly<Record<StoreKind, FleetPlan | undefined>>;
  /** Shards that a cheaper type could serve. */
  readonly roomy: readonly ShardId[];
  /** The cluster as it will be, for questions about single shards. */
  readonly cluster: ClusterModel;
}

export function plan(snapshot: Snapshot, constraints: readonly Constraint[] = CONSTRAINTS): Plan {
  const cluster = new ClusterModel(snapshot);
  const actions: Action[] = [];
  const later: Action[] = [];
  const refusals: Refusal[] = [];
  const roomy: ShardId[] = [];
  const fleet = { KEY_VALUE: fleetPlan(cluster, 'KEY_VALUE'), TRIE: fleetPlan(cluster, 'TRIE') };
  const troubledKinds = new Set<StoreKind>();

  const relieveAll = (measured: boolean): void => {
    for (const shard of troubledShards(cluster, measured)) {
      troubledKinds.add(shard.kind);
      relieve(cluster, shard, constraints, actions, later, refusals);
    }
  };
  relieveAll(true); // P4
  for (const kind of KINDS) {
    const planned = fleet[kind];
    if (planned !== undefined)
      take(cluster, constraints, growing(cluster, kind, planned), SHARDS_MAX, actions, refusals);
  }
  relieveAll(false);
  if (troubledKinds.size === 0) {
    take(cluster, constraints, unreplicating(cluster), cluster.settings.movesMax, actions, refusals);
    take(
      cluster,
      constraints,
      merging(cluster, unwanted(cluster, fleet)),
      cluster.settings.movesMax,
      actions,
      refusals,
    ); // P6
  }
  for (const kind of KINDS) {
    if (troubledKinds.has(kind)) continue;
    const planned = fleet[kind];
    const leaving = planned && leavingShard(cluster, kind, planned);
    if (leaving !== undefined) {
      take(cluster, constraints, emptying(cluster, leaving), cluster.settings.movesMax, actions, refusals);
      continue; // P5
    }
    const spare = planned && spareShard(cluster, kind, sparePerSecond(cluster, kind, planned));
    take(cluster, constraints, balancing(cluster, kind, spare), 1, actions, refusals);
    take(cluster, constraints, smallerTypes(cluster, kind, planned, roomy), 1, actions, refusals);
  }
  return { actions, refusals, later, fleet, roomy, cluster: cluster };
}

const KINDS: readonly StoreKind[] = ['KEY_VALUE', 'TRIE'];
/** Reliefs of one shard tried in one plan; each takes at least one slice off it or adds a shard. */
const ROUNDS_MAX = 32;
/** Constraints whose refusal means "later": the action is right (P2). */
const LATER: ReadonlySet<ConstraintName> = new Set(['timing', 'moves-at-once', 'moves-per-shard', 'cool-down', 'busy']);
const REFUSALS_MAX = 3;
/** Shards bought for the forecast in one plan; the caps on an hour are far lower (constraints/caps.ts). */
const SHARDS_MAX = 64;

/** Shards to which nothing goes home (upkeep.ts V3). */
const unwanted = (cluster: ClusterModel, fleet: Plan['fleet']): ReadonlySet<ShardId> =>
  new Set(
    KINDS.flatMap((kind) => {
      const planned = fleet[kind];
      return planned === undefined ? [] : [...unwantedShards(cluster, kind, planned)];
    }),
  );

function relieve(
  cluster: ClusterModel,
  shard: ClusterShard,
  constraints: readonly Constraint[],
  actions: Action[],
  later: Action[],
  refusals: Refusal[],
): void {
  const unanswered: Refusal[] = [];
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const trouble = troubleOf(cluster, shard);
    if (trouble === undefined || shard.resizing) break;
    const step = nextRelief(cluster, shard, trouble, constraints);
    unanswered.push(...step.refusals);
    if (step.action === undefined) {
      if (step.refusals.length === 0) unanswered.push(noRelief(cluster, shard, trouble));
      break;
    }
    (step.emit ? actions : later).push(step.action);
    // An action that waits is not a move under way: it does not use up the moves that other shards may make now.
    afterAction(cluster, step.emit || step.action.kind !== 'MOVE' ? step.action : { ...step.action, kind: 'WAIT' });
  }
  const said = new Set<string>();
  for (const each of unanswered) {
    if (said.size === REFUSALS_MAX) break;
    if (said.has(each.by)) continue;
    said.add(each.by);
    // To an operator the shortage of a shard is one thing, whichever of its slices was tried.
    refusals.push({ ...each, subject: shard.id });
  }
}

interface Relief {
  /** What to count as done; `emit` says whether it is also to be carried out now. */
  readonly action: Action | undefined;
  readonly emit: boolean;
  readonly refusals: readonly Refusal[];
}

function nextRelief(
  cluster: ClusterModel,
  shard: ClusterShard,
  trouble: Trouble,
  constraints: readonly Constraint[],
): Relief {
  const refusals: Refusal[] = [];
  let later: Action | undefined;
  for (const action of reliefs(cluster, shard, trouble)) {
    if (action.kind === 'WAIT') return { action: later ?? action, emit: false, refusals };
    if (later !== undefined && action.kind !== 'MOVE') break;
    const refused = firstRefusal(constraints, cluster, action);
    if (refused === undefined) return { action, emit: true, refusals };
    refusals.push(refused);
    if (refused.by === 'timing') return { action, emit: false, refusals };
    if (refused.later === true || LATER.has(refused.by)) later ??= action;
    if (refused.by === 'moves-at-once') break; // A limit of the whole cell: no other move would pass either.
  }
  return { action: later, emit: false, refusals };
}

/** Carries out on the cluster what the action will have done. */
export function afterAction(cluster: ClusterModel, action: Action): void {
  switch (action.kind) {
    case 'MOVE':
    case 'WAIT': {
      const target = cluster.shards.get(action.to)!;
      if (action.kind === 'MOVE') {
        cluster.moves++;
        cluster.ledger.moved(action.slice.entries);
        cluster.shards.get(action.slice.shard)!.moves++;
        target.moves++;
      }
      if (action.replicates) cluster.replicate(action.slice, target);
      else cluster.move(action.slice, target);
      return;
    }
    case 'UNREPLICATE':
      cluster.unreplicate(action.slice);
      return;
    case 'SPLIT':
    case 'MERGE':
      cluster.replace(cluster.shards.get(action.shard)!, action.before, action.after);
      return;
    case 'ALLOCATE':
      cluster.nextShard++;
      cluster.ledger.allocated(action.type);
      cluster.addShard({
        id: action.shard,
        kind: action.storeKind,
        type: action.type,
        ready: false,
        resizing: false,
        first: false,
        measuredUtilisation: undefined,
        roomyPlans: 0,
      });
      return;
    case 'RESIZE':
      cluster.ledger.resized(action.type);
      cluster.retype(cluster.shards.get(action.shard)!, action.type);
      return;
    case 'RETIRE':
      cluster.removeShard(action.shard);
  }
}

function take(
  cluster: ClusterModel,
  constraints: readonly Constraint[],
  candidates: Iterable<Action>,
  max: number,
  actions: Action[],
  refusals: Refusal[],
): void {
  let taken = 0;
  for (const action of candidates) {
    if (action.kind === 'WAIT') continue;
    const refused = firstRefusal(constraints, cluster, action);
    if (refused !== undefined) {
      if (refusals.length < REFUSALS_MAX) refusals.push({ ...refused, subject: action.concerns });
      continue;
    }
    actions.push(action);
    afterAction(cluster, action);
    if (++taken === max) return;
  }
}

function noRelief(cluster: ClusterModel, shard: ClusterShard, trouble: Trouble): Refusal {
  const why = troubleText(trouble, shard, cluster.snapshot.now);
  const facts: Facts = {
    reason: '',
    forecastPerSecond: trouble.peakPerSecond,
    capacityPerSecond: trouble.capacityPerSecond,
    crossingAt: trouble.crossingAt,
    leadTimeMs: 0,
    dollarsPerHour: 0,
    dollars: 0,
    savesDollars: 0,
    alternatives: [],
    urgent: true,
    concerns: shard.id,
  };
  if (shard.slices.size <= 1)
    return {
      subject: shard.id,
      by: 'hot-key',
      reason: `${why}. It holds a single slice that cannot be split, and the catalogue has no bigger type.`,
      facts,
    };
  return {
    subject: shard.id,
    by: 'no-relief',
    reason: `${why}. None of its slices can be moved or split, and no type in the catalogue would help.`,
    facts,
  };
}
