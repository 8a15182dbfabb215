// Event queue: events on their way to the log, in the order in which they were given. In memory here; with an outbox, on
// disk (outbox-queue.ts).
//
//   Q1. One append is under way at a time; the next one takes all events that came meanwhile.
//   Q2. An append that failed is repeated: an event that is appended twice is harmless, a lost one is not. When the
//       queue is full or the log stays unavailable, the caller gets LOG_UNAVAILABLE.

import type { Clock, Log, OutRecord } from '../runtime/ports.ts';
import { AppError } from '../schemas/errors.ts';

export interface QueuedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly key: string;
  readonly value: Buffer;
}

export interface EventQueue {
  /** Resolves when the event is durable. `sessionEpoch`: the connection that it speaks of; 0 for none. */
  give(record: QueuedRecord, sessionEpoch: number): Promise<void>;
  /** Events that the log does not have yet. */
  readonly length: number;
  /** Why they wait, when the last append failed. */
  readonly trouble: string | undefined;
  /** Takes no more, and sends what it has. */
  close(): Promise<void>;
}

export interface MemoryQueueSettings {
  /** Most events that may wait for the log. */
  readonly queueMax: number;
  readonly batchMax: number;
  /** How often an append is tried, with a pause of `retryMs` times the number of tries so far. */
  readonly triesMax: number;
  readonly retryMs: number;
}

interface Waiting {
  readonly record: OutRecord;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

export class MemoryQueue implements EventQueue {
  readonly #log: Pick<Log, 'append'>;
  readonly #clock: Pick<Clock, 'sleep'>;
  readonly #settings: MemoryQueueSettings;
  #waiting: Waiting[] = [];
  #sending: Promise<void> | undefined;
  #trouble: string | undefined;

  constructor(log: Pick<Log, 'append'>, clock: Pick<Clock, 'sleep'>, settings: MemoryQueueSettings) {
    this.#log = log;
    this.#clock = clock;
    this.#settings = settings;
  }

  get length(): number {
    return this.#waiting.length;
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  async give(record: QueuedRecord): Promise<void> {
    const { queueMax } = this.#settings;
    if (this.#waiting.length >= queueMax)
      throw new AppError('LOG_UNAVAILABLE', `${queueMax} events wait for the log already`, { queueMax });
    await new Promise<void>((done, failed) => {
      this.#waiting.push({ record, done, failed });
      this.#sending ??= this.#send();
    });
  }

  async close(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
  }

  /** Sends until the queue is empty (Q1). */
  async #send(): Promise<void> {
    await Promise.resolve(); // Events given in the same turn of the event loop go into one append.
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#settings.batchMax);
      try {
        await this.#appended(batch.map(({ record }) => record));
        for (const { done } of batch) done();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    this.#sending = undefined;
  }

  async #appended(records: readonly OutRecord[]): Promise<void> {
    const { triesMax, retryMs } = this.#settings;
    for (let tries = 1; ; tries++) {
      try {
        await this.#log.append(records);
        this.#trouble = undefined;
        return;
      } catch (cause) {
        this.#trouble = reasonOf(cause);
        if (tries >= triesMax) {
          const facts = { events: records.length, tries };
          throw new AppError('LOG_UNAVAILABLE', 'events could not be appended', facts, cause);
        }
        await this.#clock.sleep(retryMs * tries); // Q2
      }
    }
  }
}

export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
