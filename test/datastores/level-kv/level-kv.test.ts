import { Level } from 'level';
import { expect, test, vi } from 'vitest';
import { openLevelKv } from '../../../datastores/level-kv/level-kv.ts';
import { epoch } from '../../../schemas/ids.ts';
import { hashSlice } from '../../../state/keys.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { owned, PARTITIONS, row, shardStoreSuite } from '../shard-store-suite.ts';

shardStoreSuite('level-kv', {
  kind: 'KEY_VALUE',
  home: async () => {
    const folder = await tempFolder();
    return { open: () => openLevelKv(folder.path, { partitions: PARTITIONS, sync: false }), remove: folder.remove };
  },
});

test('a folder made for another number of partitions is refused', async () => {
  const folder = await tempFolder();
  await (await openLevelKv(folder.path, { partitions: 4 })).close();
  await expect(openLevelKv(folder.path, { partitions: 8 })).rejects.toMatchObject({ code: 'FLEET_MISMATCH' });
  await (await openLevelKv(folder.path, { partitions: 4 })).close();
  await folder.remove();
});

test('a folder that is open already is unavailable', async () => {
  const folder = await tempFolder();
  const store = await openLevelKv(folder.path, { partitions: 4 });
  await expect(openLevelKv(folder.path, { partitions: 4 })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  await store.close();
  await folder.remove();
});

test('a flipped bit of a value, or a value under another key, is STORE_CORRUPT and never an answer', async () => {
  const folder = await tempFolder();
  const range = { slice: hashSlice(0), except: [] };
  const write = async () => {
    const store = await openLevelKv(folder.path, { partitions: 1 });
    await store.own(owned(hashSlice(0)));
    await store.write([row('a', 'c1', 1, { gone: true }), row('a', 'c2', 2)]);
    await store.close();
  };
  await write();
  const raw = async (change: (database: Level<Buffer, Buffer>) => Promise<void>): Promise<void> => {
    const database = new Level<Buffer, Buffer>(folder.path, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
    await change(database);
    await database.close();
  };
  const stored: [Buffer, Buffer][] = [];
  await raw(async (database) => {
    for await (const [key, value] of database.iterator({ gte: Buffer.from('b'), lt: Buffer.from('s') }))
      if (key[0] !== 0x6d) stored.push([key, value]);
  });
  expect(stored.map(([key]) => String.fromCharCode(key[0]!)).join('')).toBe('borr');
  const asked = async (): Promise<unknown> => {
    const store = await openLevelKv(folder.path, { partitions: 1 });
    try {
      await store.lookup(['a'], epoch(1));
      await store.scan(range, undefined, 10);
      return await store.count(range);
    } finally {
      await store.close();
    }
  };
  for (const [key, value] of stored) {
    for (let bit = 0; bit < value.length * 8; bit += 5) {
      const flipped = Buffer.from(value);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      await raw((database) => database.put(key, flipped));
      await expect(asked(), `bit ${bit} of ${key}`).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
    }
    await raw((database) => database.put(key, value));
  }
  await raw((database) => database.put(stored.at(-1)![0], stored.at(-2)![1]));
  await expect(asked()).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  await folder.remove();
});

test('after a write that the disk refused the folder is opened anew before the next: nothing is written behind a torn record', async () => {
  const folder = await tempFolder();
  const store = await openLevelKv(folder.path, { partitions: 1 });
  await store.own(owned(hashSlice(0)));
  const full = Object.assign(new Error('IO error: No space left on device'), { code: 'LEVEL_IO_ERROR' });
  const batch = vi.spyOn(Level.prototype, 'batch').mockImplementationOnce(() => {
    throw full;
  });
  const open = vi.spyOn(Level.prototype, 'open');
  try {
    await expect(store.write([row('a', 'c', 1)])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(open).not.toHaveBeenCalled();
    expect(await store.write([row('a', 'c', 1)])).toEqual({ applied: 1, stale: 0 });
    expect(open).toHaveBeenCalledTimes(1);
    await store.write([row('a', 'c', 2)]);
    expect(open).toHaveBeenCalledTimes(1);
    expect(await store.lookup(['a'], epoch(1))).toMatchObject([{ kind: 'found', subscribers: [{ clientId: 'c' }] }]);
  } finally {
    batch.mockRestore();
    open.mockRestore();
    await store.close();
    await folder.remove();
  }
});
