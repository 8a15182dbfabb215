// Balance: shards of a kind are kept about as full as each other by what they are usually asked for, that is by the median
// of the forecast on average over the horizon. Against peaks there are reliefs (placement.ts).
//
//   L1. Nothing here is urgent: churn, cool-down and cost hold all of it back.
//   L2. A topic that is and stays much of its shard becomes a slice of its own before anybody has to move it: later it
//       takes much load along with few keys. One that only will be is left alone until it is.
//   L3. A slice goes only where it stays: the target remains well below the shard that it has left, and below what slices
//       are placed up to.
//   L4. A shard that this plan could do without is filled with nothing: it would only be emptied again.

import type { StoreKind } from '../../../schemas/records.ts';
import { pinSlice } from '../../../state/keys.ts';
import { type Action, calmFacts, type Facts } from '../cluster/actions.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import type { ClusterShard, PlannedSlice } from '../cluster/cluster-shard.ts';
import type { Load } from '../demand/demand.ts';
import { moveAction } from './placement.ts';
import { carvedOut } from './splits.ts';
import { COLD_SHARE } from './upkeep.ts';

const HOUR_MS = 3_600_000;
/** Of its shard; twice what would send it home again. */
const PIN_SHARE = 2 * COLD_SHARE;
/** The shard that was hottest may end so far below the mean, as a share of what it was above it. */
const OVERSHOOT = 0.2;
/** The target ends below this share of what the hottest shard was at (L3). */
const WELL_BELOW = 0.9;
const CANDIDATES_MAX = 8;

interface Usual {
  readonly shard: ClusterShard;
  readonly share: number;
}

/**
 * Pins, then the best move from the shard that is usually hottest, when it stands out. Nothing goes to `spare`, which may
 * soon be given back (L4).
 */
export function* balancing(cluster: ClusterModel, kind: StoreKind, spare?: ClusterShard): Generator<Action> {
  const shards = cluster.ofKind(kind).filter((shard) => shard.ready && !shard.resizing && shard !== spare);
  if (shards.length < 2) return;
  yield* pins(cluster, shards);
  const loads = shards.map((shard) => ({ shard, share: usualShare(shard, shard) }));
  loads.sort((a, b) => b.share - a.share || (a.shard.id < b.shard.id ? -1 : 1));
  const hottest = loads[0]!;
  const mean = loads.reduce((sum, { share }) => sum + share, 0) / loads.length;
  const { balanceAbove, balanceGap } = cluster.settings;
  const excess = hottest.share - mean;
  if (hottest.share < balanceAbove || excess < balanceGap * mean) return;
  const why = `${hottest.shard.id} is usually at ${percent(hottest.share)} while the mean is ${percent(mean)}`;
  const most = excess * (1 + OVERSHOOT);
  yield* moves(cluster, loads, most, why);
}

/** L2 */
function* pins(cluster: ClusterModel, shards: readonly ClusterShard[]): Generator<Action> {
  for (const { filter, slice: key, load } of cluster.snapshot.heavyTopics) {
    const shard = shards.find(({ slices }) => slices.has(key));
    const slice = shard?.slices.get(key);
    if (shard === undefined || slice === undefined || slice.busy) continue;
    const share = leastShare(shard, load);
    if (share < PIN_SHARE) continue;
    const after = carvedOut(slice, pinSlice(filter), load);
    const reason = `${filter} fills at least ${percent(share)} of ${shard.id} over the horizon, and gets a slice of its own.`;
    yield {
      ...factsOf(cluster, shard, share, reason),
      kind: 'SPLIT',
      shard: shard.id,
      before: [slice],
      after,
      ...FREE,
    };
  }
}

const FREE = { leadTimeMs: 0, dollars: 0 };

function* moves(cluster: ClusterModel, loads: readonly Usual[], most: number, why: string): Generator<Action> {
  const { shard } = loads[0]!;
  const slices = [...shard.slices.values()]
    .filter((slice) => !slice.busy)
    .map((slice) => ({ slice, share: usualShare(shard, slice.load) }))
    .filter(({ share }) => share > COLD_SHARE && share <= most)
    .sort(
      (a, b) =>
        b.share / (b.slice.entries + 1) - a.share / (a.slice.entries + 1) || (a.slice.slice < b.slice.slice ? -1 : 1),
    );
  for (const { slice, share } of slices.slice(0, CANDIDATES_MAX)) {
    const target = coolest(cluster, loads, slice);
    if (target === undefined) continue;
    const reason = `${why}; ${slice.slice} is ${percent(share)} of it.`;
    yield moveAction(cluster, slice, target, factsOf(cluster, shard, share, reason));
  }
}

function factsOf(
  cluster: ClusterModel,
  shard: ClusterShard,
  share: number,
  reason: string,
): Omit<Facts, 'leadTimeMs' | 'dollars'> {
  const { dollarsPerOverloadedHour, horizonMs } = cluster.settings;
  const savesDollars = share * dollarsPerOverloadedHour * (horizonMs / HOUR_MS);
  return { ...calmFacts(cluster, shard, reason), savesDollars };
}

/** The shard that is usually coolest and may have the slice (L3). */
function coolest(cluster: ClusterModel, loads: readonly Usual[], slice: PlannedSlice): ClusterShard | undefined {
  const highest = loads[0]!.share * WELL_BELOW;
  for (const { shard, share } of loads.toReversed())
    if (
      shard.id !== slice.shard &&
      share + usualShare(shard, slice.load) <= highest &&
      cluster.rooms.fits(shard, slice)
    )
      return shard;
  return undefined;
}

/** What the load fills of the shard on average over the horizon, by the median of the forecast. */
function usualShare(shard: ClusterShard, { median }: { readonly median: Float32Array | Float64Array }): number {
  let sum = 0;
  for (const perSecond of median) sum += perSecond;
  return ((sum / median.length) * shard.calibration) / shard.type.operationsPerSecond;
}

/** What the load fills of the shard at the least, now and over half the horizon, by the median of the forecast. */
const leastShare = (shard: ClusterShard, { now, median }: Load): number =>
  (Math.min(now, ...median.subarray(0, Math.ceil(median.length / 2))) * shard.calibration) /
  shard.type.operationsPerSecond;

const percent = (share: number): string => `${Math.round(share * 100)} %`;
