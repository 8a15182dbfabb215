// Out: the records and effects that the apply stage emits.

import type { ShardId } from '../../schemas/ids.ts';
import type { Progress, Subscription as SubscriptionRecord } from '../../schemas/records.ts';
import type { Effect, SubscriptionRow } from '../../state/effects.ts';
import type { DiskRows, Emit } from '../step.ts';
import type { Second } from './move.ts';
import type { PartitionState } from './partition-state.ts';
import type { KeptRow, Tally } from './subscriptions.ts';

export type Out =
  | Emit<'progress', Progress>
  | Emit<'effects', Effect>
  | Emit<'subscription-table', SubscriptionRecord>
  | Emit<'tallies', Tally>;

/** The subscription table; `undefined` where it is not kept, and each store is the only copy of its rows. */
export type Kept = DiskRows<KeptRow> | undefined;

/** Effects are local to the task and performed in order: they need no key. */
export const effect = (value: Effect): Out => ({ topic: 'effects', key: '', value });

export const tell = (state: PartitionState, key: string, body: Progress['body']): Out => ({
  topic: 'progress',
  key,
  value: { at: state.eventTime, body },
});

/** A write that is repeated until it succeeds. */
export const writing = (shard: ShardId, rows: readonly SubscriptionRow[]): Out =>
  effect({ kind: 'write', shard, rows });

/** The same, except for a shard that has lost its data, if the table can fill it again (away.ts A3). */
export const writingUnlessLost = (
  { tableIsWhole }: PartitionState,
  shard: ShardId,
  rows: readonly SubscriptionRow[],
): Out => (tableIsWhole ? effect({ kind: 'write', shard, rows, away: 'lost' }) : writing(shard, rows));

/** A write to the shard beside the owner. */
export function writingToo(
  state: PartitionState,
  { shard, move, holdMs }: Second,
  rows: readonly SubscriptionRow[],
): Out {
  if (move === undefined) return writingUnlessLost(state, shard, rows);
  return effect(
    holdMs === undefined ? { kind: 'write', shard, rows, move } : { kind: 'write', shard, rows, move, holdMs },
  );
}
