// Repeated requests: one that is sent again with the same Idempotency-Key gets the answer of the first, and has no second
// effect (draft-ietf-httpapi-idempotency-key-header).
//
//   Q1. While the first is under way, the repetition waits for its answer. A first that failed is not remembered: it may
//       be tried again.
//   Q2. The same key with another body is refused: one of the two was not meant.
//   Q3. At most KEYS_MAX keys are remembered, each for KEPT_MS, by this process alone.

import { AppError } from '../schemas/errors.ts';
import { filterHash } from '../state/keys.ts';

export const KEYS_MAX = 10_000;
/** Longer than a client repeats a request. */
export const KEPT_MS = 3_600_000;

interface Remembered<Answer> {
  readonly hash: number;
  readonly length: number;
  readonly at: number;
  readonly answer: Promise<Answer>;
}

export class RepeatedRequests<Answer> {
  readonly #now: () => number;
  readonly #known = new Map<string, Remembered<Answer>>(); // Oldest first.

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Throws REQUEST_INVALID (Q2), and what `work` throws. */
  answer(key: string, body: string, work: () => Promise<Answer>): Promise<Answer> {
    const now = this.#now();
    for (const [old, { at }] of this.#known) {
      if (this.#known.size < KEYS_MAX && now - at < KEPT_MS) break;
      this.#known.delete(old);
    }
    const hash = filterHash(body);
    const known = this.#known.get(key);
    if (known !== undefined) {
      if (known.hash === hash && known.length === body.length) return known.answer;
      throw new AppError('REQUEST_INVALID', 'this Idempotency-Key came with another body before');
    }
    const answer = work();
    this.#known.set(key, { hash, length: body.length, at: now, answer });
    answer.catch(() => this.#known.delete(key)); // Q1
    return answer;
  }
}
