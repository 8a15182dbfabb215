// Fleet: how many shards of a kind a forecast of the whole cell asks for, what is bought, and what could go.

import { describe, expect, test } from 'vitest';
import { type Catalog, catalogOf, typeNamed } from '../../../../processors/plan/cluster/catalog.ts';
import { ClusterModel, type Snapshot } from '../../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedSlice } from '../../../../processors/plan/cluster/cluster-shard.ts';
import { fleetPlan, growing, surplusPerSecond } from '../../../../processors/plan/cluster/fleet.ts';
import { rowsAhead, totalLoads } from '../../../../processors/plan/demand/ahead.ts';
import { emptyLoad, type SeriesFacts } from '../../../../processors/plan/demand/demand.ts';
import { plan } from '../../../../processors/plan/plan.ts';
import type { PlanPolicy } from '../../../../processors/plan/search/provisioning.ts';
import { eventTime, type ShardId, type SliceKey } from '../../../../schemas/ids.ts';
import { CATALOG, COSTS, FOOTPRINTS, REACHES, SETTINGS, T0 } from '../stage-by-hand.ts';

const NOW = eventTime(T0);
const HOUR = 60;

interface Given {
  /** Look-ups per second of the cell by the minute from now on, the last one for ever. */
  readonly byMinute: readonly number[];
  /** By the hour from one hour ahead on. */
  readonly byHour?: readonly number[];
  /** The upper quantiles over the median. */
  readonly spread?: number;
  readonly shards?: readonly string[];
  readonly policy?: PlanPolicy;
  readonly catalog?: Catalog;
  readonly provisioningMs?: number;
  readonly plannedBefore?: readonly number[];
  readonly trusted?: boolean;
  readonly shardsPerHourMax?: number;
  readonly key?: (index: number) => string;
}

/** Eight slices and their series, on shards of the types given. */
function clusterOf(given: Given): ClusterModel {
  const { byMinute, byHour, spread = 1, shards = ['kv'], policy = 'balanced', catalog = CATALOG } = given;
  const key = given.key ?? ((i: number) => `c/${i % 4}/${Math.floor(i / 4)}`);
  const settings = { ...SETTINGS, policy, shardsPerHourMax: given.shardsPerHourMax ?? 8 };
  const minutes = Array.from({ length: HOUR }, (_, k) => (byMinute[k] ?? byMinute.at(-1)!) / 8);
  const hours = byHour?.map((rate) => rate / 8);
  const forecast: SeriesFacts['publishes'] = {
    madeAt: NOW,
    stepMs: 60_000,
    current: minutes[0]!,
    median: minutes,
    upper: minutes.map((rate) => rate * spread),
    top: minutes.map((rate) => rate * spread ** 1.5),
    ...(hours && { far: { stepMs: 3_600_000, median: hours, upper: hours, top: hours } }),
    trusted: given.trusted ?? true,
    distrust: '',
  };
  const keys = Array.from({ length: 8 }, (_, i) => key(i));
  const facts = keys.map((series) => ({ series, subscriptions: undefined, publishes: forecast, surge: undefined }));
  const slices: PlannedSlice[] = keys.map((slice, i) => {
    const load = emptyLoad(settings.horizonSteps);
    load.now = minutes[0]!;
    for (let k = 0; k < load.median.length; k++) load.median[k] = Math.max(minutes[2 * k]!, minutes[0]!);
    const shard = `s${i % shards.length}` as ShardId;
    return { slice: slice as SliceKey, shard, entries: 1, bytes: 1, load, busy: false, coolUntil: eventTime(0) };
  });
  const snapshot: Snapshot = {
    now: NOW,
    settings,
    catalog,
    shards: shards.map((type, i) => ({
      id: `s${i}` as ShardId,
      kind: 'KEY_VALUE',
      type: typeNamed(catalog, type),
      ready: true,
      resizing: false,
      first: i === 0,
      measuredUtilisation: undefined,
      roomyPlans: 0,
    })),
    slices,
    heavyTopics: [],
    heavyGroups: [],
    totals: totalLoads(facts, COSTS, REACHES, settings, NOW),
    footprints: FOOTPRINTS,
    plannedBefore: { KEY_VALUE: given.plannedBefore ?? [], TRIE: [] },
    distrust: '',
    measured: { copyBytesPerSecond: 8e6, propagationMs: 1_000, provisioningMs: { kv: given.provisioningMs ?? 60_000 } },
    moves: 0,
    movesOf: new Map(),
    ledger: [],
    nextShard: 9,
    avoided: new Set(),
  };
  return new ClusterModel(snapshot);
}

const planned = (given: Given): number => Math.round(fleetPlan(clusterOf(given), 'KEY_VALUE')!.capacityPerSecond);
const bought = (given: Given): string[] => {
  const cluster = clusterOf(given);
  return [...growing(cluster, 'KEY_VALUE', fleetPlan(cluster, 'KEY_VALUE')!)].map((action) =>
    action.kind === 'ALLOCATE' ? action.type.name : action.kind,
  );
};

// A shard of type kv carries 700: 0.8 of its 1000 less the dead band. Its lead time is about 90 s, and a tick.
describe('the capacity that is planned', () => {
  for (const { name, given, expected } of [
    { name: 'is what the load asks for', given: { byMinute: [1_300] }, expected: 1_400 },
    { name: 'is one shard at least', given: { byMinute: [0] }, expected: 700 },
    { name: 'foresees growth within the lead time', given: { byMinute: [600, 600, 600, 900] }, expected: 1_400 },
    {
      name: 'does not buy before it must',
      given: { byMinute: [...Array<number>(50).fill(600), 900] },
      expected: 700,
    },
    {
      name: 'buys as much earlier as provisioning takes longer',
      given: { byMinute: [...Array<number>(50).fill(600), 900], provisioningMs: 50 * 60_000 },
      expected: 1_400,
    },
    {
      name: 'sees by the hour what comes beyond the near forecast',
      given: { byMinute: [600], byHour: [600, 900, 900, 900], provisioningMs: 110 * 60_000 },
      expected: 1_400,
    },
    {
      name: 'lets nothing go that comes back sooner than it would be paid for',
      given: { byMinute: [600, 600, 600, 600, 600, 600, 900], shards: ['kv', 'kv'] },
      expected: 1_400,
    },
    { name: 'has room for what is uncertain', given: { byMinute: [600], spread: 1.3 }, expected: 1_400 },
    {
      name: 'and more when that costs more',
      given: { byMinute: [1_000], spread: 1.3, policy: 'cautious' as const },
      expected: 2_100,
    },
    { name: 'than when it costs less', given: { byMinute: [1_000], spread: 1.3 }, expected: 1_400 },
    {
      name: 'goes by measurement while the forecast is not trusted',
      given: { byMinute: [1_300, 1e6], trusted: false },
      expected: 1_400,
    },
    {
      name: 'does not count slices that no shard can carry (F4)',
      given: { byMinute: [80_000], key: (i: number) => `t/hot-${i}` },
      expected: 1_400,
    },
  ] satisfies { name: string; given: Given; expected: number }[])
    test(name, () => expect(planned(given)).toBe(expected));

  test('is as much when shards are of several types', () =>
    expect(planned({ byMinute: [3_000], shards: ['kv-large', 'kv'] })).toBe(planned({ byMinute: [3_000] })));
});

const WHOLESALE = catalogOf({
  types: [...CATALOG.values()].map((type) => (type.name === 'kv-large' ? { ...type, dollarsPerHour: 0.15 } : type)),
});

describe('what is bought', () => {
  for (const { name, given, expected } of [
    { name: 'is nothing when shards are enough', given: { byMinute: [600] }, expected: [] },
    { name: 'is the cheapest type', given: { byMinute: [1_300] }, expected: ['kv'] },
    {
      name: 'is the type of which the least dollars are enough',
      given: { byMinute: [2_700], catalog: WHOLESALE },
      expected: ['kv-large'],
    },
    { name: 'is not there twice', given: { byMinute: [1_300], shards: ['kv', 'kv'] }, expected: [] },
  ])
    test(name, () => expect(bought(given)).toEqual(expected));

  test('says what it saves, and what doing nothing would cost', () => {
    const cluster = clusterOf({ byMinute: [1_300] });
    const [action] = growing(cluster, 'KEY_VALUE', fleetPlan(cluster, 'KEY_VALUE')!);
    expect(action!.savesDollars).toBeGreaterThan(action!.dollars);
    expect(action!.alternatives.map(({ what }) => what)).toEqual(['KEEP', 'ALLOCATE 1 kv-large']);
    expect(action!.reason).toMatch(
      /^The forecast for all key-value shards together in 3 min is up to 1300 operations\/s/,
    );
  });

  test('is held by the caps, whatever a forecast says', () => {
    const made = plan(clusterOf({ byMinute: [600, 600, 600, 4_000], shardsPerHourMax: 2 }).snapshot);
    expect(made.actions.map(({ kind }) => kind)).toEqual(['ALLOCATE', 'ALLOCATE']);
    expect(made.refusals.map(({ by }) => by)).toContain('shards-per-hour');
  });
});

describe('what could go', () => {
  const wanted = (count: number, ...last: number[]): number[] => [...Array<number>(count).fill(700), ...last];
  for (const { name, plannedBefore, expected } of [
    { name: 'is what ten plans could do without', plannedBefore: wanted(9), expected: 700 },
    { name: 'is nothing after nine', plannedBefore: wanted(8), expected: 0 },
    { name: 'is nothing when one of them needed it', plannedBefore: wanted(8, 1_400), expected: 0 },
  ])
    test(name, () => {
      const cluster = clusterOf({ byMinute: [500], shards: ['kv', 'kv'], plannedBefore });
      expect(Math.round(surplusPerSecond(cluster, 'KEY_VALUE', fleetPlan(cluster, 'KEY_VALUE')!))).toBe(expected);
    });
});

test('quantiles of the whole ascend, and its spread is between that of one series and the sum of all (A2)', () => {
  const cluster = clusterOf({ byMinute: [800], spread: 2 });
  const { quantiles } = rowsAhead(cluster.snapshot.totals.KEY_VALUE, SETTINGS, {
    fromMs: 0,
    rowMs: 60_000,
    rows: 30,
    factor: 1,
  });
  for (let at = 0; at < quantiles.length; at += 3) {
    const [median, upper, top] = quantiles.subarray(at, at + 3);
    expect(median).toBeCloseTo(800, 6);
    expect(upper! - median!).toBeGreaterThan(100);
    expect(upper! - median!).toBeLessThan(800);
    expect(top!).toBeGreaterThan(upper!);
  }
});
