// Away: the writes for a shard that cannot be reached. Its rows are spilled to the task's own disk, in the same
// transaction as the positions of their events, so that slices of other shards in the same partition continue.
//
//   A1. A position is committed when every event before it is in its shard or in the spill: the spill is part of the
//       state that is restored with the position, so nothing is lost. A row counts as applied only once it is drained.
//   A2. The spill of a shard holds the last row of each subscription, which contains everything that earlier ones did
//       (subscriptions.ts T5). A removal for which the table knew no subscription does not: it is spilled separately,
//       one for each broker. Spilled rows are drained in any order, mixed with newer writes: versions decide.
//   A3. The spill is bounded. Beyond the limit a write waits for its shard, and so does the partition; except for a
//       shard that has lost its data, which will be filled from the table: its rows are dropped, and counted.
//   A4. A shard is asked again after a pause that doubles, since a request may have to wait for a time-out.
//   A5. While a row waited it was in no shard, and its slice may have begun to move without it. So when it is drained
//       it is written to all shards that the slice is on by then; a row whose slice has left this shard is written to
//       this shard alone.
//   A6. A drained row is forgotten, unless a newer row of the same subscription is waiting by then.
//   A7. A row whose write failed does not replace a newer one that was spilled before the failure was known.
//   A8. A removal takes what waits of its subscription away, for whichever shard it waits: drained to a shard that was
//       rebuilt meanwhile, where no removal is remembered, it would be there again.

import type { ShardId } from '../../schemas/ids.ts';
import { compareVersions, type Outcome, type SubscriptionRow } from '../../state/effects.ts';
import { isTrieFilter, placeOf } from '../../state/keys.ts';
import type { Page, Rows } from '../step.ts';
import { effect, type Kept, type Out, writingToo } from './out.ts';
import {
  type PartitionState,
  type Pending,
  type Row,
  type SlicePlacement,
  type SpillRow,
  spillRow,
} from './partition-state.ts';
import { isSpilled, SPILL, subscriptionKey } from './subscriptions.ts';

export interface AwaySettings {
  /** Most rows that may wait for one shard. */
  readonly spillRowsMax: number;
}

/** Rows of one write when draining: about 20 ms. */
const DRAINED_ROWS = 1_000;
const FIRST_PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 5_000;
/** A request without an answer takes ten seconds: a thirtieth of the time. */
const ALONE_MS = 300_000;
const ALARMS = [
  ['half-full', 0.5],
  ['full', 1],
] as const;

/**
 * How to write a row to a shard: `spilled` for one that is away, `tried` where it can be spilled after a failure,
 * `awaited` where it cannot (A3).
 */
export function wayTo(
  state: PartitionState,
  kept: Kept,
  shard: ShardId,
  { spillRowsMax }: AwaySettings,
): 'spilled' | 'tried' | 'awaited' {
  if (kept === undefined || spillRowsMax === 0) return 'awaited';
  const away = state.away.get(shard);
  if (away === undefined) return 'tried';
  const isFull = away.rows >= spillRowsMax && !(away.isLost && state.tableIsWhole);
  if (state.asking.get(shard)?.answers === true) return isFull ? 'awaited' : 'tried';
  return isFull ? 'awaited' : 'spilled';
}

/** Stores a row until its shard is back. */
export function spill(
  rows: Rows<Row>,
  state: PartitionState,
  kept: NonNullable<Kept>,
  shard: ShardId,
  row: SubscriptionRow,
  { spillRowsMax }: AwaySettings,
  out: Out[],
): void {
  const before = state.away.get(shard) ?? noneFor(shard, state.wallTime ?? 0);
  const isDropped = before.rows >= spillRowsMax && before.isLost && state.tableIsWhole; // A3
  if (!isDropped) {
    const key = keyOf(shard, row);
    kept.set(key, { spilled: row });
    state.asking.get(shard)?.renewed?.add(key); // A6
  }
  keep(rows, state, isDropped ? { ...before, dropped: before.dropped + 1 } : { ...before, rows: before.rows + 1 });
  for (const [what, share] of ALARMS)
    if (!isDropped && before.rows + 1 === Math.ceil(spillRowsMax * share))
      out.push({ topic: 'tallies', key: '', value: { what, shard, rows: before.rows + 1 } });
}

/** A8. */
export function overtake(state: PartitionState, kept: NonNullable<Kept>, { filter, clientId }: SubscriptionRow): void {
  for (const shard of state.away.keys()) kept.delete(`${SPILL}${shard}\u0000${subscriptionKey(filter, clientId)}`);
}

/** A write failed because its shard cannot be reached: its rows are spilled. */
export function onUnwritten(
  rows: Rows<Row>,
  state: PartitionState,
  kept: NonNullable<Kept>,
  outcome: Extract<Outcome, { readonly kind: 'unwritten' }>,
  settings: AwaySettings,
): readonly Out[] {
  const { shard, isDrain, isLost } = outcome;
  const failures = (state.asking.get(shard)?.failures ?? 0) + 1;
  const waitMs = Math.min(PAUSE_MS_MAX, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10)); // A4
  state.asking.set(shard, { waitMs, failures, keys: undefined, answers: false });
  const away = state.away.get(shard) ?? noneFor(shard, state.wallTime ?? 0);
  if (away.isLost !== isLost) keep(rows, state, { ...away, isLost });
  const out: Out[] = [];
  if (isDrain) return out;
  for (const row of outcome.rows) {
    const waiting = kept.get(keyOf(shard, row));
    const isNewer =
      waiting !== undefined && isSpilled(waiting) && compareVersions(waiting.spilled.version, row.version) >= 0; // A7
    if (!isNewer) spill(rows, state, kept, shard, row, settings, out);
  }
  return out;
}

/** The rows that `onUnwritten` will read. */
export const keysOfUnwritten = ({ shard, rows }: Extract<Outcome, { readonly kind: 'unwritten' }>): string[] =>
  rows.map((row) => keyOf(shard, row));

/** At each tick: asks shards that are away whether they are back, by writing what waits for them. */
export function onAwayTick(rows: Rows<Row>, state: PartitionState, kept: NonNullable<Kept>, elapsedMs: number): Out[] {
  const out: Out[] = [];
  for (const shard of [...state.away.keys()]) {
    const asking = state.asking.get(shard);
    if (isDue(asking, elapsedMs)) out.push(...drain(rows, state, kept, shard, undefined));
    else state.asking.set(shard, { ...asking!, waitMs: asking!.waitMs - elapsedMs });
  }
  return out;
}

/** The pages that `onAwayTick` will read. */
export const pagesOfTick = (state: PartitionState, elapsedMs: number): Page[] =>
  [...state.away.keys()]
    .filter((shard) => isDue(state.asking.get(shard), elapsedMs))
    .map((shard) => pageAfter(shard, undefined));

/** Why a shard's rows should not be read now; `undefined` when they can be. */
export function obstacleAt(state: PartitionState, shard: ShardId): string | undefined {
  if (state.away.has(shard)) return `${shard} has yet to write what waits for it`;
  if (state.unready.has(shard)) return `${shard} is not ready`;
  if ((state.shardsAway.get(shard) ?? 0) > state.wallTime!) return `${shard} has not answered lately`;
  state.shardsAway.delete(shard);
  return undefined;
}

/** The shard did not answer: it is not asked for a while, since the partition waits for each request. */
export function leaveAlone(state: PartitionState, shard: ShardId): void {
  state.shardsAway.set(shard, state.wallTime! + ALONE_MS);
}

/** True when the shard is away and must not be asked now (A4). */
export function isPausing(state: PartitionState, shard: ShardId, elapsedMs: number): boolean {
  return state.away.has(shard) && !isDue(state.asking.get(shard), elapsedMs);
}

/** A shard has written some of the rows that waited for it. */
export function onDrained(rows: Rows<Row>, state: PartitionState, kept: NonNullable<Kept>, shard: ShardId): Out[] {
  const { keys, renewed } = state.asking.get(shard) ?? BACK;
  const away = state.away.get(shard);
  if (keys === undefined || away === undefined) return [];
  for (const key of keys) if (renewed?.has(key) !== true) kept.delete(key); // A6
  state.asking.set(shard, { ...BACK, answers: true });
  keep(rows, state, { ...away, rows: Math.max(0, away.rows - keys.length), isLost: false });
  return drain(rows, state, kept, shard, keys.at(-1));
}

/** The pages that `onDrained` will read. */
export function pageOfDrained(state: PartitionState, shard: ShardId): Page[] {
  const keys = state.asking.get(shard)?.keys;
  return keys === undefined ? [] : [pageAfter(shard, keys.at(-1))];
}

// ---- private -------------------------------------------------------------------------------------------------------

const BACK: Pending = { waitMs: 0, failures: 0, keys: undefined, answers: false };

const noneFor = (shard: ShardId, sinceWallMs: number): SpillRow => ({
  ...{ kind: 'spill', shard, rows: 0, dropped: 0, isLost: false, sinceWallMs },
});

function keep(rows: Rows<Row>, state: PartitionState, away: SpillRow): void {
  state.away.set(away.shard, away);
  rows.set(spillRow(away.shard), away);
}

const pageAfter = (shard: ShardId, after: string | undefined): Page => ({
  ...{ prefix: `${SPILL}${shard}\u0000`, after, limit: DRAINED_ROWS },
});

/** The key of a waiting row (A2). */
function keyOf(shard: ShardId, { filter, clientId, brokerId, gone, since }: SubscriptionRow): string {
  const key = `${SPILL}${shard}\u0000${subscriptionKey(filter, clientId)}`;
  return gone && since === undefined ? `${key}\u0000${brokerId}` : key;
}

const isDue = (asking: Pending | undefined, elapsedMs: number): boolean =>
  asking === undefined || (asking.keys === undefined && asking.waitMs <= elapsedMs);

function drain(
  rows: Rows<Row>,
  state: PartitionState,
  kept: NonNullable<Kept>,
  shard: ShardId,
  after: string | undefined,
): Out[] {
  const page = kept.page(pageAfter(shard, after));
  const keys: string[] = [];
  const due: SubscriptionRow[] = [];
  const elsewhere = new Map<SlicePlacement, SubscriptionRow[]>();
  for (const [key, row] of page.rows) {
    if (!isSpilled(row)) continue;
    const home = homeOf(state, row.spilled);
    const isHere = home.shard === shard || home.second?.shard === shard;
    if (!isHere || home.second !== undefined) elsewhere.set(home, [...(elsewhere.get(home) ?? []), row.spilled]); // A5
    if (isHere) {
      keys.push(key);
      due.push(row.spilled);
    } else kept.delete(key);
  }
  const out: Out[] = [];
  for (const [{ shard: owner, second }, moved] of elsewhere) {
    if (owner !== shard) out.push(effect({ kind: 'write', shard: owner, rows: moved, away: 'spill' }));
    if (second !== undefined && second.shard !== shard) out.push(writingToo(state, second, moved));
  }
  const asking = state.asking.get(shard) ?? BACK;
  if (due.length > 0) {
    state.asking.set(shard, { ...asking, keys, renewed: new Set() });
    return [...out, effect({ kind: 'write', shard, rows: due, away: 'drain' })];
  }
  if (after === undefined && page.done) {
    state.asking.delete(shard);
    state.away.delete(shard);
    rows.delete(spillRow(shard));
  } else state.asking.set(shard, { ...asking, keys: undefined, waitMs: 0 }); // Again from the first row, at the next tick.
  return out;
}

function homeOf(state: PartitionState, { filter, clientId }: SubscriptionRow): SlicePlacement {
  const slice = isTrieFilter(filter)
    ? state.tree.groupOf(state.partition, placeOf(filter).prefix)
    : state.tree.concreteSliceOf(filter, state.partition, clientId);
  return state.homeOf(slice);
}
