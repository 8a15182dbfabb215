// The suite that every shard store passes: `shardStoreSuite('level-kv', { kind: 'KEY_VALUE', open: ... })`. The rules it
// cites are those of datastores/shard-store.ts; the oracle is a plain Map.

import { afterEach, describe, expect, test } from 'vitest';
import type { ShardStore, Subscriber } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime, type SliceKey, shardId } from '../../schemas/ids.ts';
import type { StoreKind } from '../../schemas/records.ts';
import type { Cursor, OwnerRecord, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { compareVersions } from '../../state/effects.ts';
import {
  filterHash,
  groupSlice,
  hashSlice,
  leadingBits,
  partitionOf,
  pinSlice,
  placeOf,
  spreadSlice,
  spreadSlices,
} from '../../state/keys.ts';
import { packOptions, type SubscriptionOptions } from '../../state/subscription-options.ts';
import { matches } from '../../state/topic-filter.ts';
import { compareUtf8 } from '../../state/utf8.ts';
import { fc } from '../support/property.ts';

export const PARTITIONS = 4;

/** A place that outlives the stores opened on it. */
export interface Home {
  /** Opens the store of this home; the one before has been closed. */
  open(): Promise<ShardStore>;
  remove(): Promise<void>;
}

export interface SuiteOptions {
  readonly kind: StoreKind;
  readonly home: () => Promise<Home>;
  /** Runs of each property: fewer where each call crosses a network. */
  readonly runs?: number;
}

export const row = (filter: string, clientId: string, offset: number, more: Partial<SubscriptionRow> = {}) =>
  ({
    filter,
    clientId,
    brokerId: 'broker-1',
    qos: 1,
    version: { incarnation: 1, offset },
    gone: false,
    at: eventTime(1_000 + (offset % 1_000_000)),
    ...more,
  }) satisfies SubscriptionRow;

/** From none to all of the options that a subscription can have. */
export const OPTIONS: readonly SubscriptionOptions[] = [
  { noLocal: true, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 },
  { noLocal: false, retainAsPublished: true, retainHandling: 0, subscriptionIdentifier: 0 },
  { noLocal: false, retainAsPublished: false, retainHandling: 1, subscriptionIdentifier: 0 },
  { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 1 },
  { noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionIdentifier: 268_435_455 },
];

/** One of them, or none, as a row has it. */
export const optionsAt = (at: number): Pick<SubscriptionRow, 'options'> => {
  const options = OPTIONS[at % (OPTIONS.length + 1)];
  return options === undefined ? {} : { options };
};

export const owned = (slice: SliceKey, at = 1, state: OwnerRecord['state'] = 'owned'): OwnerRecord => ({
  slice,
  state,
  epoch: epoch(at),
  ...(state === 'moved' ? { movedTo: shardId('shard-0009') } : {}),
});

/** Erases as the task does whose slice it was: under the record that says that the slice has moved. */
export async function erased(store: ShardStore, range: SliceRange, limit: number): Promise<number> {
  const right = { state: 'moved', epoch: epoch(1_000) } as const;
  await store.own({ slice: range.slice, ...right, movedTo: shardId('shard-0009') });
  return (await store.erase(range, limit, right))!;
}

/** A slice, a part of it, and a filter in either. */
const CARVED = {
  KEY_VALUE: {
    partition: partitionOf('a', PARTITIONS),
    whole: hashSlice(partitionOf('a', PARTITIONS)),
    part: pinSlice('a'),
    inPart: 'a',
    beside: Array.from({ length: 50 }, (_, i) => `x${i}`).find(
      (filter) => partitionOf(filter, PARTITIONS) === partitionOf('a', PARTITIONS),
    )!,
  },
  TRIE: {
    partition: partitionOf('a', PARTITIONS),
    whole: groupSlice(partitionOf('a', PARTITIONS), 'a/'),
    part: groupSlice(partitionOf('a', PARTITIONS), 'a/b/'),
    inPart: 'a/b/#',
    beside: 'a/#',
  },
} as const;

const CONCRETE = [
  'a',
  'a/b',
  'a/b/c',
  'home/kitchen/t',
  'home/kitchen/h',
  '/',
  'ü/ß',
  '\u{1f600}/x',
  '\uffee/x',
  '$SYS/x',
];
const TRIE = [
  '#',
  '+',
  '+/b',
  'a/#',
  'a/+',
  'a/b/#',
  'a/b/+',
  'a/b/c/#',
  '$share/g/a/b',
  '$share/g/a/#',
  '$share/h/a/#',
  'ü/#',
  '\u{1f600}/+',
  '\uffee/+',
  'a/\u{1f600}/#',
  'a/\uffee/#',
  '$SYS/#',
];
const CLIENTS = ['c1', 'c2', 'client\u0001', 'ü', '\u{1f600}', '\uffee', '__proto__'];

export function shardStoreSuite(name: string, options: SuiteOptions): void {
  const filters = options.kind === 'TRIE' ? TRIE : CONCRETE;
  const [first, second] = filters as [string, string];
  const wholes = Array.from({ length: PARTITIONS }, (_, partition) =>
    options.kind === 'TRIE' ? groupSlice(partition) : hashSlice(partition),
  );
  const everything = wholes.map((slice): SliceRange => ({ slice, except: [] }));
  const runs = options.runs ?? 60;

  describe(`shard store: ${name}`, () => {
    const homes: Home[] = [];
    const stores: ShardStore[] = [];

    async function freshHome(): Promise<Home> {
      const home = await options.home();
      homes.push(home);
      return home;
    }
    async function opened(home: Home): Promise<ShardStore> {
      const store = await home.open();
      stores.push(store);
      return store;
    }
    async function fresh(): Promise<ShardStore> {
      const store = await opened(await freshHome());
      for (const slice of wholes) await store.own(owned(slice));
      return store;
    }
    afterEach(async () => {
      for (const store of stores.splice(0)) await store.close();
      for (const home of homes.splice(0)) await home.remove();
    });

    test('it says of which kind it is', async () => {
      expect((await fresh()).kind).toBe(options.kind);
    });

    describe('D1: versions', () => {
      for (const { name, rows, applied, stale, left } of [
        { name: 'a new row is applied', rows: [row(first, 'c', 5)], applied: 1, stale: 0, left: 5 },
        {
          name: 'the same row again is stale',
          rows: [row(first, 'c', 5), row(first, 'c', 5)],
          applied: 1,
          stale: 1,
          left: 5,
        },
        {
          name: 'an older row is stale',
          rows: [row(first, 'c', 5), row(first, 'c', 4)],
          applied: 1,
          stale: 1,
          left: 5,
        },
        {
          name: 'a newer row replaces it',
          rows: [row(first, 'c', 5), row(first, 'c', 6)],
          applied: 2,
          stale: 0,
          left: 6,
        },
        {
          name: 'a higher incarnation is above any offset',
          rows: [row(first, 'c', 5), row(first, 'c', 1, { version: { incarnation: 2, offset: 0 } })],
          applied: 2,
          stale: 0,
          left: 0,
        },
        {
          name: 'a tombstone is not revived by an older write',
          rows: [row(first, 'c', 5, { gone: true }), row(first, 'c', 4)],
          applied: 2, // What was removed is known by now: nothing older can be it.
          stale: 0,
          left: 5,
        },
        {
          name: 'offsets up to 2^53 keep their order',
          rows: [row(first, 'c', 2 ** 53 - 1), row(first, 'c', 2 ** 53 - 2)],
          applied: 1,
          stale: 1,
          left: 2 ** 53 - 1,
        },
      ]) {
        test(`${name}, in one batch`, async () => {
          const store = await fresh();
          expect(await store.write(rows)).toEqual({ applied, stale });
          expect((await all(store)).map((each) => each.version.offset)).toEqual([left]);
        });
        test(`${name}, in one batch each`, async () => {
          const store = await fresh();
          const total = { applied: 0, stale: 0 };
          for (const each of rows) {
            const result = await store.write([each]);
            total.applied += result.applied;
            total.stale += result.stale;
          }
          expect(total).toEqual({ applied, stale });
          expect((await all(store)).map((each) => each.version.offset)).toEqual([left]);
        });
      }

      test('writes side by side do not let an older version win', async () => {
        const store = await fresh();
        await Promise.all([9, 3, 7, 8, 1].map((offset) => store.write([row(first, 'c', offset)])));
        expect((await all(store)).map((each) => each.version.offset)).toEqual([9]);
      });

      test('a row comes back as it was written', async () => {
        const store = await fresh();
        const rows = filters.flatMap((filter, i) =>
          CLIENTS.map((client, j) =>
            row(filter, client, i * 10 + j, {
              ...{ qos: j % 3, brokerId: `broker-${j}`, gone: (i + j) % 4 === 0 },
              ...optionsAt(i + j),
            }),
          ),
        );
        await store.write(rows);
        expect(sorted(await all(store))).toEqual(sorted(rows));
      });
    });

    test('I8: any order, any duplicates, any cut into batches give the same rows', async () => {
      const change = fc.record({
        filter: fc.constantFrom(...filters.slice(0, 4)),
        clientId: fc.constantFrom('c1', 'c2', 'c3'),
        offset: fc.integer({ min: 0, max: 20 }),
        incarnation: fc.integer({ min: 0, max: 1 }),
      });
      await fc.assert(
        fc.asyncProperty(
          fc.array(change, { maxLength: 30 }).chain((changes) =>
            // One version has one content, as an offset has in a log.
            fc
              .shuffledSubarray([...changes, ...changes], { minLength: changes.length * 2 })
              .map((shuffled) => ({ changes, shuffled })),
          ),
          fc.integer({ min: 1, max: 7 }),
          async ({ changes, shuffled }, size) => {
            const rowOf = (each: (typeof changes)[number]) =>
              row(each.filter, each.clientId, each.offset, {
                version: { incarnation: each.incarnation, offset: each.offset },
                gone: each.offset % 3 === 0,
                brokerId: `broker-${(each.offset + each.incarnation) % 4}`,
                ...(each.offset % 3 === 0 ? {} : optionsAt(each.offset)),
              });
            const [inOrder, shaken] = [await options.home(), await options.home()];
            const [one, two] = [await inOrder.open(), await shaken.open()];
            try {
              await one.write(changes.map(rowOf).sort((a, b) => compareVersions(a.version, b.version)));
              const rows = shuffled.map(rowOf);
              for (let from = 0; from < rows.length; from += size) await two.write(rows.slice(from, from + size));
              const left = sorted(await all(two));
              expect(left).toEqual(sorted(await all(one)));
              expect(left.filter((each) => !each.gone).map(heldBy)).toEqual(
                sorted(liveOf(changes.map(rowOf))).map(heldBy),
              );
            } finally {
              for (const store of [one, two]) await store.close();
              for (const home of [inOrder, shaken]) await home.remove();
            }
          },
        ),
        { numRuns: runs },
      );
    });

    describe('D1: a removal counts for the subscription of its own broker alone', () => {
      const sub = (brokerId: string, offset: number) => row(first, 'c', offset, { brokerId });
      const end = (brokerId: string, offset: number) => row(first, 'c', offset, { brokerId, gone: true, qos: 0 });
      for (const { name, events, holder } of [
        {
          name: 'taken over, then ended by the old broker',
          events: [sub('A', 1), sub('B', 2), end('A', 3)],
          holder: 'B',
        },
        {
          name: 'taken over and ended by both',
          events: [sub('A', 1), sub('B', 2), end('A', 3), end('B', 4)],
          holder: '',
        },
        { name: 'ended by the new broker alone', events: [sub('A', 1), sub('B', 2), end('B', 3)], holder: '' },
        {
          name: 'back at the old broker, which ends it',
          events: [sub('A', 1), sub('B', 2), sub('A', 3), end('A', 4)],
          holder: '',
        },
        {
          name: 'back at the old broker, ended by the other',
          events: [sub('A', 1), sub('B', 2), sub('A', 3), end('B', 4)],
          holder: 'A',
        },
        {
          name: 'ended twice, then taken over',
          events: [sub('A', 1), end('A', 2), end('A', 3), sub('B', 4)],
          holder: 'B',
        },
        { name: 'ended by strangers', events: [sub('A', 1), end('B', 2), end('C', 3), end('D', 4)], holder: 'A' },
        { name: 'never there', events: [end('A', 1), end('B', 2)], holder: '' },
      ])
        test(`${name}: in each order of arrival`, async () => {
          const seen = new Set<string>();
          for (const order of ordersOf(events)) {
            const store = await fresh();
            for (const each of order) await store.write([each]);
            const [answer] = await store.lookup([first], epoch(1));
            const subscribers = answer?.kind === 'found' ? answer.subscribers.map((each) => each.brokerId) : ['moved'];
            expect(subscribers, order.map((each) => each.version.offset).join()).toEqual(holder === '' ? [] : [holder]);
            seen.add(JSON.stringify(await all(store)));
            await store.close();
          }
          expect(seen.size, 'one state').toBe(1);
        });

      test('it is counted on its own, once', async () => {
        const store = await fresh();
        expect(await store.write([sub('A', 1), sub('B', 2), end('A', 3)])).toEqual({
          applied: 2,
          stale: 0,
          foreign: 1,
        });
        expect(await store.write([end('A', 3), end('C', 4)])).toEqual({ applied: 0, stale: 1, foreign: 1 });
        expect(await store.write([end('B', 5)])).toEqual({ applied: 1, stale: 0 });
      });

      test('what is remembered of removals is bounded, and never the holder’s own', async () => {
        const store = await fresh();
        await store.write([sub('A', 1), end('A', 2), ...Array.from({ length: 40 }, (_, i) => end(`b${i}`, 3 + i))]);
        const [left] = await all(store);
        expect(left).toMatchObject({ gone: true, brokerId: 'A', since: { incarnation: 1, offset: 1 } });
        expect(left!.others!.map((each) => each.brokerId)).toEqual(Array.from({ length: 15 }, (_, i) => `b${39 - i}`));
      });

      test('a tombstone is dropped when its newest removal is old enough', async () => {
        const store = await fresh();
        const at = (each: SubscriptionRow, time: number) => ({ ...each, at: eventTime(time) });
        await store.write([at(sub('A', 1), 10), at(end('A', 2), 20), at(end('B', 3), 30)]);
        expect(await store.dropTombstones(eventTime(30))).toBe(0);
        expect(await store.dropTombstones(eventTime(31))).toBe(1);
      });

      test('it outlives the process', async () => {
        const home = await freshHome();
        const before = await home.open();
        await before.write([sub('A', 1), end('A', 3), end('B', 4)]);
        const rows = await all(before);
        await before.close();
        const after = await opened(home);
        expect(await all(after)).toEqual(rows);
        await after.write([sub('B', 2)]);
        expect(await all(after)).toMatchObject([{ brokerId: 'B', gone: true, version: { offset: 4 } }]);
      });
    });

    describe('options of a subscription', () => {
      const [none, some, others] = [{}, { options: OPTIONS[3]! }, { options: OPTIONS[4]! }];
      const range = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
      const answered = async (store: ShardStore) => {
        const [answer] = await store.lookup([first], epoch(1));
        return answer?.kind === 'found' ? answer.subscribers : 'moved';
      };
      const subscriber = (more: Pick<SubscriptionRow, 'options'>) => ({
        ...{ filter: first, clientId: 'c', brokerId: 'broker-1', qos: 1 },
        ...more,
      });

      for (const [i, options] of [undefined, ...OPTIONS].entries())
        test(`are in look-ups and scans as they were written, also after a restart: ${packOptions(options)}`, async () => {
          const more = options === undefined ? {} : { options };
          const home = await freshHome();
          const before = await home.open();
          for (const slice of wholes) await before.own(owned(slice));
          await before.write([row(first, 'c', i, more)]);
          expect(await answered(before)).toEqual([subscriber(more)]);
          await before.close();
          const store = await opened(home);
          const [answer] = await answered(store);
          expect(answer).toStrictEqual(subscriber(more));
          expect(await all(store)).toStrictEqual([row(first, 'c', i, more)]);
        });

      for (const { name, from, to } of [
        { name: 'are given', from: none, to: some },
        { name: 'are replaced', from: some, to: others },
        { name: 'are taken back', from: others, to: none },
      ])
        test(`of a newer SUBSCRIBE count, whatever comes again: they ${name}`, async () => {
          const store = await fresh();
          const [old, now] = [row(first, 'c', 1, from), row(first, 'c', 2, to)];
          expect(await store.write([old])).toEqual({ applied: 1, stale: 0 });
          expect(await store.write([now, old])).toEqual({ applied: 1, stale: 1 });
          expect(await store.write([old, now])).toEqual({ applied: 0, stale: 2 });
          expect(await answered(store)).toStrictEqual([subscriber(to)]);
        });

      test('a removal by another broker leaves them, and one by the own broker ends the subscription', async () => {
        const store = await fresh();
        const end = (brokerId: string, offset: number) => row(first, 'c', offset, { brokerId, gone: true, qos: 0 });
        await store.write([row(first, 'c', 1, some), end('broker-2', 2)]);
        expect(await answered(store)).toStrictEqual([subscriber(some)]);
        await store.write([end('broker-1', 3)]);
        expect(await answered(store)).toEqual([]);
        await store.write([row(first, 'c', 4)]);
        expect(await answered(store)).toStrictEqual([subscriber(none)]);
      });

      test('tell digests apart, and are the same in two stores after a copy and a replay', async () => {
        const digestOf = async (store: ShardStore) => (await store.digest(range, undefined, undefined)).digest;
        const digests = new Set<string>();
        for (const options of [undefined, ...OPTIONS]) {
          const store = await fresh();
          await store.write([row(first, 'c', 1, options === undefined ? {} : { options })]);
          digests.add(await digestOf(store));
        }
        expect(digests.size).toBe(OPTIONS.length + 1);
        const rows = Array.from({ length: 20 }, (_, i) =>
          row(first, `c${i}`, i, { ...optionsAt(i), gone: i % 5 === 4 }),
        );
        const [source, target] = [await fresh(), await fresh()];
        await source.write(rows);
        await target.write([...(await scanned(source, range, 3)), ...rows]);
        expect(await digestOf(target)).toBe(await digestOf(source));
        expect(await all(target)).toEqual(await all(source));
      });
    });

    describe('D3 and D4: owners', () => {
      test('D4: a word of the same epoch is refused after one of a higher turn, also after a restart', async () => {
        const home = await freshHome();
        const { slice } = everything[0]!;
        const says = (state: 'owned' | 'receiving' | 'moved', at: number, turn: number) => ({
          ...owned(slice, at, state),
          turn,
        });
        const before = await home.open();
        expect(await before.own(owned(slice, 4))).toBe(true);
        expect(await before.own(says('moved', 5, 300))).toBe(true);
        await before.close();
        const store = await opened(home);
        for (const late of [owned(slice, 5, 'moved'), says('receiving', 5, 299)])
          expect(await store.own(late)).toBe(false);
        expect(await store.owners()).toEqual([says('moved', 5, 300)]);
        expect(await store.own(says('moved', 5, 300))).toBe(true);
        expect(await store.own(says('receiving', 5, 301))).toBe(true);
        expect(await store.own(owned(slice, 6))).toBe(true);
      });

      test('D3: a record that speaks for a time is as good as moved after it, also after a restart', async () => {
        const home = await freshHome();
        const before = await home.open();
        const says = (slice: SliceKey, until: number) => ({
          ...owned(slice, 5),
          movedTo: shardId('shard-0009'),
          until,
        });
        const inTime = wholes.map((slice) => says(slice, Date.now() + 3_600_000));
        const asked = (store: ShardStore) =>
          Promise.all([
            store.lookup([first], epoch(1)),
            ...(options.kind === 'TRIE'
              ? wholes.map((slice) => store.match([{ topic: 'a/b', slice, epoch: epoch(7) }]))
              : []),
          ]);
        for (const record of inTime) expect(await before.own(record)).toBe(true);
        await before.write([row(first, 'c', 1)]);
        for (const [answer] of await asked(before)) expect(answer?.kind).toBe('found');
        for (const { slice } of inTime) await before.own(says(slice, 1));
        for (const answers of await asked(before)) expect(answers).toMatchObject([{ kind: 'moved' }]);
        await before.close();

        const after = await opened(home);
        expect(await after.owners()).toEqual(expect.arrayContaining(inTime.map((record) => ({ ...record, until: 1 }))));
        const [[answer], ...groups] = await asked(after);
        expect(answer).toEqual({ kind: 'moved', epoch: 5 });
        for (const answers of groups) expect(answers).toEqual([{ kind: 'moved', epoch: 7 }]);
      });

      test('without a record that covers the filter the asker is sent on', async () => {
        const store = await opened(await freshHome());
        await store.write([row(first, 'c', 1)]);
        expect((await store.lookup([first], epoch(3)))[0]).toEqual({ kind: 'moved', epoch: 3 });
      });

      for (const { name, state, recorded, asker, answer } of [
        { name: 'an owned slice answers', state: 'owned', recorded: 5, asker: 1, answer: 'found' },
        {
          name: 'a slice being received answers who can know of it',
          state: 'receiving',
          recorded: 5,
          asker: 5,
          answer: 'found',
        },
        {
          name: 'a slice being received sends an older asker on',
          state: 'receiving',
          recorded: 5,
          asker: 4,
          answer: 'moved',
        },
        { name: 'a moved slice sends an older asker on', state: 'moved', recorded: 5, asker: 4, answer: 'moved' },
        {
          name: 'a moved slice never answers, whatever the asker knows',
          state: 'moved',
          recorded: 5,
          asker: 6,
          answer: 'moved',
        },
      ] as const)
        test(name, async () => {
          const store = await opened(await freshHome());
          for (const slice of wholes) await store.own(owned(slice, recorded, state));
          const [found] = await store.lookup([first], epoch(asker));
          expect(found).toEqual(
            answer === 'found'
              ? { kind: 'found', subscribers: [] }
              : { kind: 'moved', epoch: Math.max(recorded, asker) },
          );
        });

      test('an owner record yields to the same epoch or a higher one alone', async () => {
        const store = await opened(await freshHome());
        const slice = wholes[0]!;
        expect(await store.own(owned(slice, 5, 'receiving'))).toBe(true);
        expect(await store.own(owned(slice, 4, 'moved'))).toBe(false);
        expect(await store.own(owned(slice, 5, 'owned'))).toBe(true);
        expect(await store.own(owned(slice, 6, 'moved'))).toBe(true);
        expect(await store.owners()).toEqual([owned(slice, 6, 'moved')]);
        const right = { state: 'moved', epoch: epoch(6) } as const;
        expect(await store.disown(slice, right)).toBe(true);
        expect(await store.disown(slice, right)).toBe(true);
        expect(await store.owners()).toEqual([]);
      });

      test('a record that was forgotten does not come back by a call that comes late', async () => {
        const store = await opened(await freshHome());
        const isTrie = options.kind === 'TRIE';
        const whole = wholes[partitionOf('a', PARTITIONS)]!;
        const part = isTrie ? groupSlice(partitionOf('a', PARTITIONS), 'a/b/') : pinSlice('a');
        await store.own(owned(whole, 1));
        const receiving = { ...owned(part, 2, 'receiving'), turn: 7 };
        await store.own(receiving);
        await store.own(owned(part, 3));
        await store.own(owned(whole, 4));
        expect(await store.disown(part, { state: 'owned', epoch: epoch(3) })).toBe(true);
        for (const late of [receiving, owned(part, 3), owned(part, 3, 'moved')])
          expect(await store.own(late)).toBe(false);
        expect(await store.owners()).toEqual([owned(whole, 4)]);
        expect(await store.own({ ...owned(part, 3, 'receiving'), turn: 9 })).toBe(true); // It moves here again.
        expect(await store.own(owned(part, 5))).toBe(true);
      });

      for (const { name, state, at, forgotten } of [
        { name: 'as the caller thinks it is', state: 'owned', at: 5, forgotten: true },
        { name: 'of an epoch from before the caller’s', state: 'owned', at: 6, forgotten: true },
        { name: 'of a later epoch: its successor’s', state: 'owned', at: 4, forgotten: false },
        { name: 'in another state', state: 'receiving', at: 5, forgotten: false },
      ] as const)
        test(`D5: a record ${name} is ${forgotten ? '' : 'not '}forgotten`, async () => {
          const store = await opened(await freshHome());
          const slice = wholes[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
          await store.own(owned(slice, 5));
          expect(await store.disown(slice, { state, epoch: epoch(at) })).toBe(forgotten);
          expect((await store.lookup([first], epoch(9)))[0]?.kind).toBe(forgotten ? 'moved' : 'found');
        });

      test('a digest counts the rows that no look-up would find', async () => {
        const store = await opened(await freshHome());
        const range = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
        await store.write([row(first, 'c1', 1), row(first, 'c2', 2)]);
        const hidden = async () => (await store.digest(range, undefined, undefined)).hidden;
        expect(await hidden()).toBe(2);
        await store.own(owned(range.slice, 1, 'receiving'));
        expect(await hidden()).toBe(0);
        await store.own(owned(range.slice, 2));
        expect(await hidden()).toBe(0);
        await store.own(owned(range.slice, 3, 'moved'));
        expect(await hidden()).toBe(2);
      });

      test('the most specific record decides', async () => {
        const store = await fresh();
        const filter = options.kind === 'TRIE' ? 'a/b/+' : 'a/b';
        const other = options.kind === 'TRIE' ? 'a/+' : 'a/b/c';
        const carved = options.kind === 'TRIE' ? groupSlice(partitionOf('a', PARTITIONS), 'a/b/') : pinSlice(filter);
        await store.own(owned(carved, 7, 'moved'));
        const answers = await store.lookup([filter, other], epoch(6));
        expect(answers.map((each) => each.kind)).toEqual(['moved', 'found']);
      });
    });

    test('lookup gives the live subscribers of exactly the filters asked, in order', async () => {
      const store = await fresh();
      await store.write([
        row(first, 'c1', 1, { qos: 2, brokerId: 'broker-7' }),
        row(first, 'c2', 2, { gone: true }),
        row(second, 'c3', 3),
      ]);
      expect(await store.lookup([second, first, first], epoch(1))).toEqual([
        { kind: 'found', subscribers: [{ filter: second, clientId: 'c3', brokerId: 'broker-1', qos: 1 }] },
        { kind: 'found', subscribers: [{ filter: first, clientId: 'c1', brokerId: 'broker-7', qos: 2 }] },
        { kind: 'found', subscribers: [{ filter: first, clientId: 'c1', brokerId: 'broker-7', qos: 2 }] },
      ]);
      expect(await store.lookup([], epoch(1))).toEqual([]);
    });

    for (const levels of [129, 1_000, 65_535])
      test(`a topic of ${levels} levels is looked up like any other`, async () => {
        const store = await fresh();
        const topic = `${'/'.repeat(levels - 1)}${levels === 65_535 ? '' : 'x'}`;
        if (options.kind === 'KEY_VALUE') {
          expect(await store.lookup([topic], epoch(1))).toEqual([{ kind: 'found', subscribers: [] }]);
          return;
        }
        await store.write([row('#', 'everything', 1), row('/+', 'two levels', 2)]);
        const slice = groupSlice(partitionOf(placeOf('#').routingKey, PARTITIONS));
        expect(await store.match([{ topic, slice, epoch: epoch(1) }])).toMatchObject([
          { kind: 'found', subscribers: [{ clientId: 'everything' }] },
        ]);
      });

    describe('ranges', () => {
      test('pages of any size give each row of the range once, in one order', async () => {
        const store = await fresh();
        const rows = filters.flatMap((filter, i) => CLIENTS.map((client, j) => row(filter, client, i * 10 + j)));
        await store.write(rows);
        for (const range of everything) {
          const whole = await scanned(store, range, 1_000);
          for (const limit of [1, 2, 3, 7, 50]) expect(await scanned(store, range, limit)).toEqual(whole);
          expect(sorted(whole)).toEqual(sorted(rows.filter((each) => isIn(each, range))));
          const byFilter = new Map<string, string[]>();
          for (const each of whole) byFilter.set(each.filter, [...(byFilter.get(each.filter) ?? []), each.clientId]);
          for (const clients of byFilter.values()) expect(clients).toEqual([...clients].sort(compareUtf8));
        }
      });

      test('a range less what is carved out of it holds what a filter over all rows leaves', async () => {
        const store = await fresh();
        const rows = filters.flatMap((filter, i) => CLIENTS.map((client, j) => row(filter, client, i * 10 + j)));
        await store.write(rows);
        for (const range of carvedRanges(options.kind)) {
          const expected = sorted(rows.filter((each) => isIn(each, range)));
          for (const limit of [1, 4, 1_000])
            expect(sorted(await scanned(store, range, limit)), JSON.stringify(range)).toEqual(expected);
          expect((await store.count(range)).entries).toBe(expected.length);
          expect((await store.digest(range, undefined, undefined)).rows).toBe(expected.length);
        }
      });

      test('a scan goes on behind its cursor whatever was written or erased before it', async () => {
        const store = await fresh();
        const range = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
        await store.write(['b', 'd', 'f', 'h'].map((client, i) => row(first, client, i)));
        const page = await store.scan(range, undefined, 2);
        const at = page.rows.at(-1)!.clientId;
        await store.write([row(first, `${at}1`, 10), row(first, 'a', 11)]);
        const rest = await scanned(store, range, 2, page.cursor);
        expect(rest.filter((each) => each.filter === first).map((each) => each.clientId)).toContain(`${at}1`);
        expect(rest.some((each) => page.rows.some((other) => other.clientId === each.clientId))).toBe(false);
      });

      test('digests are equal for equal rows, whatever way they came, and differ for each field', async () => {
        const [one, two] = [await fresh(), await fresh()];
        const rows = filters.map((filter, i) => row(filter, 'c', i));
        await one.write(rows);
        await two.write(
          [...rows].reverse().map((each) => ({ ...each, version: { incarnation: 0, offset: 0 }, gone: true })),
        );
        await two.write([...rows].reverse());
        const range = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
        const digest = await one.digest(range, undefined, undefined);
        expect(digest.rows).toBeGreaterThan(0);
        expect(await two.digest(range, undefined, undefined)).toEqual(digest);
        const seen = new Set([digest.digest]);
        for (const [i, change] of [
          { qos: 2 },
          { brokerId: 'broker-2' },
          { gone: true },
          { version: { incarnation: 3, offset: 0 } },
        ].entries()) {
          await two.write([row(first, 'c', 100 + i, { version: { incarnation: 2, offset: i }, ...change })]);
          const changed = await two.digest(range, undefined, undefined);
          expect(seen.has(changed.digest)).toBe(false);
          seen.add(changed.digest);
        }
      });

      test('the digests of the pieces between cursors cover the range without overlap', async () => {
        const store = await fresh();
        await store.write(filters.flatMap((filter, i) => CLIENTS.map((client, j) => row(filter, client, i * 10 + j))));
        for (const range of everything) {
          let after: Cursor | undefined;
          let rows = 0;
          for (;;) {
            const page = await store.scan(range, after, 3);
            const piece = await store.digest(range, after, page.done ? undefined : page.cursor);
            expect(piece.rows).toBe(page.rows.length);
            rows += piece.rows;
            if (page.done) break;
            after = page.cursor;
          }
          expect((await store.digest(range, undefined, undefined)).rows).toBe(rows);
        }
      });

      test('erase takes at most so many rows, of the range alone, tombstones included', async () => {
        const store = await fresh();
        const rows = filters.flatMap((filter, i) =>
          CLIENTS.map((client, j) => row(filter, client, i * 10 + j, { gone: j === 1 })),
        );
        await store.write(rows);
        let kept: SubscriptionRow[] = rows;
        for (const range of carvedRanges(options.kind)) {
          let left = kept.filter((each) => isIn(each, range)).length;
          for (; left > 0; left -= Math.min(left, 3)) expect(await erased(store, range, 3)).toBe(Math.min(left, 3));
          expect(await erased(store, range, 3)).toBe(0);
          kept = kept.filter((each) => !isIn(each, range));
          expect(sorted(await all(store))).toEqual(sorted(kept));
        }
        for (const range of everything) while ((await erased(store, range, 50)) > 0);
        expect(await all(store)).toEqual([]);
        await store.own(owned(everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!.slice, 1_001));
        expect(await store.write([row(first, 'c1', 0)])).toEqual({ applied: 1, stale: 0 });
      });

      for (const { name, records, applied } of [
        { name: 'that has moved', records: [['moved', 5]], applied: 0 },
        {
          name: 'that has moved and comes back',
          records: [
            ['moved', 5],
            ['receiving', 5, 1],
          ],
          applied: 1,
        },
        { name: 'that is here', records: [['owned', 5]], applied: 1 },
        { name: 'of which nothing is said', records: [], applied: 1 },
      ] as const)
        test(`D8: a late row of a slice ${name} is ${applied === 1 ? 'taken' : 'left'}`, async () => {
          const store = await opened(await freshHome());
          const { slice } = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
          for (const [state, at, turn] of records)
            await store.own({ ...owned(slice, at, state), ...(turn === undefined ? {} : { turn }) });
          expect(await store.write([row(first, 'c', 1)])).toEqual({ applied, stale: 1 - applied });
          expect(await all(store)).toHaveLength(applied);
        });

      for (const { name, record, right, takes } of [
        { name: 'the record that says so', record: ['moved', 5], right: ['moved', 5], takes: true },
        { name: 'the record of its own copy', record: ['receiving', 5], right: ['receiving', 5], takes: true },
        { name: 'a slice that is owned here by now', record: ['owned', 6], right: ['receiving', 5], takes: false },
        { name: 'a slice that is owned here again', record: ['owned', 6], right: ['moved', 5], takes: false },
        { name: 'a slice that is on its way back', record: ['receiving', 5], right: ['moved', 5], takes: false },
        { name: 'a slice that a later move brings', record: ['receiving', 6], right: ['receiving', 5], takes: false },
        { name: 'a slice without a record', record: undefined, right: ['receiving', 5], takes: false },
        { name: 'the record of its own turn', record: ['moved', 5, 2], right: ['moved', 5, 2], takes: true },
        {
          name: 'a slice that a later turn brings',
          record: ['receiving', 5, 2],
          right: ['receiving', 5, 1],
          takes: false,
        },
        { name: 'a slice that has turns by now', record: ['receiving', 5, 2], right: ['receiving', 5], takes: false },
      ] as const)
        test(`D5: a late erase meets ${name}: ${takes ? 'rows go' : 'nothing happens'}`, async () => {
          const store = await opened(await freshHome());
          const range = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
          await store.write([row(first, 'c', 1)]);
          if (record !== undefined) {
            const [state, at, turn] = record;
            await store.own({ ...owned(range.slice, at, state), ...(turn === undefined ? {} : { turn }) });
          }
          const [state, at, turn] = right;
          const said = { state, epoch: epoch(at), ...(turn === undefined ? {} : { turn }) };
          expect(await store.erase(range, 10, said)).toBe(takes ? 1 : undefined);
          expect(await all(store)).toHaveLength(takes ? 0 : 1);
        });

      test('D5: a late erase of a slice leaves a part of it that has come back since', async () => {
        const store = await opened(await freshHome());
        const { partition, whole, part, inPart, beside } = CARVED[options.kind];
        const range = { slice: whole, except: [] };
        const right = { state: 'moved', epoch: epoch(5), turn: 1 } as const;
        expect(partitionOf(placeOf(inPart).routingKey, PARTITIONS)).toBe(partition);
        await store.write([row(beside, 'c', 1)]);
        await store.own({ ...owned(whole, 5, 'moved'), turn: 1 });
        await store.own(owned(part, 6, 'receiving'));
        await store.write([row(inPart, 'c', 2)]);
        expect(await store.erase(range, 10, right)).toBe(1);
        expect((await all(store)).map(({ filter }) => filter)).toEqual([inPart]);
        expect((await store.owners()).map(({ slice }) => slice)).toContain(part);
      });

      test('D5: records of what was carved out go with the rows, those of what still is stay', async () => {
        const store = await fresh();
        const [range] = carvedRanges(options.kind);
        const { slice, except } = range!;
        const apart = except[0]!;
        const merged =
          options.kind === 'TRIE'
            ? groupSlice(partitionOf('a', PARTITIONS), 'a/c/')
            : hashSlice(partitionOf('a/b', PARTITIONS), '01');
        const neighbour = wholes[(partitionOf(placeOf(first).routingKey, PARTITIONS) + 1) % PARTITIONS]!;
        for (const each of [slice, apart, merged]) await store.own(owned(each, 4, 'moved'));
        await store.erase({ slice, except: [apart] }, 10, { state: 'moved', epoch: epoch(4) });
        const left = (await store.owners()).map((each) => each.slice);
        expect(left).toEqual(expect.arrayContaining([slice, apart, neighbour]));
        expect(left).not.toContain(merged);
      });

      test('count tells live rows and their weight', async () => {
        const store = await fresh();
        const range = everything[partitionOf(placeOf(first).routingKey, PARTITIONS)]!;
        expect(await store.count(range)).toEqual({ entries: 0, bytes: 0 });
        await store.write([row(first, 'c1', 1), row(first, 'c2', 2), row(first, 'c3', 3, { gone: true })]);
        const counted = await store.count(range);
        expect(counted.entries).toBe(2);
        expect(counted.bytes).toBe(2 * (32 + Buffer.byteLength(first) + 2 + 8));
      });

      test('counts of so many rows at a time add up to that of the whole', async () => {
        const store = await fresh();
        await store.write(
          filters.flatMap((filter, i) =>
            CLIENTS.map((client, j) => row(filter, client, i * 10 + j, { gone: j === 3 })),
          ),
        );
        for (const range of [...everything, ...carvedRanges(options.kind)]) {
          const whole = await store.count(range);
          for (const limit of [1, 3, 7, 1_000]) {
            const sum = { entries: 0, bytes: 0 };
            for (
              let part = await store.count(range, undefined, limit);
              ;
              part = await store.count(range, part.rest, limit)
            ) {
              expect(part.entries).toBeLessThanOrEqual(limit);
              sum.entries += part.entries;
              sum.bytes += part.bytes;
              if (part.rest === undefined) break;
            }
            expect(sum).toEqual(whole);
          }
        }
      });
    });

    describe('D8: rows are forgotten as they were seen', () => {
      const seen = row(first, 'c1', 7);
      for (const { name, stored, given, goes } of [
        { name: 'a live row', stored: [seen], given: seen, goes: true },
        { name: 'a tombstone', stored: [{ ...seen, gone: true }], given: { ...seen, gone: true }, goes: true },
        { name: 'a row that was written since', stored: [seen, row(first, 'c1', 8)], given: seen, goes: false },
        {
          name: 'a row that was removed since',
          stored: [seen, row(first, 'c1', 8, { gone: true })],
          given: seen,
          goes: false,
        },
        { name: 'a row of another broker', stored: [row(first, 'c1', 7, { brokerId: 'x' })], given: seen, goes: false },
        { name: 'a row with other options', stored: [{ ...seen, ...optionsAt(0) }], given: seen, goes: false },
        { name: 'no row', stored: [], given: seen, goes: false },
      ])
        test(`${name}: ${goes ? 'it goes, and an older one can be written' : 'nothing happens'}`, async () => {
          const home = await freshHome();
          const store = await opened(home);
          for (const each of stored) await store.write([each]);
          await store.write([row(second, 'c1', 7)]);
          const before = await all(store);
          expect(await store.forget([given, row(second, 'another', 7)])).toBe(goes ? 1 : 0);
          await store.close();
          const again = await opened(home);
          const left = before.filter((each) => !goes || each.filter !== first);
          expect(sorted(await all(again))).toEqual(sorted(left));
          if (goes) expect(await again.write([row(first, 'c1', 1)])).toEqual({ applied: 1, stale: 0 });
        });
    });

    test('tombstones older than a time are forgotten, and nothing else', async () => {
      const store = await fresh();
      await store.write([
        row(first, 'old', 1, { gone: true, at: eventTime(10) }),
        row(first, 'new', 2, { gone: true, at: eventTime(20) }),
        row(second, 'live', 3, { at: eventTime(5) }),
      ]);
      expect(await store.dropTombstones(eventTime(20))).toBe(1);
      expect(await store.dropTombstones(eventTime(20))).toBe(0);
      expect((await all(store)).map((each) => each.clientId).sort()).toEqual(['live', 'new']);
    });

    test('what was written is there after closing and opening again, owners included', async () => {
      const home = await freshHome();
      const rows = filters.flatMap((filter, i) =>
        CLIENTS.map((client, j) => row(filter, client, i * 10 + j, { brokerId: `b${j}`, gone: j === 2 })),
      );
      const before = await home.open();
      for (const slice of wholes) await before.own(owned(slice, 3));
      await before.own(owned(wholes[1]!, 4, 'moved'));
      await before.disown(wholes[2]!, { state: 'owned', epoch: epoch(3) });
      await before.write(rows);
      await erased(before, everything[3]!, 2);
      const state = { rows: await all(before), owners: await before.owners() };
      await before.close();
      const after = await opened(home);
      expect({ rows: await all(after), owners: await after.owners() }).toEqual(state);
      expect(await after.write([row(first, CLIENTS[0]!, 0)]), 'versions outlive the process').toEqual({
        applied: 0,
        stale: 1,
      });
      await after.write([row(first, 'later', 1, { brokerId: 'a new broker' })]);
      expect((await all(after)).find((each) => each.clientId === 'later')?.brokerId).toBe('a new broker');
    });

    test('closing twice is closing once, and a closed store refuses work', async () => {
      const store = await (await freshHome()).open();
      await store.close();
      await store.close();
      await expect(store.write([row(first, 'c', 1)])).rejects.toBeInstanceOf(AppError);
      await expect(store.scan(everything[0]!, undefined, 1)).rejects.toBeInstanceOf(AppError);
    });

    if (options.kind === 'KEY_VALUE') {
      test('a key-value store refuses to match topics', async () => {
        const store = await fresh();
        await expect(store.match([{ topic: 'a', slice: wholes[0]!, epoch: epoch(1) }])).rejects.toMatchObject({
          code: 'REQUEST_INVALID',
        });
      });

      describe('O9: a topic whose former parts have left, and which has come back in another division', () => {
        const rows = ['c0', 'c1', 'c2', 'c3'].map((client, i) => row('a', client, i));
        const around = hashSlice(partitionOf('a', PARTITIONS));
        const [former, other] = [spreadSlice('a', 0, 2), spreadSlice('a', 1, 2)];

        async function left(): Promise<ShardStore> {
          const store = await opened(await freshHome());
          await store.own(owned(around, 1));
          await store.own(owned(former, 4));
          await store.own(owned(former, 5, 'moved'));
          await store.own(owned(other, 5, 'moved'));
          return store;
        }

        async function expectAllFound(store: ShardStore): Promise<void> {
          expect(await store.write(rows)).toEqual({ applied: 4, stale: 0 });
          expect((await store.lookup(['a'], epoch(12)))[0]).toMatchObject({
            kind: 'found',
            subscribers: { length: 4 },
          });
          const whole = { slice: around, except: [] };
          expect(await store.digest(whole, undefined, undefined)).toMatchObject({ rows: 4, hidden: 0 });
        }

        test('is found when it is whole', async () => {
          const store = await left();
          await store.own(owned(pinSlice('a'), 9));
          await expectAllFound(store);
        });

        test('is found when it is part of a hash slice again', async () => {
          const store = await left();
          await store.own(owned(pinSlice('a'), 9));
          await store.disown(pinSlice('a'), { state: 'owned', epoch: epoch(9) });
          await expectAllFound(store);
          expect((await store.owners()).map(({ slice }) => slice)).toEqual([around]);
        });

        test('is found when it has other parts', async () => {
          const store = await left();
          for (const part of spreadSlices('a', 3)) await store.own(owned(part, 9));
          await expectAllFound(store);
        });

        for (const slices of [[pinSlice('a')], spreadSlices('a', 3)])
          test(`keeps its rows in ${slices} when a former part is erased late`, async () => {
            const store = await left();
            for (const slice of slices) await store.own(owned(slice, 9));
            await store.write(rows);
            expect(await store.erase({ slice: former, except: [] }, 10, { state: 'moved', epoch: epoch(5) })).toBe(0);
            expect(await all(store)).toHaveLength(4);
          });

        test('takes the rows of a part that comes where the hash slice has moved later than the topic was spread', async () => {
          const store = await opened(await freshHome());
          await store.own(owned(around, 5, 'moved'));
          for (const part of spreadSlices('a', 2)) await store.own(owned(part, 2, 'receiving'));
          expect(await store.write(rows)).toEqual({ applied: 4, stale: 0 });
        });
      });

      test('D8: a late row of a part that is elsewhere is not found beside the part that is here', async () => {
        const store = await opened(await freshHome());
        const clients = Array.from({ length: 8 }, (_, i) => `c${i}`);
        const isHere = (client: string): boolean => filterHash(client) % 2 === 0;
        await store.own(owned(hashSlice(partitionOf('a', PARTITIONS)), 5, 'moved'));
        await store.own(owned(spreadSlice('a', 0, 2), 6));
        await store.write(clients.map((client, i) => row('a', client, i)));
        const [answer] = await store.lookup(['a'], epoch(6));
        const found = answer?.kind === 'found' ? answer.subscribers.map(({ clientId }) => clientId) : [];
        expect(found.sort()).toEqual(clients.filter(isHere));
      });

      test('parts of a spread topic: one that has moved sends older askers on', async () => {
        const store = await fresh();
        await store.own(owned(spreadSlice('a/b', 0, 2), 4));
        await store.own(owned(spreadSlice('a/b', 1, 2), 6, 'moved'));
        expect((await store.lookup(['a/b'], epoch(5)))[0]).toEqual({ kind: 'moved', epoch: 6 });
        expect((await store.lookup(['a/b'], epoch(6)))[0]?.kind).toBe('found');
      });

      test('parts of a spread topic: who may look for all of it, or for a part when none is here, is sent on', async () => {
        const store = await fresh();
        await store.own(owned(pinSlice('a/b'), 5, 'moved'));
        await store.own(owned(spreadSlice('a/b', 0, 2), 9));
        expect((await store.lookup(['a/b'], epoch(4)))[0]).toEqual({ kind: 'moved', epoch: 5 });
        expect((await store.lookup(['a/b'], epoch(9)))[0]?.kind).toBe('found');
        await store.own(owned(spreadSlice('a/b', 0, 2), 10, 'moved'));
        expect((await store.lookup(['a/b'], epoch(11)))[0]).toEqual({ kind: 'moved', epoch: 11 });
      });
    } else matchingTests(() => fresh());
  });

  async function all(store: ShardStore): Promise<SubscriptionRow[]> {
    const rows: SubscriptionRow[] = [];
    for (const range of everything) rows.push(...(await scanned(store, range, 1_000)));
    return rows;
  }
}

function matchingTests(fresh: () => Promise<ShardStore>): void {
  const own = partitionOf('a', PARTITIONS);
  const root = partitionOf('#', PARTITIONS);
  const names = (answer: { kind: string; subscribers?: readonly Subscriber[] } | undefined): string[] =>
    (answer?.subscribers ?? []).map((each) => each.filter).sort(compareUtf8);

  test('I3: the answers of all groups together are a scan over all live filters', async () => {
    const store = await fresh();
    await store.write(
      TRIE.flatMap((filter, i) =>
        ['c1', 'c2'].map((client, j) => row(filter, client, i * 2 + j, { gone: i % 5 === 4 })),
      ),
    );
    const live = TRIE.filter((_, i) => i % 5 !== 4);
    for (const topic of ['a', 'a/b', 'a/b/c', 'b', '/', '$SYS/x', 'ü/x', 'a/\u{1f600}/x', '\uffee/y', '']) {
      const slices = Array.from({ length: PARTITIONS }, (_, partition) => groupSlice(partition));
      const answers = await store.match(slices.map((slice) => ({ topic, slice, epoch: epoch(1) })));
      const expected = live
        .filter((filter) => matches(placeOf(filter).inner, topic))
        .flatMap((filter) => [filter, filter]);
      expect(answers.flatMap(names).sort(compareUtf8), topic).toEqual(expected.sort(compareUtf8));
    }
  });

  test('a group answers for its own filters, and for those of a group carved out of it that is here', async () => {
    const store = await fresh();
    await store.write(['a/#', 'a/b/#', 'a/b/c/#', '#'].map((filter, i) => row(filter, 'c', i)));
    await store.own(owned(groupSlice(own, 'a/b/'), 5));
    const ask = async (slice: SliceKey, at: number) =>
      (await store.match([{ topic: 'a/b/c', slice, epoch: epoch(at) }]))[0];
    const rooted = root === own ? ['#'] : [];
    expect(names(await ask(groupSlice(own, 'a/b/'), 5))).toEqual(['a/b/#', 'a/b/c/#']);
    for (const asker of [4, 5])
      expect(names(await ask(groupSlice(own), asker)), 'the asker may not know of the carved group').toEqual(
        [...rooted, 'a/#', 'a/b/#', 'a/b/c/#'].sort(compareUtf8),
      );
    await store.own(owned(groupSlice(own, 'a/b/'), 6, 'receiving'));
    expect(names(await ask(groupSlice(own), 6)), 'what is still coming is elsewhere').toEqual(
      [...rooted, 'a/#'].sort(compareUtf8),
    );
    await store.own(owned(groupSlice(own, 'a/b/'), 7, 'moved'));
    expect(await ask(groupSlice(own), 6)).toEqual({ kind: 'moved', epoch: 7 });
    expect(await ask(groupSlice(own, 'a/b/'), 6)).toEqual({ kind: 'moved', epoch: 7 });
    expect(names(await ask(groupSlice(own), 7))).toEqual([...rooted, 'a/#'].sort(compareUtf8));
    const [apart] = await store.match([{ topic: 'a/c', slice: groupSlice(own), epoch: epoch(1) }]);
    expect(names(apart), 'a topic beside the carved group is not sent on').toEqual(
      [...rooted, 'a/#'].sort(compareUtf8),
    );
  });

  test('a merged group still answers those who ask for the part', async () => {
    const store = await fresh();
    await store.write(['a/#', 'a/b/#'].map((filter, i) => row(filter, 'c', i)));
    await store.own(owned(groupSlice(own, 'a/b/'), 5));
    await store.disown(groupSlice(own, 'a/b/'), { state: 'owned', epoch: epoch(5) });
    const [answer] = await store.match([{ topic: 'a/b', slice: groupSlice(own, 'a/b/'), epoch: epoch(5) }]);
    expect(names(answer)).toEqual(['a/b/#']);
  });

  test('O7: a group that comes back answers for what was carved out of it here once and has merged since', async () => {
    const store = await fresh();
    const [group, part] = [groupSlice(own, 'a/'), groupSlice(own, 'a/b/')];
    await store.own(owned(part, 5, 'moved')); // Carved out of the group here, moved away, merged elsewhere.
    await store.own(owned(group, 6, 'moved'));
    await store.own(owned(group, 6, 'receiving'));
    await store.erase({ slice: group, except: [] }, 10, { state: 'receiving', epoch: epoch(6) });
    await store.write(['a/#', 'a/b/#'].map((filter, i) => row(filter, 'c', i)));
    await store.own(owned(group, 7));
    const [answer] = await store.match([{ topic: 'a/b', slice: group, epoch: epoch(7) }]);
    expect(names(answer)).toEqual(['a/#', 'a/b/#']);
  });

  test('subscribers come with the options of their subscription', async () => {
    const store = await fresh();
    const rows = Array.from({ length: 6 }, (_, i) => row('a/+', `c${i}`, i, optionsAt(i)));
    await store.write(rows);
    const [answer] = await store.match([{ topic: 'a/b', slice: groupSlice(own), epoch: epoch(1) }]);
    const subscribers = answer?.kind === 'found' ? answer.subscribers : [];
    expect([...subscribers].sort((a, b) => compareUtf8(a.clientId, b.clientId))).toStrictEqual(
      rows.map(({ filter, clientId, brokerId, qos }, i) => ({ filter, clientId, brokerId, qos, ...optionsAt(i) })),
    );
  });

  test('shared subscribers come with their full filter', async () => {
    const store = await fresh();
    await store.write([row('$share/g/a/b', 'c1', 1), row('$share/h/a/b', 'c2', 2)]);
    const [answer] = await store.match([{ topic: 'a/b', slice: groupSlice(own), epoch: epoch(1) }]);
    expect(names(answer)).toEqual(['$share/g/a/b', '$share/h/a/b']);
  });

  test('a trie store asked of a slice it cannot hold sends the asker on', async () => {
    const store = await fresh();
    expect(await store.match([{ topic: 'a', slice: pinSlice('a'), epoch: epoch(2) }])).toEqual([
      { kind: 'moved', epoch: 2 },
    ]);
  });
}

async function scanned(store: ShardStore, range: SliceRange, limit: number, from?: Cursor): Promise<SubscriptionRow[]> {
  const rows: SubscriptionRow[] = [];
  for (let cursor = from; ; ) {
    const page = await store.scan(range, cursor, limit);
    expect(page.rows.length).toBeLessThanOrEqual(limit);
    rows.push(...page.rows);
    if (page.done) return rows;
    expect(page.cursor).toBeDefined();
    cursor = page.cursor;
  }
}

/** Whether a row lies in the range, from the definitions of keys alone. */
function isIn(each: SubscriptionRow, range: SliceRange): boolean {
  return isInSlice(each, range.slice) && !range.except.some((slice) => isInSlice(each, slice));
}

function isInSlice({ filter, clientId }: SubscriptionRow, key: SliceKey): boolean {
  const place = placeOf(filter);
  const partition = partitionOf(place.routingKey, PARTITIONS);
  if (key.startsWith('t/')) return filter === key.slice(2);
  if (key.startsWith('s/')) {
    const [, index, of, spread] = /^s\/(\d+)of(\d+)\/(.*)$/s.exec(key)!;
    return filter === spread && filterHash(clientId) % Number(of) === Number(index);
  }
  const [, kind, number, rest] = /^([cw])\/(\d+)\/(.*)$/s.exec(key)!;
  if (partition !== Number(number) || place.trie !== (kind === 'w')) return false;
  return kind === 'w' ? place.prefix.startsWith(rest!) : leadingBits(filterHash(filter), rest!.length) === rest;
}

/** Who is subscribed after all these events, told from the events alone. */
function liveOf(events: readonly SubscriptionRow[]): SubscriptionRow[] {
  const places = new Map<string, SubscriptionRow[]>();
  for (const each of events) {
    const place = `${each.filter} ${each.clientId}`;
    places.set(place, [...(places.get(place) ?? []), each]);
  }
  return [...places.values()].flatMap((all) => {
    const newest = all.filter((each) => !each.gone).sort((a, b) => compareVersions(b.version, a.version))[0];
    if (newest === undefined) return [];
    const isEnded = all.some(
      (each) => each.gone && each.brokerId === newest.brokerId && compareVersions(each.version, newest.version) > 0,
    );
    return isEnded ? [] : [newest];
  });
}

const heldBy = ({ filter, clientId, brokerId, version, options }: SubscriptionRow) => ({
  ...{ filter, clientId, brokerId, version },
  options,
});

function ordersOf<Item>(items: readonly Item[]): Item[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((each, i) => ordersOf(items.filter((_, j) => j !== i)).map((rest) => [each, ...rest]));
}

function carvedRanges(kind: StoreKind): SliceRange[] {
  if (kind === 'TRIE') {
    const own = partitionOf('a', PARTITIONS);
    return [
      { slice: groupSlice(own, 'a/'), except: [groupSlice(own, 'a/b/')] },
      { slice: groupSlice(own), except: [groupSlice(own, 'a/b/c/'), groupSlice(own, 'a/')] },
      {
        slice: groupSlice(own),
        except: [groupSlice(own, 'a/b/c/'), groupSlice(own, 'a/\u{1f600}/'), groupSlice(own, 'x/')],
      },
      { slice: groupSlice(own, 'a/b/'), except: [] },
    ];
  }
  const own = partitionOf('a/b', PARTITIONS);
  const mates = CONCRETE.filter((filter) => partitionOf(filter, PARTITIONS) === own);
  const hash = filterHash('a/b');
  return [
    { slice: hashSlice(own), except: [pinSlice('a/b')] },
    { slice: hashSlice(own), except: mates.map((filter) => pinSlice(filter)) },
    { slice: hashSlice(own), except: [spreadSlice('a/b', 0, 2), spreadSlice('a/b', 1, 2)] },
    { slice: hashSlice(own, leadingBits(hash, 1)), except: [pinSlice('a/b')] },
    { slice: hashSlice(own, '0'), except: [] },
    { slice: hashSlice(own, '1'), except: [] },
    { slice: hashSlice(own, leadingBits(hash, 32)), except: [] },
    { slice: pinSlice('a/b'), except: [spreadSlice('a/b', 0, 3)] },
    { slice: spreadSlice('a/b', 0, 2), except: [] },
    { slice: spreadSlice('a/b', 1, 2), except: [] },
  ];
}

const sorted = (rows: readonly SubscriptionRow[]): SubscriptionRow[] =>
  [...rows].sort((a, b) => compareUtf8(a.filter, b.filter) || compareUtf8(a.clientId, b.clientId));
