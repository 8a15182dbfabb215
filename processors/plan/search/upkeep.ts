// Upkeep: what is done while no shard is short: merge cold slices back, give back what is not needed (and balance.ts).
//
//   V1. Nothing here is urgent: churn, cool-down and cost hold all of it back.
//   V2. A shard is removed when the fleet's plans agree (fleet.ts) and each of its slices has another place within the
//       limit for placement, so that the shard is not bought again for the same load.
//   V3. No slice goes home to a shard that is being emptied, or that one of the last plans could do without: it would
//       only have to leave again. Nor do the slices of an emptied shard go to such a shard while another has room.
//   V4. The slices of an emptied shard go to the shard of the slice that they were carved out of, if there is room:
//       from anywhere else they would go there later anyway, once cold. So a slice that was carved out of another on
//       the same shard moves after it, or is merged with it first.

import type { ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import { hashSlice, parseSlice, partitionOf, pinSlice, type Slice, spreadSlices } from '../../../state/keys.ts';
import { SliceTree } from '../../../state/slice-tree.ts';
import { type Action, calmFacts } from '../cluster/actions.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import { type ClusterShard, type PlannedSlice, sumOnto } from '../cluster/cluster-shard.ts';
import { carriedBy, type FleetPlan, isWithin, surplusPerSecond, unwantedPerSecond } from '../cluster/fleet.ts';
import { addLoad, emptyLoad, lookupShare, peakOf, scaledLoad } from '../demand/demand.ts';
import type { FlowSum, TimedSum } from '../demand/utilisation-forecast.ts';
import { moveAction } from './placement.ts';

const HOUR_MS = 3_600_000;
/** Slices that fill less of their shard than this are cold. */
export const COLD_SHARE = 0.02;
const MERGES_MAX = 2;

/**
 * Merges cold neighbours, and cold parts of a spread topic, into one slice again; cold pins and groups go home, but not
 * to `spare` (V3).
 */
export function* merging(cluster: ClusterModel, spare: ReadonlySet<ShardId>): Generator<Action> {
  const all = allPlaced(cluster);
  const kin = kinship(cluster, all);
  const isCold = ({ slice, shard }: Placed): boolean =>
    !slice.busy &&
    slice.coolUntil <= cluster.snapshot.now &&
    shard.ready &&
    cluster.rooms.shareOf(shard, slice, cluster.rooms.utilisation(shard).dimension) < COLD_SHARE;
  let found = 0;
  for (const [key, one] of all) {
    if (found === MERGES_MAX) return;
    if (!MERGEABLE.test(key) || !isCold(one)) continue;
    const family = kin(key);
    if (family === undefined) continue;
    const { into, isHosted } = family;
    const before = family.before.flatMap((each) => all.get(each) ?? []);
    if (before.length < family.before.length || !before.every(isAsBefore)) continue;
    if (isHosted) {
      const { slice: host } = before[0]!;
      if (host.busy || host.coolUntil > cluster.snapshot.now) continue;
    } else if (!before.every(isCold)) continue;
    // Equal parts meet where one of them may stay; a carved-out slice goes to the slice that it came from.
    const first = (isHosted ? undefined : before.find(({ shard }) => !spare.has(shard.id))) ?? before[0]!;
    if (spare.has(first.shard.id) && before.some(({ shard }) => shard !== first.shard)) continue; // V3
    found++;
    const facts = calmFacts(
      cluster,
      one.shard,
      `${before.map(({ slice }) => slice.slice).join(' and ')} have little load and are merged: fewer slices need fewer pointers.`,
    );
    const apart = before.find(({ shard }) => shard !== first.shard);
    if (apart !== undefined) {
      if (!first.shard.ready || !cluster.rooms.fits(first.shard, apart.slice)) continue;
      yield moveAction(cluster, apart.slice, first.shard, {
        ...facts,
        reason: `${apart.slice.slice} has little load and is moved to be merged with ${first.slice.slice}.`,
        savesDollars: Number.POSITIVE_INFINITY,
      });
      continue;
    }
    const merged = {
      ...first.slice,
      slice: into,
      load: emptyLoad(cluster.settings.horizonSteps),
      entries: 0,
      bytes: 0,
    };
    for (const { slice } of before) {
      addLoad(merged.load, slice.load);
      merged.entries += slice.entries;
      merged.bytes += slice.bytes;
    }
    yield {
      ...facts,
      kind: 'MERGE',
      shard: first.shard.id,
      before: before.map(({ slice }) => slice),
      after: [merged],
      leadTimeMs: 0,
      dollars: 0,
      savesDollars: 0,
    };
  }
}

/** Ends replicas that are no longer needed with much room to spare, so that they are not made again soon. */
export function* unreplicating(cluster: ClusterModel): Generator<Action> {
  const limit = cluster.rooms.placeLimit * ALONE_SHARE;
  for (const { slice: key, shard: id, replica } of cluster.snapshot.slices) {
    const shard = replica === undefined ? undefined : cluster.shards.get(id);
    const slice = shard?.slices.get(key);
    if (shard === undefined || slice?.replica === undefined || slice.coolUntil > cluster.snapshot.now) continue;
    const lookups = scaledLoad(slice.load, lookupShare(slice.load), 0, 1);
    const { utilisation } = cluster.rooms.utilisation(shard, { ...slice, entries: 0, bytes: 0, load: lookups });
    if (utilisation > limit) continue;
    const reason = `${shard.id} is at most ${percent(utilisation)} full when it serves ${slice.slice} alone, so the replica on ${slice.replica} is removed.`;
    yield { ...calmFacts(cluster, shard, reason), kind: 'UNREPLICATE', slice, leadTimeMs: 0, dollars: 0 };
  }
}

/** A shard may be filled to at most this share of its limit for placement when it serves a slice alone again. */
const ALONE_SHARE = 0.6;

interface Placed {
  readonly slice: PlannedSlice;
  readonly shard: ClusterShard;
}

/** Not taken by an action of this plan; `all` is as the plan found it. */
const isAsBefore = ({ slice, shard }: Placed): boolean => shard.slices.get(slice.slice) === slice;

function allPlaced(cluster: ClusterModel): Map<SliceKey, Placed> {
  const all = new Map<SliceKey, Placed>();
  for (const shard of cluster.shards.values())
    for (const slice of shard.slices.values()) if (!slice.isReplica) all.set(slice.slice, { slice, shard });
  return all;
}

/** Slices that may be merged. */
interface Family {
  /** Includes the slice asked for; the slice that another was carved out of comes first. */
  readonly before: readonly SliceKey[];
  readonly into: SliceKey;
  /** The other slice was carved out of the first one, which stays. */
  readonly isHosted: boolean;
}

/**
 * The slices that a slice may be merged with: its other half, the other parts of its topic, or the slice that it was
 * carved out of.
 */
function kinship(cluster: ClusterModel, all: ReadonlyMap<SliceKey, Placed>): (key: SliceKey) => Family | undefined {
  let known: SliceTree | undefined;
  return (key) => {
    const parsed = parseSlice(key);
    if (parsed === undefined) return undefined;
    if (parsed.kind === 'hash') {
      if (parsed.bits === '') return undefined;
      const [before, into] = halvesOf(parsed);
      return { before, into, isHosted: false };
    }
    if (parsed.kind === 'spread') {
      const { filter, of } = parsed;
      return { before: spreadSlices(filter, of), into: pinSlice(filter), isHosted: false };
    }
    known ??= new SliceTree(cluster.settings.partitions, all.keys());
    const tree = known;
    tree.remove(key);
    const host =
      parsed.kind === 'group'
        ? tree.groupOf(parsed.partition, parsed.prefix)
        : tree.concreteSliceOf(parsed.filter, partitionOf(parsed.filter, tree.partitions), '');
    tree.add(key);
    return host === undefined ? undefined : { before: [host, key], into: host, isHosted: true };
  };
}

function halvesOf({ partition, bits }: Extract<Slice, { kind: 'hash' }>): [of: SliceKey[], into: SliceKey] {
  const above = bits.slice(0, -1);
  return [[hashSlice(partition, `${above}0`), hashSlice(partition, `${above}1`)], hashSlice(partition, above)];
}

/** The first half of a hash slice, a pin, the first part of a spread topic, and a group below the whole. */
const MERGEABLE = /^(c\/\d+\/[01]*0$|t\/|s\/0of|w\/\d+\/.)/;

/** A shard that is not needed, and the targets of those of its slices that move first. */
export interface Leaving {
  readonly shard: ClusterShard;
  readonly homes: readonly (readonly [PlannedSlice, ClusterShard])[];
}

/** The least needed shard, when several plans in a row could do without what it carries. */
export function leavingShard(cluster: ClusterModel, kind: StoreKind, fleet: FleetPlan): Leaving | undefined {
  const shards = cluster.ofKind(kind);
  if (shards.some((shard) => !shard.ready || shard.resizing)) return undefined;
  const shard = spareShard(cluster, kind, surplusPerSecond(cluster, kind, fleet));
  if (shard === undefined) return undefined;
  const unwanted = unwantedShards(cluster, kind, fleet);
  const homes = homesWithout(cluster, shard, unwanted) ?? homesWithout(cluster, shard, NONE);
  return homes && { shard, homes };
}

const NONE: ReadonlySet<ShardId> = new Set();

/**
 * All shards that at least one of the last plans, or this one, could do without if the emptiest are given back first
 * (V3).
 */
export function unwantedShards(cluster: ClusterModel, kind: StoreKind, fleet: FleetPlan): ReadonlySet<ShardId> {
  let left = unwantedPerSecond(cluster, kind, fleet);
  const unwanted = new Set<ShardId>();
  const emptiest = cluster
    .ofKind(kind)
    .filter((each) => !each.first)
    .map((each) => ({ each, peak: cluster.rooms.utilisation(each).utilisation }))
    .sort((a, b) => a.peak - b.peak || (a.each.id < b.each.id ? 1 : -1));
  for (const { each } of emptiest) {
    const carried = carriedBy(cluster, each.type);
    if (!isWithin(carried, left)) continue;
    unwanted.add(each.id);
    left -= carried;
  }
  return unwanted;
}

/** The emptiest shard whose capacity is within the surplus. */
export function spareShard(cluster: ClusterModel, kind: StoreKind, surplusPerSecond: number): ClusterShard | undefined {
  return cluster
    .ofKind(kind)
    .filter((each) => !each.first && isWithin(carriedBy(cluster, each.type), surplusPerSecond) && !isSharing(each))
    .map((each) => ({ each, peak: cluster.rooms.utilisation(each).utilisation }))
    .sort((a, b) => a.peak - b.peak || (a.each.id < b.each.id ? 1 : -1))[0]?.each;
}

/** A replica is ended, not moved; until then its shard is not emptied. */
function isSharing({ slices }: ClusterShard): boolean {
  for (const { replica, isReplica } of slices.values()) if (replica !== undefined || isReplica) return true;
  return false;
}

/** Empties the shard, and retires it when it is empty. */
export function* emptying(cluster: ClusterModel, { shard, homes }: Leaving): Generator<Action> {
  const { agreeingPlans, paybackMs } = cluster.settings;
  const facts = {
    ...calmFacts(cluster, shard, `${agreeingPlans} plans in a row found that ${shard.id} is not needed.`),
    savesDollars: (shard.type.dollarsPerHour * paybackMs) / HOUR_MS,
  };
  if (shard.slices.size === 0)
    yield {
      ...facts,
      kind: 'RETIRE',
      shard: shard.id,
      leadTimeMs: 0,
      dollars: 0,
      dollarsPerHour: -shard.type.dollarsPerHour,
    };
  for (const [slice, target] of homes)
    if (!slice.busy)
      yield moveAction(cluster, slice, target, { ...facts, reason: `${facts.reason} Its slices are moved away.` });
}

/**
 * Targets of the slices that move first, when every slice of the shard has a target outside `unwanted` and no target
 * exceeds the limit for placement; `undefined` when some slice has none.
 */
function homesWithout(
  cluster: ClusterModel,
  victim: ClusterShard,
  unwanted: ReadonlySet<ShardId>,
): [PlannedSlice, ClusterShard][] | undefined {
  if (victim.slices.size > EMPTYING_SLICES_MAX) return undefined;
  const trial = new Map(
    cluster
      .ofKind(victim.kind)
      .filter((shard) => shard !== victim && !unwanted.has(shard.id))
      .map((shard) => [shard.id, copyOf(shard)]),
  );
  if (trial.size === 0) return undefined;
  const all = victim.slices.size === 0 ? new Map<SliceKey, Placed>() : allPlaced(cluster);
  const kin = kinship(cluster, all);
  const homes: [PlannedSlice, ClusterShard][] = [];
  const slices = [...victim.slices.values()].sort(
    (a, b) => peakOf(b.load).perSecond - peakOf(a.load).perSecond || (a.slice < b.slice ? -1 : 1),
  );
  for (const slice of slices) {
    const family = kin(slice.slice);
    let best = (family?.before ?? [])
      .flatMap((key) => trial.get(all.get(key)?.shard.id ?? victim.id) ?? [])
      .find((shard) => cluster.rooms.utilisation(shard, slice).utilisation <= cluster.rooms.placeLimit); // V4
    let lowest = best === undefined ? cluster.rooms.placeLimit : Number.NEGATIVE_INFINITY;
    for (const shard of trial.values()) {
      const { utilisation } = cluster.rooms.utilisation(shard, slice);
      if (utilisation <= lowest) {
        best = shard;
        lowest = utilisation;
      }
    }
    if (best === undefined) return undefined;
    sumOnto(best, slice, 1);
    const isGuest = family?.isHosted === true && victim.slices.has(family.into);
    if (!isGuest) homes.push([slice, cluster.shards.get(best.id)!]); // V4
  }
  return homes;
}

/** Emptying takes one move for each slice; with more slices it would not end within a quiet time. */
const EMPTYING_SLICES_MAX = 256;

const copyOf = (shard: ClusterShard): ClusterShard => ({
  ...shard,
  ...copyOfSum(shard),
  flows: { clients: copyOfFlow(shard.flows.clients), bandwidth: copyOfFlow(shard.flows.bandwidth) },
});

const copyOfFlow = (flow: TimedSum | undefined): TimedSum | undefined => flow && { now: flow.now, ...copyOfSum(flow) };

const copyOfSum = ({ median, spread, spreadSquares }: FlowSum): FlowSum => ({
  median: median.slice(),
  spread: spread.slice(),
  spreadSquares: spreadSquares.slice(),
});

const percent = (share: number): string => `${Math.round(share * 100)} %`;
