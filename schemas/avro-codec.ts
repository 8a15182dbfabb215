// Avro: the bytes of records. Two codecs share this file: the one with fixed ids (below; for the embedded runtime and
// the tests) and the one with a schema registry (edge/registry-codec.ts). A value is Confluent's header (a 0 byte and a
// 32-bit schema id), followed by the Avro binary of one record.
//
//   A1. Bytes are checked against the schema they were written with before anything is built (avro-walk.ts), then read
//       into our schema: a missing field takes its default, an extra one is dropped.
//   A2. Decoding is all or nothing, and does no I/O.
//   A3. A union of records is `{ kind: 'Name', … }` here and `{ 'psm.Name': … }` in avsc: converted in this file alone.

import avsc from 'avsc';
import { Walker, walkOf } from './avro-walk.ts';
import type { Codec } from './codec.ts';
import { AppError, assert } from './errors.ts';
import { type RecordName, SCHEMAS } from './records.ts';

/** Confluent's header: magic byte 0 and the schema id, big-endian. */
export const HEADER_BYTES = 5;
const SCHEMA_ID_MAX = 0x7fff_ffff;

export const RECORD_NAMES = Object.keys(SCHEMAS) as readonly RecordName[];

/**
 * Ids of our own schemas, for use without a registry. An id names one schema for ever: a changed schema gets the next
 * free number, and the old schema stays in `LOCAL_HISTORY`; otherwise data of an older release could not be read.
 */
export const LOCAL_SCHEMA_IDS: Readonly<Record<RecordName, number>> = {
  SubscriptionEvent: 25,
  WildcardEvents: 24,
  Metric: 62,
  RateWindow: 4,
  Forecast: 17,
  Command: 50,
  Progress: 64,
  PointerRecord: 63,
  Decision: 15,
  Subscription: 26,
  SessionRecord: 27,
  ClientEvents: 28,
  SessionOperation: 29,
};

/**
 * Fields of a subscription event that were added after the first release: the options of MQTT 5, and the session epoch.
 */
const OPTIONS = ['noLocal', 'retainAsPublished', 'retainHandling', 'subscriptionIdentifier', 'sessionEpoch'];

/**
 * Schemas of earlier releases: the present ones without the fields that were added since. Additions at the end of a
 * union or an enumeration can stay: data of earlier releases does not contain them.
 */
const LOCAL_HISTORY: readonly { readonly id: number; readonly record: RecordName; readonly schema: unknown }[] = [
  { id: 1, record: 'SubscriptionEvent', schema: without('SubscriptionEvent', [...OPTIONS, 'bySession']) },
  { id: 23, record: 'SubscriptionEvent', schema: without('SubscriptionEvent', ['bySession']) },
  { id: 3, record: 'Metric', schema: without('Metric', ['nodesPerLookup', 'matchesPerLookup', 'startedAt']) },
  { id: 12, record: 'Metric', schema: without('Metric', ['nodesPerLookup', 'matchesPerLookup', 'startedAt']) },
  { id: 16, record: 'Metric', schema: without('Metric', ['startedAt']) },
  { id: 2, record: 'WildcardEvents', schema: without('WildcardEvents', ['incarnation', ...OPTIONS]) },
  { id: 21, record: 'WildcardEvents', schema: without('WildcardEvents', OPTIONS) },
  { id: 6, record: 'Command', schema: without('Command', ['term', 'planner', 'source']) },
  { id: 13, record: 'Command', schema: without('Command', ['term', 'planner', 'source']) },
  { id: 18, record: 'Command', schema: without('Command', ['source']) },
  { id: 30, record: 'Metric', schema: SCHEMAS.Metric },
  { id: 52, record: 'Metric', schema: SCHEMAS.Metric },
  { id: 40, record: 'Command', schema: SCHEMAS.Command },
  { id: 7, record: 'Progress', schema: without('Progress', ['foreign', 'silent']) },
  { id: 14, record: 'Progress', schema: without('Progress', ['foreign', 'silent']) },
  { id: 19, record: 'Progress', schema: without('Progress', ['foreign', 'silent']) },
  { id: 22, record: 'Progress', schema: without('Progress', ['foreign', 'silent']) },
  { id: 51, record: 'Progress', schema: without('Progress', ['foreign', 'silent']) },
  { id: 60, record: 'Progress', schema: without('Progress', ['silent']) },
  { id: 8, record: 'PointerRecord', schema: without('PointerRecord', ['term', 'planner', 'loss', 'rebuiltAt']) },
  { id: 20, record: 'PointerRecord', schema: without('PointerRecord', ['loss', 'rebuiltAt']) },
  { id: 11, record: 'Decision', schema: SCHEMAS.Decision },
  {
    id: 5,
    record: 'Forecast',
    schema: without('Forecast', ['farStepMs', 'farQuantiles', 'coverage', 'stepsSeen', 'unsubscribeShare']),
  },
  { id: 10, record: 'Forecast', schema: without('Forecast', ['unsubscribeShare']) },
  {
    id: 9,
    record: 'Decision',
    schema: without('Decision', ['dollarsOnce', 'promisedDollars', 'realisedDollars', 'expiresAt', 'steps', 'changes']),
  },
];

export type Decode = (bytes: Buffer) => unknown;
export type Encode = (value: unknown) => Buffer;

/** Avro with fixed ids. `prepare` does nothing: an id is known from the start, or never. */
export function embeddedCodec(): Codec {
  const encoders = new Map<RecordName, Encode>();
  const decoders = new Map<RecordName, Map<number, Decode>>();
  for (const record of RECORD_NAMES) {
    encoders.set(record, encoderOf(record, LOCAL_SCHEMA_IDS[record]));
    decoders.set(record, new Map([[LOCAL_SCHEMA_IDS[record], decoderOf(record, SCHEMAS[record])]]));
  }
  for (const { id, record, schema } of LOCAL_HISTORY) decoders.get(record)!.set(id, decoderOf(record, schema));
  return {
    async prepare() {},
    decode(record, bytes) {
      const id = schemaIdOf(record, bytes);
      const decode = decoders.get(record)!.get(id);
      if (decode === undefined) {
        const facts = { record, schemaId: id };
        throw new AppError('SCHEMA_UNKNOWN', `schema ${id} is not a ${record} schema of this release`, facts);
      }
      return decode(bytes);
    },
    encode: (record, value) => encoders.get(record)!(value),
  };
}

/** The schema id in the header. Throws UNDECODABLE when there is no header. */
export function schemaIdOf(record: RecordName, bytes: Buffer): number {
  if (bytes.length < HEADER_BYTES || bytes[0] !== 0) {
    const facts = { record, sizeBytes: bytes.length };
    throw new AppError('UNDECODABLE', `a ${record} does not begin with the magic byte 0 and a schema id`, facts);
  }
  const id = bytes.readUInt32BE(1);
  if (id === 0 || id > SCHEMA_ID_MAX)
    throw new AppError('UNDECODABLE', `a ${record} names the impossible schema id ${id}`, { record, schemaId: id });
  return id;
}

/** Reads values that were written with `writerSchema`. Throws SCHEMA_MISMATCH when our schema cannot read that one. */
export function decoderOf(record: RecordName, writerSchema: unknown): Decode {
  const type = typeOf(SCHEMAS[record]);
  const { walk, resolver } = compatible(record, type, writerSchema);
  const tag = fromAvro(SCHEMAS[record]);
  const walker = new Walker();
  return (bytes) => {
    walker.whole(bytes, HEADER_BYTES, walk); // A1
    const value = read(record, type, bytes, resolver);
    return tag === undefined ? value : tag(value);
  };
}

function read(record: RecordName, type: avsc.Type, bytes: Buffer, resolver: avsc.Resolver | undefined): unknown {
  try {
    return type.decode(bytes, HEADER_BYTES, resolver).value;
  } catch (cause) {
    const message = `the bytes are not a ${record}: ${reasonOf(cause)}`;
    throw new AppError('UNDECODABLE', message, { record, sizeBytes: bytes.length }, cause);
  }
}

/** Writes values under a schema id. Throws SCHEMA_MISMATCH when a value lacks a field or has one of another type. */
export function encoderOf(record: RecordName, id: number): Encode {
  const type = typeOf(SCHEMAS[record]);
  const wrap = toAvro(SCHEMAS[record]);
  let scratch = Buffer.alloc(1024);
  scratch.writeUInt32BE(id, 1);
  return (value) => {
    try {
      const wrapped = wrap === undefined ? value : wrap(value);
      let end = type.encode(wrapped, scratch, HEADER_BYTES);
      while (end < 0) {
        scratch = Buffer.alloc(2 * (scratch.length - end)); // A negative end is the number of missing bytes.
        scratch.writeUInt32BE(id, 1);
        end = type.encode(wrapped, scratch, HEADER_BYTES);
      }
      return Buffer.from(scratch.subarray(0, end));
    } catch (cause) {
      throw new AppError('SCHEMA_MISMATCH', `a value is not a ${record}: ${reasonOf(cause)}`, { record }, cause);
    }
  };
}

function compatible(record: RecordName, type: avsc.Type, writerSchema: unknown) {
  try {
    const writer = typeOf(writerSchema);
    const resolver = type.equals(writer) ? undefined : type.createResolver(writer, { ignoreNamespaces: true });
    return { walk: walkOf(writerSchema), resolver };
  } catch (cause) {
    const message = `a ${record} was written with a schema that ours cannot read: ${reasonOf(cause)}`;
    throw new AppError('SCHEMA_MISMATCH', message, { record }, cause);
  }
}

const typeOf = (schema: unknown): avsc.Type =>
  avsc.Type.forSchema(schema as avsc.Schema, { wrapUnions: true, omitRecordMethods: true });

// ---- unions of records (A3) -----------------------------------------------------------------------------------------

type Convert = (value: unknown) => unknown;
type Fields = Record<string, unknown>;
interface Node {
  readonly type?: unknown;
  readonly name?: string;
  readonly fields?: readonly { readonly name: string; readonly type: unknown }[];
  readonly items?: unknown;
}

/** Turns avsc's value into ours, in place; `undefined` when the schema has no union and the value is already ours. */
function fromAvro(schema: unknown): Convert | undefined {
  if (Array.isArray(schema)) {
    const branches = new Map(schema.map((branch) => [branchName(branch), fromAvro(branch)]));
    return (wrapped) => {
      for (const name in wrapped as Fields) {
        const inside = (wrapped as Fields)[name];
        return { kind: shortName(name), ...((branches.get(shortName(name))?.(inside) ?? inside) as Fields) };
      }
      return undefined;
    };
  }
  return within(schema as Node, fromAvro, (value) => value);
}

/** Turns our value into avsc's; copies what it changes. */
function toAvro(schema: unknown): Convert | undefined {
  if (Array.isArray(schema)) {
    const branches = new Map(schema.map((branch) => [branchName(branch), toAvro(branch)]));
    return (value) => {
      const kind = (value as { kind?: string } | undefined)?.kind ?? '';
      if (!branches.has(kind)) throw new TypeError(`kind must be one of ${[...branches.keys()].join(', ')}`);
      return { [`psm.${kind}`]: branches.get(kind)?.(value) ?? value };
    };
  }
  return within(schema as Node, toAvro, (value) => ({ ...value }));
}

function within(
  node: Node,
  convert: (schema: unknown) => Convert | undefined,
  own: (value: Fields) => Fields,
): Convert | undefined {
  if (node.type === 'array') {
    const item = convert(node.items);
    return item && ((value) => (value as unknown[]).map(item));
  }
  if (node.type !== 'record') return undefined;
  const fields = node.fields!.flatMap(({ name, type }) => {
    const field = convert(type);
    return field === undefined ? [] : [{ name, field }];
  });
  if (fields.length === 0) return undefined;
  return (value) => {
    const result = own(value as Fields);
    for (const { name, field } of fields) result[name] = field(result[name]);
    return result;
  };
}

function branchName(branch: unknown): string {
  const node = branch as Node;
  assert(node.type === 'record' && node.name !== undefined, 'our unions are unions of records');
  return node.name;
}

const shortName = (name: string): string => name.slice(name.lastIndexOf('.') + 1);
const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/** A record's schema before these fields were added. */
function without(record: RecordName, added: readonly string[]): unknown {
  return stripped(SCHEMAS[record], added);
}

/** The schema without fields of these names, at any depth. */
function stripped(schema: unknown, names: readonly string[]): unknown {
  if (Array.isArray(schema)) return schema.map((branch) => stripped(branch, names));
  const node = schema as {
    readonly fields?: readonly { readonly name: string; readonly type: unknown }[];
    readonly items?: unknown;
  };
  if (typeof schema === 'object' && node.items !== undefined) return { ...node, items: stripped(node.items, names) };
  if (typeof schema !== 'object' || node.fields === undefined) return schema;
  const kept = node.fields.filter(({ name }) => !names.includes(name));
  return { ...node, fields: kept.map((field) => ({ ...field, type: stripped(field.type, names) })) };
}
