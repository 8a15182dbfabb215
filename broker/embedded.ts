// Ports beside an embedded process: its HTTP API takes events and gives the pointer table, and its shards are asked where
// it was told to serve them (`foreshard run --shards PORT`).

import { systemClock } from '../runtime/edge/system-clock.ts';
import { jsonCodec } from '../schemas/codec.ts';
import { type HttpLogSettings, httpLog } from './edge/http-log.ts';
import type { OpenedPorts } from './join-fleet.ts';
import { type ShardServersOptions, shardServers } from './shard-servers.ts';

export function embeddedPorts(options: HttpLogSettings & ShardServersOptions): OpenedPorts {
  const log = httpLog(options);
  let found: Promise<number> | undefined;
  const partitions = (): Promise<number> => {
    found ??= log.partitions();
    return found;
  };
  const shards = shardServers(options, undefined, partitions);
  return {
    ...{ log, partitions, codec: jsonCodec, clock: systemClock(), storeOf: shards.storeOf },
    health: () => log.health(),
    async close() {
      shards.close();
      await log.close();
    },
  };
}
