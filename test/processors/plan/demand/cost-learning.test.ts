// Cost learning in a cell: what stores tell and what is counted reaches the plan.

import { describe, expect, test } from 'vitest';
import { costsOfCell, footprintsOfCell } from '../../../../processors/plan/demand/cost-learning.ts';
import { cellOf } from '../../../../processors/plan/stage/cell-state.ts';
import { snapshotOf } from '../../../../processors/plan/stage/snapshot.ts';
import { eventTime, type SliceKey, shardId } from '../../../../schemas/ids.ts';
import type { DatastoreMetrics, Forecast } from '../../../../schemas/records.ts';
import { groupSeries, leafSeries, partitionOf, ROOT_KEY } from '../../../../state/keys.ts';
import { CATALOG, forecast, SETTINGS, StageByHand } from '../stage-by-hand.ts';

const FLAT = (perSecond: number): number[] => Array<number>(60).fill(perSecond);
const ROOT = partitionOf(ROOT_KEY, SETTINGS.partitions);

const genesis = (): StageByHand => new StageByHand({ mode: 'observe' }).genesis();
const nextMinute = (cell: StageByHand): number => cellOf(cell.rows)!.now + 60_000;

function foreseen(
  cell: StageByHand,
  series: string,
  signal: Forecast['signal'],
  perSecond: number,
  unsubscribeShare = 0.5,
) {
  const value = forecast(series, signal, nextMinute(cell), FLAT(perSecond), FLAT(perSecond), perSecond);
  cell.send({ topic: 'forecasts', value: { ...value, unsubscribeShare } });
}

function tells(cell: StageByHand, shard: string, told: Partial<DatastoreMetrics>): void {
  const none = { memoryBytes: 0, memoryLimitBytes: 0, iops: 0, iopsLimit: 0, entries: 0, lookupP99Ms: 1 };
  const unsaid = { cpu: 0, nodesPerLookup: -1, matchesPerLookup: -1 };
  const timestamp = cellOf(cell.rows)!.now;
  cell.metric({
    kind: 'DatastoreMetrics',
    shardId: shardId(shard),
    instanceId: 'i',
    ...none,
    ...unsaid,
    timestamp,
    ...told,
  });
}

const loadOf = (cell: StageByHand, slice: string) =>
  snapshotOf(cell.state, SETTINGS).snapshot.slices.find((each) => each.slice === slice)!.load;

describe('a trie that says how far its look-ups reach', () => {
  test('is planned by the nodes that they visit', () => {
    const cell = genesis();
    foreseen(cell, groupSeries(ROOT), 'PUBLISHES', 100);
    expect(loadOf(cell, `w/${ROOT}/`).now).toBe(100 * SETTINGS.coefficients.operationsPerWildcardLookup);
    for (let i = 0; i < 60; i++) tells(cell, 'shard-0002', { nodesPerLookup: 12 });
    const { now, lookups, median } = loadOf(cell, `w/${ROOT}/`);
    expect(now).toBeCloseTo(100 * 12, 6);
    expect(lookups).toBeCloseTo(100 * 12, 6);
    expect(median[0]).toBeCloseTo(100 * 12, 1);
  });

  test('counts so in the load of all tries together, by which their number is planned', () => {
    const cell = genesis();
    foreseen(cell, groupSeries(ROOT), 'PUBLISHES', 100);
    for (let i = 0; i < 60; i++) tells(cell, 'shard-0002', { nodesPerLookup: 12 });
    const { totals } = snapshotOf(cell.state, SETTINGS).snapshot;
    expect(totals.TRIE.now).toBeCloseTo(100 * 12, 6);
  });

  test('is heard of no key-value store', () => {
    const cell = genesis();
    foreseen(cell, leafSeries(0, '00'), 'PUBLISHES', 100);
    for (let i = 0; i < 60; i++) tells(cell, 'shard-0001', { nodesPerLookup: 12 });
    expect(loadOf(cell, 'c/0/').now).toBe(100);
  });
});

describe('subscribes and unsubscribes', () => {
  /** So many minutes in turn of waves of the one and of the other, which cost the store as said. */
  function waves(cell: StageByHand, minutes: number, perSubscribe: number, perUnsubscribe: number): void {
    for (let minute = 0; minute < minutes; minute++) {
      const unsubscribeShare = minute % 20 < 10 ? 0.1 : 0.9;
      foreseen(cell, leafSeries(0, '00'), 'SUBSCRIPTIONS', 100, unsubscribeShare);
      const used = 100 * (perSubscribe * (1 - unsubscribeShare) + perUnsubscribe * unsubscribeShare);
      tells(cell, 'shard-0001', { cpu: used / CATALOG.get('kv')!.operationsPerSecond });
      cell.tick(1_000);
    }
  }

  test('are told apart by a store that is better at the one, and planned so', () => {
    const cell = genesis();
    waves(cell, 300, 5, 1.5);
    const { subscribe, unsubscribe } = costsOfCell(cellOf(cell.rows)!, SETTINGS).KEY_VALUE;
    expect(Math.abs(subscribe / 5 - 1)).toBeLessThan(0.1);
    expect(Math.abs(unsubscribe / 1.5 - 1)).toBeLessThan(0.1);
    foreseen(cell, leafSeries(0, '00'), 'SUBSCRIPTIONS', 100, 0);
    const coming = loadOf(cell, 'c/0/');
    foreseen(cell, leafSeries(0, '00'), 'SUBSCRIPTIONS', 100, 1);
    const going = loadOf(cell, 'c/0/');
    expect(coming.now / going.now).toBeCloseTo(subscribe / unsubscribe, 3);
    expect([coming.unsubscribes, going.unsubscribes]).toEqual([0, going.now]);
  });

  test('of a surge are counted as they come', () => {
    const cell = genesis();
    const window = { source: 0, windowStart: eventTime(nextMinute(cell)), windowMs: 10_000 };
    const counts = { subscribes: 250, unsubscribes: 750, publishes: 0, bytes: 0, distinctClients: 0, lateEvents: 0 };
    cell.send({ topic: 'rates', value: { series: leafSeries(0, '00'), ...window, ...counts } });
    const { now, unsubscribes } = loadOf(cell, 'c/0/');
    expect(unsubscribes / now).toBeCloseTo(0.75, 9);
  });

  test('of a surge that an earlier release has noted are taken to be half and half', () => {
    const cell = genesis();
    const windowStart = eventTime(cellOf(cell.rows)!.now);
    cell.rows.set(`surge/${leafSeries(0, '00')}`, {
      ...{ kind: 'surge', windowStart, subscriptionsPerSecond: 100, publishesPerSecond: 0 },
    });
    const { now, unsubscribes } = loadOf(cell, 'c/0/');
    expect([now, unsubscribes]).toEqual([200, 100]);
  });

  for (const absurd of [Number.NaN, -1, 2, Number.POSITIVE_INFINITY])
    test(`in an absurd proportion (${absurd}) are taken to be half and half`, () => {
      const cell = genesis();
      foreseen(cell, leafSeries(0, '00'), 'SUBSCRIPTIONS', 100, absurd);
      const { now, unsubscribes } = loadOf(cell, 'c/0/');
      expect(unsubscribes / now).toBeCloseTo(0.5, 9);
    });
});

test('a store in memory teaches what its entries take, and is full before their bytes are', () => {
  const cell = genesis();
  const { memoryBytes } = CATALOG.get('trie')!;
  const slice = `w/${ROOT}/` as SliceKey;
  const utilisation = (): number => {
    const { snapshot } = snapshotOf(cell.state, SETTINGS);
    const { entry, byte, base } = snapshot.footprints.TRIE;
    return base + (1e5 * entry + 2e8 * byte) / memoryBytes;
  };
  expect(utilisation()).toBeCloseTo(0.2);
  for (let minute = 0; minute < 600; minute++) {
    const entries = 5e4 + 5e4 * Math.sin(minute / 30) ** 2;
    cell.progress({ kind: 'SliceEntries', slice, entries, bytes: entries * 2_000 }, nextMinute(cell));
    foreseen(cell, groupSeries(ROOT), 'PUBLISHES', 1);
    tells(cell, 'shard-0002', { memoryBytes: Math.round(entries * 2_000 * 3.5), memoryLimitBytes: memoryBytes });
    cell.tick(1_000);
  }
  expect(utilisation()).toBeGreaterThan(0.63); // It is 0.7.
  expect(utilisation()).toBeLessThan(0.77);
  expect(footprintsOfCell(cellOf(cell.rows)!).KEY_VALUE).toEqual({ base: 0, entry: 0, byte: 1 });
});
