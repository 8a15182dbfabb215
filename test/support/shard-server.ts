// Shard server: one process with shards in a folder, for system tests: instances come and go, shards stay.
// FORESHARD_CATALOG_PATH names the catalogue, SHARD_FOLDER where shards lie, SHARD_TOKEN and SHARD_READ_TOKEN what it
// asks for.

import { readCatalog } from '../../config/edge/catalog-file.ts';
import { openLevelKv } from '../../datastores/level-kv/level-kv.ts';
import { startShardServer } from '../../datastores/protocol/shard-server.ts';
import { openTrieStore } from '../../datastores/trie/trie-store.ts';
import { embeddedProvisioner } from '../../provisioners/embedded/embedded-provisioner.ts';

const catalog = readCatalog(process.env.FORESHARD_CATALOG_PATH!);
const provisioner = embeddedProvisioner({
  folder: process.env.SHARD_FOLDER!,
  // Folders are there at once; how long a machine would take is the catalogue's word to the planner.
  types: new Map([...catalog].map(([name, { kind }]) => [name, { kind, provisioningMs: 0 }])),
  open: {
    KEY_VALUE: (folder, opening) => openLevelKv(folder, { partitions: opening.identity.partitions, opening }),
    TRIE: (folder, opening) => openTrieStore(folder, { partitions: opening.identity.partitions, opening }),
  },
  now: () => Date.now(),
});
const { SHARD_TOKEN: token, SHARD_READ_TOKEN: readToken } = process.env;
const server = await startShardServer({
  provisioner,
  token,
  ...(readToken === undefined ? {} : { readToken }),
  host: '127.0.0.1',
  port: Number(process.env.SHARD_PORT),
  log: ({ call, shard, error }) => process.stderr.write(`${call} ${shard}: ${error}\n`),
});
process.stdout.write(`ready ${server.address}\n`);
