import { describe, expect, test } from 'vitest';
import { cursorAt, placeAt, RowDigest, rowBytes } from '../../datastores/rows.ts';
import { SortedList } from '../../datastores/trie/sorted-list.ts';
import { compareUtf8 } from '../../state/utf8.ts';
import { fc } from '../support/property.ts';
import { row } from './shard-store-suite.ts';

const text = fc.string({ unit: 'binary', maxLength: 6 });

describe('rows', () => {
  test('texts compare as their UTF-8 bytes do', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareUtf8(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
      { numRuns: 2_000 },
    );
    expect(compareUtf8('\u{1f600}', '\uffee')).toBeGreaterThan(0);
  });

  test('a row weighs its texts in UTF-8 and a fixed part', () => {
    fc.assert(
      fc.property(text, text, (filter, client) => {
        const each = row(filter, client, 1);
        expect(rowBytes(each)).toBe(32 + Buffer.byteLength(filter) + Buffer.byteLength(client) + 8);
      }),
    );
  });

  test('a cursor names its place, a NUL in the client id included', () => {
    for (const place of [
      { filter: 'a/b', clientId: 'c' },
      { filter: 'a', clientId: 'c\u0000d' },
      { filter: '/', clientId: '' },
    ])
      expect(placeAt(cursorAt(place))).toEqual(place);
  });

  test('a digest tells texts apart that run together alike', () => {
    const digestOf = (...rows: ReturnType<typeof row>[]): string => {
      const digest = new RowDigest();
      for (const each of rows) digest.add(each);
      return digest.result().digest;
    };
    const digests = [
      digestOf(),
      digestOf(row('ab', 'c', 1)),
      digestOf(row('a', 'bc', 1)),
      digestOf(row('a', 'b', 1), row('a', 'c', 1)),
      digestOf(row('a', 'c', 1), row('a', 'b', 1)),
      digestOf(row('a', 'b', 1)),
    ];
    expect(new Set(digests).size).toBe(digests.length);
  });
});

test('a sorted list holds what a sorted array holds, through any inserts and removals', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ value: fc.nat(2_000), add: fc.boolean() }), { minLength: 0, maxLength: 3_000, size: 'max' }),
      (steps) => {
        const list = new SortedList<number>();
        const oracle = new Set<number>();
        for (const { value, add } of steps) {
          const isBefore = (each: number) => each < value;
          const there = list.firstNot(isBefore) === value;
          expect(there).toBe(oracle.has(value));
          if (add && !there) list.insert(value, isBefore);
          if (!add && there) list.removeFirstNot(isBefore);
          if (add) oracle.add(value);
          else oracle.delete(value);
        }
        const expected = [...oracle].sort((a, b) => a - b);
        expect([...list]).toEqual(expected);
        expect(list.length).toBe(expected.length);
        expect([...list.from((each) => each < 1_000)]).toEqual(expected.filter((each) => each >= 1_000));
      },
    ),
    { numRuns: 40 },
  );
});
