// Topic admin: creates topics that are missing and checks those that are there. What an operator has set otherwise is
// refused where it would break a promise (partitions, clean-up), and left alone elsewhere.

import kafkajs, { type Kafka } from 'kafkajs';
import { AppError } from '../../../schemas/errors.ts';
import { causesOf, guarded, reasonOf } from './failure.ts';

export interface PhysicalTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly cleanup: 'delete' | 'compact';
  readonly retentionMs: number;
}

export interface TopicSettings {
  /** -1: the cluster's default. */
  readonly replicationFactor: number;
  readonly messageBytesMax: number;
}

const DAY_MS = 86_400_000;

/** Removals stay readable for longer than any reader is away: one that was away longer starts from nothing. */
const DELETE_RETENTION_MS = 7 * DAY_MS;
/** Compaction leaves the segment being written alone, so readers of a table read at most so much of its past. */
const COMPACTED_SEGMENT_MS = 6 * 3_600_000;
const MIN_CLEANABLE_RATIO = 0.1;

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
    if (missing.length > 0) {
      try {
        await admin.createTopics({ topics: missing.map((each) => creationOf(each, settings)), waitForLeaders: true });
      } catch (error) {
        throw creationFailure(error, missing);
      }
    }
    await checkTopics(admin, topics);
  } finally {
    await admin.disconnect();
  }
}

function creationOf({ topic, partitions, cleanup, retentionMs }: PhysicalTopic, settings: TopicSettings) {
  const entries: Record<string, string | number> =
    cleanup === 'compact'
      ? {
          'cleanup.policy': 'compact',
          'delete.retention.ms': DELETE_RETENTION_MS,
          'min.cleanable.dirty.ratio': MIN_CLEANABLE_RATIO,
          'segment.ms': COMPACTED_SEGMENT_MS,
        }
      : { 'cleanup.policy': 'delete', 'retention.ms': retentionMs };
  // Producers may compress as they like; the broker undoes it, since not every codec can be read here.
  entries['compression.type'] = 'uncompressed';
  entries['max.message.bytes'] = settings.messageBytesMax;
  return {
    topic,
    numPartitions: partitions,
    replicationFactor: settings.replicationFactor,
    configEntries: Object.entries(entries).map(([name, value]) => ({ name, value: String(value) })),
  };
}

/** Refusals that trying again does not cure become a message for the operator; the rest is for the caller to retry. */
function creationFailure(error: unknown, missing: readonly PhysicalTopic[]): unknown {
  const causes = [...causesOf(error)].flatMap(({ errors }) => errors ?? []);
  const real = causes.find((each) => each.type !== 'TOPIC_ALREADY_EXISTS');
  const type = real?.type ?? '';
  if (
    ![
      'INVALID_REPLICATION_FACTOR',
      'POLICY_VIOLATION',
      'INVALID_CONFIG',
      'INVALID_PARTITIONS',
      'TOPIC_AUTHORIZATION_FAILED',
      'CLUSTER_AUTHORIZATION_FAILED',
      'INVALID_TOPIC_EXCEPTION',
    ].includes(type)
  )
    return error;
  const topic = real?.topic ?? missing[0]!.topic;
  return new AppError(
    'TOPIC_MISCONFIGURED',
    `topic ${topic} cannot be created: ${reasonOf(real)}`,
    { topic, type },
    error,
  );
}

async function checkTopics(admin: ReturnType<Kafka['admin']>, wanted: readonly PhysicalTopic[]): Promise<void> {
  const names = wanted.map((each) => each.topic);
  const { topics } = await admin.fetchTopicMetadata({ topics: names });
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: names.map((name) => ({
      type: kafkajs.ConfigResourceTypes.TOPIC,
      name,
      configNames: ['cleanup.policy'],
    })),
  });
  for (const { topic, partitions, cleanup } of wanted) {
    const found = topics.find((each) => each.name === topic)?.partitions.length;
    if (found !== undefined && found !== partitions)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `topic ${topic} has ${found} partitions and ${partitions} are wanted: set the configured number to ${found}, or create the topic anew (its keys move to other partitions)`,
        { topic, found, expected: partitions },
      );
    const policy = resources
      .find((each) => each.resourceName === topic)
      ?.configEntries.find((each) => each.configName === 'cleanup.policy')?.configValue;
    if (policy !== undefined && policy !== cleanup)
      throw new AppError(
        'TOPIC_MISCONFIGURED',
        `topic ${topic} has cleanup.policy=${policy} and needs ${cleanup}: kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config cleanup.policy=${cleanup}`,
        { topic, found: policy, expected: cleanup },
      );
  }
}
