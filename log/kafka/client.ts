// Client: the one file that depends on the inside of kafkajs 2.2.4. Its public consumer and producer hide what a task
// needs (positions over transaction markers, assignment data, one transaction of known outcome), but its connections,
// cluster metadata and protocol requests are sound: those are used here, through what kafkajs hands to an assigner. The
// version is pinned in package.json; test/system/kafka-log.test.ts fails when another version differs.

import { connect, isIP, type Socket } from 'node:net';
import { setTimeout as timer } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { type Cluster, type ISocketFactoryArgs, Kafka, type KafkaConfig, logLevel } from 'kafkajs';
import type { Logger, Meter } from '../../runtime/telemetry.ts';
import type { AppError } from '../../schemas/errors.ts';
import { causesOf, guarded, logFailure } from './failure.ts';

export interface ConnectionSettings {
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly ssl?: KafkaConfig['ssl'];
  readonly sasl?: KafkaConfig['sasl'];
  readonly logger: Logger;
}

/** A request of our own that is sent on a connection of kafkajs. */
export interface RawRequest<Answer> {
  readonly request: {
    readonly apiKey: number;
    readonly apiVersion: number;
    readonly apiName: string;
    encode(): Promise<{ readonly buf: Buffer; readonly buffer: Buffer }>;
  };
  readonly response: {
    decode(bytes: Buffer): Promise<Answer>;
    parse(answer: Answer): Promise<Answer>;
  };
  readonly requestTimeout?: number;
}

export interface MemberState {
  readonly memberId: string;
  readonly memberMetadata: Buffer;
}

/** Methods of kafkajs's broker that its types leave out. */
export interface RawBroker {
  readonly nodeId: string | number;
  readonly connectionPool: {
    readonly host: string;
    readonly port: number;
    send<Answer>(request: RawRequest<Answer>): Promise<Answer>;
  };
  joinGroup(request: {
    groupId: string;
    sessionTimeout: number;
    rebalanceTimeout: number;
    memberId: string;
    groupProtocols: { name: string; metadata: Buffer }[];
  }): Promise<{ generationId: number; leaderId: string; memberId: string; members: MemberState[] }>;
  syncGroup(request: {
    groupId: string;
    generationId: number;
    memberId: string;
    groupAssignment: { memberId: string; memberAssignment: Buffer }[];
  }): Promise<{ memberAssignment: Buffer }>;
  heartbeat(request: { groupId: string; groupGenerationId: number; memberId: string }): Promise<unknown>;
  offsetFetch(request: { groupId: string; topics: { topic: string; partitions: { partition: number }[] }[] }): Promise<{
    responses: { topic: string; partitions: { partition: number; offset: string; metadata: string | null }[] }[];
  }>;
  leaveGroup(request: { groupId: string; memberId: string }): Promise<unknown>;
  initProducerId(request: {
    transactionalId: string | undefined;
    transactionTimeout: number;
  }): Promise<{ producerId: string | number; producerEpoch: number }>;
  addPartitionsToTxn(request: TransactionRef & { topics: { topic: string; partitions: number[] }[] }): Promise<unknown>;
  addOffsetsToTxn(request: TransactionRef & { groupId: string }): Promise<unknown>;
  txnOffsetCommit(
    request: TransactionRef & {
      groupId: string;
      topics: { topic: string; partitions: { partition: number; offset: string; metadata: string | null }[] }[];
    },
  ): Promise<unknown>;
  offsetCommit(request: {
    groupId: string;
    groupGenerationId: number;
    memberId: string;
    topics: { topic: string; partitions: { partition: number; offset: string; metadata: string }[] }[];
  }): Promise<unknown>;
  endTxn(request: TransactionRef & { transactionResult: boolean }): Promise<unknown>;
  disconnect(): Promise<void>;
}

export interface TransactionRef {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
}

export interface RawCluster extends Omit<Cluster, 'findBroker' | 'findGroupCoordinator' | 'findControllerBroker'> {
  findBroker(node: { nodeId: string }): Promise<RawBroker>;
  findControllerBroker(): Promise<RawBroker>;
  findGroupCoordinator(group: { groupId: string; coordinatorType?: number }): Promise<RawBroker>;
  readonly brokerPool: { findConnectedBroker(): Promise<RawBroker> };
}

export const TRANSACTION_COORDINATOR = 1;

/** Longer than a broker's own waits; a broker that stops answering is noticed after this time. */
const REQUEST_TIMEOUT_MS = 20_000;

export function kafkaClient(settings: ConnectionSettings): Kafka {
  return new Kafka({
    brokers: [...settings.brokers],
    clientId: settings.clientId,
    ...(settings.ssl === undefined ? {} : { ssl: settings.ssl }),
    ...(settings.sasl === undefined ? {} : { sasl: settings.sasl }),
    connectionTimeout: 5_000,
    socketFactory: openSocket,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry: { initialRetryTime: 20, maxRetryTime: 500, multiplier: 2, factor: 0.2, retries: 3 },
    logLevel: logLevel.INFO,
    logCreator: () => (entry) => logEntry(settings.logger, entry),
  });
}

/** Any broker that can be reached. */
export async function anyBroker(cluster: RawCluster): Promise<RawBroker> {
  try {
    return await cluster.brokerPool.findConnectedBroker();
  } catch (error) {
    throw logFailure(error);
  }
}

const KEEP_ALIVE_MS = 60_000;

/**
 * Like kafkajs's own socket factory, but without Nagle's algorithm: small requests do not wait for answers to earlier
 * ones.
 */
function openSocket({ host, port, ssl, onConnect }: ISocketFactoryArgs): Socket {
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket = ssl
    ? connectTls({ host, port, ...servername, ...ssl }, onConnect)
    : connect({ host, port }, onConnect);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  socket.setMaxListeners(0); // kafkajs adds a listener each time it gives up a socket that never opened, and later drops all.
  return socket;
}

/** A cluster object with connections and metadata of its own; it reads committed records only. */
export function openCluster(kafka: Kafka): RawCluster {
  let found: RawCluster | undefined;
  kafka.consumer({
    groupId: 'unused',
    allowAutoTopicCreation: false,
    metadataMaxAge: 60_000,
    partitionAssigners: [
      ({ cluster }) => {
        found = cluster as unknown as RawCluster;
        return {
          name: 'unused',
          version: 0,
          assign: async () => [],
          protocol: () => ({ name: '', metadata: Buffer.alloc(0) }),
        };
      },
    ],
  });
  return guarded(found!);
}

/**
 * kafkajs logs each failed try as an error, but nearly all of them are tried again, here or by the caller, who reports
 * final failures. So its lines are logged as debug output.
 */
function logEntry(logger: Logger, entry: { namespace: string; level: number; log: { message: string } }): void {
  const { message, ...facts } = entry.log as { message: string } & Record<string, unknown>;
  delete facts.timestamp;
  delete facts.stack;
  logger.debug({ ...facts, namespace: entry.namespace, severity: logLevel[entry.level] }, `kafkajs: ${message}`);
}

/** After a failure, forgets broken connections and stale leaders. Never throws: the next try will fail by itself. */
export async function refresh(cluster: RawCluster, error: unknown): Promise<void> {
  try {
    for (const { name, host, port } of causesOf(error))
      if (name === 'KafkaJSConnectionClosedError' && host !== undefined && port !== undefined)
        cluster.removeBroker({ host, port }); // Throws once no broker is left.
  } catch {
    // Removed already.
  }
  try {
    if (!cluster.isConnected()) await cluster.connect();
    await cluster.refreshMetadata();
  } catch {
    // Still unreachable.
  }
}

const BACKOFF_FIRST_MS = 100;
const BACKOFF_LAST_MS = 5_000;

/**
 * Pause before try number `attempt`, in milliseconds: doubling, with jitter, so that instances do not retry in step.
 */
export const backoffMs = (attempt: number): number =>
  Math.min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.5 + Math.random() / 2);

/** Resolves after `ms`, or at once when the signal aborts. */
export async function pauseFor(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await timer(ms, undefined, signal === undefined ? {} : { signal });
  } catch {
    // Aborted: the caller checks the signal.
  }
}

/** What is wrong right now, by reporter; empty when all is well. Permanent losses are reported once, as alarms. */
export class Health {
  readonly #troubles = new Map<string, string>();
  readonly #logger: Logger;
  readonly #meter: Pick<Meter, 'add'> | undefined;

  constructor(logger: Logger, meter?: Pick<Meter, 'add'>) {
    this.#logger = logger;
    this.#meter = meter;
  }

  /** Reports something that an operator must know: a line in the log, and a counter for that topic. */
  alarm(failure: AppError, topic: string): void {
    this.#logger.error({ code: failure.code, ...failure.facts }, failure.message);
    if (failure.code === 'INPUT_TRUNCATED') this.#meter?.add('foreshard_input_truncated_total', 1, { topic });
    else this.#meter?.add('foreshard_damaged_batches_total', 1, { topic });
  }

  well(part: string): void {
    this.#troubles.delete(part);
  }

  ill(part: string, reason: string): void {
    this.#troubles.set(part, reason);
  }

  /** The first trouble reported; `undefined` when all is well. */
  reason(): string | undefined {
    for (const [part, reason] of this.#troubles) return `${part}: ${reason}`;
    return undefined;
  }
}
