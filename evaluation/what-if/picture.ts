// Picture: the load of the stores, each policy's capacity, and each policy's costs so far, as a chart. Pure.

import {
  type Chart,
  COLOURS,
  chart,
  type Encoding,
  type Layers,
  outlineOf,
  type Part,
  timeAxis,
  valueAxis,
} from '../chart.ts';
import type { PolicyResult, WhatIfResult } from './run.ts';

const WIDTH = 840;
const HEIGHT = 270;
const MINUTE_MS = 60_000;
/** The cost axis ends at this many times the lowest cost; a dearer policy is clipped. */
const DRAWN_FACTOR = 3;

interface Look {
  readonly colour: string;
  readonly dash: number[];
}

const SOLID = [1, 0];
/** Blue and bold is ours; grey and dashed is the perfect forecast, which nobody can have. */
const LOOKS: Readonly<Record<string, Look>> = {
  foreshard: { colour: COLOURS.blue, dash: SOLID },
  perfect: { colour: COLOURS.grey, dash: [5, 3] },
  static_peak: { colour: COLOURS.vermilion, dash: SOLID },
  static_mean: { colour: COLOURS.purple, dash: SOLID },
  reactive: { colour: COLOURS.orange, dash: SOLID },
  p_store: { colour: COLOURS.green, dash: SOLID },
};

export function whatIfPicture({ load, results, series, topics }: WhatIfResult, title: string): Chart {
  const style = styleOf(results);
  const greatest = [load, ...results.map(({ course }) => course.capacity)].reduce(
    (most, values) => values.reduce((high, value) => Math.max(high, value), most),
    0,
  );
  const held = frame('operations per second: asked for (area), and held ready by each policy (lines)', load.length, [
    {
      data: { values: pointsOf(load) },
      mark: { type: 'area', color: COLOURS.actual, opacity: 0.2 },
      encoding: { y: valueAxis(greatest) },
    },
    {
      data: { values: linesOf(results, 'capacity') },
      mark: { type: 'line', strokeJoin: 'round' },
      encoding: { y: valueAxis(greatest), ...style },
    },
  ]);
  const paid = frame('dollars so far, violations included', load.length, [
    {
      data: { values: linesOf(results, 'dollars') },
      mark: { type: 'line', strokeJoin: 'round', clip: true },
      encoding: { y: valueAxis(dollarsTop(results)), ...style },
    },
  ]);
  return chart(`${title}: ${series} series as ${topics} topics`, ['Day 1 is the first that is paid for.'], {
    vconcat: [held, paid],
    spacing: 30,
  });
}

const frame = (title: string, minutes: number, layer: Layers): Part => ({
  ...{ title, width: WIDTH, height: HEIGHT, layer },
  encoding: { x: timeAxis(0, (minutes - 1) * MINUTE_MS, 12) },
});

function dollarsTop(results: readonly PolicyResult[]): number {
  const sums = results.map(({ score }) => score.dollars);
  const least = Math.min(...sums);
  return Math.max(...sums.filter((sum) => sum <= DRAWN_FACTOR * least));
}

const pointsOf = (values: Float64Array): { readonly at: number; readonly value: number }[] =>
  outlineOf(values, 0, values.length, WIDTH).map(({ row, value }) => ({ at: row * MINUTE_MS, value }));

const linesOf = (results: readonly PolicyResult[], what: 'capacity' | 'dollars') =>
  results.flatMap(({ policy, course }) => pointsOf(course[what]).map((point) => ({ ...point, policy })));

/** A policy's line style, and its result in the legend. */
function styleOf(results: readonly PolicyResult[]): Encoding {
  const domain = results.map(({ policy }) => policy);
  const looks = domain.map((policy) => LOOKS[policy]!);
  const labels = Object.fromEntries(results.map((each) => [each.policy, labelOf(each)]));
  const legend = { title: null, labelExpr: `${JSON.stringify(labels)}[datum.label]`, rowPadding: 14 };
  return {
    color: {
      field: 'policy',
      scale: { domain, range: looks.map(({ colour }) => colour) },
      legend: { ...legend, symbolType: 'stroke' },
    },
    strokeDash: { field: 'policy', scale: { domain, range: looks.map(({ dash }) => dash) }, legend },
    strokeWidth: { condition: { test: "datum.policy === 'foreshard'", value: 2.6 }, value: 1.4 },
  };
}

const labelOf = ({ policy, score }: PolicyResult): string[] => [
  `${policy}: $${score.dollars.toFixed(2)}`,
  `${score.violationSeconds} s in violation`,
  `${score.moves} moves`,
  `peak to mean ${score.peakToMean.toFixed(2)}`,
];
