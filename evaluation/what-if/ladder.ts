// Ladder: how the keys of one kind of store are divided over any number of equal shards by hash alone, and the capacity
// of these shards. The reference policies use it: they also know how uneven their own placement is, so that none has a
// shortage for that reason.
//
//   H1. Every shard has the same number of buckets, give or take one.
//   H2. With one more shard, buckets move only to the new one.

import type { Catalog, DatastoreType } from '../../processors/plan/cluster/catalog.ts';
import { typesOfKind } from '../../processors/plan/cluster/catalog.ts';
import type { StoreKind } from '../../schemas/records.ts';
import { groupSlice, hashSlice, leadingBits } from '../../state/keys.ts';
import { meanBefore, type SyntheticFleet } from './fleet.ts';

/** A part of the keys that is always moved as a whole. */
export interface Bucket {
  /** Operations for a message of each series. */
  readonly operations: Float64Array;
  readonly entries: number;
}

/** Bits of the hash buckets of each partition: fine enough that two shards rarely differ much. */
const BUCKET_BITS = 4;
/** Most shards of a ladder; it also ends where each bucket has its own shard. */
const SHARDS_MAX = 64;

/**
 * The buckets of the fleet by kind. The filters of a wildcard partition are in one trie, and therefore in one bucket.
 */
export function bucketsOf(fleet: SyntheticFleet): Record<StoreKind, Bucket[]> {
  const { partitions } = fleet.settings;
  const all = Array.from({ length: partitions }, (_, partition) => partition);
  const bits = Array.from({ length: 1 << BUCKET_BITS }, (_, top) =>
    leadingBits((top << (32 - BUCKET_BITS)) >>> 0, BUCKET_BITS),
  );
  const concrete = all.flatMap((partition) => bits.map((each) => hashSlice(partition, each)));
  const groups = all.map((partition) => groupSlice(partition));
  const weights = fleet.weights([...concrete, ...groups]);
  return {
    KEY_VALUE: concrete.map((slice) => weights.get(slice)!),
    TRIE: groups.map((slice) => weights.get(slice)!),
  };
}

export class Ladder {
  readonly type: DatastoreType;
  readonly buckets: readonly Bucket[];
  /** Operations of all buckets together. */
  readonly operations: Float64Array;
  readonly shardsMax: number;
  readonly #placements: number[][];
  readonly #capacities: number[];

  /** `usual`: messages per second of each series, with which the hottest shard is found. */
  constructor(buckets: readonly Bucket[], type: DatastoreType, usual: Float64Array) {
    this.type = type;
    this.buckets = buckets;
    this.shardsMax = Math.min(SHARDS_MAX, buckets.length);
    this.operations = usual.map((_, series) => buckets.reduce((sum, each) => sum + each.operations[series]!, 0));
    const asked = buckets.map(({ operations }) => weighed(operations, usual));
    const loads = asked.some((load) => load > 0) ? asked : buckets.map(() => 1); // A silent fleet has no loads to compare.
    const total = loads.reduce((sum, load) => sum + load, 0);
    this.#placements = [buckets.map(() => 0)];
    for (let n = 2; n <= this.shardsMax; n++) this.#placements.push(withOneMore(this.#placements.at(-1)!, n));
    this.#capacities = this.#placements.map((placement, index) => {
      const byShard = new Array<number>(index + 1).fill(0);
      for (const [bucket, shard] of placement.entries()) byShard[shard]! += loads[bucket]!;
      return (type.operationsPerSecond * total) / Math.max(...byShard);
    });
  }

  /** The shard of each bucket when there are `n` shards. */
  placement(n: number): readonly number[] {
    return this.#placements[n - 1]!;
  }

  /** Operations per second of all shards together at which the hottest of `n` is full. */
  capacity(n: number): number {
    return this.#capacities[n - 1]!;
  }

  /** The fewest shards that can carry the load; the number with the largest capacity when none can. */
  shardsFor(perSecond: number): number {
    const enough = this.#capacities.findIndex((capacity) => capacity >= perSecond);
    return 1 + (enough < 0 ? this.#capacities.indexOf(Math.max(...this.#capacities)) : enough);
  }
}

/** A ladder of each type of the kind. */
export function laddersOf(fleet: SyntheticFleet, catalog: Catalog, kind: StoreKind): Ladder[] {
  const buckets = bucketsOf(fleet)[kind];
  const usual = Float64Array.from(fleet.perSecond, (rates) => meanBefore(rates, fleet.settings.learnMinutes));
  return typesOfKind(catalog, kind).map((type) => new Ladder(buckets, type, usual));
}

const weighed = (weights: Float64Array, rates: Float64Array): number =>
  weights.reduce((sum, weight, series) => sum + weight * rates[series]!, 0);

/** Adds one shard to a placement (H1, H2). */
function withOneMore(before: readonly number[], n: number): number[] {
  const placement = [...before];
  const counts = new Array<number>(n).fill(0);
  for (const shard of placement) counts[shard]!++;
  const own = Math.floor(placement.length / n);
  while (counts[n - 1]! < own) {
    const fullest = counts.indexOf(Math.max(...counts));
    placement[placement.lastIndexOf(fullest)] = n - 1;
    counts[fullest]!--;
    counts[n - 1]!++;
  }
  return placement;
}
