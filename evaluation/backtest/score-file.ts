// Score file: score rows as CSV. Columns are found by name, so that files with other columns, or in another order, can
// be read too.

import { AppError } from '../../schemas/errors.ts';
import { ORIGIN_SETS, type OriginSet } from './protocol.ts';
import { MEASURES, type ScoreRow } from './score.ts';

export const SCORE_COLUMNS = ['dataset', 'series', 'model', 'set', 'horizon', ...MEASURES, 'seconds'] as const;

/** Significant digits with which scores are compared. */
const DIGITS = 5;

export function scoreFile(rows: readonly ScoreRow[]): string {
  const cell = (value: string | number): string =>
    typeof value === 'string' ? value : Number.isNaN(value) ? '' : String(Number(value.toPrecision(DIGITS)));
  const lines = rows.map((row) => SCORE_COLUMNS.map((column) => cell(row[column])).join(','));
  return `${[SCORE_COLUMNS.join(','), ...lines].join('\n')}\n`;
}

/** Rows of a file with these columns and any others. Throws PROTOCOL_INVALID naming the file and the line. */
export function parseScores(text: string, file: string): readonly ScoreRow[] {
  const lines = text.split(/\r?\n/);
  while (lines.at(-1) === '') lines.pop();
  const header = (lines[0] ?? '').split(',').map((cell) => cell.trim());
  const places = SCORE_COLUMNS.map((column) => header.indexOf(column));
  const missing = SCORE_COLUMNS.filter((_, index) => places[index]! < 0);
  if (missing.length > 0) fail(file, 1, `the header has no column ${missing.join(', ')}`);
  return lines.slice(1).map((line, index) => {
    const cells = line.split(',').map((cell) => cell.trim());
    if (cells.length !== header.length) fail(file, index + 2, `expected ${header.length} cells, found ${cells.length}`);
    const textIn = (column: (typeof SCORE_COLUMNS)[number]): string => cells[places[SCORE_COLUMNS.indexOf(column)]!]!;
    const numberIn = (column: (typeof SCORE_COLUMNS)[number]): number => {
      const cell = textIn(column);
      const value = cell === '' ? Number.NaN : Number(cell);
      if (cell !== '' && !Number.isFinite(value))
        fail(file, index + 2, `${column} is not a number: ${JSON.stringify(cell.slice(0, 40))}`);
      return value;
    };
    const set = textIn('set');
    if (!ORIGIN_SETS.includes(set as OriginSet)) fail(file, index + 2, `set must be ${ORIGIN_SETS.join(' or ')}`);
    return {
      dataset: textIn('dataset'),
      series: textIn('series'),
      model: textIn('model'),
      set: set as OriginSet,
      horizon: numberIn('horizon'),
      MASE: numberIn('MASE'),
      pinball90: numberIn('pinball90'),
      pinball99: numberIn('pinball99'),
      wQL: numberIn('wQL'),
      cover95: numberIn('cover95'),
      seconds: numberIn('seconds'),
    };
  });
}

function fail(file: string, line: number, problem: string): never {
  throw new AppError('PROTOCOL_INVALID', `${file}, line ${line}: ${problem}`, { file, line });
}
