// Record batches: Kafka's record format on the wire (magic 2, KIP-98), read and written. kafkajs can do both, but it
// decodes each record through several objects and 64-bit strings, and drops batches that compaction has emptied, whose
// offsets a reader needs to know how far it has come. Pure, and written for speed: test/log/kafka compares it with
// kafkajs's own codec.
//
//   B1. Offsets, timestamps and producer ids are plain numbers: they stay below 2^53.
//   B2. `nextOffset` covers control records, aborted records and batches emptied by compaction.
//   B3. Keys and values are views of the response's bytes, which stay in memory as long as anybody holds a view.
//   B4. A compressed batch that cannot be decompressed, or that is too large when decompressed, becomes one record of
//       its compressed bytes, which nobody can decode: it is dead-lettered like any other, and its partition continues.
//   B5. Nothing is read of a batch whose checksum (CRC-32C) does not match, nor of what follows it.
//   B6. One call decompresses a bounded number of bytes; where it stops, `nextOffset` says where to continue.
//   B7. One call returns records of one leader epoch; where another begins it stops in the same way.

import { crc32c } from '@node-rs/crc32';
import type { OutRecord, RawRecord } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset } from '../../schemas/ids.ts';
import { decompress } from './compression.ts';

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: Offset;
}

export interface DecodedRecords {
  readonly records: RawRecord[];
  /** Where to continue; the offset asked for when there was not one complete batch. */
  readonly nextOffset: Offset;
  /** True when the batch at `nextOffset` is damaged (B5). */
  readonly isCorrupt: boolean;
  /** Epoch of the leader that wrote all of these records (B7); `undefined` when there was not one complete batch. */
  readonly leaderEpoch: number | undefined;
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
const LEADER_EPOCH_AT = 12;
const CRC_AT = 17;
/** The checksum covers everything from here on: the fields that the leader fills in lie before it. */
const ATTRIBUTES_AT = 21;
/** The offset and length fields before the counted part of a batch. */
const PREFIX_BYTES = 12;
const COMPRESSION_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const NO_KEY = Buffer.alloc(0);
/** Producers fill batches of some KiB to a few MiB. A batch that is larger when decompressed is taken for an attack. */
const DECOMPRESSED_BYTES_MAX = 64 * 1024 * 1024;
/** At 8 bytes, the smallest record, a batch of the largest size that topics accept by default has fewer records. */
const BATCH_RECORDS_MAX = 1_000_000;

/**
 * The committed records from `from` on. Brokers list aborted transactions in the order of their ends, not their
 * beginnings.
 */
export function decodeRecords(bytes: Buffer, from: Offset, told: readonly AbortedTransaction[]): DecodedRecords {
  const aborted = told.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const records: RawRecord[] = [];
  const aborting = new Set<number>();
  let abortedNext = 0;
  let nextOffset = from;
  let decompressed = 0;
  let leaderEpoch: number | undefined;
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = bytes.readInt32BE(at + 8);
    const end = at + PREFIX_BYTES + length;
    if (end > bytes.length) break; // Cut off by the response's size limit; the next fetch returns it complete.
    const magic = bytes[at + 16]!;
    if (magic !== 2)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `records in format ${magic} are older than Kafka 0.11; rewrite the topic`,
        {
          magic,
        },
      );
    if (crc32c(bytes.subarray(at + ATTRIBUTES_AT, end)) !== bytes.readUInt32BE(at + CRC_AT))
      return { records, nextOffset, isCorrupt: true, leaderEpoch }; // B5
    if (decompressed >= DECOMPRESSED_BYTES_MAX) break; // B6
    const baseOffset = readInt64(bytes, at);
    const attributes = bytes.readInt16BE(at + 21);
    const lastOffset = baseOffset + bytes.readInt32BE(at + 23);
    if (lastOffset >= from) {
      const epoch = bytes.readInt32BE(at + LEADER_EPOCH_AT);
      if (epoch !== (leaderEpoch ?? epoch)) break; // B7
      leaderEpoch = epoch;
    }
    const producerId = readInt64(bytes, at + 43);
    for (; abortedNext < aborted.length && aborted[abortedNext]!.firstOffset <= lastOffset; abortedNext++)
      aborting.add(aborted[abortedNext]!.producerId);
    if (attributes & CONTROL) {
      if (isAbortMarker(bytes, at)) aborting.delete(producerId);
    } else if (lastOffset >= from && !(attributes & TRANSACTIONAL && aborting.has(producerId))) {
      decompressed += decodeBatch(bytes, at, end, baseOffset, attributes, from, records);
    }
    if (lastOffset >= nextOffset) nextOffset = lastOffset + 1; // B2
    at = end;
  }
  return { records, nextOffset, isCorrupt: false, leaderEpoch };
}

/** Adds a batch's records to `into`; returns how many bytes were decompressed. */
function decodeBatch(
  bytes: Buffer,
  at: number,
  end: number,
  baseOffset: Offset,
  attributes: number,
  from: Offset,
  into: RawRecord[],
): number {
  const count = bytes.readInt32BE(at + 57);
  const appendTime = attributes & LOG_APPEND_TIME ? readInt64(bytes, at + 35) : undefined;
  const baseTimestamp = readInt64(bytes, at + 27);
  const codec = attributes & COMPRESSION_MASK;
  const packed = bytes.subarray(at + HEADER_BYTES, end);
  const body =
    codec === 0 ? bytes : count > BATCH_RECORDS_MAX ? undefined : decompress(codec, packed, DECOMPRESSED_BYTES_MAX);
  if (body === undefined) {
    const offset = Math.max(baseOffset, from);
    into.push({ offset, key: NO_KEY, value: packed, timestamp: baseTimestamp, headers: undefined }); // B4
    return DECOMPRESSED_BYTES_MAX;
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
  return codec === 0 ? 0 : body.length;
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
  bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES_AT)), CRC_AT);
  return bytes;
}

/** Most bytes that a record takes in a batch; its position takes at most five. */
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
