// Shards for tests: real stores in a folder of the test's own, without waiting for the disk.

import { openLevelKv } from '../../datastores/level-kv/level-kv.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { openTrieStore } from '../../datastores/trie/trie-store.ts';
import { type EmbeddedType, embeddedProvisioner } from '../../provisioners/embedded/embedded-provisioner.ts';
import { keySpaceOf } from '../../state/keys.ts';

export const TYPES: ReadonlyMap<string, EmbeddedType> = new Map([
  ['kv', { kind: 'KEY_VALUE', provisioningMs: 0 }],
  ['kv-large', { kind: 'KEY_VALUE', provisioningMs: 500 }],
  ['trie', { kind: 'TRIE', provisioningMs: 0 }],
]);

export function localShards(folder: string, partitions: number, now: () => number = () => 0): Provisioner {
  return embeddedProvisioner({
    folder,
    types: TYPES,
    keySpace: keySpaceOf(partitions),
    open: {
      KEY_VALUE: (path, opening) =>
        openLevelKv(path, { partitions: opening.identity.partitions, sync: false, opening, now }),
      TRIE: (path, opening) =>
        openTrieStore(path, { partitions: opening.identity.partitions, sync: false, opening, now }),
    },
    now,
  });
}
