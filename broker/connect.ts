// Connect: joins a fleet from settings alone. Opens what the broker needs (log, registry, shard servers) and closes it
// again.
//
//   O1. Resolves when the pointer table is complete, so that the first look-up is right. While Kafka does not answer it
//       waits, at most `connectMs`; then it throws LOG_UNAVAILABLE with the reason, and nothing is left open.
//   O2. What a fleet of one kind needs is loaded when a broker connects to one.

import type { RegistryCodecOptions } from '../schemas/edge/registry-codec.ts';
import { AppError } from '../schemas/errors.ts';
import { type BrokerClient, type BrokerSettings, joinFleet } from './join-fleet.ts';
import type { KafkaPorts, KafkaPortsOptions } from './kafka.ts';

/** A fleet on Kafka, with a schema registry and shard servers. */
export interface KafkaFleet {
  readonly kafka: Pick<KafkaPortsOptions, 'brokers' | 'ssl' | 'sasl'> & {
    /** Prefix of the fleet's topics (FORESHARD_TOPIC_PREFIX); `foreshard.` by default. */
    readonly topicPrefix?: string;
  };
  readonly registry: {
    /** With its path, if it has one. */
    readonly url: string;
    readonly auth?: NonNullable<RegistryCodecOptions['auth']>;
  };
  /** `host:port` of each shard server (FORESHARD_SHARD_SERVERS). Without any, who receives a PUBLISH cannot be asked. */
  readonly shardServers?: readonly string[];
  /** The token with which the shard servers let read (FORESHARD_SHARD_SERVER_READ_TOKEN). */
  readonly shardServerToken?: string;
  /** Partitions of the subscriptions topic; checked against the topic, and not needed. */
  readonly partitions?: number;
}

export type ConnectOptions = KafkaFleet &
  Omit<BrokerSettings, 'partitions'> & {
    /** How long to wait for Kafka and the pointer table (O1). Default a minute. */
    readonly connectMs?: number;
    /** Gets the Kafka client's log lines; silent by default. */
    readonly logger?: NonNullable<KafkaPortsOptions['logger']>;
  };

export interface ConnectedBroker extends BrokerClient {
  /** Whether the log answers, and if not, why. */
  health(): { readonly ok: boolean; readonly reason: string };
}

const CONNECT_MS = 60_000;

/**
 * Joins the fleet as the broker `brokerId`. Throws CONFIG_INVALID, LOG_UNAVAILABLE (O1), REGISTRY_UNAVAILABLE, or
 * SCHEMA_UNKNOWN while Foreshard has not registered its schemas.
 */
export async function connect(options: ConnectOptions): Promise<ConnectedBroker> {
  const { kafka, registry, shardServers, shardServerToken, partitions, connectMs, logger, ...settings } =
    checked(options);
  const { kafkaPorts } = await import('./kafka.ts'); // O2
  const ports = await kafkaPorts({
    ...kafka,
    registryUrl: registry.url,
    ...(registry.auth === undefined ? {} : { registryAuth: registry.auth }),
    ...(shardServers === undefined ? {} : { shardServers }),
    ...(shardServerToken === undefined ? {} : { shardServerToken }),
    ...(partitions === undefined ? {} : { partitions }),
    ...(settings.lookUpMs === undefined ? {} : { timeoutMs: settings.lookUpMs }),
    ...(logger === undefined ? {} : { logger }),
  });
  const client = await joinedInTime(ports, settings, connectMs ?? CONNECT_MS).catch(async (error: unknown) => {
    await ports.close();
    throw error;
  });
  return {
    ...client,
    health: () => ports.health(),
    async close() {
      await client.close();
      await ports.close();
    },
  };
}

/** O1. */
async function joinedInTime(
  ports: KafkaPorts,
  settings: Omit<BrokerSettings, 'partitions'>,
  waitMs: number,
): Promise<BrokerClient> {
  let isLate = false;
  const joining = (async () => {
    const client = await joinFleet(ports, { ...settings, partitions: await ports.partitions() });
    if (isLate) await client.close();
    return client;
  })();
  joining.catch(() => {}); // What fails after the time is over was told already.
  const client = await Promise.race([joining, ports.clock.sleep(waitMs)]);
  if (client !== undefined) return client;
  isLate = true;
  const { ok, reason } = ports.health();
  const why = ok ? 'the pointer table is not complete' : reason;
  throw new AppError('LOG_UNAVAILABLE', `the fleet could not be joined within ${waitMs} ms: ${why}`, { waitMs });
}

/** For programs without types. */
function checked(options: ConnectOptions): ConnectOptions {
  const { kafka, registry, brokerId } = options;
  const wrong =
    typeof brokerId !== 'string' || brokerId === ''
      ? 'brokerId: a name of this broker that no other one has'
      : !Array.isArray(kafka?.brokers) || kafka.brokers.length === 0
        ? 'kafka.brokers: the addresses of some of Kafka’s brokers'
        : typeof registry?.url !== 'string' || registry.url === ''
          ? 'registry.url: the schema registry’s address'
          : undefined;
  if (wrong !== undefined) throw new AppError('CONFIG_INVALID', `to connect, a broker needs ${wrong}`);
  return options;
}
