// World: load and forecasts around the simulator of the plan stage (evaluation/what-if/cell.ts), for its tests: a forecaster
// that knows the load, or lies, stores that fail, brokers that fall silent. No randomness of its own.

import { Cell, type Costs, type Pace } from '../../../evaluation/what-if/cell.ts';
import { PACE, STEP_SECONDS } from '../../../evaluation/what-if/pace.ts';
import { FLOWING, limitOf } from '../../../processors/plan/cluster/catalog.ts';
import type { Constraint } from '../../../processors/plan/constraints/constraints.ts';
import type { PlanSettings } from '../../../processors/plan/settings.ts';
import { shardMapOfRows, shardsOf } from '../../../processors/plan/stage/views.ts';
import { eventTime, type ShardId, seriesId } from '../../../schemas/ids.ts';
import type { Signal } from '../../../schemas/records.ts';
import {
  filterHash,
  groupSeries,
  isTrieSlice,
  leadingBits,
  leafSeries,
  partitionOf,
  ROOT_KEY,
  topicSeries,
} from '../../../state/keys.ts';
import { CATALOG, forecast, SETTINGS, T0, tableProblems } from './stage-by-hand.ts';

/** `late` knows the rate of this minute alone; `noise` is up to three times too high or low, anew for each forecast. */
export type Forecaster = 'perfect' | 'none' | 'broken' | 'late' | 'noise';

/** What is asked of each topic per second at a minute: look-ups, unless `writes`. */
export interface World {
  readonly topics: readonly {
    readonly topic: string;
    readonly perSecond: (minute: number) => number;
    readonly writes?: boolean;
    /** Of each message that is published, and clients for each write per second; none when absent. */
    readonly bytes?: number;
    readonly clients?: number;
  }[];
  /** PUBLISHes that ask the partition of wildcard-first filters, per second. */
  readonly wildcards?: (minute: number) => number;
  /** Filters under one first level and a wildcard, by that level: what is asked of them, per second. */
  readonly groups?: readonly {
    readonly prefix: string;
    readonly signal: Signal;
    readonly perSecond: (minute: number) => number;
  }[];
  readonly forecaster: Forecaster;
  /** Topics above this are series of their own. */
  readonly heavyPerSecond: number;
  readonly entriesPerSlice: number;
  readonly settings?: Partial<PlanSettings>;
  readonly constraints?: readonly Constraint[];
  /** Called at the end of each minute. */
  readonly watch?: (cell: Cell, minute: number) => void;
  /** From asking for a shard until it answers; a minute when absent. */
  readonly provisioningMs?: number;
  /** From asking for a move until both sides are equal; half a minute when absent. */
  readonly copyMs?: number;
  /** Types that cannot be had at that minute: their shards fail. */
  readonly isSoldOut?: (type: string, minute: number) => boolean;
  /** The broker's heartbeats, or what apply says of moves, are not heard. */
  readonly isSilent?: (who: 'broker' | 'apply', minute: number) => boolean;
  /** What else happens at the beginning of a minute. */
  readonly meanwhile?: (cell: Cell, minute: number) => void;
}

const LEAF_BITS = 2;

export interface Result {
  readonly cell: Cell;
  readonly overloadedMinutes: number;
  readonly quietSinceMinute: number;
  readonly problems: readonly string[];
  readonly dollars: number;
}

/** Runs the world for so many minutes of event time; a second of wall time is a second of event time. */
export function simulate(world: World, minutes: number): Result {
  let minute = 0;
  const cell = new Cell({ ...SETTINGS, ...world.settings }, paceOf(world), FREE_OF_CHARGE, T0, {
    ...(world.constraints === undefined ? {} : { constraints: world.constraints }),
    faults: {
      isSoldOut: (type) => world.isSoldOut?.(type, minute) ?? false,
      isSilent: (who) => world.isSilent?.(who, minute) ?? false,
    },
  });
  const rates = {
    PUBLISHES: seriesOf(world, 'PUBLISHES', cell.settings.partitions, minutes),
    SUBSCRIPTIONS: seriesOf(world, 'SUBSCRIPTIONS', cell.settings.partitions, minutes),
  };
  const amounts = {
    PUBLISHES: seriesOf(world, 'PUBLISHES', cell.settings.partitions, minutes, ({ bytes = 0 }) => bytes),
    SUBSCRIPTIONS: seriesOf(world, 'SUBSCRIPTIONS', cell.settings.partitions, minutes, ({ clients = 0 }) => clients),
  };
  const problems = new Set<string>();
  let overloadedMinutes = 0;
  let quietSinceMinute = 0;
  let dollars = 0;
  for (const slice of cell.homes().slices.keys()) cell.count(slice, world.entriesPerSlice);

  for (; minute < minutes; minute++) {
    const commandsBefore = cell.commands.length;
    world.meanwhile?.(cell, minute);
    for (let second = 0; second < 60; second += STEP_SECONDS) {
      const now = T0 + minute * 60_000 + second * 1_000;
      cell.tick(now, () => {
        for (const signal of ['PUBLISHES', 'SUBSCRIPTIONS'] as const) {
          if (second === 0) sendForecasts(cell, signal, rates[signal], amounts[signal], world.forecaster, minute, now);
          sendRates(cell, signal, rates[signal], minute, now);
        }
      });
    }
    if (minute % 10 === 9) for (const problem of tableProblems(cell)) problems.add(problem);
    world.watch?.(cell, minute);
    if (cell.commands.length > commandsBefore) quietSinceMinute = minute + 1;
    if (overloaded(cell, world, minute)) overloadedMinutes++;
    dollars += shardsOf(cell.rows).reduce(
      (sum, shard) => sum + CATALOG.get(shard.datastoreType)!.dollarsPerHour / 60,
      0,
    );
  }
  return { cell, overloadedMinutes, quietSinceMinute, problems: [...problems], dollars };
}

/** Whatever a move's rows, it takes as long as the world says. */
const paceOf = ({ provisioningMs = 60_000, copyMs = 30_000 }: World): Pace => ({
  ...PACE,
  steerMs: PACE.shortMs,
  moveMs: copyMs,
  provisioningMs,
});

/** What is done is paid for in the planner's own decisions. */
const FREE_OF_CHARGE: Costs = { provisioned() {}, moved() {} };

/**
 * Rates of each series by minute: every topic in its leaf, and the heavy ones in their own series too; or what comes with
 * them, so much for each as `amountOf` says.
 */
function seriesOf(
  world: World,
  signal: Signal,
  partitions: number,
  minutes: number,
  amountOf: (topic: World['topics'][number]) => number = () => 1,
): Map<string, number[]> {
  const rates = new Map<string, number[]>();
  const add = (series: string, byMinute: readonly number[], amount = 1): void => {
    const sum = rates.get(series) ?? byMinute.map(() => 0);
    rates.set(
      series,
      sum.map((value, minute) => value + byMinute[minute]! * amount),
    );
  };
  const all = Array.from({ length: minutes + 60 }, (_, minute) => minute);
  for (const each of world.topics) {
    const { topic, perSecond, writes = false } = each;
    if (writes !== (signal === 'SUBSCRIPTIONS')) continue;
    const byMinute = all.map(perSecond);
    const amount = amountOf(each);
    add(leafSeries(partitionOf(topic, partitions), leadingBits(filterHash(topic), LEAF_BITS)), byMinute, amount);
    if (Math.max(...byMinute) >= world.heavyPerSecond) add(topicSeries(topic), byMinute, amount);
  }
  if (world.wildcards !== undefined && signal === 'PUBLISHES')
    add(groupSeries(partitionOf(ROOT_KEY, partitions)), all.map(world.wildcards));
  for (const [series, byMinute] of groupsOf(world, signal, partitions, minutes)) add(series, byMinute);
  return rates;
}

function groupsOf({ groups = [] }: World, signal: Signal, partitions: number, minutes: number): Map<string, number[]> {
  const all = Array.from({ length: minutes + 60 }, (_, minute) => minute);
  return new Map(
    groups
      .filter((group) => group.signal === signal)
      .map(({ prefix, perSecond }) => [groupSeries(partitionOf(prefix, partitions), `${prefix}/`), all.map(perSecond)]),
  );
}

function sendForecasts(
  cell: Cell,
  signal: Signal,
  rates: Map<string, number[]>,
  amounts: Map<string, number[]>,
  forecaster: Forecaster,
  minute: number,
  now: number,
): void {
  if (forecaster === 'none') return;
  for (const [series, byMinute] of rates) {
    const current = byMinute[minute]!;
    const median = forecaster === 'late' ? Array<number>(60).fill(current) : byMinute.slice(minute, minute + 60);
    const upper = median.map((rate) => rate * 1.1);
    if (forecaster === 'noise') {
      const wrong = 3 ** (2 * noiseAt(series, minute) - 1);
      for (const steps of [median, upper]) for (const [k, rate] of steps.entries()) steps[k] = rate * wrong;
    }
    if (forecaster === 'broken') {
      median.fill(Number.NaN);
      upper.fill(1e308);
    }
    const amount = amounts.get(series)![minute]!;
    const counted = signal === 'PUBLISHES' ? { bytesPerSecond: amount } : { distinctClients: amount };
    const value = { ...forecast(series, signal, now, median, upper, current), ...counted };
    cell.send({ topic: 'forecasts', value });
  }
}

/** The same for the same series and minute; even over 0 to 1. */
const noiseAt = (series: string, minute: number): number => filterHash(`${series} ${minute}`) / 2 ** 32;

function sendRates(cell: Cell, signal: Signal, rates: Map<string, number[]>, minute: number, now: number): void {
  for (const [series, byMinute] of rates) {
    const none = { subscribes: 0, unsubscribes: 0, publishes: 0, bytes: 0, distinctClients: 0, lateEvents: 0 };
    const events = Math.round(byMinute[minute]! * 10);
    const counts = signal === 'PUBLISHES' ? { ...none, publishes: events } : { ...none, subscribes: events };
    const window = { series: seriesId(series), source: 0, windowStart: eventTime(now - 10_000), windowMs: 10_000 };
    cell.send({ topic: 'rates', value: { ...window, ...counts } });
  }
}

/** True when some shard is asked for more than it can do or bear, by the true load and the published map. */
function overloaded(cell: Cell, world: World, minute: number): boolean {
  const map = shardMapOfRows(cell.rows, cell.settings.partitions);
  const asked = new Map<ShardId, { operations: number; clients: number; bandwidth: number }>();
  for (const { topic, perSecond, writes, bytes = 0, clients = 0 } of world.topics) {
    const slices = map.tree.slicesForTopic(topic).filter((key) => !isTrieSlice(key));
    for (const key of slices) {
      const { shards } = map.slices.get(key)!;
      const each = perSecond(minute) / (writes ? slices.length : shards.length);
      for (const shard of shards) {
        const sum = asked.get(shard) ?? { operations: 0, clients: 0, bandwidth: 0 };
        sum.operations += each;
        if (writes) sum.clients += each * clients;
        else sum.bandwidth += each * bytes;
        asked.set(shard, sum);
      }
    }
  }
  return [...asked].some(([id, { operations, ...flows }]) => {
    const type = cell.settings.catalog.get(map.shards.get(id)!.datastoreType)!;
    return operations > type.operationsPerSecond || FLOWING.some((flowing) => flows[flowing] > limitOf(type, flowing));
  });
}
