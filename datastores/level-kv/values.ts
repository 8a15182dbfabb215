// Values of the LevelDB store: 27 bytes for a live row, however long its broker's name is, and more for a removed row.
//
//   offset  size
//        0     1  format of the value
//        1     1  bits 0-1 qos, bit 2 gone
//        2     4  the broker's id in the store's own table
//        6     5  incarnation of the version, below 2^40
//       11     8  offset of the version, as a double: exact below 2^53
//       19     8  event time, as a double
//
// Format 2, for removed rows and for rows with removals by other brokers, continues:
//
//       27     1  1 when the version of the removed subscription follows, else 0
//             13  that version, as above
//              1  how many removals by other brokers follow
//             25  each: the broker's id, its version, its event time, as above
//
// Format 3, for rows with options: 4 bytes of options (state/subscription-options.ts) at 27, followed by what
// format 2 has there. An earlier release takes such a row for corrupt.
//
// A removed row of format 1 was written by an earlier release: merge.ts says how it is read.

import { AppError } from '../../schemas/errors.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { Removal, SubscriptionRow, Version } from '../../state/effects.ts';
import { packOptions, unpackOptions } from '../../state/subscription-options.ts';
import type { RowPlace } from '../rows.ts';

const SHORT_FORMAT = 1;
const LONG_FORMAT = 2;
const OPTIONS_FORMAT = 3;
const ROW_BYTES = 27;
const OPTIONS_BYTES = 4;
const VERSION_BYTES = 13;
const REMOVAL_BYTES = 25;
const GONE = 4;

/** `brokerOf` returns a broker's id in the store's own table. */
export function encodeRow(row: SubscriptionRow, brokerOf: (name: string) => number): Buffer {
  const { since, others = [], options } = row;
  const isShort = !row.gone && row.others === undefined && options === undefined;
  const value = Buffer.allocUnsafe(isShort ? ROW_BYTES : longBytes(row));
  value[0] = isShort ? SHORT_FORMAT : options === undefined ? LONG_FORMAT : OPTIONS_FORMAT;
  value[1] = row.qos | (row.gone ? GONE : 0);
  value.writeUInt32BE(brokerOf(row.brokerId), 2);
  writeVersion(value, row.version, 6);
  value.writeDoubleBE(row.at, 19);
  if (isShort) return value;
  let at = options === undefined ? ROW_BYTES : value.writeUInt32BE(packOptions(options), ROW_BYTES);
  value[at++] = since === undefined ? 0 : 1;
  if (since !== undefined) at = writeVersion(value, since, at);
  value[at++] = others.length;
  for (const each of others) {
    at = value.writeUInt32BE(brokerOf(each.brokerId), at);
    at = writeVersion(value, each.version, at);
    at = value.writeDoubleBE(each.at, at);
  }
  return value;
}

/** Throws STORE_CORRUPT. */
export function decodeRow(place: RowPlace, value: Buffer, brokers: readonly string[]): SubscriptionRow {
  const gone = isGone(value);
  const version = versionAt(value, 6);
  const row = {
    filter: place.filter,
    clientId: place.clientId,
    brokerId: brokerAt(value, 2, brokers),
    qos: value[1]! & 3,
    version,
    gone,
    at: eventTime(value.readDoubleBE(19)),
  };
  if (value[0] === SHORT_FORMAT) return gone ? { ...row, since: version } : row;
  const options = value[0] === OPTIONS_FORMAT ? unpackOptions(value.readUInt32BE(ROW_BYTES)) : undefined;
  const restAt = endOf(value);
  const hasSince = value[restAt] === 1;
  const since = hasSince ? versionAt(value, restAt + 1) : undefined;
  const others: Removal[] = [];
  for (let at = restAt + (hasSince ? VERSION_BYTES : 0) + 2; at < value.length; at += REMOVAL_BYTES)
    others.push({
      brokerId: brokerAt(value, at, brokers),
      version: versionAt(value, at + 4),
      at: eventTime(value.readDoubleBE(at + 4 + VERSION_BYTES)),
    });
  return {
    ...row,
    ...(options === undefined ? {} : { options }),
    ...(since === undefined ? {} : { since }),
    ...(others.length === 0 ? {} : { others }),
  };
}

export const isGone = (value: Buffer): boolean => (checked(value)[1]! & GONE) !== 0;

/** Number of bytes beyond those of format 1. */
function longBytes({ options, since, others = [] }: Pick<SubscriptionRow, 'options' | 'since' | 'others'>): number {
  const fixed = ROW_BYTES + (options === undefined ? 0 : OPTIONS_BYTES);
  return fixed + 2 + (since === undefined ? 0 : VERSION_BYTES) + others.length * REMOVAL_BYTES;
}

/** The end of the part that all formats share, options included. */
const endOf = (value: Buffer): number => ROW_BYTES + (value[0] === OPTIONS_FORMAT ? OPTIONS_BYTES : 0);

/** Returns the index after the version. */
function writeVersion(value: Buffer, { incarnation, offset }: Version, at: number): number {
  return value.writeDoubleBE(offset, value.writeUIntBE(incarnation, at, 5));
}

const versionAt = (value: Buffer, at: number): Version => ({
  incarnation: value.readUIntBE(at, 5),
  offset: value.readDoubleBE(at + 5),
});

function brokerAt(value: Buffer, at: number, brokers: readonly string[]): string {
  const name = brokers[value.readUInt32BE(at)];
  if (name === undefined) throw new AppError('STORE_CORRUPT', 'a row names a broker that the store does not know');
  return name;
}

function checked(value: Buffer): Buffer {
  if (value[0] === SHORT_FORMAT && value.length === ROW_BYTES) return value;
  const restAt = endOf(value);
  if ((value[0] === LONG_FORMAT || value[0] === OPTIONS_FORMAT) && value.length >= restAt + 2) {
    const countAt = restAt + 1 + (value[restAt] === 1 ? VERSION_BYTES : 0);
    if (value.length === countAt + 1 + value[countAt]! * REMOVAL_BYTES) return value;
  }
  throw new AppError('STORE_CORRUPT', 'a row of the store cannot be read', {
    sizeBytes: value.length,
    format: value[0],
  });
}
