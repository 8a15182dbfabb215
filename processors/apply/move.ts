// Move: moves one slice from one shard to another, as a state machine. Pure: each function takes the move and what has
// happened, and returns the move's new state and the effects to perform. apply.ts keeps the row and routes the events.
//
//   M1. From the beginning of `copying` until RETIRE every event of the slice goes to both shards, so a copied row can
//       never replace a newer one: versions decide.
//   M2. A copy begins at an empty target: `provisioning` erases whatever an earlier, interrupted move has left there.
//   M3. `verified` is reported only when every row was compared equal and no write to the target has failed since the
//       copy began. From `settling` on, the runner retries failed writes to the target, so it stays equal.
//   M4. Before SWITCH the target can be given up, after it only the source: there is no other way back.
//   M5. The source, and a target that is given up, gets a `moved` record before its first row is erased: from then on it
//       takes no row that comes late, and a reader from a time when the slice was there is redirected.
//       When a shard refuses an erase there is nothing left to erase: the record that allows this move to erase is
//       gone, and with it the rows that the move had put there. Before a copy a refusal means that the shard is not
//       ready to receive.
//   M6. After a restart a move continues from its row, but compares again: an erase that was not committed may have
//       happened.
//   M7. From SHARE on the target is as good as the source, and readers ask either: it is a replica. UNSHARE ends it as
//       a move from the replica back to the source, with nothing to copy; SWITCH ends it as a move to the replica, when
//       the source has lost its data.
//   M8. Several owner records of a move within one epoch are ordered by their turn, which is above those of earlier
//       moves. A start takes new turns, above those of every earlier start, also of one that died before it could
//       commit. So a task that has lost its partition and wakes up later, or a call that a store carries out after the
//       task has given it up, can no longer change owner records or erase rows: that would destroy what has been copied
//       and compared since.
//   M9. After SWITCH the source's record is a lease: valid for LEASE_MS at a time, and renewed while the source
//       answers. Once the source has acknowledged one (`bounded`), nothing waits for it longer than HOLD_MS: a write
//       that fails there is held until the lease has run out. Then late readers are redirected, and a store that comes
//       back never answers them without that write. So the source can be given up: the target has everything, and
//       left.ts tells the source where the slice is once it is back. A lease has no turn: it does not replace a `moved`
//       record of the same epoch.
//   M10. A source that does not answer before SWITCH may be lost, and the copy may be the only one: the move waits for
//        it, or for an ABORT, and does not abort itself. A source that does not answer at SWITCH has a record without a
//        time limit, and would answer late readers without the events that it has missed: every write of the slice
//        waits until it has acknowledged a lease. A source that has lost its data answers nobody, and is given up at
//        once (M9).
//   M11. A rebuild is a move from the subscription table: its source has lost its data, so what is copied and compared
//        are passages of the table, and the source is given up at SWITCH. It is told then that the slice has moved, in
//        case it was not lost after all.
//
// At most one chunk effect of a move is under way (`awaiting`), and outcomes come in the order of their effects, before
// the next tick.

import { assert } from '../../schemas/errors.ts';
import type { Epoch, MoveId, ShardId, SliceKey } from '../../schemas/ids.ts';
import type { MoveProgress, MoveSource, MoveState, SteerAction } from '../../schemas/records.ts';
import { fallbacksOf, integer } from '../../schemas/setting.ts';
import type { Cursor, Effect, Outcome, OwnerRecord, Passage, SliceRange } from '../../state/effects.ts';
import { lease, moved, owned, receiving, stayed, TURNS, turnOf } from './move-records.ts';

export interface MoveSettings {
  /** Copy throttle of a move that gives none; rows compared and erased count like rows copied. */
  readonly copyRowsPerSecond: number;
  /** The throttle of a rebuild: until the rebuild is done its slice is not served. */
  readonly rebuildRowsPerSecond: number;
  /** Most rows in one effect: limits how long a commit waits for one chunk. */
  readonly chunkRowsMax: number;
  /** Most rows of the table in one effect of a rebuild. */
  readonly passageRowsMax: number;
  /** How often one chunk is copied again before the move fails because of a difference. */
  readonly recopiesMax: number;
  /** Consecutive failures after which a move is given up, if it can be. */
  readonly failuresMax: number;
}

export const MOVE_SETTINGS = {
  // By default a tenth of what LevelDB takes in batches: leaves the rest to live events.
  copyRowsPerSecond: integer(
    50_000,
    { min: 1, max: 10_000_000, unit: 'rows/s' },
    'Highest rate at which one move copies, compares and erases.',
  ),
  rebuildRowsPerSecond: integer(
    200_000,
    { min: 1, max: 10_000_000, unit: 'rows/s' },
    'Highest rate at which a slice of a lost shard is rebuilt and compared. Faster than a move, since the slice is not served meanwhile.',
  ),
};

export const MOVE_DEFAULTS: MoveSettings = {
  ...fallbacksOf(MOVE_SETTINGS),
  chunkRowsMax: 2_000, // About 10 ms of copying.
  passageRowsMax: 10_000,
  recopiesMax: 3,
  failuresMax: 8, // With the back-off below about 25 s.
};

export type Phase =
  | 'planned'
  | 'provisioning'
  | 'copying'
  | 'verifying'
  | 'settling'
  | 'verified'
  | 'shared'
  | 'switched'
  | 'draining'
  | 'leaving'
  | 'retiring'
  | 'retired'
  | 'aborting'
  | 'aborted';

/** Legal transitions; any other is a bug and throws. */
const NEXT: Record<Phase, readonly Phase[]> = {
  planned: ['provisioning', 'aborting'], // Even now the target may hold rows: from a run that was not committed.
  provisioning: ['copying', 'aborting'],
  copying: ['verifying', 'aborting'],
  verifying: ['settling', 'copying', 'aborting'], // Back to copying: a write to the target has failed.
  settling: ['verified', 'verifying', 'copying', 'aborting'], // Back to verifying: a restart (M6).
  verified: ['switched', 'shared', 'aborting'],
  shared: ['switched'], // Readers ask the target: it can only be left by a switch back (M7).
  switched: ['draining'], // After the pointer switch there is no way back (M4).
  draining: ['leaving', 'retired'], // Retired at once when the source was given up (M9).
  leaving: ['retiring', 'retired'],
  retiring: ['retired', 'leaving'], // Back to leaving: a restart (M6).
  aborting: ['aborted'],
  retired: [],
  aborted: [],
};

/** The phase as the planner and operators see it. */
const STATE: Record<Exclude<Phase, 'aborting'>, MoveState> = {
  planned: 'PLANNED',
  provisioning: 'PROVISIONING',
  copying: 'COPYING',
  verifying: 'VERIFYING',
  settling: 'VERIFYING',
  verified: 'VERIFIED',
  shared: 'SHARED',
  switched: 'SWITCHED',
  draining: 'DRAINING',
  leaving: 'DRAINING',
  retiring: 'DRAINING',
  retired: 'RETIRED',
  aborted: 'ABORTED',
};

/** The effect of the planner's commands that change the pointer. */
const POINTED = {
  SWITCH: { from: ['verified', 'shared'], to: 'switched' },
  SHARE: { from: ['verified'], to: 'shared' },
  UNSHARE: { from: ['shared'], to: 'switched' },
} as const;

/** Phases that last until the planner's next command. */
const RESTING: ReadonlySet<Phase> = new Set(['verified', 'shared', 'draining']);

const FIRST_BACKOFF_MS = 200;
const BACKOFF_MS_MAX = 10_000;
const REPORT_MS = 1_000;
/** Duration of a lease (M9): many times as long as a renewal takes, and as its partition may wait. */
const LEASE_MS = 10_000;
/** Largest difference between the clocks of two hosts: far more than NTP leaves. */
const CLOCK_SKEW_MS = 2_000;
const HOLD_MS = LEASE_MS + CLOCK_SKEW_MS;
/** A late tick adds at most this much time to the budget: a stall must not be followed by a burst. */
const BURST_MS_MAX = 1_000;

type ChunkKind = 'copy' | 'compare' | 'fill' | 'match' | 'erase';
/** What the move waits for; `own`: a record for the source (M9). */
type Awaited = ChunkKind | 'own';

export interface Move {
  readonly kind: 'move';
  readonly id: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  /** Where rows are copied from (M11); absent in a row of an earlier release. */
  readonly source?: MoveSource | undefined;
  readonly phase: Phase;
  /** The slice's epoch at the source; after SWITCH its epoch at the target. */
  readonly epoch: Epoch;
  /** The first of the move's TURNS turns (M8); absent in a row of an earlier release. */
  readonly turn?: number;
  readonly paused: boolean;
  /** 0 means the configured rate. */
  readonly rowsPerSecond: number;
  /** Where copying or comparing continues. */
  readonly cursor: Cursor | undefined;
  /** Number of rows that may be processed now. */
  readonly budgetRows: number;
  readonly awaiting: Awaited | undefined;
  /** True when the awaited effect was requested before the move changed course: its outcome is ignored. */
  readonly discard: boolean;
  /** Row limit of the last chunk: a chunk that differs is copied again with the same limit. */
  readonly chunkRows: number;
  readonly recopying: boolean;
  readonly recopies: number;
  /** True when an effect has failed since the last tick. */
  readonly failing: boolean;
  readonly failures: number;
  /** True when the source failed last, and the move waits for it (M10). */
  readonly sourceAway?: boolean;
  /** True when the shard that failed last said that its data is lost. */
  readonly lost?: boolean;
  /** Until when the source may answer late readers, at the latest (M9). */
  readonly leasedUntil?: number;
  /** True when the source has acknowledged a lease, or that the slice has moved (M9). */
  readonly bounded?: boolean;
  /** True when nothing is written to the source any more (M9). */
  readonly givenUp?: boolean;
  /** How often the copy was restarted because a write to the target had failed. */
  readonly restarts: number;
  readonly waitMs: number;
  readonly rowsCopied: number;
  readonly bytesCopied: number;
  readonly rowsVerified: number;
  readonly rowsErased: number;
  readonly sinceReportMs: number;
  /** The state that was reported last: an aborting move keeps it, with a `reason` that says so. */
  readonly told: MoveState;
  readonly reason: string;
}

/** What a move needs to know of the slice in each turn. */
export interface MoveContext {
  readonly settings: MoveSettings;
  readonly range: SliceRange;
  /** Live rows of the slice when last counted; -1 while unknown. */
  readonly entries: number;
  /** Returns a passage of the subscription table, for a rebuild; `undefined` when it was not read for this step. */
  readonly passage?: ((move: Move, after: Cursor | undefined, limit: number) => Passage | undefined) | undefined;
  /** The host's clock at the last tick; absent before the first one. */
  readonly wallTime?: number | undefined;
}

/** A shard that has to be told where a slice is, and whose rows of it have to be erased, once it answers. */
export interface Left {
  readonly shard: ShardId;
  readonly owner: OwnerRecord;
  readonly reason: string;
}

export interface Turn {
  readonly move: Move;
  readonly effects: readonly Effect[];
  /** The report for the planner; `undefined` when there is nothing new. */
  readonly report: MoveProgress | undefined;
  /** A shard of the move that was given up. */
  readonly left?: Left;
}

export function newMove(parts: {
  readonly id: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  readonly epoch: Epoch;
  readonly turn?: number;
  readonly source?: MoveSource | undefined;
  readonly rowsPerSecond: number;
  readonly reason: string;
}): Move {
  return {
    kind: 'move',
    ...parts,
    phase: 'planned',
    paused: false,
    cursor: undefined,
    budgetRows: 0,
    awaiting: undefined,
    discard: false,
    chunkRows: 0,
    recopying: false,
    recopies: 0,
    failing: false,
    failures: 0,
    restarts: 0,
    waitMs: 0,
    rowsCopied: 0,
    bytesCopied: 0,
    rowsVerified: 0,
    rowsErased: 0,
    sinceReportMs: 0,
    told: 'PLANNED',
  };
}

/** True for a rebuild (M11). */
export const isRebuild = ({ source }: Pick<Move, 'source'>): boolean => source === 'TABLE';

export const isFinished = (move: Move): boolean => NEXT[move.phase].length === 0;
export const isSwitched = ({ phase }: Move): boolean => phase === 'retiring' || phase === 'retired' || drains(phase);

/** True while the source still gets the slice's events. */
const drains = (phase: Phase): boolean => phase === 'switched' || phase === 'draining' || phase === 'leaving';

/** True while the move waits for its source (M10). */
export const waitsForSource = (move: Move): boolean =>
  move.sourceAway === true && (canAbort(move) || isUnbounded(move));

/** True while the source answers late readers without a time limit, or may do so. */
const isUnbounded = ({ phase, bounded }: Move): boolean => drains(phase) && bounded !== true;

const canAbort = ({ phase }: Move): boolean => NEXT[phase].includes('aborting');

/**
 * The shard that gets the slice's events beside the owner (M1). With `move` set, a failed write is handled by the move;
 * with `holdMs`, only after the runner has repeated it for that long. Otherwise the runner repeats it until it succeeds
 * (M3, M10), or the shard turns out to have lost its data.
 */
export function secondShardOf(move: Move): Second | undefined {
  switch (move.phase) {
    case 'copying':
    case 'verifying':
      return { shard: move.to, move: move.id };
    case 'settling':
    case 'verified':
    case 'shared':
      return { shard: move.to, move: undefined };
    case 'switched':
    case 'draining':
    case 'leaving':
      if (move.givenUp) return undefined;
      return { shard: move.from, move: move.id, holdMs: isUnbounded(move) ? Number.POSITIVE_INFINITY : HOLD_MS };
    default:
      return undefined;
  }
}

export interface Second {
  readonly shard: ShardId;
  readonly move: MoveId | undefined;
  readonly holdMs?: number;
}

/** Time has passed: the budget grows, waiting work continues, failed effects are retried or given up. */
export function onTick(before: Move, elapsedMs: number, context: MoveContext): Turn {
  if (isFinished(before)) return { move: before, effects: [], report: undefined };
  const passedMs = Math.min(Math.max(elapsedMs, 0), BURST_MS_MAX);
  const rate = rateOf(before, context);
  const move: Move = {
    ...before,
    budgetRows: Math.min(before.budgetRows + (rate * passedMs) / 1_000, Math.max(1, (rate * BURST_MS_MAX) / 1_000)),
    waitMs: Math.max(0, before.waitMs - passedMs),
    sinceReportMs: before.sinceReportMs + passedMs,
  };
  if (drains(move.phase) && !move.givenUp) return draining(before, move, context);
  if (move.failing) {
    const isOver = move.lost === true || move.failures + 1 > context.settings.failuresMax;
    if (isOver && (move.phase === 'retiring' || move.phase === 'aborting')) return givenUp(before, move, context);
    return turn(before, retried(move, context), [], context);
  }
  if (move.paused) return turn(before, move, [], context);
  switch (move.phase) {
    case 'planned':
      return working(before, entered(move, 'provisioning'), [], context);
    case 'settling':
      return turn(before, entered(move, 'verified'), [], context);
    case 'switched':
      return turn(before, entered(move, 'draining'), [], context);
    default:
      return working(before, move, [], context);
  }
}

/** Handles the outcome of an effect of this move. */
export function onOutcome(before: Move, outcome: Outcome, context: MoveContext): Turn {
  if (isFinished(before)) return { move: before, effects: [], report: undefined };
  switch (outcome.kind) {
    case 'copied':
      return chunkDone(before, isRebuild(before) ? 'fill' : 'copy', outcome.rows, context, (move) => {
        const counted = {
          ...move,
          rowsCopied: move.rowsCopied + outcome.rows,
          bytesCopied: move.bytesCopied + outcome.bytes,
        };
        if (move.phase === 'verifying') return { ...counted, recopying: false };
        if (move.phase !== 'copying') return move;
        return outcome.done ? entered(counted, 'verifying') : { ...counted, cursor: outcome.cursor };
      });
    case 'compared':
      return chunkDone(before, isRebuild(before) ? 'match' : 'compare', outcome.rows, context, (move) => {
        if (move.phase !== 'verifying') return move;
        if (!outcome.equal) {
          if (move.recopies < context.settings.recopiesMax)
            return { ...move, recopying: true, recopies: move.recopies + 1 };
          return aborting(move, `rows still differ after they were copied again ${move.recopies} times`);
        }
        const counted = { ...move, rowsVerified: move.rowsVerified + outcome.rows, recopies: 0 };
        return outcome.done ? entered(counted, 'settling') : { ...counted, cursor: outcome.cursor };
      });
    case 'erased':
      return erasedChunk(before, outcome, context);
    case 'owned':
      return sourceTold(before, outcome, context);
    case 'failed': {
      const { effect, shard, lost, reason } = outcome;
      const move = { ...before, lost };
      if (effect === 'write' && drains(move.phase))
        return move.givenUp
          ? { move: before, effects: [], report: undefined }
          : givenUp(before, { ...move, reason }, context);
      return turn(before, failed(move, effect, shard, reason), [], context);
    }
    default:
      return { move: before, effects: [], report: undefined };
  }
}

/**
 * Handles a command of the planner, or of an operator through it. One that is not allowed now changes nothing and is
 * answered with the reason.
 */
export function onSteer(
  before: Move,
  command: {
    readonly action: SteerAction;
    readonly epoch: Epoch;
    readonly rowsPerSecond: number;
    readonly reason: string;
  },
  context: MoveContext,
): Turn {
  const refuse = (why: string): Turn => ({
    move: before,
    effects: [],
    report: progressOf({ ...before, reason: `${command.action} refused: ${why}` }, context),
  });
  const accept = (move: Move, effects: readonly Effect[] = []): Turn => answered(move, effects, context);
  if (isFinished(before)) return refuse(`the move is ${before.phase}`);
  switch (command.action) {
    case 'PAUSE':
      return accept({ ...before, paused: true });
    case 'RESUME':
      return accept({ ...before, paused: false });
    case 'THROTTLE':
      return accept({ ...before, rowsPerSecond: Math.max(0, command.rowsPerSecond) });
    case 'ABORT': {
      if (isSwitched(before)) return refuse('the pointer has been switched');
      if (before.phase === 'shared') return refuse('readers ask both shards');
      if (before.phase === 'aborting') return accept(before);
      const why = command.reason === '' ? 'asked for' : command.reason;
      return accept(aborting(before, why));
    }
    case 'SWITCH':
    case 'SHARE':
    case 'UNSHARE': {
      const { from: needed, to: next } = POINTED[command.action];
      if (before.phase === next || (next === 'switched' && isSwitched(before))) return accept(before); // A repeated command.
      if (!needed.some((phase) => phase === before.phase))
        return refuse(`the move is ${before.phase}, not ${needed.join(' or ')}`);
      if (command.epoch <= before.epoch) return refuse(`epoch ${command.epoch} is not above ${before.epoch}`);
      if (isRebuild(before) && command.action !== 'SWITCH') return refuse(`${before.from} has lost its data`);
      const back = command.action === 'UNSHARE' ? { from: before.to, to: before.from } : {}; // M7
      const move = entered({ ...before, ...back, epoch: command.epoch }, next);
      if (isRebuild(move)) {
        const given: Move = { ...move, givenUp: true };
        const left = leftBy(given, moved(given).owner, `${given.from} has lost its data`);
        return { ...accept(given, [owned(given), moved(given)]), left };
      }
      if (next === 'shared' || context.wallTime === undefined) return accept(move, [owned(move)]);
      const leased: Move = { ...move, leasedUntil: context.wallTime + LEASE_MS, awaiting: 'own' };
      return accept(leased, [owned(leased), lease(leased)]);
    }
    case 'RETIRE': {
      if (before.phase === 'leaving' || before.phase === 'retiring') return accept(before); // A repeated command.
      if (before.phase !== 'switched' && before.phase !== 'draining')
        return refuse('the pointer has not been switched');
      const drained = before.phase === 'switched' ? entered(before, 'draining') : before;
      if (drained.givenUp) return accept(entered(drained, 'retired'));
      const move = leaving(drained);
      return accept(move, [moved(move)]);
    }
  }
}

/**
 * The task has started: nothing is under way any more, and owner records are written again, which changes nothing if
 * repeated.
 */
export function onRestart(before: Move, context: MoveContext): Turn {
  let move: Move = { ...before, awaiting: undefined, discard: false };
  if (move.phase === 'settling') move = entered(move, 'verifying');
  else if (move.phase === 'verifying')
    move = { ...move, cursor: undefined, recopying: false, rowsVerified: 0 }; // M6
  else if (move.phase === 'retiring')
    move = leaving({ ...move, bounded: true }); // M5
  else if (move.phase === 'leaving') move = leaving(move);
  const effects: Effect[] = [];
  if (move.phase === 'shared') effects.push(owned(move));
  else if (secondShardOf(move)?.shard === move.to) effects.push(receiving(move));
  else if (move.phase === 'switched' || move.phase === 'draining') effects.push(owned(move));
  else if (move.phase === 'leaving') effects.push(owned(move), moved(move));
  return turn(before, move, effects, context);
}

export function progressOf(move: Move, context: MoveContext): MoveProgress {
  return {
    kind: 'MoveProgress',
    moveId: move.id,
    slice: move.slice,
    from: move.from,
    to: move.to,
    state: stateOf(move),
    paused: move.paused,
    rowsCopied: move.rowsCopied,
    bytesCopied: move.bytesCopied,
    rowsVerified: move.rowsVerified,
    rowsErased: move.rowsErased,
    etaMs: etaMs(move, context),
    reason: move.reason,
  };
}

// ---- turns ---------------------------------------------------------------------------------------------------------

/** The result of a turn, with a report when one is due: at each new state, otherwise once a second while rows move. */
function turn(before: Move, move: Move, effects: readonly Effect[], context: MoveContext): Turn {
  const isNew = stateOf(move) !== move.told || move.reason !== before.reason;
  const isBusy = !move.paused && !RESTING.has(move.phase);
  if (!isNew && !(isBusy && move.sinceReportMs >= REPORT_MS)) return { move, effects, report: undefined };
  return answered(move, effects, context);
}

/**
 * A turn that is always reported, except for an aborting move that was reported as verified: that report must not come
 * again.
 */
function answered(move: Move, effects: readonly Effect[], context: MoveContext): Turn {
  if (move.phase === 'aborting' && move.told === 'VERIFIED') return { move, effects, report: undefined };
  const told = { ...move, sinceReportMs: 0, told: stateOf(move) };
  return { move: told, effects, report: progressOf(told, context) };
}

const stateOf = (move: Move): MoveState => (move.phase === 'aborting' ? move.told : STATE[move.phase]);

/** A turn that also requests the next chunk, when there is one and the budget allows it. */
function working(before: Move, move: Move, effects: readonly Effect[], context: MoveContext): Turn {
  if (move.awaiting !== undefined || move.paused || move.failing || move.waitMs > 0)
    return turn(before, move, effects, context);
  const limit = move.recopying ? move.chunkRows : limitOf(move, context.settings);
  const chunk = limit < 1 ? undefined : chunkOf(move, limit, context);
  if (chunk === undefined) return turn(before, move, effects, context);
  const isComparison = chunk.kind === 'compare' || chunk.kind === 'match';
  const isFirst = move.phase !== 'retiring' && !isComparison && move.cursor === undefined;
  const record = move.phase === 'aborting' ? stayed(move) : receiving(move);
  const asked: readonly Effect[] = isFirst && !move.recopying ? [record, chunk] : [chunk];
  return turn(before, { ...move, awaiting: chunk.kind, chunkRows: limit }, [...effects, ...asked], context);
}

/**
 * Row limit of the next chunk. Passages are read in advance and as a whole; rows beyond the budget are paid back later.
 */
function limitOf(move: Move, { chunkRowsMax, passageRowsMax, rebuildRowsPerSecond }: MoveSettings): number {
  const isPassage = isRebuild(move) && (move.phase === 'copying' || move.phase === 'verifying');
  if (!isPassage) return Math.min(chunkRowsMax, Math.floor(move.budgetRows));
  return move.budgetRows < 1 ? 0 : Math.min(passageRowsMax, move.rowsPerSecond || rebuildRowsPerSecond);
}

function chunkOf(move: Move, limit: number, context: MoveContext): (Effect & { readonly kind: ChunkKind }) | undefined {
  const { id, from, to, cursor, epoch } = move;
  const { range } = context;
  if (isRebuild(move) && (move.phase === 'copying' || move.phase === 'verifying')) {
    const passage = context.passage?.(move, cursor, limit);
    if (passage === undefined) return undefined;
    if (move.phase === 'copying' || move.recopying) return { kind: 'fill', move: id, to, passage };
    return { kind: 'match', move: id, to, range, passage };
  }
  switch (move.phase) {
    case 'provisioning':
      return {
        kind: 'erase',
        move: id,
        shard: to,
        range,
        limit,
        right: { state: 'receiving', epoch, ...turnOf(move) },
      };
    case 'aborting':
      return { kind: 'erase', move: id, shard: to, range, limit, right: { state: 'moved', epoch, ...turnOf(move) } };
    case 'copying':
      return { kind: 'copy', move: id, from, to, range, cursor, limit };
    case 'verifying':
      return { kind: move.recopying ? 'copy' : 'compare', move: id, from, to, range, cursor, limit };
    case 'retiring':
      return { kind: 'erase', move: id, shard: from, range, limit, right: { state: 'moved', epoch, ...turnOf(move) } };
    default:
      return undefined;
  }
}

/** A tick of a move whose source answers late readers, or is being told that it no longer does (M9). */
function draining(before: Move, ticked: Move, context: MoveContext): Turn {
  const { wallTime } = context;
  const move = ticked.phase === 'switched' ? entered(ticked, 'draining') : ticked;
  if (wallTime === undefined) return turn(before, move, [], context);
  if (move.failing) {
    const leasedUntil = move.leasedUntil ?? wallTime + LEASE_MS;
    if (move.lost) return givenUp(before, move, context); // M10.
    if (!isUnbounded(move) && wallTime > leasedUntil + CLOCK_SKEW_MS) return givenUp(before, move, context);
    return turn(before, retried({ ...move, leasedUntil }, context), [], context);
  }
  if (move.awaiting !== undefined || move.waitMs > 0) return turn(before, move, [], context);
  if (move.phase === 'leaving') return turn(before, { ...move, awaiting: 'own' }, [moved(move)], context);
  // Its earlier record is repeated: the source may have it, and gets no more time.
  const isAgain = move.failures > 0 && !isUnbounded(move);
  if (!isAgain && (move.leasedUntil ?? 0) - wallTime > LEASE_MS / 2) return turn(before, move, [], context);
  const leasedUntil = isAgain ? (move.leasedUntil ?? 0) : wallTime + LEASE_MS;
  const leased: Move = { ...move, leasedUntil, awaiting: 'own' };
  return turn(before, leased, [lease(leased)], context);
}

/**
 * The source has our record, or a later one; also for slices that stay with it, since a failed record ends the waiting.
 */
function sourceTold(
  before: Move,
  { shard, slice, state }: Extract<Outcome, { kind: 'owned' }>,
  context: MoveContext,
): Turn {
  const isAwaited = before.awaiting === 'own' && shard === before.from && slice === before.slice;
  if (!isAwaited || !drains(before.phase) || state === 'receiving')
    return { move: before, effects: [], report: undefined };
  const back = before.sourceAway ? { sourceAway: false, reason: `${shard} answers again` } : {};
  const bounded: Move = { ...before, ...back, bounded: true };
  if (before.phase === 'leaving' && state !== 'moved') return turn(before, bounded, [], context);
  const move: Move = { ...bounded, awaiting: undefined, discard: false, failing: false, failures: 0 };
  if (move.phase !== 'leaving') return turn(before, move, [], context);
  return working(before, entered(move, 'retiring'), [], context); // M5
}

/** Nothing more is asked of the shard that the slice is not on: left.ts does the rest once it answers. */
function givenUp(before: Move, failing: Move, context: MoveContext): Turn {
  const isTarget = failing.phase === 'aborting';
  const shard = isTarget ? failing.to : failing.from;
  const why = isTarget
    ? `${failing.reason}; rows may be left at ${shard}`
    : `the move no longer waits for ${shard}: ${failing.reason}`;
  const freed: Move = { ...failing, failing: false, failures: 0, waitMs: 0, awaiting: undefined, discard: false };
  const move: Move = { ...freed, givenUp: true, reason: why };
  const isLast = move.phase !== 'switched' && move.phase !== 'draining';
  const over = isLast ? entered(move, isTarget ? 'aborted' : 'retired') : move;
  const { owner } = isTarget ? stayed(entered(freed, 'aborted')) : moved(move);
  return { ...turn(before, over, [], context), left: { ...leftBy(move, owner, failing.reason), shard } };
}

/** The last record for the source (M8). */
function leftBy({ from: shard, turn }: Move, owner: OwnerRecord, reason: string): Left {
  return { shard, owner: turn === undefined ? owner : { ...owner, turn: turn + TURNS - 1 }, reason };
}

/** Handles the outcome of the chunk under way and requests the next one. */
function chunkDone(
  before: Move,
  kind: ChunkKind,
  rows: number,
  context: MoveContext,
  then: (move: Move) => Move,
): Turn {
  if (before.awaiting !== kind) return { move: before, effects: [], report: undefined };
  const spent = Math.max(1, rows); // An empty chunk costs too, so that a cycle ends.
  const freed: Move = { ...before, awaiting: undefined, discard: false, budgetRows: before.budgetRows - spent };
  if (before.discard || before.failing) return working(before, freed, [], context);
  return working(before, then({ ...freed, failures: 0, sourceAway: false }), [], context);
}

function erasedChunk(
  before: Move,
  { rows, done, refused }: Extract<Outcome, { kind: 'erased' }>,
  context: MoveContext,
): Turn {
  return chunkDone(before, 'erase', rows, context, (move) => {
    if (move.phase === 'provisioning') {
      const reason = `${move.to} has another owner record for the slice`;
      if (refused) return { ...move, failures: before.failures, failing: true, reason };
      return done ? entered(move, 'copying') : move; // M2
    }
    if (move.phase !== 'retiring' && move.phase !== 'aborting') return move;
    const counted = { ...move, rowsErased: move.rowsErased + rows };
    return done ? entered(counted, move.phase === 'retiring' ? 'retired' : 'aborted') : counted;
  });
}

/** An effect failed. After a lost write to the target the copy is no longer complete: it is restarted. */
function failed(move: Move, effect: Effect['kind'], shard: ShardId, what: string): Move {
  const isLate = shard === move.from && isUnbounded(move);
  const isSource = isLate || (shard === move.from && (move.phase === 'copying' || move.phase === 'verifying'));
  const orAbort = isLate ? '' : ', or for somebody to abort it';
  const reason = isSource ? `waits for ${shard}${orAbort}: ${what}` : what;
  const freed = move.awaiting === effect ? { ...move, awaiting: undefined, discard: false } : move;
  if (effect === 'write') {
    if (move.phase === 'copying')
      return { ...freed, failing: true, cursor: undefined, discard: freed.awaiting !== undefined, reason };
    if (move.phase === 'verifying' || move.phase === 'settling')
      return { ...entered(freed, 'copying'), failing: true, reason };
    return freed;
  }
  if (effect === 'own') {
    if (move.phase === 'copying')
      return { ...freed, failing: true, cursor: undefined, discard: freed.awaiting !== undefined, reason };
    const isEmptying = move.phase === 'provisioning' || move.phase === 'aborting';
    const isAwaited = isEmptying || (drains(move.phase) && move.awaiting === 'own');
    return isAwaited ? { ...freed, failing: true, reason, sourceAway: isLate } : freed;
  }
  if (move.awaiting !== effect || move.discard) return freed;
  return { ...freed, failing: true, reason, sourceAway: isSource };
}

/** At a tick, decides about failures since the last one: wait and retry, or give up while that is possible. */
function retried(move: Move, context: MoveContext): Move {
  const failures = move.failures + 1;
  const isRestart = move.phase === 'copying' && move.cursor === undefined && !move.sourceAway;
  const restarts = isRestart ? move.restarts + 1 : move.restarts;
  const waitMs = Math.min(BACKOFF_MS_MAX, FIRST_BACKOFF_MS * 2 ** Math.min(failures - 1, 10));
  const again = { ...move, failing: false, failures, restarts, waitMs };
  if (Math.max(failures, restarts) <= context.settings.failuresMax || !canAbort(move)) return again;
  if (move.sourceAway) return again; // M10
  return aborting(again, `aborted after ${Math.max(failures, restarts)} failures: ${move.reason}`);
}

/** Enters the next phase; throws when NEXT does not allow it. */
function entered(move: Move, phase: Phase): Move {
  assert(NEXT[move.phase].includes(phase), `move ${move.id} cannot go from ${move.phase} to ${phase}`);
  return {
    ...move,
    phase,
    cursor: undefined,
    discard: move.awaiting !== undefined,
    recopying: false,
    recopies: 0,
    failures: 0,
    rowsVerified: phase === 'verifying' ? 0 : move.rowsVerified,
  };
}

/** The source is about to get its `moved` record (M5). */
const leaving = (move: Move): Move => ({
  ...(move.phase === 'leaving' ? move : entered(move, 'leaving')),
  awaiting: 'own',
  discard: false,
  failing: false,
  waitMs: 0,
});

const aborting = (move: Move, reason: string): Move => ({
  ...entered(move, 'aborting'),
  paused: false,
  failing: false,
  waitMs: 0,
  reason,
});

const rateOf = (move: Move, context: MoveContext): number =>
  move.rowsPerSecond || (isRebuild(move) ? context.settings.rebuildRowsPerSecond : context.settings.copyRowsPerSecond);

/** Rows still to be copied, compared or erased, divided by the rate; -1 while the slice has not been counted. */
function etaMs(move: Move, context: MoveContext): number {
  if (isFinished(move) || RESTING.has(move.phase)) return 0;
  if (context.entries < 0) return -1;
  const left = (of: number): number => Math.max(0, context.entries - of);
  const rows =
    move.phase === 'retiring' || move.phase === 'aborting'
      ? left(move.rowsErased)
      : left(move.rowsVerified) + (stateOf(move) === 'VERIFYING' ? 0 : left(move.rowsCopied));
  return Math.round((rows / rateOf(move, context)) * 1_000);
}
