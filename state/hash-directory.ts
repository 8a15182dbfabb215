// HashDirectory: maps the leading bits of a filter's hash to a value for the hash slice of its partition, with one
// array read.
//
//   D1. A place of the directory holds the value of the longest slice that covers all its hashes. Slices of more bits
//       than BITS_MAX are not in it; the places that they share with shorter ones return `undefined`, and the caller
//       searches elsewhere.
//   D2. Changes show only after `settle`.

import type { Slice } from './keys.ts';

type HashSlice = Extract<Slice, { readonly kind: 'hash' }>;

/** 4,096 places for each partition: far more than it has slices; 32 KiB at most. */
const BITS_MAX = 12;

interface Partition<Value> {
  readonly values: Map<string, Value>; // By bits.
  places: (Value | undefined)[];
  shift: number;
}

export class HashDirectory<Value> {
  readonly #partitions: (Partition<Value> | undefined)[] = [];
  readonly #changed = new Set<Partition<Value>>();

  get(partition: number, hash: number): Value | undefined {
    const found = this.#partitions[partition];
    // A shift by 32 would be a shift by 0: a partition with one place uses no bits.
    return found?.places[found.shift === 32 ? 0 : hash >>> found.shift];
  }

  set({ partition, bits }: HashSlice, value: Value): void {
    let found = this.#partitions[partition];
    if (found === undefined) {
      found = { values: new Map(), places: [], shift: 32 };
      this.#partitions[partition] = found;
    }
    found.values.set(bits, value);
    this.#changed.add(found);
  }

  delete({ partition, bits }: HashSlice): void {
    const found = this.#partitions[partition];
    if (found?.values.delete(bits)) this.#changed.add(found);
  }

  /** D2. */
  settle(): void {
    for (const partition of this.#changed) rebuild(partition);
    this.#changed.clear();
  }
}

/** D1. */
function rebuild<Value>(partition: Partition<Value>): void {
  let width = 0;
  for (const bits of partition.values.keys()) width = Math.max(width, Math.min(bits.length, BITS_MAX));
  partition.shift = 32 - width;
  partition.places = new Array<Value | undefined>(2 ** width).fill(undefined);
  const byLength = [...partition.values].sort(([a], [b]) => a.length - b.length);
  for (const [bits, value] of byLength) {
    const inWidth = bits.slice(0, width);
    const first = inWidth === '' ? 0 : Number.parseInt(inWidth.padEnd(width, '0'), 2);
    const end = first + 2 ** (width - inWidth.length);
    partition.places.fill(bits.length > width ? undefined : value, first, end);
  }
}
