// Scores of policies: as rows, as CSV in a shared format, and as means.
//
//   S1. The CSV has the digits of the reference scores; as there, ratios are computed from the printed hours.
//   S2. A mean is taken over the series of each data set first, then over the data sets.

import { AppError } from '../../schemas/errors.ts';
import type { Score } from './resource.ts';

export interface ScoreRow extends Score {
  readonly dataset: string;
  readonly series: string;
  readonly policy: string;
  /** Shard-hours divided by the oracle's. */
  readonly vsOracle: number;
}

export interface PolicyMean {
  readonly policy: string;
  readonly vsOracle: number;
  readonly underPercent: number;
  readonly lostPercent: number;
  readonly shardHours: number;
}

/** A column: its name in the file, its field, and the digits after the decimal point with which scores are compared. */
const COLUMNS = [
  ['shard_hours', 'shardHours', 2],
  ['under_pct', 'underPercent', 3],
  ['lost_pct', 'lostPercent', 4],
  ['hours', 'hours', 2],
  ['vs_oracle', 'vsOracle', 3],
] as const;
const KEYS = ['dataset', 'series', 'policy'] as const;
export const HEADER = [...KEYS, ...COLUMNS.map(([name]) => name)];

/** A row of rounded scores (S1). */
export function rowOf(
  { dataset, series }: { readonly dataset: string; readonly series: string },
  policy: string,
  score: Score,
  oracleHours: number,
): ScoreRow {
  const ratio = rounded(score.shardHours, 2) / rounded(oracleHours, 2);
  const row: ScoreRow = { dataset, series, policy, ...score, vsOracle: ratio };
  return { ...row, ...Object.fromEntries(COLUMNS.map(([, field, digits]) => [field, rounded(row[field], digits)])) };
}

export function scoreFile(rows: readonly ScoreRow[]): string {
  const lines = rows.map((row) =>
    [...KEYS.map((key) => row[key]), ...COLUMNS.map(([, field]) => decimal(row[field]))].join(','),
  );
  return `${[HEADER.join(','), ...lines].join('\n')}\n`;
}

/** Parses the rows of such a file. Throws PROTOCOL_INVALID, naming the file and the line. */
export function parseScores(text: string, file: string): ScoreRow[] {
  const lines = text.split(/\r?\n/).filter((line) => line !== '');
  const fail = (line: number, problem: string): never => {
    throw new AppError('PROTOCOL_INVALID', `${file}, line ${line}: ${problem}`, { file, line });
  };
  if (lines[0] !== HEADER.join(',')) fail(1, `the header must be ${HEADER.join(',')}`);
  return lines.slice(1).map((line, index) => {
    const cells = line.split(',');
    if (cells.length !== HEADER.length) fail(index + 2, `expected ${HEADER.length} cells, found ${cells.length}`);
    const numbers = COLUMNS.map(([name, field], column) => {
      const cell = cells[KEYS.length + column]!;
      const value = cell.trim() === '' ? Number.NaN : Number(cell);
      if (!Number.isFinite(value)) fail(index + 2, `${name} is not a number: ${JSON.stringify(cell.slice(0, 40))}`);
      return [field, value] as const;
    });
    const [dataset, series, policy] = cells as [string, string, string];
    return { dataset, series, policy, ...(Object.fromEntries(numbers) as Omit<ScoreRow, (typeof KEYS)[number]>) };
  });
}

/** Means over the data sets (S2) of each policy, in the order of the rows. */
export function meansOf(rows: readonly ScoreRow[]): PolicyMean[] {
  return [...groupedBy(rows, ({ policy }) => policy)].map(([policy, ofPolicy]) => {
    const datasets = [...groupedBy(ofPolicy, ({ dataset }) => dataset).values()];
    const mean = (field: Exclude<keyof PolicyMean, 'policy'>): number =>
      average(datasets.map((ofDataset) => average(ofDataset.map((row) => row[field]))));
    return {
      policy,
      vsOracle: mean('vsOracle'),
      underPercent: mean('underPercent'),
      lostPercent: mean('lostPercent'),
      shardHours: mean('shardHours'),
    };
  });
}

const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function groupedBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Always with a decimal point, as in the reference scores. */
const decimal = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : String(value));
