// The Go client and what is made with it: their own tests, and two Mochi brokers on one fleet with real clients, while the
// slices of their topics move.
//
// Topics become hot by UNSUBSCRIBEs of clients that nobody knows: that is work for their shards, and changes no
// subscription. The trace passes PACE times as fast as the clock, so that the planner notices within seconds.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, expect, onTestFailed, onTestFinished, test } from 'vitest';
import { Router } from '../../broker/router.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf } from '../../state/keys.ts';
import { subscriptions } from '../../topology/topics.ts';
import { CROWDED_TYPES } from '../support/crowd.ts';
import { Deployment, startServices, until } from '../support/deployment.ts';
import { EXAMPLES, GO_CLIENT, goToolchain } from '../support/go.ts';
import { PlanWatch } from '../support/plan-watch.ts';
import { connects, endProcess, freePort, startProcess, untilReady } from '../support/processes.ts';

const MOCHI = join(EXAMPLES, 'mochi');
const PARTITIONS = 2;
const SEED = 5;
const TOPICS = Array.from({ length: 8 }, (_, line) => `plant/${line}/speed`);
const PACE = 10;
const STEP_MS = 200;
/** Events per second of the trace: before, when everything fits, and then. */
const BASE_PER_SECOND = 5;
const HOT_PER_SECOND = 80;
const FIRST_EVENTS = 20_000;
const PUBLISH_PAUSE_MS = 40;
const PATIENCE_MS = 60_000;
/** Moves of slices with one of our topics, seen while messages are published. */
const MOVES = 2;

const go = goToolchain();
const services = go === undefined ? undefined : await startServices();
afterAll(() => services?.stop());

for (const [name, folder] of [
  ['clients/go', GO_CLIENT],
  ['examples/mochi', MOCHI],
] as const)
  test.skipIf(go === undefined)(`${name}: formatted, vetted and tested`, () => {
    expect(go!.unformatted(folder)).toBe('');
    go!.run(folder, 'vet', './...');
    expect(go!.run(folder, 'test', './...')).toMatch(/^ok/m);
  });

test.skipIf(services === undefined)(
  'two Mochi brokers are one: no message of QoS 1 is missed while slices move, by shared and persistent subscribers neither',
  async () => {
    const deployment = await Deployment.start(services!, {
      app: 'go',
      settings: {
        partitions: PARTITIONS,
        leafBits: 2,
        concreteType: 'kv',
        trieType: 'trie',
        tickMs: 10_000,
        coolDownMs: 0,
        shardsPerHourMax: 1_000,
        brokerSilentMs: 10_000,
      },
      catalog: { types: CROWDED_TYPES },
      shardServers: 2,
    });
    onTestFinished(() => deployment.stop());
    onTestFailed(() => void process.stderr.write(`${deployment.folder}\n`));
    const program = join(deployment.folder, 'mochi');
    go!.run(MOCHI, 'build', '-o', program, '.');
    await (await deployment.instance('one')).ready();
    const watch = await PlanWatch.open(deployment);
    onTestFinished(() => watch.stop());
    await until('the first shards are there', () => watch.table.epoch > 0);
    const load = new Load(deployment);
    await load.gather();
    const [a, b] = await Promise.all([startMochi(deployment, program), startMochi(deployment, program)]);

    const inbox = new Inbox();
    const clients = new Map<string, MqttClient>();
    const connect = async (url: string, clientId: string, options: IClientOptions = {}): Promise<MqttClient> => {
      const client = mqtt.connect(url, { clientId, protocolVersion: 5, reconnectPeriod: 0, ...options });
      inbox.open(clientId, client);
      clients.set(clientId, client);
      await new Promise<void>((resolve, reject) => {
        client.once('connect', () => resolve());
        client.once('error', reject);
      });
      return client;
    };
    onTestFinished(async () => void (await Promise.all([...clients.values()].map((client) => client.endAsync(true)))));
    const persistent = { clean: false, properties: { sessionExpiryInterval: 86_400 } };
    const subscribe = async (client: MqttClient, filter: string): Promise<void> => {
      const [granted] = await client.subscribeAsync(filter, { qos: 1 });
      expect(granted?.qos, filter).toBe(1);
    };
    await subscribe(await connect(a, 'wild'), 'plant/+/speed');
    for (const topic of TOPICS) await subscribe(await connect(b, `old-${topic}`, { protocolVersion: 4 }), topic);
    await subscribe(await connect(b, 'persistent', persistent), 'plant/#');
    for (const [url, member] of [
      [a, 'member-1'],
      [b, 'member-2'],
      [b, 'member-3'],
    ] as const)
      await subscribe(await connect(url, member), '$share/crew/plant/+/speed');
    await subscribe(await connect(a, 'clean'), 'plant/+/speed');
    await subscribe(await connect(b, 'expiring', { properties: { sessionExpiryInterval: 1 } }), TOPICS[0]!);

    const { provisioner } = deployment;
    const router = new Router({
      pointers: { table: watch.table, newerThan: async () => true },
      storeOf: (shard) => provisioner.store(shard.shardId, shard),
    });
    const known = async (): Promise<string[]> =>
      (await router.subscribersOf(TOPICS[0]!)).map(({ clientId }) => clientId).sort();
    const lasting = [`old-${TOPICS[0]}`, 'member-1', 'member-2', 'member-3', 'persistent', 'wild'].sort();
    await until('all subscriptions are in the shards', async () => (await known()).length === lasting.length + 2);

    const published: string[] = [];
    let isOver = false;
    const publishing = [a, b].map(async (url, which) => {
      const client = await connect(url, `publisher-${which}`);
      for (let number = 0; !isOver; number++) {
        const text = `${which}-${number}`;
        await client.publishAsync(TOPICS[number % TOPICS.length]!, text, { qos: 1 });
        published.push(text);
        await sleep(PUBLISH_PAUSE_MS);
      }
    });
    const before = new Map(TOPICS.map((topic) => [topic, watch.table.resolve(topic, '')!.shards.join()]));
    const movedTopics = (): number =>
      TOPICS.filter((topic) => watch.table.resolve(topic, '')!.shards.join() !== before.get(topic)).length;
    load.start();
    onTestFinished(() => load.stop());

    await clients.get('persistent')!.endAsync();
    await clients.get('clean')!.endAsync();
    await clients.get('expiring')!.endAsync();
    const awayFrom = published.length;
    await until('slices of the topics have moved', () => movedTopics() >= MOVES, PATIENCE_MS);
    const awayUntil = published.length;
    await connect(b, 'persistent', persistent);
    await sleep(500);
    isOver = true;
    await Promise.all(publishing);
    await load.stop();
    await until('the ends of sessions are in the shards', async () => (await known()).length === lasting.length);
    expect(await known()).toEqual(lasting);

    const missing = (texts: readonly string[], ...of: readonly string[]): string[] => {
      const got = new Set(of.flatMap((client) => inbox.of(client)));
      return texts.filter((text) => !got.has(text));
    };
    await until('all messages have come', () => missing(published, 'wild').length === 0, 10_000).catch(() => {});
    const members = ['member-1', 'member-2', 'member-3'];
    await until(
      'the persistent client has its messages',
      () => missing(published, 'persistent').length === 0,
      10_000,
    ).catch(() => {});
    const missed = {
      wild: missing(published, 'wild'),
      persistent: missing(published, 'persistent'),
      group: missing(published, ...members),
      exact: missing(published, ...TOPICS.map((topic) => `old-${topic}`)),
    };
    const twice = [...inbox.all()].map(([client, texts]) => [client, texts.length - new Set(texts).size] as const);
    const ofGroup = members.map((member) => inbox.of(member).length);
    process.stdout.write(
      `${published.length} messages, ${awayUntil - awayFrom} while the persistent client was away; ${movedTopics()} of ${TOPICS.length} topics moved; ` +
        `the group's members got ${ofGroup.join(', ')}; twice: ${twice.filter(([, count]) => count > 0).join(' ') || 'none'}\n`,
    );
    expect(missed).toEqual({ wild: [], persistent: [], group: [], exact: [] });
    expect(awayUntil - awayFrom).toBeGreaterThan(10);
    for (const count of ofGroup) expect(count).toBeGreaterThan(0);
    expect(ofGroup.reduce((sum, count) => sum + count)).toBeLessThan(published.length * 1.05);
  },
);

/** What clients have received. */
class Inbox {
  readonly #texts = new Map<string, string[]>();

  open(clientId: string, client: MqttClient): void {
    const texts = this.#texts.get(clientId) ?? [];
    this.#texts.set(clientId, texts);
    client.on('message', (_topic, payload) => void texts.push(payload.toString()));
  }

  of(clientId: string): readonly string[] {
    return this.#texts.get(clientId) ?? [];
  }

  all(): ReadonlyMap<string, readonly string[]> {
    return this.#texts;
  }
}

/** Where its clients connect. */
async function startMochi(deployment: Deployment, program: string): Promise<string> {
  const [port, peer] = [await freePort(), await freePort()];
  const { brokers, registryUrl, topicPrefix, shardServers } = deployment.config;
  const child = startProcess(
    program,
    Object.entries({
      mqtt: `127.0.0.1:${port}`,
      peer: `127.0.0.1:${peer}`,
      kafka: brokers.join(','),
      registry: registryUrl,
      prefix: topicPrefix,
      'shard-servers': shardServers.join(','),
    }).flatMap(([flag, value]) => [`-${flag}`, value]),
    { logPath: join(deployment.folder, `mochi-${port}.log`) },
  );
  onTestFinished(() => endProcess(child, 'SIGTERM'));
  await untilReady(`the Mochi broker at ${port}`, () => connects('127.0.0.1', port), PATIENCE_MS, child);
  return `mqtt://127.0.0.1:${port}`;
}

/** Events that make topics hot, in trace time. */
class Load {
  readonly #deployment: Deployment;
  readonly #random = randomFrom(SEED);
  #now = Date.now();
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  constructor(deployment: Deployment) {
    this.#deployment = deployment;
  }

  /** The time before, in which everything fits. */
  async gather(): Promise<void> {
    const ms = 600_000;
    for (let part = 0; part < 10; part++) await this.#send(FIRST_EVENTS / 10, ms / 10, 0);
  }

  start(): void {
    this.#running = (async () => {
      while (!this.#isOver) {
        const began = performance.now();
        const perSecond = BASE_PER_SECOND + HOT_PER_SECOND;
        await this.#send(Math.round((perSecond * STEP_MS * PACE) / 1_000), STEP_MS * PACE, HOT_PER_SECOND / perSecond);
        await sleep(Math.max(0, began + STEP_MS - performance.now()));
      }
    })();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  async #send(count: number, ms: number, hotShare: number): Promise<void> {
    const { log, codec } = this.#deployment;
    const from = this.#now;
    this.#now += ms;
    const records = Array.from({ length: count }, (_, each) => {
      const isHot = this.#random() < hotShare;
      const topicFilter = isHot
        ? TOPICS[Math.floor(this.#random() * TOPICS.length)]!
        : `other/${Math.floor(this.#random() * 2_000)}`;
      const timestamp = eventTime(from + Math.floor((each * ms) / count));
      const event: SubscriptionEvent = {
        ...{ action: 'UNSUBSCRIBE', topicFilter, clientId: 'nobody', brokerId: 'nowhere', qos: 0, timestamp },
      };
      const value = codec.encode('SubscriptionEvent', event);
      return { topic: subscriptions.name, partition: partitionOf(topicFilter, PARTITIONS), key: topicFilter, value };
    });
    await log.append(records);
  }
}
