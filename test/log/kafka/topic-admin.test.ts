// What Kafka is asked for when topics are made, and what an operator is told when they cannot be.

import type { Kafka } from 'kafkajs';
import { describe, expect, test } from 'vitest';
import { fateOf, reasonOf } from '../../../log/kafka/failure.ts';
import { prepareTopics, type TopicSettings } from '../../../log/kafka/topic-admin.ts';
import { AppError } from '../../../schemas/errors.ts';

const TABLE = { topic: 'foreshard.pointer-table', partitions: 1, cleanup: 'compact', retentionMs: -1 } as const;
const INPUT = { topic: 'foreshard.subscriptions', partitions: 8, cleanup: 'delete', retentionMs: 5_000 } as const;

interface Creation {
  readonly topic: string;
  readonly replicationFactor: number;
  readonly configEntries: readonly { readonly name: string; readonly value: string }[];
}

/** A cluster of these topics, with what it was asked to create; `refusal` is its answer to that. */
function clusterOf(there: Readonly<Record<string, Readonly<Record<string, string>>>>, refusal?: string) {
  const created: Creation[] = [];
  const cluster = {
    connect: async () => {},
    disconnect: async () => {},
    listTopics: async () => Object.keys(there),
    createTopics: async ({ topics }: { topics: Creation[] }) => {
      if (refusal !== undefined) throw Object.assign(new Error('refused'), { errors: [{ type: refusal }] });
      created.push(...topics);
    },
    fetchTopicMetadata: async () => ({ topics: [] }),
    describeConfigs: async () => ({
      resources: Object.entries(there).map(([resourceName, entries]) => ({
        resourceName,
        configEntries: Object.entries(entries).map(([configName, configValue]) => ({ configName, configValue })),
      })),
    }),
  };
  return { created, kafka: { admin: () => cluster } as unknown as Kafka };
}

const told: string[] = [];
const SETTINGS: TopicSettings = {
  create: true,
  replicationFactor: 3,
  messageBytesMax: 1_000,
  deleteRetentionMs: 3_600_000,
  differs: (topic, advice) => told.push(`${topic}: ${advice}`),
};
const configOf = ({ configEntries }: Creation) =>
  Object.fromEntries(configEntries.map(({ name, value }) => [name, value]));

describe('topic admin', () => {
  test('a compacted topic keeps marks of removals as long as changelogRetentionMs says', async () => {
    const { kafka, created } = clusterOf({});
    await prepareTopics(kafka, [TABLE, INPUT], SETTINGS);
    expect(created.map((each) => each.replicationFactor)).toEqual([3, 3]);
    expect(configOf(created[0]!)).toMatchObject({ 'cleanup.policy': 'compact', 'delete.retention.ms': '3600000' });
    expect(configOf(created[1]!)).toMatchObject({ 'cleanup.policy': 'delete', 'retention.ms': '5000' });
    expect(configOf(created[1]!)).not.toHaveProperty('delete.retention.ms');
  });

  test('with createTopics off nothing is created, and what is missing is told as it has to be made', async () => {
    const { kafka, created } = clusterOf({ [INPUT.topic]: {} });
    const failure = await failureOf(prepareTopics(kafka, [TABLE, INPUT], { ...SETTINGS, create: false }));
    expect(created).toEqual([]);
    expect(failure.code).toBe('TOPIC_MISCONFIGURED');
    expect(failure.message).toContain('FORESHARD_CREATE_TOPICS is false: create foreshard.pointer-table (1 partitions');
    expect(failure.message).toContain('cleanup.policy=compact');
    expect(failure.message).not.toContain(INPUT.topic);
  });

  test('with createTopics off and all of them there it goes on', async () => {
    const { kafka } = clusterOf({ [TABLE.topic]: {}, [INPUT.topic]: {} });
    await prepareTopics(kafka, [TABLE, INPUT], { ...SETTINGS, create: false });
  });

  test.each([
    { refusal: 'TOPIC_AUTHORIZATION_FAILED', says: 'set FORESHARD_CREATE_TOPICS=false' },
    { refusal: 'POLICY_VIOLATION', says: 'topic foreshard.pointer-table cannot be created' },
  ])('$refusal names the setting that helps', async ({ refusal, says }) => {
    const failure = await failureOf(prepareTopics(clusterOf({}, refusal).kafka, [TABLE], SETTINGS));
    expect(failure.code).toBe('TOPIC_MISCONFIGURED');
    expect(failure.message).toContain(says);
  });

  test('too few brokers for the copies that are wanted are waited for, and the setting that helps is named', async () => {
    const { kafka } = clusterOf({}, 'INVALID_REPLICATION_FACTOR');
    const failure = await failureOf(prepareTopics(kafka, [TABLE], SETTINGS));
    expect(fateOf(failure)).toBe('again');
    expect(reasonOf(failure)).toContain('3 copies take as many brokers, and there are fewer');
    expect(reasonOf(failure)).toContain('set FORESHARD_REPLICATION_FACTOR to at most their number');
    const byDefault = await failureOf(prepareTopics(kafka, [TABLE], { ...SETTINGS, replicationFactor: -1 }));
    expect(reasonOf(byDefault)).toContain('as many copies as Kafka makes by default');
  });

  test('a compacted topic that was made with another retention of removals is left alone, and told of', async () => {
    told.length = 0;
    const config = { 'cleanup.policy': 'compact', 'delete.retention.ms': '86400000' };
    const { kafka } = clusterOf({ [TABLE.topic]: config });
    await prepareTopics(kafka, [TABLE], SETTINGS);
    expect(told).toEqual([expect.stringContaining('delete.retention.ms is 86400000')]);
    await prepareTopics(kafka, [TABLE], { ...SETTINGS, deleteRetentionMs: 86_400_000 });
    expect(told).toHaveLength(1);
  });
});

async function failureOf(work: Promise<unknown>): Promise<AppError> {
  const failure = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(AppError);
  return failure as AppError;
}
