// Trace: a CSV of rates over time (`t,<series>[,<series>...]`, t in Unix seconds, equally spaced), parsed strictly: a
// wrong line is an error that names it.

import { AppError } from '../schemas/errors.ts';

export interface Trace {
  readonly series: readonly string[];
  /** Unix seconds of each interval's start. */
  readonly seconds: Float64Array;
  readonly stepSeconds: number;
  /** One array for each series: the rate or count of each interval. */
  readonly values: readonly Float64Array[];
}

/** Throws TRACE_INVALID naming the file and the line. */
export function parseTrace(text: string, file: string): Trace {
  const lines = text.split(/\r?\n/);
  while (lines.length > 0 && lines[lines.length - 1] === '') lines.pop();
  const header = (lines[0] ?? '').split(',').map((cell) => cell.trim());
  if (header.length < 2 || header[0] !== 't') fail(file, 1, 'the header must be t,<series>[,<series>...]');
  if (lines.length < 3) fail(file, lines.length, 'a trace needs at least two rows');
  const rows = lines.length - 1;
  const seconds = new Float64Array(rows);
  const values = header.slice(1).map(() => new Float64Array(rows));
  for (let row = 0; row < rows; row++) {
    const cells = lines[row + 1]!.split(',');
    if (cells.length !== header.length) fail(file, row + 2, `expected ${header.length} cells, found ${cells.length}`);
    seconds[row] = numberIn(cells[0]!, file, row + 2, 't');
    for (let column = 1; column < cells.length; column++) {
      const value = numberIn(cells[column]!, file, row + 2, header[column]!);
      if (value < 0) fail(file, row + 2, `${header[column]} is negative`);
      values[column - 1]![row] = value;
    }
    if (row > 0 && !(seconds[row]! > seconds[row - 1]!)) fail(file, row + 2, 't must grow from row to row');
  }
  const stepSeconds = seconds[1]! - seconds[0]!;
  for (let row = 2; row < rows; row++) {
    if (Math.abs(seconds[row]! - seconds[row - 1]! - stepSeconds) > 1e-6)
      fail(file, row + 2, `t must be equally spaced by ${stepSeconds} s`);
  }
  return { series: header.slice(1), seconds, stepSeconds, values };
}

function numberIn(cell: string, file: string, line: number, column: string): number {
  const value = cell.trim() === '' ? Number.NaN : Number(cell);
  if (!Number.isFinite(value)) fail(file, line, `${column} is not a number: ${JSON.stringify(cell.slice(0, 40))}`);
  return value;
}

function fail(file: string, line: number, problem: string): never {
  throw new AppError('TRACE_INVALID', `${file}, line ${line}: ${problem}`, { file, line });
}
