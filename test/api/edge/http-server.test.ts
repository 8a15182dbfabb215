// The HTTP server without a socket: who gets what, what is refused and how, and what is passed on to an owner.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { InjectOptions } from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { ROUTES } from '../../../api/api.ts';
import { serveHttp } from '../../../api/edge/http-server.ts';
import type { Views } from '../../../api/views.ts';
import { type Logger, silentLogger } from '../../../runtime/telemetry.ts';
import { AppError } from '../../../schemas/errors.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { ADMIN_TOKEN, appOf, CLOSED, OPEN, READ_TOKEN } from '../../support/http-app.ts';

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

describe('who may do what', () => {
  const heartbeat = { kind: 'BrokerHeartbeat', brokerId: 'b', pointerOffset: 1, timestamp: 5 };
  const cases: Record<string, { ask: InjectOptions; statuses: readonly [number, number, number, number] }> = {
    // no token, bad token, read, admin
    'GET /predict_load': { ask: { url: '/predict_load?topic=a' }, statuses: [401, 401, 200, 200] },
    'GET /get_shard_id': { ask: { url: '/get_shard_id?topic=a' }, statuses: [401, 401, 200, 200] },
    'POST /update_metrics': { ask: { url: '/update_metrics', payload: heartbeat }, statuses: [401, 401, 403, 202] },
    'POST /predict_and_shard': {
      ask: { url: '/predict_and_shard', payload: { topic: 'a' } },
      statuses: [401, 401, 403, 200],
    },
    'GET /shards': { ask: { url: '/shards' }, statuses: [401, 401, 200, 200] },
    'GET /moves': { ask: { url: '/moves' }, statuses: [401, 401, 200, 200] },
    'POST /moves/:id': {
      ask: { url: '/moves/move-000001', payload: { action: 'PAUSE' } },
      statuses: [401, 401, 403, 202],
    },
    'GET /plans': { ask: { url: '/plans' }, statuses: [401, 401, 200, 200] },
    'POST /plans/:id': {
      ask: { url: '/plans/plan-000001', payload: { answer: 'APPROVE' } },
      statuses: [401, 401, 403, 202],
    },
    'GET /sessions/operations': { ask: { url: '/sessions/operations' }, statuses: [401, 401, 200, 200] },
    'POST /sessions/operations/:id': {
      ask: { url: '/sessions/operations/lose-5-00000001', payload: { action: 'CANCEL' } },
      statuses: [401, 401, 403, 202],
    },
    'GET /checks': { ask: { url: '/checks' }, statuses: [401, 401, 200, 200] },
    'POST /rebuilds': {
      ask: { url: '/rebuilds', payload: { shardId: 'shard-0001' } },
      statuses: [401, 401, 403, 200],
    },
    'POST /checks': { ask: { url: '/checks', payload: { repair: true } }, statuses: [401, 401, 403, 202] },
    'GET /decisions': { ask: { url: '/decisions' }, statuses: [401, 401, 200, 200] },
    'GET /dead-letters': { ask: { url: '/dead-letters' }, statuses: [401, 401, 200, 200] },
    'GET /': { ask: { url: '/' }, statuses: [200, 200, 200, 200] },
    'GET /livez': { ask: { url: '/livez' }, statuses: [200, 200, 200, 200] },
    'GET /readyz': { ask: { url: '/readyz' }, statuses: [200, 200, 200, 200] },
    'GET /metrics': { ask: { url: '/metrics' }, statuses: [401, 401, 200, 200] },
  };

  test('every route is in this table, and in the published OpenAPI', async () => {
    const routes = ROUTES.map(({ method, path }) => `${method} ${path}`);
    expect(Object.keys(cases).sort()).toEqual([...routes].sort());
    const openapi = (await (await appOf(OPEN)).inject('/docs/json')).json();
    const published = Object.entries(openapi.paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
    );
    expect(published.sort()).toEqual([...routes].sort());
  });

  for (const [route, { ask, statuses }] of Object.entries(cases))
    test(route, async () => {
      const app = await appOf(CLOSED);
      const method = route.split(' ')[0] as 'GET' | 'POST';
      const tokens = [undefined, 'Bearer not-a-token-at-all', `Bearer ${READ_TOKEN}`, `Bearer ${ADMIN_TOKEN}`];
      const found: number[] = [];
      for (const authorization of tokens)
        found.push((await app.inject({ ...ask, method, headers: authorization ? { authorization } : {} })).statusCode);
      expect(found).toEqual(statuses);
    });

  for (const { name, authorization } of [
    { name: 'empty', authorization: '' },
    { name: 'without a scheme', authorization: READ_TOKEN },
    { name: 'of another scheme', authorization: `Basic ${Buffer.from(`u:${READ_TOKEN}`).toString('base64')}` },
    { name: 'an empty bearer', authorization: 'Bearer ' },
    { name: 'a prefix of the right one', authorization: `Bearer ${READ_TOKEN.slice(0, -1)}` },
    { name: 'the right one and more', authorization: `Bearer ${READ_TOKEN}x` },
    { name: 'two tokens', authorization: `Bearer ${READ_TOKEN} ${ADMIN_TOKEN}` },
    { name: 'a JWT with alg none', authorization: 'Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.' },
    { name: 'very long', authorization: `Bearer ${'x'.repeat(10_000)}` },
  ])
    test(`a token is not known: ${name}`, async () => {
      const answer = await (await appOf(CLOSED)).inject({ url: '/shards', headers: { authorization } });
      expect(answer.statusCode).toBe(401);
      expect(answer.headers['www-authenticate']).toBe('Bearer');
      expect(answer.json()).toMatchObject({ code: 'UNAUTHORIZED' });
    });

  test('a token in the URL is not one', async () => {
    const app = await appOf(CLOSED);
    expect((await app.inject(`/shards?token=${ADMIN_TOKEN}`)).statusCode).toBe(401);
    expect((await app.inject(`/shards?access_token=${ADMIN_TOKEN}`)).statusCode).toBe(401);
  });

  test('after ten wrong tokens an address waits, even with the right one; others do not', async () => {
    let now = 1_000_000;
    const app = await appOf({ ...CLOSED, now: () => now });
    const ask = (token: string, remoteAddress = '10.0.0.1') =>
      app.inject({ url: '/shards', headers: { authorization: `Bearer ${token}` }, remoteAddress });
    for (let attempt = 0; attempt < 10; attempt++) expect((await ask('wrong')).statusCode).toBe(401);
    const refused = await ask(READ_TOKEN);
    expect([refused.statusCode, refused.headers['retry-after'], refused.json().code]).toEqual([
      429,
      '1',
      'TOO_MANY_REQUESTS',
    ]);
    expect((await ask(READ_TOKEN, '10.0.0.2')).statusCode).toBe(200);
    expect((await app.inject({ url: '/readyz', remoteAddress: '10.0.0.1' })).statusCode).toBe(200);
    now += 1_000;
    expect((await ask(READ_TOKEN)).statusCode).toBe(200);
  });

  test('an open address without tokens is not listened on', async () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.1'])
      await expect(serveHttp(fakeViews(), { ...OPEN, host })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(serveHttp(fakeViews(), { ...OPEN, host: '0.0.0.0', readToken: READ_TOKEN })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  for (const { host, status } of [
    { host: 'localhost:8080', status: 200 },
    { host: '127.0.0.1', status: 200 },
    { host: '[::1]:8080', status: 200 },
    { host: 'fleet-1:8080', status: 200 },
    { host: 'evil.example.org', status: 421 },
    { host: '127.0.0.1.evil.example.org', status: 421 },
    { host: 'localhost.evil.example.org:8080', status: 421 },
  ])
    test(`without tokens, a request for the host '${host}' is ${status}`, async () => {
      const app = await appOf({ ...OPEN, advertised: 'fleet-1:8080' });
      expect((await app.inject({ url: '/shards', headers: { host } })).statusCode).toBe(status);
    });
});

describe('the answers', () => {
  test('/predict_load gives the topic’s share of its series, up to the horizon', async () => {
    const app = await appOf(OPEN);
    const all = (await app.inject('/predict_load?topic=a/b&signal=PUBLISHES')).json();
    expect(all).toMatchObject({
      topic: 'a/b',
      signal: 'PUBLISHES',
      share: 0.5,
      currentPerSecond: 4,
      distinctClients: 5,
      bytesPerSecond: 50,
      levels: [0.5, 0.95],
    });
    expect(all.steps).toEqual([
      { from: 1_700_000_000_000, perSecond: [5, 10] },
      { from: 1_700_000_060_000, perSecond: [6, 12] },
      { from: 1_700_000_120_000, perSecond: [7, 14] },
    ]);
    expect(all.later).toEqual([{ from: 1_700_000_000_000 + 7_140_000, perSecond: [4, 20] }]);
    expect(all).toMatchObject({ weights: { seasonal: 1 }, recentError: 0.8, coverage: 0.94, stepsSeen: 5_000 });
    const near = (await app.inject('/predict_load?topic=a/b&horizon=2')).json();
    expect(near.steps).toHaveLength(2);
    expect(near.later).toEqual([]);
  });

  test('/get_shard_id names the shard, its datastore and what a message asks', async () => {
    expect((await (await appOf(OPEN)).inject('/get_shard_id?topic=a%2Fb')).json()).toMatchObject({
      topic: 'a/b',
      shardId: 'shard-0001',
      slice: 'c/0/',
      shards: [{ datastoreType: 'level-small', instanceId: 'instance-1' }],
      publishAsks: ['shard-0001'],
    });
  });

  test('/predict_and_shard waits for the decision, and names the shard with it', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const ask = (payload: object) => app.inject({ method: 'POST', url: '/predict_and_shard', payload });
    const answer = await ask({ topic: 'a/+', type: 'wildcard', client: 'me', requestId: 'mine' });
    expect([answer.statusCode, answer.json()]).toMatchObject([
      200,
      {
        requestId: 'mine',
        topic: 'a/+',
        type: 'wildcard',
        shardId: 'shard-0001',
        decision: { kind: 'KEEP', requestId: 'mine' },
      },
    ]);
    expect(views.asked).toEqual(['plan a/+', 'shard a/+ of me']);
    expect((await ask({ topic: '$share/g/a' })).json()).toMatchObject({ type: 'concrete', requestId: 'request-1' });
    expect((await ask({ topic: 'none' })).statusCode).toBe(404);
  });

  test('/predict_and_shard answers 202 with the id when the planner takes its time', async () => {
    const app = await appOf(OPEN);
    const answer = await app.inject({ method: 'POST', url: '/predict_and_shard', payload: { topic: 'slow' } });
    expect([answer.statusCode, answer.json()]).toEqual([
      202,
      { requestId: 'request-1', topic: 'slow', type: 'concrete' },
    ]);
  });

  test('wildcard filters are asked for like topics', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    for (const path of ['predict_load', 'get_shard_id'])
      expect((await app.inject(`/${path}?topic=${encodeURIComponent('$share/g/a/+/#')}`)).statusCode).toBe(200);
    expect((await app.inject('/get_shard_id?topic=a&client=me')).statusCode).toBe(200);
    expect(views.asked).toEqual(['SUBSCRIPTIONS $share/g/a/+/#', 'shard $share/g/a/+/#', 'shard a of me']);
  });

  test('/update_metrics takes what is right and names what is wrong, by index, code and field', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const traffic = {
      kind: 'TopicTraffic',
      brokerId: 'b',
      topic: 'a/b',
      publishes: 1,
      bytes: 2,
      windowStart: 3,
      windowMs: 4,
    };
    const load = {
      kind: 'DatastoreMetrics',
      shardId: 's',
      instanceId: 'i',
      cpu: 0.5,
      memoryBytes: 1,
      memoryLimitBytes: 2,
      iops: 3,
      iopsLimit: 4,
      entries: 5,
      lookupP99Ms: 6,
      timestamp: 7,
    };
    const answer = await app.inject({
      method: 'POST',
      url: '/update_metrics',
      payload: [
        { ...traffic, isAdmin: true },
        { body: load },
        { ...traffic, topic: 'a/+' },
        { ...load, cpu: 50 },
        { ...load, cpu: '0.5' },
        { ...load, shardId: '../etc' },
        { ...traffic, windowMs: 0 },
        { ...traffic, bytes: 1.5 },
        { ...traffic, brokerId: '\ud800' },
        { ...load, timestamp: undefined },
        { kind: 'MoveRequest', requestId: 'r', moveId: 'm', action: 'ABORT', rowsPerSecond: 0, timestamp: 5 },
        { kind: 'constructor' },
        {},
      ],
    });
    expect(answer.statusCode).toBe(202);
    expect(answer.json()).toMatchObject({ accepted: 2, refused: 11 });
    expect(
      answer.json().refusals.map((r: { index: number; code: string; field: string }) => [r.index, r.code, r.field]),
    ).toEqual([
      [2, 'TOPIC_INVALID', 'topic'],
      [3, 'METRIC_INVALID', 'cpu'],
      [4, 'METRIC_INVALID', 'cpu'],
      [5, 'SHARD_INVALID', 'shardId'],
      [6, 'METRIC_INVALID', 'windowMs'],
      [7, 'METRIC_INVALID', 'bytes'],
      [8, 'METRIC_INVALID', 'brokerId'],
      [9, 'METRIC_INVALID', 'timestamp'],
      [10, 'METRIC_INVALID', 'kind'],
      [11, 'METRIC_INVALID', 'kind'],
      [12, 'METRIC_INVALID', 'kind'],
    ]);
    const unsaid = { nodesPerLookup: -1, matchesPerLookup: -1 };
    expect(views.sent).toEqual([{ body: traffic }, { body: { ...load, ...unsaid } }]);
  });

  test('/dead-letters are told in pages', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    for (const [url, status] of [
      ['/dead-letters', 200],
      ['/dead-letters?limit=1000&cursor=7', 200],
      ['/dead-letters?limit=1001', 400],
      ['/dead-letters?limit=0', 400],
      ['/dead-letters?cursor=-1', 400],
      ['/dead-letters?cursor=x', 400],
    ] as const)
      expect([url, (await app.inject(url)).statusCode]).toEqual([url, status]);
    expect(views.asked).toEqual(['dead letters undefined 100', 'dead letters 7 1000']);
    expect((await app.inject('/dead-letters')).json()).toMatchObject({
      letters: [{ number: 7, code: 'FILTER_INVALID', topic: 'subscriptions', partition: 3, offset: 41 }],
      next: '7',
    });
  });

  describe('/update_metrics with nothing that is right', () => {
    const heartbeat = { kind: 'BrokerHeartbeat', brokerId: '', pointerOffset: 1, timestamp: 5 };
    const refusal = { code: 'BROKER_INVALID', field: 'brokerId' };
    test.each([
      {
        name: 'one metric',
        payload: heartbeat,
        says: { ...refusal, message: 'brokerId must have 1 to 128 bytes and no control characters', refused: 1 },
        codes: ['BROKER_INVALID'],
      },
      {
        name: 'a list',
        payload: [heartbeat, { kind: 'TopicTraffic' }, {}],
        says: { ...refusal, message: expect.stringMatching(/^all 3 were refused: brokerId must/), refused: 3 },
        codes: ['BROKER_INVALID', 'METRIC_INVALID', 'METRIC_INVALID'],
      },
    ])('$name is 400 with the codes, and nobody is told that it was taken', async ({ payload, says, codes }) => {
      const views = fakeViews();
      const lines: object[] = [];
      const app = await appOf({ ...OPEN, logger: { ...silentLogger, info: (facts) => void lines.push(facts) } }, views);
      const answer = await app.inject({ method: 'POST', url: '/update_metrics', payload });
      expect(answer.statusCode).toBe(400);
      expect(answer.json()).toMatchObject({ accepted: 0, ...says });
      expect(answer.json().refusals.map(({ code }: { code: string }) => code)).toEqual(codes);
      expect(views.sent).toEqual([]);
      expect(lines).toEqual([]);
    });
  });

  test.each([
    { payload: [], says: 'the request must not have fewer than 1 items' },
    { payload: [5], says: 'the request is wrong at /0: must be object' },
    { payload: '5', says: 'the request must be object, or must be array' },
  ])('/update_metrics with $payload is refused in words that name the problem', async ({ payload, says }) => {
    const app = await appOf(OPEN, fakeViews());
    const headers = { 'content-type': 'application/json' };
    const answer = await app.inject({ method: 'POST', url: '/update_metrics', payload, headers });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ code: 'REQUEST_INVALID', message: says });
  });

  test('a move is steered once for each request id, and the audit line says who did what', async () => {
    const views = fakeViews();
    const lines: Record<string, unknown>[] = [];
    const logger: Logger = { ...silentLogger, info: (facts) => void lines.push({ ...facts }) };
    const app = await appOf({ ...OPEN, logger }, views);
    const payload = { action: 'THROTTLE', rowsPerSecond: 100, requestId: 'mine' };
    expect((await app.inject({ method: 'POST', url: '/moves/move-000001', payload })).json()).toEqual({
      requestId: 'request-2',
      moveId: 'move-000001',
      action: 'THROTTLE',
    });
    expect(views.steered).toEqual([
      { moveId: 'move-000001', action: 'THROTTLE', rowsPerSecond: 100, requestId: 'mine' },
    ]);
    expect(lines).toEqual([
      expect.objectContaining({
        audit: true,
        route: '/moves/:id',
        id: 'move-000001',
        action: 'THROTTLE',
        requestId: 'mine',
        ip: '127.0.0.1',
      }),
    ]);
  });

  test('a plan is approved or rejected by its id, and one that is not there is told so', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const answer = (id: string, payload: object) => app.inject({ method: 'POST', url: `/plans/${id}`, payload });
    expect((await answer('plan-000001', { answer: 'APPROVE', requestId: 'mine' })).json()).toEqual({
      requestId: 'mine',
      planId: 'plan-000001',
      answer: 'APPROVE',
    });
    expect(views.answered).toEqual([{ planId: 'plan-000001', answer: 'APPROVE', requestId: 'mine' }]);
    expect((await answer('plan-000009', { answer: 'REJECT' })).statusCode).toBe(404);
    expect((await answer('plan-000001', { answer: 'MAYBE' })).statusCode).toBe(400);
    expect((await answer('plan-000001', {})).statusCode).toBe(400);
  });

  test('operations on sessions are listed, and one that is named is stopped', async () => {
    const app = await appOf(OPEN);
    const listed = (await app.inject('/sessions/operations')).json();
    expect(listed.operations).toMatchObject([{ operationId: 'lose-5-00000001', state: 'RUNNING', finished: 3 }]);
    const stop = (id: string, payload: object) =>
      app.inject({ method: 'POST', url: `/sessions/operations/${id}`, payload });
    const stopped = await stop('lose-5-00000001', { action: 'CANCEL' });
    expect([stopped.statusCode, stopped.json()]).toEqual([202, { operationId: 'lose-5-00000001', action: 'CANCEL' }]);
    expect((await stop('lose-6-00000001', { action: 'CANCEL' })).statusCode).toBe(404);
    expect((await stop('lose-5-00000001', { action: 'STOP' })).statusCode).toBe(400);
  });

  test('/readyz and /livez are 503 with their reasons while they say no', async () => {
    const app = await appOf(OPEN, {
      ready: () => ({
        ready: false,
        reasons: ['task 3 is being restored'],
        restorePercent: 41,
        waiting: [],
        lagRecords: 7,
        standing: [],
      }),
      live: () => ({ live: false, reasons: ['no commit for 60 s'] }),
    });
    const ready = await app.inject('/readyz');
    expect([ready.statusCode, ready.json()]).toEqual([
      503,
      {
        ready: false,
        reasons: ['task 3 is being restored'],
        restorePercent: 41,
        waiting: [],
        lagRecords: 7,
        standing: [],
      },
    ]);
    expect((await app.inject('/livez')).statusCode).toBe(503);
  });

  test('/metrics is Prometheus text', async () => {
    const answer = await (await appOf(OPEN)).inject('/metrics');
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(answer.body).toBe('foreshard_up 1\n');
  });

  test('pages are served from memory, under a policy that allows no foreign code', async () => {
    const pages = new Map([['/', { contentType: 'text/html; charset=utf-8', body: '<!doctype html>' }]]);
    const answer = await (await appOf({ ...OPEN, pages })).inject('/');
    expect(answer.body).toBe('<!doctype html>');
    expect(answer.headers['content-security-policy']).toContain("script-src 'self'");
    expect(answer.headers['content-security-policy']).not.toContain('unsafe');
  });

  test('every answer carries the security headers, and may not be kept or shared with other origins', async () => {
    const app = await appOf(CLOSED);
    for (const url of ['/livez', '/shards', '/nothing', '/predict_load?topic=%zz']) {
      const { headers } = await app.inject(url);
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
      });
      expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
      expect(headers['access-control-allow-origin']).toBeUndefined();
    }
  });

  test('the documentation is a page that loads no foreign code', async () => {
    const answer = await (await appOf(OPEN)).inject('/docs/');
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-security-policy']).toContain("default-src 'self'");
  });
});

describe('what is refused', () => {
  const json = { 'content-type': 'application/json' };
  const post = (payload: string | Buffer, headers: Record<string, string> = json): InjectOptions => ({
    method: 'POST',
    url: '/predict_and_shard',
    payload,
    headers,
  });
  for (const { name, ask, status, code = 'REQUEST_INVALID', field } of [
    { name: 'no topic', ask: { url: '/predict_load' }, status: 400, field: 'topic' },
    { name: 'an empty topic', ask: { url: '/predict_load?topic=' }, status: 400, field: 'topic' },
    {
      name: 'a filter that is none',
      ask: { url: '/predict_load?topic=a%2Fb%23' },
      status: 400,
      code: 'FILTER_INVALID',
      field: 'topic',
    },
    {
      name: 'a NUL in a topic',
      ask: { url: '/get_shard_id?topic=a%00b' },
      status: 400,
      code: 'FILTER_INVALID',
      field: 'topic',
    },
    { name: 'a topic twice', ask: { url: '/predict_load?topic=a&topic=b' }, status: 400, field: 'topic' },
    { name: 'a thousand topics', ask: { url: `/predict_load?${'topic=a&'.repeat(900)}` }, status: 400, field: 'topic' },
    { name: 'a topic of bad percent signs', ask: { url: '/moves/%zz' }, status: 400 },
    { name: 'a parameter nobody knows', ask: { url: '/predict_load?topic=a&horzon=5' }, status: 400, field: 'horzon' },
    {
      name: 'parameters that reach for a prototype',
      ask: { url: '/predict_load?topic=a&a[]=1&a[__proto__]=2' },
      status: 400,
      field: 'a[]',
    },
    { name: '__proto__ as a parameter', ask: { url: '/shards?__proto__=1' }, status: 400, field: '__proto__' },
    { name: 'an unknown signal', ask: { url: '/predict_load?topic=a&signal=x' }, status: 400, field: 'signal' },
    { name: 'a horizon of 0', ask: { url: '/predict_load?topic=a&horizon=0' }, status: 400, field: 'horizon' },
    { name: 'a horizon of NaN', ask: { url: '/predict_load?topic=a&horizon=NaN' }, status: 400, field: 'horizon' },
    {
      name: 'a horizon with an exponent',
      ask: { url: '/predict_load?topic=a&horizon=1e2' },
      status: 400,
      field: 'horizon',
    },
    { name: 'a limit of -1', ask: { url: '/decisions?limit=-1' }, status: 400, field: 'limit' },
    { name: 'a limit of 1e9', ask: { url: '/decisions?limit=1000000000' }, status: 400, field: 'limit' },
    { name: 'a limit in hexadecimal', ask: { url: '/decisions?limit=0x10' }, status: 400, field: 'limit' },
    { name: 'a forged cursor', ask: { url: '/decisions?cursor=%27%20OR%201=1' }, status: 400, field: 'cursor' },
    { name: 'no forecast', ask: { url: '/predict_load?topic=none' }, status: 404, code: 'NOT_FOUND' },
    { name: 'no pointer', ask: { url: '/get_shard_id?topic=none' }, status: 404, code: 'NOT_FOUND' },
    {
      name: 'no such move',
      ask: { ...post('{"action":"ABORT"}'), url: '/moves/nobody' },
      status: 404,
      code: 'NOT_FOUND',
      field: 'id',
    },
    {
      name: 'a move id that climbs',
      ask: { ...post('{"action":"ABORT"}'), url: '/moves/..%2f..%2fetc' },
      status: 400,
      field: 'id',
    },
    {
      name: 'an unknown action',
      ask: { ...post('{"action":"EXPLODE"}'), url: '/moves/move-000001' },
      status: 400,
      field: 'action',
    },
    {
      name: 'THROTTLE without a rate',
      ask: { ...post('{"action":"THROTTLE"}'), url: '/moves/move-000001' },
      status: 400,
      field: 'rowsPerSecond',
    },
    {
      name: 'a rate as text',
      ask: { ...post('{"action":"THROTTLE","rowsPerSecond":"5"}'), url: '/moves/move-000001' },
      status: 400,
      field: 'rowsPerSecond',
    },
    { name: 'a field nobody knows', ask: post('{"topic":"a","epoch":9}'), status: 400, field: 'epoch' },
    {
      name: 'what is no filter to plan for',
      ask: post('{"topic":"a#"}'),
      status: 400,
      code: 'FILTER_INVALID',
      field: 'topic',
    },
    { name: 'a wildcard called concrete', ask: post('{"topic":"a/#","type":"concrete"}'), status: 400, field: 'type' },
    { name: 'a topic called a wildcard', ask: post('{"topic":"a","type":"wildcard"}'), status: 400, field: 'type' },
    { name: 'a type nobody knows', ask: post('{"topic":"a","type":"shared"}'), status: 400, field: 'type' },
    { name: 'a client without a name', ask: post('{"topic":"a","client":""}'), status: 400, field: 'client' },
    { name: 'a list for an object', ask: post('[]'), status: 400 },
    { name: 'null', ask: post('null'), status: 400 },
    { name: 'no metrics', ask: { ...post('[]'), url: '/update_metrics' }, status: 400 },
    { name: 'an empty body', ask: post(''), status: 400 },
    { name: 'half a body', ask: post('{"topic":'), status: 400 },
    { name: 'a body with a prototype', ask: post('{"topic":"a","__proto__":{"polluted":1}}'), status: 400 },
    {
      name: 'a body with a constructor',
      ask: post('{"topic":"a","constructor":{"prototype":{"polluted":1}}}'),
      status: 400,
    },
    { name: 'a body nested deeply', ask: post('['.repeat(100_000)), status: 400 },
    {
      name: 'a body that is not UTF-8',
      ask: post(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])),
      status: 400,
    },
    { name: 'a body over a MiB', ask: post(`{"topic":"${'a'.repeat(1_048_576)}"}`), status: 413 },
    { name: 'a text', ask: post('topic=a', { 'content-type': 'text/plain' }), status: 415 },
    { name: 'a form', ask: post('topic=a', { 'content-type': 'application/x-www-form-urlencoded' }), status: 415 },
    { name: 'no content type', ask: post(Buffer.from('{}'), {}), status: 415 },
    { name: 'UTF-7', ask: post('{"topic":"a"}', { 'content-type': 'application/json; charset=utf-7' }), status: 415 },
    {
      name: 'a charset nobody knows',
      ask: post('{"topic":"a"}', { 'content-type': 'application/json; charset=x' }),
      status: 415,
    },
    { name: 'a compressed body', ask: post('{"topic":"a"}', { ...json, 'content-encoding': 'gzip' }), status: 415 },
    { name: 'an encoding nobody knows', ask: post('{"topic":"a"}', { ...json, 'content-encoding': 'x' }), status: 415 },
    { name: 'a URL over 8 KiB', ask: { url: `/predict_load?topic=${'a'.repeat(8_192)}` }, status: 414 },
    { name: 'PUT where there is GET', ask: { method: 'PUT', url: '/shards' }, status: 405 },
    { name: 'DELETE', ask: { method: 'DELETE', url: '/moves/move-000001' }, status: 405 },
    {
      name: 'OPTIONS of a foreign origin',
      ask: { method: 'OPTIONS', url: '/shards', headers: { origin: 'https://evil.example' } },
      status: 405,
    },
    { name: 'GET where there is POST', ask: { url: '/update_metrics' }, status: 405 },
    ...[
      '/..%5c',
      '//',
      '/.git/config',
      '/docs/static/..%2f..%2f..%2fpackage.json',
      '/docs/static/%2e%2e/%2e%2e/package.json',
      '/%00',
    ].map((url) => ({ name: `the path ${url}`, ask: { url }, status: 404, code: 'NOT_FOUND' })),
  ] as { name: string; ask: InjectOptions; status: number; code?: string; field?: string }[])
    test(`${name} is ${status}`, async () => {
      const answer = await (await appOf(OPEN)).inject(ask);
      expect(answer.statusCode).toBe(status);
      const body = answer.json();
      expect(body).toMatchObject({ code, ...(field === undefined ? {} : { field }) });
      expect(Object.keys(body).filter((key) => !['code', 'message', 'field'].includes(key))).toEqual([]);
      expect(answer.body).not.toMatch(/node_modules|\.ts:|at \w+ \(/);
      expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    });

  for (const { url, body, message } of [
    {
      url: '/moves/move-000001',
      body: '{"action":"stop"}',
      message: 'action must be one of ABORT, PAUSE, RESUME, THROTTLE',
    },
    { url: '/plans/plan-000001', body: '{"answer":"yes"}', message: 'answer must be one of APPROVE, REJECT' },
  ])
    test(`${url} of ${body} is told what there is`, async () => {
      const answer = await (await appOf(OPEN)).inject({ ...post(body), url });
      expect([answer.statusCode, answer.json().message]).toEqual([400, message]);
    });

  test('HEAD is GET without a body', async () => {
    const answer = await (await appOf(OPEN)).inject({ method: 'HEAD', url: '/shards' });
    expect([answer.statusCode, answer.body]).toEqual([200, '']);
  });

  for (const { name, error, status, code } of [
    { name: 'a fault of ours', error: new TypeError('secret inside /home/x'), status: 500, code: 'INTERNAL' },
    {
      name: 'a failure that is no caller’s business',
      error: new AppError('STORE_CORRUPT', 'secret inside'),
      status: 500,
      code: 'INTERNAL',
    },
    {
      name: 'a log that does not answer',
      error: new AppError('LOG_UNAVAILABLE', 'Kafka does not answer'),
      status: 503,
      code: 'LOG_UNAVAILABLE',
    },
    {
      name: 'a cursor that the view refuses',
      error: new AppError('REQUEST_INVALID', 'no such cursor'),
      status: 400,
      code: 'REQUEST_INVALID',
    },
  ])
    test(`${name} is ${status}, and tells nothing of the inside`, async () => {
      const logged: unknown[] = [];
      const logger: Logger = { ...silentLogger, error: (facts) => void logged.push(facts.error) };
      const app = await appOf({ ...OPEN, logger }, { shards: () => Promise.reject(error) });
      const answer = await app.inject('/shards');
      expect([answer.statusCode, answer.json().code]).toEqual([status, code]);
      expect(answer.body).not.toContain('secret');
      expect(logged).toEqual(status === 500 ? [error] : []);
    });
});

describe('a key that another instance owns', () => {
  const elsewhere = (address: string): Partial<Views> => ({ shards: async () => ({ kind: 'elsewhere', address }) });

  test('is asked for there, with the caller’s token, and the answer comes back as it is', async () => {
    const owner = await serveHttp(fakeViews(), CLOSED);
    ends.push(() => owner.close());
    const app = await appOf(CLOSED, elsewhere(`127.0.0.1:${owner.port}`));
    const answer = await app.inject({ url: '/shards', headers: { authorization: `Bearer ${READ_TOKEN}` } });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
    expect(answer.json().shards[0].shardId).toBe('shard-0001');
  });

  test('a change is passed on with its body', async () => {
    const views = fakeViews();
    const owner = await serveHttp(views, OPEN);
    ends.push(() => owner.close());
    const app = await appOf(OPEN, {
      steerMove: async () => ({ kind: 'elsewhere', address: `127.0.0.1:${owner.port}` }),
    });
    const answer = await app.inject({ method: 'POST', url: '/moves/move-000001', payload: { action: 'PAUSE' } });
    expect(answer.statusCode).toBe(202);
    expect(views.steered).toMatchObject([{ action: 'PAUSE' }]);
  });

  test('two instances that point at each other answer 503 after one hop', async () => {
    const address = { value: '' };
    const looping: Partial<Views> = { shards: async () => ({ kind: 'elsewhere', address: address.value }) };
    const other = await serveHttp(fakeViews(looping), OPEN);
    ends.push(() => other.close());
    address.value = `127.0.0.1:${other.port}`;
    const answer = await (await appOf(OPEN, looping)).inject('/shards');
    expect([answer.statusCode, answer.json().code]).toEqual([503, 'OWNER_UNREACHABLE']);
    expect(answer.json().message).toContain('disagree about which one owns this');
  });

  for (const { name, respond } of [
    { name: 'never answers', respond: undefined },
    { name: 'redirects', respond: [302, { location: 'http://169.254.169.254/' }, ''] },
    { name: 'answers a page', respond: [200, { 'content-type': 'text/html' }, '<p>'] },
    { name: 'knows other tokens', respond: [401, { 'content-type': 'application/json' }, '{}'] },
  ] as const)
    test(`an owner that ${name} is OWNER_UNREACHABLE`, async () => {
      const owner = createServer((_request, response) => {
        if (respond !== undefined) response.writeHead(respond[0], respond[1]).end(respond[2]);
      });
      await new Promise<void>((done) => owner.listen(0, '127.0.0.1', done));
      ends.push(async () => {
        owner.closeAllConnections();
        await new Promise((done) => owner.close(done));
      });
      const address = `127.0.0.1:${(owner.address() as AddressInfo).port}`;
      const answer = await (await appOf({ ...OPEN, peerTimeoutMs: 50 }, elsewhere(address))).inject('/shards');
      expect([answer.statusCode, answer.json().code]).toEqual([503, 'OWNER_UNREACHABLE']);
    });

  for (const address of ['', 'evil', 'user@host:80', 'host:80/path', 'file:///etc/passwd', 'host:0'])
    test(`the address '${address}' is never asked`, async () => {
      const answer = await (await appOf(OPEN, elsewhere(address))).inject('/shards');
      expect([answer.statusCode, answer.json().code]).toEqual([503, 'OWNER_UNREACHABLE']);
    });

  test('nobody owning it is NOT_READY', async () => {
    const answer = await (await appOf(OPEN, { shards: async () => ({ kind: 'nobody' }) })).inject('/shards');
    expect([answer.statusCode, answer.json().code]).toEqual([503, 'NOT_READY']);
  });
});
