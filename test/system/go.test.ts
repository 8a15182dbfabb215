// The Go client and what is made with it: their own tests, and two Mochi brokers on one fleet with real clients, while the
// slices of their topics move.
//
// Topics become hot by UNSUBSCRIBEs of clients that nobody knows: that is work for their shards, and changes no
// subscription. The trace passes PACE times as fast as the clock, so that the planner notices within seconds.

import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
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
/** Of a persistent client, whose messages go on meanwhile. */
const RECONNECTIONS = 20;
const PATIENCE_MS = 60_000;
/** Moves of slices with one of our topics, seen while messages are published. */
const MOVES = 2;

const children: ChildProcess[] = [];
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

describe.skipIf(services === undefined)('two Mochi brokers on one fleet', () => {
  let deployment: Deployment;
  let watch: PlanWatch;
  let load: Load;
  let clients: Clients;
  let router: Router;
  let urls: readonly [string, string];

  beforeAll(async () => {
    deployment = await Deployment.start(services!, {
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
    const program = join(deployment.folder, 'mochi');
    go!.run(MOCHI, 'build', '-o', program, '.');
    await (await deployment.instance('one')).ready();
    watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    load = new Load(deployment);
    await load.gather();
    const { provisioner } = deployment;
    router = new Router({
      pointers: { table: watch.table, newerThan: async () => true },
      storeOf: (shard) => provisioner.store(shard.shardId, shard),
    });
    urls = [await startMochi(deployment, program), await startMochi(deployment, program)];
    clients = new Clients();
  });

  afterAll(async () => {
    await clients?.end();
    await load?.stop();
    await watch?.stop();
    for (const child of children) await endProcess(child, 'SIGTERM');
    await deployment?.stop();
  });

  /** The clients whose subscriptions match, as the shards know them. */
  const known = async (topic: string): Promise<string[]> =>
    (await router.subscribersOf(topic)).map(({ clientId }) => clientId).sort();
  const isKnown = (topic: string, ...expected: readonly string[]): Promise<void> =>
    until(`${expected} alone are in the shards`, async () => `${await known(topic)}` === `${[...expected].sort()}`);

  test('a message arrives at the other broker as it was sent, and so does a will; who has unsubscribed gets nothing', async () => {
    onTestFailed(() => void process.stderr.write(`${deployment.folder}\n`));
    const [a, b] = urls;
    const will = { topic: 'last/will', payload: Buffer.from('the will'), qos: 1 as const };
    const dying = await clients.connect(a, 'dying', { will });
    await clients.subscribe(await clients.connect(b, 'heir'), 'last/+');
    for (const [url, member] of [
      [a, 'crew-1'],
      [b, 'crew-2'],
    ] as const)
      await clients.subscribe(await clients.connect(url, member), '$share/crew/last/will');
    const reader = await clients.connect(b, 'reader');
    const packets: IPublishPacket[] = [];
    reader.on('message', (_topic, _payload, packet) => void packets.push(packet));
    await reader.subscribeAsync('told/#', { qos: 2, properties: { subscriptionIdentifier: 7 } });
    const leaver = await clients.connect(b, 'leaver');
    await clients.subscribe(leaver, 'told/#');
    await isKnown('last/will', 'heir', 'crew-1', 'crew-2');
    await isKnown('told/x', 'reader', 'leaver');
    await leaver.unsubscribeAsync('told/#');
    await isKnown('told/x', 'reader');

    const properties = {
      contentType: 'text/plain',
      responseTopic: 'answers',
      correlationData: Buffer.from([1, 2]),
      messageExpiryInterval: 60,
      userProperties: { key: 'value' },
    };
    const teller = await clients.connect(a, 'teller');
    for (let number = 0; number < 20; number++)
      await teller.publishAsync('told/x', `${number}`, { qos: 2, properties });
    await until('all has been told', () => packets.length >= 20);
    expect(packets.map(({ payload }) => `${payload}`)).toEqual(Array.from({ length: 20 }, (_, number) => `${number}`));
    expect(packets[0]).toMatchObject({
      qos: 2,
      retain: false,
      properties: { ...properties, subscriptionIdentifier: 7 },
    });
    expect(clients.textsOf('leaver')).toEqual([]);

    dying.stream.destroy();
    const crew = (): readonly string[] => [...clients.textsOf('crew-1'), ...clients.textsOf('crew-2')];
    await until('the will is read', () => clients.textsOf('heir').length > 0 && crew().length > 0);
    expect([clients.textsOf('heir'), crew()]).toEqual([['the will'], ['the will']]);
  });

  test('no message of QoS 1 is missed while slices move, a shard server dies, and clients come and go', async () => {
    onTestFailed(() => void process.stderr.write(`${deployment.folder}\n`));
    const [a, b] = urls;
    const persistent = { clean: false, properties: { sessionExpiryInterval: 86_400 } };
    await clients.subscribe(await clients.connect(a, 'wild'), 'plant/+/speed');
    for (const topic of TOPICS)
      await clients.subscribe(await clients.connect(b, `only ${topic}`, { protocolVersion: 4 }), topic);
    await clients.subscribe(await clients.connect(b, 'persistent', persistent), 'plant/#');
    const members = ['member-1', 'member-2', 'member-3'] as const;
    for (const [which, member] of members.entries())
      await clients.subscribe(await clients.connect(urls[which % 2]!, member), '$share/group/plant/+/speed');
    await clients.subscribe(await clients.connect(a, 'clean'), 'plant/+/speed');
    await clients.subscribe(
      await clients.connect(b, 'expiring', { properties: { sessionExpiryInterval: 1 } }),
      TOPICS[0]!,
    );
    const lasting = [`only ${TOPICS[0]}`, 'persistent', 'wild', ...members];
    await isKnown(TOPICS[0]!, ...lasting, 'clean', 'expiring');

    const published: string[] = [];
    let isOver = false;
    const publishing = urls.map(async (url, which) => {
      const client = await clients.connect(url, `publisher-${which}`, { protocolVersion: which === 0 ? 5 : 4 });
      for (let number = 0; !isOver; number++) {
        const text = `${which}-${number}`;
        await client.publishAsync(TOPICS[number % TOPICS.length]!, text, { qos: 1 });
        published.push(text);
        await sleep(PUBLISH_PAUSE_MS);
      }
    });
    const shardsOf = (topic: string): string => watch.table.resolve(topic, '')!.shards.join();
    const before = TOPICS.map(shardsOf);
    const moved = (): number => TOPICS.filter((topic, at) => shardsOf(topic) !== before[at]).length;
    load.start();
    for (const leaving of ['persistent', 'clean', 'expiring']) await clients.get(leaving).endAsync();
    const awayFrom = published.length;
    await until('slices of the topics have moved', () => moved() >= MOVES, PATIENCE_MS);
    for (const server of deployment.shardServers) {
      await server.kill9();
      await server.start();
    }
    const killedAt = published.length;
    await until('messages go on', () => published.length > killedAt + 20, PATIENCE_MS);
    const awayUntil = published.length;
    for (let again = 0; again < RECONNECTIONS; again++) {
      if (again > 0) await clients.get('persistent').endAsync();
      await clients.connect(b, 'persistent', persistent);
      await sleep(PUBLISH_PAUSE_MS);
    }
    isOver = true;
    await Promise.all(publishing);
    await load.stop();

    const missing = (...of: readonly string[]): string[] => {
      const got = new Set(of.flatMap((client) => clients.textsOf(client)));
      return published.filter((text) => !got.has(text));
    };
    const only = TOPICS.map((topic) => `only ${topic}`);
    const missed = () => ({
      wild: missing('wild'),
      persistent: missing('persistent'),
      group: missing(...members),
      only: missing(...only),
    });
    const nothing = { wild: [], persistent: [], group: [], only: [] };
    await until('all is received', () => isDeepStrictEqual(missed(), nothing), 10_000).catch(() => {});
    const ofGroup = members.map((member) => clients.textsOf(member).length);
    const repeated = ['wild', 'persistent', ...members, ...only].map(
      (client) => clients.textsOf(client).length - new Set(clients.textsOf(client)).size,
    );
    process.stdout.write(
      `${published.length} messages, ${awayUntil - awayFrom} of them while the persistent client was away; ${moved()} of ${TOPICS.length} topics moved; ` +
        `the group's members got ${ofGroup.join(', ')}; ${repeated.reduce((sum, count) => sum + count)} came twice\n`,
    );
    expect(missed()).toEqual(nothing);
    expect(awayUntil - awayFrom).toBeGreaterThan(20);
    for (const count of ofGroup) expect(count).toBeGreaterThan(0);
    expect(ofGroup.reduce((sum, count) => sum + count)).toBeLessThan(published.length * 1.1);
    await isKnown(TOPICS[0]!, ...lasting);
  });

  test('a broker that is killed holds nobody up, and its members of a share group get nothing', async () => {
    onTestFailed(() => void process.stderr.write(`${deployment.folder}\n`));
    await endProcess(children[1]!, 'SIGKILL');
    const publisher = await clients.connect(urls[0], 'last publisher');
    const texts = Array.from({ length: 20 }, (_, number) => `after-${number}`);
    for (const [number, text] of texts.entries())
      await publisher.publishAsync(TOPICS[number % TOPICS.length]!, text, { qos: 1 });
    const group = (): string[] =>
      [...clients.textsOf('member-1'), ...clients.textsOf('member-3')].filter((text) => text.startsWith('after'));
    const wild = (): string[] => clients.textsOf('wild').filter((text) => text.startsWith('after'));
    await until('all is received', () => wild().length + group().length >= 2 * texts.length, 10_000).catch(() => {});
    expect(wild()).toEqual(texts);
    expect(group().sort()).toEqual([...texts].sort());
  });
});

/** Real clients, and what they have received. */
class Clients {
  readonly #clients = new Map<string, MqttClient>();
  readonly #texts = new Map<string, string[]>();

  /** MQTT 5 unless told otherwise. */
  async connect(url: string, clientId: string, options: IClientOptions = {}): Promise<MqttClient> {
    const client = mqtt.connect(url, { clientId, protocolVersion: 5, reconnectPeriod: 0, ...options });
    this.#clients.set(clientId, client);
    const texts = this.#texts.get(clientId) ?? [];
    this.#texts.set(clientId, texts);
    client.on('message', (_topic, payload) => void texts.push(payload.toString()));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
    });
    return client;
  }

  async subscribe(client: MqttClient, filter: string): Promise<void> {
    const [granted] = await client.subscribeAsync(filter, { qos: 1 });
    expect(granted?.qos, filter).toBe(1);
  }

  get(clientId: string): MqttClient {
    return this.#clients.get(clientId)!;
  }

  /** In the order of their arrival. */
  textsOf(clientId: string): readonly string[] {
    return this.#texts.get(clientId) ?? [];
  }

  async end(): Promise<void> {
    await Promise.all([...this.#clients.values()].map((client) => client.endAsync(true)));
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
      patience: '30s', // A shard server that was killed takes some time to be back.
    }).flatMap(([flag, value]) => [`-${flag}`, value]),
    { logPath: join(deployment.folder, `mochi-${port}.log`) },
  );
  children.push(child);
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
