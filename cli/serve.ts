// `foreshard run` and `foreshard shard-server`: processes that run until they get a signal. The first signal stops them
// in order within the deadline, a second one at once.

import closeWithGrace from 'close-with-grace';
import { begin, SNAPSHOT_FAILED, shardFolders } from '../app/main.ts';
import type { Config } from '../config/config.ts';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { type ShardServer, startShardServer } from '../datastores/protocol/shard-server.ts';
import type { Provisioner } from '../datastores/shard-store.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { createLogger } from '../runtime/edge/telemetry.ts';
import type { Logger } from '../runtime/telemetry.ts';
import { AppError } from '../schemas/errors.ts';
import { isLoopback } from '../schemas/loopback.ts';
import { leaveAddress } from './beside.ts';
import { checkMqtt, type MqttAsked, type ServedMqtt, serveMqttHere, serveMqttOnKafka } from './mqtt.ts';
import type { Output } from './output.ts';

/** Longer than the deadline of the parts, so that theirs takes effect first. */
const FORCED_AFTER_MS = 2_000;

/** Resolves when the process has stopped in order; rejects with the error that ended it. */
export async function runProcess(
  config: Config,
  output: Output,
  { mqtt, shards }: { readonly mqtt?: MqttAsked | undefined; readonly shards?: ShardsAsked | undefined } = {},
): Promise<void> {
  const logger = createLogger({ level: config.logLevel, pretty: config.logPretty });
  if (mqtt !== undefined) checkMqtt(config, mqtt);
  if (shards !== undefined) checkShards(config, shards);
  const starting = await begin(config, { logger });
  const address = `http://${config.httpHost}:${starting.httpPort}`;
  output.line(`Foreshard listens on ${address}; the API is described at ${address}/docs`);
  output.json({ address });
  const withdrawAddress = leaveAddress(config, starting.httpPort);
  let served: Promise<ServedMqtt> | undefined;
  let isOver = false;
  let server: ShardServer | undefined;
  const done = starting.started.then(async (foreshard) => {
    if (shards !== undefined) {
      server = await serveShards(config, shards, foreshard.provisioner, logger);
      output.line(`Brokers look up at ${addressOf(server, shards)}`);
    }
    if (mqtt !== undefined) {
      served = serveMqttHere(foreshard, config, mqtt, { logger, isOver: () => isOver });
      output.line(`MQTT clients connect to ${(await served).address}`);
    }
    await foreshard.done;
  });
  await untilStopped(config, logger, done, async () => {
    isOver = true;
    withdrawAddress();
    await (await served?.catch(() => undefined))?.close();
    await server?.close();
    await starting.stop();
  });
}

/** An MQTT broker of a fleet on Kafka; like `runProcess`. */
export async function runBroker(config: Config, brokerId: string, asked: MqttAsked, output: Output): Promise<void> {
  const logger = createLogger({ level: config.logLevel, pretty: config.logPretty });
  checkMqtt(config, asked);
  let isOver = false;
  const served = serveMqttOnKafka(config, brokerId, asked, { logger, isOver: () => isOver });
  const started = served.then(({ address }) => {
    output.line(`MQTT clients connect to ${address}`);
    output.json({ address });
    return new Promise<void>(() => {});
  });
  await untilStopped(config, logger, started, async () => {
    isOver = true;
    await (await served.catch(() => undefined))?.close();
  });
}

export async function runShardServer(config: Config, host: string, port: number, output: Output): Promise<void> {
  const logger = createLogger({ level: config.logLevel, pretty: config.logPretty });
  const asked = { host, port };
  checkShards(config, asked);
  const provisioner = shardFolders(config, readCatalog(config.catalogPath), systemClock(), false, (failure) =>
    logger.warn({ error: failure }, SNAPSHOT_FAILED),
  );
  const server = await serveShards(config, asked, provisioner, logger);
  const address = addressOf(server, asked);
  output.line(`The shard server listens on ${address}`);
  output.json({ address });
  await untilStopped(config, logger, new Promise(() => {}), async () => {
    await server.close();
    await provisioner.close();
  });
}

export interface ShardsAsked {
  readonly host: string;
  readonly port: number;
}

/** Throws CONFIG_INVALID when everybody could write from outside. */
function checkShards({ shardServerToken }: Config, { host }: ShardsAsked): void {
  if (shardServerToken.reveal() === '' && !isLoopback(host))
    throw new AppError('CONFIG_INVALID', `${host} is reachable from outside: set FORESHARD_SHARD_SERVER_TOKEN`);
}

function serveShards(
  config: Config,
  asked: ShardsAsked,
  provisioner: Provisioner,
  logger: Logger,
): Promise<ShardServer> {
  const token = config.shardServerToken.reveal();
  const readToken = config.shardServerReadToken.reveal();
  return startShardServer({
    ...asked,
    provisioner,
    token: token === '' ? undefined : token,
    ...(readToken === '' ? {} : { readToken }),
    log: (failure) => logger.error({ ...failure }, 'a shard could not do what was asked'),
  });
}

/** With the host that was asked for: for 0.0.0.0 the server itself would return only the loopback address. */
const addressOf = (server: ShardServer, { host }: ShardsAsked): string =>
  `http://${host}:${new URL(server.address).port}`;

async function untilStopped(
  config: Config,
  logger: Logger,
  ended: Promise<void>,
  stop: () => Promise<void>,
): Promise<void> {
  let told = (): void => {};
  const signalled = new Promise<void>((resolve) => {
    told = resolve;
  });
  const stopping = new Promise<void>((resolve, reject) => {
    closeWithGrace(
      {
        delay: config.shutdownDeadlineMs + FORCED_AFTER_MS,
        logger: { error: (message: unknown) => logger.error({}, String(message)) },
      },
      async ({ signal, err }) => {
        if (err !== undefined) logger.error({ error: err }, 'a bug ends the process');
        else logger.info({ signal }, 'stopping in order; a second signal stops at once');
        told();
        try {
          await stop();
          resolve();
        } catch (error) {
          reject(error);
          throw error;
        }
      },
    );
  });
  stopping.catch(() => {});
  try {
    await Promise.race([ended, signalled]);
  } catch (error) {
    logger.error({ error }, 'the run cannot go on');
    await stop();
    throw error;
  }
  await stopping;
}
