import { describe, expect, test } from 'vitest';
import { chart, outlineOf, timeAxis, valueAxis, whenText } from '../../evaluation/chart.ts';
import { fc } from '../support/property.ts';
import { drawn } from './charts.ts';

const ms = (iso: string): number => Date.parse(iso);

/** What stands at the axes of a chart over these times and values. */
async function labels(from: number, to: number, greatest: number, unit?: number): Promise<string[]> {
  const svg = await drawn(
    chart('made', [], {
      vconcat: [
        {
          data: { values: [from, to].map((at) => ({ at, value: greatest })) },
          mark: 'line',
          encoding: { x: timeAxis(from, to, 4), y: valueAxis(greatest, unit) },
          ...{ width: 400, height: 200 },
        },
      ],
    }),
  );
  return [...svg.matchAll(/role-axis-label"[^>]*>(.*?)<\/g>/g)].map(([, axis]) =>
    [...axis!.matchAll(/>([^<]+)<\/text>/g)].map(([, label]) => label).join(' '),
  );
}

describe('axes', () => {
  for (const { name, from, to, said } of [
    {
      name: 'a few hours',
      from: ms('2026-01-05T22:10:00Z'),
      to: ms('2026-01-06T07:00:00Z'),
      said: '6 Jan 03:00 06:00',
    },
    {
      name: 'two weeks',
      from: ms('2026-06-29T00:00:00Z'),
      to: ms('2026-07-11T00:00:00Z'),
      said: '30 Jun 2 Jul 4 Jul 6 Jul 8 Jul 10 Jul',
    },
    { name: 'a trace without a clock', from: 0, to: 4 * 86_400_000, said: 'day 1 day 2 day 3 day 4 day 5' },
  ])
    test(`times of ${name} are round`, async () => {
      expect((await labels(from, to, 1))[0]).toBe(said);
    });

  for (const { greatest, unit, said } of [
    { greatest: 1, said: '0 0.2 0.4 0.6 0.8 1' },
    { greatest: 130, said: '0 50 100' },
    { greatest: 8_100_000, said: '0 2M 4M 6M 8M' },
    { greatest: 0, said: '0 0.2 0.4 0.6 0.8 1' },
    { greatest: 20_000, unit: 30, said: '0 100 1k 10k' },
    { greatest: 20, unit: 30, said: '0' },
  ])
    test(`values up to ${greatest} are round${unit === undefined ? '' : ', on a logarithmic axis powers of ten'}`, async () => {
      expect((await labels(0, 86_400_000, greatest, unit))[1]).toBe(said);
    });
});

test('a moment is a day and a time, of the calendar or of a trace without a clock', () => {
  expect(whenText(ms('2026-01-05T06:00:00Z') / 1000)).toBe('5 Jan, 06:00');
  expect(whenText(11.25 * 86_400)).toBe('day 12, 06:00');
});

test('a line has two points for each pixel at most, among them the least and the greatest (H1)', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 300 }),
      fc.nat(299),
      fc.integer({ min: 1, max: 50 }),
      (list, skipped, pixels) => {
        const values = Float64Array.from(list);
        const from = Math.min(skipped, values.length - 1);
        const points = outlineOf(values, from, values.length, pixels);
        expect(points.length).toBeLessThanOrEqual(2 * pixels);
        expect(points.map(({ value }) => value)).toEqual(points.map(({ row }) => values[row]));
        expect(points.map(({ row }) => row)).toEqual([...new Set(points.map(({ row }) => row))].sort((a, b) => a - b));
        const shown = values.subarray(from);
        const drawnValues = points.map(({ value }) => value);
        expect(Math.min(...drawnValues)).toBe(Math.min(...shown));
        expect(Math.max(...drawnValues)).toBe(Math.max(...shown));
        if (shown.length <= pixels) expect(drawnValues).toEqual([...shown]);
      },
    ),
  );
});
