import { describe, expect, test } from 'vitest';
import { nextMachines, type PStoreTerms } from '../../../evaluation/what-if/p-store.ts';

/** Up to four machines that carry 10 each; a change takes so many intervals. */
const terms = (took = 1): PStoreTerms => ({ capacities: [10, 20, 30, 40], intervals: () => took });

describe('P-Store', () => {
  for (const { name, loads, machines, took = 1, next } of [
    { name: 'stays when what there is carries the loads to come', loads: [8, 9, 8], machines: 1, next: 1 },
    { name: 'waits with a change that has time', loads: [8, 8, 8, 8, 15], machines: 1, next: 1 },
    { name: 'begins it when it has to', loads: [8, 15, 15], machines: 1, next: 2 },
    { name: 'begins earlier when a change takes longer', loads: [8, 8, 8, 18], machines: 1, took: 3, next: 2 },
    { name: 'gives a machine back when the rest carries the load', loads: [8, 8, 8], machines: 2, next: 1 },
    { name: 'keeps one that is needed again before a change would pay', loads: [18, 8, 18], machines: 2, next: 2 },
    { name: 'asks for all it needs at once when nothing is safe', loads: [35, 35], machines: 1, next: 4 },
    { name: 'asks for the most there is when that is not enough', loads: [99], machines: 1, next: 4 },
  ])
    test(name, () => {
      expect(nextMachines(loads, machines, terms(took))).toBe(next);
    });

  test('counts on half of the new capacity half-way through a change', () => {
    // From 1 to 3 machines in two intervals: 10 in the first, 20 in the second.
    expect(nextMachines([10, 20, 30], 1, terms(2))).toBe(3);
    expect(nextMachines([10, 21, 30], 1, terms(2))).toBe(4); // 10, then 25.
  });

  test('is never dearer than any sequence found by trying them all', () => {
    const loads = [8, 14, 22, 9, 9, 31, 12];
    expect(nextMachines(loads, 1, terms())).toBe(bestByTrying(loads, 1));
    expect(nextMachines(loads, 4, terms())).toBe(bestByTrying(loads, 4));
  });
});

/** The first step of the cheapest safe sequence when a change takes one interval, by trying all. */
function bestByTrying(loads: readonly number[], machines: number): number {
  const cost = (at: number, now: number): number => {
    if (at === loads.length) return 0;
    return Math.min(...[1, 2, 3, 4].map((next) => stepCost(at, now, next) + cost(at + 1, next)));
  };
  const stepCost = (at: number, now: number, next: number): number =>
    loads[at]! > 10 * Math.min(now, next) ? Number.POSITIVE_INFINITY : Math.max(now, next);
  const costs = [1, 2, 3, 4].map((next) => stepCost(0, machines, next) + cost(1, next));
  return 1 + costs.indexOf(Math.min(...costs));
}
