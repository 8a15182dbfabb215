// Compression: decompresses the batches of Kafka's producers. Pure; the output is bounded whatever the input is.
//
//   Z1. Bytes that are malformed, or that grow beyond `bytesMax`, give `undefined`; never a part of the output, never
//       an exception, and never more work than `bytesMax` bytes take.
//
// gzip is Node's own. zstd and snappy are small libraries in plain JavaScript. LZ4's frame format is read here, by its
// specification (github.com/lz4/lz4/doc, v1.6.2 and block format): no npm library reads it without a native compiler
// and within bounds. Checksums inside frames are not verified: the batch's own covers the same bytes (record-batch.ts
// B5).

import { gunzipSync } from 'node:zlib';
import { Decompress as ZstdStream } from 'fzstd';
import snappy from 'snappyjs';

/** By the codec number in a batch's attributes. */
const CODECS: readonly (((bytes: Buffer, bytesMax: number) => Buffer) | undefined)[] = [
  undefined,
  (bytes, bytesMax) => gunzipSync(bytes, { maxOutputLength: bytesMax }),
  unsnap,
  unlz4,
  unzstd,
];

export function decompress(codec: number, bytes: Buffer, bytesMax: number): Buffer | undefined {
  try {
    return CODECS[codec]?.(bytes, bytesMax);
  } catch {
    return undefined; // Z1
  }
}

class Unreadable extends Error {}

// ---- snappy ---------------------------------------------------------------------------------------------------------

/** Frame of Java's snappy producers: this magic, two version numbers, then blocks with their lengths. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

function unsnap(bytes: Buffer, bytesMax: number): Buffer {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return snappy.uncompress(bytes, bytesMax);
  const parts: Buffer[] = [];
  let left = bytesMax;
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    const size = bytes.readUInt32BE(at);
    at += 4;
    if (at + size > bytes.length) throw new Unreadable();
    const part = snappy.uncompress(bytes.subarray(at, at + size), left);
    left -= part.length;
    parts.push(part);
    at += size;
  }
  return Buffer.concat(parts);
}

// ---- zstd -----------------------------------------------------------------------------------------------------------

/** Producers write one frame of blocks of 128 KiB. The bound is arbitrary: each frame costs memory for its window. */
const ZSTD_BLOCKS_MAX = 4_096;

/** A block is at most 2 MiB, so `bytesMax` is exceeded by no more than that. */
function unzstd(bytes: Buffer, bytesMax: number): Buffer {
  const parts: Uint8Array[] = [];
  let size = 0;
  const stream = new ZstdStream((part) => {
    size += part.length;
    if (size > bytesMax || parts.length >= ZSTD_BLOCKS_MAX) throw new Unreadable();
    parts.push(part);
  });
  stream.push(bytes, true);
  return Buffer.concat(parts);
}

// ---- LZ4 ------------------------------------------------------------------------------------------------------------

const LZ4_MAGIC = 0x184d2204;
const LZ4_VERSION = 0x40;
const HAS_BLOCK_CHECKSUM = 0x10;
const HAS_CONTENT_SIZE = 0x08;
const HAS_CONTENT_CHECKSUM = 0x04;
const HAS_DICTIONARY = 0x01;
const IS_STORED = 0x8000_0000;
const MATCH_BYTES_MIN = 4;
/** The format's largest block. */
const LZ4_BLOCK_BYTES_MAX = 4 << 20;

function unlz4(bytes: Buffer, bytesMax: number): Buffer {
  const out = new Growing(bytesMax);
  for (let at = 0; at < bytes.length; ) {
    if (bytes.readUInt32LE(at) !== LZ4_MAGIC) throw new Unreadable();
    const flags = bytes[at + 4]!;
    if ((flags & 0xc0) !== LZ4_VERSION || flags & HAS_DICTIONARY) throw new Unreadable();
    at += 4 + 2 + (flags & HAS_CONTENT_SIZE ? 8 : 0) + 1;
    const frameStart = out.size;
    for (;;) {
      const word = bytes.readUInt32LE(at);
      at += 4;
      if (word === 0) break;
      const size = word & ~IS_STORED;
      if (at + size > bytes.length || size > LZ4_BLOCK_BYTES_MAX) throw new Unreadable();
      if (word & IS_STORED) out.append(bytes, at, at + size);
      else unlz4Block(bytes, at, at + size, out, frameStart);
      at += size + (flags & HAS_BLOCK_CHECKSUM ? 4 : 0);
    }
    if (flags & HAS_CONTENT_CHECKSUM) at += 4;
  }
  return out.written;
}

/** Matches may reach back across block borders, but not before the start of the frame. */
function unlz4Block(bytes: Buffer, from: number, end: number, out: Growing, frameStart: number): void {
  let at = from;
  /** A length: a nibble of 15 continues in further bytes, up to the first that is not 255. */
  const lengthOf = (nibble: number): number => {
    let length = nibble;
    if (nibble === 15)
      for (let byte = 255; byte === 255; ) {
        if (at >= end) throw new Unreadable();
        byte = bytes[at++]!;
        length += byte;
      }
    return length;
  };
  while (at < end) {
    const token = bytes[at++]!;
    const literals = lengthOf(token >>> 4);
    if (at + literals > end) throw new Unreadable();
    out.append(bytes, at, at + literals);
    at += literals;
    if (at === end) return; // The last sequence has no match.
    if (at + 2 > end) throw new Unreadable();
    const distance = bytes.readUInt16LE(at);
    at += 2;
    if (distance === 0 || out.size - distance < frameStart) throw new Unreadable();
    out.repeat(distance, lengthOf(token & 15) + MATCH_BYTES_MIN);
  }
}

/** Bytes that grow at their end, up to a bound. */
class Growing {
  size = 0;
  #bytes = Buffer.allocUnsafe(64 * 1024);
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.size);
  }

  append(from: Buffer, start: number, end: number): void {
    this.#makeRoom(end - start);
    this.size += from.copy(this.#bytes, this.size, start, end);
  }

  /** Appends `count` bytes copied from `distance` before the end; when the two overlap, the bytes repeat. */
  repeat(distance: number, count: number): void {
    this.#makeRoom(count);
    const bytes = this.#bytes;
    const start = this.size - distance;
    if (distance >= count) bytes.copyWithin(this.size, start, start + count);
    else for (let i = 0; i < count; i++) bytes[this.size + i] = bytes[start + i]!;
    this.size += count;
  }

  #makeRoom(count: number): void {
    const needed = this.size + count;
    if (needed > this.#bytesMax) throw new Unreadable();
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.size);
    this.#bytes = larger;
  }
}
