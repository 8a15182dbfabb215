// Protocol: which series of which files are provisioned, from which row on, and with what shards. Parsed strictly: a wrong
// field is named, not skipped. Fields that the rules of provisioning have no use for are left alone.

import { AppError } from '../../schemas/errors.ts';

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

/** The series of a parsed protocol file, in its order. Throws PROTOCOL_INVALID, naming the path of the field. */
export function protocolOf(value: unknown): readonly ProtocolSeries[] {
  const list = member(value, 'series', '');
  if (!Array.isArray(list) || list.length === 0) throw invalid('series', 'must be a list of at least one series');
  return list.map((each, index) => seriesOf(each, `series[${index}]`));
}

function seriesOf(value: unknown, path: string): ProtocolSeries {
  const text = (field: string): string => {
    const found = member(value, field, path);
    if (typeof found !== 'string' || found === '') throw invalid(`${path}.${field}`, 'must be a text');
    return found;
  };
  const whole = (field: string, min: number): number => {
    const found = member(value, field, path);
    if (!Number.isSafeInteger(found) || (found as number) < min)
      throw invalid(`${path}.${field}`, `must be a whole number from ${min} on`);
    return found as number;
  };
  const rows = whole('n', 2);
  const season = whole('season', 1);
  const leadRows = whole('lead_points', 1);
  // From the first decision on there is a season to look back to, as far ahead as policies look.
  const testStart = whole('test_start', season * Math.ceil((2 * leadRows + 1) / season));
  if (testStart >= rows) throw invalid(`${path}.test_start`, `must be below n, ${rows}`);
  const shardCapacity = member(value, 'shard_capacity', path);
  if (typeof shardCapacity !== 'number' || !Number.isFinite(shardCapacity) || !(shardCapacity > 0))
    throw invalid(`${path}.shard_capacity`, 'must be a number above 0');
  const horizons = member(value, 'horizons', path);
  if (
    !Array.isArray(horizons) ||
    horizons.length === 0 ||
    !horizons.every((each) => Number.isSafeInteger(each) && each > 0)
  )
    throw invalid(`${path}.horizons`, 'must be a list of whole numbers above 0');
  return {
    dataset: text('dataset'),
    file: text('file'),
    series: text('series'),
    rows,
    stepSeconds: whole('step_seconds', 1),
    season,
    longSeason: whole('season2', 1),
    fitWindow: whole('fit_window', 1),
    testStart,
    horizon: Math.max(...horizons),
    shardCapacity,
    leadRows,
  };
}

function member(value: unknown, field: string, path: string): unknown {
  const at = path === '' ? field : `${path}.${field}`;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) throw invalid(at, 'is missing');
  return (value as Record<string, unknown>)[field];
}

const invalid = (path: string, problem: string): AppError =>
  new AppError('PROTOCOL_INVALID', `protocol: ${path} ${problem}`, { path });
