// A broker beside an embedded process: over its HTTP API and the port of its shards, with tokens.

import { expect, onTestFinished, test } from 'vitest';
import { start } from '../../app/main.ts';
import { type ConnectOptions, connect } from '../../broker/connect.ts';
import { configOf } from '../../config/config.ts';
import { startShardServer } from '../../datastores/protocol/shard-server.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { freePort } from '../support/processes.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ADMIN = 'admin-token-0123456789';
const READ = 'read-token-0123456789';

/** An embedded process, and how to connect to it. */
async function embedded() {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  const values = {
    ...{ dataDir: folder.path, httpPort: 0, workerThreads: 0, partitions: 2, commitIntervalMs: 20 },
    ...{ httpAdminToken: ADMIN, httpReadToken: READ },
  };
  const { config } = configOf([{ source: 'test', values }]);
  const foreshard = await start(config, { logger: silentLogger });
  onTestFinished(() => foreshard.stop());
  const tokens = { token: ADMIN, readToken: READ };
  const shards = await startShardServer({ provisioner: foreshard.provisioner, ...tokens, host: '127.0.0.1', port: 0 });
  onTestFinished(() => shards.close());
  const at: ConnectOptions = {
    url: `http://127.0.0.1:${foreshard.httpPort}`,
    token: ADMIN,
    shardServers: [shards.address],
    shardServerToken: READ,
    brokerId: 'b',
  };
  return { at, folder: folder.path };
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('reports sessions and subscriptions, and is told where a PUBLISH goes', async () => {
  const { at, folder } = await embedded();
  const broker = await connect({ ...at, outbox: { folder: `${folder}/outbox` } });
  onTestFinished(() => broker.close());
  await until(async () => broker.pointers.table.epoch > 0); // The planner makes the first table.
  const goesTo = async (topic: string): Promise<string> => [...(await broker.router.deliveryOf(topic)).brokers].join();

  const sessionEpoch = broker.events.newSessionEpoch();
  await broker.events.connected('c', { sessionEpoch, cleanStart: true, sessionExpirySeconds: 0 });
  await broker.events.subscribe('home/+/t', 'c', 1, { sessionEpoch, noLocal: true });
  broker.events.published('home/kitchen/t', 10);
  await until(async () => (await goesTo('home/kitchen/t')) === 'b');
  expect(await broker.router.subscribersOf('home/kitchen/t')).toMatchObject([
    { filter: 'home/+/t', clientId: 'c', brokerId: 'b', qos: 1, options: { noLocal: true } },
  ]);
  await broker.events.disconnected('c', { sessionEpoch }); // The clean session ends, and its subscription.
  await until(async () => (await goesTo('home/kitchen/t')) === '');
  expect([broker.health(), broker.events.trouble]).toEqual([{ ok: true, reason: '' }, undefined]);
});

test('reports more at once than one request takes, in order', async () => {
  const { at } = await embedded();
  const broker = await connect(at);
  onTestFinished(() => broker.close());
  await until(async () => broker.pointers.table.epoch > 0);
  const long = 'x'.repeat(60_000);
  const all = Array.from({ length: 40 }, (_, i) => broker.events.subscribe(`${long}/${i}`, 'c', 0));
  await Promise.all([
    ...all,
    ...Array.from({ length: 2_500 }, (_, i) => broker.events.subscribe('a', `c${i % 3}`, i % 3)),
  ]);
  await until(async () => (await broker.router.subscribersOf('a')).length === 3);
  await until(async () => (await broker.router.subscribersOf(`${long}/39`)).length === 1);
});

test('a token that only allows reading cannot report, and a wrong one cannot connect', async () => {
  const { at } = await embedded();
  await expect(connect({ ...at, token: 'nobody-knows-this-token' } as ConnectOptions)).rejects.toMatchObject({
    code: 'UNAUTHORIZED',
  });
  const reader = await connect({ ...at, token: READ, triesMax: 1 } as ConnectOptions);
  onTestFinished(() => reader.close());
  await expect(reader.events.subscribe('a', 'c', 0)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  expect(reader.events.trouble).toContain('answered 403');
});

test('a process that does not answer is waited for only so long', async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  await expect(connect({ url, brokerId: 'b', connectMs: 100 })).rejects.toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: `the fleet could not be joined within 100 ms: ${url} cannot be reached`,
  });
});
