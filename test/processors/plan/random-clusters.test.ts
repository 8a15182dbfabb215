// Random clusters: whatever demand does, each plan leaves a whole cluster within its caps (I5, I12), and once demand is
// steady, plans fall silent. A failure names its seed.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../evaluation/random.ts';
import { type Cluster, genesisOf, problemsBetween, ROUND_MS, roundOf, steadily } from './rounds.ts';

const RESTLESS_ROUNDS = 90;
/** Rounds that must be silent after the bound. */
const SILENT_ROUNDS = 60;
const HOUR_ROUNDS = 3_600_000 / ROUND_MS;

for (const { name, churnShareMax, silentWithin, seeds } of [
  // Cool-downs and plans in a row that must agree, ten rounds each, for one shard after the other; 154 seen in 150 seeds.
  { name: 'without a churn budget', churnShareMax: 1, silentWithin: 180, seeds: 30 },
  // Each key may have to move once, at 4 % an hour: 25 hours of rounds; 735 seen in 150 seeds.
  { name: 'within a churn budget of 4 % an hour', churnShareMax: 0.04, silentWithin: HOUR_ROUNDS / 0.04, seeds: 15 },
])
  describe(`${name}, a random cluster stays whole and within its caps, and is silent ${silentWithin} rounds after demand is steady`, () => {
    for (let seed = 1; seed <= seeds; seed++)
      test(`seed ${seed}`, () => {
        const random = randomFrom(seed);
        let cluster = randomCluster(random, churnShareMax);
        const problems: string[] = [];
        let lastAction = 0;
        for (let round = 0; round < RESTLESS_ROUNDS + silentWithin + SILENT_ROUNDS; round++) {
          if (round < RESTLESS_ROUNDS) cluster = perturbed(cluster, random);
          const { after, made } = roundOf(cluster);
          problems.push(...problemsBetween(cluster, after, made).map((problem) => `round ${round}: ${problem}`));
          if (made.actions.length > 0) lastAction = round;
          cluster = after;
        }
        expect(problems).toEqual([]);
        expect(lastAction).toBeLessThan(RESTLESS_ROUNDS + silentWithin);
      });
  });

test('the check of a cluster sees a slice on no shard, a partition with a gap, and a cap that is broken', () => {
  const cluster = genesisOf(1, 1, () => 1);
  const { made } = roundOf(cluster);
  const lost = { ...cluster, shards: cluster.shards.slice(1) };
  expect(problemsBetween(cluster, lost, made)).toContainEqual('c/0/0 is on shard-0001, which is not there');
  const gap = { ...cluster, slices: cluster.slices.filter(({ slice }) => slice !== 'c/0/1') };
  expect(problemsBetween(cluster, gap, made)).toEqual(['partition 0 is covered 0.5 times']);
  const capped = { ...cluster, settings: { ...cluster.settings, shardsMax: 1 } };
  expect(problemsBetween(capped, capped, made)).toEqual(['shards: 2, of at most 1']);
});

function randomCluster(random: () => number, churnShareMax: number): Cluster {
  const partitions = 1 + Math.floor(4 * random());
  const bits = Math.floor(4 * random());
  const cluster = genesisOf(partitions, bits, () => (800 * random()) / (partitions * 2 ** bits));
  const settings = {
    ...cluster.settings,
    churnShareMax,
    shardsPerHourMax: 1 + Math.floor(8 * random()),
    movesMax: 1 + Math.floor(6 * random()),
    dollarsPerHourMax: 1 + 5 * random(),
    shardsMax: 4 + Math.floor(20 * random()),
  };
  return { ...cluster, settings };
}

/** Each load goes its own way; now and then one becomes many times what it was, or nothing. */
function perturbed(cluster: Cluster, random: () => number): Cluster {
  const slices = cluster.slices.map((slice) => {
    const jump = random() < 0.005 ? 8 * random() : 0.9 + 0.2 * random();
    const perSecond = Math.min(3_000, slice.load.now * jump + random());
    const entries = Math.ceil(slice.entries * (0.99 + 0.02 * random()));
    return { ...slice, entries, load: steadily(perSecond, 0.3 * random()) };
  });
  return { ...cluster, slices };
}
