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
import { type BrokerClient, type BrokerPorts, type BrokerSettings, joinFleet, type OpenedPorts } from './join-fleet.ts';
import type { KafkaPortsOptions } from './kafka.ts';
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

/** A fleet in one embedded process, `foreshard run`. */
export interface EmbeddedFleet {
  /** `http://host:port` of its HTTP API. */
  readonly url: string;
  /** Its admin token (FORESHARD_HTTP_ADMIN_TOKEN), when it has tokens. */
  readonly token?: string;
  /** `host:port` where it lets brokers look up (`--shards`). Without it, who receives a PUBLISH cannot be asked. */
  readonly shardServers?: readonly string[];
  /** The token with which it lets read there (FORESHARD_SHARD_SERVER_READ_TOKEN). */
  readonly shardServerToken?: string;
}

export type ConnectOptions = (KafkaFleet | EmbeddedFleet) &
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
  const { connectMs, outbox, ...settings } = checked(options);
  const closers: (() => Promise<void>)[] = []; // The last one first.
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).reverse()) await each();
  };
  try {
    const limits = { ...EVENT_PRODUCER_DEFAULTS.outbox, ...outbox };
    const events = outbox === undefined ? undefined : await outboxOf(outbox, limits.bytesMax, options);
    if (events !== undefined) closers.push(() => events.close());
    const ports = await portsOf(options);
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

async function portsOf(options: ConnectOptions): Promise<OpenedPorts> {
  const { shardServers, shardServerToken, lookUpMs: timeoutMs, logger } = options;
  const shards = {
    ...(shardServers === undefined ? {} : { shardServers }),
    ...(shardServerToken === undefined ? {} : { shardServerToken }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
  if ('url' in options) {
    const { embeddedPorts } = await import('./embedded.ts'); // O3
    return embeddedPorts({ ...options, ...shards });
  }
  const { kafka, registry, partitions } = options;
  const { kafkaPorts } = await import('./kafka.ts'); // O3
  return kafkaPorts({
    ...kafka,
    ...shards,
    registryUrl: registry.url,
    ...(registry.auth === undefined ? {} : { registryAuth: registry.auth }),
    ...(partitions === undefined ? {} : { partitions }),
    ...(logger === undefined ? {} : { logger }),
  });
}

/** O2. */
async function outboxOf(given: OutboxOptions, bytesMax: number, options: ConnectOptions): Promise<Outbox> {
  const { openOutbox } = await import('./open-outbox.ts');
  const fleet = 'url' in options ? options.url : (options.kafka.topicPrefix ?? 'foreshard.');
  const owner = `broker ${options.brokerId} of the fleet ${fleet}`;
  const outbox = await openOutbox(given, owner, bytesMax);
  const { cutBytes } = outbox;
  if (cutBytes > 0)
    options.logger?.warn({ cutBytes }, 'the outbox ended in a write that a killed process was in; it was cut off');
  return outbox;
}

/** O1. */
async function joinedInTime(
  ports: OpenedPorts,
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
  const { brokerId, outbox, url, kafka, registry } = options as Partial<KafkaFleet & EmbeddedFleet & ConnectOptions>;
  const isText = (given: unknown): boolean => typeof given === 'string' && given !== '';
  const needs: [boolean, string][] = [
    [isText(brokerId), 'brokerId: a name of this broker that no other one has'],
    [outbox === undefined || isText(outbox.folder), 'outbox.folder: a folder that no other broker has'],
  ];
  if ('url' in options) needs.push([isText(url), 'url: the address of the embedded process’s HTTP API']);
  else {
    const hasKafka = Array.isArray(kafka?.brokers) && kafka.brokers.length > 0;
    needs.push([hasKafka, 'kafka.brokers: the addresses of some of Kafka’s brokers']);
    needs.push([isText(registry?.url), 'registry.url: the schema registry’s address']);
  }
  const wrong = needs.find(([isThere]) => !isThere);
  if (wrong !== undefined) throw new AppError('CONFIG_INVALID', `to connect, a broker needs ${wrong[1]}`);
  return options;
}
