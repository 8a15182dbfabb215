// Outbox records: what lies in an outbox's files, as bytes.
//
//   file    'fs-outb1' | frame of a header | frames of events
//   frame   length, 4 | the same, inverted, 4 | crc32 of the payload, 4 | payload (state/binary.ts)
//
// Numbers of entries count from the first one that the outbox was ever given.

import { crc32 } from 'node:zlib';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import type { OutboxEntry } from '../outbox.ts';

/** Ends in the version of the format. */
export const MAGIC = Buffer.from('fs-outb1');
const FRAME_HEADER_BYTES = 12;

export interface FileHeader {
  /** Whose events these are. */
  readonly owner: string;
  /** Number of the file's first entry. */
  readonly first: number;
  /** The highest session epoch of all entries before. */
  readonly sessionEpoch: number;
}

/** Entries, and how far the log had all entries when they were written. Without entries, it only says that. */
export interface EventsFrame {
  /** Number of the oldest entry that the log may lack. */
  readonly removed: number;
  readonly entries: readonly OutboxEntry[];
}

export interface Framed {
  readonly payload: Buffer;
  readonly sizeBytes: number;
}

export function headerFrame({ owner, first, sessionEpoch }: FileHeader): Buffer {
  return frameOf(new BinaryWriter().text(owner).double(first).double(sessionEpoch).bytes());
}

export function headerIn(payload: Buffer): FileHeader {
  const reader = new BinaryReader(payload);
  return { owner: reader.text(), first: reader.double(), sessionEpoch: reader.double() };
}

export function eventsFrame({ removed, entries }: EventsFrame): Buffer {
  const writer = new BinaryWriter().double(removed).count(entries.length);
  for (const { topic, key, value, sessionEpoch } of entries)
    writer.text(topic).text(key).count(value.length).numbers(value).double(sessionEpoch);
  return frameOf(writer.bytes());
}

export function eventsIn(payload: Buffer): EventsFrame {
  const reader = new BinaryReader(payload);
  const removed = reader.double();
  const entries: OutboxEntry[] = [];
  for (let left = reader.count(); left > 0; left--) {
    const topic = reader.text();
    const key = reader.text();
    const value = reader.numbers(Buffer.alloc(reader.count()));
    entries.push({ topic, key, value, sessionEpoch: reader.double() });
  }
  return { removed, entries };
}

/** The frame that begins at this place; the number of bytes to read for it when these are too few; or `undefined` when none begins there. */
export function frameAt(bytes: Buffer, at: number): Framed | number | undefined {
  if (bytes.length - at < FRAME_HEADER_BYTES) return FRAME_HEADER_BYTES;
  const length = bytes.readUInt32LE(at);
  if (bytes.readUInt32LE(at + 4) !== ~length >>> 0) return undefined;
  const sizeBytes = FRAME_HEADER_BYTES + length;
  if (bytes.length - at < sizeBytes) return sizeBytes;
  const payload = bytes.subarray(at + FRAME_HEADER_BYTES, at + sizeBytes);
  return crc32(payload) === bytes.readUInt32LE(at + 8) ? { payload, sizeBytes } : undefined;
}

/** Whether a whole frame begins anywhere at or after this place. */
export function hasFrameFrom(bytes: Buffer, from: number): boolean {
  for (let at = from; at + FRAME_HEADER_BYTES <= bytes.length; at++) {
    const frame = frameAt(bytes, at);
    if (typeof frame === 'object') return true;
  }
  return false;
}

function frameOf(payload: Buffer): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt32LE(~payload.length >>> 0, 4);
  header.writeUInt32LE(crc32(payload), 8);
  return Buffer.concat([header, payload]);
}
