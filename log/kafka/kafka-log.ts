// Kafka log: the Log port over Apache Kafka 2.5 or later. One consumer group for each group of stages, one
// transactional id for each task, one compacted changelog for each group. Its parts are the other files of this folder.
//
//   F1. What a task reads, keeps and writes is committed in one transaction of the task's own transactional id. An
//       instance that takes the task over first takes over that id, so two owners never both commit (task-session.ts,
//       transaction.ts).
//   F2. A task's positions are those in its changelog; the offsets in the consumer group are for tools that show lag.
//   F3. Topics are never created by writing to them: `prepare` creates them, and refuses topics with a wrong
//       configuration.
//   F4. While Kafka cannot be reached nothing stops: every call waits and tries again, and `health` gives the reason.

import type { KafkaConfig } from 'kafkajs';
import {
  type Batch,
  changelogOf,
  type Follower,
  type GroupSpec,
  type Log,
  type Loss,
  type Membership,
  type OutRecord,
  type Standing,
  type TaskHandler,
  type TopicShape,
} from '../../runtime/ports.ts';
import type { Logger, Meter } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Partition } from '../../schemas/ids.ts';
import { Appender } from './appender.ts';
import { backoffMs, Health, kafkaClient, openCluster, pauseFor, type RawCluster, refresh } from './client.ts';
import { CONTROL_TOPICS, requireRights, tellWriters } from './control-topics.ts';
import { fateOf, isRefused, reasonOf } from './failure.ts';
import { follow } from './follower.ts';
import { acceptLosses } from './loss.ts';
import { KafkaMembership } from './membership.ts';
import { offsetsOf, type Place, type ReadingSettings } from './reading.ts';
import { standingsOf } from './standings.ts';
import { type Input, placedOf, type TaskPlan, TaskSession } from './task-session.ts';
import { type PhysicalTopic, prepareTopics, removalsKeptMs } from './topic-admin.ts';

export interface KafkaLogOptions {
  readonly brokers: readonly string[];
  /** Part of the names of consumer groups, transactional ids and changelogs: two fleets on one Kafka need two names. */
  readonly app: string;
  readonly logger: Logger;
  /** Counts alarms. */
  readonly meter?: Pick<Meter, 'add'>;
  /** Prefix of every topic's name except the changelogs'; default `foreshard.`. */
  readonly topicPrefix?: string;
  readonly clientId?: string;
  readonly ssl?: KafkaConfig['ssl'];
  readonly sasl?: KafkaConfig['sasl'];
  /** For topics that are created; -1, the default, uses the cluster's default. */
  readonly replicationFactor?: number;
  /** When false, missing topics are an error that names them. Default true. */
  readonly createTopics?: boolean;
  /** For compacted topics that are created: how long the tombstone of a removed key is kept. Default seven days. */
  readonly deleteRetentionMs?: number;
  /** Tasks whose state is on this host's disk: they are preferably assigned to it again. */
  readonly heldTasks?: (group: string) => readonly Partition[];
  /**
   * An instance that sends no heartbeat for this long loses its tasks. At least Kafka's group.min.session.timeout.ms (6
   * s).
   */
  readonly sessionTimeoutMs?: number;
  readonly heartbeatMs?: number;
  /** A transaction that its owner left open blocks readers for at most this long. */
  readonly transactionTimeoutMs?: number;
  /** The largest record that topics created here accept. */
  readonly messageBytesMax?: number;
}

const SESSION_TIMEOUT_MS = 15_000;
/** A rebalance is noticed within this time. */
const HEARTBEAT_MS = 1_000;
const REBALANCE_TIMEOUT_MS = 30_000;
const TRANSACTION_TIMEOUT_MS = 30_000;
const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
const DELETE_RETENTION_MS = 7 * 86_400_000;
/** Below the 1 MiB that topics created by others usually accept. */
const BATCH_BYTES_MAX = 900_000;
const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
/** Most bytes that all appends together may have waiting while Kafka is unreachable. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
const APPEND_PATIENCE_MS = 120_000;
const CLOSE_DEADLINE_MS = 10_000;

/** Large fetches for throughput; short waits, so that a task that has just caught up is not delayed. */
const READING: ReadingSettings = {
  maxWaitMs: 100,
  maxBytes: 16 * 1024 * 1024,
  maxBytesPerPartition: 2 * 1024 * 1024,
  queueBytesMax: 4 * 1024 * 1024,
  recordsMax: 5_000,
};

/** Opens the log. Does not wait for Kafka: the calls that need it do (F4). */
export async function kafkaLog(options: KafkaLogOptions): Promise<Log & TopicFacts> {
  return new KafkaLog(options);
}

export interface TopicFacts {
  /** The number of partitions of a topic, named without the prefix. Waits until Kafka answers and the topic exists (F4). */
  partitionsOf(topic: string): Promise<number>;
}

class KafkaLog implements Log, TopicFacts {
  readonly #options: KafkaLogOptions;
  readonly #prefix: string;
  readonly #kafka: ReturnType<typeof kafkaClient>;
  readonly #health: Health;
  readonly #closing = new AbortController();
  readonly #memberships = new Set<Membership>();
  readonly #followers = new Set<Follower>();
  #appender: Appender | undefined;
  #metadata: RawCluster | undefined;
  /** True once Kafka has accepted our credentials: a refusal after that may be a passing trouble of Kafka. */
  #accepted = false;

  constructor(options: KafkaLogOptions) {
    this.#options = options;
    this.#health = new Health(options.logger, options.meter);
    this.#prefix = options.topicPrefix ?? 'foreshard.';
    this.#kafka = kafkaClient({ ...options, clientId: options.clientId ?? options.app });
  }

  async prepare(topics: readonly TopicShape[]): Promise<void> {
    await this.#prepare(topics.map((shape) => ({ ...shape, topic: this.#physicalOf(shape.name) })));
    const control = topics.filter(({ name }) => CONTROL_TOPICS.has(name)).map(({ name }) => this.#physicalOf(name));
    this.#metadata ??= openCluster(this.#kafka);
    const cluster = this.#metadata;
    await this.#whenReachable('topics', cluster, () => requireRights(cluster, control));
    await tellWriters(this.#kafka, control, this.#options.logger);
  }

  async join(group: GroupSpec, handler: TaskHandler): Promise<Membership> {
    this.#assertOpen();
    const { app, logger } = this.#options;
    const counts = await this.#partitionCounts(group.topics.map((each) => each.name));
    const taskCount = taskCountOf(group, counts);
    const changelog = changelogOf(app, group.name);
    await this.#prepare([{ topic: changelog, partitions: taskCount, cleanup: 'compact', retentionMs: -1 }]);
    const keptMs = await this.#whenReachable('topics', undefined, () => removalsKeptMs(this.#kafka, changelog));
    const groupId = `${app}-${group.name}`;
    const inputsOf = (task: Partition) => inputsOfTask(group, counts, task, (name) => this.#physicalOf(name));
    const planOf = (partition: Partition): TaskPlan => ({
      group: group.name,
      groupId,
      partition,
      changelog: { topic: changelog, partition },
      removalsKeptMs: keptMs,
      inputs: inputsOf(partition),
      transactionalId: `${app}-${group.name}-${partition}`,
      physicalOf: (name) => this.#physicalOf(name),
    });
    const membership = new KafkaMembership({
      cluster: openCluster(this.#kafka),
      group: {
        groupId,
        taskCount,
        address: group.address,
        topics: group.topics.map((each) => this.#physicalOf(each.name)),
        partitionsOf: (task) => byTopic(inputsOf(task)),
        sessionTimeoutMs: this.#options.sessionTimeoutMs ?? SESSION_TIMEOUT_MS,
        heartbeatMs: this.#options.heartbeatMs ?? HEARTBEAT_MS,
        rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      },
      held: this.#options.heldTasks?.(group.name) ?? [],
      lifeOf: (partition, owner) =>
        new TaskSession(
          planOf(partition),
          {
            reading: READING,
            transactionTimeoutMs: this.#options.transactionTimeoutMs ?? TRANSACTION_TIMEOUT_MS,
            batchBytesMax: BATCH_BYTES_MAX,
          },
          handler,
          () => openCluster(this.#kafka),
          { confirm: () => owner.confirm(), fatal: (error) => owner.fail(error) },
          this.#health,
          logger,
        ),
      standings: () => this.#standings(groupId, taskCount, inputsOf),
      health: this.#health,
      logger,
    });
    this.#memberships.add(membership);
    return membership;
  }

  append(records: readonly OutRecord[]): Promise<void> {
    this.#appender ??= new Appender(
      openCluster(this.#kafka),
      {
        batchBytesMax: BATCH_BYTES_MAX,
        requestBytesMax: REQUEST_BYTES_MAX,
        waitingBytesMax: WAITING_BYTES_MAX,
        patienceMs: APPEND_PATIENCE_MS,
      },
      this.#health,
    );
    return this.#appender.append(records.map((each) => placedOf(each, (name) => this.#physicalOf(name))));
  }

  async follow(topic: string, from: 'earliest' | 'latest', take: (batch: Batch) => Promise<void>): Promise<Follower> {
    this.#assertOpen();
    const counts = await this.#partitionCounts([topic]);
    const physical = this.#physicalOf(topic);
    const places = Array.from({ length: counts.get(topic)! }, (_, partition) => ({ topic: physical, partition }));
    const cluster = openCluster(this.#kafka);
    const follower = await this.#whenReachable(`following ${topic}`, cluster, () =>
      follow({
        cluster,
        places,
        from,
        take: (batch) => take({ ...batch, topic }),
        settings: READING,
        health: this.#health,
        logger: this.#options.logger,
        topic,
      }),
    );
    this.#followers.add(follower);
    return follower;
  }

  async partitionsOf(topic: string): Promise<number> {
    this.#assertOpen();
    return (await this.#partitionCounts([topic])).get(topic)!;
  }

  async acceptLosses(group: Pick<GroupSpec, 'name' | 'topics' | 'gathers'>): Promise<readonly Loss[]> {
    const counts = await this.#partitionCounts(group.topics.map((each) => each.name));
    const inputs = group.topics
      .filter(({ lossy }) => !lossy)
      .flatMap(({ name }) =>
        Array.from({ length: counts.get(name)! }, (_, partition) => ({
          name,
          topic: this.#physicalOf(name),
          partition,
        })),
      );
    if (inputs.length === 0) return [];
    const cluster = this.#metadata!;
    const [starts, ends] = [await offsetsOf(cluster, inputs, 'start'), await offsetsOf(cluster, inputs, 'end')];
    const places = starts.map(({ offset: start, ...place }) => ({
      ...place,
      start,
      end: ends.find((each) => each.topic === place.topic && each.partition === place.partition)!.offset,
    }));
    const losses = await acceptLosses(cluster, `${this.#options.app}-${group.name}`, places);
    return losses.map(({ topic, partition, offset, next }) => ({
      topic: inputs.find((each) => each.topic === topic)!.name,
      partition,
      from: Math.min(offset, next),
      to: Math.max(offset, next),
      wasRead: next < offset,
    }));
  }

  health(): { readonly ok: boolean; readonly reason: string } {
    if (this.#closing.signal.aborted) return { ok: false, reason: 'the log is closed' };
    const reason = this.#health.reason();
    return { ok: reason === undefined, reason: reason ?? '' };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#memberships].map((each) => each.leave(CLOSE_DEADLINE_MS)));
    await Promise.all([...this.#followers].map((each) => each.close()));
    await this.#appender?.close();
    await this.#metadata?.disconnect();
  }

  /** Uses the connections for metadata: those of members wait for their groups. */
  async #standings(
    groupId: string,
    taskCount: number,
    inputsOf: (task: Partition) => readonly (Place & { readonly name: string })[],
  ): Promise<readonly Standing[]> {
    this.#assertOpen();
    const inputs = Array.from({ length: taskCount }, (_, task) => inputsOf(task).map((place) => ({ ...place, task })));
    this.#metadata ??= openCluster(this.#kafka);
    const cluster = this.#metadata;
    try {
      if (!cluster.isConnected()) await cluster.connect();
      return await standingsOf(cluster, groupId, inputs.flat());
    } catch (error) {
      await refresh(cluster, error);
      throw error;
    }
  }

  /** Names of changelogs already contain the app's name. */
  #physicalOf(name: string): string {
    const isChangelog = name.startsWith(`${this.#options.app}-`) && name.endsWith('-changelog');
    return isChangelog ? name : `${this.#prefix}${name}`;
  }

  async #prepare(topics: readonly PhysicalTopic[]): Promise<void> {
    this.#assertOpen();
    const settings = {
      create: this.#options.createTopics ?? true,
      deleteRetentionMs: this.#options.deleteRetentionMs ?? DELETE_RETENTION_MS,
      differs: (topic: string, advice: string) =>
        this.#options.logger.warn(
          { topic },
          `topic ${topic} differs from the settings and is left as it is: ${advice}`,
        ),
      replicationFactor: this.#options.replicationFactor ?? -1,
      messageBytesMax: this.#options.messageBytesMax ?? MESSAGE_BYTES_MAX,
    };
    await this.#whenReachable('topics', undefined, () => prepareTopics(this.#kafka, topics, settings));
  }

  /** By the topics' names without the prefix. */
  async #partitionCounts(names: readonly string[]): Promise<Map<string, number>> {
    this.#metadata ??= openCluster(this.#kafka);
    const cluster = this.#metadata;
    return this.#whenReachable('topics', cluster, async () => {
      if (!cluster.isConnected()) await cluster.connect();
      await cluster.addMultipleTargetTopics(names.map((name) => this.#physicalOf(name)));
      const counts = new Map<string, number>();
      for (const name of names) {
        const count = cluster.findTopicPartitionMetadata(this.#physicalOf(name)).length;
        if (count === 0) throw new AppError('LOG_UNAVAILABLE', `topic ${this.#physicalOf(name)} does not exist`);
        counts.set(name, count);
      }
      return counts;
    });
  }

  /** Retries until it succeeds, or the log is closed (F4). */
  async #whenReachable<Result>(
    part: string,
    cluster: RawCluster | undefined,
    work: () => Promise<Result>,
  ): Promise<Result> {
    for (let attempt = 0; ; attempt++) {
      try {
        const result = await work();
        this.#accepted = true;
        this.#health.well(part);
        return result;
      } catch (error) {
        if (fateOf(error) === 'final') throw error;
        if (isRefused(error) && !this.#accepted)
          throw new AppError('CONFIG_INVALID', `Kafka refuses the credentials: ${reasonOf(error)}`, {}, error);
        this.#assertOpen();
        this.#health.ill(part, reasonOf(error));
        this.#options.logger.warn(
          { part, attempt, reason: reasonOf(error) },
          'a request to Kafka failed; trying again',
        );
        if (cluster !== undefined) await refresh(cluster, error);
        await pauseFor(backoffMs(attempt), this.#closing.signal);
        this.#assertOpen();
      }
    }
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted) throw new AppError('STOPPED', 'the log is closed');
  }
}

/** Number of tasks of a group: the number of partitions of its topics, which must agree (graph.ts G3). */
function taskCountOf(group: GroupSpec, counts: ReadonlyMap<string, number>): number {
  if (group.gathers) return 1;
  const shared = group.topics.filter((each) => each.partitions === 'all');
  const taskCount = Math.max(1, ...shared.map((each) => counts.get(each.name)!));
  for (const { name } of shared)
    if (counts.get(name) !== taskCount)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `the topics of group ${group.name} need equal numbers of partitions: ${name} has ${counts.get(name)}, another has ${taskCount}`,
        { topic: name, found: counts.get(name), expected: taskCount },
      );
  return taskCount;
}

function inputsOfTask(
  group: GroupSpec,
  counts: ReadonlyMap<string, number>,
  task: Partition,
  physicalOf: (name: string) => string,
): Input[] {
  return group.topics.flatMap(({ name, partitions, lossy = false, versions = false }) => {
    const all = Array.from({ length: counts.get(name)! }, (_, partition) => partition);
    const mine = group.gathers ? all : partitions === 'one' ? (task === 0 ? [0] : []) : [task];
    return mine.map((partition) => ({ name, topic: physicalOf(name), partition, lossy, versions }));
  });
}

function byTopic(places: readonly Place[]): Record<string, Partition[]> {
  const found: Record<string, Partition[]> = {};
  for (const { topic, partition } of places) found[topic] = [...(found[topic] ?? []), partition];
  return found;
}
