// Where a PUBLISH goes, through the router, over real stores: in the process, and over a shard server that is killed, started
// again and asked by other brokers.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Router } from '../../broker/router.ts';
import type { ShardReader } from '../../datastores/audience.ts';
import { audienceIn } from '../../datastores/audience.ts';
import { type ShardServer, startShardServer } from '../../datastores/protocol/shard-server.ts';
import type { Provisioner, PublishQuestion } from '../../datastores/shard-store.ts';
import { remoteProvisioner } from '../../provisioners/remote/remote-provisioner.ts';
import { RemoteReader } from '../../provisioners/remote/remote-reader.ts';
import { epoch, type ShardId, shardId } from '../../schemas/ids.ts';
import { groupSlice, hashSlice } from '../../state/keys.ts';
import { PointerTable } from '../../state/pointer-table.ts';
import { owned, row } from '../datastores/shard-store-suite.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type Body, FakeTopic, pointer, shard } from './fakes.ts';

const CONCRETE = hashSlice(0);
const GROUP = groupSlice(0);
const QUIET: PublishQuestion = { topic: 'nobody/asks', slices: [GROUP], epoch: epoch(1) };

/** The shards, as one side sees them. */
interface Shards {
  store(shard: ShardId): Promise<ShardReader>;
  close(): Promise<void>;
}

/** As a broker sees them, which has the token for look-ups alone. */
function readShards(settings: Partial<ConstructorParameters<typeof RemoteReader>[0]>): Shards {
  const reader = new RemoteReader({ addresses: [], token: 'r', partitions: 1, ...settings });
  return {
    store: async (id) => reader.shard({ shardId: id, instanceId: '' }),
    close: async () => reader.close(),
  };
}

class Fleet {
  readonly topic = new FakeTopic();
  readonly table = new PointerTable(1);
  now = 1_000;
  readonly shards: Shards;

  constructor(shards: Shards) {
    this.shards = shards;
    this.change(shard('kv'), shard('trie'), pointer(CONCRETE, ['kv']), pointer(GROUP, ['trie']));
  }

  change(...bodies: readonly Body[]): void {
    this.topic.change(...bodies);
    for (const [offset, { key, value }] of this.topic.records.entries())
      this.table.apply(key!, JSON.parse(value!.toString('utf8')), offset);
    this.table.reached(this.topic.records.length, this.topic.records.length);
  }

  router(): Router {
    const newerThan = async (than: number): Promise<boolean> => this.table.epoch > than;
    return new Router({
      pointers: { table: this.table, newerThan },
      storeOf: ({ shardId: id }) => this.shards.store(id),
      now: () => this.now,
    });
  }

  /** What was told before this resolves has been heard. */
  async barrier(): Promise<void> {
    const store = await this.shards.store(shardId('trie'));
    await audienceIn(store, QUIET);
  }
}

for (const where of ['in the process', 'over a shard server', 'over a shard server, for a reader'] as const)
  describe(`a delivery, ${where}`, () => {
    let folder: TempFolder;
    let host: Provisioner;
    let server: ShardServer | undefined;
    let fleet: Fleet;
    let router: Router;
    const serve = async (port: number): Promise<void> => {
      host = localShards(folder.path, 1);
      if (where !== 'in the process')
        server = await startShardServer({ provisioner: host, token: 't', readToken: 'r', host: '127.0.0.1', port });
    };
    beforeEach(async () => {
      folder = await tempFolder();
      await serve(0);
      const addresses = [server?.address ?? ''];
      fleet = new Fleet(
        where === 'in the process'
          ? host
          : where === 'over a shard server'
            ? remoteProvisioner({ addresses, token: 't', partitions: 1 })
            : readShards({ addresses }),
      );
      for (const [id, type, slice] of [
        ['kv', 'kv', CONCRETE],
        ['trie', 'trie', GROUP],
      ] as const) {
        await host.ensure(shardId(id), type, false);
        await (await host.store(shardId(id))).own(owned(slice));
      }
      router = fleet.router();
    });
    afterEach(async () => {
      await fleet.shards.close();
      await server?.close();
      server = undefined;
      await host.close();
      await folder.remove();
    });
    const write = async (id: string, ...rows: ReturnType<typeof row>[]) => (await host.store(shardId(id))).write(rows);
    const brokers = async (topic: string): Promise<string[]> => [...(await router.deliveryOf(topic)).brokers].sort();
    const isKept = (topic: string): boolean => {
      const delivery = router.deliveryOf(topic);
      if (!(delivery instanceof Promise)) return true;
      delivery.catch(() => {}); // Read anew; what comes of that is not asked here.
      return false;
    };

    test('names each broker once, of all shards of the route, and is kept', async () => {
      await write('kv', row('a/b', 'c1', 1, { brokerId: 'x' }), row('a/b', 'c2', 2, { brokerId: 'y' }));
      await write('trie', row('a/+', 'c3', 3, { brokerId: 'y' }), row('#', 'c4', 4, { brokerId: 'z' }));
      expect(isKept('a/b')).toBe(false);
      expect(await brokers('a/b')).toEqual(['x', 'y', 'z']);
      expect(isKept('a/b')).toBe(true);
      expect(await router.deliveryOf('a/b')).toMatchObject({ members: [] });
    });

    test('has one member of each share group, another each time', async () => {
      const members = ['m1', 'm2', 'm3'].map((client, i) => row('$share/g/a/+', client, i, { brokerId: client }));
      await write('trie', ...members);
      const chosen = [];
      for (let i = 0; i < 30; i++)
        chosen.push((await router.deliveryOf('a/b')).members.map(({ clientId }) => clientId));
      expect(chosen.every((each) => each.length === 1)).toBe(true);
      expect(new Set(chosen.flat()).size).toBe(3);
      expect(isKept('a/b')).toBe(false);
    });

    test('is what it should be after each change that was acknowledged, while others ask all the time', async () => {
      let offset = 0;
      let isOver = false;
      let kept = 0;
      const asking = async (): Promise<void> => {
        while (!isOver) {
          for (const topic of ['a/b', 'a/c', 'b']) {
            const delivery = router.deliveryOf(topic);
            if (!(delivery instanceof Promise)) kept += 1;
            await delivery;
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      const askers = [asking(), asking()];
      for (let i = 0; i < 300; i++) {
        const [id, filter] = (
          [
            ['kv', 'a/b'],
            ['trie', 'a/+'],
            ['trie', '#'],
            ['kv', 'b'],
          ] as const
        )[i % 4]!;
        await write(id, row(filter, 'c', ++offset, { brokerId: `at ${offset}` }));
        await fleet.barrier();
        const heard = filter === 'b' ? ['b'] : filter === '#' ? ['a/b', 'a/c', 'b'] : ['a/b'];
        for (const topic of heard) expect(await brokers(topic)).toContain(`at ${offset}`);
      }
      isOver = true;
      await Promise.all(askers);
      expect(kept).toBeGreaterThan(0);
    });

    test('follows a slice that moves: the shard that it left tells, and the new table is asked along', async () => {
      await write('kv', row('a', 'c', 1, { brokerId: 'x' }));
      expect(await brokers('a')).toEqual(['x']);
      await host.ensure(shardId('kv2'), 'kv', false);
      const next = await host.store(shardId('kv2'));
      await next.own(owned(CONCRETE, 2));
      await next.write([row('a', 'c', 2, { brokerId: 'y' })]);
      await (await host.store(shardId('kv'))).own(owned(CONCRETE, 2, 'moved'));
      await fleet.barrier();
      expect(isKept('a')).toBe(false);
      await expect(router.deliveryOf('a')).rejects.toMatchObject({ code: 'POINTER_STALE' }); // The table did not come.
      fleet.change(shard('kv2'), pointer(CONCRETE, ['kv2']));
      expect(await brokers('a')).toEqual(['y']);
    });

    test('is not kept beyond a change of the pointer table', async () => {
      expect(await brokers('a')).toEqual([]);
      expect(isKept('a')).toBe(true);
      fleet.change(shard('other'));
      expect(isKept('a')).toBe(false);
      expect(await brokers('a')).toEqual([]);
      expect(isKept('a')).toBe(true);
    });

    test('is kept for as long as the owner record of a replica speaks', async () => {
      const store = await host.store(shardId('kv'));
      await store.own({ ...owned(CONCRETE), until: 5_000 }); // The host's clock stands at 0.
      expect(await brokers('a')).toEqual([]);
      fleet.now += 4_900;
      expect(isKept('a')).toBe(true);
      fleet.now += 200;
      expect(isKept('a')).toBe(false);
    });

    if (where !== 'in the process')
      test('is forgotten when the server is cut off and nobody says so', async () => {
        const { port } = new URL(server!.address);
        const wires: Socket[] = [];
        const proxy = createServer((socket) => {
          const onward = connect(Number(port), '127.0.0.1');
          wires.push(socket, onward);
          for (const each of [socket, onward]) each.on('error', () => {});
          socket.pipe(onward);
          onward.pipe(socket);
        });
        await new Promise<void>((listening) => proxy.listen(0, '127.0.0.1', listening));
        const addresses = [`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`];
        const times = { pingMs: 20, timeoutMs: 200 };
        const cut = new Fleet(
          where === 'over a shard server'
            ? remoteProvisioner({ addresses, token: 't', partitions: 1, ...times })
            : readShards({ addresses, ...times }),
        );
        router = cut.router();
        expect(await brokers('a')).toEqual([]);
        expect(isKept('a')).toBe(true);
        for (const wire of wires) {
          wire.unpipe();
          wire.pause();
        }
        while (isKept('a')) await new Promise((resolve) => setTimeout(resolve, 1));
        await cut.shards.close();
        for (const wire of wires) wire.destroy();
        await new Promise((closed) => proxy.close(closed));
      });

    if (where !== 'in the process')
      test('is forgotten when the connection ends, and read anew when the server is back', async () => {
        expect(await brokers('a')).toEqual([]);
        expect(isKept('a')).toBe(true);
        const port = Number(new URL(server!.address).port);
        await server!.close();
        for (;;) {
          const delivery = router.deliveryOf('a');
          if (!(delivery instanceof Promise)) {
            await new Promise((resolve) => setTimeout(resolve, 1)); // It has not heard yet.
            continue;
          }
          await expect(delivery).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
          break;
        }
        await write('kv', row('a', 'c', 1, { brokerId: 'x' }));
        await host.close();
        await serve(port);
        for (;;) {
          const answer = await brokers('a').catch(() => undefined);
          if (answer === undefined) {
            await new Promise((resolve) => setTimeout(resolve, 10));
            continue;
          }
          expect(answer).toEqual(['x']);
          break;
        }
        await write('kv', row('a', 'd', 2, { brokerId: 'y' }));
        await fleet.barrier();
        expect(await brokers('a')).toEqual(['x', 'y']);
      });
  });
