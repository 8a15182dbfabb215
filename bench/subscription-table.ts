// Subscription table: what it costs for each event of a whole embedded process, with stores and disk, compared with the
// same process without it. Rounds alternate; the clock starts at the first event and stops when every one is committed.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from '../app/main.ts';
import { configOf } from '../config/config.ts';
import { DEFAULT_FLEET, Fleet } from '../evaluation/fleet.ts';
import { silentLogger } from '../runtime/telemetry.ts';
import { eventTime } from '../schemas/ids.ts';
import { partitionOf } from '../state/keys.ts';
import { subscriptions } from '../topology/topics.ts';
import { type Measurement, median } from './measurement.ts';

const EVENTS = Number(process.env.BENCH_EVENTS ?? 200_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const PARTITIONS = 4;
const BATCH = 10_000;

export async function subscriptionTableCost(): Promise<Measurement[]> {
  const [kept, without]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    without.push(await eventsPerSecond(false));
    kept.push(await eventsPerSecond(true));
  }
  const [figure, peerFigure] = [median(kept), median(without)];
  return [
    {
      ...{ name: 'events through a whole embedded process, with the subscription table', figure, unit: 'events/s' },
      ...{ peer: 'the same without it', peerFigure, ratio: figure / peerFigure, bar: '', met: null },
    },
  ];
}

async function eventsPerSecond(subscriptionTable: boolean): Promise<number> {
  const dataDir = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  const values = { dataDir, subscriptionTable, partitions: PARTITIONS, workerThreads: 0, httpPort: 0 };
  const foreshard = await start(configOf([{ source: 'bench', values }]).config, {
    logger: silentLogger,
  });
  try {
    const { log, codec, views } = foreshard;
    const fleet = new Fleet({ ...DEFAULT_FLEET, filters: 20_000, clients: 100_000, seed: 7 });
    const records = Array.from({ length: EVENTS }, (_, i) => {
      const event = fleet.next(eventTime(1_700_000_000_000 + i));
      const { topicFilter: key } = event;
      return {
        ...{ topic: subscriptions.name, partition: partitionOf(key, PARTITIONS), key },
        value: codec.encode('SubscriptionEvent', event),
      };
    });
    const began = performance.now();
    for (let from = 0; from < EVENTS; from += BATCH) await log.append(records.slice(from, from + BATCH));
    while (accountedFor(await views.metricsText()) < EVENTS) await sleep(20);
    return (1_000 * EVENTS) / (performance.now() - began);
  } finally {
    await foreshard.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Counters of how events end: each event is counted in one of these. */
const ENDS = /^foreshard_(?:applied|stale|foreign_removals|superseded)_total(?:\{[^}]*\})? (\d+)$/gm;

const accountedFor = (metrics: string): number =>
  [...metrics.matchAll(ENDS)].reduce((sum, [, count]) => sum + Number(count), 0);
