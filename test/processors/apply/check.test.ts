import { describe, expect, test } from 'vitest';
import type { Provisioner, ShardStore } from '../../../datastores/shard-store.ts';
import { AppError } from '../../../schemas/errors.ts';
import { epoch, eventTime, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { CheckProgress, Command } from '../../../schemas/records.ts';
import type { SubscriptionRow } from '../../../state/effects.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../../state/genesis.ts';
import { isTrieFilter } from '../../../state/keys.ts';
import { fc } from '../../support/property.ts';
import { ApplyOnStores } from './apply-on-stores.ts';

const SECOND = shardId('shard-0003');
const WHOLE = [
  { store: FIRST_CONCRETE_SHARD, range: { slice: sliceKey('c/0/'), except: [] } },
  { store: FIRST_TRIE_SHARD, range: { slice: sliceKey('w/0/'), except: [] } },
] as const;
const FILTERS = ['a', 'a/b', 'a/c', 'b/d', 'é', 'a/+', 'a/#', '+/b', '$share/g/a/b'];
const BROKERS = ['A', 'B'];

/** The task, after the time that checks wait for, with the continuous one off. */
async function withTask(
  use: (task: ApplyOnStores) => Promise<void>,
  settings: Parameters<typeof ApplyOnStores.start>[0] = { checkRowsPerSecond: 0 },
  through?: (shards: Provisioner) => Provisioner,
): Promise<void> {
  const task = await ApplyOnStores.start(settings, through, true);
  try {
    await task.tick(12);
    await use(task);
  } finally {
    await task.close();
  }
}

const storeOf = (task: ApplyOnStores, filter: string): Promise<ShardStore> =>
  task.shards.store(isTrieFilter(filter) ? FIRST_TRIE_SHARD : FIRST_CONCRETE_SHARD);

async function liveIn(task: ApplyOnStores): Promise<string[]> {
  const found: string[] = [];
  for (const { store, range } of WHOLE)
    for (const row of (await (await task.shards.store(store)).scan(range, undefined, 10_000)).rows)
      if (!row.gone) found.push(`${row.filter} ${row.clientId} ${row.brokerId} ${row.version.offset}`);
  return found.sort();
}

async function rowAt(task: ApplyOnStores, filter: string, clientId: string): Promise<SubscriptionRow | undefined> {
  const { rows } = await (await storeOf(task, filter)).scan(
    { slice: sliceKey(isTrieFilter(filter) ? 'w/0/' : 'c/0/'), except: [] },
    undefined,
    10_000,
  );
  return rows.find((row) => row.filter === filter && row.clientId === clientId);
}

/** Rows of a slice that has moved away, which no store takes any more, but had before. */
async function leave(task: ApplyOnStores, rows: readonly SubscriptionRow[]): Promise<void> {
  const store = await task.shards.store(FIRST_CONCRETE_SHARD);
  await store.own({ slice: sliceKey('t/a'), state: 'owned', epoch: epoch(8) });
  await store.write(rows);
  await store.own({ slice: sliceKey('t/a'), state: 'moved', epoch: epoch(9), movedTo: SECOND });
}

let checks = 0;
/** A check by hand, to its end. */
async function check(
  task: ApplyOnStores,
  asked: { readonly shardId?: string; readonly slice?: string; readonly repair?: boolean } = {},
  meanwhile: () => Promise<void> = async () => {},
): Promise<CheckProgress> {
  const checkId = `check-${checks++}`;
  const body = { kind: 'CheckSlices', checkId, shardId: '', slice: '', repair: false, ...asked } as const;
  const searched = { concreteShards: [FIRST_CONCRETE_SHARD], trieShards: [FIRST_TRIE_SHARD] };
  await task.command({ ...body, ...searched }, 1);
  for (let tries = 0; tries < 200; tries++) {
    await task.tick();
    await meanwhile();
    const told = task.told.findLast((each): each is CheckProgress => each.kind === 'CheckProgress');
    if (told?.checkId === checkId && told.state !== 'RUNNING') return told;
  }
  throw new Error('the check does not end');
}

const sums = ({ missing, extra, different, stray, mended, unchecked }: CheckProgress) => ({
  ...{ missing, extra, different, stray, mended, unchecked },
});
const NOTHING = { missing: 0, extra: 0, different: 0, stray: 0, mended: 0, unchecked: 0 };

const planted = (filter: string, clientId: string, offset: number, more: Partial<SubscriptionRow> = {}) => ({
  ...{ filter, clientId, brokerId: 'A', qos: 1, version: { incarnation: 0, offset }, gone: false },
  ...{ at: eventTime(5_000), ...more },
});

describe('a check', () => {
  test('finds nothing in shards that hold what was subscribed, and says how much it compared', async () => {
    await withTask(async (task) => {
      for (const filter of FILTERS) await task.event('SUBSCRIBE', filter, 'x', 'A');
      await task.event('UNSUBSCRIBE', 'a', 'x', 'A');
      const told = await check(task);
      expect(sums(told)).toEqual(NOTHING);
      expect(told).toMatchObject({ state: 'DONE', rows: FILTERS.length - 1, slices: 4, slicesDone: 4, reason: '' });
    });
  });

  for (const { name, plant, found } of [
    {
      name: 'a row that is missing',
      plant: async (store: ShardStore, known: SubscriptionRow) => store.forget([known]),
      found: { ...NOTHING, missing: 1 },
    },
    {
      name: 'a row that was removed by somebody else, at a version that is still to come',
      plant: async (store: ShardStore, known: SubscriptionRow) =>
        store.write([{ ...known, gone: true, version: { incarnation: 0, offset: 1_000 } }]),
      found: { ...NOTHING, missing: 1 },
    },
    {
      name: 'a row of another broker, at a version that is still to come',
      plant: async (store: ShardStore, known: SubscriptionRow) =>
        store.write([{ ...known, brokerId: 'Z', version: { incarnation: 3, offset: 1_000 } }]),
      found: { ...NOTHING, different: 1 },
    },
    {
      name: 'a row of an earlier version',
      plant: async (store: ShardStore, known: SubscriptionRow) => {
        await store.forget([known]);
        await store.write([{ ...known, qos: 0, version: { incarnation: 0, offset: 0 } }]);
      },
      found: { ...NOTHING, different: 1 },
    },
    {
      name: 'a row that nobody has subscribed',
      plant: async (store: ShardStore, { filter }: SubscriptionRow) => store.write([planted(filter, 'nobody', 7)]),
      found: { ...NOTHING, extra: 1 },
    },
  ])
    for (const filter of ['a/b', 'a/+'])
      test(`finds ${name} (${filter}), and mends it when asked to`, async () => {
        await withTask(async (task) => {
          await task.event('SUBSCRIBE', 'a/c', 'x', 'A');
          for (const client of ['x', 'y', 'z']) await task.event('SUBSCRIBE', filter, client, 'A');
          const right = await liveIn(task);
          const known = (await rowAt(task, filter, 'y'))!;
          await plant(await storeOf(task, filter), known);
          expect(await liveIn(task)).not.toEqual(right);
          const told = await check(task);
          expect(sums(told)).toEqual(found);
          expect(told.differences).toMatchObject([{ topicFilter: filter, mended: false }]);
          expect(sums(await check(task, { repair: true }))).toEqual({ ...found, mended: 1 });
          expect(await liveIn(task)).toEqual(right);
          expect(sums(await check(task))).toEqual(NOTHING);
          await task.event('UNSUBSCRIBE', filter, 'y', 'A');
          expect((await liveIn(task)).filter((each) => each.startsWith(`${filter} y`))).toEqual([]);
        });
      });

  for (const pageRows of [1, 2, 3, 10])
    for (const filter of ['a/b', 'a/+'])
      test(`mends rows that follow each other in one pass, read ${pageRows} at a time (${filter})`, async () => {
        await withTask(
          async (task) => {
            for (const client of ['b', 'e']) await task.event('SUBSCRIBE', filter, client, 'A');
            const right = await liveIn(task);
            await (await storeOf(task, filter)).write(
              ['a', 'c', 'd', 'f', 'g'].map((each) => planted(filter, each, 7)),
            );
            expect(sums(await check(task, { repair: true }))).toEqual({ ...NOTHING, extra: 5, mended: 5 });
            expect(await liveIn(task)).toEqual(right);
          },
          { checkRowsPerSecond: 0, checkPageRows: pageRows },
        );
      });

  test('of a slice or a shard looks there alone', async () => {
    await withTask(async (task) => {
      for (const filter of ['a', 'a/+']) await task.event('SUBSCRIBE', filter, 'x', 'A');
      await (await storeOf(task, 'a/+')).write([planted('a/#', 'nobody', 7)]);
      expect(sums(await check(task, { slice: 'c/0/' }))).toEqual(NOTHING);
      expect(sums(await check(task, { slice: 'w/0/' }))).toEqual({ ...NOTHING, extra: 1 });
      expect(sums(await check(task, { shardId: FIRST_CONCRETE_SHARD }))).toEqual(NOTHING);
      expect(sums(await check(task, { shardId: FIRST_TRIE_SHARD }))).toEqual({ ...NOTHING, extra: 1 });
    });
  });

  test('finds rows in a shard that their slice has left, and has them go', async () => {
    await withTask(async (task) => {
      for (const filter of ['a', 'b/d', 'a/b']) await task.event('SUBSCRIBE', filter, 'x', 'A');
      const right = await liveIn(task);
      const split = { kind: 'SplitSlice', slice: sliceKey('c/0/'), into: [sliceKey('c/0/'), sliceKey('t/a')] } as const;
      await task.command(split, 2);
      await task.allocate(SECOND);
      await task.move('move-1', 't/a', FIRST_CONCRETE_SHARD, SECOND, 4);
      expect(sums(await check(task))).toEqual(NOTHING);
      await leave(task, [planted('a', 'x', 3), planted('a', 'y', 3)]);
      expect(sums(await check(task))).toEqual({ ...NOTHING, stray: 2 });
      expect(sums(await check(task, { repair: true }))).toEqual({ ...NOTHING, stray: 2, mended: 2 });
      expect(await liveIn(task)).toEqual(right.filter((each) => !each.startsWith('a x')));
      expect(await task.ask(SECOND, 'a', 4)).toMatchObject({ kind: 'found', subscribers: [{ clientId: 'x' }] });
    });
  });

  test('takes no row of a slice that the shard itself says it has', async () => {
    await withTask(async (task) => {
      await task.event('SUBSCRIBE', 'a', 'x', 'A');
      const split = { kind: 'SplitSlice', slice: sliceKey('c/0/'), into: [sliceKey('c/0/'), sliceKey('t/a')] } as const;
      await task.command(split, 2);
      await task.allocate(SECOND);
      await task.move('move-1', 't/a', FIRST_CONCRETE_SHARD, SECOND, 4);
      const first = await task.shards.store(FIRST_CONCRETE_SHARD);
      await first.own({ slice: sliceKey('t/a'), state: 'receiving', epoch: epoch(9) }); // A task that came after this one.
      await first.write([planted('a', 'x', 3)]);
      const told = await check(task, { repair: true });
      expect(sums(told)).toEqual({ ...NOTHING, stray: 1 });
      expect(told.reason).toContain('look-ups there find a');
      expect(await rowAt(task, 'a', 'x')).toBeDefined();
    });
  });

  test('leaves out a slice that moves', async () => {
    await withTask(async (task) => {
      await task.event('SUBSCRIBE', 'a', 'x', 'A');
      await task.allocate(SECOND);
      await task.startMove('move-1', 'c/0/', FIRST_CONCRETE_SHARD, SECOND, 4);
      const told = await check(task);
      expect(sums(told)).toEqual({ ...NOTHING, unchecked: 1 });
      expect(told.reason).toBe('c/0/: it is moving');
    });
  });

  test('asks a shard that does not answer once, and says what could not be compared', async () => {
    let asked = 0;
    let isAway = false;
    const through = (shards: Provisioner): Provisioner => ({
      ...{ ensure: shards.ensure.bind(shards), release: shards.release.bind(shards), sweep: shards.sweep.bind(shards) },
      close: shards.close.bind(shards),
      store: async (shard) => {
        if (!isAway || shard !== FIRST_CONCRETE_SHARD) return shards.store(shard);
        asked++;
        throw new AppError('STORE_UNAVAILABLE', 'it does not answer');
      },
    });
    await withTask(
      async (task) => {
        isAway = true;
        for (let i = 0; i < 3; i++) {
          const told = await check(task);
          expect(sums(told)).toEqual({ ...NOTHING, unchecked: 2 });
        }
        expect(asked).toBe(1);
      },
      { checkRowsPerSecond: 0 },
      through,
    );
  });

  test('goes on after a restart', async () => {
    await withTask(async (task) => {
      await task.event('SUBSCRIBE', 'a', 'x', 'A');
      await (await storeOf(task, 'a')).write([planted('a', 'nobody', 7)]);
      let ticks = 0;
      const told = await check(task, { repair: true }, async () => {
        if (ticks++ === 2) task.restart();
      });
      expect(sums(told)).toEqual({ ...NOTHING, extra: 1, mended: 1 });
      expect(await rowAt(task, 'a', 'nobody')).toBeUndefined();
    });
  });

  test('does not take for wrong what a run before has written and not committed', async () => {
    await withTask(async (task) => {
      await task.event('SUBSCRIBE', 'a', 'x', 'A');
      task.restart();
      const again = task.inputOf('SUBSCRIBE', 'a', 'y', 'A') as { offset: number; value: { timestamp: number } };
      await (await storeOf(task, 'a')).write([
        planted('a', 'y', again.offset, { at: eventTime(again.value.timestamp) }),
      ]);
      let ticks = 0;
      const told = await check(task, { repair: true }, async () => {
        if (ticks++ === 5) await task.batch([again]);
      });
      expect(sums(told)).toEqual(NOTHING);
      expect(await rowAt(task, 'a', 'y')).toBeDefined();
    });
  });

  test('is refused where there is no table', async () => {
    const task = await ApplyOnStores.start();
    try {
      await task.tick(12);
      const told = await check(task);
      expect(told).toMatchObject({ state: 'REFUSED', reason: 'the subscription table is not kept' });
    } finally {
      await task.close();
    }
  });
});

const client = fc.integer({ min: 0, max: 5 }).map((i) => `client-${i}`);
const subscribing = fc.record({
  live: fc.boolean(),
  filter: fc.constantFrom(...FILTERS),
  client,
  broker: fc.constantFrom(...BROKERS),
});

/** A split of a hash slice, or a part carved out of a slice. */
function splitOf(slice: string): Command['body'] {
  const halves = slice.startsWith('c/');
  const from = halves ? slice : slice.startsWith('t/') ? 'c/0/' : 'w/0/';
  const into = halves ? [`${slice}0`, `${slice}1`] : [from, slice];
  return { kind: 'SplitSlice', slice: sliceKey(from), into: into.map(sliceKey) };
}

test('while events come, in whatever batches, nothing equal looks different, and what was planted is mended', async () => {
  const planting = fc.record({
    filter: fc.constantFrom(...FILTERS),
    client,
    broker: fc.constantFrom('A', 'Z'),
    offset: fc.constantFrom(0, 3, 5_000),
    gone: fc.boolean(),
    forgets: fc.boolean(),
  });
  const run = fc.record({
    before: fc.array(subscribing, { maxLength: 30 }),
    plants: fc.array(planting, { maxLength: 4 }),
    during: fc.array(fc.array(subscribing, { maxLength: 4 }), { maxLength: 12 }),
    splits: fc.subarray(['c/0/', 'c/0/0', 'c/0/01', 'c/0/1', 't/a', 'w/0/a/']),
    pageRows: fc.integer({ min: 1, max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(run, async ({ before, plants, during, splits, pageRows }) => {
      await withTask(
        async (task) => {
          const take = async (events: readonly { live: boolean; filter: string; client: string; broker: string }[]) => {
            const half = events.length >> 1;
            const inputs = events.map(({ live, filter, client: id, broker }) =>
              task.inputOf(live ? 'SUBSCRIBE' : 'UNSUBSCRIBE', filter, id, broker),
            );
            await task.batch([...inputs.slice(0, half), task.tickInput(), ...inputs.slice(half)]);
          };
          for (const slice of splits) await task.command(splitOf(slice), 2);
          await take(before);
          const batches = [...during];
          expect(sums(await check(task, {}, async () => take(batches.shift() ?? [])))).toEqual(NOTHING);
          for (const { filter, client: id, broker, offset, gone, forgets } of plants) {
            const store = await storeOf(task, filter);
            const known = await rowAt(task, filter, id);
            if (forgets && known !== undefined) await store.forget([known]);
            else await store.write([planted(filter, id, offset, { brokerId: broker, gone })]);
          }
          const later = [...during];
          await check(task, { repair: true }, async () => take(later.shift() ?? []));
          const last = await check(task, { repair: true });
          expect(sums(last).missing + sums(last).extra + sums(last).different).toBe(last.mended);
          expect(sums(await check(task))).toEqual(NOTHING);
        },
        { checkRowsPerSecond: 0, checkPageRows: pageRows },
      );
    }),
    { numRuns: 60 },
  );
}, 120_000);

describe('the continuous check', () => {
  test('tells what it finds and when that is gone, and remembers its last pass', async () => {
    await withTask(
      async (task) => {
        await task.event('SUBSCRIBE', 'a', 'x', 'A');
        await task.tick(80);
        expect(task.told.some((each) => each.kind === 'CheckProgress')).toBe(false);
        await (await storeOf(task, 'a')).write([planted('a', 'nobody', 7)]);
        await task.tick(80);
        const told = (): CheckProgress[] => task.told.flatMap((each) => (each.kind === 'CheckProgress' ? each : []));
        expect(told().map(sums)).toEqual([{ ...NOTHING, extra: 1 }]);
        expect(told()[0]).toMatchObject({ checkId: 'continuous', state: 'DONE', mended: 0 });
        expect(sums(await check(task, { repair: true }))).toEqual({ ...NOTHING, extra: 1, mended: 1 });
        await task.tick(80);
        expect(sums(told().at(-1)!)).toEqual(NOTHING);
      },
      { checkRowsPerSecond: 1_000 },
    );
  });

  test('drops from the table what has ended long ago, by the clock of the host and by that of the events', async () => {
    await withTask(
      async (task) => {
        for (const at of [900_000, 1_050_000])
          await task.batch([
            task.inputOf('UNSUBSCRIBE', 'a', `${at}`, 'A', { sessionEpoch: 5, timestamp: eventTime(at) }),
          ]);
        const dropped = () => task.tabled.flatMap(([key, isThere]) => (isThere ? [] : key));
        await task.tick(70, 950_000);
        expect(dropped()).toEqual([]);
        await task.tick(70, 5_000_000);
        expect(dropped()).toEqual(['a\u0000900000']);
      },
      { checkRowsPerSecond: 1_000, tombstoneMs: 100_000 },
    );
  });
});
