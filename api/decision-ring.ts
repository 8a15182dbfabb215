// Decision ring: keeps the last decisions of the planner from the single partition of the `decisions` topic. It serves
// them in pages, newest first, and to callers that wait for the answer to a request. A cursor is the offset of the last
// decision shown, so it is valid at every instance.

import { AppError } from '../schemas/errors.ts';
import type { Offset } from '../schemas/ids.ts';
import type { Decision } from '../schemas/records.ts';
import type { DecisionPage } from './views.ts';

/** Some 1 KiB each: a day at seven a minute. */
export const DECISIONS_MAX = 10_000;

export class DecisionRing {
  readonly #decisionsMax: number;
  /** By request. */
  readonly #waiting = new Map<string, Set<(decision: Decision) => void>>();
  /** The oldest first. */
  readonly #kept: { readonly offset: Offset; readonly decision: Decision }[] = [];

  constructor(decisionsMax = DECISIONS_MAX) {
    this.#decisionsMax = decisionsMax;
  }

  /** Takes in one record of the topic; a repeated one changes nothing. */
  take(decision: Decision | null, offset: Offset): void {
    if (decision === null || offset <= this.#newest) return;
    this.#kept.push({ offset, decision });
    if (this.#kept.length > this.#decisionsMax) this.#kept.shift();
    for (const tell of this.#waiting.get(decision.requestId) ?? []) tell(decision);
  }

  /**
   * The answer to a request: the present one, or else the next one to come. A caller that stops waiting calls `forget`.
   */
  answerTo(requestId: string): { readonly answer: Promise<Decision>; forget(): void } {
    const known = this.#kept.findLast(({ decision }) => decision.requestId === requestId);
    if (known !== undefined) return { answer: Promise.resolve(known.decision), forget() {} };
    const all = this.#waiting.get(requestId) ?? new Set();
    this.#waiting.set(requestId, all);
    let tell: (decision: Decision) => void = () => {};
    const answer = new Promise<Decision>((resolve) => {
      tell = resolve;
    });
    all.add(tell);
    return {
      answer,
      forget: () => {
        all.delete(tell);
        if (all.size === 0) this.#waiting.delete(requestId);
      },
    };
  }

  /**
   * Throws REQUEST_INVALID for a cursor that no page can have given, NOT_FOUND for one ahead of what this instance has
   * read.
   */
  page(query: {
    readonly after: string | undefined;
    readonly limit: number;
    readonly requestId: string | undefined;
  }): DecisionPage {
    const before = query.after === undefined ? Number.POSITIVE_INFINITY : this.#offsetIn(query.after);
    const decisions: Decision[] = [];
    let last: Offset | undefined;
    for (let at = this.#kept.length - 1; at >= 0; at--) {
      const { offset, decision } = this.#kept[at]!;
      if (offset >= before || (query.requestId !== undefined && decision.requestId !== query.requestId)) continue;
      if (decisions.length === query.limit) return { decisions, next: String(last) };
      decisions.push(decision);
      last = offset;
    }
    return { decisions, next: undefined };
  }

  get #newest(): Offset {
    return this.#kept.at(-1)?.offset ?? -1;
  }

  #offsetIn(cursor: string): Offset {
    const offset = /^\d{1,16}$/.test(cursor) ? Number(cursor) : Number.NaN;
    if (offset <= this.#newest) return offset;
    const code = Number.isNaN(offset) ? 'REQUEST_INVALID' : 'NOT_FOUND'; // Or not yet: this instance may lag behind.
    throw new AppError(code, 'the cursor is not the `next` of a page of decisions');
  }
}
