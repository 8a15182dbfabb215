// Effects: what the apply stage asks of datastores, and what comes of it, as plain values. The step emits effects on
// the local `effects` topic. The runner performs them in order before it commits, and hands each outcome back on the
// local `outcomes` topic in the same commit. So a committed offset is never ahead of a durable effect (I9); a crash in
// between repeats effects, each of which is idempotent.

import type { Epoch, EventTime, MoveId, Offset, ShardId, SliceKey } from '../schemas/ids.ts';
import type { StoreKind } from '../schemas/records.ts';
import type { SubscriptionOptions } from './subscription-options.ts';

/**
 * Orders the writes of one (filter, client). The higher incarnation is later; within one, the higher offset in the
 * subscriptions topic.
 */
export interface Version {
  /** Number of the subscriptions topic: the operator raises it when that topic is created anew and offsets restart. */
  readonly incarnation: number;
  readonly offset: Offset;
}

/** Positive when `a` is above `b`. */
export function compareVersions(a: Version, b: Version): number {
  return a.incarnation - b.incarnation || a.offset - b.offset;
}

/** A broker's removal of a subscription. */
export interface Removal {
  readonly brokerId: string;
  readonly version: Version;
  readonly at: EventTime;
}

/**
 * A subscription as a shard holds it, or as an event states it. `gone` marks a removal: an event's, or, with `since`,
 * the tombstone that it has left. datastores/merge.ts defines how two rows of the same filter and client are merged.
 */
export interface SubscriptionRow {
  readonly filter: string;
  readonly clientId: string;
  readonly brokerId: string;
  readonly qos: number;
  /** Absent when all are at their defaults. */
  readonly options?: SubscriptionOptions;
  readonly version: Version;
  readonly gone: boolean;
  /** Event time of the write; tombstones are dropped a stated time after it. */
  readonly at: EventTime;
  /** The version of the subscription that was removed; absent while none has been seen. */
  readonly since?: Version;
  /** Newer removals by brokers that did not hold the subscription, newest first; absent for none. */
  readonly others?: readonly Removal[];
}

/**
 * The relation of a shard to a slice. `moved`: its rows are at another shard since `epoch`; readers with an older table
 * must refresh.
 */
export interface OwnerRecord {
  readonly slice: SliceKey;
  readonly state: 'owned' | 'receiving' | 'moved';
  readonly epoch: Epoch;
  /** For `moved`: where to. */
  readonly movedTo?: ShardId;
  /** Orders several records of one epoch, the highest last; absent for 0, as in records of an earlier release. */
  readonly turn?: number;
  /** For `owned`, of a slice that is at `movedTo` too: look-ups are answered until then, by the host's clock, and are `moved` after. */
  readonly until?: number;
}

/** What a shard's owner record must be for it to be forgotten: the same state, and no later epoch. */
export type DisownRight = Pick<OwnerRecord, 'state' | 'epoch'>;

/**
 * What a shard's owner record must be for the slice's rows to be erased: a request that comes late then erases nothing.
 */
export interface EraseRight {
  readonly state: 'receiving' | 'moved';
  readonly epoch: Epoch;
  readonly turn?: number;
}

/** A row that differs in a shard: `wanted` alone is missing there, `found` alone should not be there. */
export interface Difference {
  readonly wanted?: SubscriptionRow;
  /** The shard's row; a tombstone where a live row is wanted. */
  readonly found?: SubscriptionRow;
}

/** Where a bounded scan continues; opaque to all but the store that made it. */
export type Cursor = string;

/** A slice as a scan needs it: the slice less those carved out of it. */
export interface SliceRange {
  readonly slice: SliceKey;
  readonly except: readonly SliceKey[];
}

/**
 * Subscriptions of a slice as the subscription table has them: all that lie after `after` and up to `upTo`, in the
 * stores' key order.
 */
export interface Passage {
  readonly rows: readonly SubscriptionRow[];
  readonly after: Cursor | undefined;
  /** `undefined` for the end of the slice. */
  readonly upTo: Cursor | undefined;
}

export type Effect =
  /**
   * Make the shard exist on an instance of the type, or tell how far that is. Asked again each tick until ready. It is made
   * while it is being allocated alone (`create`): a shard that was ready once, and is not there or is another instance, is
   * lost.
   */
  | {
      readonly kind: 'provision';
      readonly shard: ShardId;
      readonly datastoreType: string;
      readonly resize: boolean;
      readonly create: boolean;
      /** Which instance it was when it was ready; '' when that is not known. */
      readonly instanceId: string;
    }
  /** Close the shard and remove all its data, if its store says that nothing lives in it. One that fails has no outcome. */
  | { readonly kind: 'release'; readonly shard: ShardId }
  /**
   * Apply the rows, each only if its version is above the stored one. `move` is set when the shard is beside the owner in
   * that move; with `holdMs` the runner repeats a write that fails for so long before it is the move's to deal with. With
   * `away` a write whose shard cannot be reached is not repeated, but comes back as `unwritten`; `drain`: it was before;
   * `lost`: only if the shard has lost its data. A lost shard ends `holdMs` too, and is not told an `own` or `disown`
   * outside of a move.
   */
  | {
      readonly kind: 'write';
      readonly shard: ShardId;
      readonly rows: readonly SubscriptionRow[];
      readonly move?: MoveId;
      readonly holdMs?: number;
      readonly away?: 'spill' | 'drain' | 'lost';
    }
  /** Put an owner record. Refused by the store when it has a later one. */
  | { readonly kind: 'own'; readonly shard: ShardId; readonly owner: OwnerRecord; readonly move?: MoveId }
  /** Forget the owner record of a slice that was split or merged away, or is not coming, if it is as `right` says. */
  | { readonly kind: 'disown'; readonly shard: ShardId; readonly slice: SliceKey; readonly right: DisownRight }
  /** Copy at most `limit` rows, tombstones included, from after `cursor`. */
  | {
      readonly kind: 'copy';
      readonly move: MoveId;
      readonly from: ShardId;
      readonly to: ShardId;
      readonly range: SliceRange;
      readonly cursor: Cursor | undefined;
      readonly limit: number;
    }
  /** Compare at most `limit` rows of the source, from after `cursor`, with the same key range of the target. */
  | {
      readonly kind: 'compare';
      readonly move: MoveId;
      readonly from: ShardId;
      readonly to: ShardId;
      readonly range: SliceRange;
      readonly cursor: Cursor | undefined;
      readonly limit: number;
    }
  /** Write what the subscription table has to a shard that is being rebuilt. */
  | { readonly kind: 'fill'; readonly move: MoveId; readonly to: ShardId; readonly passage: Passage }
  /** Compare what the subscription table has with the live rows of the same stretch of a shard that is being rebuilt. */
  | {
      readonly kind: 'match';
      readonly move: MoveId;
      readonly to: ShardId;
      readonly range: SliceRange;
      readonly passage: Passage;
    }
  /** Delete at most `limit` rows, tombstones included, if the shard's record of the slice is as `right` says. */
  | {
      readonly kind: 'erase';
      readonly move: MoveId;
      readonly shard: ShardId;
      readonly range: SliceRange;
      readonly limit: number;
      readonly right: EraseRight;
    }
  /** Read at most `limit` rows of a slice that the shard must say it has, from after `after`. */
  | {
      readonly kind: 'read';
      readonly shard: ShardId;
      readonly range: SliceRange;
      readonly after: Cursor | undefined;
      readonly limit: number;
    }
  /**
   * Compare the shard's live rows of the range, after `after` and up to `upTo` or the end, with what should be there. As many
   * as `limit` rows of the shard are looked at. `owned`: the shard must say that it has the slice.
   */
  | {
      readonly kind: 'check';
      readonly check: string;
      readonly shard: ShardId;
      readonly range: SliceRange;
      readonly owned: boolean;
      readonly after: Cursor | undefined;
      readonly upTo: Cursor | undefined;
      readonly rows: readonly SubscriptionRow[];
      readonly limit: number;
    }
  /** Make rows of the shard what they should be, those that are still as they were seen. */
  | {
      readonly kind: 'mend';
      readonly check: string;
      readonly shard: ShardId;
      readonly differences: readonly Difference[];
      /** The shard must say that it has none of the slices of the rows that are too many. */
      readonly stray: boolean;
    }
  /** Count the live ones of at most `limit` rows of a slice, from after `from`. One that cannot be done has no outcome. */
  | {
      readonly kind: 'count';
      readonly shard: ShardId;
      readonly range: SliceRange;
      readonly from?: Cursor;
      readonly limit: number;
    };

export type Outcome =
  | {
      readonly kind: 'provisioned';
      readonly shard: ShardId;
      readonly datastoreType: string;
      readonly state: 'pending' | 'ready' | 'failed' | 'lost';
      readonly storeKind: StoreKind;
      readonly instanceId: string;
      readonly address: string;
      readonly reason: string;
    }
  /** `refused` says what lives there still; '' when the shard is gone. */
  | { readonly kind: 'released'; readonly shard: ShardId; readonly refused: string }
  | {
      readonly kind: 'written';
      readonly shard: ShardId;
      readonly applied: number;
      readonly stale: number;
      readonly foreign?: number;
      /** Of rows that had waited for the shard; absent for false. */
      readonly isDrain?: true;
    }
  /** A write with `away`, whose shard cannot be reached; `isLost`: it is reached, and has lost its data. */
  | {
      readonly kind: 'unwritten';
      readonly shard: ShardId;
      readonly rows: readonly SubscriptionRow[];
      readonly isDrain: boolean;
      readonly isLost: boolean;
      readonly reason: string;
    }
  /** A move's owner record is there, or a later one. Of other owner records there is no outcome. */
  | {
      readonly kind: 'owned';
      readonly move: MoveId;
      readonly shard: ShardId;
      readonly slice: SliceKey;
      readonly state: OwnerRecord['state'];
    }
  | {
      readonly kind: 'copied';
      readonly move: MoveId;
      readonly rows: number;
      readonly bytes: number;
      readonly cursor: Cursor | undefined;
      readonly done: boolean;
    }
  | {
      readonly kind: 'compared';
      readonly move: MoveId;
      readonly rows: number;
      readonly equal: boolean;
      readonly cursor: Cursor | undefined;
      readonly done: boolean;
    }
  | {
      readonly kind: 'erased';
      readonly move: MoveId;
      readonly shard: ShardId;
      readonly rows: number;
      readonly done: boolean;
      /** Nothing was erased: the shard's record of the slice is another one, or there is none. */
      readonly refused: boolean;
    }
  /** What a shard has that it should not have, or the other way round, up to `upTo`. */
  | {
      readonly kind: 'checked';
      readonly check: string;
      readonly shard: ShardId;
      readonly slice: SliceKey;
      /** Live rows that are as they should be. */
      readonly equal: number;
      readonly differences: readonly Difference[];
      readonly upTo: Cursor | undefined;
      readonly done: boolean;
      /** Why nothing could be compared; '' when it was. */
      readonly away: string;
    }
  /** `upTo` is undefined at the end of the slice; `away` says why nothing was read, '' when it was. */
  | {
      readonly kind: 'read';
      readonly shard: ShardId;
      readonly slice: SliceKey;
      readonly rows: readonly SubscriptionRow[];
      readonly upTo: Cursor | undefined;
      readonly away: string;
    }
  /** `away` says why nothing, or not all of it, was done; '' when it was. */
  | { readonly kind: 'mended'; readonly check: string; readonly shard: ShardId; readonly away: string }
  /** `rest` says where the count goes on; absent at the end of the slice. */
  | {
      readonly kind: 'counted';
      readonly slice: SliceKey;
      readonly entries: number;
      readonly bytes: number;
      readonly rest?: Cursor;
    }
  /** A move's own effect could not be performed; an effect on an owner's shard is retried by the runner instead. */
  | {
      readonly kind: 'failed';
      readonly move: MoveId;
      readonly effect: Effect['kind'];
      /** Which of the move's shards has failed. */
      readonly shard: ShardId;
      /** It says that its data is not there, or nobody has it: waiting alone does not mend that. */
      readonly lost: boolean;
      readonly reason: string;
    };
