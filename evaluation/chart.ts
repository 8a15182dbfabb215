// Chart: what the charts of the evaluations share, as parts of Vega-Lite specifications: colours, axes, and how many
// points a line needs. Pure: a chart is data; `edge/svg.ts` draws it.
//
//   H1. However many values there are, a line has at most two points for each pixel, among them the smallest and the
//       largest value of each pixel.

import type { TopLevelSpec } from 'vega-lite';

export type Chart = TopLevelSpec;
/** The parts of a chart: charts beside and below each other, and layers on the same axes. */
type Parts =
  | Pick<Extract<Chart, { vconcat: unknown }>, 'vconcat' | 'spacing'>
  | Pick<Extract<Chart, { concat: unknown }>, 'concat' | 'columns' | 'spacing' | 'bounds'>;
export type Part = Extract<Chart, { vconcat: unknown }>['vconcat'][number];
export type Layers = Extract<Part, { layer: unknown }>['layer'];
export type Encoding = NonNullable<Extract<Chart, { mark: unknown }>['encoding']>;

/**
 * The colours of Okabe and Ito (2008), which colour-blind readers can tell apart; the bright ones are darkened, for
 * white paper.
 */
export const COLOURS = {
  ink: '#1b2430',
  text: '#556270',
  grid: '#e6e9ed',
  actual: '#4a5563',
  blue: '#0072b2',
  orange: '#d98c00',
  green: '#009e73',
  vermilion: '#d55e00',
  purple: '#b5598f',
  grey: '#8a94a0',
  page: '#ffffff',
} as const;

/** Colours that are replaced on a dark screen, where they would be hard to see. */
export const AT_NIGHT: Readonly<Record<string, string>> = {
  [COLOURS.ink]: '#eef1f4',
  [COLOURS.text]: '#a3aebb',
  [COLOURS.grid]: '#28303a',
  [COLOURS.actual]: '#c6ced8',
  [COLOURS.blue]: '#4aa8e0',
  [COLOURS.page]: '#12171e',
};

const DAY_MS = 86_400_000;
/** Times before 1971 are relative to the trace's beginning: such a trace has no clock. */
const CLOCK_FROM_MS = 365 * DAY_MS;
const DATE = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', day: 'numeric', month: 'short' });

/** `06:00`, and at midnight `3 Jul`, or `day 12` without a clock. */
const TIME_LABEL = `utchours(datum.value) + utcminutes(datum.value) > 0 ? utcFormat(datum.value, '%H:%M')
  : datum.value < ${CLOCK_FROM_MS} ? 'day ' + (floor(datum.value / ${DAY_MS}) + 1) : utcFormat(datum.value, '%-d %b')`;
/** `0.25`, `1.2k`, `35M`. */
const VALUE_LABEL = `format(datum.value, datum.value < 1000 ? '.3~r' : '.3~s')`;

const LOOK: NonNullable<Chart['config']> = {
  font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
  view: { stroke: null },
  mark: { aria: false }, // A screen reader would read the first point of each line.
  title: {
    color: COLOURS.ink,
    subtitleColor: COLOURS.text,
    fontSize: 13,
    subtitleFontSize: 12,
    anchor: 'start',
    frame: 'group',
  },
  legend: { labelColor: COLOURS.text, labelFontSize: 13, symbolSize: 500, labelLimit: 0 },
  axis: { labelColor: COLOURS.text, labelFontSize: 12, gridColor: COLOURS.grid },
  axisX: { grid: false, domainColor: COLOURS.grid, tickColor: COLOURS.grid, labelFlush: false, labelExpr: TIME_LABEL },
  axisY: { domain: false, ticks: false, labelPadding: 8, labelExpr: VALUE_LABEL },
};

/** Length of an axis, as a multiple of the largest value: leaves a little space above it. */
const ROOM = 1.06;
/** Upper limit of axes: far above any rate, and far enough below the largest number to calculate with. */
const HIGHEST = 1e300;

/** Parts under a common title, with subtitle lines. */
export const chart = (title: string, subtitle: string[], parts: Parts): Chart => ({
  $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
  description: title,
  title: { text: title, subtitle, fontSize: 22, subtitleFontSize: 13, subtitlePadding: 8, offset: 16 },
  background: COLOURS.page,
  padding: 24,
  config: LOOK,
  ...parts,
});

/** A time axis; `from` and `to` in milliseconds since 1970. */
export const timeAxis = (from: number, to: number, tickCount: number): NonNullable<Encoding['x']> => ({
  field: 'at',
  type: 'temporal',
  title: null,
  scale: { type: 'utc', domain: [from, to], nice: false },
  axis: { tickCount },
});

/** An axis from 0 to the largest value; with a unit it is logarithmic above the unit. */
export function valueAxis(greatest: number, unit?: number): NonNullable<Encoding['y']> {
  const common = { field: 'value', type: 'quantitative', title: null } as const;
  const highest = greatest > 0 ? Math.min(ROOM * greatest, HIGHEST) : 1;
  const domain = [0, highest];
  if (unit === undefined) return { ...common, scale: { domain, nice: false }, axis: { tickCount: 4 } };
  const first = Math.ceil(Math.log10(unit));
  const powers = Array.from(
    { length: Math.floor(Math.log10(highest)) - first + 1 },
    (_, index) => 10 ** (first + index),
  );
  return { ...common, scale: { type: 'symlog', constant: unit, domain }, axis: { values: [0, ...powers] } };
}

/** `3 Jul, 06:00`, or `day 12, 06:00` without a clock. */
export function whenText(seconds: number): string {
  const ms = seconds * 1000;
  const day = ms < CLOCK_FROM_MS ? `day ${Math.floor(ms / DAY_MS) + 1}` : DATE.format(ms);
  return `${day}, ${new Date(ms).toISOString().slice(11, 16)}`;
}

interface Point {
  readonly row: number;
  readonly value: number;
}

/** The points of a line over the rows `from` .. `to`, for a width of `pixels` (H1). */
export function outlineOf(values: Float64Array, from: number, to: number, pixels: number): Point[] {
  const perPixel = Math.max(1, Math.ceil((to - from) / pixels));
  const points: Point[] = [];
  for (let row = from; row < to; row += perPixel) {
    let [least, most] = [row, row];
    for (let at = row; at < Math.min(row + perPixel, to); at++) {
      if (values[at]! < values[least]!) least = at;
      if (values[at]! > values[most]!) most = at;
    }
    for (const at of least === most ? [least] : [least, most].sort((a, b) => a - b))
      points.push({ row: at, value: values[at]! });
  }
  return points;
}
