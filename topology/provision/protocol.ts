// Protocol: which series of which files are provisioned, from which row on, and with what shards. Parsed strictly: a wrong
// field is named, not skipped. Fields that the rules of provisioning have no use for are left alone.

import { Fields } from '../fields.ts';

export interface ProtocolSeries {
  readonly dataset: string;
  readonly file: string;
  readonly series: string;
  /** Rows of the series. */
  readonly rows: number;
  readonly stepSeconds: number;
  /** Rows of the short and of the long season. */
  readonly season: number;
  readonly longSeason: number;
  /** Rows that a reference forecast may learn from. */
  readonly fitWindow: number;
  /** First row that is scored. */
  readonly testStart: number;
  /** The longest forecast of the protocol, in rows. */
  readonly horizon: number;
  /** What one shard carries in one row. */
  readonly shardCapacity: number;
  /** Rows from a decision until it takes effect. */
  readonly leadRows: number;
}

/** The series of a protocol file, in its order. Throws PROTOCOL_INVALID naming the file and the field. */
export function parseProtocol(text: string, file: string): readonly ProtocolSeries[] {
  const fields = Fields.of(text, file);
  const list = fields.list('series');
  if (list.length === 0) fields.fail('series', 'must not be empty');
  return list.map((each, index) => seriesOf(new Fields(each, file, `series[${index}]`)));
}

function seriesOf(fields: Fields): ProtocolSeries {
  const rows = fields.whole('n');
  const season = fields.whole('season');
  const leadRows = fields.whole('lead_points');
  const testStart = fields.whole('test_start');
  // From the first decision on there is a season to look back to, as far ahead as policies look.
  const testStartMin = season * Math.ceil((2 * leadRows + 1) / season);
  if (testStart < testStartMin || testStart >= rows)
    fields.fail('test_start', `must be from ${testStartMin} to ${rows - 1}`);
  return {
    dataset: fields.text('dataset'),
    file: fields.text('file'),
    series: fields.text('series'),
    rows,
    stepSeconds: fields.positive('step_seconds'),
    season,
    longSeason: fields.whole('season2'),
    fitWindow: fields.whole('fit_window'),
    testStart,
    horizon: fields.wholes('horizons', 1, rows).at(-1)!,
    shardCapacity: fields.positive('shard_capacity'),
    leadRows,
  };
}
