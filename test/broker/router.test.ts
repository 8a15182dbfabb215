import { describe, expect, test } from 'vitest';
import { ROUTER_DEFAULTS, Router, type ShardReader } from '../../broker/router.ts';
import type { Answer, Subscriber } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime } from '../../schemas/ids.ts';
import { filterHash, partitionOf, spreadSlice } from '../../state/keys.ts';
import { PointerTable } from '../../state/pointer-table.ts';
import { firstSlices } from '../../state/slice-tree.ts';
import { FakeTopic, PARTITIONS, pointer, shard } from './fakes.ts';

const subscriber = (filter: string, clientId: string): Subscriber => ({ filter, clientId, brokerId: 'b', qos: 0 });
const found = (...subscribers: Subscriber[]): Answer => ({ kind: 'found', subscribers });
const moved = (at: number): Answer => ({ kind: 'moved', epoch: epoch(at) });

/** A table that the test brings on, and stores that answer from scripts. */
class World {
  readonly topic = new FakeTopic();
  readonly table = new PointerTable(PARTITIONS);
  readonly asked: string[] = [];
  readonly waited: number[] = [];
  /** What happens while a router waits for a newer table. */
  onWait: () => void = () => {};
  readonly stores = new Map<string, Partial<ShardReader>>();

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

  readonly router = new Router(
    {
      pointers: {
        table: this.table,
        newerThan: async (than) => {
          this.waited.push(than);
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
    },
    ROUTER_DEFAULTS,
  );
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
