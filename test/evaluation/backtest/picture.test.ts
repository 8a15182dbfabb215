import { describe, expect, test } from 'vitest';
import { overviewPicture, type Pictured, seriesPicture } from '../../../evaluation/backtest/picture.ts';
import { LEVELS } from '../../../processors/forecast/combine/calibration.ts';
import { drawn, type Panel, panelsOf, rowsOf, topOf } from '../charts.ts';
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

const foreseen = (panel: Panel, line: string) => rowsOf(panel, 'line').filter((row) => row.line === line);
const originsIn = (panel: Panel) => new Set(foreseen(panel, 'median').map(({ origin }) => origin));

describe('picture of a series', () => {
  test('says what it shows: series, model, scores, what a value is, when', async () => {
    const svg = await drawn(seriesPicture(pictured()));
    for (const said of [
      'made / rate',
      'Foreshard, 1 step ahead: MASE 0.50, wQL 0.25, cover95 0.95',
      'rate, each 1 h',
      'Times are UTC',
      'forecast from 17 Jan, 12:00',
    ])
      expect(svg).toContain(said);
    for (const entry of ['actual', 'median', '0.95', '0.1 to 0.9']) expect(svg).toContain(`>${entry}</text>`);
  });

  test('shows the forecasts that do not overlap over the test quarter, and three from near', () => {
    const [whole, ...near] = panelsOf(seriesPicture(pictured()));
    // 300 and 310 overlap, and so do 360 and 376: three are left.
    expect([...originsIn(whole!)]).toEqual([300, 330, 360]);
    expect(near.map((panel) => [...originsIn(panel)])).toEqual([[300], [330], [376]]);
  });

  test('a forecast has its median, its 0.95 line and the band from 0.1 to 0.9 at each step', () => {
    const near = panelsOf(seriesPicture(pictured()))[1]!;
    const band = rowsOf(near, 'area');
    expect([foreseen(near, 'median'), foreseen(near, '0.95'), band].map((rows) => rows.length)).toEqual([24, 24, 24]);
    expect([foreseen(near, 'median')[0]!.value, foreseen(near, '0.95')[0]!.value]).toEqual([90, 140]);
    expect(band[0]).toMatchObject({ value: 50, high: 130, at: (1_767_571_200 + 300 * 3_600) * 1000 });
    expect(rowsOf(near, 'rule')).toHaveLength(1);
  });

  test('what came is shown as it was', () => {
    const [whole] = panelsOf(seriesPicture(pictured()));
    expect(foreseen(whole!, 'actual').map(({ value }) => value)).toEqual([...hours(400).subarray(300)]);
  });

  test('there is room for the 0.95 line, however far above the rest it lies', () => {
    const quantiles = Float64Array.from({ length: 24 * LEVELS.length }, (_, at) =>
      LEVELS[at % LEVELS.length] === 0.95 ? 2_000 : 50,
    );
    for (const panel of panelsOf(seriesPicture(pictured({ forecasts: [{ origin: 376, quantiles }] }))))
      expect(topOf(panel)).toBeGreaterThan(2_000);
  });

  for (const { name, over } of [
    { name: 'any series', over: {} },
    { name: 'a name that looks like markup', over: { title: '<b>&"', name: '</svg>' } },
    { name: 'nothing but zeros', over: { values: new Float64Array(400) } },
    { name: 'a burst', over: { values: hours(400).fill(1e9, 350, 352) } },
    { name: 'the greatest number that there is', over: { values: hours(400).fill(Number.MAX_VALUE, 350, 352) } },
    {
      name: 'a forecast without end',
      over: { forecasts: [{ origin: 360, quantiles: new Float64Array(24 * LEVELS.length).fill(Infinity) }] },
    },
    { name: 'a trace without a clock', over: { startSeconds: 0 } },
    { name: 'a single forecast', over: { forecasts: pictured().forecasts.slice(0, 1) } },
    { name: 'many rows to a pixel', over: { values: hours(40_000) } },
  ])
    test(`${name}: drawn, and every number is one`, async () => {
      for (const each of [seriesPicture(pictured(over)), overviewPicture([pictured(over)], 'all')])
        expect((await drawn(each)).length).toBeGreaterThan(1_000);
    });

  test('a series of bursts has a logarithmic scale, and says so', () => {
    const scalesOf = (values: Float64Array) => {
      const [whole] = panelsOf(seriesPicture(pictured({ values })));
      return [whole!.title, whole!.layer.at(-1)!.encoding?.y?.scale.type];
    };
    expect(scalesOf(hours(400))).toEqual(['rate, each 1 h', undefined]);
    expect(scalesOf(hours(400).fill(1e9, 350, 352))).toEqual(['rate, each 1 h (logarithmic)', 'symlog']);
  });

  test('many rows are drawn as few points', async () => {
    expect((await drawn(seriesPicture(pictured({ values: hours(40_000) })))).length).toBeLessThan(120_000);
  });

  for (const [stepSeconds, said] of [
    [60, '1 min'],
    [300, '5 min'],
    [5_400, '1.5 h'],
    [86_400, '1 d'],
    [7, '7 s'],
  ] as const)
    test(`a step of ${stepSeconds} s is ${said}`, () => {
      expect(panelsOf(seriesPicture(pictured({ stepSeconds })))[0]!.title).toBe(`rate, each ${said}`);
    });
});

test('the overview has a panel for each series, with one forecast', async () => {
  const chart = overviewPicture([pictured(), pictured({ title: 'made / other' }), pictured()], 'three series');
  expect(panelsOf(chart).map((panel) => originsIn(panel).size)).toEqual([1, 1, 1]);
  const svg = await drawn(chart);
  for (const said of ['three series', 'made / other', 'MASE 0.50, wQL 0.25', '24 steps ahead'])
    expect(svg).toContain(said);
});
