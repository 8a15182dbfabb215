import { describe, expect, test } from 'vitest';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { isSpilled, subscriptionAt } from '../../../processors/apply/subscriptions.ts';
import { AppError } from '../../../schemas/errors.ts';
import { type ShardId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { CheckProgress, SubscriptionEvent } from '../../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../../state/genesis.ts';
import { fc } from '../../support/property.ts';
import { ApplyOnStores } from './apply-on-stores.ts';

const RUNS = Number(process.env.RUNS ?? 20);
const SECOND = shardId('shard-0003');
const FILTERS = ['a', 'a/b', 'a/c', 'b/d', 'é', 'a/+', '+/b', '$share/g/a/b'];
const QUICK = { fillRowsPerSecond: 1_000, checkPageRows: 3, checkRowsPerSecond: 0 };

/** A task of a fleet that has no table. */
async function withTask(
  use: (task: ApplyOnStores) => Promise<void>,
  settings: Parameters<typeof ApplyOnStores.start>[0] = QUICK,
  through?: (shards: Provisioner) => Provisioner,
): Promise<void> {
  const task = await ApplyOnStores.start(settings, through);
  try {
    await use(task);
  } finally {
    await task.close();
  }
}

const nameOf = (filter: string, clientId: string, brokerId: string, offset: number): string =>
  `${filter} ${clientId} ${brokerId} ${offset}`;

async function liveInTable(task: ApplyOnStores): Promise<string[]> {
  const found: string[] = [];
  for (const [key, row] of await task.tableRows()) {
    if (isSpilled(row) || row.removed === true) continue;
    const { filter, clientId } = subscriptionAt(key);
    found.push(nameOf(filter, clientId, row.brokerId, row.version.offset));
  }
  return found.sort();
}

async function liveInShards(task: ApplyOnStores, shards: readonly ShardId[]): Promise<string[]> {
  const found = new Set<string>();
  for (const shard of shards) {
    const slice = sliceKey(shard === FIRST_TRIE_SHARD ? 'w/0/' : 'c/0/');
    const { rows } = await (await task.shards.store(shard)).scan({ slice, except: [] }, undefined, 10_000);
    for (const row of rows)
      if (!row.gone) found.add(nameOf(row.filter, row.clientId, row.brokerId, row.version.offset));
  }
  return [...found].sort();
}

const FIRST = [FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD];

function isWhole(task: ApplyOnStores): boolean {
  const row = task.row('life');
  return row?.kind === 'life' && row.tableIsWhole;
}

async function untilWhole(task: ApplyOnStores): Promise<void> {
  for (let ticks = 0; ticks < 1_000 && !isWhole(task); ticks++) await task.tick();
  expect(isWhole(task)).toBe(true);
}

/** The last word on a check by hand. */
async function check(task: ApplyOnStores): Promise<CheckProgress | undefined> {
  const asked = { kind: 'CheckSlices', checkId: 'check', shardId: '', slice: '', repair: false } as const;
  await task.command({ ...asked, concreteShards: [FIRST_CONCRETE_SHARD], trieShards: [FIRST_TRIE_SHARD] }, 1);
  const told = () => task.told.findLast((each): each is CheckProgress => each.kind === 'CheckProgress');
  for (let ticks = 0; ticks < 200 && (told() === undefined || told()!.state === 'RUNNING'); ticks++) await task.tick();
  return told();
}

describe('a table that was not kept from the first event on', () => {
  test('is filled from the shards, a page at a time, and is whole then', async () => {
    await withTask(async (task) => {
      for (const filter of FILTERS) for (const client of ['x', 'y']) await task.event('SUBSCRIBE', filter, client, 'A');
      await task.event('UNSUBSCRIBE', 'a', 'x', 'A');
      task.restart(true);
      await task.tick();
      expect(isWhole(task)).toBe(false);
      await untilWhole(task);
      expect(await liveInTable(task)).toEqual(await liveInShards(task, FIRST));
      expect(await liveInTable(task)).toHaveLength(2 * FILTERS.length - 1);
      expect(task.tabled).toHaveLength(2 * FILTERS.length - 1);
      expect(task.told.at(-1)).toEqual({ kind: 'TableProgress', partition: 0, whole: true });
      expect(await check(task)).toMatchObject({ state: 'DONE', rows: 2 * FILTERS.length - 1, missing: 0, extra: 0 });
    });
  });

  test('is filled no faster than it may be, and goes on after a restart where it was', async () => {
    await withTask(
      async (task) => {
        for (let i = 0; i < 30; i++) await task.event('SUBSCRIBE', `a/${i}`, 'x', 'A');
        task.restart(true);
        await task.tick(); // Earlier lives.
        await task.tick(2);
        expect((await liveInTable(task)).length).toBeLessThanOrEqual(10);
        for (let ticks = 0; ticks < 300 && (await liveInTable(task)).length < 20; ticks++) await task.tick();
        const reached = task.tabled.length;
        task.restart();
        await untilWhole(task);
        expect(task.tabled.length - reached).toBe(30 - reached);
      },
      { ...QUICK, checkPageRows: 5, fillRowsPerSecond: 50 },
    );
  });

  for (const moment of [1, 2, 3, 4, 5, 6, 7])
    test(`has what is said behind tick ${moment}, before its effects are performed, whoever says it`, async () => {
      await withTask(async (task) => {
        for (const filter of ['a', 'a/+'])
          for (const client of ['x', 'y', 'z']) await task.event('SUBSCRIBE', filter, client, 'A');
        task.restart(true);
        await task.tick(moment - 1);
        const said = ['a', 'a/+'].flatMap((filter) => [
          task.inputOf('UNSUBSCRIBE', filter, 'x', 'B'), // Foreign: it stays.
          task.inputOf('UNSUBSCRIBE', filter, 'y', 'A'),
          task.inputOf('UNSUBSCRIBE', filter, 'y', 'B'),
          task.inputOf('SUBSCRIBE', filter, 'z', 'B'),
          task.inputOf('UNSUBSCRIBE', filter, 'z', 'A'),
        ]);
        await task.batch([task.tickInput(), ...said]);
        await untilWhole(task);
        const live = await liveInTable(task);
        const places = live.map((each) => each.split(' ').slice(0, 3).join(' '));
        expect(places).toEqual(['a x A', 'a z B', 'a/+ x A', 'a/+ z B']);
        expect(live).toEqual(await liveInShards(task, FIRST));
      });
    });

  test('has nothing of what ended while it was not kept', async () => {
    await withTask(async (task) => {
      task.restart(true);
      await untilWhole(task);
      for (const client of ['x', 'y', 'z']) await task.event('SUBSCRIBE', 'a', client, 'A');
      await task.event('SUBSCRIBE', 'a/+', 'x', 'A');
      task.restart(false);
      await task.event('UNSUBSCRIBE', 'a', 'x', 'A');
      await task.event('UNSUBSCRIBE', 'a/+', 'x', 'A');
      await task.event('SUBSCRIBE', 'a', 'y', 'B');
      task.restart(true);
      await task.event('UNSUBSCRIBE', 'a', 'y', 'B'); // The table says that A holds it, and has missed something.
      expect(isWhole(task)).toBe(false);
      await untilWhole(task);
      expect(await liveInTable(task)).toEqual(['a z A 2']);
      expect(await liveInShards(task, FIRST)).toEqual(['a z A 2']);
      expect(task.tabled).toContainEqual(['a\u0000x', false]);
      expect(task.tabled.findLast(([key]) => key === 'a\u0000y')).toEqual(['a\u0000y', false]);
      expect(task.tabled).toContainEqual(['a/+\u0000x', false]);
    });
  });

  test('waits for a shard that does not answer, says so, and has the rest', async () => {
    let isAway = false;
    const through = (shards: Provisioner): Provisioner => ({
      ...{ ensure: shards.ensure.bind(shards), release: shards.release.bind(shards), sweep: shards.sweep.bind(shards) },
      close: shards.close.bind(shards),
      store: async (shard) => {
        if (!isAway || shard !== FIRST_TRIE_SHARD) return shards.store(shard);
        throw new AppError('STORE_UNAVAILABLE', 'it does not answer');
      },
    });
    await withTask(
      async (task) => {
        await task.event('SUBSCRIBE', 'a', 'x', 'A');
        await task.event('SUBSCRIBE', 'a/+', 'x', 'A');
        isAway = true;
        task.restart(true);
        await task.tick(40);
        expect(isWhole(task)).toBe(false);
        expect(await liveInTable(task)).toEqual(['a x A 0']);
        const told = await check(task);
        expect(told?.state).toBe('REFUSED');
        expect(told?.reason).toContain('1 of 2 slices are');
        expect(told?.reason).toContain(FIRST_TRIE_SHARD);
        isAway = false;
        await untilWhole(task);
        expect(await liveInTable(task)).toEqual(['a x A 0', 'a/+ x A 1']);
      },
      QUICK,
      through,
    );
  });

  test('is left as it is where the rate is 0', async () => {
    await withTask(
      async (task) => {
        await task.event('SUBSCRIBE', 'a', 'x', 'A');
        task.restart(true);
        await task.tick(40);
        expect(isWhole(task)).toBe(false);
        expect((await check(task))?.reason).toContain('FORESHARD_FILL_ROWS_PER_SECOND is 0');
      },
      { ...QUICK, fillRowsPerSecond: 0 },
    );
  });

  test('is whole only with the slices that a split has made', async () => {
    await withTask(async (task) => {
      for (const filter of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) await task.event('SUBSCRIBE', filter, 'x', 'A');
      task.restart(true);
      await task.tick(4);
      const pin = { kind: 'SplitSlice', slice: sliceKey('c/0/'), into: [sliceKey('c/0/'), sliceKey('t/a')] } as const;
      await task.command(pin, 2);
      await task.tick(2);
      await task.command(
        { kind: 'MergeSlices', slices: [sliceKey('c/0/'), sliceKey('t/a')], into: sliceKey('c/0/') },
        3,
      );
      await untilWhole(task);
      expect(await liveInTable(task)).toEqual(await liveInShards(task, FIRST));
    });
  });
});

type Action =
  | {
      readonly do: 'events';
      readonly events: readonly (readonly [number, number, number, boolean])[];
      readonly tick: number;
    }
  | { readonly do: 'tick' }
  | { readonly do: 'crash'; readonly events: readonly (readonly [number, number, number, boolean])[] }
  | { readonly do: 'keep'; readonly keeps: boolean }
  | { readonly do: 'carve' }
  | { readonly do: 'merge' }
  | { readonly do: 'move' }
  | { readonly do: 'switch' }
  | { readonly do: 'away'; readonly isAway: boolean };

const event = fc.tuple(fc.nat(FILTERS.length - 1), fc.nat(2), fc.nat(1), fc.boolean());
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('events' as const),
      events: fc.array(event, { maxLength: 6 }),
      tick: fc.nat(6),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('crash' as const), events: fc.array(event, { maxLength: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('keep' as const), keeps: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('carve' as const, 'merge' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('move' as const, 'switch' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('away' as const), isAway: fc.boolean() }) },
);

test('whatever is said, moved, split, restarted and lost meanwhile, a whole table has what the shards have', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { maxLength: 20 }),
      fc.array(action, { minLength: 5, maxLength: 60 }),
      async (before, actions) => {
        let isAway = false;
        const through = (shards: Provisioner): Provisioner => ({
          ...{
            ensure: shards.ensure.bind(shards),
            release: shards.release.bind(shards),
            sweep: shards.sweep.bind(shards),
          },
          close: shards.close.bind(shards),
          store: async (shard) => {
            if (!isAway || shard !== FIRST_CONCRETE_SHARD) return shards.store(shard);
            throw new AppError('STORE_UNAVAILABLE', 'it does not answer');
          },
        });
        const holders = new Map<string, string | undefined>();
        await withTask(
          async (task) => {
            await task.allocate(SECOND);
            const inputOf = ([filter, client, broker, isLive]: readonly [number, number, number, boolean]): object => {
              const [topicFilter, clientId, brokerId] = [FILTERS[filter]!, `c${client}`, `b${broker}`];
              const key = `${topicFilter} ${clientId}`;
              if (isLive) holders.set(key, brokerId);
              else if (holders.get(key) === brokerId) holders.delete(key);
              const what: SubscriptionEvent['action'] = isLive ? 'SUBSCRIBE' : 'UNSUBSCRIBE';
              return task.inputOf(what, topicFilter, clientId, brokerId);
            };
            for (const each of before) await task.batch([inputOf(each)]);
            task.restart(true);
            let moves = 0;
            let carved = false;
            for (const each of actions) {
              switch (each.do) {
                case 'events': {
                  const inputs = each.events.map(inputOf);
                  inputs.splice(each.tick, 0, task.tickInput());
                  await task.batch(inputs);
                  break;
                }
                case 'crash': {
                  if (isAway && task.kept === undefined) break;
                  const inputs = each.events.map(inputOf);
                  await task.crash([...inputs, task.tickInput()]);
                  await task.tick();
                  await task.batch(inputs);
                  break;
                }
                case 'tick':
                  await task.tick();
                  break;
                case 'keep':
                  isAway = false;
                  await task.tick(8);
                  task.restart(each.keeps);
                  break;
                case 'carve':
                  if (isAway) break; // The task would wait for it.
                  await task.command(
                    { kind: 'SplitSlice', slice: sliceKey('c/0/'), into: [sliceKey('c/0/'), sliceKey('t/a')] },
                    2,
                  );
                  carved = true;
                  break;
                case 'merge':
                  if (isAway) break;
                  await task.command(
                    { kind: 'MergeSlices', slices: [sliceKey('c/0/'), sliceKey('t/a')], into: sliceKey('c/0/') },
                    2,
                  );
                  break;
                case 'move':
                  if (carved && moves === 0)
                    await task.startMove(`move-${++moves}`, 't/a', FIRST_CONCRETE_SHARD, SECOND, 4);
                  break;
                case 'switch':
                  if (task.progressOf('move-1')?.state === 'VERIFIED') await task.steer('move-1', 't/a', 'SWITCH', 5);
                  break;
                case 'away':
                  if (task.kept !== undefined) isAway = each.isAway;
              }
            }
            isAway = false;
            if (task.kept === undefined) task.restart(true);
            await task.tick(8); // What waits for a shard gets there.
            await untilWhole(task);
            const expected = [...holders]
              .flatMap(([key, broker]) => (broker === undefined ? [] : [`${key} ${broker}`]))
              .sort();
            const inTable = (await liveInTable(task)).map((row) => row.split(' ').slice(0, 3).join(' '));
            expect(inTable.sort()).toEqual(expected);
            expect(await liveInTable(task)).toEqual(await liveInShards(task, [...FIRST, SECOND]));
          },
          QUICK,
          through,
        );
      },
    ),
    { numRuns: RUNS, ...(process.env.SEED ? { seed: Number(process.env.SEED) } : {}) },
  );
});
