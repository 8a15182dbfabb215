// PinTable: values by filter, for look-ups that have the filter's hash already: an open-addressing table with linear
// probing. A filter that is not in it costs one read of an array of numbers, nearly always; V8's Map would hash the text
// again, and so would every other index that is keyed by it.
//
//   N1. At most half of the slots are taken, so probes are short.
//   N2. A slot's hash is 0 when the slot is free; a filter whose hash is 0 is filed under 1.

import { filterHash } from './keys.ts';

const SLOTS_MIN = 16;

export class PinTable<Value> {
  #size = 0;
  #hashes = new Uint32Array(SLOTS_MIN);
  /** Filter and value of each slot side by side: what is read together lies together. */
  #slots: (string | Value | undefined)[] = new Array(2 * SLOTS_MIN).fill(undefined);

  get size(): number {
    return this.#size;
  }

  /** `hash` is `filterHash(filter)`. */
  get(filter: string, hash: number): Value | undefined {
    const hashes = this.#hashes;
    const mask = hashes.length - 1;
    const wanted = hash === 0 ? 1 : hash; // N2
    for (let slot = wanted & mask; ; slot = (slot + 1) & mask) {
      const found = hashes[slot]!;
      if (found === 0) return undefined;
      if (found === wanted && this.#slots[2 * slot] === filter) return this.#slots[2 * slot + 1] as Value;
    }
  }

  set(filter: string, value: Value): void {
    if (2 * (this.#size + 1) > this.#hashes.length) this.#grow(); // N1
    const slot = this.#slotOf(filter);
    if (this.#hashes[slot] === 0) {
      this.#size += 1;
      this.#hashes[slot] = filed(filter);
      this.#slots[2 * slot] = flat(filter);
    }
    this.#slots[2 * slot + 1] = value;
  }

  delete(filter: string): void {
    const mask = this.#hashes.length - 1;
    let free = this.#slotOf(filter);
    if (this.#hashes[free] === 0) return;
    this.#size -= 1;
    // What stands behind moves up into the gap, unless it would then stand before its own place.
    for (let slot = (free + 1) & mask; this.#hashes[slot] !== 0; slot = (slot + 1) & mask) {
      const distance = (slot - this.#hashes[slot]!) & mask;
      if (distance < ((slot - free) & mask)) continue;
      this.#copy(slot, free);
      free = slot;
    }
    this.#hashes[free] = 0;
    this.#slots[2 * free] = undefined;
    this.#slots[2 * free + 1] = undefined;
  }

  /** Where the filter is, or the free slot where it would be. */
  #slotOf(filter: string): number {
    const mask = this.#hashes.length - 1;
    const wanted = filed(filter);
    let slot = wanted & mask;
    while (this.#hashes[slot] !== 0 && (this.#hashes[slot] !== wanted || this.#slots[2 * slot] !== filter))
      slot = (slot + 1) & mask;
    return slot;
  }

  #copy(from: number, to: number): void {
    this.#hashes[to] = this.#hashes[from]!;
    this.#slots[2 * to] = this.#slots[2 * from];
    this.#slots[2 * to + 1] = this.#slots[2 * from + 1];
  }

  #grow(): void {
    const [hashes, slots] = [this.#hashes, this.#slots];
    this.#hashes = new Uint32Array(2 * hashes.length);
    this.#slots = new Array(2 * slots.length).fill(undefined);
    const mask = this.#hashes.length - 1;
    for (let from = 0; from < hashes.length; from++) {
      if (hashes[from] === 0) continue;
      let to = hashes[from]! & mask;
      while (this.#hashes[to] !== 0) to = (to + 1) & mask;
      this.#hashes[to] = hashes[from]!;
      this.#slots[2 * to] = slots[2 * from];
      this.#slots[2 * to + 1] = slots[2 * from + 1];
    }
  }
}

const filed = (filter: string): number => filterHash(filter) || 1; // N2

/** A copy of its own: a cut of a longer text would be compared through that text, at one more cache miss for each look-up. */
const flat = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');
