// Remote reader: the shards of one or more shard servers, for a broker that only looks up. It speaks RESP alone, for
// which the token that allows reading is sufficient.
//
//   E1. A shard is on the server that has answered for it. While none has, or after it has not, every server is asked,
//       and the first answer counts.
//   E2. Only configured servers are called, never an address from a record.
//   E3. Each question names the instance that the pointer table means: a shard that has become another one answers
//       SHARD_LOST.
//   E4. When no server answers for the shard, the error is the one that says most: a refusal, then a server that cannot
//       be asked (the shard may be there), then another instance, then that nobody has it.

import type { Tracker } from '../../datastores/answer-cache.ts';
import type { Heard, QuestionReader } from '../../datastores/audience.ts';
import type { Asked, PublishQuestion } from '../../datastores/shard-store.ts';
import { AppError } from '../../schemas/errors.ts';
import type { ShardId } from '../../schemas/ids.ts';
import { keySpaceOf } from '../../state/keys.ts';
import { LookUpConnection, TIMEOUT_MS } from './look-up-connection.ts';
import type { RemoteSettings } from './remote-provisioner.ts';

/** The shard, and the instance that is meant; '' for any. */
export interface ReadShard {
  readonly shardId: ShardId;
  readonly instanceId: string;
}

type Ask<Answer> = (server: LookUpConnection) => Promise<Answer>;

/** Least telling first (E4). */
const LEAST_TELLING = ['SHARD_UNKNOWN', 'SHARD_LOST', 'STORE_UNAVAILABLE'];

export class RemoteReader {
  readonly #servers: readonly LookUpConnection[];
  /** E1. */
  readonly #places = new Map<ShardId, LookUpConnection>();
  readonly #readers = new Map<ShardId, { readonly instanceId: string; readonly reader: QuestionReader }>();

  constructor({ addresses, token, partitions, fleet, timeoutMs = TIMEOUT_MS, pingMs }: RemoteSettings) {
    if (addresses.length === 0) throw new AppError('CONFIG_INVALID', 'no shard server was named to ask');
    this.#servers = addresses.map((address) => {
      const { hostname, port } = new URL(address);
      return new LookUpConnection({
        host: hostname.replace(/^\[|\]$/g, ''),
        port: Number(port) || 80,
        token,
        keySpace: keySpaceOf(partitions, fleet),
        timeoutMs,
        ...(pingMs === undefined ? {} : { pingMs }),
      });
    });
  }

  shard(shard: ReadShard): QuestionReader {
    const known = this.#readers.get(shard.shardId);
    if (known?.instanceId === shard.instanceId) return known.reader;
    const reader = this.#readerOf(shard);
    this.#readers.set(shard.shardId, { instanceId: shard.instanceId, reader });
    return reader;
  }

  close(): void {
    for (const server of this.#servers) server.close();
  }

  #readerOf({ shardId, instanceId }: ReadShard): QuestionReader {
    return {
      audience: (question: PublishQuestion, tracker?: Tracker): Promise<Asked> =>
        this.#asked(shardId, (server) => server.audience(shardId, instanceId, question, tracker)),
      hearers: (question: PublishQuestion): Promise<Heard> =>
        this.#asked(shardId, (server) => server.hearers(shardId, instanceId, question)),
    };
  }

  #asked<Answer>(shard: ShardId, ask: Ask<Answer>): Promise<Answer> {
    const place = this.#places.get(shard);
    if (place === undefined) return this.#askedAnywhere(shard, ask);
    return ask(place).catch((error: unknown) => {
      if (this.#places.get(shard) === place) this.#places.delete(shard);
      if (error instanceof AppError && (error.code === 'SHARD_UNKNOWN' || error.code === 'SHARD_LOST'))
        return this.#askedAnywhere(shard, ask);
      throw error;
    });
  }

  #askedAnywhere<Answer>(shard: ShardId, ask: Ask<Answer>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const errors: unknown[] = [];
      for (const server of this.#servers)
        ask(server).then(
          (answer) => {
            this.#places.set(shard, server);
            resolve(answer);
          },
          (error: unknown) => {
            errors.push(error);
            if (errors.length === this.#servers.length) reject(mostTelling(errors));
          },
        );
    });
  }
}

/** E4. */
function mostTelling(errors: readonly unknown[]): unknown {
  const rank = (error: unknown): number => {
    const at = error instanceof AppError ? LEAST_TELLING.indexOf(error.code) : -1;
    return at < 0 ? LEAST_TELLING.length : at;
  };
  return errors.reduce((most, error) => (rank(error) > rank(most) ? error : most));
}
