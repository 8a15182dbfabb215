import { expect, test } from 'vitest';
import { isSpilled, subscriptionAt } from '../../../processors/apply/subscriptions.ts';
import { ApplyOnStores } from './apply-on-stores.ts';

const HOUR = 3_600_000;

/** Filters of the table, those of ended subscriptions too. */
async function remembered(task: ApplyOnStores): Promise<string[]> {
  const rows = await task.tableRows();
  return rows
    .flatMap(([key, row]) => (isSpilled(row) ? [] : `${subscriptionAt(key).filter}${row.removed ? ' ended' : ''}`))
    .sort();
}

for (const checkRowsPerSecond of [0, 500])
  for (const { name, keeps } of [
    { name: 'a whole table', keeps: true },
    { name: 'one that is not', keeps: false },
  ])
    test(`what ended with its session is forgotten after a time: ${name}, ${checkRowsPerSecond} rows/s checked`, async () => {
      const settings = { checkRowsPerSecond, fillRowsPerSecond: 0, tombstoneMs: HOUR };
      const task = await ApplyOnStores.start(settings, undefined, keeps);
      try {
        if (!keeps) task.restart(true);
        const say = (action: 'SUBSCRIBE' | 'UNSUBSCRIBE', filter: string, sessionEpoch: number, timestamp: number) =>
          task.batch([task.inputOf(action, filter, 'x', 'A', { sessionEpoch, timestamp: timestamp as never })]);
        for (const filter of ['a', 'a/+', 'b', 'c']) await say('SUBSCRIBE', filter, 5, 1_000);
        for (const filter of ['a', 'a/+']) await say('UNSUBSCRIBE', filter, 5, 2_000);
        await say('UNSUBSCRIBE', 'b', 5, 2_000_000);
        expect(await remembered(task)).toEqual(['a ended', 'a/+ ended', 'b ended', 'c']);
        await task.tick(200, 2_000);
        expect(await remembered(task)).toEqual(['a ended', 'a/+ ended', 'b ended', 'c']); // The events’ clock stands still.
        await task.tick(200, 10 * HOUR);
        expect(await remembered(task)).toEqual(['a ended', 'a/+ ended', 'b ended', 'c']); // It is ahead of the host’s.
        await task.tick(2_500, 10 * HOUR);
        expect(await remembered(task)).toEqual(['b ended', 'c']);
        expect(task.tabled).toContainEqual(['a\u0000x', false]);
        await task.tick(2_000, 10 * HOUR);
        expect(await remembered(task)).toEqual(['c']);
      } finally {
        await task.close();
      }
    });
