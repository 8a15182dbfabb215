// Coefficients: what operations cost is found again under noise, stays in bounds whatever is measured, and is not taught by
// what the planner does itself.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import {
  type CostSample,
  costsOf,
  type Learned,
  learn,
  lookupCost,
  type OperationCosts,
} from '../../../../processors/plan/demand/coefficients.ts';
import { type LookupWork, usualLookupWork } from '../../../../processors/plan/demand/lookup-work.ts';
import { cellOf } from '../../../../processors/plan/stage/cell-state.ts';
import { eventTime, type MoveId, type ShardId, type SliceKey, shardId } from '../../../../schemas/ids.ts';
import type { StoreKind } from '../../../../schemas/records.ts';
import { leafSeries } from '../../../../state/keys.ts';
import { CATALOG, forecast, SETTINGS, StageByHand } from '../stage-by-hand.ts';

const { coefficients: PRIOR } = SETTINGS;
const OPERATIONS = 1_000;

/** Half a day of one-minute samples from a store that costs what `truth` says, with noise of so much of an instance. */
function taught(kind: StoreKind, truth: OperationCosts, { noise = 0.03, samples = 720, seed = 1, iops = 0 } = {}) {
  const random = randomFrom(seed);
  const learned: Learned = {};
  for (let minute = 0; minute < samples; minute++) {
    const wave = 1 + Math.sin((2 * Math.PI * minute) / 240);
    const reach = kind === 'TRIE' ? { nodes: 2 + 6 * random(), matches: 40 * random() } : { nodes: 1, matches: 0 };
    const lookupsPerSecond = ((200 * wave + 50 * random()) / lookupCost(truth, { nodes: 5, matches: 20 })) * 1.2;
    const subscribesPerSecond = ((25 + 75 * random()) / truth.subscribe) * 1.2;
    const unsubscribesPerSecond = ((25 + 75 * random()) / truth.unsubscribe) * 1.2;
    const entries = 1e5 + 5e5 * random();
    const asked = { lookupsPerSecond, reach, subscribesPerSecond, unsubscribesPerSecond, entries };
    const share = usedBy(truth, asked) / OPERATIONS + noise * (2 * random() - 1) * Math.sqrt(3);
    const cpu = Math.min(1, Math.max(0, share));
    const shares = { cpu, iops: iops > 0 ? cpu * iops : undefined };
    learn(learned, kind, { ...asked, operationsPerSecond: OPERATIONS, shares }, PRIOR, CATALOG);
  }
  return learned;
}

type Asked = Omit<CostSample, 'operationsPerSecond' | 'shares'>;

const usedBy = (truth: OperationCosts, asked: Asked): number =>
  asked.lookupsPerSecond * lookupCost(truth, asked.reach) +
  asked.subscribesPerSecond * truth.subscribe +
  asked.unsubscribesPerSecond * truth.unsubscribe +
  asked.entries * truth.entry;

/** So many look-ups a second in a key-value store, and nothing else. */
const lookups = (lookupsPerSecond: number, cpu: number): CostSample => ({
  lookupsPerSecond,
  reach: { nodes: 1, matches: 0 },
  subscribesPerSecond: 0,
  unsubscribesPerSecond: 0,
  entries: 0,
  operationsPerSecond: OPERATIONS,
  shares: { cpu, iops: undefined },
});

const AS_SAID: OperationCosts = { visit: 1, match: 0, subscribe: 2, unsubscribe: 2, entry: 0 };

const REACHES: Record<StoreKind, readonly LookupWork[]> = {
  KEY_VALUE: [{ nodes: 1, matches: 0 }],
  TRIE: [
    { nodes: 3, matches: 2 },
    { nodes: 8, matches: 40 },
  ],
};

describe('what operations cost', () => {
  const cases: { name: string; kind: StoreKind; truth: OperationCosts }[] = [
    { name: 'as was said', kind: 'KEY_VALUE', truth: AS_SAID },
    { name: 'dear look-ups', kind: 'KEY_VALUE', truth: { ...AS_SAID, visit: 2.5 } },
    { name: 'dear subscribes', kind: 'KEY_VALUE', truth: { ...AS_SAID, visit: 0.8, subscribe: 6 } },
    { name: 'dear unsubscribes', kind: 'KEY_VALUE', truth: { ...AS_SAID, subscribe: 1.5, unsubscribe: 8 } },
    { name: 'all cheaper', kind: 'KEY_VALUE', truth: { ...AS_SAID, visit: 0.6, subscribe: 1.2, unsubscribe: 1.2 } },
    { name: 'entries that cost by being there', kind: 'KEY_VALUE', truth: { ...AS_SAID, entry: 2e-4 } },
    { name: 'dear nodes', kind: 'TRIE', truth: { ...AS_SAID, visit: 5 } },
    { name: 'a fan-out that costs', kind: 'TRIE', truth: { ...AS_SAID, match: 0.3 } },
  ];
  for (const { name, kind, truth } of cases)
    for (const seed of [1, 2, 3])
      test(`is found again, look-ups within an eighth, events within a tenth, the load within 7 %: ${name} (seed ${seed})`, () => {
        const costs = costsOf(kind, taught(kind, truth, { seed }), PRIOR);
        const off = (found: number, true_: number): number => Math.abs(found / true_ - 1);
        expect(off(costs.subscribe, truth.subscribe)).toBeLessThan(0.15);
        expect(off(costs.unsubscribe, truth.unsubscribe)).toBeLessThan(0.15);
        expect(off(costs.subscribe + costs.unsubscribe, truth.subscribe + truth.unsubscribe)).toBeLessThan(0.1);
        expect(Math.abs(costs.entry - truth.entry) * 3.5e5).toBeLessThan(0.05 * OPERATIONS);
        for (const reach of REACHES[kind]) {
          expect(off(lookupCost(costs, reach), lookupCost(truth, reach))).toBeLessThan(0.125);
          const asked = { ...lookups(100, 0), reach, subscribesPerSecond: 50, unsubscribesPerSecond: 50, entries: 3e5 };
          expect(off(usedBy(costs, asked), usedBy(truth, asked))).toBeLessThan(0.07);
        }
      });

  test('is as said until something is measured: a wildcard look-up visits four nodes', () => {
    const costs = costsOf('TRIE', {}, PRIOR);
    expect(costs).toEqual(AS_SAID);
    expect(lookupCost(costs, usualLookupWork('TRIE', PRIOR))).toBe(PRIOR.operationsPerWildcardLookup);
    expect(lookupCost(costsOf('KEY_VALUE', {}, PRIOR), usualLookupWork('KEY_VALUE', PRIOR))).toBe(1);
  });

  test('is learned anew where an earlier release has learned other coefficients', () => {
    const learned: Learned = { cpu: { coefficients: [3, 4, 0], covariance: Array<number>(9).fill(0.1) } };
    expect(costsOf('KEY_VALUE', learned, PRIOR)).toEqual(AS_SAID);
    learn(learned, 'KEY_VALUE', lookups(300, 0.3), PRIOR, CATALOG);
    expect(costsOf('KEY_VALUE', learned, PRIOR).visit).toBeCloseTo(1, 6);
    expect(learned.cpu!.coefficients.length).toBe(5);
  });

  test('is that of the scarcer resource (K3)', () => {
    const truth = { ...AS_SAID, visit: 0.8, subscribe: 1.6, unsubscribe: 1.6 };
    const costs = costsOf('KEY_VALUE', taught('KEY_VALUE', truth, { iops: 1.5 }), PRIOR);
    expect(costs.visit).toBeGreaterThan(1.5 * 0.8 * 0.9);
  });

  test('is followed when it changes', () => {
    const learned = taught('KEY_VALUE', AS_SAID);
    const random = randomFrom(9);
    for (let minute = 0; minute < 1_440; minute++) {
      const asked = { ...lookups(100 + 200 * random(), 0), subscribesPerSecond: 10, unsubscribesPerSecond: 10 };
      const cpu = usedBy({ ...AS_SAID, visit: 2 }, asked) / OPERATIONS;
      learn(learned, 'KEY_VALUE', { ...asked, shares: { cpu, iops: undefined } }, PRIOR, CATALOG);
    }
    expect(Math.abs(costsOf('KEY_VALUE', learned, PRIOR).visit / 2 - 1)).toBeLessThan(0.1);
  });
});

describe('whatever a store measures', () => {
  for (const { name, share } of [
    { name: 'not a number', share: () => Number.NaN },
    { name: 'infinity', share: () => Number.POSITIVE_INFINITY },
    { name: 'below zero', share: () => -1 },
    { name: 'far above one', share: () => 1e300 },
    { name: 'always idle', share: () => 0 },
    { name: 'always full', share: () => 1 },
    { name: 'anything', share: (random: () => number) => 1.5 * random() },
  ])
    for (const { kind, entryMax, matchMax } of [
      { kind: 'KEY_VALUE', entryMax: 5e-4, matchMax: 0 },
      { kind: 'TRIE', entryMax: 5e-3, matchMax: 1 },
    ] as const)
      test(`costs of a ${kind} store stay within their bounds: ${name} (R1, estimate.ts)`, () => {
        const random = randomFrom(4);
        const learned: Learned = {};
        for (let i = 0; i < 2_000; i++) {
          const amount = (): number => 10 ** (8 * random() - 4);
          const asked = {
            lookupsPerSecond: amount(),
            reach: { nodes: amount(), matches: amount() },
            subscribesPerSecond: amount(),
            unsubscribesPerSecond: amount(),
            entries: 1e6 * random(),
          };
          const shares = { cpu: share(random), iops: share(random) };
          learn(learned, kind, { ...asked, operationsPerSecond: OPERATIONS, shares }, PRIOR, CATALOG);
          const { visit, match, subscribe, unsubscribe, entry } = costsOf(kind, learned, PRIOR);
          expect(visit >= 0.5 && visit <= 8, `visit ${visit}`).toBe(true);
          expect(match >= 0 && match <= matchMax, `match ${match}`).toBe(true);
          for (const event of [subscribe, unsubscribe]) expect(event >= 1 && event <= 16, `event ${event}`).toBe(true);
          expect(entry >= 0 && entry <= entryMax, `entry ${entry}`).toBe(true);
        }
      });

  test('a single absurd measurement changes little', () => {
    const learned = taught('KEY_VALUE', AS_SAID);
    const before = costsOf('KEY_VALUE', learned, PRIOR).visit;
    learn(learned, 'KEY_VALUE', lookups(10, 1), PRIOR, CATALOG);
    expect(Math.abs(costsOf('KEY_VALUE', learned, PRIOR).visit / before - 1)).toBeLessThan(0.02);
  });

  test('nor does the first one of all; those that agree are believed in time', () => {
    const learned: Learned = {};
    const costs: number[] = [];
    for (let i = 0; i < 60; i++) {
      learn(learned, 'KEY_VALUE', lookups(300, 0.9), PRIOR, CATALOG);
      costs.push(costsOf('KEY_VALUE', learned, PRIOR).visit);
    }
    expect(costs[0]).toBeGreaterThan(1);
    expect(costs[0]).toBeLessThanOrEqual(1.1 + 1e-9);
    expect(costs.at(-1)).toBeGreaterThan(2.5); // It is 3.
  });

  test('a full store may be asked for more than it says, and teaches nobody that operations are cheap (K4)', () => {
    const learned: Learned = {};
    for (let i = 0; i < 100; i++) learn(learned, 'KEY_VALUE', lookups(3_000, 1), PRIOR, CATALOG);
    expect(costsOf('KEY_VALUE', learned, PRIOR).visit).toBe(1);
  });
});

describe('in the cell', () => {
  /** So many minutes of 300 look-ups a second that cost a store so much; what a look-up is then thought to cost. */
  function learnedBy(cell: StageByHand, minutes: number, cpu: number): number {
    const from = cellOf(cell.rows)!.now + 60_000;
    for (let minute = 0; minute < minutes; minute++) {
      const now = from + minute * 60_000;
      const flat = Array<number>(60).fill(300);
      cell.send({ topic: 'forecasts', value: forecast(leafSeries(0, '00'), 'PUBLISHES', now, flat, flat, 300) });
      cell.metric({
        kind: 'DatastoreMetrics',
        shardId: shardId('shard-0001'),
        instanceId: 'a',
        cpu,
        memoryBytes: 1,
        memoryLimitBytes: 2,
        iops: 0,
        iopsLimit: 0,
        entries: 0,
        lookupP99Ms: 1,
        timestamp: eventTime(now),
        nodesPerLookup: -1,
        matchesPerLookup: -1,
      });
      cell.at(now);
      cell.tick(1_000);
    }
    return costsOf('KEY_VALUE', cellOf(cell.rows)!.learned.KEY_VALUE, PRIOR).visit;
  }

  test('a store teaches what a look-up costs, and a restart forgets nothing', () => {
    const cell = new StageByHand({ mode: 'observe' }).genesis();
    const learned = learnedBy(cell, 120, 0.6);
    expect(Math.abs(learned / 2 - 1)).toBeLessThan(0.1);
    cell.rows.restart();
    expect(learnedBy(cell, 0, 0)).toBe(learned);
  });

  test('copy traffic does not teach (K2)', () => {
    const cell = new StageByHand({ mode: 'observe' }).genesis();
    const learned = learnedBy(cell, 120, 0.3);
    const row = cellOf(cell.rows)!;
    const move = { kind: 'move', id: 'move-000001' as MoveId, from: shardId('shard-0001'), closedAt: eventTime(0) };
    cell.rows.set('move/move-000001', { ...move, to: 'shard-0009' as ShardId, slice: 'c/0/' as SliceKey } as never);
    row.closedMoves.push(move.id); // Closed at a time not told yet: as good as under way.
    cell.rows.set('cell', row);
    expect(learnedBy(cell, 30, 0.9)).toBe(learned);
    cell.rows.delete('move/move-000001');
    expect(learnedBy(cell, 30, 0.9)).toBeGreaterThan(learned * 1.2);
  });
});
