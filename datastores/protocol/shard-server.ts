// Shard server: the shards of one provisioner, over HTTP, so that instances and brokers on other machines share them.
//
//   H1. Every request but GET /livez carries the bearer token, compared in constant time. Without a token the server
//       binds to loopback alone.
//   H2. A body is checked whole (wire.ts) before anything is done; its size is limited before it is read.
//   H3. An answer has the code of the failure, never its stack, its path or the token.
//   H4. A shard that is lost, or that another fleet asks for, is refused and told to the log, once a minute for each.

import { createHash, timingSafeEqual } from 'node:crypto';
import { fastify } from 'fastify';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime, sliceKey } from '../../schemas/ids.ts';
import { isLoopback } from '../../schemas/loopback.ts';
import { cursorAt, rowBytes } from '../rows.ts';
import { checkedShardName } from '../shard-name.ts';
import type { Page, Provisioner, ShardStore } from '../shard-store.ts';
import { bodyProblem, meantBy, ownerOf, REQUESTS, type Request, rangeOf, rowOf, STATUS, wireRow } from './wire.ts';

export interface ShardServerSettings {
  readonly provisioner: Provisioner;
  /** `undefined`: no authentication, loopback alone (H1). */
  readonly token: string | undefined;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Told of failures that are the server's own; nothing of the request is in them but the shard and the call. */
  readonly log?: (failure: { readonly call: string; readonly shard: string; readonly error: unknown }) => void;
}

export interface ShardServer {
  /** `http://host:port` */
  readonly address: string;
  /** Ends the requests under way. The provisioner stays open: whoever made it closes it. */
  close(): Promise<void>;
}

/** A write of 10,000 rows with texts of some hundred bytes; longer ones are sent in smaller pieces. */
export const BODY_BYTES_MAX = 16 * 1024 * 1024;
/** A page ends before it weighs more than this, so an answer stays in bounds whatever the texts. */
const PAGE_BYTES_MAX = 8 * 1024 * 1024;
/** Longer than any call should take; a client that sends its body slower than this is let go. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Refusals that somebody must see to (H4). */
const LOUD: ReadonlySet<string> = new Set(['SHARD_LOST', 'FLEET_MISMATCH']);
const TELL_AGAIN_MS = 60_000;

type Headers = Parameters<typeof meantBy>[0];

type Calls = {
  readonly [Call in Exclude<keyof typeof REQUESTS, 'ensure'>]: (
    store: ShardStore,
    body: Request<Call>,
  ) => Promise<unknown>;
};

const CALLS: Calls = {
  write: (store, body) => store.write(body.rows.map(rowOf)),
  forget: (store, body) => store.forget(body.rows.map(rowOf)),
  own: (store, body) => store.own(ownerOf(body.owner)),
  disown: (store, { slice, right }) => store.disown(sliceKey(slice), { state: right.state, epoch: epoch(right.epoch) }),
  owners: (store) => store.owners(),
  lookup: (store, body) => store.lookup(body.filters, epoch(body.asker)),
  match: (store, body) =>
    store.match(
      body.queries.map((each) => ({ topic: each.topic, slice: sliceKey(each.slice), epoch: epoch(each.epoch) })),
    ),
  scan: async (store, body) => {
    const page = bounded(await store.scan(rangeOf(body.range), body.cursor, body.limit));
    return { rows: page.rows.map(wireRow), cursor: page.cursor, done: page.done };
  },
  digest: (store, body) => store.digest(rangeOf(body.range), body.after, body.upTo),
  erase: async (store, { range, limit, right }) =>
    (await store.erase(rangeOf(range), limit, { ...right, epoch: epoch(right.epoch) })) ?? null,
  count: (store, body) => store.count(rangeOf(body.range), body.cursor, body.limit),
  dropTombstones: (store, body) => store.dropTombstones(eventTime(body.before)),
};

/** Resolves when the server listens. Throws CONFIG_INVALID (H1), also for a port that cannot be had. */
export async function startShardServer(settings: ShardServerSettings): Promise<ShardServer> {
  const { provisioner, token, host, port, log } = settings;
  if (!token && !isLoopback(host)) {
    throw new AppError('CONFIG_INVALID', 'a shard server without a token listens on loopback only: set a token', {
      host,
    });
  }
  const server = fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  });

  const storeFor = (request: { readonly params: Named; readonly headers: Headers }): Promise<ShardStore> =>
    provisioner.store(checkedShardName(request.params.shard), meantBy(request.headers));
  const toldAt = new Map<string, number>();
  const told = (request: Parameters<typeof about>[0], error: AppError): void => {
    const failure = { ...about(request), error };
    if (LOUD.has(error.code)) {
      const key = `${failure.shard} ${error.code}`;
      const now = performance.now();
      if (now - (toldAt.get(key) ?? Number.NEGATIVE_INFINITY) < TELL_AGAIN_MS) return;
      toldAt.set(key, now);
    }
    log?.(failure);
  };

  server.removeContentTypeParser('text/plain');

  server.addHook('onRequest', async (request) => {
    if (!token || request.url === '/livez') return;
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!timingSafeEqual(hashOf(given), hashOf(token))) throw new AppError('UNAUTHORIZED', 'the token is wrong');
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    if (error instanceof AppError) {
      const status = STATUS[error.code] ?? 500;
      if (status >= 500 || LOUD.has(error.code)) told(request, error);
      return reply.code(status).send({ code: error.code, message: error.message });
    }
    const status = error.statusCode ?? 500;
    if (status < 500) return reply.code(status).send({ code: 'REQUEST_INVALID', message: error.message });
    log?.({ ...about(request), error });
    return reply.code(500).send({ code: 'STORE_UNAVAILABLE', message: 'the shard server failed' });
  });
  server.setNotFoundHandler((_request, reply) => reply.code(404).send({ code: 'NOT_FOUND', message: 'no such route' }));

  server.get('/livez', async () => ({ live: true }));
  server.put<{ Params: Named; Body: Request<'ensure'> }>(
    '/shards/:shard',
    { schema: { body: REQUESTS.ensure } },
    async (request) => {
      const { datastoreType, resize, known } = request.body;
      const { keySpace } = meantBy(request.headers);
      const shard = checkedShardName(request.params.shard);
      const provisioned = await provisioner.ensure(shard, datastoreType, resize, known, keySpace);
      if (provisioned.state === 'lost') told(request, new AppError('SHARD_LOST', provisioned.reason));
      return provisioned;
    },
  );
  server.get<{ Params: Named }>('/shards/:shard', async (request) => {
    const { kind, instanceId } = await storeFor(request);
    return { kind, instanceId };
  });
  server.delete<{ Params: Named }>('/shards/:shard', async (request) => {
    const resident = await provisioner.release(checkedShardName(request.params.shard), meantBy(request.headers));
    return resident === undefined ? {} : { resident };
  });
  for (const [name, call] of Object.entries(CALLS) as [
    keyof Calls,
    (store: ShardStore, body: never) => Promise<unknown>,
  ][]) {
    server.post<{ Params: Named; Body: never }>(
      `/shards/:shard/${name}`,
      { schema: { body: REQUESTS[name] } },
      async (request, reply) => {
        const problem = bodyProblem(request.body);
        if (problem !== undefined) throw new AppError('REQUEST_INVALID', problem);
        const store = await storeFor(request);
        return reply.type('application/json').send(JSON.stringify(await call(store, request.body as never)));
      },
    );
  }
  try {
    return { address: await server.listen({ host, port }), close: () => server.close() };
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AppError('CONFIG_INVALID', `cannot listen on ${host}:${port}: ${code}`, { code }, cause);
  }
}

interface Named {
  readonly shard: string;
}

function about(request: { readonly params: unknown; readonly routeOptions: { readonly url?: string | undefined } }) {
  return { call: request.routeOptions.url ?? '', shard: (request.params as Partial<Named> | undefined)?.shard ?? '' };
}

/** The first rows of the page up to PAGE_BYTES_MAX, at least one. */
function bounded(page: Page): Page {
  let bytes = 0;
  for (const [i, row] of page.rows.entries()) {
    bytes += rowBytes(row);
    if (bytes <= PAGE_BYTES_MAX || i === 0) continue;
    const rows = page.rows.slice(0, i);
    return { rows, cursor: cursorAt(rows[i - 1]!), done: false };
  }
  return page;
}

const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();
