// Memory log: the local log over arrays, for tests. Delivery, groups, commits and fencing are those of the embedded log
// (log/local/local-log.ts); what is added is knowing when all is quiet, and faults on demand. The same calls give the same
// deliveries: nothing waits for time, and time is a count of the writes unless a clock is given.

import { LocalLog } from '../../log/local/local-log.ts';
import type { Append, Extent, LogStorage, Position } from '../../log/local/log-storage.ts';
import type { RawRecord, TopicShape } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';

export interface MemoryLogOptions {
  readonly app: string;
  readonly partitions: number;
  readonly now?: () => number;
  /** How long removals are kept, as far as tasks are told: `compact` drops them when it is told to. */
  readonly removalsKeptMs?: number;
  /** Records of an earlier log: what a restart would find. */
  readonly storage?: MemoryStorage;
}

/** Few, so that tests meet batch borders. */
const RECORDS_PER_READ = 500;
const FIRST_TIME = 1_700_000_000_000;

export class MemoryLog extends LocalLog {
  readonly storage: MemoryStorage;
  readonly #faults: Faults;

  constructor(options: MemoryLogOptions) {
    const storage = options.storage ?? new MemoryStorage();
    const faults: Faults = { commit: undefined, twice: 0 };
    super(storage, {
      app: options.app,
      partitions: options.partitions,
      now: options.now ?? (() => FIRST_TIME + storage.writes),
      ...(options.removalsKeptMs === undefined ? {} : { removalsKeptMs: options.removalsKeptMs }),
      after: (ms, fire) => {
        const timer = setTimeout(fire, ms);
        return () => clearTimeout(timer);
      },
      commit: (perform) => commitWith(faults, perform),
      deliver: async (batch, hand) => {
        const times = faults.twice > 0 ? 2 : 1;
        faults.twice = Math.max(0, faults.twice - 1);
        for (let time = 0; time < times; time++) await hand(batch);
      },
    });
    this.storage = storage;
    this.#faults = faults;
  }

  /** Resolves when every task and follower has taken all there is, and nothing waits to be written. */
  settle(): Promise<void> {
    return this.whenIdle();
  }

  /** The next commit throws COMMIT_UNKNOWN, having taken effect or not. */
  failNextCommit(tookEffect: boolean): void {
    this.#faults.commit = tookEffect ? 'after' : 'before';
  }

  /** The next `batches` batches are delivered twice. */
  deliverTwice(batches = 1): void {
    this.#faults.twice = batches;
  }

  /** Keeps the last record of each key; removals too, unless they are `dropped`. */
  compact(topic: string, removals: 'kept' | 'dropped' = 'kept'): void {
    this.storage.compact(topic, removals);
  }

  /** All records of a topic as of now, partition after partition. */
  recordsOf(topic: string): readonly (RawRecord & { readonly partition: Partition })[] {
    return this.storage.recordsOf(topic);
  }
}

interface Faults {
  commit: 'before' | 'after' | undefined;
  twice: number;
}

async function commitWith(faults: Faults, perform: () => Promise<Offset>): Promise<Offset> {
  const fault = faults.commit;
  faults.commit = undefined;
  if (fault === undefined) return perform();
  if (fault === 'after') await perform();
  throw new AppError('COMMIT_UNKNOWN', `a commit was made to fail ${fault} it took effect`);
}

interface Rows {
  records: RawRecord[];
  end: Offset;
}

/** Records in arrays: of each topic, of each partition. */
export class MemoryStorage implements LogStorage {
  writes = 0;
  recordsPerRead = RECORDS_PER_READ;
  readonly #topics = new Map<string, { readonly shape: TopicShape; readonly rows: readonly Rows[] }>();

  topics(): readonly { readonly shape: TopicShape; readonly extents: readonly Extent[] }[] {
    return [...this.#topics.values()].map(({ shape, rows }) => ({
      shape,
      extents: rows.map(({ end }) => ({ start: 0, end })),
    }));
  }

  async create(shape: TopicShape): Promise<void> {
    this.#topics.set(shape.name, {
      shape,
      rows: Array.from({ length: shape.partitions }, () => ({ records: [], end: 0 })),
    });
  }

  async write(appends: readonly Append[], _positions: readonly Position[], timestamp: number): Promise<void> {
    this.writes++;
    for (const { topic, partition, records } of appends) {
      const rows = this.#rowsOf(topic, partition);
      for (const { key, value, headers } of records)
        rows.records.push({
          offset: rows.end++,
          key: typeof key === 'string' ? Buffer.from(key) : key,
          value: value ?? null,
          timestamp,
          headers,
        });
    }
  }

  async read(
    topic: string,
    partition: Partition,
    from: Offset,
    end: Offset,
  ): Promise<{ readonly records: readonly RawRecord[]; readonly next: Offset }> {
    const { records } = this.#rowsOf(topic, partition);
    const first = firstAtLeast(records, from);
    const some = records.slice(first, first + this.recordsPerRead).filter((each) => each.offset < end);
    const more = records[first + some.length];
    return { records: some, next: more !== undefined && more.offset < end ? some.at(-1)!.offset + 1 : end };
  }

  start(): Offset {
    return 0;
  }

  async close(): Promise<void> {}

  compact(topic: string, removals: 'kept' | 'dropped' = 'kept'): void {
    for (const rows of this.#topics.get(topic)!.rows) {
      const last = new Map(rows.records.map((each) => [String(each.key), each.offset]));
      rows.records = rows.records.filter(
        (each) => last.get(String(each.key)) === each.offset && (removals === 'kept' || each.value !== null),
      );
    }
  }

  /** Takes records away, as nothing that keeps its promises does. */
  drop(topic: string, isDropped: (record: RawRecord) => boolean): void {
    for (const rows of this.#topics.get(topic)!.rows)
      rows.records = rows.records.filter((each) => each.value === null || !isDropped(each));
  }

  recordsOf(topic: string): readonly (RawRecord & { readonly partition: Partition })[] {
    const rows = this.#topics.get(topic)?.rows ?? [];
    return rows.flatMap(({ records }, partition) => records.map((each) => ({ ...each, partition })));
  }

  #rowsOf(topic: string, partition: Partition): Rows {
    return this.#topics.get(topic)!.rows[partition]!;
  }
}

/** The index of the first record whose offset is at least `offset`. */
function firstAtLeast(records: readonly RawRecord[], offset: Offset): number {
  let low = 0;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (records[middle]!.offset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
