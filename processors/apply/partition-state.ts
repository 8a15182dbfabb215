// Partition state: what one apply task stores, as the rows of its table, and the indexes that it keeps beside them in
// memory.
//
//   L1. A row for each slice says where it is; `storePartitionState` writes changed ones. A pin's key may have
//       64 KiB, so one row for all slices could become larger than the largest record of a log.
//   L2. What is not stored (indexes, sizes, the time of the last tick) is rebuilt or measured again after a start.
//
// A mutable index with a pure face: the hot path finds a slice and its shards without allocating. Only the task that
// owns the partition uses it.

import { assert } from '../../schemas/errors.ts';
import {
  type Epoch,
  type EventTime,
  eventTime,
  type MoveId,
  type Partition,
  type ShardId,
  type SliceKey,
} from '../../schemas/ids.ts';
import type { Command } from '../../schemas/records.ts';
import type { Cursor, OwnerRecord, SliceRange } from '../../state/effects.ts';
import type { Writer } from '../../state/fence.ts';
import { FIRST_EPOCH, firstShardOf } from '../../state/genesis.ts';
import { groupSlice, hashSlice, partitionOf } from '../../state/keys.ts';
import { SliceTree } from '../../state/slice-tree.ts';
import type { Rows, Table } from '../step.ts';
import type { Checking, CheckRow, EndedPass, PassRow } from './check-state.ts';
import type { Filled, Filling } from './fill-state.ts';
import { isFinished, type Move, type Second, secondShardOf } from './move.ts';
import { TURNS } from './move-records.ts';

/** A shard that this task provisions and reports about. */
export interface ShardWork {
  readonly kind: 'shard';
  readonly shard: ShardId;
  readonly datastoreType: string;
  readonly state: 'allocating' | 'resizing' | 'releasing' | 'ready' | 'failed';
  readonly sinceWallMs: number;
  readonly failures: number;
  readonly instanceId: string;
  readonly address: string;
}

/** A command that was carried out; kept while a repetition of it may still come. */
export interface Done {
  readonly kind: 'command';
  readonly offset: number;
  /** Hash of its body: ids can be guessed. Absent in a row of an earlier release. */
  readonly body?: number;
}

/** Results of this task's writes: applied + stale + foreign = all rows written. */
export interface Counts {
  readonly kind: 'counts';
  readonly applied: number;
  readonly stale: number;
  /** Absent in rows of an earlier release. */
  readonly foreign?: number;
}

/** The planner whose commands are accepted (state/fence.ts). */
export interface Fence extends Writer {
  readonly kind: 'fence';
}

/** A command that waits until the pointer table reaches its epoch. */
export interface Ahead {
  readonly kind: 'ahead';
  readonly command: Command;
  /** Offset in the commands topic, whose order is kept. Absent in a row of an earlier release. */
  readonly offset?: number;
  readonly sinceWallMs: number;
}

/** Where a slice is (L1). */
export interface SliceRow {
  readonly kind: 'slice';
  readonly slice: SliceKey;
  readonly shard: ShardId;
  readonly epoch: Epoch;
  /** Absent where nothing has been filled. */
  readonly filled?: Filled;
}

/** The record that a shard which did not answer has yet to get about a slice, before its rows are erased (left.ts). */
export interface LeftRow {
  readonly kind: 'left';
  readonly shard: ShardId;
  readonly owner: OwnerRecord;
}

/** What waits on disk for a shard that cannot be reached (away.ts). */
export interface SpillRow {
  readonly kind: 'spill';
  readonly shard: ShardId;
  /** An upper bound: a later row of a subscription replaces an earlier one. */
  readonly rows: number;
  /** Number of rows that did not fit, for a shard that has lost its data. */
  readonly dropped: number;
  readonly isLost: boolean;
  readonly sinceWallMs: number;
}

/** When a shard that does not answer is asked again. */
export interface Pending {
  readonly waitMs: number;
  readonly failures: number;
  /** The rows that it has been asked to write, and those of them that a newer row has replaced since. */
  readonly keys: readonly string[] | undefined;
  readonly renewed?: Set<string>;
  /** True when it has written some of the waiting rows. */
  readonly answers: boolean;
}

export type Row =
  | PartitionState
  | SliceRow
  | Move
  | ShardWork
  | Done
  | Counts
  | Fence
  | Ahead
  | LeftRow
  | SpillRow
  | CheckRow
  | PassRow;

export const LIFE = 'life';
export const COUNTS = 'counts';
export const FENCE = 'fence';
export const sliceRow = (slice: SliceKey): string => `slice/${slice}`;
export const moveRow = (id: MoveId): string => `move/${id}`;
export const shardRow = (id: ShardId): string => `shard/${id}`;
export const aheadRow = (command: string): string => `ahead/${command}`;
export const leftRow = (shard: ShardId, slice: SliceKey): string => `left/${shard}/${slice}`;
export const spillRow = (shard: ShardId): string => `spill/${shard}`;
export const commandRow = (id: string): string => `command/${id}`;

/** Progress of the requests for a row of `left`. */
export interface Asking {
  readonly waitMs: number;
  readonly failures: number;
  readonly isAsked: boolean;
  /** True when it has answered a request. */
  readonly answers: boolean;
}

export const NEVER_ASKED: Asking = { waitMs: 0, failures: 0, isAsked: false, answers: false };

export interface Wanted {
  readonly datastoreType: string;
  readonly resize: boolean;
  /** True while it has never been ready. Once it was ready, it is not created again (shards.ts P5). */
  readonly create: boolean;
  /** Its instance when it was ready; '' when this task was not told. */
  readonly instanceId: string;
}

/** Where a slice is, and what the hot path needs to know of it. */
export interface SlicePlacement {
  shard: ShardId;
  epoch: Epoch;
  moving: MoveId | undefined;
  /** The shard that also gets each event while the slice moves. */
  second: Second | undefined;
  /** Live rows and their bytes when last counted; -1 while unknown. */
  entries: number;
  bytes: number;
  /** The number last reported to the planner; -1 before the first report. */
  entriesTold: number;
  /** Writes until the slice is counted again. */
  writesLeft: number;
  /** How much of it the subscription table has, where that was not kept from the first event on. */
  filled: Filled | undefined;
  /** The result so far of a count under way, and where it continues. */
  counting: { readonly entries: number; readonly bytes: number; readonly rest: Cursor } | undefined;
}

/** Far more than the moves of one start need. */
const TURNS_PER_START = 2 ** 24;

export class PartitionState {
  readonly kind = 'life';
  readonly partitions: number;
  readonly partition: Partition;
  readonly tree: SliceTree;
  readonly homes = new Map<SliceKey, SlicePlacement>();
  /** Finished moves whose rows are kept to answer late steering, oldest first. */
  readonly finished: MoveId[] = [];
  /** The last turn that was given to a move. */
  turn = 0;
  /**
   * True when the subscription table has every subscription of the partition: it was kept from the first event on, or
   * filled since.
   */
  tableIsWhole = false;
  /** True when it has missed events because it was not kept. */
  tableMisses = false;
  /** How many times it had missed events and began a new life (fill.ts F6). */
  tableLife = 0;
  /** True when it has no row of an earlier life. */
  tableIsClear = true;

  // Not stored (L2).
  awake = false;
  eventTime: EventTime = eventTime(0);
  wallTime: number | undefined;
  readonly active = new Set<MoveId>();
  readonly commandOrder: string[] = [];
  /** Shards that are requested at each tick until they are ready. */
  readonly unready = new Map<ShardId, Wanted>();
  /** Shards to be released: time until their stores are asked again. */
  readonly releasing = new Map<ShardId, number>();
  readonly toCount = new Set<SliceKey>();
  /**
   * Epoch of the pointer table when last told; `undefined` when nobody tells it, or no tick has come since the start.
   */
  pointerEpoch: number | undefined;
  /** Keys of commands that wait for it, oldest first. */
  readonly ahead = new Set<string>();
  /** By key of their row: shards that have yet to be told where a slice is. */
  readonly left = new Map<string, Asking>();
  /** Shards that cannot be reached and have rows waiting. */
  readonly away = new Map<ShardId, SpillRow>();
  /** When those are asked again, and which rows they were asked to write. */
  readonly asking = new Map<ShardId, Pending>();
  /** Keys of requested checks, in their order; the first one is under way in `asked`. */
  readonly checks: string[] = [];
  asked: Checking | undefined;
  filling: Filling | undefined;
  ended: EndedPass | undefined;
  continuous: Checking | undefined;
  /**
   * By the host's clock: when checks may begin, and until when a shard that did not answer is not asked to be checked.
   */
  checksFrom: number | undefined;
  readonly shardsAway = new Map<ShardId, number>();
  /** Slices that were added, removed or placed elsewhere since `storePartitionState`. */
  readonly changed = new Set<SliceKey>();
  readonly #ranges = new Map<SliceKey, SliceRange>();

  constructor(partitions: number, partition: Partition) {
    this.partitions = partitions;
    this.partition = partition;
    this.tree = new SliceTree(partitions);
  }

  static first(partitions: number, partition: Partition): PartitionState {
    const state = new PartitionState(partitions, partition);
    for (const slice of [hashSlice(partition), groupSlice(partition)])
      state.add(slice, firstShardOf(slice), FIRST_EPOCH);
    return state;
  }

  add(slice: SliceKey, shard: ShardId, epoch: Epoch): void {
    this.tree.add(slice);
    this.homes.set(slice, homeOf(shard, epoch));
    this.changed.add(slice);
    this.#ranges.clear();
    this.toCount.add(slice);
  }

  /** The first turn of a move that begins, or continues after a start (move.ts M8). */
  nextTurn(): number {
    const turn = this.turn + 1;
    this.turn += TURNS;
    return turn;
  }

  /** Makes turns from now on later than those of any earlier start, committed or not (move.ts M8). */
  begin(starts: number): void {
    this.turn = Math.max(this.turn, starts * TURNS_PER_START);
  }

  /** The slice is on that shard from that epoch on. */
  rehome(slice: SliceKey, shard: ShardId, epoch: Epoch): void {
    const home = this.homeOf(slice);
    if (home.shard !== shard) home.counting = undefined;
    home.shard = shard;
    home.epoch = epoch;
    this.changed.add(slice);
  }

  remove(slice: SliceKey): void {
    this.tree.remove(slice);
    this.homes.delete(slice);
    this.changed.add(slice);
    this.#ranges.clear();
    this.toCount.delete(slice);
  }

  /** Counts the slice from the beginning: it has other rows now, or is on another shard. */
  countAnew(slice: SliceKey): void {
    this.homeOf(slice).counting = undefined;
    this.toCount.add(slice);
  }

  homeOf(slice: SliceKey | undefined): SlicePlacement {
    const home = slice === undefined ? undefined : this.homes.get(slice);
    assert(home !== undefined, `slice ${slice} of partition ${this.partition} has no home`);
    return home;
  }

  /** The slice less those carved out of it. Cached until a slice is split or merged: computing it reads every slice. */
  rangeOf(slice: SliceKey): SliceRange {
    let range = this.#ranges.get(slice);
    if (range === undefined) {
      range = { slice, except: this.tree.carvedOutOf(slice) };
      this.#ranges.set(slice, range);
    }
    return range;
  }

  uses(shard: ShardId): boolean {
    for (const home of this.homes.values()) if (home.shard === shard || home.second?.shard === shard) return true;
    return false;
  }

  /** Follows a move's new state: where its slice is, and where its events go. Returns finished moves to forget. */
  follow(move: Move, finishedMax: number): MoveId[] {
    const home = this.homes.get(move.slice);
    if (home !== undefined) {
      home.second = secondShardOf(move);
      home.moving = isFinished(move) ? undefined : move.id;
    }
    if (!isFinished(move)) {
      this.active.add(move.id);
      return [];
    }
    if (this.active.delete(move.id)) this.finished.push(move.id);
    return this.finished.splice(0, Math.max(0, this.finished.length - finishedMax));
  }

  /** Rebuilds from the other rows what is not stored. */
  wake(rows: Rows<Row>): Move[] {
    const moves: Move[] = [];
    const commands: [id: string, offset: number][] = [];
    const ahead: typeof commands = [];
    const checks: typeof commands = [];
    for (const [key, row] of rows.entries()) {
      if (row.kind === 'command') commands.push([key, row.offset]);
      else if (row.kind === 'slice') this.#load(row);
      else if (row.kind === 'move' && !isFinished(row)) moves.push(row);
      else if (row.kind === 'ahead') ahead.push([key, row.offset ?? 0]);
      else if (row.kind === 'left') this.left.set(key, NEVER_ASKED);
      else if (row.kind === 'spill') this.away.set(row.shard, row);
      else if (row.kind === 'check') checks.push([key, row.offset]);
    }
    commands.sort((a, b) => a[1] - b[1]);
    for (const [key] of ahead.sort((a, b) => a[1] - b[1])) this.ahead.add(key);
    for (const [key] of checks.sort((a, b) => a[1] - b[1])) this.checks.push(key);
    this.commandOrder.push(...commands.map(([key]) => key));
    this.awake = true;
    return moves.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #load({ slice, shard, epoch, filled }: SliceRow): void {
    this.add(slice, shard, epoch);
    this.homeOf(slice).filled = filled;
    this.changed.delete(slice);
  }
}

/** Writes what has changed of the state (L1). */
export function storePartitionState(rows: Rows<Row>, state: PartitionState): void {
  rows.set(LIFE, state);
  for (const slice of state.changed) {
    const home = state.homes.get(slice);
    if (home === undefined) rows.delete(sliceRow(slice));
    else {
      const { shard, epoch, filled } = home;
      rows.set(sliceRow(slice), { kind: 'slice', slice, shard, epoch, ...(filled === undefined ? {} : { filled }) });
    }
  }
  state.changed.clear();
}

export const partitionStates: Table<Row> = {
  name: 'lives',
  encode(row) {
    return Buffer.from(JSON.stringify(row.kind === 'life' ? plain(row) : row), 'utf8');
  },
  decode(bytes) {
    const row = JSON.parse(bytes.toString('utf8')) as PlainState | Exclude<Row, PartitionState>;
    return row.kind === 'life' ? partitionStateFrom(row) : row;
  },
};

interface PlainState {
  readonly kind: 'life';
  readonly partitions: number;
  readonly partition: Partition;
  /** Only in rows of an earlier release, which stored no rows of slices. */
  readonly slices?: readonly (readonly [SliceKey, ShardId, Epoch])[];
  readonly finished: readonly MoveId[];
  readonly eventTime: EventTime;
  /** Absent in a row of an earlier release. */
  readonly turn?: number;
  /** Absent in a row of an earlier release, which kept no table. */
  readonly tableIsWhole?: boolean;
  /** Absent in a row of an earlier release, whose table may have rows of a time before it missed events. */
  readonly table?: { readonly misses: boolean; readonly life: number; readonly isClear: boolean };
}

function plain(state: PartitionState): PlainState {
  return {
    kind: 'life',
    partitions: state.partitions,
    partition: state.partition,
    finished: state.finished,
    eventTime: state.eventTime,
    turn: state.turn,
    tableIsWhole: state.tableIsWhole,
    table: { misses: state.tableMisses, life: state.tableLife, isClear: state.tableIsClear },
  };
}

function partitionStateFrom(row: PlainState): PartitionState {
  const state = new PartitionState(row.partitions, row.partition);
  for (const [slice, shard, epoch] of row.slices ?? []) state.add(slice, shard, epoch);
  state.finished.push(...row.finished);
  state.eventTime = row.eventTime;
  state.turn = row.turn ?? 0;
  state.tableIsWhole = row.tableIsWhole ?? false;
  const { misses, life, isClear } = row.table ?? { misses: !state.tableIsWhole, life: 0, isClear: true };
  state.tableMisses = misses;
  state.tableLife = life;
  state.tableIsClear = isClear;
  return state;
}

const homeOf = (shard: ShardId, epoch: Epoch): SlicePlacement => ({
  shard,
  epoch,
  moving: undefined,
  second: undefined,
  entries: -1,
  bytes: 0,
  entriesTold: -1,
  writesLeft: Number.POSITIVE_INFINITY, // Counted at the next ticks anyway; after that, by the result of the count.
  filled: undefined,
  counting: undefined,
});

/** True for the one task that reports about a shard; the others only make sure that it exists. */
export const reportsOn = (state: PartitionState, shard: ShardId): boolean =>
  partitionOf(shard, state.partitions) === state.partition;
