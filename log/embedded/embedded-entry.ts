// Entries of the embedded log: many records of one partition stored as one value, as Kafka stores record batches.
// Writing and reading them is the hot path of the embedded runtime: one Buffer for each entry, and no object for a
// record until it is read.
//
//   key    'e' · topic id (2 bytes) · partition (2) · last offset (6, big-endian): a seek to an offset finds its entry
//   value  CRC-32 over key and rest (4) · version (1) · first offset (6) · first record's time (6) · latest time (6) ·
//          count (4) · records
//   record flags (1) · offset gap · time difference · key · value · headers, each only when its flag says so;
//          numbers as varints
//
//   F1. An entry covers the offsets from `first` to `last`; the next entry of the partition begins at `last` + 1.
//   F2. An entry that cannot be decoded as a whole is refused, never returned in part.

import { crc32 } from 'node:zlib';
import type { RawRecord } from '../../runtime/ports.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import { sealInPlace, unseal } from '../../state/seal.ts';
import type { NewRecord } from '../local/log-storage.ts';

/**
 * Approximate size of an entry: large enough to make LevelDB's cost per key negligible, small enough to be read as a
 * whole.
 */
export const ENTRY_BYTES_MAX = 256 * 1024;

export interface Entry {
  readonly first: Offset;
  readonly last: Offset;
  readonly latestTime: number;
  readonly records: readonly RawRecord[];
}

const VERSION = 1;
const HEADER_BYTES = 27;
const SEAL_BYTES = 4;
const HAS_KEY = 1;
const HAS_VALUE = 2;
const HAS_HEADERS = 4;
const HAS_GAP = 8;
const HAS_TIME = 16;
const ENTRY_SPACE = 0x65; // 'e'

export function entryKey(topicId: number, partition: Partition, last: Offset): Buffer {
  const key = Buffer.allocUnsafe(11);
  key[0] = ENTRY_SPACE;
  key.writeUInt16BE(topicId, 1);
  key.writeUInt16BE(partition, 3);
  key.writeUIntBE(last, 5, 6);
  return key;
}

/** The highest offset a key can carry. */
export const OFFSET_MAX = 2 ** 48 - 1;

export const lastOffsetOf = (key: Buffer): Offset => key.readUIntBE(5, 6);

/** Gathers records into one entry after another. */
export class EntryWriter {
  #bytes = Buffer.allocUnsafe(2 * ENTRY_BYTES_MAX);
  #at = HEADER_BYTES;
  #count = 0;
  #next: Offset = 0; // The offset of the next record if there is no gap.
  #firstTime = 0;
  #latestTime = 0;

  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#at >= ENTRY_BYTES_MAX;
  }

  /** Begins an entry that covers the offsets from `first` on. */
  begin(first: Offset): void {
    this.#at = HEADER_BYTES;
    this.#count = 0;
    this.#next = first;
    this.#bytes.writeUIntLE(first, 5, 6);
    this.#latestTime = 0;
    this.#firstTime = 0;
  }

  add(offset: Offset, timestamp: number, record: NewRecord | RawRecord): void {
    const { key, value, headers } = record;
    if (this.#count === 0) this.#firstTime = timestamp;
    if (timestamp > this.#latestTime) this.#latestTime = timestamp;
    const keyBytesMax = key === null ? 0 : typeof key === 'string' ? key.length * 3 : key.length;
    const valueBytes = value == null ? 0 : value.length;
    this.#reserve(64 + keyBytesMax + valueBytes);
    const flagsAt = this.#at++;
    let flags = 0;
    if (offset !== this.#next) {
      flags |= HAS_GAP;
      this.#varint(offset - this.#next);
    }
    if (timestamp !== this.#firstTime) {
      flags |= HAS_TIME;
      const difference = timestamp - this.#firstTime;
      this.#varint(difference >= 0 ? difference * 2 : -difference * 2 - 1);
    }
    if (key !== null) {
      flags |= HAS_KEY;
      this.#text(key);
    }
    if (value != null) {
      flags |= HAS_VALUE;
      this.#varint(valueBytes);
      this.#at += value.copy(this.#bytes, this.#at);
    }
    if (headers !== undefined) {
      flags |= HAS_HEADERS;
      this.#headers(headers);
    }
    this.#bytes[flagsAt] = flags;
    this.#next = offset + 1;
    this.#count++;
  }

  /** The entry's value, with its checksum over the key and the value. */
  finish(key: Buffer): Buffer {
    this.#bytes[SEAL_BYTES] = VERSION;
    this.#bytes.writeUIntLE(this.#firstTime, 11, 6);
    this.#bytes.writeUIntLE(this.#latestTime, 17, 6);
    this.#bytes.writeUInt32LE(this.#count, 23);
    const value = Buffer.from(this.#bytes.subarray(0, this.#at));
    sealInPlace(crc32, key, value);
    return value;
  }

  #headers(headers: NonNullable<RawRecord['headers']>): void {
    const pairs: [string, Buffer | string][] = [];
    for (const name in headers) {
      const values = headers[name];
      if (values === undefined) continue;
      if (typeof values === 'string' || Buffer.isBuffer(values)) pairs.push([name, values]);
      else for (const value of values as readonly (Buffer | string)[]) pairs.push([name, value]);
    }
    this.#reserve(16);
    this.#varint(pairs.length);
    for (const [name, value] of pairs) {
      this.#reserve(32 + name.length * 3 + value.length * 3);
      this.#text(name);
      this.#text(value);
    }
  }

  #text(text: Buffer | string): void {
    if (typeof text !== 'string') {
      this.#varint(text.length);
      this.#at += text.copy(this.#bytes, this.#at);
    } else if (text.length < 43) {
      const size = this.#bytes.write(text, this.#at + 1); // At most 126 bytes: the length takes one.
      this.#bytes[this.#at] = size;
      this.#at += size + 1;
    } else {
      this.#varint(Buffer.byteLength(text));
      this.#at += this.#bytes.write(text, this.#at);
    }
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafe(2 * (this.#at + bytes));
    this.#bytes.copy(grown, 0, 0, this.#at);
    this.#bytes = grown;
  }
}

/** The header of an entry, without its records; `undefined` when the entry is damaged (F2). */
export function entryHeader(
  key: Buffer,
  sealed: Buffer,
): { readonly first: Offset; readonly last: Offset; readonly latestTime: number; readonly count: number } | undefined {
  if (unseal(crc32, key, sealed) === undefined || sealed.length < HEADER_BYTES || sealed[SEAL_BYTES] !== VERSION)
    return undefined;
  return {
    first: sealed.readUIntLE(5, 6),
    last: lastOffsetOf(key),
    latestTime: sealed.readUIntLE(17, 6),
    count: sealed.readUInt32LE(23),
  };
}

/** The entry; its records' keys and values share its bytes. `undefined` when the entry is damaged (F2). */
export function readEntry(key: Buffer, sealed: Buffer): Entry | undefined {
  const header = entryHeader(key, sealed);
  if (header === undefined) return undefined;
  const firstTime = sealed.readUIntLE(11, 6);
  const records: RawRecord[] = new Array(header.count);
  let at = HEADER_BYTES;
  let offset = header.first;
  const varint = (): number => {
    let byte = sealed[at++]!;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 128;
    do {
      byte = sealed[at++]!;
      value += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80);
    return value;
  };
  const bytes = (): Buffer => {
    const size = varint();
    at += size;
    return sealed.subarray(at - size, at);
  };
  for (let i = 0; i < header.count; i++) {
    const flags = sealed[at++]!;
    if (flags & HAS_GAP) offset += varint();
    let timestamp = firstTime;
    if (flags & HAS_TIME) {
      const coded = varint();
      timestamp += coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2;
    }
    const recordKey = flags & HAS_KEY ? bytes() : null;
    const value = flags & HAS_VALUE ? bytes() : null;
    let headers: RawRecord['headers'];
    if (flags & HAS_HEADERS) {
      const read: Record<string, Buffer | Buffer[]> = Object.create(null);
      for (let left = varint(); left > 0; left--) {
        const name = bytes().toString('utf8');
        const content = bytes();
        const before = read[name];
        read[name] = before === undefined ? content : Array.isArray(before) ? [...before, content] : [before, content];
      }
      headers = read;
    }
    records[i] = { offset, key: recordKey, value, timestamp, headers };
    offset++;
  }
  if (at !== sealed.length || offset > header.last + 1) return undefined;
  return { ...header, records };
}
