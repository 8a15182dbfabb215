// Random bytes, broken Avro and broken JSON against the whole topology, many in a batch: each record is stepped or is in
// `dead-letters` once, as it came, and right events between them are worked in their order. The seed is printed;
// SEED runs one again.

import { describe, expect, test } from 'vitest';
import { randomFrom } from '../../evaluation/random.ts';
import type { OutRecord } from '../../runtime/ports.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { partitionOf } from '../../state/keys.ts';
import { seed as SEED } from '../support/property.ts';
import { openWorld, PARTITIONS, type World } from './bad-input/world.ts';

const ROUNDS = 20;
const RECORDS = 500;
/** One in so many is right. */
const GOOD_EVERY = 10;

type Random = () => number;

const below = (random: Random, limit: number): number => Math.floor(random() * limit);
const pick = <Value>(random: Random, values: readonly Value[]): Value => values[below(random, values.length)]!;

type Breaker = (random: Random, bytes: Buffer, other: Buffer) => Buffer;
const BREAKERS: readonly Breaker[] = [
  (random) => randomBytes(random, below(random, 200)),
  (random) => Buffer.concat([Buffer.from([0, 0, 0, 0, pick(random, [1, 3])]), randomBytes(random, below(random, 100))]),
  (random, bytes) => flipped(random, bytes, 1),
  (random, bytes) => flipped(random, bytes, 1 + below(random, 8)),
  (random, bytes) => bytes.subarray(0, below(random, bytes.length)),
  (random, bytes) => bytes.subarray(below(random, bytes.length)),
  (random, bytes, other) =>
    Buffer.concat([bytes.subarray(0, below(random, bytes.length)), other.subarray(below(random, other.length))]),
  (random, bytes) => {
    const at = below(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), randomBytes(random, 1 + below(random, 12)), bytes.subarray(at)]);
  },
  (random, bytes) => {
    const at = below(random, bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(random, 4))]);
  },
  (random, bytes) => {
    const copy = Buffer.from(bytes);
    copy.fill(pick(random, [0, 0x7f, 0x80, 0xff]), below(random, copy.length));
    return copy;
  },
];

/** JSON of any shape, often with the names and values that matter. */
function randomJson(random: Random, depth = 0): unknown {
  const names = ['action', 'topicFilter', 'clientId', 'brokerId', 'qos', 'timestamp', 'body', 'kind', '__proto__', 'x'];
  const values = [
    'SUBSCRIBE',
    'a/b',
    '',
    '#',
    'BrokerHeartbeat',
    'TopicTraffic',
    0,
    1,
    -1,
    1.5,
    1e300,
    2 ** 53,
    null,
    true,
  ];
  if (depth < 4 && random() < 0.4)
    return Object.fromEntries(
      Array.from({ length: below(random, 8) }, () => [pick(random, names), randomJson(random, depth + 1)]),
    );
  if (depth < 4 && random() < 0.2) return Array.from({ length: below(random, 4) }, () => randomJson(random, depth + 1));
  return pick(random, values);
}

function rightRecord(world: World, random: Random, n: number): OutRecord {
  if (random() < 0.6) {
    const filter = pick(random, ['a/b', 'c/d', 'e/+', '$share/g/f', 'h/#']);
    return world.event(filter, { clientId: `client-${n}`, action: pick(random, ['SUBSCRIBE', 'UNSUBSCRIBE']) });
  }
  const timestamp = world.run.clock.now() as never;
  return pick(random, [
    () => world.traffic('a/b', { publishes: n }),
    () => world.metric({ kind: 'BrokerHeartbeat', brokerId: 'broker-1', pointerOffset: n, timestamp }),
    () => world.metric({ kind: 'PlanRequest', requestId: `r-${n}`, topic: 'a/b', timestamp }),
  ])();
}

for (const { name, codec, brokenOf } of [
  {
    name: 'Avro',
    codec: embeddedCodec(),
    brokenOf: (random: Random, right: Buffer, other: Buffer) => pick(random, BREAKERS)(random, right, other),
  },
  {
    name: 'JSON',
    codec: jsonCodec,
    brokenOf: (random: Random, right: Buffer, other: Buffer) =>
      random() < 0.5 ? Buffer.from(JSON.stringify(randomJson(random))) : pick(random, BREAKERS)(random, right, other),
  },
])
  describe(`broken ${name}, seed ${SEED}`, () => {
    test(`${ROUNDS * RECORDS} records`, async () => {
      console.log(`${name}: SEED=${SEED}`);
      const random = randomFrom(SEED);
      const world = await openWorld(codec);
      const live = new Set<string>();
      let sent = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const batch: OutRecord[] = [];
        for (let i = 0; i < RECORDS; i++) {
          const n = sent++;
          const right = rightRecord(world, random, n);
          if (n % GOOD_EVERY === 0) {
            const clientId = `good-${below(random, 50)}`;
            const subscribe = random() < 0.7;
            if (subscribe) live.add(clientId);
            else live.delete(clientId);
            batch.push(world.event('good/filter', { clientId, action: subscribe ? 'SUBSCRIBE' : 'UNSUBSCRIBE' }));
            continue;
          }
          const other = rightRecord(world, random, n);
          const key = random() < 0.9 ? right.key : pick(random, [null, '', randomBytes(random, 5), 'good/filter']);
          const partition = key === null ? below(random, PARTITIONS) : partitionOf(key, PARTITIONS);
          const value = random() < 0.02 ? null : brokenOf(random, right.value!, other.value!);
          batch.push({ topic: right.topic, partition, key, value });
        }
        await world.run.log.append(batch);
        await world.run.clock.settle(world.run.log.settle());
        await world.run.advance(below(random, 20_000));
        world.check();
        const found = await world.clientsOf('good/filter');
        // A broken event may by chance be a right one of that filter, of another client.
        expect(found.filter((client) => client.startsWith('good-')).sort()).toEqual([...live].sort());
      }
      expectEachOnce(world);
      await world.close();
    });
  });

/** Each dead letter is one record of an input, as it came, and no two are the same. */
function expectEachOnce(world: World): void {
  const letters = world.run.log.recordsOf('dead-letters');
  const places = letters.map(({ headers }) =>
    PLACE.map((name) => String(headers![`__streams.errors.${name}`])).join('/'),
  );
  expect(new Set(places).size).toBe(letters.length);
  expect(letters.length).toBeGreaterThan(RECORDS);
  const inputs = new Map(
    ['subscriptions', 'metrics'].flatMap((topic) =>
      world.run.log
        .recordsOf(topic)
        .map((record) => [`${topic}/${record.partition}/${record.offset}` as string, record] as const),
    ),
  );
  for (const [i, letter] of letters.entries()) {
    const input = inputs.get(places[i]!)!;
    expect(Buffer.compare(letter.value ?? Buffer.alloc(0), input.value ?? Buffer.alloc(0))).toBe(0);
    expect(Buffer.compare(letter.key ?? Buffer.alloc(0), input.key ?? Buffer.alloc(0))).toBe(0);
  }
}

const PLACE = ['topic', 'partition', 'offset'] as const;

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => below(random, 256)));
}

function flipped(random: Random, bytes: Buffer, bits: number): Buffer {
  const copy = Buffer.from(bytes);
  for (let i = 0; i < bits; i++) {
    const at = below(random, copy.length);
    copy[at] = copy[at]! ^ (1 << below(random, 8));
  }
  return copy;
}
