// Record batches: Kafka's format of records on the wire (magic 2, KIP-98), read and written. kafkajs has both, but it
// decodes each record through several objects and 64-bit strings, and forgets batches that compaction has emptied, whose
// offsets a reader needs to know how far it has come. Pure, and written for speed: test/topology/edge/kafka holds it to
// kafkajs's own codec.
//
//   B1. Offsets, timestamps and producer ids are plain numbers: they stay below 2^53.
//   B2. `nextOffset` covers control records, aborted records and batches emptied by compaction.
//   B3. Keys and values are views of the response's bytes, valid as long as anybody holds them.
//   B4. A gzip batch that does not inflate, or to more than is sane, comes out as one record of its compressed bytes, which
//       nobody can decode: it is dead-lettered like any other, and its partition goes on.

import { gunzipSync } from 'node:zlib';
import { AppError } from '../../../schemas/errors.ts';
import type { Offset } from '../../../schemas/ids.ts';
import type { OutRecord, RawRecord } from '../../ports.ts';

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: Offset;
}

export interface DecodedRecords {
  readonly records: RawRecord[];
  /** Where to go on; the offset asked for when there was not one whole batch. */
  readonly nextOffset: Offset;
}

/** A record to be written. */
export interface WireRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: OutRecord['headers'] | undefined;
}

export interface ProducerState {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly transactional: boolean;
}

const HEADER_BYTES = 61;
/** The offset and length fields before the counted part of a batch. */
const PREFIX_BYTES = 12;
const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const GZIP = 1;
const NO_KEY = Buffer.alloc(0);
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];
/** No batch that a broker accepts is larger when decompressed, unless somebody means harm. */
const DECOMPRESSED_BYTES_MAX = 256 * 1024 * 1024;

/** The committed records from `from` on. `aborted` is ascending by first offset, as brokers send it. */
export function decodeRecords(bytes: Buffer, from: Offset, aborted: readonly AbortedTransaction[]): DecodedRecords {
  const records: RawRecord[] = [];
  const aborting = new Set<number>();
  let abortedNext = 0;
  let nextOffset = from;
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readInt32BE(at + 8);
    const end = at + PREFIX_BYTES + length;
    if (end > bytes.length) break; // The answer's size limit cut it off; the next fetch brings it whole.
    const magic = bytes[at + 16]!;
    if (magic !== 2)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `records in format ${magic} are older than Kafka 0.11; rewrite the topic`,
        {
          magic,
        },
      );
    const baseOffset = readInt64(bytes, at);
    const attributes = bytes.readInt16BE(at + 21);
    const lastOffset = baseOffset + bytes.readInt32BE(at + 23);
    const producerId = readInt64(bytes, at + 43);
    for (; abortedNext < aborted.length && aborted[abortedNext]!.firstOffset <= lastOffset; abortedNext++)
      aborting.add(aborted[abortedNext]!.producerId);
    if (attributes & CONTROL) {
      if (isAbortMarker(bytes, at)) aborting.delete(producerId);
    } else if (!(attributes & TRANSACTIONAL && aborting.has(producerId))) {
      decodeBatch(bytes, at, end, baseOffset, attributes, from, records);
    }
    if (lastOffset >= nextOffset) nextOffset = lastOffset + 1; // B2
    at = end;
  }
  return { records, nextOffset };
}

function decodeBatch(
  bytes: Buffer,
  at: number,
  end: number,
  baseOffset: Offset,
  attributes: number,
  from: Offset,
  into: RawRecord[],
): void {
  const count = bytes.readInt32BE(at + 57);
  const appendTime = attributes & LOG_APPEND_TIME ? readInt64(bytes, at + 35) : undefined;
  const baseTimestamp = readInt64(bytes, at + 27);
  const codec = attributes & COMPRESSION_MASK;
  const body = codec === 0 ? bytes : decompress(codec, bytes.subarray(at + HEADER_BYTES, end));
  if (body === undefined) {
    const value = bytes.subarray(at + HEADER_BYTES, end);
    into.push({ offset: Math.max(baseOffset, from), key: NO_KEY, value, timestamp: baseTimestamp, headers: undefined }); // B4
    return;
  }
  const cursor = new Cursor(body, codec === 0 ? at + HEADER_BYTES : 0);
  for (let i = 0; i < count; i++) {
    const length = cursor.varint();
    const recordEnd = cursor.at + length;
    cursor.at += 1; // Attributes of a record: unused.
    const timestampDelta = cursor.varint();
    const offset = baseOffset + cursor.varint();
    if (offset >= from) {
      const key = cursor.bytes();
      const value = cursor.bytes();
      into.push({
        offset,
        key,
        value,
        timestamp: appendTime ?? baseTimestamp + timestampDelta,
        headers: cursor.headers(),
      });
    }
    cursor.at = recordEnd;
  }
}

/** `undefined` when the bytes do not inflate within bounds. */
function decompress(codec: number, bytes: Buffer): Buffer | undefined {
  if (codec === GZIP) {
    try {
      return gunzipSync(bytes, { maxOutputLength: DECOMPRESSED_BYTES_MAX });
    } catch {
      return undefined;
    }
  }
  const name = CODECS[codec] ?? `number ${codec}`;
  throw new AppError(
    'TOPIC_MISCONFIGURED',
    `the topic holds records compressed with ${name}, which cannot be read here: set compression.type=uncompressed (or gzip) on the topic and write those records again`,
    { compression: name },
  );
}

/** A control record's key is (version, type); type 0 aborts. */
function isAbortMarker(bytes: Buffer, at: number): boolean {
  const cursor = new Cursor(bytes, at + HEADER_BYTES);
  cursor.varint();
  cursor.at += 1;
  cursor.varint();
  cursor.varint();
  const key = cursor.bytes();
  return key !== null && key.length >= 4 && key.readInt16BE(2) === 0;
}

class Cursor {
  at: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** A zigzag number of up to 53 bits. */
  varint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.at++]!;
    let value = byte & 0x7f;
    for (let scale = 128; byte & 0x80; scale *= 128) {
      byte = bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  bytes(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const view = this.#bytes.subarray(this.at, this.at + length);
    this.at += length;
    return view;
  }

  headers(): RawRecord['headers'] {
    const count = this.varint();
    if (count === 0) return undefined;
    const headers: Record<string, Buffer | (Buffer | string)[] | undefined> = Object.create(null);
    for (let i = 0; i < count; i++) {
      const name = String(this.bytes());
      const value = this.bytes() ?? undefined;
      const before = headers[name];
      if (before === undefined || value === undefined) headers[name] = value;
      else headers[name] = Array.isArray(before) ? [...before, value] : [before, value];
    }
    return headers;
  }
}

/** One batch of records in order, as a producer sends it. */
export function encodeBatch(records: readonly WireRecord[], producer: ProducerState, timestamp: number): Buffer {
  let size = HEADER_BYTES;
  for (let i = 0; i < records.length; i++) size += recordBytes(records[i]!, i).total;
  const bytes = Buffer.allocUnsafe(size);
  writeInt64(bytes, 0, 0);
  bytes.writeInt32BE(size - PREFIX_BYTES, 8);
  bytes.writeInt32BE(-1, 12); // The leader fills in its epoch.
  bytes[16] = 2;
  bytes.writeInt16BE(producer.transactional ? TRANSACTIONAL : 0, 21);
  bytes.writeInt32BE(records.length - 1, 23);
  writeInt64(bytes, 27, timestamp);
  writeInt64(bytes, 35, timestamp);
  writeInt64(bytes, 43, producer.producerId);
  bytes.writeInt16BE(producer.producerEpoch, 51);
  bytes.writeInt32BE(producer.baseSequence, 53);
  bytes.writeInt32BE(records.length, 57);
  let at = HEADER_BYTES;
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!;
    at = writeVarint(bytes, at, recordBytes(record, i).body);
    bytes[at++] = 0;
    at = writeVarint(bytes, at, 0); // All records of a batch have its time.
    at = writeVarint(bytes, at, i);
    at = writeBytes(bytes, at, record.key);
    at = writeBytes(bytes, at, record.value);
    const headers = headersOf(record);
    at = writeVarint(bytes, at, headers.length);
    for (const [name, value] of headers) at = writeBytes(bytes, writeBytes(bytes, at, name), value);
  }
  bytes.writeUInt32BE(crc32c(bytes, 21), 17);
  return bytes;
}

/** How many bytes a record takes in a batch at most; its position costs at most five. */
export const recordSizeMax = (record: WireRecord): number => recordBytes(record, 0x7fffffff).total;

function recordBytes(record: WireRecord, index: number): { readonly body: number; readonly total: number } {
  let body = 2 + varintBytes(index) + sizedBytes(record.key) + sizedBytes(record.value);
  const headers = headersOf(record);
  body += varintBytes(headers.length);
  for (const [name, value] of headers) body += sizedBytes(name) + sizedBytes(value);
  return { body, total: varintBytes(body) + body };
}

const NO_HEADERS: readonly (readonly [name: Buffer, value: Buffer])[] = [];

/** A header of several values is written as several headers of its name. */
function headersOf({ headers }: WireRecord): readonly (readonly [name: Buffer, value: Buffer])[] {
  if (headers === undefined) return NO_HEADERS;
  return Object.entries(headers).flatMap(([name, value]) => {
    const values = value === undefined ? [] : typeof value === 'string' || Buffer.isBuffer(value) ? [value] : value;
    return values.map((each) => [Buffer.from(name), typeof each === 'string' ? Buffer.from(each) : each] as const);
  });
}

const sizedBytes = (bytes: Buffer | null): number => (bytes === null ? 1 : varintBytes(bytes.length) + bytes.length);

function varintBytes(value: number): number {
  let size = 1;
  for (let rest = value * 2; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Writes a number that is not negative, or -1. */
function writeVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value < 0 ? 1 : value * 2;
  while (rest >= 128) {
    bytes[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  bytes[at++] = rest;
  return at;
}

function writeBytes(bytes: Buffer, at: number, value: Buffer | null): number {
  if (value === null) return writeVarint(bytes, at, -1);
  const start = writeVarint(bytes, at, value.length);
  value.copy(bytes, start);
  return start + value.length;
}

/** A 64-bit number below 2^53, or a negative one. */
export const readInt64 = (bytes: Buffer, at: number): number =>
  bytes.readInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);

export function writeInt64(bytes: Buffer, at: number, value: number): void {
  bytes.writeInt32BE(Math.floor(value / 0x1_0000_0000), at);
  bytes.writeUInt32BE(value < 0 ? value + 0x1_0000_0000 : value % 0x1_0000_0000, at + 4);
}

/** CRC-32C (Castagnoli), four bytes at a time by tables (slicing-by-4, Intel 2006). */
const CRC_TABLES = crcTables();

function crcTables(): readonly Int32Array[] {
  const tables = Array.from({ length: 4 }, () => new Int32Array(256));
  for (let i = 0; i < 256; i++) {
    let crc = i;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    tables[0]![i] = crc;
  }
  for (let i = 0; i < 256; i++)
    for (let t = 1; t < 4; t++) {
      const before = tables[t - 1]![i]!;
      tables[t]![i] = (before >>> 8) ^ tables[0]![before & 0xff]!;
    }
  return tables;
}

function crc32c(bytes: Buffer, from: number): number {
  const [t0, t1, t2, t3] = CRC_TABLES as readonly [Int32Array, Int32Array, Int32Array, Int32Array];
  let crc = -1;
  let at = from;
  for (const end = bytes.length - 3; at < end; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc = t3[crc & 0xff]! ^ t2[(crc >>> 8) & 0xff]! ^ t1[(crc >>> 16) & 0xff]! ^ t0[crc >>> 24]!;
  }
  for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
