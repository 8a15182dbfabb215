// Window ring: the last `capacity` values of a series, one for each numbered window. Windows are numbered for ever
// (start / length), so a ring needs no shifting, and a window that was never put is a hole, not a zero.
//
//   W1. `at(n)` is what was last put at n, or NaN when n is a hole, older than the ring, or not put yet.
//   W2. Numbers grow: putting at or below `newest` changes nothing but that window, and only when it is still held.
//
// A brief ring keeps 16 bits of each value (bfloat16: the sign, exponent and first 7 bits of a 32-bit float, rounded to
// even; within 0.4 %): half the bytes where a value is an average anyway.

import type { BinaryReader, BinaryWriter } from './binary.ts';

export type RingPrecision = 'single' | 'brief';

export class WindowRing {
  readonly capacity: number;
  readonly precision: RingPrecision;
  /** Number of the newest window, -1 before the first. */
  newest = -1;
  private readonly values: Float32Array | Uint16Array;

  constructor(capacity: number, precision: RingPrecision) {
    this.capacity = capacity;
    this.precision = precision;
    this.values = precision === 'single' ? new Float32Array(capacity) : new Uint16Array(capacity);
    this.clear();
  }

  put(number: number, value: number): void {
    if (number <= this.newest - this.capacity) return;
    if (this.newest >= 0 && number > this.newest + 1) {
      if (number - this.newest > this.capacity) this.fillWithHoles();
      else for (let hole = this.newest + 1; hole < number; hole++) this.store(hole % this.capacity, Number.NaN);
    }
    this.store(number % this.capacity, value);
    if (number > this.newest) this.newest = number;
  }

  at(number: number): number {
    if (number > this.newest || number <= this.newest - this.capacity || number < 0) return Number.NaN;
    const held = this.values[number % this.capacity]!;
    return this.precision === 'single' ? held : fromBrief(held);
  }

  clear(): void {
    this.newest = -1;
    this.fillWithHoles();
  }

  write(to: BinaryWriter): void {
    to.count(this.newest + 1).numbers(this.values);
  }

  read(from: BinaryReader): this {
    this.newest = from.count() - 1;
    from.numbers(this.values);
    return this;
  }

  private store(index: number, value: number): void {
    this.values[index] = this.precision === 'single' ? value : toBrief(value);
  }

  private fillWithHoles(): void {
    this.values.fill(this.precision === 'single' ? Number.NaN : BRIEF_NAN);
  }
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);
const BRIEF_NAN = 0x7fc0;

/** The nearest bfloat16, as its 16 bits. */
export function toBrief(value: number): number {
  single[0] = value;
  const whole = bits[0]!;
  if ((whole & 0x7fffffff) > 0x7f800000) return BRIEF_NAN;
  return ((whole + 0x7fff + ((whole >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBrief(brief: number): number {
  bits[0] = brief << 16;
  return single[0]!;
}
