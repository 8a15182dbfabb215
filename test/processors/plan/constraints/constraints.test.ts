// Each constraint, and its refusal, over small snapshots.

import { describe, expect, test } from 'vitest';
import type { Action } from '../../../../processors/plan/cluster/actions.ts';
import { typeNamed } from '../../../../processors/plan/cluster/catalog.ts';
import { ClusterModel, type Snapshot } from '../../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedSlice } from '../../../../processors/plan/cluster/cluster-shard.ts';
import { CONSTRAINTS, firstRefusal } from '../../../../processors/plan/constraints/constraints.ts';
import type { Load } from '../../../../processors/plan/demand/demand.ts';
import { plan } from '../../../../processors/plan/plan.ts';
import { eventTime, type ShardId } from '../../../../schemas/ids.ts';
import { FACTS, four, load, NOW, shard, slice, snapshot } from '../snapshots.ts';
import { CATALOG, SETTINGS } from '../stage-by-hand.ts';

describe('constraints', () => {
  const base = snapshot({ shards: [shard('a'), shard('b')], slices: [...four('a', 220), slice('c/9/', 'b', 600)] });
  const move = (more: Partial<PlannedSlice> = {}, of: object = {}): Action =>
    ({
      ...FACTS,
      kind: 'MOVE',
      slice: slice('c/0/', 'a', 50, more),
      to: 'b' as ShardId,
      replicates: false,
      ...of,
    }) as Action;
  const allocate: Action = {
    ...FACTS,
    kind: 'ALLOCATE',
    shard: 'n' as ShardId,
    storeKind: 'KEY_VALUE',
    type: typeNamed(CATALOG, 'kv'),
    dollarsPerHour: 0.1,
  };
  const spent = { at: NOW, keys: 0, urgent: false, shards: 0, dollars: 0 };
  const cases: { by: string | undefined; action: Action; given?: Partial<Snapshot> }[] = [
    { by: undefined, action: move() },
    { by: 'busy', action: move({ busy: true }) },
    { by: 'cool-down', action: move({ coolUntil: eventTime(NOW + 1) }) },
    { by: 'return', action: move({ left: [{ shard: 'b' as ShardId, until: eventTime(NOW + 1) }] }) },
    { by: undefined, action: move({ left: [{ shard: 'b' as ShardId, until: NOW }] }) },
    { by: undefined, action: move({ left: [{ shard: 'c' as ShardId, until: eventTime(NOW + 1) }] }) },
    { by: undefined, action: move({ left: [{ shard: 'b' as ShardId, until: eventTime(NOW + 1) }] }, { urgent: true }) },
    { by: 'moves-at-once', action: move(), given: { moves: 4 } },
    { by: 'moves-per-shard', action: move(), given: { movesOf: new Map([['b' as ShardId, 2]]) } },
    { by: 'churn', action: move(), given: { ledger: [{ ...spent, keys: 150 }] } },
    { by: undefined, action: move({}, { urgent: true }), given: { ledger: [{ ...spent, keys: 150 }] } },
    { by: undefined, action: move(), given: { ledger: [{ ...spent, keys: 150, at: eventTime(NOW - 3_600_000) }] } },
    { by: 'capacity', action: move({ load: load(200) }) },
    { by: 'cost', action: move({}, { dollars: 2 }) },
    { by: 'timing', action: move({}, { urgent: true, crossingAt: eventTime(NOW + 600_000), leadTimeMs: 100_000 }) },
    { by: undefined, action: allocate },
    { by: 'shards-per-hour', action: allocate, given: { ledger: [{ ...spent, shards: 8 }] } },
    { by: 'shards-max', action: allocate, given: { settings: { ...SETTINGS, shardsMax: 2 } } },
    { by: 'dollars-per-hour', action: allocate, given: { settings: { ...SETTINGS, dollarsPerHourMax: 0.3 } } },
    { by: 'dollars-per-hour', action: allocate, given: { ledger: [{ ...spent, dollars: 99.75 }] } },
  ];
  for (const { by, action, given } of cases)
    test(`${action.kind} ${by === undefined ? 'passes' : `is refused by ${by}`}${given ? `, given ${Object.keys(given)}` : ''}`, () => {
      const refused = firstRefusal(CONSTRAINTS, new ClusterModel({ ...base, ...given }), action);
      expect(refused?.by).toBe(by);
      if (refused !== undefined) expect(refused.reason).toMatch(/^Not done: .+\. .+/);
    });

  for (const { by, of, says } of [
    { by: 'cool-down', of: { coolUntil: eventTime(NOW + 89_500) }, says: /cool-down lasts another 90 s/ },
    {
      by: 'return',
      of: { left: [{ shard: 'b' as ShardId, until: eventTime(NOW + 1_200_000) }] },
      says: /may return in 1200 s/,
    },
  ])
    test(`a refusal by ${by} tells how long it still holds`, () => {
      const refused = firstRefusal(CONSTRAINTS, new ClusterModel(base), move(of));
      expect(refused).toMatchObject({ by, reason: expect.stringMatching(says) });
    });

  test('a hot key that nothing in the catalogue can hold is refused by name', () => {
    const made = plan(
      snapshot({
        shards: [shard('a', { type: typeNamed(CATALOG, 'kv-large') })],
        slices: [slice('t/hot', 'a', { ...load(9_000), lookups: 9_000 })],
      }),
    );
    expect(made.actions).toEqual([]);
    expect(made.refusals).toMatchObject([{ subject: 'a', by: 'hot-key' }]);
  });

  for (const { what, perSecond, entries, parts } of [
    { what: 'writes', perSecond: 6_000, entries: 1_000, parts: 4 },
    { what: 'entries', perSecond: 10, entries: 3.5e6, parts: 2 },
    { what: 'entries', perSecond: 10, entries: 6e6, parts: 4 },
  ])
    test(`a topic with more ${what} than any instance can hold is spread by client over ${parts} slices`, () => {
      const hot = slice('t/hot', 'a', perSecond, { entries, bytes: entries * 100 });
      const { actions } = plan(
        snapshot({ shards: [shard('a', { type: typeNamed(CATALOG, 'kv-large') })], slices: [hot] }),
      );
      const [split] = actions as [Action & { kind: 'SPLIT' }];
      expect(split).toMatchObject({ kind: 'SPLIT', before: [{ slice: 't/hot' }] });
      expect(split.after.map((each) => each.slice)).toEqual(
        Array.from({ length: parts }, (_, i) => `s/${i}of${parts}/hot`),
      );
      expect(split.after[0]!.entries).toBeCloseTo(entries / parts, 6);
      expect(split.reason).toContain(`spread over ${parts} slices`);
    });

  const reads = (perSecond: number): Load => ({ ...load(perSecond), lookups: perSecond });
  const large = (id: string) => shard(id, { type: typeNamed(CATALOG, 'kv-large') });

  test('look-ups that are too many for any instance are shared with a replica where there is room', () => {
    const { actions, cluster } = plan(
      snapshot({ shards: [large('a'), large('b')], slices: [slice('t/hot', 'a', reads(4_000))] }),
    );
    expect(actions).toMatchObject([{ kind: 'MOVE', replicates: true, slice: { slice: 't/hot' }, to: 'b' }]);
    expect(actions[0]!.reason).toContain('takes half of its look-ups');
    for (const id of ['a', 'b'] as ShardId[])
      expect(cluster.rooms.utilisation(cluster.shards.get(id)!).utilisation).toBe(0.5);
  });

  test('a shard is bought for the replica where there is no room', () => {
    const { actions } = plan(snapshot({ shards: [large('a')], slices: [slice('t/hot', 'a', reads(4_000))] }));
    expect(actions).toMatchObject([{ kind: 'ALLOCATE', type: { name: 'kv-large' } }]);
  });

  for (const { name, perSecond } of [
    { name: 'a bigger type holds', perSecond: 1_500 },
    { name: 'not even two instances can do', perSecond: 9_000 },
  ])
    test(`look-ups that ${name} are not shared`, () => {
      const { actions } = plan(
        snapshot({ shards: [shard('a'), large('b')], slices: [slice('t/hot', 'a', reads(perSecond))] }),
      );
      expect(actions.some((action) => action.kind === 'MOVE' && action.replicates)).toBe(false);
    });

  test('a replica ends when its slice leaves much room on its own shard, and not before', () => {
    const shared = (perSecond: number): PlannedSlice[] => {
      const half = slice('t/hot', 'a', reads(perSecond / 2), { busy: true });
      return [
        { ...half, replica: 'b' as ShardId },
        { ...half, shard: 'b' as ShardId, isReplica: true },
      ];
    };
    const of = (perSecond: number) =>
      plan(snapshot({ shards: [large('a'), large('b')], slices: shared(perSecond) })).actions;
    expect(of(3_000)).toEqual([]);
    expect(of(1_500)).toMatchObject([{ kind: 'UNREPLICATE', slice: { slice: 't/hot', replica: 'b' } }]);
  });

  test('a topic that a bigger type holds is not spread', () => {
    const hot = slice('t/hot', 'a', 1_500);
    expect(plan(snapshot({ shards: [shard('a')], slices: [hot] })).actions).toMatchObject([{ kind: 'RESIZE' }]);
  });

  test('cold parts of a spread topic come together on one shard, and become one slice there', () => {
    const parts = (on: readonly string[]) => on.map((each, i) => slice(`s/${i}of3/hot`, each, 1));
    const shards = [shard('a'), shard('b')];
    expect(plan(snapshot({ shards, slices: parts(['a', 'a', 'b']) })).actions).toMatchObject([
      { kind: 'MOVE', slice: { slice: 's/2of3/hot' }, to: 'a' },
    ]);
    expect(plan(snapshot({ shards, slices: parts(['a', 'a', 'a']) })).actions).toMatchObject([
      { kind: 'MERGE', before: [{}, {}, {}], after: [{ slice: 't/hot', entries: 3_000 }] },
    ]);
    const warm = slice('s/2of3/hot', 'a', 100);
    expect(plan(snapshot({ shards, slices: [...parts(['a', 'a']), warm] })).actions).toEqual([]);
  });

  test('an allocation says what else there was, and what doing nothing would cost', () => {
    const [action] = plan(snapshot({ shards: [shard('a')], slices: four('a', 220) })).actions;
    expect(action!.alternatives.map(({ what }) => what)).toEqual(['KEEP', 'RESIZE kv-large', 'ALLOCATE kv-large']);
    expect(action!.alternatives[0]!.dollars).toBeGreaterThan(action!.dollars);
  });
});
