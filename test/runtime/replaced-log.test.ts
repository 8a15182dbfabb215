// A log that goes back: what was handed over before is gone from it, and other records have its offsets (ports.ts, Batch).

import { expect, test } from 'vitest';
import { type Input, jsonTable, type Step } from '../../processors/step.ts';
import { inlineFitter } from '../../runtime/inline-fitter.ts';
import type { Commit, TaskLog } from '../../runtime/ports.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { Task } from '../../runtime/task.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import { subscriptions } from '../../topology/topics.ts';
import { CountingMeter } from '../support/drive.ts';

test('records under offsets that were read before are stepped, and no duplicates, where the log goes back', async () => {
  const stepped: string[] = [];
  const step: Step<Input<'subscriptions', SubscriptionEvent>, number, never> = (_rows, { value }) => {
    stepped.push(value.clientId);
    return [];
  };
  const { groups } = defineTopology(
    [stage('see', { reads: [subscriptions], keeps: jsonTable<number>('seen'), emits: [], step })],
    { inputs: [subscriptions] },
  );
  const commits: Commit[] = [];
  const log: TaskLog = {
    group: 'work',
    partition: 0,
    removalsKeptMs: 1e9,
    restore: async () => 0,
    commit: async (commit) => commits.push(commit),
  };
  const meter = new CountingMeter();
  const task = new Task(
    groups[0]!,
    log,
    {
      codec: jsonCodec,
      stores: memoryFolder(),
      effects: { perform: async () => [] },
      fitter: inlineFitter,
      clock: new SimulatedClock(1_000),
      logger: silentLogger,
      meter,
    },
    { partitions: 1, commitIntervalMs: 0, commitRecordsMax: 1, effectRetryMs: 1 },
    { eventTime: () => {}, filesDeadLetters: () => true },
  );
  await task.restore();
  const batch = (from: number, clients: readonly string[], restartsAt?: number) => ({
    topic: 'subscriptions',
    partition: 0,
    records: clients.map((clientId, i) => ({
      offset: from + i,
      key: Buffer.from('a'),
      value: jsonCodec.encode('SubscriptionEvent', {
        ...{ action: 'SUBSCRIBE', topicFilter: 'a', clientId, brokerId: 'b', qos: 0, timestamp: eventTime(1_000) },
      } as SubscriptionEvent),
      timestamp: 1_000,
      headers: undefined,
    })),
    nextOffset: from + clients.length,
    endOffset: from + clients.length,
    ...(restartsAt === undefined ? {} : { restartsAt }),
  });
  await task.take(batch(0, ['one', 'two', 'three', 'four']));
  await task.take(batch(2, ['three', 'four']));
  await task.take(batch(2, ['other'], 2));
  await task.take(batch(3, ['last']));
  await task.stop(true);
  expect(stepped).toEqual(['one', 'two', 'three', 'four', 'other', 'last']);
  expect(meter.sum('foreshard_duplicate_total')).toBe(2);
  expect(commits.map(({ inputs }) => inputs['subscriptions/0'])).toEqual([4, 4, 3, 4]);
});
