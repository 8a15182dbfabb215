// Cluster model: the cluster as a plan in the making sees it. Moves under way and accepted actions count as done, so
// each further action is judged on the cluster that the earlier ones leave behind.
//
// It keeps the placement of slices and updates three views of it: room-index.ts (how full shards get), running-costs.ts
// (what they cost) and ledger.ts (what has been spent).
//
// Mutable, on typed arrays, and private to one call of `plan`.

import type { EventTime, ShardId } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import type { TotalLoads } from '../demand/ahead.ts';
import { type HeavyGroup, type HeavyTopic, wholeLoad } from '../demand/demand.ts';
import type { Footprint } from '../demand/footprint.ts';
import type { PlanSettings } from '../settings.ts';
import type { Spending } from '../stage/rows.ts';
import { type Catalog, type DatastoreType, type Flowing, limitedBy } from './catalog.ts';
import {
  type ClusterShard,
  calibrationOf,
  emptyShard,
  type PlannedShard,
  type PlannedSlice,
  sumOnto,
} from './cluster-shard.ts';
import type { Measured } from './lead-time.ts';
import { Ledger } from './ledger.ts';
import { RoomIndex } from './room-index.ts';
import { RunningCosts } from './running-costs.ts';

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
  /** How much memory of an instance the entries take. */
  readonly footprints: Readonly<Record<StoreKind, Footprint>>;
  /** Capacity that the last plans wanted, the newest last. */
  readonly plannedBefore: Readonly<Record<StoreKind, readonly number[]>>;
  readonly distrust: string;
  readonly measured: Measured;
  /** Moves under way by the shards that they are from or to; `moves` counts each once. */
  readonly moves: number;
  readonly movesOf: ReadonlyMap<ShardId, number>;
  /** What was spent lately, oldest first. */
  readonly ledger: readonly Spending[];
  readonly nextShard: number;
  readonly avoided: ReadonlySet<string>;
}

export class ClusterModel {
  readonly snapshot: Snapshot;
  readonly settings: PlanSettings;
  readonly shards = new Map<ShardId, ClusterShard>();
  readonly totalKeys: number;
  sliceCount: number;
  moves: number;
  nextShard: number;
  readonly rooms: RoomIndex;
  readonly costs = new RunningCosts();
  readonly ledger: Ledger;
  readonly #followed: readonly Flowing[];

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
    this.settings = snapshot.settings;
    this.rooms = new RoomIndex(snapshot.settings, snapshot.footprints, this.shards);
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
    this.ledger = new Ledger(snapshot.ledger, snapshot.now, snapshot.settings.churnShareMax * keys);
    for (const shard of this.shards.values()) this.#calibrate(shard);
  }

  addShard(shard: PlannedShard): ClusterShard {
    const moves = this.snapshot.movesOf.get(shard.id) ?? 0;
    const added = emptyShard(shard, moves, this.settings.horizonSteps, this.#followed);
    this.shards.set(shard.id, added);
    this.rooms.changed(added);
    this.costs.add(shard.type);
    return added;
  }

  removeShard(id: ShardId): void {
    const shard = this.shards.get(id)!;
    this.costs.remove(shard.type, shard.nowPerSecond);
    this.shards.delete(id);
    this.rooms.changed(shard);
  }

  retype(shard: ClusterShard, type: DatastoreType): void {
    this.costs.retype(shard.type, type, shard.nowPerSecond);
    shard.type = type;
    shard.resizing = true;
    this.rooms.changed(shard);
  }

  /** Puts the slice on another shard; it is busy from then on. */
  move(slice: PlannedSlice, to: ClusterShard): void {
    const from = this.shards.get(slice.shard)!;
    this.#take(from, slice);
    this.#put(to, { ...slice, shard: to.id, busy: true });
  }

  /** Puts a replica of the slice on another shard; each of the two then has the load `half`. */
  replicate(half: PlannedSlice, to: ClusterShard): void {
    const own = this.shards.get(half.shard)!;
    this.#take(own, own.slices.get(half.slice)!);
    this.#put(own, { ...half, busy: true, replica: to.id });
    this.#put(to, { ...half, shard: to.id, busy: true, isReplica: true });
    this.sliceCount++;
  }

  /** Ends a replica: the slice's own shard takes all of the load again. */
  unreplicate(slice: PlannedSlice): void {
    const own = this.shards.get(slice.shard)!;
    const other = this.shards.get(slice.replica!)!;
    this.#take(own, slice);
    this.#take(other, other.slices.get(slice.slice)!);
    const { replica: _, ...alone } = slice;
    this.#put(own, { ...alone, load: wholeLoad(slice.load), busy: true });
    this.sliceCount--;
  }

  /** Replaces slices by others on the same shard, which are busy until apply has carried it out. */
  replace(shard: ClusterShard, before: readonly PlannedSlice[], after: readonly PlannedSlice[]): void {
    for (const slice of before) this.#take(shard, slice);
    for (const slice of after) this.#put(shard, { ...slice, shard: shard.id, busy: true });
    this.sliceCount += after.length - before.length;
  }

  ofKind(kind: StoreKind): ClusterShard[] {
    return [...this.shards.values()].filter((shard) => shard.kind === kind);
  }

  #calibrate(shard: ClusterShard): void {
    shard.calibration = calibrationOf(shard, shard.nowPerSecond, this.settings);
    this.rooms.changed(shard);
  }

  #put(shard: ClusterShard, slice: PlannedSlice): void {
    shard.slices.set(slice.slice, slice);
    this.#sum(shard, slice, 1);
    this.rooms.changed(shard);
  }

  #take(shard: ClusterShard, slice: PlannedSlice): void {
    if (shard.slices.delete(slice.slice)) this.#sum(shard, slice, -1);
    this.rooms.changed(shard);
  }

  #sum(shard: ClusterShard, slice: PlannedSlice, sign: 1 | -1): void {
    this.costs.ask(shard.type, slice.load.now, sign);
    sumOnto(shard, slice, sign);
  }
}
