// Board: the cluster as one plan sees it while it is being made. Moves in flight and accepted actions count as done, so
// each next action is judged on the cluster that the earlier ones leave behind.
//
//   B1. The load of a shard over the horizon is sum(median) + sqrt((1-r) sum(spread^2) + r sum(spread)^2), with r the
//       correlation of forecast errors: spreads neither simply add up nor cancel out.
//   B2. A store that is measured hotter than its load explains is taken at its word: its load is scaled up.
//
// Mutable, on typed arrays, within one call of `plan`; nobody else ever sees it.

import type { EventTime, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import type { Catalog, DatastoreType } from './catalog.ts';
import { addLoad, emptyLoad, type HeavyGroup, type HeavyTopic, type Load, peakOf } from './demand.ts';
import type { Measured } from './lead-time.ts';
import type { Spending } from './rows.ts';
import type { PlanSettings } from './settings.ts';

/** Everything a plan is made from. */
export interface Snapshot {
  readonly now: EventTime;
  readonly settings: PlanSettings;
  readonly catalog: Catalog;
  readonly shards: readonly PlannedShard[];
  readonly slices: readonly PlannedSlice[];
  readonly heavyTopics: readonly HeavyTopic[];
  readonly heavyGroups: readonly HeavyGroup[];
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
  readonly coldPlans: number;
  readonly roomyPlans: number;
}

export interface PlannedSlice {
  readonly slice: SliceKey;
  /** Where it will be when what is in flight has ended. */
  readonly shard: ShardId;
  readonly entries: number;
  readonly bytes: number;
  readonly load: Load;
  /** In a move or change, or not there yet. */
  readonly busy: boolean;
  readonly coolUntil: EventTime;
}

export interface BoardShard extends PlannedShard {
  type: DatastoreType;
  resizing: boolean;
  readonly slices: Map<SliceKey, PlannedSlice>;
  readonly median: Float64Array;
  readonly spread: Float64Array;
  readonly spreadSquares: Float64Array;
  nowPerSecond: number;
  entries: number;
  bytes: number;
  calibration: number;
  moves: number;
}

/** How full a shard gets over the horizon. */
export interface Outline {
  /** The highest of all dimensions and buckets; 1 is full. */
  readonly utilisation: number;
  readonly peakPerSecond: number;
  readonly peakStep: number;
  /** The first bucket above safe utilisation; -1 for none. */
  readonly crossingStep: number;
  readonly stepsAbove: number;
  /** What is fullest at the peak. */
  readonly dimension: 'operations' | 'entries' | 'memory';
}

export class Board {
  readonly snapshot: Snapshot;
  readonly settings: PlanSettings;
  readonly shards = new Map<ShardId, BoardShard>();
  readonly totalKeys: number;
  sliceCount: number;
  moves: number;
  /** Keys moved beyond what the churn budget has allowed since (goals/churn.ts). */
  churnDebtKeys = 0;
  /** Within the last hour. */
  shardsMade = 0;
  dollarsSpent = 0;
  dollarsPerHour = 0;
  nextShard: number;

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
    this.settings = snapshot.settings;
    this.moves = snapshot.moves;
    this.nextShard = snapshot.nextShard;
    this.sliceCount = snapshot.slices.length;
    for (const shard of snapshot.shards) this.addShard(shard);
    let keys = 0;
    for (const slice of snapshot.slices) {
      keys += slice.entries;
      const shard = this.shards.get(slice.shard);
      if (shard !== undefined) this.#put(shard, slice);
    }
    this.totalKeys = keys;
    this.#settle(snapshot);
    for (const shard of this.shards.values()) this.#calibrate(shard);
  }

  addShard(shard: PlannedShard): BoardShard {
    const steps = this.settings.horizonSteps;
    const added: BoardShard = {
      ...shard,
      slices: new Map(),
      median: new Float64Array(steps),
      spread: new Float64Array(steps),
      spreadSquares: new Float64Array(steps),
      nowPerSecond: 0,
      entries: 0,
      bytes: 0,
      calibration: 1,
      moves: this.snapshot.movesOf.get(shard.id) ?? 0,
    };
    this.shards.set(shard.id, added);
    this.dollarsPerHour += shard.type.dollarsPerHour;
    return added;
  }

  removeShard(id: ShardId): void {
    this.dollarsPerHour -= this.shards.get(id)!.type.dollarsPerHour;
    this.shards.delete(id);
  }

  retype(shard: BoardShard, type: DatastoreType): void {
    this.dollarsPerHour += type.dollarsPerHour - shard.type.dollarsPerHour;
    shard.type = type;
    shard.resizing = true;
  }

  /** Puts the slice on another shard; it is busy from then on. */
  move(slice: PlannedSlice, to: BoardShard): void {
    const from = this.shards.get(slice.shard)!;
    this.#take(from, slice);
    this.#put(to, { ...slice, shard: to.id, busy: true });
  }

  /** Slices give way to others on the same shard, which are busy until apply has done it. */
  replace(shard: BoardShard, before: readonly PlannedSlice[], after: readonly PlannedSlice[]): void {
    for (const slice of before) this.#take(shard, slice);
    for (const slice of after) this.#put(shard, { ...slice, shard: shard.id, busy: true });
    this.sliceCount += after.length - before.length;
  }

  ofKind(kind: StoreKind): BoardShard[] {
    return [...this.shards.values()].filter((shard) => shard.kind === kind);
  }

  /** How full the shard gets, with a further slice on it when one is given. */
  outline(shard: BoardShard, plus?: PlannedSlice): Outline {
    const { type, calibration } = shard;
    const { errorCorrelation: r, safeUtilisation } = this.settings;
    let peakPerSecond = (shard.nowPerSecond + (plus?.load.now ?? 0)) * calibration;
    let peakStep = 0;
    const safe = safeUtilisation * type.operationsPerSecond;
    let crossingStep = peakPerSecond > safe ? 0 : -1;
    let stepsAbove = 0;
    for (let k = 0; k < shard.median.length; k++) {
      const extra = plus === undefined ? 0 : plus.load.spread[k]!;
      const spread = shard.spread[k]! + extra;
      const squares = shard.spreadSquares[k]! + extra * extra;
      const median = shard.median[k]! + (plus === undefined ? 0 : plus.load.median[k]!);
      const perSecond = (median + Math.sqrt(Math.max(0, (1 - r) * squares + r * spread * spread))) * calibration;
      if (perSecond > safe) {
        stepsAbove++;
        if (crossingStep < 0) crossingStep = k;
      }
      if (perSecond > peakPerSecond) {
        peakPerSecond = perSecond;
        peakStep = k;
      }
    }
    const operations = peakPerSecond / type.operationsPerSecond;
    const entries = (shard.entries + (plus?.entries ?? 0)) / type.entriesMax;
    const memory = (shard.bytes + (plus?.bytes ?? 0)) / type.memoryBytes;
    const utilisation = Math.max(operations, entries, memory);
    const dimension = utilisation === operations ? 'operations' : utilisation === entries ? 'entries' : 'memory';
    if (Math.max(entries, memory) > safeUtilisation) {
      crossingStep = 0;
      stepsAbove = shard.median.length;
    }
    return { utilisation, peakPerSecond, peakStep, crossingStep, stepsAbove, dimension };
  }

  /** The share of its shard that a slice fills, in the dimension asked for. */
  shareOf(shard: BoardShard, slice: PlannedSlice, dimension: Outline['dimension']): number {
    if (dimension === 'entries') return slice.entries / shard.type.entriesMax;
    if (dimension === 'memory') return slice.bytes / shard.type.memoryBytes;
    return (peakOf(slice.load).perSecond * shard.calibration) / shard.type.operationsPerSecond;
  }

  /** Utilisation up to which slices are placed: below safe by the dead band. */
  get placeLimit(): number {
    return this.settings.safeUtilisation - this.settings.deadBand;
  }

  fits(shard: BoardShard, slice: PlannedSlice, limit = this.placeLimit): boolean {
    return this.outline(shard, slice).utilisation <= limit;
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

  #calibrate(shard: BoardShard): void {
    const measured = shard.measuredUtilisation;
    if (measured === undefined || measured <= this.settings.safeUtilisation) return;
    const explained = shard.nowPerSecond / shard.type.operationsPerSecond;
    if (explained > 0) shard.calibration = Math.min(CALIBRATION_MAX, Math.max(1, measured / explained));
  }

  #put(shard: BoardShard, slice: PlannedSlice): void {
    shard.slices.set(slice.slice, slice);
    this.#sum(shard, slice, 1);
  }

  #take(shard: BoardShard, slice: PlannedSlice): void {
    if (shard.slices.delete(slice.slice)) this.#sum(shard, slice, -1);
  }

  #sum(shard: BoardShard, slice: PlannedSlice, sign: 1 | -1): void {
    shard.nowPerSecond += sign * slice.load.now;
    shard.entries += sign * slice.entries;
    shard.bytes += sign * slice.bytes;
    const { median, spread } = slice.load;
    for (let k = 0; k < median.length; k++) {
      shard.median[k]! += sign * median[k]!;
      shard.spread[k]! += sign * spread[k]!;
      shard.spreadSquares[k]! += sign * spread[k]! ** 2;
    }
  }
}

const HOUR_MS = 3_600_000;
/** However much an overload made us move, calm moves are held back for no longer than this. */
const URGENT_DEBT_HOURS = 2;
/** A store cannot be more than four times as hot as its load explains: beyond that something else is wrong with it. */
const CALIBRATION_MAX = 4;

/** A copy of the load, scaled. */
export function scaledLoad(load: Load, factor: number): Load {
  const scaled = emptyLoad(load.median.length);
  addLoad(scaled, load, factor);
  return scaled;
}
