// Memory: what is held in memory while a million distinct topics pass: by the steps of ingest and rates alone, and by a
// whole embedded process, with log, LevelDB shards and planner. The figure is the growth of the live heap between the
// first tenth of the topics and the last.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { start } from '../app/main.ts';
import { configOf } from '../config/config.ts';
import type { EmbeddedLog } from '../log/embedded/embedded-log.ts';
import { countRates, windows } from '../processors/rates/rates.ts';
import { RATES_DEFAULTS } from '../processors/rates/settings.ts';
import { RowTable } from '../runtime/row-table.ts';
import { SimulatedClock } from '../runtime/simulated-clock.ts';
import { silentLogger } from '../runtime/telemetry.ts';
import { eventTime } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import { filterHash, partitionOf } from '../state/keys.ts';
import type { Measurement } from './measurement.ts';

const TOPICS = 1_000_000;
const PARTITIONS = 4;
const EVENTS_EACH = 2;
const START = 1_760_000_000_000;
const BATCH = 20_000;

export async function memory(): Promise<Measurement[]> {
  return [...stepsAlone(), await wholeProcess()];
}

/** Live bytes of this process, after a forced garbage collection. */
function live(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function eventOf(event: number): SubscriptionEvent {
  const topicFilter = `site-${event % 97}/device-${event % TOPICS}/temperature`;
  return {
    action: 'SUBSCRIBE',
    topicFilter,
    clientId: `client-${filterHash(topicFilter) % 500_000}`,
    brokerId: 'broker-1',
    qos: 1,
    timestamp: eventTime(START + Math.floor(event / 20)),
  };
}

function stepsAlone(): Measurement[] {
  const step = countRates({ ...RATES_DEFAULTS, partitions: PARTITIONS });
  const tables = Array.from({ length: PARTITIONS }, () => new RowTable(windows as never));
  let early = 0;
  for (let event = 0; event < TOPICS * EVENTS_EACH; event++) {
    const value = eventOf(event);
    const { topicFilter } = value;
    const partition = partitionOf(topicFilter, PARTITIONS);
    step(tables[partition]! as never, { topic: 'subscriptions', partition, offset: event, key: topicFilter, value });
    if (event === TOPICS / 10) early = live();
  }
  const grownMb = Math.max(0, live() - early) / 1e6;
  const rowBytes = tables.reduce(
    (sum, table) => sum + [...table.entries()].reduce((all, [, row]) => all + table.table.encode(row).length, 0),
    0,
  );
  return [
    {
      name: 'live heap growth while 1,000,000 distinct topics pass',
      figure: grownMb,
      unit: 'MB',
      peer: '',
      peerFigure: null,
      ratio: null,
      bar: 'below 10 MB',
      met: grownMb < 10,
    },
    {
      name: 'state of ingest and rates, four partitions',
      figure: rowBytes / 1e6,
      unit: 'MB',
      peer: '',
      peerFigure: null,
      ratio: null,
      bar: 'below 1 MB',
      met: rowBytes < 1e6,
    },
  ];
}

async function wholeProcess(): Promise<Measurement> {
  const dataDir = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  const clock = new SimulatedClock(START);
  const { config } = configOf([
    { source: 'bench', values: { dataDir, partitions: PARTITIONS, applicationId: 'bench' } },
  ]);
  const system = await start(config, { logger: silentLogger, simulated: clock, serveHttp: false });
  const log = system.log as EmbeddedLog;
  let early = 0;
  for (let at = 0; at < TOPICS; at += BATCH) {
    await log.append(
      Array.from({ length: BATCH }, (_, index) => {
        const value = eventOf(at + index);
        return {
          topic: 'subscriptions',
          partition: partitionOf(value.topicFilter, PARTITIONS),
          key: value.topicFilter,
          value: system.codec.encode('SubscriptionEvent', value),
        };
      }),
    );
    clock.advance(BATCH / 20);
    await clock.settle(system.running.tick());
    await clock.settle(log.whenIdle());
    if (at === TOPICS / 10) early = live();
  }
  const grownMb = Math.max(0, live() - early) / 1e6;
  await system.stop();
  await rm(dataDir, { recursive: true, force: true });
  return {
    name: 'live heap growth of a whole embedded process, the same topics',
    figure: grownMb,
    unit: 'MB',
    peer: '',
    peerFigure: null,
    ratio: null,
    bar: 'below 50 MB',
    met: grownMb < 50,
  };
}
