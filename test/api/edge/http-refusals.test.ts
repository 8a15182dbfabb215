// Refusals: which requests the HTTP API refuses, with which status and code.

import type { InjectOptions } from 'fastify';
import { describe, expect, test } from 'vitest';
import { type Logger, silentLogger } from '../../../runtime/telemetry.ts';
import { AppError } from '../../../schemas/errors.ts';
import { appOf, OPEN } from '../../support/http-app.ts';

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
