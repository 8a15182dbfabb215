// PinTable: values by filter, for look-ups whose caller has the filter's hash already: an open-addressing table with
// linear probing. A filter that is not in it nearly always costs one read of an array of numbers; V8's Map would hash
// the text again, and so would every other index that is keyed by it.
//
//   N1. At most half of the slots are used, so probes are short.
//   N2. A slot's hash is 0 when the slot is free; a filter whose hash is 0 is stored under 1.

import { filterHash } from './keys.ts';

const SLOTS_MIN = 16;

export class PinTable<Value> {
  #size = 0;
  #hashes = new Uint32Array(SLOTS_MIN);
  /** Filter and value of each slot, next to each other, since they are read together. */
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
    // Entries after the gap move into it, unless they would then be before their home slot.
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

  /** The filter's slot, or the free slot where it would be. */
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

/** A copy: comparing a substring would read the longer text it was cut from, one more cache miss for each look-up. */
const flat = (text: string): string => Buffer.from(text, 'utf8').toString('utf8');
