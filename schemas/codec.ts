// Codec: bytes on a topic <-> checked records. Two implementations: JSON (this file, for tests and the embedded log's
// examples) and Avro behind the Confluent header (edge/registry-codec.ts). What decodes here has the fields and types of
// its schema; whether its values make sense is the topic's own check (state/validation.ts).

import { AppError } from './errors.ts';
import { type Shape, shapeOf } from './json-shape.ts';
import { type RecordName, SCHEMAS } from './records.ts';

/** Encodes and decodes the values of topics. Implementations are shared by all tasks of a process. */
export interface Codec {
  /**
   * Resolves what decoding `values` will need (a schema for each new schema id). After it, `decode` of each of them does
   * no I/O. An id that the registry does not know is asked for again with back-off, then given up: `decode` then throws
   * SCHEMA_UNKNOWN for it. Throws REGISTRY_UNAVAILABLE when the registry cannot be asked at all.
   */
  prepare(record: RecordName, values: readonly (Buffer | null)[]): Promise<void>;

  /** The record in these bytes. Throws UNDECODABLE, SCHEMA_UNKNOWN or SCHEMA_MISMATCH; never returns a partial record. */
  decode(record: RecordName, bytes: Buffer): unknown;

  /** Why schemas cannot be had at the moment; absent or `undefined` when they can, as far as is known. */
  readonly trouble?: string | undefined;

  /** The bytes of this record. Throws SCHEMA_MISMATCH when the value does not have the record's fields. */
  encode(record: RecordName, value: unknown): Buffer;
}

/** UTF-8 JSON, one value for each record. Unknown fields are kept; of a field given twice the last one counts. */
export const jsonCodec: Codec = {
  async prepare() {},
  decode(record, bytes) {
    let value: unknown;
    try {
      value = JSON.parse(UTF8.decode(bytes));
    } catch (cause) {
      throw new AppError('UNDECODABLE', `a ${record} is not JSON`, { record, sizeBytes: bytes.length }, cause);
    }
    const problem = shapes.get(record)!(value);
    if (problem !== undefined) throw new AppError('SCHEMA_MISMATCH', `a ${record}: ${problem}`, { record });
    return value;
  },
  encode(_record, value) {
    return Buffer.from(JSON.stringify(value), 'utf8');
  },
};

/** Refuses what is not UTF-8, and takes a byte order mark for the wrong first character that it is. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const shapes = new Map<RecordName, Shape>(
  (Object.keys(SCHEMAS) as RecordName[]).map((record) => [record, shapeOf(SCHEMAS[record])]),
);
