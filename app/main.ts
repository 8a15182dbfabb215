// Main: the composition root. Everything is wired here, in plain code, from one checked configuration; parts are closed
// in reverse order of opening.

import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { HttpServer } from '../api/edge/http-server.ts';
import { reportGauges } from '../api/gauges.ts';
import { type RunningViews, runningViews } from '../api/running-views.ts';
import { startingViews } from '../api/starting-views.ts';
import type { Views } from '../api/views.ts';
import type { Config } from '../config/config.ts';
import { readCatalog } from '../config/edge/catalog-file.ts';
import { readWeights } from '../config/edge/weights-file.ts';
import { openLevelKv } from '../datastores/level-kv/level-kv.ts';
import { effectsOver } from '../datastores/perform.ts';
import { askShard, reachabilityOver } from '../datastores/reachability.ts';
import type { Provisioner } from '../datastores/shard-store.ts';
import { openTrieStore } from '../datastores/trie/trie-store.ts';
import { EmbeddedLog, embeddedLog } from '../log/embedded/embedded-log.ts';
import { kafkaLog } from '../log/kafka/kafka-log.ts';
import { applySettings } from '../processors/apply/apply.ts';
import type { ModelSet } from '../processors/forecast/forecaster.ts';
import { MINUTE_GRID } from '../processors/forecast/grid.ts';
import type { Model } from '../processors/forecast/model.ts';
import { lstmOf } from '../processors/forecast/models/lstm.ts';
import { DEFAULT_MODELS, modelSetOf } from '../processors/forecast/models/models.ts';
import { forecastSettings } from '../processors/forecast/settings.ts';
import type { Constraint } from '../processors/plan/cluster/actions.ts';
import { type Catalog, typeNamed } from '../processors/plan/cluster/catalog.ts';
import { planSettings } from '../processors/plan/settings.ts';
import { ratesSettings } from '../processors/rates/settings.ts';
import { sessionSettings } from '../processors/sessions/settings.ts';
import { embeddedProvisioner } from '../provisioners/embedded/embedded-provisioner.ts';
import { remoteProvisioner } from '../provisioners/remote/remote-provisioner.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { createTelemetry } from '../runtime/edge/telemetry.ts';
import { workerPool } from '../runtime/edge/worker-pool.ts';
import { inlineFitter } from '../runtime/inline-fitter.ts';
import { LostShards } from '../runtime/lost-shards.ts';
import type { Clock, Log } from '../runtime/ports.ts';
import { type Running, run } from '../runtime/runner.ts';
import { ASK_EVERY_MS, SilentShards } from '../runtime/silent-shards.ts';
import type { Logger, Meter } from '../runtime/telemetry.ts';
import { embeddedCodec } from '../schemas/avro-codec.ts';
import type { Codec } from '../schemas/codec.ts';
import { registryCodec, subjectOf } from '../schemas/edge/registry-codec.ts';
import { AppError } from '../schemas/errors.ts';
import { eventTime, type ShardId } from '../schemas/ids.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import { rocksdbFolder } from '../state/edge/rocksdb-store.ts';
import { type KeySpace, keySpaceOf } from '../state/keys.ts';
import { ALL_TOPICS, subscriptions } from '../topology/topics.ts';
import { type TopologySettings, topologyOf } from '../topology/topology.ts';

/** The parts of a process that were started, and how to stop them. */
export interface Foreshard {
  readonly running: Running;
  readonly log: Log;
  readonly codec: Codec;
  readonly provisioner: Provisioner;
  readonly catalog: Catalog;
  readonly views: Views;
  /** The HTTP API's port; 0 when it is not served. */
  readonly httpPort: number;
  /** Rejects when the run cannot go on. */
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly logger: Logger;
  readonly serveHttp?: boolean;
  /**
   * Simulated time: the caller advances the clock and ticks, provisioning takes as long as the catalogue says, and
   * nothing waits for the disk.
   */
  readonly simulated?: Clock;
  /**
   * The constraints that the planner's actions must pass; by default the built-in ones (processors/plan/constraints/).
   */
  readonly constraints?: readonly Constraint[];
  /**
   * An installation's own models, which forecast beside the configured ones. They must need no fit: the fitting threads
   * know only the built-in models.
   */
  readonly models?: readonly Model[];
}

/** A process that serves HTTP at once, and waits for Kafka and the registry for as long as it takes. */
export interface Starting {
  /** The HTTP API's port; 0 when it is not served. */
  readonly httpPort: number;
  /** Resolves when everything runs; rejects with a failure that waiting cannot fix. */
  readonly started: Promise<Foreshard>;
  /** Idempotent; also stops what has started. */
  stop(): Promise<void>;
}

/** Resolves when everything runs. */
export async function start(config: Config, options: StartOptions): Promise<Foreshard> {
  const starting = await begin(config, options);
  return starting.started.catch(async (error: unknown) => {
    await starting.stop();
    throw error;
  });
}

/** Resolves when HTTP is served. Throws when the configuration, the folder or the port is not usable. */
export async function begin(config: Config, options: StartOptions): Promise<Starting> {
  const { logger } = options;
  const clock = options.simulated ?? systemClock();
  const simulated = options.simulated !== undefined;
  const catalog = readCatalog(config.catalogPath);
  const telemetry = createTelemetry(logger, options.serveHttp ?? true);
  const settings = withOwn(settingsOf(config, catalog), options);
  const topology = topologyOf(settings);
  const provisioner = provisionerOf(config, catalog, clock, simulated, (failure) => {
    telemetry.meter.add('foreshard_snapshot_failures_total', 1);
    logger.warn({ error: failure }, SNAPSHOT_FAILED);
  });
  const log = await openLog(config, logger, clock, simulated, telemetry.meter);
  await checkPartitions(log, config);
  const closers: (() => Promise<void>)[] = [() => provisioner.close(), () => log.close()]; // The last one first.
  let isStopping = false;
  let isWhole = false;
  let waitsFor: string | undefined;
  const reasons = (): string[] => [log.health().reason, waitsFor ?? ''].filter((reason) => reason !== '');
  const answers = startingViews(reasons, () => telemetry.text());
  const http = (options.serveHttp ?? true) ? await httpOver(answers.views, config, logger, telemetry.meter) : undefined;

  const startAll = async (): Promise<Foreshard> => {
    const codec = await patientCodec(
      config,
      clock,
      () => isStopping,
      (reason) => {
        waitsFor = reason;
        if (reason !== undefined) logger.warn({ reason }, 'the start waits for the schema registry');
      },
    );
    const { workerThreads } = config;
    const fitter =
      simulated || workerThreads === 0 ? inlineFitter : workerPool({ threads: workerThreads, answerMs: FIT_ANSWER_MS });
    closers.push(() => fitter.close());
    let reading: RunningViews | undefined;
    const isNamed = (shard: ShardId): boolean => reading?.isNamed(shard) ?? true;
    const lostShards = new LostShards({ log, codec, logger, meter: telemetry.meter, isNamed });
    const running = await run(
      topology,
      {
        log,
        codec,
        clock,
        logger,
        meter: telemetry.meter,
        stores: storesOf(config),
        fitter,
        effects: effectsOver(provisioner, {
          rowsPerWrite: 5_000, // About 50 ms of LevelDB.
          partitions: config.partitions,
          kindOf: (datastoreType) => typeNamed(catalog, datastoreType).kind,
          watch: lostShards,
          instanceOf: (shard) => reading?.instanceOf(shard),
          isGivenUp: (shard) => reading?.isGivenUp(shard) ?? false,
        }),
        // In simulated time no broker reads the table.
        ...(simulated ? {} : { pointerEpoch: () => reading?.pointerEpoch() }),
      },
      {
        app: config.applicationId,
        partitions: config.partitions,
        address: config.httpAdvertised,
        commitIntervalMs: config.commitIntervalMs,
        commitRecordsMax: config.batchRecordsMax,
        effectRetryMs: 100,
        incarnation: config.incarnation,
        tickMs: simulated ? Number.MAX_SAFE_INTEGER : 200,
        idleMs: 30_000,
      },
    );
    closers.push(() => running.stop(config.shutdownDeadlineMs));
    const views = await runningViews({
      running,
      log,
      codec,
      clock,
      settings: settings.rates,
      metricsText: () => {
        reportGauges(running, fitter, telemetry.meter, clock.now());
        lostShards.report();
        return telemetry.text();
      },
      // In simulated time every store answers, and asking would let time pass.
      unreachable: simulated ? async () => new Set() : reachabilityOver(provisioner, clock),
      onForeignPointer(reason, key) {
        telemetry.meter.add('foreshard_refused_pointers_total', 1, { reason });
        logger.error({ reason, key: key.slice(0, 200) }, FOREIGN_POINTER);
      },
      lostShards: () => lostShards.reasons(),
      newId: () => randomUUID(),
    });
    reading = views;
    closers.push(() => views.close());
    const silent = silentShards(config, provisioner, views, lostShards, clock);
    const stopAsking = simulated ? () => {} : clock.every(ASK_EVERY_MS, () => void silent?.round());
    closers.push(async () => stopAsking());
    const stopSweeps = simulated ? () => {} : sweeping(provisioner, running, clock, logger, config.tombstoneMs);
    closers.push(async () => stopSweeps());
    answers.handOver(views);
    isWhole = true;
    return {
      running,
      log,
      codec,
      provisioner,
      catalog,
      views,
      httpPort: http?.port ?? 0,
      done: running.done,
      stop,
    };
  };

  const started = startAll();
  started.catch(() => {}); // Whoever awaits it sees the error.
  let stopping: Promise<void> | undefined;
  const stopAll = async (): Promise<void> => {
    isStopping = true;
    await http?.close(config.shutdownDeadlineMs);
    if (!isWhole) await log.close(); // Ends everything that waits for Kafka.
    await started.catch(() => {});
    for (const close of closers.reverse()) await close();
  };
  const stop = (): Promise<void> => {
    stopping ??= stopAll();
    return stopping;
  };
  return { httpPort: http?.port ?? 0, started, stop };
}

/** When an embedded log has another number of partitions, which cannot change, closes it and throws CONFIG_INVALID. */
async function checkPartitions(log: Log, { partitions, dataDir }: Config): Promise<void> {
  const made = log instanceof EmbeddedLog ? log.partitionsOf(subscriptions.name) : undefined;
  if (made === undefined || made === partitions) return;
  await log.close();
  throw new AppError(
    'CONFIG_INVALID',
    `the folder ${dataDir} was created with ${made} partitions, which cannot be changed, but ${partitions} are configured: set FORESHARD_PARTITIONS=${made}, or name another folder with FORESHARD_DATA_DIR`,
    { dataDir, made, partitions },
  );
}

/** Waits for a registry that does not answer; refused credentials are reported at once. */
async function patientCodec(
  config: Config,
  clock: Clock,
  isOver: () => boolean,
  told: (reason: string | undefined) => void,
): Promise<Codec> {
  for (;;) {
    try {
      const codec = await codecOf(config);
      told(undefined);
      return codec;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'REGISTRY_UNAVAILABLE') throw error;
      if (error.facts.status === 401 || error.facts.status === 403) throw error;
      told(error.message);
    }
    await clock.sleep(REGISTRY_RETRY_MS);
    if (isOver()) throw new AppError('STOPPED', 'stopped while the schema registry did not answer');
  }
}

/** In addition to the pauses that the codec makes itself. */
const REGISTRY_RETRY_MS = 1_000;

const FOREIGN_POINTER =
  'something other than a planner wrote to pointer-table: the record was refused, and the planner publishes the true entry again; allow only Foreshard to write to the control topics';

/** A hundred times what a fit takes on a busy machine. */
const FIT_ANSWER_MS = 60_000;
/** Often enough that a shard keeps few expired tombstones, seldom enough that the scan costs next to nothing. */
const SWEEP_MS = 3_600_000;

/**
 * Deletes old tombstones from time to time. Their age is in event time, as proved by the events applied so far: while a
 * task catches up with old events, their tombstones stay. A client whose clock is ahead does not shorten it, since the
 * host's time counts when it is earlier.
 */
export function sweeping(
  provisioner: Pick<Provisioner, 'sweep'>,
  running: Pick<Running, 'eventTime'>,
  clock: Clock,
  logger: Logger,
  tombstoneMs: number,
): () => void {
  let busy = false;
  const sweep = async (): Promise<void> => {
    const before = Math.min(running.eventTime, clock.now()) - tombstoneMs;
    if (busy || before <= 0) return;
    busy = true;
    try {
      const dropped = await provisioner.sweep(eventTime(before));
      if (dropped > 0) logger.info({ dropped }, 'expired tombstones were deleted');
    } catch (error) {
      logger.warn({ error }, 'expired tombstones could not be deleted on every shard; the next sweep tries again');
    } finally {
      busy = false;
    }
  };
  return clock.every(SWEEP_MS, () => void sweep());
}

/** What notices that a shard never comes back; `undefined` where it could not be rebuilt. */
export function silentShards(
  { shardLostAfterMs: lostAfterMs, subscriptionTable }: Pick<Config, 'shardLostAfterMs' | 'subscriptionTable'>,
  provisioner: Pick<Provisioner, 'store'>,
  { instanceOf, shardEntries: shards }: Pick<RunningViews, 'instanceOf' | 'shardEntries'>,
  reports: LostShards,
  { now }: Pick<Clock, 'now'>,
): SilentShards | undefined {
  if (lostAfterMs === 0 || !subscriptionTable) return undefined;
  const ask = (shard: ShardId): Promise<unknown> => askShard(provisioner, shard, { instanceId: instanceOf(shard) });
  return new SilentShards({ ask, shards, reports, now, lostAfterMs });
}

/** Every stage's settings, from the configuration and the catalogue. */
export function settingsOf(config: Config, catalog: Catalog): TopologySettings {
  const { partitions, concreteType, trieType } = config;
  const genesis = { concreteType, trieType };
  for (const name of [concreteType, trieType]) typeNamed(catalog, name);
  return {
    sessions: sessionSettings(config, partitions),
    rates: ratesSettings(config, partitions),
    forecast: forecastSettings(config, modelsOf(config), config.rateGraceMs),
    plan: planSettings(config, {
      ...{ partitions, genesis, catalog, rebuilds: config.subscriptionTable },
      planner: `${hostname()}/${process.pid}`,
    }),
    apply: applySettings(config, { partitions, genesis, tombstoneMs: config.tombstoneMs }),
  };
}

/**
 * Adds an installation's own models. Throws CONFIG_INVALID for a model that needs a fit, or has the name of another
 * one.
 */
function withOwn(settings: TopologySettings, { constraints, models = [] }: StartOptions): TopologySettings {
  const { forecast } = settings;
  const all = [...forecast.models.models]; // The built-in ones first: the order is part of the stored rows.
  for (const model of models) {
    const { name } = model;
    if (model.fitEvery(MINUTE_GRID) > 0)
      throw new AppError(
        'CONFIG_INVALID',
        `the model ${name} needs a fit, but the fitting threads know only the built-in models`,
        {
          name,
        },
      );
    if (all.some((other) => other.name === name))
      throw new AppError('CONFIG_INVALID', `two models have the name ${name}`, { name });
    all.push(model);
  }
  const own = { ...settings, forecast: { ...forecast, models: { ...forecast.models, models: all } } };
  return constraints === undefined ? own : { ...own, constraints };
}

function modelsOf({ models, lstmWeightsPath }: Config): ModelSet {
  if (models.length === 0) return DEFAULT_MODELS;
  return modelSetOf(models, () => lstmOf(readWeights(lstmWeightsPath).weights));
}

export async function codecOf(config: Config): Promise<Codec> {
  if (config.runtime === 'embedded') return embeddedCodec();
  const subjects = ALL_TOPICS.flatMap((topic) =>
    topic.record === undefined ? [] : [subjectOf(config.topicPrefix, { ...topic, record: topic.record })],
  );
  const username = config.registryUsername;
  return registryCodec({
    url: config.registryUrl,
    subjects,
    register: config.registerSchemas,
    ...(username === '' ? {} : { auth: { username, password: config.registryPassword.reveal() } }),
  });
}

export async function openLog(
  config: Config,
  logger: Logger,
  clock: Clock,
  simulated = false,
  meter?: Meter,
): Promise<Log> {
  if (config.runtime === 'embedded') {
    return embeddedLog({
      dir: join(config.dataDir, 'log'),
      app: config.applicationId,
      partitions: config.partitions,
      tombstoneMs: config.changelogRetentionMs,
      sync: !simulated,
      now: () => clock.now(),
    });
  }
  return kafkaLog({
    ...kafkaAccessOf(config),
    app: config.applicationId,
    logger,
    ...(meter === undefined ? {} : { meter }),
    deleteRetentionMs: config.changelogRetentionMs,
    sessionTimeoutMs: config.sessionTimeoutMs,
    heldTasks: (group) => heldTasks(join(config.dataDir, 'state'), group),
  });
}

/** Where the fleet's topics are, and with which rights. */
export function kafkaAccessOf(config: Config) {
  const { brokers, topicPrefix, replicationFactor, createTopics, saslMechanism, saslUsername, saslPassword } = config;
  return {
    ...{ brokers, topicPrefix, replicationFactor, createTopics },
    ...(config.kafkaTls ? { ssl: tlsOf(config) } : {}),
    ...(saslMechanism === 'none'
      ? {}
      : { sasl: { mechanism: saslMechanism, username: saslUsername, password: saslPassword.reveal() } as never }),
  };
}

/** Reports about a trie shard, for the log. */
export const SNAPSHOT_FAILED =
  'a trie shard could not write a snapshot; nothing is lost, but its log grows until it can: check the disk';

type SnapshotFailed = (failure: AppError) => void;

export function provisionerOf(
  config: Config,
  catalog: Catalog,
  clock: Clock,
  simulated: boolean,
  snapshotFailed: SnapshotFailed,
): Provisioner {
  if (config.shardServers.length > 0) {
    const token = config.shardServerToken.reveal();
    return remoteProvisioner({
      addresses: config.shardServers.map((server) => (server.includes('://') ? server : `http://${server}`)),
      token: token === '' ? undefined : token,
      partitions: config.partitions,
      fleet: config.topicPrefix,
    });
  }
  return shardFolders(config, catalog, clock, simulated, snapshotFailed, keySpaceOf(config.partitions));
}

/** Shards in folders of this process; without a key space they may belong to any fleet that asks (a shard server). */
export function shardFolders(
  config: Config,
  catalog: Catalog,
  clock: Clock,
  simulated: boolean,
  snapshotFailed: SnapshotFailed,
  keySpace?: KeySpace,
): Provisioner {
  // A committed position is never ahead of a durable effect (I9): shards in this process wait for the disk.
  const sync = !simulated;
  const now = (): number => clock.now();
  return embeddedProvisioner({
    ...(keySpace === undefined ? {} : { keySpace }),
    folder: join(config.dataDir, 'shards'),
    types: new Map(
      [...catalog].map(([name, { kind, provisioningMs }]) => [
        name,
        { kind, provisioningMs: simulated ? provisioningMs : 0 },
      ]),
    ),
    open: {
      KEY_VALUE: (folder, opening) =>
        openLevelKv(folder, { partitions: opening.identity.partitions, sync, opening, now }),
      TRIE: (folder, opening) =>
        openTrieStore(folder, { partitions: opening.identity.partitions, sync, opening, now, snapshotFailed }),
    },
    now,
  });
}

function storesOf(config: Config) {
  const folder = join(config.dataDir, 'state');
  return config.storeEngine === 'rocksdb' ? rocksdbFolder(folder) : levelFolder(folder);
}

/** Tasks whose state lies in this folder: `<group>-<partition>`. */
function heldTasks(folder: string, group: string): number[] {
  try {
    return readdirSync(folder).flatMap((name) =>
      name.startsWith(`${group}-`) ? [Number(name.slice(group.length + 1))] : [],
    );
  } catch {
    return []; // No folder yet: nothing is held.
  }
}

function tlsOf(config: Config) {
  const read = (path: string): Buffer[] => (path === '' ? [] : [readFileSync(path)]);
  const [cert] = read(config.kafkaTlsCertFile);
  const [key] = read(config.kafkaTlsKeyFile);
  const ca = read(config.kafkaTlsCaFile);
  return {
    ...(ca.length > 0 ? { ca } : {}),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

async function httpOver(
  views: Views,
  config: Config,
  logger: Logger,
  meter: ReturnType<typeof createTelemetry>['meter'],
): Promise<HttpServer> {
  // Loaded here, since a command that serves nothing would wait half of its time for this.
  const { serveHttp } = await import('../api/edge/http-server.ts');
  return serveHttp(views, {
    host: config.httpHost,
    port: config.httpPort,
    readToken: config.httpReadToken.reveal(),
    adminToken: config.httpAdminToken.reveal(),
    advertised: config.httpAdvertised,
    peerTimeoutMs: config.httpPeerTimeoutMs,
    logger,
    meter,
  });
}
