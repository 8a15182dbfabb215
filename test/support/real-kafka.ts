// Real Kafka: a single Apache Kafka broker (KRaft), or three in one cluster, for system tests and benches. The single one
// is looked for in this order: an address in the environment (KAFKA_BROKERS), a container engine on this machine (which runs
// FORESHARD_KAFKA_IMAGE), a JDK with Maven; a cluster takes the JDK. Where there is none the caller skips and says so; under
// CI=true that is a failure.
//
//   R1. Ports are free ones, data lies in a folder of its own, and both survive `kill9` and `restart`.
//   R2. No child outlives the process that started it. Containers are seen to by testcontainers' reaper, which
//       TESTCONTAINERS_RYUK_DISABLED=true turns off where its image cannot be had: then a killed run leaves its container.
//   R3. A way that was passed over although it seemed open is told on stderr.

import type { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import type { ContainerRuntimeClient } from 'testcontainers';
import { KAFKA_VERSION, kafkaJars } from './kafka-jars.ts';
import { endProcess, freePort, hasCommand, runProcess, startProcess, untilReady } from './processes.ts';

/** A cold JVM beside other work on two cores has been seen to take twenty seconds. */
const START_PATIENCE_MS = 90_000;

export interface RealKafka {
  readonly brokers: readonly string[];
  /** `given` brokers belong to someone else: they cannot be killed, and topics of earlier runs are still there. */
  readonly origin: 'given' | 'container' | 'process';
  /** The port that a proxy has to forward to, when one was asked for and can be had. */
  readonly proxiedPort: number | undefined;
  stop(): Promise<void>;
  /** Ends the broker at once, as a power cut would. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and data. */
  restart(): Promise<void>;
  /** Stops the broker's time: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
}

export interface RealKafkaOptions {
  readonly heap?: string;
  /** More lines for server.properties; containers take them as environment. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Also a listener that says it is at this port, where a proxy stands (kafka-proxy.ts). */
  readonly proxyPort?: number;
  /** Tries the JDK before the container engine, for a suite that runs on both. */
  readonly prefer?: 'process';
}

/** Why no container was started. */
export interface NoContainer {
  readonly origin: 'none';
  readonly engineAnswers: boolean;
  readonly reason: string;
}

export async function startKafka(options: RealKafkaOptions = {}): Promise<RealKafka | undefined> {
  const given = process.env.KAFKA_BROKERS;
  if (given !== undefined && given !== '') return givenKafka(given.split(','));
  const canRunJars = await hasJdk();
  if (options.prefer === 'process' && canRunJars) return processKafka(options);
  const container = await containerKafka(options);
  if (container.origin !== 'none') return container;
  if (!canRunJars) return unavailable(`no KAFKA_BROKERS, no JDK with Maven, and ${container.reason}`);
  if (container.engineAnswers || process.env.FORESHARD_KAFKA_IMAGE !== undefined)
    process.stderr.write(`NOTE: Kafka runs from Maven's jars instead of a container: ${container.reason}\n`); // R3
  return processKafka(options);
}

const hasJdk = async (): Promise<boolean> =>
  (await hasCommand('java', '-version')) && (await hasCommand('mvn', '-version'));

/** Tells the caller to skip; under CI=true, where everything has to be there, it throws. */
export function unavailable(reason: string): undefined {
  if (process.env.CI === 'true') throw new Error(`real services are required under CI=true: ${reason}`);
  process.stderr.write(`SKIPPED: a test of real services did not run: ${reason}\n`);
  return undefined;
}

function givenKafka(brokers: readonly string[]): RealKafka {
  const refuse = (): never => {
    throw new Error('KAFKA_BROKERS names a broker that is not ours to stop');
  };
  return {
    brokers,
    origin: 'given',
    proxiedPort: undefined,
    stop: async () => {},
    kill9: async () => refuse(),
    restart: async () => refuse(),
    pause: refuse,
    resume: refuse,
  };
}

const SINGLE_NODE: Readonly<Record<string, string>> = {
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'group.initial.rebalance.delay.ms': '0',
  'offsets.topic.num.partitions': '4',
  'transaction.state.log.num.partitions': '4',
  'auto.create.topics.enable': 'false',
  'log.cleaner.dedupe.buffer.size': '4194304',
};

async function processKafka(options: RealKafkaOptions): Promise<RealKafka> {
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-kafka-'));
  const [port, controllerPort] = [await freePort(), await freePort()];
  const proxiedPort = options.proxyPort === undefined ? undefined : await freePort();
  const proxied = proxiedPort === undefined ? '' : `PROXIED://127.0.0.1:${proxiedPort},`;
  const advertised = proxiedPort === undefined ? '' : `PROXIED://127.0.0.1:${options.proxyPort},`;
  const node = await formattedNode(folder, options.heap ?? '512m', {
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `${proxied}PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `${advertised}PLAINTEXT://127.0.0.1:${port}`,
    ...SINGLE_NODE,
    ...options.settings,
  });
  const brokers = [`127.0.0.1:${port}`];
  const start = async (): Promise<void> => {
    const child = node.start();
    await untilReady(`Kafka in ${folder}`, () => answers(brokers), START_PATIENCE_MS, child);
  };
  await start();
  return {
    brokers,
    origin: 'process',
    proxiedPort,
    async stop() {
      await node.kill9();
      await rm(folder, { recursive: true, force: true });
    },
    kill9: () => node.kill9(),
    restart: start,
    pause: () => node.signal('SIGSTOP'),
    resume: () => node.signal('SIGCONT'),
  };
}

/** Several brokers in one cluster, each a controller as well; numbered from 1. */
export interface RealKafkaCluster {
  readonly brokers: readonly string[];
  /** Ends one broker at once, as a power cut would. */
  kill9(node: number): Promise<void>;
  /** Starts it again on the same port and data; resolves when the cluster counts it in. */
  restart(node: number): Promise<void>;
  kill9All(): Promise<void>;
  restartAll(): Promise<void>;
  stop(): Promise<void>;
}

const CLUSTER_NODES = 3;
/** Every topic on all three, and two have to have a record: the loss of one broker stops nobody. */
const CLUSTER: Readonly<Record<string, string>> = {
  'default.replication.factor': '3',
  'min.insync.replicas': '2',
  'offsets.topic.replication.factor': '3',
  'transaction.state.log.replication.factor': '3',
  'transaction.state.log.min.isr': '2',
  'group.initial.rebalance.delay.ms': '0',
  'offsets.topic.num.partitions': '4',
  'transaction.state.log.num.partitions': '4',
  'auto.create.topics.enable': 'false',
  'log.cleaner.dedupe.buffer.size': '4194304',
  'broker.session.timeout.ms': '6000',
};

/** Three brokers from Maven's jars; `undefined` where there is no JDK with Maven, and the reason has been told. */
export async function startKafkaCluster(
  options: Pick<RealKafkaOptions, 'heap' | 'settings'> = {},
): Promise<RealKafkaCluster | undefined> {
  if (!(await hasJdk())) return unavailable('three brokers need a JDK with Maven');
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-kafka-'));
  const places: { readonly id: string; readonly port: number; readonly controllerPort: number }[] = [];
  for (let id = 1; id <= CLUSTER_NODES; id++)
    places.push({ id: String(id), port: await freePort(), controllerPort: await freePort() });
  const voters = places.map(({ id, controllerPort }) => `${id}@127.0.0.1:${controllerPort}`).join(',');
  const nodes: KafkaNode[] = [];
  for (const { id, port, controllerPort } of places) {
    const own = join(folder, id);
    await mkdir(own);
    nodes.push(
      await formattedNode(own, options.heap ?? '256m', {
        'node.id': id,
        'controller.quorum.voters': voters,
        listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
        'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
        ...CLUSTER,
        ...options.settings,
      }),
    );
  }
  const brokers = places.map(({ port }) => `127.0.0.1:${port}`);
  const addressOf = (node: number): string => brokers[node - 1]!;
  /** Asks that very broker: the others do not know it before it has caught up. */
  const counted = (node: number, child: ChildProcess): Promise<void> =>
    untilReady(`broker ${node} in ${folder}`, () => answers([addressOf(node)], node), START_PATIENCE_MS, child);
  const kill9All = async (): Promise<void> => void (await Promise.all(nodes.map((node) => node.kill9())));
  const restartAll = async (): Promise<void> => {
    const children = nodes.map((node) => node.start()); // All before any is awaited: one alone elects no controller.
    await Promise.all(children.map((child, i) => counted(i + 1, child)));
  };
  await restartAll();
  return {
    brokers,
    kill9: (node) => nodes[node - 1]!.kill9(),
    restart: (node) => counted(node, nodes[node - 1]!.start()),
    kill9All,
    restartAll,
    async stop() {
      await kill9All();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface KafkaNode {
  start(): ChildProcess;
  kill9(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
}

/** A broker's folder, made ready to be started on. */
async function formattedNode(
  folder: string,
  heap: string,
  settings: Readonly<Record<string, string>>,
): Promise<KafkaNode> {
  const lib = await kafkaJars();
  const lines = Object.entries({
    'process.roles': 'broker,controller',
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': join(folder, 'data'),
    ...settings,
  }).map(([key, value]) => `${key}=${value}`);
  const properties = join(folder, 'server.properties');
  await writeFile(properties, `${lines.join('\n')}\n`);
  const log4j = join(folder, 'log4j2.properties');
  await writeFile(
    log4j,
    'rootLogger.level=WARN\nrootLogger.appenderRef.c.ref=C\nappender.c.type=Console\nappender.c.name=C\nappender.c.layout.type=PatternLayout\nappender.c.layout.pattern=%d %p %m (%c)%n\n',
  );
  const java = (heapMax: string, main: string, ...args: string[]): string[] => [
    `-Xmx${heapMax}`,
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=4',
    `-Dlog4j2.configurationFile=${log4j}`,
    '-cp',
    `${lib}/*`,
    main,
    ...args,
  ];
  await runProcess('java', java('128m', 'kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', properties));
  let child: ChildProcess | undefined;
  return {
    start() {
      child = startProcess('java', java(heap, 'kafka.Kafka', properties), { logPath: join(folder, 'kafka.log') });
      return child;
    },
    async kill9() {
      if (child !== undefined) await endProcess(child, 'SIGKILL');
    },
    signal: (signal) => void child?.kill(signal),
  };
}

/** Any valid id will do: each cluster has folders of its own. */
const CLUSTER_ID = 'Zm9yZXNoYXJkLXRlc3RzMQ';

export const kafkaImage = (): string => process.env.FORESHARD_KAFKA_IMAGE ?? `apache/kafka:${KAFKA_VERSION}`;

/**
 * Listeners of the container; the host's ports are others. The broker has one to itself: what it asks its transaction
 * coordinator goes to an advertised address, and the host's are out of its reach.
 */
const CONTAINER_PORTS = { plain: 9092, controller: 9093, proxied: 9094, inside: 9095 } as const;

/** Throws nothing: what stands in the way is the answer. */
export async function containerKafka(options: RealKafkaOptions = {}): Promise<RealKafka | NoContainer> {
  const { getContainerRuntimeClient, getReaper, ImageName } = await import('testcontainers');
  const image = kafkaImage();
  const engine = await getContainerRuntimeClient().catch(() => undefined);
  if (engine === undefined) return { origin: 'none', engineAnswers: false, reason: 'no container engine answers' };
  try {
    const name = ImageName.fromString(image);
    await engine.image.pull(name);
    if (!(await engine.image.exists(name))) throw new Error('it cannot be pulled'); // A pull that breaks off says nothing.
    await getReaper(engine);
    return await runningContainer(engine, image, options);
  } catch (error) {
    return {
      origin: 'none',
      engineAnswers: true,
      reason: `the image ${image} did not start: ${(error as Error).message}`,
    };
  }
}

async function runningContainer(
  engine: ContainerRuntimeClient,
  image: string,
  options: RealKafkaOptions,
): Promise<RealKafka> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const port = await freePort(); // Chosen first, so that the advertised listener can name it.
  const proxiedPort = options.proxyPort === undefined ? undefined : await freePort();
  const settings = { ...SINGLE_NODE, ...options.settings };
  const { plain, controller, proxied, inside } = CONTAINER_PORTS;
  const listeners = [`PLAINTEXT://:${plain}`, `INSIDE://:${inside}`, `CONTROLLER://:${controller}`];
  const advertised = [`PLAINTEXT://127.0.0.1:${port}`, `INSIDE://127.0.0.1:${inside}`];
  if (proxiedPort !== undefined) {
    listeners.push(`PROXIED://:${proxied}`);
    advertised.push(`PROXIED://127.0.0.1:${options.proxyPort}`);
  }
  const started = await new GenericContainer(image)
    .withExposedPorts(
      { container: plain, host: port },
      ...(proxiedPort === undefined ? [] : [{ container: proxied, host: proxiedPort }]),
    )
    .withEnvironment({
      KAFKA_NODE_ID: '1',
      KAFKA_PROCESS_ROLES: 'broker,controller',
      KAFKA_LISTENERS: listeners.join(','),
      KAFKA_ADVERTISED_LISTENERS: advertised.join(','),
      KAFKA_INTER_BROKER_LISTENER_NAME: 'INSIDE',
      KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP:
        'PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT',
      KAFKA_CONTROLLER_QUORUM_VOTERS: `1@localhost:${controller}`,
      KAFKA_HEAP_OPTS: `-Xmx${options.heap ?? '512m'}`,
      ...Object.fromEntries(
        Object.entries(settings).map(([key, value]) => [`KAFKA_${key.toUpperCase().replaceAll('.', '_')}`, value]),
      ),
    })
    .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
    .withStartupTimeout(START_PATIENCE_MS)
    .start();
  const brokers = [`127.0.0.1:${port}`];
  const ready = (): Promise<void> => untilReady(`Kafka in ${image}`, () => answers(brokers), START_PATIENCE_MS);
  await ready().catch(async (error: unknown) => {
    await started.stop();
    throw error;
  });
  const container = engine.container.getById(started.getId());
  return {
    brokers,
    origin: 'container',
    proxiedPort,
    stop: async () => void (await started.stop()),
    async kill9() {
      await container.kill({ signal: 'SIGKILL' });
      await container.wait();
    },
    async restart() {
      await container.start();
      await ready();
    },
    pause: () => void container.pause(),
    resume: () => void container.unpause(),
  };
}

/** Resolves when the broker serves metadata, not only when its port is open; and counts `node` in, where one is given. */
async function answers(brokers: readonly string[], node?: number): Promise<void> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING, retry: { retries: 0 } }).admin();
  try {
    await admin.connect();
    const cluster = await admin.describeCluster();
    if (node !== undefined && !cluster.brokers.some(({ nodeId }) => nodeId === node))
      throw new Error(`broker ${node} is not in the cluster yet`);
  } finally {
    await admin.disconnect();
  }
}
