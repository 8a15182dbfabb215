// Benefit audit: compares what an action promised to save with what it has saved an hour later, in dollars.
//
//   H1. A shard has at most one open promise. Further actions for the same shard add their cost to it and are reviewed
//       with it.
//   H2. What was avoided is measured: the time during which the present load of the shard, together with that of the
//       slices that have left it, would have exceeded the safe capacity that the shard had. Capacity given back saves
//       until it is bought again. Slices that have left are followed wherever they go, also when they are split, carved
//       or merged.
//   H3. The share that is kept of what was promised sets the dead band: after each review
//           kept = 0.8 kept + 0.2 min(1, realised / promised),   dead band = setting x (2 - kept),
//       so it lies between one and two times its setting, and one review moves it by at most a fifth of the setting.
//
// A promise is made from the median of the forecast. An action that only the upper quantile asks for is an insurance:
// it promises nothing and does not count. Neither does balancing, which answers no overload, nor room for entries and
// memory, which do not rise and fall over the day, nor room for clients and bandwidth: a review measures operations.

import { type EventTime, eventTime, type ShardId, type SliceKey } from '../../../schemas/ids.ts';
import type { Action } from '../cluster/actions.ts';
import { FLOWING, limitOf } from '../cluster/catalog.ts';
import type { Snapshot } from '../cluster/cluster-model.ts';
import { calibrationOf, type PlannedShard } from '../cluster/cluster-shard.ts';
import { moveDollars, overloadDollars } from '../costs/cost.ts';
import { heldShare } from '../demand/footprint.ts';
import { addTo, emptySum, upperAt } from '../demand/utilisation-forecast.ts';
import type { PlanSettings } from '../settings.ts';
import { replicaOf } from '../stage/moves.ts';
import type { CellRow, ChangeRow, PromiseRow } from '../stage/rows.ts';
import type { Turn } from '../stage/turn.ts';

const HOUR_MS = 3_600_000;
/** What one review weighs in `kept`. */
const REVIEW_WEIGHT = 0.2;
/**
 * Slices followed for one promise. A shard gives away more than this within an hour only when nearly all of it goes.
 */
const LEFT_MAX = 256;

/** The dead band that the promises kept so far have earned (H3). */
export const earnedDeadBand = (cell: Pick<CellRow, 'kept'>, settings: PlanSettings): number =>
  settings.deadBand * (2 - (cell.kept ?? 1));

/** Notes what an action that has just been decided promises. `before` is the cluster that it was planned on. */
export function openAudit(turn: Turn, action: Action, before: Snapshot): void {
  const { promises } = turn.state;
  if (action.kind === 'ALLOCATE' || (action.kind === 'RESIZE' && action.urgent)) buyAgain(turn, action);
  const open = promises.get(action.concerns);
  if (action.urgent) {
    const row = open ?? relief(turn, action.concerns, before);
    if (row === undefined || row.savesPerHour > 0) return; // H1
    if (action.kind === 'MOVE' && action.slice.shard === row.shard && row.left.length < LEFT_MAX)
      row.left.push(action.slice.slice);
    row.spentDollars += onceDollars(action, before);
    if (action.kind === 'ALLOCATE')
      row.spentDollars += dollarsOver(action.type.dollarsPerHour, turn.settings.horizonMs);
    row.decisions.push(turn.lastDecision);
    promises.put(row);
    return;
  }
  const saves = action.kind === 'RETIRE' || (action.kind === 'RESIZE' && action.dollarsPerHour < 0);
  if (saves && open === undefined) promises.put(saving(turn, action, before));
}

/** On each split and merge: what is made of slices that have left has left too (H2). */
export function followChange({ state }: Turn, { change, before, after }: ChangeRow): void {
  for (const row of state.promises.all()) {
    if (!before.some((slice) => row.left.includes(slice))) continue;
    // Only cold slices are merged, so the merged-in slice adds next to nothing to the other.
    const follows = change === 'SPLIT' || after.some((slice) => row.left.includes(slice));
    const isWhole = before.every((slice) => row.left.includes(slice));
    const made = follows || isWhole ? after : [];
    row.left = [...row.left.filter((slice) => !before.includes(slice)), ...made].slice(0, LEFT_MAX);
    state.promises.put(row);
  }
}

/** What an action costs once. */
export function onceDollars(action: Action, { shards }: Snapshot): number {
  if (action.kind === 'ALLOCATE' || action.kind === 'RESIZE') return action.type.dollarsPerProvisioning;
  if (action.kind !== 'MOVE' && action.kind !== 'WAIT') return 0;
  const target = shards.find((shard) => shard.id === action.to);
  return target === undefined ? 0 : moveDollars(action.slice.bytes, target.type);
}

/** On each plan: measures what open promises have avoided since the last one, and reviews those whose time is over. */
export function closeAudits(turn: Turn, snapshot: Snapshot): void {
  const { promises } = turn.state;
  const open = [...promises.all()];
  if (open.length === 0) return;
  const loads = measuredLoads(turn, snapshot);
  for (const row of open) {
    if (row.openedAt > turn.now) {
      promises.delete(row.shard); // Event time went back: nothing of this has happened.
      continue;
    }
    if (row.savesPerHour === 0) measure(row, turn, snapshot, loads);
    else row.realisedDollars = dollarsOver(row.savesPerHour, Math.min(turn.now, row.until) - row.openedAt);
    row.measuredAt = turn.now;
    promises.put(row);
    if (turn.now >= row.until) review(turn, row, '');
  }
}

/** A promise to spare a shard its overload. `undefined` when the shard has gone, or is full of what does not pass. */
function relief(turn: Turn, shard: ShardId, before: Snapshot): PromiseRow | undefined {
  const planned = before.shards.find(({ id }) => id === shard);
  if (planned === undefined) return undefined;
  const { settings, now } = turn;
  const steps = settings.horizonSteps;
  const median = new Float64Array(steps);
  let current = 0;
  let entries = 0;
  let bytes = 0;
  const flows = { clients: emptySum(steps), bandwidth: emptySum(steps) };
  for (const slice of before.slices) {
    if (slice.shard !== shard) continue;
    for (const flowing of FLOWING) {
      const flow = slice.load[flowing];
      if (flow !== undefined) addTo(flows[flowing], flow, 1);
    }
    current += slice.load.now;
    entries += slice.entries;
    bytes += slice.bytes;
    for (let k = 0; k < steps; k++) median[k]! += slice.load.median[k]!;
  }
  if (heldShare({ entries, bytes }, planned.type, before.footprints[planned.kind]) > settings.safeUtilisation)
    return undefined;
  for (const flowing of FLOWING) {
    const safePerSecond = settings.safeUtilisation * limitOf(planned.type, flowing);
    for (let k = 0; k < steps; k++)
      if (upperAt(flows[flowing], k, settings.errorCorrelation, undefined) > safePerSecond) return undefined;
  }
  const calibration = calibrationOf(planned, current, settings);
  const capacityPerSecond = safe(planned, settings);
  const stepsAbove = median.filter((load) => load * calibration > capacityPerSecond).length;
  const expectedMs = (stepsAbove * settings.horizonMs) / steps;
  return {
    ...fresh(shard, planned, now, eventTime(now + settings.horizonMs)),
    capacityPerSecond,
    calibration,
    expectedMs,
    promisedDollars: overloadDollars(expectedMs, settings),
  };
}

/** A promise to save the cost of a shard that is given back, or of a bigger type. */
function saving(turn: Turn, action: Action & { kind: 'RETIRE' | 'RESIZE' }, before: Snapshot): PromiseRow {
  const planned = before.shards.find(({ id }) => id === action.shard)!;
  const savesPerHour = -action.dollarsPerHour;
  return {
    ...fresh(action.shard, planned, turn.now, eventTime(turn.now + turn.settings.paybackMs)),
    savesPerHour,
    spentDollars: onceDollars(action, before),
    promisedDollars: dollarsOver(savesPerHour, turn.settings.paybackMs),
    decisions: [turn.lastDecision],
  };
}

const fresh = (shard: ShardId, { kind }: PlannedShard, openedAt: EventTime, until: EventTime): PromiseRow => ({
  kind: 'promise',
  shard,
  storeKind: kind,
  openedAt,
  until,
  measuredAt: openedAt,
  savesPerHour: 0,
  capacityPerSecond: 0,
  calibration: 1,
  expectedMs: 0,
  avoidedMs: 0,
  sufferedMs: 0,
  left: [],
  spentDollars: 0,
  promisedDollars: 0,
  realisedDollars: 0,
  decisions: [],
});

/** A purchase ends the savings promised for the same kind of store (H2). */
function buyAgain(turn: Turn, action: Action & { kind: 'ALLOCATE' | 'RESIZE' }): void {
  for (const row of turn.state.promises.all()) {
    if (row.savesPerHour === 0 || row.storeKind !== action.type.kind) continue;
    if (action.kind === 'RESIZE' && row.shard !== action.shard) continue;
    row.realisedDollars = dollarsOver(row.savesPerHour, turn.now - row.openedAt);
    review(turn, row, action.kind === 'ALLOCATE' ? `${action.shard} was bought` : `${action.shard} was made bigger`);
    return;
  }
}

/** Load of each slice and shard by what is measured, with moving slices, and replicas in the making, where they still are. */
function measuredLoads(turn: Turn, snapshot: Snapshot) {
  const ofSlice = new Map<SliceKey, { readonly shard: ShardId; readonly perSecond: number }[]>();
  const ofShard = new Map<ShardId, number>();
  for (const { slice, shard: planned, load, isReplica } of snapshot.slices) {
    const row = turn.slices.get(slice);
    const isThere = row === undefined || (isReplica && replicaOf(turn, row) !== undefined);
    const shard = isThere ? planned : row.shard;
    ofSlice.set(slice, [...(ofSlice.get(slice) ?? []), { shard, perSecond: load.now }]);
    ofShard.set(shard, (ofShard.get(shard) ?? 0) + load.now);
  }
  return { ofSlice, ofShard };
}

function measure(row: PromiseRow, turn: Turn, snapshot: Snapshot, loads: ReturnType<typeof measuredLoads>): void {
  const { settings, now } = turn;
  const shard = snapshot.shards.find(({ id }) => id === row.shard);
  const sinceMs = Math.min(now, row.until) - row.measuredAt;
  if (shard === undefined || sinceMs <= 0) return;
  const there = (loads.ofShard.get(row.shard) ?? 0) * row.calibration;
  let without = there;
  for (const key of row.left)
    for (const { shard: at, perSecond } of loads.ofSlice.get(key) ?? [])
      if (at !== row.shard) without += perSecond * row.calibration;
  // A shard that is being resized still has what it had.
  const capacity = shard.resizing ? row.capacityPerSecond : safe(shard, settings);
  if (there > capacity) row.sufferedMs += sinceMs;
  else if (without > row.capacityPerSecond) row.avoidedMs += sinceMs;
  row.realisedDollars = overloadDollars(row.avoidedMs, settings);
}

const safe = (shard: PlannedShard, settings: PlanSettings): number =>
  settings.safeUtilisation * shard.type.operationsPerSecond;

/** Publishes the review, and adjusts the dead band (H3). */
function review(turn: Turn, row: PromiseRow, boughtAgain: string): void {
  const { cell } = turn;
  turn.state.promises.delete(row.shard);
  if (row.promisedDollars > 0) {
    const share = Math.min(1, row.realisedDollars / row.promisedDollars);
    cell.kept = (1 - REVIEW_WEIGHT) * (cell.kept ?? 1) + REVIEW_WEIGHT * share;
    turn.keepCell();
  }
  const band = `Recent actions have saved ${percent(cell.kept ?? 1)} of what they promised, so placement now leaves ${percent(earnedDeadBand(cell, turn.settings))} of each shard free.`;
  turn.decide({
    kind: 'REVIEW',
    subject: row.shard,
    reason: `${row.savesPerHour > 0 ? savingText(row, turn.now, boughtAgain) : reliefText(row)} ${band}`,
    capacityPerSecond: row.savesPerHour > 0 ? -1 : row.capacityPerSecond,
    dollarsOnce: row.spentDollars,
    promisedDollars: row.promisedDollars,
    realisedDollars: row.realisedDollars,
  });
}

function reliefText(row: PromiseRow): string {
  const expected =
    row.expectedMs > 0
      ? `${minutes(row.expectedMs)} had been forecast`
      : 'the median forecast had none, so the action was an insurance';
  const suffered =
    row.sufferedMs > 0 ? ` In spite of the action it was above that for ${minutes(row.sufferedMs)}.` : '';
  return (
    `${actionsText(row)}: without them, ${row.shard} would have been above its safe ${Math.round(row.capacityPerSecond)} operations/s for ` +
    `${minutes(row.avoidedMs)} of ${minutes(row.until - row.openedAt)}; ${expected}.${suffered} ` +
    `That cost $${row.spentDollars.toFixed(2)} and saved $${row.realisedDollars.toFixed(2)}.`
  );
}

const savingText = (row: PromiseRow, now: EventTime, boughtAgain: string): string =>
  boughtAgain === ''
    ? `${actionsText(row)}: $${row.realisedDollars.toFixed(2)} were saved within ${minutes(row.until - row.openedAt)}, as promised.`
    : `${actionsText(row)}: $${row.realisedDollars.toFixed(2)} of the promised $${row.promisedDollars.toFixed(2)} were saved, for ${boughtAgain} after ${minutes(now - row.openedAt)}.`;

/** A longer list of decisions is shown as its first and last. */
const LISTED_MAX = 8;

const actionsText = ({ decisions }: PromiseRow): string =>
  decisions.length <= LISTED_MAX
    ? `Review of ${decisions.join(', ')}`
    : `Review of ${decisions[0]} to ${decisions.at(-1)} (${decisions.length} actions)`;

const dollarsOver = (perHour: number, ms: number): number => (perHour * ms) / HOUR_MS;
const minutes = (ms: number): string => `${Math.round(ms / 60_000)} min`;
const percent = (share: number): string => `${Math.round(share * 100)} %`;
