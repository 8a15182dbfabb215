// The published OpenAPI says what is so: tools that make requests from it (schemathesis) found each of these to be otherwise.

import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { describe, expect, test } from 'vitest';
import { ROUTES } from '../../../api/api.ts';
import { FILTER_PATTERN } from '../../../api/api-document.ts';
import type { HttpOptions } from '../../../api/edge/http-server.ts';
import { metricOf } from '../../../api/metric-body.ts';
import { filterProblem } from '../../../state/topic-filter.ts';
import { appOf, CLOSED, OPEN } from '../../support/http-app.ts';
import { fc } from '../../support/property.ts';

interface Operation {
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: TSchema }>> };
  readonly responses: Readonly<Record<string, object>>;
  readonly security?: unknown;
}

async function operationsOf(options: HttpOptions): Promise<Map<string, Operation>> {
  const { paths } = (await (await appOf(options)).inject('/docs/json')).json() as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  };
  return new Map(
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [
        `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`,
        operation,
      ]),
    ),
  );
}

describe('the published document', () => {
  test('without tokens says nothing of them, and that a foreign name is 421', async () => {
    for (const [route, { responses, security }] of await operationsOf(OPEN)) {
      expect(Object.keys(responses), route).toEqual(expect.arrayContaining(['400', '421', '500']));
      for (const status of ['401', '403', '429']) expect(Object.keys(responses), route).not.toContain(status);
      expect(security, route).toBeUndefined();
    }
  });

  test('with tokens says who needs which', async () => {
    const operations = await operationsOf(CLOSED);
    for (const { method, path, role } of ROUTES) {
      const { responses, security } = operations.get(`${method} ${path}`)!;
      const statuses = ['401', '403', '421', '429'].filter((status) => status in responses);
      expect(statuses, path).toEqual({ anyone: [], read: ['401', '429'], admin: ['401', '403', '429'] }[role]);
      expect(security === undefined, path).toBe(role === 'anyone');
    }
  });

  test('has an answer in it for every route where all goes well', async () => {
    for (const [route, { responses }] of await operationsOf(OPEN))
      expect(
        Object.keys(responses).some((status) => status.startsWith('2')),
        route,
      ).toBe(true);
  });

  const text = fc.constantFrom('a', 'a/b', '', '+', 'a/#', 'x\u0001', '\u0000', '../etc');
  const bounds = [-1, 0, 1, 2, 128, 3_600_000, 3_600_001, 253_402_300_799_999, 253_402_300_800_000, 1e15, 1e15 + 1];
  const value = fc.oneof(fc.constantFrom(...bounds, 0.5, 2 ** 53), text, fc.constantFrom(null, true));
  const right = {
    TopicTraffic: { brokerId: 'b', topic: 'a', publishes: 1, bytes: 2, windowStart: 3, windowMs: 4 },
    DatastoreMetrics: {
      ...{ shardId: 's', instanceId: 'i', cpu: 0.5, memoryBytes: 1, memoryLimitBytes: 2, iops: 3, iopsLimit: 4 },
      ...{ entries: 5, lookupP99Ms: 6, timestamp: 7, nodesPerLookup: 8, matchesPerLookup: 9 },
    },
    BrokerHeartbeat: { brokerId: 'b', pointerOffset: 1, timestamp: 5 },
  };
  const bodies = fc
    .constantFrom(...Object.entries(right))
    .chain(([kind, fields]) =>
      fc
        .tuple(fc.constantFrom('kind', ...Object.keys(fields)), fc.option(value, { nil: undefined }))
        .map(([field, wrong]) => JSON.parse(JSON.stringify({ kind, ...fields, [field]: wrong }))),
    );
  test('its metrics are those that we take, field by field', async () => {
    const { requestBody } = (await operationsOf(OPEN)).get('POST /update_metrics')!;
    const published = Compile(requestBody!.content['application/json']!.schema);
    for (const [kind, fields] of Object.entries(right)) expect(metricOf({ kind, ...fields })).toHaveProperty('metric');
    fc.assert(
      fc.property(bodies, (body) => {
        expect([published.Check(body), published.Check([body])]).toEqual(Array(2).fill('metric' in metricOf(body)));
      }),
      { numRuns: 3_000 },
    );
  });

  test('it says what becomes of metrics when all are taken, and when none is', async () => {
    const { responses } = (await operationsOf(OPEN)).get('POST /update_metrics')!;
    const app = await appOf(OPEN);
    for (const [status, payload] of [
      [202, { kind: 'BrokerHeartbeat', ...right.BrokerHeartbeat }],
      [400, {}],
      [400, []],
    ] as const) {
      const answer = await app.inject({ method: 'POST', url: '/update_metrics', payload });
      const { content } = responses[status] as NonNullable<Operation['requestBody']>;
      expect(answer.statusCode).toBe(status);
      expect(Compile(content['application/json']!.schema).Check(answer.json())).toBe(true);
    }
  });

  test('its dead letters are those that are told', async () => {
    const { responses } = (await operationsOf(OPEN)).get('GET /dead-letters')!;
    const { content } = responses[200] as NonNullable<Operation['requestBody']>;
    const answer = await (await appOf(OPEN)).inject('/dead-letters');
    expect(Compile(content['application/json']!.schema).Check(answer.json())).toBe(true);
  });

  const filters = fc.oneof(
    fc
      .array(fc.constantFrom('a', '', '+', '#', '$share', 'a+', '$', '\n', '\u0000', 'é'), { maxLength: 6 })
      .map((levels) => levels.join('/')),
    fc.string({ unit: fc.constantFrom('/', '+', '#', '$', 'a') }),
    fc.constantFrom(130, 128).map((levels) => Array(levels).fill('a').join('/')),
  );
  test('its pattern of a topic filter takes what we take', () => {
    const pattern = new RegExp(FILTER_PATTERN);
    fc.assert(
      fc.property(filters, (filter) => pattern.test(filter) === (filterProblem(filter) === undefined)),
      {
        numRuns: 3_000,
      },
    );
  });
});

describe('a path that is there for other methods', () => {
  const paths = [...new Set(ROUTES.map(({ path }) => path))];
  test.each(paths)('%s is 405 for all of them, with those that it takes', async (path) => {
    const app = await appOf(CLOSED);
    const taken: string[] = ROUTES.filter((route) => route.path === path).map(({ method }) => method);
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY'] as const) {
      if (taken.includes(method)) continue;
      const answer = await app.inject({ method: method as 'GET', url: path.replace(':id', 'x') });
      expect([method, answer.statusCode]).toEqual([method, 405]);
      expect(answer.headers.allow).toBe(taken.flatMap((each) => (each === 'GET' ? ['GET', 'HEAD'] : each)).join(', '));
    }
  });
});

describe('what is asked as it is published', () => {
  test.each([
    { name: 'the longest topic that a URL takes', url: `/predict_load?topic=${'a'.repeat(7_000)}`, status: 200 },
    { name: 'a longer one', url: `/predict_load?topic=${'a'.repeat(7_001)}`, status: 400 },
    { name: 'nothing but the root', url: '/', status: 200 },
  ])('$name is $status', async ({ url, status }) => {
    expect((await (await appOf(OPEN)).inject(url)).statusCode).toBe(status);
  });

  test('the root says where to go', async () => {
    const answer = (await (await appOf(OPEN)).inject('/')).json();
    expect(answer).toMatchObject({ name: 'Foreshard', docs: '/docs', openapi: '/docs/json' });
    expect(answer.routes).toHaveLength(ROUTES.length);
  });
});
