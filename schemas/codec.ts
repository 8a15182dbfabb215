// Codec: bytes on a topic <-> checked records. Two implementations: JSON (this file, for tests and the embedded log's
// examples) and Avro behind the Confluent header (edge/registry-codec.ts). A decoded record has the fields and types of
// its schema; whether its values make sense is checked for each topic (state/validation.ts).

import { AppError } from './errors.ts';
import { type Shape, shapeOf } from './json-shape.ts';
import { type RecordName, SCHEMAS } from './records.ts';

/** Encodes and decodes the values of topics. Implementations are shared by all tasks of a process. */
export interface Codec {
  /**
   * Fetches what decoding `values` needs (a schema for each new schema id). After it has resolved, `decode` of these
   * values does no I/O. An id that the registry does not know is asked for again with back-off, then given up: `decode`
   * then throws SCHEMA_UNKNOWN for it. Throws REGISTRY_UNAVAILABLE when the registry does not answer at all.
   */
  prepare(record: RecordName, values: readonly (Buffer | null)[]): Promise<void>;

  /** The record in these bytes. Throws UNDECODABLE, SCHEMA_UNKNOWN or SCHEMA_MISMATCH; never returns a partial record. */
  decode(record: RecordName, bytes: Buffer): unknown;

  /** Why schemas cannot be fetched at the moment; absent or `undefined` when no trouble is known. */
  readonly trouble?: string | undefined;

  /** The bytes of this record. Throws SCHEMA_MISMATCH when the value does not have the record's fields. */
  encode(record: RecordName, value: unknown): Buffer;
}

/** UTF-8 JSON, one value for each record. Unknown fields are kept; when a field occurs twice, the last one counts. */
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

/** Refuses bytes that are not UTF-8; a byte order mark stays in the text, where JSON refuses it. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const shapes = new Map<RecordName, Shape>(
  (Object.keys(SCHEMAS) as RecordName[]).map((record) => [record, shapeOf(SCHEMAS[record])]),
);
