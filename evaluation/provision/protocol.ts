// Protocol: which series of which files are provisioned, from which row on, and with what shards. Checked strictly: a
// wrong field is an error that names it. Fields that the rules of provisioning do not use are ignored.

import { type Static, Type } from 'typebox';
import { expectAscending, positive, readProtocol, whole, wholes } from '../protocol-file.ts';
import {
  type ProtocolSeries,
  protocolSeriesOf,
  SERIES_FIELDS,
  type SeriesRefusal,
  seriesRefusal,
} from '../protocol-series.ts';

export interface ProvisionSeries extends ProtocolSeries {
  /** The longest forecast of the protocol, in rows. */
  readonly horizon: number;
  /** What one shard carries in one row. */
  readonly shardCapacity: number;
  /** Rows from a decision until it takes effect. */
  readonly leadRows: number;
}

const SERIES = Type.Object({ ...SERIES_FIELDS, horizons: wholes, shard_capacity: positive, lead_points: whole });
const FILE = Type.Object({ series: Type.Array(SERIES, { minItems: 1 }) });

/** The series of a protocol file, in its order. Throws PROTOCOL_INVALID naming the file and the field. */
export const parseProtocol = (text: string, file: string): readonly ProvisionSeries[] =>
  readProtocol(FILE, text, file).series.map((each, index) => seriesOf(each, seriesRefusal(file, index)));

function seriesOf(given: Static<typeof SERIES>, refuse: SeriesRefusal): ProvisionSeries {
  const base = protocolSeriesOf(given, refuse);
  const { rows, season, testStart } = base;
  const { horizons, shard_capacity: shardCapacity, lead_points: leadRows } = given;
  // From the first decision on there must be a season to look back to, as far ahead as policies look.
  const testStartMin = season * Math.ceil((2 * leadRows + 1) / season);
  if (testStart < testStartMin || testStart >= rows)
    throw refuse('test_start', `must be from ${testStartMin} to ${rows - 1}`);
  expectAscending(horizons, 1, rows, (text) => refuse('horizons', text));
  return { ...base, horizon: horizons.at(-1)!, shardCapacity, leadRows };
}
