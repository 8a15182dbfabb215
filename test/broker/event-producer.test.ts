import { describe, expect, test } from 'vitest';
import {
  EVENT_PRODUCER_DEFAULTS,
  EventProducer,
  type EventProducerSettings,
  NEVER_SECONDS,
} from '../../broker/event-producer.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import type { Metric, SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf } from '../../state/keys.ts';
import { FakeClock, FakeLog, turns } from './fakes.ts';

const PARTITIONS = 8;

function made(settings: Partial<EventProducerSettings> = {}) {
  const log = new FakeLog();
  const clock = new FakeClock();
  const producer = new EventProducer(
    { log, codec: jsonCodec, clock, pointerPosition: () => 42 },
    { ...EVENT_PRODUCER_DEFAULTS, brokerId: 'broker-1', partitions: PARTITIONS, ...settings },
  );
  return { log, clock, producer };
}

describe('event producer: events', () => {
  test('an event goes to the partition of its filter, and is confirmed when it is durable', async () => {
    const { log, producer } = made();
    await producer.subscribe('a/b', 'c1', 1);
    await producer.unsubscribe('a/b', 'c1');
    expect(log.appends.flat().map(({ topic, partition, key }) => [topic, partition, key])).toEqual(
      Array(2).fill(['subscriptions', partitionOf('a/b', PARTITIONS), 'a/b']),
    );
    expect(log.values('subscriptions')).toMatchObject([
      { action: 'SUBSCRIBE', clientId: 'c1', brokerId: 'broker-1', qos: 1, timestamp: 1_000_000 },
      { action: 'UNSUBSCRIBE' },
    ]);
  });

  test('what MQTT 5 says of a subscription goes with it, and only where it is said', async () => {
    const { log, producer } = made();
    const options = { noLocal: true, retainAsPublished: true, retainHandling: 1, subscriptionIdentifier: 7 };
    await producer.subscribe('a/b', 'c1', 1, { ...options, sessionEpoch: 9 });
    await producer.unsubscribe('a/b', 'c1', { sessionEpoch: 9 });
    await producer.subscribe('a/b', 'c1', 1);
    const [first, second, third] = log.values('subscriptions');
    expect(first).toMatchObject({ action: 'SUBSCRIBE', ...options, sessionEpoch: 9 });
    expect(second).toMatchObject({ action: 'UNSUBSCRIBE', sessionEpoch: 9 });
    for (const name of [...Object.keys(options), 'sessionEpoch']) expect(third).not.toHaveProperty(name);
  });

  test('a connection comes before what its client says, and what becomes of it after', async () => {
    const { log, producer } = made();
    const sessionEpoch = producer.newSessionEpoch();
    expect(producer.newSessionEpoch()).toBe(sessionEpoch + 1);
    await Promise.all([
      producer.connected('c1', { sessionEpoch, cleanStart: true, sessionExpirySeconds: NEVER_SECONDS }),
      producer.subscribe('a/b', 'c1', 1, { sessionEpoch }),
      producer.disconnected('c1', { sessionEpoch }),
      producer.disconnected('c1', { sessionEpoch, sessionExpirySeconds: 0 }),
      producer.ended('c1', { sessionEpoch }),
    ]);
    expect(log.appends.flat().map(({ topic, partition, key }) => [topic, partition, key])).toEqual(
      ['c1', 'a/b', 'c1', 'c1', 'c1'].map((key) => [
        key === 'c1' ? 'sessions' : 'subscriptions',
        partitionOf(key, PARTITIONS),
        key,
      ]),
    );
    const of = { clientId: 'c1', brokerId: 'broker-1', sessionEpoch };
    expect(log.values('sessions')).toEqual(
      [
        { kind: 'Connected', ...of, cleanStart: true, sessionExpirySeconds: NEVER_SECONDS },
        { kind: 'Disconnected', ...of, sessionExpirySeconds: -1 },
        { kind: 'Disconnected', ...of, sessionExpirySeconds: 0 },
        { kind: 'Ended', ...of },
      ].map((body) => ({ body, timestamp: 1_000_000 })),
    );
    await expect(producer.ended('', { sessionEpoch })).rejects.toMatchObject({ code: 'CLIENT_INVALID' });
    await expect(producer.ended('c1', { sessionEpoch: 0 })).rejects.toMatchObject({ code: 'SESSION_INVALID' });
  });

  for (const { name, filter, details, code } of [
    { name: 'a retain handling of 3', filter: 'a', details: { retainHandling: 3 }, code: 'OPTIONS_INVALID' },
    { name: 'shared and no-local', filter: '$share/g/a', details: { noLocal: true }, code: 'OPTIONS_INVALID' },
    { name: 'a negative session epoch', filter: 'a', details: { sessionEpoch: -1 }, code: 'SESSION_INVALID' },
  ])
    test(`${name} is refused before it is sent`, async () => {
      const { log, producer } = made();
      await expect(producer.subscribe(filter, 'c', 0, details)).rejects.toMatchObject({ code });
      expect(log.appends).toEqual([]);
    });

  test('events given while an append is under way go together in the next one, in order', async () => {
    const { log, producer } = made();
    let release = (): void => {};
    log.hold = new Promise((resolve) => {
      release = resolve;
    });
    const first = producer.subscribe('a', 'c', 0);
    await turns();
    const rest = ['b', 'c', 'd'].map((filter) => producer.subscribe(filter, 'c', 0));
    expect(producer.queued).toBe(3);
    release();
    await Promise.all([first, ...rest]);
    expect(log.appends.map((records) => records.map(({ key }) => key))).toEqual([['a'], ['b', 'c', 'd']]);
  });

  test('a failed append is repeated with longer pauses, and nothing is reordered', async () => {
    const { log, clock, producer } = made();
    log.failures = 3;
    await Promise.all([producer.subscribe('a', 'c', 0), producer.unsubscribe('a', 'c')]);
    expect(clock.slept).toEqual([200, 400, 600]);
    expect((log.values('subscriptions') as SubscriptionEvent[]).map(({ action }) => action)).toEqual([
      'SUBSCRIBE',
      'UNSUBSCRIBE',
    ]);
  });

  test('when the log stays away the caller is told, and later events are tried again', async () => {
    const { log, producer } = made({ triesMax: 2 });
    log.failures = 2;
    await expect(producer.subscribe('a', 'c', 0)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await producer.subscribe('b', 'c', 0);
    expect(log.appends.flat().map(({ key }) => key)).toEqual(['b']);
  });

  test('a full queue refuses', async () => {
    const { log, producer } = made({ queueMax: 1 });
    log.hold = new Promise(() => {});
    void producer.subscribe('a', 'c', 0);
    await turns();
    void producer.subscribe('b', 'c', 0);
    await expect(producer.subscribe('c', 'c', 0)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  });

  for (const { name, filter, client, qos, code } of [
    { name: 'an invalid filter', filter: 'a/#/b', client: 'c', qos: 0, code: 'FILTER_INVALID' },
    { name: 'no client', filter: 'a', client: '', qos: 0, code: 'CLIENT_INVALID' },
    { name: 'an unknown qos', filter: 'a', client: 'c', qos: 3, code: 'QOS_INVALID' },
  ])
    test(`refused: ${name}`, async () => {
      const { log, producer } = made();
      await expect(producer.subscribe(filter, client, qos)).rejects.toMatchObject({ code });
      expect(log.appends).toEqual([]);
    });
});

describe('event producer: measurements', () => {
  test('heartbeats say how far the table has been read', async () => {
    const { log, clock } = made();
    clock.move(1_000);
    clock.move(200);
    clock.move(800);
    await turns();
    expect(log.values('metrics')).toMatchObject([
      { body: { kind: 'BrokerHeartbeat', brokerId: 'broker-1', pointerOffset: 42, timestamp: 1_001_000 } },
      { body: { kind: 'BrokerHeartbeat', timestamp: 1_002_000 } },
    ]);
  });

  test('traffic is summed by topic and told when the window ends', async () => {
    const { log, clock, producer } = made({ heartbeatMs: 1_000_000_000 });
    for (let i = 0; i < 3; i++) producer.published('a/b', 10);
    producer.published('c', 5);
    clock.move(9_000);
    await turns();
    expect(traffic(log)).toEqual([]);
    clock.move(1_000);
    await turns();
    expect(traffic(log)).toMatchObject([
      { topic: 'a/b', publishes: 3, bytes: 30, windowStart: 1_000_000, windowMs: 10_000 },
      { topic: 'c', publishes: 1, bytes: 5 },
    ]);
    clock.move(10_000);
    await turns();
    expect(traffic(log)).toHaveLength(2);
  });

  test('topics beyond the limit and measurements that fail are shed and counted', async () => {
    const { log, clock, producer } = made({ topicsMax: 1 });
    producer.published('a', 1);
    producer.published('b', 1);
    expect(producer.shed).toBe(1);
    log.failures = 1;
    clock.move(10_000);
    await turns();
    expect(producer.shed).toBe(3); // The window's one topic and the heartbeat beside it.
    expect(log.appends).toEqual([]);
  });

  test('closing sends what waits and the last window, and then takes nothing', async () => {
    const { log, producer } = made();
    const event = producer.subscribe('a', 'c', 0);
    producer.published('t', 1);
    await producer.close();
    await event;
    expect(log.values('subscriptions')).toHaveLength(1);
    expect(traffic(log)).toMatchObject([{ topic: 't' }]);
    await expect(producer.subscribe('b', 'c', 0)).rejects.toMatchObject({ code: 'STOPPED' });
    await producer.close();
  });
});

const traffic = (log: FakeLog): Metric['body'][] =>
  (log.values('metrics') as Metric[]).map(({ body }) => body).filter(({ kind }) => kind === 'TopicTraffic');
