// Instance: one Foreshard process for system tests, as `foreshard run` starts it: settings from the environment, lines to
// standard error, and `listens <port>` to standard output once it serves.

import { begin } from '../../app/main.ts';
import { readConfig } from '../../config/edge/env-config.ts';
import { createLogger } from '../../runtime/edge/telemetry.ts';

const { config } = readConfig({ environment: process.env });
const logger = createLogger({ level: config.logLevel, pretty: false });
const starting = await begin(config, { logger });
process.stdout.write(`listens ${starting.httpPort}\n`);
const asked = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()));
try {
  await Promise.race([asked, starting.started.then((foreshard) => foreshard.done)]);
} catch (error) {
  logger.error({ error }, 'the run cannot go on');
  process.exitCode = 1;
}
await starting.stop();
process.exit();
