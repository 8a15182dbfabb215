import { existsSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { addressBeside, leaveAddress } from '../../cli/beside.ts';
import { tempFolder } from '../support/temp-folder.ts';

/** Above the largest process id of Linux (4,194,304). */
const NOBODY = 2 ** 22 + 1;

describe('commands in the folder of a running embedded process', () => {
  let folder: Awaited<ReturnType<typeof tempFolder>>;
  let server: Server;
  let port: number;
  const config = (httpHost = '127.0.0.1', runtime: 'embedded' | 'kafka' = 'embedded') => ({
    dataDir: folder.path,
    runtime,
    httpHost,
  });
  const note = () => join(folder.path, 'process.json');

  beforeEach(async () => {
    folder = await tempFolder();
    server = createServer((request, response) => {
      response.statusCode = request.url === '/livez' ? 200 : 404;
      response.end();
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    port = (server.address() as AddressInfo).port;
  });

  afterEach(async () => {
    await new Promise((done) => server.close(done));
    await folder.remove();
  });

  for (const host of ['127.0.0.1', '0.0.0.0', '::'])
    test(`find it where it listens on ${host}, until it stops`, async () => {
      expect(await addressBeside(config())).toBeUndefined();
      const withdraw = leaveAddress(config(host), port);
      expect(await addressBeside(config())).toBe(`http://127.0.0.1:${port}`);
      withdraw();
      expect(await addressBeside(config())).toBeUndefined();
      withdraw();
    });

  test('find none of a fleet on Kafka, which has no log of its own', async () => {
    leaveAddress(config('127.0.0.1', 'kafka'), port);
    expect(existsSync(note())).toBe(false);
    leaveAddress(config(), port);
    expect(await addressBeside(config('127.0.0.1', 'kafka'))).toBeUndefined();
  });

  for (const { name, text } of [
    {
      name: 'the process was killed',
      text: () => JSON.stringify({ pid: NOBODY, address: `http://127.0.0.1:${port}` }),
    },
    {
      name: 'its number was given to another one',
      text: () => JSON.stringify({ pid: 1, address: 'http://127.0.0.1:9' }),
    },
    { name: 'the note is torn', text: () => '{"pid":' },
    { name: 'the note is empty', text: () => '' },
  ])
    test(`find none when ${name}`, async () => {
      writeFileSync(note(), text());
      expect(await addressBeside(config())).toBeUndefined();
    });
});
