// Money in a plan: which type is bought, what is paid, and what the risk of an overload is taken to be.

import { describe, expect, test } from 'vitest';
import { typeNamed } from '../../../../processors/plan/cluster/catalog.ts';
import { ClusterModel, type Snapshot } from '../../../../processors/plan/cluster/cluster-model.ts';
import { riskAt } from '../../../../processors/plan/demand/utilisation-forecast.ts';
import { plan } from '../../../../processors/plan/plan.ts';
import type { ShardId, SliceKey } from '../../../../schemas/ids.ts';
import { four, load, said, shard, slice, snapshot } from '../snapshots.ts';
import { CATALOG, SETTINGS } from '../stage-by-hand.ts';

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
