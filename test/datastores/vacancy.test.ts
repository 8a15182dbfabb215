// A shard goes when nothing of any partition lives in it (D6), whoever asks: through both provisioners, with real stores.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ShardServer, startShardServer } from '../../datastores/protocol/shard-server.ts';
import type { Provisioner, ShardStore } from '../../datastores/shard-store.ts';
import { remoteProvisioner } from '../../provisioners/remote/remote-provisioner.ts';
import { shardId } from '../../schemas/ids.ts';
import { groupSlice, hashSlice, partitionOf, pinSlice, placeOf, spreadSlice } from '../../state/keys.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { owned, PARTITIONS, row } from './shard-store-suite.ts';

const SHARD = shardId('shard-0001');
const partition = partitionOf('a', PARTITIONS);
const other = (partition + 1) % PARTITIONS;
const triePartition = partitionOf(placeOf('a/#').routingKey, PARTITIONS);

const CASES: readonly {
  readonly name: string;
  readonly type?: 'trie';
  readonly fill: (store: ShardStore) => Promise<unknown>;
  /** `undefined`: the shard goes. */
  readonly resident: string | undefined;
}[] = [
  { name: 'an empty one goes', fill: async () => {}, resident: undefined },
  {
    name: 'a slice of whatever partition lives there',
    fill: (store) => store.own(owned(hashSlice(other), 3)),
    resident: `c/${other}/ is owned here since epoch 3`,
  },
  {
    name: 'a slice is coming',
    fill: (store) => store.own(owned(hashSlice(partition), 3, 'receiving')),
    resident: `c/${partition}/ is receiving here since epoch 3`,
  },
  {
    name: 'a part of a spread topic lives there',
    fill: (store) => store.own(owned(spreadSlice('a', 1, 2), 3)),
    resident: 's/1of2/a is owned here since epoch 3',
  },
  {
    name: 'what a move has left goes',
    fill: async (store) => {
      await store.write([row('a', 'c', 1)]);
      await store.own(owned(hashSlice(partition), 3, 'moved'));
    },
    resident: undefined,
  },
  {
    name: 'a pin stayed when the slice around it moved away',
    fill: async (store) => {
      await store.own(owned(hashSlice(partition), 3, 'moved'));
      await store.own(owned(pinSlice('a'), 2));
    },
    resident: 't/a is owned here since epoch 2',
  },
  {
    name: 'rows are there that no record speaks for',
    fill: async (store) => {
      await store.own(owned(hashSlice(other), 3, 'moved'));
      await store.write([row('a', 'c', 1)]);
    },
    resident: `subscriptions of c/${partition}/ are here, and no owner record covers them`,
  },
  {
    name: 'tombstones alone are nobody',
    fill: (store) => store.write([row('a', 'c', 1, { gone: true })]),
    resident: undefined,
  },
  {
    name: 'a group has moved, another has not',
    type: 'trie',
    fill: async (store) => {
      await store.own(owned(groupSlice(other), 3, 'moved'));
      await store.own(owned(groupSlice(partition), 3));
    },
    resident: `w/${partition}/ is owned here since epoch 3`,
  },
  {
    name: 'a carved group has moved, and the one around it has lost its record',
    type: 'trie',
    fill: async (store) => {
      await store.write([row('a/#', 'c', 1), row('#', 'c', 2)]);
      await store.own(owned(groupSlice(triePartition, 'a/'), 3, 'moved'));
    },
    resident: `subscriptions of w/${partitionOf('#', PARTITIONS)}/ are here, and no owner record covers them`,
  },
];

for (const kind of ['embedded', 'remote'] as const)
  describe(`a release through the ${kind} provisioner`, () => {
    let folder: TempFolder;
    let local: Provisioner;
    let server: ShardServer | undefined;
    let provisioner: Provisioner;
    beforeEach(async () => {
      folder = await tempFolder();
      local = localShards(folder.path, PARTITIONS);
      if (kind === 'remote') {
        server = await startShardServer({ provisioner: local, token: undefined, host: '127.0.0.1', port: 0 });
        provisioner = remoteProvisioner({ addresses: [server.address], token: undefined, partitions: PARTITIONS });
      } else provisioner = local;
    });
    afterEach(async () => {
      await provisioner.close();
      await server?.close();
      await local.close();
      await folder.remove();
    });

    for (const { name, type = 'kv', fill, resident } of CASES)
      test(`${resident === undefined ? 'is granted' : 'is refused'}: ${name}`, async () => {
        const { instanceId } = await provisioner.ensure(SHARD, type, false);
        await fill(await provisioner.store(SHARD));
        expect(await provisioner.release(SHARD)).toBe(resident);
        const again = await provisioner.ensure(SHARD, type, false);
        expect(again.instanceId === instanceId).toBe(resident !== undefined);
        // A shard that stays goes on serving; one that went is another one now.
        if (resident !== undefined)
          expect(await (await provisioner.store(SHARD)).write([row(type === 'kv' ? 'a' : 'b/#', 'c', 9)])).toEqual({
            applied: 1,
            stale: 0,
          });
      });

    test('is refused when it is asked for again after a restart of the store’s process', async () => {
      await provisioner.ensure(SHARD, 'kv', false);
      await (await provisioner.store(SHARD)).own(owned(hashSlice(0)));
      if (kind === 'remote') return;
      await provisioner.close();
      provisioner = local = localShards(folder.path, PARTITIONS);
      expect(await provisioner.release(SHARD)).toBe('c/0/ is owned here since epoch 1');
    });

    test('and a slice that comes at the same moment: one of the two is refused', async () => {
      for (let round = 0; round < 20; round++) {
        await provisioner.ensure(SHARD, 'kv', false);
        const store = await provisioner.store(SHARD);
        const [released, came] = await Promise.allSettled([
          provisioner.release(SHARD),
          store.own(owned(hashSlice(0), round + 1, 'receiving')),
        ]);
        expect(released.status).toBe('fulfilled');
        const stays = released.status === 'fulfilled' && released.value !== undefined;
        expect(came.status === 'fulfilled').toBe(stays);
        if (stays) {
          await store.own(owned(hashSlice(0), round + 1, 'moved'));
          expect(await provisioner.release(SHARD)).toBeUndefined();
        }
      }
    });
  });
