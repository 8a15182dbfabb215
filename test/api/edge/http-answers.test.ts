// Answers: what each route of the HTTP API returns, without a socket.

import { describe, expect, test } from 'vitest';
import { type Logger, silentLogger } from '../../../runtime/telemetry.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { appOf, CLOSED, OPEN } from '../../support/http-app.ts';

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
