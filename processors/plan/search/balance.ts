// Balance: keeps the shards of a kind about equally full by their usual load, that is the median of the forecast
// averaged over the horizon. Peaks are answered by reliefs (placement.ts).
//
//   L1. Nothing here is urgent: churn, cool-down and cost hold all of it back.
//   L2. A topic that is a large part of its shard, and stays so, becomes a slice of its own before it has to be moved:
//       moving it later takes much load with few keys. A topic that is only forecast to grow is left alone until it
//       has.
//   L3. A slice moves only where it can stay: the target remains well below the shard that it leaves, and below the
//       limit for placement.
//   L4. Nothing is moved to a shard that this plan could do without: it would only be emptied again.

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
/** Share of its shard; twice the share below which it would go home again. */
const PIN_SHARE = 2 * COLD_SHARE;
/** How far below the mean the hottest shard may end, as a share of how far it was above. */
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
  const why = `${hottest.shard.id} is usually ${percent(hottest.share)} full, while the mean of its kind is ${percent(mean)}`;
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
    const reason = `${filter} fills at least ${percent(share)} of ${shard.id} over the horizon, so it gets a slice of its own.`;
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

/** Share of the shard that the load fills on average over the horizon, by the median of the forecast. */
function usualShare(shard: ClusterShard, { median }: { readonly median: Float32Array | Float64Array }): number {
  let sum = 0;
  for (const perSecond of median) sum += perSecond;
  return ((sum / median.length) * shard.calibration) / shard.type.operationsPerSecond;
}

/** Least share of the shard that the load fills, now and over half the horizon, by the median of the forecast. */
const leastShare = (shard: ClusterShard, { now, median }: Load): number =>
  (Math.min(now, ...median.subarray(0, Math.ceil(median.length / 2))) * shard.calibration) /
  shard.type.operationsPerSecond;

const percent = (share: number): string => `${Math.round(share * 100)} %`;
