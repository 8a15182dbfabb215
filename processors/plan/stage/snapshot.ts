// Snapshot: the rows as the plan sees them, with everything under way counted as done.

import type { ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { isTrieSlice } from '../../../state/keys.ts';
import { earnedDeadBand } from '../audit/benefit-audit.ts';
import type { Snapshot } from '../cluster/cluster-model.ts';
import type { PlannedShard, PlannedSlice } from '../cluster/cluster-shard.ts';
import { totalLoads } from '../demand/ahead.ts';
import { type Costs, lookupCost } from '../demand/coefficients.ts';
import { costsOfCell, footprintsOfCell } from '../demand/cost-learning.ts';
import { demandOf, emptyLoad, halfLoad, type Load, type SeriesFacts } from '../demand/demand.ts';
import { type LookupWork, lookupWorkByShard, meanLookupWork, usualLookupWork } from '../demand/lookup-work.ts';
import type { PlanSettings } from '../settings.ts';
import type { CellState } from './cell-state.ts';
import { isSwitched } from './moves.ts';
import type { CellRow, ChangeRow, MoveRow, SeriesRow, ShardRow, SliceRow, SurgeRow } from './rows.ts';
import { isFirst } from './shards.ts';

/** A store's own measurement counts for this long. */
const MEASURED_FRESH_MS = 120_000;
/** A surge counts until the forecasts of the next steps include it. */
export const SURGE_FRESH_MS = 120_000;

export interface Seen {
  readonly snapshot: Snapshot;
  /** The work of look-ups that was assumed for each shard. */
  readonly reaches: ReadonlyMap<ShardId, LookupWork>;
  /** Shards on a type that the catalogue no longer has: not planned. */
  readonly unknownTypes: readonly ShardRow[];
  /** Shards that have lost their data: not planned either. */
  readonly lost: readonly ShardRow[];
}

export function snapshotOf(state: CellState, settings: PlanSettings): Seen {
  const { cell } = state;
  const { now } = cell;
  const shardRows: ShardRow[] = [];
  const sliceRows: SliceRow[] = [];
  const changes: ChangeRow[] = [];
  const series = new Map<string, SeriesRow>();
  const surges = new Map<string, SurgeRow>();
  state.each({
    shard: (row) => shardRows.push(row),
    slice: (row) => sliceRows.push(row),
    change: (row) => changes.push(row),
    series: (row, id) => series.set(id, row),
    surge: (row, id) => now - row.windowStart < SURGE_FRESH_MS && surges.set(id, row),
  });

  const moves = [...state.moves.open()];
  const inFlight = moves.filter(({ state }) => state !== 'SHARED');
  const movesOf = new Map<ShardId, number>();
  for (const move of inFlight) for (const id of [move.from, move.to]) movesOf.set(id, (movesOf.get(id) ?? 0) + 1);

  const reaches = lookupWorkByShard(shardRows, settings.coefficients);
  const replacements = new Map(
    shardRows.flatMap(({ id, lost, replacement }) => (lost && replacement ? [[id, replacement] as const] : [])),
  );
  const placed = placedSlices(sliceRows, changes, moves, reaches, replacements);
  const costs = costsOfCell(cell, settings);
  // Sorted: the order in which the partitions' forecasts came in must not change the last digit of a sum.
  const facts = [...factsOf(series, surges)].sort((a, b) => (a.series < b.series ? -1 : 1));
  const demand = demandOf(placed, facts, costs, settings, now);
  for (const slice of placed) {
    const load = demand.loads.get(slice.slice)!;
    slice.load = slice.replica === undefined ? load : halfLoad(load);
  }

  const shards: PlannedShard[] = [];
  const unknownTypes: ShardRow[] = [];
  for (const row of shardRows) {
    if (row.state === 'RETIRING' || row.lost !== undefined) continue;
    const type = settings.catalog.get(row.resizingTo || row.datastoreType);
    if (type === undefined) unknownTypes.push(row);
    else shards.push(plannedShard(row, type, cell, movesOf));
  }
  shards.sort((a, b) => (a.id < b.id ? -1 : 1));
  const snapshot: Snapshot = {
    now,
    settings: { ...settings, deadBand: earnedDeadBand(cell, settings) },
    catalog: settings.catalog,
    shards,
    slices: [...placed, ...replicasOf(placed)],
    heavyTopics: demand.heavyTopics,
    heavyGroups: demand.heavyGroups,
    totals: totalLoads(facts, costs, reachesAsked(placed, costs, settings), settings, now),
    footprints: footprintsOfCell(cell),
    plannedBefore: cell.planned,
    distrust: demand.distrust,
    measured: cell.measured,
    moves: inFlight.length,
    movesOf,
    ledger: cell.ledger,
    nextShard: cell.nextShard,
    avoided: new Set(Object.keys(cell.avoided).filter((type) => cell.avoided[type]! > now)),
  };
  return { snapshot, reaches, unknownTypes, lost: shardRows.filter((row) => row.lost !== undefined) };
}

/** Filled in once all demand is known. */
type Placed = Omit<PlannedSlice, 'load'> & { load: Load; readonly reach: LookupWork };
const NOT_KNOWN_YET: Load = emptyLoad(0);

/** Slices as they will be when the moves, splits and merges under way have ended. */
function placedSlices(
  rows: readonly SliceRow[],
  changes: readonly ChangeRow[],
  moves: readonly MoveRow[],
  reaches: ReadonlyMap<ShardId, LookupWork>,
  replacements: ReadonlyMap<ShardId, ShardId>,
): Placed[] {
  const targetOf = new Map<SliceKey, ShardId>();
  const replicaAt = new Map<SliceKey, ShardId>();
  for (const { slice, to, asked, replicates, state } of moves)
    if (replicates && !isSwitched(state)) {
      if (asked !== 'ABORT') replicaAt.set(slice, to);
    } else if (asked !== 'ABORT') targetOf.set(slice, to);
  const bySlice = new Map<SliceKey, Placed>();
  for (const { slice, shard, entries, bytes, busyWith, coolUntil, left } of rows) {
    const rebuiltOn = replacements.get(shard);
    const home = targetOf.get(slice) ?? rebuiltOn ?? shard;
    bySlice.set(slice, {
      slice,
      replica: replicaAt.get(slice),
      shard: home,
      reach: reaches.get(home) ?? reaches.get(shard)!,
      entries,
      bytes,
      busy: busyWith !== '' || rebuiltOn !== undefined,
      coolUntil,
      left,
      load: NOT_KNOWN_YET,
    });
  }
  for (const { before, after } of changes) {
    const from = before.flatMap((key) => bySlice.get(key) ?? []);
    const first = from[0];
    if (first === undefined) continue;
    for (const key of before) if (!after.includes(key)) bySlice.delete(key);
    const made = after.filter((key) => !before.includes(key));
    const share = before.some((key) => after.includes(key)) ? 0 : 1 / made.length;
    const entries = from.reduce((sum, slice) => sum + slice.entries, 0) * share;
    const bytes = from.reduce((sum, slice) => sum + slice.bytes, 0) * share;
    for (const key of made) bySlice.set(key, { ...first, slice: key, entries, bytes, busy: true });
  }
  return [...bySlice.values()].sort((a, b) => (a.slice < b.slice ? -1 : 1));
}

/** The average work of look-ups of each kind, over all look-ups. */
function reachesAsked(
  slices: readonly { readonly slice: SliceKey; readonly reach: LookupWork; readonly load: Load }[],
  costs: Costs,
  { coefficients }: PlanSettings,
): Record<StoreKind, LookupWork> {
  const asked = slices
    .filter(({ slice, load }) => isTrieSlice(slice) && load.lookups > 0)
    .map(({ reach, load }) => ({ reach, weight: load.lookups / lookupCost(costs.TRIE, reach) }));
  return {
    KEY_VALUE: usualLookupWork('KEY_VALUE', coefficients),
    TRIE: asked.length > 0 ? meanLookupWork(asked) : usualLookupWork('TRIE', coefficients),
  };
}

/** The replicas as slices of the shards that they are on. */
function* replicasOf(placed: readonly Placed[]): Generator<PlannedSlice> {
  for (const slice of placed)
    if (slice.replica !== undefined) yield { ...slice, shard: slice.replica, replica: undefined, isReplica: true };
}

function* factsOf(
  series: ReadonlyMap<string, SeriesRow>,
  surges: ReadonlyMap<string, SurgeRow>,
): Generator<SeriesFacts> {
  for (const [name, row] of series)
    yield {
      series: name,
      subscriptions: row.subscriptions,
      unsubscribeShare: row.unsubscribeShare,
      clientsPerRate: row.clientsPerRate,
      publishes: row.publishes,
      bytesPerPublish: row.bytesPerPublish,
      surge: surges.get(name),
    };
  for (const [name, surge] of surges)
    if (!series.has(name)) yield { series: name, subscriptions: undefined, publishes: undefined, surge };
}

function plannedShard(
  row: ShardRow,
  type: PlannedShard['type'],
  cell: CellRow,
  movesOf: ReadonlyMap<ShardId, number>,
): PlannedShard {
  // A copy loads both of its stores: what they measure meanwhile is caused by the move itself and ends with it.
  const isFresh =
    row.measured !== undefined && Math.abs(cell.now - row.measured.at) < MEASURED_FRESH_MS && !movesOf.has(row.id);
  return {
    id: row.id,
    kind: row.storeKind,
    type,
    ready: row.state === 'READY',
    resizing: row.resizingTo !== '',
    first: isFirst(row.id),
    measuredUtilisation: isFresh ? row.measured!.utilisation : undefined,
    roomyPlans: row.roomyPlans,
  };
}
