// SliceTree: the slices that one or more partitions are divided into, and which of them holds a filter.
//
//   T1. Every filter of a partition in the tree has exactly one slice (I5).
//   T2. The most specific slice holds a filter: a spread part or pin before hash slices, the longest prefix among
//       groups.
//   T3. Every slice that holds a filter matching a topic is among `slicesForTopic` of that topic.
//
// A mutable index with a pure face: only `add` and `remove` change it, and only its owner calls them. The owner keeps
// T1 across a change by removing and adding the slices that `splitRefusal` or `mergeRefusal` has accepted, in any
// order.

import type { Partition, SliceKey } from '../schemas/ids.ts';
import {
  filterHash,
  groupSlice,
  hashSlice,
  parseSlice,
  partitionOf,
  placeOf,
  ROOT_KEY,
  type Slice,
  spreadSlice,
  spreadSlices,
} from './keys.ts';
import { filterProblem } from './topic-filter.ts';

type HashSlice = Extract<Slice, { kind: 'hash' }>;
type GroupSlice = Extract<Slice, { kind: 'group' }>;

/** The slices carved out of the hash slices for one filter. */
interface Carved {
  readonly hash: number;
  pin: SliceKey | undefined;
  /** Into how many parts the filter is spread (0: not spread), and how many of these are in the tree. */
  spreadOf: number;
  spreadParts: number;
}

/** The slices of one partition, indexed for look-ups. */
interface PartitionSlices {
  /** Hash slices by how many bits they have, then by those bits as a number. */
  readonly hashes: Map<number, SliceKey>[];
  readonly carved: Map<string, Carved>;
  /** Groups by their prefix; the root group of the partition is under ''. */
  readonly groups: Map<string, SliceKey>;
}

export class SliceTree {
  readonly partitions: number;
  readonly #keys = new Set<SliceKey>();
  readonly #ofPartition = new Map<Partition, PartitionSlices>();
  readonly #rootPartition: Partition;

  constructor(partitions: number, keys: Iterable<SliceKey> = []) {
    this.partitions = partitions;
    this.#rootPartition = partitionOf(ROOT_KEY, partitions);
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
    const slice = parseSlice(key);
    if (slice === undefined) return;
    switch (slice.kind) {
      case 'hash': {
        const { hashes } = this.#slicesOf(slice.partition);
        while (hashes.length <= slice.bits.length) hashes.push(new Map());
        hashes[slice.bits.length]!.set(bitsValue(slice), key);
        return;
      }
      case 'group':
        this.#slicesOf(slice.partition).groups.set(slice.prefix, key);
        return;
      case 'pin':
        this.#carvedFor(slice.filter).pin = key;
        return;
      case 'spread': {
        const carved = this.#carvedFor(slice.filter);
        carved.spreadParts = carved.spreadOf === slice.of ? carved.spreadParts + 1 : 1;
        carved.spreadOf = slice.of;
      }
    }
  }

  remove(key: SliceKey): void {
    const slice = parseSlice(key);
    if (!this.#keys.delete(key) || slice === undefined) return;
    switch (slice.kind) {
      case 'hash':
        this.#slicesOf(slice.partition).hashes[slice.bits.length]!.delete(bitsValue(slice));
        return;
      case 'group':
        this.#slicesOf(slice.partition).groups.delete(slice.prefix);
        return;
      case 'pin':
      case 'spread': {
        const carved = this.#carvedFor(slice.filter);
        if (slice.kind === 'pin') carved.pin = undefined;
        else if (slice.of === carved.spreadOf && --carved.spreadParts === 0) carved.spreadOf = 0;
        if (carved.pin !== undefined || carved.spreadOf !== 0) return;
        this.#slicesOf(partitionOf(slice.filter, this.partitions)).carved.delete(slice.filter);
      }
    }
  }

  /**
   * The slice of this client's subscription of this valid filter; `undefined` when the tree does not have the
   * partition.
   */
  sliceOf(filter: string, clientId: string): SliceKey | undefined {
    const place = placeOf(filter);
    const partition = partitionOf(place.routingKey, this.partitions);
    return place.trie ? this.groupOf(partition, place.prefix) : this.concreteSliceOf(filter, partition, clientId);
  }

  /** `sliceOf` for a concrete filter whose partition is known. */
  concreteSliceOf(filter: string, partition: Partition, clientId: string): SliceKey | undefined {
    const slices = this.#ofPartition.get(partition);
    if (slices === undefined) return undefined;
    const carved = slices.carved.get(filter);
    if (carved === undefined) return hashSliceIn(slices, filterHash(filter));
    if (carved.spreadOf === 0) return carved.pin;
    return spreadSlice(filter, filterHash(clientId) % carved.spreadOf, carved.spreadOf);
  }

  /** The group that holds a trie filter with this literal prefix ('' or levels each followed by '/'). */
  groupOf(partition: Partition, prefix: string): SliceKey | undefined {
    const groups = this.#ofPartition.get(partition)?.groups;
    if (groups === undefined) return undefined;
    const whole = groups.get('');
    if (whole !== undefined && groups.size === 1) return whole; // Nothing is carved out: the common case.
    for (let held = prefix; held !== ''; held = parentPrefix(held)) {
      const key = groups.get(held);
      if (key !== undefined) return key;
    }
    return whole;
  }

  /** Every slice that can hold a filter matching this topic: the concrete ones, and the groups along its levels. */
  slicesForTopic(topic: string): SliceKey[] {
    const found: SliceKey[] = [];
    const home = partitionOf(topic, this.partitions);
    const spreadOf = this.#ofPartition.get(home)?.carved.get(topic)?.spreadOf ?? 0;
    if (spreadOf > 0) found.push(...spreadSlices(topic, spreadOf));
    const concrete = spreadOf === 0 ? this.concreteSliceOf(topic, home, '') : undefined;
    if (concrete !== undefined) found.push(concrete);

    const root = this.#ofPartition.get(this.#rootPartition)?.groups.get('');
    if (root !== undefined) found.push(root);
    const levels = `${topic}/`; // In the form of prefixes, so that the whole topic counts too: a/b/# matches a/b.
    const firstEnd = levels.indexOf('/');
    const groups = this.#ofPartition.get(partitionOf(levels.slice(0, firstEnd), this.partitions))?.groups;
    if (groups === undefined) return found;
    const whole = groups.get('');
    if (whole !== undefined && whole !== root) found.push(whole);
    if (whole !== undefined && groups.size === 1) return found;
    for (let end = firstEnd + 1; end > 0; end = levels.indexOf('/', end) + 1) {
      const key = groups.get(levels.slice(0, end));
      if (key !== undefined) found.push(key);
    }
    return found;
  }

  /** The slices carved out of this one, which a scan of it must leave out. Reads only the slices of its partition. */
  carvedOutOf(key: SliceKey): SliceKey[] {
    const slice = parseSlice(key);
    if (slice === undefined || slice.kind === 'pin' || slice.kind === 'spread') return [];
    const slices = this.#ofPartition.get(slice.partition);
    const found: SliceKey[] = [];
    if (slices === undefined) return found;
    if (slice.kind === 'group') {
      for (const [prefix, other] of slices.groups) {
        if (other !== key && prefix.startsWith(slice.prefix)) found.push(other);
      }
      return found;
    }
    const wanted = bitsValue(slice);
    for (const [filter, carved] of slices.carved) {
      if (leadingValue(carved.hash, slice.bits.length) !== wanted) continue;
      if (carved.pin !== undefined) found.push(carved.pin);
      found.push(...spreadSlices(filter, carved.spreadOf));
    }
    return found;
  }

  /** The hash slices of a partition, without what was carved out of them. */
  hashSlicesOf(partition: Partition): SliceKey[] {
    return (this.#ofPartition.get(partition)?.hashes ?? []).flatMap((slices) => [...slices.values()]);
  }

  /** Why `slice` cannot be replaced by `into`; `undefined` when it can without breaking T1. */
  splitRefusal(slice: SliceKey, into: readonly SliceKey[]): string | undefined {
    if (!this.#keys.has(slice)) return `${slice} is not a slice`;
    const parsed = parseSlice(slice);
    const added = new Set(into);
    if (added.size !== into.length) return 'a slice is named twice';
    const stays = added.delete(slice);
    if (parsed === undefined || added.size === 0) return 'nothing to split into';
    for (const key of added) if (this.#keys.has(key)) return `${key} is a slice already`;
    if (stays) {
      for (const key of added) if (!this.#isCarvable(slice, key)) return `${key} cannot be carved out of ${slice}`;
      return undefined;
    }
    if (parsed.kind === 'hash')
      return isHalves(parsed, added) ? undefined : `${slice} splits into its two halves alone`;
    if (parsed.kind === 'pin') return isParts(parsed.filter, added) ? undefined : `${slice} spreads into n parts alone`;
    return `${slice} cannot be split without staying`;
  }

  /** Why `slices` cannot be replaced by `into`; `undefined` when they can without breaking T1. */
  mergeRefusal(slices: readonly SliceKey[], into: SliceKey): string | undefined {
    for (const key of slices) if (!this.#keys.has(key)) return `${key} is not a slice`;
    const parsed = parseSlice(into);
    const gone = new Set(slices);
    if (gone.size !== slices.length) return 'a slice is named twice';
    const stays = gone.delete(into);
    const refusal = `${slices} do not make up ${into}`;
    if (parsed === undefined || gone.size === 0) return refusal;
    if (stays) {
      for (const key of gone) if (!this.#fallsBackTo(into, key, gone)) return `${key} was not carved out of ${into}`;
      return undefined;
    }
    if (this.#keys.has(into)) return `${into} is a slice already`;
    if (parsed.kind === 'hash') return isHalves(parsed, gone) ? undefined : refusal;
    if (parsed.kind === 'pin') return isParts(parsed.filter, gone) ? undefined : refusal;
    return refusal;
  }

  /** True when a new slice `key` would take filters from `slice` and from no other. */
  #isCarvable(slice: SliceKey, key: SliceKey): boolean {
    const child = parseSlice(key);
    if (child?.kind === 'pin') {
      const isConcrete = filterProblem(child.filter) === undefined && !placeOf(child.filter).trie;
      return isConcrete && this.sliceOf(child.filter, '') === slice;
    }
    return (
      child?.kind === 'group' && this.#isCarvedPrefix(child) && this.groupOf(child.partition, child.prefix) === slice
    );
  }

  /** True when the filters of `key` would be held by `into` if all of `gone` went. */
  #fallsBackTo(into: SliceKey, key: SliceKey, gone: ReadonlySet<SliceKey>): boolean {
    const slice = parseSlice(key);
    if (slice?.kind === 'pin') {
      const slices = this.#slicesOf(partitionOf(slice.filter, this.partitions));
      return hashSliceIn(slices, filterHash(slice.filter)) === into;
    }
    if (slice?.kind !== 'group' || slice.prefix === '') return false;
    const { groups } = this.#slicesOf(slice.partition);
    for (let prefix = parentPrefix(slice.prefix); ; prefix = parentPrefix(prefix)) {
      const held = groups.get(prefix);
      if (held !== undefined && !gone.has(held)) return held === into;
      if (prefix === '') return false;
    }
  }

  /** True for a prefix of literal levels that some filter of this partition can have. */
  #isCarvedPrefix({ partition, prefix }: GroupSlice): boolean {
    if (prefix === '' || filterProblem(`${prefix}+`) !== undefined || /[+#]/.test(prefix)) return false;
    return partitionOf(prefix.slice(0, prefix.indexOf('/')), this.partitions) === partition;
  }

  #carvedFor(filter: string): Carved {
    const { carved } = this.#slicesOf(partitionOf(filter, this.partitions));
    let found = carved.get(filter);
    if (found === undefined) {
      found = { hash: filterHash(filter), pin: undefined, spreadOf: 0, spreadParts: 0 };
      carved.set(filter, found);
    }
    return found;
  }

  #slicesOf(partition: Partition): PartitionSlices {
    let slices = this.#ofPartition.get(partition);
    if (slices === undefined) {
      slices = { hashes: [], carved: new Map(), groups: new Map() };
      this.#ofPartition.set(partition, slices);
    }
    return slices;
  }
}

/** The slices of `partitions` before anything was split. */
export function firstSlices(partitions: number): SliceKey[] {
  const slices: SliceKey[] = [];
  for (let partition = 0; partition < partitions; partition++) slices.push(hashSlice(partition), groupSlice(partition));
  return slices;
}

function hashSliceIn({ hashes }: PartitionSlices, hash: number): SliceKey | undefined {
  for (let bits = hashes.length - 1; bits >= 0; bits--) {
    const key = hashes[bits]!.get(leadingValue(hash, bits));
    if (key !== undefined) return key;
  }
  return undefined;
}

const bitsValue = ({ bits }: HashSlice): number => (bits === '' ? 0 : Number.parseInt(bits, 2));
const leadingValue = (hash: number, bits: number): number => (bits === 0 ? 0 : hash >>> (32 - bits));

/** `a/b/` of `a/b/c/`, '' of `a/`. There is nothing before the first level, also when that level is empty. */
const parentPrefix = (prefix: string): string =>
  prefix.length < 2 ? '' : prefix.slice(0, prefix.lastIndexOf('/', prefix.length - 2) + 1);

/** True when these are the two halves of the hash slice; one of all 32 bits has none. */
function isHalves({ partition, bits }: HashSlice, keys: ReadonlySet<SliceKey>): boolean {
  const halves = [hashSlice(partition, `${bits}0`), hashSlice(partition, `${bits}1`)];
  return bits.length < 32 && keys.size === 2 && halves.every((half) => keys.has(half));
}

/** True when these are the filter's n parts, n at least 2. */
function isParts(filter: string, keys: ReadonlySet<SliceKey>): boolean {
  return keys.size > 1 && spreadSlices(filter, keys.size).every((key) => keys.has(key));
}
