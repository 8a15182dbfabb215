import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { fromBrief, toBrief, WindowRing } from '../../state/window-ring.ts';

describe('window ring', () => {
  for (const { name, puts, expected } of [
    { name: 'a new ring holds nothing', puts: [], expected: { 0: Number.NaN, 5: Number.NaN } },
    { name: 'it begins at any number', puts: [[1000, 7]], expected: { 999: Number.NaN, 1000: 7, 1001: Number.NaN } },
    {
      name: 'the oldest window gives way',
      puts: [
        [0, 1],
        [1, 2],
        [2, 3],
        [3, 4],
        [4, 5],
      ],
      expected: { 0: Number.NaN, 1: 2, 4: 5 },
    },
    {
      name: 'a skipped window is a hole',
      puts: [
        [0, 1],
        [2, 3],
      ],
      expected: { 0: 1, 1: Number.NaN, 2: 3 },
    },
    {
      name: 'a long gap empties it',
      puts: [
        [0, 1],
        [1, 2],
        [100, 3],
      ],
      expected: { 1: Number.NaN, 97: Number.NaN, 99: Number.NaN, 100: 3 },
    },
    {
      name: 'a held window can be put again',
      puts: [
        [0, 1],
        [1, 2],
        [0, 9],
      ],
      expected: { 0: 9, 1: 2 },
    },
    {
      name: 'a window older than the ring changes nothing',
      puts: [
        [10, 1],
        [3, 9],
      ],
      expected: { 10: 1, 7: Number.NaN, 3: Number.NaN },
    },
  ] as { name: string; puts: [number, number][]; expected: Record<number, number> }[])
    test(`W1, W2: ${name}`, () => {
      const ring = new WindowRing(4, 'single');
      for (const [number, value] of puts) ring.put(number, value);
      for (const [number, value] of Object.entries(expected))
        expect(ring.at(Number(number)), `at ${number}`).toBe(value);
    });

  test('W1: it agrees with a map of everything put, for any growing numbers', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 1000 }))), (steps) => {
        const ring = new WindowRing(5, 'single');
        const all = new Map<number, number>();
        let number = 0;
        for (const [skip, value] of steps) {
          number += skip;
          ring.put(number, value);
          all.set(number, value);
          for (let n = Math.max(0, number - 8); n <= number + 1; n++)
            expect(ring.at(n)).toBe(n > number - 5 ? (all.get(n) ?? Number.NaN) : Number.NaN);
        }
      }),
    );
  });

  for (const precision of ['single', 'brief'] as const)
    test(`a ${precision} ring is the same after being written and read`, () => {
      const ring = new WindowRing(6, precision);
      for (const n of [3, 4, 7, 8]) ring.put(n, n * 1.5);
      const writer = new BinaryWriter();
      ring.write(writer);
      const read = new WindowRing(6, precision).read(new BinaryReader(writer.bytes()));
      for (let n = 0; n < 12; n++) expect(read.at(n)).toBe(ring.at(n));
    });

  for (const value of [0, 1, -1, 0.1, 123.456, 1e-20, 3.3e38, -7.7e12])
    test(`the brief form of ${value} is within 0.4 %`, () => {
      expect(Math.abs(fromBrief(toBrief(value)) - value)).toBeLessThanOrEqual(Math.abs(value) * 0.004);
    });

  test('the brief form keeps NaN', () => expect(fromBrief(toBrief(Number.NaN))).toBeNaN());
});
