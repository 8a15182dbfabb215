// Demand and intake: forecasts and rates in, the load of each slice out.

import { describe, expect, test } from 'vitest';
import { catalogOf, FLOWING } from '../../../../processors/plan/cluster/catalog.ts';
import {
  demandOf,
  halfLoad,
  type Load,
  peakOf,
  peakOfFlow,
  type SeriesFacts,
  wholeLoad,
} from '../../../../processors/plan/demand/demand.ts';
import { cellOf } from '../../../../processors/plan/stage/cell-state.ts';
import { eventTime, type SliceKey } from '../../../../schemas/ids.ts';
import { filterHash, leadingBits, partitionOf } from '../../../../state/keys.ts';
import { CATALOG, COSTS, forecast, SETTINGS, StageByHand, T0 } from '../stage-by-hand.ts';

const NOW = eventTime(T0);
const flat = (rate: number, upper = rate): SeriesFacts['publishes'] => ({
  madeAt: NOW,
  stepMs: 60_000,
  current: rate,
  median: [rate],
  upper: [upper],
  top: [upper],
  trusted: true,
  distrust: '',
});
const fact = (series: string, publishes?: number, subscriptions?: number): SeriesFacts => ({
  series,
  publishes: publishes === undefined ? undefined : flat(publishes),
  subscriptions: subscriptions === undefined ? undefined : flat(subscriptions),
  surge: undefined,
});

const PARTITION = partitionOf('hot', 4);
const BITS = leadingBits(filterHash('hot'), 2);
const flipped = (bits: string): string => bits.slice(0, -1) + (bits.endsWith('0') ? '1' : '0');
const LEAF = `c/${PARTITION}/${BITS}`;
const HOME = `c/${PARTITION}/`;
const ROOT = partitionOf('#', 4);
const OTHER = (ROOT + 1) % 4;

describe('the load of a slice', () => {
  for (const { name, slices, facts, loads } of [
    {
      name: 'is the sum of its leaves',
      slices: [HOME],
      facts: [fact(LEAF, 30), fact(`c/${PARTITION}/${flipped(BITS)}`, 12)],
      loads: { [HOME]: 42 },
    },
    { name: 'weighs a write twice a look-up', slices: [HOME], facts: [fact(LEAF, 10, 5)], loads: { [HOME]: 20 } },
    {
      name: 'deeper than a leaf is a share of it',
      slices: [`${LEAF}0`, `${LEAF}10`, `${LEAF}11`],
      facts: [fact(LEAF, 40)],
      loads: { [`${LEAF}0`]: 20, [`${LEAF}10`]: 10, [`${LEAF}11`]: 10 },
    },
    {
      name: 'leaves out a pinned topic, which has its own',
      slices: [HOME, 't/hot'],
      facts: [fact(LEAF, 100), fact('t/hot', 70)],
      loads: { [HOME]: 30, 't/hot': 70 },
    },
    {
      name: 'keeps a heavy topic that is not pinned, where it is',
      slices: [`c/${PARTITION}/${BITS}`, `c/${PARTITION}/${flipped(BITS)}`],
      facts: [fact(HOME, 100), fact('t/hot', 70)],
      loads: { [LEAF]: 77.5, [`c/${PARTITION}/${flipped(BITS)}`]: 7.5 },
    },
    {
      name: 'is never negative when series disagree',
      slices: [HOME, 't/hot'],
      facts: [fact(LEAF, 10), fact('t/hot', 70)],
      loads: { [HOME]: 0, 't/hot': 70 },
    },
    {
      name: 'of a spread topic: all look-ups ask each part, writes are shared',
      slices: [HOME, 's/0of2/hot', 's/1of2/hot'],
      facts: [fact(LEAF, 70, 10), fact('t/hot', 70, 10)],
      loads: { [HOME]: 0, 's/0of2/hot': 80, 's/1of2/hot': 80 },
    },
    {
      name: 'of a wildcard partition: its rest and its heavy groups; look-ups cost four',
      slices: [`w/${OTHER}/`],
      facts: [fact(`w/${OTHER}/`, 5, 1), fact(`w/${OTHER}/a/`, 10, 3)],
      loads: { [`w/${OTHER}/`]: 68 },
    },
    {
      name: 'of a carved group: writes go with it, look-ups ask both',
      slices: [`w/${OTHER}/`, `w/${OTHER}/a/`],
      facts: [fact(`w/${OTHER}/`, 5, 1), fact(`w/${OTHER}/a/`, 10, 3)],
      loads: { [`w/${OTHER}/`]: 62, [`w/${OTHER}/a/`]: 46 },
    },
    {
      name: 'of the partition that every PUBLISH asks: its rest has them all',
      slices: [`w/${ROOT}/`],
      facts: [fact(`w/${ROOT}/`, 15), fact(`w/${ROOT}/a/`, 10)],
      loads: { [`w/${ROOT}/`]: 60 },
    },
    { name: 'is zero without any series', slices: [HOME], facts: [], loads: { [HOME]: 0 } },
  ])
    test(name, () => {
      const demand = demandOf(
        slices.map((slice) => ({ slice: slice as SliceKey, entries: 0 })),
        facts,
        COSTS,
        SETTINGS,
        NOW,
      );
      const found = Object.fromEntries(
        [...demand.loads].map(([key, load]) => [key, Math.round(peakOf(load).perSecond * 1000) / 1000]),
      );
      expect(found).toEqual(loads);
    });

  for (const { name, publishes, surge, now, peak } of [
    { name: 'the upper quantile is planned for', publishes: flat(10, 25), surge: undefined, now: NOW, peak: 25 },
    {
      name: 'what is measured is never forecast away',
      publishes: { ...flat(10, 12)!, current: 40 },
      surge: undefined,
      now: NOW,
      peak: 40,
    },
    { name: 'a surge counts above the forecast', publishes: flat(10, 12), surge: 99, now: NOW, peak: 99 },
    {
      name: 'without trust, measurement alone',
      publishes: { ...flat(10, 500)!, trusted: false },
      surge: undefined,
      now: NOW,
      peak: 10,
    },
    {
      name: 'a series that is no more has no rate',
      publishes: flat(10, 25),
      surge: undefined,
      now: eventTime(NOW + 700_000),
      peak: 0,
    },
  ])
    test(name, () => {
      const facts: SeriesFacts = {
        series: LEAF,
        subscriptions: undefined,
        publishes,
        surge:
          surge === undefined
            ? undefined
            : { publishesPerSecond: surge, subscriptionsPerSecond: 0, unsubscribesPerSecond: 0 },
      };
      const { loads } = demandOf([{ slice: HOME as SliceKey, entries: 0 }], [facts], COSTS, SETTINGS, now);
      expect(peakOf(loads.get(HOME as SliceKey)!).perSecond).toBe(peak);
    });

  for (const { name, upper, surge, expected } of [
    { name: 'what the forecast has in sight ends when it says so (E3)', upper: 100, surge: 0, expected: [50, 1, 1] },
    { name: 'what it has not in sight stays over the horizon (E3)', upper: 90, surge: 0, expected: [100, 100, 100] },
    { name: 'nor does a surge above it end (E3)', upper: 100, surge: 150, expected: [150, 150, 150] },
  ])
    test(name, () => {
      const forecast = { ...flat(100)!, median: [99, 1, 1, 1, 1, 1], upper: [upper, 1, 1, 1, 1, 1] };
      const surges = surge === 0 ? undefined : { subscriptionsPerSecond: 0, publishesPerSecond: surge };
      const facts = [{ series: HOME, publishes: forecast, subscriptions: undefined, surge: surges }];
      const { loads } = demandOf([{ slice: HOME as SliceKey, entries: 0 }], facts, COSTS, SETTINGS, NOW);
      const { now, median } = loads.get(HOME as SliceKey)!;
      expect(now).toBe(Math.max(100, surge));
      expect([...median.slice(0, 3)].map(Math.round)).toEqual(expected);
    });

  test('of two that take turns is never that of both: a bucket is the mean of its steps (E4)', () => {
    const turns = (median: number[]) => ({ ...flat(median[0]!)!, median, upper: median });
    const facts = [
      { ...fact(`c/${(PARTITION + 1) % 4}/`), publishes: turns([100, 100, 100, 0, 0, 0]) },
      { ...fact('t/hot'), publishes: turns([0, 0, 0, 100, 100, 100]) },
    ];
    const slices = [`c/${(PARTITION + 1) % 4}/`, 't/hot'].map((key) => ({ slice: key as SliceKey, entries: 0 }));
    const { loads } = demandOf(slices, facts, COSTS, SETTINGS, NOW);
    const [one, other] = slices.map(({ slice }) => loads.get(slice)!.median);
    expect([0, 1, 2].map((k) => one![k]! + other![k]!)).toEqual([100, 100, 100]);
  });
});

describe('what comes with the events of a slice (E5)', () => {
  const limited = catalogOf({
    types: [...CATALOG.values()].map((type) => ({ ...type, clientsMax: 1e6, bytesPerSecondMax: 1e9 })),
  });
  const loadsOf = (slices: readonly string[], facts: SeriesFacts[], catalog = limited) =>
    demandOf(
      slices.map((slice) => ({ slice: slice as SliceKey, entries: 0 })),
      facts,
      COSTS,
      { ...SETTINGS, catalog },
      NOW,
    ).loads;
  const peaks = (load: Load | undefined) => FLOWING.map((flowing) => Math.round(peakOfFlow(load!, flowing)));
  const counted = { clientsPerRate: 3, bytesPerPublish: 100 };

  test('clients come with the subscribes and bytes with the publishes, as far ahead as those are forecast', () => {
    const publishes = { ...flat(10)!, median: [10, 10, 20], upper: [10, 10, 40] };
    const load = loadsOf([HOME], [{ ...fact(LEAF, 0, 5), ...counted, publishes }]).get(HOME as SliceKey);
    expect(peaks(load)).toEqual([15, 4_000]);
    expect([load!.bandwidth!.now, load!.bandwidth!.median[0], load!.bandwidth!.median[1]]).toEqual([
      1_000, 1_000, 2_000,
    ]);
  });

  test('a surge brings as many for each', () => {
    const surge = { subscriptionsPerSecond: 50, publishesPerSecond: 70 };
    expect(peaks(loadsOf([HOME], [{ ...fact(LEAF, 10, 5), ...counted, surge }]).get(HOME as SliceKey))).toEqual([
      150, 7_000,
    ]);
  });

  test('a pinned topic takes its own out of its leaf', () => {
    const facts = [
      { ...fact(LEAF, 100, 10), ...counted },
      { ...fact('t/hot', 70, 10), clientsPerRate: 2, bytesPerPublish: 130 },
    ];
    const loads = loadsOf([HOME, 't/hot'], facts);
    expect(peaks(loads.get(HOME as SliceKey))).toEqual([10, 900]);
    expect(peaks(loads.get('t/hot' as SliceKey))).toEqual([20, 9_100]);
  });

  test('a deep look-up in a trie costs operations, and no bytes', () => {
    const reach = { nodes: 40, matches: 9 };
    const slice = { slice: `w/${OTHER}/` as SliceKey, entries: 0, reach };
    const settings = { ...SETTINGS, catalog: limited };
    const { loads } = demandOf([slice], [{ ...fact(`w/${OTHER}/`, 10), ...counted }], COSTS, settings, NOW);
    expect(peaks(loads.get(slice.slice))).toEqual([0, 1_000]);
  });

  test('each of two that share the look-ups has half of the bytes and all of the clients', () => {
    const whole = loadsOf([HOME], [{ ...fact(LEAF, 10, 5), ...counted }]).get(HOME as SliceKey)!;
    expect(peaks(halfLoad(whole))).toEqual([15, 500]);
    expect(peaks(wholeLoad(halfLoad(whole)))).toEqual([15, 1_000]);
  });

  test('is not followed where no type limits it', () => {
    const load = loadsOf([HOME], [{ ...fact(LEAF, 10, 5), ...counted }], CATALOG).get(HOME as SliceKey);
    expect(load).toMatchObject({ clients: undefined, bandwidth: undefined });
  });

  for (const { name, change, expected } of [
    {
      name: 'is counted for each event per second',
      change: {},
      expected: { clientsPerRate: 6, bytesPerPublish: 2_000 },
    },
    {
      name: 'stays as it was while nothing happens',
      change: { currentPerSecond: 0, distinctClients: 0, bytesPerSecond: 0 },
      expected: { clientsPerRate: 1, bytesPerPublish: 1 },
    },
    {
      name: 'stays as it was when what was counted is no count (I13)',
      change: { distinctClients: Number.NaN, bytesPerSecond: -1 },
      expected: { clientsPerRate: 1, bytesPerPublish: 1 },
    },
    {
      name: 'stays as it was when what was counted is absurd (I13)',
      change: { distinctClients: 1e300, bytesPerSecond: Number.POSITIVE_INFINITY },
      expected: { clientsPerRate: 1, bytesPerPublish: 1 },
    },
  ])
    test(name, () => {
      const cell = new StageByHand().genesis();
      for (const signal of ['SUBSCRIPTIONS', 'PUBLISHES'] as const) {
        const first = forecast('c/0/00', signal, T0, [4], [9], 4);
        cell.send({ topic: 'forecasts', value: { ...first, distinctClients: 4, bytesPerSecond: 4 } });
        cell.send({
          topic: 'forecasts',
          value: { ...first, distinctClients: 24, bytesPerSecond: 8_000, ...change },
        });
      }
      expect(cell.state.series.get('c/0/00')).toMatchObject(expected);
    });
});

describe('forecasts at the entry (I13)', () => {
  for (const { name, change, trusted } of [
    { name: 'a sound one is trusted', change: {}, trusted: true },
    { name: 'NaN', change: { quantiles: [Number.NaN, 1] }, trusted: false },
    { name: 'a negative rate', change: { quantiles: [-1, 1] }, trusted: false },
    { name: '1e308', change: { quantiles: [1, 1e308] }, trusted: false },
    { name: 'too few quantiles', change: { quantiles: [1] }, trusted: false },
    { name: 'levels out of order', change: { levels: [0.9, 0.1] }, trusted: false },
    { name: 'a step of nothing', change: { stepMs: 0 }, trusted: false },
    { name: 'the accuracy gate', change: { trusted: false, distrust: 'error 3.2' }, trusted: false },
  ])
    test(name, () => {
      const cell = new StageByHand().genesis();
      cell.send({ topic: 'forecasts', value: { ...forecast('c/0/00', 'PUBLISHES', T0, [5], [9], 4), ...change } });
      expect(cell.state.series.get('c/0/00')!.publishes).toMatchObject({ trusted, current: 4 });
    });

  test('one of another clock is dropped and counted', () => {
    const cell = new StageByHand().genesis();
    cell.send({ topic: 'forecasts', value: forecast('c/0/00', 'PUBLISHES', T0 + 86_400_000, [5], [9], 4) });
    expect(cellOf(cell.rows)!.ignored.forecasts).toBe(1);
    expect(cellOf(cell.rows)!.now).toBe(T0);
  });
});

test('windows of one group from several partitions add up; a surge that is over is forgotten', () => {
  const cell = new StageByHand().genesis();
  const window = (series: string, start: number, publishes: number): void =>
    cell.send({
      topic: 'rates',
      value: {
        series: series as never,
        source: 0,
        windowStart: eventTime(T0 + start),
        windowMs: 10_000,
        subscribes: 0,
        unsubscribes: 0,
        publishes,
        bytes: 0,
        distinctClients: 0,
        lateEvents: 0,
      },
    });
  window('w/0/', 0, 500);
  window('w/0/', 0, 700);
  expect(cell.state.surges.get('w/0/')!.publishesPerSecond).toBe(120);
  window('c/0/00', 0, 5_000);
  expect(cell.state.surges.get('c/0/00')!.publishesPerSecond).toBe(500);
  window('c/0/00', 10_000, 10);
  expect(cell.state.surges.get('c/0/00')).toBeUndefined();
});
