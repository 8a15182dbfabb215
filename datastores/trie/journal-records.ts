// Journal records: the records of a trie shard's journal as bytes, and the frame around each.
//
//   frame    length, 4 | the same, inverted, 4 | crc32 of the payload, 4 | payload payload  kind, 1 | fields
//   (state/binary.ts)
//
//   F1. A frame whose header or payload is incomplete is torn: the end of a write that was never acknowledged.
//   F2. A complete frame whose length or checksum does not match is corrupt, wherever it is.

import { crc32 } from 'node:zlib';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime, type SliceKey, shardId, sliceKey } from '../../schemas/ids.ts';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import type { OwnerRecord, Removal, SubscriptionRow } from '../../state/effects.ts';
import { packOptions, unpackOptions } from '../../state/subscription-options.ts';
import type { StoreIdentity } from '../identity.ts';
import type { RowPlace } from '../rows.ts';

export type JournalRecord =
  | { readonly kind: 'rows'; readonly rows: readonly SubscriptionRow[] }
  | { readonly kind: 'erased'; readonly places: readonly RowPlace[] }
  | { readonly kind: 'own'; readonly owner: OwnerRecord }
  | { readonly kind: 'disown'; readonly slice: SliceKey }
  /** The first record of a shard's store, and of each of its snapshots. */
  | { readonly kind: 'identity'; readonly identity: StoreIdentity }
  /** The last record of a snapshot. */
  | { readonly kind: 'end'; readonly records: number };

export const FRAME_HEADER_BYTES = 12;

const KINDS = ['rows', 'erased', 'own', 'disown', 'end', 'identity'] as const;
/**
 * Rows, some with options. A kind of its own: an earlier release refuses it; with the old kind it would misread the
 * rows.
 */
const ROWS_WITH_OPTIONS = KINDS.length;
const OWNER_STATES = ['owned', 'receiving', 'moved'] as const;
/** Added to an owner's state: a turn follows. Records of an earlier release have none. */
const HAS_TURN = 4;
/** Added to an owner's state: `until` follows. */
const HAS_UNTIL = 8;
const GONE = 4;
/** Flag: the version of the removed subscription follows. */
const SINCE = 8;
/**
 * Flag of a removed row without that: no subscription was seen. A removed row with neither flag was written by an
 * earlier release (merge.ts).
 */
const ALONE = 16;
/** Flag: removals by other brokers follow. */
const OTHERS = 32;
/** Flag: options follow, last. */
const OPTIONS = 64;

export function frameOf(record: JournalRecord): Buffer {
  const payload = encode(record);
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt32LE(~payload.length >>> 0, 4);
  header.writeUInt32LE(crc32(payload), 8);
  return Buffer.concat([header, payload]);
}

/** The length of the payload after this header. Throws STORE_CORRUPT (F2). */
export function payloadBytes(header: Buffer): number {
  const length = header.readUInt32LE(0);
  if (header.readUInt32LE(4) !== ~length >>> 0) throw corrupt('the length of a record does not match its check');
  return length;
}

/** Throws STORE_CORRUPT (F2). */
export function recordIn(header: Buffer, payload: Buffer): JournalRecord {
  if (crc32(payload) !== header.readUInt32LE(8)) throw corrupt('a record does not match its checksum');
  return decode(payload);
}

export const corrupt = (why: string, facts: Readonly<Record<string, unknown>> = {}): AppError =>
  new AppError('STORE_CORRUPT', `the journal of a trie shard cannot be trusted: ${why}`, facts);

function encode(record: JournalRecord): Buffer {
  const writer = new BinaryWriter().count(kindOf(record));
  switch (record.kind) {
    case 'rows':
      writer.count(record.rows.length);
      for (const row of record.rows) {
        writer.text(row.filter).text(row.clientId).text(row.brokerId);
        writer.count(row.qos | flagsOf(row)).count(row.version.incarnation);
        writer.double(row.version.offset).double(row.at);
        if (row.since !== undefined) writer.count(row.since.incarnation).double(row.since.offset);
        if (row.others !== undefined) {
          writer.count(row.others.length);
          for (const { brokerId, version, at } of row.others)
            writer.text(brokerId).count(version.incarnation).double(version.offset).double(at);
        }
        if (row.options !== undefined) writer.count(packOptions(row.options));
      }
      break;
    case 'erased':
      writer.count(record.places.length);
      for (const place of record.places) writer.text(place.filter).text(place.clientId);
      break;
    case 'own':
      writer.text(record.owner.slice);
      writer.count(OWNER_STATES.indexOf(record.owner.state) | ownerFlags(record.owner));
      writer.count(record.owner.epoch).text(record.owner.movedTo ?? '');
      if (record.owner.turn !== undefined) writer.count(record.owner.turn);
      if (record.owner.until !== undefined) writer.double(record.owner.until);
      break;
    case 'disown':
      writer.text(record.slice);
      break;
    case 'identity':
      writer.text(record.identity.instanceId).count(record.identity.partitions).count(record.identity.keyFormat);
      break;
    case 'end':
      writer.count(record.records);
  }
  return writer.bytes();
}

const kindOf = (record: JournalRecord): number =>
  record.kind === 'rows' && record.rows.some(({ options }) => options !== undefined)
    ? ROWS_WITH_OPTIONS
    : KINDS.indexOf(record.kind);

function flagsOf({ gone, since, others, options }: SubscriptionRow): number {
  const removed = gone ? GONE | (since === undefined ? ALONE : SINCE) : 0;
  return removed | (others === undefined ? 0 : OTHERS) | (options === undefined ? 0 : OPTIONS);
}

const ownerFlags = ({ turn, until }: OwnerRecord): number =>
  (turn === undefined ? 0 : HAS_TURN) | (until === undefined ? 0 : HAS_UNTIL);

function decode(payload: Buffer): JournalRecord {
  const reader = new BinaryReader(payload);
  const number = reader.count();
  const kind = number === ROWS_WITH_OPTIONS ? 'rows' : KINDS[number];
  switch (kind) {
    case 'rows':
      return { kind, rows: listOf(reader, rowIn) };
    case 'erased':
      return { kind, places: listOf(reader, () => ({ filter: reader.text(), clientId: reader.text() })) };
    case 'own':
      return { kind, owner: ownerIn(reader) };
    case 'disown':
      return { kind, slice: sliceKey(reader.text()) };
    case 'identity':
      return {
        kind,
        identity: { instanceId: reader.text(), partitions: reader.count(), keyFormat: reader.count() },
      };
    case 'end':
      return { kind, records: reader.count() };
    default:
      throw corrupt('a record is of an unknown kind');
  }
}

function listOf<Item>(reader: BinaryReader, item: (reader: BinaryReader) => Item): Item[] {
  const items: Item[] = [];
  for (let left = reader.count(); left > 0; left--) items.push(item(reader));
  return items;
}

function rowIn(reader: BinaryReader): SubscriptionRow {
  const filter = reader.text();
  const clientId = reader.text();
  const brokerId = reader.text();
  const flags = reader.count();
  const incarnation = reader.count();
  const offset = reader.double();
  const at = eventTime(reader.double());
  const version = { incarnation, offset };
  const gone = (flags & GONE) !== 0;
  const isAlone = (flags & ALONE) !== 0;
  const since = (flags & SINCE) === 0 ? version : { incarnation: reader.count(), offset: reader.double() };
  const others = (flags & OTHERS) === 0 ? [] : listOf(reader, removalIn);
  const options = (flags & OPTIONS) === 0 ? undefined : unpackOptions(reader.count());
  return {
    filter,
    clientId,
    brokerId,
    qos: flags & 3,
    gone,
    version,
    at,
    ...(gone && !isAlone ? { since } : {}),
    ...(others.length === 0 ? {} : { others }),
    ...(options === undefined ? {} : { options }),
  };
}

function removalIn(reader: BinaryReader): Removal {
  const brokerId = reader.text();
  const version = { incarnation: reader.count(), offset: reader.double() };
  return { brokerId, version, at: eventTime(reader.double()) };
}

function ownerIn(reader: BinaryReader): OwnerRecord {
  const slice = sliceKey(reader.text());
  const flags = reader.count();
  const state = OWNER_STATES[flags & ~(HAS_TURN | HAS_UNTIL)];
  if (state === undefined) throw corrupt('an owner record has an unknown state');
  const at = epoch(reader.count());
  const movedTo = reader.text();
  const turn = (flags & HAS_TURN) === 0 ? undefined : reader.count();
  const until = (flags & HAS_UNTIL) === 0 ? undefined : reader.double();
  return {
    slice,
    state,
    epoch: at,
    ...(movedTo === '' ? {} : { movedTo: shardId(movedTo) }),
    ...(turn === undefined ? {} : { turn }),
    ...(until === undefined ? {} : { until }),
  };
}
