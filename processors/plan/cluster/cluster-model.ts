// Cluster model: the cluster as one plan sees it while it is being made. Moves in flight and accepted actions count as done, so
// each next action is judged on the cluster that the earlier ones leave behind.
//
//   B1. What a shard holds is the sum of its slices (utilisation-forecast.ts says how full that is).
//   B2. A store that is measured hotter than its load explains is taken at its word: its load is scaled up.
//
// Mutable, on typed arrays, within one call of `plan`; nobody else ever sees it.

import type { EventTime, ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { type Cargo, requestDollarsPerHour, runningDollarsPerHour } from '../costs/cost.ts';
import type { TotalLoads } from '../demand/ahead.ts';
import {
  type Flow,
  type HeavyGroup,
  type HeavyTopic,
  type Load,
  peakOf,
  peakOfFlow,
  wholeLoad,
} from '../demand/demand.ts';
import { type Footprint, heldShare, takenShare } from '../demand/footprint.ts';
import {
  addTo,
  emptySum,
  type ShardLoad,
  type SliceLoad,
  type TimedSum,
  type UtilisationForecast,
  utilisationForecastOf,
} from '../demand/utilisation-forecast.ts';
import type { PlanSettings } from '../settings.ts';
import type { LeftShard, Spending } from '../stage/rows.ts';
import { type Catalog, type DatastoreType, FLOWING, type Flowing, isFlowing, limitedBy, limitOf } from './catalog.ts';
import type { Measured } from './lead-time.ts';

/** Everything a plan is made from. */
export interface Snapshot {
  readonly now: EventTime;
  readonly settings: PlanSettings;
  readonly catalog: Catalog;
  readonly shards: readonly PlannedShard[];
  readonly slices: readonly PlannedSlice[];
  readonly heavyTopics: readonly HeavyTopic[];
  readonly heavyGroups: readonly HeavyGroup[];
  /** The load of all slices of a kind together. */
  readonly totals: TotalLoads;
  /** What entries take of an instance's memory. */
  readonly footprints: Readonly<Record<StoreKind, Footprint>>;
  /** Capacity that the last plans wanted, the newest last. */
  readonly plannedBefore: Readonly<Record<StoreKind, readonly number[]>>;
  readonly distrust: string;
  readonly measured: Measured;
  /** Moves in flight by the shards they touch; `moves` counts each once. */
  readonly moves: number;
  readonly movesOf: ReadonlyMap<ShardId, number>;
  /** What was spent lately, oldest first. */
  readonly ledger: readonly Spending[];
  readonly nextShard: number;
  readonly avoided: ReadonlySet<string>;
}

export interface PlannedShard {
  readonly id: ShardId;
  readonly kind: StoreKind;
  readonly type: DatastoreType;
  /** False while it is being provisioned: it counts as there, but nothing can move to it yet. */
  readonly ready: boolean;
  readonly resizing: boolean;
  /** Of genesis: it stays. */
  readonly first: boolean;
  /** As its store measures it, when fresh and not disturbed by a move. */
  readonly measuredUtilisation: number | undefined;
  readonly roomyPlans: number;
}

export interface PlannedSlice extends SliceLoad {
  readonly slice: SliceKey;
  /** Where it will be when what is in flight has ended. */
  readonly shard: ShardId;
  /** In a move or change, or not there yet. */
  readonly busy: boolean;
  readonly coolUntil: EventTime;
  /** Shards that it was on lately, and until when it does not come back. */
  readonly left?: readonly LeftShard[] | undefined;
  /** Where its replica is, which has half of its look-ups; `load` is what is left. */
  readonly replica?: ShardId | undefined;
  /** This is the replica: it goes where its slice's own shard says. */
  readonly isReplica?: true;
}

export interface ClusterShard extends PlannedShard, ShardLoad {
  type: DatastoreType;
  resizing: boolean;
  readonly slices: Map<SliceKey, PlannedSlice>;
  moves: number;
}

export interface Room {
  readonly shard: ClusterShard;
  readonly utilisation: UtilisationForecast;
}

export class ClusterModel {
  readonly snapshot: Snapshot;
  readonly settings: PlanSettings;
  readonly shards = new Map<ShardId, ClusterShard>();
  readonly totalKeys: number;
  sliceCount: number;
  moves: number;
  /** Keys moved beyond what the churn budget has allowed since (constraints/churn.ts). */
  churnDebtKeys = 0;
  /** Within the last hour. */
  shardsMade = 0;
  dollarsSpent = 0;
  /** Instances, and requests to them at the load of now. */
  dollarsPerHour = 0;
  nextShard: number;
  /** What shards hold without any slice added; emptied where a shard changes. */
  readonly #utilisations = new Map<ClusterShard, UtilisationForecast>();
  /** In order, but for the shards that have changed since. */
  #rooms: readonly Room[] = [];
  readonly #changedShards = new Set<ClusterShard>();
  readonly #followed: readonly Flowing[];

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
    this.settings = snapshot.settings;
    this.#followed = limitedBy(snapshot.catalog);
    this.moves = snapshot.moves;
    this.nextShard = snapshot.nextShard;
    this.sliceCount = snapshot.slices.length;
    for (const shard of snapshot.shards) this.addShard(shard);
    let keys = 0;
    for (const slice of snapshot.slices) {
      keys += slice.entries;
      const shard = this.shards.get(slice.shard);
      if (shard === undefined) continue;
      shard.slices.set(slice.slice, slice);
      this.#sum(shard, slice, 1);
    }
    this.totalKeys = keys;
    this.#settle(snapshot);
    for (const shard of this.shards.values()) this.#calibrate(shard);
  }

  addShard(shard: PlannedShard): ClusterShard {
    const steps = this.settings.horizonSteps;
    const added: ClusterShard = {
      ...shard,
      slices: new Map(),
      median: new Float64Array(steps),
      spread: new Float64Array(steps),
      spreadSquares: new Float64Array(steps),
      flows: { clients: this.#sumOf('clients'), bandwidth: this.#sumOf('bandwidth') },
      nowPerSecond: 0,
      entries: 0,
      bytes: 0,
      calibration: 1,
      moves: this.snapshot.movesOf.get(shard.id) ?? 0,
    };
    this.shards.set(shard.id, added);
    this.#changed(added);
    this.dollarsPerHour += shard.type.dollarsPerHour;
    return added;
  }

  removeShard(id: ShardId): void {
    const shard = this.shards.get(id)!;
    this.dollarsPerHour -= runningDollarsPerHour(shard.type, shard.nowPerSecond);
    this.shards.delete(id);
    this.#changed(shard);
  }

  retype(shard: ClusterShard, type: DatastoreType): void {
    const { nowPerSecond } = shard;
    this.dollarsPerHour += runningDollarsPerHour(type, nowPerSecond) - runningDollarsPerHour(shard.type, nowPerSecond);
    shard.type = type;
    shard.resizing = true;
    this.#changed(shard);
  }

  /** Puts the slice on another shard; it is busy from then on. */
  move(slice: PlannedSlice, to: ClusterShard): void {
    const from = this.shards.get(slice.shard)!;
    this.#take(from, slice);
    this.#put(to, { ...slice, shard: to.id, busy: true });
  }

  /** Puts a replica of the slice on another shard; both are as `half` says. */
  replicate(half: PlannedSlice, to: ClusterShard): void {
    const own = this.shards.get(half.shard)!;
    this.#take(own, own.slices.get(half.slice)!);
    this.#put(own, { ...half, busy: true, replica: to.id });
    this.#put(to, { ...half, shard: to.id, busy: true, isReplica: true });
    this.sliceCount++;
  }

  /** Ends a replica: the slice's own shard is asked for everything again. */
  unreplicate(slice: PlannedSlice): void {
    const own = this.shards.get(slice.shard)!;
    const other = this.shards.get(slice.replica!)!;
    this.#take(own, slice);
    this.#take(other, other.slices.get(slice.slice)!);
    const { replica: _, ...alone } = slice;
    this.#put(own, { ...alone, load: wholeLoad(slice.load), busy: true });
    this.sliceCount--;
  }

  /** Slices give way to others on the same shard, which are busy until apply has done it. */
  replace(shard: ClusterShard, before: readonly PlannedSlice[], after: readonly PlannedSlice[]): void {
    for (const slice of before) this.#take(shard, slice);
    for (const slice of after) this.#put(shard, { ...slice, shard: shard.id, busy: true });
    this.sliceCount += after.length - before.length;
  }

  ofKind(kind: StoreKind): ClusterShard[] {
    return [...this.shards.values()].filter((shard) => shard.kind === kind);
  }

  /** Shards by how full they get, least first; with a slice more, none is less full. */
  byRoom(): readonly Room[] {
    if (this.#changedShards.size === 0) return this.#rooms;
    const kept = this.#rooms.filter(({ shard }) => !this.#changedShards.has(shard));
    const changed = [...this.#changedShards]
      .filter((shard) => this.shards.get(shard.id) === shard)
      .map((shard) => ({ shard, utilisation: this.utilisation(shard) }));
    this.#rooms = [...kept, ...changed].sort(
      (a, b) => a.utilisation.utilisation - b.utilisation.utilisation || (a.shard.id < b.shard.id ? -1 : 1),
    );
    this.#changedShards.clear();
    return this.#rooms;
  }

  /** How full the shard gets, with a further slice on it when one is given. */
  utilisation(shard: ClusterShard, plus?: PlannedSlice): UtilisationForecast {
    if (plus !== undefined || this.shards.get(shard.id) !== shard)
      return utilisationForecastOf(shard, this.#footprintOf(shard.type), this.settings, plus);
    let known = this.#utilisations.get(shard);
    if (known === undefined) {
      known = utilisationForecastOf(shard, this.#footprintOf(shard.type), this.settings);
      this.#utilisations.set(shard, known);
    }
    return known;
  }

  /** The share of its shard that a slice fills, in the dimension asked for. */
  shareOf(shard: ClusterShard, slice: PlannedSlice, dimension: UtilisationForecast['dimension']): number {
    if (dimension === 'entries') return slice.entries / shard.type.entriesMax;
    if (isFlowing(dimension)) return peakOfFlow(slice.load, dimension) / limitOf(shard.type, dimension);
    if (dimension !== 'operations') return takenShare(slice, shard.type, this.#footprintOf(shard.type));
    return (peakOf(slice.load).perSecond * shard.calibration) / shard.type.operationsPerSecond;
  }

  /** Utilisation up to which slices are placed: below safe by the dead band. */
  get placeLimit(): number {
    return this.settings.safeUtilisation - this.settings.deadBand;
  }

  fits(shard: ClusterShard, slice: PlannedSlice, limit = this.placeLimit): boolean {
    return this.utilisation(shard, slice).utilisation <= limit;
  }

  /** Whether an empty shard of the type would hold the slice, were it as much hotter than its load as `calibration` says. */
  fitsEmpty(type: DatastoreType, slice: PlannedSlice, calibration: number): boolean {
    const limit = this.placeLimit;
    return (
      peakOf(slice.load).perSecond * calibration <= limit * type.operationsPerSecond &&
      heldShare(slice, type, this.#footprintOf(type)) <= limit &&
      flowsFit(type, slice.load, limit)
    );
  }

  #sumOf(flowing: Flowing): TimedSum | undefined {
    return this.#followed.includes(flowing) ? { now: 0, ...emptySum(this.settings.horizonSteps) } : undefined;
  }

  #settle({ ledger, now, settings }: Snapshot): void {
    const budget = settings.churnShareMax * this.totalKeys;
    let before = 0;
    for (const { at, keys, urgent, shards, dollars } of ledger) {
      if (now - at < HOUR_MS) {
        this.shardsMade += shards;
        this.dollarsSpent += dollars;
      }
      this.churnDebtKeys = Math.max(0, this.churnDebtKeys - (budget * (at - before)) / HOUR_MS) + keys;
      if (urgent) this.churnDebtKeys = Math.min(this.churnDebtKeys, budget * URGENT_DEBT_HOURS);
      before = at;
    }
    this.churnDebtKeys = Math.max(0, this.churnDebtKeys - (budget * (now - before)) / HOUR_MS);
  }

  #calibrate(shard: ClusterShard): void {
    shard.calibration = calibrationOf(shard, shard.nowPerSecond, this.settings);
    this.#changed(shard);
  }

  #footprintOf(type: DatastoreType): Footprint {
    return this.snapshot.footprints[type.kind];
  }

  #changed(shard: ClusterShard): void {
    this.#utilisations.delete(shard);
    this.#changedShards.add(shard);
  }

  #put(shard: ClusterShard, slice: PlannedSlice): void {
    shard.slices.set(slice.slice, slice);
    this.#sum(shard, slice, 1);
    this.#changed(shard);
  }

  #take(shard: ClusterShard, slice: PlannedSlice): void {
    if (shard.slices.delete(slice.slice)) this.#sum(shard, slice, -1);
    this.#changed(shard);
  }

  #sum(shard: ClusterShard, slice: PlannedSlice, sign: 1 | -1): void {
    this.dollarsPerHour += sign * requestDollarsPerHour(shard.type, slice.load.now);
    sumOnto(shard, slice, sign);
  }
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

/** Whether an empty shard of the type bears what comes with the load. */
const flowsFit = (type: DatastoreType, load: Load, limit: number): boolean =>
  (load.clients === undefined && load.bandwidth === undefined) ||
  FLOWING.every((flowing) => peakOfFlow(load, flowing) <= limit * limitOf(type, flowing));

/** What a move of the slice carries; its load is the mean of the horizon. */
export const cargoOf = ({ bytes, entries, load }: PlannedSlice): Cargo => ({
  bytes,
  entries,
  perSecond: meanOf(load.median),
});

/** A share of all that is on a shard. */
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

const HOUR_MS = 3_600_000;
/** However much an overload made us move, calm moves are held back for no longer than this. */
const URGENT_DEBT_HOURS = 2;
/** A store cannot be more than four times as hot as its load explains: beyond that something else is wrong with it. */
const CALIBRATION_MAX = 4;

/** By how much a store is hotter than the load on it explains (B2); 1 when it is not too hot. */
export function calibrationOf(shard: PlannedShard, nowPerSecond: number, { safeUtilisation }: PlanSettings): number {
  const measured = shard.measuredUtilisation;
  const explained = nowPerSecond / shard.type.operationsPerSecond;
  if (measured === undefined || measured <= safeUtilisation || explained <= 0) return 1;
  return Math.min(CALIBRATION_MAX, Math.max(1, measured / explained));
}
