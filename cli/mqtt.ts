// The MQTT broker of a process of the fleet: `foreshard run --mqtt`, and `foreshard broker`.

import { join } from 'node:path';
import { type Foreshard, kafkaAccessOf } from '../app/main.ts';
import { mqttBroker } from '../broker/aedes/edge/aedes-broker.ts';
import { levelJournal } from '../broker/aedes/edge/level-journal.ts';
import { LocalExchange, type Peers } from '../broker/aedes/exchange.ts';
import { LogExchange, messagesTopic } from '../broker/aedes/log-exchange.ts';
import { SessionStore } from '../broker/aedes/session-store.ts';
import { EVENT_PRODUCER_DEFAULTS } from '../broker/event-producer.ts';
import { type BrokerClient, type BrokerSettings, joinFleet } from '../broker/join-fleet.ts';
import { kafkaPorts } from '../broker/kafka.ts';
import { openOutbox } from '../broker/open-outbox.ts';
import type { Config } from '../config/config.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import type { Logger } from '../runtime/telemetry.ts';
import { AppError } from '../schemas/errors.ts';
import { epoch } from '../schemas/ids.ts';
import { isLoopback } from '../schemas/loopback.ts';

export interface MqttAsked {
  readonly host: string;
  readonly port: number;
}

export interface ServedMqtt {
  readonly address: string;
  close(): Promise<void>;
}

/** The broker of an embedded fleet: there is only one. */
const EMBEDDED_BROKER = 'mqtt';
/** How long one look for the pointer table takes, before it is looked whether the process stops. */
const LOOK_MS = 1_000;

/** Throws CONFIG_INVALID when everybody could connect from outside. */
export function checkMqtt({ mqttUsername }: Config, { host }: MqttAsked): void {
  if (mqttUsername === '' && !isLoopback(host))
    throw new AppError(
      'CONFIG_INVALID',
      `${host} is reachable from outside: set FORESHARD_MQTT_USERNAME and FORESHARD_MQTT_PASSWORD, or listen on 127.0.0.1`,
    );
}

export interface MqttPorts {
  readonly client: BrokerClient;
  readonly peersOf: (store: SessionStore) => Peers;
  readonly logger: Logger;
  /** Whether the process stops. */
  readonly isOver: () => boolean;
}

/** Starts the MQTT broker of an embedded fleet in its process. */
export async function serveMqttHere(
  foreshard: Foreshard,
  config: Config,
  asked: MqttAsked,
  ports: Pick<MqttPorts, 'logger' | 'isOver'>,
): Promise<ServedMqtt> {
  const client = await joinHere(foreshard, { brokerId: EMBEDDED_BROKER, partitions: config.partitions });
  const peersOf = (): Peers => new LocalExchange().peersOf(EMBEDDED_BROKER);
  return serveMqtt(config, asked, { ...ports, client, peersOf }).catch(async (error: unknown) => {
    await client.close();
    throw error;
  });
}

/** Starts an MQTT broker of a fleet on Kafka. */
export async function serveMqttOnKafka(
  config: Config,
  brokerId: string,
  asked: MqttAsked,
  ports: Pick<MqttPorts, 'logger' | 'isOver'>,
): Promise<ServedMqtt> {
  const { registryUrl, registryUsername: username, registryPassword, shardServers } = config;
  const token = config.shardServerReadToken.reveal() || config.shardServerToken.reveal();
  const kafka = await kafkaPorts({
    ...kafkaAccessOf(config),
    ...{ registryUrl, shardServers, logger: ports.logger },
    ...(username === '' ? {} : { registryAuth: { username, password: registryPassword.reveal() } }),
    ...(token === '' ? {} : { shardServerToken: token }),
  });
  const opened: { close(): Promise<void> }[] = [kafka]; // Closed in reverse.
  const closeAll = async (): Promise<void> => {
    for (const each of opened.reverse()) await each.close();
  };
  try {
    const partitions = await kafka.partitions();
    await kafka.log.prepare([messagesTopic(partitions)]);
    const owner = `broker ${brokerId} of the fleet ${config.topicPrefix}`;
    const { outbox: limits } = EVENT_PRODUCER_DEFAULTS;
    const outbox = await openOutbox({ folder: join(config.dataDir, 'outbox') }, owner, limits.bytesMax);
    opened.push(outbox);
    const client = await joinFleet({ ...kafka, outbox }, { brokerId, partitions });
    opened.push(client);
    const peersOf = ({ positions }: SessionStore): Peers =>
      new LogExchange({ ...kafka, positions }, { brokerId, partitions });
    const served = await serveMqtt(config, asked, { ...ports, client, peersOf });
    opened.push(served);
    return { address: served.address, close: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** Serves MQTT for a client of the fleet, and closes it in the end. Throws STOPPED, or what the folder or port throws. */
export async function serveMqtt(
  config: Config,
  { host, port }: MqttAsked,
  { client, peersOf, logger, isOver }: MqttPorts,
): Promise<ServedMqtt> {
  // The planner makes the first table within seconds of a fleet's first start.
  while (!(await client.pointers.newerThan(epoch(0), LOOK_MS)))
    if (isOver()) throw new AppError('STOPPED', 'stopped before there was a pointer table');
  const journal = await levelJournal(join(config.dataDir, 'mqtt'), (error) =>
    logger.error({ error }, 'what MQTT clients wait for could not be written to the disk; it is tried again'),
  );
  const store = new SessionStore(journal);
  await journal.restoreInto(store);
  const peers = peersOf(store);
  const username = config.mqttUsername;
  const broker = await mqttBroker(client, {
    ...{ host, port, store, peers },
    ...(username === '' ? {} : { login: { username, password: config.mqttPassword.reveal() } }),
    clientFailed: (clientId, error) => logger.warn({ clientId, error }, 'an MQTT client was disconnected'),
  }).catch(async (error: unknown) => {
    await peers.close();
    await journal.close();
    throw error;
  });
  return {
    address: `mqtt://${host}:${broker.port}`,
    async close() {
      await broker.close();
      await peers.close();
      await client.close();
      await journal.close();
    },
  };
}

/** Joins the fleet of this process as a broker. */
export function joinHere(foreshard: Foreshard, settings: BrokerSettings): Promise<BrokerClient> {
  const { log, codec, provisioner } = foreshard;
  const storeOf: Parameters<typeof joinFleet>[0]['storeOf'] = (shard) => provisioner.store(shard.shardId, shard);
  return joinFleet({ log, codec, clock: systemClock(), storeOf }, settings);
}
