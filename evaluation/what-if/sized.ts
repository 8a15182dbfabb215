// Sized: a number of equal shards of one type, with the keys placed by hash (ladder.ts). The reference policies run on
// these shards, in the same simulated time and at the same pace as the planner's cell. Pure: time is advanced by the
// caller.
//
//   Z1. While a change is going on, no other begins.
//   Z2. New shards are paid for from the moment they are ordered; buckets are copied to them when they are ready, one
//       after the other on each link. A shard that is removed is paid for until its last bucket has left.

import type { DatastoreType } from '../../processors/plan/cluster/catalog.ts';
import type { ServingShard } from './account.ts';
import type { Costs, Pace } from './cell.ts';
import type { Ladder } from './ladder.ts';

/** Copies that run at the same time. */
export interface SizedPace extends Pace {
  readonly links: number;
}

interface Copy {
  readonly bucket: number;
  readonly to: number;
  readonly endsAt: number;
}

export class SizedShards {
  readonly #ladder: Ladder;
  readonly #pace: SizedPace;
  readonly #costs: Costs;
  readonly #places: number[];
  #paidCount: number;
  #target: number;
  #copies: Copy[] = [];
  #version = 0;
  #summed: { readonly version: number; readonly operations: readonly Float64Array[] } = {
    version: -1,
    operations: [],
  };

  constructor(ladder: Ladder, shards: number, pace: SizedPace, costs: Costs) {
    this.#ladder = ladder;
    this.#pace = pace;
    this.#costs = costs;
    this.#places = [...ladder.placement(shards)];
    this.#paidCount = shards;
    this.#target = shards;
  }

  get count(): number {
    return this.#target;
  }

  get isChanging(): boolean {
    return this.#copies.length > 0;
  }

  /** Starts a change to `shards`, from 1 to the ladder's most (Z1). */
  order(shards: number, now: number): void {
    const ladder = this.#ladder;
    const pace = this.#pace;
    const costs = this.#costs;
    if (this.isChanging || shards === this.#target) return;
    for (let added = this.#paidCount; added < shards; added++) costs.provisioned(ladder.type);
    const startAt = now + (shards > this.#target ? ladder.type.provisioningMs : 0);
    const links = new Array<number>(pace.links).fill(startAt);
    this.#copies = ladder.placement(shards).flatMap((to, bucket) => {
      if (this.#places[bucket] === to) return [];
      const link = links.indexOf(Math.min(...links));
      links[link]! += (2 * ladder.buckets[bucket]!.entries * 1000) / pace.rowsPerSecond;
      return [{ bucket, to, endsAt: links[link]! }];
    });
    this.#target = shards;
    this.#paidCount = Math.max(this.#paidCount, shards);
  }

  /** Finishes the copies that are due. */
  tick(now: number): void {
    if (!this.isChanging) return;
    const ladder = this.#ladder;
    const pace = this.#pace;
    const costs = this.#costs;
    for (const { bucket, to } of this.#copies.filter(({ endsAt }) => endsAt <= now)) {
      this.#places[bucket] = to;
      const { entries } = ladder.buckets[bucket]!;
      costs.moved(entries, entries * pace.bytesPerEntry, ladder.type);
      this.#version++;
    }
    this.#copies = this.#copies.filter(({ endsAt }) => endsAt > now);
    if (!this.isChanging) this.#paidCount = this.#target; // Z2
  }

  paid(): DatastoreType[] {
    return new Array<DatastoreType>(this.#paidCount).fill(this.#ladder.type);
  }

  /** Shards that hold a bucket. */
  serving(perSecond: (operations: Float64Array) => number): ServingShard[] {
    return this.#operations().map((each) => ({ type: this.#ladder.type, perSecond: perSecond(each) }));
  }

  #operations(): readonly Float64Array[] {
    if (this.#summed.version === this.#version) return this.#summed.operations;
    const sums: Float64Array[] = [];
    for (const [bucket, shard] of this.#places.entries()) {
      const own = this.#ladder.buckets[bucket]!.operations;
      const sum = sums[shard] ?? new Float64Array(own.length);
      sums[shard] = sum;
      for (let series = 0; series < own.length; series++) sum[series]! += own[series]!;
    }
    this.#summed = { version: this.#version, operations: sums.filter((each) => each !== undefined) };
    return this.#summed.operations;
  }
}
