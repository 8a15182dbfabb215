// Picture: what was asked of the stores, what each policy held ready for it, and what it had paid by then, as SVG. Pure:
// text in, text out. Light or dark as the reader's screen is.
//
//   D1. Whatever the values are, the elements are well-formed and every coordinate is a number.

import { timeTicks, valueTicks } from '../backtest/axis.ts';
import { escaped, n, text } from '../backtest/panel.ts';
import type { PolicyResult, WhatIfResult } from './run.ts';

const WIDTH = 1200;
const HEIGHT = 760;
const LEFT = 84;
/** Room for the names and sums beside the lines. */
const RIGHT = 280;
const PANEL_HEIGHT = 270;
const TOPS = [110, 436] as const;
/** A policy that costs so many times the least one is drawn as far as the frame goes. */
const DRAWN_FACTOR = 3;

/** Blue and bold is ours; grey is what nobody can have. */
const COLOURS: Readonly<Record<string, string>> = {
  foreshard: '#2f7ed8',
  perfect: '#8a94a0',
  static_peak: '#b0622f',
  static_mean: '#a33a5b',
  reactive: '#c9a227',
  p_store: '#3f9b6c',
};

const STYLE = `
  svg { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
  .page { fill: #ffffff } .title { fill: #1b2430; font-weight: 600 } text { fill: #556270; font-size: 13px }
  .grid { stroke: #e6e9ed; fill: none } .load { fill: #4a5563; fill-opacity: 0.18 } .line { fill: none; stroke-width: 1.4 }
  .ours { stroke-width: 2.4 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #12171e } .title { fill: #eef1f4 } text { fill: #a3aebb } .grid { stroke: #28303a }
    .load { fill: #c6ced8; fill-opacity: 0.2 }
  }`;

interface Frame {
  readonly top: number;
  readonly highest: number;
  readonly minutes: number;
}

export function whatIfPicture({ load, results, series, topics }: WhatIfResult, title: string): string {
  const minutes = load.length;
  const held: Frame = {
    top: TOPS[0],
    minutes,
    highest: highestOf([load, ...results.map((each) => each.course.capacity)]),
  };
  const paid: Frame = { top: TOPS[1], minutes, highest: dollarsTop(results) };
  const label = `${title}: ${series} series as ${topics} topics`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(label)}">
<style>${STYLE}</style>
<rect class="page" width="${WIDTH}" height="${HEIGHT}"/>
${[
  text(LEFT, 40, label, 'class="title" style="font-size:22px"'),
  text(LEFT, TOPS[0] - 16, 'operations per second: what was asked for (area), and what each policy held ready (lines)'),
  ...axes(held),
  `<path class="load" d="M${[`${LEFT} ${held.top + PANEL_HEIGHT}`, ...points(load, held), `${WIDTH - RIGHT} ${held.top + PANEL_HEIGHT}`].join('L')}Z"/>`,
  ...results.map(({ policy, course }) => line(policy, course.capacity, held)),
  text(LEFT, TOPS[1] - 16, 'dollars so far, violations included'),
  ...axes(paid),
  ...results.map(({ policy, course }) => line(policy, course.dollars, paid)),
  ...results.flatMap(legend),
].join('\n')}
</svg>
`;
}

const highestOf = (all: readonly Float64Array[]): number =>
  1.06 * (all.reduce((most, values) => values.reduce((high, value) => Math.max(high, value), most), 0) || 1);

function dollarsTop(results: readonly PolicyResult[]): number {
  const sums = results.map(({ score }) => score.dollars);
  const least = Math.min(...sums);
  return 1.06 * (Math.max(...sums.filter((sum) => sum <= DRAWN_FACTOR * least)) || 1);
}

function axes({ top, highest, minutes }: Frame): string[] {
  const bottom = top + PANEL_HEIGHT;
  const width = WIDTH - LEFT - RIGHT;
  return [
    ...valueTicks(highest).flatMap(({ at, label }) => {
      const y = bottom - (at / highest) * PANEL_HEIGHT;
      return [
        `<path class="grid" d="M${LEFT} ${n(y)}h${width}"/>`,
        text(LEFT - 8, y + 4, label, 'text-anchor="end" style="font-size:12px"'),
      ];
    }),
    ...timeTicks(0, minutes * 60, 12).flatMap(({ at, label }) => {
      const x = LEFT + (at / (minutes * 60)) * width;
      return [
        `<path class="grid" d="M${n(x)} ${bottom}v5"/>`,
        text(x, bottom + 20, label, 'text-anchor="middle" style="font-size:12px"'),
      ];
    }),
  ];
}

const line = (policy: string, values: Float64Array, frame: Frame): string =>
  `<path class="line${policy === 'foreshard' ? ' ours' : ''}" stroke="${colourOf(policy)}" d="M${points(values, frame).join('L')}"/>`;

/** One point for each pixel at most; a line that leaves the frame ends where it does, since at its edge it would seem level. */
function points(values: Float64Array, { top, highest }: Frame): string[] {
  const width = WIDTH - LEFT - RIGHT;
  const every = Math.max(1, Math.floor(values.length / width));
  const found: string[] = [];
  for (let at = 0; at < values.length; at += every) {
    const value = Math.min(values[at]!, highest);
    const x = LEFT + (at / Math.max(1, values.length - 1)) * width;
    found.push(`${n(x)} ${n(top + PANEL_HEIGHT - (value / highest) * PANEL_HEIGHT)}`);
    if (values[at]! > highest) break;
  }
  return found;
}

function legend({ policy, score }: PolicyResult, index: number): string[] {
  const x = WIDTH - RIGHT + 24;
  const y = TOPS[0] + 16 + index * 58;
  return [
    `<path class="line${policy === 'foreshard' ? ' ours' : ''}" stroke="${colourOf(policy)}" d="M${x} ${y - 4}h22"/>`,
    text(x + 30, y, policy, 'class="title"'),
    text(x + 30, y + 17, `$${score.dollars.toFixed(2)}, ${score.violationSeconds} s in violation`),
    text(x + 30, y + 34, `${score.moves} moves, peak to mean ${score.peakToMean.toFixed(2)}`),
  ];
}

const colourOf = (policy: string): string => COLOURS[policy] ?? '#8a94a0';
