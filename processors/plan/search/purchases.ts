// Purchases: capacity to buy for one shard that is short of it: another shard, or a bigger type for this one, each with
// its full cost.

import type { Alternative } from '../../../schemas/records.ts';
import type { Action, Facts, factsOfTrouble } from '../cluster/actions.ts';
import { bytesMax, type DatastoreType, FLOWING, isFlowing, limitOf, typesOfKind } from '../cluster/catalog.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import { type ClusterShard, cargoOfShard, type PlannedSlice } from '../cluster/cluster-shard.ts';
import { allocationLeadMs, moveLeadMs, provisionLeadMs } from '../cluster/lead-time.ts';
import { allocationCost, type Cost, outlayOf, resizeCost, runningDollarsPerHour, totalOf } from '../costs/cost.ts';
import { expectedOverloadDollars, type Trouble } from '../demand/capacity.ts';
import { shardNumbered } from '../stage/rows.ts';

/** Something to buy, with its full cost. */
export type Offer = Action & { readonly kind: 'ALLOCATE' | 'RESIZE'; readonly cost: Cost };

interface Candidate {
  readonly offer: Offer;
  /** True when it ends the shortage by itself. */
  readonly isEnough: boolean;
}

/**
 * Capacity to buy: another shard, or a bigger type for this one. Offers that end the shortage come first, then the
 * cheapest; each names the others as alternatives.
 */
export function purchases(
  cluster: ClusterModel,
  shard: ClusterShard,
  trouble: Trouble,
  ranked: readonly PlannedSlice[],
  half: PlannedSlice | undefined,
  facts: ReturnType<typeof factsOfTrouble>,
  why: string,
): Offer[] {
  const { snapshot } = cluster;
  const candidates: Candidate[] = [];
  // A shard is bought only when some slice fits on it.
  const movable = shard.slices.size > 1 ? ranked : [];
  const placed = half === undefined ? movable : [...movable, half];
  for (const type of typesOfKind(snapshot.catalog, shard.kind)) {
    if (snapshot.avoided.has(type.name)) continue;
    if (placed.some((slice) => cluster.rooms.fitsEmpty(type, slice, shard.calibration)))
      candidates.push({
        isEnough: half !== undefined || relievedBy(cluster, shard, trouble, type),
        offer: {
          ...facts,
          ...allocationOf(cluster, shard, trouble, type, placed[0]!.bytes),
          kind: 'ALLOCATE',
          shard: shardNumbered(cluster.nextShard),
          storeKind: shard.kind,
          type,
          reason: `${why}, and no shard has room for what must move away.`,
        },
      });
    const bigger =
      type.operationsPerSecond > shard.type.operationsPerSecond ||
      type.entriesMax > shard.type.entriesMax ||
      bytesMax(type) > bytesMax(shard.type) ||
      FLOWING.some((flowing) => limitOf(type, flowing) > limitOf(shard.type, flowing));
    if (!bigger || shard.resizing || !shard.ready) continue;
    candidates.push({
      isEnough: cluster.rooms.utilisation({ ...shard, type }).utilisation <= cluster.settings.safeUtilisation,
      offer: {
        ...facts,
        ...resizeOf(cluster, shard, trouble, type),
        kind: 'RESIZE',
        shard: shard.id,
        type,
        reason: `${why}; ${type.name} is big enough for it.`,
      },
    });
  }
  candidates.sort(
    ({ offer: a, isEnough }, { offer: b, isEnough: isOtherEnough }) =>
      Number(isOtherEnough) - Number(isEnough) || totalOf(a.cost) - totalOf(b.cost) || (a.kind < b.kind ? -1 : 1),
  );
  return candidates.map(({ offer }) => ({ ...offer, alternatives: alternativesTo(offer, candidates, trouble) }));
}

/** Whether the slices that fit on an empty shard of the type cover the whole excess. */
function relievedBy(
  cluster: ClusterModel,
  shard: ClusterShard,
  { excess, dimension }: Trouble,
  type: DatastoreType,
): boolean {
  let left = excess;
  for (const slice of shard.slices.values()) {
    if (cluster.rooms.fitsEmpty(type, slice, shard.calibration)) left -= cluster.rooms.shareOf(shard, slice, dimension);
    if (left <= 0) return true;
  }
  return false;
}

type Price = Pick<Facts, 'leadTimeMs' | 'dollars' | 'dollarsPerHour'> & { readonly cost: Cost };

/**
 * As many shards of the type as the excess needs, with the moves to them; the first slice arrives after the lead time.
 */
function allocationOf(
  cluster: ClusterModel,
  shard: ClusterShard,
  trouble: Trouble,
  type: DatastoreType,
  firstBytes: number,
): Price {
  const { settings, snapshot } = cluster;
  const { dimension } = trouble;
  const capacityOf = (each: DatastoreType): number =>
    isFlowing(dimension) ? limitOf(each, dimension) : each.operationsPerSecond;
  const excess = trouble.excess * capacityOf(shard.type);
  const instances = Math.max(1, Math.ceil(excess / (capacityOf(type) * cluster.rooms.placeLimit)));
  const leadTimeMs = allocationLeadMs(type, firstBytes, snapshot.measured, settings);
  const handover = { moveMs: moveLeadMs(firstBytes, snapshot.measured, settings), settings };
  const cargo = cargoOfShard(shard, Math.min(1, trouble.excess / trouble.utilisation));
  const cost = {
    ...allocationCost(cargo, shard.type, type, handover, instances),
    violation: expectedOverloadDollars(cluster, shard, trouble, leadTimeMs),
  };
  return { leadTimeMs, dollars: outlayOf(cost), dollarsPerHour: type.dollarsPerHour, cost };
}

function resizeOf(cluster: ClusterModel, shard: ClusterShard, trouble: Trouble, type: DatastoreType): Price {
  const { settings, snapshot } = cluster;
  const moveMs = moveLeadMs(shard.bytes, snapshot.measured, settings);
  const leadTimeMs = provisionLeadMs(type, snapshot.measured) + moveMs;
  const cost = {
    ...resizeCost(cargoOfShard(shard, 1), shard.type, type, { moveMs, settings }),
    violation: expectedOverloadDollars(cluster, shard, trouble, leadTimeMs),
  };
  const { nowPerSecond } = shard;
  const dollarsPerHour = runningDollarsPerHour(type, nowPerSecond) - runningDollarsPerHour(shard.type, nowPerSecond);
  return { leadTimeMs, dollars: outlayOf(cost), dollarsPerHour, cost };
}

export const keeping = (trouble: Trouble): Alternative => ({
  what: 'KEEP',
  dollars: trouble.overloadDollars,
  whyNot: 'the overload would cost more',
});

export const movingInstead = (dollars: number): Alternative => ({
  what: 'MOVE',
  dollars,
  whyNot: 'copying what must move away costs more than a bigger type',
});

/** An offer as an alternative to one that costs `dollars`. */
export const insteadOf = ({ kind, type, cost }: Offer, dollars: number): Alternative => ({
  what: `${kind} ${type.name}`,
  dollars: totalOf(cost),
  whyNot: totalOf(cost) >= dollars ? 'it costs more over the horizon' : 'another constraint refused it',
});

function alternativesTo(chosen: Offer, candidates: readonly Candidate[], trouble: Trouble): readonly Alternative[] {
  const dollars = totalOf(chosen.cost);
  const others = candidates
    .filter(({ offer }) => offer !== chosen)
    .map(({ offer, isEnough }): Alternative => {
      const alternative = insteadOf(offer, dollars);
      return isEnough ? alternative : { ...alternative, whyNot: 'it would not be enough' };
    });
  return [keeping(trouble), ...others].slice(0, ALTERNATIVES_MAX);
}

/** Alternatives shown: as many as an operator reads. */
export const ALTERNATIVES_MAX = 6;
