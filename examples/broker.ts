// A broker attached to a fleet on Kafka, in one screen: what it calls when its clients connect, subscribe and publish.
//
//   npx tsx examples/broker.ts --kafka localhost:9092 --registry http://localhost:8081/apis/ccompat/v7 \
//     --shard-servers localhost:7070
//
// The clients of this program are two lines of its own; in a broker the calls are where it handles the packets named.

import { parseArgs } from 'node:util';
import { AppError, connect, NEVER_SECONDS } from 'foreshard/broker';

const { values: given } = parseArgs({
  options: {
    kafka: { type: 'string', default: 'localhost:9092' },
    registry: { type: 'string', default: 'http://localhost:8081/apis/ccompat/v7' },
    prefix: { type: 'string', default: 'foreshard.' }, // FORESHARD_TOPIC_PREFIX
    'shard-servers': { type: 'string', default: 'localhost:7070' }, // FORESHARD_SHARD_SERVERS
    token: { type: 'string' }, // FORESHARD_SHARD_SERVER_READ_TOKEN
    name: { type: 'string', default: 'broker-1' },
    outbox: { type: 'string', default: 'data/broker-1' }, // A folder that the broker's restarts keep.
  },
});

const broker = await connect({
  kafka: { brokers: given.kafka.split(','), topicPrefix: given.prefix },
  registry: { url: given.registry },
  shardServers: given['shard-servers'].split(','),
  ...(given.token === undefined ? {} : { shardServerToken: given.token }),
  brokerId: given.name,
  outbox: { folder: given.outbox }, // Kafka may be away: what was confirmed is kept here, over restarts.
  whenAway: 'partial', // A shard may be away: the others' subscribers receive the message, and the answer says who is missing.
});

// CONNECT: each connection has a number; what the client subscribes to carries it.
const sessionEpoch = broker.events.newSessionEpoch();
await broker.events.connected('client-1', { sessionEpoch, cleanStart: false, sessionExpirySeconds: NEVER_SECONDS });

// SUBSCRIBE: the promise resolves when the event is durable. Send SUBACK then. It rejects when the outbox is full: refuse
// the SUBSCRIBE.
await broker.events.subscribe('home/+/t', 'client-1', 1, { sessionEpoch });

// PUBLISH: which brokers have clients that receive it, and one client of each share group.
async function publish(topic: string, payload: Buffer): Promise<readonly string[]> {
  broker.events.published(topic, payload.length);
  const { brokers, members, missing = [] } = await broker.router.deliveryOf(topic);
  for (const { shard, slices, reason } of missing) console.error(`${shard} with ${slices.join(', ')}: ${reason}`);
  const names = new Set([...brokers, ...members.map(({ brokerId }) => brokerId)]);
  return [...names]; // Forward the message to each of them; each finds its own clients.
}

// A subscription reaches its shard within a second.
for (let i = 0; i < 100; i++) {
  try {
    const receivers = await publish('home/kitchen/t', Buffer.from('21.5'));
    if (receivers.includes(given.name)) {
      console.log(`A PUBLISH to home/kitchen/t goes to ${receivers.join(' and ')}.`);
      break;
    }
  } catch (error) {
    if (!(error instanceof AppError)) throw error; // For example POINTER_STALE: keep the message, or refuse it.
    console.error(`${error.code}: ${error.message}`);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
}

// DISCONNECT, and the end of the broker: what waits is sent first.
await broker.events.disconnected('client-1', { sessionEpoch });
await broker.close();
