// Protocol series: the part that all protocols have in common for a series: its file, its seasons, and the first row
// that is judged.

import { type Static, Type } from 'typebox';
import { AppError } from '../schemas/errors.ts';
import { positive, protocolProblem, text, whole } from './protocol-file.ts';
import type { Trace } from './trace.ts';

export interface ProtocolSeries {
  readonly dataset: string;
  readonly file: string;
  readonly series: string;
  readonly rows: number;
  readonly stepSeconds: number;
  /** A day in steps; `longSeason` is a week. */
  readonly season: number;
  readonly longSeason: number;
  /** Rows that the reference models learn from. */
  readonly fitWindow: number;
  /** The first row that is judged. */
  readonly testStart: number;
}

/** The fields of a series in a file. */
export const SERIES_FIELDS = {
  n: whole,
  season: whole,
  file: text,
  dataset: text,
  series: text,
  step_seconds: positive,
  season2: whole,
  fit_window: whole,
  test_start: whole,
};
const series = Type.Object(SERIES_FIELDS);

/** A series as a file has it; `refuse` makes the error for a field of it. Throws PROTOCOL_INVALID. */
export function protocolSeriesOf(given: Static<typeof series>, refuse: SeriesRefusal): ProtocolSeries {
  const { file, dataset, n: rows, season } = given;
  if (/[/\\]/.test(file)) throw refuse('file', 'must be the name of a file in the folder of the traces');
  return {
    dataset,
    file,
    series: given.series,
    rows,
    stepSeconds: given.step_seconds,
    season,
    longSeason: given.season2,
    fitWindow: given.fit_window,
    testStart: given.test_start,
  };
}

export type SeriesRefusal = (field: string, text: string) => AppError;

/** Makes errors for fields of the series at `index` in a file. */
export const seriesRefusal =
  (file: string, index: number): SeriesRefusal =>
  (field, text) =>
    protocolProblem(file, `series[${index}].${field}`, text);

/**
 * The values of a protocol's series. Throws PROTOCOL_INVALID when the trace is not the one that the protocol describes.
 */
export function valuesOf(trace: Trace, series: ProtocolSeries, protocolFile: string): Float64Array {
  const problem = (text: string): AppError =>
    new AppError('PROTOCOL_INVALID', `${protocolFile}: ${series.file} ${text}`, {
      file: protocolFile,
      trace: series.file,
    });
  const values = trace.values[trace.series.indexOf(series.series)];
  if (values === undefined) throw problem(`has no series ${series.series}; its series are ${trace.series.join(', ')}`);
  if (values.length !== series.rows) throw problem(`has ${values.length} rows, not ${series.rows}`);
  if (trace.stepSeconds !== series.stepSeconds)
    throw problem(`has a step of ${trace.stepSeconds} s, not ${series.stepSeconds} s`);
  return values;
}
