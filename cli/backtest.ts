// `foreshard backtest`: measures the forecasts on the series of a protocol or on a user's trace, compared with naive
// references.
//
//   R1. The same input gives the same rows, except for the seconds taken.
//   R2. A file that cannot be written is reported before the forecasts are made, which takes minutes.

import { mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readWeights } from '../config/edge/weights-file.ts';
import { CONTENDER_NAMES, DEFAULT_CONTENDER, REFERENCE_NAMES } from '../evaluation/backtest/contenders.ts';
import { overviewPicture, type Pictured, seriesPicture } from '../evaluation/backtest/picture.ts';
import {
  type OriginSet,
  originsOf,
  parseProtocol,
  protocolFor,
  type SeriesProtocol,
} from '../evaluation/backtest/protocol.ts';
import {
  compare,
  compareDatasets,
  comparedTable,
  datasetTable,
  meansOf,
  meansTable,
  RATIO_MAX,
} from '../evaluation/backtest/report.ts';
import { type ScoreRow, scoresOf } from '../evaluation/backtest/score.ts';
import { parseScores, scoreFile } from '../evaluation/backtest/score-file.ts';
import { modelAt } from '../evaluation/edge/backtest-model.ts';
import { type BacktestForecasts, type BacktestTask, runBacktest } from '../evaluation/edge/backtest-worker.ts';
import { svgOf } from '../evaluation/edge/svg.ts';
import { parseTrace } from '../evaluation/trace.ts';
import { LSTM_NAME } from '../processors/forecast/models/lstm.ts';
import { AppError } from '../schemas/errors.ts';
import { attempt, claim, textIn, write } from './files.ts';
import type { Output } from './output.ts';
import { casesIn, type SeriesCase } from './protocol-traces.ts';
import { numberText, table } from './text.ts';

export interface BacktestCommand {
  /** A user's trace; without it `protocol` says what is scored. */
  readonly trace?: string;
  /** Series of the trace; by default all. */
  readonly series?: string;
  readonly protocol?: string;
  /** Folder of the protocol's traces; by default the protocol's own. */
  readonly traces?: string;
  /** A contender's name, or `all`, or the file of a module whose default export is a model. */
  readonly model: string;
  readonly set: OriginSet;
  /** File for the rows. */
  readonly out?: string;
  /** File of reference scores to compare with. */
  readonly baselines?: string;
  /** A file (`.svg`) for one picture, or a folder for one of each series and one of all. */
  readonly svg?: string;
  /** File of the LSTM's weights; by default the built-in ones. */
  readonly weights?: string;
  /** Worker threads; 0 uses only this thread. */
  readonly workers: number;
}

/** The problem with a name that is neither `all`, nor a contender, nor a module; `undefined` for a valid one. */
export const contenderProblem = (name: string): string | undefined =>
  name === 'all' || CONTENDER_NAMES.includes(name) || isModule(name)
    ? undefined
    : `it must be all, the file of a module (.js, .ts) or one of: ${CONTENDER_NAMES.join(', ')}`;

const isModule = (name: string): boolean => /\.[cm]?[jt]s$/.test(name);

type Case = SeriesCase<SeriesProtocol>;

const BAR = '{bar} {percentage} %  {series}  {model}';

export async function backtest(command: BacktestCommand, output: Output): Promise<void> {
  const cases = casesOf(command);
  const protocol = cases.map(({ series }) => series);
  const known =
    command.baselines === undefined
      ? undefined
      : parseScores(textIn(command.baselines, 'PROTOCOL_INVALID'), command.baselines);
  claimAll(command);
  const own = isModule(command.model) ? await ownModel(command.model) : undefined;
  // A user's model is compared with the default combination.
  const chosen =
    own !== undefined ? [own.name, DEFAULT_CONTENDER] : command.model === 'all' ? CONTENDER_NAMES : [command.model];
  // There are no published scores for a user's trace, so the references are run too.
  const contenders = command.trace === undefined ? chosen : [...new Set([...chosen, ...REFERENCE_NAMES])];
  const { rows, pictured } = await run(cases, contenders, own, command, output);
  if (command.out !== undefined) write(command.out, scoreFile(rows));
  if (command.svg !== undefined) await draw(command.svg, pictured);

  const ours = contenders[0]!;
  const references = (known ?? rows.filter(({ model }) => REFERENCE_NAMES.includes(model))).filter(
    ({ model, set }) => model !== ours && set === command.set,
  );
  const means = meansOf(protocol, rows, contenders);
  const comparison = compare(protocol, rows, ours, references);
  const datasets = compareDatasets(protocol, rows, ours, references);
  output.json({ set: command.set, rows, means, comparison, datasets });
  output.line(`${numberText(cases.length)} series, origins: ${command.set}; means over data sets.\n`);
  output.lines(table(meansTable(means)));
  if (comparison.length > 0) {
    output.line(
      `\n${ours} compared with the best reference of each column; a ratio below 1 is better (cover95: nearest to 0.95).\n`,
    );
    output.lines(table(comparedTable(ours, comparison)));
    output.line(
      `\nErrors of ${ours} divided by those of each data set's best reference; ! marks a ratio above ${RATIO_MAX}.\n`,
    );
    output.lines(table(datasetTable(datasets)));
  }
  output.line('');
  if (command.out !== undefined) output.line(`${rows.length} rows in ${command.out}.`);
  if (command.svg !== undefined) output.line(`Pictures in ${command.svg}.`);
}

interface OwnModel {
  readonly name: string;
  readonly url: string;
}

async function ownModel(file: string): Promise<OwnModel> {
  const url = pathToFileURL(file).href;
  const { name } = await modelAt(url);
  if (CONTENDER_NAMES.includes(name))
    throw new AppError('CONFIG_INVALID', `the model in ${file} has the name of a built-in one: ${name}`, {
      file,
      name,
    });
  return { name, url };
}

function casesOf(command: BacktestCommand): Case[] {
  if (command.trace !== undefined) return ownCases(command.trace, command.series);
  const file = command.protocol!;
  return casesIn(parseProtocol(textIn(file, 'PROTOCOL_INVALID'), file), command.traces ?? dirname(file), file);
}

function ownCases(file: string, wanted: string | undefined): Case[] {
  const trace = parseTrace(textIn(file, 'TRACE_INVALID'), file);
  if (wanted !== undefined && !trace.series.includes(wanted))
    throw new AppError('TRACE_INVALID', `${file} has no series ${wanted}; its series are ${trace.series.join(', ')}`, {
      file,
    });
  const dataset = basename(file)
    .replace(/\.csv$/, '')
    .replaceAll(',', '-'); // A cell of the rows.
  return trace.series.flatMap((name, column) =>
    wanted === undefined || name === wanted
      ? [
          {
            series: protocolFor(trace, file, dataset, name),
            values: trace.values[column]!,
            startSeconds: trace.seconds[0]!,
          },
        ]
      : [],
  );
}

/** Rows in the order of the contenders, then of the series, then of the horizons; pictures of the first contender. */
async function run(
  cases: readonly Case[],
  contenders: readonly string[],
  own: OwnModel | undefined,
  { set, workers, svg, weights }: BacktestCommand,
  output: Output,
): Promise<{ readonly rows: ScoreRow[]; readonly pictured: Pictured[] }> {
  const lstm = contenders.includes(LSTM_NAME) ? { weights: readWeights(weights ?? '').weights } : {};
  const tasks = contenders.flatMap((name) =>
    cases.map(
      ({ series, values }): BacktestTask => ({
        contender: name,
        series,
        values,
        origins: originsOf(series, set),
        ...(name === LSTM_NAME ? lstm : {}),
        ...(name === own?.name ? { modelUrl: own.url } : {}),
      }),
    ),
  );
  const rows: ScoreRow[][] = [];
  const pictured: Pictured[] = [];
  let done = 0;
  const payload = ({ contender: model, series }: BacktestTask) => ({ series: titleOf(series), model });
  output.begin(
    tasks.reduce((sum, { origins }) => sum + origins.length, 0),
    BAR,
    payload(tasks[0]!),
  );
  try {
    await runBacktest(tasks, workers, {
      origin: (task) => output.progress(++done, payload(tasks[task]!)),
      done: (index, forecasts) => {
        const task = tasks[index]!;
        rows[index] = rowsOf(task, forecasts, set);
        if (svg !== undefined && index < cases.length)
          pictured[index] = picturedOf(cases[index]!, task, forecasts, rows[index]!);
      },
    });
  } finally {
    output.end();
  }
  return { rows: rows.flat(), pictured };
}

function rowsOf(task: BacktestTask, { quantiles, secondsPerOrigin }: BacktestForecasts, set: OriginSet): ScoreRow[] {
  const { series, values, origins, contender: model } = task;
  return series.horizons.map((horizon) => ({
    dataset: series.dataset,
    series: series.series,
    model,
    set,
    horizon,
    ...scoresOf(values, origins, quantiles, horizon, series.scale),
    seconds: secondsPerOrigin,
  }));
}

function picturedOf(
  { series, values, startSeconds }: Case,
  { origins, contender: model }: BacktestTask,
  { quantiles }: BacktestForecasts,
  rows: readonly ScoreRow[],
): Pictured {
  return {
    title: titleOf(series),
    name: series.series,
    model,
    scores: rows.map(({ horizon, MASE, wQL, cover95 }) => ({ horizon, MASE, wQL, cover95 })),
    startSeconds,
    stepSeconds: series.stepSeconds,
    values,
    testStart: series.testStart,
    forecasts: origins.map((origin, index) => ({ origin, quantiles: quantiles[index]! })),
  };
}

const titleOf = ({ dataset, series }: SeriesProtocol): string => `${dataset} / ${series}`;

const isPicture = (path: string): boolean => path.endsWith('.svg');

async function draw(path: string, pictured: readonly Pictured[]): Promise<void> {
  const overview = overviewPicture(
    pictured,
    `${pictured[0]!.model}: one forecast of each of ${pictured.length} series`,
  );
  if (isPicture(path)) {
    write(path, await svgOf(pictured.length === 1 ? seriesPicture(pictured[0]!) : overview));
    return;
  }
  for (const each of pictured)
    write(join(path, `${each.title.replace(/[^\w.-]+/g, '-')}.svg`), await svgOf(seriesPicture(each)));
  write(join(path, 'overview.svg'), await svgOf(overview));
}

/** R2. */
function claimAll({ out, svg }: BacktestCommand): void {
  if (svg !== undefined && !isPicture(svg)) attempt(svg, () => mkdirSync(svg, { recursive: true }));
  for (const file of [out, svg !== undefined && isPicture(svg) ? svg : undefined]) if (file !== undefined) claim(file);
}
