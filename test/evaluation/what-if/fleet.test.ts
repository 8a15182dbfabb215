import { describe, expect, test } from 'vitest';
import type { SliceWeights } from '../../../evaluation/what-if/fleet.ts';
import { PLAN_DEFAULTS } from '../../../processors/plan/settings.ts';
import type { SliceKey } from '../../../schemas/ids.ts';
import { groupSlice, hashSlice, partitionOf, pinSlice, ROOT_KEY } from '../../../state/keys.ts';
import { firstSlices } from '../../../state/slice-tree.ts';
import { fleetOf, played } from './synthetic.ts';

const TWO = played({ day: (minute) => 10 + minute, night: () => 5 }, 120);
const PARTITIONS = 4;
const { operationsPerConcreteLookup, operationsPerWildcardLookup, operationsPerSubscribe } = PLAN_DEFAULTS.coefficients;

/** Of all slices whose key begins so. */
function total(weights: ReadonlyMap<SliceKey, SliceWeights>, prefix: string, series: number): number {
  return [...weights].reduce((sum, [key, each]) => sum + (key.startsWith(prefix) ? each.operations[series]! : 0), 0);
}

describe('made fleet', () => {
  test('the shares of a family are skewed and sum to 1', () => {
    const { topics } = fleetOf(TWO);
    const shares = topics.filter(({ series }) => series === 0).map(({ share }) => share);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(Math.max(...shares)).toBeGreaterThan(10 / shares.length);
  });

  test('the same seed gives the same topics, another seed others', () => {
    expect(fleetOf(TWO).topics).toEqual(fleetOf(TWO).topics);
    expect(fleetOf(TWO, { seed: 8 }).topics).not.toEqual(fleetOf(TWO).topics);
  });

  test('series weigh the same in their busy times, and together what was asked for', () => {
    const { perSecond } = fleetOf(played({ small: () => 0.5, large: () => 3_000 }, 120), { busyPerSecond: 100 });
    expect(perSecond.map((rates) => rates[90])).toEqual([50, 50]);
  });

  test('what comes after the minutes to learn from does not change the scale', () => {
    const calm = fleetOf(played({ one: () => 10 }, 120));
    const burst = fleetOf(played({ one: (minute) => (minute < 60 ? 10 : 1_000) }, 120));
    expect(burst.perSecond[0]![59]).toBe(calm.perSecond[0]![59]);
    expect(burst.perSecond[0]![60]).toBe(100 * calm.perSecond[0]![60]!);
  });

  test('a series of zeros is a family that is silent', () => {
    const { perSecond } = fleetOf(played({ none: () => 0, some: () => 3 }, 120));
    expect(perSecond[0]!.every((rate) => rate === 0)).toBe(true);
    expect(perSecond[1]![0]).toBe(100);
  });

  test('names become valid, distinct first levels', () => {
    expect(fleetOf(played({ 'a/b': () => 1, 'a+b': () => 1, $SYS: () => 1 }, 120)).names).toEqual([
      'a-b',
      'a-b-2',
      '-SYS',
    ]);
  });

  test('every message asks one concrete slice once, with its share of subscription events', () => {
    const weights = fleetOf(TWO).weights(firstSlices(PARTITIONS));
    expect(total(weights, 'c/', 0)).toBeCloseTo(operationsPerConcreteLookup + operationsPerSubscribe, 9);
  });

  test('every message asks the group of its first level and that of filters that begin with a wildcard', () => {
    const fleet = fleetOf(TWO);
    const weights = fleet.weights(firstSlices(PARTITIONS));
    const root = partitionOf(ROOT_KEY, PARTITIONS);
    for (const [series, name] of fleet.names.entries()) {
      const asked = new Set([root, partitionOf(name, PARTITIONS)]);
      expect(total(weights, 'w/', series)).toBe(asked.size * operationsPerWildcardLookup);
      for (const partition of asked)
        expect(weights.get(groupSlice(partition))!.operations[series]).toBe(operationsPerWildcardLookup);
    }
  });

  test('split slices share what the whole was asked for, and a pinned topic takes its own along', () => {
    const fleet = fleetOf(TWO);
    const [topic] = fleet.topics;
    const home = partitionOf(topic!.filter, PARTITIONS);
    const whole = fleet.weights(firstSlices(PARTITIONS)).get(hashSlice(home))!;
    const slices = firstSlices(PARTITIONS).filter((key) => key !== hashSlice(home));
    const parts = fleet.weights([...slices, hashSlice(home, '0'), hashSlice(home, '1'), pinSlice(topic!.filter)]);
    const own = [hashSlice(home, '0'), hashSlice(home, '1'), pinSlice(topic!.filter)].map((key) => parts.get(key)!);
    expect(own.reduce((sum, each) => sum + each.operations[0]!, 0)).toBeCloseTo(whole.operations[0]!, 9);
    expect(own.reduce((sum, each) => sum + each.entries, 0)).toBe(whole.entries);
    expect(own[2]!.operations[0]).toBeCloseTo(3 * topic!.share, 9);
  });

  test('slices hold every subscription once', () => {
    const fleet = fleetOf(TWO);
    const held = [...fleet.weights(firstSlices(PARTITIONS)).values()].reduce((sum, { entries }) => sum + entries, 0);
    expect(held).toBe(fleet.entries);
  });

  test('leaves count every message once, heavy topics theirs again, and groups what asks them', () => {
    const fleet = fleetOf(TWO);
    const counted = fleet.counted();
    const sumOf = (prefix: string): number =>
      counted.filter(({ series }) => series.startsWith(prefix)).reduce((sum, { shares }) => sum + shares[0]!, 0);
    expect(sumOf('c/')).toBeCloseTo(1, 9);
    expect(sumOf('t/')).toBeGreaterThan(0.1);
    expect(
      counted.find(({ series }) => String(series) === groupSlice(partitionOf(ROOT_KEY, PARTITIONS)))!.shares,
    ).toEqual(Float64Array.of(1, 1));
  });
});
