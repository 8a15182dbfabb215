import { describe, expect, test } from 'vitest';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { filterHash } from '../../state/keys.ts';
import { NONE, SpaceSaving } from '../../state/space-saving.ts';
import { fc } from '../support/property.ts';

function fed(capacity: number, stream: readonly (readonly [string, number])[]): [SpaceSaving, Map<string, number>] {
  const sketch = new SpaceSaving(capacity);
  const exact = new Map<string, number>();
  for (const [key, weight] of stream) {
    sketch.add(key, filterHash(key), weight);
    exact.set(key, (exact.get(key) ?? 0) + weight);
  }
  return [sketch, exact];
}

/** Keys 0..size-1, key k about 1/(k+1) of the stream, from a fixed congruential seed. */
function zipf(size: number, count: number, seed: number): [string, number][] {
  let state = seed >>> 0;
  const cumulated: number[] = [];
  let sum = 0;
  for (let k = 0; k < size; k++) {
    sum += 1 / (k + 1);
    cumulated.push(sum);
  }
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const drawn = (state / 2 ** 32) * sum;
    return [`topic/${cumulated.findIndex((edge) => edge >= drawn)}`, 1];
  });
}

describe('space saving', () => {
  for (const { name, capacity, stream } of [
    { name: 'fewer keys than slots', capacity: 8, stream: zipf(5, 200, 1) },
    { name: 'many more keys than slots', capacity: 16, stream: zipf(500, 5000, 2) },
    { name: 'one slot', capacity: 1, stream: zipf(20, 300, 3) },
    {
      name: 'weights of very different size',
      capacity: 8,
      stream: zipf(60, 400, 4).map(([k], i) => [k, 1 + (i % 7) * 1000] as [string, number]),
    },
  ])
    test(`P1, P2: bounds hold with ${name}`, () => expectBounds(...fed(capacity, stream), capacity));

  test('P1, P2: bounds hold for any stream', () => {
    const streams = fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 40 }).map((k) => `k${k}`),
        fc.integer({ min: 1, max: 50 }),
      ),
    );
    fc.assert(
      fc.property(streams, fc.integer({ min: 1, max: 12 }), (stream, capacity) =>
        expectBounds(...fed(capacity, stream), capacity),
      ),
    );
  });

  test('a flood of rare keys takes no slot from heavy ones', () => {
    const sketch = new SpaceSaving(4);
    for (let i = 0; i < 4; i++) sketch.add(`heavy/${i}`, filterHash(`heavy/${i}`), 10_000);
    for (let i = 0; i < 20_000; i++) sketch.add(`rare/${i}`, filterHash(`rare/${i}`), 1);
    for (let i = 0; i < 4; i++) expect(sketch.find(`heavy/${i}`, filterHash(`heavy/${i}`))).not.toBe(NONE);
  });

  test('keys with one hash stay apart', () => {
    const sketch = new SpaceSaving(4);
    for (const [key, weight] of [
      ['a', 3],
      ['b', 5],
      ['a', 1],
    ] as const)
      sketch.add(key, 42, weight);
    expect(sketch.weight(sketch.find('a', 42))).toBe(4);
    expect(sketch.weight(sketch.find('b', 42))).toBe(5);
    expect(sketch.find('c', 42)).toBe(NONE);
  });

  test('decay halves weights, errors and the total', () => {
    const [sketch] = fed(4, zipf(50, 500, 5));
    const before = sketch.weight(0);
    sketch.decay(0.5);
    expect(sketch.weight(0)).toBe(before / 2);
    expect(sketch.total).toBe(250);
  });

  test('an eviction is told before the key is gone', () => {
    const sketch = new SpaceSaving(1);
    const told: string[] = [];
    sketch.onEvict = (slot) => told.push(sketch.key(slot));
    sketch.add('a', 1, 1);
    sketch.add('b', 2, 5);
    expect(told).toEqual(['a']);
  });

  test('P3: written and read back in the middle of a stream, it goes on as if it had not been', () => {
    const stream = zipf(200, 3000, 6);
    const [whole] = fed(16, stream);
    const [half] = fed(16, stream.slice(0, 1500));
    const writer = new BinaryWriter();
    half.write(writer);
    const resumed = SpaceSaving.read(new BinaryReader(writer.bytes()), 16);
    for (const [key, weight] of stream.slice(1500)) resumed.add(key, filterHash(key), weight);
    for (let slot = 0; slot < 16; slot++) {
      expect(resumed.key(slot)).toBe(whole.key(slot));
      expect(resumed.weight(slot)).toBe(whole.weight(slot));
    }
  });
});

function expectBounds(sketch: SpaceSaving, exact: Map<string, number>, capacity: number): void {
  let total = 0;
  for (const weight of exact.values()) total += weight;
  expect(sketch.total).toBe(total);
  for (const [key, weight] of exact) {
    const slot = sketch.find(key, filterHash(key));
    if (slot === NONE) {
      expect(weight).toBeLessThanOrEqual(total / capacity); // P2
      continue;
    }
    expect(sketch.weight(slot)).toBeGreaterThanOrEqual(weight); // P1
    expect(sketch.weight(slot) - sketch.error(slot)).toBeLessThanOrEqual(weight);
  }
}
