// Passages: the rows of a slice in the subscription table (subscriptions.ts), one contiguous part at a time, in the
// form of a store's rows. A rebuild fills a shard from them.
//
//   Q1. A step can read only pages that were requested before it. The pages that a rebuild needs are found by stepping
//       it in advance, with nothing to read: a move is pure, so it will make the same request again. A request that was
//       not foreseen waits for the next tick.

import type { Outcome } from '../../state/effects.ts';
import type { Page, Rows, Tick } from '../step.ts';
import { contextOf, moveOf } from './commands.ts';
import { isRebuild, type Move, type MoveContext, type MoveSettings, onOutcome, onTick } from './move.ts';
import type { Kept } from './out.ts';
import type { PartitionState, Row } from './partition-state.ts';
import { cursorOf, pageOf, rowIn } from './table-pages.ts';

type Read = NonNullable<MoveContext['passage']>;

/** The pages that the rebuilds of a partition will read when they get this input (Q1). */
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
    if (!kept.hasPage(page)) return undefined; // Q1
    const { rows, done, last } = kept.page(page);
    return {
      rows: rows.flatMap(([key, row]) => rowIn(state, slice, key, row) ?? []),
      after,
      upTo: done ? undefined : cursorOf(last!),
    };
  };
}

/** At the first tick after a start the elapsed time is unknown; ticks come about five times a second. */
const FIRST_TICK_MS = 200;

export const elapsedSince = (state: PartitionState, { wallTime }: Tick): number =>
  state.wallTime === undefined ? FIRST_TICK_MS : wallTime - state.wallTime;
