// Direct models: linear in what is known when the forecast is made, with separate coefficients for each distance
// (direct multi-step forecasting), fitted by robust ridge regression. Between two distances their forecasts are
// interpolated.
//
//   D1. Without a fit the coefficients are zero and the forecast is its base: a rule that needs no learning.
//   D2. A forecast is at most RISE_MAX above the highest log lately seen: a linear model has no limit of its own.

import type { Grid } from '../grid.ts';
import { FlatHistory } from '../history/flat-history.ts';
import type { History } from '../history/history.ts';
import type { LogReader } from '../history/log-reader.ts';
import { type Model, type Parameters, stateless } from '../model.ts';
import { fadingOf, type OfSteps } from './damped.ts';
import { robustRidge } from './robust-ridge.ts';

interface Fixed {
  readonly from: number;
  readonly at: number;
  readonly count: number;
}

/** The columns of a direct model's regression. */
export interface Features {
  readonly name: string;
  /**
   * The largest set of columns that the steps from `begin` to `end` allow; `undefined` while they are too few for any.
   */
  variantOf(grid: Grid, begin: number, end: number): number | undefined;
  /** How many steps before the newest one a row of this variant reads. */
  reach(grid: Grid, variant: number): number;
  /** Number of columns of a row. */
  width(variant: number): number;
  /** How many numbers `look` computes once for all distances of a step. */
  readonly originSize: number;
  /**
   * The columns that are the same at each distance: `count` of them, from `from` in the origin, and their place in a
   * row.
   */
  fixed(variant: number): Fixed;
  /** Computes into `origin` what does not depend on the distance. */
  look(reader: LogReader, grid: Grid, variant: number, step: number, origin: Float64Array): void;
  /**
   * Steps after which half of the series' distance from its usual shape is left; when absent, the distance does not
   * fade.
   */
  halfLife?(grid: Grid): number;
  /**
   * Writes the other columns of the row of the forecast made at `step` for `ahead` steps later, given the `origin` that
   * `look` computed there and the share `kept` that is left of the distance from the usual shape. Returns the base,
   * which is the forecast without any coefficient.
   */
  write(
    reader: LogReader,
    grid: Grid,
    variant: number,
    step: number,
    ahead: number,
    kept: number,
    origin: Float64Array,
    into: Float64Array,
  ): number;
  fitEvery(grid: Grid): number;
}

/** Most rows of one fit: more make it slower and hardly better. */
const ROWS_MAX = 1_000;
/** Rows further back than this many seasons of at least 288 steps are not used. */
const ROWS_SEASONS = 28;
const ROWS_STEPS_MIN = 8_064;
/** With fewer rows for each column than this, a fit learns only noise. */
const ROWS_PER_COLUMN = 2;
/** Ridge penalty, and its growth with the distance: further ahead there is less to learn. */
const SHRINK = 0.05;
const SHRINK_GROWS = 0.5;
const RISE_MAX = 1;

/** Scratch space of forecasts: a step is closed and then forecast, mostly one right after the other. */
export interface Room {
  readonly row: Float64Array;
  readonly origin: Float64Array;
  /** By distance, the sum of the fixed columns times their coefficients, and the intercept; NaN until it is needed. */
  readonly fixedValues: Float64Array;
  readonly fading: OfSteps;
  /** The history, step, variant and parameters that `origin` and `fixedValues` were computed for. */
  looked: { history: History; step: number; variant: number; parameters: Parameters } | undefined;
}

export function direct(features: Features): Model<Room> {
  return {
    ...stateless,
    name: features.name,
    fitEvery: (grid) => features.fitEvery(grid),
    ready: (history) => features.variantOf(history.grid, history.begin, history.end) !== undefined,
    fit: (history) => fitted(features, history),
    room: (grid) => ({
      row: new Float64Array(features.width(Number.POSITIVE_INFINITY)),
      origin: new Float64Array(features.originSize),
      fixedValues: new Float64Array(grid.distances.length),
      fading: fadingIn(features, grid),
      looked: undefined,
    }),
    forecast(history, _state, parameters, ahead, into, room) {
      const { grid, step } = history;
      const { row, origin, fixedValues, fading } = room;
      const possible = features.variantOf(grid, history.begin, history.end)!;
      // Parameters fitted before a gap may need more history than is left.
      const isFitted = parameters.length > 0 && parameters[0]! <= possible;
      const variant = isFitted ? parameters[0]! : possible;
      const { distances } = grid;
      const width = features.width(variant);
      const fixed = features.fixed(variant);
      const { looked } = room;
      const isKnown = looked?.history === history && looked.step === step && looked.variant === variant;
      if (!isKnown) features.look(history, grid, variant, step, origin);
      if (!isKnown || looked.parameters !== parameters) {
        fixedValues.fill(Number.NaN);
        room.looked = { history, step, variant, parameters };
      }
      let far = 0;
      for (let i = 0; i < ahead.length; i++) {
        const steps = ahead[i]!;
        while (far + 1 < distances.length && distances[far]! < steps) far++;
        let log = features.write(history, grid, variant, step, steps, fading(steps), origin, row);
        if (isFitted) {
          const ours = valueAt(parameters, far, width, row, fixed, origin, fixedValues);
          if (distances[far]! <= steps || far === 0) log += ours;
          else {
            const share = (steps - distances[far - 1]!) / (distances[far]! - distances[far - 1]!);
            const before = valueAt(parameters, far - 1, width, row, fixed, origin, fixedValues);
            log += share * ours + (1 - share) * before;
          }
        }
        into[i] = Math.min(Math.max(log, 0), history.peak + RISE_MAX); // D2
      }
    },
  };
}

/** Parameters: the variant, then for each distance its coefficients and intercept. */
function fitted(features: Features, history: History): Parameters | undefined {
  const { grid } = history;
  const flat = new FlatHistory(history);
  for (let variant = features.variantOf(grid, flat.begin, flat.end) ?? -1; variant >= 0; variant--) {
    const parameters = fittedVariant(features, flat, grid, variant);
    if (parameters !== undefined) return parameters;
  }
  return undefined;
}

function fittedVariant(features: Features, flat: FlatHistory, grid: Grid, variant: number): Parameters | undefined {
  const width = features.width(variant);
  const parameters = new Float32Array(1 + grid.distances.length * (width + 1));
  parameters[0] = variant;
  const window = Math.max(ROWS_STEPS_MIN, ROWS_SEASONS * grid.season);
  const oldest = Math.max(
    flat.begin + features.reach(grid, variant),
    flat.nearBegin + (grid.slotSteps > 1 ? grid.season + 100 : 0),
    flat.end - window,
  );
  const coefficients = new Float64Array(width + 1);
  const origin = new Float64Array(features.originSize);
  const fixed = features.fixed(variant);
  const fading = fadingIn(features, grid);
  for (const [d, ahead] of grid.distances.entries()) {
    const possible = flat.end - ahead - oldest;
    if (possible < ROWS_PER_COLUMN * width) {
      if (d === 0) return undefined;
      // Too little history for this distance: it takes the coefficients of the distance before.
      parameters.copyWithin(1 + d * (width + 1), 1 + (d - 1) * (width + 1), 1 + d * (width + 1));
      continue;
    }
    const kept = fading(ahead);
    const count = Math.min(possible, ROWS_MAX);
    const columns = new Float64Array(count * width);
    const targets = new Float64Array(count);
    for (let r = 0; r < count; r++) {
      const step = flat.end - 1 - ahead - Math.floor((r * possible) / count);
      features.look(flat, grid, variant, step, origin);
      const columnsOfRow = columns.subarray(r * width, (r + 1) * width);
      const base = features.write(flat, grid, variant, step, ahead, kept, origin, columnsOfRow);
      for (let j = 0; j < fixed.count; j++) columnsOfRow[fixed.at + j] = origin[fixed.from + j]!;
      targets[r] = flat.near(step + ahead) - base;
    }
    const at = 1 + d * (width + 1);
    const shrink = SHRINK * (1 + (SHRINK_GROWS * ahead) / Math.max(12, grid.season / 24));
    robustRidge({ columns, targets, count, width }, shrink, coefficients);
    if (!coefficients.every(Number.isFinite)) return undefined;
    parameters.set(coefficients, at);
  }
  return parameters;
}

const fadingIn = (features: Features, grid: Grid): OfSteps =>
  fadingOf(features.halfLife?.(grid) ?? Number.POSITIVE_INFINITY);

function valueAt(
  parameters: Parameters,
  d: number,
  width: number,
  row: Float64Array,
  fixed: Fixed,
  origin: Float64Array,
  fixedValues: Float64Array,
): number {
  const at = 1 + d * (width + 1);
  if (Number.isNaN(fixedValues[d]!)) {
    let sum = parameters[at + width]!;
    for (let j = 0; j < fixed.count; j++) sum += parameters[at + fixed.at + j]! * origin[fixed.from + j]!;
    fixedValues[d] = sum;
  }
  let value = fixedValues[d]!;
  for (let j = 0; j < fixed.at; j++) value += parameters[at + j]! * row[j]!;
  for (let j = fixed.at + fixed.count; j < width; j++) value += parameters[at + j]! * row[j]!;
  return value;
}
