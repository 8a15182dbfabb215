// Takeover: a client connects through another broker, and the old one ends what it held afterwards. Through the real step
// and real stores of both kinds, also in the middle of a move, where each event reaches two shards.

import { afterEach, describe, expect, test } from 'vitest';
import { shardId } from '../../../schemas/ids.ts';
import { ApplyOnStores } from './apply-on-stores.ts';

const KINDS = [
  { filter: 'alarm', slice: 'c/0/', from: shardId('shard-0001'), to: shardId('shard-0003'), type: 'kv' },
  { filter: 'home/+', slice: 'w/0/', from: shardId('shard-0002'), to: shardId('shard-0004'), type: 'trie' },
];

for (const { filter, slice, from, to, type } of KINDS)
  describe(`apply: takeover on a ${type} shard`, () => {
    let task: ApplyOnStores;
    afterEach(() => task.close());
    const holders = async (shard: string, at: number): Promise<string[]> => {
      const answer = await task.ask(shard, filter, at);
      return answer.kind === 'found' ? answer.subscribers.map((each) => each.brokerId) : [answer.kind];
    };

    test('an UNSUBSCRIBE of the old broker does not take what the new one holds', async () => {
      task = await ApplyOnStores.start();
      await task.event('SUBSCRIBE', filter, 'phone', 'broker-A');
      await task.event('SUBSCRIBE', filter, 'phone', 'broker-B');
      await task.event('UNSUBSCRIBE', filter, 'phone', 'broker-A');
      expect(await holders(from, 1)).toEqual(['broker-B']);
      await task.event('UNSUBSCRIBE', filter, 'phone', 'broker-B');
      expect(await holders(from, 1)).toEqual([]);
    });

    for (const { name, late, left } of [
      { name: 'the old broker', late: 'broker-A', left: ['broker-B'] },
      { name: 'the holder', late: 'broker-B', left: [] },
    ])
      test(`in a move, an UNSUBSCRIBE of ${name} that reaches the target before the copy does`, async () => {
        task = await ApplyOnStores.start({ copyRowsPerSecond: 1 });
        await task.command({ kind: 'AllocateShard', shardId: to, datastoreType: type }, 1);
        await task.event('SUBSCRIBE', filter, 'phone', 'broker-A');
        await task.event('SUBSCRIBE', filter, 'phone', 'broker-B');
        await task.startMove('m', slice, from, to, 1);
        while (task.progressOf('m')?.state !== 'COPYING') await task.tick();
        expect(task.progressOf('m')?.rowsCopied).toBe(0);
        await task.event('UNSUBSCRIBE', filter, 'phone', late);
        await task.tick(12);
        expect(task.progressOf('m')).toMatchObject({ state: 'VERIFIED', rowsVerified: 1 });
        await task.steer('m', slice, 'SWITCH', 2);
        expect(await holders(to, 2)).toEqual(left);
        expect(await holders(from, 1)).toEqual(left);
      });
  });
