// ShardStore: where the subscriptions of one shard live, and the Provisioner that makes such stores exist. One suite runs
// against every store (test/datastores/shard-store-suite.ts).
//
//   D1. A row is merged with the stored one by the rule of merge.ts, which does not depend on order: the newest SUBSCRIBE
//       counts until its own broker removes it. What changes nothing is counted as stale (I6), a removal by a broker that
//       does not hold the subscription as foreign. A removal leaves a tombstone, kept until `dropTombstones`.
//   D2. A batch is durable when its promise resolves, whole; a crash in between may leave a prefix of it, which a
//       repetition completes.
//   D3. A query says which epoch the asker's pointer has. If the most specific owner record that covers the filter is
//       `moved`, or no record covers it, the answer is `moved`; the asker refreshes and asks again. The same goes for
//       `receiving` with a higher epoch, and for a record whose time is over. So an empty answer always means that nobody subscribes.
//   D4. `own` with an epoch below the recorded one is refused, and of that epoch with a lower turn.
//   D5. Rows are erased, and a record is forgotten, only while the store's record of that very slice says what the caller
//       thinks it says: a task that lost its partition and does not know it yet cannot erase rows of its successor. A
//       record of a later epoch than the caller's is its successor's. With erased rows go the records of slices within
//       the range: what was carved out once and has merged since must not speak for a slice that comes back.
//   D6. A store is removed only when its own records and rows show that it holds no slice of any partition
//       (vacancy.ts). This is checked and the store closed with no write in between.
//   D7. A store that is not the one that the caller meant answers nothing and accepts nothing: SHARD_LOST when it is
//       another instance, or has none of what a ready shard has; FLEET_MISMATCH when its rows lie where another fleet
//       would look.
//   D8. A row whose most specific owner record is `moved` changes nothing, and is counted as stale: whoever writes it does not
//       know yet that the slice is elsewhere, and the rows that are left behind would never be looked for again, or be found
//       beside those of another part of a spread topic.
//   D9. A row is forgotten, without a tombstone, only as it was seen: what has been written there since is not undone.

import type { Epoch, EventTime, ShardId, SliceKey } from '../schemas/ids.ts';
import type { StoreKind } from '../schemas/records.ts';
import type { Cursor, DisownRight, EraseRight, OwnerRecord, SliceRange, SubscriptionRow } from '../state/effects.ts';
import type { KeySpace } from '../state/keys.ts';
import type { SubscriptionOptions } from '../state/subscription-options.ts';
import type { Tracker } from './answer-cache.ts';

/** A PUBLISH, asked of one shard. */
export interface PublishQuestion {
  readonly topic: string;
  /** The slices of the shard that can hold a match, by the asker's pointer table; at least one. */
  readonly slices: readonly SliceKey[];
  /** Of the asker's pointer table. */
  readonly epoch: Epoch;
}

/** Who hears a PUBLISH, as far as one shard knows. */
export interface Audience {
  /** Ids of the brokers with a subscriber that is in no share group, each once; '' where one is on no broker now. */
  readonly brokers: readonly string[];
  /** The members of each share group that hears it; those with a connection first. */
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
  /** Removals by brokers that did not hold the subscription (D1); absent for none. applied + stale + foreign = all rows. */
  readonly foreign?: number;
}

export interface Page {
  readonly rows: readonly SubscriptionRow[];
  /** After the last row of the page; goes into the next call. `undefined` when the page is empty and the range ended. */
  readonly cursor: Cursor | undefined;
  readonly done: boolean;
}

/** A digest over rows in key order: equal digests mean equal rows (all of them but `at`). */
export interface RangeDigest {
  readonly rows: number;
  readonly digest: string;
  /** Rows that no look-up here would find: no owner record covers their filter, or one that says it has moved. */
  readonly hidden: number;
}

export interface Count {
  readonly entries: number;
  readonly bytes: number;
  /** After the last row looked at, when the limit was reached; goes into the next call. Absent at the end of the range. */
  readonly rest?: Cursor;
}

/** All methods throw STORE_UNAVAILABLE when the store cannot be reached: nothing or a prefix was done, repeat it. */
export interface ShardStore {
  readonly kind: StoreKind;
  /** Which instance it is (D7); '' for a store that was opened as nobody's. */
  readonly instanceId: string;
  write(rows: readonly SubscriptionRow[]): Promise<WriteResult>;
  /** Forgets those of these rows that are there just as given (D8), whatever they say; how many. */
  forget(rows: readonly SubscriptionRow[]): Promise<number>;
  own(owner: OwnerRecord): Promise<boolean>;
  /** Forgets the record of the slice; false when it is another one than `right` says (D5). Without a record: true. */
  disown(slice: OwnerRecord['slice'], right: DisownRight): Promise<boolean>;
  owners(): Promise<readonly OwnerRecord[]>;

  /** The live subscribers of exactly these filters, one answer each, in order: what a SUBSCRIBE or a concrete PUBLISH look-up asks. */
  lookup(filters: readonly string[], asker: Epoch): Promise<readonly Answer[]>;
  /** The live subscribers whose filter matches the topic, one answer for each (topic, slice) asked. Trie stores alone. */
  match(
    queries: readonly { readonly topic: string; readonly slice: OwnerRecord['slice']; readonly epoch: Epoch }[],
  ): Promise<readonly Answer[]>;

  /** At most `limit` rows of the range after `cursor`, in the store's order, tombstones included. */
  scan(range: SliceRange, cursor: Cursor | undefined, limit: number): Promise<Page>;
  /** The digest of the rows of the range with after < position <= upTo (`undefined` upTo: to the end). Orders are the same in all stores of a kind. */
  digest(range: SliceRange, after: Cursor | undefined, upTo: Cursor | undefined): Promise<RangeDigest>;
  /** Deletes at most `limit` rows of the range, tombstones included; how many, or `undefined` when the right is gone (D5). */
  erase(range: SliceRange, limit: number, right: EraseRight): Promise<number | undefined>;
  /** The live ones of at most `limit` rows after `from`, and their weight: a call ends in time however large the range is. */
  count(range: SliceRange, from?: Cursor, limit?: number): Promise<Count>;
  /** Forgets tombstones older than `before`. */
  dropTombstones(before: EventTime): Promise<number>;
  close(): Promise<void>;
}

/** A store that remembers who hears a PUBLISH (answering-store.ts), or one that is asked over the network. */
export interface AnsweringStore extends ShardStore {
  /**
   * Who hears a PUBLISH, at once where it is known. A tracker is told when the answer does not count any more, and may be told
   * before it has the answer: then it has none to keep. It holds for as long as `keep` says.
   */
  audience(question: PublishQuestion, tracker?: Tracker): Asked | Promise<Asked>;
}

export type Asked =
  | { readonly kind: 'moved'; readonly slice: SliceKey; readonly epoch: Epoch }
  | {
      readonly kind: 'audience';
      readonly audience: Audience;
      /** How long it may be kept without asking again, in ms, if the tracker is told of no change. 0: not at all. */
      readonly keepMs: number;
    };

export const isAnswering = <Store extends object>(store: Store): store is Store & Pick<AnsweringStore, 'audience'> =>
  'audience' in store;

/** A store as the process that holds its data has it. */
export interface LocalShardStore extends ShardStore {
  /** Closes the store when nothing lives in it (D6). Otherwise says what does, and goes on. */
  closeIfVacant(): Promise<string | undefined>;
}

/** Which store is meant (D7), as far as the asker knows: by default any instance, of the provisioner's own fleet. */
export interface Meant {
  readonly instanceId?: string | undefined;
  readonly keySpace?: KeySpace | undefined;
}

/** Where shards are to be had. A process uses one: embedded (folders of its own) or remote (a shard server). */
export interface Provisioner {
  /**
   * Makes the shard exist on an instance of the type, or tells how far that is. Idempotent. With `known` the shard was ready
   * once, as that instance ('': which one is not known): it is `lost` when it is not there, and never made again.
   */
  ensure(
    shard: ShardId,
    datastoreType: string,
    resize: boolean,
    known?: string,
    keySpace?: KeySpace,
  ): Promise<Provisioned>;
  /** The store of a shard that was ensured; opens it when needed. Throws SHARD_UNKNOWN, SHARD_LOST or FLEET_MISMATCH (D7). */
  store(shard: ShardId, meant?: Meant): Promise<ShardStore>;
  /**
   * Closes the shard and removes its data, when nothing lives in it (D6); otherwise, or where that cannot be told, the
   * shard stays as it is, and the reason is returned. Idempotent. Throws FLEET_MISMATCH (D7).
   */
  release(shard: ShardId, meant?: Meant): Promise<string | undefined>;
  /** Forgets the tombstones older than `before` in every shard that is open here; how many. What a failure leaves is met by the next call. */
  sweep(before: EventTime): Promise<number>;
  close(): Promise<void>;
}

export interface Provisioned {
  /** `lost`: it was ready once, and now is not there, or not what it was. */
  readonly state: 'pending' | 'ready' | 'failed' | 'lost';
  readonly storeKind: StoreKind;
  readonly instanceId: string;
  /** `http://host:port` of a shard server, or '' for a store inside this process. */
  readonly address: string;
  readonly reason: string;
  /** Of `lost`: a store is there, and it is another fleet's. */
  readonly isForeign?: boolean;
}
