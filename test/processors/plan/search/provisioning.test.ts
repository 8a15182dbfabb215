import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { Risk } from '../../../../processors/plan/demand/risk.ts';
import { planShards, shardChange } from '../../../../processors/plan/search/provisioning.ts';

const LEVELS = [0.5, 0.99];
const CAPACITY = 10;
const FEW = 0.05 * CAPACITY;

/** Loads that are as good as certain, one for each row. */
const certain = (...loads: number[]) => ({
  levels: LEVELS,
  quantiles: Float64Array.from(loads.flatMap((l) => [l, l])),
});

describe('the plan for loads that are known', () => {
  for (const { name, loads, decided, price = 100, expected } of [
    { name: 'has what carries the load', loads: [25, 25, 25, 25], decided: 3, expected: 3 },
    { name: 'has one shard for no load', loads: [0, 0, 0, 0], decided: 4, expected: 1 },
    {
      name: 'orders for a single row when that is cheaper than to be short',
      loads: [35, 5, 5],
      decided: 1,
      expected: 4,
    },
    { name: 'is short for a row when that is cheaper', loads: [35, 5, 5], decided: 1, price: 11, expected: 1 },
    { name: 'does not order before the row that needs it', loads: [5, 35, 35], decided: 1, expected: 1 },
    { name: 'keeps through a dip that is shorter than the lead time', loads: [5, 5, 35, 35], decided: 4, expected: 4 },
    { name: 'removes for one that is not', loads: [5, 5, 5, 35, 35], decided: 4, expected: 1 },
    { name: 'keeps of a peak what a nearer peak needs', loads: [5, 25, 5, 5, 5, 35], decided: 4, expected: 3 },
  ])
    test(name, () => {
      const terms = { capacity: CAPACITY, orderRows: 3, shortagePrice: price };
      expect(planShards(certain(...loads), terms, decided).shards).toBe(expected);
    });
});

describe('the plan for loads that are not', () => {
  const cases = Array.from({ length: 60 }, (_, seed) => {
    const random = randomFrom(seed + 1);
    const rows = 2 + Math.floor(random() * 3);
    const loads = Array.from({ length: rows }, () => ascending(40 * random(), 40 * random()));
    const demand = { levels: LEVELS, quantiles: Float64Array.from(loads.flat()) };
    const terms = { capacity: CAPACITY, orderRows: 1 + Math.floor(random() * 4), shortagePrice: 2 + 60 * random() };
    return { seed: seed + 1, demand: demand, terms, decided: 1 + Math.floor(random() * 6) };
  });

  test('costs what the best of all sequences costs', () => {
    for (const { seed, demand, terms, decided } of cases) {
      const best = leastCosts(demand, terms, decided);
      const { shards: planned, saves } = planShards(demand, terms, decided);
      const least = Math.min(...best.values());
      expect(best.get(planned), `seed ${seed}`).toBeCloseTo(least, 9);
      expect(saves, `seed ${seed}`).toBeCloseTo(best.get(decided)! - least, 9);
      // V4: no smaller number costs the same.
      for (const [shards, cost] of best) if (shards < planned) expect(cost, `seed ${seed}`).toBeGreaterThan(least);
    }
  });

  test('never has fewer shards at a higher price (V4)', () => {
    for (const { seed, demand, terms, decided } of cases) {
      const planned = [1.5, 5, 20, 80, 320, 5_000].map(
        (shortagePrice) => planShards(demand, { ...terms, shortagePrice }, decided).shards,
      );
      expect(planned, `seed ${seed}`).toEqual(planned.toSorted((a, b) => a - b));
    }
  });

  test('is the same for the same demand', () => {
    for (const { demand, terms, decided } of cases)
      expect(planShards(demand, terms, decided)).toEqual(planShards(demand, terms, decided));
  });

  test('stays within bounds when the forecast is absurd', () => {
    const terms = { capacity: CAPACITY, orderRows: 3, shortagePrice: 1_000 };
    expect(planShards(certain(1e12, 1e12), terms, 2).shards).toBeLessThanOrEqual(4096);
  });
});

describe('what is done about a plan', () => {
  for (const { name, plans, agreeing = 2, ordered = 0, removing = 0, change } of [
    { name: 'more shards are ordered at once', plans: [3, 7], change: 2 },
    { name: 'as many as there will be: nothing', plans: [9, 5], change: 0 },
    { name: 'what is being removed is not there', plans: [5, 5], removing: 2, change: 2 },
    { name: 'what is ordered is there', plans: [7, 7], ordered: 1, change: 1 },
    { name: 'nothing is removed while something is ordered (V2)', plans: [3, 3], ordered: 1, change: 0 },
    { name: 'as many are removed as two plans could do without (V3)', plans: [4, 3], change: -1 },
    { name: 'a third plan has nothing to say when two must agree', plans: [9, 4, 3], change: -1 },
    { name: 'and has when three must', plans: [9, 4, 3], agreeing: 3, change: 0 },
    { name: 'nothing is removed when the plan before needed all', plans: [5, 3], change: 0 },
    { name: 'nothing is removed when the plan before needed more', plans: [6, 3], change: 0 },
    { name: 'nothing is removed by the first plan', plans: [3], change: 0 },
  ])
    test(name, () => expect(shardChange(plans, agreeing, { serving: 5, ordered, removing })).toBe(change));
});

const ascending = (...loads: number[]): number[] => loads.sort((a, b) => a - b);

/** By the first number: the least cost of all sequences that begin with it. Every sequence is tried. */
function leastCosts(
  { levels, quantiles }: Parameters<typeof planShards>[0],
  { capacity, orderRows, shortagePrice }: Parameters<typeof planShards>[1],
  decided: number,
): Map<number, number> {
  const risks: Risk[] = [];
  for (let from = 0; from < quantiles.length; from += levels.length)
    risks.push(new Risk(levels, quantiles.subarray(from, from + levels.length), FEW));
  const most = 12;
  const costFrom = (row: number, before: number): number => {
    if (row === risks.length) return 0;
    let least = Number.POSITIVE_INFINITY;
    for (let shards = 1; shards <= most; shards++) least = Math.min(least, costWith(row, before, shards));
    return least;
  };
  const costWith = (row: number, before: number, shards: number): number =>
    shards +
    orderRows * Math.max(0, shards - before) +
    shortagePrice * risks[row]!.above(shards * capacity) +
    costFrom(row + 1, shards);
  return new Map(Array.from({ length: most }, (_, n) => [n + 1, costWith(0, decided, n + 1)]));
}
