// The plan as a pure function: when it acts, on what, and that it depends on nothing but its snapshot.

import { describe, expect, test } from 'vitest';
import { typeNamed } from '../../../processors/plan/cluster/catalog.ts';
import { ClusterModel } from '../../../processors/plan/cluster/cluster-model.ts';
import type { PlannedSlice } from '../../../processors/plan/cluster/cluster-shard.ts';
import { troubleOf } from '../../../processors/plan/demand/capacity.ts';
import type { Load } from '../../../processors/plan/demand/demand.ts';
import { plan } from '../../../processors/plan/plan.ts';
import type { ShardId } from '../../../schemas/ids.ts';
import { four, load, MINUTE_MS, NOW, said, shard, slice, snapshot } from './snapshots.ts';
import { CATALOG, SETTINGS } from './stage-by-hand.ts';

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
