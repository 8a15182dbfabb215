// Full check: every row of every shard, held against what must be there.

import type { SubscriptionRow } from '../../state/effects.ts';
import { groupSlice, hashSlice } from '../../state/keys.ts';
import type { PointerTable } from '../../state/pointer-table.ts';
import type { LiveSubscription } from '../../topology/fleet.ts';
import type { Deployment } from './deployment.ts';

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
  const { partitions } = deployment.config;
  const found = new Map<string, SubscriptionRow>();
  const unknown: string[] = [];
  const orphans: string[] = [];
  let rows = 0;
  let shards = 0;
  for (const { shardId, state } of [...table.shards()]) {
    if (state === 'GONE') continue;
    shards++;
    const store = await deployment.provisioner.store(shardId);
    for (let partition = 0; partition < partitions; partition++) {
      const slice = store.kind === 'TRIE' ? groupSlice(partition) : hashSlice(partition);
      for (let cursor: string | undefined, done = false; !done; ) {
        const page = await store.scan({ slice, except: [] }, cursor, 5_000);
        for (const row of page.rows) {
          rows++;
          const key = `${row.filter}\n${row.clientId}`;
          if (!table.resolve(row.filter, row.clientId)?.shards.includes(shardId)) orphans.push(`${shardId}: ${key}`);
          else if (!row.gone) found.set(key, row);
        }
        ({ cursor, done } = page);
      }
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
