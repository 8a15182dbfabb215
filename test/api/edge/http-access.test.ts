// Access: who may use which route of the HTTP API, with which token and from which host.

import type { InjectOptions } from 'fastify';
import { describe, expect, test } from 'vitest';
import { ROUTES } from '../../../api/api.ts';
import { serveHttp } from '../../../api/edge/http-server.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { ADMIN_TOKEN, appOf, CLOSED, OPEN, READ_TOKEN } from '../../support/http-app.ts';

describe('who may do what', () => {
  const heartbeat = { kind: 'BrokerHeartbeat', brokerId: 'b', pointerOffset: 1, timestamp: 5 };
  const cases: Record<string, { ask: InjectOptions; statuses: readonly [number, number, number, number] }> = {
    // no token, bad token, read, admin
    'GET /predict_load': { ask: { url: '/predict_load?topic=a' }, statuses: [401, 401, 200, 200] },
    'GET /get_shard_id': { ask: { url: '/get_shard_id?topic=a' }, statuses: [401, 401, 200, 200] },
    'POST /update_metrics': { ask: { url: '/update_metrics', payload: heartbeat }, statuses: [401, 401, 403, 202] },
    'POST /subscriptions': {
      ask: { url: '/subscriptions', payload: { action: 'SUBSCRIBE', topicFilter: 'a', clientId: 'c', brokerId: 'b' } },
      statuses: [401, 401, 403, 202],
    },
    'POST /sessions': {
      ask: { url: '/sessions', payload: { kind: 'Ended', clientId: 'c', brokerId: 'b', sessionEpoch: 1 } },
      statuses: [401, 401, 403, 202],
    },
    'GET /pointers': { ask: { url: '/pointers' }, statuses: [401, 401, 200, 200] },
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
