// Ports on Kafka: what `joinFleet` needs, for a broker of a fleet that runs on Kafka with a schema registry and shard
// servers. A file apart from index.ts, so that a broker with ports of its own loads no Kafka client.

import { type KafkaLogOptions, kafkaLog } from '../log/kafka/kafka-log.ts';
import { RemoteReader } from '../provisioners/remote/remote-reader.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import type { Log } from '../runtime/ports.ts';
import { silentLogger } from '../runtime/telemetry.ts';
import { type RegistryCodecOptions, registryCodec, subjectOf } from '../schemas/edge/registry-codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { RecordName } from '../schemas/records.ts';
import { metrics, pointers, sessions, subscriptions } from '../topology/topics.ts';
import type { BrokerPorts } from './join-fleet.ts';

type OfKafka = 'brokers' | 'topicPrefix' | 'ssl' | 'sasl' | 'replicationFactor' | 'createTopics';

export interface KafkaPortsOptions extends Pick<KafkaLogOptions, OfKafka> {
  /** The registry's URL, with its path if it has one. */
  readonly registryUrl: string;
  readonly registryAuth?: RegistryCodecOptions['auth'];
  /** Partitions of the subscriptions topic; when left out, as many as it has. */
  readonly partitions?: number;
  /**
   * `host:port` or `http://host:port` of each shard server. Without any, the broker can report and resolve, but not look up
   * subscribers.
   */
  readonly shardServers?: readonly string[];
  /** The token with which the shard servers let read. */
  readonly shardServerToken?: string;
  /** Time limit of one call of a shard server. */
  readonly timeoutMs?: number;
  /** Gets the Kafka client's log lines; silent by default. */
  readonly logger?: KafkaLogOptions['logger'];
}

export interface KafkaPorts extends BrokerPorts {
  readonly log: Log;
  /** Resolves, once Kafka answers, with the number of partitions of the subscriptions topic. Throws CONFIG_INVALID when another one was given. */
  partitions(): Promise<number>;
  /** Whether Kafka answers, and if not, why. */
  health(): { readonly ok: boolean; readonly reason: string };
  close(): Promise<void>;
}

/**
 * Does not wait for Kafka: the calls that need it do. Throws REGISTRY_UNAVAILABLE, or SCHEMA_UNKNOWN when Foreshard has
 * not registered its schemas yet.
 */
export async function kafkaPorts(options: KafkaPortsOptions): Promise<KafkaPorts> {
  const { registryUrl, registryAuth, partitions, shardServers = [], shardServerToken, timeoutMs, ...kafka } = options;
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
  let shards: RemoteReader | undefined;
  return {
    log,
    codec,
    clock: systemClock(),
    partitions: counted,
    health: () => log.health(),
    async storeOf(shard) {
      if (shardServers.length === 0) throw new AppError('CONFIG_INVALID', 'no shard server was named to ask');
      if (shards === undefined) {
        const count = await counted();
        shards ??= new RemoteReader({
          addresses: shardServers.map((server) => (server.includes('://') ? server : `http://${server}`)),
          token: shardServerToken,
          partitions: count,
          fleet: prefix,
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
        });
      }
      return shards.shard(shard);
    },
    async close() {
      shards?.close();
      await log.close();
    },
  };
}
