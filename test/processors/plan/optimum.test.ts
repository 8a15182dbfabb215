// The gap to the optimum: small clusters are planned until nothing more is done, and then placed again by an exact solver
// (HiGHS, a mixed-integer programme): the same slices, whole, on the cheapest instances that stay below safe capacity.
// The planner pays more than that, for it comes from yesterday's assignment, keeps room below safe capacity so that
// slices rest, and takes nothing away before many plans agree; how much more is bounded here. Paying less is a bug: then
// one of the two does not know a limit.

import * as solver from 'highs';
import { beforeAll, expect, test } from 'vitest';
import { randomFrom } from '../../../evaluation/random.ts';
import { typeNamed, typesOfKind } from '../../../processors/plan/cluster/catalog.ts';
import { type Cluster, genesisOf, roundOf } from './rounds.ts';
import { CATALOG } from './stage-by-hand.ts';

const SEEDS = 40;
/** Silent long before, see random-clusters.test.ts. */
const ROUNDS = 240;
/** Dollars of all cases together over the optimum's; 1.14 was seen. */
const GAP_MAX = 1.15;
/**
 * In no case more than two instances of the smallest type: one for the room below safe capacity, and one for a big instance,
 * which costs more for what it can do, and is not broken up again.
 */
const WORST_GAP_DOLLARS = 2 * typeNamed(CATALOG, 'kv').dollarsPerHour;
/** Dollars are sums of decimal fractions. */
const ROUNDING = 1e-9;

/** The package's types are of its CommonJS build, where `default` is what `require` gives. */
const load = solver.default as unknown as typeof solver.default.default;
let highs: Awaited<ReturnType<typeof load>>;
beforeAll(async () => {
  highs = await load();
});

test('over small random clusters the planner is never cheaper than the optimum, and dearer by a bounded gap', () => {
  let all = { planned: 0, optimum: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const cluster = settled(randomFrom(seed));
    const planned = dollarsPerHourOf(cluster);
    const optimum = cheapestDollarsPerHour(cluster);
    expect(planned, `seed ${seed} is cheaper than the optimum`).toBeGreaterThanOrEqual(optimum - ROUNDING);
    expect(planned, `seed ${seed} is too dear`).toBeLessThanOrEqual(optimum + WORST_GAP_DOLLARS + ROUNDING);
    all = { planned: all.planned + planned, optimum: all.optimum + optimum };
  }
  expect(all.planned / all.optimum).toBeLessThanOrEqual(GAP_MAX);
});

test('a cluster with too much on its shard is cheaper than the optimum: so a limit that the planner forgot would show', () => {
  const cluster = genesisOf(1, 2, (slice) => (slice.startsWith('w') ? 0 : 500));
  expect(dollarsPerHourOf(cluster)).toBeCloseTo(0.1);
  expect(cheapestDollarsPerHour(cluster)).toBeCloseTo(0.4); // No two of four slices of 500 fit below 800.
});

/** Four to twelve slices on one shard, whose load grows to between one and four shards' worth, and then stays. */
function settled(random: () => number): Cluster {
  const partitions = 1 + Math.floor(3 * random());
  const total = 500 + 2_500 * random();
  let cluster = genesisOf(partitions, 2, (slice) => (slice.startsWith('w') ? 10 : random()));
  const concrete = cluster.slices.filter(({ slice }) => slice.startsWith('c'));
  const share = concrete.reduce((sum, { load }) => sum + load.now, 0);
  for (const { load } of concrete) {
    const perSecond = (load.now / share) * total;
    load.now = perSecond;
    load.median.fill(perSecond);
  }
  cluster = { ...cluster, settings: { ...cluster.settings, churnShareMax: 1 } };
  for (let round = 0; round < ROUNDS; round++) cluster = roundOf(cluster).after;
  return cluster;
}

const dollarsPerHourOf = ({ shards }: Cluster): number =>
  shards.reduce((sum, { kind, type }) => sum + (kind === 'KEY_VALUE' ? type.dollarsPerHour : 0), 0);

/**
 * x[slice, instance] = 1: the slice is on the instance; y[instance] = 1: the instance is paid for. As many instances of each
 * type as there are slices are offered; those of one type are used in order, since which of them it is makes no difference.
 */
function cheapestDollarsPerHour({ slices, settings }: Cluster): number {
  const own = slices.filter(({ slice }) => slice.startsWith('c'));
  const total = own.reduce((sum, { load }) => sum + load.now, 0);
  const offers = typesOfKind(settings.catalog, 'KEY_VALUE').flatMap((type) => {
    const safe = settings.safeUtilisation * type.operationsPerSecond;
    // Of two instances less than half full one is too many, so no optimum has more than these.
    const count = Math.min(own.length, 1 + Math.ceil((2 * total) / safe));
    return Array.from({ length: count }, (_, i) => ({ name: `${type.name.replace('-', '_')}_${i}`, type, safe, i }));
  });
  const lines = [
    'Minimize',
    ` cost: ${offers.map(({ name, type }) => `${type.dollarsPerHour} y_${name}`).join(' + ')}`,
    'Subject To',
    ...own.map((_, s) => ` home_${s}: ${offers.map(({ name }) => `x_${s}_${name}`).join(' + ')} = 1`),
    ...offers.map(
      ({ name, safe }) =>
        ` room_${name}: ${own.map(({ load }, s) => `${load.now} x_${s}_${name}`).join(' + ')} - ${safe} y_${name} <= 0`,
    ),
    ...offers
      .filter(({ i }) => i > 0)
      .map(({ name }, n) => ` order_${n}: y_${name} - y_${name.replace(/\d+$/, (i) => String(Number(i) - 1))} <= 0`),
    'Binary',
    ...offers.map(({ name }) => ` y_${name}`),
    ...offers.flatMap(({ name }) => own.map((_, s) => ` x_${s}_${name}`)),
    'End',
  ];
  const solution = highs.solve(lines.join('\n'), { mip_rel_gap: 0 });
  expect(solution.Status).toBe('Optimal');
  return solution.ObjectiveValue;
}
