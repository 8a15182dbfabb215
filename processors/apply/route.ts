// Route: subscription events to the shards that hold their slices. The hot path of the stage: every event passes here.
//
//   E1. An event is written to its slice's owner and, while the slice moves, to the move’s other shard too (move.ts M1).
//   E2. Its version is its place in the subscriptions topic, whichever way it came: order on other topics means nothing.
//       A trie event brings the life of that topic that it was read in.

import { assert } from '../../schemas/errors.ts';
import type { Offset, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { Progress, SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import type { Effect, SubscriptionRow } from '../../state/effects.ts';
import { placeOf } from '../../state/keys.ts';
import { optionsOf } from '../../state/subscription-options.ts';
import { type Emit, NOTHING } from '../step.ts';
import type { Second } from './move.ts';
import type { PartitionState, SlicePlacement } from './partition-state.ts';

export type Out = Emit<'progress', Progress> | Emit<'effects', Effect>;

/** The writes of one event; none for a trie filter, which comes again through `wildcard-subscriptions`. */
export function routeEvent(
  state: PartitionState,
  event: SubscriptionEvent,
  offset: Offset,
  incarnation: number,
): readonly Out[] {
  if (placeOf(event.topicFilter).trie) return NOTHING;
  const slice = state.tree.concreteSliceOf(event.topicFilter, state.partition, event.clientId);
  const home = counted(state, slice);
  const rows = [rowOf(event, offset, incarnation)];
  const first = writing(home.shard, rows);
  return home.second === undefined ? [first] : [first, writingToo(home.second, rows)];
}

/** The writes of a batch of trie events; neighbours that go to the same shard share one effect. */
export function routeEvents(state: PartitionState, batch: WildcardEvents, incarnation: number): readonly Out[] {
  const out: Out[] = [];
  let last: SlicePlacement | undefined;
  let rows: SubscriptionRow[] = [];
  for (const event of batch.events) {
    const slice = state.tree.groupOf(state.partition, placeOf(event.topicFilter).prefix);
    const home = counted(state, slice);
    if (home !== last) {
      last = home;
      rows = [];
      out.push(writing(home.shard, rows));
      if (home.second !== undefined) out.push(writingToo(home.second, rows));
    }
    rows.push(rowOf(event, event.offset, event.incarnation >= 0 ? event.incarnation : incarnation));
  }
  return out;
}

function counted(state: PartitionState, slice: SliceKey | undefined): SlicePlacement {
  assert(slice !== undefined, `partition ${state.partition} has a filter that no slice covers`);
  const home = state.homeOf(slice);
  home.writesLeft -= 1;
  if (home.writesLeft <= 0) {
    home.writesLeft = Number.POSITIVE_INFINITY;
    state.toCount.add(slice);
  }
  return home;
}

function rowOf(event: SubscriptionEvent, offset: Offset, incarnation: number): SubscriptionRow {
  const gone = event.action === 'UNSUBSCRIBE';
  const row = {
    filter: event.topicFilter,
    clientId: event.clientId,
    brokerId: event.brokerId,
    qos: event.qos,
    version: { incarnation, offset },
    gone,
    at: event.timestamp,
  };
  const options = gone ? undefined : optionsOf(event);
  return options === undefined ? row : { ...row, options };
}

/** Effects are local to the task and performed in order: they need no key. */
export const effect = (value: Effect): Out => ({ topic: 'effects', key: '', value });

const writing = (shard: ShardId, rows: readonly SubscriptionRow[]): Out => effect({ kind: 'write', shard, rows });

function writingToo({ shard, move, holdMs }: Second, rows: readonly SubscriptionRow[]): Out {
  if (move === undefined) return writing(shard, rows);
  return effect(
    holdMs === undefined ? { kind: 'write', shard, rows, move } : { kind: 'write', shard, rows, move, holdMs },
  );
}

export const tell = (state: PartitionState, key: string, body: Progress['body']): Out => ({
  topic: 'progress',
  key,
  value: { at: state.eventTime, body },
});
