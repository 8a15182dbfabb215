import { describe, expect, test } from 'vitest';
import { HashDirectory } from '../../state/hash-directory.ts';
import { filterHash, leadingBits } from '../../state/keys.ts';
import { PinTable } from '../../state/pin-table.ts';
import { fc } from '../support/property.ts';

describe('pins and hash slices found by hash', () => {
  test('a pin table holds what a map holds, through any sets and deletes', () => {
    const change = fc.record({ filter: fc.nat(60).map((n) => `t/${n}`), value: fc.option(fc.nat(9)) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 300 }), (changes) => {
        const table = new PinTable<number>();
        const map = new Map<string, number>();
        for (const { filter, value } of changes) {
          if (value === null) {
            table.delete(filter);
            map.delete(filter);
          } else {
            table.set(filter, value);
            map.set(filter, value);
          }
          expect(table.size).toBe(map.size);
          for (let n = 0; n <= 60; n++) expect(table.get(`t/${n}`, filterHash(`t/${n}`))).toBe(map.get(`t/${n}`));
        }
      }),
      { numRuns: 60 },
    );
  });

  test('a directory gives the longest slice that begins a hash, or nothing where only a deeper one could', () => {
    const bits = fc.string({ unit: fc.constantFrom('0', '1'), maxLength: 15 });
    const hash = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    fc.assert(
      fc.property(fc.array(fc.tuple(bits, fc.boolean()), { maxLength: 30 }), fc.array(hash), (changes, hashes) => {
        const directory = new HashDirectory<string>();
        const slices = new Set<string>();
        for (const [each, added] of changes) {
          if (added) {
            directory.set({ kind: 'hash', partition: 3, bits: each }, each);
            slices.add(each);
          } else {
            directory.delete({ kind: 'hash', partition: 3, bits: each });
            slices.delete(each);
          }
        }
        directory.settle();
        for (const each of hashes) {
          const covering = [...slices].filter((slice) => leadingBits(each, slice.length) === slice);
          const longest = covering.sort((a, b) => b.length - a.length)[0];
          const found = directory.get(3, each);
          const isDeep = [...slices].some((slice) => slice.length > 12 && slice.startsWith(leadingBits(each, 12)));
          if (isDeep) expect([undefined, longest]).toContain(found);
          else expect(found).toBe(longest);
        }
        expect(directory.get(2, 0)).toBeUndefined();
      }),
    );
  });
});
