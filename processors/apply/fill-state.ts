// Fill state: what is stored of the progress of filling the subscription table of one partition (fill.ts).

import type { SliceKey } from '../../schemas/ids.ts';
import type { Cursor } from '../../state/effects.ts';

/** How much of a slice the table has: up to this cursor, or all of it. */
export interface Filled {
  readonly life: number;
  readonly upTo?: Cursor;
}

/** A filling under way, in memory. */
export interface Filling {
  /**
   * While rows of earlier lives of the table are being dropped (fill.ts F6): where that continues; `undefined` when it
   * is done.
   */
  dropping: { readonly prefix: 'c' | 'w'; readonly after: string | undefined } | undefined;
  /** The slice that is being read. */
  slice: SliceKey | undefined;
  /** The request under way to its shard (fill.ts F2). */
  asked: 'knock' | 'page' | undefined;
  /** At or below 0: filling has to wait, because of the rows already read. */
  budgetRows: number;
  /** Why the last slice that was skipped was skipped. */
  reason: string;
}
