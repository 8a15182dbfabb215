// Footprint: what entries take of memory is found again, counts where there is no disk, and lies within bounds whatever a
// store measures.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../../../evaluation/random.ts';
import { catalogOf, type DatastoreType } from '../../../../processors/plan/cluster/catalog.ts';
import type { Learned } from '../../../../processors/plan/demand/coefficients.ts';
import {
  BARE,
  type Footprint,
  footprintOf,
  heldShare,
  instancesHolding,
  learnMemory,
} from '../../../../processors/plan/demand/footprint.ts';
import { CATALOG } from '../stage-by-hand.ts';

const TRIE = CATALOG.get('trie')!;
const ON_DISK: DatastoreType = { ...CATALOG.get('kv')!, storageBytes: 1e9 };

/** So many samples of a store whose memory is as `truth` says, within a hundredth. */
function taught(truth: Footprint, type = TRIE, limitBytes = type.memoryBytes): Footprint {
  const random = randomFrom(3);
  const learned: Learned = {};
  for (let i = 0; i < 1_500; i++) {
    const entries = 1e6 * random();
    const bytes = entries * (100 + 200 * random());
    const taken = truth.base * type.memoryBytes + entries * truth.entry + bytes * truth.byte;
    const usedBytes = Math.min(limitBytes, taken * (0.99 + 0.02 * random()));
    learnMemory(learned, { entries, bytes }, type, { usedBytes, limitBytes });
  }
  return footprintOf(learned);
}

describe('what entries take', () => {
  for (const { name, truth } of [
    { name: 'the bytes of their rows', truth: BARE },
    { name: 'a node and an id each', truth: { base: 0.02, entry: 150, byte: 1 } },
    { name: 'twice their bytes', truth: { base: 0, entry: 0, byte: 2 } },
    { name: 'less than their bytes, packed', truth: { base: 0.05, entry: 20, byte: 0.6 } },
  ])
    test(`is found again within a twentieth of the memory: ${name}`, () => {
      const found = taught(truth);
      for (const held of [
        { entries: 1e5, bytes: 2e7 },
        { entries: 8e5, bytes: 1.6e8 },
      ])
        expect(Math.abs(heldShare(held, { ...TRIE, entriesMax: 1e12 }, found) - shareBy(truth, held))).toBeLessThan(
          0.05,
        );
    });

  const shareBy = ({ base, entry, byte }: Footprint, held: { entries: number; bytes: number }): number =>
    base + (held.entries * entry + held.bytes * byte) / TRIE.memoryBytes;

  test('is not learned where a disk holds them', () =>
    expect(taught({ base: 0, entry: 500, byte: 2 }, ON_DISK)).toEqual(BARE));
  test('is not learned from an instance of another size (M2)', () =>
    expect(taught({ base: 0, entry: 500, byte: 2 }, TRIE, TRIE.memoryBytes * 2)).toEqual(BARE));

  test('stays within bounds, whatever is measured', () => {
    const random = randomFrom(5);
    const learned: Learned = {};
    for (let i = 0; i < 2_000; i++) {
      const held = { entries: 10 ** (9 * random()), bytes: 10 ** (12 * random()) };
      const usedBytes = random() < 0.1 ? Number.NaN : random() * 2 * TRIE.memoryBytes;
      learnMemory(learned, held, TRIE, { usedBytes, limitBytes: TRIE.memoryBytes });
      const { base, entry, byte } = footprintOf(learned);
      expect(base >= 0 && base <= 0.3 && entry >= 0 && entry <= 2_048 && byte >= 0.5 && byte <= 8).toBe(true);
    }
  });
});

describe('how much is held', () => {
  const held = { entries: 1e5, bytes: 1e8 };
  const dear = { base: 0.1, entry: 1_000, byte: 3 };

  test('in memory by the footprint', () => expect(heldShare(held, TRIE, dear)).toBeCloseTo(0.1 + 0.1 + 0.3));
  test('on a disk by the bytes of the rows', () => expect(heldShare(held, ON_DISK, dear)).toBeCloseTo(0.1));
  test('by the number of entries where that is more', () =>
    expect(heldShare({ entries: 9e5, bytes: 0 }, TRIE, BARE)).toBeCloseTo(0.9));

  for (const type of [TRIE, ON_DISK])
    test(`as many instances as say so hold it, and one less does not: ${type.name}`, () => {
      const much = { entries: 3e6, bytes: 9e8 };
      const count = instancesHolding(much, type, dear, 0.7);
      const each = (of: number) => heldShare({ entries: much.entries / of, bytes: much.bytes / of }, type, dear);
      expect(each(count)).toBeLessThanOrEqual(0.7);
      expect(each(count - 1)).toBeGreaterThan(0.7);
    });

  test('a catalogue of disks and memories is judged each by its own', () => {
    const base = { kind: 'KEY_VALUE', operationsPerSecond: 1, entriesMax: 1e9, memoryBytes: 1e8, dollarsPerHour: 1 };
    const costs = { dollarsPerProvisioning: 0, dollarsPerGibMoved: 0, provisioningMs: 0 };
    const types = [
      { ...base, ...costs, name: 'memory' },
      { ...base, ...costs, name: 'disk', storageBytes: 1e10 },
      { ...base, ...costs, name: 'trie', kind: 'TRIE' },
    ];
    const catalog = catalogOf({ types });
    expect(heldShare(held, catalog.get('memory')!, dear)).toBeCloseTo(0.1 + 1 + 3);
    expect(heldShare(held, catalog.get('disk')!, dear)).toBeCloseTo(0.01);
  });
});
