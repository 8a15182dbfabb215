// Fleet: traces as the load of a synthetic fleet. Each series is a family of topics under one first level, whose shares
// of the family's messages are skewed by the seed; clients subscribe to the topics, and to wildcard filters over the
// family. Pure: the same series and seed give the same fleet.
//
//   F1. The load of a slice is linear in the rates of the series: its weights say how many operations a message of
//       each series costs it.
//   F2. A PUBLISH asks the slice of its topic, the wildcard group of its first level, and the one of filters that begin
//       with a wildcard, as the router does.

import type { CostCoefficients } from '../../processors/plan/settings.ts';
import type { SeriesId, SliceKey } from '../../schemas/ids.ts';
import {
  filterHash,
  groupSeries,
  groupSlice,
  isTrieSlice,
  leadingBits,
  leafSeries,
  partitionOf,
  ROOT_KEY,
  topicSeries,
} from '../../state/keys.ts';
import { SliceTree } from '../../state/slice-tree.ts';
import { randomFrom } from '../random.ts';
import { type Played, quantileOf } from './minutes.ts';

export interface FleetSettings {
  readonly seed: number;
  readonly partitions: number;
  /** Number of leading bits of the leaves that are counted and forecast. */
  readonly leafBits: number;
  readonly coefficients: CostCoefficients;
  /** Messages per second of all series together in their busy times. */
  readonly busyPerSecond: number;
  /** Minutes at the beginning that are not paid for: they only show what is usual. */
  readonly learnMinutes: number;
}

export interface Topic {
  readonly filter: string;
  /** Number of its series. */
  readonly series: number;
  /** Share of its series' messages. */
  readonly share: number;
}

/**
 * A series that the planner knows: a leaf, a heavy topic or a wildcard group, with its share of each trace series'
 * messages.
 */
export interface CountedSeries {
  readonly series: SeriesId;
  readonly shares: Float64Array;
  /** Subscribes and unsubscribes for each message. */
  readonly eventsPerMessage: number;
}

/** The entries and the load of a slice. */
export interface SliceWeights {
  /** Operations for each message of each series. */
  readonly operations: Float64Array;
  /** Those of the operations that are look-ups; a replica takes its share of them. */
  readonly lookups: Float64Array;
  readonly entries: number;
}

const TOPICS_PER_SERIES = 100;
/** Zipf exponent within a family, and how much the seed varies each share. Arbitrary. */
const SKEW = 0.9;
const SWAY = 0.5;
/** Subscriptions of each topic, and wildcard subscriptions of each family: 90 and 10 per cent of all. */
const ENTRIES_PER_TOPIC = 900;
const WILDCARD_ENTRIES_PER_SERIES = 10_000;
/** Clients come and go in proportion to the messages; wildcard subscriptions are those of services, and stay. */
const EVENTS_PER_MESSAGE = 1;
/** Share of unsubscribes among the events; everyone who leaves has come before. */
export const UNSUBSCRIBE_SHARE = 0.5;
/** Number of topics, the busiest ones, that are counted and forecast on their own. */
const HEAVY_TOPICS = 8;
/** Quantile that is the busy time of a series, as in the shared protocol: one minute in two hundred is busier. */
const BUSY = 0.995;

export class SyntheticFleet {
  readonly names: readonly string[];
  readonly topics: readonly Topic[];
  readonly minutes: number;
  readonly entries: number;
  readonly settings: FleetSettings;
  /** Messages per second of each series, by minute. */
  readonly perSecond: readonly Float64Array[];

  constructor(played: readonly Played[], settings: FleetSettings) {
    this.settings = settings;
    this.names = firstLevels(played.map(({ name }) => name));
    this.minutes = played[0]!.perMinute.length;
    this.perSecond = scaled(played, settings);
    const random = randomFrom(settings.seed);
    this.topics = this.names.flatMap((name, series) => topicsOf(name, series, random));
    this.entries = this.topics.length * ENTRIES_PER_TOPIC + this.names.length * WILDCARD_ENTRIES_PER_SERIES;
  }

  /** Messages per second of all series, weighted. */
  sum(weights: Float64Array, minute: number): number {
    let sum = 0;
    for (let series = 0; series < weights.length; series++) sum += weights[series]! * this.perSecond[series]![minute]!;
    return sum;
  }

  /** The series that the rates stage would count. */
  counted(): CountedSeries[] {
    const { partitions, leafBits } = this.settings;
    const bySeries = new Map<SeriesId, CountedSeries>();
    const add = (series: SeriesId, of: number, share: number, eventsPerMessage: number): void => {
      const known = bySeries.get(series) ?? { series, shares: this.zeros(), eventsPerMessage };
      known.shares[of]! += share;
      bySeries.set(series, known);
    };
    for (const { filter, series, share } of this.topics)
      add(
        leafSeries(partitionOf(filter, partitions), leadingBits(filterHash(filter), leafBits)),
        series,
        share,
        EVENTS_PER_MESSAGE,
      );
    for (const { filter, series, share } of this.#heavy()) add(topicSeries(filter), series, share, EVENTS_PER_MESSAGE);
    const root = partitionOf(ROOT_KEY, partitions);
    for (const [series, name] of this.names.entries())
      for (const partition of new Set([root, partitionOf(name, partitions)])) add(groupSeries(partition), series, 1, 0);
    return [...bySeries.values()].sort((a, b) => (a.series < b.series ? -1 : 1));
  }

  /** The weights of each of these slices, which must hold every filter (F1, F2). */
  weights(slices: Iterable<SliceKey>): Map<SliceKey, SliceWeights> {
    const { partitions, coefficients } = this.settings;
    const tree = new SliceTree(partitions, slices);
    const found = new Map<SliceKey, SliceWeights & { entries: number }>();
    for (const key of tree.keys()) found.set(key, { operations: this.zeros(), lookups: this.zeros(), entries: 0 });
    const ask = (key: SliceKey, series: number, lookups: number, writes: number): void => {
      const slice = found.get(key)!;
      slice.operations[series]! += lookups + writes;
      slice.lookups[series]! += lookups;
    };
    const { operationsPerConcreteLookup, operationsPerWildcardLookup } = coefficients;
    const writesPerMessage = EVENTS_PER_MESSAGE * operationsPerEvent(coefficients);
    for (const { filter, series, share } of this.topics) {
      const slices = tree.slicesForTopic(filter).filter((key) => !isTrieSlice(key)); // Several when it is spread.
      for (const key of slices) {
        ask(key, series, share * operationsPerConcreteLookup, (share * writesPerMessage) / slices.length);
        found.get(key)!.entries += ENTRIES_PER_TOPIC / slices.length;
      }
    }
    const root = partitionOf(ROOT_KEY, partitions);
    for (const [series, name] of this.names.entries()) {
      const home = partitionOf(name, partitions);
      const group = tree.groupOf(home, `${name}/`)!;
      found.get(group)!.entries += WILDCARD_ENTRIES_PER_SERIES;
      // A group that was carved out is asked in addition to the group around it.
      for (const key of new Set([groupSlice(root), groupSlice(home), group]))
        ask(key, series, operationsPerWildcardLookup, 0);
    }
    return found;
  }

  zeros(): Float64Array {
    return new Float64Array(this.names.length);
  }

  #heavy(): Topic[] {
    const meanOf = this.perSecond.map((rates) => meanBefore(rates, this.settings.learnMinutes));
    return [...this.topics]
      .sort((a, b) => b.share * meanOf[b.series]! - a.share * meanOf[a.series]! || (a.filter < b.filter ? -1 : 1))
      .slice(0, HEAVY_TOPICS);
  }
}

/** The mean of the first `minutes` rates. */
export function meanBefore(rates: Float64Array, minutes: number): number {
  let sum = 0;
  for (let minute = 0; minute < minutes; minute++) sum += rates[minute]!;
  return sum / Math.max(1, minutes);
}

/** Series names as topic levels; equal ones are numbered. */
function firstLevels(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return names.map((name) => {
    const level = name.replace(/[/+#\p{Cc}]/gu, '-').replace(/^\$/, '-') || '-';
    let unique = level;
    for (let n = 2; seen.has(unique); n++) unique = `${level}-${n}`;
    seen.add(unique);
    return unique;
  });
}

/**
 * Scales the series: all have the same weight in their busy times, and together the settings' rate in their common busy
 * time.
 */
function scaled(played: readonly Played[], { learnMinutes, busyPerSecond }: FleetSettings): Float64Array[] {
  const alike = played.map(({ perMinute }) => {
    const usual = perMinute.subarray(0, learnMinutes);
    const busy = quantileOf(usual, BUSY) || Math.max(...usual) || 1;
    return perMinute.map((rate) => rate / busy);
  });
  const total = new Float64Array(learnMinutes);
  for (const rates of alike) for (let minute = 0; minute < learnMinutes; minute++) total[minute]! += rates[minute]!;
  const factor = busyPerSecond / (quantileOf(total, BUSY) || 1);
  return alike.map((rates) => rates.map((rate) => rate * factor));
}

function topicsOf(name: string, series: number, random: () => number): Topic[] {
  const raw = Array.from({ length: TOPICS_PER_SERIES }, (_, rank) => ({
    weight: (1 + SWAY * (2 * random() - 1)) / (rank + 1) ** SKEW,
    // So that another seed places the topics in other slices.
    filter: `${name}/${rank}-${Math.floor(random() * 0x10000).toString(16)}`,
  }));
  const sum = raw.reduce((total, { weight }) => total + weight, 0);
  return raw.map(({ filter, weight }) => ({ filter, series, share: weight / sum }));
}

/** The average cost of a subscribe or unsubscribe event. */
const operationsPerEvent = ({ operationsPerSubscribe, operationsPerUnsubscribe }: CostCoefficients): number =>
  operationsPerSubscribe * (1 - UNSUBSCRIBE_SHARE) + operationsPerUnsubscribe * UNSUBSCRIBE_SHARE;
