// Coefficients: what operations cost is found again under noise, stays in bounds whatever is measured, and is not taught by
// what the planner does itself.

import { describe, expect, test } from 'vitest';
import { costsOf, type Learned, type Lesson, learn } from '../../../processors/plan/coefficients.ts';
import { cellOf } from '../../../processors/plan/rows.ts';
import { eventTime, type MoveId, type ShardId, type SliceKey, shardId } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { leafSeries } from '../../../state/keys.ts';
import { randomFrom } from '../../../topology/random.ts';
import { CATALOG, Cell, forecast, SETTINGS } from './simulator.ts';

const { coefficients: PRIOR } = SETTINGS;
const OPERATIONS = 1_000;

interface Truth {
  readonly lookup: number;
  readonly write: number;
  readonly entry: number;
}

/** Half a day of one-minute lessons from a store that costs what `truth` says, with noise of so much of an instance. */
function taught(kind: StoreKind, truth: Truth, { noise = 0.03, lessons = 720, seed = 1, iops = 0 } = {}): Learned {
  const random = randomFrom(seed);
  const learned: Learned = {};
  for (let minute = 0; minute < lessons; minute++) {
    const wave = 1 + Math.sin((2 * Math.PI * minute) / 240);
    const lookupsPerSecond = ((200 * wave + 50 * random()) / truth.lookup) * 1.2;
    const writesPerSecond = ((50 + 150 * random()) / truth.write) * 1.2;
    const entries = 1e5 + 5e5 * random();
    const used = lookupsPerSecond * truth.lookup + writesPerSecond * truth.write + entries * truth.entry;
    const share = Math.min(1, Math.max(0, used / OPERATIONS + noise * (2 * random() - 1) * Math.sqrt(3)));
    const shares = { cpu: share, iops: iops > 0 ? share * iops : undefined };
    const lesson: Lesson = { lookupsPerSecond, writesPerSecond, entries, operationsPerSecond: OPERATIONS, shares };
    learn(learned, kind, lesson, PRIOR, CATALOG);
  }
  return learned;
}

describe('what operations cost', () => {
  const cases: { name: string; kind: StoreKind; truth: Truth }[] = [
    { name: 'as was said', kind: 'KEY_VALUE', truth: { lookup: 1, write: 2, entry: 0 } },
    { name: 'dear look-ups', kind: 'KEY_VALUE', truth: { lookup: 2.5, write: 2, entry: 0 } },
    { name: 'dear writes', kind: 'KEY_VALUE', truth: { lookup: 0.8, write: 6, entry: 0 } },
    { name: 'all cheaper', kind: 'KEY_VALUE', truth: { lookup: 0.6, write: 1.2, entry: 0 } },
    { name: 'entries that cost by being there', kind: 'KEY_VALUE', truth: { lookup: 1, write: 2, entry: 2e-4 } },
    { name: 'wildcards that visit many nodes', kind: 'TRIE', truth: { lookup: 20, write: 3, entry: 0 } },
  ];
  for (const { name, kind, truth } of cases)
    for (const seed of [1, 2, 3])
      test(`is found again within a tenth: ${name} (seed ${seed})`, () => {
        const costs = costsOf(kind, taught(kind, truth, { seed }), PRIOR);
        expect(Math.abs(costs.lookup / truth.lookup - 1)).toBeLessThan(0.1);
        expect(Math.abs(costs.write / truth.write - 1)).toBeLessThan(0.1);
        expect(Math.abs(costs.entry - truth.entry) * 3.5e5).toBeLessThan(0.05 * OPERATIONS);
      });

  test('is as said until something is measured', () =>
    expect(costsOf('TRIE', {}, PRIOR)).toEqual({ lookup: 4, write: 2, entry: 0 }));

  test('is that of the scarcer resource (K3)', () => {
    const truth = { lookup: 0.8, write: 1.6, entry: 0 };
    const costs = costsOf('KEY_VALUE', taught('KEY_VALUE', truth, { iops: 1.5 }), PRIOR);
    expect(costs.lookup).toBeGreaterThan(1.5 * 0.8 * 0.9);
  });

  test('is followed when it changes', () => {
    const learned = taught('KEY_VALUE', { lookup: 1, write: 2, entry: 0 });
    const random = randomFrom(9);
    for (let minute = 0; minute < 1_440; minute++) {
      const lookupsPerSecond = 100 + 200 * random();
      const lesson = { lookupsPerSecond, writesPerSecond: 20, entries: 0, operationsPerSecond: OPERATIONS };
      const cpu = (lookupsPerSecond * 2 + 20 * 2) / OPERATIONS;
      learn(learned, 'KEY_VALUE', { ...lesson, shares: { cpu, iops: undefined } }, PRIOR, CATALOG);
    }
    expect(Math.abs(costsOf('KEY_VALUE', learned, PRIOR).lookup / 2 - 1)).toBeLessThan(0.1);
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
    test(`costs stay within their bounds: ${name} (K1)`, () => {
      const random = randomFrom(4);
      const learned: Learned = {};
      for (let i = 0; i < 2_000; i++) {
        const amount = (): number => 10 ** (8 * random() - 4);
        const asked = { lookupsPerSecond: amount(), writesPerSecond: amount(), entries: 1e6 * random() };
        const shares = { cpu: share(random), iops: share(random) };
        learn(learned, 'KEY_VALUE', { ...asked, operationsPerSecond: OPERATIONS, shares }, PRIOR, CATALOG);
        const { lookup, write, entry } = costsOf('KEY_VALUE', learned, PRIOR);
        expect(lookup >= 0.5 && lookup <= 8, `look-up ${lookup}`).toBe(true);
        expect(write >= 1 && write <= 16, `write ${write}`).toBe(true);
        expect(entry >= 0 && entry <= 5e-4, `entry ${entry}`).toBe(true);
      }
    });

  test('a single absurd measurement changes little (K4)', () => {
    const learned = taught('KEY_VALUE', { lookup: 1, write: 2, entry: 0 });
    const before = costsOf('KEY_VALUE', learned, PRIOR).lookup;
    const lesson = { lookupsPerSecond: 10, writesPerSecond: 0, entries: 0, operationsPerSecond: OPERATIONS };
    learn(learned, 'KEY_VALUE', { ...lesson, shares: { cpu: 1, iops: undefined } }, PRIOR, CATALOG);
    expect(Math.abs(costsOf('KEY_VALUE', learned, PRIOR).lookup / before - 1)).toBeLessThan(0.02);
  });

  test('nor does the first one of all; those that agree are believed in time (K4)', () => {
    const learned: Learned = {};
    const lesson = { lookupsPerSecond: 300, writesPerSecond: 0, entries: 0, operationsPerSecond: OPERATIONS };
    const costs: number[] = [];
    for (let i = 0; i < 60; i++) {
      learn(learned, 'KEY_VALUE', { ...lesson, shares: { cpu: 0.9, iops: undefined } }, PRIOR, CATALOG);
      costs.push(costsOf('KEY_VALUE', learned, PRIOR).lookup);
    }
    expect(costs[0]).toBeGreaterThan(1);
    expect(costs[0]).toBeLessThanOrEqual(1.1 + 1e-9);
    expect(costs.at(-1)).toBeGreaterThan(2.5); // It is 3.
  });

  test('a full store may be asked for more than it says, and teaches nobody that operations are cheap (K4)', () => {
    const learned: Learned = {};
    for (let i = 0; i < 100; i++) {
      const lesson = { lookupsPerSecond: 3_000, writesPerSecond: 0, entries: 0, operationsPerSecond: OPERATIONS };
      learn(learned, 'KEY_VALUE', { ...lesson, shares: { cpu: 1, iops: undefined } }, PRIOR, CATALOG);
    }
    expect(costsOf('KEY_VALUE', learned, PRIOR).lookup).toBe(1);
  });
});

describe('in the cell', () => {
  /** So many minutes of 300 look-ups a second that cost a store so much; what a look-up is then thought to cost. */
  function learnedBy(cell: Cell, minutes: number, cpu: number): number {
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
      });
      cell.at(now);
      cell.tick(1_000);
    }
    return costsOf('KEY_VALUE', cellOf(cell.rows)!.learned.KEY_VALUE, PRIOR).lookup;
  }

  test('a store teaches what a look-up costs, and a restart forgets nothing', () => {
    const cell = new Cell({ mode: 'observe' }).genesis();
    const learned = learnedBy(cell, 120, 0.6);
    expect(Math.abs(learned / 2 - 1)).toBeLessThan(0.1);
    cell.rows.restart();
    expect(learnedBy(cell, 0, 0)).toBe(learned);
  });

  test('copy traffic does not teach (K2)', () => {
    const cell = new Cell({ mode: 'observe' }).genesis();
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
