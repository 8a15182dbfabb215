// Fields: those of a protocol file, read strictly: whatever is wrong is told with the file and the field's path, as
// PROTOCOL_INVALID.

import { AppError } from '../schemas/errors.ts';

export class Fields {
  readonly #value: unknown;
  readonly #file: string;
  readonly #path: string;

  constructor(value: unknown, file: string, path: string) {
    this.#value = value;
    this.#file = file;
    this.#path = path;
  }

  /** Of the whole file. */
  static of(text: string, file: string): Fields {
    try {
      return new Fields(JSON.parse(text), file, '');
    } catch (cause) {
      throw new AppError('PROTOCOL_INVALID', `${file} is not JSON: ${(cause as Error).message}`, { file }, cause);
    }
  }

  fail(field: string, problem: string): never {
    const path = this.#path === '' ? field : `${this.#path}.${field}`;
    throw new AppError('PROTOCOL_INVALID', `${this.#file}: ${path} ${problem}`, { file: this.#file, path });
  }

  list(field: string): readonly unknown[] {
    const value = this.#get(field);
    return Array.isArray(value) ? value : this.fail(field, 'must be a list');
  }

  text(field: string): string {
    const value = this.#get(field);
    return typeof value === 'string' && value !== '' && !/[\p{Cc},"]/u.test(value)
      ? value
      : this.fail(field, 'must be a text without commas, quotes and control characters');
  }

  positive(field: string): number {
    const value = this.#get(field);
    return typeof value === 'number' && Number.isFinite(value) && value > 0
      ? value
      : this.fail(field, 'must be a number above 0');
  }

  whole(field: string): number {
    const value = this.positive(field);
    return Number.isSafeInteger(value) ? value : this.fail(field, 'must be a whole number');
  }

  wholes(field: string, min: number, max: number): readonly number[] {
    const values = this.list(field);
    const isSound = (value: unknown, index: number): boolean =>
      Number.isSafeInteger(value) &&
      (value as number) >= min &&
      (value as number) <= max &&
      (index === 0 || (value as number) > (values[index - 1] as number));
    return values.length > 0 && values.every(isSound)
      ? (values as readonly number[])
      : this.fail(field, `must be ascending whole numbers from ${min} to ${max}`);
  }

  #get(field: string): unknown {
    if (typeof this.#value !== 'object' || this.#value === null || !Object.hasOwn(this.#value, field))
      return this.fail(field, 'is missing');
    return (this.#value as Record<string, unknown>)[field];
  }
}
