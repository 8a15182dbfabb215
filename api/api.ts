// The HTTP API as a table: for each route who may use it, what it takes and how the views answer it. Pure: sockets,
// tokens and other instances are handled by edge/http-server.ts, which validates every request against these schemas
// before it calls `handle`, and publishes the same schemas as OpenAPI.

import Type, { type TSchema } from 'typebox';
import { AppError, type ErrorCode } from '../schemas/errors.ts';
import { moveId, planId, type ShardId, shardId } from '../schemas/ids.ts';
import type { MoveRequestAction, PlanVerdict, Signal } from '../schemas/records.ts';
import { hasWildcard, parseSlice } from '../state/keys.ts';
import { filterProblem } from '../state/topic-filter.ts';
import { LETTERS_MAX } from './letter-ring.ts';
import { type BodyRefusal, metricOf } from './metric-body.ts';
import { sessionOf } from './session-body.ts';
import { subscriptionOf } from './subscription-body.ts';
import type { Owned, TopicForecast, TopicPlace, Views } from './views.ts';

/** `anyone` needs no token; `admin` may do everything that `read` may. */
export type Role = 'anyone' | 'read' | 'admin';

/** What a request carries, checked against the route's schemas. */
export interface ApiRequest {
  readonly query: Readonly<Record<string, unknown>>;
  readonly params: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export type ApiResponse =
  | { readonly kind: 'json'; readonly status: number; readonly body: unknown }
  | { readonly kind: 'text'; readonly status: number; readonly type: string; readonly body: string }
  | { readonly kind: 'elsewhere'; readonly address: string };

export interface Route {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly role: Role;
  readonly about: string;
  readonly query?: TSchema;
  readonly params?: TSchema;
  readonly body?: TSchema;
  /** With an Idempotency-Key it is done once (repeated-requests.ts). */
  readonly takesKey?: boolean;
  handle(views: Views, request: ApiRequest): Promise<ApiResponse>;
}

/** The body of every answer that is not 2xx, except 503 of /readyz and /livez. */
export const ErrorBody = Type.Object({
  code: Type.String({ description: 'Stable; docs/errors.md says what to do about each.' }),
  message: Type.String(),
  field: Type.Optional(Type.String()),
});

/** A request's own fault, found after its shape was checked. */
export class FieldError extends AppError {
  readonly field: string;

  constructor(code: ErrorCode, field: string, message: string) {
    super(code, message, { field });
    this.field = field;
  }
}

const STRICT = { additionalProperties: false };
/** Metrics or subscriptions in one request. */
const LIST_MAX = 10_000;
/** One object or a list of them, each judged by itself (`judgedList`). */
const oneOrMany = Type.Union([
  Type.Object({}, { additionalProperties: true }),
  Type.Array(Type.Object({}, { additionalProperties: true }), { minItems: 1, maxItems: LIST_MAX }),
]);
/** A process that stops waits for the requests under way. */
const POINTER_WAIT_MS_MAX = 3_000;
const HORIZON_MINUTES_MAX = 7 * 24 * 60;
const topic = Type.String({
  minLength: 1,
  maxLength: 65_535,
  description: 'An MQTT topic name or topic filter, wildcards included. The parameter is called topic for both.',
});
/** The same in a URL, which has at most 8 KiB. */
const topicInUrl = Type.String({ ...topic, maxLength: 7_000 });
const requestId = Type.String({
  pattern: '^[A-Za-z0-9._:-]{1,128}$',
  description: 'Chosen by the caller. A repeated request with the same id has no second effect.',
});
const client = Type.String({
  minLength: 1,
  maxLength: 65_535,
  description:
    'A client id. Needed only for a filter whose clients are spread over several shards: it decides which of them.',
});
const clientInUrl = Type.String({ ...client, maxLength: 1_000 });
const signal = Type.Union([Type.Literal('SUBSCRIPTIONS'), Type.Literal('PUBLISHES')], {
  description: 'SUBSCRIPTIONS (subscribe and unsubscribe events) unless given; PUBLISHES: messages published.',
});

/** What is right of a body or a list of them, and the answer: 202 with counts and refusals, or 400 when nothing was right. */
function judgedList<Taken>(
  body: unknown,
  judge: (given: unknown) => { readonly taken: Taken } | { readonly refusal: BodyRefusal },
): { readonly taken: readonly Taken[]; readonly response: ApiResponse } {
  const taken: Taken[] = [];
  const refusals: (BodyRefusal & { index: number })[] = [];
  for (const [index, given] of (Array.isArray(body) ? body : [body]).entries()) {
    const judged = judge(given);
    if ('taken' in judged) taken.push(judged.taken);
    else refusals.push({ index, ...judged.refusal });
  }
  const counts = { accepted: taken.length, refused: refusals.length, refusals };
  const [first] = refusals;
  if (taken.length > 0 || first === undefined) return { taken, response: { kind: 'json', status: 202, body: counts } };
  const { code, field } = first;
  const message = refusals.length === 1 ? first.message : `all ${refusals.length} were refused: ${first.message}, …`;
  return { taken, response: { kind: 'json', status: 400, body: { code, message, field, ...counts } } };
}

export const ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/',
    role: 'anyone',
    about: 'The routes of this API, and where they are described.',
    query: Type.Object({}, STRICT),
    handle: async () =>
      ok({
        name: 'Foreshard',
        docs: '/docs',
        openapi: '/docs/json',
        routes: ROUTES.map(({ method, path, about }) => ({ method, path, about })),
      }),
  },
  {
    method: 'GET',
    path: '/predict_load',
    role: 'read',
    about:
      'The forecast rate of a topic or filter, as quantiles for each coming step, and the clients and bytes counted last. `signal` is SUBSCRIPTIONS unless given as PUBLISHES; `horizon` is in minutes.',
    query: Type.Object(
      {
        topic: topicInUrl,
        signal: Type.Optional(signal),
        horizon: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: HORIZON_MINUTES_MAX,
            description: 'How far ahead, in minutes; everything that was forecast unless given.',
          }),
        ),
      },
      STRICT,
    ),
    async handle(views, { query }) {
      const name = checkedFilter(query.topic as string);
      const wanted = (query.signal ?? 'SUBSCRIPTIONS') as Signal;
      const found = await views.forecastFor(name, wanted);
      const horizonMs = query.horizon === undefined ? Number.POSITIVE_INFINITY : (query.horizon as number) * 60_000;
      return answered(found, (prediction) => {
        if (prediction === undefined) throw new AppError('NOT_FOUND', 'there is no forecast for this topic yet');
        return ok(predictionOf(name, prediction, horizonMs));
      });
    },
  },
  {
    method: 'GET',
    path: '/get_shard_id',
    role: 'read',
    about:
      'The shard that holds the subscriptions of `topic`, which may be a topic name or a topic filter (`?topic=a/%2B`), and the shards that a message to it asks.',
    query: Type.Object({ topic: topicInUrl, client: Type.Optional(clientInUrl) }, STRICT),
    async handle(views, { query }) {
      const name = checkedFilter(query.topic as string);
      return answered(await views.shardFor(name, query.client as string | undefined), (place) =>
        ok({ topic: name, ...placed(place) }),
      );
    },
  },
  {
    method: 'POST',
    path: '/update_metrics',
    role: 'admin',
    about:
      'Takes one metric, or a list of at least one: TopicTraffic, DatastoreMetrics or BrokerHeartbeat. The answer says which were refused and why; it is 400 when all were.',
    body: oneOrMany,
    async handle(views, { body }) {
      const judged = judgedList(body, (given) => {
        const found = metricOf(given);
        return 'metric' in found ? { taken: found.metric } : found;
      });
      if (judged.taken.length > 0) await views.sendMetrics(judged.taken);
      return judged.response;
    },
  },
  {
    method: 'POST',
    path: '/subscriptions',
    role: 'admin',
    about:
      'Takes one SUBSCRIBE or UNSUBSCRIBE, or a list, for a broker that does not write to Kafka. 202 means that the events are durable in the log. The answer says which were refused and why; it is 400 when all were. A request that is repeated with the same `Idempotency-Key` has no second effect.',
    takesKey: true,
    body: oneOrMany,
    async handle(views, { body }) {
      const now = views.now();
      const judged = judgedList(body, (given) => {
        const found = subscriptionOf(given, now);
        return 'event' in found ? { taken: found.event } : found;
      });
      if (judged.taken.length > 0) await views.sendSubscriptions(judged.taken);
      return judged.response;
    },
  },
  {
    method: 'POST',
    path: '/sessions',
    role: 'admin',
    about:
      'Takes what became of one session, or a list, for a broker that does not write to Kafka: `kind` is Connected, Disconnected or Ended. Answers as POST /subscriptions does.',
    takesKey: true,
    body: oneOrMany,
    async handle(views, { body }) {
      const now = views.now();
      const judged = judgedList(body, (given) => {
        const found = sessionOf(given, now);
        return 'session' in found ? { taken: found.session } : found;
      });
      if (judged.taken.length > 0) await views.sendSessions(judged.taken);
      return judged.response;
    },
  },
  {
    method: 'GET',
    path: '/pointers',
    role: 'read',
    about: `The pointer table, for a broker that does not read it from Kafka: its records from the offset \`after\` on. The answer's \`next\` is the next \`after\`; the table is complete when it has reached \`end\`. With \`waitMs\`, at most ${POINTER_WAIT_MS_MAX}, the answer waits for a change.`,
    query: Type.Object(
      {
        after: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER - 1 })),
        waitMs: Type.Optional(Type.Integer({ minimum: 0, maximum: POINTER_WAIT_MS_MAX })),
      },
      STRICT,
    ),
    async handle(views, { query }) {
      const { after = 0, waitMs = 0 } = query as { readonly after?: number; readonly waitMs?: number };
      return answered(await views.pointerRecords({ after, waitMs }), (page) => ok(page));
    },
  },
  {
    method: 'POST',
    path: '/predict_and_shard',
    role: 'admin',
    about:
      'Has the planner judge one topic or filter now, and answers with its shard and the decision. 202 when the decision takes longer: get it with GET /decisions?requestId=…',
    body: Type.Object(
      {
        topic,
        type: Type.Optional(
          Type.Union([Type.Literal('concrete'), Type.Literal('wildcard')], {
            description: 'Must agree with the filter; of a shared subscription its filter counts.',
          }),
        ),
        client: Type.Optional(client),
        requestId: Type.Optional(requestId),
      },
      STRICT,
    ),
    async handle(views, { body }) {
      const asked = body as { topic: string; type?: string; client?: string; requestId?: string };
      const name = checkedFilter(asked.topic);
      const type = hasWildcard(name) ? 'wildcard' : 'concrete';
      if (asked.type !== undefined && asked.type !== type)
        throw new FieldError('REQUEST_INVALID', 'type', `this filter is ${type}`);
      const { requestId: id, decision } = await views.requestPlan(name, asked.requestId);
      if (decision === undefined) return { kind: 'json', status: 202, body: { requestId: id, topic: name, type } };
      return answered(await views.shardFor(name, asked.client), (place) =>
        ok({ requestId: id, topic: name, type, ...placed(place), decision }),
      );
    },
  },
  {
    method: 'GET',
    path: '/shards',
    role: 'read',
    about: 'Every shard with its datastore, state and size.',
    query: Type.Object({}, STRICT),
    handle: async (views) => answered(await views.shards(), (shards) => ok({ shards })),
  },
  {
    method: 'GET',
    path: '/moves',
    role: 'read',
    about: 'Moves under way and recently ended, with their progress.',
    query: Type.Object({}, STRICT),
    handle: async (views) => answered(await views.moves(), (moves) => ok({ moves })),
  },
  {
    method: 'POST',
    path: '/moves/:id',
    role: 'admin',
    about: 'Aborts, pauses, resumes or throttles a move. THROTTLE needs rowsPerSecond.',
    params: Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9._:-]{1,128}$' }) }, STRICT),
    body: Type.Object(
      {
        action: Type.Union(['ABORT', 'PAUSE', 'RESUME', 'THROTTLE'].map((action) => Type.Literal(action))),
        rowsPerSecond: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000 })),
        requestId: Type.Optional(requestId),
      },
      STRICT,
    ),
    async handle(views, { params, body }) {
      const asked = body as { action: MoveRequestAction; rowsPerSecond?: number; requestId?: string };
      if ((asked.action === 'THROTTLE') !== (asked.rowsPerSecond !== undefined))
        throw new FieldError(
          'REQUEST_INVALID',
          'rowsPerSecond',
          'rowsPerSecond must be given with THROTTLE, and with no other action',
        );
      const steering = {
        moveId: moveId(params.id!),
        action: asked.action,
        rowsPerSecond: asked.rowsPerSecond ?? 0,
        requestId: asked.requestId,
      };
      return answered(await views.steerMove(steering), (id) => {
        if (id === undefined) throw new FieldError('NOT_FOUND', 'id', 'there is no move with this id');
        return { kind: 'json', status: 202, body: { requestId: id, moveId: params.id, action: asked.action } };
      });
    },
  },
  {
    method: 'GET',
    path: '/plans',
    role: 'read',
    about:
      'Plans that wait for approval (mode approve), and the last ones that were answered or have expired: price, shards, steps, expiry.',
    query: Type.Object({}, STRICT),
    handle: async (views) => answered(await views.plans(), (plans) => ok({ plans })),
  },
  {
    method: 'POST',
    path: '/plans/:id',
    role: 'admin',
    about: 'Approves or rejects a plan. The result is a decision: GET /decisions?requestId=…',
    params: Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9._:-]{1,128}$' }) }, STRICT),
    body: Type.Object(
      {
        answer: Type.Union(['APPROVE', 'REJECT'].map((answer) => Type.Literal(answer))),
        requestId: Type.Optional(requestId),
      },
      STRICT,
    ),
    async handle(views, { params, body }) {
      const asked = body as { answer: PlanVerdict; requestId?: string };
      const answering = { planId: planId(params.id!), answer: asked.answer, requestId: asked.requestId };
      return answered(await views.answerPlan(answering), (id) => {
        if (id === undefined) throw new FieldError('NOT_FOUND', 'id', 'there is no plan with this id');
        return { kind: 'json', status: 202, body: { requestId: id, planId: params.id, answer: asked.answer } };
      });
    },
  },
  {
    method: 'GET',
    path: '/checks',
    role: 'read',
    about:
      'Checks of the shards against the subscription table, newest first, with progress and findings. `continuous` is the check that is always running; it is listed when it has found something.',
    query: Type.Object({}, STRICT),
    handle: async (views) => answered(await views.checks(), (checks) => ok({ checks })),
  },
  {
    method: 'POST',
    path: '/checks',
    role: 'admin',
    about:
      'Has shards compared with the subscription table: all, one (`shardId`), or one slice. With `repair` differences are corrected. GET /checks shows the progress and the result.',
    body: Type.Object(
      {
        shardId: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$' })),
        slice: Type.Optional(Type.String({ minLength: 2, maxLength: 65_600 })),
        repair: Type.Optional(Type.Boolean()),
        requestId: Type.Optional(requestId),
      },
      STRICT,
    ),
    async handle(views, { body }) {
      const asked = body as { shardId?: string; slice?: string; repair?: boolean; requestId?: string };
      if (asked.slice !== undefined && asked.shardId !== undefined)
        throw new FieldError('REQUEST_INVALID', 'slice', 'give either shardId or slice');
      if (asked.slice !== undefined && parseSlice(asked.slice) === undefined)
        throw new FieldError('REQUEST_INVALID', 'slice', 'this is not the key of a slice');
      const { shardId, slice, repair = false, requestId: id } = asked;
      const checkId = await views.requestCheck({ shardId, slice, repair, requestId: id });
      return { kind: 'json', status: 202, body: { checkId } };
    },
  },
  {
    method: 'POST',
    path: '/rebuilds',
    role: 'admin',
    about:
      'Has a shard that has lost its data rebuilt from the subscription table now; with `force` also one that is not known to be lost. The decision says what begins, or why nothing does (`kind` REFUSE, `constraint`). GET /moves shows the progress.',
    body: Type.Object(
      {
        shardId: Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$' }),
        force: Type.Optional(Type.Boolean()),
        requestId: Type.Optional(requestId),
      },
      STRICT,
    ),
    async handle(views, { body }) {
      const asked = body as { shardId: string; force?: boolean; requestId?: string };
      const { force = false, requestId: id } = asked;
      const requested = await views.requestRebuild({ shardId: shardId(asked.shardId), force, requestId: id });
      const about = { requestId: requested.requestId, shardId: asked.shardId };
      if (requested.decision === undefined) return { kind: 'json', status: 202, body: about };
      return ok({ ...about, decision: requested.decision });
    },
  },
  {
    method: 'GET',
    path: '/decisions',
    role: 'read',
    about:
      'What the planner decided and refused, newest first, with its reasons. `next` is the cursor of the next page.',
    query: Type.Object(
      {
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
        cursor: Type.Optional(Type.String({ pattern: '^[0-9]{1,16}$', description: '`next` of the page before.' })),
        requestId: Type.Optional(requestId),
      },
      STRICT,
    ),
    async handle(views, { query }) {
      const found = await views.decisions({
        after: query.cursor as string | undefined,
        limit: (query.limit ?? 100) as number,
        requestId: query.requestId as string | undefined,
      });
      return answered(found, (page) => ok(page));
    },
  },
  {
    method: 'GET',
    path: '/dead-letters',
    role: 'read',
    about: `The last ${LETTERS_MAX} records that were refused, newest first: why, where they came from, and their first bytes.`,
    query: Type.Object(
      {
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: LETTERS_MAX })),
        cursor: Type.Optional(
          Type.String({
            pattern: '^[0-9]{1,15}$',
            description: '`next` of the page before: continues with letters of lower numbers.',
          }),
        ),
      },
      STRICT,
    ),
    async handle(views, { query }) {
      const before = query.cursor === undefined ? undefined : Number(query.cursor);
      return answered(await views.deadLetters({ before, limit: (query.limit ?? 100) as number }), (page) => ok(page));
    },
  },
  {
    method: 'GET',
    path: '/sessions/operations',
    role: 'read',
    about:
      'Operations on the sessions of brokers that fell silent, were restarted or came back, newest first, with progress.',
    query: Type.Object({}, STRICT),
    handle: async (views) => answered(await views.sessionOperations(), (operations) => ok({ operations })),
  },
  {
    method: 'POST',
    path: '/sessions/operations/:id',
    role: 'admin',
    about: 'Stops an operation on sessions; sessions that it has not reached are left as they are.',
    params: Type.Object({ id: Type.String({ pattern: '^[A-Za-z0-9._:-]{1,128}$' }) }, STRICT),
    body: Type.Object({ action: Type.Literal('CANCEL') }, STRICT),
    async handle(views, { params }) {
      return answered(await views.stopSessionOperation(params.id!), (isKnown) => {
        if (!isKnown) throw new FieldError('NOT_FOUND', 'id', 'there is no operation with this id');
        return { kind: 'json', status: 202, body: { operationId: params.id, action: 'CANCEL' } };
      });
    },
  },
  {
    method: 'GET',
    path: '/livez',
    role: 'anyone',
    about: '200 while every loop of this process makes progress; 503 when it should be restarted.',
    async handle(views) {
      const state = views.live();
      return { kind: 'json', status: state.live ? 200 : 503, body: state };
    },
  },
  {
    method: 'GET',
    path: '/readyz',
    role: 'anyone',
    about: '200 when this instance can answer; while it cannot, 503 with the reasons and the percentage restored.',
    async handle(views) {
      const state = views.ready();
      return { kind: 'json', status: state.ready ? 200 : 503, body: state };
    },
  },
  {
    method: 'GET',
    path: '/metrics',
    role: 'read',
    about: 'Metrics of this instance as Prometheus text.',
    handle: async (views) => ({
      kind: 'text',
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      body: await views.metricsText(),
    }),
  },
];

/** The status of each code that can reach a caller; any other code is a fault of the server. */
export const STATUS: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  FILTER_INVALID: 400,
  TOPIC_INVALID: 400,
  METRIC_INVALID: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  TOO_MANY_REQUESTS: 429,
  NOT_READY: 503,
  OWNER_UNREACHABLE: 503,
  LOG_UNAVAILABLE: 503,
  STORE_UNAVAILABLE: 503,
  STOPPED: 503,
};

const ok = (body: unknown): ApiResponse => ({ kind: 'json', status: 200, body });

function answered<Answer>(owned: Owned<Answer>, respond: (answer: Answer) => ApiResponse): ApiResponse {
  if (owned.kind === 'here') return respond(owned.answer);
  if (owned.kind === 'elsewhere') return owned;
  throw new AppError('NOT_READY', 'tasks are being assigned to instances: try again in a moment');
}

function placed(place: TopicPlace | undefined): TopicPlace & { readonly shardId: ShardId } {
  const first = place?.shards[0];
  if (place === undefined || first === undefined)
    throw new AppError('NOT_FOUND', 'the pointer table has no entry for this topic yet');
  return { shardId: first.shardId, ...place };
}

function checkedFilter(filter: string): string {
  const problem = filterProblem(filter);
  if (problem !== undefined) throw new FieldError('FILTER_INVALID', 'topic', problem);
  return filter;
}

/** The steps of the forecast within the horizon, at least one, scaled to the topic's own rates. */
function predictionOf(name: string, { series, share, forecast }: TopicForecast, horizonMs: number) {
  const { stepMs, farStepMs, madeAt } = forecast;
  const width = forecast.levels.length;
  const rates = (quantiles: readonly number[], step: number): number[] =>
    quantiles.slice(step * width, (step + 1) * width).map((rate) => rate * share);
  const steps = Math.min(Math.max(1, Math.floor(horizonMs / stepMs)), stepsOf(forecast.quantiles, width));
  const hours = stepsOf(forecast.farQuantiles, width);
  return {
    ...{ topic: name, signal: forecast.signal, series, share, madeAt: forecast.madeAt, stepMs: forecast.stepMs },
    ...{ model: forecast.model, pattern: forecast.pattern, trusted: forecast.trusted, distrust: forecast.distrust },
    ...{ weights: forecast.weights, recentError: forecast.recentError, coverage: forecast.coverage },
    ...{ dispersion: forecast.dispersion, peakToMean: forecast.peakToMean, seasonMs: forecast.seasonMs },
    stepsSeen: forecast.stepsSeen,
    currentPerSecond: forecast.currentPerSecond * share,
    // As counted in the last whole minute; the clients of a shared series are not divided by topic.
    distinctClients: forecast.distinctClients,
    bytesPerSecond: forecast.bytesPerSecond * share,
    levels: forecast.levels,
    steps: Array.from({ length: steps }, (_, step) => ({
      from: madeAt + step * stepMs,
      perSecond: rates(forecast.quantiles, step),
    })),
    later: Array.from({ length: hours }, (_, hour) => ({
      from: madeAt + (hour + 2) * farStepMs - stepMs,
      perSecond: rates(forecast.farQuantiles, hour),
    })).filter(({ from }) => from < madeAt + horizonMs),
  };
}

const stepsOf = (quantiles: readonly number[], width: number): number =>
  width === 0 ? 0 : Math.floor(quantiles.length / width);
