// Restore: a process that lost its disk reads its state back from the changelog on Kafka, into LevelDB. Measured
// from joining the group until all tasks are ready, for the records in the changelog.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kafkaLog } from '../log/kafka/kafka-log.ts';
import { byKey, type Input, jsonTable } from '../processors/step.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { inlineFitter } from '../runtime/inline-fitter.ts';
import type { Log } from '../runtime/ports.ts';
import { type Running, run } from '../runtime/runner.ts';
import { silentLogger, silentMeter } from '../runtime/telemetry.ts';
import { embeddedCodec } from '../schemas/avro-codec.ts';
import { eventTime } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import { partitionOf } from '../state/keys.ts';
import { startKafka } from '../test/support/real-kafka.ts';
import { defineTopology, stage } from '../topology/graph.ts';
import { subscriptions } from '../topology/topics.ts';
import { runnerSettings } from './ingest.ts';
import type { Measurement } from './measurement.ts';

const PARTITIONS = 4;
const ROWS = 1_000_000;

/** Stores a row for each filter: as many rows as there are keys, so that the changelog is as long as the state. */
const lastClient = defineTopology(
  [
    stage('last', {
      reads: [subscriptions],
      keeps: jsonTable<{ readonly clientId: string; readonly at: number }>('last'),
      emits: [],
      step: byKey(
        (input: Input<'subscriptions', SubscriptionEvent>) => input.key,
        (_row, { value }) => ({
          row: { clientId: value.clientId, at: value.timestamp },
          emit: [],
        }),
      ),
    }),
  ],
  { inputs: [subscriptions] },
);

export async function restore(): Promise<Measurement[]> {
  const kafka = await startKafka({ heap: '1g' });
  if (kafka === undefined) throw new Error('this bench needs a Kafka; see CONTRIBUTING.md');
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  const app = `restore-${process.pid}`;
  const openLog = (): Promise<Log> =>
    kafkaLog({ brokers: kafka.brokers, app, logger: silentLogger, replicationFactor: 1 });
  const start = (log: Log, dir: string): Promise<Running> =>
    run(
      lastClient,
      {
        log,
        codec: embeddedCodec(),
        stores: levelFolder(join(folder, dir)),
        clock: systemClock(),
        fitter: inlineFitter,
        effects: { perform: async () => [] },
        logger: silentLogger,
        meter: silentMeter,
      },
      { ...runnerSettings(app, PARTITIONS), tickMs: 50 },
    );
  try {
    const first = await openLog();
    const filled = await start(first, 'first');
    await fill(first);
    await until(() => count(filled) === ROWS);
    await filled.stop(30_000);
    await first.close();
    const second = await openLog();
    const began = performance.now();
    const restored = await start(second, 'second');
    await until(() => restored.readiness().ready && count(restored) === ROWS);
    const seconds = (performance.now() - began) / 1000;
    await restored.stop(30_000);
    await second.close();
    return [
      {
        name: 'restore of a lost disk from Kafka, joining included',
        figure: ROWS / seconds,
        unit: 'records/s',
        peer: '',
        peerFigure: null,
        ratio: null,
        bar: '2 x Kafka Streams',
        met: false, // Not judged: there is no Kafka Streams in this run.
      },
    ];
  } finally {
    await kafka.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const count = (running: Running): number => [...running.rows('work', 'last')].length;

async function fill(log: Log): Promise<void> {
  const codec = embeddedCodec();
  for (let at = 0; at < ROWS; at += 20_000) {
    await log.append(
      Array.from({ length: 20_000 }, (_, index) => {
        const topicFilter = `site-${(at + index) % 97}/device-${at + index}/temperature`;
        const event = {
          action: 'SUBSCRIBE',
          topicFilter,
          clientId: `client-${index}`,
          brokerId: 'broker-1',
          qos: 1,
          timestamp: eventTime(Date.now()),
        };
        return {
          topic: 'subscriptions',
          partition: partitionOf(topicFilter, PARTITIONS),
          key: topicFilter,
          value: codec.encode('SubscriptionEvent', event),
        };
      }),
    );
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((done) => setTimeout(done, 50));
}
