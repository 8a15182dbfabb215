// Keys of the LevelDB store: they are chosen so that a slice is one contiguous range of keys.
//
//   m<name>                                              the store's own data (format, identity) b<id, 4 bytes>
//   a broker's name; rows carry the id o<slice>                                             an owner record
//   r<partition, 4><filter hash, 4><filter> 00 <client>  a subscription
//
// Numbers are big-endian, so that bytes sort as numbers. `c/<p>/<bits>` is one range of `r` keys, and a pin is a range
// inside it. A part of a spread topic is chosen by client hash: the rows of the pin's range that pass a test.

import { AppError } from '../../schemas/errors.ts';
import type { SliceKey } from '../../schemas/ids.ts';
import type { SliceRange } from '../../state/effects.ts';
import { filterHash, parseSlice, partitionOf } from '../../state/keys.ts';
import type { RowPlace } from '../rows.ts';

const ROW = 0x72;
/** `r`, partition and hash. */
const ROW_HEADER_BYTES = 9;

export const META_KEY = Buffer.from('mformat');
export const IDENTITY_KEY = Buffer.from('midentity');
export const BROKERS = { gte: Buffer.from('b'), lt: Buffer.from('c') };
export const OWNERS = { gte: Buffer.from('o'), lt: Buffer.from('p') };
export const ROWS = { gte: Buffer.from('r'), lt: Buffer.from('s') };

export const ownerKey = (slice: SliceKey): Buffer => Buffer.from(`o${slice}`, 'utf8');

export function brokerKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(5);
  key[0] = 0x62;
  key.writeUInt32BE(id, 1);
  return key;
}

export function rowKey(filter: string, clientId: string, partitions: number): Buffer {
  const filterBytes = Buffer.byteLength(filter, 'utf8');
  const key = Buffer.allocUnsafe(ROW_HEADER_BYTES + filterBytes + 1 + Buffer.byteLength(clientId, 'utf8'));
  key.write(filter, ROW_HEADER_BYTES, 'utf8');
  const partition = partitionOf(key.subarray(ROW_HEADER_BYTES, ROW_HEADER_BYTES + filterBytes), partitions);
  writeHeader(key, partition, filterHash(filter));
  key[ROW_HEADER_BYTES + filterBytes] = 0;
  key.write(clientId, ROW_HEADER_BYTES + filterBytes + 1, 'utf8');
  return key;
}

export function placeOfKey(key: Buffer): RowPlace {
  const nul = key.indexOf(0, ROW_HEADER_BYTES);
  return { filter: key.toString('utf8', ROW_HEADER_BYTES, nul), clientId: key.toString('utf8', nul + 1) };
}

/** Keys k with gte <= k < lt. */
export interface Stretch {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

/**
 * A slice range as keys: key ranges in order, and a test for each row where a key range holds more rows than the slice
 * range.
 */
export interface KeyRange {
  readonly stretches: readonly Stretch[];
  readonly holds: ((place: RowPlace) => boolean) | undefined;
}

/** All rows of one filter. */
export function stretchOfFilter(filter: string, partitions: number): Stretch {
  const gte = rowKey(filter, '', partitions);
  const lt = Buffer.from(gte);
  lt[lt.length - 1] = 1; // After the NUL that every row key of the filter has here.
  return { gte, lt };
}

/** The keys of a range. Carved-out pins and hash slices are excluded by their keys, so a scan never reads them. */
export function keyRange(range: SliceRange, partitions: number): KeyRange {
  const whole = stretchOfSlice(range.slice, partitions);
  const left: Stretch[] = [];
  const parts = new Map<string, Set<number>>(); // `<n>/<filter>` -> the parts that are left out.
  for (const key of range.except) {
    const slice = parseSlice(key);
    if (slice?.kind !== 'spread') {
      left.push(stretchOfSlice(key, partitions));
      continue;
    }
    const name = `${slice.of}/${slice.filter}`;
    const indexes = parts.get(name) ?? new Set();
    parts.set(name, indexes.add(slice.index));
    if (indexes.size === slice.of) left.push(stretchOfFilter(slice.filter, partitions));
  }
  return { stretches: without(whole, left), holds: rowTest(range.slice, parts) };
}

function stretchOfSlice(key: SliceKey, partitions: number): Stretch {
  const slice = parseSlice(key);
  if (slice === undefined || slice.kind === 'group')
    throw new AppError('REQUEST_INVALID', 'a key-value shard holds only concrete slices', { slice: key });
  if (slice.kind !== 'hash') return stretchOfFilter(slice.filter, partitions);
  const first = slice.bits === '' ? 0 : Number.parseInt(slice.bits.padEnd(32, '0'), 2);
  const end = first + 2 ** (32 - slice.bits.length);
  return {
    gte: header(slice.partition, first),
    lt: end === 2 ** 32 ? header(slice.partition + 1, 0) : header(slice.partition, end),
  };
}

/** `whole` without the key ranges in `left`, which may lie outside it, touch or repeat. */
function without(whole: Stretch, left: Stretch[]): Stretch[] {
  left.sort((a, b) => Buffer.compare(a.gte, b.gte));
  const stretches: Stretch[] = [];
  let from = whole.gte;
  for (const gap of left) {
    if (Buffer.compare(gap.lt, from) <= 0) continue;
    if (Buffer.compare(gap.gte, whole.lt) >= 0) break;
    if (Buffer.compare(from, gap.gte) < 0) stretches.push({ gte: from, lt: gap.gte });
    from = gap.lt;
  }
  if (Buffer.compare(from, whole.lt) < 0) stretches.push({ gte: from, lt: whole.lt });
  return stretches;
}

function rowTest(key: SliceKey, parts: ReadonlyMap<string, ReadonlySet<number>>): KeyRange['holds'] {
  const slice = parseSlice(key);
  const leftOut = new Map<string, { readonly of: number; readonly indexes: ReadonlySet<number> }[]>();
  for (const [name, indexes] of parts) {
    const of = Number.parseInt(name, 10);
    if (indexes.size === of) continue;
    const filter = name.slice(name.indexOf('/') + 1);
    leftOut.set(filter, [...(leftOut.get(filter) ?? []), { of, indexes }]);
  }
  const spread = slice?.kind === 'spread' ? slice : undefined;
  if (spread === undefined && leftOut.size === 0) return undefined;
  return ({ filter, clientId }) => {
    if (spread !== undefined && filterHash(clientId) % spread.of !== spread.index) return false;
    return !leftOut.get(filter)?.some(({ of, indexes }) => indexes.has(filterHash(clientId) % of));
  };
}

function header(partition: number, hash: number): Buffer {
  const key = Buffer.allocUnsafe(ROW_HEADER_BYTES);
  writeHeader(key, partition, hash);
  return key;
}

function writeHeader(key: Buffer, partition: number, hash: number): void {
  key[0] = ROW;
  key.writeUInt32BE(partition, 1);
  key.writeUInt32BE(hash, 5);
}
