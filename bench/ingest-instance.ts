// One instance of the ingest benchmark: a process of its own, as in production. It reports when it got its first
// events.

import { kafkaLog } from '../log/kafka/kafka-log.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { inlineFitter } from '../runtime/inline-fitter.ts';
import { run } from '../runtime/runner.ts';
import { silentLogger, silentMeter } from '../runtime/telemetry.ts';
import type { Codec } from '../schemas/codec.ts';
import { registryCodec, subjectOf } from '../schemas/edge/registry-codec.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import { metrics, rates, subscriptions, wildcards } from '../topology/topics.ts';
import { ingestAndRates, PARTITIONS, runnerSettings } from './ingest.ts';

const app = process.env.BENCH_APP!;
const registered = await registryCodec({
  url: process.env.BENCH_REGISTRY!,
  register: false,
  subjects: [subscriptions, wildcards, metrics, rates].map((topic) =>
    subjectOf('foreshard.', { ...topic, record: topic.record! }),
  ),
});
let told = false;
const codec: Codec = {
  ...registered,
  async prepare(record, values) {
    if (!told && record === 'SubscriptionEvent') {
      told = true;
      console.log(`first ${Date.now()}`);
    }
    await registered.prepare(record, values);
  },
};
const log = await kafkaLog({ brokers: process.env.BENCH_BROKERS!.split(','), app, logger: silentLogger });
const running = await run(
  ingestAndRates(PARTITIONS),
  {
    log,
    codec,
    stores: levelFolder(process.env.BENCH_DIR!),
    clock: systemClock(),
    fitter: inlineFitter,
    effects: { perform: async () => [] },
    logger: silentLogger,
    meter: silentMeter,
  },
  runnerSettings(app, PARTITIONS),
);
await running.done;
