// Route: subscription events to the shards that hold their slices. The hot path of the stage: every event passes here.
//
//   E1. An event is written to its slice's owner and, while the slice moves, to the move’s other shard too (move.ts M1).
//   E2. Its version is its place in the subscriptions topic, whichever way it came: order on other topics means nothing.
//       A trie event brings the life of that topic that it was read in.

import { assert } from '../../schemas/errors.ts';
import type { Offset, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { Progress, Subscription, SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import type { Effect, SubscriptionRow, Version } from '../../state/effects.ts';
import { type FilterPlace, placeOf } from '../../state/keys.ts';
import { optionsOf } from '../../state/subscription-options.ts';
import { type DiskRows, type Emit, NOTHING } from '../step.ts';
import type { Second } from './move.ts';
import type { PartitionState, SlicePlacement } from './partition-state.ts';
import { foldEvent, type Subscription as KeptRow, recordOf, subscriptionKey, type Tally } from './subscriptions.ts';

export type Out =
  | Emit<'progress', Progress>
  | Emit<'effects', Effect>
  | Emit<'subscription-table', Subscription>
  | Emit<'tallies', Tally>;

/** The table of subscriptions; `undefined` where stores are trusted to be the only copy of what they hold. */
export type Kept = DiskRows<KeptRow> | undefined;

/** The writes of one event; none for a trie filter, which comes again through `wildcard-subscriptions`. */
export function routeEvent(
  state: PartitionState,
  event: SubscriptionEvent,
  offset: Offset,
  incarnation: number,
  kept: Kept,
): readonly Out[] {
  const place = placeOf(event.topicFilter);
  if (place.trie) return NOTHING;
  const out: Out[] = [];
  const row = settled(state, event, { incarnation, offset }, place, kept, out);
  if (row === undefined) return out;
  const slice = state.tree.concreteSliceOf(event.topicFilter, state.partition, event.clientId);
  const home = counted(state, slice);
  const rows = [row];
  out.push(writing(home.shard, rows));
  if (home.second !== undefined) out.push(writingToo(home.second, rows));
  return out;
}

/** The writes of a batch of trie events; neighbours that go to the same shard share one effect. */
export function routeEvents(
  state: PartitionState,
  batch: WildcardEvents,
  incarnation: number,
  kept: Kept,
): readonly Out[] {
  const out: Out[] = [];
  let last: SlicePlacement | undefined;
  let rows: SubscriptionRow[] = [];
  for (const event of batch.events) {
    const place = placeOf(event.topicFilter);
    const version = { incarnation: event.incarnation >= 0 ? event.incarnation : incarnation, offset: event.offset };
    const row = settled(state, event, version, place, kept, out);
    if (row === undefined) continue;
    const home = counted(state, state.tree.groupOf(state.partition, place.prefix));
    if (home !== last) {
      last = home;
      rows = [];
      out.push(writing(home.shard, rows));
      if (home.second !== undefined) out.push(writingToo(home.second, rows));
    }
    rows.push(row);
  }
  return out;
}

/** What shards are to write of an event: nothing when it changes nothing (subscriptions.ts T1). */
function settled(
  state: PartitionState,
  event: SubscriptionEvent,
  version: Version,
  place: FilterPlace,
  kept: Kept,
  out: Out[],
): SubscriptionRow | undefined {
  if (kept === undefined) return rowOf(event, version);
  const { topicFilter: filter, clientId } = event;
  const key = subscriptionKey(filter, clientId, place);
  const known = kept.get(key);
  const folded = foldEvent(known, event, version);
  if (folded.is !== 'changed') {
    out.push({ topic: 'tallies', key: '', value: { what: folded.is } });
    return undefined;
  }
  const { row } = folded;
  if (row === undefined) kept.delete(key);
  else kept.set(key, row);
  if (row !== known) out.push(recordOf(state.partition, filter, clientId, row));
  return folded.write;
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

function rowOf(event: SubscriptionEvent, version: Version): SubscriptionRow {
  const { topicFilter: filter, clientId, brokerId, qos, timestamp: at } = event;
  const gone = event.action === 'UNSUBSCRIBE';
  const options = gone ? undefined : optionsOf(event);
  const row = { filter, clientId, brokerId, qos, version, gone, at };
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
