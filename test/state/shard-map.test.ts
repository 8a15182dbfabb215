import { describe, expect, test } from 'vitest';
import { epoch, type ShardId, type SliceKey } from '../../schemas/ids.ts';
import { firstPlacement } from '../../state/genesis.ts';
import {
  placementOfFilter,
  placementsOf,
  problemsOf,
  type ShardInstance,
  type SlicePlacement,
  shardMapOf,
} from '../../state/shard-map.ts';

const PARTITIONS = 4;
const shardHome = (
  id: string,
  storeKind: ShardInstance['storeKind'],
  state: ShardInstance['state'] = 'READY',
): ShardInstance => ({
  shardId: id as ShardId,
  storeKind,
  datastoreType: 'any',
  instanceId: `${id}-instance`,
  address: '',
  state,
});
const SHARDS = [
  shardHome('shard-0001', 'KEY_VALUE'),
  shardHome('shard-0002', 'TRIE'),
  shardHome('shard-0003', 'KEY_VALUE'),
];
const on = (slice: string, ...shards: string[]): SlicePlacement => ({
  slice: slice as SliceKey,
  mode: 'SINGLE',
  shards: shards as ShardId[],
  epoch: epoch(1),
});
const FIRST = [...firstPlacement(PARTITIONS)].map(([slice, shard]) => on(slice, shard));
const without = (...keys: string[]): SlicePlacement[] => FIRST.filter(({ slice }) => !keys.includes(slice));

describe('I5: each filter has exactly one owner', () => {
  for (const { name, slices, shards, problem } of [
    { name: 'the first placement is sound', slices: FIRST, shards: SHARDS, problem: undefined },
    {
      name: 'split slices are sound',
      slices: [...without('c/1/'), on('c/1/0', 'shard-0001'), on('c/1/10', 'shard-0003'), on('c/1/11', 'shard-0001')],
      shards: SHARDS,
      problem: undefined,
    },
    {
      name: 'pins and whole spreads are sound',
      slices: [...FIRST, on('t/a', 'shard-0003'), on('s/0of2/b', 'shard-0001'), on('s/1of2/b', 'shard-0003')],
      shards: SHARDS,
      problem: undefined,
    },
    {
      name: 'a gap',
      slices: [...without('c/1/'), on('c/1/0', 'shard-0001'), on('c/1/11', 'shard-0001')],
      shards: SHARDS,
      problem: 'partition 1: no owner at hash',
    },
    {
      name: 'a missing partition',
      slices: without('c/1/'),
      shards: SHARDS,
      problem: 'partition 1: no owner at hash 0',
    },
    {
      name: 'an overlap',
      slices: [...FIRST, on('c/1/0', 'shard-0001')],
      shards: SHARDS,
      problem: 'partition 1: two owners',
    },
    {
      name: 'no trie group',
      slices: without('w/2/'),
      shards: SHARDS,
      problem: 'trie filters of partition 2 have no owner',
    },
    {
      name: 'a shard that is not there',
      slices: [...without('c/1/'), on('c/1/', 'shard-0009')],
      shards: SHARDS,
      problem: 'shard-0009, which does not exist',
    },
    {
      name: 'a shard that is gone',
      slices: FIRST,
      shards: [shardHome('shard-0001', 'KEY_VALUE', 'GONE'), SHARDS[1]!],
      problem: 'shard-0001, which does not exist',
    },
    {
      name: 'a shard of the wrong kind',
      slices: [...without('c/1/'), on('c/1/', 'shard-0002')],
      shards: SHARDS,
      problem: 'needs KEY_VALUE',
    },
    {
      name: 'half a spread',
      slices: [...FIRST, on('s/0of2/b', 'shard-0001')],
      shards: SHARDS,
      problem: 'of which 1 exist',
    },
    {
      name: 'pinned and spread',
      slices: [...FIRST, on('t/b', 'shard-0001'), on('s/0of1/b', 'shard-0001')],
      shards: SHARDS,
      problem: 'pinned and spread',
    },
    { name: 'no shard at all', slices: [...without('c/1/'), on('c/1/')], shards: SHARDS, problem: 'c/1/ has no shard' },
  ])
    test(name, () => {
      const problems = problemsOf(shardMapOf(PARTITIONS, slices, shards));
      if (problem === undefined) expect(problems).toEqual([]);
      else expect(problems.join('; ')).toContain(problem);
    });
});

test('a topic has its concrete home first, then its groups; GONE entries are not there', () => {
  const map = shardMapOf(PARTITIONS, [...FIRST, on('t/a/b', 'shard-0003'), { ...on('t/x'), mode: 'GONE' }], SHARDS);
  const homes = placementsOf(map, 'a/b');
  expect(homes[0]).toMatchObject({
    home: { slice: 't/a/b' },
    shards: [{ shardId: 'shard-0003', instanceId: 'shard-0003-instance' }],
  });
  expect(homes.slice(1).every(({ shards }) => shards[0]!.storeKind === 'TRIE')).toBe(true);
  expect(placementOfFilter(map, 'a/+', 'client')!.shards[0]!.shardId).toBe('shard-0002');
  expect(map.slices.has('t/x' as SliceKey)).toBe(false);
});
