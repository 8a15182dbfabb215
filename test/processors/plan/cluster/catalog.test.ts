// The catalogue: what a file may say, and what is said of one that is wrong.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  bytesMax,
  catalogOf,
  FLOWING,
  limitedBy,
  limitOf,
  typeNamed,
  typesOfKind,
} from '../../../../processors/plan/cluster/catalog.ts';

const TYPE = {
  name: 'kv',
  kind: 'KEY_VALUE',
  operationsPerSecond: 1_000,
  entriesMax: 1,
  memoryBytes: 1,
  dollarsPerHour: 0,
  dollarsPerProvisioning: 0,
  dollarsPerGibMoved: 0,
  provisioningMs: 0,
};
const TRIE = { ...TYPE, name: 'trie', kind: 'TRIE' };

const without = (field: keyof typeof TYPE): object => {
  const { [field]: _, ...rest } = TYPE;
  return rest;
};

describe('a wrong catalogue is refused with CATALOG_INVALID, the field and the type', () => {
  for (const { name, value, path, says } of [
    { name: 'not an object', value: null, path: 'types', says: 'types is missing' },
    { name: 'no types', value: {}, path: 'types', says: 'types is missing' },
    { name: 'types that are no list', value: { types: {} }, path: 'types', says: 'must be a list' },
    { name: 'a type that is no object', value: { types: [7] }, path: 'types[0].name', says: 'is missing' },
    { name: 'no name', value: { types: [without('name')] }, path: 'types[0].name', says: 'is missing' },
    { name: 'a name of blanks', value: { types: [{ ...TYPE, name: ' ' }] }, path: 'types[0].name', says: '1 to 64' },
    {
      name: 'a wrong kind',
      value: { types: [{ ...TYPE, kind: 'SQL' }] },
      path: 'types[0].kind',
      says: 'of "kv" must be KEY_VALUE or TRIE',
    },
    {
      name: 'a price left out',
      value: { types: [without('dollarsPerHour')] },
      path: 'types[0].dollarsPerHour',
      says: 'of "kv" is missing',
    },
    {
      name: 'a price that is text',
      value: { types: [TYPE, { ...TYPE, name: 'b', dollarsPerHour: '1' }] },
      path: 'types[1].dollarsPerHour',
      says: 'of "b" must be a number from 0 to 1e15',
    },
    {
      name: 'a negative price',
      value: { types: [{ ...TYPE, dollarsPerMillionRequests: -0.1 }] },
      path: 'types[0].dollarsPerMillionRequests',
      says: 'from 0',
    },
    {
      name: 'a price without end',
      value: { types: [{ ...TYPE, dollarsPerGibMoved: Number.POSITIVE_INFINITY }] },
      path: 'types[0].dollarsPerGibMoved',
      says: 'from 0 to 1e15',
    },
    {
      name: 'no capacity',
      value: { types: [{ ...TYPE, operationsPerSecond: 0 }] },
      path: 'types[0].operationsPerSecond',
      says: 'from 1',
    },
    {
      name: 'a disk that does nothing',
      value: { types: [{ ...TYPE, iopsMax: 0 }] },
      path: 'types[0].iopsMax',
      says: '1',
    },
    {
      name: 'a misspelt field',
      value: { types: [{ ...TYPE, dollarPerHour: 1 }] },
      path: 'types[0].dollarPerHour',
      says: 'of "kv" is not known; the fields are name, kind',
    },
    { name: 'a name twice', value: { types: [TYPE, TYPE] }, path: 'types[1].name', says: '"kv" twice' },
    { name: 'no trie', value: { types: [TYPE] }, path: 'types', says: 'a type of kind TRIE' },
    {
      name: 'a name from the prototype',
      value: JSON.parse('{"types":[{"__proto__":{"name":"x"}}]}'),
      path: 'types[0].name',
      says: 'is missing',
    },
  ])
    test(name, () => {
      const refused = { code: 'CATALOG_INVALID', facts: { path }, message: expect.stringContaining(says) };
      expect(() => catalogOf(value)).toThrow(expect.objectContaining(refused));
    });
});

test('what is left out limits nothing and costs nothing (Q2)', () => {
  const type = typeNamed(catalogOf({ types: [TYPE, TRIE] }), 'kv');
  expect(type).toMatchObject({ operationsPerSecond: 1_000, storageBytes: 0, dollarsPerMillionRequests: 0 });
  expect(bytesMax(type)).toBe(type.memoryBytes);
  for (const flowing of FLOWING) expect(limitOf(type, flowing)).toBe(Number.POSITIVE_INFINITY);
  expect(limitedBy(catalogOf({ types: [TYPE, TRIE] }))).toEqual([]);
});

test('clients and bandwidth are followed where one type limits them, and limit only that one', () => {
  const catalog = catalogOf({ types: [TYPE, { ...TRIE, clientsMax: 50, bytesPerSecondMax: 1e6 }] });
  expect(limitedBy(catalog)).toEqual(['clients', 'bandwidth']);
  const limits = [...catalog.values()].map((type) => FLOWING.map((flowing) => limitOf(type, flowing)));
  expect(limits).toEqual([
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    [50, 1e6],
  ]);
  // A catalogue that is written out and read again says the same.
  expect(catalogOf({ types: [...catalog.values()] })).toEqual(catalog);
});

test('a disk holds entries, and limits operations by what of them reaches it (Q1)', () => {
  const disk = { ...TYPE, storageBytes: 500, iopsMax: 200, iosPerOperation: 0.4 };
  const slow = typeNamed(catalogOf({ types: [disk, TRIE] }), 'kv');
  expect([slow.operationsPerSecond, bytesMax(slow)]).toEqual([500, 500]);
  const quick = typeNamed(catalogOf({ types: [{ ...disk, iopsMax: 1e6 }, TRIE] }), 'kv');
  expect(quick.operationsPerSecond).toBe(1_000);
});

test('a type that is in use and no longer in the catalogue is named', () => {
  const gone = expect.objectContaining({ code: 'CATALOG_INVALID', facts: { name: 'gone' } });
  expect(() => typeNamed(catalogOf({ types: [TYPE, TRIE] }), 'gone')).toThrow(gone);
});

describe('catalogues that come along', () => {
  for (const file of ['example.json', 'cloud-example.json'])
    test(`${file} is valid, has a choice of each kind, and says that its figures are made up`, () => {
      const text = readFileSync(new URL(`../../../../catalog/${file}`, import.meta.url), 'utf8');
      const catalog = catalogOf(JSON.parse(text));
      for (const kind of ['KEY_VALUE', 'TRIE'] as const) expect(typesOfKind(catalog, kind).length).toBeGreaterThan(1);
      expect(JSON.parse(text).note).toMatch(/made up/);
    });
});
