import { describe, expect, test } from 'vitest';
import { gridOf, MINUTE_GRID, placesOf } from '../../../processors/forecast/grid.ts';

const MINUTE_MS = 60_000;

describe('grid', () => {
  for (const { minutes, horizonSteps, season, longSeason, slotSteps, distances } of [
    { minutes: 1, horizonSteps: 240, season: 1440, longSeason: 10_080, slotSteps: 5, distances: [1, 4, 16, 64, 240] },
    { minutes: 5, horizonSteps: 288, season: 288, longSeason: 2016, slotSteps: 1, distances: [1, 4, 16, 64, 288] },
    { minutes: 30, horizonSteps: 48, season: 48, longSeason: 336, slotSteps: 1, distances: [1, 4, 16, 48] },
    { minutes: 60, horizonSteps: 24, season: 24, longSeason: 168, slotSteps: 1, distances: [1, 4, 16, 24] },
    { minutes: 1440, horizonSteps: 1, season: 7, longSeason: 364, slotSteps: 1, distances: [1] },
  ])
    test(`steps of ${minutes} min have a season of ${season} and the distances ${distances}`, () =>
      expect(gridOf({ stepMs: minutes * MINUTE_MS, horizonSteps })).toEqual({
        stepMs: minutes * MINUTE_MS,
        season,
        longSeason,
        slotSteps,
        distances,
      }));

  test('a season can be given, and slots divide it', () => {
    const grid = gridOf({ stepMs: MINUTE_MS, horizonSteps: 10, season: 7, longSeason: 49 });
    expect([grid.season, grid.longSeason, grid.slotSteps]).toEqual([7, 49, 1]);
  });

  test('distances ascend from one step to the horizon, and none lies just below it', () => {
    for (let horizonSteps = 1; horizonSteps <= 2_000; horizonSteps++) {
      const { distances } = gridOf({ stepMs: MINUTE_MS, horizonSteps });
      expect(distances[0]).toBe(1);
      expect(distances.at(-1)).toBe(horizonSteps);
      for (let d = 1; d < distances.length; d++) expect(distances[d]).toBeGreaterThan(distances[d - 1]!);
      if (distances.length > 2) expect(horizonSteps / distances.at(-2)!).toBeGreaterThanOrEqual(1.25);
    }
  });

  test('a step at a distance is in its place, one between two lies between them, in logarithms', () => {
    const places = placesOf(MINUTE_GRID);
    expect(places.length).toBe(1440);
    for (const [d, ahead] of MINUTE_GRID.distances.entries()) expect(places[ahead - 1]).toEqual({ near: d, share: 0 });
    expect(places[1]!.near).toBe(0);
    expect(places[1]!.share).toBeCloseTo(0.5); // 2 lies halfway between 1 and 4.
    expect(places[7]!.share).toBeCloseTo(0.5); // 8 between 4 and 16.
    for (let ahead = 2; ahead <= 1440; ahead++) {
      const [before, here] = [places[ahead - 2]!, places[ahead - 1]!];
      expect(here.near + here.share).toBeGreaterThan(before.near + before.share);
    }
  });
});
