// Bad input on a real Kafka with a real registry: poison between good events and in a row, bombs, records at the limits,
// schema ids that nobody knows. Partitions go on, and any consumer can read what was refused.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { CompressionTypes, Kafka, logLevel, type Message } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Foreshard, start } from '../../app/main.ts';
import { configOf } from '../../config/config.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_EPOCH } from '../../state/genesis.ts';
import { partitionOf } from '../../state/keys.ts';
import { type RealKafka, startKafka } from '../support/real-kafka.ts';
import { type RealRegistry, startRegistry } from '../support/real-registry.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const PARTITIONS = 2;
const PREFIX = `bad${randomBytes(4).toString('hex')}.`;
const SUBSCRIPTIONS = `${PREFIX}subscriptions`;
const GOOD = 'good/topic';
const PARTITION = partitionOf(GOOD, PARTITIONS);
const PATIENCE_MS = 60_000;

let kafka: RealKafka | undefined;
let registry: RealRegistry | undefined;
let folder: TempFolder;
let foreshard: Foreshard;
let client: Kafka;
let failure: unknown;
const letters: Letter[] = [];
let stopReading: () => Promise<void> = async () => {};

interface Letter {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly code: string;
  readonly place: string;
  readonly headers: Readonly<Record<string, string>>;
}

beforeAll(async () => {
  [kafka, registry] = await Promise.all([startKafka(), startRegistry()]);
  if (kafka === undefined || registry === undefined) return;
  folder = await tempFolder();
  const { config } = configOf([
    {
      source: 'test',
      values: {
        runtime: 'kafka',
        brokers: kafka.brokers,
        registryUrl: registry.url,
        registerSchemas: true,
        applicationId: PREFIX.slice(0, -1),
        topicPrefix: PREFIX,
        replicationFactor: 1,
        partitions: PARTITIONS,
        dataDir: folder.path,
      },
    },
  ]);
  foreshard = await start(config, { logger: silentLogger, serveHttp: false });
  foreshard.done.catch((error) => {
    failure = error;
  });
  client = new Kafka({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING });
  const consumer = client.consumer({ groupId: `${PREFIX}letters` });
  await consumer.connect();
  await consumer.subscribe({ topic: `${PREFIX}dead-letters`, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      const headers = Object.fromEntries(
        Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]),
      );
      const place = ['topic', 'partition', 'offset'].map((name) => headers[`__streams.errors.${name}`]).join('/');
      letters.push({ key: message.key, value: message.value, code: headers['foreshard.code'] ?? '', place, headers });
    },
  });
  stopReading = () => consumer.disconnect();
});

afterAll(async () => {
  await stopReading();
  await foreshard?.stop();
  await folder?.remove();
  await registry?.stop();
  await kafka?.stop();
});

describe('bad input on a real Kafka', () => {
  test('poison one in a hundred, then a thousand in a row: every good event is worked, every other is a dead letter', async ({
    skip,
  }) => {
    if (kafka === undefined || registry === undefined) return skip();
    const messages: Message[] = [];
    for (let i = 0; i < 5_000; i++) messages.push(i % 100 === 99 ? poison(i) : good(`mixed-${i}`));
    for (let i = 0; i < 1_000; i++) messages.push(poison(i));
    messages.push(good('after-the-row'));
    await send(messages);
    await until(async () => (await clients()).has('after-the-row'));
    await until(async () => letters.length >= 1_050);
    const found = await clients();
    for (let i = 0; i < 5_000; i++) if (i % 100 !== 99) expect(found.has(`mixed-${i}`)).toBe(true);
    expect(letters).toHaveLength(1_050);
    expect(new Set(letters.map(({ place }) => place)).size).toBe(1_050);
    for (const { code } of letters)
      expect(['UNDECODABLE', 'KEY_MISSING', 'VALUE_MISSING', 'KEY_MISMATCH']).toContain(code);
  });

  for (const { name, make, options, code } of [
    { name: 'a null key', make: () => ({ key: null, value: eventBytes('x') }), code: 'KEY_MISSING' },
    { name: 'a null value', make: () => ({ key: GOOD, value: null }), code: 'VALUE_MISSING' },
    { name: 'a null key and a null value', make: () => ({ key: null, value: null }), code: 'VALUE_MISSING' },
    {
      name: '10,000 headers',
      make: () => ({
        key: GOOD,
        value: Buffer.from('bad'),
        headers: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`h${i}`, 'x'])),
      }),
      code: 'UNDECODABLE',
    },
    {
      name: 'a header of 1 MB',
      make: () => ({ key: GOOD, value: Buffer.from('bad'), headers: { h: Buffer.alloc(1_000_000) } }),
      code: 'UNDECODABLE',
    },
    {
      name: 'a value just below max.message.bytes',
      make: () => ({ key: GOOD, value: Buffer.alloc(8 * 1024 * 1024 - 1_000) }),
      code: 'VALUE_TOO_LARGE',
    },
    {
      name: 'a gzip bomb of 7 MB in 7 KB, which the broker inflates',
      make: () => ({ key: GOOD, value: Buffer.alloc(7_000_000) }),
      options: { compression: CompressionTypes.GZIP },
      code: 'VALUE_TOO_LARGE',
    },
  ] as { name: string; make: () => Message; options?: { compression: CompressionTypes }; code: string }[])
    test(`${name} is a dead letter of ${code}, and its partition goes on`, async ({ skip }) => {
      if (kafka === undefined || registry === undefined) return skip();
      const before = letters.length;
      const message = { ...make(), partition: PARTITION };
      await send([message], options);
      await goesOn();
      await until(async () => letters.length > before);
      expect(letters).toHaveLength(before + 1);
      const letter = letters.at(-1)!;
      expect(letter.code).toBe(code);
      expect(letter.headers).toMatchObject({
        '__streams.errors.topic': 'subscriptions',
        '__streams.errors.partition': String(PARTITION),
      });
      const value = message.value as Buffer | null;
      if (value === null) expect(letter.value).toBe(null);
      else expect(letter.value!.equals(value.subarray(0, 1 << 20))).toBe(true);
    });

  test('what the topic does not take is refused by the broker: 10 MB', async ({ skip }) => {
    if (kafka === undefined || registry === undefined) return skip();
    const before = letters.length;
    const compression = CompressionTypes.None;
    await expect(
      send([{ key: GOOD, value: Buffer.alloc(10_000_000), partition: PARTITION }], { compression }),
    ).rejects.toThrow();
    await goesOn();
    expect(letters).toHaveLength(before);
  });

  test('a bomb of 10 KB, which topics take as it was compressed, is inflated here, and a dead letter', async ({
    skip,
  }) => {
    if (kafka === undefined || registry === undefined) return skip();
    const before = letters.length;
    await send([{ key: GOOD, value: Buffer.alloc(10_000_000), partition: PARTITION }], {
      compression: CompressionTypes.GZIP,
    });
    await goesOn();
    await until(async () => letters.length > before);
    expect(letters.at(-1)).toMatchObject({ code: 'VALUE_TOO_LARGE', headers: { 'foreshard.value-bytes': '10000000' } });
  });

  test('a schema id that the registry does not know is asked for again, then a dead letter with its bytes', async ({
    skip,
  }) => {
    if (kafka === undefined || registry === undefined) return skip();
    const before = letters.length;
    const value = eventBytes('unknown');
    value.writeUInt32BE(2_000_000_000, 1);
    const began = performance.now();
    await send([{ key: GOOD, value, partition: PARTITION }]);
    await goesOn();
    expect(performance.now() - began).toBeGreaterThan(1_750); // 0.5, 1 and 2 seconds, of which jitter leaves half.
    await until(async () => letters.length > before);
    expect(letters.at(-1)).toMatchObject({ code: 'SCHEMA_UNKNOWN', headers: { 'foreshard.schema-id': '2000000000' } });
    expect(letters.at(-1)!.value!.equals(value)).toBe(true);
  });
});

const event = (clientId: string): SubscriptionEvent => ({
  action: 'SUBSCRIBE',
  topicFilter: GOOD,
  clientId,
  brokerId: 'broker-1',
  qos: 1,
  timestamp: eventTime(Date.now()),
});
const eventBytes = (clientId: string): Buffer => foreshard.codec.encode('SubscriptionEvent', event(clientId));
const good = (clientId: string): Message => ({ key: GOOD, value: eventBytes(clientId), partition: PARTITION });

function poison(i: number): Message {
  const partition = PARTITION;
  switch (i % 5) {
    case 0:
      return { key: GOOD, value: Buffer.concat([Buffer.from([1]), randomBytes(50)]), partition };
    case 1:
      return { key: null, value: eventBytes('keyless'), partition };
    case 2:
      return { key: GOOD, value: null, partition };
    case 3:
      return { key: 'another/key', value: eventBytes('mismatch'), partition };
    default:
      return { key: GOOD, value: eventBytes('short').subarray(0, 20), partition };
  }
}

async function send(messages: readonly Message[], options: { compression?: CompressionTypes } = {}): Promise<void> {
  const producer = client.producer({ retry: { retries: 0 } });
  await producer.connect();
  try {
    for (let from = 0; from < messages.length; from += 1_000)
      await producer.send({ topic: SUBSCRIPTIONS, messages: messages.slice(from, from + 1_000), ...options });
  } finally {
    await producer.disconnect();
  }
}

let goodSent = 0;
/** A good event of the same partition is worked, and the run has not failed. */
async function goesOn(): Promise<void> {
  const clientId = `good-${goodSent++}`;
  await send([good(clientId)]);
  await until(async () => (await clients()).has(clientId));
  expect(failure).toBeUndefined();
}

async function clients(): Promise<Set<string>> {
  const store = await foreshard.provisioner.store(FIRST_CONCRETE_SHARD);
  const [answer] = await store.lookup([GOOD], FIRST_EPOCH);
  return new Set(answer?.kind === 'found' ? answer.subscribers.map((each) => each.clientId) : []);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await holds().catch(() => false))) {
    if (failure !== undefined) throw failure;
    if (Date.now() > deadline) throw new Error(`still waiting; ${letters.length} dead letters so far`);
    await sleep(50);
  }
}
