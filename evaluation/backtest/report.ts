// Report: scores compared with those of the reference models, as values and as the cells of tables.
//
//   C1. The best reference of a column is the best of those that were scored on every series of it: a model that left
//       out difficult series is not compared.
//   C2. Rows of one set of origins are compared only with rows of the same set; the caller selects them.

import type { SeriesProtocol } from './protocol.ts';
import { keyOf, type Measure, overallMean, type ScoreRow } from './score.ts';

/** In the order of the horizons: one step, twelve steps, and the longest horizon of the series. */
export const HORIZON_NAMES = ['h1', 'h12', 'long'] as const;
/** In the order of the tables. */
const COLUMNS: readonly Measure[] = ['MASE', 'wQL', 'pinball90', 'pinball99', 'cover95'];
const ERRORS = COLUMNS.filter((measure) => measure !== 'cover95');
const COVER_WANTED = 0.95;
/** A data set is marked when its ratio to the best reference is above this. */
export const RATIO_MAX = 1.3;

export interface Mean {
  readonly model: string;
  readonly measure: Measure | 'seconds';
  readonly horizon: (typeof HORIZON_NAMES)[number];
  readonly value: number;
}

export interface Compared {
  readonly measure: Measure;
  readonly horizon: (typeof HORIZON_NAMES)[number];
  readonly ours: number;
  readonly best: number;
  readonly reference: string;
  /** Our score divided by the best: below 1 is better, except for cover95, which is best at 0.95. */
  readonly ratio: number;
}

export interface ComparedDataset extends Compared {
  readonly dataset: string;
}

/** Means over data sets (score.ts S3), by model. */
export function meansOf(
  protocol: readonly SeriesProtocol[],
  rows: readonly ScoreRow[],
  models: readonly string[],
): Mean[] {
  return models.flatMap((model) =>
    [...COLUMNS, 'seconds' as const].flatMap((measure) =>
      HORIZON_NAMES.map((horizon, place) => ({
        model,
        measure,
        horizon,
        value: overallMean(protocol, rows, model, measure, place),
      })),
    ),
  );
}

/** Our score and the best reference, for every column that has a reference. */
export function compare(
  protocol: readonly SeriesProtocol[],
  ours: readonly ScoreRow[],
  model: string,
  references: readonly ScoreRow[],
): Compared[] {
  const names = [...new Set(references.map((row) => row.model))];
  return COLUMNS.flatMap((measure) =>
    HORIZON_NAMES.flatMap((horizon, place) => {
      const mine = overallMean(protocol, ours, model, measure, place);
      const found = names
        .filter((name) => isComplete(protocol, references, name, place)) // C1
        .map((reference) => ({ reference, best: overallMean(protocol, references, reference, measure, place) }))
        .filter(({ best }) => !Number.isNaN(best))
        .sort((a, b) => badness(measure, a.best) - badness(measure, b.best))[0];
      return found === undefined || Number.isNaN(mine)
        ? []
        : [{ measure, horizon, ours: mine, ...found, ratio: mine === found.best ? 1 : mine / found.best }];
    }),
  );
}

/** The same for each data set by itself. */
export function compareDatasets(...[protocol, ...rest]: Parameters<typeof compare>): ComparedDataset[] {
  const datasets = [...new Set(protocol.map(({ dataset }) => dataset))];
  return datasets.flatMap((dataset) =>
    compare(
      protocol.filter((each) => each.dataset === dataset),
      ...rest,
    ).map((compared) => ({ dataset, ...compared })),
  );
}

/** One line for each model: every measure at every horizon. */
export function meansTable(means: readonly Mean[]): string[][] {
  const meanOf = (model: string, measure: Mean['measure'], horizon: string): number =>
    means.find((mean) => mean.model === model && mean.measure === measure && mean.horizon === horizon)!.value;
  const head = [
    'model',
    ...COLUMNS.flatMap((measure) =>
      HORIZON_NAMES.map((horizon, place) => `${place === 0 ? `${measure} ` : ''}${horizon}`),
    ),
    'seconds',
  ];
  const models = [...new Set(means.map(({ model }) => model))];
  return [
    head,
    ...models.map((model) => [
      model,
      ...COLUMNS.flatMap((measure) => HORIZON_NAMES.map((horizon) => scoreText(meanOf(model, measure, horizon)))),
      secondsText(meanOf(model, 'seconds', HORIZON_NAMES[0])),
    ]),
  ];
}

/** One line for each column: our score, the best reference's and its name, the ratio. */
export function comparedTable(model: string, compared: readonly Compared[]): string[][] {
  return [
    ['measure', 'horizon', model, 'best', 'ratio', 'reference'],
    ...compared.map(({ measure, horizon, ours, best, ratio, reference }) => [
      measure,
      horizon,
      scoreText(ours),
      scoreText(best),
      scoreText(ratio),
      reference,
    ]),
  ];
}

/** One line for each data set: the ratio to its best reference for every error measure; `!` above RATIO_MAX. */
export function datasetTable(compared: readonly ComparedDataset[]): string[][] {
  const head = ERRORS.flatMap((measure) =>
    HORIZON_NAMES.map((horizon, place) => `${place === 0 ? `${measure} ` : ''}${horizon}`),
  );
  const ratioText = (dataset: string, measure: Measure, horizon: string): string => {
    const found = compared.find(
      (each) => each.dataset === dataset && each.measure === measure && each.horizon === horizon,
    );
    return found === undefined ? '' : `${found.ratio.toFixed(2)}${found.ratio > RATIO_MAX ? '!' : ''}`;
  };
  const datasets = [...new Set(compared.map(({ dataset }) => dataset))];
  return [
    ['ratio', ...head],
    ...datasets.map((dataset) => [
      dataset,
      ...ERRORS.flatMap((measure) => HORIZON_NAMES.map((horizon) => ratioText(dataset, measure, horizon))),
    ]),
  ];
}

/** True when every series that has a row in `ours` has a row of this reference. */
function isComplete(
  protocol: readonly SeriesProtocol[],
  rows: readonly ScoreRow[],
  model: string,
  place: number,
): boolean {
  const scored = new Set(
    rows.flatMap((row) => (row.model === model ? [keyOf(row.dataset, row.series, row.horizon)] : [])),
  );
  return protocol.every(({ dataset, series, horizons }) => scored.has(keyOf(dataset, series, horizons[place]!)));
}

const badness = (measure: Measure, value: number): number =>
  measure === 'cover95' ? Math.abs(value - COVER_WANTED) : value;

export const scoreText = (value: number): string => (Number.isNaN(value) ? '-' : value.toFixed(3));
const secondsText = (seconds: number): string => (seconds < 0.01 ? seconds.toExponential(0) : seconds.toFixed(2));
