// Route: writes subscription events to the shards that hold their slices. The hot path of the stage: every event passes
// here.
//
//   E1. An event is written to its slice's owner and, while the slice moves, to the move’s other shard too (move.ts
//       M1).
//   E2. Its version is its position in the subscriptions topic, whichever way it came: its order on other topics has no
//       meaning. A trie event carries the incarnation of that topic in which it was read.

import { assert } from '../../schemas/errors.ts';
import type { Offset, SliceKey } from '../../schemas/ids.ts';
import type { SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import type { SubscriptionRow, Version } from '../../state/effects.ts';
import { type FilterPlace, placeOf } from '../../state/keys.ts';
import { optionsOf } from '../../state/subscription-options.ts';
import { NOTHING, type Rows } from '../step.ts';
import { type AwaySettings, overtake, spill, wayTo } from './away.ts';
import { keptIn, knownIn } from './fill.ts';
import { effect, type Kept, type Out, writingToo, writingUnlessLost } from './out.ts';
import type { PartitionState, Row, SlicePlacement } from './partition-state.ts';
import { foldEvent, recordOf, subscriptionKey } from './subscriptions.ts';

/** What a task needs for routing. */
export interface Routing {
  readonly rows: Rows<Row>;
  readonly state: PartitionState;
  readonly settings: AwaySettings & { readonly incarnation: number };
  readonly kept: Kept;
}

/** The writes of one event; none for a trie filter, which comes again through `wildcard-subscriptions`. */
export function routeEvent(routing: Routing, event: SubscriptionEvent, offset: Offset): readonly Out[] {
  const place = placeOf(event.topicFilter);
  if (place.trie) return NOTHING;
  const { state, settings } = routing;
  const out: Out[] = [];
  const row = settled(routing, event, { incarnation: settings.incarnation, offset }, place, out);
  if (row === undefined) return out;
  const home = counted(state, state.tree.concreteSliceOf(event.topicFilter, state.partition, event.clientId));
  writes(routing, home, out).push(row);
  return out;
}

/** The writes of a batch of trie events; consecutive rows for the same shard share one effect. */
export function routeEvents(routing: Routing, batch: WildcardEvents): readonly Out[] {
  const { state, settings } = routing;
  const out: Out[] = [];
  let last: SlicePlacement | undefined;
  let rows: RowsOfWrite = [];
  for (const event of batch.events) {
    const place = placeOf(event.topicFilter);
    const incarnation = event.incarnation >= 0 ? event.incarnation : settings.incarnation;
    const row = settled(routing, event, { incarnation, offset: event.offset }, place, out);
    if (row === undefined) continue;
    const home = counted(state, state.tree.groupOf(state.partition, place.prefix));
    if (home !== last) {
      last = home;
      rows = writes(routing, home, out);
    }
    rows.push(row);
  }
  return out;
}

/** Collects the rows of a write. */
interface RowsOfWrite {
  push(row: SubscriptionRow): void;
}

/** Adds the writes to the shards of a slice to `out`; their rows are added later. */
function writes(
  { rows: table, state, settings, kept }: Routing,
  { shard, second }: SlicePlacement,
  out: Out[],
): RowsOfWrite {
  const rows: SubscriptionRow[] = [];
  const way = wayTo(state, kept, shard, settings);
  if (way === 'awaited') out.push(writingUnlessLost(state, shard, rows));
  if (way === 'tried') out.push(effect({ kind: 'write', shard, rows, away: 'spill' }));
  if (second !== undefined) out.push(writingToo(state, second, rows));
  if (way !== 'spilled') return rows;
  return {
    push(row) {
      rows.push(row);
      spill(table, state, kept!, shard, row, settings, out);
    },
  };
}

/** The row that shards have to write for an event; `undefined` when the event changes nothing (subscriptions.ts T1). */
function settled(
  { state, kept }: Routing,
  event: SubscriptionEvent,
  version: Version,
  place: FilterPlace,
  out: Out[],
): SubscriptionRow | undefined {
  if (kept === undefined) return rowOf(event, version);
  const { topicFilter: filter, clientId } = event;
  const key = subscriptionKey(filter, clientId, place);
  const stored = kept.get(key);
  const known = knownIn(state, stored);
  const folded = foldEvent(known, event, version);
  if (folded.is !== 'changed') {
    out.push({ topic: 'tallies', key: '', value: { what: folded.is } });
    return undefined;
  }
  const { row, write } = folded;
  if (write.gone && write.since !== undefined && state.away.size > 0) overtake(state, kept, write);
  if (row === undefined) kept.delete(key);
  else kept.set(key, keptIn(state, row));
  if (row !== stored) out.push(recordOf(state.partition, filter, clientId, row));
  return write;
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
