// Avro over a Confluent schema registry: our schemas are registered, or looked up, under `<topic>-value`
// (TopicNameStrategy) when the codec is made; a writer's schema is fetched by the id in a value's header, once.
//
//   C1. `decode` does no I/O: `prepare` has fetched what it needs.
//   C2. An id that the registry does not know is asked for again with back-off (a registry's followers lag), then
//       remembered as unknown for a stated time: a flood of bad ids costs one round of requests, not one for each
//       record.
//   C3. Memory is bounded: by the schemas that the registry holds, and by `unknownIdsMax` ids that it does not.
//   C4. Processes that start together on an empty registry all find their schemas there: the second one uses what
//       the first one registered, if it is the same.

import type { Agent } from 'node:http';
import { COMPATIBILITY, SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import type { Type } from 'avsc';
import { type Decode, decoderOf, type Encode, encoderOf, HEADER_BYTES, schemaIdOf } from '../avro-codec.ts';
import type { Codec } from '../codec.ts';
import { AppError } from '../errors.ts';
import { type RecordName, SCHEMAS } from '../records.ts';

/** One of our topics in the registry. */
export interface RegistrySubject {
  readonly record: RecordName;
  /** `<physical topic>-value`. */
  readonly subject: string;
  /** BACKWARD_TRANSITIVE for compacted topics, whose old values stay readable for ever. */
  readonly compatibility: 'BACKWARD' | 'BACKWARD_TRANSITIVE';
}

export interface RegistryCodecOptions {
  /** Base URL, with its path if the registry has one. */
  readonly url: string;
  readonly subjects: readonly RegistrySubject[];
  /** False in production: schemas are registered by a release step, and a missing one stops the start. */
  readonly register: boolean;
  readonly auth?: { readonly username: string; readonly password: string };
  /** For TLS with a certificate authority of one's own, and for kept connections. */
  readonly agent?: Agent;
  readonly requestTimeoutMs?: number;
  /** Pauses between requests for an unknown id, or to a registry that does not answer, in milliseconds. */
  readonly retryDelaysMs?: readonly number[];
  readonly unknownForMs?: number;
  readonly unknownIdsMax?: number;
  readonly now?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
  /** 0 to 1, for jitter: instances of a fleet do not retry in step. */
  readonly random?: () => number;
}

/** The subject of a topic, and the compatibility it needs. */
export function subjectOf(prefix: string, topic: SubjectTopic): RegistrySubject {
  return {
    record: topic.record,
    subject: `${prefix}${topic.name}-value`,
    compatibility: topic.cleanup === 'compact' ? 'BACKWARD_TRANSITIVE' : 'BACKWARD',
  };
}

interface SubjectTopic {
  readonly name: string;
  readonly record: RecordName;
  readonly cleanup: 'delete' | 'compact';
}

/** Half a second, then one, then two: longer than a follower of the registry lags, shorter than a session time-out. */
const RETRY_DELAYS_MS = [500, 1_000, 2_000];
const UNKNOWN_FOR_MS = 60_000;
const REQUEST_TIMEOUT_MS = 5_000;
/** Takes less than 1 MiB. An id that is forgotten early is only asked for again. */
const UNKNOWN_IDS_MAX = 10_000;
/** Requests in parallel. Arbitrary: enough to hide latency, few enough not to flood a registry. */
const PARALLEL = 8;

/** What is known of a schema id for one record: how to decode it, or the error of why that is impossible. */
type Reading = Decode | AppError;

/**
 * Resolves when every subject has an id. Throws REGISTRY_UNAVAILABLE, SCHEMA_UNKNOWN (not registered, and `register` is
 * off) or SCHEMA_MISMATCH (the registry refuses the schema as incompatible).
 */
export async function registryCodec(options: RegistryCodecOptions): Promise<Codec> {
  const registry = registryOf(options);
  const delays = options.retryDelaysMs ?? RETRY_DELAYS_MS;
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const pause = options.sleep ?? ((ms: number) => new Promise<void>((done) => setTimeout(done, ms)));
  const sleep = (ms: number): Promise<void> => pause(ms * (0.5 + random() / 2));
  let trouble: string | undefined;
  const encoders = new Map<RecordName, Encode>();
  const readings = new Map<RecordName, Map<number, Reading>>();
  const unknownUntil = new Map<number, number>();

  const readingsOf = (record: RecordName): Map<number, Reading> => {
    const found = readings.get(record) ?? new Map<number, Reading>();
    readings.set(record, found);
    return found;
  };

  for (const subject of options.subjects) {
    const { record } = subject;
    const id = await patiently(() => agreedIdOf(registry, subject, options.register, sleep), delays, sleep);
    encoders.set(record, encoderOf(record, id));
    readingsOf(record).set(id, decoderOf(record, SCHEMAS[record]));
  }

  /** Fetches the schema of each id; returns the ids that the registry does not know. */
  async function ask(record: RecordName, ids: readonly number[]): Promise<number[]> {
    const missing: number[] = [];
    for (let at = 0; at < ids.length; at += PARALLEL) {
      await Promise.all(
        ids.slice(at, at + PARALLEL).map(async (id) => {
          const reading = await patiently(() => readingOf(registry, record, id), delays, sleep);
          if (reading === undefined) missing.push(id);
          else readingsOf(record).set(id, reading);
        }),
      );
    }
    return missing;
  }

  return {
    get trouble() {
      return trouble;
    },
    async prepare(record, values) {
      const known = readingsOf(record);
      let missing = idsIn(values).filter((id) => !known.has(id) && (unknownUntil.get(id) ?? 0) <= now());
      for (let attempt = 0; missing.length > 0; attempt++) {
        try {
          missing = await ask(record, missing);
          trouble = undefined;
        } catch (error) {
          trouble = messageOf(error);
          throw error;
        }
        if (attempt === delays.length) break;
        if (missing.length > 0) await sleep(delays[attempt]!);
      }
      const until = now() + (options.unknownForMs ?? UNKNOWN_FOR_MS);
      for (const id of missing) {
        unknownUntil.delete(id);
        unknownUntil.set(id, until); // C2
        if (unknownUntil.size > (options.unknownIdsMax ?? UNKNOWN_IDS_MAX))
          unknownUntil.delete(unknownUntil.keys().next().value!); // C3
      }
    },
    decode(record, bytes) {
      const id = schemaIdOf(record, bytes);
      const reading = readings.get(record)?.get(id);
      if (typeof reading === 'function') return reading(bytes);
      if (reading !== undefined) throw reading;
      const facts = { record, schemaId: id };
      throw new AppError('SCHEMA_UNKNOWN', `the schema registry does not know schema ${id} of a ${record}`, facts);
    },
    encode(record, value) {
      const encode = encoders.get(record);
      if (encode === undefined) throw new AppError('SCHEMA_UNKNOWN', `no subject was given for ${record}`, { record });
      return encode(value);
    },
  };
}

function registryOf(options: RegistryCodecOptions): SchemaRegistry {
  const timeout = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  return new SchemaRegistry({
    host: options.url,
    clientId: 'foreshard',
    retry: { retries: 0 }, // `patiently` repeats, for writes too and with every failure in view.
    middlewares: [() => ({ prepareRequest: (next) => next().then((request) => request.enhance({ timeout })) })],
    ...(options.auth === undefined ? {} : { auth: options.auth }),
    ...(options.agent === undefined ? {} : { agent: options.agent }),
  });
}

/** The distinct schema ids in the headers of these values. */
function idsIn(values: readonly (Buffer | null)[]): number[] {
  const ids = new Set<number>();
  let last = 0;
  for (const value of values) {
    if (value === null || value.length < HEADER_BYTES || value[0] !== 0) continue; // `decode` will say what is wrong.
    const id = value.readInt32BE(1);
    if (id === last || id <= 0) continue;
    ids.add(id);
    last = id;
  }
  return [...ids];
}

/**
 * How often registering is tried again after a refusal, which may come from another process registering the same schema
 * (C4).
 */
const CONFLICTS_MAX = 3;
const CONFLICT_PAUSE_MS = 200;

/** Like `idOf`; when another process registers at the same time, its schema is used if it is the same (C4). */
async function agreedIdOf(
  registry: SchemaRegistry,
  subject: RegistrySubject,
  register: boolean,
  sleep: (ms: number) => Promise<void>,
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await idOf(registry, subject, register);
    } catch (error) {
      const isConflict = error instanceof AppError && error.code === 'SCHEMA_MISMATCH' && error.facts.status === 409;
      if (!isConflict || attempt === CONFLICTS_MAX) throw error;
      await sleep(CONFLICT_PAUSE_MS * attempt);
    }
  }
}

/** The id of our schema under its subject. */
async function idOf(registry: SchemaRegistry, subject: RegistrySubject, register: boolean): Promise<number> {
  const facts = { subject: subject.subject, record: subject.record };
  const schema = { type: SchemaType.AVRO as const, schema: JSON.stringify(SCHEMAS[subject.record]) };
  try {
    if (!register) return await registry.getRegistryIdBySchema(subject.subject, schema);
    const compatibility = COMPATIBILITY[subject.compatibility];
    return (await registry.register(schema, { subject: subject.subject, compatibility })).id;
  } catch (cause) {
    const { name, status } = failure(cause);
    if (name === 'ConfluentSchemaRegistryError') {
      const message = `our ${subject.record} schema is not registered under ${subject.subject}: register it, or start once with FORESHARD_REGISTER_SCHEMAS=true`;
      throw new AppError('SCHEMA_UNKNOWN', message, facts, cause);
    }
    if (name === 'ConfluentSchemaRegistryCompatibilityError' || status === 409 || status === 422) {
      const message = `the registry refuses our ${subject.record} schema under ${subject.subject}: ${messageOf(cause)}`;
      throw new AppError('SCHEMA_MISMATCH', message, { ...facts, status }, cause);
    }
    throw cause;
  }
}

/** How to read what was written under this id; `undefined` when the registry has no such id. */
async function readingOf(registry: SchemaRegistry, record: RecordName, id: number): Promise<Reading | undefined> {
  const facts = { record, schemaId: id };
  try {
    const schema = await registry.getSchema(id);
    if (!('fingerprint' in schema)) return new AppError('SCHEMA_MISMATCH', `schema ${id} is not Avro`, facts);
    // Parsed again by our own rules: the client's types do not wrap unions as the codec needs them.
    return decoderOf(record, (schema as unknown as Type).schema({ exportAttrs: true }));
  } catch (cause) {
    if (cause instanceof AppError) return cause;
    const { name, status } = failure(cause);
    if (status === 404) return undefined;
    if (name === 'ConfluentSchemaRegistryArgumentError')
      return new AppError('SCHEMA_MISMATCH', `schema ${id} is not a valid schema: ${messageOf(cause)}`, facts, cause);
    throw cause;
  }
}

/** Repeats a request while the registry does not answer; an answer, also a refusal, is returned as it is. */
async function patiently<Answer>(
  question: () => Promise<Answer>,
  delays: readonly number[],
  sleep: (ms: number) => Promise<void>,
): Promise<Answer> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await question();
    } catch (cause) {
      if (cause instanceof AppError) throw cause;
      const { status } = failure(cause);
      if (attempt === delays.length || status === 401 || status === 403) {
        const message = `the schema registry cannot be asked: ${messageOf(cause)}`;
        throw new AppError('REGISTRY_UNAVAILABLE', message, { status }, cause);
      }
      await sleep(delays[attempt]!);
    }
  }
}

const failure = (cause: unknown): { readonly name?: string; readonly status?: number } =>
  typeof cause === 'object' && cause !== null ? cause : {};
const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
