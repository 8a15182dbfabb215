import { describe, expect, test } from 'vitest';
import {
  type Delivery,
  ROUTER_DEFAULTS,
  Router,
  type RouterPorts,
  type RouterSettings,
  type ShardReader,
} from '../../broker/router.ts';
import type { Tracker } from '../../datastores/answer-cache.ts';
import type { Answer, Asked, Subscriber } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime } from '../../schemas/ids.ts';
import { filterHash, partitionOf, spreadSlice } from '../../state/keys.ts';
import { PointerTable } from '../../state/pointer-table.ts';
import { firstSlices } from '../../state/slice-tree.ts';
import { FakeClock, FakeTopic, PARTITIONS, pointer, shard, turns } from './fakes.ts';

const subscriber = (filter: string, clientId: string): Subscriber => ({ filter, clientId, brokerId: 'b', qos: 0 });
const found = (...subscribers: Subscriber[]): Answer => ({ kind: 'found', subscribers });
const moved = (at: number): Answer => ({ kind: 'moved', epoch: epoch(at) });

/** A table that the test brings on, and stores that answer from scripts. */
class World {
  readonly topic = new FakeTopic();
  readonly table = new PointerTable(PARTITIONS);
  readonly asked: string[] = [];
  readonly waited: number[] = [];
  /** How long it may wait each time. */
  readonly patience: number[] = [];
  /** What happens while a router waits for a newer table. */
  onWait: () => void = () => {};
  readonly stores = new Map<string, Partial<ShardReader>>();
  readonly clock = new FakeClock();

  constructor() {
    this.topic.change(
      shard('s1'),
      shard('s2'),
      ...firstSlices(PARTITIONS).map((slice) => pointer(slice, [slice.startsWith('c/') ? 's1' : 's2'])),
    );
    this.read();
  }

  read(): void {
    for (const [offset, { key, value }] of this.topic.records.entries())
      this.table.apply(key!, JSON.parse(value!.toString('utf8')), offset);
    this.table.reached(this.topic.records.length, this.topic.records.length);
  }

  readonly router = this.routerWith({});

  routerWith(settings: Partial<RouterSettings>): Router {
    return new Router(this.#ports, settings);
  }

  get #ports(): RouterPorts {
    return {
      now: () => this.clock.now(),
      every: (ms, tick) => this.clock.every(ms, tick),
      pointers: {
        table: this.table,
        newerThan: async (than, waitMs) => {
          this.waited.push(than);
          this.patience.push(waitMs);
          this.onWait();
          return this.table.epoch > than;
        },
      },
      storeOf: async ({ shardId }) => {
        this.asked.push(shardId);
        const store = this.stores.get(shardId);
        if (store === undefined) throw new AppError('SHARD_UNKNOWN', 'gone');
        return { lookup: async () => [], match: async () => [], ...store };
      },
    };
  }
}

describe('router: SUBSCRIBE', () => {
  test('a filter has one home, with the entry of its shard', () => {
    const { router } = new World();
    const home = router.homeOf('a/b', 'c');
    expect(home.pointer.slice).toBe(`c/${partitionOf('a/b', PARTITIONS)}/`);
    expect(home.shards.map((entry) => entry?.shardId)).toEqual(['s1']);
    expect(router.homeOf('a/+', 'c').shards.map((entry) => entry?.shardId)).toEqual(['s2']);
  });

  test('a table that does not know says so', () => {
    const world = new World();
    const router = new Router({
      pointers: { table: new PointerTable(PARTITIONS), newerThan: async () => false },
      storeOf: async () => world.stores.get('s1') as ShardReader,
    });
    expect(() => router.homeOf('a', 'c')).toThrow(expect.objectContaining({ code: 'POINTER_STALE' }));
  });
});

describe('router: PUBLISH', () => {
  test('the answers of all shards of the route are one, each subscriber once', async () => {
    const world = new World();
    const seen: unknown[] = [];
    world.stores.set('s1', {
      lookup: async (filters, asker) => {
        seen.push([filters, asker]);
        return [found(subscriber('a/b', 'c1'))];
      },
    });
    world.stores.set('s2', {
      match: async (queries) => queries.map(() => found(subscriber('a/+', 'c1'), subscriber('#', 'c2'))),
    });
    expect(await world.router.subscribersOf('a/b')).toEqual([
      subscriber('a/b', 'c1'),
      subscriber('a/+', 'c1'),
      subscriber('#', 'c2'),
    ]);
    expect(seen).toEqual([[['a/b'], 1]]);
    expect(world.asked.sort()).toEqual(['s1', 's2']);
  });

  test('replicas are asked in turn, and one answers for the other that is not there (R3)', async () => {
    const world = new World();
    world.topic.change(shard('s3'), shard('s4'), pointer('t/a/b', ['s3', 's4'], 'REPLICAS'));
    world.read();
    const down = async (): Promise<never> => Promise.reject(new AppError('STORE_UNAVAILABLE', 'down'));
    const replica = { lookup: async () => [found(subscriber('a/b', 'c'))] };
    world.stores.set('s2', { match: async (queries) => queries.map(() => found()) });
    for (const id of ['s3', 's4']) world.stores.set(id, replica);
    const asks = async (): Promise<string[]> => {
      world.asked.length = 0;
      expect(await world.router.subscribersOf('a/b')).toEqual([subscriber('a/b', 'c')]);
      return world.asked.filter((id) => id !== 's2');
    };
    expect([await asks(), await asks(), await asks()]).toEqual([['s3'], ['s4'], ['s3']]);
    world.stores.set('s4', { lookup: down });
    expect(await asks()).toEqual(['s4', 's3']);
    world.stores.set('s3', { lookup: down });
    await expect(world.router.subscribersOf('a/b')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  for (const { name, loss, says } of [
    { name: 'lost', loss: { loss: 'LOST' }, says: 's1 has lost its data: it is not known yet' },
    { name: 'silent', loss: { loss: 'SILENT' }, says: 's1 has not answered for too long: it is not known yet' },
    {
      name: 'lost and says until when',
      loss: { loss: 'LOST', rebuiltAt: eventTime(Date.UTC(2026, 10, 30, 21)) },
      says: 'expected on another shard at 2026-11-30T21:00:00.000Z',
    },
  ] as const)
    test(`a shard that the table calls ${name} is not asked, whatever it would answer (R5)`, async () => {
      const world = new World();
      world.stores.set('s1', { lookup: async () => [found()] });
      world.stores.set('s2', { match: async (queries) => queries.map(() => found()) });
      world.topic.change(shard('s1', loss));
      world.read();
      const error = await world.router.subscribersOf('a/b').catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'SHARD_LOST', facts: { shard: 's1' } });
      expect((error as Error).message).toContain(says);
      expect(world.asked).not.toContain('s1');
      world.topic.change(shard('s1'));
      world.read();
      expect(await world.router.subscribersOf('a/b')).toEqual([]);
    });

  test('a shard that says moved is asked again where the newer table says', async () => {
    const world = new World();
    world.stores.set('s1', { lookup: async (_filters, asker) => [asker < 2 ? moved(2) : found()] });
    world.stores.set('s2', { match: async (queries) => queries.map(() => found()) });
    world.stores.set('s3', { lookup: async () => [found(subscriber('a/b', 'c'))] });
    world.onWait = () => {
      world.topic.change(shard('s3'), pointer(`c/${partitionOf('a/b', PARTITIONS)}/`, ['s3']));
      world.read();
    };
    expect(await world.router.subscribersOf('a/b')).toEqual([subscriber('a/b', 'c')]);
    expect(world.waited).toEqual([1]);
  });

  test('the epoch told by the shard is waited for, not merely a newer one', async () => {
    const world = new World();
    world.stores.set('s1', { lookup: async () => [moved(7)] });
    world.stores.set('s2', {});
    await expect(world.router.subscribersOf('a/b')).rejects.toThrow();
    expect(world.waited).toEqual([6, 6]);
  });

  for (const { name, plant } of [
    {
      name: 'a shard that goes on saying moved',
      plant: (world: World) => world.stores.set('s1', { lookup: async () => [moved(1)] }),
    },
    { name: 'a shard that is not there', plant: (world: World) => world.stores.delete('s1') },
  ])
    test(`after two hops it gives up rather than answer in part: ${name}`, async () => {
      const world = new World();
      world.stores.set('s2', {});
      plant(world);
      await expect(world.router.subscribersOf('a/b')).rejects.toMatchObject({
        code: 'POINTER_STALE',
        facts: { hops: 2, epoch: 1 },
      });
      expect(world.waited).toHaveLength(2);
    });

  test('a store that cannot be reached is told as that', async () => {
    const world = new World();
    world.stores.set('s2', {});
    world.stores.set('s1', {
      lookup: async () => {
        throw new AppError('STORE_UNAVAILABLE', 'no answer');
      },
    });
    await expect(world.router.subscribersOf('a/b')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });

  test('of a spread topic a shard answers for the parts it is asked for alone, whatever else it has', async () => {
    const world = new World();
    const clients = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'];
    const isFirst = (client: string): boolean => filterHash(client) % 2 === 0;
    expect(new Set(clients.map(isFirst)).size).toBe(2);
    world.topic.change(shard('s3'), pointer(spreadSlice('a', 0, 2), ['s1']), pointer(spreadSlice('a', 1, 2), ['s3']));
    world.read();
    const all = (qos: number) => found(...clients.map((client) => ({ ...subscriber('a', client), qos })));
    world.stores.set('s1', { lookup: async () => [all(1)] });
    world.stores.set('s2', { match: async (queries) => queries.map(() => found()) });
    world.stores.set('s3', { lookup: async () => [all(2)] }); // It is being given the other part, or has left it.
    const answer = await world.router.subscribersOf('a');
    expect(answer.map(({ clientId, qos }) => [clientId, qos]).sort()).toEqual(
      clients.map((client) => [client, isFirst(client) ? 1 : 2]),
    );
  });
});

describe('router: a shard that is away', () => {
  const HOME = `c/${partitionOf('a/b', PARTITIONS)}/`;
  const never = new Promise<never>(() => {});
  const silent: Partial<ShardReader> = { lookup: () => never, match: () => never, audience: () => never };
  const brokers = (...names: string[]): Partial<ShardReader> => ({
    audience: async () => ({ kind: 'audience', audience: { brokers: names, groups: [] }, keepMs: Infinity }),
  });

  test('a look-up fails when its time is over, and names the shard (R6)', async () => {
    const world = new World();
    world.stores.set('s1', silent);
    world.stores.set('s2', brokers());
    const looking = Promise.resolve(world.router.deliveryOf('a/b'));
    const failed = expect(looking).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', facts: { shard: 's1' } });
    await turns();
    world.clock.move(ROUTER_DEFAULTS.lookUpMs - 1);
    await turns();
    expect(world.router.cachedTopics).toBe(1);
    world.clock.move(1);
    await failed;
  });

  test('the timer runs only while something is looked up', async () => {
    const world = new World();
    for (const shard of ['s1', 's2']) world.stores.set(shard, brokers());
    expect(world.clock.timers).toBe(0);
    const looking = world.router.deliveryOf('a/b');
    await turns();
    await looking;
    expect(world.clock.timers).toBe(1);
    world.clock.move(1);
    expect(world.clock.timers).toBe(0);
  });

  test('a wait for a newer table counts too', async () => {
    const world = new World();
    world.stores.set('s1', { lookup: async () => [moved(2)] });
    world.stores.set('s2', {});
    world.onWait = () => world.clock.move(1_500);
    await expect(world.routerWith({ lookUpMs: 2_500 }).subscribersOf('a/b')).rejects.toMatchObject({
      code: 'POINTER_STALE',
    });
    expect(world.patience).toEqual([2_000, 1_000]);
  });

  test('a replica is asked after half of the time', async () => {
    const world = new World();
    world.topic.change(shard('s3'), pointer(HOME, ['s1', 's3'], 'REPLICAS'));
    world.read();
    for (const first of ['s1', 's3']) world.stores.set(first, silent);
    world.stores.set('s2', brokers());
    const looking = Promise.resolve(world.router.deliveryOf('a/b'));
    await turns();
    const [asked] = world.asked.filter((each) => each !== 's2');
    world.stores.set(asked === 's1' ? 's3' : 's1', brokers('x'));
    world.clock.move(ROUTER_DEFAULTS.lookUpMs / 2);
    expect(await looking).toEqual({ brokers: ['x'], members: [] });
  });

  for (const { name, plant, code } of [
    {
      name: 'does not answer',
      plant: (world: World) => world.stores.set('s1', silent),
      code: 'STORE_UNAVAILABLE',
    },
    {
      name: 'is lost',
      plant: (world: World) => {
        world.topic.change(shard('s1', { loss: 'LOST' }));
        world.read();
      },
      code: 'SHARD_LOST',
    },
  ] as const)
    test(`with partial answers, a delivery says what it lacks when a shard ${name} (R7)`, async () => {
      const world = new World();
      const router = world.routerWith({ whenAway: 'partial' });
      world.stores.set('s2', brokers('y'));
      plant(world);
      const looking = Promise.resolve(router.deliveryOf('a/b'));
      await turns();
      world.clock.move(ROUTER_DEFAULTS.lookUpMs);
      const slices = [HOME];
      expect(await looking).toEqual({
        brokers: ['y'],
        members: [],
        missing: [{ shard: 's1', slices, code, reason: expect.stringContaining('s1') }],
      });
      expect(router.deliveryOf('a/b')).toBeInstanceOf(Promise); // It is not kept.
      const whole = router.subscribersOf('a/b');
      const failed = expect(whole).rejects.toMatchObject({ code }); // Never in part.
      await turns();
      world.clock.move(ROUTER_DEFAULTS.lookUpMs);
      await failed;
    });

  test('with partial answers, a whole one carries no flag, and what is not an absence is thrown', async () => {
    const world = new World();
    const router = world.routerWith({ whenAway: 'partial' });
    for (const shard of ['s1', 's2']) world.stores.set(shard, brokers('x'));
    expect(await router.deliveryOf('a/b')).toEqual({ brokers: ['x'], members: [] });
    world.stores.set('s1', {
      audience: async () => {
        throw new AppError('UNAUTHORIZED', 'no token');
      },
    });
    await expect(router.deliveryOf('a/c')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  });
});

describe('router: equal questions at one time (R8)', () => {
  /** A shard that answers when the test says so, and its questions. */
  class Held {
    readonly waiting: ((asked: Asked) => void)[] = [];
    trackers: Tracker[] = [];
    readonly audience = (_question: unknown, tracker?: Tracker): Promise<Asked> => {
      this.trackers.push(tracker!);
      return new Promise((resolve) => this.waiting.push(resolve));
    };

    answer(broker: string, keepMs: number = Infinity, groups: Subscriber[][] = []): void {
      const audience = { brokers: [broker], groups };
      for (const resolve of this.waiting.splice(0)) resolve({ kind: 'audience', audience, keepMs });
    }
  }
  const given = () => {
    const world = new World();
    const held = new Held();
    world.stores.set('s1', { audience: held.audience });
    world.stores.set('s2', {
      audience: async () => ({ kind: 'audience', audience: { brokers: [], groups: [] }, keepMs: Infinity }),
    });
    const ask = (count: number) => Array.from({ length: count }, () => Promise.resolve(world.router.deliveryOf('a')));
    return { held, ask };
  };
  const namesIn = async (asked: readonly Promise<Delivery>[]): Promise<string[]> =>
    (await Promise.all(asked)).flatMap(({ brokers }) => brokers);

  test('are asked once', async () => {
    const { held, ask } = given();
    const asked = ask(5);
    await turns();
    expect(held.waiting).toHaveLength(1);
    held.answer('x');
    expect(await namesIn(asked)).toEqual(Array(5).fill('x'));
  });

  test('are asked again when a change came meanwhile: what was acknowledged before a question is in its answer', async () => {
    const { held, ask } = given();
    const asked = ask(3);
    await turns();
    held.trackers[0]!.dropped('a');
    const later = ask(1);
    await turns();
    expect(held.waiting).toHaveLength(2);
    held.waiting.splice(0, 1)[0]!({ kind: 'audience', audience: { brokers: ['old'], groups: [] }, keepMs: Infinity });
    await turns();
    expect(held.waiting).toHaveLength(3); // The new one, and the two that had waited.
    held.answer('new');
    expect(await namesIn(asked)).toEqual(['old', 'new', 'new']);
    expect(await namesIn(later)).toEqual(['new']);
  });

  test('choose a member of a share group each, and do not wait for each other the next time', async () => {
    const { held, ask } = given();
    const groups = [['m1', 'm2'].map((client) => subscriber('$share/g/a', client))];
    const first = ask(3);
    await turns();
    held.answer('x', Infinity, groups);
    await turns();
    held.answer('x', Infinity, groups);
    const chosen = (await Promise.all(first)).map(({ members }) => members[0]!.clientId);
    expect(new Set(chosen).size).toBe(2);
    void ask(3);
    await turns();
    expect(held.waiting).toHaveLength(3);
  });

  test('fail together', async () => {
    const world = new World();
    world.stores.set('s2', {});
    world.stores.set('s1', {
      audience: async () => {
        throw new AppError('STORE_UNAVAILABLE', 'no answer');
      },
    });
    const asked = Array.from({ length: 3 }, () => Promise.resolve(world.router.deliveryOf('a')));
    for (const each of asked) await expect(each).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  });
});
