import { describe, expect, test } from 'vitest';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { CODES_PER_LOG, codeOf, LOG_MAX, LogRing, logOf } from '../../state/log-ring.ts';
import { fc } from '../support/property.ts';

const HALF_STEP = 0.5 / CODES_PER_LOG + 1e-9;

describe('log ring', () => {
  test('an empty ring holds nothing', () => {
    const ring = new LogRing(100);
    expect(ring.newest).toBe(-1);
    expect(ring.at(0)).toBeNaN();
    expect(ring.mean(0, 10)).toBeNaN();
  });

  for (const { name, log, kept } of [
    { name: 'nothing', log: 0, kept: 0 },
    { name: 'a usual log', log: 4.321, kept: 4.321 },
    { name: 'the greatest log', log: LOG_MAX, kept: LOG_MAX },
    { name: 'a log above the greatest', log: 1e9, kept: LOG_MAX },
    { name: 'infinity', log: Number.POSITIVE_INFINITY, kept: LOG_MAX },
    { name: 'a log below 0', log: -0.1, kept: Number.NaN },
    { name: 'NaN', log: Number.NaN, kept: Number.NaN },
  ])
    test(`G1: ${name} is kept as ${kept}`, () => {
      const ring = new LogRing(10);
      ring.put(7, log);
      if (Number.isNaN(kept)) expect(ring.at(7)).toBeNaN();
      else expect(Math.abs(ring.at(7) - kept)).toBeLessThan(HALF_STEP);
      expect(logOf(codeOf(log))).toEqual(ring.at(7));
    });

  test('G2: an older window can be put anew while it is held, and changes nothing else', () => {
    const ring = new LogRing(10);
    for (let n = 0; n < 20; n++) ring.put(n, 1);
    ring.put(15, 2);
    ring.put(3, 2); // Forgotten long ago.
    expect(ring.newest).toBe(19);
    expect(Array.from({ length: 10 }, (_, i) => ring.at(10 + i))).toEqual([1, 1, 1, 1, 1, 2, 1, 1, 1, 1]);
    expect(ring.at(3)).toBeNaN();
  });

  test('G3: the ring grows with what it holds, and then forgets the oldest', () => {
    const sizeOf = (windows: number): number => {
      const ring = new LogRing(1_000);
      for (let n = 0; n < windows; n++) ring.put(n, 1);
      expect(ring.oldest).toBe(Math.max(0, windows - 1_000));
      expect(ring.at(ring.oldest)).toBe(1);
      expect(ring.at(ring.oldest - 1)).toBeNaN();
      const writer = new BinaryWriter();
      ring.write(writer);
      return writer.bytes().length;
    };
    expect(sizeOf(10)).toBeLessThan(150);
    expect(sizeOf(200)).toBeLessThan(600);
    expect(sizeOf(900)).toBeLessThan(2_020);
    expect(sizeOf(5_000)).toBe(sizeOf(1_000));
  });

  test('a mean leaves holes out and counts no log for more than its limit', () => {
    const ring = new LogRing(50);
    ring.put(10, 1);
    ring.put(12, 5); // 11 is a hole.
    ring.put(13, 3);
    expect(ring.mean(0, 100)).toBe(3);
    expect(ring.mean(10, 13)).toBe(3);
    expect(ring.mean(0, 100, 2)).toBeCloseTo(5 / 3, 3);
    expect(ring.mean(11, 12)).toBeNaN();
    expect(ring.mean(14, 20)).toBeNaN();
  });

  test('after a leap farther than the ring reaches nothing from before is left', () => {
    const ring = new LogRing(64);
    for (let n = 0; n < 100; n++) ring.put(n, 1);
    ring.put(1_000_000, 2);
    expect(ring.oldest).toBe(1_000_000);
    expect(ring.mean(0, 1_000_000)).toBeNaN();
    expect(ring.at(1_000_000)).toBe(2);
  });

  const logs = fc.oneof(fc.double({ min: 0, max: LOG_MAX, noNaN: true }), fc.constant(Number.NaN));
  const puts = fc.array(fc.record({ leap: fc.integer({ min: -20, max: 40 }), log: logs }), {
    minLength: 1,
    maxLength: 300,
  });

  /** Puts into a ring and, by the same rule, into a plain map. */
  function played(capacityMax: number, steps: readonly { readonly leap: number; readonly log: number }[]) {
    const ring = new LogRing(capacityMax);
    const held = new Map<number, number>();
    let newest = -1;
    let first = 0;
    for (const { leap, log } of steps) {
      const number = newest < 0 ? 1_000 + leap : newest + leap;
      ring.put(number, log);
      if (newest < 0 || number - newest > capacityMax) first = number;
      if (number < Math.max(first, newest - capacityMax + 1)) continue; // Forgotten, or before the first.
      held.set(number, log);
      newest = Math.max(newest, number);
      for (const key of held.keys()) if (key <= newest - capacityMax) held.delete(key);
    }
    return { ring, held, newest };
  }

  test('G1 to G3: whatever is put, the ring holds what a plain map of the last windows holds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), puts, (capacityMax, steps) => {
        const { ring, held, newest } = played(capacityMax, steps);
        expect(ring.newest).toBe(newest);
        for (let n = newest - capacityMax - 5; n <= newest + 5; n++) {
          const expected = held.get(n) ?? Number.NaN;
          if (Number.isNaN(expected)) expect(ring.at(n), `at ${n}`).toBeNaN();
          else expect(Math.abs(ring.at(n) - expected), `at ${n}`).toBeLessThan(HALF_STEP);
        }
      }),
      { numRuns: 100, seed: 1 },
    );
  });

  test('what is written is read back, and goes on in the same way', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        puts,
        fc.integer({ min: 1, max: 300 }),
        (capacityMax, steps, leap) => {
          const { ring, newest } = played(capacityMax, steps);
          const writer = new BinaryWriter();
          ring.write(writer);
          const again = new LogRing(capacityMax).read(new BinaryReader(writer.bytes()));
          for (const each of [ring, again]) each.put(newest + leap, 1);
          for (let n = newest - capacityMax - 5; n <= newest + leap; n++) expect(again.at(n)).toEqual(ring.at(n));
          expect([again.oldest, again.newest]).toEqual([ring.oldest, ring.newest]);
        },
      ),
      { numRuns: 50, seed: 2 },
    );
  });

  test('map changes what is known and leaves holes alone', () => {
    const ring = new LogRing(10);
    ring.put(1, 1);
    ring.put(3, 2);
    ring.map((log) => 2 * log);
    expect([ring.at(1), ring.at(2), ring.at(3)]).toEqual([2, Number.NaN, 4]);
  });
});
