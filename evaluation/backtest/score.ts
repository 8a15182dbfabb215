// Score: how accurate forecasts were, by the measures of the protocol, and their means over series and data sets.
//
//   S1. Forecasts below 0 count as 0: rates are not negative.
//   S2. The point forecast is the median.
//   S3. Means are taken over the series of each data set first, then over the data sets, so that a data set with many
//       series has no more weight; wQL leaves out the series of LEFT_OUT_OF_WQL.

import { LEVELS, MEDIAN } from '../../processors/forecast/combine/calibration.ts';
import type { OriginSet, SeriesProtocol } from './protocol.ts';

export const MEASURES = ['MASE', 'pinball90', 'pinball99', 'wQL', 'cover95'] as const;
export type Measure = (typeof MEASURES)[number];
export type Scores = Readonly<Record<Measure, number>>;

export interface ScoreRow extends Scores {
  readonly dataset: string;
  readonly series: string;
  readonly model: string;
  readonly set: OriginSet;
  readonly horizon: number;
  /** Mean CPU seconds of fit and forecast per origin. */
  readonly seconds: number;
}

/**
 * wQL is divided by the sum of the values. For these series that is a single burst, so it says nothing about the
 * forecasts.
 */
const LEFT_OUT_OF_WQL = /^aws_netin_/;
/** wQL is the mean over the levels 0.1 .. 0.9; those above are for capacity. */
const WQL_LEVELS = LEVELS.indexOf(0.9) + 1;
const LEVEL_90 = LEVELS.indexOf(0.9);
const LEVEL_95 = LEVELS.indexOf(0.95);
const LEVEL_99 = LEVELS.indexOf(0.99);

/** Scores of the forecasts made at the origins, over the steps 1 .. horizon. wQL is NaN when all values are 0. */
export function scoresOf(
  values: Float64Array,
  origins: readonly number[],
  quantiles: readonly Float64Array[],
  horizon: number,
  scale: number,
): Scores {
  const pinball = new Float64Array(LEVELS.length);
  let error = 0;
  let sum = 0;
  let covered = 0;
  for (const [index, origin] of origins.entries()) {
    for (let k = 0; k < horizon; k++) {
      const value = values[origin + k]!;
      const at = (l: number): number => Math.max(0, quantiles[index]![k * LEVELS.length + l]!); // S1
      error += Math.abs(value - at(MEDIAN)); // S2
      sum += Math.abs(value);
      if (value <= at(LEVEL_95)) covered++;
      for (let l = 0; l < LEVELS.length; l++) {
        const miss = value - at(l);
        pinball[l]! += Math.max(LEVELS[l]! * miss, (LEVELS[l]! - 1) * miss);
      }
    }
  }
  const count = origins.length * horizon;
  let weighted = 0;
  for (let l = 0; l < WQL_LEVELS; l++) weighted += (2 * pinball[l]!) / sum;
  return {
    MASE: error / count / scale,
    pinball90: pinball[LEVEL_90]! / count / scale,
    pinball99: pinball[LEVEL_99]! / count / scale,
    wQL: sum > 0 ? weighted / WQL_LEVELS : Number.NaN,
    cover95: covered / count,
  };
}

/**
 * By data set, the mean over its series of one measure of one model at horizon number `place`; NaN values are left out.
 */
export function datasetMeans(
  protocol: readonly SeriesProtocol[],
  rows: readonly ScoreRow[],
  model: string,
  measure: Measure | 'seconds',
  place: number,
): ReadonlyMap<string, number> {
  const byDataset = new Map<string, number[]>();
  const found = new Map(
    rows.flatMap((row) => (row.model === model ? [[keyOf(row.dataset, row.series, row.horizon), row] as const] : [])),
  );
  for (const { dataset, series, horizons } of protocol) {
    if (measure === 'wQL' && LEFT_OUT_OF_WQL.test(dataset)) continue;
    const value = found.get(keyOf(dataset, series, horizons[place]!))?.[measure];
    if (value === undefined || Number.isNaN(value)) continue;
    const values = byDataset.get(dataset) ?? [];
    values.push(value);
    byDataset.set(dataset, values);
  }
  return new Map([...byDataset].map(([dataset, values]) => [dataset, meanOf(values)]));
}

/** The mean over data sets (S3); NaN without any row. */
export const overallMean = (...of: Parameters<typeof datasetMeans>): number =>
  meanOf([...datasetMeans(...of).values()]);

const meanOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Key of a row among the rows of one model. */
export const keyOf = (dataset: string, series: string, horizon: number): string => `${dataset},${series},${horizon}`;
