import { describe, expect, test } from 'vitest';
import { AnswerCache, CachePool, type Tracker } from '../../datastores/answer-cache.ts';
import { answeringStore } from '../../datastores/answering-store.ts';
import { audienceOf, hearersIn, memberAt } from '../../datastores/audience.ts';
import type { AnsweringStore, Asked, Audience, LocalShardStore } from '../../datastores/shard-store.ts';
import { openTrieStore } from '../../datastores/trie/trie-store.ts';
import { epoch, type SliceKey, sliceKey } from '../../schemas/ids.ts';
import type { OwnerRecord } from '../../state/effects.ts';
import { fc } from '../support/property.ts';
import { owned, row } from './shard-store-suite.ts';

const WHOLE = sliceKey('w/0/');
const PART = sliceKey('w/0/a/');
const TOPICS = ['a/b', 'a/c', 'b', '$x/b'];
const FILTERS = ['a/b', 'a/+', '#', '+/b', '$share/g/a/#', '$x/#', 'b/#'];

/** A trie store that keeps its changes for as long as `pause` says, and whose answers are late by as much. */
async function openSlow(pause: () => Promise<void>): Promise<{ slow: LocalShardStore; store: LocalShardStore }> {
  const journal = { append: pause, isSnapshotDue: false, beginSnapshot: async () => {}, close: async () => {} };
  const store = await openTrieStore('', { partitions: 1, now: () => 0, keptBy: async () => journal });
  const slow = Object.create(store, {
    lookup: {
      value: async (...args: Parameters<LocalShardStore['lookup']>) => {
        const answers = await store.lookup(...args);
        await pause();
        return answers;
      },
    },
    match: {
      value: async (...args: Parameters<LocalShardStore['match']>) => {
        const answers = await store.match(...args);
        await pause();
        return answers;
      },
    },
  }) as LocalShardStore;
  for (const name of ['write', 'forget', 'own', 'disown', 'erase', 'owners', 'close'] as const)
    Object.defineProperty(slow, name, { value: (store[name] as (...args: never[]) => unknown).bind(store) });
  return { slow, store };
}

/** Keeps answers as a broker does: an entry from before the question on, which a change drops. */
class Keeper implements Tracker {
  readonly isOver = false;
  readonly cache = new AnswerCache<Asked>(new CachePool(1e9));

  dropped(topic: string | undefined): void {
    if (topic === undefined) this.cache.clear();
    else this.cache.dropTopic(topic);
  }

  async ask(store: AnsweringStore, topic: string, slices: readonly SliceKey[], at: number): Promise<void> {
    const entry = this.cache.entryOf(topic);
    const asked = await store.audience({ topic, slices, epoch: epoch(at) }, this);
    if (asked.kind === 'audience' && asked.keepMs > 0) this.cache.give(entry, [asked], 0);
  }
}

const inOrder = ({ brokers, groups }: Audience) => ({
  brokers: [...brokers].sort(),
  groups: groups.map((group) => group.map(({ filter, clientId }) => `${filter} ${clientId}`).sort()).sort(),
});

type Change =
  | { readonly is: 'row'; readonly filter: string; readonly client: number; readonly gone: boolean }
  | { readonly is: 'own'; readonly state: OwnerRecord['state'] }
  | { readonly is: 'disown' }
  | { readonly is: 'erase' }
  | { readonly is: 'ask'; readonly topic: string }
  | { readonly is: 'wait'; readonly times: number; readonly which: number };
const CHANGES: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      is: fc.constant('row' as const),
      filter: fc.constantFrom(...FILTERS),
      client: fc.nat(2),
      gone: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      is: fc.constant('own' as const),
      state: fc.constantFrom('owned' as const, 'receiving' as const, 'moved' as const),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom({ is: 'disown' as const }, { is: 'erase' as const }) },
  { weight: 8, arbitrary: fc.record({ is: fc.constant('ask' as const), topic: fc.constantFrom(...TOPICS) }) },
  {
    weight: 16,
    arbitrary: fc.record({
      is: fc.constant('wait' as const),
      times: fc.integer({ min: 1, max: 6 }),
      which: fc.nat(5),
    }),
  },
);

describe('a store that remembers its answers', () => {
  test('whoever keeps an answer while it is told of no change has the one that the store would give', async () => {
    let kept = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(CHANGES, { maxLength: 80, size: 'max' }), async (changes) => {
        const paused: (() => void)[] = [];
        let isSlow = false;
        const { slow, store } = await openSlow(() =>
          isSlow ? new Promise((resolve) => paused.push(resolve)) : Promise.resolve(),
        );
        await store.own(owned(WHOLE));
        await store.own(owned(PART));
        const answering = await answeringStore(slow, new CachePool(20_000), () => 0);
        const keeper = new Keeper();
        isSlow = true;
        let at = 1;
        let offset = 0;
        let part: OwnerRecord = owned(PART);
        let underWay = 0;
        const begin = (change: Promise<unknown>): void => {
          underWay += 1;
          void change.then(() => {
            underWay -= 1;
          });
        };
        const asks: Promise<void>[] = [];
        const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
        const slicesOf = (topic: string): SliceKey[] => (topic.startsWith('a/') ? [WHOLE, PART] : [WHOLE]);
        for (const change of changes) {
          if (change.is === 'row') {
            const brokerId = `broker-${change.client}`;
            begin(
              answering.write([row(change.filter, `c${change.client}`, ++offset, { brokerId, gone: change.gone })]),
            );
          } else if (change.is === 'own') {
            part = owned(PART, ++at, change.state);
            begin(answering.own(part));
          } else if (change.is === 'disown') {
            begin(answering.disown(PART, { state: part.state, epoch: part.epoch }));
          } else if (change.is === 'erase') {
            const { state, epoch: known } = part;
            if (state !== 'owned') begin(answering.erase({ slice: PART, except: [] }, 100, { state, epoch: known }));
          } else if (change.is === 'ask') asks.push(keeper.ask(answering, change.topic, slicesOf(change.topic), at));
          else {
            for (let i = 0; i < change.times; i++) paused.splice(change.which % (paused.length || 1), 1)[0]?.();
            await settled();
          }
          if (underWay > 0) continue;
          for (const topic of TOPICS) {
            const [known] = keeper.cache.entryOf(topic).answers;
            if (known?.kind !== 'audience') continue;
            kept += 1;
            const question = { topic, slices: slicesOf(topic), epoch: epoch(at) };
            const heard = await hearersIn(store, question);
            const expected = heard.kind === 'moved' ? heard : inOrder(audienceOf(heard.subscribers));
            expect(inOrder(known.audience), topic).toEqual(expected);
          }
        }
        isSlow = false;
        while (paused.length > 0 || underWay > 0) {
          for (const resolve of paused.splice(0)) resolve();
          await settled();
        }
        await Promise.all(asks);
      }),
      { numRuns: 300 },
    );
    expect(kept).toBeGreaterThan(500);
  });

  test('a topic that was asked for is answered at once, whatever there is of it, until a row of it changes', async () => {
    const { store } = await openSlow(async () => {});
    const answering = await answeringStore(store, new CachePool(1e6), () => 0);
    await answering.own(owned(WHOLE));
    const rows = Array.from({ length: 4_000 }, (_, i) => row('a/+', `c${i}`, i, { brokerId: `broker-${i % 3}` }));
    await answering.write(rows);
    const question = { topic: 'a/b', slices: [WHOLE], epoch: epoch(1) };
    const first = await answering.audience(question);
    expect(first).toMatchObject({ kind: 'audience', keepMs: Number.POSITIVE_INFINITY });
    expect(answering.audience(question)).toMatchObject({ audience: { brokers: ['broker-0', 'broker-1', 'broker-2'] } });
    await answering.write([row('a/c', 'c', 5_000)]);
    expect(answering.audience(question)).not.toBeInstanceOf(Promise);
    await answering.write([row('#', 'c', 5_001, { brokerId: 'broker-9' })]);
    expect(answering.audience(question)).toBeInstanceOf(Promise);
    expect(await answering.audience(question)).toMatchObject({ audience: { brokers: { length: 4 } } });
  });

  test('W3: an answer is kept no longer than the owner record speaks', async () => {
    let now = 1_000;
    const { store } = await openSlow(async () => {});
    const answering = await answeringStore(store, new CachePool(1e6), () => now);
    await answering.own({ ...owned(WHOLE), until: 3_000 });
    const question = { topic: 'a/b', slices: [WHOLE], epoch: epoch(1) };
    expect(await answering.audience(question)).toMatchObject({ keepMs: 2_000 });
    now = 2_500;
    expect(answering.audience(question)).toMatchObject({ keepMs: 500 });
    await answering.own({ ...owned(WHOLE), until: 9_000 });
    now = 3_500;
    expect(answering.audience(question)).toBeInstanceOf(Promise);
    expect(await answering.audience(question)).toMatchObject({ keepMs: 5_500 });
    await answering.disown(WHOLE, { state: 'owned', epoch: epoch(1) });
    await answering.own(owned(WHOLE, 2));
    expect(await answering.audience(question)).toMatchObject({ keepMs: Number.POSITIVE_INFINITY });
  });

  test('N2, N3: a full cache lets go what nobody asks for, and tells whoever keeps it', async () => {
    const { store } = await openSlow(async () => {});
    const pool = new CachePool(10_000);
    const answering = await answeringStore(store, pool, () => 0);
    await answering.own(owned(WHOLE));
    const keeper = new Keeper();
    for (let i = 0; i < 100; i++) {
      await keeper.ask(answering, 'hot', [WHOLE], 1);
      await keeper.ask(answering, `cold/${i}`, [WHOLE], 1);
    }
    expect(pool.bytes).toBeLessThan(10_000);
    expect(keeper.cache.size).toBeLessThan(30);
    expect(answering.audience({ topic: 'hot', slices: [WHOLE], epoch: epoch(1) })).not.toBeInstanceOf(Promise);
  });
});

test('A2: members of a share group with a connection take turns, and one without is chosen where there is no other', () => {
  const member = (clientId: string, brokerId: string) => ({ filter: '$share/g/a', clientId, brokerId, qos: 1 });
  const turns = (...members: ReturnType<typeof member>[]): string[] => {
    const [group] = audienceOf(members).groups;
    return [0, 1, 2, 3].map((turn) => memberAt(group!, turn).clientId);
  };
  expect(turns(member('a', ''), member('b', 'x'), member('c', 'y'))).toEqual(['b', 'c', 'b', 'c']);
  expect(turns(member('a', ''), member('b', ''))).toEqual(['a', 'b', 'a', 'b']);
  expect(turns(member('a', 'x'))).toEqual(['a', 'a', 'a', 'a']);
});
