// The traces of a protocol: each file is read once, and must match the protocol.

import { join } from 'node:path';
import { type ProtocolSeries, valuesOf } from '../evaluation/protocol-series.ts';
import { parseTrace, type Trace } from '../evaluation/trace.ts';
import { textIn } from './files.ts';

export interface SeriesCase<Series extends ProtocolSeries> {
  readonly series: Series;
  readonly values: Float64Array;
  readonly startSeconds: number;
}

/**
 * Every series with its values; `file` is the protocol's. Throws TRACE_INVALID or PROTOCOL_INVALID, naming the file.
 */
export function casesIn<Series extends ProtocolSeries>(
  protocol: readonly Series[],
  folder: string,
  file: string,
): SeriesCase<Series>[] {
  const traces = new Map<string, Trace>();
  return protocol.map((series) => {
    const path = join(folder, series.file);
    const trace = traces.get(path) ?? parseTrace(textIn(path, 'TRACE_INVALID'), path);
    traces.set(path, trace);
    return { series, values: valuesOf(trace, series, file), startSeconds: trace.seconds[0]! };
  });
}
