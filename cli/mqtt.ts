// The MQTT broker of a process of the fleet: `foreshard run --mqtt`, and `foreshard broker`.

import { join } from 'node:path';
import type { Foreshard } from '../app/main.ts';
import { mqttBroker } from '../broker/aedes/edge/aedes-broker.ts';
import { levelJournal } from '../broker/aedes/edge/level-journal.ts';
import { LocalExchange, type Peers } from '../broker/aedes/exchange.ts';
import { SessionStore } from '../broker/aedes/session-store.ts';
import { type BrokerClient, type BrokerSettings, joinFleet } from '../broker/join-fleet.ts';
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
  readonly peers: Peers;
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
  const peers = new LocalExchange().peersOf(EMBEDDED_BROKER);
  return serveMqtt(config, asked, { ...ports, client, peers }).catch(async (error: unknown) => {
    await client.close();
    throw error;
  });
}

/** Serves MQTT for a client of the fleet, and closes it in the end. Throws STOPPED, or what the folder or port throws. */
export async function serveMqtt(
  config: Config,
  { host, port }: MqttAsked,
  { client, peers, logger, isOver }: MqttPorts,
): Promise<ServedMqtt> {
  // The planner makes the first table within seconds of a fleet's first start.
  while (!(await client.pointers.newerThan(epoch(0), LOOK_MS)))
    if (isOver()) throw new AppError('STOPPED', 'stopped before there was a pointer table');
  const journal = await levelJournal(join(config.dataDir, 'mqtt'), (error) =>
    logger.error({ error }, 'what MQTT clients wait for could not be written to the disk; it is tried again'),
  );
  const store = new SessionStore(journal);
  await journal.restoreInto(store);
  const username = config.mqttUsername;
  const broker = await mqttBroker(client, {
    ...{ host, port, store, peers },
    ...(username === '' ? {} : { login: { username, password: config.mqttPassword.reveal() } }),
    clientFailed: (clientId, error) => logger.warn({ clientId, error }, 'an MQTT client was disconnected'),
  }).catch(async (error: unknown) => {
    await journal.close();
    throw error;
  });
  return {
    address: `mqtt://${host}:${broker.port}`,
    async close() {
      await broker.close();
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
