// Store: the local, durable copy of one task's rows. One suite runs against every engine (test/state/store-suite.ts).
//
//   S1. `write` is atomic: after a crash the store holds a complete prefix of the writes, with the mark of the last of
//       them.
//   S2. Contents that cannot be trusted (torn, flipped bits, another format) are refused with STORE_CORRUPT or
//       STORE_FORMAT, never returned. The owner then calls `clear` and rebuilds the store from the changelog.

import type { Offset } from '../schemas/ids.ts';

/** Written into every store; a store of another version is refused with STORE_FORMAT. */
export const STORE_FORMAT_VERSION = 1;

/** A row's new bytes, or `undefined` for its removal. */
export interface Change {
  readonly key: string;
  readonly value: Buffer | undefined;
}

/** The position of a task: what it has consumed, and how much of its changelog the store holds. */
export interface Mark {
  /** The next changelog offset that the store does not hold. */
  readonly changelog: Offset;
  /** For each `topic/partition` the next offset to consume. */
  readonly inputs: Readonly<Record<string, Offset>>;
  /** The host's time of the write; absent in stores of an earlier release. */
  readonly writtenAt?: number;
  /** The incarnation of the subscriptions topic that its offsets belong to. Absent in marks of an earlier release. */
  readonly incarnation?: number;
  /** How many times the task has been started. Absent in marks of an earlier release. */
  readonly starts?: number;
}

/** Ordered keys of one task; one writer. */
export interface Store {
  /** The value at `key`, or `undefined` when there is none. Throws STORE_CORRUPT. */
  get(key: string): Promise<Buffer | undefined>;
  /** The values at `keys`, in their order. Throws STORE_CORRUPT. */
  getMany(keys: readonly string[]): Promise<(Buffer | undefined)[]>;
  /**
   * All entries whose key begins with `prefix` and, where `after` is given, comes after it; ascending by UTF-8 bytes, as
   * of the call. Throws STORE_CORRUPT.
   */
  entries(prefix: string, after?: string): AsyncIterable<readonly [key: string, value: Buffer]>;
  /** Applies all changes together with `mark`, or none of it (S1). The last change of a key counts. */
  write(changes: readonly Change[], mark: Mark): Promise<void>;
  /** The mark of the last write, or `undefined` for a new or cleared store. */
  mark(): Promise<Mark | undefined>;
  /** Removes everything, the mark included. */
  clear(): Promise<void>;
  /** Idempotent. Every other method then throws STORE_CLOSED. */
  close(): Promise<void>;
}

/**
 * Opens the store of one task. Throws STORE_CORRUPT or STORE_FORMAT when the contents cannot be read; `destroy` then
 * removes them.
 */
export interface StoreFolder {
  open(task: string): Promise<Store>;
  destroy(task: string): Promise<void>;
}
