// Ports on Kafka: what `joinFleet` needs, for a broker of a fleet that runs on Kafka with a schema registry and shard
// servers. A file apart from index.ts, so that a broker with ports of its own loads no Kafka client.

import { type KafkaLogOptions, kafkaLog } from '../log/kafka/kafka-log.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import type { Log } from '../runtime/ports.ts';
import { silentLogger } from '../runtime/telemetry.ts';
import { type RegistryCodecOptions, registryCodec, subjectOf } from '../schemas/edge/registry-codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { RecordName } from '../schemas/records.ts';
import { metrics, pointers, sessions, subscriptions } from '../topology/topics.ts';
import type { OpenedPorts } from './join-fleet.ts';
import { type ShardServersOptions, shardServers } from './shard-servers.ts';

type OfKafka = 'brokers' | 'topicPrefix' | 'ssl' | 'sasl' | 'replicationFactor' | 'createTopics';

export interface KafkaPortsOptions extends Pick<KafkaLogOptions, OfKafka>, ShardServersOptions {
  /** The registry's URL, with its path if it has one. */
  readonly registryUrl: string;
  readonly registryAuth?: RegistryCodecOptions['auth'];
  /** Partitions of the subscriptions topic; when left out, as many as it has. */
  readonly partitions?: number;
  /** Gets the Kafka client's log lines; silent by default. */
  readonly logger?: KafkaLogOptions['logger'];
}

export interface KafkaPorts extends OpenedPorts {
  readonly log: Log;
}

/**
 * Does not wait for Kafka: the calls that need it do. Throws REGISTRY_UNAVAILABLE, or SCHEMA_UNKNOWN when Foreshard has
 * not registered its schemas yet.
 */
export async function kafkaPorts(options: KafkaPortsOptions): Promise<KafkaPorts> {
  const { registryUrl, registryAuth, partitions, ...kafka } = options;
  const prefix = kafka.topicPrefix ?? 'foreshard.';
  const codec = await registryCodec({
    url: registryUrl,
    subjects: [subscriptions, sessions, metrics, pointers].map((topic) =>
      subjectOf(prefix, { ...topic, record: topic.record as RecordName }),
    ),
    register: false, // A broker uses the schemas that Foreshard has registered.
    ...(registryAuth === undefined ? {} : { auth: registryAuth }),
  });
  const log = await kafkaLog({ ...kafka, topicPrefix: prefix, app: 'broker', logger: kafka.logger ?? silentLogger });
  let found: Promise<number> | undefined;
  const counted = (): Promise<number> => {
    found ??= log.partitionsOf(subscriptions.name).then((count) => {
      if (partitions === undefined || partitions === count) return count;
      const topic = `${prefix}${subscriptions.name}`;
      const message = `the topic ${topic} has ${count} partitions, not ${partitions}: an event would be in the wrong one`;
      throw new AppError('CONFIG_INVALID', message, { topic, found: count, given: partitions });
    });
    return found;
  };
  const shards = shardServers(kafka, prefix, counted);
  return {
    ...{ log, codec, clock: systemClock(), partitions: counted, storeOf: shards.storeOf },
    health: () => log.health(),
    async close() {
      shards.close();
      await log.close();
    },
  };
}
