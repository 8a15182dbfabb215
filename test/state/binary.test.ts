import { describe, expect, test } from 'vitest';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { fc } from '../support/property.ts';

describe('binary', () => {
  test('B1: what was written is read back', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.double(),
        fc.string({ unit: 'binary' }),
        fc.float64Array(),
        (count, number, text, numbers) => {
          const bytes = new BinaryWriter(1).count(count).text(text).double(number).numbers(numbers).count(1).bytes();
          const reader = new BinaryReader(bytes);
          expect(reader.count()).toBe(count);
          expect(reader.text()).toBe(Buffer.from(text, 'utf8').toString('utf8'));
          expect(reader.double()).toBe(number);
          expect(reader.numbers(new Float64Array(numbers.length))).toEqual(numbers);
          expect(reader.count()).toBe(1);
        },
      ),
    );
  });

  for (const cut of [0, 1, 5, 12])
    test(`a row cut after ${cut} bytes is refused, not half read`, () => {
      const bytes = new BinaryWriter().text('abc').double(1.5).double(2).bytes().subarray(0, cut);
      const reader = new BinaryReader(bytes);
      expect(() => [reader.text(), reader.double(), reader.double()]).toThrow('a row ends before its last field');
    });
});
