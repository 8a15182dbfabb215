// Room index: how full each shard of the cluster gets within the horizon, with and without one more slice, and where
// there is room. Results are cached for each shard until it changes.
//
//   R1. The answer for a shard always reflects what it holds now: whoever changes a shard must report the change.

import type { ShardId } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { type Load, peakOf, peakOfFlow } from '../demand/demand.ts';
import { type Footprint, heldShare, takenShare } from '../demand/footprint.ts';
import { type UtilisationForecast, utilisationForecastOf } from '../demand/utilisation-forecast.ts';
import type { PlanSettings } from '../settings.ts';
import { type DatastoreType, FLOWING, isFlowing, limitOf } from './catalog.ts';
import type { ClusterShard, PlannedSlice } from './cluster-shard.ts';

export interface Room {
  readonly shard: ClusterShard;
  readonly utilisation: UtilisationForecast;
}

export class RoomIndex {
  readonly #settings: PlanSettings;
  readonly #footprints: Readonly<Record<StoreKind, Footprint>>;
  /** Those of the cluster, as they are now. */
  readonly #shards: ReadonlyMap<ShardId, ClusterShard>;
  /** Utilisation of shards without a further slice; cleared for a shard when it changes. */
  readonly #utilisations = new Map<ClusterShard, UtilisationForecast>();
  /** Sorted, except for the shards that have changed since. */
  #rooms: readonly Room[] = [];
  readonly #changedShards = new Set<ClusterShard>();

  constructor(
    settings: PlanSettings,
    footprints: Readonly<Record<StoreKind, Footprint>>,
    shards: ReadonlyMap<ShardId, ClusterShard>,
  ) {
    this.#settings = settings;
    this.#footprints = footprints;
    this.#shards = shards;
  }

  /** To be called after each change of a shard, also when it is added or removed (R1). */
  changed(shard: ClusterShard): void {
    this.#utilisations.delete(shard);
    this.#changedShards.add(shard);
  }

  /** Shards by how full they get, least first; adding a slice never makes one less full. */
  inOrder(): readonly Room[] {
    if (this.#changedShards.size === 0) return this.#rooms;
    const kept = this.#rooms.filter(({ shard }) => !this.#changedShards.has(shard));
    const changed = [...this.#changedShards]
      .filter((shard) => this.#shards.get(shard.id) === shard)
      .map((shard) => ({ shard, utilisation: this.utilisation(shard) }));
    this.#rooms = [...kept, ...changed].sort(
      (a, b) => a.utilisation.utilisation - b.utilisation.utilisation || (a.shard.id < b.shard.id ? -1 : 1),
    );
    this.#changedShards.clear();
    return this.#rooms;
  }

  /** How full the shard gets, with a further slice on it when one is given. */
  utilisation(shard: ClusterShard, plus?: PlannedSlice): UtilisationForecast {
    if (plus !== undefined || this.#shards.get(shard.id) !== shard)
      return utilisationForecastOf(shard, this.#footprintOf(shard.type), this.#settings, plus);
    let known = this.#utilisations.get(shard);
    if (known === undefined) {
      known = utilisationForecastOf(shard, this.#footprintOf(shard.type), this.#settings);
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

  /** Utilisation up to which slices are placed: safe utilisation less the dead band. */
  get placeLimit(): number {
    return this.#settings.safeUtilisation - this.#settings.deadBand;
  }

  fits(shard: ClusterShard, slice: PlannedSlice, limit = this.placeLimit): boolean {
    return this.utilisation(shard, slice).utilisation <= limit;
  }

  /** Whether an empty shard of the type would hold the slice, with its load multiplied by `calibration`. */
  fitsEmpty(type: DatastoreType, slice: PlannedSlice, calibration: number): boolean {
    const limit = this.placeLimit;
    return (
      peakOf(slice.load).perSecond * calibration <= limit * type.operationsPerSecond &&
      heldShare(slice, type, this.#footprintOf(type)) <= limit &&
      flowsFit(type, slice.load, limit)
    );
  }

  #footprintOf(type: DatastoreType): Footprint {
    return this.#footprints[type.kind];
  }
}

/** Whether an empty shard of the type can take the clients and bandwidth that come with the load. */
const flowsFit = (type: DatastoreType, load: Load, limit: number): boolean =>
  (load.clients === undefined && load.bandwidth === undefined) ||
  FLOWING.every((flowing) => peakOfFlow(load, flowing) <= limit * limitOf(type, flowing));
