// Deployment: what a fleet runs in production, on this machine: a real Kafka and registry, shard servers and instances,
// each a process of its own. The test's own process stands for the brokers.
//
//   D1. Every process ends with `stop`, whatever has happened before.
//   D2. Shards and topics outlive an instance: a killed one is started again on the same folder.

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codecOf, openLog } from '../../app/main.ts';
import { type Config, configOf, environmentName, type SettingName } from '../../config/config.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { remoteProvisioner } from '../../provisioners/remote/remote-provisioner.ts';
import { systemClock } from '../../runtime/edge/system-clock.ts';
import type { Clock, Log } from '../../runtime/ports.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import type { Codec } from '../../schemas/codec.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { Topic } from '../../topology/topics.ts';
import { endProcess, freePort, startProcess, untilReady } from './processes.ts';
import { type RealKafka, startKafka } from './real-kafka.ts';
import { type RealRegistry, startRegistry } from './real-registry.ts';
import { type TempFolder, tempFolder } from './temp-folder.ts';

/** Kafka and the registry: started once for a test file. */
export interface Services {
  readonly kafka: RealKafka;
  readonly registry: RealRegistry;
  stop(): Promise<void>;
}

/** `undefined` where they cannot be had; the reason has been told. A container takes longer to start than a process. */
export async function startServices({ inContainer = false } = {}): Promise<Services | undefined> {
  const [kafka, registry] = await Promise.all([startKafka(inContainer ? {} : { prefer: 'process' }), startRegistry()]);
  const stop = async (): Promise<void> => {
    await kafka?.stop();
    await registry?.stop();
  };
  if (kafka !== undefined && registry !== undefined) return { kafka, registry, stop };
  await stop();
  return undefined;
}

export interface DeploymentOptions {
  /** Names topics, groups and folders. */
  readonly app: string;
  readonly settings: Partial<Record<SettingName, unknown>>;
  readonly catalog: { readonly types: readonly object[] };
  /** One by default. */
  readonly shardServers?: number;
  /** What the shard servers ask for; nothing by default. */
  readonly tokens?: ShardServerTokens;
}

export interface ShardServerTokens {
  readonly admin: string;
  readonly read: string;
}

const PATIENCE_MS = 60_000;
const ENTRY = (name: string): string[] => ['--import', 'tsx', join(import.meta.dirname, name)];

export class Deployment {
  readonly config: Config;
  readonly log: Log;
  readonly codec: Codec;
  readonly clock: Clock = systemClock();
  readonly provisioner: Provisioner;
  readonly folder: string;
  readonly shardServers: readonly ShardServer[];
  readonly #temp: TempFolder;
  readonly #settings: Record<string, unknown>;
  readonly #children = new Set<ChildProcess>();

  private constructor(parts: {
    config: Config;
    log: Log;
    codec: Codec;
    provisioner: Provisioner;
    temp: TempFolder;
    settings: Record<string, unknown>;
    shardServers: readonly ShardServer[];
  }) {
    this.config = parts.config;
    this.log = parts.log;
    this.codec = parts.codec;
    this.provisioner = parts.provisioner;
    this.folder = parts.temp.path;
    this.#temp = parts.temp;
    this.#settings = parts.settings;
    this.shardServers = parts.shardServers;
  }

  static async start(
    services: { readonly kafka: { readonly brokers: readonly string[] }; readonly registry: { readonly url: string } },
    options: DeploymentOptions,
  ): Promise<Deployment> {
    const temp = await tempFolder();
    const catalogPath = join(temp.path, 'catalog.json');
    writeFileSync(catalogPath, JSON.stringify(options.catalog));
    const shardServers: ShardServer[] = [];
    for (let number = 1; number <= (options.shardServers ?? 1); number++)
      shardServers.push(new ShardServer(temp.path, catalogPath, number, await freePort(), options.tokens));
    const settings: Record<string, unknown> = {
      runtime: 'kafka',
      applicationId: options.app,
      topicPrefix: `${options.app}.`,
      brokers: services.kafka.brokers.join(','),
      registryUrl: services.registry.url,
      registerSchemas: true,
      replicationFactor: 1,
      shardServers: shardServers.map(({ port }) => `127.0.0.1:${port}`).join(','),
      catalogPath,
      httpPort: 0,
      sessionTimeoutMs: 6_000,
      ...(options.tokens === undefined ? {} : { shardServerToken: options.tokens.admin }),
      ...options.settings,
    };
    const { config } = configOf([{ source: 'test', values: settings }]);
    await Promise.all(shardServers.map((server) => server.start()));
    const codec = await codecOf(config);
    const log = await openLog(config, silentLogger, systemClock());
    const addresses = shardServers.map(({ address }) => address);
    const provisioner = remoteProvisioner({ addresses, token: options.tokens?.admin, partitions: config.partitions });
    return new Deployment({ config, log, codec, provisioner, temp, settings, shardServers });
  }

  /** Starts an instance; the same name again has the same folder and port. */
  async instance(name: string, port?: number): Promise<Instance> {
    const httpPort = port ?? (await freePort());
    const dataDir = join(this.folder, name);
    mkdirSync(dataDir, { recursive: true });
    const settings: Record<string, unknown> = {
      ...this.#settings,
      dataDir,
      httpPort,
      httpAdvertised: `127.0.0.1:${httpPort}`,
    };
    const child = startProcess(process.execPath, ENTRY('instance.ts'), {
      logPath: join(this.folder, `${name}.log`),
      env: Object.fromEntries(Object.entries(settings).map(([key, value]) => [environmentName(key), String(value)])),
    });
    this.#children.add(child);
    return new Instance(name, httpPort, child, dataDir);
  }

  /** Hands over every record of a topic, from the first one on; `null` removes its key. */
  async observe<Value>(
    topic: Topic<string, Value>,
    take: (value: Value | null, key: string, offset: Offset) => void,
  ): Promise<{ close(): Promise<void> }> {
    const record = topic.record!;
    return this.log.follow(topic.name, 'earliest', async (batch) => {
      await this.codec.prepare(
        record,
        batch.records.map(({ value }) => value),
      );
      for (const { key, value, offset } of batch.records)
        take(value === null ? null : (this.codec.decode(record, value) as Value), key?.toString('utf8') ?? '', offset);
    });
  }

  async stop(): Promise<void> {
    for (const child of [...this.#children].reverse()) await endProcess(child, 'SIGKILL');
    for (const server of this.shardServers) await server.kill9();
    await this.log.close();
    await this.provisioner.close();
    if (process.env.KEEP_DEPLOYMENT !== undefined) process.stderr.write(`kept: ${this.folder}\n`);
    else await this.#temp.remove();
  }
}

/** A process with shards in a folder of its own, which both its port and its shards outlive. */
export class ShardServer {
  readonly port: number;
  /** One folder in it for each shard. */
  readonly shards: string;
  readonly #folder: string;
  readonly #catalogPath: string;
  readonly #name: string;
  readonly #tokens: ShardServerTokens | undefined;
  #child: ChildProcess | undefined;

  constructor(folder: string, catalogPath: string, number: number, port: number, tokens?: ShardServerTokens) {
    this.port = port;
    this.#tokens = tokens;
    this.#folder = folder;
    this.#catalogPath = catalogPath;
    this.#name = number === 1 ? 'shard-server' : `shard-server-${number}`;
    this.shards = join(folder, number === 1 ? 'shards' : `shards-${number}`);
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Resolves when it serves. */
  async start(): Promise<void> {
    this.#child = startProcess(process.execPath, ENTRY('shard-server.ts'), {
      logPath: join(this.#folder, `${this.#name}.log`),
      env: {
        FORESHARD_CATALOG_PATH: this.#catalogPath,
        SHARD_FOLDER: this.shards,
        SHARD_PORT: String(this.port),
        ...(this.#tokens === undefined ? {} : { SHARD_TOKEN: this.#tokens.admin, SHARD_READ_TOKEN: this.#tokens.read }),
      },
    });
    await untilReady(
      `the ${this.#name}`,
      async () => answered(await fetch(`${this.address}/livez`)),
      PATIENCE_MS,
      this.#child,
    );
  }

  async kill9(): Promise<void> {
    if (this.#child !== undefined) await endProcess(this.#child, 'SIGKILL');
  }

  /** Stops its time: connections stay open and nothing answers. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }
}

export class Instance {
  readonly name: string;
  readonly port: number;
  readonly child: ChildProcess;
  readonly folder: string;

  constructor(name: string, port: number, child: ChildProcess, folder: string) {
    this.name = name;
    this.folder = folder;
    this.port = port;
    this.child = child;
  }

  get address(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when it has its tasks restored and has read its topics. */
  ready(): Promise<void> {
    return untilReady(
      `instance ${this.name}`,
      async () => answered(await fetch(`${this.address}/readyz`)),
      PATIENCE_MS,
      this.child,
    );
  }

  async get<Body>(path: string): Promise<Body> {
    const response = await fetch(`${this.address}${path}`);
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as Body;
  }

  /** The sum of a metric over its series whose labels are all among those given. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const text = await (await fetch(`${this.address}/metrics`)).text();
    let sum = 0;
    for (const line of text.split('\n')) {
      const at = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (at?.[1] !== name) continue;
      if (Object.entries(labels).every(([label, value]) => at[2]?.includes(`${label}="${value}"`)))
        sum += Number(at[3]);
    }
    return sum;
  }

  kill9(): Promise<void> {
    return endProcess(this.child, 'SIGKILL');
  }

  stop(): Promise<void> {
    return endProcess(this.child, 'SIGTERM', 30_000);
  }
}

/** Resolves when `holds` does; rejects with `what` after `patienceMs`. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, patienceMs = PATIENCE_MS) {
  const deadline = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`it did not come about within ${patienceMs} ms: ${what}`);
    await sleep(100);
  }
}

function answered(response: Response): void {
  if (!response.ok) throw new Error(`it answers ${response.status}`);
}
