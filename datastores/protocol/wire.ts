// Wire: the messages between a shard server and its clients, as JSON over HTTP. The same schemas check requests at
// the server and answers at the client; rows are sent as tuples, since a copy has millions of them.
//
//   PUT    /shards/:shard          { datastoreType, resize, known }   -> Provisioned
//   GET    /shards/:shard                                             -> { kind, instanceId }
//   DELETE /shards/:shard                                             -> {}, or { resident } where it stays
//   POST   /shards/:shard/<call>   arguments of the method            -> its result
//
// Every request states in its headers the key space of the asker's fleet and, when the asker knows it, the instance
// that it means: any other store refuses (shard-store.ts D7). A client of an earlier release states neither.
//
// Fields that only few rows have are at the end of the tuple. A release that does not know such a field does not accept
// the row, on either side: the server refuses the request, the client takes the answer for none. No field is dropped
// silently.
//
// A failure is { code, message } with a code of schemas/errors.ts and a matching status.

import { type Static, Type } from 'typebox';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import { epoch, eventTime, shardId, sliceKey } from '../../schemas/ids.ts';
import type { OwnerRecord, Removal, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { type KeySpace, parseSlice } from '../../state/keys.ts';
import { IDENTIFIER_MAX, optionsOf, RETAIN_HANDLING_MAX } from '../../state/subscription-options.ts';
import { filterProblem, topicProblem } from '../../state/topic-filter.ts';
import type { Meant } from '../shard-store.ts';

/**
 * MQTT's limit for a text is 65,535 bytes, so it has no more code units; a slice key and a cursor consist of one or two
 * texts.
 */
const TEXT_MAX = 65_535;
const SLICE_MAX = TEXT_MAX + 64;
const CURSOR_MAX = 2 * TEXT_MAX + 1;
/** Most items in one list of a request: limits the work of one call. For long texts the body limit is reached first. */
export const ITEMS_MAX = 10_000;

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const text = Type.String({ maxLength: TEXT_MAX });
const slice = Type.String({ minLength: 2, maxLength: SLICE_MAX });
const cursor = Type.Optional(Type.String({ maxLength: CURSOR_MAX }));
const limit = Type.Integer({ minimum: 1, maximum: ITEMS_MAX });
const incarnation = Type.Integer({ minimum: 0, maximum: 2 ** 32 });
const time = Type.Number({ minimum: 0, maximum: 1e15 });
const options = Type.Object(
  {
    noLocal: Type.Boolean(),
    retainAsPublished: Type.Boolean(),
    retainHandling: Type.Integer({ minimum: 0, maximum: RETAIN_HANDLING_MAX }),
    subscriptionIdentifier: Type.Integer({ minimum: 0, maximum: IDENTIFIER_MAX }),
  },
  { additionalProperties: false },
);
/** Fields that few rows have: options, the version of the removed subscription, and removals by other brokers. */
const more = Type.Object(
  {
    options: Type.Optional(options),
    since: Type.Optional(Type.Tuple([incarnation, count])),
    others: Type.Optional(Type.Array(Type.Tuple([text, incarnation, count, time]), { maxItems: 64 })),
  },
  { additionalProperties: false },
);
const places = [
  Type.String({ minLength: 1, maxLength: TEXT_MAX }),
  Type.String({ minLength: 1, maxLength: TEXT_MAX }),
  text,
  Type.Integer({ minimum: 0, maximum: 2 }),
  incarnation,
  count,
  Type.Boolean(),
  time,
] as const;
const shortRow = Type.Tuple([...places]);
const longRow = Type.Tuple([...places, more]);
/** Filter, client, broker, qos, incarnation, offset, gone, at, and `more` where there is any. */
const row = Type.Union([shortRow, longRow]);
const owner = Type.Object(
  {
    slice,
    state: Type.Union([Type.Literal('owned'), Type.Literal('receiving'), Type.Literal('moved')]),
    epoch: count,
    movedTo: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
    turn: Type.Optional(count),
    until: Type.Optional(time),
  },
  { additionalProperties: false },
);
const range = Type.Object(
  { slice, except: Type.Array(slice, { maxItems: ITEMS_MAX }) },
  { additionalProperties: false },
);
const right = Type.Object(
  { state: Type.Union([Type.Literal('receiving'), Type.Literal('moved')]), epoch: count, turn: Type.Optional(count) },
  { additionalProperties: false },
);
const disownRight = Type.Object({ state: owner.properties.state, epoch: count }, { additionalProperties: false });
const request = <Properties extends Parameters<typeof Type.Object>[0]>(properties: Properties) =>
  Type.Object(properties, { additionalProperties: false });

/** The body of each call. */
export const REQUESTS = {
  ensure: request({
    datastoreType: Type.String({ minLength: 1, maxLength: 256 }),
    resize: Type.Boolean(),
    known: Type.Optional(Type.String({ maxLength: 256 })),
  }),
  write: request({ rows: Type.Array(row, { maxItems: ITEMS_MAX }) }),
  forget: request({ rows: Type.Array(row, { maxItems: ITEMS_MAX }) }),
  own: request({ owner }),
  disown: request({ slice, right: disownRight }),
  owners: request({}),
  lookup: request({ filters: Type.Array(text, { maxItems: ITEMS_MAX }), asker: count }),
  match: request({
    queries: Type.Array(request({ topic: text, slice, epoch: count }), { maxItems: ITEMS_MAX }),
  }),
  scan: request({ range, cursor, limit }),
  digest: request({ range, after: cursor, upTo: cursor }),
  erase: request({ range, limit, right }),
  count: request({ range, cursor, limit: Type.Optional(count) }),
  dropTombstones: request({ before: Type.Number({ minimum: 0, maximum: 1e15 }) }),
};

const storeKind = Type.Union([Type.Literal('KEY_VALUE'), Type.Literal('TRIE')]);
/** The subscribers that a store has for each question, in the order of the questions. */
const found = Type.Array(
  Type.Union([
    Type.Object({
      kind: Type.Literal('found'),
      subscribers: Type.Array(
        Type.Object({
          ...{ filter: Type.String(), clientId: Type.String(), brokerId: Type.String(), qos: count },
          options: Type.Optional(Type.Object(options.properties)),
        }),
      ),
    }),
    Type.Object({ kind: Type.Literal('moved'), epoch: count }),
  ]),
);

/** The answer to each call, and to a shard's PUT, GET and DELETE. A server of a later release may say more. */
export const ANSWERS = {
  ensure: Type.Object({
    state: Type.Union(['pending', 'ready', 'failed', 'lost'].map((state) => Type.Literal(state))),
    storeKind,
    instanceId: Type.String(),
    reason: Type.String(),
    isForeign: Type.Optional(Type.Boolean()),
  }),
  find: Type.Object({ kind: storeKind, instanceId: Type.Optional(Type.String()) }),
  release: Type.Object({ resident: Type.Optional(Type.String()) }),
  write: Type.Object({ stale: count, foreign: Type.Optional(count) }),
  forget: count,
  own: Type.Boolean(),
  disown: Type.Boolean(),
  owners: Type.Array(Type.Object(owner.properties)),
  lookup: found,
  match: found,
  scan: Type.Object({ rows: Type.Array(row), cursor: Type.Optional(Type.String()), done: Type.Boolean() }),
  digest: Type.Object({ rows: count, digest: Type.String(), hidden: count }),
  erase: Type.Union([count, Type.Null()]),
  count: Type.Object({ entries: count, bytes: Type.Number({ minimum: 0 }), rest: Type.Optional(Type.String()) }),
  dropTombstones: count,
};
export type Call = keyof typeof ANSWERS;

export type WireRow = Static<typeof row>;
export type Request<Call extends keyof typeof REQUESTS> = Static<(typeof REQUESTS)[Call]>;
type WireOwner = Static<typeof owner>;
type WireRange = Static<typeof range>;

/** HTTP status of each code that a store or provisioner throws; other errors are failures of the server. */
export const STATUS: Partial<Record<ErrorCode, number>> = {
  REQUEST_INVALID: 400,
  SHARD_INVALID: 400,
  FILTER_INVALID: 400,
  UNAUTHORIZED: 401,
  NOT_FOUND: 404,
  SHARD_UNKNOWN: 404,
  FLEET_MISMATCH: 409,
  SHARD_LOST: 410,
  STORE_CORRUPT: 500,
  STORE_FORMAT: 500,
  STORE_UNAVAILABLE: 503,
  STORE_CLOSED: 503,
};

export const KEY_SPACE_HEADER = 'x-foreshard-key-space';
export const INSTANCE_HEADER = 'x-foreshard-instance';

/** Separate from the key space, so that a server of an earlier release still understands the latter. */
export const FLEET_HEADER = 'x-foreshard-fleet';

export const keySpaceText = ({ partitions, keyFormat }: KeySpace): string => `${partitions}/${keyFormat}`;

/** The contents of a request's headers. Throws REQUEST_INVALID. */
export function meantBy(headers: Readonly<Record<string, string | string[] | undefined>>): Meant {
  const instanceId = headers[INSTANCE_HEADER];
  const text = headers[KEY_SPACE_HEADER];
  const fleet = headers[FLEET_HEADER];
  if (Array.isArray(instanceId)) throw new AppError('REQUEST_INVALID', `the header ${INSTANCE_HEADER} stands once`);
  const keySpace = keySpaceOfText(text === undefined ? undefined : String(text), fleet && String(fleet));
  return { instanceId, keySpace };
}

/** A key space as `keySpaceText` writes it, and the prefix of the fleet's topics. Throws REQUEST_INVALID. */
export function keySpaceOfText(text: string | undefined, fleet: string | undefined): KeySpace | undefined {
  if (fleet !== undefined && !/^[\w.-]{1,100}$/.test(fleet))
    throw new AppError('REQUEST_INVALID', 'a fleet is the prefix of its topics');
  if (text === undefined) return undefined;
  const parts = /^([1-9]\d{0,5})\/([1-9]\d{0,5})$/.exec(text);
  if (parts === null) throw new AppError('REQUEST_INVALID', 'a key space is <partitions>/<key format>');
  const keySpace = { partitions: Number(parts[1]), keyFormat: Number(parts[2]) };
  return fleet === undefined ? keySpace : { ...keySpace, fleet };
}

export function wireRow(each: SubscriptionRow): WireRow {
  const { filter, clientId, brokerId, qos, options, version, gone, at, since, others } = each;
  const short: Static<typeof shortRow> = [
    filter,
    clientId,
    brokerId,
    qos,
    version.incarnation,
    version.offset,
    gone,
    at,
  ];
  if (options === undefined && since === undefined && others === undefined) return short;
  return [
    ...short,
    {
      ...(options === undefined ? {} : { options }),
      ...(since === undefined ? {} : { since: [since.incarnation, since.offset] as [number, number] }),
      ...(others === undefined ? {} : { others: others.map(wireRemoval) }),
    },
  ];
}

export function rowOf(wire: WireRow): SubscriptionRow {
  const [filter, clientId, brokerId, qos, incarnation, offset, gone, at, more] = wire;
  const row = { filter, clientId, brokerId, qos, version: { incarnation, offset }, gone, at: eventTime(at) };
  if (more === undefined) return row;
  const { since, others } = more;
  const options = more.options && optionsOf(more.options);
  return {
    ...row,
    ...(options === undefined ? {} : { options }),
    ...(since === undefined ? {} : { since: { incarnation: since[0], offset: since[1] } }),
    ...(others === undefined ? {} : { others: others.map(removalOf) }),
  };
}

type WireRemoval = NonNullable<Static<typeof more>['others']>[number];

const wireRemoval = ({ brokerId, version, at }: Removal): WireRemoval => [
  brokerId,
  version.incarnation,
  version.offset,
  at,
];

const removalOf = ([brokerId, incarnation, offset, at]: WireRemoval): Removal => ({
  brokerId,
  version: { incarnation, offset },
  at: eventTime(at),
});

export const ownerOf = (wire: WireOwner): OwnerRecord => ({
  slice: sliceKey(wire.slice),
  state: wire.state,
  epoch: epoch(wire.epoch),
  ...(wire.movedTo === undefined ? {} : { movedTo: shardId(wire.movedTo) }),
  ...(wire.turn === undefined ? {} : { turn: wire.turn }),
  ...(wire.until === undefined ? {} : { until: wire.until }),
});

export const rangeOf = (wire: WireRange): SliceRange => ({
  slice: sliceKey(wire.slice),
  except: wire.except.map(sliceKey),
});

/** Why a checked body is still not valid: it has an invalid slice key or filter. */
export function bodyProblem(body: unknown): string | undefined {
  const {
    rows,
    filters,
    range: asked,
    slice: key,
    owner: put,
    queries,
  } = body as {
    rows?: readonly WireRow[];
    filters?: readonly string[];
    range?: WireRange;
    slice?: string;
    owner?: WireOwner;
    queries?: readonly { readonly slice: string }[];
  };
  for (const [filter] of rows ?? []) {
    const problem = filterProblem(filter);
    if (problem !== undefined) return `a filter is not valid: ${problem}`;
  }
  // A looked-up filter may also be a topic of a PUBLISH, which has no limit of levels.
  for (const asked of filters ?? []) {
    const problem = filterProblem(asked);
    if (problem !== undefined && topicProblem(asked) !== undefined) return `a filter is not valid: ${problem}`;
  }
  const slices = [
    key,
    put?.slice,
    asked?.slice,
    ...(asked?.except ?? []),
    ...(queries ?? []).map((each) => each.slice),
  ];
  return slices.some((each) => each !== undefined && parseSlice(each) === undefined)
    ? 'a slice key is not valid'
    : undefined;
}
