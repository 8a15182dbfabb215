// The promises of runtime/ports.ts, as tests that every log must pass: one suite, one line for each implementation.
//
//   logSuite('memory', makeMemoryLog);
//
// It takes nothing for granted that a port does not promise: offsets may have holes, a page or batch may hold any number
// of records, assignment may take seconds. It waits for conditions, never for time, and takes names nobody else uses.

import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import {
  type Batch,
  type Commit,
  type GroupSpec,
  type Log,
  MARK_KEY,
  type Membership,
  type OutRecord,
  type TaskHandler,
  type TaskLog,
  type TopicShape,
} from '../../runtime/ports.ts';
import { AppError, type ErrorCode } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { Change } from '../../state/store.ts';

/** One log under test, over records of its own. The optional parts are what not every log can be made to do. */
export interface LogFixture {
  readonly log: Log;
  /** Closes the log and opens it again over the same records. */
  restart?(): Promise<Log>;
  /** Lets another owner take the task over, without a word to the handler that has it. */
  fence?(group: GroupSpec, partition: Partition): Promise<void>;
  /** The next commit of any task throws COMMIT_UNKNOWN, and has taken effect or not. */
  failNextCommit?(tookEffect: boolean): void;
  /** Compacts a topic, by its name without prefix, as far as the log ever would. */
  compact?(topic: string): Promise<void>;
  /** Closes the log (again) and removes what it left behind. */
  dispose(): Promise<void>;
}

/** `partitions`: of each topic that is not named as having one, so also the number of tasks. */
export type MakeLog = (options: { readonly app: string; readonly partitions: number }) => Promise<LogFixture>;

export interface LogSuiteOptions {
  /** What this log cannot be made to do, and why: those tests are skipped by name. */
  readonly cannot?: Partial<Record<'restart' | 'fence' | 'failNextCommit' | 'compact', string>>;
  readonly timeoutMs?: number;
}

const PARTITIONS = 3;
const HOUR_MS = 3_600_000;

/** A topic of several partitions beside one of a single partition. */
const manyAndOne = (many: string, one: string) =>
  [
    { name: many, partitions: 'all' },
    { name: one, partitions: 'one' },
  ] as const;

export function logSuite(name: string, makeLog: MakeLog, options: LogSuiteOptions = {}): void {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const endings: (() => Promise<void>)[] = [];

  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end();
  }, timeoutMs);

  async function setUp(partitions = PARTITIONS) {
    const unique = randomUUID().slice(0, 8);
    const fixture = await makeLog({ app: `app-${unique}`, partitions });
    endings.push(() => fixture.dispose());
    return new World(fixture, unique, partitions, endings);
  }

  const check = (sentence: string, body: () => Promise<void>) => test(sentence, body, timeoutMs);
  const checkIf = (
    able: 'restart' | 'fence' | 'failNextCommit' | 'compact',
    sentence: string,
    body: () => Promise<void>,
  ) => {
    const reason = options.cannot?.[able];
    if (reason === undefined) check(sentence, body);
    else test.skip(`${sentence} (${able}: ${reason})`, body);
  };

  describe(`log: ${name}`, () => {
    describe('topics', () => {
      check('a topic can be prepared again as it is', async () => {
        const world = await setUp();
        const shape = world.shape('again');
        await world.log.prepare([shape]);
        await world.log.prepare([shape]);
      });

      for (const { what, change } of [
        { what: 'partitions', change: { partitions: 2 } },
        { what: 'clean-up', change: { cleanup: 'compact' as const } },
      ]) {
        check(`a topic of other ${what} is refused, and the message names it`, async () => {
          const world = await setUp();
          const shape = world.shape('other');
          await world.log.prepare([shape]);
          const refusal = await failureOf(world.log.prepare([{ ...shape, ...change }]));
          expect(refusal.code).toBe('TOPIC_MISCONFIGURED');
          expect(refusal.message).toContain(shape.name);
        });
      }
    });

    describe('records', () => {
      check('each partition keeps the order of its records, over many appends', async () => {
        const world = await setUp();
        const topic = await world.topic('order');
        const wanted: string[][] = [[], [], []];
        for (let append = 0; append < 5; append++) {
          const records: OutRecord[] = [];
          for (let i = 0; i < 300; i++) {
            const partition = (i * 7 + append) % PARTITIONS;
            const value = `${append}/${i}`;
            wanted[partition]!.push(value);
            records.push(record(topic, partition, `key-${i % 10}`, value));
          }
          await world.log.append(records);
        }
        const seen = await world.collect(topic, 1500);
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const batches = seen.filter((batch) => batch.partition === partition);
          expect(batches.flatMap((batch) => batch.records.map((each) => String(each.value)))).toEqual(
            wanted[partition],
          );
          let next = 0;
          for (const batch of batches) {
            for (const each of batch.records) {
              expect(each.offset).toBeGreaterThanOrEqual(next);
              next = each.offset + 1;
            }
            expect(batch.nextOffset).toBeGreaterThanOrEqual(next);
            expect(batch.endOffset).toBeGreaterThanOrEqual(batch.nextOffset);
            next = batch.nextOffset;
          }
        }
      });

      check('keys, values, headers and time come back as they were written', async () => {
        const world = await setUp();
        const topic = await world.topic('bytes');
        const binary = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
        const written: OutRecord[] = [
          { topic, partition: 0, key: 'text €', value: Buffer.from('value') },
          { topic, partition: 0, key: binary, value: binary },
          { topic, partition: 0, key: null, value: Buffer.from('no key') },
          { topic, partition: 0, key: 'removed', value: null },
          { topic, partition: 0, key: 'empty', value: Buffer.alloc(0) },
          {
            topic,
            partition: 0,
            key: 'headed',
            value: Buffer.alloc(70_000, 7),
            headers: { reason: 'because', raw: binary },
          },
        ];
        await world.log.append(written);
        const read = (await world.collect(topic, written.length)).flatMap((batch) => batch.records);
        expect(read.map((each) => each.key)).toEqual(
          written.map((each) => (typeof each.key === 'string' ? Buffer.from(each.key) : each.key)),
        );
        expect(read.map((each) => each.value)).toEqual(written.map((each) => each.value));
        const headers = read[5]!.headers!;
        expect(Buffer.from(headers.reason as Buffer).toString()).toBe('because');
        expect(Buffer.from(headers.raw as Buffer)).toEqual(binary);
        for (const each of read) {
          expect(each.timestamp).toBeGreaterThan(0);
          expect(Number.isSafeInteger(each.timestamp)).toBe(true);
        }
      });

      check('an append of nothing changes nothing', async () => {
        const world = await setUp();
        const topic = await world.topic('nothing');
        await world.log.append([]);
        await world.log.append([record(topic, 0, 'a', '1')]);
        expect(valuesOf(await world.collect(topic, 1))).toEqual(['1']);
      });
    });

    describe('tasks', () => {
      check('task i gets partition i of each topic, and task 0 the topics of one partition', async () => {
        const world = await setUp();
        const many = await world.topic('many');
        const one = await world.topic('one', { partitions: 1 });
        await world.log.append([
          ...[0, 1, 2].map((partition) => record(many, partition, 'k', `many-${partition}`)),
          record(one, 0, 'k', 'one-0'),
        ]);
        const tasks = await world.join(world.group({ topics: manyAndOne(many, one) }));
        await tasks.until(() => tasks.values().length === 4);
        expect(tasks.values(0).sort()).toEqual(['many-0', 'one-0']);
        expect(tasks.values(1)).toEqual(['many-1']);
        expect(tasks.values(2)).toEqual(['many-2']);
        for (const { task, batch } of tasks.taken) expect(batch.partition).toBe(batch.topic === one ? 0 : task);
      });

      check('a group that gathers has one task, which gets every partition', async () => {
        const world = await setUp();
        const many = await world.topic('many');
        const one = await world.topic('one', { partitions: 1 });
        await world.log.append([
          ...[0, 1, 2].map((partition) => record(many, partition, 'k', `many-${partition}`)),
          record(one, 0, 'k', 'one-0'),
        ]);
        const tasks = await world.join(
          world.group({
            gathers: true,
            topics: manyAndOne(many, one),
          }),
        );
        await tasks.until(() => tasks.values().length === 4);
        expect(tasks.values(0).sort()).toEqual(['many-0', 'many-1', 'many-2', 'one-0']);
        expect([...tasks.logs.keys()]).toEqual([0]);
      });

      check('delivery starts at the inputs that gained returns, elsewhere at the earliest record', async () => {
        const world = await setUp();
        const topic = await world.topic('start');
        await world.log.append([0, 1].flatMap((p) => ['a', 'b', 'c', 'd'].map((v) => record(topic, p, v, v))));
        const offsets = (await world.collect(topic, 8))
          .filter((batch) => batch.partition === 0)
          .flatMap((batch) => batch.records.map((each) => each.offset));
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }), {
          start: (partition) => (partition === 0 ? { [`${topic}/0`]: offsets[2]! } : {}),
        });
        await tasks.until(() => tasks.values().length === 6);
        expect(tasks.values(0)).toEqual(['c', 'd']);
        expect(tasks.values(1)).toEqual(['a', 'b', 'c', 'd']);
      });

      check('a task that stands at the end gets what is appended later', async () => {
        const world = await setUp();
        const topic = await world.topic('tail');
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }));
        for (const value of ['first', 'second', 'third']) {
          await world.log.append([record(topic, 1, 'k', value)]);
          await tasks.until(() => tasks.values(1).includes(value));
        }
        expect(tasks.values(1)).toEqual(['first', 'second', 'third']);
      });

      check('the next batch waits until the last one is taken, and holds up no other task', async () => {
        const world = await setUp();
        const topic = await world.topic('pressure');
        const gate = gateOf();
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }), {
          taking: (partition) => (partition === 0 ? gate.passed : undefined),
        });
        await world.log.append([record(topic, 0, 'k', 'held')]);
        await tasks.until(() => tasks.values(0).length === 1);
        await world.log.append([record(topic, 0, 'k', 'after'), record(topic, 1, 'k', 'beside')]);
        await tasks.until(() => tasks.values(1).length === 1);
        expect(tasks.values(0)).toEqual(['held']);
        gate.open();
        await tasks.until(() => tasks.values(0).length === 2);
        expect(tasks.values(0)).toEqual(['held', 'after']);
      });

      check('calls for one task never overlap', async () => {
        const world = await setUp();
        const topic = await world.topic('serial');
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }), {
          taking: async () => {
            for (let turn = 0; turn < 5; turn++) await Promise.resolve();
          },
        });
        for (let append = 0; append < 30; append++) {
          await world.log.append([0, 1, 2].map((partition) => record(topic, partition, 'k', `${append}`)));
        }
        await tasks.until(() => tasks.values().length === 90);
        await tasks.leave();
        expect(tasks.overlaps).toEqual([]); // Recorded by every call, `lost` included.
        for (const task of [0, 1, 2]) expect(tasks.values(task)).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`));
      });

      check('we own the tasks that we gained', async () => {
        const world = await setUp();
        const topic = await world.topic('owner');
        const tasks = await world.join(
          world.group({ topics: [{ name: topic, partitions: 'all' }], address: '127.0.0.1:7001' }),
        );
        for (const task of [0, 1, 2]) expect(tasks.membership.ownerOf(task).self).toBe(true);
        await tasks.leave();
        expect(tasks.membership.ownerOf(0).self).toBe(false);
      });
    });

    describe('standings', () => {
      check('every partition of a group is told with its task, its end and what was committed of it', async () => {
        const world = await setUp();
        const many = await world.topic('many');
        const one = await world.topic('one', { partitions: 1 });
        await world.log.append([
          ...['a', 'b', 'c'].map((value) => record(many, 1, 'k', value)),
          record(one, 0, 'k', 'x'),
        ]);
        const tasks = await world.join(world.group({ topics: manyAndOne(many, one) }));
        await tasks.until(() => tasks.values().length === 4);
        const lags = async () =>
          new Map(
            (await tasks.membership.standings()).map(({ topic, partition, task, end, committed }) => [
              `${topic}/${partition} of ${task}`,
              end - committed,
            ]),
          );
        const before = await lags();
        expect([...before.keys()].sort()).toEqual(
          [...[0, 1, 2].map((task) => `${many}/${task} of ${task}`), `${one}/0 of 0`].sort(),
        );
        expect(before.get(`${many}/1 of 1`)).toBeGreaterThanOrEqual(3); // Taken, and yet not committed.
        const nexts = tasks.taken.filter(({ task }) => task === 1).map(({ batch }) => batch.nextOffset);
        await tasks.log(1).commit(commitOf(changes({}), [], { [`${many}/1`]: nexts.at(-1)! }));
        let after = await lags();
        while (after.get(`${many}/1 of 1`) !== 0) after = await lags(); // Kafka shows a commit a moment after it is durable.
        expect(after.get(`${one}/0 of 0`)).toBe(before.get(`${one}/0 of 0`));
        await world.log.append([record(many, 1, 'k', 'd')]);
        expect((await lags()).get(`${many}/1 of 1`)).toBeGreaterThanOrEqual(1);
      });

      check('a group that gathers is told with all partitions as those of its one task', async () => {
        const world = await setUp();
        const many = await world.topic('many');
        await world.log.append([record(many, 2, 'k', 'x')]);
        const tasks = await world.join(world.group({ gathers: true, topics: [{ name: many, partitions: 'all' }] }));
        const standings = await tasks.membership.standings();
        expect(standings.map(({ task, partition }) => `${task} ${partition}`).sort()).toEqual(['0 0', '0 1', '0 2']);
        expect(standings.filter(({ end, committed }) => end > committed).map(({ partition }) => partition)).toEqual([
          2,
        ]);
      });
    });

    describe('commits', () => {
      check('changes, outputs and inputs of a commit are there together', async () => {
        const world = await setUp();
        const source = await world.topic('source');
        const target = await world.topic('target');
        const group = world.group({ topics: [{ name: source, partitions: 'all' }] });
        const tasks = await world.join(group);
        const changed = changes({ a: '1', b: '2' });
        await tasks.log(1).commit(commitOf(changed, [record(target, 2, 'k', 'out')], { [`${source}/1`]: 0 }));
        expect(valuesOf(await world.collect(target, 1))).toEqual(['out']);
        const restored = await restore(tasks.log(1), 0);
        expect(restored.rows).toEqual({ a: '1', b: '2' });
        expect(restored.inputs).toEqual({ [`${source}/1`]: 0 });
        expect((await restore(tasks.log(0), 0)).rows).toEqual({}); // Each task has its own changelog.
      });

      check('commits of one task lie in order, each returning where the changelog goes on', async () => {
        const world = await setUp();
        const source = await world.topic('source');
        const tasks = await world.join(world.group({ topics: [{ name: source, partitions: 'all' }] }));
        const first = await tasks.log(0).commit(commitOf(changes({ a: '1', b: '1' })));
        const second = await tasks.log(0).commit(commitOf(changes({ b: '2', c: '2' })));
        const third = await tasks.log(0).commit(commitOf(changes({ c: undefined })));
        expect(second).toBeGreaterThan(first);
        expect(third).toBeGreaterThan(second);
        expect((await restore(tasks.log(0), 0)).rows).toEqual({ a: '1', b: '2' });
        expect((await restore(tasks.log(0), first)).history).toEqual(['b=2', 'c=2', 'c']);
        expect((await restore(tasks.log(0), second)).history).toEqual(['c']);
        expect((await restore(tasks.log(0), third)).history).toEqual([]);
      });

      check('what a task emits reaches the tasks that consume it, also its own', async () => {
        const world = await setUp();
        const topic = await world.topic('loop');
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }));
        await tasks.log(0).commit(commitOf([], [record(topic, 0, 'k', 'own'), record(topic, 2, 'k', 'other')]));
        await tasks.until(() => tasks.values().length === 2);
        expect(tasks.values(0)).toEqual(['own']);
        expect(tasks.values(2)).toEqual(['other']);
      });

      check('a task commits while it takes a batch', async () => {
        const world = await setUp();
        const topic = await world.topic('within');
        const target = await world.topic('within-out');
        const tasks: Tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }), {
          taking: async (partition, batch) => {
            const outputs = batch.records.map((each) => record(target, 0, 'k', String(each.value)));
            await tasks.log(partition).commit(commitOf([], outputs, { [`${topic}/${partition}`]: batch.nextOffset }));
          },
        });
        await world.log.append(['a', 'b', 'c'].map((value) => record(topic, 1, 'k', value)));
        expect(valuesOf(await world.collect(target, 3))).toEqual(['a', 'b', 'c']);
      });

      check('a new owner goes on where the last commit stood', async () => {
        const world = await setUp();
        const topic = await world.topic('handover');
        const group = world.group({ topics: [{ name: topic, partitions: 'all' }] });
        await world.log.append(['a', 'b'].map((value) => record(topic, 0, 'k', value)));
        const before = await world.join(group);
        await before.until(() => before.values(0).length === 2);
        const taken = before.taken.at(-1)!.batch.nextOffset;
        await before.log(0).commit(commitOf(changes({ seen: '2' }), [], { [`${topic}/0`]: taken }));
        await before.leave();
        await world.log.append([record(topic, 0, 'k', 'c')]);
        const after = await world.join(group, { startAtRestored: true });
        await after.until(() => after.values(0).length === 1);
        expect(after.values(0)).toEqual(['c']);
        expect(after.restored.get(0)!.rows).toEqual({ seen: '2' });
      });

      checkIf('fence', 'the commit of a fenced task is refused and leaves nothing', async () => {
        const world = await setUp();
        const source = await world.topic('source');
        const target = await world.topic('target');
        const group = world.group({ topics: [{ name: source, partitions: 'all' }] });
        const tasks = await world.join(group);
        const zombie = tasks.log(0);
        await zombie.commit(commitOf(changes({ a: 'ours' })));
        await world.fixture.fence!(group, 0);
        const refusal = await failureOf(
          zombie.commit(commitOf(changes({ a: 'stale' }), [record(target, 0, 'k', 'stale')])),
        );
        expect(refusal.code).toBe('TASK_FENCED');
        expect((await failureOf(zombie.commit(commitOf(changes({ a: 'stale again' }))))).code).toBe('TASK_FENCED');
        await world.log.append([record(target, 0, 'k', 'later')]);
        expect(valuesOf(await world.collect(target, 1))).toEqual(['later']);
        await tasks.leave();
        const after = await world.join(group, { startAtRestored: true });
        expect(after.restored.get(0)!.rows).toEqual({ a: 'ours' });
      });

      for (const tookEffect of [false, true]) {
        const outcome = tookEffect ? 'took effect' : 'did not take effect';
        checkIf(
          'failNextCommit',
          `after an unknown commit that ${outcome} the task is gained anew and finds out`,
          async () => {
            const world = await setUp();
            const topic = await world.topic('unknown');
            const target = await world.topic('unknown-out');
            const group = world.group({ topics: [{ name: topic, partitions: 'all' }] });
            const tasks = await world.join(group, { startAtRestored: true });
            await world.log.append([record(topic, 0, 'k', 'in')]);
            await tasks.until(() => tasks.values(0).length === 1);
            const next = tasks.taken.at(-1)!.batch.nextOffset;
            const first = tasks.log(0);
            world.fixture.failNextCommit!(tookEffect);
            const commit = commitOf(changes({ a: '1' }), [record(target, 0, 'k', 'out')], { [`${topic}/0`]: next });
            expect((await failureOf(first.commit(commit))).code).toBe('COMMIT_UNKNOWN');
            await tasks.until(() => tasks.gainedTimes(0) === 2);
            expect(tasks.restored.get(0)!.rows).toEqual(tookEffect ? { a: '1' } : {});
            expect((await failureOf(first.commit(commit))).code).toBe('TASK_FENCED');
            if (!tookEffect) {
              await tasks.until(() => tasks.values(0).length === 2); // Delivered again, since it was not committed.
              await tasks.log(0).commit(commit);
            }
            await world.log.append([record(target, 0, 'k', 'end')]);
            expect(valuesOf(await world.collect(target, 2))).toEqual(['out', 'end']);
            expect(tasks.overlaps).toEqual([]);
          },
        );
      }
    });

    describe('leaving', () => {
      check('what was taken may be committed while a task is lost in order, and nothing later', async () => {
        const world = await setUp();
        const topic = await world.topic('leave');
        const group = world.group({ topics: [{ name: topic, partitions: 'all' }] });
        const tasks = await world.join(group, {
          losing: async (task) => {
            await task.commit(commitOf(changes({ last: `${task.partition}` })));
          },
        });
        const old = tasks.log(1);
        await tasks.leave();
        expect(tasks.losses.map((each) => each.task).sort()).toEqual([0, 1, 2]);
        expect(tasks.losses.every((each) => each.orderly)).toBe(true);
        await tasks.membership.done;
        expect((await failureOf(old.commit(commitOf(changes({ last: 'too late' }))))).code).toBe('TASK_FENCED');
        await world.log.append([record(topic, 1, 'k', 'after')]);
        const after = await world.join(group, { startAtRestored: true });
        await after.until(() => after.values(1).length === 1);
        for (const task of [0, 1, 2]) expect(after.restored.get(task)!.rows).toEqual({ last: `${task}` });
        expect(tasks.values()).toEqual([]);
      });

      check('a task is told that it is to leave while it still takes a batch', async () => {
        const world = await setUp();
        const topic = await world.topic('told');
        const gate = gateOf();
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }), {
          taking: (partition) => (partition === 1 ? gate.passed : undefined),
        });
        await world.log.append([record(topic, 1, 'k', 'held')]);
        await tasks.until(() => tasks.values(1).length === 1);
        const left = tasks.leave();
        await tasks.until(() => tasks.told.some(({ task }) => task === 1));
        expect(tasks.told.find(({ task }) => task === 1)).toEqual({ task: 1, orderly: true });
        expect(tasks.losses.map(({ task }) => task)).not.toContain(1);
        gate.open();
        await left;
        expect(tasks.losses).toContainEqual({ task: 1, orderly: true });
      });

      check('leaving waits for the batch that is being taken', async () => {
        const world = await setUp();
        const topic = await world.topic('finish');
        const gate = gateOf();
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }), {
          taking: () => gate.passed,
        });
        await world.log.append([record(topic, 0, 'k', 'slow')]);
        await tasks.until(() => tasks.values(0).length === 1);
        const leaving = tasks.leave();
        expect(tasks.losses.some((each) => each.task === 0)).toBe(false);
        gate.open();
        await leaving;
        expect(tasks.losses.find((each) => each.task === 0)).toEqual({ task: 0, orderly: true });
        expect(tasks.overlaps).toEqual([]);
      });
    });

    describe('restoring', () => {
      check('a task is told for how long its changelog keeps removals', async () => {
        const world = await setUp();
        const topic = await world.topic('removals');
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }));
        for (const task of [0, 1, 2]) expect(tasks.log(task).removalsKeptMs).toBeGreaterThanOrEqual(24 * HOUR_MS);
      });

      check('a task that never committed restores nothing', async () => {
        const world = await setUp();
        const topic = await world.topic('fresh');
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }));
        expect((await restore(tasks.log(2), 0)).history).toEqual([]);
      });

      check('all changes come in order, in pages that say how far they reach', async () => {
        const world = await setUp();
        const topic = await world.topic('pages');
        const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }));
        const wanted: string[] = [];
        for (let commit = 0; commit < 20; commit++) {
          const changed: Change[] = [];
          for (let i = 0; i < 500; i++) {
            const value = i % 9 === 8 ? undefined : `${commit}`;
            changed.push({ key: `row-${i}`, value: value === undefined ? undefined : Buffer.from(value) });
            wanted.push(value === undefined ? `row-${i}` : `row-${i}=${value}`);
          }
          await tasks.log(0).commit(commitOf(changed));
        }
        const restored = await restore(tasks.log(0), 0);
        expect(restored.history).toEqual(wanted);
        let from = 0;
        for (const page of restored.pages) {
          expect(page.next).toBeGreaterThan(from);
          expect(page.end).toBeGreaterThanOrEqual(page.next);
          from = page.next;
        }
        expect(restored.end).toBeGreaterThanOrEqual(from);
        // From the end of any page on, exactly the rest comes.
        const middle = restored.pages[Math.floor(restored.pages.length / 2)]!;
        const before = restored.pages.slice(0, restored.pages.indexOf(middle) + 1).flatMap((page) => page.history);
        expect((await restore(tasks.log(0), middle.next)).history).toEqual(wanted.slice(before.length));
      });

      checkIf('compact', 'a compacted changelog restores the same rows, from its start and from any mark', async () => {
        const world = await setUp();
        const topic = await world.topic('compacted');
        const group = world.group({ topics: [{ name: topic, partitions: 'all' }] });
        const tasks = await world.join(group);
        const marks: { offset: Offset; rows: Record<string, string> }[] = [];
        const rows: Record<string, string> = {};
        for (let commit = 0; commit < 40; commit++) {
          const changed: Record<string, string | undefined> = {};
          for (let i = 0; i < 20; i++) {
            const key = `row-${(commit * 13 + i * 7) % 50}`;
            const value = (commit + i) % 6 === 0 ? undefined : `${commit}-${i}`;
            changed[key] = value;
            if (value === undefined) delete rows[key];
            else rows[key] = value;
          }
          const offset = await tasks.log(0).commit(commitOf(changes(changed), [], { [`${topic}/0`]: commit }));
          marks.push({ offset, rows: { ...rows } });
        }
        await world.fixture.compact!(world.changelog(group));
        const whole = await restore(tasks.log(0), 0);
        expect(whole.rows).toEqual(rows);
        expect(whole.inputs).toEqual({ [`${topic}/0`]: 39 });
        expect(whole.end).toBeGreaterThanOrEqual(marks.at(-1)!.offset);
        for (const mark of marks) {
          expect((await restore(tasks.log(0), mark.offset, mark.rows)).rows).toEqual(rows);
        }
      });
    });

    describe('following', () => {
      for (const from of ['earliest', 'latest'] as const) {
        check(`an empty topic is caught up at once, from the ${from}`, async () => {
          const world = await setUp();
          const topic = await world.topic('empty');
          const follower = await world.follow(topic, from);
          await follower.caughtUp;
          await world.log.append([record(topic, 1, 'k', 'later')]);
          await follower.until(() => follower.values().length === 1);
          expect(follower.values()).toEqual(['later']);
        });
      }

      check('from the earliest, caught up means that all there was has been handed over', async () => {
        const world = await setUp();
        const topic = await world.topic('history');
        const records = Array.from({ length: 600 }, (_, i) => record(topic, i % PARTITIONS, `k${i}`, `${i}`));
        await world.log.append(records);
        const follower = await world.follow(topic, 'earliest');
        await follower.caughtUp;
        expect(follower.values().length).toBe(600);
        await world.log.append([record(topic, 0, 'k', 'new')]);
        await follower.until(() => follower.values().includes('new'));
        expect(follower.values().length).toBe(601);
      });

      check('from the latest, only what comes later is handed over', async () => {
        const world = await setUp();
        const topic = await world.topic('news');
        await world.log.append([0, 1, 2].map((partition) => record(topic, partition, 'k', 'old')));
        const follower = await world.follow(topic, 'latest');
        await follower.caughtUp;
        await world.log.append([0, 1, 2].map((partition) => record(topic, partition, 'k', 'new')));
        await follower.until(() => follower.values().length === 3);
        expect(follower.values()).toEqual(['new', 'new', 'new']);
      });

      check('a slow taker gets one batch at a time, and nothing after close', async () => {
        const world = await setUp();
        const topic = await world.topic('slow');
        const gate = gateOf();
        const follower = await world.follow(topic, 'earliest', () => gate.passed);
        await follower.caughtUp;
        await world.log.append([record(topic, 0, 'k', 'first')]);
        await follower.until(() => follower.values().length === 1);
        await world.log.append([record(topic, 0, 'k', 'second')]);
        expect(follower.values()).toEqual(['first']);
        gate.open();
        await follower.until(() => follower.values().length === 2);
        await follower.close();
        await world.log.append([record(topic, 0, 'k', 'third')]);
        expect(valuesOf(await world.collect(topic, 3))).toEqual(['first', 'second', 'third']);
        expect(follower.values()).toEqual(['first', 'second']);
      });

      checkIf(
        'compact',
        'after compaction a reader from the start is caught up and knows the last value of each key',
        async () => {
          const world = await setUp();
          const topic = await world.topic('table', { cleanup: 'compact' });
          for (let round = 0; round < 30; round++) {
            await world.log.append(
              Array.from({ length: 10 }, (_, i) => record(topic, i % PARTITIONS, `k${i}`, `${round}`)),
            );
          }
          await world.log.append([{ topic, partition: 0, key: 'k0', value: null }]);
          await world.fixture.compact!(topic);
          const follower = await world.follow(topic, 'earliest');
          await follower.caughtUp;
          const table = new Map<string, string>();
          for (const each of follower.batches.flatMap((batch) => batch.records)) {
            if (each.value === null) table.delete(String(each.key));
            else table.set(String(each.key), String(each.value));
          }
          const wanted = Array.from({ length: 9 }, (_, i) => [`k${i + 1}`, '29'] as const);
          expect([...table].sort()).toEqual(wanted);
        },
      );
    });

    describe('restarting', () => {
      checkIf('restart', 'records, changelogs and topics are as they were', async () => {
        const world = await setUp();
        const topic = await world.topic('durable');
        const group = world.group({ topics: [{ name: topic, partitions: 'all' }] });
        await world.log.append(['a', 'b'].map((value) => record(topic, 1, 'k', value)));
        const before = await world.join(group);
        await before.until(() => before.values(1).length === 2);
        const next = before.taken.at(-1)!.batch.nextOffset;
        const end = await before
          .log(1)
          .commit(commitOf(changes({ seen: '2' }), [record(topic, 1, 'k', 'c')], { [`${topic}/1`]: next }));
        await before.leave();
        await world.restart();
        await world.log.prepare([world.shape('durable')]);
        expect(valuesOf(await world.collect(topic, 3))).toEqual(['a', 'b', 'c']);
        const after = await world.join(group, { startAtRestored: true });
        await after.until(() => after.values(1).length === 1);
        expect(after.values(1)).toEqual(['c']);
        expect(after.restored.get(1)!.rows).toEqual({ seen: '2' });
        expect(await after.log(1).commit(commitOf(changes({ seen: '3' })))).toBeGreaterThan(end);
        await world.log.append([record(topic, 1, 'k', 'd')]);
        await after.until(() => after.values(1).length === 2);
        expect(after.values(1)).toEqual(['c', 'd']);
      });
    });

    check('the log is well, and closing it ends its groups in order', async () => {
      const world = await setUp();
      const topic = await world.topic('close');
      const tasks = await world.join(world.group({ topics: [{ name: topic, partitions: 'all' }] }));
      expect(world.log.health().ok).toBe(true);
      await tasks.leave();
      await world.log.close();
      expect(world.log.health().ok).toBe(false);
    });
  });
}

// ---- what the tests say it with ------------------------------------------------------------------------------------

/** Things that happen, and promises that wait until enough of them have. */
class Happenings {
  readonly #waiting: { condition: () => boolean; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #failure: unknown;

  protected changed(): void {
    for (const each of [...this.#waiting]) {
      if (!each.condition()) continue;
      this.#waiting.splice(this.#waiting.indexOf(each), 1);
      each.resolve();
    }
  }

  protected failed(error: unknown): void {
    this.#failure = error;
    for (const each of this.#waiting.splice(0)) each.reject(error);
  }

  /** Resolves once the condition holds; rejects when it no longer can. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    if (this.#failure !== undefined) throw this.#failure;
    await new Promise<void>((resolve, reject) => this.#waiting.push({ condition, resolve, reject }));
  }
}

interface TasksOptions {
  /** What `gained` returns. */
  readonly start?: (partition: Partition) => Record<string, Offset>;
  /** Restores first, and starts at the restored inputs. */
  readonly startAtRestored?: boolean;
  readonly taking?: (partition: Partition, batch: Batch) => Promise<void> | undefined;
  readonly losing?: (task: TaskLog) => Promise<void>;
}

/** A handler that writes down all that happens to it. */
class Tasks extends Happenings implements TaskHandler {
  readonly logs = new Map<Partition, TaskLog>();
  readonly taken: { task: Partition; batch: Batch }[] = [];
  readonly told: { task: Partition; orderly: boolean }[] = [];
  readonly losses: { task: Partition; orderly: boolean }[] = [];
  readonly restored = new Map<Partition, Restored>();
  readonly overlaps: string[] = [];
  membership!: Membership;
  readonly #inside = new Map<Partition, string>();
  readonly #gains = new Map<Partition, number>();
  readonly #options: TasksOptions;
  #left = false;

  constructor(options: TasksOptions) {
    super();
    this.#options = options;
  }

  joined(membership: Membership): void {
    this.membership = membership;
    membership.done.catch((error) => this.failed(error));
  }

  gained(task: TaskLog): Promise<Readonly<Record<string, Offset>>> {
    return this.#alone(task, 'gained', async () => {
      let inputs = this.#options.start?.(task.partition) ?? {};
      if (this.#options.startAtRestored) {
        const restored = await restore(task, 0);
        this.restored.set(task.partition, restored);
        inputs = restored.inputs;
      }
      this.logs.set(task.partition, task);
      this.#gains.set(task.partition, this.gainedTimes(task.partition) + 1);
      return inputs;
    });
  }

  records(task: TaskLog, batch: Batch): Promise<void> {
    return this.#alone(task, 'records', async () => {
      this.taken.push({ task: task.partition, batch });
      this.changed();
      await this.#options.taking?.(task.partition, batch);
    });
  }

  leaving(task: TaskLog, orderly: boolean): void {
    this.told.push({ task: task.partition, orderly });
    this.changed();
  }

  lost(task: TaskLog, orderly: boolean): Promise<void> {
    return this.#alone(task, 'lost', async () => {
      this.losses.push({ task: task.partition, orderly });
      if (orderly) await this.#options.losing?.(task);
    });
  }

  log(task: Partition): TaskLog {
    return this.logs.get(task)!;
  }

  gainedTimes(task: Partition): number {
    return this.#gains.get(task) ?? 0;
  }

  /** The values taken so far, in order: of one task, or of all. */
  values(task?: Partition): string[] {
    return valuesOf(this.taken.filter((each) => task === undefined || each.task === task).map((each) => each.batch));
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    await this.membership.leave(30_000);
  }

  async #alone<Result>(task: TaskLog, call: string, body: () => Promise<Result>): Promise<Result> {
    const other = this.#inside.get(task.partition);
    if (other !== undefined) this.overlaps.push(`task ${task.partition}: ${call} during ${other}`);
    this.#inside.set(task.partition, call);
    try {
      return await body();
    } finally {
      this.#inside.delete(task.partition);
      this.changed();
    }
  }
}

/** A follower that keeps what it was handed. */
class Followed extends Happenings {
  readonly batches: Batch[] = [];
  caughtUp!: Promise<void>;
  close!: () => Promise<void>;

  take(batch: Batch): void {
    this.batches.push(batch);
    this.changed();
  }

  values(): string[] {
    return valuesOf(this.batches);
  }
}

/** One test's log and names. */
class World {
  readonly fixture: LogFixture;
  log: Log;
  readonly #unique: string;
  readonly #partitions: number;
  readonly #endings: (() => Promise<void>)[];

  constructor(fixture: LogFixture, unique: string, partitions: number, endings: (() => Promise<void>)[]) {
    this.fixture = fixture;
    this.log = fixture.log;
    this.#unique = unique;
    this.#partitions = partitions;
    this.#endings = endings;
  }

  shape(name: string, shape: Partial<TopicShape> = {}): TopicShape {
    return {
      name: `${name}-${this.#unique}`,
      partitions: this.#partitions,
      cleanup: 'delete',
      retentionMs: HOUR_MS,
      ...shape,
    };
  }

  async topic(name: string, shape: Partial<TopicShape> = {}): Promise<string> {
    const whole = this.shape(name, shape);
    await this.log.prepare([whole]);
    return whole.name;
  }

  group(parts: Partial<GroupSpec> & Pick<GroupSpec, 'topics'>): GroupSpec {
    return { name: `group-${this.#unique}`, gathers: false, address: '', ...parts };
  }

  changelog(group: GroupSpec): string {
    return `app-${this.#unique}-${group.name}-changelog`;
  }

  /** Joins, and waits until every task is ours. */
  async join(group: GroupSpec, options: TasksOptions = {}): Promise<Tasks> {
    const tasks = new Tasks(options);
    tasks.joined(await this.log.join(group, tasks));
    this.#endings.push(() => tasks.leave());
    const count = group.gathers ? 1 : this.#partitions;
    await tasks.until(() => tasks.logs.size === count);
    return tasks;
  }

  async follow(
    topic: string,
    from: 'earliest' | 'latest',
    taking?: (batch: Batch) => Promise<void> | undefined,
  ): Promise<Followed> {
    const followed = new Followed();
    const follower = await this.log.follow(topic, from, async (batch) => {
      followed.take(batch);
      await taking?.(batch);
    });
    followed.caughtUp = follower.caughtUp;
    followed.close = () => follower.close();
    this.#endings.push(() => follower.close());
    return followed;
  }

  /** The first `count` records of a topic, as they were handed to a follower of their own. */
  async collect(topic: string, count: number): Promise<Batch[]> {
    const followed = await this.follow(topic, 'earliest');
    await followed.until(() => followed.values().length >= count);
    await followed.close();
    return followed.batches;
  }

  async restart(): Promise<void> {
    this.log = await this.fixture.restart!();
  }
}

interface Restored {
  readonly rows: Record<string, string>;
  readonly inputs: Record<string, Offset>;
  /** `key=value`, or `key` for a removal, in order, without the mark. */
  readonly history: string[];
  readonly pages: { history: string[]; next: Offset; end: Offset }[];
  readonly end: Offset;
}

async function restore(task: TaskLog, from: Offset, base: Record<string, string> = {}): Promise<Restored> {
  const rows = { ...base };
  const pages: Restored['pages'] = [];
  let inputs: Record<string, Offset> = {};
  const end = await task.restore(from, async (page, next, pageEnd) => {
    const history: string[] = [];
    for (const change of page) {
      if (change.key === MARK_KEY) {
        inputs = JSON.parse(String(change.value));
      } else if (change.value === undefined) {
        history.push(change.key);
        delete rows[change.key];
      } else {
        history.push(`${change.key}=${change.value}`);
        rows[change.key] = String(change.value);
      }
    }
    pages.push({ history, next, end: pageEnd });
  });
  return { rows, inputs, history: pages.flatMap((page) => page.history), pages, end };
}

/** A commit as the runner makes it: the task's inputs lie among its changes, under MARK_KEY. */
function commitOf(
  changed: readonly Change[],
  outputs: readonly OutRecord[] = [],
  inputs: Record<string, Offset> = {},
): Commit {
  return { changelog: [...changed, { key: MARK_KEY, value: Buffer.from(JSON.stringify(inputs)) }], outputs, inputs };
}

const changes = (rows: Record<string, string | undefined>): Change[] =>
  Object.entries(rows).map(([key, value]) => ({ key, value: value === undefined ? undefined : Buffer.from(value) }));

const record = (topic: string, partition: Partition, key: string, value: string): OutRecord => ({
  topic,
  partition,
  key,
  value: Buffer.from(value),
});

const valuesOf = (batches: readonly Batch[]): string[] =>
  batches.flatMap((batch) => batch.records.map((each) => String(each.value)));

async function failureOf(promise: Promise<unknown>): Promise<AppError & { code: ErrorCode }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('it was expected to fail, and did not');
}

function gateOf(): { passed: Promise<void>; open: () => void } {
  let open!: () => void;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}
