// Protocol: which series a backtest uses, at which rows it forecasts, how far, and by what errors are divided.
// Read from a file that others also score by, or made for one's own trace by the same rules.
//
//   P1. An origin is the row of the first value that is forecast; only what is before it may be known.
//   P2. Every origin has a season to look back to for each step ahead, and the steps ahead end within the trace.

import { type Static, Type } from 'typebox';
import { LEVELS } from '../../processors/forecast/combine/calibration.ts';
import { gridOf } from '../../processors/forecast/grid.ts';
import { AppError } from '../../schemas/errors.ts';
import { expectAscending, positive, protocolProblem, readProtocol, wholes } from '../protocol-file.ts';
import {
  type ProtocolSeries,
  protocolSeriesOf,
  SERIES_FIELDS,
  type SeriesRefusal,
  seriesRefusal,
} from '../protocol-series.ts';
import type { Trace } from '../trace.ts';

export interface SeriesProtocol extends ProtocolSeries {
  readonly origins: readonly number[];
  /** Three, ascending: the score of a horizon is over the steps 1 .. horizon. */
  readonly horizons: readonly number[];
  /** Errors are divided by this: the mean error of the seasonal naive forecast over the training rows. */
  readonly scale: number;
}

/** `sub` is every third origin: what slow models are scored on. */
export type OriginSet = 'all' | 'sub';
export const ORIGIN_SETS = ['all', 'sub'] as const;
const SUB_STRIDE = 3;

export const HORIZON_COUNT = 3;
export const horizonMax = ({ horizons }: SeriesProtocol): number => horizons.at(-1)!;

export const originsOf = ({ origins }: SeriesProtocol, set: OriginSet): readonly number[] =>
  set === 'all' ? origins : origins.filter((_, index) => index % SUB_STRIDE === 0);

const SERIES = Type.Object({ ...SERIES_FIELDS, horizons: wholes, origins: wholes, mase_scale: positive });
const FILE = Type.Object({ quantiles: Type.Array(Type.Number()), series: Type.Array(SERIES, { minItems: 1 }) });

/** The series of a protocol file, in its order. Throws PROTOCOL_INVALID naming the file and the field. */
export function parseProtocol(text: string, file: string): readonly SeriesProtocol[] {
  const given = readProtocol(FILE, text, file);
  const { quantiles } = given;
  if (quantiles.length !== LEVELS.length || quantiles.some((level, l) => level !== LEVELS[l]))
    throw protocolProblem(file, 'quantiles', `must be ${LEVELS.join(', ')}`);
  const series = given.series.map((each, index) => seriesOf(each, seriesRefusal(file, index)));
  for (const [index, { dataset, series: name }] of series.entries())
    if (series.findIndex((other) => other.dataset === dataset && other.series === name) !== index)
      throw protocolProblem(file, `series[${index}]`, `says ${dataset}/${name} a second time`);
  return series;
}

const ORIGINS = 24;
const MIDDLE_HORIZON = 12;
/** Longest horizon: a day of steps, within these bounds, which matter for steps of a second or of a week. */
const LONG_HORIZON_MIN = 24;
const LONG_HORIZON_MAX = 288;
/** Share of the rows that come before the test rows. */
const TRAINING_SHARE = 0.75;

/** A protocol for one series of a trace. Throws TRACE_INVALID when it is too short, or flat. */
export function protocolFor(trace: Trace, file: string, dataset: string, name: string): SeriesProtocol {
  const values = trace.values[trace.series.indexOf(name)]!;
  const { stepSeconds } = trace;
  const { season, longSeason } = gridOf({ stepMs: stepSeconds * 1000, horizonSteps: 1 });
  const long = Math.min(Math.max(season, LONG_HORIZON_MIN), LONG_HORIZON_MAX);
  // Two seasons to learn from, and one to look back to for every step ahead (P2); then space for the origins.
  const trainingMin = Math.max(2 * season, season * Math.ceil(long / season));
  const rowsMin = Math.max(Math.ceil(trainingMin / TRAINING_SHARE), 4 * (long + ORIGINS - 2) + 1);
  const rows = values.length;
  if (rows < rowsMin)
    throw new AppError(
      'TRACE_INVALID',
      `${file} has ${rows} rows; a backtest at a step of ${stepSeconds} s needs ${rowsMin}`,
      { file, rows, rowsMin },
    );
  const testStart = Math.floor(TRAINING_SHARE * rows);
  let scale = 0;
  for (let row = season; row < testStart; row++) scale += Math.abs(values[row]! - values[row - season]!);
  scale /= testStart - season;
  if (scale === 0)
    throw new AppError(
      'TRACE_INVALID',
      `${file}: ${name} repeats itself exactly every season up to line ${testStart + 1}: there is nothing to forecast`,
      { file, series: name },
    );
  let stride = Math.floor((rows - long - testStart) / (ORIGINS - 1));
  while (stride > 1 && divisor(stride, season) > season / 8) stride--; // Otherwise the origins would fall on a few times of the day only.
  return {
    dataset,
    file,
    series: name,
    rows,
    stepSeconds,
    season,
    longSeason,
    fitWindow: 2 * longSeason,
    testStart,
    origins: Array.from({ length: ORIGINS }, (_, index) => testStart + index * stride),
    horizons: [1, MIDDLE_HORIZON, long],
    scale,
  };
}

function seriesOf(given: Static<typeof SERIES>, refuse: SeriesRefusal): SeriesProtocol {
  const base = protocolSeriesOf(given, refuse);
  const { rows, season } = base;
  const { horizons, origins, mase_scale: scale } = given;
  expectAscending(horizons, 1, rows, (text) => refuse('horizons', text));
  if (horizons.length !== HORIZON_COUNT) throw refuse('horizons', `must be ${HORIZON_COUNT} numbers of steps`);
  const long = horizons.at(-1)!;
  expectAscending(origins, season * Math.ceil(long / season), rows - long, (text) => refuse('origins', text)); // P2
  return { ...base, origins, horizons, scale };
}

/** Greatest common divisor (Euclid). */
const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));
