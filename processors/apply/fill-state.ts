// Fill state: what is remembered of how far the table of subscriptions of one partition is filled (fill.ts).

import type { SliceKey } from '../../schemas/ids.ts';
import type { Cursor } from '../../state/effects.ts';

/** How far the table has what a slice has: up to there, or to its end. */
export interface Filled {
  readonly life: number;
  readonly upTo?: Cursor;
}

/** One that is under way, in memory. */
export interface Filling {
  /** What the table has of earlier lives is being dropped (F6 of fill.ts): where that goes on; `undefined` when it is done. */
  dropping: { readonly prefix: 'c' | 'w'; readonly after: string | undefined } | undefined;
  /** The slice that is being read. */
  slice: SliceKey | undefined;
  /** What has been asked of its shard (F2 of fill.ts). */
  asked: 'knock' | 'page' | undefined;
  /** At or below 0: what was read has to be waited for. */
  budgetRows: number;
  /** Why the last slice that was passed over was. */
  reason: string;
}
