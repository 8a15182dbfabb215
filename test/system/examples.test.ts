// The producers and the pointer-table reader of examples/, as processes of their own, beside a real Foreshard on a real
// Kafka and registry: what they send is taken, and what they read is what our own reader reads.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { PointerReader } from '../../broker/pointer-reader.ts';
import { Router } from '../../broker/router.ts';
import type { Metric, SubscriptionEvent } from '../../schemas/records.ts';
import { deadLetters, metrics, subscriptions } from '../../topology/topics.ts';
import { Deployment, startServices, until } from '../support/deployment.ts';
import { EXAMPLES, pythonWithPackages } from '../support/python.ts';

const APP = 'examples';
const PARTITIONS = 4;
const FILTERS = ['home/kitchen/t', 'home/+/t', '$share/g/home/kitchen/t', 'büro/\u{1f600}/t', '#', '/', 'a/b/c'];

const services = await startServices();
const python = pythonWithPackages();
afterAll(() => services?.stop());

test.skipIf(services === undefined || python === undefined)(
  'events of the producers in Python and TypeScript are taken, and the Python reader tells where they are',
  async () => {
    const deployment = await Deployment.start(services!, {
      app: APP,
      settings: { partitions: PARTITIONS, concreteType: 'kv', trieType: 'trie' },
      catalog: { types: CATALOG_TYPES },
    });
    onTestFinished(() => deployment.stop());
    await (await deployment.instance('one')).ready();
    const { log, codec, clock } = deployment;
    const pointers = await PointerReader.open({ log, codec, clock }, { partitions: PARTITIONS });
    onTestFinished(() => pointers.close());
    await until('the first shards are there', () => pointers.table.epoch > 0);
    const events: (SubscriptionEvent & { readonly key: string })[] = [];
    await deployment.observe<SubscriptionEvent>(subscriptions, (event, key) => events.push({ ...event!, key }));
    const told: Metric['body'][] = [];
    await deployment.observe<Metric>(metrics, (metric) => told.push(metric!.body));
    let refused = 0;
    await log.follow(deadLetters.name, 'earliest', async ({ records }) => {
      refused += records.length;
    });

    const at = ['--brokers', services!.kafka.brokers.join(','), '--registry', services!.registry.url];
    const where = [...at, '--prefix', deployment.config.topicPrefix];
    const lines = FILTERS.map((topicFilter, i) =>
      JSON.stringify({
        action: 'SUBSCRIBE',
        topicFilter,
        clientId: `python-${i}`,
        qos: 1,
        subscriptionIdentifier: i + 1,
      }),
    );
    const sent = ran(python!, [join(EXAMPLES, 'producer.py'), ...where], lines.join('\n'));
    const typescript = ['--conditions', 'foreshard-source', '--import', 'tsx', join(EXAMPLES, 'producer.ts')];
    const joined = ran(process.execPath, [...typescript, ...where, '--partitions', String(PARTITIONS)]);
    expect(await sent).toContain(`${FILTERS.length} events were sent.`);
    expect(await joined).toMatch(/home\/kitchen\/t is in slice c\/\d\/, on shard-\d+\./);

    const router = new Router({ pointers, storeOf: (shard) => deployment.provisioner.store(shard.shardId, shard) });
    const clientsOf = async (topic: string): Promise<string[]> =>
      (await router.subscribersOf(topic)).map(({ clientId }) => clientId).sort();
    const expected = ['client-1', 'client-2', 'client-3', 'python-0', 'python-1', 'python-2', 'python-4'];
    await until(
      'the subscriptions are in the shards',
      async () => (await clientsOf('home/kitchen/t')).length >= expected.length,
    );
    expect(await clientsOf('home/kitchen/t')).toEqual(expected);
    const identifiers = new Map(
      (await router.subscribersOf('home/kitchen/t')).map((each) => [
        each.clientId,
        each.options?.subscriptionIdentifier,
      ]),
    );
    expect(['client-1', 'python-0', 'python-4'].map((each) => identifiers.get(each))).toEqual([undefined, 1, 5]);
    expect(await clientsOf('büro/\u{1f600}/t')).toEqual(['python-3', 'python-4']);
    expect(await clientsOf('home/hall/t')).not.toContain('client-1'); // It has unsubscribed.
    expect(events.filter(({ brokerId }) => brokerId === 'python-broker')).toHaveLength(FILTERS.length);
    for (const { key, topicFilter } of events) expect(key).toBe(topicFilter);
    expect(refused, 'in the wrong partition, or not to be read').toBe(0);
    const kinds = new Set(
      told.filter((body) => 'brokerId' in body && body.brokerId === 'typescript-broker').map(({ kind }) => kind),
    );
    expect([...kinds].sort()).toEqual(['BrokerHeartbeat', 'TopicTraffic']);

    const client = 'python-1';
    const reader = [join(EXAMPLES, 'pointer_table_reader.py'), ...where, '--partitions', String(PARTITIONS)];
    const answers = (await ran(python!, [...reader, '--client', client], FILTERS.join('\n')))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers).toHaveLength(FILTERS.length);
    for (const [i, filter] of FILTERS.entries()) {
      expect(answers[i], filter).toMatchObject({ filter, pointer: pointers.table.resolve(filter, client)! });
      expect(answers[i].epoch).toBe(pointers.table.epoch);
    }
  },
);

/** What the process writes to standard output; rejects when it fails. */
function ran(command: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    child.once('error', reject);
    child.once('close', (code) => {
      const said = Buffer.concat(out).toString('utf8');
      if (code === 0) resolve(said);
      else reject(new Error(`${args.join(' ')} ended with ${code}: ${said}${Buffer.concat(err).toString('utf8')}`));
    });
    child.stdin.end(input);
  });
}

const CATALOG_TYPES = [
  { name: 'kv', kind: 'KEY_VALUE' },
  { name: 'trie', kind: 'TRIE' },
].map((type) => ({
  ...type,
  operationsPerSecond: 5_000,
  entriesMax: 1e6,
  memoryBytes: 1e9,
  dollarsPerHour: 0.1,
  dollarsPerProvisioning: 0.01,
  dollarsPerGibMoved: 0.01,
  provisioningMs: 1_000,
}));
