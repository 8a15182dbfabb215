// Full check: every row of every shard, held against what must be there.

import type { LiveSubscription } from '../../evaluation/fleet.ts';
import type { AppError } from '../../schemas/errors.ts';
import type { ShardId } from '../../schemas/ids.ts';
import type { SubscriptionRow } from '../../state/effects.ts';
import { groupSlice, hashSlice } from '../../state/keys.ts';
import type { PointerTable } from '../../state/pointer-table.ts';
import { type Deployment, until } from './deployment.ts';

export interface FullCheck {
  readonly rows: number;
  /** Live subscriptions that no shard holds as they are. */
  readonly missing: string[];
  /** Live rows that are no live subscription. */
  readonly unknown: string[];
  /** Rows, removed ones included, in a shard that the pointer table does not name for them. */
  readonly orphans: string[];
  readonly shards: number;
}

export async function fullCheck(
  deployment: Deployment,
  table: PointerTable,
  live: ReadonlyMap<string, ReadonlyMap<string, LiveSubscription>>,
): Promise<FullCheck> {
  const found = new Map<string, SubscriptionRow>();
  const unknown: string[] = [];
  const orphans: string[] = [];
  const named = new Set([...table.pointers()].flatMap((pointer) => pointer.shards));
  let rows = 0;
  let shards = 0;
  for (const { shardId, state } of [...table.shards()]) {
    if (state === 'GONE') continue;
    const inShard = await rowsOf(deployment, shardId).catch((error: AppError) => error);
    if (inShard instanceof Error) {
      if (inShard.code === 'SHARD_LOST' && !named.has(shardId)) continue; // What it held has been rebuilt on others.
      if (inShard.code !== 'SHARD_UNKNOWN') throw inShard;
      await until(`${shardId} is retired`, () => table.shard(shardId) === undefined); // The table follows its topic.
      continue;
    }
    shards++;
    rows += inShard.length;
    for (const row of inShard) {
      const key = `${row.filter}\n${row.clientId}`;
      if (!table.resolve(row.filter, row.clientId)?.shards.includes(shardId)) orphans.push(`${shardId}: ${key}`);
      else if (!row.gone) found.set(key, row);
    }
  }
  const missing: string[] = [];
  for (const [filter, clients] of live)
    for (const [clientId, { brokerId, qos }] of clients) {
      const key = `${filter}\n${clientId}`;
      const row = found.get(key);
      if (row?.brokerId !== brokerId || row.qos !== qos) missing.push(key);
      found.delete(key);
    }
  for (const key of found.keys()) unknown.push(key);
  return { rows, missing, unknown, orphans, shards };
}

async function rowsOf({ provisioner, config }: Deployment, shard: ShardId): Promise<SubscriptionRow[]> {
  const store = await provisioner.store(shard);
  const rows: SubscriptionRow[] = [];
  for (let partition = 0; partition < config.partitions; partition++) {
    const slice = store.kind === 'TRIE' ? groupSlice(partition) : hashSlice(partition);
    for (let cursor: string | undefined, done = false; !done; ) {
      const page = await store.scan({ slice, except: [] }, cursor, 5_000);
      rows.push(...page.rows);
      ({ cursor, done } = page);
    }
  }
  return rows;
}
