// Space-saving: the heaviest keys of a stream in fixed memory (Metwally, Agrawal, El Abbadi: "Efficient computation of
// frequent and top-k elements in data streams", ICDT 2005), with the filter of Homem and Carvalho ("Finding top-k
// elements in data streams", Information Sciences 2010): a key that is not monitored adds to a hash cell, and gets a
// slot only once its cell outweighs the lightest slot. So a stream of rare keys does not displace the monitored ones.
//
//   P1. true weight <= weight(slot), and weight(slot) - error(slot) <= true weight.
//   P2. Every key whose true weight exceeds total / capacity is monitored.
//   P3. The same stream gives the same slots: ties are broken by position, never by chance.
//
// Hot path: typed arrays, a binary heap of slots by weight and an open-addressing index by hash; a key's text is compared
// only when its 32-bit hash is equal. The plain form, one Map and a scan, is the oracle in its test.

import type { BinaryReader, BinaryWriter } from './binary.ts';

/** A slot number, valid as long as its key is monitored; `NONE` when the key is not. */
export type Slot = number;
export const NONE: Slot = -1;

const CELLS_PER_SLOT = 4;

export class SpaceSaving {
  readonly capacity: number;
  /** Weight of the whole stream, decayed like the slots. */
  total = 0;
  /** Called before a slot's key is replaced by another. */
  onEvict: ((slot: Slot) => void) | undefined;

  #used = 0;
  readonly #keys: string[] = [];
  readonly #hashes: Uint32Array;
  readonly #weights: Float64Array;
  readonly #errors: Float64Array;
  /** heap[0] is the lightest slot. */
  readonly #heap: Uint32Array;
  readonly #place: Uint32Array;
  readonly #cells: Float64Array;
  /** Slot + 1, or 0 for a free entry. A power of two, at most a quarter full. */
  readonly #index: Uint32Array;
  readonly #mask: number;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.#hashes = new Uint32Array(capacity);
    this.#weights = new Float64Array(capacity);
    this.#errors = new Float64Array(capacity);
    this.#heap = new Uint32Array(capacity);
    this.#place = new Uint32Array(capacity);
    this.#cells = new Float64Array(powerOfTwo(capacity * CELLS_PER_SLOT));
    this.#index = new Uint32Array(powerOfTwo(capacity * 4));
    this.#mask = this.#index.length - 1;
  }

  get size(): number {
    return this.#used;
  }

  /** Adds `weight` to `key`. `hash` must be a fixed, well mixed 32-bit hash of it. Returns its slot, or NONE. */
  add(key: string, hash: number, weight: number): Slot {
    this.total += weight;
    const slot = this.find(key, hash);
    if (slot !== NONE) {
      this.#weights[slot]! += weight;
      this.#sink(this.#place[slot]!);
      return slot;
    }
    if (this.#used < this.capacity) return this.#push(key, hash, weight, 0);
    const cell = hash & (this.#cells.length - 1);
    const seen = this.#cells[cell]!;
    const lightest = this.#heap[0]!;
    if (seen + weight <= this.#weights[lightest]!) {
      this.#cells[cell] = seen + weight;
      return NONE;
    }
    this.onEvict?.(lightest);
    this.#unindex(lightest);
    const left = this.#hashes[lightest]! & (this.#cells.length - 1);
    this.#cells[left] = Math.max(this.#cells[left]!, this.#weights[lightest]!);
    this.#enter(lightest, key, hash >>> 0, seen + weight, seen);
    this.#sink(0);
    return lightest;
  }

  find(key: string, hash: number): Slot {
    const unsigned = hash >>> 0;
    for (let at = unsigned & this.#mask; ; at = (at + 1) & this.#mask) {
      const entry = this.#index[at]!;
      if (entry === 0) return NONE;
      if (this.#hashes[entry - 1] === unsigned && this.#keys[entry - 1] === key) return entry - 1;
    }
  }

  key(slot: Slot): string {
    return this.#keys[slot]!;
  }

  /** Never below the key's true weight (P1). */
  weight(slot: Slot): number {
    return this.#weights[slot]!;
  }

  /** The part of `weight` that may belong to other keys. */
  error(slot: Slot): number {
    return this.#errors[slot]!;
  }

  /** Multiplies every weight, so that recent keys outweigh old ones. P1 and P2 then hold for the decayed stream. */
  decay(factor: number): void {
    this.total *= factor;
    for (let slot = 0; slot < this.#used; slot++) {
      this.#weights[slot]! *= factor;
      this.#errors[slot]! *= factor;
    }
    for (let cell = 0; cell < this.#cells.length; cell++) this.#cells[cell]! *= factor;
  }

  write(to: BinaryWriter): void {
    to.count(this.#used).double(this.total);
    for (let slot = 0; slot < this.#used; slot++) to.text(this.#keys[slot]!);
    to.numbers(this.#hashes.subarray(0, this.#used)).numbers(this.#weights.subarray(0, this.#used));
    to.numbers(this.#errors.subarray(0, this.#used)).numbers(this.#heap.subarray(0, this.#used));
    let filled = 0;
    for (const weight of this.#cells) if (weight > 0) filled++;
    to.count(filled);
    for (let cell = 0; cell < this.#cells.length; cell++)
      if (this.#cells[cell]! > 0) to.count(cell).double(this.#cells[cell]!);
  }

  /** `capacity` must be the one that it was written with. */
  static read(from: BinaryReader, capacity: number): SpaceSaving {
    const sketch = new SpaceSaving(capacity);
    const used = from.count();
    sketch.total = from.double();
    const keys = Array.from({ length: used }, () => from.text());
    const hashes = from.numbers(new Uint32Array(used));
    const weights = from.numbers(new Float64Array(used));
    const errors = from.numbers(new Float64Array(used));
    const heap = from.numbers(new Uint32Array(used));
    const cells = from.count();
    for (let i = 0; i < cells; i++) {
      const cell = from.count();
      sketch.#cells[cell] = from.double();
    }
    sketch.#used = used;
    for (let slot = 0; slot < used; slot++)
      sketch.#enter(slot, keys[slot]!, hashes[slot]!, weights[slot]!, errors[slot]!);
    sketch.#heap.set(heap);
    for (let at = 0; at < used; at++) sketch.#place[sketch.#heap[at]!] = at;
    return sketch;
  }

  #push(key: string, hash: number, weight: number, error: number): Slot {
    const slot = this.#used++;
    this.#enter(slot, key, hash >>> 0, weight, error);
    this.#heap[slot] = slot;
    this.#place[slot] = slot;
    this.#rise(slot);
    return slot;
  }

  #enter(slot: Slot, key: string, hash: number, weight: number, error: number): void {
    this.#keys[slot] = key;
    this.#hashes[slot] = hash;
    this.#weights[slot] = weight;
    this.#errors[slot] = error;
    let at = hash & this.#mask;
    while (this.#index[at] !== 0) at = (at + 1) & this.#mask;
    this.#index[at] = slot + 1;
  }

  /** Frees the index entry and closes the hole behind it (linear probing without tombstones; Knuth 6.4, algorithm R). */
  #unindex(slot: Slot): void {
    let hole = this.#hashes[slot]! & this.#mask;
    while (this.#index[hole] !== slot + 1) hole = (hole + 1) & this.#mask;
    for (let at = (hole + 1) & this.#mask; this.#index[at] !== 0; at = (at + 1) & this.#mask) {
      const home = this.#hashes[this.#index[at]! - 1]! & this.#mask;
      if (((at - home) & this.#mask) < ((at - hole) & this.#mask)) continue;
      this.#index[hole] = this.#index[at]!;
      hole = at;
    }
    this.#index[hole] = 0;
  }

  #sink(from: number): void {
    const heap = this.#heap;
    const place = this.#place;
    const weights = this.#weights;
    const used = this.#used;
    const slot = heap[from]!;
    const weight = weights[slot]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= used) break;
      if (child + 1 < used && weights[heap[child + 1]!]! < weights[heap[child]!]!) child++;
      if (weights[heap[child]!]! >= weight) break;
      heap[at] = heap[child]!;
      place[heap[at]!] = at;
      at = child;
    }
    heap[at] = slot;
    place[slot] = at;
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const place = this.#place;
    const weights = this.#weights;
    const slot = heap[from]!;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (weights[heap[parent]!]! <= weights[slot]!) break;
      heap[at] = heap[parent]!;
      place[heap[at]!] = at;
      at = parent;
    }
    heap[at] = slot;
    place[slot] = at;
  }
}

const powerOfTwo = (atLeast: number): number => 2 ** Math.ceil(Math.log2(Math.max(2, atLeast)));
