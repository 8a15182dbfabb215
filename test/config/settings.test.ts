// Every setting arrives where it acts: the composition root and the commands are run with each edge in its place replaced
// by one that writes down what it was given.
//
//   S1. There is a row for each setting: a new one without a row fails here.
//   S2. A row's value differs from the default, and so does what the edge is given.

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { NO_PEERS } from '../../broker/aedes/exchange.ts';
import type { BrokerClient } from '../../broker/join-fleet.ts';
import { serveMqtt } from '../../cli/mqtt.ts';
import { Output } from '../../cli/output.ts';
import { runProcess, runShardServer } from '../../cli/serve.ts';
import { type Config, configOf, SETTINGS, type SettingName } from '../../config/config.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';

/** What each edge was given, by its name. */
// biome-ignore lint/suspicious/noExplicitAny: the options of a dozen edges, which each row looks at in its own place.
type Seen = Record<string, any>;
const seen = vi.hoisted((): { now: Seen } => ({ now: {} }));
const HELD = vi.hoisted(() => 1_800_000_000_000);

const nothing = async (): Promise<void> => {};

vi.mock('close-with-grace', () => ({
  default: (options: object) => {
    seen.now.grace = options;
  },
}));
vi.mock('../../runtime/edge/telemetry.ts', async (original) => ({
  ...(await original<object>()),
  createLogger: (options: object) => {
    seen.now.logger = options;
    return silentLogger;
  },
}));
vi.mock('../../runtime/edge/system-clock.ts', () => ({
  systemClock: () => ({
    now: () => HELD,
    every: (_ms: number, tick: () => void) => {
      seen.now.sweep = tick;
      return () => {};
    },
    sleep: nothing,
  }),
}));
vi.mock('../../log/kafka/kafka-log.ts', () => ({
  kafkaLog: async (options: object) => {
    seen.now.kafka = options;
    return { close: nothing };
  },
}));
vi.mock('../../log/embedded/embedded-log.ts', async (original) => ({
  ...(await original<object>()),
  embeddedLog: async (options: object) => {
    seen.now.embedded = options;
    return { close: nothing };
  },
}));
vi.mock('../../schemas/edge/registry-codec.ts', async (original) => ({
  ...(await original<object>()),
  registryCodec: async (options: object) => {
    seen.now.registry = options;
    return {};
  },
}));
vi.mock('../../state/edge/level-store.ts', () => ({
  levelFolder: (folder: string) => {
    seen.now.store = { engine: 'level', folder };
  },
}));
vi.mock('../../state/edge/rocksdb-store.ts', () => ({
  rocksdbFolder: (folder: string) => {
    seen.now.store = { engine: 'rocksdb', folder };
  },
}));
const provisioner = {
  close: nothing,
  sweep: async (before: number) => {
    seen.now.sweptBefore = before;
    return 0;
  },
};
vi.mock('../../provisioners/remote/remote-provisioner.ts', () => ({
  remoteProvisioner: (options: object) => {
    seen.now.remote = options;
    return provisioner;
  },
}));
vi.mock('../../provisioners/embedded/embedded-provisioner.ts', () => ({
  embeddedProvisioner: (options: object) => {
    seen.now.shards = options;
    return provisioner;
  },
}));
vi.mock('../../datastores/protocol/shard-server.ts', () => ({
  startShardServer: async (options: object) => {
    seen.now.shardServer = options;
    throw new AppError('STOPPED', 'it has been seen');
  },
}));
vi.mock('../../cli/beside.ts', () => ({ leaveAddress: () => () => {} }));
vi.mock('../../broker/aedes/edge/level-journal.ts', () => ({
  levelJournal: async (folder: string) => {
    seen.now.journal = { folder };
    return { restoreInto: nothing, close: nothing };
  },
}));
vi.mock('../../broker/aedes/edge/aedes-broker.ts', () => ({
  mqttBroker: async (_client: object, options: object) => {
    seen.now.mqtt = options;
    throw new AppError('STOPPED', 'it has been seen');
  },
}));
vi.mock('../../runtime/edge/worker-pool.ts', () => ({
  workerPool: (options: object) => {
    seen.now.pool = options;
    return { close: nothing };
  },
}));
vi.mock('../../config/edge/weights-file.ts', async (original) => {
  const real = await original<typeof import('../../config/edge/weights-file.ts')>();
  return {
    readWeights: (path: string) => {
      seen.now.weights = path;
      return real.readWeights(path);
    },
  };
});
vi.mock('../../api/edge/http-server.ts', () => ({
  serveHttp: async (_views: object, options: object) => {
    seen.now.http = options;
    return { port: 1, close: nothing };
  },
}));
vi.mock('../../api/running-views.ts', () => ({
  runningViews: async (options: object) => {
    seen.now.views = options;
    return { close: nothing };
  },
}));
vi.mock('../../runtime/silent-shards.ts', () => ({
  ASK_EVERY_MS: 1_000,
  SilentShards: class {
    constructor(options: object) {
      seen.now.silent = options;
    }
  },
}));
vi.mock('../../topology/topology.ts', async (original) => {
  const real = await original<typeof import('../../topology/topology.ts')>();
  return {
    topologyOf: (settings: Parameters<typeof real.topologyOf>[0]) => {
      seen.now.stages = settings;
      return real.topologyOf(settings);
    },
  };
});
vi.mock('../../runtime/runner.ts', () => ({
  run: async (_topology: object, _ports: object, settings: object) => {
    seen.now.run = settings;
    return {
      eventTime: HELD,
      done: Promise.reject(new AppError('STOPPED', 'it has been seen')),
      stop: async (deadlineMs: number) => {
        seen.now.stoppedWithin = deadlineMs;
      },
    };
  },
}));

const folder = mkdtempSync(join(tmpdir(), 'foreshard-settings-'));
const fileWith = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const EXAMPLE = readFileSync(join(import.meta.dirname, '../../catalog/example.json'), 'utf8');
const SHIPPED_WEIGHTS = readFileSync(join(import.meta.dirname, '../../weights/lstm.json'), 'utf8');

interface Row {
  readonly value: unknown;
  readonly at: (seen: Seen) => unknown;
  /** What arrives there; the value itself by default. */
  readonly arrives?: unknown;
  /** What this setting goes with. */
  readonly beside?: Partial<Record<SettingName, unknown>>;
  /** What stands where it is not given, if that is not the same. */
  readonly without?: Partial<Record<SettingName, unknown>>;
}

const KAFKA = { runtime: 'kafka', brokers: 'kafka:9092', registryUrl: 'http://registry:8081' };
const TLS = { ...KAFKA, kafkaTls: true };
const PEM = 'a certificate';
const CERTIFICATES = {
  kafkaTlsCertFile: fileWith('cert.pem', `${PEM}, ours`),
  kafkaTlsKeyFile: fileWith('key.pem', `${PEM}’s key`),
};
const SASL = { ...KAFKA, saslMechanism: 'scram-sha-512', saslUsername: 'u', saslPassword: 'p' };
const MQTT = { mqttUsername: 'u', mqttPassword: 'p' };
const TOKENS = { httpReadToken: 'read-0123456789abcdef', httpAdminToken: 'admin-0123456789abcdef' };

const stagesOf = ({ stages }: Seen): Seen[] => [stages.sessions, stages.rates, stages.plan, stages.apply];

const ROWS: Record<SettingName, Row> = {
  runtime: {
    value: 'kafka',
    beside: KAFKA,
    without: {},
    at: (s) => s.kafka !== undefined && s.embedded === undefined,
    arrives: true,
  },
  applicationId: { value: 'other', at: (s) => [s.run.app, s.embedded.app], arrives: ['other', 'other'] },
  dataDir: {
    value: join(folder, 'data'),
    at: (s) => [s.embedded.dir, s.store.folder, s.shards.folder, s.journal.folder],
    arrives: ['log', 'state', 'shards', 'mqtt'].map((name) => join(folder, 'data', name)),
  },
  logLevel: { value: 'debug', at: (s) => s.logger.level },
  logPretty: { value: true, at: (s) => s.logger.pretty },
  partitions: {
    value: 5,
    at: (s) => [s.run, s.embedded, ...stagesOf(s)].map((each) => each.partitions),
    arrives: [5, 5, 5, 5, 5, 5],
  },
  incarnation: { value: 3, at: (s) => s.stages.apply.incarnation },
  spillRowsMax: { value: 7, at: (s) => s.stages.apply.spillRowsMax },
  subscriptionTable: { value: false, at: (s) => s.stages.apply.subscriptionTable },
  shutdownDeadlineMs: {
    value: 7_000,
    at: (s) => [s.stoppedWithin, s.grace.delay > 7_000 && s.grace.delay < 10_000],
    arrives: [7_000, true],
  },
  workerThreads: { value: 3, at: (s) => s.pool.threads },

  brokers: { value: ['a:1', 'b:2'], beside: KAFKA, at: (s) => s.kafka.brokers },
  topicPrefix: {
    value: 'x.',
    beside: KAFKA,
    at: (s) => [s.kafka.topicPrefix, s.registry.subjects[0].subject.startsWith('x.')],
    arrives: ['x.', true],
  },
  replicationFactor: { value: 2, beside: KAFKA, at: (s) => s.kafka.replicationFactor },
  createTopics: { value: false, beside: KAFKA, at: (s) => s.kafka.createTopics },
  kafkaTls: { value: true, beside: KAFKA, at: (s) => s.kafka.ssl, arrives: {} },
  kafkaTlsCaFile: {
    value: fileWith('ca.pem', PEM),
    beside: TLS,
    at: (s) => String(s.kafka.ssl.ca),
    arrives: PEM,
  },
  kafkaTlsCertFile: {
    value: CERTIFICATES.kafkaTlsCertFile,
    beside: { ...TLS, ...CERTIFICATES },
    without: TLS,
    at: (s) => String(s.kafka.ssl.cert),
    arrives: `${PEM}, ours`,
  },
  kafkaTlsKeyFile: {
    value: CERTIFICATES.kafkaTlsKeyFile,
    beside: { ...TLS, ...CERTIFICATES },
    without: TLS,
    at: (s) => String(s.kafka.ssl.key),
    arrives: `${PEM}’s key`,
  },
  saslMechanism: { value: 'scram-sha-256', beside: SASL, at: (s) => s.kafka.sasl.mechanism },
  saslUsername: { value: 'somebody', beside: SASL, at: (s) => s.kafka.sasl.username },
  saslPassword: { value: 'a secret', beside: SASL, at: (s) => s.kafka.sasl.password },
  sessionTimeoutMs: { value: 9_000, beside: KAFKA, at: (s) => s.kafka.sessionTimeoutMs },
  commitIntervalMs: { value: 300, at: (s) => s.run.commitIntervalMs },
  batchRecordsMax: { value: 1_234, at: (s) => s.run.commitRecordsMax },
  changelogRetentionMs: {
    value: 7_200_000,
    beside: KAFKA,
    at: (s) => s.kafka.deleteRetentionMs,
  },

  registryUrl: { value: 'http://other/apis', beside: KAFKA, at: (s) => s.registry.url },
  registryUsername: { value: 'somebody', beside: KAFKA, at: (s) => s.registry.auth?.username },
  registryPassword: {
    value: 'a secret',
    beside: { ...KAFKA, registryUsername: 'u' },
    at: (s) => s.registry.auth.password,
  },
  registerSchemas: { value: true, beside: KAFKA, at: (s) => s.registry.register },

  httpHost: { value: '0.0.0.0', beside: TOKENS, at: (s) => s.http.host },
  httpPort: { value: 81, at: (s) => s.http.port },
  httpAdvertised: { value: 'h:81', at: (s) => [s.http.advertised, s.run.address], arrives: ['h:81', 'h:81'] },
  httpReadToken: { value: TOKENS.httpReadToken, beside: TOKENS, without: {}, at: (s) => s.http.readToken },
  httpAdminToken: { value: TOKENS.httpAdminToken, at: (s) => s.http.adminToken },
  httpPeerTimeoutMs: { value: 300, at: (s) => s.http.peerTimeoutMs },

  mqttUsername: { value: 'somebody', beside: MQTT, at: (s) => s.mqtt?.login?.username },
  mqttPassword: { value: 'a secret', beside: MQTT, at: (s) => s.mqtt?.login?.password },

  storeEngine: { value: 'rocksdb', at: (s) => s.store.engine },
  shardServers: { value: ['a:1', 'b:2'], at: (s) => s.remote?.addresses, arrives: ['http://a:1', 'http://b:2'] },
  shardServerToken: {
    value: 'a secret',
    beside: { shardServers: 'a:1' },
    at: (s) => [s.remote.token, s.shardServer.token],
    arrives: ['a secret', 'a secret'],
  },
  shardServerReadToken: { value: 'a secret', at: (s) => s.shardServer.readToken },
  catalogPath: {
    value: fileWith('catalog.json', EXAMPLE.replaceAll('level-large', 'level-huge')),
    at: (s) => s.stages.plan.catalog.has('level-huge'),
    arrives: true,
  },
  concreteType: {
    value: 'level-large',
    at: (s) => [s.stages.plan.genesis.concreteType, s.stages.apply.genesis.concreteType],
    arrives: ['level-large', 'level-large'],
  },
  trieType: {
    value: 'trie-large',
    at: (s) => [s.stages.plan.genesis.trieType, s.stages.apply.genesis.trieType],
    arrives: ['trie-large', 'trie-large'],
  },
  shardLostAfterMs: { value: 7_000, at: (s) => s.silent?.lostAfterMs },
  tombstoneMs: { value: 60_000, at: (s) => s.sweptBefore, arrives: HELD - 60_000 },

  sessionEventsPerSecond: { value: 9, at: (s) => s.stages.sessions.sessionEventsPerSecond },
  sessionGraceMs: { value: 9_000, at: (s) => s.stages.sessions.sessionGraceMs },
  sessionMemoryMs: { value: 90_000, at: (s) => s.stages.sessions.sessionMemoryMs },
  brokerLostMs: { value: 90_000, at: (s) => s.stages.sessions.brokerLostMs },

  rateGraceMs: {
    value: 9_000,
    at: (s) => [s.stages.rates.graceMs, s.stages.forecast.graceMs],
    arrives: [9_000, 17_000],
  },
  leafBits: { value: 2, at: (s) => [s.stages.rates.leafBits, s.views.settings.leafBits], arrives: [2, 2] },
  heavyTopicsMax: { value: 11, at: (s) => s.stages.rates.heavyTopics },

  historyHours: { value: 48, at: (s) => s.stages.forecast.historyHours },
  models: {
    value: ['arima', 'theta', 'lstm'],
    at: (s) => s.stages.forecast.models.models.map((model: { name: string }) => model.name),
    arrives: ['level', 'arima', 'theta', 'lstm'],
  },
  lstmWeightsPath: {
    value: fileWith('weights.json', SHIPPED_WEIGHTS),
    beside: { models: 'lstm' },
    at: (s) => s.weights,
  },
  fitsPerMinute: { value: 5, at: (s) => s.stages.forecast.fitsPerMinute },

  mode: { value: 'approve', at: (s) => s.stages.plan.mode },
  policy: { value: 'cautious', at: (s) => s.stages.plan.policy },
  tickMs: { value: 5_000, at: (s) => s.stages.plan.tickMs },
  horizonMs: { value: 7_200_000, at: (s) => s.stages.plan.horizonMs },
  movesMax: { value: 9, at: (s) => s.stages.plan.movesMax },
  shardsMax: { value: 9, at: (s) => s.stages.plan.shardsMax },
  shardsPerHourMax: { value: 9, at: (s) => s.stages.plan.shardsPerHourMax },
  dollarsPerHourMax: { value: 9.5, at: (s) => s.stages.plan.dollarsPerHourMax },
  churnShareMax: { value: 0.5, at: (s) => s.stages.plan.churnShareMax },
  coolDownMs: { value: 9_000, at: (s) => s.stages.plan.coolDownMs },
  drainMs: { value: 9_000, at: (s) => s.stages.plan.drainMs },
  brokerSilentMs: { value: 9_000, at: (s) => s.stages.plan.brokerSilentMs },
  leadMarginMs: { value: 9_000, at: (s) => s.stages.plan.leadMarginMs },

  rebuildRowsPerSecond: { value: 9, at: (s) => s.stages.apply.rebuildRowsPerSecond },
  rebuildAfterMs: { value: 7, at: (s) => s.stages.plan.rebuildAfterMs },
  copyRowsPerSecond: { value: 9, at: (s) => s.stages.apply.copyRowsPerSecond },
  fillRowsPerSecond: { value: 17, at: (s) => s.stages.apply.fillRowsPerSecond },
  checkRowsPerSecond: { value: 11, at: (s) => s.stages.apply.checkRowsPerSecond },
};

const quiet = new Output(false, { out: new Writable({ write: (_chunk, _encoding, done) => done() }) });

const MQTT_PORTS = {
  client: { pointers: { newerThan: async () => true } } as unknown as BrokerClient,
  peersOf: () => NO_PEERS,
  logger: silentLogger,
  isOver: () => false,
};

/** What the edges are given by a process, a shard server and an MQTT broker of this configuration. */
async function seenWith(config: Config): Promise<Seen> {
  seen.now = {};
  await expect(runProcess(config, quiet)).rejects.toThrow('it has been seen');
  seen.now.sweep();
  const { shards } = seen.now;
  await expect(runShardServer(config, '127.0.0.1', 0, quiet)).rejects.toThrow('it has been seen');
  const broker = serveMqtt(config, { host: '127.0.0.1', port: 0 }, MQTT_PORTS);
  await expect(broker).rejects.toThrow('it has been seen');
  return { ...seen.now, shards: shards ?? seen.now.shards };
}

const configWith = (values: Readonly<Record<string, unknown>>): Config => configOf([{ source: 'test', values }]).config;

beforeEach(() => {
  seen.now = {};
});

describe('settings', () => {
  test('each has a row here (S1)', () => {
    expect(Object.keys(ROWS).sort()).toEqual(Object.keys(SETTINGS).sort());
  });

  test.each(Object.entries(ROWS))('%s arrives where it acts', async (name, { value, at, arrives, beside, without }) => {
    const given = await seenWith(configWith({ ...beside, [name]: value }));
    expect(at(given)).toEqual(arrives ?? value);
    const usual = await seenWith(configWith(without ?? beside ?? {}));
    expect(at(usual), 'without it').not.toEqual(arrives ?? value); // S2
  });
});
