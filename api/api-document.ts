// API document: adds to the published OpenAPI what the table of routes does not hold: every status that a route answers
// with, and topics as a pattern. It describes tokens as they are configured: without any there is no 401, 403 or 429,
// and a request with a foreign Host is answered 421.

import Type, { type TSchema } from 'typebox';
import { ErrorBody, type Route } from './api.ts';
import { HEAD_BYTES_MAX } from './letter-ring.ts';
import { MEASUREMENT_SCHEMAS } from './metric-body.ts';
import { SUBSCRIPTION_SCHEMA } from './subscription-body.ts';

type Properties = Readonly<Record<string, TSchema>>;
const propertiesOf = (schema: TSchema): Properties => (schema as { readonly properties?: Properties }).properties ?? {};

/** An object with at least these properties. */
const open = (properties: Record<string, TSchema>) => Type.Object(properties, { additionalProperties: true });
const listed = (name: string) => open({ [name]: Type.Array(open({})) });
const asked = open({ requestId: Type.String() });
const listTaken = {
  accepted: Type.Integer({ minimum: 0 }),
  refused: Type.Integer({ minimum: 0 }),
  refusals: Type.Array(
    Type.Object({
      index: Type.Integer({ minimum: 0, description: 'Index in the list that was sent, from 0.' }),
      code: Type.String(),
      field: Type.String({ description: 'Empty when the problem is not a single field.' }),
      message: Type.String(),
    }),
  ),
};
const deadLetter = Type.Object({
  number: Type.Integer({
    minimum: 0,
    description: 'The number of the dead letter: its offset in the dead-letters topic.',
  }),
  code: Type.String(),
  reason: Type.String(),
  topic: Type.String(),
  partition: Type.Integer(),
  offset: Type.Integer(),
  timestamp: Type.Integer({ description: 'Timestamp of the record, milliseconds since 1970.' }),
  key: Type.Union([Type.String(), Type.Null()], { description: 'The first characters of the key.' }),
  sizeBytes: Type.Integer({ description: 'Size of the value as far as it is kept.' }),
  headBase64: Type.Union([Type.String(), Type.Null()], {
    description: `The first ${HEAD_BYTES_MAX} bytes of the value.`,
  }),
});
/** The first refusal's code, message and field stand for the whole. */
const listRefused = Type.Union([Type.Object({ ...propertiesOf(ErrorBody), ...listTaken }), ErrorBody]);

/** The successful answer of each route, and other answers particular to it; by method and path. */
const ANSWERS: Readonly<Record<string, { readonly [status: number]: TSchema }>> = {
  'GET /': { 200: open({ name: Type.String(), docs: Type.String() }) },
  'GET /predict_load': { 200: open({ topic: Type.String(), steps: Type.Array(open({})) }), 404: ErrorBody },
  'GET /get_shard_id': { 200: open({ topic: Type.String(), shardId: Type.String() }), 404: ErrorBody },
  'POST /update_metrics': { 202: Type.Object(listTaken), 400: listRefused },
  'POST /subscriptions': { 202: Type.Object(listTaken), 400: listRefused },
  'POST /predict_and_shard': { 200: asked, 202: asked, 404: ErrorBody },
  'GET /shards': { 200: listed('shards') },
  'GET /moves': { 200: listed('moves') },
  'POST /moves/:id': { 202: asked, 404: ErrorBody },
  'GET /plans': { 200: listed('plans') },
  'POST /plans/:id': { 202: asked, 404: ErrorBody },
  'GET /decisions': { 200: listed('decisions'), 404: ErrorBody },
  'GET /dead-letters': { 200: Type.Object({ letters: Type.Array(deadLetter), next: Type.Optional(Type.String()) }) },
  'GET /livez': { 200: open({ live: Type.Boolean() }), 503: open({ live: Type.Boolean() }) },
  'GET /readyz': { 200: open({ ready: Type.Boolean() }), 503: open({ ready: Type.Boolean() }) },
  'GET /metrics': { 200: Type.String() },
};

const REASONS: Readonly<Record<number, string>> = {
  200: 'The answer.',
  202: 'Accepted; the result is reported elsewhere, as the route describes.',
  400: 'The request is not as described here.',
  401: 'There is no token, or it is not one that is configured.',
  403: 'The token allows reading only.',
  404: 'What was asked for does not exist, or not yet.',
  408: 'The request took too long to arrive.',
  413: 'The body is too large.',
  414: 'The URL is too long.',
  415: 'The body is not application/json in UTF-8, or is compressed.',
  421: 'Without tokens, only names and addresses of this machine are accepted as Host.',
  429: 'Too many wrong tokens from this address; Retry-After says how long to wait.',
  431: 'The header is too large.',
  500: 'An internal error.',
  503: 'Not possible now: the owning instance, the log or a store does not answer. Try again.',
};

/** Statuses that any request may get. */
const ALWAYS = [400, 408, 414, 415, 431, 500];
const WITH_TOKENS = [401, 429];

export function responsesOf(route: Route, hasTokens: boolean): Record<string, object> {
  const own = ANSWERS[`${route.method} ${route.path}`] ?? { 200: Type.Unknown() };
  const failures = [...ALWAYS];
  if (route.method === 'POST') failures.push(413);
  if (!hasTokens) failures.push(421);
  else if (route.role !== 'anyone') failures.push(...WITH_TOKENS);
  if (hasTokens && route.role === 'admin') failures.push(403);
  if (route.role !== 'anyone') failures.push(503);
  const bodies = { ...Object.fromEntries(failures.map((status) => [status, ErrorBody])), ...own };
  return Object.fromEntries(
    Object.entries(bodies).map(([status, schema]) => {
      const contentType = route.path === '/metrics' && status === '200' ? 'text/plain' : 'application/json';
      return [status, { description: REASONS[Number(status)]!, content: { [contentType]: { schema } } }];
    }),
  );
}

const LEVEL = '[^+#/\\u0000]*';
const LEVELS = `(?=[\\s\\S])(?:(?:${LEVEL}|\\+)/){0,127}(?:${LEVEL}|\\+|#)`;
/** Topic filters as MQTT defines them (state/topic-filter.ts), for clients that generate requests from the document. */
export const FILTER_PATTERN = `^(?:\\$share/[^+#/\\u0000]+/|(?!\\$share/))${LEVELS}$`;

/** Topic filters with a wildcard, and without. */
const WILDCARD_PATTERN = FILTER_PATTERN.replace('^', '^(?=[\\s\\S]*[+#])');
const CONCRETE_PATTERN = FILTER_PATTERN.replace('^', '^(?![\\s\\S]*[+#])');

const matching = (topic: TSchema, pattern: string): TSchema => ({ ...topic, pattern }) as TSchema;

/** The query as it is published: its property `topic` gets the pattern of topic filters. */
export function publishedQuery(schema: TSchema): TSchema {
  const { topic, ...others } = propertiesOf(schema);
  if (topic === undefined) return schema;
  return { ...schema, properties: { topic: matching(topic, FILTER_PATTERN), ...others } } as TSchema;
}

/** The body as it is published, with the rules between fields that the route's code checks. */
export function publishedBody(path: string, schema: TSchema): TSchema {
  const { topic, type, action, rowsPerSecond, ...others } = propertiesOf(schema);
  const strict = (properties: Record<string, TSchema>) =>
    Type.Object({ ...properties, ...others }, { additionalProperties: false });
  const literal = (value: string) => Type.Literal(value);
  if (path === '/update_metrics' || path === '/subscriptions') {
    const [, list] = (schema as { readonly anyOf?: readonly TSchema[] }).anyOf ?? [];
    const one = path === '/subscriptions' ? SUBSCRIPTION_SCHEMA : Type.Union([...MEASUREMENT_SCHEMAS]);
    return Type.Union([one, { ...list, items: one } as TSchema]);
  }
  if (path === '/moves/:id' && rowsPerSecond !== undefined)
    return Type.Union([
      strict({ action: Type.Union(['ABORT', 'PAUSE', 'RESUME'].map(literal)) }),
      strict({ action: literal('THROTTLE'), rowsPerSecond: Type.Integer({ minimum: 1, maximum: 10_000_000 }) }),
    ]);
  if (path === '/predict_and_shard' && topic !== undefined)
    return Type.Union([
      strict({ topic: matching(topic, FILTER_PATTERN) }),
      strict({ topic: matching(topic, CONCRETE_PATTERN), type: literal('concrete') }),
      strict({ topic: matching(topic, WILDCARD_PATTERN), type: literal('wildcard') }),
    ]);
  return schema;
}
