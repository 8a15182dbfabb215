// Placement: local search from the present assignment. For one shard that is short of capacity, it lists the actions
// that would relieve it, best first: by benefit per churn (Slicer, OSDI 2016), and actions with existing shards before
// purchases.

import { type Action, type Facts, factsOfTrouble } from '../cluster/actions.ts';
import { typesOfKind } from '../cluster/catalog.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import { type ClusterShard, cargoOf, type PlannedSlice } from '../cluster/cluster-shard.ts';
import { moveLeadMs } from '../cluster/lead-time.ts';
import { canBuy } from '../constraints/caps.ts';
import { moveCost, outlayOf, totalOf } from '../costs/cost.ts';
import { expectedOverloadDollars, type Trouble, troubleText } from '../demand/capacity.ts';
import { utilisationAtLeast } from '../demand/utilisation-forecast.ts';
import { ALTERNATIVES_MAX, insteadOf, keeping, movingInstead, purchases } from './purchases.ts';
import { halfOf, splitOf } from './splits.ts';

/** Slices of one shard considered for one relief: the best few by benefit per churn. */
const CANDIDATES_MAX = 24;
/**
 * A slice that fills more of a shard than this is split before it is moved: moved whole, it would take the shortage
 * along.
 */
const BIG_SHARE = 0.4;
/** The actions that would relieve the shard, best first. */
export function* reliefs(cluster: ClusterModel, shard: ClusterShard, trouble: Trouble): Generator<Action> {
  const facts = factsOfTrouble(trouble, shard);
  const why = troubleText(trouble, shard, cluster.snapshot.now);
  const ranked = rankedSlices(cluster, shard, trouble);
  const biggest = biggestSlice(cluster, shard, trouble);
  const isBig =
    biggest !== undefined &&
    (shard.slices.size === 1 || cluster.rooms.shareOf(shard, biggest, trouble.dimension) > BIG_SHARE);
  const split = isBig && !biggest.busy ? splitOf(cluster, shard, biggest, trouble) : undefined;
  const half = isBig && split === undefined ? halfOf(cluster, shard, biggest, trouble) : undefined;
  const offers = purchases(cluster, shard, trouble, ranked, half, facts, why);

  // A resize is compared in dollars with moves to shards that have room.
  const resize = offers.find(({ kind }) => kind === 'RESIZE');
  const moving = movingDollars(cluster, shard, trouble, ranked);
  if (resize !== undefined && totalOf(resize.cost) < moving && ranked.some((slice) => roomiest(cluster, shard, slice)))
    yield {
      ...resize,
      alternatives: [keeping(trouble), movingInstead(moving), ...resize.alternatives.slice(1, ALTERNATIVES_MAX - 1)],
    };
  for (const slice of ranked) {
    const target = roomiest(cluster, shard, slice);
    if (target === undefined) continue;
    const alternatives = resize === undefined ? [keeping(trouble)] : [keeping(trouble), insteadOf(resize, moving)];
    yield moveAction(cluster, slice, target, { ...facts, alternatives, reason: `${why}; ${target.id} has room.` });
  }
  if (split !== undefined && hasPlace(cluster, shard)) {
    const reason = `${why}; ${biggest!.slice} alone is too big for any shard with room: ${split.how}.`;
    yield { ...facts, kind: 'SPLIT', shard: shard.id, ...split, reason, leadTimeMs: 0, dollars: 0 };
  }
  const beside = half && roomiest(cluster, shard, half);
  if (half !== undefined && beside !== undefined) {
    const reason = `${why}; no type can serve ${half.slice} alone, so a replica on ${beside.id} takes half of its look-ups.`;
    yield moveAction(cluster, half, beside, { ...facts, reason }, true);
  }
  yield* offers;
}

/** Moves or replicates a slice, or waits to when the slice or the target does not exist yet. */
export function moveAction(
  cluster: ClusterModel,
  slice: PlannedSlice,
  target: ClusterShard,
  facts: Omit<Facts, 'leadTimeMs' | 'dollars' | 'cost'>,
  replicates = false,
): Action {
  const { settings, snapshot } = cluster;
  const waits = slice.busy || !target.ready;
  const leadTimeMs = moveLeadMs(slice.bytes, snapshot.measured, settings);
  const from = cluster.shards.get(slice.shard)!.type;
  const cost = moveCost(cargoOf(slice), from, target.type, { moveMs: leadTimeMs, settings });
  return {
    ...facts,
    kind: waits ? 'WAIT' : 'MOVE',
    slice,
    to: target.id,
    replicates,
    leadTimeMs,
    dollars: outlayOf(cost),
    cost,
  };
}

/**
 * The shard of the same kind that is least full with the slice on it, if it may take it; ready shards come before
 * others.
 */
export function roomiest(
  cluster: ClusterModel,
  from: ClusterShard,
  slice: PlannedSlice,
  limit = cluster.rooms.placeLimit,
): ClusterShard | undefined {
  let best: ClusterShard | undefined;
  let bestUtilisation = Number.POSITIVE_INFINITY;
  for (const { shard, utilisation: forecast } of cluster.rooms.inOrder()) {
    const most = Math.min(limit, bestUtilisation);
    if (forecast.utilisation > most) break;
    if (shard.kind !== from.kind || shard.id === from.id || shard.resizing) continue;
    if (utilisationAtLeast(shard, forecast, slice, cluster.settings) > most) continue;
    const { utilisation } = cluster.rooms.utilisation(shard, slice);
    const rank = utilisation + (shard.ready ? 0 : 1);
    if (utilisation > limit || rank > bestUtilisation) continue;
    if (rank === bestUtilisation && best !== undefined && best.id < shard.id) continue;
    best = shard;
    bestUtilisation = rank;
  }
  return best;
}

/** Free slices first, by relief for each key moved; slices in their cool-down come last. */
function rankedSlices(cluster: ClusterModel, shard: ClusterShard, trouble: Trouble): PlannedSlice[] {
  const { now } = cluster.snapshot;
  return [...shard.slices.values()]
    .map((slice) => {
      const relief = Math.min(cluster.rooms.shareOf(shard, slice, trouble.dimension), Math.max(trouble.excess, 0.01));
      const churn = (slice.entries + 1) / (shard.entries + shard.slices.size);
      // Among slices with few keys churn says little: a tenth of a shard is added to it, so that relief decides.
      return { slice, relief, score: relief / (churn + 0.1) - (slice.coolUntil > now ? 1000 : 0) };
    })
    .filter(({ relief }) => relief > 0.001)
    .sort((a, b) => b.score - a.score || (a.slice.slice < b.slice.slice ? -1 : 1))
    .slice(0, CANDIDATES_MAX)
    .map(({ slice }) => slice);
}

function biggestSlice(cluster: ClusterModel, shard: ClusterShard, trouble: Trouble): PlannedSlice | undefined {
  let biggest: PlannedSlice | undefined;
  let share = 0;
  for (const slice of shard.slices.values()) {
    const own = cluster.rooms.shareOf(shard, slice, trouble.dimension);
    if (own <= share) continue;
    biggest = slice;
    share = own;
  }
  return biggest;
}

/**
 * A split helps only when its parts, or parts of them, can then move: to existing room, or to room that can be bought.
 */
function hasPlace(cluster: ClusterModel, shard: ClusterShard): boolean {
  for (const other of cluster.shards.values()) {
    if (other.id === shard.id || other.kind !== shard.kind || other.resizing) continue;
    if (cluster.rooms.utilisation(other).utilisation < cluster.rooms.placeLimit * ROOM_SHARE) return true;
  }
  return typesOfKind(cluster.snapshot.catalog, shard.kind).some(
    (type) => !cluster.snapshot.avoided.has(type.name) && canBuy(cluster, type),
  );
}

/** A shard filled to less than this share of its limit for placement has room that is worth a split. */
const ROOM_SHARE = 0.75;

/**
 * What it would cost to move slices until the shortage is over, if there were room for all of them, overload meanwhile
 * included.
 */
function movingDollars(
  cluster: ClusterModel,
  shard: ClusterShard,
  trouble: Trouble,
  ranked: readonly PlannedSlice[],
): number {
  const { settings, snapshot } = cluster;
  let left = trouble.excess;
  let bytes = 0;
  let dollars = 0;
  for (const slice of ranked) {
    if (left <= 0) break;
    left -= cluster.rooms.shareOf(shard, slice, trouble.dimension);
    bytes += slice.bytes;
    const moveMs = moveLeadMs(slice.bytes, snapshot.measured, settings);
    dollars += outlayOf(moveCost(cargoOf(slice), shard.type, shard.type, { moveMs, settings }));
  }
  return dollars + expectedOverloadDollars(cluster, shard, trouble, moveLeadMs(bytes, snapshot.measured, settings));
}
