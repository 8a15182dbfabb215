// Moves: the life of a move as the planner sees it. Apply copies, verifies and erases. Only the planner switches the
// pointer, and only the planner decides that every reader has passed the switch.
//
//   M1. The pointer of a moving slice changes once, in the step that takes VERIFIED; nothing aborts a move after it.
//   M2. RETIRE is commanded once: when each broker's heartbeat has passed the switch or the broker has fallen silent;
//       without any broker, after `drainMs`.
//   M3. A step that NEXT does not allow changes nothing: progress is a topic, which may be replayed or forged.
//       A move that this planner has not begun is given up: while it lasts, apply refuses ours of that slice.
//   M4. A move that makes a replica is not switched but shared: the pointer names both shards, and the move stays open. It
//       ends as one from the replica back to the slice's own shard, which has everything already; or, when that has lost
//       its data, as the move to the replica.
//   M5. Giving a move up erases its copy. While its source is lost or does not answer, the copy may be the only one:
//       then the move waits, and only a person can give it up. Where shards are rebuilt (rebuilds.ts) nothing is the only
//       copy, and nothing waits.
//   M6. While its target is lost, a move is not switched and nothing is erased at its source, which may hold the only
//       copy. Where shards are rebuilt the move ends, and its slice is rebuilt.

import {
  type Epoch,
  type EventTime,
  type MoveId,
  moveId,
  type Offset,
  type ShardId,
  type SliceKey,
} from '../../../schemas/ids.ts';
import type { MoveProgress, MoveRequest, MoveState, PointerMode, SteerAction } from '../../../schemas/records.ts';
import { parseSlice, partitionOfSlice } from '../../../state/keys.ts';
import type { RowReader } from './cell-state.ts';
import type { MoveRow, SliceRow } from './rows.ts';
import { type DecisionDraft, pointerEntry, type Turn } from './turn.ts';

/**
 * Where a move may go from each state. Apply may be ahead of its last report, so states before the switch may be
 * skipped.
 */
export const NEXT: Record<MoveState, readonly MoveState[]> = {
  PLANNED: ['PROVISIONING', 'COPYING', 'VERIFYING', 'VERIFIED', 'ABORTED'],
  PROVISIONING: ['COPYING', 'VERIFYING', 'VERIFIED', 'ABORTED'],
  COPYING: ['VERIFYING', 'VERIFIED', 'ABORTED'],
  VERIFYING: ['COPYING', 'VERIFIED', 'ABORTED'], // A difference is copied again.
  // A restarted apply compares again, and while it aborts it still reports rows.
  VERIFIED: ['COPYING', 'VERIFYING', 'SWITCHED', 'SHARED', 'ABORTED'],
  SHARED: ['SWITCHED'],
  SWITCHED: ['DRAINING', 'RETIRED'], // There is no way back.
  DRAINING: ['RETIRED'],
  RETIRED: [],
  ABORTED: [],
};

export const isOpen = (state: MoveState): boolean => NEXT[state].length > 0;
export const isSwitched = (state: MoveState): boolean =>
  state === 'SWITCHED' || state === 'DRAINING' || state === 'RETIRED';

/** Starts a move, the making of a replica, or a rebuild; returns its id. */
export function startMove(
  turn: Turn,
  slice: SliceRow,
  to: ShardId,
  reason: string,
  saying: Partial<DecisionDraft>,
  { replicates = false, rebuilds = false } = {},
): MoveId {
  const id = moveId(`move-${String(turn.cell.nextMove++).padStart(6, '0')}`);
  const from = slice.shard;
  slice.busyWith = id;
  turn.slices.put(slice);
  const what = { ...(replicates && { replicates }), ...(rebuilds && { rebuilds }) };
  turn.moves.begin({ ...newMove(id, slice.slice, from, to, turn.now, reason), ...what });
  turn.keepCell();
  const move = { kind: 'MoveSlice', moveId: id, slice: slice.slice, from, to, rowsPerSecond: 0 } as const;
  const command = turn.commandSlice(slice.slice, rebuilds ? { ...move, source: 'TABLE' } : move, reason);
  const kind = replicates ? 'REPLICATE' : 'MOVE';
  turn.decide({ ...saying, kind, subject: slice.slice, reason: `${reason} (${id})`, commandIds: [command] });
  return id;
}

/** Whether the subscription table can fill a slice again, so that no store has the only copy of it. */
export function canRebuild({ cell, settings }: Turn, slice: SliceKey): boolean {
  const parsed = settings.rebuilds ? parseSlice(slice) : undefined;
  if (parsed === undefined || cell.wholeTables === undefined) return false;
  return cell.wholeTables.includes(partitionOfSlice(parsed, settings.partitions));
}

/** The rows that questions about a slice's replica need. */
interface WithMoves {
  readonly moves: Pick<RowReader<'move'>, 'get'>;
}

/** The open move that keeps the slice's replica, once readers ask both shards. */
export function replicaOf({ moves }: WithMoves, { busyWith }: SliceRow): MoveRow | undefined {
  const move = moves.get(busyWith);
  return move?.state === 'SHARED' ? move : undefined;
}

/** The shards that readers may ask for the slice: its own, then that of its replica. */
export function shardsOfSlice(state: WithMoves, row: SliceRow): readonly [ShardId, ...ShardId[]] {
  const replica = row.busyWith === '' ? undefined : replicaOf(state, row);
  return replica === undefined ? [row.shard] : [row.shard, replica.to];
}

/**
 * Ends a replica: readers are sent to the slice's own shard, and the other shard's rows are erased once every reader
 * knows (M4).
 */
export function endReplica(turn: Turn, shared: MoveRow, reason: string, saying: Partial<DecisionDraft>): void {
  const move: MoveRow = {
    ...shared,
    from: shared.to,
    to: shared.from,
    state: 'SWITCHED',
    switchOffset: -1,
    outcome: reason,
  };
  point(turn, move, 'SINGLE', [move.to]);
  const command = steer(turn, move, 'UNSHARE', reason);
  turn.decide({ ...saying, kind: 'UNREPLICATE', subject: move.slice, reason, commandIds: [command] });
}

/** The shard of a replicated slice has lost its data: the replica, which has everything, takes its place (M4). */
export function promoteReplica(turn: Turn, shared: MoveRow, reason: string): void {
  const { replicates: _, ...rest } = shared;
  const move: MoveRow = { ...rest, state: 'SWITCHED', switchOffset: -1, outcome: reason };
  point(turn, move, 'SINGLE', [move.to]);
  const command = steer(turn, move, 'SWITCH', reason);
  turn.decide({ kind: 'SWITCH', subject: move.slice, reason, commandIds: [command] });
}

/** Handles apply's progress reports of a move. */
export function takeMoveProgress(turn: Turn, progress: MoveProgress): void {
  const move = turn.moves.get(progress.moveId);
  const problem = moveProblem(move, progress);
  if (move === undefined || problem !== undefined) {
    turn.cell.ignored.progress++;
    turn.keepCell();
    turn.refuse(
      move?.id ?? 'progress',
      'illegal-step',
      `A progress report from apply was ignored: ${problem ?? 'no such move'}.`,
    );
    const { moveId: id, slice, state } = progress;
    if (move === undefined && isOpen(state) && parseSlice(slice) !== undefined)
      steer(turn, { id, slice, switchEpoch: 0 }, 'ABORT', 'this planner has not begun it');
    return;
  }
  move.signs++;
  move.rowsCopied = progress.rowsCopied;
  move.bytesCopied = progress.bytesCopied;
  move.rowsVerified = progress.rowsVerified;
  move.rowsErased = progress.rowsErased;
  move.etaMs = progress.etaMs;
  move.state = progress.state;
  turn.moves.put(move);
  if (progress.state === 'VERIFIED') switchWhenFree(turn, move);
  else if (progress.state === 'RETIRED') finish(turn, move);
  else if (progress.state === 'ABORTED') closeAborted(turn, move, progress.reason);
}

/** Carries out a person's request about a move, once for each request id. */
export function takeMoveRequest(turn: Turn, request: MoveRequest): void {
  const move = turn.moves.get(request.moveId);
  const answer = (reason: string): void =>
    turn.decide({
      kind: 'REFUSE',
      subject: request.moveId,
      reason,
      constraint: 'request',
      requestId: request.requestId,
    });
  if (move === undefined) {
    if (remembered(turn, request.requestId)) return;
    turn.cell.ignored.requests++;
    answer('There is no such move.');
    return;
  }
  if (move.requests.includes(request.requestId)) return;
  move.requests = [...move.requests, request.requestId].slice(-REQUESTS_KEPT);
  turn.moves.put(move);
  if (!isOpen(move.state)) {
    answer(`The move has ended: ${move.state}.`);
    return;
  }
  if (request.action === 'ABORT') {
    if (isSwitched(move.state)) answer('The pointer has been switched already; the move can no longer be aborted.');
    else if (move.state === 'SHARED')
      endReplica(turn, move, `The replica of ${move.slice} on ${move.to} is removed, as a person requested.`, {
        requestId: request.requestId,
      });
    else abort(turn, move, 'a person requested it', request.requestId);
    return;
  }
  if (request.action === 'PAUSE') move.paused = true;
  if (request.action === 'RESUME') move.paused = false;
  const command = steer(turn, move, request.action, `request ${request.requestId}`, request.rowsPerSecond);
  turn.decide({
    kind: 'KEEP',
    subject: move.id,
    reason: `${request.action} was requested and passed on to apply.`,
    requestId: request.requestId,
    commandIds: [command],
  });
  switchWhenFree(turn, move);
}

/** Commands apply to abort the move, which ends when apply reports ABORTED. */
export function abort(turn: Turn, move: MoveRow, reason: string, requestId = ''): void {
  if (move.asked !== '' || !NEXT[move.state].includes('ABORTED')) return;
  move.asked = 'ABORT';
  move.outcome = reason;
  turn.moves.put(move);
  const command = steer(turn, move, 'ABORT', reason);
  turn.decide({
    kind: 'ABORT',
    subject: move.id,
    reason: `The move of ${move.slice} is being aborted: ${reason}.`,
    requestId,
    commandIds: [command],
  });
}

/** Aborts a move on the planner's own account, unless its copy may be the only one (M5). */
export function giveUp(turn: Turn, move: MoveRow, reason: string): void {
  if (move.rebuilds === true || !HAS_COPIED.has(move.state)) {
    abort(turn, move, reason);
    return;
  }
  if (move.asked !== '' || move.waits === true) return;
  move.waits = true;
  turn.moves.put(move);
  turn.decide({
    kind: 'KEEP',
    subject: move.id,
    reason: `The move of ${move.slice} from ${move.from} to ${move.to} waits: ${reason}. The copy at ${move.to} may be the only one left, so it is kept until the move can go on or somebody aborts the move.`,
  });
}

const HAS_COPIED: ReadonlySet<MoveState> = new Set(['COPYING', 'VERIFYING', 'VERIFIED']);

/**
 * On each tick: aborts moves that apply has not reported on for too long, and retires the source of those that every
 * reader has passed.
 */
export function watchMoves(turn: Turn, wallTime: number): void {
  for (const move of turn.moves.open()) {
    if (isSwitched(move.state)) retireWhenPassed(turn, move, wallTime);
    else if (move.state === 'SHARED')
      continue; // Apply does not report on a replica; it stays for as long as it is needed.
    else if (move.signs !== move.seenSigns) {
      if (move.startedWallTime === 0) move.startedWallTime = wallTime;
      move.seenSigns = move.signs;
      move.seenWallTime = wallTime;
      delete move.waits;
      turn.moves.put(move);
    } else if (!move.paused && wallTime - move.seenWallTime > turn.settings.moveSilentMs)
      giveUp(turn, move, `apply has reported no progress for ${turn.settings.moveSilentMs / 1000} s`);
  }
}

/** Why this progress report cannot be right (M3). */
function moveProblem(move: MoveRow | undefined, progress: MoveProgress): string | undefined {
  if (move === undefined) return `there is no move ${progress.moveId.slice(0, 64)}`;
  if (progress.slice !== move.slice || progress.from !== move.from || progress.to !== move.to)
    return 'it names another slice or other shards';
  if (progress.state === 'RETIRED' && move.asked !== 'RETIRE') return 'the planner has not asked to retire the source';
  if (progress.state === move.state) return isOpen(move.state) ? undefined : `the move is ${move.state}`;
  // The planner decides on SWITCHED and SHARED; apply only confirms them.
  const isOurs = progress.state === 'SWITCHED' || progress.state === 'SHARED';
  if (isOurs && !isSwitched(move.state)) return 'the pointer has not been switched';
  return NEXT[move.state].includes(progress.state) ? undefined : `${progress.state} cannot follow ${move.state}`;
}

/** Switches a verified move unless it is paused. Only a person pauses a move; apply does so only on command. */
export function switchWhenFree(turn: Turn, move: MoveRow): void {
  if (move.state !== 'VERIFIED' || move.asked !== '' || move.paused || waitsForTarget(turn, move)) return;
  if (turn.shards.get(move.to)?.lost !== undefined) return;
  const { slice, from, to, rowsVerified } = move;
  delete move.waits;
  const isShared = move.replicates === true;
  move.state = isShared ? 'SHARED' : 'SWITCHED';
  const epoch = isShared ? point(turn, move, 'REPLICAS', [from, to]) : point(turn, move, 'SINGLE', [to]);
  const command = steer(turn, move, isShared ? 'SHARE' : 'SWITCH', 'both shards hold the same rows');
  turn.decide({
    kind: 'SWITCH',
    subject: move.id,
    reason: `${slice} is served by ${isShared ? `${from} and by ` : ''}${to} from epoch ${epoch} on; ${rowsVerified} rows were equal.`,
    commandIds: [command],
  });
}

/** Whether the move waits because its target is lost (M6); published once. */
function waitsForTarget(turn: Turn, move: MoveRow): boolean {
  const { id, slice, from, to } = move;
  if (turn.shards.get(to)?.lost === undefined || canRebuild(turn, slice)) return false;
  if (move.waits === true) return true;
  move.waits = true;
  turn.moves.put(move);
  const reason = `The move of ${slice} from ${from} to ${to} waits: ${to} has lost its data. The rows on ${from} may be the only ones left, so they are kept until ${to} is back.`;
  turn.decide({ kind: 'KEEP', subject: id, reason });
  return true;
}

/** Publishes which shards serve the moving slice from the next epoch on (M1): its own shard first. */
function point(turn: Turn, move: MoveRow, mode: PointerMode, shards: readonly [ShardId, ...ShardId[]]): Epoch {
  const epoch = turn.publish([pointerEntry(move.slice, mode, shards)]);
  const slice = turn.slices.get(move.slice)!;
  slice.shard = shards[0];
  slice.epoch = epoch;
  if (mode === 'REPLICAS') slice.coolUntil = (turn.now + turn.settings.coolDownMs) as EventTime;
  turn.slices.put(slice);
  move.switchEpoch = epoch;
  turn.moves.put(move);
  return epoch;
}

function retireWhenPassed(turn: Turn, move: MoveRow, wallTime: number): void {
  if (move.switchedWallTime === 0) {
    move.switchedWallTime = wallTime;
    turn.moves.put(move);
    if (!move.replicates) learnCopyRate(turn, move, wallTime);
  }
  if (move.asked !== '' || move.switchOffset < 0) return;
  const sinceMs = wallTime - move.switchedWallTime;
  const live = brokersPast(turn, move.switchOffset, sinceMs, wallTime);
  if (live === undefined || waitsForTarget(turn, move)) return;
  move.asked = 'RETIRE';
  turn.moves.put(move);
  steer(turn, move, 'RETIRE', live === 0 ? 'no broker is alive' : `all ${live} live brokers have read the switch`);
  if (live > 0 && move.waits !== true) {
    turn.cell.measured.propagationMs = smoothed(turn.cell.measured.propagationMs, Math.max(1, sinceMs));
    turn.keepCell();
  }
}

/**
 * How many live brokers there are, once each has read the pointer table beyond the offset; `undefined` before. Without any,
 * `drainMs` after it was written.
 */
export function brokersPast(
  { settings, state }: Turn,
  offset: Offset,
  sinceMs: number,
  wallTime: number,
): number | undefined {
  let live = 0;
  for (const [, broker] of state.brokers.known()) {
    if (wallTime - broker.seenWallTime > settings.brokerSilentMs && broker.beats === broker.seenBeats) continue;
    if (broker.pointerOffset <= offset) return undefined;
    live++;
  }
  return live === 0 && sinceMs < settings.drainMs ? undefined : live;
}

function learnCopyRate(turn: Turn, move: MoveRow, wallTime: number): void {
  const tookMs = wallTime - move.startedWallTime;
  if (move.bytesCopied < COPY_SAMPLE_BYTES || tookMs <= 0 || move.startedWallTime === 0) return;
  const { measured } = turn.cell;
  measured.copyBytesPerSecond = smoothed(measured.copyBytesPerSecond, (move.bytesCopied / tookMs) * 1000);
  turn.keepCell();
}

/** A smaller copy takes mostly set-up time and says nothing about the copy rate. */
const COPY_SAMPLE_BYTES = 1024 * 1024;
const smoothed = (before: number, sample: number): number => before * 0.7 + sample * 0.3;

function finish(turn: Turn, move: MoveRow): void {
  close(turn, move, turn.now);
  const reason = move.rebuilds
    ? `${move.slice} is served by ${move.to} instead of ${move.from}, which has lost its data: ${move.rowsCopied} rows were filled in from the subscription table.`
    : move.replicates
      ? `The replica of ${move.slice} on ${move.from} was removed and ${move.rowsErased} rows erased. It had been made because: ${move.reason}`
      : `${move.slice} has moved from ${move.from} to ${move.to}: ${move.rowsCopied} rows and ${move.bytesCopied} bytes copied, ${move.rowsErased} rows erased at the source. It was moved because: ${move.reason}`;
  turn.decide({ kind: 'FINISH', subject: move.id, reason });
}

function closeAborted(turn: Turn, move: MoveRow, reason: string): void {
  const said = move.asked === 'ABORT';
  if (!said) move.outcome = reason;
  close(turn, move, turn.now);
  if (!said)
    turn.decide({
      kind: 'ABORT',
      subject: move.id,
      reason: `The move of ${move.slice} from ${move.from} to ${move.to} was aborted: ${reason || 'no reason was given'}.`,
    });
}

/** Frees the slice, which enters its cool-down; the closed move can still be looked up for a while. */
function close(turn: Turn, move: MoveRow, at: EventTime): void {
  move.closedAt = at;
  turn.moves.put(move);
  if (move.state === 'RETIRED' && !move.replicates) noteLeft(turn, move, at);
  freeSlice(turn, move.slice, at + turn.settings.coolDownMs);
  turn.moves.close(move.id);
  turn.keepCell();
}

/** The slice does not return to its source for two cool-downs (constraints/return.ts). */
function noteLeft({ slices, settings }: Turn, { slice: key, from }: MoveRow, at: EventTime): void {
  const slice = slices.get(key);
  if (slice === undefined) return;
  const until = (at + RETURN_COOL_DOWNS * settings.coolDownMs) as EventTime;
  const others = (slice.left ?? []).filter((left) => left.shard !== from && left.until > at);
  slices.put({ ...slice, left: [...others, { shard: from, until }] });
}

const RETURN_COOL_DOWNS = 2;
const REQUESTS_KEPT = 32;

export function freeSlice(turn: Turn, key: SliceKey, coolUntil: number): void {
  const slice = turn.slices.get(key);
  if (slice === undefined) return;
  slice.busyWith = '';
  slice.coolUntil = coolUntil as EventTime;
  turn.slices.put(slice);
}

/** True when this request was already answered; remembers it otherwise. */
export function remembered(turn: Turn, requestId: string): boolean {
  if (turn.cell.requests.includes(requestId)) return true;
  turn.cell.requests = [...turn.cell.requests, requestId].slice(-256);
  turn.keepCell();
  return false;
}

export const steer = (
  turn: Turn,
  move: Pick<MoveRow, 'id' | 'slice' | 'switchEpoch'>,
  action: SteerAction,
  reason: string,
  rowsPerSecond = 0,
): string =>
  turn.commandSlice(
    move.slice,
    { kind: 'SteerMove', moveId: move.id, slice: move.slice, action, rowsPerSecond },
    reason,
    (move.switchEpoch || turn.cell.epoch) as typeof turn.cell.epoch,
  );

const newMove = (
  id: MoveId,
  slice: SliceKey,
  from: ShardId,
  to: ShardId,
  startedAt: EventTime,
  reason: string,
): MoveRow => ({
  kind: 'move',
  id,
  slice,
  from,
  to,
  startedAt,
  reason,
  state: 'PLANNED',
  paused: false,
  asked: '',
  rowsCopied: 0,
  bytesCopied: 0,
  rowsVerified: 0,
  rowsErased: 0,
  etaMs: -1,
  outcome: '',
  closedAt: 0 as EventTime,
  switchEpoch: 0,
  switchOffset: -1,
  signs: 0,
  seenSigns: -1,
  seenWallTime: 0,
  startedWallTime: 0,
  switchedWallTime: 0,
  requests: [],
});
