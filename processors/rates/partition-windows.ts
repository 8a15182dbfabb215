// Partition windows: everything that the rates stage stores of one partition: three lanes, one for each input, each
// with its event time, its fixed series and its heavy ones.
//
//   lane            fixed series                        heavy series
//   subscriptions   leaves c/<partition>/<bits>         topics t/<filter>
//   wildcards       the rest, w/<partition>/            first levels w/<partition>/<first level>/
//   traffic         leaves; the rest of each            topics; first levels, of the partition that keeps their trie
//                   wildcard partition
//
// A PUBLISH asks the trie partition of its first level, and always the partition that keeps the filters which begin
// with a wildcard: its traffic counts once in each of the two.

import type { EventTime, Partition } from '../../schemas/ids.ts';
import type { RateWindow, SubscriptionEvent, TopicTraffic, WildcardEvent } from '../../schemas/records.ts';
import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import {
  filterHash,
  groupSeries,
  leadingBits,
  leafSeries,
  partitionOf,
  ROOT_KEY,
  topicSeries,
} from '../../state/keys.ts';
import { SpaceSaving } from '../../state/space-saving.ts';
import { HeavySeries } from './heavy-series.ts';
import { Lane, WINDOW_MS } from './lane.ts';
import { OpenSeries } from './open-series.ts';
import type { RatesSettings } from './settings.ts';

/** Standard error 6.5 %, in 256 bytes for each leaf and group. */
const FIXED_REGISTERS = 256;
/** Standard error 13 %, in 64 bytes for each heavy topic. */
const HEAVY_REGISTERS = 64;
/** Number of first levels whose partition is cached; only a bound. */
const REMEMBERED_LEVELS = 4096;

export class PartitionWindows {
  readonly partition: Partition;
  readonly shape: Shape;
  readonly lanes = { subscriptions: new Lane(), wildcards: new Lane(), traffic: new Lane() };
  readonly #leaves: OpenSeries[];
  readonly #trafficLeaves: OpenSeries[];
  #rest: OpenSeries;
  readonly #trafficRests = new Map<Partition, OpenSeries>();
  readonly #topics: HeavySeries;
  readonly #groups: HeavySeries;
  readonly #trafficTopics: HeavySeries;
  readonly #trafficGroups: HeavySeries;
  /** Traffic of topics that are heavy by their subscriptions. */
  readonly #followed = new Map<string, OpenSeries>();
  /** Computed, not stored. */
  readonly #levelPartitions = new Map<string, Partition>();

  constructor(
    partition: Partition,
    shape: Shape,
    heavy?: readonly [HeavySeries, HeavySeries, HeavySeries, HeavySeries],
  ) {
    this.partition = partition;
    this.shape = shape;
    const leaf = (registers: number) => (_: unknown, index: number) => {
      const bits = leadingBits((index << (32 - shape.leafBits)) >>> 0, shape.leafBits);
      return new OpenSeries(leafSeries(partition, bits), registers, 0);
    };
    this.#leaves = Array.from({ length: 2 ** shape.leafBits }, leaf(FIXED_REGISTERS));
    this.#trafficLeaves = Array.from({ length: 2 ** shape.leafBits }, leaf(0));
    this.#rest = new OpenSeries(groupSeries(partition), FIXED_REGISTERS, 0);
    [this.#topics, this.#groups, this.#trafficTopics, this.#trafficGroups] = heavy ?? [
      new HeavySeries(new SpaceSaving(shape.heavyTopics), HEAVY_REGISTERS),
      new HeavySeries(new SpaceSaving(shape.heavyGroups), FIXED_REGISTERS),
      new HeavySeries(new SpaceSaving(shape.heavyTopics), 0),
      new HeavySeries(new SpaceSaving(shape.heavyGroups), 0),
    ];
  }

  /** Counts a concrete subscription event. */
  concrete(event: SubscriptionEvent, settings: RatesSettings, closed: RateWindow[]): void {
    const lane = this.lanes.subscriptions;
    const time = lane.accept(event.timestamp, settings);
    if (lane.due(settings)) this.#closeSubscriptions(settings, closed);
    const filter = event.topicFilter;
    const hash = filterHash(filter);
    const leaf = this.#leaves[this.#leafOf(hash)]!;
    const start = startOf(time, lane);
    if (start < 0) {
      leaf.lateEvents++;
      return;
    }
    const subscribe = event.action === 'SUBSCRIBE';
    const client = filterHash(event.clientId);
    leaf.event(start, subscribe, client);
    this.#topics.weigh(filter, hash, 1, start)?.event(start, subscribe, client);
  }

  /** Counts a trie event of the group of `firstLevel`. */
  wildcard(firstLevel: string, event: WildcardEvent, settings: RatesSettings, closed: RateWindow[]): void {
    const lane = this.lanes.wildcards;
    const time = lane.accept(event.timestamp, settings);
    if (lane.due(settings)) this.#closeWildcards(settings, closed);
    const start = startOf(time, lane);
    if (start < 0) {
      this.#rest.lateEvents++;
      return;
    }
    const group =
      firstLevel === ROOT_KEY ? undefined : this.#groups.weigh(firstLevel, filterHash(firstLevel), 1, start);
    (group ?? this.#rest).event(start, event.action === 'SUBSCRIBE', filterHash(event.clientId));
  }

  /**
   * Counts a traffic report at the end of the time that it covers. When it is late by at most its own length it counts
   * in the older open window: a small shift hardly affects a forecast by minutes, but a loss would.
   */
  traffic(report: TopicTraffic, settings: RatesSettings, closed: RateWindow[]): void {
    const lane = this.lanes.traffic;
    const end = report.windowStart + report.windowMs - 1;
    const time = lane.accept(end, settings);
    if (lane.due(settings)) this.#closeTraffic(settings, closed);
    const { topic, publishes, bytes } = report;
    const hash = filterHash(topic);
    const leaf = this.#trafficLeaves[this.#leafOf(hash)]!;
    const start = startOf(Math.max(time, Math.min(lane.openStart, time + report.windowMs)), lane);
    if (start < 0) {
      leaf.lateEvents++;
      return;
    }
    leaf.traffic(start, publishes, bytes);
    const heavy = this.#trafficTopics.weigh(topic, hash, publishes, start) ?? this.#followedTopic(topic, hash, start);
    heavy?.traffic(start, publishes, bytes);
    this.#groupTraffic(topic, publishes, bytes, start);
  }

  /** Returns true when event time moved enough to be stored. */
  tick(eventTime: number, settings: RatesSettings, closed: RateWindow[]): boolean {
    let moved = false;
    for (const [lane, close] of [
      [this.lanes.subscriptions, this.#closeSubscriptions],
      [this.lanes.wildcards, this.#closeWildcards],
      [this.lanes.traffic, this.#closeTraffic],
    ] as const) {
      if (!lane.tick(eventTime, settings) || !lane.due(settings)) continue;
      close.call(this, settings, closed);
      moved = true;
    }
    return moved;
  }

  #leafOf(hash: number): number {
    return this.shape.leafBits === 0 ? 0 : hash >>> (32 - this.shape.leafBits);
  }

  #followedTopic(topic: string, hash: number, start: number): OpenSeries | undefined {
    if (!this.#topics.isHeavy(topic, hash)) return undefined;
    let series = this.#followed.get(topic);
    if (series === undefined) {
      series = new OpenSeries(topicSeries(topic), 0, nextUncounted(this.lanes.traffic));
      this.#followed.set(topic, series);
    }
    return start >= series.since ? series : undefined;
  }

  #groupTraffic(topic: string, publishes: number, bytes: number, start: number): void {
    const slash = topic.indexOf('/');
    const first = slash < 0 ? topic : topic.slice(0, slash);
    const partition = this.#partitionOfLevel(first);
    const group = this.#trafficGroups.weigh(first, filterHash(first), publishes, start);
    (group ?? this.#trafficRest(partition)).traffic(start, publishes, bytes);
    const root = this.#partitionOfLevel(ROOT_KEY);
    if (group !== undefined || root !== partition) this.#trafficRest(root).traffic(start, publishes, bytes);
  }

  #trafficRest(partition: Partition): OpenSeries {
    let rest = this.#trafficRests.get(partition);
    if (rest === undefined) {
      rest = new OpenSeries(groupSeries(partition), 0, 0);
      this.#trafficRests.set(partition, rest);
    }
    return rest;
  }

  #partitionOfLevel(level: string): Partition {
    let partition = this.#levelPartitions.get(level);
    if (partition === undefined) {
      if (this.#levelPartitions.size >= REMEMBERED_LEVELS) this.#levelPartitions.clear();
      partition = partitionOf(level, this.shape.partitions);
      this.#levelPartitions.set(level, partition);
    }
    return partition;
  }

  #closeSubscriptions(settings: RatesSettings, closed: RateWindow[]): void {
    const lane = this.lanes.subscriptions;
    const windows = this.#closeDue(lane, settings, closed, () => [this.#leaves, this.#topics]);
    this.#topics.judge(windows, nextUncounted(lane), settings.heavy, topicSeries);
  }

  #closeWildcards(settings: RatesSettings, closed: RateWindow[]): void {
    const lane = this.lanes.wildcards;
    const windows = this.#closeDue(lane, settings, closed, () => [[this.#rest], this.#groups]);
    this.#groups.judge(windows, nextUncounted(lane), settings.heavy, (first) =>
      groupSeries(this.partition, `${first}/`),
    );
  }

  #closeTraffic(settings: RatesSettings, closed: RateWindow[]): void {
    const lane = this.lanes.traffic;
    const windows = this.#closeDue(lane, settings, closed, () => [
      this.#trafficLeaves,
      this.#trafficRests.values(),
      this.#trafficTopics,
      this.#trafficGroups,
      this.#followed.values(),
    ]);
    const since = nextUncounted(lane);
    this.#trafficTopics.judge(windows, since, settings.heavy, topicSeries);
    this.#trafficGroups.judge(windows, since, settings.heavy, (first) =>
      groupSeries(this.#partitionOfLevel(first), `${first}/`),
    );
    for (const [topic, series] of this.#followed) {
      const hash = filterHash(topic);
      if (!this.#topics.isHeavy(topic, hash) || this.#trafficTopics.isHeavy(topic, hash) || series.since > since)
        this.#followed.delete(topic);
    }
  }

  /** Closes every window whose grace is over, and returns how many; empty windows emit nothing. */
  #closeDue(
    lane: Lane,
    settings: RatesSettings,
    closed: RateWindow[],
    all: () => readonly Iterable<OpenSeries>[],
  ): number {
    const before = lane.openStart;
    for (let open = 0; open < 2 && lane.due(settings); open++) {
      for (const some of all()) {
        for (const series of some) {
          const record = series.close(lane.openStart, this.partition);
          if (record !== undefined) closed.push(record);
        }
      }
      lane.close();
    }
    if (lane.due(settings)) lane.catchUp(settings);
    return (lane.openStart - before) / WINDOW_MS;
  }

  write(to: BinaryWriter): void {
    to.count(this.partition).count(this.shape.partitions).count(this.shape.leafBits);
    to.count(this.shape.heavyTopics).count(this.shape.heavyGroups);
    for (const heavy of [this.#topics, this.#groups, this.#trafficTopics, this.#trafficGroups]) heavy.write(to);
    for (const lane of Object.values(this.lanes)) lane.write(to);
    for (const some of [this.#leaves, this.#trafficLeaves, [this.#rest]]) for (const series of some) series.write(to);
    to.count(this.#trafficRests.size);
    for (const [partition, series] of this.#trafficRests) series.write(to.count(partition));
    to.count(this.#followed.size);
    for (const [topic, series] of this.#followed) series.write(to.text(topic));
  }

  static read(from: BinaryReader): PartitionWindows {
    const partition = from.count();
    const shape = {
      partitions: from.count(),
      leafBits: from.count(),
      heavyTopics: from.count(),
      heavyGroups: from.count(),
    };
    const windows = new PartitionWindows(partition, shape, [
      HeavySeries.read(from, shape.heavyTopics, HEAVY_REGISTERS),
      HeavySeries.read(from, shape.heavyGroups, FIXED_REGISTERS),
      HeavySeries.read(from, shape.heavyTopics, 0),
      HeavySeries.read(from, shape.heavyGroups, 0),
    ]);
    for (const lane of Object.values(windows.lanes)) lane.read(from);
    for (const some of [windows.#leaves, windows.#trafficLeaves])
      for (let i = 0; i < some.length; i++) some[i] = OpenSeries.read(from);
    windows.#rest = OpenSeries.read(from);
    for (let left = from.count(); left > 0; left--) windows.#trafficRests.set(from.count(), OpenSeries.read(from));
    for (let left = from.count(); left > 0; left--) windows.#followed.set(from.text(), OpenSeries.read(from));
    return windows;
  }
}

/** The settings that decide what a row contains. From a row of another shape only the lanes are kept. */
export type Shape = Pick<RatesSettings, 'partitions' | 'leafBits' | 'heavyTopics' | 'heavyGroups'>;

/** Start of the open window that contains `time`; -1 when that window has closed. */
function startOf(time: number, lane: Lane): number {
  if (time < lane.openStart) return -1;
  return time < lane.openStart + WINDOW_MS ? lane.openStart : lane.openStart + WINDOW_MS;
}

/** Start of the first window in which no event has been counted yet. */
const nextUncounted = (lane: Lane): EventTime =>
  (lane.watermark.time - (lane.watermark.time % WINDOW_MS) + WINDOW_MS) as EventTime;
