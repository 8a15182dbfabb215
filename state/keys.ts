// Keys: how filters, partitions and slices are named and hashed. Everything here is a pure function of its arguments,
// and its results must never change: keys are stored in topics and stores.
//
//   c/<partition>/<bits>       concrete filters of a partition whose second hash begins with <bits>
//   t/<filter>                 one pinned concrete filter, carved out of its hash slice
//   s/<i>of<n>/<filter>        the i-th part, by client, of a concrete filter spread over n slices
//   w/<partition>/<levels/>    filters in tries of a wildcard partition whose literal prefix begins with <levels/>
//
//   K1. Every slice has exactly one partition, so one writer, for ever.
//   K2. Of two slices of one partition that both cover a filter, the more specific one holds it.
//   K3. A trie slice's key is a string prefix of the key of each trie slice carved out of it, as are hash slices'.
//
// A filter is kept in a trie when it has a wildcard or is shared ($share/group/filter): a PUBLISH to `a/b` could not
// find `$share/g/a/b` by the hash of its own name. Every other filter is concrete.

import type { Partition, SeriesId, SliceKey } from '../schemas/ids.ts';

/**
 * What decides where a row belongs. All of a fleet has the same; every call carries it and every shard stores it
 * (datastores/identity.ts).
 */
export interface KeySpace {
  readonly partitions: number;
  /** Version of the rules in this file: keys, hashes, and which slice holds what. */
  readonly keyFormat: number;
  /**
   * The prefix of the fleet's topic names: the rows' versions are offsets of those topics. Absent: not stated, matches
   * any.
   */
  readonly fleet?: string;
}

/** Version of the rules of this file, in case they ever change. */
export const KEY_FORMAT = 1;
export const keySpaceOf = (partitions: number, fleet = ''): KeySpace =>
  fleet === '' ? { partitions, keyFormat: KEY_FORMAT } : { partitions, keyFormat: KEY_FORMAT, fleet };

/** Kafka's default partitioner: murmur2 over the key's UTF-8 bytes, sign bit cleared, modulo partitions. */
export function partitionOf(key: string | Uint8Array, partitions: number): Partition {
  return ((typeof key === 'string' ? murmur2OfText(key) : murmur2(key)) & 0x7fffffff) % partitions;
}

/** Reused for short ASCII texts, which almost all keys are: a new buffer each time would cost more than the hash. */
const ASCII = new Uint8Array(256);

function murmur2OfText(text: string): number {
  if (text.length > ASCII.length) return murmur2(Buffer.from(text, 'utf8'));
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return murmur2(Buffer.from(text, 'utf8'));
    ASCII[i] = code;
  }
  return murmur2(ASCII, text.length);
}

/** The murmur2 hash that Kafka's Java clients use (seed 0x9747b28c), as a signed 32-bit integer. */
export function murmur2(data: Uint8Array, length = data.length): number {
  const m = 0x5bd1e995;
  let h = 0x9747b28c ^ length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    let k = data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24);
    k = Math.imul(k, m);
    k ^= k >>> 24;
    k = Math.imul(k, m);
    h = Math.imul(h, m) ^ k;
  }
  const rest = length - at;
  if (rest >= 3) h ^= data[at + 2]! << 16;
  if (rest >= 2) h ^= data[at + 1]! << 8;
  if (rest >= 1) h = Math.imul(h ^ data[at]!, m);
  h ^= h >>> 13;
  h = Math.imul(h, m);
  return h ^ (h >>> 15);
}

/**
 * The second hash of a filter or client id: 32 bits, unsigned. FNV-1a over UTF-16 code units with murmur3's finaliser,
 * so that its leading bits, which slices use, are well mixed and independent of murmur2.
 */
export function filterHash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The first `count` bits of a 32-bit hash, as text: the form used in hash slices' keys. */
export function leadingBits(hash: number, count: number): string {
  return count === 0 ? '' : (hash >>> (32 - count)).toString(2).padStart(count, '0');
}

/** The record key of a trie filter without a literal first level. No literal level can be equal to it. */
export const ROOT_KEY = '#';

/** What the rest of the system needs to know about a filter, which must be valid (topic-filter.ts). */
export interface FilterPlace {
  /** True when it is kept in a trie: it has a wildcard or is shared. */
  readonly trie: boolean;
  /** The filter without `$share/group/`. */
  readonly inner: string;
  /** Trie filters: literal levels that choose the group, each followed by '/'; '' for none. Concrete filters: ''. */
  readonly prefix: string;
  /** The record key that decides its partition: the filter itself, or the first literal level of a trie filter. */
  readonly routingKey: string;
}

export function placeOf(filter: string): FilterPlace {
  const shared = filter.startsWith('$share/');
  const inner = shared ? filter.slice(filter.indexOf('/', 7) + 1) : filter;
  const wildcard = firstWildcard(inner);
  if (wildcard < 0 && !shared) return { trie: false, inner, prefix: '', routingKey: filter };
  // In a shared concrete filter the last level takes the place of the wildcard.
  const prefix = wildcard < 0 ? inner.slice(0, inner.lastIndexOf('/') + 1) : inner.slice(0, wildcard);
  return { trie: true, inner, prefix, routingKey: prefix === '' ? ROOT_KEY : prefix.slice(0, prefix.indexOf('/')) };
}

/**
 * A row's sort key: ordered by the UTF-8 bytes of these keys, the rows of a hash slice, pin or group are contiguous.
 */
export function placeKey(filter: string, clientId: string, place: FilterPlace = placeOf(filter)): string {
  if (place.trie) return `w${place.prefix}\u0000${filter}\u0000${clientId}`;
  return `c${filterHash(filter).toString(16).padStart(8, '0')}${filter}\u0000${clientId}`;
}

/** True when the filter has a wildcard. */
export const hasWildcard = (filter: string): boolean => firstWildcard(filter) >= 0;

function firstWildcard(filter: string): number {
  for (let i = 0; i < filter.length; i++) {
    const code = filter.charCodeAt(i);
    if (code === 0x2b || code === 0x23) return i; // '+' and '#' stand alone in their level, so this is a level's start.
  }
  return -1;
}

/** True when a valid filter is kept in a trie. Allocates nothing; `placeOf` returns more. */
export function isTrieFilter(filter: string): boolean {
  return firstWildcard(filter) >= 0 || (filter.charCodeAt(0) === 0x24 && filter.startsWith('$share/'));
}

/** A slice key taken apart. */
export type Slice =
  | { readonly kind: 'hash'; readonly partition: Partition; readonly bits: string }
  | { readonly kind: 'pin'; readonly filter: string }
  | { readonly kind: 'spread'; readonly filter: string; readonly index: number; readonly of: number }
  | { readonly kind: 'group'; readonly partition: Partition; readonly prefix: string };

export const hashSlice = (partition: Partition, bits = ''): SliceKey => `c/${partition}/${bits}` as SliceKey;
export const pinSlice = (filter: string): SliceKey => `t/${filter}` as SliceKey;
export const spreadSlice = (filter: string, index: number, of: number): SliceKey =>
  `s/${index}of${of}/${filter}` as SliceKey;
/** All parts of a filter that is spread over `of` slices. */
export const spreadSlices = (filter: string, of: number): SliceKey[] =>
  Array.from({ length: of }, (_, index) => spreadSlice(filter, index, of));
export const groupSlice = (partition: Partition, prefix = ''): SliceKey => `w/${partition}/${prefix}` as SliceKey;

/** The parts of a slice key, or `undefined` when it is not one. */
export function parseSlice(key: string): Slice | undefined {
  if (key.startsWith('t/')) return { kind: 'pin', filter: key.slice(2) };
  const second = key.indexOf('/', 2);
  if (second < 0) return undefined;
  const middle = key.slice(2, second);
  const rest = key.slice(second + 1);
  if (key.startsWith('s/')) {
    const parts = /^(\d{1,6})of(\d{1,6})$/.exec(middle);
    if (!parts) return undefined;
    const index = Number(parts[1]);
    const of = Number(parts[2]);
    return index < of ? { kind: 'spread', filter: rest, index, of } : undefined;
  }
  if (!/^\d{1,6}$/.test(middle)) return undefined;
  const partition = Number(middle);
  if (key.startsWith('c/')) return /^[01]{0,32}$/.test(rest) ? { kind: 'hash', partition, bits: rest } : undefined;
  if (key.startsWith('w/')) {
    return rest === '' || rest.endsWith('/') ? { kind: 'group', partition, prefix: rest } : undefined;
  }
  return undefined;
}

/** The partition whose task writes this slice (K1). */
export function partitionOfSlice(slice: Slice, partitions: number): Partition {
  return slice.kind === 'hash' || slice.kind === 'group' ? slice.partition : partitionOf(slice.filter, partitions);
}

/** True when every filter that the slice `key` can hold lies within `outer`, which it may equal. */
export function isWithin(key: SliceKey, outer: SliceKey, partitions: number): boolean {
  if (key === outer) return true;
  const inner = parseSlice(key);
  const around = parseSlice(outer);
  if (inner === undefined || around === undefined) return false;
  if (inner.kind === 'hash' || inner.kind === 'group') return around.kind === inner.kind && key.startsWith(outer); // K3
  if (around.kind === 'pin') return inner.kind === 'spread' && inner.filter === around.filter;
  return (
    around.kind === 'hash' &&
    leadingBits(filterHash(inner.filter), around.bits.length) === around.bits &&
    partitionOf(inner.filter, partitions) === around.partition
  );
}

/**
 * True when `key` is the topic as a whole, or a part of it in a different number of parts, where `part` is one of its
 * parts.
 */
export function isOtherDivision(key: SliceKey, part: SliceKey): boolean {
  const ours = parseSlice(part);
  const theirs = parseSlice(key);
  if (ours?.kind !== 'spread') return false;
  if (theirs?.kind === 'pin') return theirs.filter === ours.filter;
  return theirs?.kind === 'spread' && theirs.filter === ours.filter && theirs.of !== ours.of;
}

/** True for slices whose filters live in a trie. */
export const isTrieSlice = (key: SliceKey): boolean => key.charCodeAt(0) === 0x77; // 'w'

// ---- series: what is counted and forecast -------------------------------------------------------------------------
//
//   leaf   c/<partition>/<bits>, with a fixed number of bits: does not change when slices split, so history survives
//   group  w/<partition>/ or w/<partition>/<first level>/ for the heaviest first levels
//   topic  t/<filter>: a heavy concrete topic; its events are counted in its leaf too

export const leafSeries = (partition: Partition, bits: string): SeriesId =>
  `c/${partition}/${bits}` as string as SeriesId;
export const groupSeries = (partition: Partition, prefix = ''): SeriesId =>
  `w/${partition}/${prefix}` as string as SeriesId;
export const topicSeries = (filter: string): SeriesId => `t/${filter}` as string as SeriesId;
