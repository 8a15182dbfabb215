// Shards and slices: genesis; shards that are provisioned, resized and retired; slices that are split and merged.
//
//   C1. A shard is in the pointer table before any slice points at it, and is removed only when none does.
//   C2. A split or merge is published when apply has carried it out, all its entries in one change.
//   C3. The first two shards are never retired while they have their data: every process relies on them (state/genesis.ts).
//   C4. A shard that was released although this planner did not ask for it is requested again: it was empty, or its
//       store would have refused.
//   C5. Nothing is moved from or to a shard that has lost its data: moves to it are aborted and a replica there is
//       ended. The slices on it are rebuilt elsewhere (rebuilds.ts). Where they cannot be, they wait for it, and so do moves
//       from it (moves.ts M5).
//   C6. Readers do not ask a lost shard. A shard that has only been silent for too long may still answer some readers,
//       without the events that it has missed. So readers are told first; the shard counts as lost, and is rebuilt, when
//       every live broker has read that.

import { epoch, eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import type {
  DatastoreMetrics,
  ShardProgress,
  SliceEntries,
  SliceLeft,
  SliceProgress,
  StoreKind,
  TableProgress,
} from '../../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD, firstPlacement } from '../../../state/genesis.ts';
import type { Rows } from '../../step.ts';
import { followChange } from '../audit/benefit-audit.ts';
import { typeNamed } from '../cluster/catalog.ts';
import { measuredLookupWork } from '../demand/lookup-work.ts';
import type { PlanSettings } from '../settings.ts';
import { CellState } from './cell-state.ts';
import { abort, canRebuild, endReplica, freeSlice, giveUp, promoteReplica, switchWhenFree } from './moves.ts';
import { type CellRow, type ChangeRow, type Row, type ShardRow, type SliceRow, shardNumbered } from './rows.ts';
import { type DecisionDraft, pointerEntry, shardEntry, type Turn } from './turn.ts';

/** Creates the rows of a new cell with its first shards; on the first input, whatever it is. */
export function beginCell(rows: Rows<Row>, settings: PlanSettings): CellState {
  const state = new CellState(rows, newCell(settings));
  for (const [id, type] of [
    [FIRST_CONCRETE_SHARD, settings.genesis.concreteType],
    [FIRST_TRIE_SHARD, settings.genesis.trieType],
  ] as const)
    state.shards.put(newShard(id, typeNamed(settings.catalog, type).kind, type, 0));
  for (const [slice, shard] of firstPlacement(settings.partitions)) state.slices.put(newSlice(slice, shard));
  state.keepCell();
  return state;
}

/** Requests a new shard of the type; returns its id. */
export function startShard(
  turn: Turn,
  kind: StoreKind,
  type: string,
  reason: string,
  saying: Partial<DecisionDraft>,
): ShardId {
  const { cell, shards } = turn;
  const id = shardNumbered(cell.nextShard++);
  shards.put(newShard(id, kind, type, cell.wallTime));
  shards.awaitAnswer(id);
  turn.keepCell();
  const command = turn.commandShard(id, { kind: 'AllocateShard', shardId: id, datastoreType: type }, reason);
  turn.decide({ ...saying, kind: 'ALLOCATE', subject: id, reason, commandIds: [command] });
  return id;
}

export function startResize(
  turn: Turn,
  shard: ShardRow,
  type: string,
  reason: string,
  saying: Partial<DecisionDraft>,
): void {
  shard.resizingTo = type;
  shard.askedWallTime = turn.cell.wallTime;
  turn.shards.put(shard);
  turn.shards.awaitAnswer(shard.id);
  turn.keepCell();
  const command = turn.commandShard(shard.id, { kind: 'ResizeShard', shardId: shard.id, datastoreType: type }, reason);
  turn.decide({ ...saying, kind: 'RESIZE', subject: shard.id, reason, commandIds: [command] });
}

/** An empty shard leaves the table as DRAINING, and as GONE when apply has released it. */
export function startRetire(turn: Turn, shard: ShardRow, reason: string, saying: Partial<DecisionDraft>): void {
  if (shard.state === 'READY') turn.publish([shardEntry(shard, 'DRAINING')]);
  shard.state = 'RETIRING';
  turn.shards.put(shard);
  const command = turn.commandShard(shard.id, { kind: 'RetireShard', shardId: shard.id }, reason);
  turn.decide({ ...saying, kind: 'RETIRE', subject: shard.id, reason, commandIds: [command] });
}

/** Commands a split or merge of slices that share a shard. */
export function startChange(
  turn: Turn,
  change: 'SPLIT' | 'MERGE',
  shard: ShardId,
  before: readonly SliceKey[],
  after: readonly SliceKey[],
  reason: string,
  saying: Partial<DecisionDraft>,
): void {
  const body =
    change === 'SPLIT'
      ? ({ kind: 'SplitSlice', slice: before[0]!, into: after } as const)
      : ({ kind: 'MergeSlices', slices: before, into: after[0]! } as const);
  const id = turn.commandSlice(before[0]!, body, reason);
  turn.state.changes.put({ kind: 'change', id, change, shard, before: [...before], after: [...after] });
  for (const key of before) {
    const slice = turn.slices.get(key)!;
    slice.busyWith = id;
    turn.slices.put(slice);
  }
  turn.decide({ ...saying, kind: change, subject: before[0]!, reason, commandIds: [id] });
}

export function takeShardProgress(turn: Turn, progress: ShardProgress): void {
  const shard = turn.shards.get(progress.shardId);
  if (shard === undefined) {
    ignore(turn, `there is no shard ${progress.shardId.slice(0, 64)}`);
    return;
  }
  switch (progress.state) {
    case 'PROVISIONING':
      return;
    case 'READY':
    case 'RESIZED':
      shardReady(turn, shard, progress);
      return;
    case 'RELEASED':
      shardReleased(turn, shard);
      return;
    case 'FAILED':
      shardFailed(turn, shard, progress.reason || 'no reason was given');
      return;
    case 'LOST':
      shardLost(turn, shard, progress);
      return;
    case 'FOUND':
      shardFound(turn, shard);
  }
}

/** On each tick: gives up shards that have not become ready in time. */
export function watchShards(turn: Turn, wallTime: number): void {
  for (const shard of turn.shards.awaited()) {
    if (wallTime - shard.askedWallTime <= turn.settings.provisionSilentMs) continue;
    if (isFirst(shard.id)) continue; // Nothing can replace the first shards; apply requests them until they are ready.
    shardFailed(turn, shard, `it was not ready after ${turn.settings.provisionSilentMs / 1000} s`);
  }
}

export function takeSliceProgress(turn: Turn, progress: SliceProgress): void {
  const change = turn.state.changes.get(progress.commandId);
  if (change === undefined) {
    ignore(turn, `no split or merge ${progress.commandId.slice(0, 64)} is under way`);
    return;
  }
  turn.state.changes.delete(change.id);
  if (!progress.done) {
    for (const key of change.before) freeSlice(turn, key, turn.now + turn.settings.coolDownMs);
    turn.decide({
      kind: 'ABORT',
      subject: change.before[0]!,
      reason: `Apply refused the ${change.change.toLowerCase()}: ${progress.reason || 'no reason was given'}.`,
      commandIds: [change.id],
    });
    return;
  }
  publishChange(turn, change);
}

export function takeSliceLeft(turn: Turn, { shardId: id, slice, livesOn, done, reason }: SliceLeft): void {
  if (turn.shards.get(id) === undefined) {
    ignore(turn, `there is no shard ${id.slice(0, 64)}`);
    return;
  }
  const what = done
    ? `${id} is back: it has learned that ${slice} is now on ${livesOn}, and no longer holds any row of it.`
    : `${id} does not answer, so ${slice} is served by ${livesOn} and no longer waits for it (${reason || 'no reason was given'}).`;
  turn.decide({ kind: 'KEEP', subject: id, reason: what });
}

export function takeTableProgress(turn: Turn, { partition, whole }: TableProgress): void {
  const { cell, settings } = turn;
  if (!(partition >= 0 && partition < settings.partitions)) return;
  const others = (cell.wholeTables ?? []).filter((other) => other !== partition);
  cell.wholeTables = whole ? [...others, partition] : others;
  turn.keepCell();
}

export function takeSliceEntries(turn: Turn, { slice: key, entries, bytes }: SliceEntries): void {
  const slice = turn.slices.get(key);
  if (slice === undefined || !(entries >= 0 && bytes >= 0)) return;
  slice.entries = entries;
  slice.bytes = bytes;
  turn.slices.put(slice);
}

export function takeStoreMetrics(turn: Turn, metrics: DatastoreMetrics): void {
  const shard = turn.shards.get(metrics.shardId);
  if (shard === undefined) return;
  const share = (used: number, limit: number): number => (limit > 0 ? used / limit : 0);
  shard.measured = {
    utilisation: Math.max(metrics.cpu, share(metrics.iops, metrics.iopsLimit)),
    cpu: metrics.cpu,
    ...(metrics.iopsLimit > 0 && { iops: metrics.iops / metrics.iopsLimit }),
    entries: metrics.entries,
    memoryBytes: metrics.memoryBytes,
    memoryLimitBytes: metrics.memoryLimitBytes,
    lookupP99Ms: metrics.lookupP99Ms,
    at: metrics.timestamp,
  };
  const reach =
    shard.storeKind === 'TRIE' ? measuredLookupWork(shard.reach, metrics, turn.settings.coefficients) : undefined;
  if (reach !== undefined) shard.reach = reach;
  turn.shards.put(shard);
}

export const isFirst = (shard: ShardId): boolean => shard === FIRST_CONCRETE_SHARD || shard === FIRST_TRIE_SHARD;

function shardReady(turn: Turn, shard: ShardRow, progress: ShardProgress): void {
  const { cell, settings, shards } = turn;
  if (shard.state === 'RETIRING') return; // It became ready after it had been given up.
  const resized = shard.resizingTo !== '' && progress.datastoreType === shard.resizingTo;
  const isNew = shard.state === 'PROVISIONING';
  const isMoved = shard.instanceId !== progress.instanceId || shard.address !== progress.address;
  if (!isNew && !resized && !isMoved) return; // A repetition.
  if (settings.catalog.has(progress.datastoreType)) shard.datastoreType = progress.datastoreType;
  shard.instanceId = progress.instanceId;
  shard.address = progress.address;
  shard.state = 'READY';
  if (resized) {
    shard.resizingTo = '';
    shard.roomyPlans = 0;
  }
  shards.put(shard);
  if (shard.resizingTo === '') shards.answered(shard.id);
  if (progress.tookMs > 0 && Number.isFinite(progress.tookMs)) {
    const before = cell.measured.provisioningMs[shard.datastoreType] ?? progress.tookMs;
    cell.measured.provisioningMs[shard.datastoreType] = before * 0.7 + progress.tookMs * 0.3;
  }
  turn.keepCell();
  if (!cell.started) {
    start(turn);
    return;
  }
  shard.epoch = turn.publish([shardEntry(shard, 'READY')]);
}

/** The first change: every first slice and the two first shards (genesis). */
function start(turn: Turn): void {
  const { cell } = turn;
  const shards = [...turn.shards.all()];
  if (shards.some((shard) => shard.state !== 'READY')) return;
  const slices = [...turn.slices.all()];
  cell.started = true;
  cell.plannedAt = cell.now;
  const first = turn.publish([
    ...shards.map((shard) => shardEntry(shard, 'READY')),
    ...slices.map((slice) => pointerEntry(slice.slice, 'SINGLE', [slice.shard])),
  ]);
  for (const shard of shards) {
    shard.epoch = first;
    turn.shards.put(shard);
  }
  for (const slice of slices) {
    slice.epoch = first;
    turn.slices.put(slice);
  }
  turn.decide({
    kind: 'START',
    subject: 'cell',
    reason: `${slices.length} slices on ${shards.map((shard) => shard.id).join(' and ')}: the pointer table begins at epoch ${first}.`,
  });
}

function shardReleased(turn: Turn, shard: ShardRow): void {
  if (shard.state !== 'RETIRING') {
    ignore(turn, `the planner did not ask to release ${shard.id}`);
    const type = shard.datastoreType;
    if (shard.state === 'READY')
      turn.commandShard(shard.id, { kind: 'AllocateShard', shardId: shard.id, datastoreType: type }, 'it was released'); // C4
    return;
  }
  turn.shards.delete(shard.id);
  turn.shards.found(shard.id);
  turn.keepCell();
  if (shard.epoch > 0) turn.publish([shardEntry(shard, 'GONE')]);
}

function shardFailed(turn: Turn, shard: ShardRow, reason: string): void {
  const { cell, settings, shards } = turn;
  const type = shard.resizingTo || shard.datastoreType;
  if (isFirst(shard.id) && shard.state === 'PROVISIONING') {
    turn.refuse(shard.id, 'genesis', `${shard.id} is not ready on ${type} yet (${reason}); apply tries again.`);
    return;
  }
  if (shard.state === 'RETIRING' && shard.epoch > 0) {
    shard.state = 'READY';
    shards.put(shard);
    turn.publish([shardEntry(shard, 'READY')]);
    turn.decide({ kind: 'ABORT', subject: shard.id, reason: `${shard.id} stays: ${reason}.` });
    return;
  }
  if (!shards.isAwaited(shard.id)) {
    ignore(turn, `the planner is not waiting for ${shard.id}`);
    return;
  }
  shards.answered(shard.id);
  cell.avoided[type] = eventTime(turn.now + settings.coolDownMs);
  turn.keepCell();
  turn.decide({
    kind: 'ABORT',
    subject: shard.id,
    reason: `Provisioning ${shard.id} on ${type} was given up: ${reason}.`,
  });
  if (shard.resizingTo !== '') {
    shard.resizingTo = '';
    shards.put(shard);
  } else startRetire(turn, shard, 'it never became ready', {});
}

/** Records that a shard has lost its data (C5). */
function shardLost(turn: Turn, shard: ShardRow, progress: ShardProgress): void {
  if (progress.silent) {
    shardSilent(turn, shard, progress.reason);
    return;
  }
  if (progress.foreign === true) shard.foreign = true;
  else delete shard.foreign;
  loseShard(turn, shard, progress.reason || 'no reason was given');
}

/** Records that a shard has been silent for too long. If it cannot be rebuilt completely, the fleet waits for it (C6). */
function shardSilent(turn: Turn, shard: ShardRow, reason: string): void {
  if (shard.lost !== undefined || shard.state !== 'READY') return;
  const slices = [...turn.slices.all()].filter((slice) => slice.shard === shard.id);
  const { settings } = turn;
  if (settings.rebuilds && settings.mode !== 'observe' && slices.every(({ slice }) => canRebuild(turn, slice))) {
    shard.silent = true;
    loseShard(turn, shard, reason);
    return;
  }
  const why = 'the subscription table does not have everything that is on it, or nothing is carried out here';
  turn.refuse(shard.id, 'table', `${shard.id} is waited for and not taken for lost (${reason}): ${why}.`);
}

/** The shard has lost its data, as far as is known (C5). */
export function loseShard(turn: Turn, shard: ShardRow, reason: string): void {
  const { shards, settings } = turn;
  const isNews = shard.lost === undefined;
  shard.lost = reason;
  shards.put(shard);
  if (!isNews) return;
  shards.lose(shard.id);
  publishLoss(turn, shard);
  turn.keepCell();
  const isRebuilt = settings.rebuilds && !shard.foreign;
  const waitMs = shard.asked ? 0 : settings.rebuildAfterMs;
  const then = isRebuilt
    ? `it is rebuilt from the subscription table if it is not back within ${waitMs / 1000} s`
    : 'nothing is moved from it or to it until it is back';
  turn.decide({ kind: 'KEEP', subject: shard.id, reason: `${shard.id} has lost its data: ${then} (${reason}).` });
  for (const move of turn.moves.open()) {
    if (move.from !== shard.id && move.to !== shard.id) continue;
    const why = `${shard.id} has lost its data`;
    const isSourceLost = shards.get(move.from)?.lost !== undefined;
    const isTheOnlyOne = isSourceLost && !(isRebuilt && canRebuild(turn, move.slice));
    if (move.state !== 'SHARED') (isTheOnlyOne ? giveUp : abort)(turn, move, why);
    else if (isSourceLost)
      promoteReplica(turn, move, `${move.slice} is served by its replica on ${move.to} alone: ${why}.`);
    else if (move.to === shard.id) endReplica(turn, move, `The replica of ${move.slice} is removed: ${why}.`, {});
  }
}

/** Publishes the loss of a shard to readers and tasks that know it. */
export function publishLoss(turn: Turn, shard: ShardRow): void {
  if (shard.epoch > 0 && shard.state === 'READY') shard.epoch = turn.publish([shardEntry(shard, 'READY')]);
  turn.shards.put(shard);
}

/** The shard answers again. Slices that are being rebuilt are not read from it any more. */
function shardFound(turn: Turn, shard: ShardRow): void {
  if (shard.lost === undefined || shard.forced) return;
  shard.back = true;
  turn.shards.put(shard);
  takeBack(turn, shard);
}

/** A shard that answers again is in use as before, once none of its slices is being rebuilt. */
export function takeBack(turn: Turn, shard: ShardRow): void {
  for (const { rebuilds, from } of turn.moves.open()) if (rebuilds === true && from === shard.id) return;
  for (const key of OF_A_LOSS) delete shard[key];
  turn.shards.found(shard.id);
  turn.keepCell();
  publishLoss(turn, shard);
  turn.decide({ kind: 'KEEP', subject: shard.id, reason: `${shard.id} is back with its data.` });
  for (const move of turn.moves.open()) {
    if (move.to === shard.id) switchWhenFree(turn, move);
  }
}

const OF_A_LOSS = [
  ...(['lost', 'foreign', 'lostWallTime', 'asked', 'silent', 'silentOffset', 'silentWallTime', 'back'] as const),
  ...(['rebuilding', 'rebuiltAt'] as const),
];

/** Publishes the slices that a split or merge has made (C2). */
function publishChange(turn: Turn, change: ChangeRow): void {
  const { slices, settings } = turn;
  const before = change.before.map((key) => slices.get(key)!);
  const gone = change.before.filter((key) => !change.after.includes(key));
  const made = change.after.filter((key) => !change.before.includes(key));
  const next = turn.publish([
    ...gone.map((key) => pointerEntry(key, 'GONE', [])),
    ...made.map((key) => pointerEntry(key, 'SINGLE', [change.shard])),
  ]);
  const total = (of: (slice: SliceRow) => number): number => before.reduce((sum, slice) => sum + of(slice), 0);
  // An estimate until apply has counted: halves of a hash slice are equal, and a carved-out slice is small compared
  // with the rest.
  const share = gone.length > 0 ? 1 / made.length : 0;
  const entries = total((slice) => slice.entries) * share;
  const bytes = total((slice) => slice.bytes) * share;
  const coolUntil = eventTime(change.change === 'MERGE' ? turn.now + settings.coolDownMs : turn.now);
  followChange(turn, change);
  // A shard that one of them has left counts as left by all (constraints/return.ts).
  const left = before.flatMap((slice) => slice.left ?? []).filter(({ until }) => until > turn.now);
  for (const key of gone) slices.delete(key);
  for (const key of made) {
    const slice = { ...newSlice(key, change.shard), epoch: next, entries, bytes, coolUntil };
    slices.put(left.length === 0 ? slice : { ...slice, left });
  }
  for (const key of change.before) freeSlice(turn, key, coolUntil);
}

function ignore(turn: Turn, what: string): void {
  turn.cell.ignored.progress++;
  turn.keepCell();
  turn.refuse('progress', 'illegal-step', `A progress report from apply was ignored: ${what}.`);
}

const newSlice = (slice: SliceKey, shard: ShardId): SliceRow => ({
  kind: 'slice',
  slice,
  shard,
  epoch: epoch(0),
  entries: 0,
  bytes: 0,
  coolUntil: eventTime(0),
  busyWith: '',
});

const newShard = (id: ShardId, storeKind: StoreKind, datastoreType: string, wallTime: number): ShardRow => ({
  kind: 'shard',
  id,
  storeKind,
  datastoreType,
  instanceId: '',
  address: '',
  state: 'PROVISIONING',
  epoch: epoch(0),
  resizingTo: '',
  askedWallTime: wallTime,
  roomyPlans: 0,
});

const newCell = (settings: PlanSettings): CellRow => ({
  kind: 'cell',
  started: false,
  epoch: epoch(0),
  read: { epoch: 0, index: -1, count: 0 },
  nextShard: 3, // After the two of genesis.
  nextMove: 1,
  nextCommand: 1,
  nextDecision: 1,
  now: eventTime(0),
  plannedAt: eventTime(0),
  wallTime: 0,
  requestsThisTick: 0,
  requests: [],
  openMoves: [],
  closedMoves: [],
  openShards: [],
  brokers: [],
  ledger: [],
  measured: {
    copyBytesPerSecond: settings.copyBytesPerSecond,
    propagationMs: settings.propagationMs,
    provisioningMs: {},
  },
  planned: { KEY_VALUE: [], TRIE: [] },
  learned: { KEY_VALUE: {}, TRIE: {} },
  avoided: {},
  ignored: { forecasts: 0, progress: 0, pointers: 0, requests: 0 },
});
