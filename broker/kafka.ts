// Ports on Kafka: what `joinFleet` takes, for a broker of a fleet that runs on Kafka with a schema registry and shard
// servers. A file apart from index.ts: who has ports of its own loads no Kafka client.

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
  /** The registry's address, with its path where it has one. */
  readonly registryUrl: string;
  readonly registryAuth?: RegistryCodecOptions['auth'];
  /** Partitions of the subscriptions topic. */
  readonly partitions: number;
  /** `http://host:port` of each shard server; without any the broker can report and resolve, and ask nobody. */
  readonly shardServers?: readonly string[];
  readonly shardServerToken?: string;
  /** Told what the Kafka client has to say; silent by default. */
  readonly logger?: KafkaLogOptions['logger'];
}

export interface KafkaPorts extends BrokerPorts {
  close(): Promise<void>;
}

/** Throws REGISTRY_UNAVAILABLE, or SCHEMA_UNKNOWN where Foreshard has not registered its schemas yet. */
export async function kafkaPorts(options: KafkaPortsOptions): Promise<KafkaPorts> {
  const { registryUrl, registryAuth, partitions, shardServers = [], shardServerToken, logger, ...kafka } = options;
  const prefix = kafka.topicPrefix ?? 'foreshard.';
  const codec = await registryCodec({
    url: registryUrl,
    subjects: [subscriptions, sessions, metrics, pointers].map((topic) =>
      subjectOf(prefix, { ...topic, record: topic.record as RecordName }),
    ),
    register: false, // A broker reads and writes what Foreshard has registered.
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
