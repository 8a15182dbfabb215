// Subscriptions: the subscription table: every subscription, as the events make it. It is the truth that shards are
// filled from, checked against and rebuilt from; it is kept on disk, and written to the compacted topic
// `subscription-table`.
//
//   T1. A row is the outcome of all events of its topic filter and client, in the order of their partition: one task
//       applies them, before any shard is asked. So no shard that has lost its data, or returns wrong data, can change
//       the truth.
//   T2. An event of an earlier session than the row's changes nothing, whenever it comes. This is decided by the
//       session epochs, where both have one.
//   T3. Where one of them has none, a removal by a broker that does not hold the subscription changes nothing: the
//       client has connected elsewhere since.
//   T4. A removal by a broker with sessions is remembered for a time, so that a late event of an earlier session does
//       not bring the subscription back (T2). Any other removal leaves no row: later events have higher versions.
//   T5. The resulting row is written to shards, not the event: a removal names the broker that held the
//       subscription and its version, so that it removes the subscription whatever state the shard is in.
//   T6. Rows have the order of the shards' own rows (datastores/rows.ts R3): a slice is one contiguous range of keys.
//   T7. When the event that made a row comes again it changes nothing in the table, but is written to shards again: the
//       row may have been read from a shard (fill.ts F4) before the event was written to all shards that should have
//       it.

import type { EventTime, Offset, Partition, ShardId } from '../../schemas/ids.ts';
import type { SubscriptionEvent, Subscription as SubscriptionRecord } from '../../schemas/records.ts';
import { compareVersions, type SubscriptionRow, type Version } from '../../state/effects.ts';
import { placeKey } from '../../state/keys.ts';
import { optionsOf, type SubscriptionOptions } from '../../state/subscription-options.ts';
import { type DiskRows, type Emit, jsonTable, type Table } from '../step.ts';

/** A row of the table; its key contains the filter and the client. */
export interface Subscription {
  /** The broker that holds it. */
  readonly brokerId: string;
  readonly qos: number;
  readonly options?: SubscriptionOptions;
  readonly version: Version;
  readonly at: EventTime;
  /** The session epoch of the last event that changed it; absent when its broker does not report sessions. */
  readonly session?: number;
  /** True when it has ended (T4). */
  readonly removed?: true;
  /** The life of the table in which it was written (fill.ts F6); absent for the first. */
  readonly life?: number;
}

/** A row that waits on disk for its shard (away.ts). */
export interface Spilled {
  readonly spilled: SubscriptionRow;
}

export type KeptRow = Subscription | Spilled;

export const isSpilled = (row: KeptRow): row is Spilled => 'spilled' in row;

/** First character of the keys of waiting rows; those of subscriptions begin with `c` or `w`. */
export const SPILL = 's';

/** A compact form, since there may be a hundred million rows. */
type Stored = readonly [brokerId: string, qos: number, incarnation: number, offset: Offset, at: number, more?: More];
interface More {
  readonly options?: SubscriptionOptions;
  readonly session?: number;
  readonly removed?: true;
  readonly life?: number;
}

const stored: Table<Stored | Spilled> = jsonTable('subscriptions');

export const subscriptionTable: Table<KeptRow> = {
  name: stored.name,
  encode(kept) {
    if (isSpilled(kept)) return stored.encode(kept);
    const { brokerId, qos, version, at, options, session, removed, life } = kept;
    const { incarnation, offset } = version;
    const row = [brokerId, qos, incarnation, offset, at] as const;
    const isBare = options === undefined && session === undefined && removed === undefined && life === undefined;
    return stored.encode(isBare ? row : [...row, { options, session, removed, life } as More]);
  },
  decode(bytes) {
    const row = stored.decode(bytes);
    if ('spilled' in row) return row;
    const [brokerId, qos, incarnation, offset, at, more] = row;
    return { brokerId, qos, version: { incarnation, offset }, at: at as EventTime, ...more };
  },
};

/** The key of a subscription's row (T6); `place` is that of the filter. */
export const subscriptionKey = placeKey;

/** The filter and client of a key. */
export function subscriptionAt(key: string): { readonly filter: string; readonly clientId: string } {
  const from = key.startsWith('w') ? key.indexOf('\u0000') + 1 : 1 + 8;
  const nul = key.indexOf('\u0000', from);
  return { filter: key.slice(from, nul), clientId: key.slice(nul + 1) };
}

/** The result of an event: the new row (`undefined`: none), and what to write to shards. */
export type Folded =
  | { readonly is: 'changed'; readonly row: Subscription | undefined; readonly write: SubscriptionRow }
  /**
   * Changes nothing: it is older than the row, by a broker that does not hold the subscription, or of an earlier
   * session.
   */
  | { readonly is: 'stale' | 'foreign' | 'superseded' };

export function foldEvent(known: Subscription | undefined, event: SubscriptionEvent, version: Version): Folded {
  const order = known === undefined ? 1 : compareVersions(version, known.version);
  const isItsOwn = order === 0 && known?.removed !== true && event.action === 'SUBSCRIBE'; // T7
  if (order <= 0 && !isItsOwn) return { is: 'stale' };
  const { topicFilter: filter, clientId, brokerId, qos, timestamp: at, sessionEpoch = 0 } = event;
  const session = sessionEpoch === 0 ? {} : { session: sessionEpoch };
  const bothHaveSessions = known?.session !== undefined && sessionEpoch !== 0;
  if (bothHaveSessions && sessionEpoch < known.session!) return { is: 'superseded' }; // T2
  if (event.action === 'SUBSCRIBE') {
    const options = optionsOf(event);
    if (options === undefined && sessionEpoch === 0) {
      const row = { brokerId, qos, version, at };
      return { is: 'changed', row, write: { filter, clientId, brokerId, qos, version, at, gone: false } };
    }
    const live = { brokerId, qos, version, at, ...(options === undefined ? {} : { options }) };
    return { is: 'changed', row: { ...live, ...session }, write: { filter, clientId, ...live, gone: false } };
  }
  if (known === undefined || known.removed === true) {
    // No shard should have it; but one that does, from before the table was kept, has to be told.
    const row = sessionEpoch === 0 ? known : ({ brokerId, qos, version, at, ...session, removed: true } as const);
    return { is: 'changed', row, write: { filter, clientId, brokerId, qos, version, gone: true, at } };
  }
  if (!bothHaveSessions && brokerId !== known.brokerId) return { is: 'foreign' }; // T3
  const gone = { brokerId: known.brokerId, qos: known.qos, version, at, ...optionsIn(known) };
  return {
    is: 'changed',
    row: sessionEpoch === 0 ? undefined : { ...gone, ...session, removed: true }, // T4
    write: { filter, clientId, ...gone, gone: true, since: known.version }, // T5
  };
}

const DEFAULTS: SubscriptionOptions = {
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionIdentifier: 0,
};

const optionsIn = ({ options }: Subscription) => (options === undefined ? {} : { options });

/**
 * Counted: an event that changed nothing; an ended subscription that was dropped from the table; half or all of the
 * rows that may wait for a shard are waiting (away.ts).
 */
export type Tally =
  | { readonly what: Exclude<Folded['is'], 'changed'> | 'dropped' }
  | { readonly what: 'half-full' | 'full'; readonly shard: ShardId; readonly rows: number };

/** The record of a row for the topic. */
export function recordOf(
  partition: Partition,
  filter: string,
  clientId: string,
  row: Subscription | undefined,
): Emit<'subscription-table', SubscriptionRecord> {
  const key = `${filter}\u0000${clientId}`;
  return {
    topic: 'subscription-table',
    partition,
    key,
    value: row === undefined ? null : recordValue(filter, clientId, row),
  };
}

/** Drops a row from the table; returns its record for the topic. */
export function dropRow(
  partition: Partition,
  kept: Pick<DiskRows<KeptRow>, 'delete'>,
  key: string,
): Emit<'subscription-table', SubscriptionRecord> {
  kept.delete(key);
  const { filter, clientId } = subscriptionAt(key);
  return recordOf(partition, filter, clientId, undefined);
}

/** Hot path: written out, since a spread costs several times as much. */
function recordValue(filter: string, clientId: string, row: Subscription): SubscriptionRecord {
  const { options = DEFAULTS, version } = row;
  return {
    topicFilter: filter,
    clientId,
    brokerId: row.brokerId,
    qos: row.qos,
    noLocal: options.noLocal,
    retainAsPublished: options.retainAsPublished,
    retainHandling: options.retainHandling,
    subscriptionIdentifier: options.subscriptionIdentifier,
    sessionEpoch: row.session ?? 0,
    incarnation: version.incarnation,
    offset: version.offset,
    timestamp: row.at,
    removed: row.removed === true,
  };
}
