import { newMemory, openMemoryStore } from '../../examples/own-datastore.ts';
import { PARTITIONS, shardStoreSuite } from '../datastores/shard-store-suite.ts';

shardStoreSuite('memory (examples/own-datastore.ts)', {
  kind: 'KEY_VALUE',
  home: async () => {
    const memory = newMemory(PARTITIONS);
    return { open: async () => openMemoryStore(memory), remove: async () => {} };
  },
});
