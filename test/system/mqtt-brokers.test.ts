// MQTT brokers of a fleet on a real Kafka, each a process of its own, with real clients: they deliver to each other's
// clients, and one that is killed ends its clean sessions and keeps its persistent ones.

import type { ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ConnectedBroker, connect as connectToFleet } from '../../broker/connect.ts';
import { environmentName } from '../../config/config.ts';
import { Deployment, type Instance, startServices, until } from '../support/deployment.ts';
import { endProcess, freePort, startProcess } from '../support/processes.ts';

const TYPE = {
  ...{ operationsPerSecond: 1e6, entriesMax: 1e7, memoryBytes: 2 ** 33, dollarsPerHour: 0.05 },
  ...{ dollarsPerProvisioning: 0.001, dollarsPerGibMoved: 0.02, provisioningMs: 0 },
};
const CLI = join(import.meta.dirname, '../../cli/cli.ts');

const services = await startServices();
afterAll(() => services?.stop());

describe.skipIf(services === undefined)('two MQTT brokers on Kafka', () => {
  let deployment: Deployment;
  let instance: Instance;
  let asking: ConnectedBroker;
  const ports = new Map<string, number>();
  const processes = new Map<string, ChildProcess>();
  const clients: MqttClient[] = [];

  /** Starts the broker, on the folder and the port that it had. */
  async function start(id: string): Promise<void> {
    const port = ports.get(id) ?? (await freePort());
    ports.set(id, port);
    const dataDir = join(deployment.folder, id);
    mkdirSync(dataDir, { recursive: true });
    const { brokers, topicPrefix, registryUrl, shardServers } = deployment.config;
    const settings = { brokers, topicPrefix, registryUrl, shardServers, dataDir, replicationFactor: 1 };
    const child = startProcess(process.execPath, ['--import', 'tsx', CLI, 'broker', '--id', id, '--port', `${port}`], {
      logPath: join(deployment.folder, `${id}.log`),
      env: Object.fromEntries(Object.entries(settings).map(([name, value]) => [environmentName(name), String(value)])),
    });
    processes.set(id, child);
  }

  /** A client that connects until it is let in, and what it has received. */
  async function mqtt(broker: string, clientId: string, options: IClientOptions = {}) {
    const client = connect(`mqtt://127.0.0.1:${ports.get(broker)}`, { clientId, reconnectPeriod: 100, ...options });
    client.on('error', () => {}); // It tries again.
    clients.push(client);
    const received: string[] = [];
    client.on('message', (topic, payload) => received.push(`${topic} ${payload.toString('utf8')}`));
    await until(`${clientId} is connected to ${broker}`, () => client.connected);
    return { client, received };
  }

  const named = (topic: string, brokers: readonly string[], patienceMs?: number): Promise<void> =>
    until(
      `${topic} is with ${brokers.join(' and ') || 'no broker'}`,
      async () => [...(await asking.router.deliveryOf(topic)).brokers].sort().join() === [...brokers].sort().join(),
      patienceMs,
    );

  beforeAll(async () => {
    deployment = await Deployment.start(services!, {
      app: 'mqtt-brokers',
      settings: {
        ...{ partitions: 2, leafBits: 2, concreteType: 'kv', trieType: 'trie', tickMs: 10_000, brokerLostMs: 30_000 },
      },
      catalog: {
        types: [
          { ...TYPE, name: 'kv', kind: 'KEY_VALUE' },
          { ...TYPE, name: 'trie', kind: 'TRIE' },
        ],
      },
    });
    instance = await deployment.instance('one');
    await Promise.all([start('a'), start('b')]);
    await instance.ready();
    const { brokers, topicPrefix, registryUrl, shardServers } = deployment.config;
    asking = await connectToFleet({
      ...{ kafka: { brokers, topicPrefix }, registry: { url: registryUrl }, shardServers, brokerId: 'asking' },
    });
  });

  afterAll(async () => {
    for (const client of clients) await client.endAsync(true);
    await asking?.close();
    for (const child of processes.values()) await endProcess(child, 'SIGTERM');
    await deployment?.stop();
  });

  test('deliver to each other’s clients; one that is killed ends its clean sessions and keeps the others', async () => {
    const [here, there] = [await mqtt('a', 'here'), await mqtt('b', 'there')];
    await here.client.subscribeAsync('to/a', { qos: 1 });
    await there.client.subscribeAsync('to/+', { qos: 1 });
    await there.client.subscribeAsync('clean', { qos: 1 });
    const kept = await mqtt('b', 'kept', { clean: false });
    await kept.client.subscribeAsync('kept/#', { qos: 1 });
    await named('to/a', ['a', 'b']);
    await named('kept/1', ['b']);
    for (let i = 0; i < 20; i++) await (i % 2 === 0 ? here : there).client.publishAsync('to/a', `${i}`, { qos: 1 });
    const all = Array.from({ length: 20 }, (_, i) => `to/a ${i}`).sort();
    await until('each has every message', () => here.received.length + there.received.length >= 40);
    expect([[...here.received].sort(), [...there.received].sort()]).toEqual([all, all]);

    await endProcess(processes.get('b')!, 'SIGKILL');
    await kept.client.endAsync(true);
    await there.client.endAsync(true);
    await here.client.publishAsync('kept/1', 'while b was away', { qos: 1 });
    await named('clean', [], 120_000);
    await named('kept/1', ['b']);
    await start('b');
    const again = await mqtt('b', 'kept', { clean: false });
    await until('what waited is there', () => again.received.length > 0);
    expect(again.received).toEqual(['kept/1 while b was away']);
    await here.client.publishAsync('kept/2', 'now', { qos: 1 });
    await until('messages come again', () => again.received.length > 1);
  });
});
