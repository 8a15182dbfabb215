import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openLevelKv } from '../../../datastores/level-kv/level-kv.ts';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { openTrieStore } from '../../../datastores/trie/trie-store.ts';
import { epoch, eventTime, shardId } from '../../../schemas/ids.ts';
import { groupSlice, hashSlice, keySpaceOf, partitionOf } from '../../../state/keys.ts';
import { owned, PARTITIONS, row } from '../../datastores/shard-store-suite.ts';
import { localShards } from '../../support/shards.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';

const SHARD = shardId('shard-0001');
const OTHER = shardId('shard-0002');

describe('embedded provisioner', () => {
  let folder: TempFolder;
  let now = 0;
  let provisioner: Provisioner;
  const restarted = async (): Promise<void> => {
    await provisioner.close();
    provisioner = localShards(folder.path, PARTITIONS, () => now);
  };
  beforeEach(async () => {
    folder = await tempFolder();
    now = 1_000;
    provisioner = localShards(folder.path, PARTITIONS, () => now);
  });
  afterEach(async () => {
    await provisioner.close();
    await folder.remove();
  });

  test('a shard is there from the first ensure on, also after a restart, with the kind of its type', async () => {
    const first = await provisioner.ensure(SHARD, 'kv', false);
    expect(first).toMatchObject({ state: 'ready', storeKind: 'KEY_VALUE', address: '', reason: '' });
    await provisioner.ensure(OTHER, 'trie', false);
    await (await provisioner.store(SHARD)).write([row('a', 'c', 1)]);
    await restarted();
    expect(await provisioner.ensure(SHARD, 'kv', false)).toEqual(first);
    expect((await provisioner.store(SHARD)).kind).toBe('KEY_VALUE');
    expect((await provisioner.store(OTHER)).kind).toBe('TRIE');
    expect(await (await provisioner.store(SHARD)).write([row('a', 'c', 1)])).toEqual({ applied: 0, stale: 1 });
  });

  test('a shard that another task ensured opens here', async () => {
    const other = localShards(folder.path, PARTITIONS, () => now);
    await other.ensure(SHARD, 'kv', false);
    await other.ensure(OTHER, 'trie', false);
    expect((await provisioner.store(SHARD)).kind).toBe('KEY_VALUE');
    expect((await provisioner.store(OTHER)).kind).toBe('TRIE');
    await expect(other.store(OTHER), 'one process has it').rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    await other.close();
  });

  test('a sweep forgets old tombstones in every open shard', async () => {
    await provisioner.ensure(SHARD, 'kv', false);
    await provisioner.ensure(OTHER, 'trie', false);
    const gone = { gone: true, at: eventTime(5) };
    await (await provisioner.store(SHARD)).write([row('a', 'c', 1, gone)]);
    await (await provisioner.store(OTHER)).write([row('a/#', 'c', 1, gone), row('b/#', 'c', 2)]);
    expect(await provisioner.sweep(eventTime(5))).toBe(0);
    expect(await provisioner.sweep(eventTime(6))).toBe(2);
  });

  test('a store that nobody ensured is unknown', async () => {
    await expect(provisioner.store(SHARD)).rejects.toMatchObject({ code: 'SHARD_UNKNOWN' });
  });

  test('a type that takes time is pending until that time has passed, across a restart', async () => {
    expect(await provisioner.ensure(SHARD, 'kv-large', false)).toMatchObject({
      state: 'pending',
      reason: 'ready in 500 ms',
    });
    await expect(provisioner.store(SHARD)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    now += 499;
    await restarted();
    expect((await provisioner.ensure(SHARD, 'kv-large', false)).state).toBe('pending');
    now += 1;
    expect((await provisioner.ensure(SHARD, 'kv-large', false)).state).toBe('ready');
    expect((await provisioner.store(SHARD)).kind).toBe('KEY_VALUE');
  });

  test('a resize takes the time of the new type while the shard goes on serving', async () => {
    const { instanceId } = await provisioner.ensure(SHARD, 'kv', false);
    const store = await provisioner.store(SHARD);
    expect(await provisioner.ensure(SHARD, 'kv-large', true)).toMatchObject({ state: 'pending', instanceId });
    await store.own(owned(hashSlice(0)));
    now += 500;
    expect(await provisioner.ensure(SHARD, 'kv-large', true)).toMatchObject({ state: 'ready', instanceId });
    await restarted();
    expect(await provisioner.ensure(SHARD, 'kv-large', false)).toMatchObject({ state: 'ready', instanceId });
  });

  for (const { name, type, resize, reason } of [
    { name: 'an unknown type', type: 'kv-huge', resize: false, reason: /no datastore type kv-huge/ },
    { name: 'another type without a resize', type: 'kv-large', resize: false, reason: /exists on datastore type kv/ },
    { name: 'a resize to another kind of store', type: 'trie', resize: true, reason: /is a KEY_VALUE store/ },
  ])
    test(`${name} is refused with its reason`, async () => {
      await provisioner.ensure(SHARD, 'kv', false);
      const refused = await provisioner.ensure(SHARD, type, resize);
      expect(refused.state).toBe('failed');
      expect(refused.reason).toMatch(reason);
    });

  for (const name of ['..', '.', '../x', 'a/b', '', '-x', 'x'.repeat(129), 'a\u0000', 'ä', 'a\\b'])
    test(`the name ${JSON.stringify(name.slice(0, 8))} becomes no path`, async () => {
      await expect(provisioner.ensure(shardId(name), 'kv', false)).rejects.toMatchObject({ code: 'SHARD_INVALID' });
      await expect(provisioner.release(shardId(name))).rejects.toMatchObject({ code: 'SHARD_INVALID' });
      expect(await readdir(folder.path)).toEqual([]);
    });

  test('a released shard leaves nothing, and releasing twice is releasing once', async () => {
    const { instanceId } = await provisioner.ensure(SHARD, 'kv', false);
    await (await provisioner.store(SHARD)).write([row('a', 'c', 1, { gone: true })]);
    expect(await provisioner.release(SHARD)).toBeUndefined();
    expect(await provisioner.release(SHARD)).toBeUndefined();
    expect(await readdir(folder.path)).toEqual([]);
    expect((await provisioner.ensure(SHARD, 'kv', false)).instanceId).not.toBe(instanceId);
    const store = await provisioner.store(SHARD);
    await store.own(owned(hashSlice(0)));
    expect((await store.count({ slice: hashSlice(0), except: [] })).entries).toBe(0);
  });

  test('a release cut short leaves no old rows to a new shard of the name', async () => {
    await provisioner.ensure(SHARD, 'kv', false);
    await (await provisioner.store(SHARD)).write([row('a', 'c', 1)]);
    await restarted();
    await rm(join(folder.path, SHARD, 'shard.json'));
    await provisioner.ensure(SHARD, 'kv', false);
    expect(await (await provisioner.store(SHARD)).write([row('a', 'c', 1)])).toEqual({ applied: 1, stale: 0 });
  });

  for (const { type, filter, slice } of [
    { type: 'kv', filter: 'a', slice: hashSlice(partitionOf('a', PARTITIONS)) },
    { type: 'trie', filter: 'a/+', slice: groupSlice(partitionOf('a', PARTITIONS)) },
  ])
    describe(`a ready ${type} shard never comes back empty`, () => {
      let instanceId = '';
      const data = () => join(folder.path, SHARD, 'data');
      beforeEach(async () => {
        ({ instanceId } = await provisioner.ensure(SHARD, type, false));
        const store = await provisioner.store(SHARD);
        await store.own(owned(slice));
        await store.write([row(filter, 'c', 1)]);
      });
      const refused = async (): Promise<void> => {
        for (const known of [instanceId, ''])
          expect(await provisioner.ensure(SHARD, type, false, known)).toMatchObject({
            state: 'lost',
            reason: expect.stringContaining('put its folder back from a copy'),
          });
        await expect(provisioner.store(SHARD)).rejects.toMatchObject({ code: 'SHARD_LOST' });
      };

      test('when its data folder was emptied, and it is the same again when the folder is back', async () => {
        await provisioner.close();
        await cp(data(), join(folder.path, 'copy'), { recursive: true });
        await rm(data(), { recursive: true });
        await mkdir(data());
        await restarted();
        await refused();
        await restarted();
        await refused();
        await provisioner.close();
        await rm(data(), { recursive: true });
        await rename(join(folder.path, 'copy'), data());
        await restarted();
        expect(await provisioner.ensure(SHARD, type, false, instanceId)).toMatchObject({ state: 'ready', instanceId });
        expect(await (await provisioner.store(SHARD)).lookup([filter], epoch(1))).toMatchObject([
          { kind: 'found', subscribers: [{ clientId: 'c' }] },
        ]);
      });

      test('when its data folder is gone', async () => {
        await restarted();
        await rm(data(), { recursive: true });
        await refused();
        // Nothing is left that could be put right.
        expect(await provisioner.release(SHARD)).toBeUndefined();
        expect(await readdir(folder.path)).toEqual([]);
      });

      test('when its whole folder is gone', async () => {
        await restarted();
        await rm(join(folder.path, SHARD), { recursive: true });
        expect((await provisioner.ensure(SHARD, type, false, instanceId)).state).toBe('lost');
        expect((await provisioner.ensure(SHARD, type, false, '')).state).toBe('lost');
        await expect(provisioner.store(SHARD)).rejects.toMatchObject({ code: 'SHARD_UNKNOWN' });
        expect(await readdir(folder.path)).toEqual([]);
      });

      test('when another store lies there, or the whole folder of another instance', async () => {
        await provisioner.ensure(OTHER, type, false);
        await (await provisioner.store(OTHER)).own(owned(slice));
        await restarted();
        await rm(data(), { recursive: true });
        await rename(join(folder.path, OTHER, 'data'), data());
        await refused();
        const text = await readFile(join(folder.path, OTHER, 'shard.json'), 'utf8');
        await writeFile(join(folder.path, SHARD, 'shard.json'), text);
        await restarted();
        expect((await provisioner.ensure(SHARD, type, false, instanceId)).state).toBe('lost');
        await expect(provisioner.store(SHARD, { instanceId })).rejects.toMatchObject({ code: 'SHARD_LOST' });
        // One task has said which instance it was: nobody else is given the other one.
        await expect(provisioner.store(SHARD)).rejects.toMatchObject({ code: 'SHARD_LOST' });
      });

      test('but a new shard of its name is another instance', async () => {
        expect((await provisioner.ensure(SHARD, type, false, instanceId)).state).toBe('ready');
        await (await provisioner.store(SHARD)).own({ slice, state: 'moved', epoch: epoch(2), movedTo: OTHER });
        expect(await provisioner.release(SHARD)).toBeUndefined();
        const again = await provisioner.ensure(SHARD, type, false);
        expect(again.instanceId).not.toBe(instanceId);
        expect((await provisioner.store(SHARD)).instanceId).toBe(again.instanceId);
      });

      test('and a store of an earlier release gets its identity once, if it holds owner records', async () => {
        const earlier = async (): Promise<void> => {
          const file = JSON.parse(await readFile(join(folder.path, SHARD, 'shard.json'), 'utf8'));
          const { keySpace: _, ...rest } = file;
          await writeFile(join(folder.path, SHARD, 'shard.json'), JSON.stringify({ ...rest, format: 1 }));
        };
        const open = () =>
          type === 'kv'
            ? openLevelKv(data(), { partitions: PARTITIONS })
            : openTrieStore(data(), { partitions: PARTITIONS });
        await provisioner.close();
        await rm(data(), { recursive: true });
        const old = await open(); // As an earlier release makes it.
        await earlier();
        await old.close();
        await restarted();
        await refused();
        await provisioner.close();
        const used = await open();
        await used.own(owned(slice));
        await used.close();
        await restarted();
        expect((await provisioner.ensure(SHARD, type, false, instanceId)).state).toBe('ready');
        await restarted();
        expect((await provisioner.store(SHARD)).instanceId).toBe(instanceId);
        await provisioner.close();
        await rm(data(), { recursive: true });
        await mkdir(data());
        await restarted();
        await refused();
      });

      test('and another fleet is refused, whatever it asks', async () => {
        const other = keySpaceOf(PARTITIONS * 2);
        expect(await provisioner.ensure(SHARD, type, false, instanceId, other)).toMatchObject({
          state: 'lost',
          reason: expect.stringMatching(
            /^the shard was made for 4 partitions and is asked by a fleet of 8 partitions: if it belongs to this fleet, set FORESHARD_PARTITIONS to .*; if not, give .* its own shard server/,
          ),
        });
        await expect(provisioner.ensure(SHARD, type, false, undefined, other)).rejects.toMatchObject({
          code: 'FLEET_MISMATCH',
        });
        await expect(provisioner.store(SHARD, { keySpace: other })).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
        await expect(provisioner.release(SHARD, { keySpace: other })).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
        await provisioner.close();
        provisioner = localShards(folder.path, PARTITIONS * 2, () => now);
        await expect(provisioner.store(SHARD)).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
      });
    });

  test('a file that is not a shard’s is refused', async () => {
    await provisioner.ensure(OTHER, 'kv', false);
    await restarted();
    for (const text of ['', '{', 'null', '{"format":3}', '{"format":2}']) {
      await writeFile(join(folder.path, OTHER, 'shard.json'), text);
      await expect(provisioner.ensure(OTHER, 'kv', false)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    }
  });

  test('two stores asked for at once are one', async () => {
    await provisioner.ensure(SHARD, 'kv', false);
    const [one, two] = await Promise.all([provisioner.store(SHARD), provisioner.store(SHARD)]);
    expect(one).toBe(two);
    await one.own(owned(hashSlice(1), 2));
    expect(await two.lookup([], epoch(1))).toEqual([]);
  });
});
