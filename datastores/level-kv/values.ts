// Values of the LevelDB store: 27 bytes for a row, whatever its broker is called.
//
//   offset  size
//        0     1  format of the value
//        1     1  bits 0-1 qos, bit 2 gone
//        2     4  the broker's id in the store's own table
//        6     5  incarnation of the version, below 2^40
//       11     8  offset of the version, as a double: exact below 2^53
//       19     8  event time, as a double

import { AppError } from '../../schemas/errors.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionRow, Version } from '../../state/effects.ts';
import type { RowPlace } from '../rows.ts';

const ROW_FORMAT = 1;
const ROW_BYTES = 27;
const GONE = 4;

export function encodeRow(row: SubscriptionRow, broker: number): Buffer {
  const value = Buffer.allocUnsafe(ROW_BYTES);
  value[0] = ROW_FORMAT;
  value[1] = row.qos | (row.gone ? GONE : 0);
  value.writeUInt32BE(broker, 2);
  value.writeUIntBE(row.version.incarnation, 6, 5);
  value.writeDoubleBE(row.version.offset, 11);
  value.writeDoubleBE(row.at, 19);
  return value;
}

/** Throws STORE_CORRUPT. */
export function decodeRow(place: RowPlace, value: Buffer, brokers: readonly string[]): SubscriptionRow {
  const brokerId = brokers[checked(value).readUInt32BE(2)];
  if (brokerId === undefined) throw new AppError('STORE_CORRUPT', 'a row names a broker that the store does not know');
  return {
    filter: place.filter,
    clientId: place.clientId,
    brokerId,
    qos: value[1]! & 3,
    version: versionOf(value),
    gone: isGone(value),
    at: eventTime(timeOf(value)),
  };
}

export function versionOf(value: Buffer): Version {
  return { incarnation: checked(value).readUIntBE(6, 5), offset: value.readDoubleBE(11) };
}

export const isGone = (value: Buffer): boolean => (checked(value)[1]! & GONE) !== 0;
export const timeOf = (value: Buffer): number => checked(value).readDoubleBE(19);

function checked(value: Buffer): Buffer {
  if (value.length !== ROW_BYTES || value[0] !== ROW_FORMAT) {
    throw new AppError('STORE_CORRUPT', 'a row of the store cannot be read', {
      sizeBytes: value.length,
      format: value[0],
    });
  }
  return value;
}
