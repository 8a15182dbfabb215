// The HTTP server: fastify around the table of routes (api/api.ts). It checks the caller and the request, forwards a
// request when another instance has the answer, and turns every failure into `{ code, message, field? }`.
//
//   H1. It listens beyond loopback only with both tokens set; with none, it answers only requests whose Host is this
//       machine, so that a web page cannot reach it under a name of its own (DNS rebinding).
//   H2. Every input is bounded: header block, URL, body, time to send them, connections, bad tokens.
//   H3. An internal fault reveals nothing: no stack, no path, no message of a library.
//   H4. A request is forwarded at most once, and only the owner's answer is returned.

import { createHash, timingSafeEqual } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Logger, Meter } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';
import { isLoopback } from '../../schemas/loopback.ts';
import { isHostPort } from '../../schemas/setting.ts';
import { type ApiRequest, type ApiResponse, FieldError, ROUTES, type Role, type Route, STATUS } from '../api.ts';
import { publishedBody, publishedQuery, responsesOf } from '../api-document.ts';
import { BadTokens } from '../bad-tokens.ts';
import { RepeatedRequests } from '../repeated-requests.ts';
import type { Views } from '../views.ts';

/** A file of the dashboard, held in memory: no request ever names a path on disk. */
export interface Page {
  readonly contentType: string;
  readonly body: Buffer | string;
}

export interface HttpOptions {
  readonly host: string;
  /** 0 chooses a free port. */
  readonly port: number;
  /** When both are empty, everybody who can reach this machine's loopback may do everything. */
  readonly readToken: string;
  readonly adminToken: string;
  /** host:port under which other instances reach this one; its host is a valid Host. */
  readonly advertised: string;
  readonly peerTimeoutMs: number;
  readonly logger: Logger;
  readonly meter: Meter;
  /** By path, for example `/`. */
  readonly pages?: ReadonlyMap<string, Page>;
  readonly now?: () => number;
  readonly requestTimeoutMs?: number;
}

export interface HttpServer {
  readonly port: number;
  /** Stops listening, lets requests under way finish for up to `deadlineMs`, then closes the remaining connections. */
  close(deadlineMs?: number): Promise<void>;
}

const HEADER_BYTES_MAX = 16_384;
const URL_BYTES_MAX = 8_192;
const BODY_BYTES_MAX = 1_048_576;
const PEER_BYTES_MAX = 64 * 1_048_576;
const CONNECTIONS_MAX = 4_096;
const REQUEST_TIMEOUT_MS = 30_000;
/** Set on a forwarded request: the receiver answers or refuses, and does not forward it again (H4). */
const FORWARDED = 'x-foreshard-forwarded';

const API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'";
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/**
 * Throws CONFIG_INVALID for an address that is reachable from outside without tokens, or a port that cannot be bound.
 */
export async function serveHttp(views: Views, options: HttpOptions): Promise<HttpServer> {
  if (!isLoopback(options.host) && (options.readToken === '' || options.adminToken === ''))
    throw new AppError(
      'CONFIG_INVALID',
      `${options.host} is reachable from outside: set both tokens, or listen on 127.0.0.1`,
    );
  const app = await httpApp(views, options);
  const sockets = new Set<Socket>();
  app.server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AppError('CONFIG_INVALID', `cannot listen on ${options.host}:${options.port}: ${code}`, { code }, cause);
  }
  return {
    port: (app.server.address() as AddressInfo).port,
    async close(deadlineMs = 5_000) {
      const cut = setTimeout(() => app.server.closeAllConnections(), deadlineMs);
      const closed = app.close();
      // Clients connect in advance; to Node a connection without a first request is not idle.
      for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
      await closed;
      clearTimeout(cut);
    },
  };
}

/** The server without its socket. */
export async function httpApp(views: Views, options: HttpOptions): Promise<FastifyInstance> {
  const requestTimeout = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout,
    connectionTimeout: 2 * requestTimeout,
    keepAliveTimeout: requestTimeout,
    routerOptions: { maxParamLength: 256 },
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      requireHostHeader: false, // `refuseOddRequest` requires it, with our own error message.
      headersTimeout: Math.min(10_000, requestTimeout),
      connectionsCheckingInterval: Math.min(1_000, requestTimeout / 4), // So that it answers before it closes.
    },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply, options),
  });
  app.server.maxConnections = CONNECTIONS_MAX;
  app.setValidatorCompiler(({ schema, httpPart }) => validator(schema as TSchema, httpPart ?? 'body'));
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  app.setErrorHandler((error: FastifyError, request, reply) => answerError(error, request, reply, options));
  app.setNotFoundHandler((request, reply) => answerError(nothingThere(request, options), request, reply, options));
  acceptJsonAlone(app);
  app.addHook('onRequest', async (request, reply) => {
    secureHeaders(reply, API_POLICY);
    refuseOddRequest(request, options);
    if (request.is404) throw nothingThere(request, options); // Before fastify handles the methods that it knows.
  });
  app.addHook('onResponse', async (request, reply) => {
    const labels = { route: request.routeOptions.url ?? 'none', status: String(reply.statusCode) };
    options.meter.add('foreshard_http_requests_total', 1, labels);
    options.meter.observe('foreshard_http_seconds', reply.elapsedTime / 1000, { route: labels.route });
  });
  await documented(app, options);
  const allowed = doorkeeper(options);
  const repeated = new RepeatedRequests<ApiResponse>(options.now ?? Date.now);
  for (const route of routesOf(options)) {
    app.route({
      method: route.method,
      url: route.path,
      schema: schemaOf(route, options),
      onRequest: async (request) => allowed(request, route.role),
      handler: (request, reply) => answer(views, route, request, reply, options, repeated),
    });
  }
  for (const [path, page] of options.pages ?? []) {
    app.get(path, { schema: { hide: true } }, (_request, reply) => {
      secureHeaders(reply, PAGE_POLICY);
      return reply.type(page.contentType).send(page.body);
    });
  }
  await app.ready();
  return app;
}

// ---- who asks -------------------------------------------------------------------------------------------------------

/** Throws UNAUTHORIZED, FORBIDDEN or TOO_MANY_REQUESTS. */
function doorkeeper(options: HttpOptions): (request: FastifyRequest, role: Role) => void {
  const digest = (token: string): Buffer => createHash('sha256').update(token).digest();
  const readDigest = digest(options.readToken);
  const adminDigest = digest(options.adminToken);
  const bad = new BadTokens();
  const now = options.now ?? Date.now;
  return (request, role) => {
    if (role === 'anyone' || options.adminToken === '') return;
    const header = request.headers.authorization;
    if (header === undefined) throw new AppError('UNAUTHORIZED', 'this request needs a bearer token');
    const waitMs = bad.waitMs(request.ip, now());
    if (waitMs > 0) {
      const retryAfterSeconds = Math.ceil(waitMs / 1000);
      throw new AppError('TOO_MANY_REQUESTS', 'too many wrong tokens from this address', { retryAfterSeconds });
    }
    const given = digest(/^Bearer ([\x21-\x7e]{1,4096})$/i.exec(header)?.[1] ?? '');
    // Both tokens are always compared, so that timing reveals nothing.
    const isRead = timingSafeEqual(given, readDigest);
    const isAdmin = timingSafeEqual(given, adminDigest);
    if (!isRead && !isAdmin) {
      bad.add(request.ip, now());
      options.meter.add('foreshard_http_bad_tokens_total', 1);
      throw new AppError('UNAUTHORIZED', 'this token is not one that is configured');
    }
    if (role === 'admin' && !isAdmin) throw new AppError('FORBIDDEN', 'this request needs the admin token');
  };
}

function refuseOddRequest(request: FastifyRequest, options: HttpOptions): void {
  const { headers, rawHeaders, url = '' } = request.raw;
  if (Buffer.byteLength(url) > URL_BYTES_MAX)
    throw new AppError('REQUEST_INVALID', `the URL has more than ${URL_BYTES_MAX} bytes`, { status: 414 });
  const hosts = rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host');
  if (hosts.length !== 1) throw new AppError('REQUEST_INVALID', 'there must be exactly one Host header');
  if (options.adminToken === '' && !isOurHost(headers.host ?? '', options.advertised))
    // H1
    throw new AppError('FORBIDDEN', 'without tokens, only names and addresses of this machine are accepted as Host', {
      status: 421,
    });
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity')
    throw new AppError('REQUEST_INVALID', 'a body must not be compressed', { status: 415 });
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(headers['content-type'] ?? '')?.[1];
  if (charset !== undefined && charset.toLowerCase() !== 'utf-8')
    throw new AppError('REQUEST_INVALID', 'a body must be UTF-8', { status: 415 });
}

function isOurHost(host: string, advertised: string): boolean {
  const name = host
    .replace(/:\d{1,5}$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return isLoopback(name) || (advertised !== '' && host === advertised);
}

/** The table of routes, unless a page of the dashboard takes a route's path. */
const routesOf = ({ pages }: HttpOptions): readonly Route[] => ROUTES.filter(({ path }) => pages?.has(path) !== true);

/** A path that does not exist, or exists for other methods only (RFC 9110, 15.5.6). */
function nothingThere(request: FastifyRequest, options: HttpOptions): AppError {
  const path = (request.raw.url ?? '').split('?')[0]!;
  const methods = routesOf(options)
    .filter((route) => pathPattern(route.path).test(path))
    .map(({ method }) => method);
  if (methods.length === 0) return new AppError('NOT_FOUND', 'there is no such route; GET / lists them');
  const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
  return new AppError('REQUEST_INVALID', `only ${allow} is allowed here`, { status: 405, allow });
}

const pathPattern = (path: string): RegExp => new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`);

// ---- what is asked --------------------------------------------------------------------------------------------------

function acceptJsonAlone(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error'); // `__proto__` and `constructor.prototype` are refused.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(body as Buffer);
    } catch {
      done(new AppError('REQUEST_INVALID', 'the body is not UTF-8'));
      return;
    }
    parse(request, text, done);
  });
}

/** Parts of a URL are text; where the schema wants a whole number, plain decimal digits become one. */
function validator(schema: TSchema, part: string) {
  const compiled = Compile(schema);
  const properties = (schema as { properties?: Record<string, { type?: string }> }).properties ?? {};
  return (given: unknown) => {
    let value = given;
    if (part !== 'body' && typeof given === 'object' && given !== null)
      value = Object.fromEntries(
        Object.entries(given).map(([name, text]) => [name, numberIn(text, properties[name]?.type)]),
      );
    return compiled.Check(value) ? { value } : { error: fieldError(compiled.Errors(value)) };
  };
}

const numberIn = (text: unknown, type: string | undefined): unknown =>
  type === 'integer' && typeof text === 'string' && /^-?\d{1,15}$/.test(text) ? Number(text) : text;

interface SchemaProblem {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

function fieldError(problems: readonly SchemaProblem[]): FieldError {
  const problem =
    problems.find(({ keyword }) => keyword === 'anyOf') ?? problems.find(({ keyword }) => keyword !== 'boolean');
  const params = (problem?.params ?? {}) as { requiredProperties?: string[]; additionalProperties?: string[] };
  const unknown = params.additionalProperties?.[0];
  const missing = params.requiredProperties?.[0];
  const field = (unknown ?? missing ?? problem?.instancePath.split('/')[1] ?? '').slice(0, 64);
  const what =
    unknown !== undefined
      ? 'is not a field of this request'
      : missing !== undefined
        ? 'is missing'
        : (oneOf(problems, problem) ?? problem?.message ?? 'is wrong');
  return new FieldError('REQUEST_INVALID', field, `${field === '' ? 'the request' : field} ${what}`);
}

/** What a value must be when it fits no alternative of its schema: the values listed there, or what is wrong in one of them. */
function oneOf(problems: readonly SchemaProblem[], problem: SchemaProblem | undefined): string | undefined {
  if (problem?.keyword !== 'anyOf') return undefined;
  const allowed = problems
    .filter(({ instancePath }) => instancePath === problem.instancePath)
    .flatMap(({ params }) => ('allowedValue' in params ? [String(params.allowedValue)] : []));
  if (allowed.length > 0) return `must be one of ${allowed.join(', ')}`;
  const failed = problems.filter(({ keyword }) => keyword !== 'anyOf' && keyword !== 'boolean');
  const inner = failed.find(({ instancePath }) => instancePath !== problem.instancePath);
  if (inner !== undefined) return `is wrong at ${inner.instancePath}: ${inner.message}`;
  const limit = failed.find(({ keyword }) => keyword !== 'type');
  return limit?.message ?? failed.map(({ message }) => message).join(', or ');
}

// ---- the answer -----------------------------------------------------------------------------------------------------

async function answer(
  views: Views,
  route: Route,
  request: FastifyRequest,
  reply: FastifyReply,
  options: HttpOptions,
  repeated: RepeatedRequests<ApiResponse>,
) {
  const asked = { query: request.query, params: request.params, body: request.body } as ApiRequest;
  const key = route.takesKey ? keyIn(request) : undefined;
  const response = await (key === undefined
    ? route.handle(views, asked)
    : repeated.answer(`${route.path} ${key}`, JSON.stringify(asked.body), () => route.handle(views, asked)));
  const isTaken = response.kind === 'elsewhere' || response.status < 400;
  if (route.role === 'admin' && isTaken) audit(route, request, asked, options);
  if (response.kind === 'text') return reply.status(response.status).type(response.type).send(response.body);
  if (response.kind === 'json') return reply.status(response.status).send(response.body);
  const { status, body } = await askOwner(response.address, request, options);
  return reply.status(status).type('application/json; charset=utf-8').serializer(String).send(body);
}

/** Throws REQUEST_INVALID. */
function keyIn(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined || (typeof key === 'string' && /^[\x21-\x7e]{1,128}$/.test(key))) return key;
  throw new FieldError('REQUEST_INVALID', 'Idempotency-Key', 'Idempotency-Key must be 1 to 128 visible characters');
}

/** Records who changed what, without the body's text, which may contain anything. */
function audit(route: Route, request: FastifyRequest, { params, body }: ApiRequest, options: HttpOptions): void {
  const { action, answer, topic, requestId } = (Array.isArray(body) ? {} : body) as Record<string, unknown>;
  const facts = { audit: true, route: route.path, ip: request.ip, ...params, action, answer, topic, requestId };
  options.logger.info(facts, 'a request that changes something was accepted');
}

async function askOwner(address: string, request: FastifyRequest, options: HttpOptions) {
  if (request.headers[FORWARDED] !== undefined)
    throw new AppError('OWNER_UNREACHABLE', 'two instances disagree about which one owns this: try again in a moment');
  if (!isHostPort(address))
    throw new AppError(
      'OWNER_UNREACHABLE',
      'the instance that owns this advertises no address: set FORESHARD_HTTP_ADVERTISED there',
      { address },
    );
  try {
    const response = await fetch(`http://${address}${request.raw.url}`, {
      method: request.method,
      headers: {
        [FORWARDED]: '1',
        ...(request.headers.authorization === undefined ? {} : { authorization: request.headers.authorization }),
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      redirect: 'error',
      signal: AbortSignal.timeout(options.peerTimeoutMs),
    });
    const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
    if (!isJson || response.status === 401) throw new Error(`it answers ${response.status}`);
    return { status: response.status, body: await boundedText(response) };
  } catch (cause) {
    options.logger.warn({ address, reason: String(cause) }, 'the instance that owns a key did not answer for it');
    throw new AppError('OWNER_UNREACHABLE', 'the instance that owns this does not answer', { address }, cause);
  }
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    if (sizeBytes > PEER_BYTES_MAX) throw new Error(`its answer has more than ${PEER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, options: HttpOptions) {
  secureHeaders(reply, API_POLICY);
  const known = error instanceof AppError ? error : translated(error as Partial<FastifyError>);
  const status = (known?.facts.status as number | undefined) ?? (known && STATUS[known.code]);
  if (known === undefined || status === undefined) {
    options.logger.error({ error, route: request.routeOptions?.url }, 'an HTTP request failed because of a bug');
    return reply.status(500).send({ code: 'INTERNAL', message: 'internal error; see the log' }); // H3
  }
  if (typeof known.facts.allow === 'string') reply.header('allow', known.facts.allow);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  if (known.code === 'TOO_MANY_REQUESTS') reply.header('retry-after', String(known.facts.retryAfterSeconds ?? 1));
  const field = known instanceof FieldError && known.field !== '' ? { field: known.field } : {};
  return reply.status(status).send({ code: known.code, message: known.message, ...field });
}

/** Fastify's own refusals with our messages; `undefined` for anything that is not the caller's fault. */
function translated({ statusCode }: Partial<FastifyError>): AppError | undefined {
  if (statusCode === 413)
    return new AppError('REQUEST_INVALID', `the body has more than ${BODY_BYTES_MAX} bytes`, { status: 413 });
  if (statusCode === 415) return new AppError('REQUEST_INVALID', 'a body must be application/json', { status: 415 });
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new AppError('REQUEST_INVALID', 'the request is not valid HTTP, or its body is not valid JSON', {
      status: 400,
    });
  return undefined;
}

const BROKEN: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'the header is too large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'the request took too long'],
};

const UNKNOWN_METHOD = ['405 Method Not Allowed', 'this method is not supported'] as const;
/** A request line that is valid except for its method, which Node does not know. */
const REQUEST_LINE = /^[A-Z][A-Z-]{1,31} \/\S* HTTP\/1\.[01]\r?\n/;

/** Input that is not an HTTP request: answered on the raw socket, which is then closed. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { rawPacket = [] } = error as { rawPacket?: Uint8Array };
  const isOtherMethod =
    error.code === 'HPE_INVALID_METHOD' && REQUEST_LINE.test(Buffer.from(rawPacket).toString('latin1'));
  const [status, message] = isOtherMethod
    ? UNKNOWN_METHOD
    : (BROKEN[error.code ?? ''] ?? ['400 Bad Request', 'the request is not HTTP']);
  const body = JSON.stringify({ code: 'REQUEST_INVALID', message });
  const allow = status.startsWith('405') ? 'Allow: GET, HEAD, POST\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status}\r\n${allow}Content-Type: application/json; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function secureHeaders(reply: FastifyReply, policy: string): void {
  reply.headers({
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cache-control': 'no-store',
  });
}

// ---- the documentation ----------------------------------------------------------------------------------------------

async function documented(app: FastifyInstance, options: HttpOptions): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Foreshard',
        version: '1',
        description: 'Forecasts subscription load and moves shards ahead of it.',
      },
      ...(hasTokens(options)
        ? { components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } } }
        : {}),
    },
    transform: ({ schema, url, route }) => {
      const { querystring, body, ...rest } = schema as Record<'querystring' | 'body', TSchema | undefined>;
      const published = {
        ...rest,
        ...(querystring === undefined ? {} : { querystring: publishedQuery(querystring) }),
        ...(body === undefined ? {} : { body: publishedBody(route.url, body) }),
      };
      return { schema: published, url };
    },
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { persistAuthorization: false } });
}

const hasTokens = ({ adminToken }: HttpOptions): boolean => adminToken !== '';

function schemaOf(route: Route, options: HttpOptions) {
  return {
    summary: route.about,
    ...(route.role === 'anyone' || !hasTokens(options) ? {} : { security: [{ bearer: [] }] }),
    ...(route.query === undefined ? {} : { querystring: route.query }),
    ...(route.params === undefined ? {} : { params: route.params }),
    ...(route.body === undefined ? {} : { body: route.body }),
    response: responsesOf(route, hasTokens(options)),
  };
}
