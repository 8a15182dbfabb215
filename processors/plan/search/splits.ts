// Splits: how a slice that is too big for its shard is made smaller. Carved: a hot topic or heavy group gets a slice of
// its own. Halved: a hash range is divided by one more bit. A single topic that cannot be divided is spread by client
// when it has too many clients for any instance, or gets a replica when it has too many look-ups.

import type { SliceKey } from '../../../schemas/ids.ts';
import { hashSlice, isTrieSlice, parseSlice, pinSlice, spreadSlices } from '../../../state/keys.ts';
import { type DatastoreType, isFlowing, typesOfKind } from '../cluster/catalog.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import type { ClusterShard, PlannedSlice } from '../cluster/cluster-shard.ts';
import type { Trouble } from '../demand/capacity.ts';
import { addLoad, halfLoad, type Load, lookupShare, peakOf, peakOfFlow, scaledLoad } from '../demand/demand.ts';

/** A topic with this share of its slice's load is pinned; a group with this share of its slice's is carved out. */
const HEAVY_SHARE = 0.4;
/** Bits of the second hash that a slice may use; deeper slices hold single topics, which are pinned instead. */
const BITS_MAX = 24;
/** A PUBLISH that asks more slices than this costs more than an overload. */
const PARTS_MAX = 16;
/** A part must still fit an instance when it has grown by this factor. */
const PART_GROWTH = 1.5;

export interface Split {
  readonly before: readonly PlannedSlice[];
  readonly after: readonly PlannedSlice[];
  readonly how: string;
}

/**
 * A slice less what is carved out of it, and the carved part as a slice of its own, whose number of entries is not
 * known yet.
 */
export function carvedOut(slice: PlannedSlice, key: SliceKey, load: Load): readonly [PlannedSlice, PlannedSlice] {
  const rest = scaledLoad(slice.load, 1);
  addLoad(rest, load, -1);
  return [
    { ...slice, load: rest },
    { ...slice, slice: key, load, entries: 0, bytes: 0 },
  ];
}

/** How a slice may be made smaller; `undefined` when it may not. */
export function splitOf(
  cluster: ClusterModel,
  shard: ClusterShard,
  slice: PlannedSlice,
  trouble: Trouble,
): Split | undefined {
  const peak = peakIn(trouble.dimension);
  const total = peak(slice.load);
  const part = (key: SliceKey, load: Load, share: number): PlannedSlice => ({
    ...slice,
    slice: key,
    load,
    entries: slice.entries * share,
    bytes: slice.bytes * share,
  });
  const carved = (key: SliceKey, load: Load, how: string): Split => ({
    before: [slice],
    after: carvedOut(slice, key, load),
    how,
  });
  if (isTrieSlice(slice.slice)) {
    const group = heaviest(
      cluster.snapshot.heavyGroups.filter((each) => isStillIn(each, slice, shard)),
      peak,
    );
    const most = peak === peakOfOperations ? Math.min(total, trouble.peakPerSecond) : total;
    return group !== undefined && peak(group.load) > HEAVY_SHARE * most
      ? carved(group.key, group.load, `the group ${group.key} is carved out`)
      : undefined;
  }
  const topic = heaviest(
    cluster.snapshot.heavyTopics
      .map((each) => ({ ...each, key: pinSlice(each.filter) }))
      .filter((each) => isStillIn(each, slice, shard)),
    peak,
  );
  if (topic !== undefined && peak(topic.load) > HEAVY_SHARE * total)
    return carved(topic.key, topic.load, `the hot topic ${topic.filter} gets a slice of its own`);
  const parsed = parseSlice(slice.slice);
  if (parsed?.kind === 'pin') return spreadOf(cluster, shard, slice, parsed.filter);
  if (parsed?.kind !== 'hash' || parsed.bits.length >= BITS_MAX) return undefined;
  const half = (bit: string): PlannedSlice =>
    part(hashSlice(parsed.partition, parsed.bits + bit), scaledLoad(slice.load, 0.5), 0.5);
  return { before: [slice], after: [half('0'), half('1')], how: 'it is split in two' };
}

/**
 * A pinned topic that no instance can hold is spread by client over as few slices as can be held, with room to grow: parts
 * are not spread again. Each part has its share of the entries and writes, but every PUBLISH asks all of them.
 */
function spreadOf(cluster: ClusterModel, shard: ClusterShard, slice: PlannedSlice, filter: string): Split | undefined {
  if (holderOf(cluster, shard, slice) !== undefined) return undefined;
  const lookups = lookupShare(slice.load);
  for (let of = 2; of <= PARTS_MAX; of++) {
    const share = { entries: slice.entries / of, bytes: slice.bytes / of };
    const asked = { lookups: slice.load.lookups, unsubscribes: slice.load.unsubscribes / of };
    const load = { ...scaledLoad(slice.load, lookups + (1 - lookups) / of, 1 / of, 1), ...asked };
    const grown = { entries: share.entries * PART_GROWTH, bytes: share.bytes * PART_GROWTH };
    const type = holderOf(cluster, shard, { ...slice, ...grown, load: scaledLoad(load, PART_GROWTH) });
    if (type === undefined) continue;
    const after = spreadSlices(filter, of).map((key) => ({ ...slice, ...share, slice: key, load }));
    return {
      before: [slice],
      after,
      how: `its clients are spread over ${of} slices, each of which a ${type.name} can hold`,
    };
  }
  return undefined;
}

/** The cheapest type of which one instance can hold the slice alone. */
const holderOf = (cluster: ClusterModel, shard: ClusterShard, slice: PlannedSlice): DatastoreType | undefined =>
  typesOfKind(cluster.snapshot.catalog, shard.kind).find(
    (type) => !cluster.snapshot.avoided.has(type.name) && cluster.rooms.fitsEmpty(type, slice, shard.calibration),
  );

/**
 * The half of the slice's look-ups that a replica would take, when they are too many for any instance; `undefined` when
 * that would not help.
 */
export function halfOf(
  cluster: ClusterModel,
  shard: ClusterShard,
  slice: PlannedSlice,
  { dimension }: Trouble,
): PlannedSlice | undefined {
  const isRead = dimension === 'operations' || dimension === 'bandwidth';
  if (!isRead || slice.busy || holderOf(cluster, shard, slice) !== undefined) return undefined;
  const half = { ...slice, load: halfLoad(slice.load) };
  return holderOf(cluster, shard, half) === undefined ? undefined : half;
}

/** Belongs to this slice, and was not carved out earlier in this plan. */
const isStillIn = (
  each: { readonly key: SliceKey; readonly slice: SliceKey },
  slice: PlannedSlice,
  shard: ClusterShard,
): boolean => each.slice === slice.slice && !shard.slices.has(each.key);

type Peak = (load: Load) => number;
const peakOfOperations: Peak = (load) => peakOf(load).perSecond;

/**
 * The load that slices are compared by: that of the dimension the shard is short of, where slices have a share in it.
 */
const peakIn = (dimension: Trouble['dimension']): Peak =>
  isFlowing(dimension) ? (load) => peakOfFlow(load, dimension) : peakOfOperations;

function heaviest<Heavy extends { readonly load: Load }>(candidates: readonly Heavy[], peak: Peak): Heavy | undefined {
  let best: Heavy | undefined;
  let most = 0;
  for (const each of candidates) {
    const own = peak(each.load);
    if (own > most) {
      best = each;
      most = own;
    }
  }
  return best;
}
