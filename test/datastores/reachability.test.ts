import { expect, test } from 'vitest';
import { reachabilityOver } from '../../datastores/reachability.ts';
import type { ShardStore } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import { type ShardId, shardId } from '../../schemas/ids.ts';

type Answer = 'found' | 'unavailable' | 'unknown' | 'silent';

/** Shards that answer as they are told to, and a clock whose sleeps end at once. */
function world(answers: Readonly<Record<string, Answer>>) {
  const asked: string[] = [];
  let now = 0;
  let atOnce = 0;
  let atOnceMost = 0;
  const reach = reachabilityOver(
    {
      async store(shard) {
        if (answers[shard] === 'unknown') throw new AppError('SHARD_UNKNOWN', 'no server has it');
        const lookup = async () => {
          asked.push(shard);
          atOnceMost = Math.max(atOnceMost, ++atOnce);
          if (answers[shard] === 'silent') await new Promise(() => {});
          await Promise.resolve();
          atOnce--;
          if (answers[shard] === 'unavailable') throw new AppError('STORE_UNAVAILABLE', 'it is away');
          return [];
        };
        return { lookup } as unknown as ShardStore;
      },
    },
    { now: () => now, sleep: () => new Promise((resolve) => setImmediate(resolve)) },
  );
  const shards = Object.keys(answers).map(shardId);
  return { reach, shards, asked, pass: (ms: number) => (now += ms), most: () => atOnceMost };
}

test('a shard is unreachable when its look-up fails, is not known or does not end in time', async () => {
  const { reach, shards } = world({ a: 'found', b: 'unavailable', c: 'unknown', d: 'silent', e: 'found' });
  expect([...(await reach(shards))]).toEqual(['b', 'c', 'd']);
});

test('what was asked lately is not asked again', async () => {
  const { reach, shards, asked, pass } = world({ a: 'found', b: 'unavailable' });
  await reach(shards);
  pass(5_000);
  expect([...(await reach(shards))]).toEqual(['b']);
  expect(asked.sort()).toEqual(['a', 'b']);
  pass(1);
  await reach(shards.slice(0, 1));
  expect(asked.sort()).toEqual(['a', 'a', 'b']);
});

test('of a thousand shards no more than 32 are asked at a time', async () => {
  const names = Array.from({ length: 1_000 }, (_, at): [string, Answer] => [`s${at}`, 'found']);
  const { reach, shards, asked, most } = world(Object.fromEntries(names));
  expect((await reach(shards as readonly ShardId[])).size).toBe(0);
  expect(asked).toHaveLength(1_000);
  expect(most()).toBe(32);
});
