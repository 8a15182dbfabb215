// The plan as a pure function: each action, over small snapshots.

import { describe, expect, test } from 'vitest';
import { typeNamed } from '../../../processors/plan/cluster/catalog.ts';
import { plan } from '../../../processors/plan/plan.ts';
import type { SliceKey } from '../../../schemas/ids.ts';
import { EVEN, four, load, plansForOne, STAYING, said, shard, slice, snapshot, wanting } from './snapshots.ts';
import { CATALOG, SETTINGS } from './stage-by-hand.ts';

describe('actions', () => {
  for (const { name, given, expected } of [
    {
      name: 'nothing to do, nothing done',
      given: { shards: [shard('a', { first: true })], slices: four('a', 100) },
      expected: [],
    },
    {
      name: 'a hot shard gives a slice to one with room',
      given: { shards: [shard('a'), shard('b')], slices: [...four('a', 220), slice('c/0/x', 'b', 300)] },
      expected: ['MOVE c/0/ a>b'],
    },
    {
      name: 'with no room a shard is allocated, on the cheapest type that does',
      given: { shards: [shard('a')], slices: four('a', 220) },
      expected: ['ALLOCATE shard-0009 kv'],
    },
    {
      name: 'a shard on its way counts as there: nothing more is bought',
      given: { shards: [shard('a'), shard('b', { ready: false })], slices: four('a', 220) },
      expected: [],
    },
    {
      name: 'moves in flight count as done',
      given: {
        shards: [shard('a'), shard('b')],
        slices: [...four('a', 220).slice(1), slice('c/0/', 'b', 220, { busy: true }), slice('c/9/', 'b', 100)],
        moves: 1,
      },
      expected: [],
    },
    {
      name: 'a slice too big to place is split',
      given: {
        shards: [shard('a'), shard('b')],
        slices: [slice('c/0/', 'a', 850), slice('c/1/', 'a', 1), slice('c/2/', 'b', 200)],
      },
      expected: ['SPLIT c/0/>c/0/0,c/0/1'],
    },
    {
      name: 'a hot topic is pinned rather than halved',
      given: {
        shards: [shard('a'), shard('b')],
        slices: [slice('c/0/', 'a', 850), slice('c/1/', 'a', 1)],
        heavyTopics: [{ filter: 'hot', slice: 'c/0/' as SliceKey, load: load(600) }],
      },
      expected: ['SPLIT c/0/>c/0/,t/hot'],
    },
    {
      name: 'a pin too hot for its type gets a bigger one',
      given: { shards: [shard('a')], slices: [slice('t/hot', 'a', 1_500)] },
      expected: ['RESIZE a kv-large'],
    },
    {
      name: 'a heavy group is carved out of its partition',
      given: {
        shards: [
          shard('t', { kind: 'TRIE', type: typeNamed(CATALOG, 'trie') }),
          shard('u', { kind: 'TRIE', type: typeNamed(CATALOG, 'trie') }),
        ],
        slices: [slice('w/0/', 't', 8_500)],
        heavyGroups: [{ key: 'w/0/a/' as SliceKey, slice: 'w/0/' as SliceKey, load: load(5_000) }],
      },
      expected: ['SPLIT w/0/>w/0/,w/0/a/'],
    },
    {
      name: 'the hottest of uneven shards gives something away',
      given: { shards: STAYING, slices: four('a', 180) },
      expected: ['MOVE c/0/ a>b'],
    },
    {
      name: 'not to one that may soon be given back',
      given: { shards: [shard('a', { first: true }), shard('b')], slices: four('a', 180) },
      expected: [],
    },
    {
      name: 'nor a slice that would only change which of them is the hottest',
      given: { shards: STAYING, slices: [slice('c/0/', 'a', 600)] },
      expected: [],
    },
    {
      name: 'what is usual counts, not the peak',
      given: {
        shards: STAYING,
        slices: [...four('a', load(90, 170, 28)), slice('c/4/', 'b', 350)],
      },
      expected: [],
    },
    {
      name: 'a topic that is much of its shard gets a slice of its own before it must move',
      given: { ...EVEN, heavyTopics: [{ filter: 'hot', slice: 'c/0/' as SliceKey, load: load(60) }] },
      expected: ['SPLIT c/0/>c/0/,t/hot'],
    },
    {
      name: 'not one that is little of it',
      given: { ...EVEN, heavyTopics: [{ filter: 'warm', slice: 'c/0/' as SliceKey, load: load(30) }] },
      expected: [],
    },
    {
      name: 'nor one that only will be',
      given: { ...EVEN, heavyTopics: [{ filter: 'later', slice: 'c/0/' as SliceKey, load: load(10, 90, 5) }] },
      expected: [],
    },
    {
      name: 'a measured store is taken at its word',
      given: { shards: [shard('a', { measuredUtilisation: 0.95 }), shard('b')], slices: four('a', 100) },
      expected: ['MOVE c/0/ a>b'],
    },
    {
      name: 'cold halves become one again',
      given: { shards: [shard('a', { first: true })], slices: [slice('c/0/0', 'a', 1), slice('c/0/1', 'a', 1)] },
      expected: ['MERGE c/0/0,c/0/1>c/0/'],
    },
    {
      name: 'a cold pin goes home',
      given: {
        shards: [shard('a', { first: true })],
        slices: [slice('c/0/', 'a', 100), slice('t/zz', 'a', 0)],
        settings: { ...SETTINGS, partitions: 1 },
      },
      expected: ['MERGE c/0/,t/zz>c/0/'],
    },
    {
      name: 'a cold pin goes home to a shard that all of the last plans wanted',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: [slice('c/0/', 'b', 640), slice('t/zz', 'a', 0), slice('c/1/', 'a', 640)],
        settings: { ...SETTINGS, partitions: 2 },
        plannedBefore: { KEY_VALUE: Array(9).fill(1_400), TRIE: [] },
        totals: wanting(1_280),
      },
      expected: ['MOVE t/zz a>b'],
    },
    {
      name: 'not to one that a single one of them could do without',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: [slice('c/0/', 'b', 640), slice('t/zz', 'a', 0), slice('c/1/', 'a', 640)],
        settings: { ...SETTINGS, partitions: 2 },
        plannedBefore: { KEY_VALUE: [...Array(8).fill(1_400), 700], TRIE: [] },
        totals: wanting(1_280),
      },
      expected: [],
    },
    {
      name: 'nor to one that is being emptied: its home goes first',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: [slice('c/0/', 'b', 50), slice('t/zz', 'a', 0)],
        settings: { ...SETTINGS, partitions: 2 },
        plannedBefore: plansForOne(9),
      },
      expected: ['MOVE c/0/ b>a'],
    },
    {
      name: 'cold halves meet on the shard that is to stay',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: [slice('c/0/0', 'b', 1), slice('c/0/1', 'a', 1)],
        plannedBefore: plansForOne(3),
      },
      expected: ['MOVE c/0/0 b>a'],
    },
    {
      name: 'what is emptied goes where its own are, not where there is most room',
      given: {
        shards: [shard('a', { first: true }), shard('b', { first: true }), shard('c')],
        slices: [slice('c/0/', 'b', 300), slice('c/1/', 'a', 100), slice('t/zz', 'c', 50)],
        settings: { ...SETTINGS, partitions: 2 },
        plannedBefore: plansForOne(9),
      },
      expected: ['MOVE t/zz c>b'],
    },
    {
      name: 'what was carved out of a slice leaves after it',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: [slice('c/1/', 'a', 100), slice('c/0/', 'b', 100), slice('t/zz', 'b', 50)],
        settings: { ...SETTINGS, partitions: 2 },
        plannedBefore: plansForOne(9),
      },
      expected: ['MOVE c/0/ b>a'],
    },
    {
      name: 'nor to another that is not needed, while there is room elsewhere',
      given: {
        shards: [shard('a', { first: true }), shard('b'), shard('c')],
        slices: [...four('a', 100), slice('c/4/', 'b', 30), slice('c/5/', 'c', 25)],
        plannedBefore: plansForOne(9),
      },
      expected: ['MOVE c/5/ c>a'],
    },
    {
      name: 'a half that takes its guest in is not made one with the other half meanwhile',
      given: {
        shards: [shard('a', { first: true })],
        slices: [slice('c/0/0', 'a', 1), slice('c/0/1', 'a', 1), slice('t/zz', 'a', 0)],
        settings: { ...SETTINGS, partitions: 1 },
      },
      expected: ['MERGE c/0/0,c/0/1>c/0/'],
    },
    {
      name: 'an empty shard goes when ten plans could do without it',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: four('a', 100),
        plannedBefore: plansForOne(9),
      },
      expected: ['RETIRE b'],
    },
    {
      name: 'not when nine could',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: four('a', 100),
        plannedBefore: plansForOne(8),
      },
      expected: [],
    },
    {
      name: 'a shard not needed is emptied first',
      given: {
        shards: [shard('a', { first: true }), shard('b')],
        slices: [...four('a', 50), slice('c/4/', 'b', 50)],
        plannedBefore: plansForOne(9),
      },
      expected: ['MOVE c/4/ b>a'],
    },
    {
      name: 'a type too big for long is exchanged',
      given: {
        shards: [shard('a', { first: true, type: typeNamed(CATALOG, 'kv-large'), roomyPlans: 10 })],
        slices: four('a', 100),
        plannedBefore: plansForOne(9),
      },
      expected: ['RESIZE a kv'],
    },
  ])
    test(name, () => expect(said(plan(snapshot(given)))).toEqual(expected));
});
