// The log suite on a real Kafka, and what only a real Kafka can do to a log: other instances, dead owners, unknown
// outcomes (through a proxy that loses answers), and a broker that dies.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { kafkaLog } from '../../log/kafka/kafka-log.ts';
import {
  type Batch,
  type Log,
  MARK_KEY,
  type Membership,
  type TaskHandler,
  type TaskLog,
} from '../../runtime/ports.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import { kafkaLogSuite, openLog, plainClient, underTest } from '../support/kafka-under-test.ts';
import { startKafka } from '../support/real-kafka.ts';

// Maven's Kafka where there is one: testcontainers.test.ts runs the same suite on an image.
const tested = await underTest((options) => startKafka({ ...options, prefer: 'process' }));
afterAll(() => tested?.stop());

const kafka = tested?.kafka;

if (tested !== undefined && kafka !== undefined) {
  kafkaLogSuite('kafka', tested);

  describe('kafka log: several instances', () => {
    test('two instances share the tasks, a leaving one hands its tasks over in order, and all know the owners', async () => {
      const world = await World.make('share');
      await world.append([0, 1, 2, 3].map((partition) => ({ partition, value: `first-${partition}` })));
      const one = await world.instance('127.0.0.1:7001');
      await until(() => one.tasks().length === 4);
      const two = await world.instance('127.0.0.1:7002');
      await until(() => one.tasks().length === 2 && two.tasks().length === 2);
      expect([...one.tasks(), ...two.tasks()].sort()).toEqual([0, 1, 2, 3]);
      await until(() => two.tasks().every((task) => one.membership.ownerOf(task).address === '127.0.0.1:7002'));
      await until(() => one.tasks().every((task) => two.membership.ownerOf(task).address === '127.0.0.1:7001'));
      expect(one.failures).toEqual([]); // Handed over in order: nobody was fenced.
      expect(one.losses.every((each) => each.orderly)).toBe(true);
      expect(one.gains.filter((task) => one.tasks().includes(task)).length).toBe(2); // Those that stayed went on.
      await two.membership.leave(10_000);
      await until(() => one.tasks().length === 4);
      await world.append([0, 1, 2, 3].map((partition) => ({ partition, value: `second-${partition}` })));
      await until(async () => (await world.outputs()).length === 8);
      expect((await world.outputs()).sort()).toEqual(
        ['first', 'second'].flatMap((round) => [0, 1, 2, 3].map((partition) => `${round}-${partition}`)).sort(),
      );
      await world.close();
    });

    test('a task whose owner has died with an open transaction is taken over, and nothing of it is seen', async () => {
      const world = await World.make('dead');
      // The dead owner: it has written, not committed, and will not say another word.
      const producer = plainClient(kafka).producer({
        transactionalId: `${world.app}-work-1`,
        idempotent: true,
        maxInFlightRequests: 1,
        transactionTimeout: 600_000,
      });
      await producer.connect();
      const transaction = await producer.transaction();
      await transaction.send({ topic: `${world.app}.out`, messages: [{ partition: 1, key: 'k', value: 'ghost' }] });
      await world.append([{ partition: 1, value: 'real' }]);
      await world.instance('');
      await until(async () => (await world.outputs()).includes('real')); // The last stable offset has moved on.
      expect(await world.outputs()).toEqual(['real']);
      await expect(transaction.commit()).rejects.toThrow();
      await producer.disconnect();
      expect(await world.outputs()).toEqual(['real']);
      await world.close();
    });
  });

  describe('kafka log: trouble', () => {
    test('consumed records that are gone end the membership, and nothing is skipped in silence', async () => {
      const world = await World.make('gone');
      await world.append(Array.from({ length: 20 }, (_, i) => ({ partition: 0, value: `${i}` })));
      const admin = plainClient(kafka).admin();
      await admin.connect();
      await admin.fetchTopicOffsets(`${world.app}.in`); // The client asks nobody for the leaders otherwise.
      await admin.deleteTopicRecords({ topic: `${world.app}.in`, partitions: [{ partition: 0, offset: '10' }] });
      await admin.disconnect();
      const instance = await world.instance('', { 'in/0': 5 });
      const failure = await instance.membership.done.then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failure).toBeInstanceOf(AppError);
      expect((failure as AppError).code).toBe('INPUT_TRUNCATED');
      expect((failure as AppError).facts).toMatchObject({ partition: 0, offset: 5, start: 10, end: 20 });
      await world.close();
    });

    for (const way of ['the topic is lossy', 'a person has accepted it'] as const)
      test(`where consumed records are gone and ${way}, reading goes on with the first one that is there`, async () => {
        const world = await World.make(way === 'the topic is lossy' ? 'lossy' : 'accepted');
        await world.append(Array.from({ length: 20 }, (_, i) => ({ partition: 0, value: `${i}` })));
        const lossy = way === 'the topic is lossy';
        if (!lossy) {
          const instance = await world.instance('');
          await until(async () => (await world.outputs()).length === 20);
          await instance.membership.leave(10_000);
          await world.append(Array.from({ length: 20 }, (_, i) => ({ partition: 0, value: `${i + 20}` })));
        }
        const admin = plainClient(kafka).admin();
        await admin.connect();
        await admin.fetchTopicOffsets(`${world.app}.in`);
        const offset = lossy ? '10' : '30';
        await admin.deleteTopicRecords({ topic: `${world.app}.in`, partitions: [{ partition: 0, offset }] });
        await admin.disconnect();
        if (!lossy) {
          const spec = { name: 'work', topics: [{ name: 'in', partitions: 'all' as const }], gathers: false };
          expect(await world.log.acceptLosses!(spec)).toEqual([
            { topic: 'in', partition: 0, from: 20, to: 30, wasRead: false },
          ]);
        }
        const before = (await world.outputs()).length;
        await world.instance('', lossy ? { 'in/0': 5 } : {}, lossy);
        await until(async () => (await world.outputs()).length === before + 10);
        expect((await world.outputs()).at(before)).toBe(offset);
        await world.close();
      });

    test('the groups of one process see partitions that disagree before they start', async () => {
      const world = await World.make('uneven');
      await world.log.prepare([{ name: 'few', partitions: 2, cleanup: 'delete', retentionMs: 3_600_000 }]);
      const topics = ['in', 'few'].map((name) => ({ name, partitions: 'all' as const }));
      const refusal = world.log.join({ name: 'uneven', topics, gathers: false, address: '' }, new Copier(world.log));
      await expect(refusal).rejects.toMatchObject({ code: 'TOPIC_MISCONFIGURED' });
      await world.close();
    });

    test.skipIf(kafka.origin === 'given')(
      'a broker killed in the middle of commits, three times: no record is lost or written twice',
      async () => {
        const world = await World.make('bounce');
        const instance = await world.instance('');
        const wanted: string[] = [];
        for (let round = 0; round < 3; round++) {
          const before = instance.commits;
          let writing = true;
          const appending = (async () => {
            for (let i = 0; writing; i++) {
              const values = [0, 1, 2, 3].map((partition) => ({ partition, value: `${round}-${i}-${partition}` }));
              wanted.push(...values.map((each) => each.value));
              await world.append(values);
            }
          })();
          await until(() => instance.commits > before + 10);
          await kafka.kill9();
          await until(() => !world.log.health().ok);
          await kafka.restart();
          writing = false;
          await appending;
        }
        await until(async () => (await world.outputs()).length >= wanted.length, 60_000);
        expect((await world.outputs()).sort()).toEqual(wanted.sort());
        expect(instance.failures.length).toBeGreaterThan(0); // The faults hit.
        await until(() => world.log.health().ok);
        await world.close();
      },
    );

    test('topics that want more copies than there are brokers wait for them, and health names the setting that helps', async () => {
      const app = `copies-${Date.now()}`;
      const log = await kafkaLog({ app, brokers: kafka.brokers, logger: silentLogger, replicationFactor: 30 });
      const prepared = log.prepare([{ name: app, partitions: 1, cleanup: 'delete', retentionMs: 3_600_000 }]);
      prepared.catch(() => {});
      await until(() => !log.health().ok);
      expect(log.health().reason).toMatch(/30 copies take as many brokers.*FORESHARD_REPLICATION_FACTOR/);
      await log.close();
      await expect(prepared).rejects.toMatchObject({ code: 'STOPPED' });
    });

    test.skipIf(kafka.origin === 'given')('a log opened while Kafka is down waits for it', async () => {
      await kafka.kill9();
      const app = `late-${Date.now()}`;
      const log = await openLog(app, kafka.brokers);
      const prepared = log.prepare([{ name: 'in', partitions: 1, cleanup: 'delete', retentionMs: 3_600_000 }]);
      await until(() => !log.health().ok);
      expect(log.health().reason).not.toBe('');
      await kafka.restart();
      await prepared;
      expect(log.health().ok).toBe(true);
      await log.close();
    });
  });
}

/** Copies each record of `in` to `out`, partition by partition, and commits after each batch. */
class Copier implements TaskHandler {
  readonly gains: Partition[] = [];
  readonly losses: { task: Partition; orderly: boolean }[] = [];
  readonly failures: string[] = [];
  commits = 0;
  membership!: Membership;
  readonly log: Log;
  readonly #start: Readonly<Record<string, Offset>>;
  readonly #owned = new Set<Partition>();

  constructor(log: Log, start: Readonly<Record<string, Offset>> = {}) {
    this.log = log;
    this.#start = start;
  }

  tasks(): Partition[] {
    return [...this.#owned].sort();
  }

  async gained(task: TaskLog): Promise<Readonly<Record<string, Offset>>> {
    let inputs = this.#start;
    await task.restore(0, async (changes) => {
      for (const { key, value } of changes) if (key === MARK_KEY) inputs = JSON.parse(String(value));
    });
    this.gains.push(task.partition);
    this.#owned.add(task.partition);
    return inputs;
  }

  async records(task: TaskLog, batch: Batch): Promise<void> {
    const inputs = { [`in/${batch.partition}`]: batch.nextOffset };
    const outputs = batch.records.map(({ key, value }) => ({ topic: 'out', partition: batch.partition, key, value }));
    try {
      await task.commit({
        changelog: [{ key: MARK_KEY, value: Buffer.from(JSON.stringify(inputs)) }],
        outputs,
        inputs,
      });
      this.commits++;
    } catch (error) {
      this.failures.push((error as AppError).code);
    }
  }

  async lost(task: TaskLog, orderly: boolean): Promise<void> {
    this.losses.push({ task: task.partition, orderly });
    this.#owned.delete(task.partition);
  }
}

class World {
  readonly app: string;
  readonly log: Log;
  readonly #logs: Log[];
  readonly #seen: string[] = [];

  private constructor(app: string, log: Log) {
    this.app = app;
    this.log = log;
    this.#logs = [log];
  }

  static async make(name: string): Promise<World> {
    const app = `${name}-${Date.now()}`;
    const world = new World(app, await openLog(app, kafka!.brokers));
    const shape = { partitions: 4, cleanup: 'delete', retentionMs: 3_600_000 } as const;
    await world.log.prepare(['in', 'out'].map((each) => ({ ...shape, name: each })));
    await world.log.follow('out', 'earliest', async (batch) => {
      world.#seen.push(...batch.records.map((each) => String(each.value)));
    });
    return world;
  }

  append(records: readonly { readonly partition: number; readonly value: string }[]): Promise<void> {
    return this.log.append(
      records.map(({ partition, value }) => ({ topic: 'in', partition, key: 'k', value: Buffer.from(value) })),
    );
  }

  async instance(address: string, start?: Readonly<Record<string, Offset>>, lossy = false): Promise<Copier> {
    const log = await openLog(this.app, kafka!.brokers);
    this.#logs.push(log);
    const copier = new Copier(log, start);
    const topics = [{ name: 'in', partitions: 'all' as const, lossy }];
    copier.membership = await log.join({ name: 'work', topics, gathers: false, address }, copier);
    return copier;
  }

  async outputs(): Promise<string[]> {
    return [...this.#seen];
  }

  async close(): Promise<void> {
    for (const log of this.#logs.reverse()) await log.close();
  }
}

/** Waits for a condition; gives up after `patienceMs`. */
async function until(condition: () => boolean | Promise<boolean>, patienceMs = 40_000): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${patienceMs} ms in vain for: ${condition}`);
    await sleep(20);
  }
}
