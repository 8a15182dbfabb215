// Left: after a move that ended without one of its shards, tells that shard where the slice is as soon as it answers,
// and then erases the slice's rows there, so that the shard can hold the slice again or be released.
//
//   F1. The owner record is written before the first row is erased, and each erase requires that record. So a record
//       that was written since with a later turn is not undone; it ends this work.
//   F2. Nothing waits for the shard. It is asked again after a pause that doubles, since each request may wait for
//       a time-out: first with one record, and with the rest once it has answered.
//   F3. A move that brings the slice, or a slice around it, back to that shard erases its rows itself (move.ts M2): it
//       ends this work. So does a merge there, for which all its parts have come back. Of slices within the slice that
//       are there, or coming, nothing is erased, nor of a part of its topic in another division.
//   F4. Slices within the slice that stay at the shard get their own records first: with only the `moved` record they
//       would be found nowhere.

import type { MoveId, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { Outcome, SliceRange } from '../../state/effects.ts';
import { isOtherDivision, isWithin } from '../../state/keys.ts';
import { NOTHING, type Rows } from '../step.ts';
import type { Left } from './move.ts';
import { effect, type Out, tell } from './out.ts';
import { type LeftRow, leftRow, moveRow, NEVER_ASKED, type PartitionState, type Row } from './partition-state.ts';

/** Rows of one erase, as for one chunk of a move. */
const ERASE_ROWS = 2_000;
const FIRST_PAUSE_MS = 1_000;
/** A request without an answer takes ten seconds, for which the partition waits: a thirtieth of the time. */
const PAUSE_MS_MAX = 300_000;

export function leave(rows: Rows<Row>, state: PartitionState, { shard, owner, reason }: Left): Out {
  const key = leftRow(shard, owner.slice);
  rows.set(key, { kind: 'left', shard, owner });
  state.left.set(key, { ...NEVER_ASKED, waitMs: FIRST_PAUSE_MS });
  return told(state, { kind: 'left', shard, owner }, false, reason);
}

/** Called at each tick. */
export function onLeftTick(rows: Rows<Row>, state: PartitionState, elapsedMs: number): Out[] {
  const out: Out[] = [];
  for (const [key, asking] of state.left) {
    if (asking.isAsked) continue;
    const waitMs = asking.waitMs - Math.max(0, elapsedMs);
    state.left.set(key, { ...asking, waitMs, isAsked: waitMs <= 0 });
    const row = waitMs > 0 ? undefined : rows.get(key);
    if (row?.kind !== 'left') continue;
    out.push(wordsOf(state, key, row)[0]!);
  }
  return out;
}

/** Whether the outcome belongs to an effect of this file. */
export const isOfLeft = (state: PartitionState, move: MoveId): boolean => state.left.has(move);

export function onLeft(rows: Rows<Row>, state: PartitionState, outcome: Outcome): readonly Out[] {
  if (outcome.kind !== 'failed' && outcome.kind !== 'erased' && outcome.kind !== 'owned') return NOTHING;
  const key = outcome.move;
  const asking = state.left.get(key);
  const row = rows.get(key);
  if (asking?.isAsked !== true || row?.kind !== 'left') return NOTHING;
  if (outcome.kind === 'owned') {
    if (asking.answers) return NOTHING;
    state.left.set(key, { ...asking, answers: true });
    const { shard, owner } = row;
    const right = { state: 'moved', epoch: owner.epoch, turn: owner.turn ?? 0 } as const;
    const range = rangeOf(rows, state, row);
    const erase = effect({ kind: 'erase', move: key as MoveId, shard, range, limit: ERASE_ROWS, right });
    return [...wordsOf(state, key, row), erase]; // F1
  }
  if (outcome.kind === 'failed') {
    const failures = asking.failures + 1;
    const waitMs = Math.min(PAUSE_MS_MAX, FIRST_PAUSE_MS * 2 ** Math.min(failures, 20)); // F2
    state.left.set(key, { waitMs, failures, isAsked: false, answers: false });
    return NOTHING;
  }
  if (!outcome.done) {
    state.left.set(key, NEVER_ASKED);
    return NOTHING;
  }
  forget(rows, state, key);
  return [told(state, row, true, '')];
}

/** Records of slices within the slice that stay at the shard which the slice leaves. */
export function staying(state: PartitionState, slice: SliceKey, from: ShardId, move: MoveId): Out[] {
  const out: Out[] = [];
  for (const [within, { shard, epoch }] of state.homes) {
    if (shard !== from || within === slice || !isWithin(within, slice, state.partitions)) continue;
    out.push(effect({ kind: 'own', shard, owner: { slice: within, state: 'owned', epoch }, move }));
  }
  return out;
}

/** The slice comes to the shard, or is merged there (F3). */
export function arrives(rows: Rows<Row>, state: PartitionState, slice: SliceKey, to: ShardId): void {
  for (const key of state.left.keys()) {
    const row = rows.get(key);
    if (row?.kind !== 'left' || row.shard !== to) continue;
    const left = row.owner.slice;
    if (left === slice || isWithin(left, slice, state.partitions)) forget(rows, state, key);
  }
}

/** The shard has been released: nothing is left of it. */
export function shardGone(rows: Rows<Row>, state: PartitionState, shard: ShardId): void {
  for (const key of state.left.keys()) {
    const row = rows.get(key);
    if (row?.kind === 'left' && row.shard === shard) forget(rows, state, key);
  }
}

// ---- private -------------------------------------------------------------------------------------------------------

function forget(rows: Rows<Row>, state: PartitionState, key: string): void {
  rows.delete(key);
  state.left.delete(key);
}

/** The records that the shard gets, in this order (F4). */
function wordsOf(state: PartitionState, key: string, { shard, owner }: LeftRow): Out[] {
  const move = key as MoveId;
  return [...staying(state, owner.slice, shard, move), effect({ kind: 'own', shard, owner, move })];
}

/** The range to erase (F3). */
function rangeOf(rows: Rows<Row>, state: PartitionState, { shard, owner }: LeftRow): SliceRange {
  const except = new Set<SliceKey>();
  for (const [slice, home] of state.homes) {
    const isPartOf = isWithin(slice, owner.slice, state.partitions) || isOtherDivision(slice, owner.slice);
    if (slice === owner.slice || !isPartOf) continue;
    const move = home.moving === undefined ? undefined : rows.get(moveRow(home.moving));
    const comes = move?.kind === 'move' && move.to === shard;
    if (home.shard === shard || home.second?.shard === shard || comes) except.add(slice);
  }
  return { slice: owner.slice, except: [...except] };
}

function told(state: PartitionState, { shard, owner }: LeftRow, done: boolean, reason: string): Out {
  const { slice, movedTo } = owner;
  return tell(state, shard, { kind: 'SliceLeft', shardId: shard, slice, livesOn: movedTo!, done, reason });
}
