// Ports on Kafka: what `joinFleet` needs, for a broker of a fleet that runs on Kafka with a schema registry and shard
// servers. A file apart from index.ts, so that a broker with ports of its own loads no Kafka client.

import { type KafkaLogOptions, kafkaLog } from '../log/kafka/kafka-log.ts';
import { remoteProvisioner } from '../provisioners/remote/remote-provisioner.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { silentLogger } from '../runtime/telemetry.ts';
import { type RegistryCodecOptions, registryCodec, subjectOf } from '../schemas/edge/registry-codec.ts';
import { AppError } from '../schemas/errors.ts';
import type { RecordName } from '../schemas/records.ts';
import { metrics, pointers, sessions, subscriptions } from '../topology/topics.ts';
import type { BrokerPorts } from './index.ts';

export interface KafkaPortsOptions extends Pick<KafkaLogOptions, 'brokers' | 'topicPrefix' | 'ssl' | 'sasl'> {
  /** The registry's URL, with its path if it has one. */
  readonly registryUrl: string;
  readonly registryAuth?: RegistryCodecOptions['auth'];
  /** Partitions of the subscriptions topic. */
  readonly partitions: number;
  /**
   * `http://host:port` of each shard server. Without any, the broker can report and resolve, but not look up
   * subscribers.
   */
  readonly shardServers?: readonly string[];
  readonly shardServerToken?: string;
  /** Gets the Kafka client's log lines; silent by default. */
  readonly logger?: KafkaLogOptions['logger'];
}

export interface KafkaPorts extends BrokerPorts {
  close(): Promise<void>;
}

/** Throws REGISTRY_UNAVAILABLE, or SCHEMA_UNKNOWN when Foreshard has not registered its schemas yet. */
export async function kafkaPorts(options: KafkaPortsOptions): Promise<KafkaPorts> {
  const { registryUrl, registryAuth, partitions, shardServers = [], shardServerToken, logger, ...kafka } = options;
  const prefix = kafka.topicPrefix ?? 'foreshard.';
  const codec = await registryCodec({
    url: registryUrl,
    subjects: [subscriptions, sessions, metrics, pointers].map((topic) =>
      subjectOf(prefix, { ...topic, record: topic.record as RecordName }),
    ),
    register: false, // A broker uses the schemas that Foreshard has registered.
    ...(registryAuth === undefined ? {} : { auth: registryAuth }),
  });
  const shards =
    shardServers.length === 0
      ? undefined
      : remoteProvisioner({ addresses: shardServers, token: shardServerToken, partitions });
  const log = await kafkaLog({ ...kafka, topicPrefix: prefix, app: 'broker', logger: logger ?? silentLogger });
  return {
    log,
    codec,
    clock: systemClock(),
    async storeOf(shard) {
      if (shards === undefined) throw new AppError('CONFIG_INVALID', 'no shard server was named to ask');
      return shards.store(shard.shardId, shard);
    },
    async close() {
      await shards?.close();
      await log.close();
    },
  };
}
