// `foreshard train`: trains the global LSTM on synthetic series and on traces, or refines existing weights, and writes
// them to a file. The same seed, series and rounds give the same bytes.

import { accessSync, constants } from 'node:fs';
import { basename, dirname } from 'node:path';
import { readWeights } from '../config/edge/weights-file.ts';
import { type WeightsCard, weightsText } from '../config/lstm-weights.ts';
import { randomFrom } from '../evaluation/random.ts';
import { parseTrace } from '../evaluation/trace.ts';
import { gridOf } from '../processors/forecast/grid.ts';
import { syntheticSeries } from '../processors/forecast/lstm/synthetic-series.ts';
import { type TrainingProgress, train, UPDATES_IN_ROUND } from '../processors/forecast/lstm/trainer.ts';
import { type RateSeries, type TrainingSeries, trainingSeriesOf } from '../processors/forecast/lstm/training-series.ts';
import { AppError } from '../schemas/errors.ts';
import { textIn, write } from './files.ts';
import type { Output } from './output.ts';
import { numberText } from './text.ts';
import { watch } from './watched.ts';

export interface TrainCommand {
  readonly files: readonly string[];
  readonly out: string;
  readonly from?: string;
  readonly made?: number;
  readonly trust?: number;
  readonly rounds: number;
  readonly seed: number;
}

/** Twelve of every family, in steps of a minute to an hour. */
export const MADE_SERIES = 144;
/** With more rounds the shipped weights hardly improved. */
export const ROUNDS = 80;
/** The name of the package's own weights for `--from`. */
const SHIPPED = 'shipped';
/** A trace must have enough rows to learn from and to judge. */
const ROWS_MIN = 200;
/** A forecast reaches a day ahead, but not further than this share of the trace. */
const HORIZON_SHARE = 0.1;
/**
 * The share of the correction learned from synthetic series that is kept; the rest is the untrained rule. Real series
 * are only partly like synthetic ones (on the traces of the backtest 0.35 and 0.6 are as good; 1 is worse a day ahead).
 * From traces, which are what will be forecast, all of it is kept.
 */
const MADE_TRUST = 0.5;
/** Initial learning rate of refining: smaller, so that what was learned before is kept. */
const REFINING_RATE = 0.001;
const BAR = '{bar} {percentage} %  {what}';

export async function trainWeights(command: TrainCommand, output: Output): Promise<void> {
  const { files, seed, rounds } = command;
  const from = command.from === undefined ? undefined : readWeights(command.from === SHIPPED ? '' : command.from);
  const traced = files.flatMap(seriesIn);
  const made = command.made ?? (files.length === 0 ? MADE_SERIES : 0);
  if (made + traced.length === 0) throw new AppError('CONFIG_INVALID', 'name a trace, or give --made a number above 0');
  checkWritable(command.out);
  const random = randomFrom(seed);
  const count = made + traced.length;
  output.line(`Reading ${numberText(count)} series.`);
  output.begin(count, BAR, { what: '' });
  const series = await watch(lessonsOf(made, traced, random), (done) =>
    output.progress(done, { what: `${done} of ${count} series` }),
  );
  output.end();
  const trust = command.trust ?? (traced.length === 0 ? MADE_TRUST : 1);
  const options = { rounds, trust, ...(from === undefined ? {} : { from: from.weights, rate: REFINING_RATE }) };
  output.begin(rounds, BAR, { what: '' });
  const trained = await watch(train(series, options, random), (progress) =>
    output.progress(progress.round, { what: roundText(progress) }),
  );
  output.end();
  const scores = { before: trained.before, after: trained.after };
  const card: WeightsCard = {
    data: [
      ...(from === undefined ? [] : [`refined from: ${from.card.data} (seed ${from.card.seed})`]),
      ...(made === 0 ? [] : [`${made} made series`]),
      ...files.map((file) => `trace ${basename(file)}`),
    ].join('; '),
    seed,
    protocol:
      `${rounds} rounds of ${UPDATES_IN_ROUND} updates at most, best round kept, trust ${trust}; judged on the last fifth of each ` +
      'series and on every eighth series as a whole, errors relative to the usual ones of the untrained rule',
    scores,
  };
  write(command.out, weightsText(card, trained.weights));
  output.json({ out: command.out, ...card, rounds: trained.rounds });
  output.lines([
    `Validation error, relative to the rule that needs no learning: ${numberText(scores.before, 3)} before, ${numberText(scores.after, 3)} after ${trained.rounds} rounds.`,
    `The weights are in ${command.out}. Refine them with \`foreshard train TRACE --from ${command.out}\`.`,
  ]);
}

/** Throws TRACE_INVALID, naming the file and the line. */
function seriesIn(file: string): RateSeries[] {
  const { stepSeconds, seconds, values } = parseTrace(textIn(file, 'TRACE_INVALID'), file);
  const rows = seconds.length;
  if (rows < ROWS_MIN)
    throw new AppError('TRACE_INVALID', `${file} has ${rows} rows; to learn from it takes ${ROWS_MIN}`, { file, rows });
  const stepMs = stepSeconds * 1_000;
  const horizonSteps = Math.min(gridOf({ stepMs, horizonSteps: 1 }).season, Math.floor(rows * HORIZON_SHARE));
  const grid = gridOf({ stepMs, horizonSteps });
  return values.map((rates) => ({ grid, rates }));
}

/** Checks this before the work is done, not after it. Throws CONFIG_INVALID. */
function checkWritable(file: string): void {
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch (cause) {
    throw new AppError('CONFIG_INVALID', `${file} cannot be written: ${(cause as Error).message}`, { file }, cause);
  }
}

/** Yields how many there are so far. */
function* lessonsOf(
  made: number,
  traced: readonly RateSeries[],
  random: () => number,
): Generator<number, readonly TrainingSeries[]> {
  const series: TrainingSeries[] = [];
  while (series.length < made + traced.length) {
    const number = series.length;
    series.push(trainingSeriesOf(number < made ? syntheticSeries(number, random) : traced[number - made]!));
    yield series.length;
  }
  return series;
}

const roundText = ({ round, rounds, validationError, bestError }: TrainingProgress): string =>
  `round ${round} of ${rounds}  error ${numberText(validationError, 3)}  best ${numberText(bestError, 3)}`;
