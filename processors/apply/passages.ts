// Passages: the table of subscriptions (subscriptions.ts) as a store has it, a stretch of a slice at a time. A rebuild fills a
// shard from them.
//
//   Q1. A slice is one stretch of keys (T6 of subscriptions.ts). What was carved out of it lies within and is left out.
//   Q2. A step reads those pages alone that were asked for before it. What a rebuild will ask for is found by asking it ahead,
//       with nothing to read: a move is pure, and comes to the same question. One that was not foreseen waits for the next
//       tick.

import type { SliceKey } from '../../schemas/ids.ts';
import type { Outcome, SubscriptionRow } from '../../state/effects.ts';
import { filterHash, parseSlice, placeOf } from '../../state/keys.ts';
import type { Page, Rows, Tick } from '../step.ts';
import { contextOf, moveOf } from './commands.ts';
import { isRebuild, type Move, type MoveContext, type MoveSettings, onOutcome, onTick } from './move.ts';
import type { Kept } from './out.ts';
import type { PartitionState, Row } from './partition-state.ts';
import { isSpilled, type KeptRow, subscriptionAt, subscriptionKey } from './subscriptions.ts';

type Read = NonNullable<MoveContext['passage']>;

/** The pages that the rebuilds of a partition will look at when they hear this (Q2). */
export function pagesOfRebuilds(
  rows: Rows<Row>,
  state: PartitionState,
  heard: { readonly outcome: Outcome } | { readonly tick: Tick },
  settings: MoveSettings,
): Page[] {
  const pages: Page[] = [];
  const passage: Read = (move, after, limit) => {
    pages.push(pageOf(move.slice, after, limit));
    return undefined;
  };
  const ask = (move: Move | undefined, go: (move: Move, context: MoveContext) => unknown): void => {
    if (move !== undefined && isRebuild(move)) go(move, contextOf(state, move.slice, settings, passage));
  };
  if ('outcome' in heard) {
    const { outcome } = heard;
    if ('move' in outcome) ask(moveOf(rows, outcome.move), (move, context) => onOutcome(move, outcome, context));
  } else {
    const elapsedMs = elapsedSince(state, heard.tick);
    for (const id of state.active) ask(moveOf(rows, id), (move, context) => onTick(move, elapsedMs, context));
  }
  return pages;
}

/** The passages that a rebuild may read in this step. */
export function passagesOf(state: PartitionState, kept: Kept): Read | undefined {
  if (kept === undefined) return undefined;
  return ({ slice }, after, limit) => {
    const page = pageOf(slice, after, limit);
    if (!kept.hasPage(page)) return undefined; // Q2
    const { rows, done, last } = kept.page(page);
    return {
      rows: rows.flatMap(([key, row]) => rowIn(state, slice, key, row) ?? []),
      after,
      upTo: done ? undefined : cursorOf(last!),
    };
  };
}

/** The first tick after a start knows no elapsed time; ticks come about five times a second. */
const FIRST_TICK_MS = 200;

export const elapsedSince = (state: PartitionState, { wallTime }: Tick): number =>
  state.wallTime === undefined ? FIRST_TICK_MS : wallTime - state.wallTime;

// ---- private -------------------------------------------------------------------------------------------------------

function pageOf(slice: SliceKey, after: string | undefined, limit: number): Page {
  const stretch = stretchOf(slice);
  if (after === undefined) return { ...stretch, limit };
  const nul = after.indexOf('\u0000');
  return { ...stretch, after: subscriptionKey(after.slice(0, nul), after.slice(nul + 1)), limit };
}

/** Q1. */
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

/** The row as stores have it, if it is of the slice and live. */
function rowIn(state: PartitionState, slice: SliceKey, key: string, row: KeptRow): SubscriptionRow | undefined {
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

function cursorOf(key: string): string {
  const { filter, clientId } = subscriptionAt(key);
  return `${filter}\u0000${clientId}`;
}

const hex = (hash: number): string => hash.toString(16).padStart(8, '0');
