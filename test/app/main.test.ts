// A start while what it needs is away: the process serves HTTP, says what it waits for, and ends only when it is told to.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { begin } from '../../app/main.ts';
import { configOf } from '../../config/config.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { freePort } from '../support/processes.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** Answers every question with this status. */
async function registryAnswering(status: number, body: unknown): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(status, {}).end(JSON.stringify(body)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function beginning(registryUrl: string) {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  const values = {
    runtime: 'kafka',
    brokers: `127.0.0.1:${await freePort()}`, // Nobody listens there.
    registryUrl,
    dataDir: folder.path,
    httpPort: 0,
    workerThreads: 0,
  };
  const starting = await begin(configOf([{ source: 'test', values }]).config, { logger: silentLogger });
  onTestFinished(() => starting.stop());
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${starting.httpPort}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const readyReason = async (wanted: RegExp): Promise<void> => {
    while (!wanted.test((await get('/readyz')).text)) await new Promise((resolve) => setImmediate(resolve));
  };
  return { starting, get, readyReason };
}

test('a process that starts before Kafka serves HTTP, is alive, not ready, and says why', async () => {
  const { starting, get, readyReason } = await beginning(await registryAnswering(200, { id: 41 }));
  await readyReason(/topics: .*(ECONNREFUSED|Connection)/);
  expect((await get('/readyz')).status).toBe(503);
  expect((await get('/livez')).status).toBe(200);
  expect((await get('/shards')).status).toBe(503);
  expect((await get('/metrics')).status).toBe(200);
  await starting.stop();
  await expect(starting.started).rejects.toMatchObject({ code: 'STOPPED' });
});

test('a process that starts before the schema registry waits for it', async () => {
  const { starting, get, readyReason } = await beginning(await registryAnswering(503, {}));
  await readyReason(/schema registry cannot be asked/);
  expect((await get('/livez')).status).toBe(200);
  await starting.stop();
  await expect(starting.started).rejects.toMatchObject({ code: 'STOPPED' });
});

test('a schema registry that refuses the credentials ends the start', async () => {
  const { starting } = await beginning(await registryAnswering(401, {}));
  await expect(starting.started).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
});

test('a folder that was made with another number of partitions is refused before anything starts, in the words of the setting', async () => {
  const folder = await tempFolder();
  onTestFinished(() => folder.remove());
  const beginWith = (partitions: number) => {
    const values = { dataDir: folder.path, httpPort: 0, workerThreads: 0, partitions };
    return begin(configOf([{ source: 'test', values }]).config, { logger: silentLogger });
  };
  const first = await beginWith(2);
  await first.started;
  await first.stop();
  await expect(beginWith(4)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: `the folder ${folder.path} was created with 2 partitions, which cannot be changed, but 4 are configured: set FORESHARD_PARTITIONS=2, or name another folder with FORESHARD_DATA_DIR`,
  });
  const again = await beginWith(2); // The one that was refused has left nothing open.
  await again.started;
  await again.stop();
});
