// Local reading: how a local log's records reach their readers: a cursor over partitions, and followers outside any
// group. It keeps local-log.ts L3: at most one batch in processing and one being read.

import type { Batch, Follower, RawRecord } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { NewRecord } from './log-storage.ts';

/** One partition of a local log. */
export interface Part {
  readonly topic: string;
  readonly partition: Partition;
  readonly place: string;
  end: Offset;
  /** The records that the current write appends. */
  pending: NewRecord[];
  readonly wakers: Set<() => void>;
}

/** What a reader needs of the log. */
export interface ReadLog {
  read(
    part: Part,
    from: Offset,
    end: Offset,
  ): Promise<{ readonly records: readonly RawRecord[]; readonly next: Offset }>;
  startOf(part: Part): Offset;
  /** Something has changed: those who wait for the log to be idle check again. */
  stirred(): void;
  /** Ends all writing, and every group and follower. */
  fail(cause: unknown): AppError;
}

/** Reads several partitions in turn, and sleeps while all are at their end. */
export class Cursor {
  readonly #log: ReadLog;
  readonly #reads: { readonly part: Part; next: Offset }[];
  readonly #wake = (): void => this.#wakeUp();
  #turn = 0;
  #sleeping: (() => void) | undefined;
  #stopped = false;

  constructor(log: ReadLog, reads: readonly { readonly part: Part; readonly next: Offset }[]) {
    this.#log = log;
    this.#reads = reads.map((each) => ({ ...each }));
    for (const { part } of this.#reads) part.wakers.add(this.#wake);
  }

  get sleeping(): boolean {
    return this.#sleeping !== undefined && this.#reads.every(({ part, next }) => next >= part.end);
  }

  /** The next batch, which has no records when all of them are gone; `undefined` after `stop`. One call at a time. */
  async next(): Promise<Batch | undefined> {
    for (;;) {
      if (this.#stopped) return undefined;
      const read = this.#ready();
      if (read !== undefined) return this.#read(read);
      await new Promise<void>((resolve) => {
        this.#sleeping = resolve;
        this.#log.stirred();
      });
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { part } of this.#reads) part.wakers.delete(this.#wake);
    this.#wakeUp();
  }

  #ready(): { readonly part: Part; next: Offset } | undefined {
    for (let i = 0; i < this.#reads.length; i++) {
      const read = this.#reads[(this.#turn + i) % this.#reads.length]!;
      if (read.next >= read.part.end) continue;
      this.#turn = (this.#turn + i + 1) % this.#reads.length;
      return read;
    }
    return undefined;
  }

  async #read(read: { readonly part: Part; next: Offset }): Promise<Batch> {
    const { topic, partition, end } = read.part;
    const { records, next } = await this.#log.read(read.part, read.next, end);
    read.next = next;
    return { topic, partition, records, nextOffset: next, endOffset: end };
  }

  #wakeUp(): void {
    const resolve = this.#sleeping;
    this.#sleeping = undefined;
    resolve?.();
  }
}

/** Hands batches over until the cursor is stopped, reading one ahead (L3). */
export async function pump(cursor: Cursor, hand: (batch: Batch) => Promise<void>): Promise<void> {
  let upcoming = cursor.next();
  for (;;) {
    const batch = await upcoming;
    if (batch === undefined) return;
    upcoming = cursor.next();
    upcoming.catch(() => {}); // Its rejection is seen where it is awaited, unless `hand` throws first.
    await hand(batch);
  }
}

export class LocalFollower implements Follower {
  readonly caughtUp: Promise<void>;
  readonly #log: ReadLog;
  readonly #cursor: Cursor;
  readonly #take: (batch: Batch) => Promise<void>;
  readonly #ended: () => void;
  readonly #behind = new Map<Partition, Offset>(); // Partitions that have not caught up, with the offset to reach.
  #reached!: () => void;
  #missed!: (error: unknown) => void;
  #running: Promise<void> = Promise.resolve();
  #handing = false;
  #closed = false;

  constructor(
    log: ReadLog,
    parts: readonly Part[],
    from: 'earliest' | 'latest',
    take: (batch: Batch) => Promise<void>,
    ended: () => void,
  ) {
    this.#log = log;
    this.#take = take;
    this.#ended = ended;
    const reads = parts.map((part) => ({ part, next: from === 'latest' ? part.end : log.startOf(part) }));
    for (const { part, next } of reads) if (next < part.end) this.#behind.set(part.partition, part.end);
    this.#cursor = new Cursor(log, reads);
    this.caughtUp = new Promise((resolve, reject) => {
      this.#reached = resolve;
      this.#missed = reject;
    });
    this.caughtUp.catch(() => {}); // Callers may await it or not.
  }

  get idle(): boolean {
    return this.#closed || (!this.#handing && this.#cursor.sleeping);
  }

  start(): void {
    if (this.#behind.size === 0) this.#reached();
    this.#running = pump(this.#cursor, (batch) => this.#hand(batch)).catch((error) => {
      this.fail(error);
      this.#log.fail(error); // A receiver that throws is a bug, and a follower has nobody else to report it to.
    });
  }

  fail(error: unknown): void {
    this.#missed(error);
    this.#end();
  }

  async close(): Promise<void> {
    this.#end();
    this.#missed(new AppError('STOPPED', 'the follower was closed before it had caught up'));
    // When the receiver itself calls this, waiting here would be waiting for itself.
    if (!this.#handing) await this.#running;
  }

  async #hand(batch: Batch): Promise<void> {
    if (this.#closed) return;
    this.#handing = true;
    try {
      if (batch.records.length > 0) await this.#take(batch);
    } finally {
      this.#handing = false;
      this.#log.stirred();
    }
    const target = this.#behind.get(batch.partition);
    if (target === undefined || batch.nextOffset < target) return;
    this.#behind.delete(batch.partition);
    if (this.#behind.size === 0) this.#reached();
  }

  #end(): void {
    this.#closed = true;
    this.#cursor.stop();
    this.#ended();
    this.#log.stirred();
  }
}
