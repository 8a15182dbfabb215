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
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import { clock as clockTopic, subscriptions } from '../../topology/topics.ts';
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
