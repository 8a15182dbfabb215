// Table pages: the rows of one slice in the subscription table, one page at a time. A slice is one contiguous range of
// keys (subscriptions.ts T6), without the slices carved out of it, whose rows lie within the range.

import type { SliceKey } from '../../schemas/ids.ts';
import type { Cursor, SubscriptionRow } from '../../state/effects.ts';
import { filterHash, parseSlice, placeOf } from '../../state/keys.ts';
import { compareUtf8 } from '../../state/utf8.ts';
import type { Page } from '../step.ts';
import type { PartitionState } from './partition-state.ts';
import { isSpilled, type KeptRow, subscriptionAt, subscriptionKey } from './subscriptions.ts';

/** The page to read after that place. */
export function pageOf(slice: SliceKey, after: Cursor | undefined, limit: number): Page {
  const stretch = stretchOf(slice);
  if (after === undefined) return { ...stretch, limit };
  return { ...stretch, after: keyAt(after), limit };
}

/** Whether a row comes after that place; `undefined` is the end of the range. */
export const isBehind = (cursor: Cursor, end: Cursor | undefined): boolean =>
  end !== undefined && compareUtf8(keyAt(cursor), keyAt(end)) > 0;

/** The earlier of two places of a range; `undefined` is its end. */
export const earlierOf = (a: Cursor | undefined, b: Cursor | undefined): Cursor | undefined =>
  a === undefined || isBehind(a, b) ? b : a;

function stretchOf(key: SliceKey): Omit<Page, 'limit'> {
  const slice = parseSlice(key)!;
  switch (slice.kind) {
    case 'group':
      return { prefix: `w${slice.prefix}` };
    case 'hash': {
      const first = slice.bits === '' ? 0 : Number.parseInt(slice.bits.padEnd(32, '0'), 2);
      const end = first + 2 ** (32 - slice.bits.length);
      const from = { prefix: 'c', after: `c${hex(first)}` }; // No filter is empty: all keys of that hash come after.
      return end === 2 ** 32 ? from : { ...from, below: `c${hex(end)}` };
    }
    default:
      return { prefix: `c${hex(filterHash(slice.filter))}${slice.filter}\u0000` };
  }
}

/** The row as stores have it, if it belongs to the slice and is live. */
export function rowIn(state: PartitionState, slice: SliceKey, key: string, row: KeptRow): SubscriptionRow | undefined {
  if (isSpilled(row) || row.removed === true) return undefined;
  const { filter, clientId } = subscriptionAt(key);
  const place = placeOf(filter);
  const held = place.trie
    ? state.tree.groupOf(state.partition, place.prefix)
    : state.tree.concreteSliceOf(filter, state.partition, clientId);
  if (held !== slice) return undefined;
  const { brokerId, qos, options, version, at } = row;
  return { filter, clientId, brokerId, qos, ...(options === undefined ? {} : { options }), version, gone: false, at };
}

/** What may be read at a rate, in rows: a page is charged after it was read, so it may go below 0 and waits until above. */
export const budgetAfter = (budgetRows: number, rowsPerSecond: number, elapsedMs: number): number =>
  Math.min(1, budgetRows + (rowsPerSecond * Math.max(0, elapsedMs)) / 1_000);

/** The cursor of a key. */
export function cursorOf(key: string): Cursor {
  const { filter, clientId } = subscriptionAt(key);
  return `${filter}\u0000${clientId}`;
}

function keyAt(cursor: Cursor): string {
  const nul = cursor.indexOf('\u0000');
  return subscriptionKey(cursor.slice(0, nul), cursor.slice(nul + 1));
}

const hex = (hash: number): string => hash.toString(16).padStart(8, '0');
