// Fill: the table of subscriptions of a partition that has not had it from its first event on, or not all the time, is filled
// from its shards, in the background. Then it is whole.
//
//   F1. Until then shards know more than the table. A row of the table that is of this life of it is the outcome of every
//       event since, so it stays; where there is none, what the shard has is taken.
//   F2. A page is read in the commit, behind the writes of all events before it, and taken before the next event is stepped:
//       only what an outcome asks for is performed like that, so the tick asks for a first row (`knock`), and its outcome for
//       the page. So a removal, which leaves no row in the table, is in the page or comes after what was taken from it.
//   F3. A shard that has yet to write what waits for it, is not ready, or does not say that it has the slice, is not read. Its
//       slices wait, and the others go on.
//   F4. What a run before this one wrote and did not commit may be in a page. Its event comes again, with the version that was
//       taken, and is done again (subscriptions.ts T7).
//   F5. How far a slice is, is kept with the slice: a restart goes on there, and a move takes it along. What a split or a merge
//       has made is read from its beginning, but where all that it was made of was filled.
//   F6. Each time that the table has missed events it begins another life. Rows of an earlier one say nothing, and are dropped.

import type { SliceKey } from '../../schemas/ids.ts';
import { integer } from '../../schemas/setting.ts';
import type { Outcome, SubscriptionRow } from '../../state/effects.ts';
import { NOTHING, type Page, type Rows } from '../step.ts';
import { leaveAlone, obstacleAt } from './away.ts';
import type { Filled, Filling } from './fill-state.ts';
import { effect, type Kept, type Out, tell } from './out.ts';
import { type PartitionState, type Row, storePartitionState } from './partition-state.ts';
import {
  isSpilled,
  type KeptRow,
  recordOf,
  type Subscription,
  subscriptionAt,
  subscriptionKey,
} from './subscriptions.ts';

export interface FillSettings {
  /** In each partition; 0: the table stays as it is. */
  readonly fillRowsPerSecond: number;
  /** Rows of one page, or of one comparison: bounds how long a commit waits for it. */
  readonly checkPageRows: number;
}

export const FILL_SETTINGS = {
  fillRowsPerSecond: integer(
    2_000,
    { min: 0, max: 1_000_000, unit: 'rows/s' },
    'How fast each partition’s table of subscriptions is filled from its shards, where it was not kept from the first event on. 0 leaves it as it is: what it does not have whole is neither checked nor rebuilt.',
  ),
};

/** A page costs at least as much as so many rows: of a thousand empty slices there are not a thousand pages a second. */
const PAGE_ROWS_MIN = 100;

export function isFilled({ tableLife }: PartitionState, filled: Filled | undefined): boolean {
  return filled?.life === tableLife && filled.upTo === undefined;
}

/** What was made of these slices is filled, or not begun (F5). */
export function filledFrom(state: PartitionState, filled: readonly (Filled | undefined)[]): Filled | undefined {
  return filled.every((each) => isFilled(state, each)) ? filled[0] : undefined;
}

/** What is known of a subscription by this life of the table (F6). */
export function knownIn({ tableLife }: PartitionState, row: KeptRow | undefined): Subscription | undefined {
  return row === undefined || isSpilled(row) || (row.life ?? 0) !== tableLife ? undefined : row;
}

/** A row as this life of the table keeps it. */
export const keptIn = ({ tableLife }: PartitionState, row: Subscription): Subscription =>
  tableLife === 0 ? row : { ...row, life: tableLife };

/** The table has missed events, and is kept again from here on (F6). */
export function beginLife(state: PartitionState): void {
  state.tableMisses = false;
  state.tableIsWhole = false;
  state.tableLife += 1;
  state.tableIsClear = false;
}

/** What of the table a tick will look at. */
export function pagesOfFill({ tableIsWhole, filling }: PartitionState, settings: FillSettings): readonly Page[] {
  const dropping = tableIsWhole ? undefined : filling?.dropping;
  return dropping === undefined ? NOTHING : [pageDropped(dropping, settings)];
}

/** What of the table is looked at when a page has been read. */
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
  filling.budgetRows = Math.min(1, filling.budgetRows + (settings.fillRowsPerSecond * Math.max(0, elapsedMs)) / 1_000);
  if (filling.budgetRows <= 0 || filling.asked !== undefined) return NOTHING;
  if (filling.dropping !== undefined) return dropped(rows, state, filling, settings, kept);
  const slice = nextSlice(state, filling);
  if (slice === undefined)
    return [...state.homes.values()].every((home) => isFilled(state, home.filled)) ? whole(rows, state) : NOTHING;
  filling.slice = slice;
  filling.asked = 'knock';
  return [reading(state, slice, 1)];
}

/** A shard has told what it has of a slice. */
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
  if (filling.slice !== slice || home?.shard !== shard) return NOTHING; // It was switched, split or merged meanwhile.
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

/** Why the table of a partition is not whole, and how far it is. */
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

/** F6. */
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
    if (knownIn(state, row) !== undefined) continue;
    kept.delete(key);
    const { filter, clientId } = subscriptionAt(key);
    out.push(recordOf(state.partition, filter, clientId, undefined));
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

/** The one under way, or the first that is not filled and can be read now (F3). */
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
