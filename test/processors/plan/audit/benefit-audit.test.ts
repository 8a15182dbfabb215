// Benefit audit: what was promised is measured, reviewed, and tunes the dead band. Invariants H1 to H3 of benefit-audit.ts.

import { describe, expect, test } from 'vitest';
import { earnedDeadBand } from '../../../../processors/plan/audit/benefit-audit.ts';
import { catalogOf } from '../../../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../../../processors/plan/settings.ts';
import { cellOf } from '../../../../processors/plan/stage/cell-state.ts';
import type { Decision } from '../../../../schemas/records.ts';
import { CATALOG, SETTINGS, T0 } from '../stage-by-hand.ts';
import { simulate, type World } from '../world.ts';

const TOPICS = 100;

/** Many even topics that together ask for `perSecond` by minute. */
const run = (perSecond: (minute: number) => number, minutes: number, more: Partial<World> = {}) =>
  simulate(
    {
      topics: Array.from({ length: TOPICS }, (_, i) => ({
        topic: `fleet/device-${i}`,
        perSecond: (minute: number) => perSecond(minute) / TOPICS,
      })),
      forecaster: 'perfect',
      heavyPerSecond: 200,
      entriesPerSlice: 10_000,
      ...more,
    },
    minutes,
  );

const reviews = ({ cell }: ReturnType<typeof run>): Decision[] =>
  cell.decisions.filter(({ kind }) => kind === 'REVIEW');
const band = ({ cell }: ReturnType<typeof run>): number => earnedDeadBand(cellOf(cell.rows)!, SETTINGS);
const minuteOf = ({ at }: Decision): number => Math.round((at - T0) / 60_000);

describe('a promise', () => {
  test('of a crowd that comes as forecast is kept, and the dead band stays as it is', () => {
    const crowd = run((minute) => (minute >= 60 ? 1_200 : 300), 150);
    const [review, ...more] = reviews(crowd);
    expect(more).toEqual([]);
    expect(review).toMatchObject({ subject: 'shard-0001', capacityPerSecond: 800 });
    expect(review!.realisedDollars).toBeGreaterThan(0.95 * review!.promisedDollars);
    expect(review!.realisedDollars).toBeLessThan(1.05 * review!.promisedDollars);
    expect(band(crowd)).toBeCloseTo(PLAN_DEFAULTS.deadBand, 2);
  });

  test('is reviewed an hour after it was made', () => {
    const crowd = run((minute) => (minute >= 60 ? 1_200 : 300), 150);
    const begun = crowd.cell.decisions.find(({ kind }) => kind === 'ALLOCATE')!;
    expect(minuteOf(reviews(crowd)[0]!) - minuteOf(begun)).toBe(60);
  });

  test('of a crowd that leaves at once is not kept, and the dead band grows (H3)', () => {
    const crowd = run((minute) => (minute >= 30 && minute < 42 ? 1_500 : 300), 100, { forecaster: 'late' });
    const [review] = reviews(crowd);
    const kept = review!.realisedDollars / review!.promisedDollars;
    expect(kept).toBeLessThan(0.25);
    expect(band(crowd)).toBeCloseTo(PLAN_DEFAULTS.deadBand * (1 + 0.2 * (1 - kept)), 9);
  });

  test('says what overload came all the same', () => {
    const crowd = run((minute) => (minute >= 30 && minute < 42 ? 1_500 : 300), 100, { forecaster: 'late' });
    expect(reviews(crowd)[0]!.reason).toMatch(/In spite of the action it was above that for \d+ min/);
  });

  test('is made of a shard that keeps its entries on disk, however little memory it has', () => {
    const types = [...CATALOG.values()].map((type) => ({ ...type, memoryBytes: 1e6, storageBytes: type.memoryBytes }));
    const onDisk = run((minute) => (minute >= 60 ? 1_200 : 300), 150, { settings: { catalog: catalogOf({ types }) } });
    expect(reviews(onDisk)).toHaveLength(1);
  });

  test('is made by what is carried out alone: in observe nothing is reviewed', () => {
    const crowd = run((minute) => (minute >= 60 ? 1_200 : 300), 150, { settings: { mode: 'observe' } });
    expect(reviews(crowd)).toEqual([]);
  });
});

describe('what is given back', () => {
  const evening = (minute: number): number => (minute >= 60 && minute < 90 ? 1_200 : 200);

  test('saves what was promised when it is not needed', () => {
    const review = reviews(run(evening, 300, { entriesPerSlice: 0 })).at(-1)!;
    expect(review).toMatchObject({ subject: 'shard-0003', promisedDollars: 0.1, realisedDollars: 0.1 });
  });

  test('and is bought again within the hour has saved only until then (H2)', () => {
    const again = run((minute) => evening(minute) + (minute >= 145 ? 1_200 : 0), 220, {
      entriesPerSlice: 0,
      forecaster: 'late',
    });
    const review = reviews(again).find(({ reason }) => reason.includes('was bought'))!;
    expect(review.realisedDollars).toBeLessThan(0.1);
    expect(review.reason).toContain('of the promised $0.10');
  });
});

test('the dead band stays between one and two times its setting, whatever was kept (H3)', () => {
  for (const kept of [undefined, 0, 0.5, 1])
    expect(earnedDeadBand(kept === undefined ? {} : { kept }, SETTINGS)).toBe(SETTINGS.deadBand * (2 - (kept ?? 1)));
});
