// Topic admin: creates missing topics and checks existing ones. A configuration by the operator is refused where it
// would break a promise (partitions, clean-up), and accepted elsewhere.

import kafkajs, { type Kafka } from 'kafkajs';
import { AppError } from '../../schemas/errors.ts';
import { causesOf, guarded, reasonOf } from './failure.ts';

export interface PhysicalTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly cleanup: 'delete' | 'compact';
  readonly retentionMs: number;
}

export interface TopicSettings {
  /** When false, missing topics are only named in an error; somebody else creates them. */
  readonly create: boolean;
  /** -1: the cluster's default. */
  readonly replicationFactor: number;
  readonly messageBytesMax: number;
  /** How long a compacted topic keeps tombstones: a reader that was away longer has to start from nothing. */
  readonly deleteRetentionMs: number;
  /** Called for a topic whose configuration differs where that is the operator's choice. */
  readonly differs: (topic: string, advice: string) => void;
}

/** Compaction leaves the segment being written alone, so readers of a table read at most this much of its past. */
const COMPACTED_SEGMENT_MS = 6 * 3_600_000;
const MIN_CLEANABLE_RATIO = 0.1;
/** How long Kafka keeps tombstones when a topic does not say. */
const KAFKAS_RETENTION_MS = 86_400_000;

export async function prepareTopics(
  kafka: Kafka,
  topics: readonly PhysicalTopic[],
  settings: TopicSettings,
): Promise<void> {
  const admin = guarded(kafka.admin());
  await admin.connect();
  try {
    const existing = new Set(await admin.listTopics());
    const missing = topics.filter((each) => !existing.has(each.topic));
    if (missing.length > 0 && !settings.create) throw missingTopics(missing, settings);
    if (missing.length > 0) {
      try {
        await admin.createTopics({ topics: missing.map((each) => creationOf(each, settings)), waitForLeaders: true });
      } catch (error) {
        throw creationFailure(error, missing, settings);
      }
    }
    await checkTopics(admin, topics, settings);
  } finally {
    await admin.disconnect();
  }
}

/** The error that names the topics somebody else has to create. */
function missingTopics(missing: readonly PhysicalTopic[], settings: TopicSettings): AppError {
  const wanted = missing.map((each) => {
    const { topic, numPartitions, configEntries } = creationOf(each, settings);
    return `${topic} (${numPartitions} partitions, ${configEntries.map(({ name, value }) => `${name}=${value}`).join(', ')})`;
  });
  return new AppError(
    'TOPIC_MISCONFIGURED',
    `topics are missing and FORESHARD_CREATE_TOPICS is false: create ${wanted.join('; ')}, or let this user describe them if they exist`,
    { topics: missing.map(({ topic }) => topic) },
  );
}

/** How long a compacted topic keeps tombstones, by its present configuration. */
export async function removalsKeptMs(kafka: Kafka, topic: string): Promise<number> {
  const admin = guarded(kafka.admin());
  await admin.connect();
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: ['delete.retention.ms'] }],
    });
    const [entry] = resources[0]?.configEntries ?? [];
    return Number(entry?.configValue ?? KAFKAS_RETENTION_MS);
  } finally {
    await admin.disconnect();
  }
}

function creationOf({ topic, partitions, cleanup, retentionMs }: PhysicalTopic, settings: TopicSettings) {
  const entries: Record<string, string | number> =
    cleanup === 'compact'
      ? {
          'cleanup.policy': 'compact',
          'delete.retention.ms': settings.deleteRetentionMs,
          'min.cleanable.dirty.ratio': MIN_CLEANABLE_RATIO,
          'segment.ms': COMPACTED_SEGMENT_MS,
        }
      : { 'cleanup.policy': 'delete', 'retention.ms': retentionMs };
  entries['max.message.bytes'] = settings.messageBytesMax;
  return {
    topic,
    numPartitions: partitions,
    replicationFactor: settings.replicationFactor,
    configEntries: Object.entries(entries).map(([name, value]) => ({ name, value: String(value) })),
  };
}

/**
 * Refusals that retrying does not cure become an error for the operator; others are returned for the caller to retry.
 */
function creationFailure(error: unknown, missing: readonly PhysicalTopic[], settings: TopicSettings): unknown {
  const causes = [...causesOf(error)].flatMap(({ errors }) => errors ?? []);
  const real = causes.find((each) => each.type !== 'TOPIC_ALREADY_EXISTS');
  const type = real?.type ?? '';
  const topic = real?.topic ?? missing[0]!.topic;
  if (type === 'INVALID_REPLICATION_FACTOR')
    // Without the cause: this message says more than Kafka's.
    return new AppError('LOG_UNAVAILABLE', tooFewBrokers(topic, settings), { topic, type });
  if (
    ![
      'POLICY_VIOLATION',
      'INVALID_CONFIG',
      'INVALID_PARTITIONS',
      'TOPIC_AUTHORIZATION_FAILED',
      'CLUSTER_AUTHORIZATION_FAILED',
      'INVALID_TOPIC_EXCEPTION',
    ].includes(type)
  )
    return error;
  return new AppError(
    'TOPIC_MISCONFIGURED',
    `topic ${topic} cannot be created: ${reasonOf(real)}${adviceOn(type)}`,
    { topic, type },
    error,
  );
}

/** Brokers may still be joining: a cluster starts with one broker, and others follow. */
const tooFewBrokers = (topic: string, { replicationFactor }: TopicSettings): string =>
  `topic ${topic} cannot be created yet: ${replicationFactor === -1 ? 'as many copies as Kafka makes by default' : `${replicationFactor} copies`} take as many brokers, and there are fewer. Start them, or set FORESHARD_REPLICATION_FACTOR to at most their number (1 for a Kafka of one broker)`;

/** Advice on a setting, where one helps. */
function adviceOn(type: string): string {
  if (type.endsWith('_AUTHORIZATION_FAILED'))
    return '; let this user create topics, or create them beforehand and set FORESHARD_CREATE_TOPICS=false';
  return '';
}

async function checkTopics(
  admin: ReturnType<Kafka['admin']>,
  wanted: readonly PhysicalTopic[],
  settings: TopicSettings,
): Promise<void> {
  const names = wanted.map((each) => each.topic);
  const { topics } = await admin.fetchTopicMetadata({ topics: names });
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: names.map((name) => ({
      type: kafkajs.ConfigResourceTypes.TOPIC,
      name,
      configNames: ['cleanup.policy', 'delete.retention.ms'],
    })),
  });
  for (const { topic, partitions, cleanup } of wanted) {
    const found = topics.find((each) => each.name === topic)?.partitions.length;
    if (found !== undefined && found !== partitions)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `topic ${topic} has ${found} partitions, but ${partitions} are configured: set the number to ${found}, or recreate the topic (its keys move to other partitions)`,
        { topic, found, expected: partitions },
      );
    const entries = resources.find((each) => each.resourceName === topic)?.configEntries;
    const configured = (name: string) => entries?.find((each) => each.configName === name)?.configValue;
    const policy = configured('cleanup.policy');
    if (policy !== undefined && policy !== cleanup)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `topic ${topic} has cleanup.policy=${policy} and needs ${cleanup}: kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config cleanup.policy=${cleanup}`,
        { topic, found: policy, expected: cleanup },
      );
    const kept = configured('delete.retention.ms');
    if (cleanup === 'compact' && kept !== undefined && kept !== String(settings.deleteRetentionMs))
      settings.differs(
        topic,
        `delete.retention.ms is ${kept} and FORESHARD_CHANGELOG_RETENTION_MS ${settings.deleteRetentionMs}: kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config delete.retention.ms=${settings.deleteRetentionMs}`,
      );
  }
}
