// Local state that is older than what its changelog remembers (task.ts K8): a row that was removed meanwhile must not be
// there again, although the changelog no longer says that it went.

import { afterEach, describe, expect, test } from 'vitest';
import { byKey, type Input, jsonTable } from '../../processors/step.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import type { Change, Mark, StoreFolder } from '../../state/store.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import { subscriptions } from '../../topology/topics.ts';
import { type Drive, drive } from '../support/drive.ts';

const DAY_MS = 86_400_000;
const KEPT_MS = 8 * DAY_MS;
const START = 1_700_000_000_000;

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

/** Keeps a row for each filter that has a subscription. */
const topology = defineTopology(
  [
    stage('keep', {
      reads: [subscriptions],
      keeps: jsonTable<number>('live'),
      emits: [],
      step: byKey<Input<'subscriptions', SubscriptionEvent>, number, never>(
        ({ key }) => key,
        (_row, { value }) => ({ row: value.action === 'SUBSCRIBE' ? 1 : undefined, emit: [] }),
      ),
    }),
  ],
  { inputs: [subscriptions] },
);

const CLIENT = { clientId: 'c', brokerId: 'b', qos: 0, timestamp: eventTime(1) };

async function send(run: Drive, action: SubscriptionEvent['action'], topicFilter: string): Promise<void> {
  await run.send(subscriptions, topicFilter, { ...CLIENT, action, topicFilter });
}

/** A copy of the task's store as it is now, with its mark as given. */
async function copyOf(run: Drive, markOf: (mark: Mark) => Mark = (mark) => mark): Promise<StoreFolder> {
  const stores = memoryFolder();
  const copy = await stores.open('work-0');
  const store = await run.stores.open('work-0');
  const changes: Change[] = [];
  for await (const [key, value] of store.entries('')) changes.push({ key, value });
  await copy.write(changes, markOf((await store.mark())!));
  return stores;
}

const filtersOf = (run: Drive): string[] => [...run.running.rows('work', 'live')].map(([filter]) => filter).sort();

/** Subscribes to a and b; copies the store; unsubscribes from a. The changelog remembers that or not. */
async function history(removals: 'kept' | 'dropped', markOf?: (mark: Mark) => Mark) {
  const first = await drive(topology, { start: START, removalsKeptMs: KEPT_MS });
  for (const filter of ['a', 'b']) await send(first, 'SUBSCRIBE', filter);
  const stores = await copyOf(first, markOf);
  await send(first, 'UNSUBSCRIBE', 'a');
  await first.stop();
  first.log.compact('drive-work-changelog', removals);
  return { storage: first.log.storage, stores, current: first.stores };
}

async function reopened(parts: Awaited<ReturnType<typeof history>>, stores: StoreFolder, days: number): Promise<Drive> {
  const start = START + days * DAY_MS;
  const run = await drive(topology, { start, storage: parts.storage, stores, removalsKeptMs: KEPT_MS });
  cleanUps.push(() => run.stop());
  return run;
}

describe('local state', () => {
  for (const days of [6.1, 8, 400])
    test(`that is ${days} days behind a changelog of 8 is made anew, and what was removed stays away`, async () => {
      const parts = await history('dropped');
      const run = await reopened(parts, parts.stores, days);
      expect(filtersOf(run)).toEqual(['b']);
      await send(run, 'SUBSCRIBE', 'c');
      expect(filtersOf(run)).toEqual(['b', 'c']);
    });

  test('that is less behind is caught up by what it lacks alone', async () => {
    const parts = await history('kept');
    const run = await reopened(parts, parts.stores, 5.9);
    expect(filtersOf(run)).toEqual(['b']);
    expect(run.meter.sum('foreshard_restored_records_total')).toBe(2); // The removal and the positions.
  });

  test('that lacks nothing is trusted however old it is', async () => {
    const parts = await history('dropped');
    const run = await reopened(parts, parts.current, 400);
    expect(filtersOf(run)).toEqual(['b']);
    expect(run.meter.sum('foreshard_restored_records_total')).toBe(0);
  });

  for (const { name, markOf } of [
    {
      name: 'of an earlier release, which does not say when it was written',
      markOf: ({ writtenAt: _, ...mark }: Mark): Mark => mark,
    },
    {
      name: 'written by a clock that was a year ahead',
      markOf: (mark: Mark) => ({ ...mark, writtenAt: START + 365 * DAY_MS }),
    },
  ])
    test(`${name}, is made anew when it is behind`, async () => {
      const parts = await history('dropped', markOf);
      const run = await reopened(parts, parts.stores, 1);
      expect(filtersOf(run)).toEqual(['b']);
    });

  test('that is read page by page is as young as the last page', async () => {
    const parts = await history('kept');
    const young = await reopened(parts, parts.stores, 5.9);
    await send(young, 'UNSUBSCRIBE', 'b');
    const stores = await copyOf(young);
    await send(young, 'SUBSCRIBE', 'd');
    const run = await reopened(parts, stores, 11.8);
    expect(filtersOf(run)).toEqual(['d']);
    expect(run.meter.sum('foreshard_restored_records_total')).toBe(2);
  });
});
