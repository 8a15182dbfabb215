// Catalogue: the datastore types that shards can be had on, with what each can do and what it costs. The user owns the
// file; nothing here has a price of its own.
//
//   Q1. A type does no more operations than its disk: `iopsMax` operations of the disk, of which each operation takes
//       `iosPerOperation`.
//   Q2. What a file leaves out costs nothing and limits nothing: `storageBytes`, `iopsMax`, `dollarsPerMillionRequests`.
//       A field that no type has is refused, since a price that is misspelt is a price that is not paid.

import { AppError } from '../../../schemas/errors.ts';
import type { StoreKind } from '../../../schemas/records.ts';

/** One type of datastore instance. One shard fills one instance. */
export interface DatastoreType {
  readonly name: string;
  readonly kind: StoreKind;
  /**
   * Weighted operations that an instance does at full load: what its processors do, or what its disk lets them do when
   * that is less (Q1). Safe capacity is a share of it (capacity.ts).
   */
  readonly operationsPerSecond: number;
  readonly entriesMax: number;
  readonly memoryBytes: number;
  /** 0: it keeps everything in memory. */
  readonly storageBytes: number;
  readonly dollarsPerHour: number;
  readonly dollarsPerProvisioning: number;
  readonly dollarsPerGibMoved: number;
  /** A request is one weighted operation. */
  readonly dollarsPerMillionRequests: number;
  /** From asking for an instance to its first answer; used until the real time has been measured. */
  readonly provisioningMs: number;
}

/** Types by name, in the order of the file. */
export type Catalog = ReadonlyMap<string, DatastoreType>;

/** The catalogue in a parsed JSON value. Throws CATALOG_INVALID, naming the path of the field. */
export function catalogOf(value: unknown): Catalog {
  const types = member(value, 'types', '');
  if (!Array.isArray(types)) throw invalid('types', 'must be a list of datastore types');
  const catalog = new Map<string, DatastoreType>();
  for (const [index, each] of types.entries()) {
    const type = typeOf(each, `types[${index}]`);
    if (catalog.has(type.name)) throw invalid(`types[${index}].name`, `says "${type.name}" a second time`);
    catalog.set(type.name, type);
  }
  for (const kind of ['KEY_VALUE', 'TRIE'] as const)
    if (typesOfKind(catalog, kind).length === 0) throw invalid('types', `must have a type of kind ${kind}`);
  return catalog;
}

/** The type of this name. Throws CATALOG_INVALID when a shard is on a type that the catalogue no longer has. */
export function typeNamed(catalog: Catalog, name: string): DatastoreType {
  const type = catalog.get(name);
  if (type === undefined)
    throw new AppError('CATALOG_INVALID', `the catalogue has no datastore type "${name}", which is in use`, { name });
  return type;
}

/** The bytes of entries that an instance holds: on disk where it has one, else in memory. */
export const bytesMax = (type: DatastoreType): number => type.storageBytes || type.memoryBytes;

/** Types that can hold slices of this kind, cheapest instance first. */
export const typesOfKind = (catalog: Catalog, kind: StoreKind): DatastoreType[] =>
  [...catalog.values()]
    .filter((type) => type.kind === kind)
    .sort((a, b) => a.dollarsPerHour - b.dollarsPerHour || (a.name < b.name ? -1 : 1));

/** Every field that a type may have; those from `storageBytes` on may be left out (Q2). */
const FIELDS: ReadonlySet<string> = new Set([
  'name',
  'kind',
  'operationsPerSecond',
  'entriesMax',
  'memoryBytes',
  'dollarsPerHour',
  'dollarsPerProvisioning',
  'dollarsPerGibMoved',
  'provisioningMs',
  'storageBytes',
  'iopsMax',
  'iosPerOperation',
  'dollarsPerMillionRequests',
  'note',
]);

function typeOf(value: unknown, path: string): DatastoreType {
  const name = member(value, 'name', path);
  if (typeof name !== 'string' || !/^[\w.-]{1,64}$/.test(name))
    throw invalid(`${path}.name`, 'must be 1 to 64 letters, digits, "_", "." or "-"');
  const of = `of "${name}"`;
  const kind = member(value, 'kind', path, of);
  if (kind !== 'KEY_VALUE' && kind !== 'TRIE') throw invalid(`${path}.kind`, `${of} must be KEY_VALUE or TRIE`);
  const unknown = Object.keys(value as object).find((field) => !FIELDS.has(field));
  if (unknown !== undefined)
    throw invalid(`${path}.${unknown}`, `${of} is not a field of a type; the fields are ${[...FIELDS].join(', ')}`);
  const number = (field: string, min: number, fallback?: number): number => {
    if (fallback !== undefined && !Object.hasOwn(value as object, field)) return fallback;
    const found = member(value, field, path, of);
    if (typeof found !== 'number' || !Number.isFinite(found) || found < min || found > 1e15)
      throw invalid(`${path}.${field}`, `${of} must be a number from ${min} to 1e15`);
    return found;
  };
  const diskOperations = number('iopsMax', 1, Number.POSITIVE_INFINITY) / number('iosPerOperation', 1e-6, 1);
  return {
    name,
    kind,
    operationsPerSecond: Math.min(number('operationsPerSecond', 1), diskOperations),
    entriesMax: number('entriesMax', 1),
    memoryBytes: number('memoryBytes', 1),
    storageBytes: number('storageBytes', 0, 0),
    dollarsPerHour: number('dollarsPerHour', 0),
    dollarsPerProvisioning: number('dollarsPerProvisioning', 0),
    dollarsPerGibMoved: number('dollarsPerGibMoved', 0),
    dollarsPerMillionRequests: number('dollarsPerMillionRequests', 0, 0),
    provisioningMs: number('provisioningMs', 0),
  };
}

function member(value: unknown, field: string, path: string, of = ''): unknown {
  const at = path === '' ? field : `${path}.${field}`;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field))
    throw invalid(at, of === '' ? 'is missing' : `${of} is missing`);
  return (value as Record<string, unknown>)[field];
}

const invalid = (path: string, problem: string): AppError =>
  new AppError('CATALOG_INVALID', `catalogue: ${path} ${problem}`, { path });
