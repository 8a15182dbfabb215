// Forwarding: requests about keys that another instance owns.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { serveHttp } from '../../../api/edge/http-server.ts';
import type { Views } from '../../../api/views.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { appOf, CLOSED, OPEN, READ_TOKEN } from '../../support/http-app.ts';

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
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
