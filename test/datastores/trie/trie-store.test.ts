import { openTrieStore } from '../../../datastores/trie/trie-store.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import { PARTITIONS, shardStoreSuite } from '../shard-store-suite.ts';

for (const { name, snapshotBytes } of [
  { name: 'trie', snapshotBytes: 1024 * 1024 },
  { name: 'trie that takes a snapshot after every change', snapshotBytes: 0 },
])
  shardStoreSuite(name, {
    kind: 'TRIE',
    home: async () => {
      const folder = await tempFolder();
      return {
        open: () => openTrieStore(folder.path, { partitions: PARTITIONS, sync: false, snapshotBytes }),
        remove: folder.remove,
      };
    },
  });
