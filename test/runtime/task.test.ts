// A task by itself, with a log that fails where it is told to.

import { expect, test } from 'vitest';
import { type Input, jsonTable, type Step, type Tick } from '../../processors/step.ts';
import { inlineFitter } from '../../runtime/inline-fitter.ts';
import { type Commit, MARK_KEY, type TaskLog } from '../../runtime/ports.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { Task } from '../../runtime/task.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { eventTime, shardId } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import type { Effect, Outcome } from '../../state/effects.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import { clock as clockTopic, effects, outcomes, subscriptions } from '../../topology/topics.ts';
import { CountingMeter } from '../support/drive.ts';

/** Every tick is something to commit. */
const step: Step<Input<'subscriptions', SubscriptionEvent> | Input<'clock', Tick>, number, never> = (rows) => {
  rows.set('steps', (rows.get('steps') ?? 0) + 1);
  return [];
};
const topology = defineTopology(
  [stage('count', { reads: [subscriptions, clockTopic], keeps: jsonTable<number>('steps'), emits: [], step })],
  { inputs: [subscriptions] },
);

test('a task that could not be restored commits nothing, though it is told the time and stopped in order', async () => {
  const clock = new SimulatedClock(1_700_000_000_000);
  const stores = memoryFolder();
  const inputs = { 'subscriptions/0': 7 };
  const store = await stores.open('work-0');
  await store.write([], { changelog: 3, inputs, writtenAt: clock.now() });
  await store.close();
  const commits: Commit[] = [];
  let fails = true;
  const log: TaskLog = {
    group: 'work',
    partition: 0 as never,
    removalsKeptMs: 86_400_000,
    async restore(_from, page) {
      if (fails) throw new AppError('LOG_UNAVAILABLE', 'Kafka went away');
      await page([{ key: MARK_KEY, value: Buffer.from(JSON.stringify({ inputs: { 'subscriptions/0': 9 } })) }], 4, 4);
      return 4;
    },
    async commit(commit) {
      commits.push(commit);
      return 5;
    },
  };
  const taskOf = (): Task =>
    new Task(
      topology.groups[0]!,
      log,
      {
        ...{ stores, clock, codec: jsonCodec, logger: silentLogger, meter: new CountingMeter() },
        ...{ fitter: inlineFitter, effects: { perform: async () => [] } },
      },
      { partitions: 1, commitRecordsMax: 1, commitIntervalMs: 0, effectRetryMs: 1 },
      { eventTime: () => {}, filesDeadLetters: () => true },
    );
  const tick: Tick = { wallTime: clock.now(), eventTime: eventTime(0), pointerEpoch: 0 as never };

  const failed = taskOf();
  const restored = failed.restore();
  const told = failed.tick(tick); // It comes before anybody knows that the restore has failed.
  await expect(restored).rejects.toThrow('Kafka went away');
  await told;
  await failed.stop(true);
  expect(commits).toEqual([]);

  fails = false;
  const next = taskOf();
  expect(await next.restore()).toEqual({ 'subscriptions/0': 9 });
  await next.tick(tick);
  expect(commits.map((commit) => commit.inputs)).toEqual([{ 'subscriptions/0': 9 }]);
  await next.stop(true);
});

test('the commit that counts a start tells the log no positions, and keeps them in the changelog', async () => {
  const clock = new SimulatedClock(1_700_000_000_000);
  const release = { kind: 'release', shard: shardId('shard-1') } as const;
  const asks: Step<
    Input<'clock', Tick> | Input<'outcomes', Outcome>,
    number,
    { topic: 'effects'; key: string; value: Effect }
  > = (_rows, input) => (input.topic === 'clock' ? [{ topic: 'effects', key: '', value: release }] : []);
  const { groups } = defineTopology(
    [
      stage('count', { reads: [subscriptions], keeps: jsonTable<number>('steps'), emits: [], step: () => [] }),
      stage('apply', {
        reads: [clockTopic, outcomes],
        keeps: jsonTable<number>('asked'),
        emits: [effects],
        step: asks,
      }),
    ],
    { inputs: [subscriptions] },
  );
  const stores = memoryFolder();
  const store = await stores.open('work-0');
  const inputs = { 'subscriptions/0': 7 };
  await store.write([], { changelog: 3, inputs, writtenAt: clock.now(), starts: 4 });
  await store.close();
  const commits: Commit[] = [];
  const before: number[] = []; // Commits before each effect.
  const log: TaskLog = {
    ...{ group: 'work', partition: 0 as never, removalsKeptMs: 86_400_000 },
    restore: async () => 3,
    commit: async (commit) => 3 + commits.push(commit),
  };
  const task = new Task(
    groups.find(({ name }) => name === 'work')!,
    log,
    {
      ...{ stores, clock, codec: jsonCodec, logger: silentLogger, meter: new CountingMeter(), fitter: inlineFitter },
      effects: {
        perform: async () => {
          before.push(commits.length);
          return [];
        },
      },
    },
    { partitions: 1, commitRecordsMax: 1, commitIntervalMs: 0, effectRetryMs: 1 },
    { eventTime: () => {}, filesDeadLetters: () => true },
  );
  await task.restore();
  await task.tick({ wallTime: clock.now(), eventTime: eventTime(0), pointerEpoch: 0 as never });
  await task.stop(true);
  expect(before).toEqual([1]);
  expect(commits.map((commit) => commit.inputs)).toEqual([{}, inputs]);
  const marks = commits.map(({ changelog }) =>
    JSON.parse(String(changelog.find(({ key }) => key === MARK_KEY)!.value)),
  );
  expect(marks).toEqual([
    { inputs, incarnation: 0, starts: 5 },
    { inputs, incarnation: 0, starts: 5 },
  ]);
});

test('a task commits although the clock of its host has been set back by an hour', async () => {
  let now = 1_700_000_000_000;
  const clock = { now: () => now, every: () => () => {}, sleep: async () => {} };
  const commits: Commit[] = [];
  const log: TaskLog = {
    group: 'work',
    partition: 0 as never,
    removalsKeptMs: 86_400_000,
    async restore() {
      return 0;
    },
    async commit(commit) {
      commits.push(commit);
      return commits.length;
    },
  };
  const task = new Task(
    topology.groups[0]!,
    log,
    {
      ...{ stores: memoryFolder(), clock, codec: jsonCodec, logger: silentLogger, meter: new CountingMeter() },
      ...{ fitter: inlineFitter, effects: { perform: async () => [] } },
    },
    { partitions: 1, commitRecordsMax: 1_000, commitIntervalMs: 500, effectRetryMs: 1 },
    { eventTime: () => {}, filesDeadLetters: () => true },
  );
  await task.restore();
  const tickAfter = async (ms: number): Promise<number> => {
    now += ms;
    const before = commits.length;
    await task.tick({ wallTime: now, eventTime: eventTime(0), pointerEpoch: 0 as never });
    return commits.length - before;
  };
  await tickAfter(600);
  expect(await tickAfter(100)).toBe(0);
  expect(await tickAfter(-3_600_000)).toBe(1);
  expect(await tickAfter(100)).toBe(0);
  expect(await tickAfter(500)).toBe(1);
  await task.stop(true);
});
