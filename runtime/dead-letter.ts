// Dead letters: a refused record as it came, with the reason. The headers are those of Kafka Streams' dead letter queue
// (KIP-1034), so that tools which know them work here, and our own for the code and the stage.

import type { Refusal } from '../schemas/errors.ts';
import type { Offset, Partition } from '../schemas/ids.ts';
import { deadLetters } from '../topology/topics.ts';
import type { OutRecord, RawRecord } from './ports.ts';

/**
 * 1 MiB, Kafka's default record limit. A longer value was compressed when it came; its beginning is kept, and its size
 * is stated.
 */
export const DEAD_VALUE_BYTES_MAX = 1 << 20;
/** Most headers that are kept. */
const DEAD_HEADERS_MAX = 64;
const DEAD_HEADER_BYTES_MAX = 4096;
const DEAD_KEY_BYTES_MAX = 1 << 16;

export interface Origin {
  readonly topic: string;
  readonly partition: Partition;
  readonly group: string;
}

/** The record for the `dead-letters` topic. Its size is bounded, whatever came in. */
export function deadLetter(record: RawRecord, refusal: Refusal, origin: Origin): OutRecord {
  const value = record.value;
  const headers: Record<string, Buffer | string | readonly (Buffer | string)[]> = {
    ...keptHeaders(record.headers),
    '__streams.errors.exception': refusal.code,
    '__streams.errors.message': refusal.reason,
    '__streams.errors.stacktrace': '',
    '__streams.errors.topic': origin.topic,
    '__streams.errors.partition': String(origin.partition),
    '__streams.errors.offset': String(record.offset),
    'foreshard.code': refusal.code,
    'foreshard.group': origin.group,
    'foreshard.timestamp': String(record.timestamp),
  };
  if (value !== null && value.length >= 5 && value[0] === 0)
    headers['foreshard.schema-id'] = String(value.readUInt32BE(1));
  if (value !== null && value.length > DEAD_VALUE_BYTES_MAX) headers['foreshard.value-bytes'] = String(value.length);
  return {
    topic: deadLetters.name,
    partition: 0,
    key: record.key === null ? null : record.key.subarray(0, DEAD_KEY_BYTES_MAX),
    value: value === null ? null : value.subarray(0, DEAD_VALUE_BYTES_MAX),
    headers,
  };
}

/** The contents of a dead letter. */
export interface Letter {
  /** Its offset in the dead-letters topic, by which it is named. */
  readonly number: Offset;
  readonly code: string;
  readonly reason: string;
  /** Where the record came from. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: Offset;
  readonly timestamp: number;
  readonly key: string | null;
  readonly sizeBytes: number;
}

/** Reads a record of the topic. In a record that somebody else wrote, fields that cannot be known are empty or 0. */
export function letterOf(record: RawRecord): Letter {
  return {
    number: record.offset,
    code: headerOf(record, 'foreshard.code'),
    reason: headerOf(record, '__streams.errors.message'),
    topic: headerOf(record, '__streams.errors.topic'),
    partition: numberIn(record, '__streams.errors.partition'),
    offset: numberIn(record, '__streams.errors.offset'),
    timestamp: numberIn(record, 'foreshard.timestamp'),
    key: record.key?.toString('utf8') ?? null,
    sizeBytes: record.value?.length ?? 0,
  };
}

export function headerOf(record: RawRecord, name: string): string {
  const value = record.headers?.[name];
  return value === undefined ? '' : String(Array.isArray(value) ? value[0] : value);
}

const numberIn = (record: RawRecord, name: string): number => {
  const number = Number(headerOf(record, name));
  return Number.isSafeInteger(number) ? number : 0;
};

function keptHeaders(headers: RawRecord['headers']): Record<string, Buffer | string | readonly (Buffer | string)[]> {
  const kept: Record<string, Buffer | string | readonly (Buffer | string)[]> = {};
  let count = 0;
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (value === undefined || sizeOf(name) + sizeOf(value) > DEAD_HEADER_BYTES_MAX) continue;
    if (++count > DEAD_HEADERS_MAX) break;
    Object.defineProperty(kept, name, { value, enumerable: true, configurable: true, writable: true });
  }
  return kept;
}

function sizeOf(value: Buffer | string | readonly (Buffer | string)[]): number {
  if (typeof value === 'string' || Buffer.isBuffer(value)) return value.length;
  return (value as readonly (Buffer | string)[]).reduce((sum, each) => sum + each.length, 0);
}
