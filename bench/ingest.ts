// Ingest: subscription events to rates, with state and changelog, exactly once: on Kafka, compared with Kafka Streams
// on the same topic in the same run, and embedded. Two instances of ours are compared with two threads of the peer. For
// both, the clock starts at the first event processed and stops when every input offset is committed.
//
// What each stores differs by design: the peer counts each filter in each window; Foreshard counts each leaf of a
// partition and its heaviest filters, which is all that the planner needs.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import { DEFAULT_FLEET, Fleet } from '../evaluation/fleet.ts';
import { embeddedLog } from '../log/embedded/embedded-log.ts';
import { kafkaLog } from '../log/kafka/kafka-log.ts';
import { ingestWith } from '../processors/ingest/ingest.ts';
import { countRates, windows } from '../processors/rates/rates.ts';
import { RATES_DEFAULTS } from '../processors/rates/settings.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { inlineFitter } from '../runtime/inline-fitter.ts';
import type { Log, OutRecord } from '../runtime/ports.ts';
import { type RunnerSettings, run } from '../runtime/runner.ts';
import { silentLogger, silentMeter } from '../runtime/telemetry.ts';
import { embeddedCodec } from '../schemas/avro-codec.ts';
import type { Codec } from '../schemas/codec.ts';
import { registryCodec, subjectOf } from '../schemas/edge/registry-codec.ts';
import { eventTime } from '../schemas/ids.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import { partitionOf } from '../state/keys.ts';
import { CACHE_FOLDER } from '../test/support/kafka-jars.ts';
import { endProcess, runProcess, startProcess } from '../test/support/processes.ts';
import { startKafka } from '../test/support/real-kafka.ts';
import { startRegistry } from '../test/support/real-registry.ts';
import { defineTopology, stage, type Topology } from '../topology/graph.ts';
import { clientEvents, clock, metrics, rates, subscriptions, wildcards } from '../topology/topics.ts';
import { type KafkaStreamsPeer, kafkaStreamsPeer, PEER_SOURCES } from './kafka-streams.ts';
import { type Measurement, median } from './measurement.ts';

export const PARTITIONS = 4;
const EVENTS = Number(process.env.BENCH_EVENTS ?? 2_000_000);
const FILTERS = 50_000;
const INSTANCES = 2;
/** Instances run as they would be installed: compiled. */
const BUILT = join(CACHE_FOLDER, 'bench');
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);

const SUBJECTS = [subscriptions, wildcards, clientEvents, metrics, rates].map((topic) =>
  subjectOf('foreshard.', { ...topic, record: topic.record! }),
);

/** The first two stages, as in the whole topology. */
export function ingestAndRates(partitions: number): Topology {
  return defineTopology(
    [
      stage('ingest', { reads: [subscriptions], emits: [wildcards, clientEvents], step: ingestWith(0) }),
      stage('rates', {
        reads: [subscriptions, wildcards, metrics, clock],
        keeps: windows,
        emits: [rates],
        step: countRates({ ...RATES_DEFAULTS, partitions }),
      }),
    ],
    { inputs: [subscriptions, metrics] },
  );
}

export const runnerSettings = (app: string, partitions: number): RunnerSettings => ({
  app,
  partitions,
  address: '',
  commitIntervalMs: 200,
  commitRecordsMax: 200_000,
  effectRetryMs: 100,
  tickMs: 200,
  idleMs: 30_000,
});

export async function ingest(): Promise<Measurement[]> {
  const services = await started();
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  try {
    const peer = await kafkaStreamsPeer(services.brokers.join(','));
    if (peer === undefined)
      console.error(`Kafka Streams is not measured: there is no pom.xml with its program in ${PEER_SOURCES}`);
    await fill(services, peer);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      ours.push(await runInstances(services, join(folder, `ours-${round}`), round));
      if (peer !== undefined)
        theirs.push(await peer.rates('foreshard.subscriptions', EVENTS, 2, join(folder, `peer-${round}`)));
      const beside = peer === undefined ? '' : `, peer ${theirs[round]}`;
      console.error(`round ${round + 1} of ${ROUNDS}: ours ${Math.round(ours[round]!)}${beside} events/s`);
    }
    const ratio = peer === undefined ? null : median(ours.map((figure, round) => figure / theirs[round]!));
    return [
      {
        name: 'ingest and rates on Kafka, exactly once, state and changelog on',
        figure: median(ours),
        unit: 'events/s',
        peer: peer === undefined ? '' : 'Kafka Streams 4.1, 2 threads, exactly_once_v2',
        peerFigure: peer === undefined ? null : median(theirs),
        ratio,
        bar: 'ratio >= 2',
        met: ratio !== null && ratio >= 2,
      },
    ];
  } finally {
    await services.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Services {
  readonly brokers: readonly string[];
  readonly registryUrl: string;
  stop(): Promise<void>;
}

/**
 * Kafka, a registry with our schemas, and the compiled instance. Throws, before anything is measured, when one is
 * missing.
 */
async function started(): Promise<Services> {
  const tsconfig = resolve(import.meta.dirname, 'tsconfig.json');
  await runProcess('npx', ['--no-install', 'tsc', '-p', tsconfig, '--outDir', BUILT]);
  // The peer's events are dated in the past: the broker must not let them expire.
  const kafka = await startKafka({ heap: '1g', settings: { 'log.retention.ms': '-1' } });
  if (kafka === undefined)
    throw new Error('there is no Kafka: it needs KAFKA_BROKERS, a container engine, or a JDK with Maven');
  const registry = await startRegistry();
  if (registry === undefined) {
    await kafka.stop();
    throw new Error('there is no schema registry: it needs a container engine, or a JDK with Maven');
  }
  await registryCodec({ url: registry.url, register: true, subjects: SUBJECTS });
  return {
    brokers: kafka.brokers,
    registryUrl: registry.url,
    async stop() {
      await kafka.stop();
      await registry.stop();
    },
  };
}

/** Writes the events; by the peer when there is one, so that it can read its own keys back. */
async function fill({ brokers, registryUrl }: Services, peer: KafkaStreamsPeer | undefined): Promise<void> {
  if (peer !== undefined) {
    const schemaId = await schemaIdOf(registryUrl);
    return peer.generate('foreshard.subscriptions', PARTITIONS, EVENTS, FILTERS, schemaId);
  }
  const codec = await registryCodec({ url: registryUrl, register: false, subjects: SUBJECTS });
  const log = await kafkaLog({ brokers, app: 'fill', logger: silentLogger, replicationFactor: 1 });
  await log.prepare([{ name: 'subscriptions', partitions: PARTITIONS, cleanup: 'delete', retentionMs: -1 }]);
  await appendEvents(log, codec);
  await log.close();
}

async function appendEvents(log: Pick<Log, 'append'>, codec: Codec): Promise<void> {
  const fleet = new Fleet({ ...DEFAULT_FLEET, filters: FILTERS });
  let batch: OutRecord[] = [];
  for (let event = 0; event < EVENTS; event++) {
    const value = fleet.next(eventTime(1_760_000_000_000 + Math.floor(event / 50)));
    batch.push({
      topic: 'subscriptions',
      partition: partitionOf(value.topicFilter, PARTITIONS),
      key: value.topicFilter,
      value: codec.encode('SubscriptionEvent', value),
    });
    if (batch.length < 20_000 && event < EVENTS - 1) continue;
    await log.append(batch);
    batch = [];
  }
}

/** Events per second of a fresh group of instances over the whole topic. */
async function runInstances({ brokers, registryUrl }: Services, dir: string, round: number): Promise<number> {
  const app = `bench-${process.pid}-${round}`;
  const children = Array.from({ length: INSTANCES }, (_, index) =>
    startProcess(process.execPath, [join(BUILT, 'bench/ingest-instance.js')], {
      logPath: `${dir}-${index}.log`,
      env: {
        BENCH_BROKERS: brokers.join(','),
        BENCH_REGISTRY: registryUrl,
        BENCH_APP: app,
        BENCH_DIR: `${dir}-${index}`,
      },
    }),
  );
  let first = Number.POSITIVE_INFINITY;
  for (const child of children) {
    child.stdout!.on('data', (chunk: Buffer) => {
      const at = /first (\d+)/.exec(chunk.toString())?.[1];
      if (at !== undefined) first = Math.min(first, Number(at));
    });
  }
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    for (;;) {
      await new Promise((done) => setTimeout(done, 20));
      if (children.some((child) => child.exitCode !== null))
        throw new Error(`an instance ended early: ${await lastWords(dir)}`);
      const committed = await committedOf(admin, `${app}-work`);
      if (committed >= EVENTS) return EVENTS / ((Date.now() - first) / 1000);
    }
  } finally {
    await admin.disconnect();
    await Promise.all(children.map((child) => endProcess(child, 'SIGKILL')));
  }
}

/** Input offsets that the group has committed; 0 while its coordinator is still loading. */
async function committedOf(admin: Admin, groupId: string): Promise<number> {
  try {
    const [topic] = await admin.fetchOffsets({ groupId, topics: ['foreshard.subscriptions'] });
    return topic!.partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0);
  } catch {
    return 0;
  }
}

async function lastWords(dir: string): Promise<string> {
  const logs = Array.from({ length: INSTANCES }, (_, index) => readFile(`${dir}-${index}.log`, 'utf8'));
  return (await Promise.all(logs)).map((log) => log.slice(-2_000)).join('\n');
}

async function schemaIdOf(url: string): Promise<number> {
  const answer = await fetch(`${url}/subjects/foreshard.subscriptions-value/versions/latest`);
  const { id } = (await answer.json()) as { readonly id: number };
  return id;
}

export async function ingestEmbedded(): Promise<Measurement[]> {
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  try {
    const figures: number[] = [];
    for (let round = 0; round < ROUNDS; round++) figures.push(await embeddedRound(join(folder, String(round))));
    const onKafka = await onceOnKafka(folder);
    const ratio = onKafka === undefined ? null : median(figures) / onKafka;
    return [
      {
        name: 'ingest and rates embedded, durable, state and changelog on',
        figure: median(figures),
        unit: 'events/s',
        peer: onKafka === undefined ? '' : `${INSTANCES} instances of ours on Kafka`,
        peerFigure: onKafka ?? null,
        ratio,
        bar: '5 x the figure on Kafka',
        met: ratio !== null && ratio >= 5,
      },
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * One round on Kafka, to compare the embedded figure with; `undefined` when there is no Kafka, after the reason was
 * printed.
 */
async function onceOnKafka(folder: string): Promise<number | undefined> {
  let services: Services;
  try {
    services = await started();
  } catch (error) {
    console.error(`the same on Kafka is not measured: ${(error as Error).message}`);
    return undefined;
  }
  try {
    await fill(services, undefined);
    return await runInstances(services, join(folder, 'kafka'), 0);
  } finally {
    await services.stop();
  }
}

async function embeddedRound(dir: string): Promise<number> {
  const app = 'bench';
  const log = await embeddedLog({ dir: join(dir, 'log'), app, partitions: PARTITIONS });
  const codec = embeddedCodec();
  const topology = ingestAndRates(PARTITIONS);
  const ports = {
    log,
    codec,
    stores: levelFolder(join(dir, 'state')),
    clock: systemClock(),
    fitter: inlineFitter,
    effects: { perform: async () => [] },
    logger: silentLogger,
    meter: silentMeter,
  };
  // Topics exist once a run has been there; the events are appended before the measured one.
  await (await run(topology, ports, runnerSettings(app, PARTITIONS))).stop(5_000);
  await appendEvents(log, codec);
  const began = performance.now();
  const running = await run(topology, ports, runnerSettings(app, PARTITIONS));
  await log.whenIdle();
  const seconds = (performance.now() - began) / 1000;
  await running.stop(5_000);
  await log.close();
  return EVENTS / seconds;
}
