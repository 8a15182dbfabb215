// Panel: one pair of axes of a picture, with what came and what was foreseen there. Pure: SVG elements as text.
//
//   D1. Whatever the values and the names are, the elements are well-formed and every coordinate is a number.

import { LEVELS, MEDIAN } from '../../processors/forecast/combine/calibration.ts';
import { logTicks, type Tick, timeTicks, valueTicks } from './axis.ts';

export interface Pictured {
  readonly title: string;
  /** Of the series: what its values are called. */
  readonly name: string;
  readonly model: string;
  readonly scores: readonly {
    readonly horizon: number;
    readonly MASE: number;
    readonly wQL: number;
    readonly cover95: number;
  }[];
  /** Of row 0, and between rows. */
  readonly startSeconds: number;
  readonly stepSeconds: number;
  readonly values: Float64Array;
  readonly testStart: number;
  readonly forecasts: readonly Forecast[];
}

export interface Forecast {
  readonly origin: number;
  /** `LEVELS.length` for each step from the origin on. */
  readonly quantiles: Float64Array;
}

/** Part of a picture that shows the rows `from` .. `to` within a rectangle, in pixels. */
export interface Panel {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly from: number;
  readonly to: number;
  readonly forecasts: readonly Forecast[];
  readonly timeStepsMax: number;
}

/** A series whose peak is so many times its median is drawn on a logarithmic scale: else there were a line and a spike. */
const LOG_FROM = 25;
const LEVEL_10 = LEVELS.indexOf(0.1);
const LEVEL_90 = LEVELS.indexOf(0.9);
const LEVEL_95 = LEVELS.indexOf(0.95);

export interface Scale {
  readonly isLog: boolean;
  /** Values below this are near 0 on a logarithmic scale. */
  readonly unit: number;
  readonly of: (value: number) => number;
}

export function scaleOf({ values, testStart }: Pictured): Scale {
  const sorted = values.slice(testStart).sort();
  const unit = Math.max(sorted[sorted.length >> 1]!, sorted.at(-1)! / 10_000) / 2;
  const isLog = sorted.at(-1)! > 2 * LOG_FROM * unit;
  return { isLog, unit, of: isLog ? (value) => Math.log1p(value / unit) : (value) => value };
}

/** Axes, the actual values and the forecasts of one panel, cut to it. */
export function panel(
  pictured: Pictured,
  { x, y, width, height, from, to, forecasts, timeStepsMax }: Panel,
  scale: Scale,
): string[] {
  const { startSeconds, stepSeconds, values } = pictured;
  const top = topOf(pictured, from, to, forecasts);
  const px = (row: number): number => x + ((row - from) / (to - 1 - from)) * width;
  const py = (value: number): number =>
    y + height - (scale.of(Math.min(Math.max(value, 0), 2 * top)) / scale.of(top)) * height;
  const clip = `c${Math.round(x)}-${Math.round(y)}`;
  const secondsOf = (row: number): number => startSeconds + row * stepSeconds;
  const rowOf = (seconds: number): number => (seconds - startSeconds) / stepSeconds;
  const valueAxis = scale.isLog ? logTicks(scale.unit, top) : valueTicks(top);
  return [
    `<clipPath id="${clip}"><rect x="${x}" y="${y}" width="${n(width)}" height="${height}"/></clipPath>`,
    ...thinned(valueAxis, py).flatMap(({ at, label }) => [
      `<path class="grid" d="M${x} ${n(py(at))}h${n(width)}"/>`,
      text(x - 8, py(at) + 4, label, 'text-anchor="end" style="font-size:12px"'),
    ]),
    ...timeTicks(secondsOf(from), secondsOf(to - 1), timeStepsMax).flatMap(({ at, label }) => [
      `<path class="grid" d="M${n(px(rowOf(at)))} ${y + height}v5"/>`,
      text(px(rowOf(at)), y + height + 20, label, 'text-anchor="middle" style="font-size:12px"'),
    ]),
    `<g clip-path="url(#${clip})">`,
    ...forecasts.map(({ quantiles, origin }) => {
      const upper = lineOf(quantiles, LEVEL_90, origin, px, py);
      const lower = lineOf(quantiles, LEVEL_10, origin, px, py).reverse();
      return `<path class="band" d="M${[...upper, ...lower].join('L')}Z"/>`;
    }),
    ...forecasts.map(({ origin }) => `<path class="origin" d="M${n(px(origin - 0.5))} ${y}v${height}"/>`),
    `<path class="actual" d="M${actual(values, from, to, width, px, py).join('L')}"/>`,
    ...forecasts.flatMap(({ quantiles, origin }) => [
      `<path class="upper" d="M${lineOf(quantiles, LEVEL_95, origin, px, py).join('L')}"/>`,
      `<path class="median" d="M${lineOf(quantiles, MEDIAN, origin, px, py).join('L')}"/>`,
    ]),
    '</g>',
  ];
}

/** A little above everything that is drawn: what was actual, and the highest line. */
function topOf({ values }: Pictured, from: number, to: number, forecasts: readonly Forecast[]): number {
  let top = 0;
  for (let row = from; row < to; row++) top = Math.max(top, values[row]!);
  for (const { quantiles } of forecasts)
    for (let at = LEVEL_95; at < quantiles.length; at += LEVELS.length) top = Math.max(top, quantiles[at]!);
  return (top || 1) * 1.06;
}

/** Every value, or the least and the greatest of each pixel where there are many to one. */
function actual(
  values: Float64Array,
  from: number,
  to: number,
  width: number,
  px: (row: number) => number,
  py: (value: number) => number,
): string[] {
  const perPixel = Math.max(1, Math.floor((to - from) / width));
  const points: string[] = [];
  for (let row = from; row < to; row += perPixel) {
    const group = values.subarray(row, Math.min(row + perPixel, to));
    points.push(`${n(px(row))} ${n(py(Math.min(...group)))}`);
    if (perPixel > 1) points.push(`${n(px(row))} ${n(py(Math.max(...group)))}`);
  }
  return points;
}

function lineOf(
  quantiles: Float64Array,
  level: number,
  origin: number,
  px: (row: number) => number,
  py: (value: number) => number,
): string[] {
  return Array.from(
    { length: quantiles.length / LEVELS.length },
    (_, k) => `${n(px(origin + k))} ${n(py(quantiles[k * LEVELS.length + level]!))}`,
  );
}

/** Without those that would lie on each other. */
function thinned(ticks: readonly Tick[], py: (value: number) => number): Tick[] {
  let last = Number.POSITIVE_INFINITY;
  return ticks.filter(({ at }) => {
    if (last - py(at) < 14) return false;
    last = py(at);
    return true;
  });
}

export const text = (x: number, y: number, said: string, attributes = ''): string =>
  `<text x="${n(x)}" y="${n(y)}" ${attributes}>${escaped(said)}</text>`;

/** A tenth of a pixel is enough. */
export const n = (value: number): string => String(Math.round(value * 10) / 10);

export const escaped = (said: string): string =>
  said.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char]!);
