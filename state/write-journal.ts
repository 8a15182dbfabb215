// Write journal: proves that a LevelDB folder holds a complete prefix of its writes. LevelDB skips what it cannot read
// in its write-ahead log and continues after it, so a damaged log would silently lose writes in the middle. Each write
// therefore stores its number as a key of its own, and the number of the oldest one kept.
//
//   W1. After any crash the numbers found are `oldest`, `oldest + 1` ... without a gap, and the last head names the
//       last.
//   W2. A number is removed only when its write can no longer be in the write-ahead log alone.

/** The value of the head key: which numbers must be there. */
export interface JournalHead {
  readonly oldest: number;
  readonly newest: number;
}

export class WriteJournal {
  readonly #spanBytes: number;
  readonly #sizes: number[] = [];
  #bytes = 0;
  #oldest: number;
  #newest: number;

  /** `writeBufferBytes`: at most two of these can lie in the write-ahead log. `last`: the newest number of the folder. */
  constructor(writeBufferBytes: number, last: number) {
    this.#spanBytes = 3 * writeBufferBytes; // Two, and one to spare for LevelDB's own overhead.
    this.#oldest = last + 1;
    this.#newest = last;
  }

  /** The numbers to put and to remove with a write of about `bytes` bytes. */
  next(bytes: number): { readonly head: JournalHead; readonly dropped: readonly number[] } {
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    this.#newest++;
    const dropped: number[] = [];
    while (this.#bytes - this.#sizes[dropped.length]! > this.#spanBytes) {
      this.#bytes -= this.#sizes[dropped.length]!;
      dropped.push(this.#oldest++);
    }
    this.#sizes.splice(0, dropped.length);
    return { head: { oldest: this.#oldest, newest: this.#newest }, dropped };
  }
}

/** Whether the numbers found, ascending, are those that the head names (W1). Older ones may be left over. */
export function isWhole(head: JournalHead | undefined, found: readonly number[]): boolean {
  if (head === undefined) return found.length === 0;
  const kept = found.filter((number) => number >= head.oldest);
  return kept.length === head.newest - head.oldest + 1 && kept.every((number, i) => number === head.oldest + i);
}
