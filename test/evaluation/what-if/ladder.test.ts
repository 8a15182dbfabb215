import { describe, expect, test } from 'vitest';
import { type Bucket, bucketsOf, Ladder, laddersOf } from '../../../evaluation/what-if/ladder.ts';
import { CATALOG, fleetOf, KV, played } from './synthetic.ts';

/** Buckets of one series with so many operations a message. */
const buckets = (...operations: readonly number[]): Bucket[] =>
  operations.map((each) => ({ operations: Float64Array.of(each), entries: 10 }));
const ladderOf = (...operations: readonly number[]): Ladder =>
  new Ladder(buckets(...operations), KV, Float64Array.of(1));

describe('ladder', () => {
  test('every shard has the same number of buckets, give or take one', () => {
    const ladder = ladderOf(...new Array<number>(13).fill(1));
    for (let n = 1; n <= ladder.shardsMax; n++) {
      const counts = new Array<number>(n).fill(0);
      for (const shard of ladder.placement(n)) counts[shard]!++;
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });

  test('with one more shard, buckets move to the new one and nowhere else', () => {
    const ladder = ladderOf(...new Array<number>(13).fill(1));
    for (let n = 2; n <= ladder.shardsMax; n++)
      for (const [bucket, shard] of ladder.placement(n).entries())
        expect([ladder.placement(n - 1)[bucket], n - 1]).toContain(shard);
  });

  for (const { name, operations, shards, capacity } of [
    { name: 'one shard carries what its instance does', operations: [1, 1], shards: 1, capacity: 100 },
    { name: 'even buckets make two shards twice as much', operations: [1, 1], shards: 2, capacity: 200 },
    { name: 'the hottest of uneven ones is full first', operations: [3, 1], shards: 2, capacity: 400 / 3 },
    { name: 'shards beside a hot bucket do not help it', operations: [8, 1, 1], shards: 3, capacity: 125 },
    { name: 'a silent fleet counts as even', operations: [0, 0], shards: 2, capacity: 200 },
  ])
    test(name, () => expect(ladderOf(...operations).capacity(shards)).toBeCloseTo(capacity, 9));

  for (const { perSecond, shards } of [
    { perSecond: 100, shards: 1 },
    { perSecond: 101, shards: 2 },
    { perSecond: 400, shards: 4 },
    { perSecond: 9_999, shards: 4 },
  ])
    test(`${perSecond} operations/s take ${shards} of at most four even shards`, () =>
      expect(ladderOf(1, 1, 1, 1).shardsFor(perSecond)).toBe(shards));

  test('there is one for each type of the kind', () => {
    const fleet = fleetOf(played({ one: () => 1 }, 120));
    expect(laddersOf(fleet, CATALOG, 'KEY_VALUE').map(({ type }) => type.name)).toEqual(['kv', 'kv-large']);
    expect(laddersOf(fleet, CATALOG, 'TRIE').map(({ type }) => type.name)).toEqual(['trie']);
  });

  test('buckets hold the whole fleet, wildcard filters by partition', () => {
    const fleet = fleetOf(played({ one: () => 1, two: () => 2 }, 120));
    const { KEY_VALUE, TRIE } = bucketsOf(fleet);
    expect([KEY_VALUE.length, TRIE.length]).toEqual([64, 4]);
    const entries = [...KEY_VALUE, ...TRIE].reduce((sum, bucket) => sum + bucket.entries, 0);
    expect(entries).toBe(fleet.entries);
  });
});
