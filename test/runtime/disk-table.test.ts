import { describe, expect, test } from 'vitest';
import { jsonTable, NEEDS_NOTHING, type Page } from '../../processors/step.ts';
import { DiskTable } from '../../runtime/disk-table.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import type { Change, Store } from '../../state/store.ts';
import { compareUtf8 } from '../../state/utf8.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import { progress, subscriptions } from '../../topology/topics.ts';
import { drive } from '../support/drive.ts';
import { MemoryStorage } from '../support/memory-log.ts';
import { fc } from '../support/property.ts';

describe('rows on disk', () => {
  test('are those of a map in order, whatever is written, committed, cached or asked for in pages', async () => {
    const key = fc.constantFrom('', 'a', 'a/', 'a/b', 'a/\ufffd', 'a/😀', 'b', 'b/1', 'b/2', 'b/3', '\u0000');
    const action = fc.oneof(
      fc.record({ is: fc.constant('set' as const), key, value: fc.integer() }),
      fc.record({ is: fc.constant('delete' as const), key }),
      fc.record({ is: fc.constant('commit' as const) }),
      fc.record({
        is: fc.constant('page' as const),
        prefix: fc.constantFrom('', 'a', 'a/', 'b/'),
        after: fc.option(key, { nil: undefined }),
        limit: fc.integer({ min: 1, max: 4 }),
        // What is written between reading and stepping, by the steps of the same batch.
        late: fc.array(fc.record({ key, value: fc.option(fc.integer(), { nil: undefined }) }), { maxLength: 3 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
        const store = await memoryFolder().open('work-0');
        const table = diskTable(store);
        const model = new Map<string, number>();
        const put = (at: string, value: number | undefined): void => {
          if (value === undefined) {
            table.delete(at);
            model.delete(at);
          } else {
            table.set(at, value);
            model.set(at, value);
          }
        };
        for (const each of actions) {
          if (each.is === 'commit') await commit(store, table);
          else if (each.is !== 'page') put(each.key, each.is === 'set' ? each.value : undefined);
          else {
            const { late, prefix, after, limit } = each;
            const page = { prefix, after, limit };
            await table.read([{ pages: [page], keys: ['a', 'b/2'] }]);
            for (const { key: at, value } of late) put(at, value);
            expect([table.get('a'), table.get('b/2')]).toEqual([model.get('a'), model.get('b/2')]);
            const expected = [...model]
              .filter(([at]) => at.startsWith(prefix) && (after === undefined || compareUtf8(at, after) > 0))
              .sort(([a], [b]) => compareUtf8(a, b));
            const found = table.page(page);
            expect(found.rows).toEqual(expected.slice(0, found.rows.length));
            if (found.done) expect(found.rows).toHaveLength(expected.length);
            else expect(found.last).toBeDefined();
          }
        }
        expect(await allOf(table)).toEqual([...model].sort(([a], [b]) => compareUtf8(a, b)));
      }),
    );
  });

  test('are read in one go, and not again while they are remembered', async () => {
    const store = await memoryFolder().open('work-0');
    const asked: (readonly string[])[] = [];
    const table = diskTable({
      getMany: (keys) => {
        asked.push(keys);
        return store.getMany(keys);
      },
      entries: (prefix, after) => store.entries(prefix, after),
    });
    await table.read([{ keys: ['a', 'b'] }, { keys: ['b', 'c'] }]);
    table.set('a', 1);
    await table.read([{ keys: ['a', 'b', 'd'] }]);
    expect(asked).toEqual([['test/a', 'test/b', 'test/c'], ['test/d']]);
  });

  test('keep no more in memory than what changed, what is needed, and a bounded rest', async () => {
    const store = await memoryFolder().open('work-0');
    let reads = 0;
    const table = diskTable({
      getMany: (keys) => {
        reads += keys.length;
        return store.getMany(keys);
      },
      entries: (prefix, after) => store.entries(prefix, after),
    });
    for (let i = 0; i < 30_000; i += 1_000)
      await table.read([{ keys: Array.from({ length: 1_000 }, (_, k) => `${i + k}`) }]);
    await table.read([{ keys: ['29999'] }]);
    expect(reads).toBe(30_000);
    await table.read([{ keys: ['0'] }]);
    expect(reads).toBe(30_001); // Forgotten long ago.
  });

  test('that a stage has not asked for are not taken for absent', async () => {
    const table = diskTable(await memoryFolder().open('work-0'));
    await table.read([{ keys: ['a'], pages: [{ prefix: 'a', limit: 1 }] }]);
    expect(() => table.get('b')).toThrow('a row of test that its stage has not asked for');
    expect(() => table.page({ prefix: 'a', limit: 2 })).toThrow('a page of test that its stage has not asked for');
  });
});

describe('a stage with rows on disk', () => {
  /** Tells how often it has seen each client, from its row on disk alone. */
  const topology = defineTopology(
    [
      stage('counting', {
        reads: [subscriptions],
        emits: [progress],
        onDisk: {
          table: jsonTable<number>('seen'),
          needs: (_rows, { value }) =>
            value.clientId === 'unknown' ? NEEDS_NOTHING : { keys: [(value as SubscriptionEvent).clientId] },
        },
        step: (_rows, { value }, disk) => {
          if (value.clientId === 'unknown') return [];
          const times = (disk.get(value.clientId) ?? 0) + 1;
          if (value.action === 'UNSUBSCRIBE') disk.delete(value.clientId);
          else disk.set(value.clientId, times);
          const told = {
            at: value.timestamp,
            body: { kind: 'SliceProgress', commandId: `${times}`, done: true, reason: '' },
          };
          return [{ topic: 'progress' as const, key: value.clientId, value: told as never }];
        },
      }),
    ],
    { inputs: [subscriptions] },
  );
  const event = (clientId: string, action = 'SUBSCRIBE') => ({
    action,
    topicFilter: 'a',
    clientId,
    brokerId: 'broker-1',
    qos: 0,
    timestamp: 1_700_000_000_000,
  });
  const timesIn = (records: readonly { readonly key: string | null; readonly value: unknown }[]): string[] =>
    records.map(({ key, value }) => `${key} ${(value as { body: { commandId: string } }).body.commandId}`);

  test('goes on from them after a restart, from the local store or from the changelog alone', async () => {
    const storage = new MemoryStorage();
    const stores = memoryFolder();
    const first = await drive(topology, { storage, stores, codec: jsonCodec });
    for (const client of ['x', 'y', 'x']) await first.send(subscriptions, 'a', event(client));
    await first.stop();
    const second = await drive(topology, { storage, stores, codec: jsonCodec });
    await second.send(subscriptions, 'a', event('x', 'UNSUBSCRIBE'));
    await second.stop();
    const third = await drive(topology, { storage, stores: memoryFolder(), codec: jsonCodec });
    for (const client of ['x', 'y', 'unknown']) await third.send(subscriptions, 'a', event(client));
    expect(timesIn(third.read(progress))).toEqual(['x 1', 'y 1', 'x 2', 'x 3', 'x 1', 'y 2']);
    await third.stop();
  });
});

function diskTable(store: Pick<Store, 'getMany' | 'entries'>): DiskTable {
  const table = new DiskTable(jsonTable<unknown>('test'));
  table.open(store);
  return table;
}

async function commit(store: Store, table: DiskTable): Promise<void> {
  const changes: Change[] = [];
  table.drain(changes);
  await store.write(changes, { changelog: 0, inputs: {} });
}

async function allOf(table: DiskTable): Promise<[string, unknown][]> {
  const rows: [string, unknown][] = [];
  let page: Page = { prefix: '', limit: 2 };
  for (;;) {
    await table.read([{ pages: [page] }]);
    const found = table.page(page);
    rows.push(...found.rows.map(([key, row]): [string, unknown] => [key, row]));
    if (found.done) return rows;
    page = { ...page, after: found.last };
  }
}
