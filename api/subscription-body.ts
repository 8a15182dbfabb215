// Subscription bodies from outside: JSON of unknown shape to a subscription event, or a refusal with the field that is
// wrong.
//
//   B1. A field that an event does not have is refused: a misspelt one would be an option that is silently lost.
//   B2. An event without a time is of now; one that repeats an earlier event changes nothing (I8).

import Type from 'typebox';
import { problemOf } from '../schemas/checked.ts';
import type { ErrorCode } from '../schemas/errors.ts';
import { eventTime } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import { partitionOf } from '../state/keys.ts';
import { IDENTIFIER_MAX, RETAIN_HANDLING_MAX } from '../state/subscription-options.ts';
import { NAME_BYTES_MAX, refuseSubscription, STRING_BYTES_MAX, TIMESTAMP_MAX } from '../state/validation.ts';
import type { BodyRefusal } from './metric-body.ts';

export const SUBSCRIPTION_SCHEMA = Type.Object(
  {
    action: Type.Union([Type.Literal('SUBSCRIBE'), Type.Literal('UNSUBSCRIBE')]),
    topicFilter: Type.String({ minLength: 1, maxLength: STRING_BYTES_MAX }),
    clientId: Type.String({ minLength: 1, maxLength: STRING_BYTES_MAX }),
    brokerId: Type.String({ minLength: 1, maxLength: NAME_BYTES_MAX, description: 'The broker of the connection.' }),
    qos: Type.Optional(Type.Integer({ minimum: 0, maximum: 2, default: 0 })),
    noLocal: Type.Optional(Type.Boolean({ default: false })),
    retainAsPublished: Type.Optional(Type.Boolean({ default: false })),
    retainHandling: Type.Optional(Type.Integer({ minimum: 0, maximum: RETAIN_HANDLING_MAX, default: 0 })),
    subscriptionIdentifier: Type.Optional(Type.Integer({ minimum: 0, maximum: IDENTIFIER_MAX, default: 0 })),
    sessionEpoch: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER - 1, default: 0 })),
    timestamp: Type.Optional(
      Type.Integer({ minimum: 0, maximum: TIMESTAMP_MAX, description: 'Milliseconds since 1970; now unless given.' }),
    ),
  },
  { additionalProperties: false }, // B1
);

/** The fields that a refusal of a checked event is about. */
const FIELD_OF: Partial<Record<ErrorCode, string>> = {
  FILTER_INVALID: 'topicFilter',
  CLIENT_INVALID: 'clientId',
  BROKER_INVALID: 'brokerId',
  QOS_INVALID: 'qos',
  TIMESTAMP_INVALID: 'timestamp',
};

const TEXTS = ['topicFilter', 'clientId', 'brokerId'] as const;

/** `now`: milliseconds since 1970 (B2). */
export function subscriptionOf(
  given: unknown,
  now: number,
): { readonly event: SubscriptionEvent } | { readonly refusal: BodyRefusal } {
  const problem = problemOf(SUBSCRIPTION_SCHEMA, given);
  if (problem !== undefined) {
    const { path, text } = problem;
    const name = path === '' ? 'a subscription' : path;
    return { refusal: { code: 'REQUEST_INVALID', field: path, message: `${name} ${text}` } };
  }
  const body = given as Partial<SubscriptionEvent> & Pick<SubscriptionEvent, 'topicFilter'>;
  const broken = TEXTS.find((field) => /\p{Cs}/u.test(body[field] ?? '')); // A lone surrogate has no UTF-8.
  if (broken !== undefined)
    return { refusal: { code: 'REQUEST_INVALID', field: broken, message: `${broken} is not Unicode` } };
  const event = { qos: 0, ...body, timestamp: eventTime(body.timestamp ?? now) } as SubscriptionEvent;
  const key = event.topicFilter;
  const refusal = refuseSubscription(event, { key, partition: partitionOf(key, 1), partitions: 1 });
  if (refusal === undefined) return { event };
  const { code, reason } = refusal;
  return { refusal: { code, field: FIELD_OF[code] ?? '', message: reason } };
}
