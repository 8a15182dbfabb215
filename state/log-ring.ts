// Log ring: the last rates of a series, numbered from its beginning, as 16-bit logarithms: log(1 + rate / unit) in
// steps of 1/3000. Rates grow and fall by factors, so a logarithm has the right precision both at night and in a flash
// crowd: a rate well above the unit is kept within 0.02 % of its value, in two bytes.
//
//   G1. `at(n)` is what was last put at n, within half a step; NaN when n is a hole, older than the ring, or not put
//       yet.
//   G2. Numbers grow: putting at or below `newest` changes only that window, and only while it is still held.
//   G3. The ring grows with its contents, up to `capacityMax`; after that the oldest are dropped.

import type { BinaryReader, BinaryWriter } from './binary.ts';

export const CODES_PER_LOG = 3_000;
const HOLE = 0xffff;
/** Above a billion units: log 21.8. */
export const LOG_MAX = (HOLE - 1) / CODES_PER_LOG;
const CAPACITY_MIN = 64;

export class LogRing {
  readonly capacityMax: number;
  /** Number of the newest window, -1 before the first. */
  newest = -1;
  /** Number of the first window put since the last `clear`, or kept by the last `cut`. */
  #first = 0;
  #codes: Uint16Array;

  constructor(capacityMax: number) {
    this.capacityMax = capacityMax;
    this.#codes = new Uint16Array(Math.min(CAPACITY_MIN, capacityMax)).fill(HOLE);
  }

  /** Number of the oldest window that may be held. */
  get oldest(): number {
    return Math.max(this.#first, this.newest - this.#codes.length + 1);
  }

  /** A log below 0 or NaN is stored as a hole, one above LOG_MAX as LOG_MAX. */
  put(number: number, log: number): void {
    if (this.newest < 0) this.#first = number;
    if (number < this.oldest) return;
    if (this.newest >= 0 && number > this.newest + 1) {
      if (number - this.newest > this.capacityMax) {
        this.#codes.fill(HOLE);
        this.#first = number;
      } else
        for (let hole = this.newest + 1; hole < number; hole++) {
          this.#makeRoomFor(hole);
          this.#codes[hole % this.#codes.length] = HOLE;
          this.newest = hole;
        }
    }
    if (number > this.newest) {
      this.#makeRoomFor(number);
      this.newest = number;
    }
    this.#codes[number % this.#codes.length] = codeOf(log);
  }

  at(number: number): number {
    if (number > this.newest || number < this.oldest) return Number.NaN;
    const code = this.#codes[number % this.#codes.length]!;
    return code === HOLE ? Number.NaN : code / CODES_PER_LOG;
  }

  /** Mean of the known logs in [from, to), each counted as at most `limit`; NaN when none is known. */
  mean(from: number, to: number, limit = LOG_MAX): number {
    const codes = this.#codes;
    const codeMax = limit === LOG_MAX ? HOLE - 1 : codeOf(limit);
    const first = Math.max(from, this.oldest);
    let left = Math.min(to, this.newest + 1) - first;
    let at = left > 0 ? first % codes.length : 0;
    let sum = 0;
    let count = 0;
    while (left > 0) {
      const end = Math.min(at + left, codes.length);
      left -= end - at;
      for (; at < end; at++) {
        const code = codes[at]!;
        if (code === HOLE) continue;
        sum += code < codeMax ? code : codeMax;
        count++;
      }
      at = 0;
    }
    return count === 0 ? Number.NaN : sum / count / CODES_PER_LOG;
  }

  /** Replaces every known log, as when the unit changes. */
  map(change: (log: number) => number): void {
    for (let i = 0; i < this.#codes.length; i++)
      if (this.#codes[i] !== HOLE) this.#codes[i] = codeOf(change(this.#codes[i]! / CODES_PER_LOG));
  }

  /** Drops everything before `number`. */
  cut(number: number): void {
    this.#first = Math.max(this.oldest, Math.min(number, this.newest + 1));
  }

  clear(): void {
    this.newest = -1;
    this.#codes.fill(HOLE);
  }

  write(to: BinaryWriter): void {
    to.count(this.newest + 1)
      .count(this.#first)
      .count(this.#codes.length)
      .numbers(this.#codes);
  }

  /** Reads a ring; one that was larger loses its oldest windows. */
  read(from: BinaryReader): this {
    this.newest = from.count() - 1;
    this.#first = from.count();
    this.#codes = from.numbers(new Uint16Array(from.count()));
    if (this.#codes.length <= this.capacityMax) return this;
    const codes = new Uint16Array(this.capacityMax).fill(HOLE);
    for (let held = Math.max(this.oldest, this.newest - codes.length + 1); held <= this.newest; held++)
      codes[held % codes.length] = this.#codes[held % this.#codes.length]!;
    this.#codes = codes;
    return this;
  }

  /** Writes what was put from `from` on: added to a ring that holds what came before, it restores this ring. */
  writeTail(to: BinaryWriter, from: number): void {
    const begin = Math.max(from, this.newest < 0 ? 0 : this.oldest);
    const tail = new Uint16Array(Math.max(0, this.newest + 1 - begin));
    for (let i = 0; i < tail.length; i++) tail[i] = this.#codes[(begin + i) % this.#codes.length]!;
    to.count(this.newest + 1)
      .count(this.#first)
      .count(tail.length)
      .numbers(tail);
  }

  readTail(from: BinaryReader): void {
    const newest = from.count() - 1;
    const first = from.count();
    const codes = from.numbers(new Uint16Array(from.count()));
    if (newest < 0 || first !== this.#first) this.clear();
    if (this.newest < 0) this.#first = first;
    for (const [i, code] of codes.entries()) {
      const number = newest + 1 - codes.length + i;
      this.#makeRoomFor(number);
      this.newest = Math.max(this.newest, number);
      this.#codes[number % this.#codes.length] = code;
    }
  }

  /** Grows while windows would be dropped that still fit. */
  #makeRoomFor(number: number): void {
    const length = this.#codes.length;
    if (number - this.#first < length || length === this.capacityMax) return;
    const codes = new Uint16Array(Math.min(2 * length, this.capacityMax)).fill(HOLE);
    for (let held = this.oldest; held <= this.newest; held++) codes[held % codes.length] = this.#codes[held % length]!;
    this.#codes = codes;
  }
}

export function codeOf(log: number): number {
  if (!(log >= 0)) return HOLE;
  return log >= LOG_MAX ? HOLE - 1 : Math.round(log * CODES_PER_LOG);
}

/** NaN for a hole. */
export const logOf = (code: number): number => (code === HOLE ? Number.NaN : code / CODES_PER_LOG);
