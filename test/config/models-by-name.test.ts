// A process for each model that FORESHARD_MODELS may name, one after the other on one folder: what one of them has stored
// is read by the next.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Simulation } from '../../cli/simulation.ts';
import { readConfig } from '../../config/edge/env-config.ts';
import { MODEL_NAMES } from '../../processors/forecast/models/models.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { eventTime } from '../../schemas/ids.ts';
import { forecasts } from '../../topology/topics.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const MINUTES = 6;
const MINUTE_MS = 60_000;

let folder: TempFolder;
let now = Date.UTC(2026, 0, 5);
beforeAll(async () => {
  folder = await tempFolder();
});
afterAll(() => folder.remove());

/** Some minutes of a process with these models; how many forecasts it made. */
async function forecastsWith(models: string): Promise<number> {
  const environment = { FORESHARD_MODELS: models, FORESHARD_PARTITIONS: '1', FORESHARD_DATA_DIR: folder.path };
  const { config } = readConfig({ environment });
  const simulation = await Simulation.start({
    config,
    logger: silentLogger,
    startAt: eventTime(now),
    serveHttp: false,
  });
  let made = 0;
  try {
    await simulation.observe(forecasts, ({ value }) => {
      if (value !== null && value.madeAt > now - MINUTES * MINUTE_MS) made++;
    });
    made = 0;
    for (let minute = 0; minute < MINUTES; minute++) {
      now += MINUTE_MS;
      const events = Array.from({ length: 12 }, (_, i) =>
        simulation.subscription({
          clientId: `client-${i}`,
          topicFilter: `house/${i}/t`,
          action: 'SUBSCRIBE',
          qos: 0,
          brokerId: 'broker-1',
          timestamp: eventTime(now - i * 4_000),
        }),
      );
      await simulation.step(events, MINUTE_MS);
    }
  } finally {
    await simulation.stop();
  }
  return made;
}

describe('FORESHARD_MODELS', () => {
  test.each([...MODEL_NAMES, 'arima, theta, lstm', ''])('a process with the models "%s" forecasts', async (models) => {
    expect(await forecastsWith(models)).toBeGreaterThan(0);
  });
});
