import { describe, expect, test } from 'vitest';
import type { Pictured } from '../../../evaluation/backtest/panel.ts';
import { overviewPicture, seriesPicture } from '../../../evaluation/backtest/picture.ts';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import { hours } from './synthetic.ts';

/** Forecasts of 24 steps whose quantiles are 10 apart. */
function pictured(over: Partial<Pictured> = {}): Pictured {
  const quantiles = Float64Array.from({ length: 24 * LEVELS.length }, (_, at) => 50 + 10 * (at % LEVELS.length));
  return {
    title: 'made / rate',
    name: 'rate',
    model: 'Foreshard',
    scores: [1, 12, 24].map((horizon) => ({ horizon, MASE: 0.5, wQL: 0.25, cover95: 0.95 })),
    startSeconds: 1_767_571_200,
    stepSeconds: 3_600,
    values: hours(400),
    testStart: 300,
    forecasts: [300, 310, 330, 360, 376].map((origin) => ({ origin, quantiles })),
    ...over,
  };
}

const count = (svg: string, part: string): number => svg.split(part).length - 1;
/** Every element that is opened is closed, in order. */
function isWellFormed(svg: string): boolean {
  const open: string[] = [];
  for (const [, slash, name, rest] of svg.matchAll(/<(\/?)([a-zA-Z]+)([^>]*)>/g)) {
    if (slash === '/') {
      if (open.pop() !== name) return false;
    } else if (!rest!.endsWith('/')) open.push(name!);
  }
  return open.length === 0;
}

describe('picture of a series', () => {
  const svg = seriesPicture(pictured());

  test('says what it shows: series, model, scores, what a value is, when', () => {
    for (const said of ['made / rate', 'Foreshard: 1 step MASE 0.50', 'rate, each 1 h', 'time in UTC', 'forecast from'])
      expect(svg).toContain(said);
  });

  test('draws the forecasts that do not overlap over the test quarter, and three from near', () => {
    // 300 and 310 overlap, and so do 360 and 376: three are left.
    expect(count(svg, '<path class="median" d="M0 0')).toBe(1);
    expect(count(svg, '<path class="median"')).toBe(1 + 3 + 3);
    expect(count(svg, '<path class="band"')).toBe(1 + 3 + 3);
    expect(count(svg, '<path class="upper"')).toBe(1 + 3 + 3);
  });

  test('the 0.95 line is inside its panel, however far above the rest it lies', () => {
    const tall = 24 * LEVELS.length;
    const quantiles = Float64Array.from({ length: tall }, (_, at) =>
      LEVELS[at % LEVELS.length] === 0.95 ? 2_000 : 50,
    );
    const drawn = seriesPicture(pictured({ forecasts: [{ origin: 376, quantiles }] }));
    const panels = [...drawn.matchAll(/<rect x="[\d.]+" y="([\d.]+)"/g)].map((found) => Number(found[1]));
    const lines = [...drawn.matchAll(/<path class="upper" d="M(\d[^"]*)"/g)].filter(([, d]) => d !== '0 0h24');
    for (const [, points] of lines)
      for (const point of points!.split('L'))
        expect(
          panels.some((top) => Number(point.split(' ')[1]) >= top && Number(point.split(' ')[1]) < top + 400),
        ).toBe(true);
    expect(
      Math.min(...lines.flatMap(([, d]) => d!.split('L').map((point) => Number(point.split(' ')[1])))),
    ).toBeGreaterThan(Math.min(...panels));
  });

  test('suits a light and a dark screen', () => {
    expect(svg).toContain('prefers-color-scheme: dark');
    expect(svg).toContain('<rect class="page"');
  });

  for (const { name, over } of [
    { name: 'any series', over: {} },
    { name: 'a name that looks like markup', over: { title: '<b>&"', name: '</svg>' } },
    { name: 'nothing but zeros', over: { values: new Float64Array(400) } },
    { name: 'a burst', over: { values: hours(400).fill(1e9, 350, 352) } },
    { name: 'a trace without a clock', over: { startSeconds: 0 } },
    { name: 'a single forecast', over: { forecasts: pictured().forecasts.slice(0, 1) } },
    { name: 'many rows to a pixel', over: { values: hours(40_000) } },
  ])
    test(`${name}: well-formed, and every number is one`, () => {
      for (const each of [seriesPicture(pictured(over)), overviewPicture([pictured(over)], 'all')]) {
        expect(isWellFormed(each)).toBe(true);
        expect(each).not.toMatch(/NaN|Infinity|undefined/);
      }
    });

  test('a name that looks like markup is text', () => {
    expect(seriesPicture(pictured({ title: '<b>' }))).toContain('>&lt;b&gt;<');
  });

  test('a series of bursts has a logarithmic scale, and says so', () => {
    expect(svg).not.toContain('logarithmic');
    expect(seriesPicture(pictured({ values: hours(400).fill(1e9, 350, 352) }))).toContain(
      'rate, each 1 h (logarithmic)',
    );
  });

  test('many rows are drawn as few points', () => {
    expect(seriesPicture(pictured({ values: hours(40_000) })).length).toBeLessThan(100_000);
  });
});

test('the overview has a panel for each series', () => {
  const svg = overviewPicture([pictured(), pictured({ title: 'made / other' }), pictured()], 'three series');
  expect(svg).toContain('three series');
  expect(svg).toContain('made / other');
  expect(count(svg, '<clipPath')).toBe(3);
  expect(new Set(svg.match(/clipPath id="[^"]+"/g)).size).toBe(3);
});
