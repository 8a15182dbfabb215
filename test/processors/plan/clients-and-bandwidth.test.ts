// Room for clients and bandwidth: what flows through a shard is trouble, and is answered, as operations are.

import { describe, expect, test } from 'vitest';
import { catalogOf, type Flowing, typeNamed } from '../../../processors/plan/cluster/catalog.ts';
import { ClusterModel, type Snapshot } from '../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedSlice } from '../../../processors/plan/cluster/cluster-shard.ts';
import { CONSTRAINTS, firstRefusal } from '../../../processors/plan/constraints/constraints.ts';
import type { Load } from '../../../processors/plan/demand/demand.ts';
import { plan } from '../../../processors/plan/plan.ts';
import type { SliceKey } from '../../../schemas/ids.ts';
import { FACTS, load, shard, slice, snapshot } from './snapshots.ts';
import { CATALOG, SETTINGS } from './stage-by-hand.ts';

describe('clients and bandwidth', () => {
  const ample = { operationsPerSecond: 1e6 };
  const limits = { clientsMax: 1_000, bytesPerSecondMax: 1e6 };
  const kv = { ...typeNamed(CATALOG, 'kv'), ...limits };
  const large = { ...typeNamed(CATALOG, 'kv-large'), clientsMax: 4_000, bytesPerSecondMax: 4e6 };
  const trie = { ...typeNamed(CATALOG, 'trie'), ...limits };
  const catalog = catalogOf({ types: [kv, large, trie] });
  const settings = { ...SETTINGS, catalog };
  const given = (more: Partial<Snapshot>) => snapshot({ settings, catalog, ...more });
  const on = (id: string, type = kv) => shard(id, { type });
  /** Few operations, and so much of what comes with them from bucket `from` on. */
  const flow = (flowing: Flowing, amount: number, from = 0): Load => {
    const { now, median, spread } = load(0, amount, from);
    return { ...load(8), lookups: 8, [flowing]: { now: from === 0 ? amount : now, median, spread } };
  };
  const four = (id: string, of: Load): PlannedSlice[] => [0, 1, 2, 3].map((p) => slice(`c/${p}/`, id, of));

  for (const { flowing, amount, unit } of [
    { flowing: 'clients', amount: 220, unit: '800 clients' },
    { flowing: 'bandwidth', amount: 220_000, unit: '800000 bytes/s of bandwidth' },
  ] as const) {
    test(`a shard short of ${flowing} gives a slice to one with room, and says so`, () => {
      const { actions } = plan(
        given({ shards: [on('a'), on('b')], slices: [...four('a', flow(flowing, amount)), slice('c/4/', 'b', 8)] }),
      );
      expect(actions).toMatchObject([{ kind: 'MOVE', to: 'b' }]);
      expect(actions[0]!.reason).toBe(
        `a goes above its safe ${unit} now, as measured, to 88 % of its capacity; b has room.`,
      );
    });

    test(`${flowing} that only will be too much: nothing is bought before it is time`, () => {
      const of = (from: number) => plan(given({ shards: [on('a')], slices: four('a', flow(flowing, amount, from)) }));
      expect(of(25).actions).toEqual([]);
      expect(of(25).refusals).toMatchObject([{ subject: 'a', by: 'timing' }]);
      const { actions } = of(1);
      expect(actions).toMatchObject([{ kind: 'ALLOCATE', type: { name: 'kv' } }]);
      expect(actions[0]!.reason).toContain(`${unit} in 2 min by the forecast`);
    });

    test(`a slice is refused by a shard that it would fill with ${flowing}`, () => {
      const [one, two] = [on('a'), on('b')];
      const own = slice('c/0/', 'a', flow(flowing, amount * 2));
      const full = slice('c/1/', 'b', flow(flowing, amount * 2));
      const cluster = new ClusterModel(given({ shards: [one, two], slices: [own, full] }));
      const action = { ...FACTS, kind: 'MOVE', slice: own, to: two.id, replicates: false } as const;
      const refused = firstRefusal(CONSTRAINTS, cluster, action);
      expect(refused).toMatchObject({ by: 'capacity' });
      expect(refused!.reason).toContain(`b would be 88 % full of ${flowing}; slices are placed only up to`);
    });

    test(`one slice with much ${flowing} gets a bigger type`, () => {
      const hot = slice('t/hot', 'a', flow(flowing, amount * 5));
      expect(plan(given({ shards: [on('a')], slices: [hot] })).actions).toMatchObject([
        { kind: 'RESIZE', type: { name: 'kv-large' } },
      ]);
    });

    test(`a type that would be full of ${flowing} is no smaller type that serves`, () => {
      const slices = four('a', flow(flowing, amount));
      expect(plan(given({ shards: [on('a', large)], slices })).roomy).toEqual([]);
      expect(plan(given({ shards: [on('a', large)], slices: four('a', flow(flowing, amount / 2)) })).roomy).toEqual([
        'a',
      ]);
    });

    test(`a shard that ${flowing} are needed of is not given back`, () => {
      const shards = [on('a', { ...kv, ...ample }), on('b', { ...kv, ...ample })];
      const types = catalogOf({ types: [{ ...kv, ...ample }, trie] });
      const of = (each: number) =>
        plan(
          given({
            settings: { ...settings, catalog: types },
            catalog: types,
            shards,
            slices: [...four('a', flow(flowing, each)), slice('c/4/', 'b', flow(flowing, each))],
            plannedBefore: { KEY_VALUE: Array(SETTINGS.agreeingPlans).fill(700), TRIE: [] },
          }),
        ).fleet.KEY_VALUE!.capacityPerSecond;
      expect(of(amount / 2)).toBeLessThan(of(amount));
    });
  }

  test('a hot topic is what brings the bytes: it is carved out by them', () => {
    const bytes = flow('bandwidth', 700_000);
    const slices = [slice('c/0/', 'a', flow('bandwidth', 900_000)), slice('c/1/', 'b', 8)];
    const heavyTopics = [
      { filter: 'busy', slice: 'c/0/' as SliceKey, load: load(8) },
      { filter: 'big', slice: 'c/0/' as SliceKey, load: bytes },
    ];
    expect(plan(given({ shards: [on('a'), on('b')], slices, heavyTopics })).actions).toMatchObject([
      { kind: 'SPLIT', after: [{ slice: 'c/0/' }, { slice: 't/big' }] },
    ]);
  });

  test('bytes that are too many for any instance are shared with a replica; clients are spread', () => {
    const shards = [on('a', large), on('b', large)];
    const of = (each: Load) => plan(given({ shards, slices: [slice('t/hot', 'a', each)] })).actions;
    expect(of(flow('bandwidth', 4e6))).toMatchObject([{ kind: 'MOVE', replicates: true, to: 'b' }]);
    expect(of({ ...flow('clients', 3_500), lookups: 0 })).toMatchObject([
      { kind: 'SPLIT', after: [{ slice: 's/0of2/hot', load: { clients: { now: 1_750 } } }, {}] },
    ]);
  });
});
