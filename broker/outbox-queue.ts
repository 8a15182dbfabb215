// Outbox queue: events go to the outbox first, and from there to the log.
//
//   Y1. The order in which events were given is that of the outbox and that of the appends to the log, over restarts of
//       the broker too.
//   Y2. An event is confirmed when it is durable in the outbox or, with `confirm: 'log'`, in the log.
//   Y3. Nothing that was confirmed is given up: an append to the log is repeated until it succeeds. A batch whose append
//       was not confirmed is appended again, by the next process too; that changes nothing, as the same events follow
//       it again.
//   Y4. When events of `bytesMax` wait, further ones are refused with OUTBOX_FULL.

import type { Clock, Log } from '../runtime/ports.ts';
import { AppError } from '../schemas/errors.ts';
import { partitionOf } from '../state/keys.ts';
import { type EventQueue, type QueuedRecord, reasonOf } from './event-queue.ts';
import { entryBytes, type Outbox, type OutboxEntry } from './outbox.ts';

export interface OutboxQueueSettings {
  /** Partitions of the subscriptions topic. */
  readonly partitions: number;
  readonly batchMax: number;
  readonly retryMs: number;
  /** How large the entries of the outbox may be together (Y4). */
  readonly bytesMax: number;
  readonly confirm: 'outbox' | 'log';
  /** How long `close` tries to send what waits. */
  readonly closeMs: number;
}

interface Given {
  readonly entry: OutboxEntry;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Of one write to the outbox. */
const WRITE_BYTES = 1024 * 1024;
const RETRY_MS_MAX = 5_000;

export class OutboxQueue implements EventQueue {
  readonly #outbox: Outbox;
  readonly #log: Pick<Log, 'append'>;
  readonly #clock: Pick<Clock, 'sleep'>;
  readonly #settings: OutboxQueueSettings;
  /** Not in the outbox yet. */
  #given: Given[] = [];
  #givenBytes = 0;
  /** In the outbox, and to be confirmed by the log, oldest first. */
  #unconfirmed: Given[] = [];
  /** Entries of an earlier process, which nobody waits for. */
  #inherited: number;
  #writing: Promise<void> | undefined;
  #sending: Promise<void> | undefined;
  #trouble: string | undefined;
  #isClosed = false;
  /** True: whatever the log still answers, the outbox is not touched. */
  #isOver = false;

  /** Sends what the outbox has from an earlier process. */
  constructor(outbox: Outbox, log: Pick<Log, 'append'>, clock: Pick<Clock, 'sleep'>, settings: OutboxQueueSettings) {
    this.#outbox = outbox;
    this.#log = log;
    this.#clock = clock;
    this.#settings = settings;
    this.#inherited = outbox.length;
    if (outbox.length > 0) this.#sending = this.#send();
  }

  get length(): number {
    return this.#given.length + this.#outbox.length;
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  async give({ topic, key, value }: QueuedRecord, sessionEpoch: number): Promise<void> {
    if (this.#isClosed) throw closedError();
    const { bytesMax } = this.#settings;
    const entry = { topic, key, value, sessionEpoch };
    const bytes = entryBytes(entry);
    if (this.#outbox.sizeBytes + this.#givenBytes + bytes > bytesMax) {
      const facts = { bytesMax, events: this.length };
      const why = this.#trouble === undefined ? '' : `: ${this.#trouble}`;
      throw new AppError('OUTBOX_FULL', `${this.length} events fill the outbox${why}`, facts); // Y4
    }
    await new Promise<void>((done, failed) => {
      this.#given.push({ entry, done, failed });
      this.#givenBytes += bytes;
      this.#writing ??= this.#write();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
    const sending = this.#sending;
    if (sending !== undefined) await Promise.race([sending, this.#clock.sleep(this.#settings.closeMs)]);
    this.#isOver = true;
    for (const { failed } of this.#unconfirmed.splice(0))
      failed(new AppError('STOPPED', 'the event is in the outbox, and is sent when the broker starts again'));
  }

  /** Writes to the outbox until all that was given is there. */
  async #write(): Promise<void> {
    await Promise.resolve(); // Events given in the same turn of the event loop go into one write.
    while (this.#given.length > 0) {
      const batch = this.#nextBatch();
      try {
        await this.#outbox.append(batch.map(({ entry }) => entry));
        if (this.#settings.confirm === 'log') for (const each of batch) this.#unconfirmed.push(each);
        else for (const { done } of batch) done(); // Y2
        this.#sending ??= this.#send();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
      for (const { entry } of batch) this.#givenBytes -= entryBytes(entry);
    }
    this.#writing = undefined;
  }

  #nextBatch(): Given[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#given.length && count < this.#settings.batchMax && bytes < WRITE_BYTES)
      bytes += entryBytes(this.#given[count++]!.entry);
    return this.#given.splice(0, count);
  }

  /** Sends until the outbox is empty (Y3). */
  async #send(): Promise<void> {
    for (let tries = 0; this.#outbox.length > 0 && !this.#isOver; ) {
      try {
        const entries = await this.#outbox.oldest();
        await this.#log.append(entries.map((entry) => this.#recordOf(entry)));
        if (this.#isOver) return;
        await this.#outbox.removeOldest();
        this.#confirm(entries.length);
        this.#trouble = undefined;
        tries = 0;
      } catch (error) {
        this.#trouble = reasonOf(error);
        tries += 1;
        await this.#clock.sleep(Math.min(this.#settings.retryMs * tries, RETRY_MS_MAX));
      }
    }
    this.#sending = undefined;
  }

  /** The number of partitions is this fleet's of now. */
  #recordOf({ topic, key, value }: OutboxEntry): QueuedRecord {
    return { topic, partition: partitionOf(key, this.#settings.partitions), key, value };
  }

  #confirm(count: number): void {
    const inherited = Math.min(count, this.#inherited);
    this.#inherited -= inherited;
    for (const { done } of this.#unconfirmed.splice(0, count - inherited)) done();
  }
}

const closedError = (): AppError => new AppError('STOPPED', 'the event producer is closed');
