// Embedded fleet: Foreshard in this process as `foreshard run` starts it, in real time, for brokers that join it here. Its
// shards are in the process, or on a shard server.

import { type Foreshard, shardFolders, start } from '../../app/main.ts';
import type { BrokerClient } from '../../broker/join-fleet.ts';
import { joinHere } from '../../cli/mqtt.ts';
import { configOf } from '../../config/config.ts';
import { readCatalog } from '../../config/edge/catalog-file.ts';
import { type ShardServer, startShardServer } from '../../datastores/protocol/shard-server.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { systemClock } from '../../runtime/edge/system-clock.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { epoch } from '../../schemas/ids.ts';
import { tempFolder } from './temp-folder.ts';

export interface EmbeddedFleet {
  readonly foreshard: Foreshard;
  readonly config: ReturnType<typeof configOf>['config'];
  join(brokerId: string): Promise<BrokerClient>;
  close(): Promise<void>;
}

export type Where = 'embedded' | 'over a shard server';

export async function embeddedFleet(
  where: Where = 'embedded',
  values: Readonly<Record<string, unknown>> = {},
): Promise<EmbeddedFleet> {
  const folder = await tempFolder();
  const set = { httpPort: 0, workerThreads: 0, partitions: 4, ...values };
  const configIn = (name: string, more = {}) =>
    configOf([{ source: 'test', values: { ...set, dataDir: `${folder.path}/${name}`, ...more } }]).config;
  let host: Provisioner | undefined;
  let server: ShardServer | undefined;
  if (where === 'over a shard server') {
    const own = configIn('host');
    host = shardFolders(own, readCatalog(own.catalogPath), systemClock(), false, () => {});
    server = await startShardServer({ provisioner: host, token: undefined, host: '127.0.0.1', port: 0 });
  }
  const config = configIn('data', server === undefined ? {} : { shardServers: new URL(server.address).host });
  const foreshard = await start(config, { logger: silentLogger, serveHttp: false });
  return {
    foreshard,
    config,
    async join(brokerId) {
      const client = await joinHere(foreshard, { brokerId, partitions: config.partitions });
      while (!(await client.pointers.newerThan(epoch(0), 1_000))); // The first table comes within a second or two.
      return client;
    },
    async close() {
      await foreshard.stop();
      await server?.close();
      await host?.close();
      await folder.remove();
    },
  };
}
