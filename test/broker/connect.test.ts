// Connecting, as far as it goes without a fleet: what is refused, and what is left when it fails. test/system/package.test.ts
// connects to a real one.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type ConnectOptions, connect } from '../../broker/connect.ts';
import { EVENT_PRODUCER_DEFAULTS } from '../../broker/event-producer.ts';
import { ROUTER_DEFAULTS } from '../../broker/router.ts';
import { freePort } from '../support/processes.ts';

const GIVEN = {
  kafka: { brokers: ['127.0.0.1:1'] },
  registry: { url: 'http://127.0.0.1:1' },
  brokerId: 'b',
};

for (const { name, options, says } of [
  { name: 'no name', options: { ...GIVEN, brokerId: '' }, says: 'brokerId' },
  { name: 'no Kafka', options: { ...GIVEN, kafka: { brokers: [] } }, says: 'kafka.brokers' },
  { name: 'no options of Kafka at all', options: { ...GIVEN, kafka: undefined }, says: 'kafka.brokers' },
  { name: 'an outbox without a folder', options: { ...GIVEN, outbox: { folder: '' } }, says: 'outbox.folder' },
  { name: 'an empty address', options: { brokerId: 'b', url: '' }, says: 'url' },
  { name: 'no registry', options: { ...GIVEN, registry: { url: '' } }, says: 'registry.url' },
])
  test(`${name} is refused before anything is opened`, async () => {
    await expect(connect(options as ConnectOptions)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(says),
    });
  });

test('a Kafka that does not answer is waited for only so long, and the error says why', async () => {
  const registry = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ id: 1, version: 1, schema: '{}' }));
  });
  await new Promise<void>((listening) => registry.listen(0, '127.0.0.1', listening));
  onTestFinished(() => void registry.close());
  const url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}`;
  const kafka = { brokers: [`127.0.0.1:${await freePort()}`] };
  await expect(connect({ kafka, registry: { url }, brokerId: 'b', connectMs: 300 })).rejects.toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: expect.stringMatching(/could not be joined within 300 ms: topics: .*ECONNREFUSED/),
  });
});

test('docs/brokers.md has every setting with its default', () => {
  const rows = readFileSync(join(import.meta.dirname, '../../docs/brokers.md'), 'utf8').split('\n');
  const { outbox, ...producer } = EVENT_PRODUCER_DEFAULTS;
  const inOutbox = Object.entries(outbox).map(([name, value]) => [`outbox.${name}`, value] as const);
  for (const [name, value] of [...Object.entries({ ...producer, ...ROUTER_DEFAULTS }), ...inOutbox]) {
    const row = rows.find((each) => each.startsWith(`| \`${name}\` |`));
    expect(row?.split('|')[2]?.replaceAll('`', '').trim(), name).toBe(String(value));
  }
});
