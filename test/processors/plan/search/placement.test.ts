// The search for room, against the plain scan over all shards that it saves.

import { expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { ClusterModel } from '../../../../processors/plan/cluster/cluster-model.ts';
import type { ClusterShard, PlannedSlice } from '../../../../processors/plan/cluster/cluster-shard.ts';
import { roomiest } from '../../../../processors/plan/search/placement.ts';
import { genesisOf, snapshotOf, steadily } from '../rounds.ts';

test('the roomiest shard is that of a scan over all shards, on random clusters that change', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = randomFrom(seed);
    const cluster = randomCluster(random);
    for (let round = 0; round < 30; round++) {
      const shards = [...cluster.shards.values()].filter(({ slices }) => slices.size > 0);
      const from = shards[Math.floor(random() * shards.length)]!;
      const slice = [...from.slices.values()][0]!;
      const found = roomiest(cluster, from, slice);
      expect([seed, found?.id]).toEqual([seed, roomiestOfAll(cluster, from, slice)?.id]);
      if (found !== undefined) cluster.move(slice, found);
      // room-index.ts R1: a copy is not of the cluster, so that nothing of it is remembered.
      for (const shard of cluster.shards.values())
        expect(cluster.rooms.utilisation(shard)).toEqual(cluster.rooms.utilisation({ ...shard }));
      expect(
        cluster.rooms
          .inOrder()
          .map(({ shard }) => shard.id)
          .sort(),
      ).toEqual([...cluster.shards.keys()].sort());
    }
  }
});

/** Twelve shards of one kind, some not ready, some with the very same load, and slices of all sizes. */
function randomCluster(random: () => number): ClusterModel {
  const cluster = genesisOf(2, 5, () => 0);
  const first = cluster.shards[0]!;
  const shards = Array.from({ length: 12 }, (_, i) => ({
    ...first,
    id: `shard-${String(i).padStart(4, '0')}` as typeof first.id,
    ready: random() < 0.8,
  }));
  const slices = cluster.slices
    .filter(({ slice }) => slice.startsWith('c'))
    .map((slice, i) => ({
      ...slice,
      shard: shards[Math.floor(random() * 10)]!.id,
      load: steadily(i % 4 === 0 ? 50 : 250 * random(), random()),
    }));
  return new ClusterModel(snapshotOf({ ...cluster, shards, slices }));
}

function roomiestOfAll(cluster: ClusterModel, from: ClusterShard, slice: PlannedSlice): ClusterShard | undefined {
  return [...cluster.shards.values()]
    .filter((shard) => shard !== from && cluster.rooms.fits(shard, slice))
    .map((shard) => ({ shard, rank: cluster.rooms.utilisation(shard, slice).utilisation + (shard.ready ? 0 : 1) }))
    .sort((a, b) => a.rank - b.rank || (a.shard.id < b.shard.id ? -1 : 1))[0]?.shard;
}
