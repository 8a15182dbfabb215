// Protocol series: what every protocol says of a series, whatever it is for: where it lies, how it repeats, and from which row
// on it is judged.

import { AppError } from '../schemas/errors.ts';
import { Fields } from './fields.ts';
import type { Trace } from './trace.ts';

export interface ProtocolSeries {
  readonly dataset: string;
  readonly file: string;
  readonly series: string;
  readonly rows: number;
  readonly stepSeconds: number;
  /** In steps: a day, and a week. */
  readonly season: number;
  readonly longSeason: number;
  /** Rows that the reference models learn from. */
  readonly fitWindow: number;
  /** The first row that is judged. */
  readonly testStart: number;
}

/** The fields of each series that the file lists. Throws PROTOCOL_INVALID when there is none. */
export function listedSeries(fields: Fields, file: string): Fields[] {
  const list = fields.list('series');
  if (list.length === 0) fields.fail('series', 'must not be empty');
  return list.map((each, index) => new Fields(each, file, `series[${index}]`));
}

export function protocolSeriesOf(fields: Fields): ProtocolSeries {
  const rows = fields.whole('n');
  const season = fields.whole('season');
  const file = fields.text('file');
  if (/[/\\]/.test(file)) fields.fail('file', 'must be the name of a file in the folder of the traces');
  return {
    dataset: fields.text('dataset'),
    file,
    series: fields.text('series'),
    rows,
    stepSeconds: fields.positive('step_seconds'),
    season,
    longSeason: fields.whole('season2'),
    fitWindow: fields.whole('fit_window'),
    testStart: fields.whole('test_start'),
  };
}

/** The values of a protocol's series. Throws PROTOCOL_INVALID when the trace is not the one that the protocol is about. */
export function valuesOf(trace: Trace, series: ProtocolSeries, protocolFile: string): Float64Array {
  const problem = (text: string): AppError =>
    new AppError('PROTOCOL_INVALID', `${protocolFile}: ${series.file} ${text}`, {
      file: protocolFile,
      trace: series.file,
    });
  const values = trace.values[trace.series.indexOf(series.series)];
  if (values === undefined) throw problem(`has no series ${series.series}, but ${trace.series.join(', ')}`);
  if (values.length !== series.rows) throw problem(`has ${values.length} rows, not ${series.rows}`);
  if (trace.stepSeconds !== series.stepSeconds)
    throw problem(`has a step of ${trace.stepSeconds} s, not ${series.stepSeconds} s`);
  return values;
}
