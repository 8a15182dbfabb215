// Connect: joins a fleet from settings alone. Opens what the broker needs (log, registry, shard servers) and closes it
// again.
//
//   O1. Resolves when the pointer table is complete, so that the first look-up is right. While Kafka does not answer it
//       waits, at most `connectMs`; then it throws LOG_UNAVAILABLE with the reason, and nothing is left open.
//   O2. The outbox is opened first, and what it has is sent once the fleet is joined.
//   O3. What a fleet of one kind needs is loaded when a broker connects to one.

import type { RegistryCodecOptions } from '../schemas/edge/registry-codec.ts';
import { AppError } from '../schemas/errors.ts';
import { EVENT_PRODUCER_DEFAULTS } from './event-producer.ts';
import { type BrokerClient, type BrokerPorts, type BrokerSettings, joinFleet } from './join-fleet.ts';
import type { KafkaPorts, KafkaPortsOptions } from './kafka.ts';
import type { OutboxOptions } from './open-outbox.ts';
import type { Outbox } from './outbox.ts';

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
  Omit<BrokerSettings, 'partitions' | 'outbox'> & {
    /** Keeps events on disk until Kafka has them. Without it they wait in memory, and are refused when Kafka is away for long. */
    readonly outbox?: OutboxOptions;
    /** How long to wait for Kafka and the pointer table (O1). Default a minute. */
    readonly connectMs?: number;
    /** Gets the Kafka client's log lines; silent by default. */
    readonly logger?: NonNullable<KafkaPortsOptions['logger']>;
  };

export interface ConnectedBroker extends BrokerClient {
  readonly outbox: Pick<Outbox, 'length' | 'sizeBytes' | 'cutBytes'> | undefined;
  /** Whether the log answers, and if not, why. */
  health(): { readonly ok: boolean; readonly reason: string };
}

const CONNECT_MS = 60_000;

/**
 * Joins the fleet as the broker `brokerId`. Throws CONFIG_INVALID, LOG_UNAVAILABLE (O1), REGISTRY_UNAVAILABLE, or
 * SCHEMA_UNKNOWN while Foreshard has not registered its schemas.
 */
export async function connect(options: ConnectOptions): Promise<ConnectedBroker> {
  const { kafka, registry, shardServers, shardServerToken, partitions, connectMs, outbox, ...rest } = checked(options);
  const { logger, ...settings } = rest;
  const closers: (() => Promise<void>)[] = []; // The last one first.
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).reverse()) await each();
  };
  try {
    const limits = { ...EVENT_PRODUCER_DEFAULTS.outbox, ...outbox };
    const events = outbox === undefined ? undefined : await outboxOf(outbox, limits.bytesMax, options);
    if (events !== undefined) closers.push(() => events.close());
    const { kafkaPorts } = await import('./kafka.ts'); // O3
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
    closers.push(() => ports.close());
    const waitMs = connectMs ?? CONNECT_MS;
    const client = await joinedInTime(ports, events, { ...settings, outbox: limits }, waitMs);
    closers.push(() => client.close());
    return { ...client, outbox: events, health: () => ports.health(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** O2. */
async function outboxOf(given: OutboxOptions, bytesMax: number, options: ConnectOptions): Promise<Outbox> {
  const { openOutbox } = await import('./open-outbox.ts');
  const owner = `broker ${options.brokerId} of the fleet ${options.kafka.topicPrefix ?? 'foreshard.'}`;
  const outbox = await openOutbox(given, owner, bytesMax);
  const { cutBytes } = outbox;
  if (cutBytes > 0)
    options.logger?.warn({ cutBytes }, 'the outbox ended in a write that a killed process was in; it was cut off');
  return outbox;
}

/** O1. */
async function joinedInTime(
  ports: KafkaPorts,
  outbox: Outbox | undefined,
  settings: Omit<BrokerSettings, 'partitions'>,
  waitMs: number,
): Promise<BrokerClient> {
  let isLate = false;
  const joining = (async () => {
    const partitions = await ports.partitions();
    const all: BrokerPorts = outbox === undefined ? ports : { ...ports, outbox };
    const client = await joinFleet(all, { ...settings, partitions });
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
  const { kafka, registry, brokerId, outbox } = options;
  const wrong =
    typeof brokerId !== 'string' || brokerId === ''
      ? 'brokerId: a name of this broker that no other one has'
      : !Array.isArray(kafka?.brokers) || kafka.brokers.length === 0
        ? 'kafka.brokers: the addresses of some of Kafka’s brokers'
        : typeof registry?.url !== 'string' || registry.url === ''
          ? 'registry.url: the schema registry’s address'
          : outbox !== undefined && (typeof outbox.folder !== 'string' || outbox.folder === '')
            ? 'outbox.folder: a folder that no other broker has'
            : undefined;
  if (wrong !== undefined) throw new AppError('CONFIG_INVALID', `to connect, a broker needs ${wrong}`);
  return options;
}
