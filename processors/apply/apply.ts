// Apply: carries out the planner's commands, and keeps every subscription in the shard of its slice. One task is the
// only writer of its partition's slices, and does everything in one order: routing an event, copying a chunk and
// switching a pointer can never race.
//
//   A1. Shards exist and are owned before the first write: `provision` and `own` are the first effects of a task.
//   A2. Every effect may be performed again after a crash: writes are ordered by version, the rest by owner records and
//       cursors.
//   A3. No input throws: what cannot be done is reported in `progress`, with the reason.

import { assert } from '../../schemas/errors.ts';
import type { Command, SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import { fallbacksOf, flag, integer, type ValuesOf, valuesOf } from '../../schemas/setting.ts';
import type { Outcome } from '../../state/effects.ts';
import { placeOf } from '../../state/keys.ts';
import {
  type Input,
  NEEDS_NOTHING,
  type Needs,
  NOTHING,
  type OnDisk,
  type Page,
  type Rows,
  type Tick,
} from '../step.ts';
import {
  type AwaySettings,
  keysOfUnwritten,
  onAwayTick,
  onDrained,
  onUnwritten,
  pageOfDrained,
  pagesOfTick,
} from './away.ts';
import { CHECK_SETTINGS, type CheckSettings, onChecked, onCheckTick, onMended, pagesOfCheck } from './check.ts';
import { aheadNoMore, type CommandSettings, carryOn, contextOf, moveOf, onCommand } from './commands.ts';
import { type EndedSettings, onEndedTick, pagesOfEnded } from './ended.ts';
import { beginLife, FILL_SETTINGS, keysOfFill, onFillTick, onRead, pagesOfFill } from './fill.ts';
import { isOfLeft, onLeft, onLeftTick } from './left.ts';
import { isRebuild, MOVE_DEFAULTS, MOVE_SETTINGS, type Move, onOutcome, onRestart, onTick } from './move.ts';
import { effect, type Kept, type Out, tell } from './out.ts';
import { COUNTS, LIFE, PartitionState, partitionStates, type Row, storePartitionState } from './partition-state.ts';
import { elapsedSince, pagesOfRebuilds, passagesOf } from './passages.ts';
import { routeEvent, routeEvents } from './route.ts';
import {
  askedAgain,
  firstShards,
  onProvisioned,
  onReleased,
  releasedAgain,
  type ShardSettings,
  shardsAgain,
} from './shards.ts';
import { type KeptRow, subscriptionKey, subscriptionTable } from './subscriptions.ts';

export { partitionStates, type Row };

export interface ApplySettings extends CommandSettings, ShardSettings, AwaySettings, CheckSettings, EndedSettings {
  readonly partitions: number;
  /** Incarnation of the subscriptions topic: the operator raises it when that topic is created anew. */
  readonly incarnation: number;
  /** Most slices counted at one tick: each count may scan the slice. */
  readonly countsPerTick: number;
}

export const APPLY_SETTINGS = {
  ...MOVE_SETTINGS,
  ...CHECK_SETTINGS,
  ...FILL_SETTINGS,
  subscriptionTable: flag(
    true,
    'Keep every subscription in the compacted topic subscription-table too, from which a lost shard is rebuilt. Without it a shard’s store is the only copy of its subscriptions, and the order of a client’s sessions is not considered.',
  ),
  spillRowsMax: integer(
    100_000,
    { min: 0, max: 100_000_000, unit: 'rows' },
    'Most writes to a shard that does not answer that each partition keeps on disk until the shard is back, so that the partition’s other slices continue; 0: the partition waits.',
  ),
  incarnation: integer(
    0,
    { min: 0, max: 1_000_000, unit: '' },
    'Raise by one after the subscriptions topic has been recreated, since its offsets then start again.',
  ),
};

/** The settings, except those that depend on the deployment. */
export const APPLY_DEFAULTS: Omit<ApplySettings, 'partitions' | 'incarnation' | 'genesis'> = {
  ...MOVE_DEFAULTS,
  ...fallbacksOf(CHECK_SETTINGS),
  ...fallbacksOf(FILL_SETTINGS),
  subscriptionTable: true,
  spillRowsMax: 100_000,
  tombstoneMs: 86_400_000,
  checkPageRows: 2_000, // About 10 ms.
  provisionTriesMax: 25, // Five seconds of ticks.
  commandsKept: 4_096, // At ten commands a second, almost seven minutes.
  finishedMovesKept: 64,
  countsPerTick: 2,
};

/** The stage's settings, from what was configured and the properties of the fleet. */
export function applySettings(
  given: ValuesOf<typeof APPLY_SETTINGS>,
  fleet: Pick<ApplySettings, 'partitions' | 'genesis'> & Partial<Pick<ApplySettings, 'tombstoneMs'>>,
): ApplySettings {
  return { ...APPLY_DEFAULTS, ...valuesOf(APPLY_SETTINGS, given), ...fleet };
}

/**
 * Writes after which a slice is counted again: a quarter of its rows, so that counting reads only a few rows for each
 * write.
 */
const COUNT_SHARE = 0.25;
const COUNT_WRITES_MIN = 1_000;
/** Most rows read by one effect, about 40 ms: a large slice is counted over many ticks, with writes in between. */
const COUNT_ROWS_MAX = 20_000;
/** A new size is reported to the planner when it differs by a tenth from the last reported one. */
const TELL_SHARE = 0.1;
type In =
  | Input<'subscriptions', SubscriptionEvent>
  | Input<'wildcard-subscriptions', WildcardEvents>
  | Input<'commands', Command>
  | Input<'outcomes', Outcome>
  | Input<'clock', Tick>;

/** `kept`: the subscription table, where there is one. */
export function carryOut(settings: ApplySettings): (rows: Rows<Row>, input: In, kept?: Kept) => readonly Out[] {
  return (rows, input, kept) => {
    const row = rows.get(LIFE);
    if (row?.kind === 'life' && row.awake) return handle(rows, row, input, settings, kept);
    const state = row?.kind === 'life' ? row : PartitionState.first(settings.partitions, input.partition);
    state.begin(rows.starts ?? 0);
    const first = row === undefined ? born(rows, state, settings, kept) : started(rows, state, settings, kept);
    return [...first, ...handle(rows, state, input, settings, kept)];
  };
}

/** The subscription table, and the rows of it that an input needs. */
export const subscriptionsOnDisk = (settings: ApplySettings): OnDisk<Row, In, KeptRow> => ({
  table: subscriptionTable,
  needs(rows, input) {
    switch (input.topic) {
      case 'subscriptions': {
        const { topicFilter, clientId } = input.value;
        const place = placeOf(topicFilter);
        return place.trie ? NEEDS_NOTHING : { keys: [subscriptionKey(topicFilter, clientId, place)] };
      }
      case 'wildcard-subscriptions':
        return { keys: input.value.events.map((event) => subscriptionKey(event.topicFilter, event.clientId)) };
      case 'outcomes':
      case 'clock':
        return needsOf(rows, input, settings);
      default:
        return NEEDS_NOTHING;
    }
  },
});

function needsOf(
  rows: Rows<Row>,
  input: Extract<In, { readonly topic: 'clock' | 'outcomes' }>,
  settings: ApplySettings,
): Needs {
  const state = rows.get(LIFE);
  if (state?.kind !== 'life' || !state.awake) return NEEDS_NOTHING;
  const pages: Page[] = [];
  const keys: string[] = [];
  if (input.topic === 'clock') {
    pages.push(...pagesOfCheck(state), ...pagesOfFill(state, settings), ...pagesOfEnded(state));
    if (state.away.size > 0) pages.push(...pagesOfTick(state, elapsedSince(state, input.value)));
    if (state.active.size > 0) pages.push(...pagesOfRebuilds(rows, state, { tick: input.value }, settings));
  } else {
    const outcome = input.value;
    if (outcome.kind === 'read') return { keys: keysOfFill(outcome) };
    if (outcome.kind === 'unwritten') keys.push(...keysOfUnwritten(outcome));
    if (outcome.kind === 'written' && outcome.isDrain) pages.push(...pageOfDrained(state, outcome.shard));
    if (state.active.size > 0) pages.push(...pagesOfRebuilds(rows, state, { outcome }, settings));
  }
  return pages.length + keys.length === 0 ? NEEDS_NOTHING : { keys, pages };
}

function handle(
  rows: Rows<Row>,
  state: PartitionState,
  input: In,
  settings: ApplySettings,
  kept: Kept,
): readonly Out[] {
  switch (input.topic) {
    case 'subscriptions':
      return routeEvent({ rows, state, settings, kept }, input.value, input.offset);
    case 'wildcard-subscriptions':
      return routeEvents({ rows, state, settings, kept }, input.value);
    case 'commands':
      return onCommand(rows, state, input.value, input.offset, settings);
    case 'outcomes':
      return heard(rows, state, input.value, settings, kept);
    case 'clock':
      return ticked(rows, state, input.value, settings, kept);
  }
}

/** The first input ever: the partition's slices are placed as genesis says. */
function born(rows: Rows<Row>, state: PartitionState, settings: ApplySettings, kept: Kept): Out[] {
  state.awake = true;
  state.tableIsWhole = kept !== undefined;
  state.tableMisses = kept === undefined;
  storePartitionState(rows, state);
  const out = firstShards(rows, state, settings);
  for (const [slice, { shard, epoch }] of state.homes)
    out.push(effect({ kind: 'own', shard, owner: { slice, state: 'owned', epoch } }));
  return [...out, ...tableTold(state, kept !== undefined)]; // A1
}

/** The first input after a start: shards are opened again and moves continue. */
function started(rows: Rows<Row>, state: PartitionState, settings: ApplySettings, kept: Kept): Out[] {
  const moves = state.wake(rows);
  const missesEvents = kept === undefined && !state.tableMisses;
  const beginsAnew = kept !== undefined && state.tableMisses;
  if (beginsAnew) beginLife(state);
  if (missesEvents) {
    state.tableMisses = true;
    state.tableIsWhole = false;
  }
  const out: Out[] = [];
  for (const move of moves) {
    const home = state.homes.get(move.slice);
    if (home !== undefined) home.moving = move.id;
    const turn = onRestart({ ...move, turn: state.nextTurn() }, contextOf(state, move.slice, settings));
    out.push(...carryOn(rows, state, move, turn, settings));
  }
  if (moves.length > 0 || missesEvents || beginsAnew) storePartitionState(rows, state);
  return [...shardsAgain(rows, state, settings), ...out, ...tableTold(state, kept !== undefined || missesEvents)];
}

/** Reports whether the table is complete: the planner rebuilds a shard only if the table can fill it. */
function tableTold(state: PartitionState, isNews: boolean): Out[] {
  const { partition, tableIsWhole: whole } = state;
  return isNews ? [tell(state, `table/${partition}`, { kind: 'TableProgress', partition, whole })] : [];
}

function heard(
  rows: Rows<Row>,
  state: PartitionState,
  outcome: Outcome,
  settings: ApplySettings,
  kept: Kept,
): readonly Out[] {
  switch (outcome.kind) {
    case 'provisioned':
      return onProvisioned(rows, state, outcome, settings);
    case 'released':
      return onReleased(rows, state, outcome);
    case 'written': {
      const row = rows.get(COUNTS);
      const before = row?.kind === 'counts' ? row : { kind: 'counts' as const, applied: 0, stale: 0 };
      rows.set(COUNTS, {
        ...before,
        applied: before.applied + outcome.applied,
        stale: before.stale + outcome.stale,
        foreign: (before.foreign ?? 0) + (outcome.foreign ?? 0),
      });
      return outcome.isDrain && kept !== undefined ? onDrained(rows, state, kept, outcome.shard) : NOTHING;
    }
    case 'unwritten':
      assert(kept !== undefined, 'only where the table is kept is a write given up');
      return onUnwritten(rows, state, kept, outcome, settings);
    case 'counted':
      return counted(state, outcome);
    case 'checked':
      return onChecked(rows, state, outcome);
    case 'mended':
      return onMended(state, outcome);
    case 'read':
      return onRead(rows, state, outcome, settings, kept);
    default: {
      if (isOfLeft(state, outcome.move)) return onLeft(rows, state, outcome);
      const move = moveOf(rows, outcome.move);
      if (move === undefined) return NOTHING;
      const context = contextOf(state, move.slice, settings, passagesOf(state, kept));
      const turn = onOutcome(move, unlessWaiting(state, outcome, move), context);
      return carryOn(rows, state, move, turn, settings);
    }
  }
}

function ticked(
  rows: Rows<Row>,
  state: PartitionState,
  tick: Tick,
  settings: ApplySettings,
  kept: Kept,
): readonly Out[] {
  const elapsedMs = elapsedSince(state, tick);
  const isFirst = state.wallTime === undefined;
  state.wallTime = tick.wallTime;
  state.eventTime = tick.eventTime as PartitionState['eventTime'];
  state.pointerEpoch = tick.pointerEpoch;
  const checks = onCheckTick(rows, state, elapsedMs, settings, kept); // First: it looks at what was read for it.
  const out = [
    ...checks,
    ...onEndedTick(state, elapsedMs, settings, kept),
    ...onFillTick(rows, state, elapsedMs, settings, kept),
    ...askedAgain(state, elapsedMs),
    ...releasedAgain(state, elapsedMs),
    ...aheadNoMore(rows, state, settings),
  ];
  out.push(...onLeftTick(rows, state, elapsedMs));
  if (kept !== undefined && !isFirst) out.push(...onAwayTick(rows, state, kept, elapsedMs));
  const passages = passagesOf(state, kept);
  for (const id of [...state.active]) {
    const move = moveOf(rows, id);
    if (move === undefined) continue;
    const context = contextOf(state, move.slice, settings, passages);
    out.push(...carryOn(rows, state, move, onTick(move, elapsedMs, context), settings));
  }
  let left = settings.countsPerTick;
  for (const slice of state.toCount) {
    if (left-- === 0) break;
    state.toCount.delete(slice);
    const home = state.homeOf(slice);
    if (state.away.has(home.shard)) continue;
    home.writesLeft = COUNT_WRITES_MIN; // If the count fails, it is requested again after this many writes.
    const from = home.counting === undefined ? {} : { from: home.counting.rest };
    out.push(effect({ kind: 'count', shard: home.shard, range: state.rangeOf(slice), ...from, limit: COUNT_ROWS_MAX }));
  }
  return out;
}

/**
 * Differing rows are no reason to abort a move while writes for the source are still waiting on disk: the move waits
 * too. A rebuild is not compared with its source.
 */
function unlessWaiting(state: PartitionState, outcome: Outcome, move: Move): Outcome {
  const { from } = move;
  if (outcome.kind !== 'compared' || outcome.equal || isRebuild(move) || !state.away.has(from)) return outcome;
  const reason = `compare on ${from}: it has yet to write what waits for it`;
  return { kind: 'failed', move: outcome.move, effect: 'compare', shard: from, lost: false, reason };
}

function counted(state: PartitionState, outcome: Extract<Outcome, { kind: 'counted' }>): readonly Out[] {
  const { slice, rest } = outcome;
  const home = state.homes.get(slice);
  if (home === undefined) return NOTHING; // The slice was merged or split meanwhile.
  const entries = outcome.entries + (home.counting?.entries ?? 0);
  const bytes = outcome.bytes + (home.counting?.bytes ?? 0);
  home.counting = rest === undefined ? undefined : { entries, bytes, rest };
  if (rest !== undefined) {
    state.toCount.add(slice);
    return NOTHING;
  }
  home.entries = entries;
  home.bytes = bytes;
  home.writesLeft = Math.max(COUNT_WRITES_MIN, Math.ceil(entries * COUNT_SHARE));
  const isNews = home.entriesTold < 0 || Math.abs(entries - home.entriesTold) > home.entriesTold * TELL_SHARE;
  if (!isNews) return NOTHING;
  home.entriesTold = entries;
  return [tell(state, slice, { kind: 'SliceEntries', slice, entries, bytes })];
}
