// A broker, or any program that knows of subscriptions, in TypeScript: joins a fleet on Kafka, reports subscriptions
// and publishes, and asks where a subscription is kept.
//
//   npx tsx examples/producer.ts --brokers localhost:9092 --registry http://localhost:8081/apis/ccompat/v7
//
// Heartbeats are sent automatically: a move ends only when every live broker has read of it. Events are partitioned by
// the topic filter, as Kafka's Java clients do it.

import { parseArgs } from 'node:util';
import { joinFleet } from 'foreshard/broker';
import { kafkaPorts } from 'foreshard/kafka';

const { values: given } = parseArgs({
  options: {
    brokers: { type: 'string', default: 'localhost:9092' },
    registry: { type: 'string', default: 'http://localhost:8081/apis/ccompat/v7' },
    prefix: { type: 'string', default: 'foreshard.' }, // FORESHARD_TOPIC_PREFIX
    partitions: { type: 'string', default: '8' }, // FORESHARD_PARTITIONS
    seconds: { type: 'string', default: '2' },
  },
});
const partitions = Number(given.partitions);
const ports = await kafkaPorts({
  brokers: given.brokers.split(','),
  registryUrl: given.registry,
  topicPrefix: given.prefix,
  partitions,
});
const broker = await joinFleet(ports, { brokerId: 'typescript-broker', partitions });

// Each promise resolves when its event is durable in Kafka: acknowledge the client's SUBSCRIBE then.
await Promise.all([
  broker.events.subscribe('home/kitchen/t', 'client-1', 1),
  broker.events.subscribe('home/+/t', 'client-2', 0), // With a wildcard: it is kept in a trie.
  broker.events.subscribe('$share/readers/home/kitchen/t', 'client-3', 1),
  broker.events.subscribe('home/hall/t', 'client-1', 1, { noLocal: true, subscriptionIdentifier: 7 }), // Options of MQTT 5.
]);
await broker.events.unsubscribe('home/hall/t', 'client-1');

// Publishes are counted here and reported once in ten seconds, and once more by `close`.
for (const until = Date.now() + Number(given.seconds) * 1_000; Date.now() < until; ) {
  broker.events.published('home/kitchen/t', 120);
  await new Promise((resolve) => setTimeout(resolve, 50));
}

// With `shardServers` among the ports, `broker.router.subscribersOf(topic)` asks the shards who receives a PUBLISH.
const { pointer } = broker.router.homeOf('home/kitchen/t', 'client-1');
console.log(`home/kitchen/t is in slice ${pointer.slice}, on ${pointer.shards.join(' and ')}.`);

await broker.close();
await ports.close();
