// The walk's bounds (W1 to W4 of schemas/avro-walk.ts), by the steps it takes and not by a clock.

import avsc from 'avsc';
import { describe, expect, test } from 'vitest';
import { Walker, walkOf } from '../../schemas/avro-walk.ts';
import { AppError } from '../../schemas/errors.ts';
import { fc } from '../support/property.ts';

/** Zig-zag varint. */
function long(value: number): number[] {
  const bytes: number[] = [];
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return [...bytes, rest];
}

const arrayOf = (items: unknown) => ({ type: 'array', items });

function walked(schema: unknown, bytes: readonly number[]): { readonly refusal: string | undefined; steps: number } {
  const walker = new Walker();
  try {
    walker.whole(Uint8Array.from(bytes), 0, walkOf(schema));
    return { refusal: undefined, steps: walker.steps };
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'UNDECODABLE') throw error;
    return { refusal: error.message, steps: walker.steps };
  }
}

describe('the work of a value', () => {
  const nulls = (count: number): number[] => [...long(count), 0];
  const repeated = (times: number, part: readonly number[]): number[] =>
    Array.from({ length: times }, () => part).flat();
  const record = (fields: readonly unknown[]) => ({
    type: 'record',
    name: 'R',
    fields: fields.map((type, at) => ({ name: `f${at}`, type })),
  });

  for (const { name, schema, bytes } of [
    {
      name: 'arrays of nulls side by side, each below any bound of its own',
      schema: arrayOf(arrayOf('null')),
      bytes: [...long(3_000), ...repeated(3_000, nulls(60_000)), 0],
    },
    {
      name: 'one array of nulls in many blocks',
      schema: arrayOf('null'),
      bytes: [...repeated(3_000, long(60_000)), 0],
    },
    { name: 'an array of 2^52 nulls', schema: arrayOf('null'), bytes: [...long(2 ** 52), 0] },
    {
      name: 'records whose fields have no bytes',
      schema: arrayOf(record(new Array(500).fill('null'))),
      bytes: [...long(3_000), 0],
    },
    {
      name: 'records with one byte and many fields without',
      schema: arrayOf(record(['boolean', ...new Array(500).fill('null')])),
      bytes: [...long(16_000), ...new Array(16_000).fill(1), 0],
    },
    {
      name: 'arrays of empty records within arrays',
      schema: arrayOf(arrayOf(record([]))),
      bytes: [...long(2_000), ...repeated(2_000, nulls(100_000)), 0],
    },
  ])
    test(`is bounded by its bytes: ${name}`, () => {
      const { refusal, steps } = walked(schema, bytes);
      expect(refusal).toContain('too many items for its size');
      // What went over the bound was counted, and not walked.
      const bound = 8 * bytes.length + 4_096;
      expect(steps).toBeGreaterThan(bound);
    });

  test('is what its items and fields are, for values that anybody would write', () => {
    const schema = arrayOf(record(['string', 'null', arrayOf('double')]));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.string(), fc.array(fc.double({ noNaN: true }), { maxLength: 5 })), { maxLength: 50 }),
        (items) => {
          const value = items.map(([f0, f2]) => ({ f0, f1: null, f2 }));
          const { refusal, steps } = walked(schema, [...avsc.Type.forSchema(schema as never).toBuffer(value)]);
          expect(refusal).toBeUndefined();
          expect(steps).toBe(items.reduce((sum, [, numbers]) => sum + 4 + numbers.length, 0));
        },
      ),
    );
  });
});

describe('a block of items', () => {
  const sized = (sizeBytes: number): number[] => [...long(-2), ...long(sizeBytes), ...[2, 97, 2, 98], 0];

  test('may tell its size', () => {
    expect(walked(arrayOf('string'), sized(4)).refusal).toBeUndefined();
  });

  for (const sizeBytes of [0, 2, 3, 5])
    test(`that says ${sizeBytes} bytes and has 4 is refused, since avsc skips it by what it says`, () => {
      expect(walked(arrayOf('string'), sized(sizeBytes)).refusal).toContain('another size than it says');
    });

  test('that says more than there is, or less than nothing, is refused', () => {
    expect(walked(arrayOf('string'), sized(6)).refusal).toContain('beyond the value');
    expect(walked(arrayOf('string'), sized(-1)).refusal).toContain('beyond the value');
  });
});

test('arrays and maps nested a thousand deep cannot exhaust the stack', () => {
  for (const within of [arrayOf, (values: unknown) => ({ type: 'map', values })]) {
    let schema: unknown = 'null';
    for (let depth = 0; depth < 1_000; depth++) schema = within(schema);
    const key = within === arrayOf ? [] : [0];
    const { refusal } = walked(schema, Array.from({ length: 1_000 }, () => [2, ...key]).flat());
    expect(refusal).toContain('nested too deeply');
  }
});

test('a length beyond what is there is refused before anything is read, also of text and of bytes', () => {
  for (const type of ['string', 'bytes'])
    for (const length of [1, 2 ** 31, 2 ** 52, -1])
      expect(walked(type, long(length)).refusal).toContain('beyond the value');
});
