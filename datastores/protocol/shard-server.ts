// Shard server: offers the shards of one provisioner to instances and brokers on other machines. On one port it speaks
// RESP (resp-session.ts) with clients that begin with a command, and HTTP with clients that begin with a request.
//
//   H1. Every request except GET /livez needs the admin token, which is compared in constant time. Without a configured
//       token the server listens on loopback only. Over RESP the read token is sufficient for look-ups.
//   H2. A body is checked as a whole (calls.ts) before anything is done; its size is limited before it is read.
//   H3. An answer has the code of the failure, never its stack, a path or the token.
//   H4. A request to a shard that is lost, or belongs to another fleet, is refused and logged, once a minute for each
//       shard.

import type { Socket } from 'node:net';
import { fastify } from 'fastify';
import { AppError } from '../../schemas/errors.ts';
import { isLoopback } from '../../schemas/loopback.ts';
import { LOSSES } from '../identity.ts';
import type { Provisioned, Provisioner } from '../shard-store.ts';
import { CALL_BYTES_MAX, carryOutCall, type ShardCall, STORE_CALLS } from './calls.ts';
import { serveResp } from './resp-connection.ts';
import type { RespServer, RespSession } from './resp-session.ts';
import { rightsOf } from './rights.ts';
import { ServerStatistics } from './server-statistics.ts';
import { meantBy, STATUS } from './wire.ts';

export interface ShardServerSettings {
  readonly provisioner: Provisioner;
  /** `undefined`: no authentication, loopback only (H1). */
  readonly token: string | undefined;
  /** Sufficient for look-ups over RESP only. */
  readonly readToken?: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Called for failures of the server itself; of the request it gets only the shard and the call. */
  readonly log?: (failure: { readonly call: string; readonly shard: string; readonly error: unknown }) => void;
}

export interface ShardServer {
  /** `http://host:port`, for both protocols. */
  readonly address: string;
  /** Ends the requests under way. The provisioner stays open: whoever made it closes it. */
  close(): Promise<void>;
}

/** Longer than any call should take; a client that sends its body more slowly is disconnected. */
const REQUEST_TIMEOUT_MS = 30_000;

/** The beginning of an HTTP request; no command begins like this. */
const HTTP_REQUEST = /^[A-Z]{3,7} \//;
/** As Redis has it; each takes a few KiB until it has sent a token. */
const CONNECTIONS_MAX = 10_000;
const TELL_AGAIN_MS = 60_000;

/** Resolves when the server listens. Throws CONFIG_INVALID (H1), also when the port cannot be bound. */
export async function startShardServer(settings: ShardServerSettings): Promise<ShardServer> {
  const { provisioner, token, readToken, host, port, log } = settings;
  const tokens = { admin: token, read: readToken };
  if (!token && !isLoopback(host)) {
    throw new AppError('CONFIG_INVALID', 'a shard server without a token listens on loopback only: set a token', {
      host,
    });
  }
  const server = fastify({
    bodyLimit: CALL_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
  });

  const toldAt = new Map<string, number>();
  const told = (failure: { readonly call: string; readonly shard: string; readonly error: unknown }): void => {
    const { error } = failure;
    if (error instanceof AppError && LOSSES.has(error.code)) {
      const key = `${failure.shard} ${error.code}`;
      const now = performance.now();
      if (now - (toldAt.get(key) ?? Number.NEGATIVE_INFINITY) < TELL_AGAIN_MS) return;
      toldAt.set(key, now);
    }
    log?.(failure);
  };

  const carryOut = async (asked: ShardCall): Promise<unknown> => {
    const { call, shard } = asked;
    const answer = await carryOutCall(provisioner, asked);
    if (call === 'ensure') {
      const { state, reason } = answer as Provisioned;
      if (state === 'lost') told({ call, shard, error: new AppError('SHARD_LOST', reason) });
    }
    return answer;
  };

  server.removeContentTypeParser('text/plain');

  server.addHook('onRequest', async (request) => {
    if (!token || request.url === '/livez') return;
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (rightsOf(given, tokens) !== 'admin') throw new AppError('UNAUTHORIZED', 'the token is wrong');
  });
  server.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    if (error instanceof AppError) {
      const status = STATUS[error.code] ?? 500;
      if (status >= 500 || LOSSES.has(error.code)) told({ ...about(request), error });
      return reply.code(status).send({ code: error.code, message: error.message });
    }
    const status = error.statusCode ?? 500;
    if (status < 500) return reply.code(status).send({ code: 'REQUEST_INVALID', message: error.message });
    log?.({ ...about(request), error });
    return reply.code(500).send({ code: 'STORE_UNAVAILABLE', message: 'the shard server failed' });
  });
  server.setNotFoundHandler((_request, reply) => reply.code(404).send({ code: 'NOT_FOUND', message: 'no such route' }));

  server.get('/livez', async () => ({ live: true }));
  const requests = [
    { method: 'PUT', url: '/shards/:shard', call: 'ensure' },
    { method: 'GET', url: '/shards/:shard', call: 'find' },
    { method: 'DELETE', url: '/shards/:shard', call: 'release' },
    ...STORE_CALLS.map((call) => ({ method: 'POST', url: `/shards/:shard/${call}`, call })),
  ];
  for (const { method, url, call } of requests)
    server.route<{ Params: Named }>({
      method,
      url,
      handler: async ({ params, headers, body }, reply) => {
        const answer = await carryOut({ shard: params.shard, meant: meantBy(headers), call, body });
        return reply.type('application/json').send(JSON.stringify(answer));
      },
    });
  const statistics = new ServerStatistics();
  const sessions = new Map<number, RespSession>();
  const sockets = new Set<Socket>();
  const resp: RespServer = {
    provisioner,
    tokens,
    statistics,
    carryOut,
    find: (id) => sessions.get(id),
    failed: (call, shard, error) => told({ call, shard, error }),
  };
  server.server.maxConnections = CONNECTIONS_MAX;
  const [asHttp] = server.server.listeners('connection') as ((socket: Socket) => void)[];
  let connections = 0;
  server.server.removeAllListeners('connection');
  server.server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy()); // For a client that has not sent anything yet.
    socket.once('data', (first: Buffer) => {
      socket.setTimeout(0);
      if (HTTP_REQUEST.test(first.toString('latin1', 0, 16))) {
        socket.pause();
        socket.unshift(first);
        asHttp!.call(server.server, socket);
        socket.resume();
        return;
      }
      const id = ++connections;
      statistics.connected(+1);
      socket.on('close', () => {
        sessions.delete(id);
        statistics.connected(-1);
      });
      sessions.set(id, serveResp(socket, resp, id, first));
    });
  });
  const close = async (): Promise<void> => {
    const closed = server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  try {
    return { address: await server.listen({ host, port }), close };
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
