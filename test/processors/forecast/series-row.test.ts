// A series as an earlier release stored it (rows/series-row.json: the past, the row twenty steps later, and what that
// release forecast from it): both signals, four days of minutes, a few of them bursts.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Forecaster } from '../../../processors/forecast/forecaster.ts';
import { MINUTE_GRID } from '../../../processors/forecast/grid.ts';
import { DEFAULT_MODELS } from '../../../processors/forecast/models/models.ts';
import { PastRow, SeriesRow } from '../../../processors/forecast/series-row.ts';
import { BinaryReader, BinaryWriter } from '../../../state/binary.ts';

interface Stored {
  readonly past: string;
  readonly row: string;
  readonly signals: readonly {
    readonly near: readonly number[];
    readonly far: readonly number[];
    readonly leader: string;
    readonly weights: Readonly<Record<string, number>>;
    readonly error: number;
    readonly coverage: number;
  }[];
}

const STORED = JSON.parse(readFileSync(new URL('rows/series-row.json', import.meta.url), 'utf8')) as Stored;
const SHAPE = { nearSteps: 128, farSlots: 600 };

function read(): SeriesRow {
  const brain = new Forecaster(MINUTE_GRID, DEFAULT_MODELS, SHAPE);
  const past = new PastRow(Buffer.from(STORED.past, 'base64'));
  return SeriesRow.read(new BinaryReader(Buffer.from(STORED.row, 'base64')), brain, past);
}

describe('series row: of an earlier release', () => {
  test('it is read to the same forecasts', () => {
    for (const [s, signal] of read().signals.entries()) {
      const stored = STORED.signals[s]!;
      const { near, far } = signal!.quantiles();
      for (const [i, quantile] of stored.near.entries()) expect(near[i]! / quantile).toBeCloseTo(1, 12);
      for (const [i, quantile] of stored.far.entries()) expect(far[i]! / quantile).toBeCloseTo(1, 12);
      expect(signal!.opinion().leader).toBe(stored.leader);
      expect(Object.keys(signal!.opinion().weights)).toEqual(Object.keys(stored.weights));
      for (const [name, weight] of Object.entries(signal!.opinion().weights))
        expect(weight).toBeCloseTo(stored.weights[name]!, 12);
      expect(signal!.recentError()).toBeCloseTo(stored.error, 12);
      expect(signal!.coverage()).toBeCloseTo(stored.coverage, 12);
    }
  });

  test('S1: it is written again byte for byte', () => {
    const row = read();
    const to = new BinaryWriter();
    row.write(to);
    expect(to.bytes().toString('base64')).toBe(STORED.row);
  });

  test('whoever reads it goes on as every other reader does', () => {
    const [one, other] = [read(), read()];
    other.signals[0].quantiles(); // Asking changes nothing.
    for (const each of [one, other]) for (let step = 0; step < 30; step++) each.closeStep();
    expect(other.signals[0].quantiles()).toEqual(one.signals[0].quantiles());
  });
});
