// Control topics: who may write to the topics that Foreshard acts on. This is checked once at the start and reported to
// the operator; the check never stops the start. While Foreshard itself lacks a right on these topics, it waits:
// running with half of the rights would do more harm than not running.

import kafkajs, { type Admin, type Kafka } from 'kafkajs';
import type { Logger } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';
import { anyBroker, type RawCluster } from './client.ts';
import { guarded, reasonOf } from './failure.ts';
import { describeTopics, ERROR } from './requests.ts';

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;

/** Whoever may write to these topics can command Foreshard, within what the readers of the records check. */
export const CONTROL_TOPICS: ReadonlySet<string> = new Set(['commands', 'pointer-table', 'progress']);

/** Throws LOG_UNAVAILABLE, which names the missing rights, unless we may read and write all of these topics. */
export async function requireRights(cluster: RawCluster, topics: readonly string[]): Promise<void> {
  if (topics.length === 0) return;
  if (!cluster.isConnected()) await cluster.connect();
  const missing: string[] = [];
  for (const { topic, errorCode, operations } of await describeTopics(await anyBroker(cluster), topics)) {
    if (errorCode === ERROR.topicAuthorizationFailed) missing.push(`DESCRIBE on ${topic}`);
    else if (operations !== undefined)
      for (const operation of ['READ', 'WRITE'] as const)
        if ((operations & (1 << AclOperationTypes[operation])) === 0) missing.push(`${operation} on ${topic}`);
  }
  if (missing.length > 0)
    throw new AppError(
      'LOG_UNAVAILABLE',
      `Kafka does not let this user ${missing.join(', ')}: grant it, see "Who may write" in docs/operating.md`,
      { missing },
    );
}

export async function tellWriters(kafka: Kafka, topics: readonly string[], logger: Logger): Promise<void> {
  if (topics.length === 0) return;
  const admin = guarded(kafka.admin());
  try {
    await admin.connect();
    await tellWritersBy(admin, topics, logger);
  } catch (error) {
    logger.info({ topics, reason: reasonOf(error) }, 'Kafka could not be asked who may write to the control topics');
  } finally {
    await admin.disconnect().catch(() => {});
  }
}

export async function tellWritersBy(
  admin: Pick<Admin, 'describeAcls'>,
  topics: readonly string[],
  logger: Logger,
): Promise<void> {
  for (const topic of topics) {
    let writers: readonly string[];
    try {
      writers = await writersOf(admin, topic);
    } catch (error) {
      const { type } = error as { readonly type?: string };
      if (type === 'SECURITY_DISABLED') {
        logger.warn({ topics }, OPEN);
        return;
      }
      if (type !== 'CLUSTER_AUTHORIZATION_FAILED') throw error;
      logger.info({ topics }, MAY_NOT_ASK);
      return;
    }
    if (writers.length > 1 || writers.includes('User:*')) logger.warn({ topic, writers }, MORE_THAN_ONE);
  }
}

/** Principals that ACLs allow to write to the topic; superusers are not included. */
async function writersOf(admin: Pick<Admin, 'describeAcls'>, topic: string): Promise<readonly string[]> {
  const { resources } = await admin.describeAcls({
    resourceType: AclResourceTypes.TOPIC,
    resourceName: topic,
    resourcePatternType: ResourcePatternTypes.MATCH,
    operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ALLOW,
  });
  const writers = resources
    .flatMap(({ acls }) => acls)
    .filter(({ operation }) => operation === AclOperationTypes.WRITE || operation === AclOperationTypes.ALL)
    .map(({ principal }) => principal);
  return [...new Set(writers)].sort();
}

const OPEN =
  'this Kafka has no authorizer: anybody who reaches it can write to the control topics, and only the term tells such records from a planner’s; see "Who may write" in docs/operating.md';
const MAY_NOT_ASK = 'who may write to the control topics is not known: Foreshard needs DESCRIBE on the cluster to ask';
const MORE_THAN_ONE =
  'more than one principal may write to a control topic: allow only Foreshard’s, see "Who may write" in docs/operating.md';
