// Binary: rows as compact bytes. The writer grows as needed; the reader refuses to read past the end. Numbers are
// little-endian. Typed arrays are copied as a whole, so a row of thousands of numbers costs one memory copy.
//
//   B1. Values read in the order they were written are equal to what was written, NaN included.

import { AppError } from '../schemas/errors.ts';

export type NumberArray = Uint8Array | Uint16Array | Uint32Array | Float32Array | Float64Array;

export class BinaryWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(sizeBytes = 1024) {
    this.#buffer = Buffer.allocUnsafe(sizeBytes);
  }

  /** A whole number from 0 to 2^53: one byte when below 128. */
  count(value: number): this {
    this.#reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.#buffer[this.#length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#length++] = rest;
    return this;
  }

  double(value: number): this {
    this.#reserve(8);
    this.#length = this.#buffer.writeDoubleLE(value, this.#length);
    return this;
  }

  text(value: string): this {
    const sizeBytes = Buffer.byteLength(value, 'utf8');
    this.count(sizeBytes);
    this.#reserve(sizeBytes);
    this.#length += this.#buffer.write(value, this.#length, 'utf8');
    return this;
  }

  /** The array's numbers without its length: the reader must know the size. */
  numbers(values: NumberArray): this {
    this.#reserve(values.byteLength);
    this.#buffer.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), this.#length);
    this.#length += values.byteLength;
    return this;
  }

  /** The bytes written so far. The writer must not be used afterwards. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(sizeBytes: number): void {
    if (this.#length + sizeBytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + sizeBytes));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/** Throws STORE_CORRUPT when the bytes end too soon. */
export class BinaryReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#buffer = bytes;
  }

  /** True when nothing is left to read. */
  get isAtEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  count(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#buffer[this.#take(1)]!;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  double(): number {
    return this.#buffer.readDoubleLE(this.#take(8));
  }

  text(): string {
    const sizeBytes = this.count();
    const start = this.#take(sizeBytes);
    return this.#buffer.toString('utf8', start, start + sizeBytes);
  }

  /** Fills `into` and returns it. */
  numbers<Values extends NumberArray>(into: Values): Values {
    const start = this.#take(into.byteLength);
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(
      this.#buffer.subarray(start, start + into.byteLength),
    );
    return into;
  }

  #take(sizeBytes: number): number {
    const start = this.#at;
    if (start + sizeBytes > this.#buffer.length)
      throw new AppError('STORE_CORRUPT', 'a row ends before its last field', { sizeBytes: this.#buffer.length });
    this.#at = start + sizeBytes;
    return start;
  }
}
