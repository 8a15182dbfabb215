// Placement: local search from today's assignment. For one shard in trouble, the actions that would relieve it, best
// first: benefit per churn (Slicer, OSDI 2016), and what moves nothing before what buys something.

import type { SliceKey } from '../../schemas/ids.ts';
import type { Alternative } from '../../schemas/records.ts';
import { hashSlice, isTrieSlice, parseSlice, pinSlice, spreadSlice } from '../../state/keys.ts';
import { type Action, type Facts, factsOfTrouble } from './actions.ts';
import { type Board, type BoardShard, cargoOf, cargoOfShard, type PlannedSlice } from './board.ts';
import { expectedOverloadDollars, type Trouble, troubleText } from './capacity.ts';
import { bytesMax, type DatastoreType, typesOfKind } from './catalog.ts';
import { allocationCost, type Cost, moveCost, outlayOf, resizeCost, runningDollarsPerHour, totalOf } from './cost.ts';
import { addLoad, halfLoad, type Load, lookupShare, peakOf, scaledLoad } from './demand.ts';
import { canBuy } from './goals/caps.ts';
import { allocationLeadMs, moveLeadMs, provisionLeadMs } from './lead-time.ts';
import { utilisationAtLeast } from './outline.ts';
import { shardNumbered } from './rows.ts';

/** Slices of one shard that are looked at for one relief: the best few by benefit per churn. */
const CANDIDATES_MAX = 24;
/** A topic with this share of its slice's load is pinned; a group with this share of its slice's is carved out. */
const HEAVY_SHARE = 0.4;
/** A slice that fills more of a shard than this is split before it is moved: whole, it would only take its problem along. */
const BIG_SHARE = 0.4;
/** Bits of the second hash that a slice may use; deeper slices hold single topics, which are pinned instead. */
const BITS_MAX = 24;

/** What would relieve the shard, best first. */
export function* reliefs(board: Board, shard: BoardShard, trouble: Trouble): Generator<Action> {
  const facts = factsOfTrouble(trouble, shard);
  const why = troubleText(trouble, shard, board.snapshot.now);
  const ranked = rankedSlices(board, shard, trouble);
  const biggest = biggestSlice(board, shard, trouble);
  const isBig =
    biggest !== undefined && (shard.slices.size === 1 || board.shareOf(shard, biggest, trouble.dimension) > BIG_SHARE);
  const split = isBig && !biggest.busy ? splitOf(board, shard, biggest, trouble) : undefined;
  const half = isBig && split === undefined ? replicaOf(board, shard, biggest, trouble) : undefined;
  const offers = purchases(board, shard, trouble, ranked, half, facts, why);

  // A resize and moves to where there is room are compared in money.
  const resize = offers.find(({ kind }) => kind === 'RESIZE');
  const moving = movingDollars(board, shard, trouble, ranked);
  if (resize !== undefined && totalOf(resize.cost) < moving && ranked.some((slice) => roomiest(board, shard, slice)))
    yield {
      ...resize,
      alternatives: [keeping(trouble), movingInstead(moving), ...resize.alternatives.slice(1, ALTERNATIVES_MAX - 1)],
    };
  for (const slice of ranked) {
    const target = roomiest(board, shard, slice);
    if (target === undefined) continue;
    const alternatives = resize === undefined ? [keeping(trouble)] : [keeping(trouble), asAlternative(resize, moving)];
    yield moveAction(board, slice, target, { ...facts, alternatives, reason: `${why}; ${target.id} has room.` });
  }
  if (split !== undefined && hasPlace(board, shard)) {
    const reason = `${why}; ${biggest!.slice} alone is too much to place: ${split.how}.`;
    yield { ...facts, kind: 'SPLIT', shard: shard.id, ...split, reason, leadTimeMs: 0, dollars: 0 };
  }
  const beside = half && roomiest(board, shard, half);
  if (half !== undefined && beside !== undefined) {
    const reason = `${why}; no type holds ${half.slice} alone, and a replica on ${beside.id} takes half of its look-ups.`;
    yield moveAction(board, half, beside, { ...facts, reason }, true);
  }
  yield* offers;
}

/** Moves or replicates (or, where slice or target is not there yet, waits to) a slice. */
export function moveAction(
  board: Board,
  slice: PlannedSlice,
  target: BoardShard,
  facts: Omit<Facts, 'leadTimeMs' | 'dollars' | 'cost'>,
  replicates = false,
): Action {
  const { settings, snapshot } = board;
  const waits = slice.busy || !target.ready;
  const leadTimeMs = moveLeadMs(slice.bytes, snapshot.measured, settings);
  const from = board.shards.get(slice.shard)!.type;
  const cost = moveCost(cargoOf(slice), from, target.type, { moveMs: leadTimeMs, settings });
  return {
    ...facts,
    kind: waits ? 'WAIT' : 'MOVE',
    slice,
    to: target.id,
    replicates,
    leadTimeMs,
    dollars: outlayOf(cost),
    cost,
  };
}

/** The shard of the same kind that is least full with the slice on it, if it may take it; one that is ready before one that is not. */
export function roomiest(
  board: Board,
  from: BoardShard,
  slice: PlannedSlice,
  limit = board.placeLimit,
): BoardShard | undefined {
  let best: BoardShard | undefined;
  let bestUtilisation = Number.POSITIVE_INFINITY;
  for (const { shard, outline } of board.byRoom()) {
    const most = Math.min(limit, bestUtilisation);
    if (outline.utilisation > most) break;
    if (shard.kind !== from.kind || shard.id === from.id || shard.resizing) continue;
    if (utilisationAtLeast(shard, outline, slice, board.settings) > most) continue;
    const { utilisation } = board.outline(shard, slice);
    const rank = utilisation + (shard.ready ? 0 : 1);
    if (utilisation > limit || rank > bestUtilisation) continue;
    if (rank === bestUtilisation && best !== undefined && best.id < shard.id) continue;
    best = shard;
    bestUtilisation = rank;
  }
  return best;
}

/** Free slices first by what they relieve for each key moved; those that rest come last. */
function rankedSlices(board: Board, shard: BoardShard, trouble: Trouble): PlannedSlice[] {
  const { now } = board.snapshot;
  return [...shard.slices.values()]
    .map((slice) => {
      const relief = Math.min(board.shareOf(shard, slice, trouble.dimension), Math.max(trouble.excess, 0.01));
      const churn = (slice.entries + 1) / (shard.entries + shard.slices.size);
      // Where keys are few, churn is a bad guide: a tenth of a shard is added, so that relief decides.
      return { slice, relief, score: relief / (churn + 0.1) - (slice.coolUntil > now ? 1000 : 0) };
    })
    .filter(({ relief }) => relief > 0.001)
    .sort((a, b) => b.score - a.score || (a.slice.slice < b.slice.slice ? -1 : 1))
    .slice(0, CANDIDATES_MAX)
    .map(({ slice }) => slice);
}

function biggestSlice(board: Board, shard: BoardShard, trouble: Trouble): PlannedSlice | undefined {
  let biggest: PlannedSlice | undefined;
  let share = 0;
  for (const slice of shard.slices.values()) {
    const own = board.shareOf(shard, slice, trouble.dimension);
    if (own <= share) continue;
    biggest = slice;
    share = own;
  }
  return biggest;
}

interface Split {
  readonly before: readonly PlannedSlice[];
  readonly after: readonly PlannedSlice[];
  readonly how: string;
}

/** A split is of use only when its parts, or parts of them, can then go somewhere: to room there is, or room to be bought. */
function hasPlace(board: Board, shard: BoardShard): boolean {
  for (const other of board.shards.values()) {
    if (other.id === shard.id || other.kind !== shard.kind || other.resizing) continue;
    if (board.outline(other).utilisation < board.placeLimit * ROOM_SHARE) return true;
  }
  return typesOfKind(board.snapshot.catalog, shard.kind).some(
    (type) => !board.snapshot.avoided.has(type.name) && canBuy(board, type),
  );
}

/** A shard filled to less than this share of what may be placed on it has room worth splitting for. */
const ROOM_SHARE = 0.75;

/** How a slice may be made smaller; `undefined` when it may not. */
function splitOf(board: Board, shard: BoardShard, slice: PlannedSlice, trouble: Trouble): Split | undefined {
  const total = peakOf(slice.load).perSecond;
  const part = (key: SliceKey, load: Load, share: number): PlannedSlice => ({
    ...slice,
    slice: key,
    load,
    entries: slice.entries * share,
    bytes: slice.bytes * share,
  });
  const carved = (key: SliceKey, load: Load, how: string): Split => {
    const rest = scaledLoad(slice.load, 1);
    addLoad(rest, load, -1);
    return { before: [slice], after: [part(slice.slice, rest, 1), part(key, load, 0)], how };
  };
  if (isTrieSlice(slice.slice)) {
    const group = heaviest(board.snapshot.heavyGroups.filter((each) => isStillIn(each, slice, shard)));
    return group !== undefined && peakOf(group.load).perSecond > HEAVY_SHARE * Math.min(total, trouble.peakPerSecond)
      ? carved(group.key, group.load, `the group ${group.key} is carved out`)
      : undefined;
  }
  const topic = heaviest(
    board.snapshot.heavyTopics
      .map((each) => ({ ...each, key: pinSlice(each.filter) }))
      .filter((each) => isStillIn(each, slice, shard)),
  );
  if (topic !== undefined && peakOf(topic.load).perSecond > HEAVY_SHARE * total)
    return carved(topic.key, topic.load, `the hot topic ${topic.filter} gets a slice of its own`);
  const parsed = parseSlice(slice.slice);
  if (parsed?.kind === 'pin') return spreadOf(board, shard, slice, parsed.filter);
  if (parsed?.kind !== 'hash' || parsed.bits.length >= BITS_MAX) return undefined;
  const half = (bit: string): PlannedSlice =>
    part(hashSlice(parsed.partition, parsed.bits + bit), scaledLoad(slice.load, 0.5), 0.5);
  return { before: [slice], after: [half('0'), half('1')], how: 'it is split in two' };
}

/**
 * A pinned topic that no instance can hold is spread by client over as few slices as can be held, with room to grow: parts
 * are not spread again. Each part has its share of the entries and writes, but every PUBLISH asks all of them.
 */
function spreadOf(board: Board, shard: BoardShard, slice: PlannedSlice, filter: string): Split | undefined {
  if (holderOf(board, shard, slice) !== undefined) return undefined;
  const lookups = lookupShare(slice.load);
  for (let of = 2; of <= PARTS_MAX; of++) {
    const share = { entries: slice.entries / of, bytes: slice.bytes / of };
    const load = { ...scaledLoad(slice.load, lookups + (1 - lookups) / of), lookups: slice.load.lookups };
    const grown = { entries: share.entries * PART_GROWTH, bytes: share.bytes * PART_GROWTH };
    const type = holderOf(board, shard, { ...slice, ...grown, load: scaledLoad(load, PART_GROWTH) });
    if (type === undefined) continue;
    const after = Array.from({ length: of }, (_, i) => ({
      ...slice,
      ...share,
      slice: spreadSlice(filter, i, of),
      load,
    }));
    return {
      before: [slice],
      after,
      how: `its clients are spread over ${of} slices, each of which a ${type.name} can hold`,
    };
  }
  return undefined;
}

/** The cheapest type whose instance can hold the slice alone. */
const holderOf = (board: Board, shard: BoardShard, slice: PlannedSlice): DatastoreType | undefined =>
  typesOfKind(board.snapshot.catalog, shard.kind).find(
    (type) => !board.snapshot.avoided.has(type.name) && board.fitsEmpty(type, slice, shard.calibration),
  );

/** The half that a replica would take of the look-ups that are too many for any instance; `undefined` when that is no help. */
function replicaOf(
  board: Board,
  shard: BoardShard,
  slice: PlannedSlice,
  { dimension }: Trouble,
): PlannedSlice | undefined {
  if (dimension !== 'operations' || slice.busy || holderOf(board, shard, slice) !== undefined) return undefined;
  const half = { ...slice, load: halfLoad(slice.load) };
  return holderOf(board, shard, half) === undefined ? undefined : half;
}

/** A PUBLISH that asks more slices than this is dearer than an overload. */
const PARTS_MAX = 16;
const PART_GROWTH = 1.5;

/** Of this slice, and not carved out earlier in this plan. */
const isStillIn = (
  each: { readonly key: SliceKey; readonly slice: SliceKey },
  slice: PlannedSlice,
  shard: BoardShard,
): boolean => each.slice === slice.slice && !shard.slices.has(each.key);

function heaviest<Heavy extends { readonly load: Load }>(candidates: readonly Heavy[]): Heavy | undefined {
  let best: Heavy | undefined;
  let peak = 0;
  for (const each of candidates) {
    const own = peakOf(each.load).perSecond;
    if (own > peak) {
      best = each;
      peak = own;
    }
  }
  return best;
}

/** What it costs to move slices until the trouble is over, were there room for all of them, with the overload meanwhile. */
function movingDollars(board: Board, shard: BoardShard, trouble: Trouble, ranked: readonly PlannedSlice[]): number {
  const { settings, snapshot } = board;
  let left = trouble.excess;
  let bytes = 0;
  let dollars = 0;
  for (const slice of ranked) {
    if (left <= 0) break;
    left -= board.shareOf(shard, slice, trouble.dimension);
    bytes += slice.bytes;
    const moveMs = moveLeadMs(slice.bytes, snapshot.measured, settings);
    dollars += outlayOf(moveCost(cargoOf(slice), shard.type, shard.type, { moveMs, settings }));
  }
  return dollars + expectedOverloadDollars(board, shard, trouble, moveLeadMs(bytes, snapshot.measured, settings));
}

/** Something to buy, and all that it costs. */
type Offer = Action & { readonly kind: 'ALLOCATE' | 'RESIZE'; readonly cost: Cost };

/**
 * Capacity that is bought: another shard, or a bigger type for this one; what ends the trouble before what does not, then
 * the cheapest first, each naming the others.
 */
function purchases(
  board: Board,
  shard: BoardShard,
  trouble: Trouble,
  ranked: readonly PlannedSlice[],
  half: PlannedSlice | undefined,
  facts: ReturnType<typeof factsOfTrouble>,
  why: string,
): Offer[] {
  const { snapshot } = board;
  const offers: Offer[] = [];
  const enough = new Set<Offer>();
  const offer = (each: Offer, isEnough: boolean): void => {
    offers.push(each);
    if (isEnough) enough.add(each);
  };
  // A slice that fits nowhere is no reason to buy a shard: it must fit the new one.
  const movable = shard.slices.size > 1 ? ranked : [];
  const placed = half === undefined ? movable : [...movable, half];
  for (const type of typesOfKind(snapshot.catalog, shard.kind)) {
    if (snapshot.avoided.has(type.name)) continue;
    if (placed.some((slice) => board.fitsEmpty(type, slice, shard.calibration)))
      offer(
        {
          ...facts,
          ...allocationOf(board, shard, trouble, type, placed[0]!.bytes),
          kind: 'ALLOCATE',
          shard: shardNumbered(board.nextShard),
          storeKind: shard.kind,
          type,
          reason: `${why}, and no shard has room for what must go.`,
        },
        half !== undefined || relievedBy(board, shard, trouble, type),
      );
    const bigger =
      type.operationsPerSecond > shard.type.operationsPerSecond ||
      type.entriesMax > shard.type.entriesMax ||
      bytesMax(type) > bytesMax(shard.type);
    if (!bigger || shard.resizing || !shard.ready) continue;
    offer(
      {
        ...facts,
        ...resizeOf(board, shard, trouble, type),
        kind: 'RESIZE',
        shard: shard.id,
        type,
        reason: `${why}; ${type.name} is big enough for it.`,
      },
      board.outline({ ...shard, type }).utilisation <= board.settings.safeUtilisation,
    );
  }
  const rank = (each: Offer): number => (enough.has(each) ? 0 : 1);
  offers.sort((a, b) => rank(a) - rank(b) || totalOf(a.cost) - totalOf(b.cost) || (a.kind < b.kind ? -1 : 1));
  return offers.map((offer) => ({ ...offer, alternatives: alternativesTo(offer, offers, trouble) }));
}

/** Whether the slices that an empty shard of the type could take are all that is too much. */
function relievedBy(board: Board, shard: BoardShard, { excess, dimension }: Trouble, type: DatastoreType): boolean {
  let left = excess;
  for (const slice of shard.slices.values()) {
    if (board.fitsEmpty(type, slice, shard.calibration)) left -= board.shareOf(shard, slice, dimension);
    if (left <= 0) return true;
  }
  return false;
}

type Price = Pick<Facts, 'leadTimeMs' | 'dollars' | 'dollarsPerHour'> & { readonly cost: Cost };

/** As many shards of the type as take what is too much, which moves to them; the first slice is there after the lead time. */
function allocationOf(
  board: Board,
  shard: BoardShard,
  trouble: Trouble,
  type: DatastoreType,
  firstBytes: number,
): Price {
  const { settings, snapshot } = board;
  const excessPerSecond = trouble.excess * shard.type.operationsPerSecond;
  const instances = Math.max(1, Math.ceil(excessPerSecond / (type.operationsPerSecond * board.placeLimit)));
  const leadTimeMs = allocationLeadMs(type, firstBytes, snapshot.measured, settings);
  const handover = { moveMs: moveLeadMs(firstBytes, snapshot.measured, settings), settings };
  const cargo = cargoOfShard(shard, Math.min(1, trouble.excess / trouble.utilisation));
  const cost = {
    ...allocationCost(cargo, shard.type, type, handover, instances),
    violation: expectedOverloadDollars(board, shard, trouble, leadTimeMs),
  };
  return { leadTimeMs, dollars: outlayOf(cost), dollarsPerHour: type.dollarsPerHour, cost };
}

function resizeOf(board: Board, shard: BoardShard, trouble: Trouble, type: DatastoreType): Price {
  const { settings, snapshot } = board;
  const moveMs = moveLeadMs(shard.bytes, snapshot.measured, settings);
  const leadTimeMs = provisionLeadMs(type, snapshot.measured) + moveMs;
  const cost = {
    ...resizeCost(cargoOfShard(shard, 1), shard.type, type, { moveMs, settings }),
    violation: expectedOverloadDollars(board, shard, trouble, leadTimeMs),
  };
  const { nowPerSecond } = shard;
  const dollarsPerHour = runningDollarsPerHour(type, nowPerSecond) - runningDollarsPerHour(shard.type, nowPerSecond);
  return { leadTimeMs, dollars: outlayOf(cost), dollarsPerHour, cost };
}

const keeping = (trouble: Trouble): Alternative => ({
  what: 'KEEP',
  dollars: trouble.overloadDollars,
  whyNot: 'the overload would cost more',
});

const movingInstead = (dollars: number): Alternative => ({
  what: 'MOVE',
  dollars,
  whyNot: 'to copy what must go costs more than a bigger type',
});

function alternativesTo(chosen: Offer, offers: readonly Offer[], trouble: Trouble): readonly Alternative[] {
  const dollars = totalOf(chosen.cost);
  const others = offers.filter((offer) => offer !== chosen).map((offer) => asAlternative(offer, dollars));
  return [keeping(trouble), ...others].slice(0, ALTERNATIVES_MAX);
}

const asAlternative = ({ kind, type, cost }: Offer, dollars: number): Alternative => ({
  what: `${kind} ${type.name}`,
  dollars: totalOf(cost),
  whyNot: totalOf(cost) >= dollars ? 'it costs more over the horizon' : 'it was refused by another goal',
});

/** As many as an operator reads. */
const ALTERNATIVES_MAX = 6;
