// Demand: the load that each slice puts on its shard, from the forecasts of the series inside it.
//
//   E1. The load of a slice is the sum of the leaf series inside it; a slice deeper than a leaf has its share of the leaf.
//   E2. A heavy topic is subtracted from its leaf and added to the slice that holds it, pinned or not.
//   E3. A forecast may be below the measured rate only if it foresaw that rate. When its upper quantile for now is
//       below the measured rate, it did not foresee the present load and cannot know when it ends; the planned load is
//       then at least the measured rate over the whole horizon. Without a trusted forecast the planned load is the
//       measured rate at every step.
//   E4. A bucket counts as the mean of its steps: where one series ends and another begins within a bucket, adding both
//       maxima would give a load that never occurs.
//   E5. Clients and bytes are forecast from the events that they come with, at the ratio counted last. More events of
//       the same clients bring fewer new clients, and a client of several slices counts in each, so the figures are
//       upper bounds. They are followed only where a type of the catalogue limits them.
//
// Loads are operations of the catalogue per second (coefficients.ts), in buckets of the horizon, as a median and a
// spread above it, so that a shard can add up its slices (cluster-shard.ts). Arrays are shared and filled in place,
// since there may be 100,000 slices.

import type { EventTime, SliceKey } from '../../../schemas/ids.ts';
import {
  filterHash,
  isTrieSlice,
  leadingBits,
  parseSlice,
  partitionOf,
  ROOT_KEY,
  spreadSlices,
} from '../../../state/keys.ts';
import { SliceTree } from '../../../state/slice-tree.ts';
import { type Flowing, limitedBy } from '../cluster/catalog.ts';
import type { PlanSettings } from '../settings.ts';
import type { SeriesForecast } from '../stage/rows.ts';
import { type Costs, lookupCost, type OperationCosts } from './coefficients.ts';
import { type LookupWork, usualLookupWork } from './lookup-work.ts';

/**
 * An amount over the horizon: `median[k]` and `spread[k]` (upper quantile less median) of bucket k; `now` is the
 * measured amount.
 */
export interface Flow {
  now: number;
  readonly median: Float32Array;
  readonly spread: Float32Array;
}

/** Operations per second over the horizon, and the clients and bytes that come with them (E5). */
export interface Load extends Flow, Record<Flowing, Flow | undefined> {
  /**
   * The parts of `now` that are look-ups and unsubscribes; the rest, less the background work of stored entries, are
   * subscribes.
   */
  lookups: number;
  unsubscribes: number;
}

/**
 * What is known of one series: forecasts of its two signals, and the latest measured rates when they are above the
 * forecasts.
 */
export interface SeriesFacts {
  readonly series: string;
  readonly subscriptions: SeriesForecast | undefined;
  /** Share of unsubscribes among the events of `subscriptions`; absent while they have not been counted separately. */
  readonly unsubscribeShare?: number | undefined;
  /** Clients for each event per second. */
  readonly clientsPerRate?: number | undefined;
  readonly publishes: SeriesForecast | undefined;
  readonly bytesPerPublish?: number | undefined;
  readonly surge: Surge | undefined;
}

/** Rates measured now. */
export interface Surge {
  /** Subscribes and unsubscribes. */
  readonly subscriptionsPerSecond: number;
  /** Absent while unsubscribes have not been counted separately. */
  readonly unsubscribesPerSecond?: number | undefined;
  readonly publishesPerSecond: number;
}

/** A heavy topic in a hash range, with its load: a candidate for pinning. */
export interface HeavyTopic {
  readonly filter: string;
  readonly slice: SliceKey;
  readonly load: Load;
}

/**
 * A heavy group that is not a slice of its own yet, with its writes. Its look-ups stay with the partition when the
 * group is carved out.
 */
export interface HeavyGroup {
  readonly key: SliceKey;
  readonly slice: SliceKey;
  readonly load: Load;
}

export interface Demand {
  readonly loads: ReadonlyMap<SliceKey, Load>;
  readonly heavyTopics: readonly HeavyTopic[];
  readonly heavyGroups: readonly HeavyGroup[];
  /** Why some loads rely on measurements alone; empty when every forecast is trusted. */
  readonly distrust: string;
}

/** A series without a forecast for this long counts as having no rate. */
export const STALE_MS = 600_000;

const emptyFlow = (steps: number): Flow => ({
  now: 0,
  median: new Float32Array(steps),
  spread: new Float32Array(steps),
});

export const emptyLoad = (steps: number): Load => ({
  now: 0,
  lookups: 0,
  unsubscribes: 0,
  median: new Float32Array(steps),
  spread: new Float32Array(steps),
  clients: undefined,
  bandwidth: undefined,
});

/**
 * Loads that share one array: a plan has one for each slice, and 200,000 small buffers would take longer to
 * garbage-collect than to fill.
 */
export function emptyLoads(count: number, steps: number, followed: readonly Flowing[]): Load[] {
  const medians = new Float32Array(count * steps);
  const spreads = new Float32Array(count * steps);
  const loads = Array.from(
    { length: count },
    (_, i): Load => ({
      now: 0,
      lookups: 0,
      unsubscribes: 0,
      median: medians.subarray(i * steps, (i + 1) * steps),
      spread: spreads.subarray(i * steps, (i + 1) * steps),
      clients: undefined,
      bandwidth: undefined,
    }),
  );
  for (const flowing of followed)
    for (const [i, { now, median, spread }] of emptyLoads(count, steps, []).entries())
      loads[i]![flowing] = { now, median, spread };
  return loads;
}

/** target += source x factor, never below zero. Clients go with the writes and bytes with the look-ups (E5). */
export function addLoad(
  target: Load,
  source: Load,
  factor = 1,
  clientsFactor = factor,
  bandwidthFactor = factor,
): void {
  addFlow(target, source, factor);
  target.lookups = Math.max(0, target.lookups + source.lookups * factor);
  target.unsubscribes = Math.max(0, target.unsubscribes + source.unsubscribes * factor);
  if (source.clients !== undefined) addFlowing(target, source, 'clients', clientsFactor);
  if (source.bandwidth !== undefined) addFlowing(target, source, 'bandwidth', bandwidthFactor);
}

function addFlowing(target: Load, source: Load, flowing: Flowing, factor: number): void {
  target[flowing] ??= emptyFlow(target.median.length);
  addFlow(target[flowing], source[flowing]!, factor);
}

function addFlow(target: Flow, source: Flow, factor: number): void {
  const { median, spread } = target;
  const { median: addedMedian, spread: addedSpread } = source;
  target.now = Math.max(0, target.now + source.now * factor);
  for (let k = 0; k < median.length; k++) {
    median[k] = Math.max(0, median[k]! + addedMedian[k]! * factor);
    spread[k] = Math.max(0, spread[k]! + addedSpread[k]! * factor);
  }
}

/** The load of each of two shards that share the look-ups of a slice: half of the look-ups, and every write. */
export function halfLoad(load: Load): Load {
  const { lookups, unsubscribes } = load;
  return { ...scaledLoad(load, 1 - lookupShare(load) / 2, 1, 1 / 2), lookups: lookups / 2, unsubscribes };
}

/** The inverse of `halfLoad`. */
export function wholeLoad(half: Load): Load {
  const { lookups, unsubscribes } = half;
  return { ...scaledLoad(half, 1 + lookupShare(half), 1, 2), lookups: lookups * 2, unsubscribes };
}

/** The share of a load that is look-ups; 1 while there is no load. */
export const lookupShare = ({ now, lookups }: Load): number => (now > 0 ? Math.min(1, lookups / now) : 1);

/** A copy of the load, scaled. */
export function scaledLoad(load: Load, factor: number, clientsFactor = factor, bandwidthFactor = factor): Load {
  const scaled = emptyLoad(load.median.length);
  addLoad(scaled, load, factor, clientsFactor, bandwidthFactor);
  return scaled;
}

/** The highest planned load of one slice over the horizon, and its bucket. */
export function peakOf(load: Flow): { readonly perSecond: number; readonly step: number } {
  let step = 0;
  let perSecond = load.now;
  for (let k = 0; k < load.median.length; k++) {
    const value = load.median[k]! + load.spread[k]!;
    if (value > perSecond) {
      perSecond = value;
      step = k;
    }
  }
  return { perSecond, step };
}

/** The highest clients or bytes that come with the load. */
export const peakOfFlow = (load: Load, flowing: Flowing): number => {
  const flow = load[flowing];
  return flow === undefined ? 0 : peakOf(flow).perSecond;
};

/** A slice with its present entries; `reach` is the work of look-ups in its trie, where the trie has reported it. */
export interface AskedSlice {
  readonly slice: SliceKey;
  readonly entries: number;
  readonly reach?: LookupWork | undefined;
}

/** Each unsubscribe follows a subscribe: in the long run they are half of all events. */
export const USUAL_UNSUBSCRIBE_SHARE = 0.5;

/** The average cost of a subscription event, by the share of unsubscribes. */
export function eventCost(costs: OperationCosts, fact: SeriesFacts): EventCost {
  const share = unsubscribeShareOf(fact);
  const unsubscribe = costs.unsubscribe * share;
  return { perEvent: costs.subscribe * (1 - share) + unsubscribe, unsubscribe };
}

interface EventCost {
  readonly perEvent: number;
  /** The part of it that is unsubscribes. */
  readonly unsubscribe: number;
}

function unsubscribeShareOf({ subscriptions, unsubscribeShare, surge }: SeriesFacts): number {
  const { subscriptionsPerSecond = 0, unsubscribesPerSecond } = surge ?? {};
  if (unsubscribesPerSecond !== undefined && subscriptionsPerSecond > (subscriptions?.current ?? 0))
    return unsubscribesPerSecond / subscriptionsPerSecond;
  return unsubscribeShare ?? USUAL_UNSUBSCRIBE_SHARE;
}

export function demandOf(
  slices: readonly AskedSlice[],
  facts: Iterable<SeriesFacts>,
  costs: Costs,
  settings: PlanSettings,
  now: EventTime,
): Demand {
  const { horizonSteps: steps } = settings;
  const tree = new SliceTree(
    settings.partitions,
    slices.map(({ slice }) => slice),
  );
  const followed = limitedBy(settings.catalog);
  const empty = emptyLoads(slices.length, steps, followed);
  const loads = new Map<SliceKey, Load>(slices.map(({ slice }, i) => [slice, empty[i]!]));
  const leaves: { partition: number; bits: string; load: Load }[] = [];
  const topics: { filter: string; writes: Load; lookups: Load }[] = [];
  const groups = new Map<string, { partition: number; prefix: string; writes: Load; lookups: Load }>();
  let distrust = '';

  for (const fact of facts) {
    const slice = parseSlice(fact.series);
    if (slice === undefined || slice.kind === 'spread') continue;
    distrust ||= distrustOf(fact);
    const kind = slice.kind === 'group' ? 'TRIE' : 'KEY_VALUE';
    const writes = emptyLoad(steps);
    const lookups = emptyLoad(steps);
    const surge = fact.surge;
    const { perEvent, unsubscribe } = eventCost(costs[kind], fact);
    const perLookup = lookupCost(costs[kind], usualLookupWork(kind, settings.coefficients));
    fill(writes, fact.subscriptions, surge?.subscriptionsPerSecond ?? 0, perEvent, settings, now);
    fill(lookups, fact.publishes, surge?.publishesPerSecond ?? 0, perLookup, settings, now);
    if (followed.length > 0) addFlows(writes, lookups, followed, fact, settings, now);
    if (perEvent > 0) writes.unsubscribes = writes.now * (unsubscribe / perEvent);
    lookups.lookups = lookups.now;
    if (slice.kind === 'hash') {
      addLoad(writes, lookups);
      leaves.push({ partition: slice.partition, bits: slice.bits, load: writes });
    } else if (slice.kind === 'pin') topics.push({ filter: slice.filter, writes, lookups });
    else groups.set(fact.series, { partition: slice.partition, prefix: slice.prefix, writes, lookups });
  }

  const heavyTopics = spreadTopics(topics, leaves, tree, loads, steps);
  spreadLeaves(leaves, tree, loads);
  const perUsual = lookupCost(costs.TRIE, usualLookupWork('TRIE', settings.coefficients));
  const reaches = new Map<SliceKey, number>();
  for (const { slice, reach } of slices)
    if (reach !== undefined && isTrieSlice(slice)) reaches.set(slice, lookupCost(costs.TRIE, reach) / perUsual);
  const heavyGroups = spreadGroups(groups, slices, tree, loads, (slice) => reaches.get(slice) ?? 1);
  for (const { slice, entries } of slices) {
    const perSecond = entries * (isTrieSlice(slice) ? costs.TRIE : costs.KEY_VALUE).entry;
    if (perSecond > 0) addStanding(loads.get(slice)!, perSecond);
  }
  return { loads, heavyTopics, heavyGroups, distrust };
}

/** Adds clients in proportion to the writes, and bytes in proportion to the look-ups (E5). */
function addFlows(
  writes: Load,
  lookups: Load,
  followed: readonly Flowing[],
  { subscriptions, clientsPerRate = 0, publishes, bytesPerPublish = 0, surge }: SeriesFacts,
  settings: PlanSettings,
  now: EventTime,
): void {
  const steps = settings.horizonSteps;
  if (followed.includes('clients') && clientsPerRate > 0) {
    writes.clients = emptyFlow(steps);
    fill(writes.clients, subscriptions, surge?.subscriptionsPerSecond ?? 0, clientsPerRate, settings, now);
  }
  if (followed.includes('bandwidth') && bytesPerPublish > 0) {
    lookups.bandwidth = emptyFlow(steps);
    fill(lookups.bandwidth, publishes, surge?.publishesPerSecond ?? 0, bytesPerPublish, settings, now);
  }
}

/** Adds the background work of stored entries, which no forecast changes. */
function addStanding(load: Load, perSecond: number): void {
  load.now += perSecond;
  for (let k = 0; k < load.median.length; k++) load.median[k]! += perSecond;
}

function distrustOf({ subscriptions, publishes }: SeriesFacts): string {
  if (subscriptions !== undefined && !subscriptions.trusted) return subscriptions.distrust;
  return publishes !== undefined && !publishes.trusted ? publishes.distrust : '';
}

/** Whether the forecast foresaw the measured rate; only then is it believed about the rate's end (E3). */
export function isInSight(
  { madeAt, stepMs, upper }: SeriesForecast,
  now: EventTime,
  measuredPerSecond: number,
): boolean {
  const step = Math.min(upper.length - 1, Math.max(0, Math.floor((now - madeAt) / stepMs)));
  return step >= 0 && upper[step]! >= measuredPerSecond;
}

/** Adds one forecast to the buckets, in operations, clients or bytes (E3, E4). */
function fill(
  load: Flow,
  forecast: SeriesForecast | undefined,
  surgePerSecond: number,
  cost: number,
  settings: PlanSettings,
  now: EventTime,
): void {
  const isFresh = forecast !== undefined && now - forecast.madeAt < STALE_MS;
  const measuredPerSecond = Math.max(isFresh ? forecast.current : 0, surgePerSecond);
  const measured = measuredPerSecond * cost;
  const steps = load.median.length;
  const bucketMs = settings.horizonMs / steps;
  const known = isFresh && forecast.trusted ? forecast.median.length : 0;
  load.now = measured;
  const least = known > 0 && isInSight(forecast!, now, measuredPerSecond) ? 0 : measured;
  for (let k = 0; k < steps; k++) {
    let median = 0;
    let upper = 0;
    if (known > 0) {
      const from = (now + k * bucketMs - forecast!.madeAt) / forecast!.stepMs;
      const first = Math.min(known - 1, Math.max(0, Math.floor(from)));
      const last = Math.min(known - 1, Math.max(first, Math.ceil(from + bucketMs / forecast!.stepMs) - 1));
      for (let step = first; step <= last; step++) {
        median += forecast!.median[step]!;
        upper += forecast!.upper[step]!;
      }
      median /= last - first + 1;
      upper /= last - first + 1;
    }
    load.median[k] = Math.max(median * cost, least);
    load.spread[k] = Math.max(upper * cost, least) - load.median[k]!;
    if (load.spread[k]! < 0) load.spread[k] = 0;
  }
}

/** Moves heavy topics from their leaves to the slices that hold them (E2). */
function spreadTopics(
  topics: readonly { filter: string; writes: Load; lookups: Load }[],
  leaves: readonly { partition: number; bits: string; load: Load }[],
  tree: SliceTree,
  loads: ReadonlyMap<SliceKey, Load>,
  steps: number,
): HeavyTopic[] {
  const leafAt = new Map(leaves.map((leaf) => [`${leaf.partition}/${leaf.bits}`, leaf.load]));
  const depths = [...new Set(leaves.map((leaf) => leaf.bits.length))];
  const heavy: HeavyTopic[] = [];
  for (const { filter, writes, lookups } of topics) {
    const partition = partitionOf(filter, tree.partitions);
    const both = emptyLoad(steps);
    addLoad(both, writes);
    addLoad(both, lookups);
    const hash = filterHash(filter);
    for (const depth of depths) {
      const leaf = leafAt.get(`${partition}/${leadingBits(hash, depth)}`);
      if (leaf !== undefined) addLoad(leaf, both, -1);
    }
    const slice = tree.concreteSliceOf(filter, partition, '');
    if (slice === undefined) continue;
    const parsed = parseSlice(slice);
    if (parsed?.kind === 'spread') {
      // Each part gets its share of the writes, but every PUBLISH asks all parts.
      for (const key of spreadSlices(filter, parsed.of)) {
        const part = loads.get(key);
        if (part === undefined) continue;
        addLoad(part, writes, 1 / parsed.of);
        addLoad(part, lookups);
      }
      continue;
    }
    addLoad(loads.get(slice)!, both);
    if (parsed?.kind === 'hash') heavy.push({ filter, slice, load: both });
  }
  return heavy;
}

/** Gives each leaf's load to the one slice around it, or in even shares to the slices inside it (E1). */
function spreadLeaves(
  leaves: readonly { partition: number; bits: string; load: Load }[],
  tree: SliceTree,
  loads: ReadonlyMap<SliceKey, Load>,
): void {
  const deeper = new Map<string, { key: SliceKey; bits: string }[]>();
  for (const key of tree.keys()) {
    const slice = parseSlice(key);
    if (slice?.kind !== 'hash') continue;
    const list = deeper.get(String(slice.partition));
    if (list === undefined) deeper.set(String(slice.partition), [{ key, bits: slice.bits }]);
    else list.push({ key, bits: slice.bits });
  }
  for (const list of deeper.values()) list.sort((a, b) => (a.bits < b.bits ? -1 : 1));
  for (const leaf of leaves) {
    const around = ancestorOf(leaf, tree);
    if (around !== undefined) {
      addLoad(loads.get(around)!, leaf.load);
      continue;
    }
    for (const slice of within(deeper.get(String(leaf.partition)) ?? [], leaf.bits))
      addLoad(loads.get(slice.key)!, leaf.load, 2 ** (leaf.bits.length - slice.bits.length));
  }
}

function ancestorOf(leaf: { partition: number; bits: string }, tree: SliceTree): SliceKey | undefined {
  for (let length = leaf.bits.length; length >= 0; length--) {
    const key = `c/${leaf.partition}/${leaf.bits.slice(0, length)}` as SliceKey;
    if (tree.has(key)) return key;
  }
  return undefined;
}

/** The part of a sorted list whose bits begin with `prefix`. */
function within<Slice extends { bits: string }>(sorted: readonly Slice[], prefix: string): Slice[] {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.bits < prefix) low = middle + 1;
    else high = middle;
  }
  const found: Slice[] = [];
  for (let at = low; at < sorted.length && sorted[at]!.bits.startsWith(prefix); at++) found.push(sorted[at]!);
  return found;
}

/**
 * Each trie event is in one series: that of its first level when it is heavy, else the rest of its partition. Writes
 * are charged to the group that holds them. A PUBLISH asks every group along its levels, so the look-ups of a first
 * level are charged both to its own group and to the partition's trie. The partition of filters without a literal first
 * level has all look-ups in its rest. Carving a group out therefore moves its writes away from the partition, but not
 * its look-ups. The cost of a look-up depends on the trie that is asked: `reachFactorOf` gives the factor relative to a
 * usual one.
 */
function spreadGroups(
  groups: ReadonlyMap<string, { partition: number; prefix: string; writes: Load; lookups: Load }>,
  slices: readonly AskedSlice[],
  tree: SliceTree,
  loads: ReadonlyMap<SliceKey, Load>,
  reachFactorOf: (slice: SliceKey) => number,
): HeavyGroup[] {
  const heavy: HeavyGroup[] = [];
  const asksAll = partitionOf(ROOT_KEY, tree.partitions);
  const carved = carvedUnder(slices);
  for (const [series, { partition, prefix, writes, lookups }] of groups) {
    const rootKey = `w/${partition}/` as SliceKey;
    const root = loads.get(rootKey);
    if (root === undefined) continue;
    if (prefix === '' || partition !== asksAll) addLoad(root, lookups, reachFactorOf(rootKey), 1, 1);
    const under = carved.get(series);
    if (prefix === '' || under === undefined) {
      addLoad(root, writes);
      if (prefix !== '') heavy.push({ key: series as SliceKey, slice: rootKey, load: writes });
      continue;
    }
    // Groups below a first level have no series of their own: each gets a share of the first level's by its entries.
    const total = under.reduce((sum, each) => sum + each.entries + 1, 0);
    for (const { slice, entries } of under) {
      const asked = slice === series ? 1 : (entries + 1) / total;
      addLoad(loads.get(slice)!, writes, (entries + 1) / total);
      addLoad(loads.get(slice)!, lookups, asked * reachFactorOf(slice), asked, asked);
    }
  }
  return heavy;
}

/** Carved groups by their first level, whose series contains them. */
function carvedUnder(
  slices: readonly { readonly slice: SliceKey; readonly entries: number }[],
): Map<string, { slice: SliceKey; entries: number }[]> {
  const carved = new Map<string, { slice: SliceKey; entries: number }[]>();
  for (const each of slices) {
    const level = firstLevelOf(each.slice);
    if (level === undefined) continue;
    const list = carved.get(level);
    if (list === undefined) carved.set(level, [each]);
    else list.push(each);
  }
  return carved;
}

/** `w/<p>/<first level>/` of a carved group; `undefined` for other slices. */
function firstLevelOf(slice: SliceKey): string | undefined {
  if (!slice.startsWith('w/')) return undefined;
  const prefix = slice.indexOf('/', 2) + 1;
  const end = slice.indexOf('/', prefix);
  return end < 0 ? undefined : slice.slice(0, end + 1);
}
