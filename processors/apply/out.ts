// Out: what the apply stage says to the other stages, to stores and to people.

import type { Progress, Subscription as SubscriptionRecord } from '../../schemas/records.ts';
import type { Effect } from '../../state/effects.ts';
import type { DiskRows, Emit } from '../step.ts';
import type { PartitionState } from './partition-state.ts';
import type { KeptRow, Tally } from './subscriptions.ts';

export type Out =
  | Emit<'progress', Progress>
  | Emit<'effects', Effect>
  | Emit<'subscription-table', SubscriptionRecord>
  | Emit<'tallies', Tally>;

/** The table of subscriptions; `undefined` where stores are trusted to be the only copy of what they hold. */
export type Kept = DiskRows<KeptRow> | undefined;

/** Effects are local to the task and performed in order: they need no key. */
export const effect = (value: Effect): Out => ({ topic: 'effects', key: '', value });

export const tell = (state: PartitionState, key: string, body: Progress['body']): Out => ({
  topic: 'progress',
  key,
  value: { at: state.eventTime, body },
});
