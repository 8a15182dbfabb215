import { describe, expect, test } from 'vitest';
import { REACTIVE_DEFAULTS, reactive, staticPeak } from '../../cli/compare.ts';
import { DEMO_CATALOG } from '../../cli/demo/demo-catalog.ts';
import { catalogOf, typeNamed } from '../../processors/plan/cluster/catalog.ts';

/** 1,000 operations/s, 0.5 dollars/h, 0.02 dollars for each, 90 s to provision: with 30 s to move, 2 minutes. */
const type = typeNamed(catalogOf(DEMO_CATALOG), 'kv-small');
const SAFE = 800;

const minutes = (...parts: readonly (readonly [count: number, load: number])[]): number[] =>
  parts.flatMap(([count, load]) => Array<number>(count).fill(load));

describe('compare', () => {
  for (const { name, perMinute, shards, dollars } of [
    { name: 'an idle hour needs one shard', perMinute: minutes([60, 0]), shards: 1, dollars: 0.52 },
    { name: 'a load at safe capacity needs one shard', perMinute: minutes([60, SAFE]), shards: 1, dollars: 0.52 },
    {
      name: 'one minute above it needs two all the time',
      perMinute: minutes([59, 10], [1, 801]),
      shards: 2,
      dollars: 1.04,
    },
    {
      name: 'a peak of three shards is paid for all day',
      perMinute: minutes([1439, 10], [1, 2400]),
      shards: 3,
      dollars: 36.06,
    },
  ])
    test(`static peak: ${name}`, () => {
      const cost = staticPeak({ type, perMinute }, 0.8);
      expect(cost.shardsMax).toBe(shards);
      expect(cost.dollars).toBeCloseTo(dollars, 9);
      expect(cost.overloadedMinutes).toBe(0);
    });

  for (const { name, perMinute, overloaded, shards } of [
    { name: 'a steady load is never above capacity', perMinute: minutes([60, 700]), overloaded: 0, shards: 1 },
    {
      name: 'a step is above it until the new shard has come',
      perMinute: minutes([30, 700], [30, 1500]),
      overloaded: 3,
      shards: 2,
    },
    {
      name: 'a ramp is above it for three minutes at each of its three thresholds',
      perMinute: [...minutes([10, 700]), ...Array.from({ length: 40 }, (_, minute) => 700 + 60 * minute)],
      overloaded: 9,
      shards: 4,
    },
    {
      name: 'a burst that is over before the shard is there was above it',
      perMinute: minutes([10, 700], [1, 900], [20, 700]),
      overloaded: 1,
      shards: 2,
    },
  ])
    test(`reactive: ${name}`, () => {
      const cost = reactive({ type, perMinute }, REACTIVE_DEFAULTS);
      expect(cost.overloadedMinutes).toBe(overloaded);
      expect(cost.shardsMax).toBe(shards);
    });

  test('reactive: shards that were not needed for ten minutes are given back', () => {
    const day = minutes([60, 700], [60, 1500], [1320, 100]);
    const cost = reactive({ type, perMinute: day }, REACTIVE_DEFAULTS);
    // One shard all day, a second one from the minute after the step until ten quiet minutes have passed.
    const secondMinutes = 60 - 1 + 9;
    expect(cost.dollars).toBeCloseTo(0.5 * 24 + 0.02 + 0.02 + (0.5 * secondMinutes) / 60, 1);
    expect(cost.dollars).toBeLessThan(staticPeak({ type, perMinute: day }, 0.8).dollars);
  });

  test('reactive: no load at all costs nothing and breaks nothing', () => {
    expect(reactive({ type, perMinute: [] }, REACTIVE_DEFAULTS)).toEqual({
      dollars: 0.02,
      overloadedMinutes: 0,
      shardsMax: 1,
    });
  });
});
