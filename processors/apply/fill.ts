// Fill: fills an incomplete subscription table of a partition from its shards, in the background. A table is incomplete
// when it was not kept from the partition's first event on, or not all the time.
//
//   F1. Until the table is complete, shards know more than the table. A row of the table's present life is the outcome
//       of every event since that life began, so it stays; where there is no such row, the shard's row is taken.
//   F2. A page is read within the commit, after the writes of all earlier events, and its rows are taken before the
//       next event is stepped. Only effects that an outcome causes are performed in this way, so the tick first
//       requests a single row (`knock`), and its outcome causes the request for the page. So a removal, which leaves no
//       row in the table, either is in the page or comes after the page's rows were taken.
//   F3. A shard is not read while writes for it wait on disk, while it is not ready, or when it does not say that it
//       has the slice. Its slices wait, and the others continue.
//   F4. A page may contain what an earlier run wrote and did not commit. Its event then comes again, with the version
//       that was taken, and is applied again (subscriptions.ts T7).
//   F5. The progress of a slice is stored with the slice: it continues there after a restart, and a move keeps it. A
//       slice that a split or a merge has made is read from its beginning, unless all slices that it was made from were
//       filled.
//   F6. Each time the table has missed events it begins another life. Rows of an earlier life do not count, and are
//       dropped.

import type { SliceKey } from '../../schemas/ids.ts';
import { integer } from '../../schemas/setting.ts';
import type { Outcome, SubscriptionRow } from '../../state/effects.ts';
import { NOTHING, type Page, type Rows } from '../step.ts';
import { leaveAlone, obstacleAt } from './away.ts';
import type { Filled, Filling } from './fill-state.ts';
import { effect, type Kept, type Out, tell } from './out.ts';
import { type PartitionState, type Row, storePartitionState } from './partition-state.ts';
import { dropRow, isSpilled, type KeptRow, recordOf, type Subscription, subscriptionKey } from './subscriptions.ts';
import { budgetAfter } from './table-pages.ts';

export interface FillSettings {
  /** Rate in each partition; 0: the table stays as it is. */
  readonly fillRowsPerSecond: number;
  /** Most rows of one page, or of one comparison: limits how long a commit waits for it. */
  readonly checkPageRows: number;
}

export const FILL_SETTINGS = {
  fillRowsPerSecond: integer(
    2_000,
    { min: 0, max: 1_000_000, unit: 'rows/s' },
    'How fast each partition’s subscription table is filled from its shards, where it was not kept from the first event on. 0 turns filling off: partitions with an incomplete table are then neither checked nor rebuilt.',
  ),
};

/**
 * A page counts as at least this many rows, so that a thousand empty slices do not cause a thousand requests a second.
 */
const PAGE_ROWS_MIN = 100;

export function isFilled({ tableLife }: PartitionState, filled: Filled | undefined): boolean {
  return filled?.life === tableLife && filled.upTo === undefined;
}

/** The progress of a slice made from these slices: filled, or not begun (F5). */
export function filledFrom(state: PartitionState, filled: readonly (Filled | undefined)[]): Filled | undefined {
  return filled.every((each) => isFilled(state, each)) ? filled[0] : undefined;
}

/** What this life of the table knows of a subscription (F6). */
export function knownIn({ tableLife }: PartitionState, row: KeptRow | undefined): Subscription | undefined {
  return row === undefined || isSpilled(row) || (row.life ?? 0) !== tableLife ? undefined : row;
}

/** A row as this life of the table stores it. */
export const keptIn = ({ tableLife }: PartitionState, row: Subscription): Subscription =>
  tableLife === 0 ? row : { ...row, life: tableLife };

/** The table has missed events, and is kept again from here on (F6). */
export function beginLife(state: PartitionState): void {
  state.tableMisses = false;
  state.tableIsWhole = false;
  state.tableLife += 1;
  state.tableIsClear = false;
}

/** The pages of the table that a tick will read. */
export function pagesOfFill({ tableIsWhole, filling }: PartitionState, settings: FillSettings): readonly Page[] {
  const dropping = tableIsWhole ? undefined : filling?.dropping;
  return dropping === undefined ? NOTHING : [pageDropped(dropping, settings)];
}

/** The keys of the table that are needed when a page has been read. */
export function keysOfFill(outcome: Extract<Outcome, { readonly kind: 'read' }>): string[] {
  return outcome.rows.map(({ filter, clientId }) => subscriptionKey(filter, clientId));
}

export function onFillTick(
  rows: Rows<Row>,
  state: PartitionState,
  elapsedMs: number,
  settings: FillSettings,
  kept: Kept,
): readonly Out[] {
  if (kept === undefined || state.tableIsWhole || settings.fillRowsPerSecond === 0) return NOTHING;
  state.filling ??= begun(state);
  const { filling } = state;
  filling.budgetRows = budgetAfter(filling.budgetRows, settings.fillRowsPerSecond, elapsedMs);
  if (filling.budgetRows <= 0 || filling.asked !== undefined) return NOTHING;
  if (filling.dropping !== undefined) return dropped(rows, state, filling, settings, kept);
  const slice = nextSlice(state, filling);
  if (slice === undefined)
    return [...state.homes.values()].every((home) => isFilled(state, home.filled)) ? whole(rows, state) : NOTHING;
  filling.slice = slice;
  filling.asked = 'knock';
  return [reading(state, slice, 1)];
}

/** Takes the rows that a shard has returned of a slice. */
export function onRead(
  rows: Rows<Row>,
  state: PartitionState,
  outcome: Extract<Outcome, { readonly kind: 'read' }>,
  settings: FillSettings,
  kept: Kept,
): readonly Out[] {
  const { filling } = state;
  const asked = filling?.asked;
  if (filling === undefined || asked === undefined || kept === undefined) return NOTHING;
  filling.asked = undefined;
  const { slice, shard } = outcome;
  const home = state.homes.get(slice);
  if (filling.slice !== slice || home?.shard !== shard) return NOTHING; // The slice was moved, split or merged meanwhile.
  if (outcome.away !== '') {
    leaveAlone(state, shard);
    filling.reason = `${slice} on ${shard}: ${outcome.away}`;
    return NOTHING;
  }
  if (obstacleAt(state, shard) !== undefined) return NOTHING; // F3
  if (asked === 'knock') {
    filling.asked = 'page';
    return [reading(state, slice, settings.checkPageRows)]; // F2
  }
  filling.budgetRows -= Math.max(PAGE_ROWS_MIN, outcome.rows.length);
  const out: Out[] = [];
  for (const row of outcome.rows) {
    const key = subscriptionKey(row.filter, row.clientId);
    const known = knownIn(state, kept.get(key));
    if (row.gone || (known !== undefined && known.removed !== true)) continue; // F1
    const taken = keptIn(state, subscriptionOf(row));
    kept.set(key, taken);
    out.push(recordOf(state.partition, row.filter, row.clientId, taken));
  }
  const { upTo } = outcome;
  home.filled = upTo === undefined ? { life: state.tableLife } : { life: state.tableLife, upTo };
  state.changed.add(slice);
  storePartitionState(rows, state);
  return out;
}

/** Why the table of a partition is incomplete, and its progress. */
export function fillText(state: PartitionState, { fillRowsPerSecond }: FillSettings): string {
  let filled = 0;
  for (const home of state.homes.values()) if (isFilled(state, home.filled)) filled += 1;
  const why = 'it was not kept from the first event on';
  if (fillRowsPerSecond === 0) return `${why}, and FORESHARD_FILL_ROWS_PER_SECOND is 0`;
  const waits = state.filling?.reason ? `; ${state.filling.reason}` : '';
  return `${why}, and is being filled: ${filled} of ${state.homes.size} slices are${waits}`;
}

// ---- private -------------------------------------------------------------------------------------------------------

const begun = ({ tableIsClear }: PartitionState): Filling => ({
  ...{ dropping: tableIsClear ? undefined : { prefix: 'c', after: undefined } },
  ...{ slice: undefined, asked: undefined, budgetRows: 0, reason: '' },
});

const pageDropped = ({ prefix, after }: NonNullable<Filling['dropping']>, { checkPageRows }: FillSettings): Page => ({
  ...{ prefix, after, limit: checkPageRows },
});

/** Drops rows of earlier lives (F6). */
function dropped(
  rows: Rows<Row>,
  state: PartitionState,
  filling: Filling,
  settings: FillSettings,
  kept: NonNullable<Kept>,
): readonly Out[] {
  const page = pageDropped(filling.dropping!, settings);
  if (!kept.hasPage(page)) return NOTHING; // At the next tick, which asks for it.
  const { rows: there, done, last } = kept.page(page);
  const out: Out[] = [];
  for (const [key, row] of there) {
    if (knownIn(state, row) === undefined) out.push(dropRow(state.partition, kept, key));
  }
  filling.budgetRows -= Math.max(PAGE_ROWS_MIN, there.length);
  if (!done) filling.dropping = { prefix: filling.dropping!.prefix, after: last };
  else if (filling.dropping!.prefix === 'c') filling.dropping = { prefix: 'w', after: undefined };
  else {
    filling.dropping = undefined;
    state.tableIsClear = true;
    storePartitionState(rows, state);
  }
  return out;
}

/** The slice under way, or the first one that is not filled and can be read now (F3). */
function nextSlice(state: PartitionState, filling: Filling): SliceKey | undefined {
  const { slice } = filling;
  if (slice !== undefined && canBeRead(state, filling, slice)) return slice;
  for (const other of state.homes.keys()) if (canBeRead(state, filling, other)) return other;
  return undefined;
}

function canBeRead(state: PartitionState, filling: Filling, slice: SliceKey): boolean {
  const home = state.homes.get(slice);
  if (home === undefined || isFilled(state, home.filled)) return false;
  const obstacle = obstacleAt(state, home.shard);
  if (obstacle !== undefined) filling.reason = `${slice}: ${obstacle}`;
  return obstacle === undefined;
}

function reading(state: PartitionState, slice: SliceKey, limit: number): Out {
  const { shard, filled } = state.homeOf(slice);
  const after = filled?.life === state.tableLife ? filled.upTo : undefined;
  return effect({ kind: 'read', shard, range: state.rangeOf(slice), after, limit });
}

function subscriptionOf({ brokerId, qos, options, version, at }: SubscriptionRow): Subscription {
  return { brokerId, qos, ...(options === undefined ? {} : { options }), version, at };
}

function whole(rows: Rows<Row>, state: PartitionState): readonly Out[] {
  state.tableIsWhole = true;
  state.filling = undefined;
  storePartitionState(rows, state);
  const { partition } = state;
  return [tell(state, `table/${partition}`, { kind: 'TableProgress', partition, whole: true })];
}
