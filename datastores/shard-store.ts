// ShardStore: the store of one shard's subscriptions, and the Provisioner, which creates such stores. One suite runs
// against every store (test/datastores/shard-store-suite.ts).
//
//   D1. A row is merged with the stored one by the rule of merge.ts, whose result does not depend on order: the newest
//       SUBSCRIBE counts until its own broker removes it. A row that changes nothing is counted as stale (I6), a
//       removal by a broker that does not hold the subscription as foreign. A removal leaves a tombstone, kept until
//       `dropTombstones`.
//   D2. A batch is durable as a whole when its promise resolves; a crash in between may leave a prefix of it, which a
//       repetition completes.
//   D3. A query states the epoch of the asker's pointer table. If the most specific owner record that covers the filter
//       is `moved`, or no record covers it, the answer is `moved`; the asker refreshes its table and asks again. The
//       same is true for `receiving` with a higher epoch, and for a record whose time limit is over. So an empty answer
//       always means that there are no subscribers.
//   D4. `own` is refused with an epoch below the recorded one, and with the same epoch and a lower turn.
//   D5. Rows are erased, and a record is forgotten, only while the store's record of that very slice is the one that
//       the caller expects: a task that has lost its partition and does not know it yet cannot erase rows of its
//       successor. A record with a later epoch than the caller's is its successor's. Together with erased rows the
//       records of slices within the range are forgotten: records of slices that were carved out once and merged since
//       must not remain for a slice that comes back. The record of a whole topic is forgotten together with those of
//       the parts that it had before (owner-index.ts O9).
//   D6. A store is removed only when its own records and rows show that it holds no slice of any partition
//       (vacancy.ts). No write is possible between this check and closing the store.
//   D7. A store that is not the one that the caller means answers nothing and accepts nothing: SHARD_LOST when it is
//       another instance, or lacks what a ready shard has; FLEET_MISMATCH when its rows belong to the key space of
//       another fleet.
//   D8. A row whose most specific owner record is `moved` changes nothing, and is counted as stale: its writer does not
//       know yet that the slice is elsewhere, and the row would never be looked for here again, or would be found
//       together with those of another part of a spread topic.
//   D9. A row is forgotten, without a tombstone, only as it was seen: a row that was written there since stays.

import type { Epoch, EventTime, ShardId, SliceKey } from '../schemas/ids.ts';
import type { StoreKind } from '../schemas/records.ts';
import type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../state/effects.ts';
import type { KeySpace } from '../state/keys.ts';
import type { SubscriptionOptions } from '../state/subscription-options.ts';
import type { Tracker } from './answer-cache.ts';

/** A PUBLISH, as a question to one shard. */
export interface PublishQuestion {
  readonly topic: string;
  /** The slices of the shard that can hold a match, by the asker's pointer table; at least one. */
  readonly slices: readonly SliceKey[];
  /** Epoch of the asker's pointer table. */
  readonly epoch: Epoch;
}

/** Who receives a PUBLISH, as far as one shard knows. */
export interface Audience {
  /**
   * Ids of the brokers with a subscriber that is in no share group, each once; '' for subscribers that are connected to
   * no broker.
   */
  readonly brokers: readonly string[];
  /** The members of each share group that receives it; connected members first. */
  readonly groups: readonly (readonly Subscriber[])[];
}

/** One live subscriber in an answer. */
export interface Subscriber {
  readonly filter: string;
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
  /** Absent when all are at their defaults. */
  readonly options?: SubscriptionOptions;
}

export type Answer =
  | { readonly kind: 'found'; readonly subscribers: readonly Subscriber[] }
  | { readonly kind: 'moved'; readonly epoch: Epoch };

export interface WriteResult {
  readonly applied: number;
  readonly stale: number;
  /**
   * Removals by brokers that did not hold the subscription (D1); absent for none. applied + stale + foreign = all rows.
   */
  readonly foreign?: number;
}

export interface Page {
  readonly rows: readonly SubscriptionRow[];
  /**
   * The cursor after the last row of the page, for the next call. `undefined` when the page is empty and the range
   * ended.
   */
  readonly cursor: Cursor | undefined;
  readonly done: boolean;
}

/** A digest over rows in key order: equal digests mean equal rows, except for `at`. */
export interface RangeDigest {
  readonly rows: number;
  readonly digest: string;
  /** Rows that no look-up here would find: no owner record covers their filter, or the record says `moved`. */
  readonly hidden: number;
}

export interface Count {
  readonly entries: number;
  readonly bytes: number;
  /**
   * The cursor after the last row read, when the limit was reached, for the next call. Absent at the end of the range.
   */
  readonly rest?: Cursor;
}

/**
 * All methods throw STORE_UNAVAILABLE when the store cannot be reached: then nothing or a prefix was done, and the call
 * should be repeated.
 */
export interface ShardStore {
  readonly kind: StoreKind;
  /** The instance (D7); '' for a store that was opened without an identity. */
  readonly instanceId: string;
  write(rows: readonly SubscriptionRow[]): Promise<WriteResult>;
  /** Forgets those of these rows that are stored exactly as given (D9); returns how many. */
  forget(rows: readonly SubscriptionRow[]): Promise<number>;
  own(owner: OwnerRecord): Promise<boolean>;
  /** Forgets the record of the slice; false when it is not the one in `right` (D5). Without a record: true. */
  disown(slice: OwnerRecord['slice'], right: DisownRight): Promise<boolean>;
  owners(): Promise<readonly OwnerRecord[]>;

  /**
   * The live subscribers of exactly these filters, one answer each, in order: for a SUBSCRIBE, or a concrete PUBLISH.
   */
  lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]>;
  /**
   * The live subscribers whose filter matches the topic, one answer for each (topic, slice) asked. Only in trie stores.
   */
  match(
    queries: readonly { readonly topic: string; readonly slice: OwnerRecord['slice']; readonly epoch: Epoch }[],
  ): Promise<readonly Answer[]>;

  /** At most `limit` rows of the range after `cursor`, in the store's order, tombstones included. */
  scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page>;
  /**
   * The digest of the rows of the range with after < position <= upTo (`undefined` upTo: to the end). All stores of a
   * kind have the same order.
   */
  digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest>;
  /**
   * Deletes at most `limit` rows of the range, tombstones included; returns how many, or `undefined` when the right is
   * no longer valid (D5).
   */
  erase(range: SliceRange, limit: number, right: EraseRight): Promise<number | undefined>;
  /**
   * Counts the live rows among at most `limit` rows after `from`, and their size: a call ends in time however large the
   * range is.
   */
  count(range: SliceRange, from?: Cursor, limit?: number): Promise<Count>;
  /** Removes tombstones older than `before`. */
  dropTombstones(before: EventTime): Promise<number>;
  close(): Promise<void>;
}

/** A store that remembers the audience of topics (answering-store.ts), or one that is asked over the network. */
export interface AnsweringStore extends ShardStore {
  /**
   * Who receives a PUBLISH; returned at once where it is known. The tracker is told when the answer is no longer valid.
   * It may be told before it has the answer: then the answer must not be kept. The answer is valid for as long as
   * `keep` says.
   */
  audience(question: PublishQuestion, tracker?: Tracker): Asked | Promise<Asked>;
}

export type Asked =
  | { readonly kind: 'moved'; readonly slice: SliceKey; readonly epoch: Epoch }
  | {
      readonly kind: 'audience';
      readonly audience: Audience;
      /** How long it may be kept, in ms, if the tracker is told of no change. 0: not at all. */
      readonly keepMs: number;
    };

/** A store in the process that has its data. */
export interface LocalShardStore extends ShardStore {
  /** Closes the store when it holds nothing (D6). Otherwise returns what it holds, and stays open. */
  closeIfVacant(): Promise<string | undefined>;
}

/** The store that is meant (D7), as far as the asker knows: by default any instance, of the provisioner's own fleet. */
export interface Meant {
  readonly instanceId?: string | undefined;
  readonly keySpace?: KeySpace | undefined;
}

/**
 * Where shards are created and found. A process uses one provisioner: embedded (its own folders) or remote (shard
 * servers).
 */
export interface Provisioner {
  /**
   * Creates the shard on an instance of the type, or reports the progress. Idempotent. With `known` the shard was ready
   * once, as that instance ('': not known which): when it is not there it is `lost`, and never created again.
   */
  ensure(
    shard: ShardId,
    datastoreType: string,
    resize: boolean,
    known?: string,
    keySpace?: KeySpace,
  ): Promise<Provisioned>;
  /**
   * The store of a shard that was ensured; opens it when needed. Throws SHARD_UNKNOWN, SHARD_LOST or FLEET_MISMATCH
   * (D7).
   */
  store(shard: ShardId, meant?: Meant): Promise<ShardStore>;
  /**
   * Closes the shard and removes its data, when it holds nothing (D6). Otherwise, or when that cannot be determined,
   * the shard stays as it is, and the reason is returned. Idempotent. Throws FLEET_MISMATCH (D7).
   */
  release(shard: ShardId, meant?: Meant): Promise<string | undefined>;
  /**
   * Removes tombstones older than `before` in every shard that is open here; returns how many. What a failure leaves,
   * the next call removes.
   */
  sweep(before: EventTime): Promise<number>;
  close(): Promise<void>;
}

export interface Provisioned {
  /** `lost`: it was ready once, and is gone now, or is no longer the same. */
  readonly state: 'pending' | 'ready' | 'failed' | 'lost';
  readonly storeKind: StoreKind;
  readonly instanceId: string;
  /** `http://host:port` of a shard server, or '' for a store inside this process. */
  readonly address: string;
  readonly reason: string;
  /** When `lost`: a store exists, but it belongs to another fleet. */
  readonly isForeign?: boolean;
}
