// The plan as a pure function: each action, each constraint and its refusal, over small snapshots.

import { describe, expect, test } from 'vitest';
import type { Action } from '../../../processors/plan/cluster/actions.ts';
import { catalogOf, type Flowing, typeNamed } from '../../../processors/plan/cluster/catalog.ts';
import { ClusterModel, type Snapshot } from '../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedShard, PlannedSlice } from '../../../processors/plan/cluster/cluster-shard.ts';
import { CONSTRAINTS, firstRefusal } from '../../../processors/plan/constraints/constraints.ts';
import { emptyTotal } from '../../../processors/plan/demand/ahead.ts';
import { troubleOf } from '../../../processors/plan/demand/capacity.ts';
import { emptyLoad, type Load } from '../../../processors/plan/demand/demand.ts';
import { riskAt } from '../../../processors/plan/demand/utilisation-forecast.ts';
import { plan } from '../../../processors/plan/plan.ts';
import { eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import { CATALOG, FOOTPRINTS, SETTINGS, T0 } from './stage-by-hand.ts';

const NOW = eventTime(T0);
const MINUTE_MS = 60_000;

/** A load that is `now` until bucket `from` (of two minutes each) and `later` from there on. */
function load(now: number, later = now, from = 0): Load {
  const made = emptyLoad(SETTINGS.horizonSteps);
  made.now = now;
  for (let k = 0; k < made.median.length; k++) made.median[k] = k >= from ? later : now;
  return made;
}

const shard = (id: string, more: Partial<PlannedShard> = {}): PlannedShard => ({
  id: id as ShardId,
  kind: 'KEY_VALUE',
  type: typeNamed(CATALOG, 'kv'),
  ready: true,
  resizing: false,
  first: false,
  measuredUtilisation: undefined,
  roomyPlans: 0,
  ...more,
});

const slice = (key: string, on: string, perSecond: number | Load, more: Partial<PlannedSlice> = {}): PlannedSlice => ({
  slice: key as SliceKey,
  shard: on as ShardId,
  entries: 1_000,
  bytes: 200_000,
  load: typeof perSecond === 'number' ? load(perSecond) : perSecond,
  busy: false,
  coolUntil: eventTime(0),
  ...more,
});

const snapshot = (more: Partial<Snapshot>): Snapshot => ({
  now: NOW,
  settings: SETTINGS,
  catalog: CATALOG,
  shards: [],
  slices: [],
  heavyTopics: [],
  heavyGroups: [],
  totals: { KEY_VALUE: emptyTotal(SETTINGS), TRIE: emptyTotal(SETTINGS) },
  footprints: FOOTPRINTS,
  plannedBefore: { KEY_VALUE: [], TRIE: [] },
  distrust: '',
  measured: { copyBytesPerSecond: 8e6, propagationMs: 1_000, provisioningMs: {} },
  moves: 0,
  movesOf: new Map(),
  ledger: [],
  nextShard: 9,
  avoided: new Set(),
  ...more,
});

/** What a plan does, in short. */
const said = (made: ReturnType<typeof plan>): string[] =>
  made.actions.map((action) => {
    if (action.kind === 'MOVE') return `MOVE ${action.slice.slice} ${action.slice.shard}>${action.to}`;
    if (action.kind === 'SPLIT' || action.kind === 'MERGE')
      return `${action.kind} ${action.before.map((each) => each.slice)}>${action.after.map((each) => each.slice)}`;
    if (action.kind === 'ALLOCATE' || action.kind === 'RESIZE')
      return `${action.kind} ${action.shard} ${action.type.name}`;
    return `${action.kind} ${action.kind === 'RETIRE' ? action.shard : ''}`;
  });

/** Totals by which key-value shards for so many operations are planned. */
function wanting(perSecond: number): Snapshot['totals'] {
  const total = emptyTotal(SETTINGS);
  total.now = perSecond;
  total.median.fill(perSecond);
  return { KEY_VALUE: total, TRIE: emptyTotal(SETTINGS) };
}

/** So many plans that wanted one shard. */
const plansForOne = (plans: number): Snapshot['plannedBefore'] => ({ KEY_VALUE: Array(plans).fill(700), TRIE: [] });

const four = (on: string, perSecond: number | Load): PlannedSlice[] =>
  [0, 1, 2, 3].map((p) => slice(`c/${p}/`, on, perSecond));

/** Both stay, whatever is asked of them. */
const STAYING = [shard('a', { first: true }), shard('b', { first: true })];
/** Two shards that are as full as each other. */
const EVEN = { shards: STAYING, slices: [...four('a', 100), slice('c/4/', 'b', 400)] };

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

describe('when to act', () => {
  const growing = (from: number): PlannedSlice[] => four('a', load(100, 240, from));
  // Provisioning 60 s, two passes over 200 kB, propagation 1 s, margin 30 s: the lead time; plus one tick of 60 s.
  for (const { name, from, expected } of [
    { name: 'a crossing an hour away waits', from: 29, expected: [] },
    { name: 'a crossing in four minutes waits', from: 2, expected: [] },
    { name: 'a crossing within lead time and a tick is answered', from: 1, expected: ['ALLOCATE shard-0009 kv'] },
  ])
    test(name, () => expect(said(plan(snapshot({ shards: [shard('a')], slices: growing(from) })))).toEqual(expected));

  test('a slow provisioner is asked earlier: lead time is computed from what was measured', () => {
    const measured = {
      copyBytesPerSecond: 8e6,
      propagationMs: 1_000,
      provisioningMs: { kv: 20 * MINUTE_MS, 'kv-large': 1 },
    };
    const made = plan(
      snapshot({ shards: [shard('a')], slices: growing(10), measured, avoided: new Set(['kv-large']) }),
    );
    expect(said(made)).toEqual(['ALLOCATE shard-0009 kv']);
    expect(made.actions[0]!.crossingAt).toBe(NOW + 20 * MINUTE_MS);
    expect(made.actions[0]!.leadTimeMs).toBeGreaterThan(20 * MINUTE_MS);
  });

  test('room elsewhere that has time is not bought a shard for', () => {
    const made = plan(
      snapshot({ shards: [shard('a'), shard('b')], slices: [...growing(2), slice('c/5/', 'b', load(0, 10))] }),
    );
    expect(said(made)).toEqual([]);
    expect(made.refusals.map((each) => each.by)).toEqual(['timing']);
  });
});

/** Of an action that answers no trouble. */
const FACTS = {
  reason: '',
  forecastPerSecond: 1,
  capacityPerSecond: 1,
  crossingAt: NOW,
  leadTimeMs: 0,
  dollarsPerHour: 0,
  dollars: 0,
  savesDollars: 1,
  alternatives: [],
  urgent: false,
  concerns: 'a' as ShardId,
};

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

test('spreads of slices neither add up nor cancel out (B1)', () => {
  const noisy = (): Load => {
    const made = load(100);
    made.spread.fill(100);
    return made;
  };
  const cluster = new ClusterModel(
    snapshot({ shards: [shard('a')], slices: four('a', 0).map((each) => ({ ...each, load: noisy() })) }),
  );
  const { peakPerSecond } = cluster.rooms.utilisation(cluster.shards.get('a' as ShardId)!);
  expect(peakPerSecond).toBeGreaterThan(400 + 200);
  expect(peakPerSecond).toBeLessThan(400 + 400);
});

describe('money in a plan', () => {
  const types = (onDemandDollars: number): Snapshot['catalog'] =>
    new Map([
      ['kv', { ...typeNamed(CATALOG, 'kv'), dollarsPerHour: 0.4 }],
      [
        'on-demand',
        {
          ...typeNamed(CATALOG, 'kv'),
          name: 'on-demand',
          dollarsPerHour: 0,
          dollarsPerProvisioning: 0,
          dollarsPerMillionRequests: onDemandDollars,
        },
      ],
    ]);
  for (const { price, expected } of [
    { price: 0.1, expected: 'ALLOCATE shard-0009 on-demand' },
    { price: 20, expected: 'ALLOCATE shard-0009 kv' },
  ])
    test(`at $${price} a million requests: ${expected}`, () =>
      expect(said(plan(snapshot({ catalog: types(price), shards: [shard('a')], slices: four('a', 220) })))).toEqual([
        expected,
      ]));

  test('a cheap type that comes too late is dearer than a quick one: the overload until then is counted', () => {
    const slow = { ...typeNamed(CATALOG, 'kv'), name: 'slow', dollarsPerHour: 0.01, provisioningMs: 1_200_000 };
    const given = { catalog: new Map([...CATALOG, ['slow', slow]]), shards: [shard('a')], slices: four('a', 220) };
    const [action] = plan(snapshot(given)).actions;
    expect(action).toMatchObject({ kind: 'ALLOCATE', type: { name: 'kv' } });
    expect(action!.cost!.violation).toBeGreaterThan(0);
    expect(action!.alternatives.map(({ what }) => what)).toContain('ALLOCATE slow');
  });

  test('what is paid is the sum of its parts, overload left aside', () => {
    const [action] = plan(snapshot({ shards: [shard('a')], slices: four('a', 220) })).actions;
    const { running, provisioning, moving, doubleRunning } = action!.cost!;
    expect(action!.dollars).toBeCloseTo(running + provisioning + moving + doubleRunning, 12);
    expect(provisioning).toBe(typeNamed(CATALOG, 'kv').dollarsPerProvisioning);
  });

  test('requests count in what the cell costs an hour, wherever they go', () => {
    const catalog = types(1);
    const onDemand = shard('a', { type: typeNamed(catalog, 'on-demand') });
    const cluster = new ClusterModel(snapshot({ catalog, shards: [onDemand, shard('b')], slices: four('a', 250) }));
    expect(cluster.costs.dollarsPerHour).toBeCloseTo(0.1 + 3.6);
    cluster.move(
      cluster.shards.get('a' as ShardId)!.slices.get('c/0/' as SliceKey)!,
      cluster.shards.get('b' as ShardId)!,
    );
    expect(cluster.costs.dollarsPerHour).toBeCloseTo(0.1 + 2.7);
  });

  test('the risk of an overload is the upper quantile at its load, a half at the median, and certain for what is known', () => {
    const riskOf = (median: number, spread: number): number => {
      const made = load(0, median);
      made.spread.fill(spread);
      const cluster = new ClusterModel(snapshot({ shards: [shard('a')], slices: [slice('c/0/', 'a', made)] }));
      return riskAt(cluster.shards.get('a' as ShardId)!, 0, SETTINGS);
    };
    expect(riskOf(400, 400)).toBeCloseTo(0.05); // 800 is safe capacity.
    expect(riskOf(800, 400)).toBeCloseTo(0.5);
    expect(riskOf(900, 0)).toBeGreaterThan(0.99);
    expect(riskOf(0, 0)).toBeCloseTo(0);
    expect(riskOf(0, 800)).toBeCloseTo(0.05);
  });
});

test('full of a disk is trouble of storage, not of memory', () => {
  const type = { ...typeNamed(CATALOG, 'kv'), storageBytes: 1e12 };
  const cluster = new ClusterModel(
    snapshot({ shards: [shard('a', { type })], slices: [slice('c/0/', 'a', 1, { bytes: 9e11 })] }),
  );
  expect(troubleOf(cluster, cluster.shards.get('a' as ShardId)!)).toMatchObject({
    dimension: 'storage',
    crossingAt: NOW,
  });
});

test('full of entries is trouble too, at once', () => {
  const cluster = new ClusterModel(
    snapshot({ shards: [shard('a')], slices: [slice('c/0/', 'a', 1, { entries: 900_000 })] }),
  );
  expect(troubleOf(cluster, cluster.shards.get('a' as ShardId)!)).toMatchObject({
    dimension: 'entries',
    crossingAt: NOW,
  });
});

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

test('the same snapshot gives the same plan, whatever the order of its slices', () => {
  const slices = Array.from({ length: 64 }, (_, i) =>
    slice(`c/${i % 4}/${i.toString(2).padStart(4, '0')}`, i % 3 ? 'a' : 'b', 10 + (i % 7) * 5),
  );
  const given = snapshot({ shards: [shard('a'), shard('b'), shard('c')], slices });
  expect(said(plan({ ...given, slices: [...slices].reverse() }))).toEqual(said(plan(given)));
  expect(said(plan(given)).length).toBeGreaterThan(0);
});

test('times of an action are whole milliseconds, whatever was measured and however the horizon is cut', () => {
  const made = plan(
    snapshot({
      settings: { ...SETTINGS, horizonMs: 1_000_001 },
      shards: [shard('a')],
      slices: [slice('c/0/', 'a', load(100, 700, 3)), slice('c/1/', 'a', load(100, 700, 3))],
      measured: {
        copyBytesPerSecond: 7.7e6,
        propagationMs: 1_000.3,
        provisioningMs: { kv: 60_000.7, 'kv-large': 60_000.7 },
      },
    }),
    [],
  );
  expect(made.actions.length).toBeGreaterThan(0);
  for (const { leadTimeMs, crossingAt } of made.actions)
    expect([Number.isInteger(leadTimeMs), Number.isInteger(crossingAt)]).toEqual([true, true]);
});

test('what must wait on one shard takes no move from another', () => {
  const full = (id: string): PlannedSlice[] => Array.from({ length: 8 }, (_, i) => slice(`c/${i}/${id}`, id, 200));
  const shards = ['a', 'b', 'x', 'y', 'z'].map((id) => shard(id));
  const made = plan(snapshot({ shards, slices: [...full('a'), ...full('b')] }));
  const from = made.actions.map((action) => action.kind === 'MOVE' && action.slice.shard);
  expect(from).toEqual(['a', 'a', 'b', 'b']);
  expect(made.later.length).toBeGreaterThan(0);
  expect(made.refusals.map(({ reason }) => reason).join()).not.toMatch(/[5-9] moves are in flight/);
});
