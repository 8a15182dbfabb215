// Protocol: which series of which files are provisioned, from which row on, and with what shards. Parsed strictly: a wrong
// field is named, not skipped. Fields that the rules of provisioning have no use for are left alone.

import { Fields } from '../fields.ts';
import { listedSeries, type ProtocolSeries, protocolSeriesOf } from '../protocol-series.ts';

export interface ProvisionSeries extends ProtocolSeries {
  /** The longest forecast of the protocol, in rows. */
  readonly horizon: number;
  /** What one shard carries in one row. */
  readonly shardCapacity: number;
  /** Rows from a decision until it takes effect. */
  readonly leadRows: number;
}

/** The series of a protocol file, in its order. Throws PROTOCOL_INVALID naming the file and the field. */
export const parseProtocol = (text: string, file: string): readonly ProvisionSeries[] =>
  listedSeries(Fields.of(text, file), file).map(seriesOf);

function seriesOf(fields: Fields): ProvisionSeries {
  const base = protocolSeriesOf(fields);
  const { rows, season, testStart } = base;
  const leadRows = fields.whole('lead_points');
  // From the first decision on there is a season to look back to, as far ahead as policies look.
  const testStartMin = season * Math.ceil((2 * leadRows + 1) / season);
  if (testStart < testStartMin || testStart >= rows)
    fields.fail('test_start', `must be from ${testStartMin} to ${rows - 1}`);
  return {
    ...base,
    horizon: fields.wholes('horizons', 1, rows).at(-1)!,
    shardCapacity: fields.positive('shard_capacity'),
    leadRows,
  };
}
