// Sizing: the type that a shard should use, by the cost of each over the horizon: running, the shortage to be expected
// with its load, and the change itself. It follows Autopilot (Rzadca et al., EuroSys 2020), which weighs limits that
// are too low, too high or changed, with prices in place of its weights.
//
//   Z1. A bigger type is a relief, and taken at once (placement.ts). Here shards only get smaller, and only after
//       several plans in a row agree: too little capacity costs more than too much.
//   Z2. A change to a smaller type is charged twice, for the way back too, and leaves the shard no fuller than the
//       limit for placement.
//   Z3. A shard gives up only what the plans for its whole kind can do without (fleet.ts).

import type { ShardId } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { type Action, calmFacts } from '../cluster/actions.ts';
import { type DatastoreType, typesOfKind } from '../cluster/catalog.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import { type ClusterShard, cargoOfShard } from '../cluster/cluster-shard.ts';
import { carriedBy, type FleetPlan, isWithin, surplusPerSecond } from '../cluster/fleet.ts';
import { moveLeadMs, provisionLeadMs } from '../cluster/lead-time.ts';
import { outlayOf, resizeCost, runningDollarsPerHour } from '../costs/cost.ts';
import { Risk } from '../demand/risk.ts';
import { spreadOf } from '../demand/utilisation-forecast.ts';
import { SHORTAGE_RATIOS } from './provisioning.ts';

/** The shard to put on a smaller type, if any; adds to `roomy` every shard that a smaller type would serve. */
export function* smallerTypes(
  cluster: ClusterModel,
  kind: StoreKind,
  fleet: FleetPlan | undefined,
  roomy: ShardId[],
): Generator<Action> {
  const { settings, snapshot } = cluster;
  const shards = cluster.ofKind(kind);
  if (fleet === undefined || shards.some((shard) => !shard.ready || shard.resizing)) return;
  const surplus = surplusPerSecond(cluster, kind, fleet);
  for (const shard of shards) {
    const best = smallerThan(cluster, shard)
      .map((type) => ({ type, dollars: sizeDollars(cluster, shard, type) + 2 * changeDollars(cluster, shard, type) }))
      .sort((a, b) => a.dollars - b.dollars || (a.type.name < b.type.name ? -1 : 1))[0];
    if (best === undefined) continue;
    const keep = sizeDollars(cluster, shard, shard.type);
    if (best.dollars >= keep) continue;
    roomy.push(shard.id);
    const { type } = best;
    const givenUp = carriedBy(cluster, shard.type) - carriedBy(cluster, type);
    if (shard.roomyPlans < settings.agreeingPlans || !isWithin(givenUp, surplus)) continue; // Z1, Z3
    yield {
      ...calmFacts(
        cluster,
        shard,
        `${shard.roomyPlans} plans in a row found ${type.name} enough for ${shard.id}: $${best.dollars.toFixed(2)} over the horizon, with the change and the way back, instead of $${keep.toFixed(2)} on ${shard.type.name}.`,
      ),
      kind: 'RESIZE',
      shard: shard.id,
      type,
      leadTimeMs: provisionLeadMs(type, snapshot.measured) + moveLeadMs(shard.bytes, snapshot.measured, settings),
      dollarsPerHour: runningOn(shard, type) - runningOn(shard, shard.type),
      dollars: best.dollars,
      savesDollars: keep,
      alternatives: [{ what: `KEEP ${shard.type.name}`, dollars: keep, whyNot: 'it costs more over the horizon' }],
    };
    return;
  }
}

/** Running costs and the expected cost of shortage over the horizon. */
export function sizeDollars(cluster: ClusterModel, shard: ClusterShard, type: DatastoreType): number {
  const { settings } = cluster;
  const { horizonMs, horizonSteps: steps, errorCorrelation: r, safeUtilisation, upperQuantile, policy } = settings;
  const hours = horizonMs / HOUR_MS;
  const safe = safeUtilisation * type.operationsPerSecond;
  let short = 0;
  for (let k = 0; k < steps; k++) {
    const median = shard.median[k]! * shard.calibration;
    const spread = spreadOf(shard.spread[k]!, shard.spreadSquares[k]!, r) * shard.calibration;
    short += new Risk([0.5, upperQuantile], Float64Array.of(median, median + spread), FEW * safe).above(safe) / steps;
  }
  return hours * (runningOn(shard, type) + short * SHORTAGE_RATIOS[policy] * runningOn(shard, shard.type));
}

/** Instance and requests, for an hour at the mean load of the horizon. */
const runningOn = (shard: ClusterShard, type: DatastoreType): number =>
  runningDollarsPerHour(type, cargoOfShard(shard, 1).perSecond);

/** The change alone; savings in running costs are in `sizeDollars`. */
function changeDollars({ settings, snapshot }: ClusterModel, shard: ClusterShard, type: DatastoreType): number {
  const moveMs = moveLeadMs(shard.bytes, snapshot.measured, settings);
  return outlayOf({ ...resizeCost(cargoOfShard(shard, 1), shard.type, type, { moveMs, settings }), running: 0 });
}

const HOUR_MS = 3_600_000;
/** Loads below this share of a shard count as none (provisioning.ts). */
const FEW = 0.05;

/** Cheaper types that would hold everything on the shard (Z2). */
const smallerThan = (cluster: ClusterModel, shard: ClusterShard): DatastoreType[] =>
  typesOfKind(cluster.snapshot.catalog, shard.kind).filter(
    (type) =>
      runningOn(shard, type) < runningOn(shard, shard.type) &&
      !cluster.snapshot.avoided.has(type.name) &&
      cluster.rooms.utilisation({ ...shard, type }).utilisation <= cluster.rooms.placeLimit,
  );
