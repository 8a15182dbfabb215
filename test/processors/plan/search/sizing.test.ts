// Sizing: when a shard gets a smaller type, and when a bigger one is cheaper than to move what is on it.

import { describe, expect, test } from 'vitest';
import { catalogOf, type DatastoreType, typeNamed } from '../../../../processors/plan/cluster/catalog.ts';
import { ClusterModel, type Snapshot } from '../../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedSlice } from '../../../../processors/plan/cluster/cluster-shard.ts';
import { emptyTotal } from '../../../../processors/plan/demand/ahead.ts';
import { emptyLoad } from '../../../../processors/plan/demand/demand.ts';
import { plan } from '../../../../processors/plan/plan.ts';
import { sizeDollars } from '../../../../processors/plan/search/sizing.ts';
import { eventTime, type ShardId, type SliceKey } from '../../../../schemas/ids.ts';
import { CATALOG, FOOTPRINTS, SETTINGS, T0 } from '../stage-by-hand.ts';

interface Given {
  /** Of each shard, in four slices. */
  readonly perSecond: number;
  readonly spread?: number;
  readonly types?: readonly string[];
  readonly roomyPlans?: number;
  /** What nine plans before wanted of the kind. */
  readonly planned?: number;
  readonly bytes?: number;
  /** Changes of the catalogue, by type. */
  readonly prices?: Readonly<Record<string, Partial<DatastoreType>>>;
  readonly policy?: 'balanced' | 'cautious';
}

function snapshotOf(given: Given): Snapshot {
  const { perSecond, spread = 0, types = ['kv-large'], roomyPlans = 10, planned = 700, prices = {} } = given;
  const catalog = catalogOf({ types: [...CATALOG.values()].map((type) => ({ ...type, ...prices[type.name] })) });
  const settings = { ...SETTINGS, policy: given.policy ?? 'balanced' };
  const slices: PlannedSlice[] = types.flatMap((_, s) =>
    Array.from({ length: 4 }, (_, i) => {
      const load = emptyLoad(settings.horizonSteps);
      // The last shard of several is the empty one.
      const share = types.length > 1 && s === types.length - 1 ? 0 : perSecond / 4;
      load.now = share;
      load.median.fill(share);
      load.spread.fill(share * spread);
      const bytes = given.bytes ?? 1e5;
      const slice = `c/${i}/${s}` as SliceKey;
      return { slice, shard: `s${s}` as ShardId, entries: 100, bytes, load, busy: false, coolUntil: eventTime(0) };
    }),
  );
  return {
    now: eventTime(T0),
    settings,
    catalog,
    shards: types.map((type, i) => ({
      id: `s${i}` as ShardId,
      kind: 'KEY_VALUE',
      type: typeNamed(catalog, type),
      ready: true,
      resizing: false,
      first: true,
      measuredUtilisation: undefined,
      roomyPlans,
    })),
    slices,
    heavyTopics: [],
    heavyGroups: [],
    totals: { KEY_VALUE: emptyTotal(settings), TRIE: emptyTotal(settings) },
    footprints: FOOTPRINTS,
    plannedBefore: { KEY_VALUE: Array(9).fill(planned), TRIE: [] },
    distrust: '',
    measured: { copyBytesPerSecond: 8e6, propagationMs: 1_000, provisioningMs: {} },
    moves: 0,
    movesOf: new Map(),
    ledger: [],
    nextShard: 9,
    avoided: new Set(),
  };
}

const done = (given: Given): string[] =>
  plan(snapshotOf(given)).actions.map((action) =>
    action.kind === 'RESIZE' ? `RESIZE ${action.shard} ${action.type.name}` : action.kind,
  );

describe('a smaller type', () => {
  for (const { name, given, expected } of [
    { name: 'is taken when ten plans agree', given: { perSecond: 400 }, expected: ['RESIZE s0 kv'] },
    { name: 'is not when nine do (Z1)', given: { perSecond: 400, roomyPlans: 9 }, expected: [] },
    { name: 'is not when it would be fuller than slices are placed (Z2)', given: { perSecond: 720 }, expected: [] },
    {
      name: 'is not when the change and the way back cost more than it saves (Z2)',
      given: { perSecond: 400, prices: { kv: { dollarsPerProvisioning: 0.21 } } },
      expected: [],
    },
    {
      name: 'is when they cost less',
      given: { perSecond: 400, prices: { kv: { dollarsPerProvisioning: 0.19 } } },
      expected: ['RESIZE s0 kv'],
    },
    {
      name: 'is not while the kind is to carry more (Z3)',
      given: { perSecond: 400, planned: 1_400 },
      expected: [],
    },
    {
      name: 'is not when a shortage is probable enough',
      given: { perSecond: 350, spread: 0.95, prices: { 'kv-large': { dollarsPerHour: 0.16 } } },
      expected: [],
    },
  ] satisfies { name: string; given: Given; expected: string[] }[])
    test(name, () => expect(done(given)).toEqual(expected));

  test('says what both cost', () => {
    const [action] = plan(snapshotOf({ perSecond: 400 })).actions;
    expect(action!.savesDollars).toBeGreaterThan(action!.dollars);
    expect(action!.alternatives).toMatchObject([{ what: 'KEEP kv-large' }]);
  });

  test('is worth less the dearer a shortage is', () => {
    const dollars = (['balanced', 'cautious'] as const).map((policy) => {
      const cluster = new ClusterModel(snapshotOf({ perSecond: 400, spread: 0.8, policy }));
      return sizeDollars(cluster, cluster.shards.get('s0' as ShardId)!, typeNamed(CATALOG, 'kv'));
    });
    expect(dollars[1]).toBeGreaterThan(dollars[0]!);
  });
});

describe('a shard in trouble beside one with room', () => {
  for (const { name, given, expected } of [
    { name: 'gives slices away', given: { perSecond: 900 }, expected: 'MOVE' },
    {
      name: 'gets a bigger type when to copy what must go costs more',
      given: {
        perSecond: 900,
        bytes: 1e8,
        prices: { kv: { dollarsPerGibMoved: 40 }, 'kv-large': { dollarsPerGibMoved: 0, dollarsPerHour: 0.2 } },
      },
      expected: 'RESIZE s0 kv-large',
    },
    {
      name: 'gives slices away when the overload until the bigger type is there would cost more than the copy',
      given: {
        perSecond: 900,
        bytes: 1e8,
        prices: {
          kv: { dollarsPerGibMoved: 40 },
          'kv-large': { dollarsPerGibMoved: 0, dollarsPerHour: 0.2, provisioningMs: 600_000 },
        },
      },
      expected: 'MOVE',
    },
  ] satisfies { name: string; given: Given; expected: string }[])
    test(name, () => expect(done({ ...given, types: ['kv', 'kv'] })[0]).toBe(expected));

  test('says what the other would have cost', () => {
    const [action] = plan(snapshotOf({ perSecond: 900, types: ['kv', 'kv'] })).actions;
    expect(action!.alternatives.map(({ what }) => what)).toEqual(['KEEP', 'RESIZE kv-large']);
    expect(action!.alternatives[1]!.dollars).toBeGreaterThan(action!.dollars);
  });
});
