import { expect, test } from 'vitest';
import { openLevelKv } from '../../../datastores/level-kv/level-kv.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { PARTITIONS, shardStoreSuite } from '../shard-store-suite.ts';

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
  await expect(openLevelKv(folder.path, { partitions: 8 })).rejects.toMatchObject({ code: 'STORE_FORMAT' });
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
