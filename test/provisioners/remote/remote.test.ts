import { mkdir, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type ShardServer,
  type ShardServerSettings,
  startShardServer,
} from '../../../datastores/protocol/shard-server.ts';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { remoteProvisioner } from '../../../provisioners/remote/remote-provisioner.ts';
import { AppError } from '../../../schemas/errors.ts';
import { epoch, eventTime, shardId } from '../../../schemas/ids.ts';
import { groupSlice, hashSlice, keySpaceOf, partitionOf } from '../../../state/keys.ts';
import { owned, PARTITIONS, row, shardStoreSuite } from '../../datastores/shard-store-suite.ts';
import { localShards } from '../../support/shards.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';

const TOKEN = 'canary-token';

interface Host extends ShardServer {
  readonly provisioner: Provisioner;
  /** What it has logged: shard and code. */
  readonly told: string[];
}
const ended: (() => Promise<void>)[] = [];

async function started(token: string | undefined = TOKEN): Promise<Host> {
  const folder: TempFolder = await tempFolder();
  const host = await startedIn(folder.path, 0, PARTITIONS, token);
  ended.push(async () => {
    await host.close();
    await folder.remove();
  });
  return host;
}

/** A server over this folder, on a machine that is configured for so many partitions. */
async function startedIn(
  folder: string,
  port: number,
  partitions: number,
  token: string | undefined = TOKEN,
): Promise<Host> {
  const told: Host['told'] = [];
  const provisioner = localShards(folder, partitions, Date.now);
  const log: ShardServerSettings['log'] = ({ shard, error }) =>
    told.push(`${shard} ${error instanceof AppError ? error.code : error}`);
  const server = await startShardServer({ provisioner, token, host: '127.0.0.1', port, log });
  const close = async (): Promise<void> => {
    await server.close();
    await provisioner.close();
  };
  return { address: server.address, provisioner, told, close };
}
async function endAll(): Promise<void> {
  for (const end of ended.splice(0)) await end();
}

for (const { kind, type } of [
  { kind: 'KEY_VALUE', type: 'kv' },
  { kind: 'TRIE', type: 'trie' },
] as const) {
  describe('over HTTP', () => {
    let host: Host;
    let shards = 0;
    beforeAll(async () => {
      host = await started();
    });
    afterAll(endAll);
    shardStoreSuite(`remote ${type}`, {
      kind,
      runs: 10,
      home: async () => {
        const shard = shardId(`shard-${type}-${shards++}`);
        const client = () => remoteProvisioner({ addresses: [host.address], token: TOKEN, partitions: PARTITIONS });
        await client().ensure(shard, type, false);
        return { open: () => client().store(shard), remove: async () => {} };
      },
    });
  });
}

test('a shard that another client ensured is found, and its tombstones are swept', async () => {
  const host = await started();
  const client = () => remoteProvisioner({ addresses: [host.address], token: TOKEN, partitions: PARTITIONS });
  const shard = shardId('shard-other');
  await client().ensure(shard, 'kv', false);
  const second = client();
  await (await second.store(shard)).write([row('a', 'c', 1, { gone: true, at: eventTime(5) })]);
  expect(await second.sweep(eventTime(6))).toBe(1);
  await endAll();
});

describe('shard server', () => {
  afterEach(endAll);
  const send = (host: ShardServer, path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`${host.address}${path}`, {
      method: 'POST',
      ...init,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...init.headers },
    });

  test('without a token it does not bind beyond loopback', async () => {
    for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.evil.example'])
      await expect(
        startShardServer({ provisioner: localShards('/nowhere', 1), token: undefined, host, port: 0 }),
      ).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  test('a port that cannot be had is said to be one', async () => {
    const { address } = await started();
    const { hostname: host, port } = new URL(address);
    await expect(
      startShardServer({ provisioner: localShards('/nowhere', 1), token: TOKEN, host, port: Number(port) }),
    ).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: `cannot listen on ${host}:${port}: EADDRINUSE` });
  });

  test('every route but /livez wants the token', async () => {
    const host = await started();
    for (const authorization of ['', 'Bearer', 'Bearer nope', `Basic ${TOKEN}`, `Bearer ${TOKEN}x`]) {
      for (const [method, path] of [
        ['PUT', '/shards/s'],
        ['GET', '/shards/s'],
        ['DELETE', '/shards/s'],
        ['POST', '/shards/s/write'],
        ['GET', '/nothing'],
      ] as const) {
        const response = await fetch(`${host.address}${path}`, { method, headers: { authorization } });
        expect(response.status, `${method} ${path}`).toBe(401);
        expect(await response.text()).not.toContain(TOKEN);
      }
    }
    expect((await fetch(`${host.address}/livez`)).status).toBe(200);
  });

  test('what is not a request is refused before anything is done', async () => {
    const host = await started();
    await host.provisioner.ensure(shardId('s'), 'kv', false);
    const good = ['a', 'c', 'b', 1, 1, 1, false, 1];
    const withField = (at: number, value: unknown) => JSON.stringify({ rows: [good, good.with(at, value as never)] });
    for (const { path, body, status } of [
      { path: 's/write', body: '', status: 400 },
      { path: 's/write', body: '{"rows":[', status: 400 },
      { path: 's/write', body: '[]', status: 400 },
      { path: 's/write', body: '{}', status: 400 },
      { path: 's/write', body: '{"rows":[],"more":1}', status: 400 },
      { path: 's/write', body: '{"rows":[],"__proto__":{"polluted":1}}', status: 400 },
      { path: 's/write', body: JSON.stringify({ rows: [good.slice(1)] }), status: 400 },
      { path: 's/write', body: withField(0, ''), status: 400 },
      { path: 's/write', body: withField(0, 'a#'), status: 400 },
      { path: 's/write', body: withField(0, 'a\u0000'), status: 400 },
      { path: 's/write', body: withField(3, 3), status: 400 },
      { path: 's/write', body: withField(3, '1'), status: 400 },
      { path: 's/write', body: withField(5, -1), status: 400 },
      { path: 's/write', body: withField(5, 2 ** 53), status: 400 },
      { path: 's/write', body: withField(6, 0), status: 400 },
      { path: 's/write', body: JSON.stringify({ rows: Array(10_001).fill(good) }), status: 400 },
      { path: 's/write', body: JSON.stringify({ rows: [good], pad: 'x'.repeat(16 * 1024 * 1024) }), status: 413 },
      { path: 's/scan', body: '{"range":{"slice":"c/0/","except":[]},"limit":0}', status: 400 },
      { path: 's/scan', body: '{"range":{"slice":"c/0/","except":[]},"limit":1e9}', status: 400 },
      { path: 's/scan', body: '{"range":{"slice":"nonsense","except":[]},"limit":1}', status: 400 },
      { path: 's/scan', body: '{"range":{"slice":"w/0/","except":[]},"limit":1}', status: 400 },
      { path: 's/own', body: '{"owner":{"slice":"c/0/","state":"mine","epoch":1}}', status: 400 },
      { path: 's/nothing', body: '{}', status: 404 },
      { path: 'unknown/count', body: '{"range":{"slice":"c/0/","except":[]}}', status: 404 },
      { path: '..%2f..%2fetc/count', body: '{"range":{"slice":"c/0/","except":[]}}', status: 400 },
      { path: '%zz/count', body: '{}', status: 400 },
    ]) {
      const response = await send(host, `/shards/${path}`, { body });
      expect(response.status, `${path} ${body.slice(0, 80)}`).toBe(status);
      const answer = await response.text();
      expect(answer).toContain('"code"');
      expect(answer).not.toContain('    at ');
    }
    const wrongType = await send(host, '/shards/s/write', { body: 'rows', headers: { 'content-type': 'text/plain' } });
    expect(wrongType.status).toBe(415);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const store = await host.provisioner.store(shardId('s'));
    expect((await store.count({ slice: hashSlice(partitionOf('a', PARTITIONS)), except: [] })).entries).toBe(0);
  });
});

describe('remote provisioner', () => {
  afterEach(endAll);
  const SHARD = shardId('shard-0001');

  test('a shard is made once among several servers, and found again by every client', async () => {
    const hosts = [await started(), await started(), await started()];
    const addresses = hosts.map((host) => host.address);
    const one = remoteProvisioner({ addresses, token: TOKEN, partitions: PARTITIONS });
    const two = remoteProvisioner({ addresses: [...addresses].reverse(), token: TOKEN, partitions: PARTITIONS });
    const made = [];
    for (let i = 0; i < 12; i++) {
      const shard = shardId(`shard-${i}`);
      const provisioned = await one.ensure(shard, 'kv', false);
      expect(await two.ensure(shard, 'kv', false)).toEqual(provisioned);
      made.push(provisioned.address);
      await (await one.store(shard)).write([row('a', 'c', i)]);
      expect(await (await two.store(shard)).write([row('a', 'c', i)])).toEqual({ applied: 0, stale: 1 });
    }
    expect(new Set(made).size).toBeGreaterThan(1);
    const moved = owned(hashSlice(partitionOf('a', PARTITIONS)), 1, 'moved');
    await (await one.store(shardId('shard-0'))).own(moved);
    await one.release(shardId('shard-0'));
    await one.release(shardId('shard-0'));
    await expect(
      remoteProvisioner({ addresses, token: TOKEN, partitions: PARTITIONS }).store(shardId('shard-0')),
    ).rejects.toMatchObject({
      code: 'SHARD_UNKNOWN',
    });
  });

  test('while a server is away, no shard is made that may be there', async () => {
    const here = await started();
    const away = 'http://127.0.0.1:1';
    const client = remoteProvisioner({ addresses: [here.address, away], token: TOKEN, partitions: PARTITIONS });
    await expect(client.ensure(SHARD, 'kv', false)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await expect(client.store(SHARD)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await here.provisioner.ensure(SHARD, 'kv', false);
    expect((await client.ensure(SHARD, 'kv', false)).address).toBe(here.address);
    expect((await client.store(SHARD)).kind).toBe('KEY_VALUE');
  });

  test('while a server is away, a new shard is made on another, and what is left of it on that one is not met', async () => {
    const [one, two] = [await started(), await started()];
    const shard = shardId('shard-0007');
    const all = remoteProvisioner({ addresses: [one.address, two.address], token: TOKEN, partitions: PARTITIONS });
    await one.provisioner.ensure(shard, 'kv', false, undefined, keySpaceOf(PARTITIONS)); // Before it went away.
    const away = remoteProvisioner({
      addresses: ['http://127.0.0.1:1', two.address],
      token: TOKEN,
      partitions: PARTITIONS,
    });
    const made = await away.ensure(shard, 'kv', false);
    expect(made).toMatchObject({ state: 'ready', address: two.address });
    expect(await away.ensure(shard, 'kv', false, made.instanceId)).toMatchObject({ state: 'ready' });
    expect(await all.ensure(shard, 'kv', false, made.instanceId)).toMatchObject({
      state: 'ready',
      address: two.address,
    });
    const store = await all.store(shard, { instanceId: made.instanceId });
    expect(store.instanceId).toBe(made.instanceId);
  });

  test('a pending shard is on the server that provisions it', async () => {
    const host = await started();
    const client = remoteProvisioner({ addresses: [host.address], token: TOKEN, partitions: PARTITIONS });
    expect((await client.ensure(SHARD, 'kv-large', false)).state).toBe('pending');
    expect((await client.ensure(SHARD, 'kv-large', false)).state).toBe('pending');
    await expect(client.store(SHARD)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  test('a wrong token is told as such', async () => {
    const host = await started();
    const client = remoteProvisioner({ addresses: [host.address], token: 'wrong', partitions: PARTITIONS });
    await expect(client.store(SHARD)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });

  test('a store whose server goes away is unavailable', async () => {
    const host = await started();
    const client = remoteProvisioner({ addresses: [host.address], token: TOKEN, partitions: PARTITIONS });
    await client.ensure(SHARD, 'kv', false);
    const store = await client.store(SHARD);
    await host.close();
    await expect(store.lookup(['a'], epoch(1))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await expect(store.own(owned(hashSlice(0)))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  for (const { name, answer } of [
    { name: 'answers nothing', answer: undefined },
    { name: 'answers a page of HTML', answer: { status: 200, body: '<html>' } },
    { name: 'answers what no shard server does (C6)', answer: { status: 200, body: '{"status":"up"}' } },
    { name: 'answers 502', answer: { status: 502, body: 'bad gateway' } },
    { name: 'answers a code that nobody knows', answer: { status: 500, body: '{"code":"toString"}' } },
    { name: 'redirects', answer: { status: 302, body: '' } },
  ])
    test(`a server that ${name} is unavailable`, async () => {
      const server = createServer((_request, response) => {
        if (answer === undefined) return;
        response.writeHead(answer.status, { location: 'http://127.0.0.1:1/' });
        response.end(answer.body);
      });
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const client = remoteProvisioner({
        addresses: [address],
        token: undefined,
        partitions: PARTITIONS,
        timeoutMs: 100,
      });
      await expect(client.ensure(SHARD, 'kv', false)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    });

  test('C6: an answer to something else is told with the field that is wrong', async () => {
    const page = { rows: [['f', 'c', 'b', 0, 1, 'three', false, 0]], done: true };
    const server = createServer((request, response) => {
      const answer = request.url?.endsWith('/scan') ? page : { kind: 'KEY_VALUE', instanceId: 'i' };
      response.end(JSON.stringify(answer));
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = remoteProvisioner({ addresses: [address], token: undefined, partitions: PARTITIONS });
    const store = await client.store(SHARD);
    const scan = store.scan({ slice: hashSlice(0), except: [] }, undefined, 10);
    await expect(scan).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('does not answer as a shard server: rows[0]'),
    });
    await client.close();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  test('long rows are sent in several requests, and come back in several pages', async () => {
    const host = await started();
    const client = remoteProvisioner({ addresses: [host.address], token: TOKEN, partitions: PARTITIONS });
    await client.ensure(SHARD, 'kv', false);
    const store = await client.store(SHARD);
    const rows = Array.from({ length: 150 }, (_, i) => row('a', `${i}-${'ü'.repeat(30_000)}`, i));
    expect(await store.write(rows)).toEqual({ applied: 150, stale: 0 });
    const range = { slice: hashSlice(partitionOf('a', PARTITIONS)), except: [] };
    const page = await store.scan(range, undefined, 150);
    expect(page.done).toBe(false);
    expect(page.rows.length).toBeLessThan(150);
    const rest = await store.scan(range, page.cursor, 150);
    expect(page.rows.length + rest.rows.length).toBe(150);
  });
});

describe('a shard of a shard server that has lost its disk', () => {
  const SHARD = shardId('shard-0001');
  let folder: TempFolder;
  let host: Host;
  beforeEach(async () => {
    folder = await tempFolder();
    host = await startedIn(folder.path, 0, 2 * PARTITIONS);
  });
  afterEach(async () => {
    await host.close();
    await folder.remove();
  });
  const client = (partitions = PARTITIONS): Provisioner =>
    remoteProvisioner({ addresses: [host.address], token: TOKEN, partitions });
  const restarted = async (meanwhile: () => Promise<unknown>): Promise<void> => {
    const port = Number(new URL(host.address).port);
    await host.close();
    await meanwhile();
    host = await startedIn(folder.path, port, 2 * PARTITIONS);
  };

  for (const { type, filter, slice } of [
    { type: 'kv', filter: 'a', slice: hashSlice(partitionOf('a', PARTITIONS)) },
    { type: 'trie', filter: 'a/+', slice: groupSlice(partitionOf('a', PARTITIONS)) },
  ]) {
    const inUse = async (shards: Provisioner): Promise<string> => {
      const { instanceId } = await shards.ensure(SHARD, type, false);
      const store = await shards.store(SHARD);
      await store.own(owned(slice));
      await store.write([row(filter, 'c', 1)]);
      return instanceId;
    };

    test(`${type}: is not made again, neither by who knew it nor by who starts anew`, async () => {
      const running = client();
      const instanceId = await inUse(running);
      const store = await running.store(SHARD);
      await restarted(() => rm(join(folder.path, SHARD), { recursive: true }));
      await expect(store.write([row(filter, 'd', 2)])).rejects.toMatchObject({ code: 'SHARD_UNKNOWN' });
      for (const each of [running, client()]) {
        for (const known of [instanceId, ''])
          expect(await each.ensure(SHARD, type, false, known)).toMatchObject({ state: 'lost', address: host.address });
        const asked = each.store(SHARD, { instanceId }).then((there) => there.lookup([filter], epoch(1)));
        await expect(asked).rejects.toMatchObject({ code: 'SHARD_UNKNOWN' });
      }
      expect(await readdir(folder.path)).toEqual([]);
      expect(host.told, 'once, not at each request').toEqual([`${SHARD} SHARD_LOST`]);
    });

    test(`${type}: with an emptied data folder it refuses everything, and is told to the log`, async () => {
      const running = client();
      const instanceId = await inUse(running);
      const store = await running.store(SHARD);
      await restarted(async () => {
        await rm(join(folder.path, SHARD, 'data'), { recursive: true });
        await mkdir(join(folder.path, SHARD, 'data'));
      });
      const range = { slice, except: [] };
      for (const ask of [
        () => store.lookup([filter], epoch(1)),
        () => store.write([row(filter, 'd', 2)]),
        () => store.scan(range, undefined, 10),
        () => store.digest(range, undefined, undefined),
        () => store.own(owned(slice, 2)),
        () => client().store(SHARD),
      ])
        await expect(ask()).rejects.toMatchObject({ code: 'SHARD_LOST' });
      expect((await client().ensure(SHARD, type, false, instanceId)).state).toBe('lost');
      expect(host.told).toEqual([`${SHARD} SHARD_LOST`]);
    });

    test(`${type}: another instance of the name answers nobody who means the first`, async () => {
      const running = client();
      const instanceId = await inUse(running);
      const store = await running.store(SHARD);
      await restarted(() => rm(join(folder.path, SHARD), { recursive: true }));
      const again = await client().ensure(SHARD, type, false);
      expect(again.instanceId).not.toBe(instanceId);
      await expect(store.lookup([filter], epoch(1))).rejects.toMatchObject({ code: 'SHARD_LOST' });
      await expect(running.store(SHARD, { instanceId })).resolves.toBe(store);
      await expect(client().store(SHARD, { instanceId })).rejects.toMatchObject({ code: 'SHARD_LOST' });
      expect((await client().ensure(SHARD, type, false, instanceId)).state).toBe('lost');
      expect(await running.release(SHARD), 'not the one that was meant').toMatch(/which is another instance/);
      expect((await client().ensure(SHARD, type, false)).instanceId).toBe(again.instanceId);
    });

    test(`${type}: so is one with topics of another name, where both say theirs`, async () => {
      const of = (fleet?: string) =>
        remoteProvisioner({
          addresses: [host.address],
          token: TOKEN,
          partitions: PARTITIONS,
          ...(fleet === undefined ? {} : { fleet }),
        });
      const { instanceId } = await of('north.').ensure(SHARD, type, false);
      await expect(of('south.').store(SHARD)).rejects.toMatchObject({
        code: 'FLEET_MISMATCH',
        message: expect.stringContaining('set FORESHARD_TOPIC_PREFIX'),
      });
      expect(await of('south.').ensure(SHARD, type, false, instanceId)).toMatchObject({ state: 'lost' });
      await expect(of('south.').release(SHARD)).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
      for (const fleet of ['north.', '', undefined]) await (await of(fleet).store(SHARD)).owners();
      expect(await of(undefined).release(SHARD)).toBeUndefined();
    });

    test(`${type}: a fleet of another number of partitions is refused at its first contact`, async () => {
      const instanceId = await inUse(client());
      const other = client(2 * PARTITIONS);
      await expect(other.store(SHARD)).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
      expect(await other.ensure(SHARD, type, false, instanceId)).toMatchObject({ state: 'lost' });
      await expect(other.ensure(SHARD, type, false)).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
      await expect(other.release(SHARD)).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
      expect(host.told[0]).toBe(`${SHARD} FLEET_MISMATCH`);
      expect((await (await client().store(SHARD)).lookup([filter], epoch(1)))[0]?.kind).toBe('found');
    });
  }
});
