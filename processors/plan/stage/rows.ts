// Rows of the planner: one cell, and for each series, shard, slice, move, pending change and broker a row of its own, so
// that a commit writes only what changed. Rows are mutable inside the stage and set again after each change.

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
import type { MoveState, ShardChange, StoreKind } from '../../../schemas/records.ts';
import { jsonTable, type Rows } from '../../step.ts';
import type { Learned } from '../demand/coefficients.ts';
import type { LookupWork } from '../demand/lookup-work.ts';

/** The cell as a whole: counters, ledgers and what is open. */
export interface CellRow {
  readonly kind: 'cell';
  started: boolean;
  /** Of the last published change of the pointer table; 0 before the first. */
  epoch: Epoch;
  /** Of the planner that spoke last (state/fence.ts); absent in a row of an earlier release. */
  term?: number;
  /** The last record of the pointer table that was read back and belongs to a change of ours. */
  read: { epoch: number; index: number; count: number };
  nextShard: number;
  nextMove: number;
  nextCommand: number;
  nextDecision: number;
  /** Event time as the series tell it. */
  now: EventTime;
  /** A time far from `now` that was told, and since when by wall time; 0 until the next tick (cell-time.ts). */
  strayed?: { readonly to: EventTime; readonly sinceWallTime: number };
  plannedAt: EventTime;
  /** Wall time of a recent tick: a gap after it means that we were away, not that everybody else was silent. */
  wallTime: number;
  requestsThisTick: number;
  /** Ids of the last requests that were answered. */
  requests: string[];
  openMoves: MoveId[];
  closedMoves: MoveId[];
  /** Shards that were asked for, or asked to go, and have not answered. */
  openShards: ShardId[];
  brokers: string[];
  /** What was spent lately, oldest first. */
  ledger: Spending[];
  measured: { copyBytesPerSecond: number; propagationMs: number; provisioningMs: Record<string, number> };
  /** Operations per second that the last plans wanted of each kind of store, the newest last. */
  planned: Record<StoreKind, number[]>;
  /** What operations cost and entries take, by kind of store. */
  learned: Record<StoreKind, Learned>;
  /** Types whose shards did not come up, and until when they are not asked for again. */
  avoided: Record<string, EventTime>;
  /** Share of what actions promised that came true (benefit-audit.ts); absent before the first review. */
  kept?: number;
  /** Plans that were put before a person, oldest first; absent before the first. */
  proposals?: PlanId[];
  nextPlan?: number;
  ignored: { forecasts: number; progress: number; pointers: number; requests: number; commands?: number };
}

/** One entry of the ledger that caps and churn budget are held against. */
export interface Spending {
  readonly at: EventTime;
  readonly keys: number;
  readonly urgent: boolean;
  readonly shards: number;
  readonly dollars: number;
}

/** Beyond the quantile that slices are placed by: the number of shards is planned by the tail too. */
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
  /** Of the events that `subscriptions` foresees. */
  unsubscribeShare?: number;
  /** Clients for each event per second; absent while none were counted. */
  clientsPerRate?: number;
  publishes?: SeriesForecast;
  /** Absent while none were counted. */
  bytesPerPublish?: number;
}

/** Measured rates above what the series row knows; for the reactive net alone. */
export interface SurgeRow {
  readonly kind: 'surge';
  windowStart: EventTime;
  subscriptionsPerSecond: number;
  /** What of them are unsubscribes; absent in a row of an earlier release. */
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
  /** Why nothing can be had from its store; absent while it is there. */
  lost?: string;
  /** Of look-ups in a trie that says so (lookup-work.ts). */
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
  /** Shards that it was on lately, and until when it does not come back (constraints/return.ts); absent when there is none. */
  left?: readonly LeftShard[];
  /** The move or change that it takes part in; '' when free. */
  busyWith: string;
}

export interface MoveRow {
  readonly kind: 'move';
  readonly id: MoveId;
  readonly slice: SliceKey;
  readonly from: ShardId;
  readonly to: ShardId;
  readonly startedAt: EventTime;
  readonly reason: string;
  /** It makes a replica: where it is `SHARED`, readers ask `from` and `to`. */
  readonly replicates?: true;
  state: MoveState;
  paused: boolean;
  /** What was asked of apply last that changes where the move ends. */
  asked: '' | 'ABORT' | 'RETIRE';
  /** It has been told that it waits (M5 and M6 of moves.ts). */
  waits?: true;
  rowsCopied: number;
  bytesCopied: number;
  rowsVerified: number;
  rowsErased: number;
  etaMs: number;
  outcome: string;
  closedAt: EventTime;
  switchEpoch: number;
  /** Offset of the switch in the pointer table; -1 until it was read back. */
  switchOffset: Offset;
  /** Grows with each sign of life; -1 in `seenSigns` until the first tick saw it. */
  signs: number;
  seenSigns: number;
  seenWallTime: number;
  startedWallTime: number;
  switchedWallTime: number;
  requests: string[];
}

/** A split or merge that apply has been asked for. */
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

/** A refusal that was said and need not be said again. */
export interface SaidRow {
  readonly kind: 'said';
  at: EventTime;
}

/** A key of the pointer table that was called GONE, and when; it is removed later (turn.ts). */
export interface GoneRow {
  readonly kind: 'gone';
  readonly key: string;
  readonly epoch: Epoch;
  readonly at: EventTime;
}

/** What actions for one shard promised, and what has come of it so far (benefit-audit.ts). */
export interface PromiseRow {
  readonly kind: 'promise';
  readonly shard: ShardId;
  readonly storeKind: StoreKind;
  readonly openedAt: EventTime;
  readonly until: EventTime;
  measuredAt: EventTime;
  /** Of a shard or type that was given back; 0 when an overload was to be avoided. */
  readonly savesPerHour: number;
  /** Safe capacity when the promise was made. */
  readonly capacityPerSecond: number;
  readonly calibration: number;
  /** Overload to be avoided by the median of the forecast. */
  readonly expectedMs: number;
  avoidedMs: number;
  /** Overload that came all the same. */
  sufferedMs: number;
  /** Slices that were moved away, and what has been made of them. */
  left: SliceKey[];
  spentDollars: number;
  readonly promisedDollars: number;
  realisedDollars: number;
  readonly decisions: string[];
}

export type ProposalState = 'OPEN' | 'APPROVED' | 'REJECTED' | 'EXPIRED' | 'REPLACED';

/** A plan that waits for a person's word, or has had it (proposals.ts). */
export interface ProposalRow {
  readonly kind: 'proposal';
  readonly id: PlanId;
  readonly madeAt: EventTime;
  /** Of the offer while it is open, then of the answer. */
  expiresAt: EventTime;
  state: ProposalState;
  /** What each of its actions does, by which it is known again in a later plan. */
  readonly deeds: readonly string[];
  readonly steps: readonly string[];
  readonly changes: readonly ShardChange[];
  readonly reason: string;
  readonly dollarsPerHour: number;
  readonly dollarsOnce: number;
  readonly promisedDollars: number;
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
  | ProposalRow;

export const cells = jsonTable<Row>('cells');

const CELL = 'cell';
export const seriesKey = (series: string): string => `series/${series}`;
export const surgeKey = (series: string): string => `surge/${series}`;
export const shardKey = (shard: string): string => `shard/${shard}`;
export const sliceRowKey = (slice: string): string => `slice/${slice}`;
export const moveKey = (move: string): string => `move/${move}`;
export const changeKey = (command: string): string => `change/${command}`;
export const brokerKey = (broker: string): string => `broker/${broker}`;
export const promiseKey = (shard: string): string => `promise/${shard}`;
export const proposalKey = (plan: string): string => `proposal/${plan}`;
export const goneKey = (key: string): string => `gone/${key}`;
export const saidKey = (subject: string, constraint: string): string => `said/${constraint}/${subject}`;

/** Shards are named in the order in which they were made. */
export const shardNumbered = (number: number): ShardId => shardId(`shard-${String(number).padStart(4, '0')}`);

export type PlanRows = Pick<Rows<Row>, 'get' | 'entries'>;

/** The row under `key` when it is of this kind. A prefix and its kind go together, so another kind means absence. */
export function rowOf<Kind extends Row['kind']>(
  rows: Pick<Rows<Row>, 'get'>,
  kind: Kind,
  key: string,
): Extract<Row, { kind: Kind }> | undefined {
  const row = rows.get(key);
  return row?.kind === kind ? (row as Extract<Row, { kind: Kind }>) : undefined;
}

export const cellOf = (rows: Pick<Rows<Row>, 'get'>): CellRow | undefined => rowOf(rows, 'cell', CELL);
export const setCell = (rows: Rows<Row>, cell: CellRow): void => rows.set(CELL, cell);

/** All rows of one kind with their keys. */
export function* rowsOf<Kind extends Row['kind']>(
  rows: PlanRows,
  kind: Kind,
): Generator<[key: string, row: Extract<Row, { kind: Kind }>]> {
  for (const [key, row] of rows.entries()) if (row.kind === kind) yield [key, row as Extract<Row, { kind: Kind }>];
}

/** The rows of one kind that have their id in themselves. */
export class Repository<Kind extends Row['kind']> {
  readonly #rows: Rows<Row>;
  readonly #kind: Kind;
  readonly #keyOf: (id: string) => string;
  readonly #idOf: (row: Extract<Row, { kind: Kind }>) => string;

  constructor(
    rows: Rows<Row>,
    kind: Kind,
    keyOf: (id: string) => string,
    idOf: (row: Extract<Row, { kind: Kind }>) => string,
  ) {
    this.#rows = rows;
    this.#kind = kind;
    this.#keyOf = keyOf;
    this.#idOf = idOf;
  }

  get(id: string): Extract<Row, { kind: Kind }> | undefined {
    return rowOf(this.#rows, this.#kind, this.#keyOf(id));
  }

  /** To be called after each change of a row, too: that is what stores it. */
  put(row: Extract<Row, { kind: Kind }>): void {
    this.#rows.set(this.#keyOf(this.#idOf(row)), row);
  }

  delete(id: string): void {
    this.#rows.delete(this.#keyOf(id));
  }

  *all(): Generator<Extract<Row, { kind: Kind }>> {
    for (const [, row] of rowsOf(this.#rows, this.#kind)) yield row;
  }
}

interface RepositoryIn<Kind extends Row['kind']> {
  (rows: Rows<Row>): Repository<Kind>;
  /** Of rows that are not to be changed. */
  (rows: PlanRows): Pick<Repository<Kind>, 'get' | 'all'>;
}

const repositoryOf =
  <Kind extends Row['kind']>(
    kind: Kind,
    keyOf: (id: string) => string,
    idOf: (row: Extract<Row, { kind: Kind }>) => string,
  ): RepositoryIn<Kind> =>
  (rows: PlanRows) =>
    new Repository(rows as Rows<Row>, kind, keyOf, idOf);

export const shardsIn = repositoryOf('shard', shardKey, ({ id }) => id);
export const slicesIn = repositoryOf('slice', sliceRowKey, ({ slice }) => slice);
export const movesIn = repositoryOf('move', moveKey, ({ id }) => id);
export const changesIn = repositoryOf('change', changeKey, ({ id }) => id);
export const proposalsIn = repositoryOf('proposal', proposalKey, ({ id }) => id);
