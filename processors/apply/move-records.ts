// Move records: the owner records that a move writes to its two shards (move.ts M5, M8 and M9), as effects.

import type { Epoch, MoveId, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { Effect } from '../../state/effects.ts';

/** The fields of a move that its records depend on. */
export interface RecordedMove {
  readonly id: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  readonly phase: string;
  readonly epoch: Epoch;
  readonly turn?: number;
  readonly leasedUntil?: number;
}

type Owning = Extract<Effect, { kind: 'own' }>;

/** Turns that a move uses (move.ts M8): before its copy, from the copy on, and at its end. */
export const TURNS = 3;

const ENDING: ReadonlySet<string> = new Set(['leaving', 'retiring', 'retired', 'aborting', 'aborted']);

/** The turn of the records of a move in its present phase; none for a move of an earlier release. */
export function turnOf({ turn, phase }: RecordedMove): { readonly turn?: number } {
  if (turn === undefined) return {};
  if (ENDING.has(phase)) return { turn: turn + 2 };
  return { turn: phase === 'planned' || phase === 'provisioning' ? turn : turn + 1 };
}

/** To the target, before the copy. */
export const receiving = (move: RecordedMove): Effect => ({
  kind: 'own',
  shard: move.to,
  owner: { slice: move.slice, state: 'receiving', epoch: move.epoch, ...turnOf(move) },
  move: move.id,
});

/** To the source, after the switch: the lease with which it answers late readers (move.ts M9). */
export const lease = ({ id, from, to, slice, epoch, leasedUntil }: RecordedMove): Effect => ({
  kind: 'own',
  shard: from,
  owner: { slice, state: 'owned', epoch, movedTo: to, until: leasedUntil! },
  move: id,
});

/** To the target, after the switch. */
export const owned = ({ to, slice, epoch }: RecordedMove): Effect => ({
  kind: 'own',
  shard: to,
  owner: { slice, state: 'owned', epoch },
});

/** To the source, before its rows are erased. */
export const moved = (move: RecordedMove): Owning => ({
  kind: 'own',
  shard: move.from,
  owner: { slice: move.slice, state: 'moved', epoch: move.epoch, movedTo: move.to, ...turnOf(move) },
  move: move.id,
});

/** To the target of an aborted move, before its rows are erased. */
export const stayed = (move: RecordedMove): Owning => ({
  kind: 'own',
  shard: move.to,
  owner: { slice: move.slice, state: 'moved', epoch: move.epoch, movedTo: move.from, ...turnOf(move) },
  move: move.id,
});
