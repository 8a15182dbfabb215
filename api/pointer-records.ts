// Pointer records: the newest record of each key of the pointer table, in the order of the topic, for a broker that reads
// the table over HTTP. What it reads is what a compacted topic keeps, so it applies it as it would from Kafka.

import type { Offset } from '../schemas/ids.ts';
import type { PointerRecord } from '../schemas/records.ts';

/** A part of the pointer table. */
export interface PointerPage {
  /** Partitions of the subscriptions topic. */
  readonly partitions: number;
  /** `null` removes the key. */
  readonly records: readonly { readonly offset: Offset; readonly key: string; readonly value: PointerRecord | null }[];
  /** Ask for records from here on the next time. */
  readonly next: Offset;
  /** The table is complete when `next` has reached this. */
  readonly end: Offset;
  /** The table is another one than the reader has read: it begins anew. */
  readonly restarts: boolean;
}

/** Records of one answer: a few MB at most. */
const PAGE_MAX = 5_000;

export class PointerRecords {
  readonly #partitions: number;
  /** In the order of their offsets. */
  readonly #newest = new Map<string, PointerPage['records'][number]>();
  #end: Offset = 0;
  readonly #waiting = new Set<() => void>();

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  take(key: string, value: PointerRecord | null, offset: Offset): void {
    this.#newest.delete(key);
    this.#newest.set(key, { offset, key, value });
  }

  /** Everything below `next` was taken. */
  reached(next: Offset): void {
    this.#end = next;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  page(after: Offset): PointerPage {
    const restarts = after > this.#end;
    const records = [...this.#newest.values()].filter(({ offset }) => restarts || offset >= after);
    const some = records.slice(0, PAGE_MAX);
    const next = some.length < records.length ? some.at(-1)!.offset + 1 : this.#end;
    return { partitions: this.#partitions, records: some, next, end: this.#end, restarts };
  }

  /** Resolves when there is more than `after`, or the table is another one; at the latest when `patience` ends. */
  async newerThan(after: Offset, patience: Promise<void>): Promise<void> {
    if (this.#end !== after) return;
    let stop = (): void => {};
    const changed = new Promise<void>((wake) => {
      this.#waiting.add(wake);
      stop = () => this.#waiting.delete(wake);
    });
    await Promise.race([changed, patience]);
    stop();
  }
}
