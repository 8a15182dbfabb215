// Shard servers as a broker asks them, once it knows the number of partitions.

import { RemoteReader } from '../provisioners/remote/remote-reader.ts';
import { AppError } from '../schemas/errors.ts';
import type { RouterPorts } from './router.ts';

export interface ShardServersOptions {
  /**
   * `host:port` or `http://host:port` of each shard server. Without any, the broker can report and resolve, but not look
   * up subscribers.
   */
  readonly shardServers?: readonly string[];
  /** The token with which the shard servers let read. */
  readonly shardServerToken?: string;
  /** Time limit of one call of a shard server. */
  readonly timeoutMs?: number;
}

/** `fleet`: prefix of its topics' names; `undefined` for an embedded one. */
export function shardServers(
  { shardServers: servers = [], shardServerToken: token, timeoutMs }: ShardServersOptions,
  fleet: string | undefined,
  partitions: () => Promise<number>,
): { readonly storeOf: RouterPorts['storeOf']; close(): void } {
  let reader: RemoteReader | undefined;
  return {
    async storeOf(shard) {
      if (servers.length === 0) throw new AppError('CONFIG_INVALID', 'no shard server was named to ask');
      if (reader === undefined) {
        const count = await partitions();
        reader ??= new RemoteReader({
          addresses: servers.map((server) => (server.includes('://') ? server : `http://${server}`)),
          token,
          partitions: count,
          ...(fleet === undefined ? {} : { fleet }),
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
        });
      }
      return reader.shard(shard);
    },
    close: () => reader?.close(),
  };
}
