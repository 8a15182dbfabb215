// Outbox: a broker's events that wait for the log, on the broker's own disk, so that neither a Kafka that is away nor a
// restart of the broker loses one. broker/edge/outbox-file.ts keeps them.

/** An event as the log takes it; its partition follows from the key. */
export interface OutboxEntry {
  /** Without the fleet's prefix. */
  readonly topic: string;
  readonly key: string;
  readonly value: Buffer;
  /** The connection that it speaks of; 0 for none. */
  readonly sessionEpoch: number;
}

/** Entries in the order in which they were given. One process at a time has an outbox open. */
export interface Outbox {
  /**
   * Resolves when all of them are durable. Throws OUTBOX_UNAVAILABLE when the disk refuses them; then none is in the
   * outbox, unless the process ends at that moment.
   */
  append(entries: readonly OutboxEntry[]): Promise<void>;
  /** The oldest entries; at least one while `length` is above 0. */
  oldest(): Promise<readonly OutboxEntry[]>;
  /**
   * Removes what `oldest` has returned last. A removal is durable only with later entries: after the end of the process
   * at such a moment the same entries are the oldest again, never fewer, and never in another order.
   */
  removeOldest(): Promise<void>;
  /** Number of entries. */
  readonly length: number;
  /** Their size, as they lie on the disk. */
  readonly sizeBytes: number;
  /** The highest session epoch of any entry that it has had. */
  readonly sessionEpoch: number;
  /** Bytes at its end that were cut off when it was opened: the write that a killed process was in. */
  readonly cutBytes: number;
  close(): Promise<void>;
}

/** About what an entry takes. */
export const entryBytes = ({ topic, key, value }: Omit<OutboxEntry, 'sessionEpoch'>): number =>
  ENTRY_BYTES + topic.length + 3 * key.length + value.length;

const ENTRY_BYTES = 32;
