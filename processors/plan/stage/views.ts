// Views: what people may ask of the planner's rows. Read-only; they never change a row.

import { type Epoch, type EventTime, epoch, type PlanId, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import type { MoveProgress, ShardState, StoreKind } from '../../../schemas/records.ts';
import { isTrieFilter } from '../../../state/keys.ts';
import { type ShardMap, shardMapOf } from '../../../state/shard-map.ts';
import { SliceTree } from '../../../state/slice-tree.ts';
import { type CellReader, readerOf } from './cell-state.ts';
import { shardsOfSlice } from './moves.ts';
import type { MoveRow, PlanRows, ProposalRow, SeriesForecast, ShardRow } from './rows.ts';

export interface ShardSummary {
  readonly shardId: ShardId;
  readonly storeKind: StoreKind;
  readonly datastoreType: string;
  readonly instanceId: string;
  readonly address: string;
  readonly state: ShardRow['state'] | 'LOST';
  /** Of its last entry in the pointer table; 0 before the first. */
  readonly epoch: Epoch;
  readonly resizingTo: string;
  readonly slices: number;
  readonly entries: number;
  readonly bytes: number;
  /** Utilisation that the store last reported, 0..1; -1 when it never did. */
  readonly utilisation: number;
}

/** What apply last reported of a move, and when it began and ended. */
export interface MoveSummary extends Omit<MoveProgress, 'kind'> {
  readonly startedAt: EventTime;
  /** 0 while it is open. */
  readonly closedAt: EventTime;
  readonly outcome: string;
}

export type ProposalSummary = Omit<ProposalRow, 'kind' | 'id' | 'deeds'> & { readonly planId: PlanId };

export interface SliceSummary {
  readonly slice: SliceKey;
  /** Its own shard, then that of its replica. */
  readonly shards: readonly [ShardId, ...ShardId[]];
  readonly epoch: Epoch;
  readonly entries: number;
  readonly bytes: number;
  readonly busyWith: string;
}

export interface CellSummary {
  readonly started: boolean;
  readonly epoch: Epoch;
  readonly now: EventTime;
  readonly openMoves: number;
  readonly brokers: readonly { readonly brokerId: string; readonly pointerOffset: number }[];
  readonly ignored: Readonly<Record<string, number>>;
}

export function cellSummary(rows: PlanRows): CellSummary | undefined {
  const { cell, brokers: known } = readerOf(rows);
  if (cell === undefined) return undefined;
  const { started, epoch: last, now, openMoves, ignored } = cell;
  const brokers = cell.brokers.map((brokerId) => ({
    brokerId,
    pointerOffset: known.get(brokerId)?.pointerOffset ?? 0,
  }));
  return { started, epoch: last, now, openMoves: openMoves.length, brokers, ignored: { ...ignored } };
}

export function shardsOf(rows: PlanRows): ShardSummary[] {
  const state = readerOf(rows);
  const sums = new Map<ShardId, { slices: number; entries: number; bytes: number }>();
  for (const slice of state.slices.all())
    for (const shard of shardsOfSlice(state, slice)) {
      const sum = sums.get(shard) ?? { slices: 0, entries: 0, bytes: 0 };
      sum.slices++;
      sum.entries += slice.entries;
      sum.bytes += slice.bytes;
      sums.set(shard, sum);
    }
  const shards = [...state.shards.all()].map((row) => ({
    shardId: row.id,
    storeKind: row.storeKind,
    datastoreType: row.datastoreType,
    instanceId: row.instanceId,
    address: row.address,
    state: row.lost === undefined ? row.state : ('LOST' as const),
    epoch: row.epoch,
    resizingTo: row.resizingTo,
    ...(sums.get(row.id) ?? { slices: 0, entries: 0, bytes: 0 }),
    utilisation: row.measured?.utilisation ?? -1,
  }));
  return shards.sort((a, b) => (a.shardId < b.shardId ? -1 : 1));
}

/** Open moves and the last closed ones, newest first. */
export function movesOf(rows: PlanRows): MoveSummary[] {
  const moves = [...readerOf(rows).moves.all()].map(moveSummary);
  return moves.sort((a, b) => (a.moveId < b.moveId ? 1 : -1));
}

/** Plans that wait for a person's answer or have had one, newest first. */
export function proposalsOf(rows: PlanRows): ProposalSummary[] {
  return [...readerOf(rows).proposals.all()]
    .map(({ kind: _, deeds: __, id, ...shown }) => ({ planId: id, ...shown }))
    .sort((a, b) => (a.planId < b.planId ? 1 : -1));
}

export function slicesOf(rows: PlanRows): SliceSummary[] {
  const state = readerOf(rows);
  const slices = [...state.slices.all()].map((row) => ({
    slice: row.slice,
    shards: shardsOfSlice(state, row),
    epoch: row.epoch,
    entries: row.entries,
    bytes: row.bytes,
    busyWith: row.busyWith,
  }));
  return slices.sort((a, b) => (a.slice < b.slice ? -1 : 1));
}

/** Where a topic's subscriptions are, the concrete slice first, with the shard that serves each. */
export function pointerOf(
  rows: PlanRows,
  partitions: number,
  topic: string,
): {
  readonly slice: SliceKey;
  readonly epoch: Epoch;
  readonly shard: ShardId;
  readonly datastoreType: string;
  readonly instanceId: string;
  readonly address: string;
}[] {
  const state = readerOf(rows);
  return placementsOf(state, partitions, topic).map(({ slice, shard, epoch: since }) => {
    const home = state.shards.get(shard);
    return {
      slice,
      epoch: since,
      shard,
      datastoreType: home?.datastoreType ?? '',
      instanceId: home?.instanceId ?? '',
      address: home?.address ?? '',
    };
  });
}

/** The Shard Map that the planner has published. */
export function shardMapOfRows(rows: PlanRows, partitions: number): ShardMap {
  const state = readerOf(rows);
  const slices = [...state.slices.all()].map((row) => {
    const held = shardsOfSlice(state, row);
    const mode = held.length > 1 ? ('REPLICAS' as const) : ('SINGLE' as const);
    return { slice: row.slice, mode, shards: held, epoch: row.epoch };
  });
  const shards = [...state.shards.all()]
    .filter((row) => row.epoch > epoch(0))
    .map((row) => ({
      shardId: row.id,
      storeKind: row.storeKind,
      datastoreType: row.datastoreType,
      instanceId: row.instanceId,
      address: row.address,
      state: (row.state === 'RETIRING' ? 'DRAINING' : 'READY') satisfies ShardState as ShardState,
    }));
  return shardMapOf(partitions, slices, shards);
}

/** The forecast rates for a topic: of its own series, or of the leaf or slice that contains it. */
export function seriesForecastsOf(
  rows: PlanRows,
  series: string,
): { readonly subscriptions: SeriesForecast | undefined; readonly publishes: SeriesForecast | undefined } {
  const row = readerOf(rows).series.get(series);
  return { subscriptions: row?.subscriptions, publishes: row?.publishes };
}

/** The slices that a PUBLISH to the topic asks, or that hold the filter, with their epoch, once for each shard of them. */
export function placementsOf(
  state: Pick<CellReader, 'moves' | 'slices'>,
  partitions: number,
  topic: string,
): { readonly slice: SliceKey; readonly shard: ShardId; readonly epoch: Epoch }[] {
  const tree = new SliceTree(partitions);
  for (const { slice } of state.slices.all()) tree.add(slice);
  const slices = isTrieFilter(topic) ? [tree.sliceOf(topic, '')] : tree.slicesForTopic(topic);
  return slices.flatMap((slice) => {
    if (slice === undefined) return [];
    const row = state.slices.get(slice);
    if (row === undefined) return [];
    return shardsOfSlice(state, row).map((shard) => ({ slice, shard, epoch: row.epoch }));
  });
}

const moveSummary = (move: MoveRow): MoveSummary => ({
  moveId: move.id,
  slice: move.slice,
  from: move.from,
  to: move.to,
  state: move.state,
  paused: move.paused,
  rowsCopied: move.rowsCopied,
  bytesCopied: move.bytesCopied,
  rowsVerified: move.rowsVerified,
  rowsErased: move.rowsErased,
  etaMs: move.etaMs,
  startedAt: move.startedAt,
  closedAt: move.closedAt,
  reason: move.reason,
  outcome: move.outcome,
});
