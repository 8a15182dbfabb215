// Rows of the planner: one cell, and for each series, shard, slice, move, pending change and broker a row of its own,
// so that a commit writes only what changed. The stage uses them through the repositories of cell-state.ts.

import {
  type Epoch,
  type EventTime,
  type MoveId,
  type Offset,
  type PlanId,
  type ShardId,
  type SliceKey,
  shardId,
} from '../../../schemas/ids.ts';
import type { CheckProgress, MoveState, ShardChange, StoreKind } from '../../../schemas/records.ts';
import { jsonTable, type Rows } from '../../step.ts';
import type { Learned } from '../demand/coefficients.ts';
import type { LookupWork } from '../demand/lookup-work.ts';

/** The cell as a whole: counters, ledgers and what is open. */
export interface CellRow {
  readonly kind: 'cell';
  started: boolean;
  /** Epoch of the last published change of the pointer table; 0 before the first. */
  epoch: Epoch;
  /** Term of the planner that wrote last (state/fence.ts); absent in a row of an earlier release. */
  term?: number;
  /** The last record of our own changes of the pointer table that was read back. */
  read: { epoch: number; index: number; count: number };
  nextShard: number;
  nextMove: number;
  nextCommand: number;
  nextDecision: number;
  /** Event time, from the series. */
  now: EventTime;
  /** A disbelieved time far from `now`, and since when by wall time; 0 until the next tick (cell-time.ts). */
  strayed?: { readonly to: EventTime; readonly sinceWallTime: number };
  plannedAt: EventTime;
  /**
   * Wall time of a recent tick: a gap after it means that this process was away, not that everybody else was silent.
   */
  wallTime: number;
  requestsThisTick: number;
  /** Ids of the last requests that were answered. */
  requests: string[];
  openMoves: MoveId[];
  closedMoves: MoveId[];
  /** Shards that were requested or told to retire, and have not answered yet. */
  openShards: ShardId[];
  /** Partitions whose subscription table is complete; absent before the first. */
  wholeTables?: number[];
  /** Shards that have lost their data, in the order of the reports; absent before the first. */
  lostShards?: ShardId[];
  brokers: string[];
  /** What was spent lately, oldest first. */
  ledger: Spending[];
  measured: { copyBytesPerSecond: number; propagationMs: number; provisioningMs: Record<string, number> };
  /** Capacity in operations per second that the last plans wanted of each kind of store, the newest last. */
  planned: Record<StoreKind, number[]>;
  /** What operations cost and entries take, by kind of store. */
  learned: Record<StoreKind, Learned>;
  /** Types whose shards did not come up, and until when each is not requested again. */
  avoided: Record<string, EventTime>;
  /** Share of the promised savings that came true (benefit-audit.ts); absent before the first review. */
  kept?: number;
  /** Plans that were proposed to a person, oldest first; absent before the first. */
  proposals?: PlanId[];
  nextPlan?: number;
  /** Ids of checks that can be looked up, oldest first; absent before the first. */
  checks?: string[];
  ignored: { forecasts: number; progress: number; pointers: number; requests: number; commands?: number };
}

/** One entry of the ledger, from which the caps and the churn budget are computed. */
export interface Spending {
  readonly at: EventTime;
  readonly keys: number;
  readonly urgent: boolean;
  readonly shards: number;
  readonly dollars: number;
}

/** Above the quantile that slices are placed by: the number of shards is planned by the tail too. */
export const TOP_QUANTILE = 0.99;

/** What is known of the coming rate of one series and signal; steps from `madeAt` on. */
export interface SeriesForecast {
  madeAt: EventTime;
  stepMs: number;
  current: number;
  median: number[];
  /** The quantile that slices are placed by (settings.upperQuantile). */
  upper: number[];
  /** TOP_QUANTILE */
  top: number[];
  /** Further ahead; the k-th step begins at madeAt + (k + 1) * stepMs. */
  far?: { stepMs: number; median: number[]; upper: number[]; top: number[] };
  trusted: boolean;
  distrust: string;
}

export interface SeriesRow {
  readonly kind: 'series';
  subscriptions?: SeriesForecast;
  /** Share of unsubscribes in the events that `subscriptions` forecasts. */
  unsubscribeShare?: number;
  /** Clients for each event per second; absent while none were counted. */
  clientsPerRate?: number;
  publishes?: SeriesForecast;
  /** Absent while none were counted. */
  bytesPerPublish?: number;
}

/** Measured rates above the known rate of the series; used only to react to unforeseen load. */
export interface SurgeRow {
  readonly kind: 'surge';
  windowStart: EventTime;
  subscriptionsPerSecond: number;
  /** The unsubscribes among them; absent in a row of an earlier release. */
  unsubscribesPerSecond?: number;
  publishesPerSecond: number;
}

export type ShardRowState = 'PROVISIONING' | 'READY' | 'RETIRING';

export interface ShardRow {
  readonly kind: 'shard';
  readonly id: ShardId;
  readonly storeKind: StoreKind;
  datastoreType: string;
  instanceId: string;
  address: string;
  state: ShardRowState;
  epoch: Epoch;
  /** The type it is being resized to; '' when it is not. */
  resizingTo: string;
  askedWallTime: number;
  /** Plans in a row for which a cheaper type would do. */
  roomyPlans: number;
  /** Why its store is lost; absent while it is not. */
  lost?: string;
  /** True when it belongs to another fleet: nothing has to be rebuilt. */
  foreign?: true;
  /** When the loss was reported, by wall time; absent before the next tick. */
  lostWallTime?: number;
  /** True when an operator has asked for its rebuild, which then begins at once. */
  asked?: true;
  /** True when it was not known to be lost when an operator asked for its rebuild. */
  forced?: true;
  /** It may still answer somebody: nothing is rebuilt before the brokers know that it is not to be asked. */
  silent?: true;
  /** Where in the pointer table they read that; absent until it has been read back. */
  silentOffset?: Offset;
  /** When that was published, by wall time. */
  silentWallTime?: number;
  /** It is heard of again, while slices of it are being rebuilt. */
  back?: true;
  /** When its rebuild began, by wall time, and what there was to do, in rows. */
  rebuilding?: { readonly since: number; readonly rows: number };
  /** When it is expected to be over, by wall time, as it was published. */
  rebuiltAt?: number;
  /** A lost shard is rebuilt on this one. */
  replacement?: ShardId;
  /** When its replacement was requested, by wall time. */
  triedWallTime?: number;
  /** When it was told to be released, by wall time. */
  releasedWallTime?: number;
  /** Work of look-ups, as its trie reports it (lookup-work.ts). */
  reach?: LookupWork;
  measured?: {
    utilisation: number;
    /** Shares of the instance; absent when the store does not say. */
    cpu?: number;
    iops?: number;
    entries: number;
    memoryBytes: number;
    memoryLimitBytes: number;
    lookupP99Ms: number;
    at: EventTime;
  };
}

export interface LeftShard {
  readonly shard: ShardId;
  readonly until: EventTime;
}

export interface SliceRow {
  readonly kind: 'slice';
  readonly slice: SliceKey;
  shard: ShardId;
  epoch: Epoch;
  entries: number;
  bytes: number;
  coolUntil: EventTime;
  /**
   * Shards that it has left recently, and until when it does not return to each (constraints/return.ts); absent when
   * there is none.
   */
  left?: readonly LeftShard[];
  /** The move, split or merge that it takes part in; '' when free. */
  busyWith: string;
  /** When its rebuild was last started, by wall time. */
  rebuiltWallTime?: number;
}

export interface MoveRow {
  readonly kind: 'move';
  readonly id: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  readonly startedAt: EventTime;
  readonly reason: string;
  /** True when its source has lost its data, and its rows come from the subscription table. */
  readonly rebuilds?: true;
  /** True when it makes a replica: in state `SHARED` readers ask `from` or `to`. */
  readonly replicates?: true;
  state: MoveState;
  paused: boolean;
  /** The last command to apply that decides how the move ends. */
  asked: '' | 'ABORT' | 'RETIRE';
  /** True when the decision that it waits has been published (moves.ts M5 and M6). */
  waits?: true;
  rowsCopied: number;
  bytesCopied: number;
  rowsVerified: number;
  rowsErased: number;
  etaMs: number;
  outcome: string;
  closedAt: EventTime;
  switchEpoch: number;
  /** Offset of the switch in the pointer table; -1 until it has been read back. */
  switchOffset: Offset;
  /** Counts signs of life; -1 in `seenSigns` until the first tick saw it. */
  signs: number;
  seenSigns: number;
  seenWallTime: number;
  startedWallTime: number;
  switchedWallTime: number;
  requests: string[];
}

/** A split or merge that was commanded to apply. */
export interface ChangeRow {
  readonly kind: 'change';
  readonly id: string;
  readonly change: 'SPLIT' | 'MERGE';
  readonly shard: ShardId;
  /** Slices before and after; one named on both sides stays. */
  readonly before: SliceKey[];
  readonly after: SliceKey[];
}

export interface BrokerRow {
  readonly kind: 'broker';
  pointerOffset: Offset;
  beats: number;
  seenBeats: number;
  seenWallTime: number;
}

/** A refusal that was published and need not be published again for now. */
export interface SaidRow {
  readonly kind: 'said';
  at: EventTime;
}

/** A key of the pointer table that was marked GONE, and when; the key is removed later (turn.ts). */
export interface GoneRow {
  readonly kind: 'gone';
  readonly key: string;
  readonly epoch: Epoch;
  readonly at: EventTime;
}

/** What actions for one shard promised to save, and what they have saved so far (benefit-audit.ts). */
export interface PromiseRow {
  readonly kind: 'promise';
  readonly shard: ShardId;
  readonly storeKind: StoreKind;
  readonly openedAt: EventTime;
  readonly until: EventTime;
  measuredAt: EventTime;
  /** Saving by a shard or bigger type that was given back; 0 when the action was against an overload. */
  readonly savesPerHour: number;
  /** Safe capacity when the promise was made. */
  readonly capacityPerSecond: number;
  readonly calibration: number;
  /** Overload that the median of the forecast had. */
  readonly expectedMs: number;
  avoidedMs: number;
  /** Overload that came in spite of the action. */
  sufferedMs: number;
  /** Slices that were moved away, and the slices made of them since. */
  left: SliceKey[];
  spentDollars: number;
  readonly promisedDollars: number;
  realisedDollars: number;
  readonly decisions: string[];
}

export type ProposalState = 'OPEN' | 'APPROVED' | 'REJECTED' | 'EXPIRED' | 'REPLACED';

/** A plan that waits for a person's answer, or has had one (proposals.ts). */
export interface ProposalRow {
  readonly kind: 'proposal';
  readonly id: PlanId;
  readonly madeAt: EventTime;
  /** When the proposal expires while it is open, then when the answer does. */
  expiresAt: EventTime;
  state: ProposalState;
  /** A key for what each of its actions does, by which a later plan recognises it. */
  readonly deeds: readonly string[];
  readonly steps: readonly string[];
  readonly changes: readonly ShardChange[];
  readonly reason: string;
  readonly dollarsPerHour: number;
  readonly dollarsOnce: number;
  readonly promisedDollars: number;
}

/** A check of the shards that an operator has requested (checks.ts). */
export interface CheckRow {
  readonly kind: 'check';
  readonly id: string;
  readonly at: EventTime;
  /** '' for all shards. */
  readonly shard: string;
  readonly slice: string;
  readonly repair: boolean;
  /** Partitions that were told to make it. */
  readonly partitions: readonly number[];
  /** Why it was refused; '' when it was not. */
  readonly refusal: string;
}

/** The last report of one partition on a check. */
export interface CheckPartRow extends Omit<CheckProgress, 'kind'> {
  readonly kind: 'checkPart';
}

export type Row =
  | CellRow
  | SeriesRow
  | SurgeRow
  | ShardRow
  | SliceRow
  | MoveRow
  | ChangeRow
  | BrokerRow
  | SaidRow
  | GoneRow
  | PromiseRow
  | ProposalRow
  | CheckRow
  | CheckPartRow;

export const cells = jsonTable<Row>('cells');

/** Shards are numbered in the order of their creation. */
export const shardNumbered = (number: number): ShardId => shardId(`shard-${String(number).padStart(4, '0')}`);

/** Rows that are not to be changed. */
export type PlanRows = Pick<Rows<Row>, 'get' | 'entries'>;
