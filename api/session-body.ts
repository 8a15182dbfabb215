// Session bodies from outside: JSON of unknown shape to a session record, or a refusal with the field that is wrong.
//
//   S1. A field that the kind does not have is refused, as in a subscription (subscription-body.ts B1).

import Type, { type TSchema } from 'typebox';
import { problemOf } from '../schemas/checked.ts';
import type { ErrorCode } from '../schemas/errors.ts';
import { eventTime } from '../schemas/ids.ts';
import type { SessionRecord } from '../schemas/records.ts';
import { partitionOf } from '../state/keys.ts';
import { NAME_BYTES_MAX, refuseSession, STRING_BYTES_MAX, TIMESTAMP_MAX } from '../state/validation.ts';
import type { BodyRefusal } from './metric-body.ts';

const EXPIRY_SECONDS_MAX = 0xffff_ffff; // MQTT 5, 3.1.2.11.2: never.

const schemaOf = (kind: string, more: Readonly<Record<string, TSchema>> = {}) =>
  Type.Object(
    {
      kind: Type.Literal(kind),
      clientId: Type.String({ minLength: 1, maxLength: STRING_BYTES_MAX }),
      brokerId: Type.String({ minLength: 1, maxLength: NAME_BYTES_MAX }),
      sessionEpoch: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER - 1 }),
      ...more,
      timestamp: Type.Optional(Type.Integer({ minimum: 0, maximum: TIMESTAMP_MAX })),
    },
    { additionalProperties: false }, // S1
  );

const SCHEMAS: Readonly<Record<string, TSchema>> = {
  Connected: schemaOf('Connected', {
    cleanStart: Type.Boolean(),
    sessionExpirySeconds: Type.Integer({ minimum: 0, maximum: EXPIRY_SECONDS_MAX }),
  }),
  Disconnected: schemaOf('Disconnected', {
    sessionExpirySeconds: Type.Optional(Type.Integer({ minimum: -1, maximum: EXPIRY_SECONDS_MAX })),
  }),
  Ended: schemaOf('Ended'),
};

const FIELD_OF: Partial<Record<ErrorCode, string>> = { CLIENT_INVALID: 'clientId', BROKER_INVALID: 'brokerId' };

/** `now`: milliseconds since 1970, for a record without a time. */
export function sessionOf(
  given: unknown,
  now: number,
): { readonly session: SessionRecord } | { readonly refusal: BodyRefusal } {
  const kind = typeof given === 'object' && given !== null ? (given as { kind?: unknown }).kind : undefined;
  const schema = typeof kind === 'string' && Object.hasOwn(SCHEMAS, kind) ? SCHEMAS[kind] : undefined;
  if (schema === undefined)
    return refused('REQUEST_INVALID', 'kind', `kind must be one of ${Object.keys(SCHEMAS).join(', ')}`);
  const problem = problemOf(schema, given);
  if (problem !== undefined)
    return refused(
      'REQUEST_INVALID',
      problem.path,
      `${problem.path === '' ? 'a session' : problem.path} ${problem.text}`,
    );
  const { timestamp = now, ...body } = given as SessionRecord['body'] & { readonly timestamp?: number };
  for (const field of ['clientId', 'brokerId'] as const)
    if (/\p{Cs}/u.test(body[field])) return refused('REQUEST_INVALID', field, `${field} is not Unicode`);
  const full = body.kind === 'Disconnected' ? { ...body, sessionExpirySeconds: body.sessionExpirySeconds ?? -1 } : body;
  const session: SessionRecord = { body: full, timestamp: eventTime(timestamp) };
  const key = body.clientId;
  const refusal = refuseSession(session, { key, partition: partitionOf(key, 1), partitions: 1 });
  return refusal === undefined ? { session } : refused(refusal.code, FIELD_OF[refusal.code] ?? '', refusal.reason);
}

const refused = (code: ErrorCode, field: string, message: string): { readonly refusal: BodyRefusal } => ({
  refusal: { code, field, message },
});
