import { Type } from 'typebox';
import { describe, expect, test } from 'vitest';
import { checked, problemOf } from '../../schemas/checked.ts';

const SCHEMA = Type.Object({
  list: Type.Array(
    Type.Object(
      {
        kind: Type.Union([Type.Literal('A'), Type.Literal('B')]),
        share: Type.Number({ minimum: 0, maximum: 1 }),
        count: Type.Optional(Type.Integer()),
        name: Type.Optional(Type.String({ pattern: '^a+$', must: 'must be some a' })),
        'a/b~c': Type.Optional(Type.Boolean()),
      },
      { additionalProperties: false },
    ),
    { minItems: 1 },
  ),
  format: Type.Optional(Type.Literal('f-1')),
});
const GOOD = { kind: 'A', share: 0.5 };

describe('what is wrong with a value from outside', () => {
  for (const { name, value, says } of [
    { name: 'nothing (V2)', value: null, says: 'list is missing' },
    { name: 'a text (V2)', value: 'x', says: 'list is missing' },
    { name: 'no list', value: {}, says: 'list is missing' },
    { name: 'another list', value: { list: {} }, says: 'list must be a list' },
    { name: 'an empty list', value: { list: [] }, says: 'list must not be empty' },
    { name: 'an item that is none (V2)', value: { list: [GOOD, 7] }, says: 'list[1].kind is missing' },
    { name: 'no such kind', value: { list: [{ ...GOOD, kind: 'C' }] }, says: 'list[0].kind must be A or B' },
    {
      name: 'a share above 1',
      value: { list: [{ ...GOOD, share: 2 }] },
      says: 'list[0].share must be a number from 0 to 1',
    },
    {
      name: 'a share that is none',
      value: { list: [{ ...GOOD, share: Number.NaN }] },
      says: 'list[0].share must be a number from',
    },
    { name: 'half a count', value: { list: [{ ...GOOD, count: 1.5 }] }, says: 'list[0].count must be a whole number' },
    { name: 'its own words', value: { list: [{ ...GOOD, name: 'b' }] }, says: 'list[0].name must be some a' },
    { name: 'its own words of a type', value: { list: [{ ...GOOD, name: 7 }] }, says: 'list[0].name must be some a' },
    {
      name: 'a name with signs',
      value: { list: [{ ...GOOD, 'a/b~c': 1 }] },
      says: 'list[0].a/b~c must be true or false',
    },
    {
      name: 'a field misspelt (V1)',
      value: { list: [{ kind: 'A', shar: 1 }] },
      says: 'list[0].shar is not known; the fields are kind, share',
    },
    { name: 'another format', value: { list: [GOOD], format: 'f-2' }, says: 'format must be "f-1"' },
  ])
    test(name, () => {
      const problem = problemOf(SCHEMA, value)!;
      expect(`${problem.path} ${problem.text}`).toContain(says);
      const refuse = (): unknown => checked(SCHEMA, value, ({ path }) => new RangeError(path));
      expect(refuse).toThrow(RangeError);
    });

  test('a value that is sound is itself', () => {
    const value = { list: [GOOD], more: 1 };
    expect(checked(SCHEMA, value, ({ path }) => new RangeError(path))).toBe(value);
  });
});
