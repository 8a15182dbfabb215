// MQTT brokers over an embedded fleet, with real clients (mqtt.js): who must receive what, while slices move.

import { setImmediate as turn } from 'node:timers/promises';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type MqttBroker, mqttBroker } from '../../../broker/aedes/edge/aedes-broker.ts';
import { LocalExchange } from '../../../broker/aedes/exchange.ts';
import { SessionStore } from '../../../broker/aedes/session-store.ts';
import type { BrokerClient } from '../../../broker/join-fleet.ts';
import { randomFrom } from '../../../evaluation/random.ts';
import { shardId } from '../../../schemas/ids.ts';
import { matches } from '../../../state/topic-filter.ts';
import { type EmbeddedFleet, embeddedFleet } from '../../support/embedded-fleet.ts';

interface Site {
  readonly client: BrokerClient;
  readonly broker: MqttBroker;
}

let fleet: EmbeddedFleet;
let exchange: LocalExchange;
let sites: Site[];
let clients: MqttClient[];
beforeEach(async () => {
  fleet = await embeddedFleet('embedded', { rebuildAfterMs: 0, coolDownMs: 0, movesMax: 8 });
  exchange = new LocalExchange();
  sites = [];
  clients = [];
});
afterEach(async () => {
  for (const each of clients) await each.endAsync(true);
  for (const { broker, client } of sites) {
    await broker.close();
    await client.close();
  }
  await fleet.close();
});

const LOCAL = { host: '127.0.0.1', port: 0 };

async function site(brokerId: string, store = new SessionStore()): Promise<Site> {
  const client = await fleet.join(brokerId);
  const made = { client, broker: await mqttBroker(client, { ...LOCAL, store, peers: exchange.peersOf(brokerId) }) };
  sites.push(made);
  return made;
}

/** A client, and what it has received. */
async function mqtt({ broker }: Site, clientId: string, options: IClientOptions = {}) {
  const client = connect(`mqtt://127.0.0.1:${broker.port}`, { clientId, reconnectPeriod: 0, ...options });
  clients.push(client);
  const received: string[] = [];
  client.on('message', (topic, payload) => received.push(`${topic} ${payload.toString('utf8')}`));
  await new Promise<void>((resolve, reject) => client.once('connect', () => resolve()).once('error', reject));
  return { client, received };
}

const closing = (client: MqttClient): Promise<void> => new Promise((resolve) => client.once('close', () => resolve()));

/** Waits until it holds; what it is about is looked at in each turn of the event loop. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await turn();
}

/** Waits until the fleet names these brokers, and no others, for the topic. */
const named = ({ client }: Site, topic: string, brokers: readonly string[]): Promise<void> =>
  until(async () => [...(await client.router.deliveryOf(topic)).brokers].sort().join() === [...brokers].sort().join());

describe('one broker', () => {
  test('reports its clients, clean sessions too, from SUBSCRIBE to the end of the connection', async () => {
    const a = await site('a');
    const { client } = await mqtt(a, 'c');
    await client.subscribeAsync('home/+/t', { qos: 1 });
    await named(a, 'home/kitchen/t', ['a']);
    await client.unsubscribeAsync('home/+/t');
    await named(a, 'home/kitchen/t', []);
    await client.subscribeAsync(['x', 'y/#'], { qos: 0 });
    await named(a, 'x', ['a']);
    await client.endAsync();
    await named(a, 'x', []);
    await named(a, 'y/z', []);
  });

  test('keeps a persistent session, with what waits for it, and ends it with a clean one', async () => {
    const a = await site('a');
    const first = await mqtt(a, 'c', { clean: false });
    await first.client.subscribeAsync('a/b', { qos: 1 });
    await first.client.endAsync();
    await named(a, 'a/b', ['a']); // The broker that keeps it.
    const { client: publisher } = await mqtt(a, 'p');
    await publisher.publishAsync('a/b', '1', { qos: 1 });
    await publisher.publishAsync('a/b', '2', { qos: 2 });
    const second = await mqtt(a, 'c', { clean: false });
    await until(() => second.received.length === 2);
    expect(second.received).toEqual(['a/b 1', 'a/b 2']);
    await second.client.endAsync();
    await mqtt(a, 'c', { clean: true });
    await named(a, 'a/b', []);
  });

  test('keeps a message once for a session whose filters overlap', async () => {
    const a = await site('a');
    const first = await mqtt(a, 'c', { clean: false });
    await first.client.subscribeAsync(['a/b', 'a/+', '#'], { qos: 1 });
    const { client: publisher } = await mqtt(a, 'p');
    for (const text of ['1', '2', '3']) await publisher.publishAsync('a/b', text, { qos: 1 });
    await until(() => first.received.length === 3);
    await first.client.endAsync();
    for (const text of ['4', '5']) await publisher.publishAsync('a/b', text, { qos: 1 });
    const second = await mqtt(a, 'c', { clean: false });
    await publisher.publishAsync('a/b', '6', { qos: 1 });
    await until(() => second.received.includes('a/b 6'));
    expect([first.received, second.received]).toEqual([
      ['a/b 1', 'a/b 2', 'a/b 3'],
      ['a/b 4', 'a/b 5', 'a/b 6'],
    ]);
  });

  test('refuses a shared subscription, which it could not serve, and keeps what is its own of $SYS', async () => {
    const a = await site('a');
    const { client } = await mqtt(a, 'c');
    await expect(client.subscribeAsync('$share/g/a', { qos: 1 })).rejects.toThrow('Subscribe error');
    await client.subscribeAsync(['a/+', '$SYS/#'], { qos: 1 });
    await named(a, 'a/b', ['a']);
    await named(a, '$SYS/x', []);
  });

  test('disconnects a client whose SUBSCRIBE the fleet cannot take, without a SUBACK', async () => {
    const a = await site('a');
    const failed: string[] = [];
    const { client } = await mqtt(a, 'c');
    a.broker.aedes.authorizeSubscribe = (_client, wanted, done) => done(null, wanted); // Replaced, as Aedes lets.
    a.client.events.subscribe = async (filter) => {
      failed.push(filter);
      throw new Error('the log is away');
    };
    const subscribing = client.subscribeAsync('a/b', { qos: 1 });
    await Promise.all([closing(client), expect(subscribing).rejects.toThrow()]);
    expect(failed).toEqual(['a/b']);
  });

  test('lets in who names the user and the password', async () => {
    const client = await fleet.join('guarded');
    const broker = await mqttBroker(client, { ...LOCAL, login: { username: 'u', password: 'secret' } });
    const guarded = { client, broker };
    sites.push(guarded);
    for (const wrong of [
      {},
      { username: 'u' },
      { username: 'u', password: 'other' },
      { username: 'v', password: 'secret' },
    ])
      await expect(mqtt(guarded, 'c', { ...wrong, connectTimeout: 60_000 })).rejects.toMatchObject({ code: 5 });
    await mqtt(guarded, 'c', { username: 'u', password: 'secret' });
  });
});

describe('two brokers', () => {
  test('deliver to each other’s clients, and only where there are any', async () => {
    const [a, b] = [await site('a'), await site('b')];
    const here = await mqtt(a, 'here');
    const there = await mqtt(b, 'there');
    await there.client.subscribeAsync('a/+', { qos: 1 });
    await named(a, 'a/b', ['b']);
    await here.client.publishAsync('a/b', '1', { qos: 1 });
    await here.client.publishAsync('other', '2', { qos: 1 });
    await until(() => there.received.length === 1);
    await there.client.subscribeAsync('other', { qos: 1 });
    await named(a, 'other', ['b']);
    await here.client.publishAsync('other', '3', { qos: 1 });
    await until(() => there.received.length === 2);
    expect(there.received).toEqual(['a/b 1', 'other 3']);
  });

  test('share retained messages, and a client id: its older connection is closed', async () => {
    const [a, b] = [await site('a'), await site('b')];
    const { client } = await mqtt(a, 'c');
    await client.publishAsync('kept', 'yes', { qos: 1, retain: true });
    const closed = closing(client);
    const newer = await mqtt(b, 'c');
    await closed;
    await newer.client.subscribeAsync('kept', { qos: 1 });
    await until(() => newer.received.length === 1);
    expect(newer.received).toEqual(['kept yes']);
  });

  test('keep what is published on one for a session that waits on the other', async () => {
    const [a, b] = [await site('a'), await site('b')];
    const first = await mqtt(b, 'c', { clean: false });
    await first.client.subscribeAsync('a/b', { qos: 1 });
    await first.client.endAsync();
    await named(a, 'a/b', ['b']);
    const { client } = await mqtt(a, 'p');
    await client.publishAsync('a/b', '1', { qos: 1 });
    const second = await mqtt(b, 'c', { clean: false });
    await until(() => second.received.length === 1);
    expect(second.received).toEqual(['a/b 1']);
  });

  test('hand over a session that its client takes to the other one, with what waited and what still comes', async () => {
    const [a, b] = [await site('a'), await site('b')];
    const first = await mqtt(a, 'c', { clean: false });
    await first.client.subscribeAsync({ 'a/b': { qos: 1 }, 'c/#': { qos: 2 } });
    await first.client.endAsync();
    await named(b, 'a/b', ['a']);
    const { client } = await mqtt(a, 'p');
    await client.publishAsync('a/b', '1', { qos: 1 });
    await client.publishAsync('c/d', '2', { qos: 2 });
    const second = await mqtt(b, 'c', { clean: false });
    await until(() => second.received.length === 2);
    await client.publishAsync('a/b', '3', { qos: 1 }); // Before the fleet names b, or after it.
    await named(a, 'a/b', ['b']);
    await client.publishAsync('a/b', '4', { qos: 1 });
    await until(() => ['a/b 3', 'a/b 4'].every((each) => second.received.includes(each)));
    expect(second.received.slice(0, 2)).toEqual(['a/b 1', 'c/d 2']);
    await second.client.endAsync();
    await client.publishAsync('a/b', '5', { qos: 1 });
    const third = await mqtt(b, 'c', { clean: false });
    await until(() => third.received.includes('a/b 5'));
  });

  test('hand nothing over to a clean session', async () => {
    const [a, b] = [await site('a'), await site('b')];
    const first = await mqtt(a, 'c', { clean: false });
    await first.client.subscribeAsync('a/b', { qos: 1 });
    await first.client.endAsync();
    await mqtt(b, 'c');
    await named(a, 'a/b', []);
    const { client } = await mqtt(b, 'p');
    await client.publishAsync('a/b', '1', { qos: 1 });
    const again = await mqtt(b, 'c', { clean: false });
    await again.client.subscribeAsync('other', { qos: 1 });
    await client.publishAsync('other', '2', { qos: 1 });
    await until(() => again.received.length > 0);
    expect(again.received).toEqual(['other 2']);
  });

  test('send to all when the fleet cannot say who subscribes', async () => {
    const [a, b] = [await site('a'), await site('b')];
    const there = await mqtt(b, 'there');
    await there.client.subscribeAsync('a/b', { qos: 1 });
    const { client } = await mqtt(a, 'p');
    a.client.router.deliveryOf = async () => {
      throw new Error('a shard is away');
    };
    await client.publishAsync('a/b', '1', { qos: 1 });
    a.client.router.deliveryOf = async () => ({ brokers: [], members: [], missing: [] });
    await client.publishAsync('a/b', '2', { qos: 1 });
    await until(() => there.received.length === 2);
    expect(a.broker.counts.unanswered).toBe(2);
  });

  test('miss nothing at QoS 1 while every slice moves under them', async () => {
    const random = randomFrom(7);
    const pick = (count: number): number => Math.floor(random() * count);
    const [a, b] = [await site('a'), await site('b')];
    const topics = Array.from({ length: 24 }, (_, i) => `home/${i % 6}/${Math.floor(i / 6)}`);
    const randomFilter = (): string =>
      [`home/${pick(6)}/${pick(4)}`, `home/+/${pick(4)}`, `home/${pick(6)}/#`, `+/${pick(6)}/+`][pick(4)]!;
    const subscribers = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => ({
        ...(await mqtt(i % 2 === 0 ? a : b, `s${i}`, { clean: i % 3 !== 0 })),
        /** What it has a SUBACK for, and whether the fleet has it: until then a message of the other broker may pass it by. */
        filters: new Map<string, boolean>(),
        due: new Set<string>(),
      })),
    );
    const publishers = await Promise.all([a, b].map(async (each, i) => (await mqtt(each, `p${i}`)).client));
    const lookUp = async (): Promise<void> => {
      for (const { client, filters } of subscribers)
        for (const [filter, isThere] of filters) {
          if (isThere) continue;
          const example = topics.find((topic) => matches(filter, topic))!;
          const found = await a.client.router.subscribersOf(example).catch(() => []); // A shard is being rebuilt.
          const isIt = (each: (typeof found)[number]): boolean =>
            each.filter === filter && each.clientId === client.options.clientId;
          filters.set(filter, found.some(isIt));
        }
    };
    let sent = 0;
    let isOver = false;
    const moving = everySliceMoves().finally(() => {
      isOver = true;
    });
    for (let round = 0; !isOver; round++) {
      const { client, filters } = subscribers[pick(12)]!;
      const filter = randomFilter();
      if (round < 60 && !filters.has(filter)) {
        await client.subscribeAsync(filter, { qos: 1 });
        filters.set(filter, false);
      }
      await lookUp();
      for (let i = 0; i < 5; i++) {
        const topic = topics[pick(24)]!;
        sent += 1;
        for (const { filters, due } of subscribers)
          if ([...filters].some(([each, isThere]) => isThere && matches(each, topic))) due.add(`${topic} ${sent}`);
        await publishers[pick(2)]!.publishAsync(topic, `${sent}`, { qos: 1 });
      }
    }
    const moves = await moving;
    const missed = (): string[] =>
      subscribers.flatMap(({ due, received }) => [...due].filter((each) => !received.includes(each)));
    await until(() => missed().length === 0);
    expect(moves).toBeGreaterThanOrEqual(8); // Of 4 hash slices and 4 groups.
    expect(sent).toBeGreaterThan(200);
    const wrong = subscribers.flatMap(({ filters, received }) =>
      received.filter((each) => ![...filters.keys()].some((filter) => matches(filter, each.split(' ')[0]!))),
    );
    expect(wrong).toEqual([]);
  }, 180_000);
});

/** Has every shard rebuilt; the number of moves that this took. A shard that is being rebuilt answers no look-up. */
async function everySliceMoves(): Promise<number> {
  const { views } = fleet.foreshard;
  const shards = async () => {
    const all = await views.shards();
    return all.kind === 'here' ? all.answer : [];
  };
  for (const shard of await shards()) {
    await views.requestRebuild({ shardId: shardId(shard.shardId), force: true, requestId: undefined });
    await until(async () => !(await shards()).some((each) => each.shardId === shard.shardId && each.slices > 0));
  }
  const moves = await views.moves();
  return moves.kind === 'here' ? moves.answer.length : 0;
}
