// Access: a real Kafka with KRaft's authorizer. Foreshard's own user has the rights that docs/operating.md names, and no other.

import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type AclEntry, Kafka, logLevel } from 'kafkajs';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { acceptLoss } from '../../cli/accept-loss.ts';
import { configOf } from '../../config/config.ts';
import { kafkaLog } from '../../log/kafka/kafka-log.ts';
import { type Batch, type Log, MARK_KEY, type TaskHandler, type TaskLog } from '../../runtime/ports.ts';
import { type Logger, silentLogger } from '../../runtime/telemetry.ts';
import type { Offset } from '../../schemas/ids.ts';
import { ALL_TOPICS } from '../../topology/topics.ts';
import { underTest } from '../support/kafka-under-test.ts';
import { startKafka, unavailable } from '../support/real-kafka.ts';
import { startRegistry } from '../support/real-registry.ts';

const { AclOperationTypes: may, AclPermissionTypes: permission, AclResourceTypes: kind } = kafkajs;
const { ResourcePatternTypes: pattern } = kafkajs;
const USER = 'foreshard';
const PASSWORD = 'secret';

// Over the listener that stands behind a proxy one has to say who one is; over the other everybody is a superuser.
const [registry, tested] = await Promise.all([
  startRegistry(),
  underTest(async (options) => {
    const kafka = await startKafka({
      ...options,
      prefer: 'process',
      settings: {
        ...options.settings,
        'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
        'super.users': 'User:ANONYMOUS',
        'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
        'sasl.enabled.mechanisms': 'PLAIN',
        'listener.name.proxied.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required user_${USER}="${PASSWORD}";`,
      },
    });
    if (kafka === undefined || kafka.origin === 'process') return kafka;
    await kafka.stop();
    return unavailable('a Kafka with an authorizer needs a JDK with Maven');
  }),
]);
afterAll(async () => {
  await tested?.stop();
  await registry?.stop();
});

describe.skipIf(tested === undefined || registry === undefined)('foreshard among others on one Kafka', () => {
  test('runs with the rights that docs/operating.md names, and says nothing of who may write', async () => {
    const fleet = await Fleet.make('exact');
    const warnings: string[] = [];
    const warn = (_facts: object, message: string): void => void warnings.push(message);
    const log = await fleet.log({}, { ...silentLogger, warn } as Logger);
    await log.prepare(shapes());
    await log.append([{ topic: 'commands', partition: 0, key: 'k', value: Buffer.from('one') }]);
    const taker = await Taker.join(log);
    await until(() => taker.values.includes('one'));
    await until(async () => (await taker.committed()) > 0);
    const seen: string[] = [];
    const follower = await log.follow('progress', 'earliest', async ({ records }) => {
      seen.push(...records.map(({ value }) => String(value)));
    });
    await until(() => seen.includes('one'));
    await follower.close();
    expect(log.health()).toEqual({ ok: true, reason: '' });
    expect(warnings).toEqual([]);
  });

  for (const [operation, topic] of [
    ['WRITE', 'commands'],
    ['READ', 'pointer-table'],
    ['WRITE', 'progress'],
  ] as const)
    test(`names a right that it lacks on a control topic at the start, and goes on once it has it: ${operation} on ${topic}`, async () => {
      const fleet = await Fleet.make(`lacks-${operation}-${topic}`.toLowerCase());
      await fleet.deny(topic, may[operation]);
      const log = await fleet.log();
      const prepared = log.prepare(shapes());
      prepared.catch(() => {}); // Where the test fails before.
      await until(() => !log.health().ok);
      expect(log.health().reason).toContain(`does not let this user ${operation} on ${fleet.app}.${topic}: grant it`);
      await fleet.allow(topic, may[operation]);
      await prepared;
      expect(log.health().ok).toBe(true);
    });

  test('with FORESHARD_CREATE_TOPICS=false it names what is to be created, and runs without the right to create', async () => {
    const fleet = await Fleet.make('made', { creates: false });
    const blind = await fleet.log({ createTopics: false });
    const missing = await blind.prepare(shapes()).catch((error: unknown) => error);
    expect(missing).toMatchObject({ code: 'TOPIC_MISCONFIGURED' });
    for (const { name, cleanup } of shapes())
      expect((missing as Error).message).toMatch(
        new RegExp(`create .*${fleet.app}\\.${name} \\(1 partitions, cleanup\\.policy=${cleanup}`),
      );
    await fleet.create();
    const log = await fleet.log({ createTopics: false });
    await log.prepare(shapes());
    const taker = await Taker.join(log);
    await log.append([{ topic: 'commands', partition: 0, key: 'k', value: Buffer.from('one') }]);
    await until(() => taker.values.includes('one'));
  });

  test('a loss is accepted with `foreshard accept-loss`: it says what is gone, keeps it as a dead letter, and the group goes on', async () => {
    const fleet = await Fleet.make('loss');
    const log = await fleet.log();
    await log.prepare(shapes());
    const put = (values: readonly string[]): Promise<void> =>
      log.append(values.map((value) => ({ topic: 'commands', partition: 0, key: 'k', value: Buffer.from(value) })));
    await put(['0', '1', '2']);
    const before = await Taker.join(log);
    await until(() => before.values.length === 3);
    await until(async () => (await before.committed()) === 3);
    await before.leave();
    await put(['3', '4', '5', '6']);
    await fleet.deleteBefore('commands', 5);
    const stopped = await Taker.join(log);
    await expect(stopped.done).rejects.toMatchObject({ code: 'INPUT_TRUNCATED' });
    await stopped.leave();
    expect(await fleet.acceptLoss()).toEqual([
      'commands/0: records 3 to 4 are gone, and group work continues without them; shards to check: none. This takes effect at the next start.',
    ]);
    expect(await fleet.acceptLoss()).toHaveLength(1); // Its word stands until the group has gone on.
    const after = await Taker.join(log);
    await until(() => after.values.length === 2);
    expect(after.values).toEqual(['5', '6']);
    await until(async () => (await after.committed()) === 7);
    await after.leave();
    expect(await fleet.acceptLoss()).toEqual(['No unread record is missing.']);
    const letters: string[] = [];
    await log.follow('dead-letters', 'earliest', async ({ records }) => {
      letters.push(...records.map(({ headers }) => JSON.stringify(headers)));
    });
    await until(() => letters.length === 2);
  });
});

/** Every topic, of one partition. */
const shapes = () =>
  ALL_TOPICS.map(({ name, cleanup }) => ({ name, partitions: 1, cleanup, retentionMs: 3_600_000 }) as const);
const SPEC = { name: 'work', topics: [{ name: 'commands', partitions: 'all' as const }], gathers: false };

/** One app on the Kafka under test, with a superuser beside it. */
class Fleet {
  readonly app: string;
  readonly #admin: ReturnType<Kafka['admin']>;

  private constructor(app: string, admin: ReturnType<Kafka['admin']>) {
    this.app = app;
    this.#admin = admin;
  }

  /** "Who may write" of docs/operating.md; resources of one name part are prefixed patterns. */
  static async make(name: string, { creates = true } = {}): Promise<Fleet> {
    const app = `${name}-${Date.now()}`;
    const admin = new Kafka({ brokers: [...tested!.kafka.brokers], logLevel: logLevel.NOTHING }).admin();
    await admin.connect();
    onTestFinished(() => admin.disconnect());
    const fleet = new Fleet(app, admin);
    const topic = [may.READ, may.WRITE, may.DESCRIBE, may.DESCRIBE_CONFIGS, ...(creates ? [may.CREATE] : [])];
    await fleet.#grant([
      ...[`${app}.`, `${app}-`].flatMap((start) => topic.map((operation) => [kind.TOPIC, start, operation] as const)),
      ...[may.READ, may.DESCRIBE].map((operation) => [kind.GROUP, `${app}-`, operation] as const),
      ...[may.WRITE, may.DESCRIBE].map((operation) => [kind.TRANSACTIONAL_ID, `${app}-`, operation] as const),
      [kind.CLUSTER, 'kafka-cluster', may.DESCRIBE],
    ]);
    return fleet;
  }

  async log(options: { readonly createTopics?: boolean } = {}, logger = silentLogger): Promise<Log> {
    const log = await kafkaLog({
      app: this.app,
      topicPrefix: `${this.app}.`,
      brokers: tested!.proxiedBrokers,
      sasl: { mechanism: 'plain', username: USER, password: PASSWORD },
      logger,
      heartbeatMs: 200,
      sessionTimeoutMs: 6_000,
      ...options,
    });
    onTestFinished(() => log.close());
    return log;
  }

  async deny(topic: string, operation: AclEntry['operation']): Promise<void> {
    const acl = { ...this.#acl(kind.TOPIC, `${this.app}.${topic}`, operation), permissionType: permission.DENY };
    await this.#admin.createAcls({ acl: [{ ...acl, resourcePatternType: pattern.LITERAL }] });
  }

  /** Takes the refusal back. */
  async allow(topic: string, operation: AclEntry['operation']): Promise<void> {
    const acl = { ...this.#acl(kind.TOPIC, `${this.app}.${topic}`, operation), permissionType: permission.DENY };
    await this.#admin.deleteAcls({ filters: [{ ...acl, resourcePatternType: pattern.LITERAL }] });
  }

  async create(): Promise<void> {
    const changelog = { topic: `${this.app}-work-changelog`, cleanup: 'compact' };
    const topics = [...shapes().map(({ name, cleanup }) => ({ topic: `${this.app}.${name}`, cleanup })), changelog];
    await this.#admin.createTopics({
      waitForLeaders: true,
      topics: topics.map(({ topic, cleanup }) => ({
        topic,
        numPartitions: 1,
        configEntries: [{ name: 'cleanup.policy', value: cleanup }],
      })),
    });
  }

  async deleteBefore(topic: string, offset: number): Promise<void> {
    const place = `${this.app}.${topic}`;
    await this.#admin.fetchTopicOffsets(place); // The client asks nobody for the leaders otherwise.
    await this.#admin.deleteTopicRecords({ topic: place, partitions: [{ partition: 0, offset: String(offset) }] });
  }

  /** The command, as a superuser: what it prints. */
  async acceptLoss(): Promise<readonly string[]> {
    const values = {
      ...{ runtime: 'kafka', applicationId: this.app, topicPrefix: `${this.app}.`, partitions: 1 },
      brokers: tested!.kafka.brokers.join(','),
      registryUrl: registry!.url,
      registerSchemas: true,
    };
    const lines: string[] = [];
    const output = { line: (line: string) => void lines.push(line), json: () => {} };
    await acceptLoss(configOf([{ source: 'test', values }]).config, output as never);
    return lines;
  }

  #acl(resourceType: AclEntry['resourceType'], resourceName: string, operation: AclEntry['operation']) {
    return { resourceType, resourceName, operation, principal: `User:${USER}`, host: '*' };
  }

  async #grant(rights: readonly (readonly [AclEntry['resourceType'], string, AclEntry['operation']])[]): Promise<void> {
    const acl = rights.map(([resource, name, operation]) => ({
      ...this.#acl(resource, name, operation),
      permissionType: permission.ALLOW,
      resourcePatternType: resource === kind.CLUSTER ? pattern.LITERAL : pattern.PREFIXED,
    }));
    await this.#admin.createAcls({ acl });
  }
}

/** Tells `progress` each command that it is given, and commits at once. */
class Taker implements TaskHandler {
  readonly values: string[] = [];
  leave!: () => Promise<void>;
  done!: Promise<void>;
  committed!: () => Promise<Offset>;

  static async join(log: Log): Promise<Taker> {
    const taker = new Taker();
    const membership = await log.join({ ...SPEC, address: '' }, taker);
    taker.leave = () => membership.leave(10_000);
    taker.done = membership.done;
    taker.done.catch(() => {});
    taker.committed = async () => (await membership.standings())[0]!.committed;
    return taker;
  }

  async gained(task: TaskLog): Promise<Readonly<Record<string, Offset>>> {
    let inputs: Readonly<Record<string, Offset>> = {};
    await task.restore(0, async (changes) => {
      for (const { key, value } of changes) if (key === MARK_KEY) inputs = JSON.parse(String(value));
    });
    return inputs;
  }

  async records(task: TaskLog, { records, nextOffset }: Batch): Promise<void> {
    this.values.push(...records.map(({ value }) => String(value)));
    const inputs = { 'commands/0': nextOffset };
    const mark = { key: MARK_KEY, value: Buffer.from(JSON.stringify(inputs)) };
    const outputs = records.map(({ key, value }) => ({ topic: 'progress', partition: 0, key, value }));
    await task.commit({ changelog: [mark], outputs, inputs });
  }

  async lost(): Promise<void> {}
}

/** Waits for a condition, half a minute at most. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited half a minute in vain for: ${condition}`);
    await sleep(20);
  }
}
