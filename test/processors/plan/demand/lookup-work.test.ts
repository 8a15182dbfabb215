// Reach: a trie is believed a step at a time, and stands for those that have said nothing.

import { describe, expect, test } from 'vitest';
import {
  type LookupWork,
  lookupWorkByShard,
  measuredLookupWork,
  usualLookupWork,
} from '../../../../processors/plan/demand/lookup-work.ts';
import type { ShardRow } from '../../../../processors/plan/stage/rows.ts';
import type { StoreKind } from '../../../../schemas/records.ts';
import { SETTINGS } from '../stage-by-hand.ts';

const { coefficients } = SETTINGS;
const said = (
  nodesPerLookup: number,
  matchesPerLookup: number,
  times = 1,
  before?: LookupWork,
): LookupWork | undefined => {
  let reach = before;
  for (let i = 0; i < times; i++)
    reach = measuredLookupWork(reach, { nodesPerLookup, matchesPerLookup }, coefficients) ?? reach;
  return reach;
};

describe('a trie', () => {
  for (const { name, nodes, matches } of [
    { name: 'a `#` flood, of which every look-up finds a hundred', nodes: 6, matches: 100 },
    { name: 'a deep and wide trie', nodes: 60, matches: 3 },
    { name: 'one that finds nothing', nodes: 1, matches: 0 },
  ])
    test(`is believed in time: ${name} (W1)`, () => {
      const reach = said(nodes, matches, 60)!;
      expect(reach.nodes).toBeCloseTo(nodes, 3);
      expect(reach.matches).toBeCloseTo(matches, 3);
    });

  for (const absurd of [1e300, Number.POSITIVE_INFINITY, 1e-300])
    test(`that says ${absurd} once changes little (W1)`, () => {
      const before = said(10, 5, 60)!;
      const after = said(absurd, absurd, 1, before)!;
      for (const [now, then] of [
        [after.nodes, before.nodes],
        [after.matches, before.matches],
      ] as const)
        expect(Math.abs(now / then - 1)).toBeLessThan(0.21); // What is found moves by a step of the nodes, if that is more.
    });

  test('that does not say it has said nothing', () => expect(said(-1, -1)).toBeUndefined());
});

test('who has not said is as those who have on average, else as usual (W2)', () => {
  const shard = (id: string, storeKind: StoreKind, reach?: LookupWork): ShardRow => ({ id, storeKind, reach }) as never;
  const shards = [shard('a', 'TRIE'), shard('b', 'KEY_VALUE')];
  expect([...lookupWorkByShard(shards, coefficients).values()]).toEqual([
    usualLookupWork('TRIE', coefficients),
    usualLookupWork('KEY_VALUE', coefficients),
  ]);
  const more = [...shards, shard('c', 'TRIE', { nodes: 8, matches: 1 }), shard('d', 'TRIE', { nodes: 12, matches: 3 })];
  expect(Object.fromEntries(lookupWorkByShard(more, coefficients))).toEqual({
    a: { nodes: 10, matches: 2 },
    b: { nodes: 1, matches: 0 },
    c: { nodes: 8, matches: 1 },
    d: { nodes: 12, matches: 3 },
  });
});
