// Capacity: which shards get too full, and when. The upper quantile of the forecast is compared with safe capacity. A
// measured overload counts as a crossing now, in case the forecast missed it.

import { type EventTime, eventTime } from '../../../schemas/ids.ts';
import { isFlowing, limitOf } from '../cluster/catalog.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import type { ClusterShard } from '../cluster/cluster-shard.ts';
import { overloadDollars } from '../costs/cost.ts';
import { riskAt, type UtilisationForecast } from './utilisation-forecast.ts';

/** A shortage: a shard is above safe capacity, or is forecast to be. */
export interface Trouble {
  /** When capacity is crossed; now for a measured overload. */
  readonly crossingAt: EventTime;
  readonly measured: boolean;
  readonly peakPerSecond: number;
  /** Safe capacity. */
  readonly capacityPerSecond: number;
  /** Safe capacity in the dimension that is short, where that dimension rises and falls with the load. */
  readonly capacity: number;
  /** Share of the shard that must go, in `dimension`. */
  readonly excess: number;
  readonly dimension: UtilisationForecast['dimension'];
  readonly utilisation: number;
  /** Expected cost, over the horizon, of doing nothing. */
  readonly overloadDollars: number;
}

/** The shard's shortage, or `undefined` when it stays below safe capacity over the whole horizon. */
export function troubleOf(cluster: ClusterModel, shard: ClusterShard): Trouble | undefined {
  const utilisation = cluster.rooms.utilisation(shard);
  if (utilisation.crossingStep < 0) return undefined;
  const { settings, snapshot } = cluster;
  const bucketMs = settings.horizonMs / settings.horizonSteps;
  const capacityPerSecond = settings.safeUtilisation * shard.type.operationsPerSecond;
  const { dimension } = utilisation;
  const capacity = isFlowing(dimension) ? settings.safeUtilisation * limitOf(shard.type, dimension) : capacityPerSecond;
  const measured = isFlowing(dimension)
    ? (shard.flows[dimension]?.now ?? 0) > capacity
    : dimension !== 'operations' || shard.nowPerSecond * shard.calibration > capacityPerSecond;
  const trouble = {
    crossingAt: eventTime(measured ? snapshot.now : Math.floor(snapshot.now + utilisation.crossingStep * bucketMs)),
    measured,
    peakPerSecond: utilisation.peakPerSecond,
    capacityPerSecond,
    capacity,
    excess: utilisation.utilisation - settings.safeUtilisation,
    dimension,
    utilisation: utilisation.utilisation,
  };
  return { ...trouble, overloadDollars: expectedOverloadDollars(cluster, shard, trouble, settings.horizonMs) };
}

/**
 * The expected cost of the shortage until an action has taken effect: the sum over buckets, each weighted by its
 * probability of overload.
 */
export function expectedOverloadDollars(
  cluster: ClusterModel,
  shard: ClusterShard,
  trouble: Pick<Trouble, 'measured' | 'dimension'>,
  untilMs: number,
): number {
  const { horizonMs, horizonSteps } = cluster.settings;
  const bucketMs = horizonMs / horizonSteps;
  let overloadedMs = 0;
  for (let k = 0; k < horizonSteps && k * bucketMs < untilMs; k++) {
    const { dimension, measured } = trouble;
    const passes = dimension === 'operations' || isFlowing(dimension);
    const risk = !passes || (measured && k === 0) ? 1 : riskAt(shard, k, cluster.settings, dimension);
    overloadedMs += risk * Math.min(bucketMs, untilMs - k * bucketMs);
  }
  return overloadDollars(overloadedMs, cluster.settings);
}

/** Shards with a shortage, either measured or only forecast, the worst first. */
export function troubledShards(cluster: ClusterModel, measured: boolean): ClusterShard[] {
  return [...cluster.shards.values()]
    .map((shard) => ({ shard, trouble: troubleOf(cluster, shard) }))
    .filter(({ trouble }) => trouble?.measured === measured)
    .sort((a, b) => b.trouble!.utilisation - a.trouble!.utilisation || (a.shard.id < b.shard.id ? -1 : 1))
    .map(({ shard }) => shard);
}

/** The shortage in words. */
export function troubleText(trouble: Trouble, shard: ClusterShard, now: EventTime): string {
  const percent = Math.round(trouble.utilisation * 100);
  const { dimension } = trouble;
  if (dimension !== 'operations' && !isFlowing(dimension)) return `${shard.id} is ${percent} % full of ${dimension}`;
  const when = trouble.measured ? 'now, as measured' : `${soonText(trouble.crossingAt - now)} by the forecast`;
  return `${shard.id} goes above its safe ${Math.round(trouble.capacity)} ${UNITS[dimension]} ${when}, to ${percent} % of its capacity`;
}

const UNITS = { operations: 'operations/s', clients: 'clients', bandwidth: 'bytes/s of bandwidth' };

const soonText = (ms: number): string => (ms < 60_000 ? 'within a minute' : `in ${Math.round(ms / 60_000)} min`);
