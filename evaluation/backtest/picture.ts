// Picture: forecasts and observed values as a chart. For one series: the test quarter with a few forecasts, and three
// of them enlarged; for several series: one forecast each. Pure.

import { LEVELS, MEDIAN } from '../../processors/forecast/combine/calibration.ts';
import {
  type Chart,
  COLOURS,
  chart,
  type Encoding,
  outlineOf,
  type Part,
  timeAxis,
  valueAxis,
  whenText,
} from '../chart.ts';

export interface Pictured {
  readonly title: string;
  /** Name of the series' values. */
  readonly name: string;
  readonly model: string;
  readonly scores: readonly {
    readonly horizon: number;
    readonly MASE: number;
    readonly wQL: number;
    readonly cover95: number;
  }[];
  /** Time of row 0, and time between rows. */
  readonly startSeconds: number;
  readonly stepSeconds: number;
  readonly values: Float64Array;
  readonly testStart: number;
  readonly forecasts: readonly Forecast[];
}

interface Forecast {
  readonly origin: number;
  /** `LEVELS.length` for each step from the origin on. */
  readonly quantiles: Float64Array;
}

/** A part of a picture that shows the rows `from` .. `to`; sizes in pixels. */
interface Panel {
  readonly title: string | { readonly text: string; readonly subtitle: string[] };
  readonly width: number;
  readonly height: number;
  readonly from: number;
  readonly to: number;
  readonly forecasts: readonly Forecast[];
  readonly timeTicks: number;
}

const WIDTH = 1_096;
/** Pixels between neighbouring panels: space for the labels of the axis. */
const BESIDE = 54;
/** Number of forecasts drawn over the whole test quarter, and of those drawn enlarged. */
const FORECASTS_FAR = 8;
const FORECASTS_NEAR = 3;
/** Steps shown before a forecast, as a share of its length. */
const BEFORE = 0.5;
/**
 * A series whose peak is this many times its median is drawn on a logarithmic scale: otherwise only the peak would be
 * visible.
 */
const LOG_FROM = 25;
const LEVEL_10 = LEVELS.indexOf(0.1);
const LEVEL_90 = LEVELS.indexOf(0.9);
const LEVEL_95 = LEVELS.indexOf(0.95);

/** Grey is observed, blue is forecast. */
const ACTUAL = 'actual';
const MEDIAN_LINE = 'median';
const FORESEEN = [
  { line: MEDIAN_LINE, level: MEDIAN },
  { line: '0.95', level: LEVEL_95 },
];
const BAND = '0.1 to 0.9';
const LINES = [ACTUAL, ...FORESEEN.map(({ line }) => line)];
const LEGEND = { orient: 'top', direction: 'horizontal', title: null } as const;
const LINE: Encoding = {
  color: {
    field: 'line',
    scale: { domain: LINES, range: [COLOURS.actual, COLOURS.blue, COLOURS.blue] },
    legend: { ...LEGEND, symbolType: 'stroke' },
  },
  strokeDash: {
    field: 'line',
    scale: {
      domain: LINES,
      range: [
        [1, 0],
        [1, 0],
        [4, 3],
      ],
    },
    legend: LEGEND,
  },
  strokeWidth: { condition: { test: `datum.line === '${MEDIAN_LINE}'`, value: 1.8 }, value: 1.1 },
};
const NOTE = 'A dotted line stands where a forecast begins. Times are UTC; a trace without a clock counts days.';

/** One series: its whole test quarter above, single forecasts below. */
export function seriesPicture(pictured: Pictured): Chart {
  const { title, name, model, values, testStart, forecasts, startSeconds, stepSeconds } = pictured;
  const scale = logarithmicUnit(pictured) !== undefined ? ' (logarithmic)' : '';
  const whole = panel(pictured, {
    ...{ title: `${name}, each ${durationText(stepSeconds)}${scale}`, width: WIDTH, height: 236, timeTicks: 10 },
    ...{ from: testStart, to: values.length, forecasts: apart(forecasts, FORECASTS_FAR) },
  });
  const near = spread(forecasts, FORECASTS_NEAR).map((forecast) =>
    panel(pictured, {
      ...{ width: (WIDTH - BESIDE * (FORECASTS_NEAR - 1)) / FORECASTS_NEAR, height: 220, timeTicks: 5 },
      ...{ title: `forecast from ${whenText(startSeconds + forecast.origin * stepSeconds)}`, forecasts: [forecast] },
      ...nearRows(pictured, forecast),
    }),
  );
  return chart(title, [...pictured.scores.map((score) => `${model}, ${scoreText(score)}`), NOTE], {
    vconcat: [whole, { hconcat: near, spacing: BESIDE, bounds: 'flush' }],
    spacing: 30,
  });
}

/** Several series: the middle one of each series' forecasts. */
export function overviewPicture(all: readonly Pictured[], title: string): Chart {
  const cells = all.map((pictured) => {
    const forecast = pictured.forecasts[pictured.forecasts.length >> 1]!;
    const { MASE, wQL, horizon } = pictured.scores.at(-1)!;
    const scale = logarithmicUnit(pictured) !== undefined ? ', logarithmic' : '';
    const subtitle = [`MASE ${MASE.toFixed(2)}, wQL ${wQL.toFixed(2)}`, `${horizon} steps ahead${scale}`];
    return panel(pictured, {
      ...{ title: { text: pictured.title, subtitle }, width: 260, height: 140, timeTicks: 4, forecasts: [forecast] },
      ...nearRows(pictured, forecast),
    });
  });
  return chart(title, [NOTE], { concat: cells, columns: 4, spacing: { column: 70, row: 108 }, bounds: 'flush' });
}

/** The observed values and the forecasts of one panel, clipped to it. */
function panel(pictured: Pictured, { title, width, height, from, to, forecasts, timeTicks }: Panel): Part {
  const { values, startSeconds, stepSeconds } = pictured;
  const at = (row: number): number => (startSeconds + row * stepSeconds) * 1000;
  const steps = forecasts.flatMap((forecast) => stepsOf(forecast).map((step) => ({ ...step, at: at(step.row) })));
  const lines = [
    ...outlineOf(values, from, to, width).map(({ row, value }) => ({ at: at(row), value, line: ACTUAL })),
    ...FORESEEN.flatMap(({ line, level }) =>
      steps.map(({ at, origin, quantiles }) => ({ at, value: quantiles[level]!, line, origin })),
    ),
  ];
  const y = valueAxis(
    lines.reduce((most, { value }) => Math.max(most, value), 0),
    logarithmicUnit(pictured),
  );
  const clip = true;
  return {
    ...{ title, width, height },
    encoding: { x: timeAxis(at(from), at(to - 1), timeTicks) },
    layer: [
      {
        data: {
          values: steps.map(({ at, origin, quantiles }) => ({
            at,
            origin,
            value: quantiles[LEVEL_10],
            high: quantiles[LEVEL_90],
          })),
        },
        mark: { type: 'area', opacity: 0.25, clip },
        encoding: {
          y,
          y2: { field: 'high' },
          detail: { field: 'origin' },
          fill: { datum: BAND, scale: { range: [COLOURS.blue] }, legend: { ...LEGEND, symbolType: 'square' } },
        },
      },
      {
        data: { values: forecasts.map(({ origin }) => ({ at: at(origin - 0.5) })) },
        mark: { type: 'rule', color: COLOURS.grey, strokeDash: [2, 3], clip },
      },
      {
        data: { values: lines },
        mark: { type: 'line', strokeJoin: 'round', clip },
        encoding: { y, detail: { field: 'origin' }, ...LINE },
      },
    ],
  };
}

interface Step {
  readonly origin: number;
  readonly row: number;
  readonly quantiles: Float64Array;
}

const stepsOf = ({ origin, quantiles }: Forecast): Step[] =>
  Array.from({ length: quantiles.length / LEVELS.length }, (_, step) => ({
    origin,
    row: origin + step,
    quantiles: quantiles.subarray(step * LEVELS.length, (step + 1) * LEVELS.length),
  }));

/**
 * The unit of a logarithmic scale, half of a median value, below which values are not resolved; `undefined` for a
 * linear scale.
 */
function logarithmicUnit({ values, testStart }: Pictured): number | undefined {
  const sorted = values.slice(testStart).sort();
  const greatest = sorted.at(-1)!;
  const unit = Math.max(sorted[sorted.length >> 1]!, greatest / 10_000) / 2;
  return unit > 0 && greatest > 2 * LOG_FROM * unit ? unit : undefined;
}

function nearRows(
  { values }: Pictured,
  { origin, quantiles }: Forecast,
): { readonly from: number; readonly to: number } {
  const steps = quantiles.length / LEVELS.length;
  return { from: Math.max(0, origin - Math.ceil(BEFORE * steps)), to: Math.min(values.length, origin + steps) };
}

/** At most `count` forecasts that do not overlap. */
function apart(forecasts: readonly Forecast[], count: number): Forecast[] {
  const picked: Forecast[] = [];
  for (const forecast of forecasts) {
    const before = picked.at(-1);
    const steps = forecast.quantiles.length / LEVELS.length;
    if (before === undefined || forecast.origin >= before.origin + 1.15 * steps) picked.push(forecast);
  }
  return spread(picked, count);
}

/** At most `count` items, evenly spaced from the first to the last. */
const spread = <T>(items: readonly T[], count: number): T[] =>
  items.length <= count
    ? [...items]
    : Array.from({ length: count }, (_, index) => items[Math.round((index * (items.length - 1)) / (count - 1))]!);

const scoreText = ({ horizon, MASE, wQL, cover95 }: Pictured['scores'][number]): string =>
  `${horizon} ${horizon === 1 ? 'step' : 'steps'} ahead: MASE ${MASE.toFixed(2)}, wQL ${wQL.toFixed(2)}, cover95 ${cover95.toFixed(2)}`;

/** `5 min`. */
function durationText(seconds: number): string {
  for (const [unit, name] of [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
  ] as const)
    if (seconds >= unit && seconds % (unit / 2) === 0) return `${seconds / unit} ${name}`;
  return `${seconds} s`;
}
