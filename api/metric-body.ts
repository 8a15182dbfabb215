// Metric bodies from outside: JSON of unknown shape to a checked record, or a refusal with the field that is wrong. The
// fields and types come from the record's own schema, so that a body is accepted here when it could be encoded.
//
//   M1. Only measurements are accepted: a person's requests (PlanRequest, MoveRequest) have their own routes and roles.
//   M2. A field that the schema does not have is dropped.

import Type, { type TSchema } from 'typebox';
import type { ErrorCode } from '../schemas/errors.ts';
import { type Metric, SCHEMAS } from '../schemas/records.ts';
import { COUNT_MAX, NAME_BYTES_MAX, refuseMetric, STRING_BYTES_MAX, TIMESTAMP_MAX } from '../state/validation.ts';

export interface BodyRefusal {
  readonly code: ErrorCode;
  readonly field: string;
  readonly message: string;
}

interface Field {
  readonly name: string;
  readonly type: string;
  /** Default when the field is left out; a field without one is required. */
  readonly default?: unknown;
  readonly doc?: string;
}

const MEASUREMENTS = ['TopicTraffic', 'DatastoreMetrics', 'BrokerHeartbeat'] as const;
const FIELDS: ReadonlyMap<string, readonly Field[]> = new Map(
  SCHEMAS.Metric.fields[0].type
    .filter(({ name }) => (MEASUREMENTS as readonly string[]).includes(name))
    .map(({ name, fields }) => [
      name,
      fields.map((field) => ({
        name: field.name,
        type: typeof field.type === 'string' ? field.type : field.type.type,
        ...('default' in field && { default: field.default }),
        ...('doc' in field && { doc: field.doc }),
      })),
    ]),
);
/** The field of a refusal whose reason does not begin with a field's name. */
const FIELD_OF: Partial<Record<ErrorCode, string>> = {
  TOPIC_INVALID: 'topic',
  SHARD_INVALID: 'shardId',
  BROKER_INVALID: 'brokerId',
};

/** `given` may be the body itself or a Metric around it. */
export function metricOf(given: unknown): { readonly metric: Metric } | { readonly refusal: BodyRefusal } {
  const body = isObject(given) && isObject(given.body) ? given.body : given;
  if (!isObject(body)) return refused('METRIC_INVALID', '', 'a metric must be an object');
  const kind = Object.hasOwn(body, 'kind') ? body.kind : undefined;
  const fields = typeof kind === 'string' ? FIELDS.get(kind) : undefined;
  if (fields === undefined) return refused('METRIC_INVALID', 'kind', `kind must be one of ${MEASUREMENTS.join(', ')}`);
  const checked: Record<string, unknown> = { kind };
  for (const { name, type, default: fallback } of fields) {
    const value = Object.hasOwn(body, name) ? body[name] : fallback;
    if (!fits(value, type)) return refused('METRIC_INVALID', name, `${name} must be ${WANTED[type]}`);
    checked[name] = value;
  }
  const metric = { body: checked } as unknown as Metric;
  const refusal = refuseMetric(metric);
  if (refusal === undefined) return { metric };
  const named = fields.find(({ name }) => refusal.reason.startsWith(`${name} `))?.name;
  return refused(refusal.code, named ?? FIELD_OF[refusal.code] ?? '', refusal.reason);
}

const INSTANT = { maximum: TIMESTAMP_MAX, description: 'Milliseconds since 1970.' };
/** The range that state/validation.ts accepts, by field; for any other number 0 to COUNT_MAX. */
const BOUNDS: Readonly<Record<string, object>> = {
  topic: { pattern: '^[^+#\\u0000]+$', maxLength: STRING_BYTES_MAX, description: 'An MQTT topic, without wildcards.' },
  brokerId: { maxLength: STRING_BYTES_MAX },
  'BrokerHeartbeat.brokerId': { pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]+$', maxLength: NAME_BYTES_MAX },
  shardId: { pattern: '^[A-Za-z0-9_.-]{1,128}$' },
  cpu: { maximum: 1 },
  windowMs: { minimum: 1, maximum: 3_600_000 },
  pointerOffset: { maximum: Number.MAX_SAFE_INTEGER - 1 },
  windowStart: INSTANT,
  timestamp: INSTANT,
};

/**
 * What a caller may send, as a schema for each kind of measurement. A value that fits it is accepted, unless it is too
 * long in bytes.
 */
export const MEASUREMENT_SCHEMAS: readonly TSchema[] = [...FIELDS].map(([kind, fields]) =>
  Type.Object(
    {
      kind: Type.Literal(kind),
      ...Object.fromEntries(fields.map((field) => [field.name, schemaOf(kind, field)])),
    },
    { additionalProperties: true }, // M2
  ),
);

function schemaOf(kind: string, { name, type, default: fallback, doc }: Field): TSchema {
  const told = doc === undefined ? {} : { description: doc };
  const bounds = BOUNDS[`${kind}.${name}`] ?? BOUNDS[name];
  if (type === 'string') return Type.String({ ...told, ...bounds });
  const amount = (more: Record<string, unknown>): TSchema =>
    type === 'double' ? Type.Number(more) : Type.Integer(more);
  const range = { minimum: 0, maximum: COUNT_MAX, ...bounds };
  if (fallback === undefined) return amount({ ...told, ...range });
  return Type.Optional(Type.Union([Type.Literal(fallback as number), amount(range)], { ...told, default: fallback }));
}

const WANTED: Readonly<Record<string, string>> = {
  string: 'a text',
  int: 'a whole number below 2^31',
  long: 'a whole number below 2^53',
  double: 'a number',
};

function fits(value: unknown, type: string): boolean {
  if (type === 'string') return typeof value === 'string' && !/\p{Cs}/u.test(value); // A lone surrogate has no UTF-8.
  if (type === 'int') return typeof value === 'number' && value === (value | 0);
  if (type === 'long')
    return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < Number.MAX_SAFE_INTEGER;
  return typeof value === 'number';
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const refused = (code: ErrorCode, field: string, message: string) => ({ refusal: { code, field, message } });
