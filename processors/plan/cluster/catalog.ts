// Catalogue: the datastore types that a shard can use, with the capacity and price of each. The file is the user's; no
// price is built into the code.
//
//   Q1. A type does no more operations than its disk allows: the disk does `iopsMax` I/O operations per second, and
//       each operation takes `iosPerOperation` of them.
//   Q2. What a file leaves out costs nothing and limits nothing: `storageBytes`, `iopsMax`, `clientsMax`,
//       `bytesPerSecondMax`, `dollarsPerMillionRequests`. An unknown field is refused: a misspelt price would silently
//       count as no price.

import { Type } from 'typebox';
import { checked } from '../../../schemas/checked.ts';
import { AppError } from '../../../schemas/errors.ts';
import type { StoreKind } from '../../../schemas/records.ts';

/** One type of datastore instance. One shard fills one instance. */
export interface DatastoreType {
  readonly name: string;
  readonly kind: StoreKind;
  /**
   * Weighted operations per second of an instance at full load: limited by its processors, or by its disk when that is
   * less (Q1). Safe capacity is a share of it (capacity.ts).
   */
  readonly operationsPerSecond: number;
  readonly entriesMax: number;
  readonly memoryBytes: number;
  /** 0: it keeps everything in memory. */
  readonly storageBytes: number;
  /**
   * Limit on the distinct clients behind the subscription events of one window, since each costs it memory; 0: no
   * limit.
   */
  readonly clientsMax: number;
  /** Limit on the bytes published per second to the topics of its slices, which its network must carry; 0: no limit. */
  readonly bytesPerSecondMax: number;
  readonly dollarsPerHour: number;
  readonly dollarsPerProvisioning: number;
  readonly dollarsPerGibMoved: number;
  /** A request is one weighted operation. */
  readonly dollarsPerMillionRequests: number;
  /** Time from requesting an instance to its first answer; used until the real time has been measured. */
  readonly provisioningMs: number;
}

/** Types by name, in the order of the file. */
export type Catalog = ReadonlyMap<string, DatastoreType>;

/** The catalogue in a parsed JSON value. Throws CATALOG_INVALID, naming the path of the field. */
export function catalogOf(value: unknown): Catalog {
  const { types } = checked(FILE, value, ({ path, text }) => invalid(path, text));
  const catalog = new Map<string, DatastoreType>();
  for (const [index, each] of types.entries()) {
    const type = typeOf(each, `types[${index}]`);
    if (catalog.has(type.name)) throw invalid(`types[${index}].name`, `names "${type.name}" twice`);
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

/** What else limits an instance and rises and falls with the events; forecast together with them (demand.ts). */
export type Flowing = 'clients' | 'bandwidth';
export const FLOWING: readonly Flowing[] = ['clients', 'bandwidth'];
export const isFlowing = (dimension: string): dimension is Flowing =>
  dimension === 'clients' || dimension === 'bandwidth';

/** How much of it an instance of the type takes at full load; infinite where the catalogue gives no limit (Q2). */
export const limitOf = (type: DatastoreType, flowing: Flowing): number =>
  (flowing === 'clients' ? type.clientsMax : type.bytesPerSecondMax) || Number.POSITIVE_INFINITY;

/** What some type limits, and so has to be followed. */
export const limitedBy = (catalog: Catalog): readonly Flowing[] =>
  FLOWING.filter((flowing) => [...catalog.values()].some((type) => limitOf(type, flowing) < Number.POSITIVE_INFINITY));

/** Types that can hold slices of this kind, cheapest instance first. */
export const typesOfKind = (catalog: Catalog, kind: StoreKind): DatastoreType[] =>
  [...catalog.values()]
    .filter((type) => type.kind === kind)
    .sort((a, b) => a.dollarsPerHour - b.dollarsPerHour || (a.name < b.name ? -1 : 1));

const amount = (minimum: number) =>
  Type.Number({ minimum, maximum: 1e15, must: `must be a number from ${minimum} to 1e15` });
const name = Type.String({ pattern: /^[\w.-]{1,64}$/, must: 'must be 1 to 64 letters, digits, "_", "." or "-"' });
/** What a file says of a type. */
const TYPE = Type.Object(
  {
    name,
    kind: Type.Union([Type.Literal('KEY_VALUE'), Type.Literal('TRIE')]),
    operationsPerSecond: amount(1),
    entriesMax: amount(1),
    memoryBytes: amount(1),
    dollarsPerHour: amount(0),
    dollarsPerProvisioning: amount(0),
    dollarsPerGibMoved: amount(0),
    provisioningMs: amount(0),
    storageBytes: Type.Optional(amount(0)),
    clientsMax: Type.Optional(amount(0)),
    bytesPerSecondMax: Type.Optional(amount(0)),
    iopsMax: Type.Optional(amount(1)),
    iosPerOperation: Type.Optional(amount(1e-6)),
    dollarsPerMillionRequests: Type.Optional(amount(0)),
    note: Type.Optional(Type.Unknown()),
  },
  { additionalProperties: false },
);
/** Names are checked first, so that any other problem of a type can be reported with its name. */
const FILE = Type.Object({ types: Type.Array(Type.Object({ name })) });

function typeOf(value: { readonly name: string }, path: string): DatastoreType {
  const of = `of "${value.name}"`;
  const type = checked(TYPE, value, (problem) => invalid(`${path}.${problem.path}`, `${of} ${problem.text}`));
  const diskOperations = (type.iopsMax ?? Number.POSITIVE_INFINITY) / (type.iosPerOperation ?? 1);
  return {
    name: type.name,
    kind: type.kind,
    operationsPerSecond: Math.min(type.operationsPerSecond, diskOperations),
    entriesMax: type.entriesMax,
    memoryBytes: type.memoryBytes,
    storageBytes: type.storageBytes ?? 0,
    clientsMax: type.clientsMax ?? 0,
    bytesPerSecondMax: type.bytesPerSecondMax ?? 0,
    dollarsPerHour: type.dollarsPerHour,
    dollarsPerProvisioning: type.dollarsPerProvisioning,
    dollarsPerGibMoved: type.dollarsPerGibMoved,
    dollarsPerMillionRequests: type.dollarsPerMillionRequests ?? 0,
    provisioningMs: type.provisioningMs,
  };
}

const invalid = (path: string, problem: string): AppError =>
  new AppError('CATALOG_INVALID', `catalogue: ${path} ${problem}`, { path });
