// Log storage: the contract of what stores the entries of a local log. embedded/embedded-storage.ts implements it on
// LevelDB, test/support/memory-log.ts on arrays.

import type { OutRecord, RawRecord, TopicShape } from '../../runtime/ports.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';

/** One record to be stored. An absent value is a removal. */
export interface NewRecord {
  readonly key: Buffer | string | null;
  readonly value: Buffer | null | undefined;
  readonly headers?: OutRecord['headers'];
}

/** Records of one partition, with the offsets `base`, `base + 1` and so on. */
export interface Append {
  readonly topic: string;
  readonly partition: Partition;
  readonly base: Offset;
  readonly records: readonly NewRecord[];
}

/** The next offset that a group reads of a partition, as its task committed it. */
export interface Position {
  readonly group: string;
  /** `topic/partition`. */
  readonly place: string;
  readonly next: Offset;
}

/** The range of a partition's offsets, [start, end); records within it may be missing. */
export interface Extent {
  readonly start: Offset;
  readonly end: Offset;
}

/** Stores the entries of a local log. One writer; reads run beside the writes. */
export interface LogStorage {
  /** What it holds: every topic with its partitions' extents. */
  topics(): readonly { readonly shape: TopicShape; readonly extents: readonly Extent[] }[];
  /** Durable when it resolves. */
  create(shape: TopicShape): Promise<void>;
  /** Writes everything or nothing; durable when it resolves. Rejects when it is not known which. */
  write(appends: readonly Append[], positions: readonly Position[], timestamp: number): Promise<void>;
  /** Records in [from, end), ascending, a bounded number; `next` says how far they reach. Holes are skipped. */
  read(
    topic: string,
    partition: Partition,
    from: Offset,
    end: Offset,
  ): Promise<{ readonly records: readonly RawRecord[]; readonly next: Offset }>;
  /** The earliest offset that may still be there. */
  start(topic: string, partition: Partition): Offset;
  close(): Promise<void>;
}
