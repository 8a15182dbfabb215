// Fleet: how much capacity to have of one kind of store. It runs the dynamic programme (provisioning.ts) on the
// forecast of the cell's whole load, counted in shards of the cheapest type.
//
//   F1. Shards are bought here for what the quantiles of the forecast require at the end of the lead time. What one
//       shard alone needs, or what a measurement shows, is bought by the reliefs (placement.ts), independently of this.
//   F2. A shard carries less than its safe capacity, because slices never fill a shard exactly.
//   F3. Entries and memory are counted as they are now, since nothing forecasts them. Clients and bandwidth count with
//       their highest forecast over the horizon: shards needed for them are kept, and the reliefs buy new ones in time.
//   F4. A slice that no type can carry and that cannot be halved counts as filling one shard of its own: more shards
//       would not help it.
//   F5. Shards are bought only for load that can move to them. A topic too hot for the cheapest type concerns its own
//       shard: the reliefs compare the prices of bigger types for it.

import { type EventTime, eventTime } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { allocationCost, type Cargo, type Cost, moveCost, outlayOf } from '../costs/cost.ts';
import { rowsAhead } from '../demand/ahead.ts';
import { peakOf } from '../demand/demand.ts';
import { instancesHolding } from '../demand/footprint.ts';
import { addTo, emptySum, upperAt } from '../demand/utilisation-forecast.ts';
import { planShards, rowsNeeded, SHORTAGE_RATIOS, shardChange } from '../search/provisioning.ts';
import { shardNumbered } from '../stage/rows.ts';
import type { Action } from './actions.ts';
import { type DatastoreType, FLOWING, type Flowing, limitOf, typesOfKind } from './catalog.ts';
import type { ClusterModel } from './cluster-model.ts';
import { type ClusterShard, cargoOfShard } from './cluster-shard.ts';
import { allocationLeadMs, moveLeadMs } from './lead-time.ts';

/** What is planned for one kind of store. */
export interface FleetPlan {
  /** Operations per second that the shards are to carry (F2). */
  readonly capacityPerSecond: number;
  /** What is needed beyond what the shards of the snapshot carry; 0 when they are enough. */
  readonly missingPerSecond: number;
  /** The top quantile of the total load at the time when a shard bought now begins to serve, and that time. */
  readonly forecastPerSecond: number;
  readonly servesAt: EventTime;
  /** Dollars that the missing capacity saves over what it costs. */
  readonly saves: number;
}

/** The plan for the kind; `undefined` when the catalogue has no type of it that may be bought. */
export function fleetPlan(cluster: ClusterModel, kind: StoreKind): FleetPlan | undefined {
  const { settings, snapshot } = cluster;
  const unit = typesToBuy(cluster, kind)[0];
  const shards = cluster.ofKind(kind);
  if (unit === undefined || shards.length === 0) return undefined;
  const unitPerSecond = carriedBy(cluster, unit);
  const largest = Math.max(...typesToBuy(cluster, kind).map((type) => carriedBy(cluster, type)));
  const lost = lostTo(cluster, shards, largest);
  const carried = sum(shards, (shard) => carriedBy(cluster, shard.type)) - lost.carriedPerSecond;
  const decided = Math.max(1, Math.floor(carried / unitPerSecond + EPSILON));

  const cargo = cargoOfAll(shards, 1 / (shards.length + 1));
  const leadMs = allocationLeadMs(unit, cargo.bytes, snapshot.measured, settings) + settings.tickMs;
  // The one-off cost of a shard, as the running time that costs the same; its slices move in and later out again.
  const moveMs = moveLeadMs(cargo.bytes, snapshot.measured, settings);
  const once = unit.dollarsPerProvisioning + 2 * outlayOf(moveCost(cargo, unit, unit, { moveMs, settings }));
  const onceMs = Math.min(ONCE_MS_MAX, (once / Math.max(unit.dollarsPerHour, EPSILON)) * HOUR_MS);
  const rowMs = Math.max(settings.tickMs, (leadMs + onceMs) / ORDER_ROWS_MAX);
  const orderRows = (leadMs + onceMs) / rowMs;

  const total = snapshot.totals[kind];
  // Shards that are busier than their load explains (cluster-shard.ts B2), and slices whose look-ups ask several
  // shards.
  const measured = sum(shards, (shard) => shard.nowPerSecond * shard.calibration);
  const factor = (total.now > 0 ? measured / total.now : 1) * (1 - lost.share);
  const ahead = { fromMs: leadMs, rowMs, rows: rowsNeeded(orderRows), factor };
  const forecast = rowsAhead(total, settings, ahead);
  const day = rowsAhead(total, settings, { fromMs: 0, rowMs: HOUR_MS, rows: 24, factor });
  const shortagePrice = SHORTAGE_RATIOS[settings.policy] * meanNeed(day, unitPerSecond);
  const made = planShards(forecast, { capacity: unitPerSecond, orderRows, shortagePrice }, decided);

  const units = Math.max(made.shards, heldUnits(cluster, shards, unit));
  const kept = Math.max(units, ...FLOWING.map((flowing) => flowUnits(cluster, shards, unit, flowing)));
  return {
    capacityPerSecond: kept * unitPerSecond + lost.carriedPerSecond,
    missingPerSecond: Math.max(0, units - decided) * unitPerSecond,
    forecastPerSecond: forecast.quantiles[2]!,
    servesAt: eventTime(snapshot.now + leadMs),
    saves: (made.saves * unit.dollarsPerHour * rowMs) / HOUR_MS,
  };
}

/** Shards to buy for the planned capacity, the cheapest way; each takes the ones before it into account. */
export function* growing(cluster: ClusterModel, kind: StoreKind, fleet: FleetPlan): Generator<Action> {
  const { settings, snapshot } = cluster;
  const [unit] = typesToBuy(cluster, kind);
  if (fleet.missingPerSecond === 0 || unit === undefined) return;
  const movable = movablePerSecond(cluster, kind, unit);
  while (true) {
    const shards = cluster.ofKind(kind);
    const carried = sum(shards, (shard) => carriedBy(cluster, shard.type));
    const missing = Math.min(fleet.missingPerSecond, fleet.capacityPerSecond - carried);
    if (missing <= EPSILON * fleet.capacityPerSecond || movable < missing) return; // F5
    const offers = typesToBuy(cluster, kind)
      .filter((type) => shards.some((shard) => holdsOneOf(cluster, type, shard)))
      .map((type) => {
        const count = Math.ceil(missing / carriedBy(cluster, type) - EPSILON);
        const cost = growthCost(cluster, shards, type, count);
        return { type, count, cost, dollars: outlayOf(cost) };
      })
      .sort((a, b) => a.dollars - b.dollars || (a.type.name < b.type.name ? -1 : 1));
    const [best, ...others] = offers;
    if (best === undefined) return;
    const { type, count, cost, dollars } = best;
    const inMinutes = Math.round((fleet.servesAt - snapshot.now) / 60_000);
    yield {
      kind: 'ALLOCATE',
      shard: shardNumbered(cluster.nextShard),
      storeKind: kind,
      type,
      reason: `The forecast for all ${NAMES[kind]} shards together in ${inMinutes} min is up to ${Math.round(fleet.forecastPerSecond)} operations/s; the present shards carry ${Math.round(carried)}. A capacity of ${Math.round(fleet.capacityPerSecond)} costs least, shortages included (policy ${settings.policy}).`,
      forecastPerSecond: fleet.forecastPerSecond,
      capacityPerSecond: (carried * settings.safeUtilisation) / cluster.rooms.placeLimit,
      crossingAt: fleet.servesAt,
      leadTimeMs: fleet.servesAt - snapshot.now,
      dollarsPerHour: type.dollarsPerHour,
      dollars,
      cost,
      savesDollars: dollars + fleet.saves,
      alternatives: [
        { what: 'KEEP', dollars: dollars + fleet.saves, whyNot: 'the shortage to be expected would cost more' },
        ...others.slice(0, 5).map((other) => ({
          what: `ALLOCATE ${other.count} ${other.type.name}`,
          dollars: other.dollars,
          whyNot: `it costs more over the horizon than ${count} ${type.name}`,
        })),
      ],
      urgent: true,
      concerns: fullestOf(cluster, shards).id,
    };
    if (cluster.ofKind(kind).length === shards.length) return; // It was refused.
  }
}

/** Operations per second that each of the last plans could do without; 0 while a shard is being provisioned. */
export function surplusPerSecond(cluster: ClusterModel, kind: StoreKind, fleet: FleetPlan): number {
  const carried = (ready: boolean): number =>
    sum(
      cluster.ofKind(kind).filter((shard) => shard.ready === ready),
      (shard) => carriedBy(cluster, shard.type),
    );
  const plans = [...cluster.snapshot.plannedBefore[kind], fleet.capacityPerSecond];
  const count = { serving: carried(true), ordered: carried(false), removing: 0 };
  return Math.max(0, -shardChange(plans, cluster.settings.agreeingPlans, count));
}

/** Operations per second that this plan alone could do without. */
export const sparePerSecond = (cluster: ClusterModel, kind: StoreKind, { capacityPerSecond }: FleetPlan): number =>
  Math.max(0, sum(cluster.ofKind(kind), (shard) => carriedBy(cluster, shard.type)) - capacityPerSecond);

/** Operations per second that at least one of the last plans, or this one, could do without. */
export const unwantedPerSecond = (cluster: ClusterModel, kind: StoreKind, fleet: FleetPlan): number =>
  sparePerSecond(cluster, kind, {
    ...fleet,
    capacityPerSecond: Math.min(...cluster.snapshot.plannedBefore[kind], fleet.capacityPerSecond),
  });

/** F2 */
export const carriedBy = (cluster: ClusterModel, type: DatastoreType): number =>
  cluster.rooms.placeLimit * type.operationsPerSecond;

/** Not above, within rounding. */
export const isWithin = (perSecond: number, limit: number): boolean => perSecond <= limit * (1 + EPSILON);

const HOUR_MS = 3_600_000;
const EPSILON = 1e-9;
const NAMES: Readonly<Record<StoreKind, string>> = { KEY_VALUE: 'key-value', TRIE: 'trie' };
/** Rows over which an order is weighed; more would claim more precision than the forecast has. */
const ORDER_ROWS_MAX = 12;
/** Nothing is known beyond a day: a shard that is needed for longer is bought whatever its one-off cost. */
const ONCE_MS_MAX = 8 * HOUR_MS;

const sum = (shards: readonly ClusterShard[], of: (shard: ClusterShard) => number): number =>
  shards.reduce((total, shard) => total + of(shard), 0);

const typesToBuy = (cluster: ClusterModel, kind: StoreKind): DatastoreType[] =>
  typesOfKind(cluster.snapshot.catalog, kind).filter((type) => !cluster.snapshot.avoided.has(type.name));

/**
 * What slices that no type can carry (F4) are left out with: their share of all load, and the capacity of their shards.
 */
function lostTo(
  cluster: ClusterModel,
  shards: readonly ClusterShard[],
  largestPerSecond: number,
): { readonly share: number; readonly carriedPerSecond: number } {
  let lost = 0;
  let carriedPerSecond = 0;
  for (const shard of shards) {
    const before = lost;
    for (const { slice, load } of shard.slices.values()) {
      if (slice.startsWith('c/')) continue;
      const peak = peakOf(load).perSecond * shard.calibration;
      if (peak > largestPerSecond) lost += peak;
    }
    if (lost > before) carriedPerSecond += carriedBy(cluster, shard.type);
  }
  if (lost === 0) return { share: 0, carriedPerSecond };
  let all = 0;
  for (const shard of shards)
    for (const { load } of shard.slices.values()) all += peakOf(load).perSecond * shard.calibration;
  return { share: lost / all, carriedPerSecond };
}

/** Shards of a type that the median load of a day asks for, on average. */
function meanNeed({ levels, quantiles }: ReturnType<typeof rowsAhead>, unitPerSecond: number): number {
  let needs = 0;
  for (let at = 0; at < quantiles.length; at += levels.length)
    needs += Math.max(1, Math.ceil(quantiles[at]! / unitPerSecond));
  return (needs * levels.length) / quantiles.length;
}

/** The cost of this many shards of the type with what moves to them from the others, spread evenly over all. */
function growthCost(cluster: ClusterModel, shards: readonly ClusterShard[], type: DatastoreType, count: number): Cost {
  const { settings, snapshot } = cluster;
  const cargo = cargoOfAll(shards, count / (shards.length + count));
  const moveMs = moveLeadMs(cargo.bytes / count, snapshot.measured, settings);
  return allocationCost(cargo, fullestOf(cluster, shards).type, type, { moveMs, settings }, count);
}

/** A share of everything on the shards. */
const cargoOfAll = (shards: readonly ClusterShard[], share: number): Cargo => {
  const cargoes = shards.map((shard) => cargoOfShard(shard, share));
  const total = (of: (cargo: Cargo) => number): number => cargoes.reduce((all, cargo) => all + of(cargo), 0);
  return {
    bytes: total(({ bytes }) => bytes),
    entries: total(({ entries }) => entries),
    perSecond: total(({ perSecond }) => perSecond),
  };
};

/** F3 */
function heldUnits(cluster: ClusterModel, shards: readonly ClusterShard[], unit: DatastoreType): number {
  const held = { entries: sum(shards, ({ entries }) => entries), bytes: sum(shards, ({ bytes }) => bytes) };
  return instancesHolding(held, unit, cluster.snapshot.footprints[unit.kind], cluster.rooms.placeLimit);
}

/** F3, except for slices that no type can carry (F4). */
function flowUnits(
  cluster: ClusterModel,
  shards: readonly ClusterShard[],
  unit: DatastoreType,
  flowing: Flowing,
): number {
  const limit = limitOf(unit, flowing);
  if (limit === Number.POSITIVE_INFINITY) return 0;
  const { errorCorrelation: r, horizonSteps: steps } = cluster.settings;
  const largest =
    cluster.rooms.placeLimit * Math.max(...typesToBuy(cluster, unit.kind).map((type) => limitOf(type, flowing)));
  const together = emptySum(steps);
  for (const { slices } of shards)
    for (const { load } of slices.values()) {
      const flow = load[flowing];
      if (flow !== undefined && peakOf(flow).perSecond <= largest) addTo(together, flow, 1);
    }
  let most = 0;
  for (let k = 0; k < steps; k++) most = Math.max(most, upperAt(together, k, r, undefined));
  return Math.ceil(most / (cluster.rooms.placeLimit * limit) - EPSILON);
}

/**
 * The part of the load that could move to empty shards of the type: hash slices can be split, the hot topics in them
 * cannot.
 */
function movablePerSecond(cluster: ClusterModel, kind: StoreKind, type: DatastoreType): number {
  const limit = carriedBy(cluster, type);
  const shards = cluster.ofKind(kind);
  let movable = 0;
  for (const { slices, calibration } of shards)
    for (const { slice, load } of slices.values()) {
      const perSecond = peakOf(load).perSecond * calibration;
      if (slice.startsWith('c/') || perSecond <= limit) movable += perSecond;
    }
  for (const { load, slice } of cluster.snapshot.heavyTopics) {
    const calibration = shards.find(({ slices }) => slices.has(slice))?.calibration;
    const perSecond = peakOf(load).perSecond * (calibration ?? 0);
    if (perSecond > limit) movable -= perSecond;
  }
  return movable;
}

/** True when an empty shard of the type has room for some slice that can leave the shard. */
function holdsOneOf(cluster: ClusterModel, type: DatastoreType, shard: ClusterShard): boolean {
  if (shard.slices.size < 2) return false;
  for (const slice of shard.slices.values()) if (cluster.rooms.fitsEmpty(type, slice, shard.calibration)) return true;
  return false;
}

function fullestOf(cluster: ClusterModel, shards: readonly ClusterShard[]): ClusterShard {
  const fullness = shards.map((shard) => cluster.rooms.utilisation(shard).utilisation);
  return shards[fullness.indexOf(Math.max(...fullness))]!;
}
