// Letter ring: the last refused records, from the single partition of the `dead-letters` topic, in pages, newest first.
// Bounded whatever was refused: only the beginning of each key and value is kept.

import { type Letter, letterOf } from '../runtime/dead-letter.ts';
import type { RawRecord } from '../runtime/ports.ts';
import type { Offset } from '../schemas/ids.ts';
import type { LetterPage, LetterView } from './views.ts';

/** Some 2 KiB each at most. */
export const LETTERS_MAX = 1_000;
/** Bytes kept of a key and of a value: as many as `foreshard dead-letters show` prints. */
export const HEAD_BYTES_MAX = 512;

export class LetterRing {
  readonly #lettersMax: number;
  /** The oldest first. */
  readonly #kept: LetterView[] = [];

  constructor(lettersMax = LETTERS_MAX) {
    this.#lettersMax = lettersMax;
  }

  /** Takes in one record of the topic; a repeated one changes nothing. */
  take(record: RawRecord): void {
    if (record.offset <= (this.#kept.at(-1)?.number ?? -1)) return;
    const head = record.value?.subarray(0, HEAD_BYTES_MAX).toString('base64') ?? null;
    const key = record.key === null ? null : record.key.subarray(0, HEAD_BYTES_MAX);
    this.#kept.push({ ...boundedLetter({ ...record, key }), headBase64: head });
    if (this.#kept.length > this.#lettersMax) this.#kept.shift();
  }

  /** Newest first, those with a number below `before`. */
  page({ before, limit }: { readonly before: Offset | undefined; readonly limit: number }): LetterPage {
    const older = before === undefined ? this.#kept : this.#kept.filter(({ number }) => number < before);
    const letters = older.slice(-limit).reverse();
    return { letters, next: older.length > limit ? String(letters.at(-1)!.number) : undefined };
  }
}

/** Foreshard's own reasons are short; those of another writer to the topic may not be. */
function boundedLetter(record: RawRecord): Letter {
  const letter = letterOf(record);
  const { code, reason, topic } = letter;
  return { ...letter, code: code.slice(0, 64), reason: reason.slice(0, 512), topic: topic.slice(0, 256) };
}
