import { describe, expect, test } from 'vitest';
import { DistinctCount } from '../../state/distinct-count.ts';
import { filterHash } from '../../state/keys.ts';

function counted(registers: number, names: readonly string[]): DistinctCount {
  const count = new DistinctCount(new Uint8Array(registers));
  for (const name of names) count.see(filterHash(name));
  return count;
}

const clients = (seed: number, size: number): string[] => Array.from({ length: size }, (_, i) => `client-${seed}-${i}`);

describe('distinct count', () => {
  for (const registers of [64, 256])
    for (const size of [1, 10, 100, 1_000, 100_000])
      test(`D3: ${size} clients in ${registers} registers, 20 seeds: no bias, and within three standard errors`, () => {
        const bound = 1.04 / Math.sqrt(registers);
        let sum = 0;
        for (let seed = 1; seed <= 20; seed++) {
          const ratio = counted(registers, clients(seed, size)).estimate() / size;
          // Few things collide by chance of the birthday kind: one register is the finest step there is.
          expect(Math.abs(ratio - 1), `seed ${seed}`).toBeLessThan(3.5 * bound + 1 / size);
          sum += ratio;
        }
        expect(Math.abs(sum / 20 - 1)).toBeLessThan(bound);
      });

  test('an empty count is zero', () => expect(counted(64, []).estimate()).toBe(0));

  test('D1: repeats and order change nothing', () => {
    const names = clients(1, 500);
    const once = counted(256, names).registers;
    expect(counted(256, [...names, ...names].reverse()).registers).toEqual(once);
  });

  test('D2: merged counts equal one count of both streams', () => {
    const left = counted(256, clients(1, 300));
    left.merge(counted(256, clients(2, 700)));
    expect(left.registers).toEqual(counted(256, [...clients(1, 300), ...clients(2, 700)]).registers);
  });

  test('full registers stay finite', () => {
    expect(Number.isFinite(new DistinctCount(new Uint8Array(64).fill(33)).estimate())).toBe(true);
  });
});
