// SliceTree: the slices that one or more partitions are cut into, and which of them holds a filter.
//
//   T1. Every filter of a partition in the tree has exactly one slice (I5 of the design).
//   T2. The most specific slice wins: a spread or pin over hash slices, the longest prefix among groups.
//
// A mutable index with a pure face: `sliceOf` never changes it, `add` and `remove` are called by its owner alone. The
// caller keeps T1 across a change by removing and adding a covering set (see `splitInto`, `mergeInto`).

import type { Partition, SliceKey } from '../schemas/ids.ts';
import {
  filterHash,
  groupSlice,
  hashSlice,
  leadingBits,
  parseSlice,
  partitionOf,
  pinSlice,
  placeOf,
  spreadSlice,
} from './keys.ts';

export class SliceTree {
  readonly partitions: number;
  readonly #keys = new Set<SliceKey>();
  readonly #spreads = new Map<string, number>();
  readonly #hashBits = new Map<Partition, number[]>(); // For each partition: how many slices have that many bits.
  readonly #groupPrefixes = new Map<Partition, number>(); // For each partition: how many carved groups there are.

  constructor(partitions: number, keys: Iterable<SliceKey> = []) {
    this.partitions = partitions;
    for (const key of keys) this.add(key);
  }

  has(key: SliceKey): boolean {
    return this.#keys.has(key);
  }

  keys(): IterableIterator<SliceKey> {
    return this.#keys.values();
  }

  get size(): number {
    return this.#keys.size;
  }

  add(key: SliceKey): void {
    if (this.#keys.has(key)) return;
    this.#keys.add(key);
    this.#count(key, 1);
  }

  remove(key: SliceKey): void {
    if (this.#keys.delete(key)) this.#count(key, -1);
  }

  /** The slice that holds this valid filter's subscription of this client; `undefined` when the tree has no such partition. */
  sliceOf(filter: string, clientId: string): SliceKey | undefined {
    const place = placeOf(filter);
    const partition = partitionOf(place.routingKey, this.partitions);
    return place.trie ? this.groupOf(partition, place.prefix) : this.concreteSliceOf(filter, partition, clientId);
  }

  /** `sliceOf` for a concrete filter whose partition is known. */
  concreteSliceOf(filter: string, partition: Partition, clientId: string): SliceKey | undefined {
    const of = this.#spreads.get(filter);
    if (of !== undefined) return spreadSlice(filter, filterHash(clientId) % of, of);
    const pin = pinSlice(filter);
    if (this.#keys.has(pin)) return pin;
    const depths = this.#hashBits.get(partition);
    if (depths === undefined) return undefined;
    const hash = filterHash(filter);
    for (let bits = depths.length - 1; bits >= 0; bits--) {
      if (!depths[bits]) continue;
      const key = hashSlice(partition, leadingBits(hash, bits));
      if (this.#keys.has(key)) return key;
    }
    return undefined;
  }

  /** The group that holds a trie filter with this literal prefix ('' or levels each followed by '/'). */
  groupOf(partition: Partition, prefix: string): SliceKey | undefined {
    if (this.#groupPrefixes.get(partition)) {
      for (let end = prefix.length; end > 0; end = prefix.lastIndexOf('/', end - 2) + 1) {
        const key = groupSlice(partition, prefix.slice(0, end));
        if (this.#keys.has(key)) return key;
      }
    }
    const root = groupSlice(partition);
    return this.#keys.has(root) ? root : undefined;
  }

  /** Every slice that can hold a filter matching this topic: the concrete ones, and the groups along its levels. */
  slicesForTopic(topic: string): SliceKey[] {
    const found: SliceKey[] = [];
    const of = this.#spreads.get(topic);
    if (of !== undefined) for (let i = 0; i < of; i++) found.push(spreadSlice(topic, i, of));
    else {
      const concrete = this.concreteSliceOf(topic, partitionOf(topic, this.partitions), '');
      if (concrete !== undefined) found.push(concrete);
    }
    const root = groupSlice(partitionOf('#', this.partitions));
    if (this.#keys.has(root)) found.push(root);
    const firstEnd = topic.indexOf('/');
    const partition = partitionOf(firstEnd < 0 ? topic : topic.slice(0, firstEnd), this.partitions);
    const own = groupSlice(partition);
    if (own !== root && this.#keys.has(own)) found.push(own);
    if (this.#groupPrefixes.get(partition)) {
      const levels = `${topic}/`;
      for (let end = levels.indexOf('/') + 1; end > 0; end = levels.indexOf('/', end) + 1) {
        const key = groupSlice(partition, levels.slice(0, end));
        if (this.#keys.has(key)) found.push(key);
      }
    }
    return found;
  }

  /** The slices carved out of this one: what a scan of it must leave out. */
  carvedOutOf(key: SliceKey): SliceKey[] {
    const slice = parseSlice(key);
    if (slice === undefined || slice.kind === 'pin' || slice.kind === 'spread') return [];
    const carved: SliceKey[] = [];
    for (const other of this.#keys) {
      if (other === key) continue;
      if (slice.kind === 'group') {
        if (other.startsWith(key)) carved.push(other);
        continue;
      }
      const filter = concreteFilterOf(other);
      if (filter === undefined || partitionOf(filter, this.partitions) !== slice.partition) continue;
      if (leadingBits(filterHash(filter), slice.bits.length) === slice.bits) carved.push(other);
    }
    return carved;
  }

  /** Why `slice` cannot give way to `into`, or `undefined` when that keeps T1. */
  splitRefusal(slice: SliceKey, into: readonly SliceKey[]): string | undefined {
    if (!this.#keys.has(slice)) return `${slice} is not a slice`;
    const parsed = parseSlice(slice);
    const added = into.filter((key) => key !== slice);
    if (parsed === undefined || added.length === 0) return 'nothing to split into';
    const taken = added.find((key) => this.#keys.has(key));
    if (taken !== undefined) return `${taken} is a slice already`;
    if (into.includes(slice))
      return added.every((key) => this.#isCarvable(slice, key))
        ? undefined
        : `${added} cannot be carved out of ${slice}`;
    if (parsed.kind === 'hash') {
      const halves = [hashSlice(parsed.partition, `${parsed.bits}0`), hashSlice(parsed.partition, `${parsed.bits}1`)];
      return added.length === 2 && halves.every((half) => added.includes(half))
        ? undefined
        : `${slice} splits into its two halves alone`;
    }
    if (parsed.kind === 'pin') {
      const parts = Array.from({ length: added.length }, (_, i) => spreadSlice(parsed.filter, i, added.length));
      return added.length > 1 && parts.every((part) => added.includes(part))
        ? undefined
        : `${slice} spreads into n parts alone`;
    }
    return `${slice} cannot be split without staying`;
  }

  /** Why `slices` cannot become `into`, or `undefined` when that keeps T1. */
  mergeRefusal(slices: readonly SliceKey[], into: SliceKey): string | undefined {
    const missing = slices.find((key) => !this.#keys.has(key));
    if (missing !== undefined) return `${missing} is not a slice`;
    const undone = new SliceTree(this.partitions, this.#keys);
    for (const key of slices) undone.remove(key);
    undone.add(into);
    return undone.splitRefusal(into, slices) === undefined ? undefined : `${slices} do not make up ${into}`;
  }

  #isCarvable(slice: SliceKey, key: SliceKey): boolean {
    const filter = concreteFilterOf(key);
    if (filter !== undefined && key.startsWith('t/')) return this.sliceOf(filter, '') === slice;
    const parent = parseSlice(slice);
    const child = parseSlice(key);
    if (parent?.kind !== 'group' || child?.kind !== 'group' || parent.partition !== child.partition) return false;
    const first = child.prefix.slice(0, child.prefix.indexOf('/'));
    return (
      child.prefix !== '' &&
      partitionOf(first, this.partitions) === child.partition &&
      this.groupOf(child.partition, child.prefix) === slice
    );
  }

  #count(key: SliceKey, by: 1 | -1): void {
    const slice = parseSlice(key);
    if (slice?.kind === 'hash') {
      const depths = this.#hashBits.get(slice.partition) ?? [];
      while (depths.length <= slice.bits.length) depths.push(0);
      depths[slice.bits.length]! += by;
      this.#hashBits.set(slice.partition, depths);
    } else if (slice?.kind === 'group' && slice.prefix !== '') {
      this.#groupPrefixes.set(slice.partition, (this.#groupPrefixes.get(slice.partition) ?? 0) + by);
    } else if (slice?.kind === 'spread') {
      if (by === 1) this.#spreads.set(slice.filter, slice.of);
      else this.#spreads.delete(slice.filter);
    }
  }
}

/** The slices of `partitions` before anything was split. */
export function firstSlices(partitions: number): SliceKey[] {
  const slices: SliceKey[] = [];
  for (let partition = 0; partition < partitions; partition++) slices.push(hashSlice(partition), groupSlice(partition));
  return slices;
}

function concreteFilterOf(key: SliceKey): string | undefined {
  const slice = parseSlice(key);
  return slice?.kind === 'pin' || slice?.kind === 'spread' ? slice.filter : undefined;
}
