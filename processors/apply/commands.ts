// Commands: the planner's commands about the slices of one partition.
//
//   C1. The same command id twice has one effect, and is answered once.
//   C2. A command that is not possible changes nothing and is answered with the reason; none throws.
//   C3. In a split or merge the new owner records are written before the old ones are removed: readers never meet a
//       gap. A slice that is carved out of one that stays gets no record until one of the two moves: a reader that does
//       not know of it yet asks for the slice around it, and must get its rows too.
//   C4. A slice that moves is neither split nor merged.
//   C5. Only commands of the newest planner are carried out (state/fence.ts): any other is refused and reported, and
//       its id is not remembered.
//   C6. A command about slices waits until the pointer table has reached its epoch. So no owner record has an epoch
//       that was never published, which would make stores refuse later records. After a start, before the first tick,
//       new commands wait behind those that are waiting already; and none is given up while the table is still being
//       read.

import { type Epoch, epoch as epochOf, type MoveId, type SliceKey } from '../../schemas/ids.ts';
import type { Command, MergeSlices, MoveSlice, SplitSlice, SteerMove } from '../../schemas/records.ts';
import type { Effect } from '../../state/effects.ts';
import { fenceRefusal, NOBODY } from '../../state/fence.ts';
import { filterHash } from '../../state/keys.ts';
import { NOTHING, type Rows, TABLE_UNREAD } from '../step.ts';
import { askCheck } from './check.ts';
import { filledFrom } from './fill.ts';
import { arrives, leave, staying } from './left.ts';
import {
  isRebuild,
  isSwitched,
  type Move,
  type MoveContext,
  type MoveSettings,
  newMove,
  onSteer,
  progressOf,
  type Turn,
} from './move.ts';
import { effect, type Out, tell } from './out.ts';
import {
  type Ahead,
  aheadRow,
  commandRow,
  type Done,
  FENCE,
  moveRow,
  type PartitionState,
  type Row,
  storePartitionState,
} from './partition-state.ts';
import { onShardCommand } from './shards.ts';

export interface CommandSettings extends MoveSettings {
  /** Whether the subscription table is kept. */
  readonly subscriptionTable: boolean;
  /** Number of command ids that are remembered (C1); older ones are forgotten. */
  readonly commandsKept: number;
  /** Number of finished moves that can still answer a late command. */
  readonly finishedMovesKept: number;
}

export function onCommand(
  rows: Rows<Row>,
  state: PartitionState,
  command: Command,
  offset: number,
  settings: CommandSettings,
): readonly Out[] {
  const body32 = filterHash(JSON.stringify(command.body));
  if (isRepetition(rows, command.id, body32)) return NOTHING;
  const refusal = fenced(rows, state, command);
  if (refusal !== undefined) return [refusal];
  remember(rows, state, command.id, { kind: 'command', offset, body: body32 }, settings);
  return isAhead(state, command) ? held(rows, state, command, offset) : obeyed(rows, state, command, offset, settings);
}

/**
 * At each tick: carries out the commands whose epoch the pointer table has reached, and gives up those that have waited
 * too long (C6).
 */
export function aheadNoMore(rows: Rows<Row>, state: PartitionState, settings: CommandSettings): Out[] {
  const out: Out[] = [];
  for (const key of [...state.ahead]) {
    const row = rows.get(key);
    if (row?.kind !== 'ahead') continue;
    const waits = state.pointerEpoch !== undefined && row.command.epoch > state.pointerEpoch;
    if (waits && state.ahead.size <= AHEAD_MAX && mayWait(rows, state, key, row)) continue;
    state.ahead.delete(key);
    rows.delete(key);
    out.push(
      ...(waits
        ? [neverPublished(rows, state, row.command)]
        : obeyed(rows, state, row.command, row.offset ?? 0, settings)),
    );
  }
  return out;
}

/** A few times as long as a reader of the pointer table may be behind. */
const AHEAD_MS = 60_000;
const NO_TICK = 0;
/** More than one partition's share of the moves that a fleet makes at the same time. */
const AHEAD_MAX = 64;

function isAhead({ pointerEpoch, ahead }: PartitionState, { epoch, body }: Command): boolean {
  if (body.kind !== 'SplitSlice' && body.kind !== 'MergeSlices' && body.kind !== 'SteerMove') return false;
  return pointerEpoch === undefined ? ahead.size > 0 : epoch > pointerEpoch;
}

/** Whether a command may still wait. For one that came before the first tick, the time starts with that tick. */
function mayWait(rows: Rows<Row>, { pointerEpoch, wallTime = 0 }: PartitionState, key: string, row: Ahead): boolean {
  if (pointerEpoch === TABLE_UNREAD) return true;
  if (row.sinceWallMs !== NO_TICK) return wallTime - row.sinceWallMs < AHEAD_MS;
  rows.set(key, { ...row, sinceWallMs: wallTime });
  return true;
}

function held(rows: Rows<Row>, state: PartitionState, command: Command, offset: number): readonly Out[] {
  const key = aheadRow(command.id);
  rows.set(key, { kind: 'ahead', command, offset, sinceWallMs: state.wallTime ?? NO_TICK });
  state.ahead.add(key);
  return NOTHING;
}

function neverPublished(rows: Rows<Row>, state: PartitionState, { id, epoch, body }: Command): Out {
  const row = rows.get(FENCE);
  const term = row?.kind === 'fence' ? row.term : 0;
  const reason = `${body.kind} of epoch ${epoch}, while the pointer table is at ${state.pointerEpoch}`;
  return tell(state, id, { kind: 'CommandRefused', commandId: id, constraint: 'epoch-not-published', term, reason });
}

function obeyed(
  rows: Rows<Row>,
  state: PartitionState,
  command: Command,
  offset: number,
  settings: CommandSettings,
): readonly Out[] {
  const { body } = command;
  switch (body.kind) {
    case 'SplitSlice':
      return splitSlice(rows, state, command, body);
    case 'MergeSlices':
      return mergeSlices(rows, state, command, body);
    case 'MoveSlice':
      return moveSlice(rows, state, command, body, settings);
    case 'SteerMove':
      return steerMove(rows, state, command, body, settings);
    case 'CheckSlices':
      return askCheck(rows, state, body, offset);
    default:
      return onShardCommand(rows, state, body);
  }
}

/** Stores the new state of a move, and returns its effects and reports. */
export function carryOn(
  rows: Rows<Row>,
  state: PartitionState,
  before: Move | undefined,
  { move, effects, report, left }: Turn,
  settings: CommandSettings,
): Out[] {
  if (move !== before) {
    rows.set(moveRow(move.id), move);
    const home = state.homes.get(move.slice);
    if (home !== undefined && home.moving === move.id && home.epoch !== move.epoch) {
      state.rehome(move.slice, isSwitched(move) ? move.to : home.shard, move.epoch);
      storePartitionState(rows, state);
    }
    const finishedBefore = state.finished.length;
    const forgotten = state.follow(move, settings.finishedMovesKept);
    for (const id of forgotten) rows.delete(moveRow(id));
    if (forgotten.length > 0 || state.finished.length !== finishedBefore) storePartitionState(rows, state);
  }
  const out = effects.flatMap((each) => [
    ...(bounds(each, move) ? staying(state, move.slice, move.from, move.id) : []),
    effect(each),
  ]);
  if (left !== undefined) out.push(leave(rows, state, left));
  if (report !== undefined) out.push(tell(state, move.id, report));
  return out;
}

export const contextOf = (
  state: PartitionState,
  slice: SliceKey,
  settings: MoveSettings,
  passage?: MoveContext['passage'],
): MoveContext => ({
  settings,
  range: state.rangeOf(slice),
  entries: state.homes.get(slice)?.entries ?? -1,
  wallTime: state.wallTime,
  passage,
});

/** C1. A different command under the same id is not a repetition: somebody has guessed the id. */
function isRepetition(rows: Rows<Row>, id: string, body: number): boolean {
  const known = rows.get(commandRow(id));
  return known?.kind === 'command' && (known.body === undefined || known.body === body);
}

/** C1. The ids are stored in the order of the commands topic. */
function remember(rows: Rows<Row>, state: PartitionState, id: string, done: Done, settings: CommandSettings): void {
  const key = commandRow(id);
  if (rows.get(key) === undefined) state.commandOrder.push(key);
  rows.set(key, done);
  if (state.commandOrder.length > settings.commandsKept) rows.delete(state.commandOrder.shift()!);
}

/** The report of a command that is refused by C5; `undefined` for one that is accepted. */
function fenced(rows: Rows<Row>, state: PartitionState, { id, term, planner, body }: Command): Out | undefined {
  const row = rows.get(FENCE);
  const known = row?.kind === 'fence' ? row : NOBODY;
  const constraint = fenceRefusal(known, { term, planner });
  if (constraint === undefined) {
    if (term > known.term) rows.set(FENCE, { kind: 'fence', term, planner });
    return undefined;
  }
  const from = term === 0 ? 'a sender without a planner id' : `${planner} in term ${term}`;
  const obeyed =
    known.term === 0
      ? 'no planner has sent a command yet'
      : `commands are accepted from ${known.planner} in term ${known.term}`;
  const reason = `${body.kind} of ${from}: ${obeyed}`;
  return tell(state, id, { kind: 'CommandRefused', commandId: id, constraint, term: known.term, reason });
}

function splitSlice(rows: Rows<Row>, state: PartitionState, command: Command, { slice, into }: SplitSlice): Out[] {
  const refusal = state.tree.splitRefusal(slice, into) ?? movingRefusal(state, [slice]);
  if (refusal !== undefined) return [answer(state, command.id, false, refusal)];
  const { shard, epoch: before, filled } = state.homeOf(slice);
  const epoch = latest([command.epoch, before]);
  const out: Out[] = [];
  const stays = into.includes(slice);
  for (const key of into) {
    if (key === slice) continue;
    state.add(key, shard, epoch);
    state.homeOf(key).filled = filledFrom(state, [filled]);
    if (!stays) out.push(effect({ kind: 'own', shard, owner: { slice: key, state: 'owned', epoch } })); // C3
  }
  if (stays) state.countAnew(slice);
  else {
    state.remove(slice);
    out.push(effect({ kind: 'disown', shard, slice, right: { state: 'owned', epoch: before } }));
  }
  storePartitionState(rows, state);
  return [...out, answer(state, command.id, true, '')];
}

function mergeSlices(rows: Rows<Row>, state: PartitionState, command: Command, { slices, into }: MergeSlices): Out[] {
  const refusal = state.tree.mergeRefusal(slices, into) ?? movingRefusal(state, slices) ?? apartRefusal(state, slices);
  if (refusal !== undefined) return [answer(state, command.id, false, refusal)];
  const homes = slices.map((slice) => state.homeOf(slice));
  const { shard } = homes[0]!;
  const epoch = latest([command.epoch, ...homes.map((home) => home.epoch)]);
  const out: Out[] = [];
  arrives(rows, state, into, shard);
  if (slices.includes(into)) {
    state.rehome(into, shard, epoch); // Readers from before the merge have older epochs than the merged slice.
    state.countAnew(into);
  } else {
    state.add(into, shard, epoch);
    out.push(effect({ kind: 'own', shard, owner: { slice: into, state: 'owned', epoch } })); // C3
  }
  state.homeOf(into).filled = filledFrom(
    state,
    homes.map(({ filled }) => filled),
  );
  for (const slice of slices) {
    if (slice === into) continue;
    const right = { state: 'owned', epoch: state.homeOf(slice).epoch } as const;
    state.remove(slice);
    out.push(effect({ kind: 'disown', shard, slice, right }));
  }
  storePartitionState(rows, state);
  return [...out, answer(state, command.id, true, '')];
}

function moveSlice(
  rows: Rows<Row>,
  state: PartitionState,
  command: Command,
  body: MoveSlice,
  settings: CommandSettings,
): Out[] {
  const { moveId: id, slice, from, to, rowsPerSecond, source } = body;
  const { reason } = command;
  const home = state.homes.get(slice);
  const epoch = home?.epoch ?? command.epoch;
  const move = newMove({ id, slice, from, to, epoch, source, rowsPerSecond, reason, turn: state.nextTurn() });
  const context = contextOf(state, slice, settings);
  const refusal = moveRefusal(rows, state, body) ?? tableRefusal(state, body, settings);
  storePartitionState(rows, state);
  if (refusal === undefined) arrives(rows, state, slice, to);
  if (refusal === undefined)
    return carryOn(rows, state, undefined, { move, effects: [], report: progressOf(move, context) }, settings);
  return [tell(state, id, progressOf({ ...move, phase: 'aborted', reason: refusal }, context))];
}

function steerMove(
  rows: Rows<Row>,
  state: PartitionState,
  command: Command,
  body: SteerMove,
  settings: CommandSettings,
): Out[] {
  const move = moveOf(rows, body.moveId);
  if (move === undefined) return [answer(state, command.id, false, `there is no move ${body.moveId}`)];
  const { action, rowsPerSecond } = body;
  const { epoch, reason } = command;
  const turn = onSteer(move, { action, epoch, rowsPerSecond, reason }, contextOf(state, move.slice, settings));
  return carryOn(rows, state, move, turn, settings);
}

/** True for the first record that limits the time in which the source answers for its slice (C3). */
const bounds = (each: Effect, { slice, from, bounded }: Move): boolean =>
  each.kind === 'own' &&
  each.shard === from &&
  each.owner.slice === slice &&
  (each.owner.state === 'moved' || (each.owner.until !== undefined && bounded !== true));

export function moveOf(rows: Rows<Row>, id: MoveId): Move | undefined {
  const row = rows.get(moveRow(id));
  return row?.kind === 'move' ? row : undefined;
}

function moveRefusal(
  rows: Rows<Row>,
  state: PartitionState,
  { moveId, slice, from, to }: MoveSlice,
): string | undefined {
  const home = state.homes.get(slice);
  if (home === undefined) return `${slice} is not a slice of partition ${state.partition}`;
  if (moveOf(rows, moveId) !== undefined) return `a move ${moveId} exists already`;
  if (home.shard !== from) return `${slice} lives on ${home.shard}, not on ${from}`;
  if (from === to) return `${slice} is on ${to} already`;
  return movingRefusal(state, [slice]);
}

/** Why a rebuild is refused: it needs every subscription of the slice. */
function tableRefusal(
  state: PartitionState,
  { slice, source }: MoveSlice,
  settings: CommandSettings,
): string | undefined {
  if (!isRebuild({ source }) || state.tableIsWhole) return undefined;
  if (!settings.subscriptionTable)
    return `${slice} cannot be rebuilt: the subscription table is switched off (FORESHARD_SUBSCRIPTION_TABLE)`;
  return `${slice} cannot be rebuilt: the subscription table is not whole in partition ${state.partition}, where it was not kept from the first event on and has yet to be filled`;
}

function movingRefusal(state: PartitionState, slices: readonly SliceKey[]): string | undefined {
  const moving = slices.find((slice) => state.homes.get(slice)?.moving !== undefined);
  return moving === undefined ? undefined : `${moving} is in a move`; // C4
}

function apartRefusal(state: PartitionState, slices: readonly SliceKey[]): string | undefined {
  const shards = new Set(slices.map((slice) => state.homes.get(slice)?.shard));
  return shards.size === 1 ? undefined : `the slices live on ${[...shards].join(', ')}`;
}

const latest = (epochs: readonly Epoch[]): Epoch => epochOf(Math.max(...epochs));

const answer = (state: PartitionState, commandId: string, done: boolean, reason: string): Out =>
  tell(state, commandId, { kind: 'SliceProgress', commandId, done, reason });
