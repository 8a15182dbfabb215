// A small world around the plan stage: an apply that carries commands out in stated times, brokers that follow the
// pointer table, and a forecaster that knows the load, or lies. Everything by hand-moved time; no randomness of its own.

import { catalogOf } from '../../../processors/plan/cluster/catalog.ts';
import { CONSTRAINTS, type Constraint } from '../../../processors/plan/constraints/constraints.ts';
import { type Costs, priorCosts } from '../../../processors/plan/demand/coefficients.ts';
import { BARE } from '../../../processors/plan/demand/footprint.ts';
import { usualLookupWork } from '../../../processors/plan/demand/lookup-work.ts';
import {
  cells,
  PLAN_DEFAULTS,
  type PlanInput,
  type PlanSettings,
  planWith,
  type Row,
} from '../../../processors/plan/stage/plan-stage.ts';
import { shardMapOfRows, shardsOf } from '../../../processors/plan/stage/views.ts';
import type { Rows } from '../../../processors/step.ts';
import { eventTime, type ShardId, type SliceKey, seriesId, shardId } from '../../../schemas/ids.ts';
import type {
  Command,
  Decision,
  Forecast,
  Metric,
  MoveProgress,
  MoveState,
  PointerRecord,
  Progress,
  ShardProgress,
  Signal,
} from '../../../schemas/records.ts';
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
import { keyOfBody } from '../../../state/pointer-table.ts';
import { problemsOf } from '../../../state/shard-map.ts';

export const T0 = 1_700_000_000_000;

export const CATALOG = catalogOf({
  types: [
    {
      name: 'kv',
      kind: 'KEY_VALUE',
      operationsPerSecond: 1_000,
      entriesMax: 1e6,
      memoryBytes: 1e9,
      dollarsPerHour: 0.1,
      dollarsPerProvisioning: 0.01,
      dollarsPerGibMoved: 0.02,
      provisioningMs: 60_000,
    },
    {
      name: 'kv-large',
      kind: 'KEY_VALUE',
      operationsPerSecond: 4_000,
      entriesMax: 4e6,
      memoryBytes: 4e9,
      dollarsPerHour: 0.5,
      dollarsPerProvisioning: 0.02,
      dollarsPerGibMoved: 0.02,
      provisioningMs: 60_000,
    },
    {
      name: 'trie',
      kind: 'TRIE',
      operationsPerSecond: 10_000,
      entriesMax: 1e6,
      memoryBytes: 1e9,
      dollarsPerHour: 0.2,
      dollarsPerProvisioning: 0.01,
      dollarsPerGibMoved: 0.02,
      provisioningMs: 60_000,
    },
  ],
});

export const SETTINGS: PlanSettings = {
  ...PLAN_DEFAULTS,
  partitions: 4,
  genesis: { concreteType: 'kv', trieType: 'trie' },
  catalog: CATALOG,
};

/** Before anything is learned. */
export const COSTS: Costs = {
  KEY_VALUE: priorCosts('KEY_VALUE', SETTINGS.coefficients),
  TRIE: priorCosts('TRIE', SETTINGS.coefficients),
};

export const FOOTPRINTS = { KEY_VALUE: BARE, TRIE: BARE };
export const REACHES = {
  KEY_VALUE: usualLookupWork('KEY_VALUE', SETTINGS.coefficients),
  TRIE: usualLookupWork('TRIE', SETTINGS.coefficients),
};

/** Rows as a map; what is read back after a restart is what the table's own bytes give. */
export class MapRows implements Rows<Row> {
  readonly map = new Map<string, Row>();
  writes = 0;
  get(key: string): Row | undefined {
    return this.map.get(key);
  }
  set(key: string, row: Row): void {
    this.writes++;
    this.map.set(key, row);
  }
  delete(key: string): void {
    this.map.delete(key);
  }
  entries(): IterableIterator<[string, Row]> {
    return this.map.entries();
  }
  get size(): number {
    return this.map.size;
  }
  restart(): void {
    for (const [key, row] of this.map) this.map.set(key, cells.decode(cells.encode(row)));
  }
}

const keyOf = ({ topic, value }: Pick<PlanInput, 'topic' | 'value'>): string =>
  topic === 'pointer-table' && value !== null ? keyOfBody((value as PointerRecord).body) : '';

/** The stage with its outputs, fed by hand. */
export class Cell {
  settings: PlanSettings;
  readonly rows = new MapRows();
  readonly commands: { command: Command; partition: number }[] = [];
  readonly decisions: Decision[] = [];
  readonly pointers: PointerRecord[] = [];
  /** The pointer topic, removals of keys included. */
  readonly table: { readonly key: string; readonly value: PointerRecord | null }[] = [];
  wallTime = 1_000;
  #step: ReturnType<typeof planWith>;
  #read = 0;

  constructor(settings: Partial<PlanSettings> = {}, constraints: readonly Constraint[] = CONSTRAINTS) {
    this.settings = { ...SETTINGS, ...settings };
    this.#step = planWith(this.settings, constraints);
  }

  /** A restart with other settings, on the rows that are there. */
  restart(settings: Partial<PlanSettings>): void {
    this.settings = { ...this.settings, ...settings };
    this.rows.restart();
    this.#step = planWith(this.settings);
  }

  send(input: Pick<PlanInput, 'topic' | 'value'>, offset = 0, key = keyOf(input)): void {
    const full = { ...input, partition: 0, offset, key } as PlanInput;
    for (const emit of this.#step(this.rows, full)) {
      if (emit.topic === 'commands') this.commands.push({ command: emit.value!, partition: emit.partition! });
      else if (emit.topic === 'decisions') this.decisions.push(emit.value!);
      else {
        this.table.push({ key: emit.key, value: emit.value });
        if (emit.value !== null) this.pointers.push(emit.value);
      }
    }
  }

  progress(body: Progress['body'], at = T0): void {
    this.send({ topic: 'progress', value: { at: eventTime(at), body } });
  }

  metric(body: Metric['body']): void {
    this.send({ topic: 'metrics', value: { body } });
  }

  tick(byMs = 200): void {
    this.wallTime += byMs;
    this.send({ topic: 'clock', value: { eventTime: T0, wallTime: this.wallTime } });
  }

  /** Time passes with a tick every second. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 1_000) this.tick(1_000);
  }

  /** Event time goes on: an empty window of rates. */
  at(ms: number): void {
    const windowStart = eventTime(ms - 10_000);
    const none = { subscribes: 0, unsubscribes: 0, publishes: 0, bytes: 0, distinctClients: 0, lateEvents: 0 };
    const value = { series: leafSeries(0, '00'), source: 0, windowStart, windowMs: 10_000, ...none };
    this.send({ topic: 'rates', value });
  }

  /** The stage reads its own pointer records. */
  readBack(): void {
    for (; this.#read < this.pointers.length; this.#read++)
      this.send({ topic: 'pointer-table', value: this.pointers[this.#read]! }, this.#read);
  }

  shardReady(id: string, type: string, state: ShardProgress['state'] = 'READY', tookMs = 60_000): void {
    this.progress({
      kind: 'ShardProgress',
      shardId: shardId(id),
      datastoreType: type,
      state,
      instanceId: `${id}-instance`,
      address: '',
      tookMs,
      reason: '',
    });
  }

  genesis(): this {
    this.tick();
    this.shardReady('shard-0001', 'kv');
    this.shardReady('shard-0002', 'trie');
    this.readBack();
    this.at(T0);
    return this;
  }

  last<Kind extends Command['body']['kind']>(kind: Kind): Extract<Command['body'], { kind: Kind }> | undefined {
    return this.commands
      .map(({ command }) => command.body)
      .filter((body) => body.kind === kind)
      .at(-1) as never;
  }

  moveProgress(state: MoveState, more: Partial<MoveProgress> = {}): void {
    const { moveId, slice, from, to } = this.last('MoveSlice')!;
    this.progress({
      kind: 'MoveProgress',
      moveId,
      slice,
      from,
      to,
      state,
      paused: false,
      rowsCopied: 10,
      bytesCopied: 2_000,
      rowsVerified: 10,
      rowsErased: 0,
      etaMs: -1,
      reason: '',
      ...more,
    });
  }

  /** What is wrong with what was published so far (I4, I5, I10); empty when nothing is. */
  problems(): string[] {
    const problems =
      this.rows.get('cell')?.kind === 'cell' ? problemsOf(shardMapOfRows(this.rows, this.settings.partitions)) : [];
    let before = { epoch: 0, index: 0, count: 1 };
    for (const { change } of this.pointers) {
      const goesOn =
        change.epoch === before.epoch && change.index === before.index + 1 && change.count === before.count;
      const begins = change.epoch === before.epoch + 1 && change.index === 0 && before.index === before.count - 1;
      if (!goesOn && !begins) problems.push(`change ${JSON.stringify(change)} after ${JSON.stringify(before)}`);
      before = change;
    }
    if (before.index !== before.count - 1) problems.push('the last change is torn');
    return problems;
  }
}

/** A forecast with the same quantiles at each step. */
export function forecast(
  series: string,
  signal: Signal,
  madeAt: number,
  median: readonly number[],
  upper: readonly number[],
  current: number,
): Forecast {
  return {
    series: seriesId(series),
    signal,
    madeAt: eventTime(madeAt),
    stepMs: 60_000,
    levels: [0.5, 0.95],
    quantiles: median.flatMap((value, step) => [value, upper[step]!]),
    currentPerSecond: current,
    model: 'test',
    weights: {},
    recentError: 0.5,
    dispersion: 1,
    peakToMean: 1,
    seasonMs: 0,
    pattern: 'CONSISTENT',
    trusted: true,
    distrust: '',
    distinctClients: 1,
    bytesPerSecond: 0,
    farStepMs: 0,
    farQuantiles: [],
    coverage: -1,
    stepsSeen: 0,
    unsubscribeShare: 0.5,
  };
}

/** `late` knows the rate of this minute alone; `noise` is up to three times too high or low, anew for each forecast. */
export type Forecaster = 'perfect' | 'none' | 'broken' | 'late' | 'noise';

/** What is asked of each topic per second at a minute: look-ups, unless `writes`. */
export interface World {
  readonly topics: readonly {
    readonly topic: string;
    readonly perSecond: (minute: number) => number;
    readonly writes?: boolean;
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
  const cell = new Cell(world.settings, world.constraints).genesis();
  const rates = {
    PUBLISHES: seriesOf(world, 'PUBLISHES', cell.settings.partitions, minutes),
    SUBSCRIPTIONS: seriesOf(world, 'SUBSCRIPTIONS', cell.settings.partitions, minutes),
  };
  const problems = new Set<string>();
  const due: { at: number; act: () => void }[] = [];
  let commandsSeen = 0;
  let overloadedMinutes = 0;
  let quietSinceMinute = 0;
  let dollars = 0;
  const later = (at: number, act: () => void): void => {
    due.push({ at, act });
  };
  const apply = (now: number): void => {
    for (; commandsSeen < cell.commands.length; commandsSeen++)
      perform(cell, world, cell.commands[commandsSeen]!.command, now, later);
  };
  const slices = (): SliceKey[] => [...shardMapOfRows(cell.rows, cell.settings.partitions).slices.keys()];
  for (const slice of slices())
    cell.progress({ kind: 'SliceEntries', slice, entries: world.entriesPerSlice, bytes: world.entriesPerSlice * 200 });

  for (let minute = 0; minute < minutes; minute++) {
    const commandsBefore = cell.commands.length;
    world.meanwhile?.(cell, minute);
    for (let second = 0; second < 60; second += 10) {
      const now = T0 + minute * 60_000 + second * 1_000;
      due.sort((a, b) => a.at - b.at);
      while (due[0] !== undefined && due[0].at <= now) due.shift()!.act();
      for (const signal of ['PUBLISHES', 'SUBSCRIPTIONS'] as const) {
        if (second === 0) sendForecasts(cell, signal, rates[signal], world.forecaster, minute, now);
        sendRates(cell, signal, rates[signal], minute, now);
      }
      if (world.isSilent?.('broker', minute) !== true)
        cell.metric({
          kind: 'BrokerHeartbeat',
          brokerId: 'broker-1',
          pointerOffset: cell.pointers.length,
          timestamp: eventTime(now),
        });
      cell.tick(10_000);
      cell.readBack();
      apply(now);
    }
    if (minute % 10 === 9) for (const problem of cell.problems()) problems.add(problem);
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

function perform(
  cell: Cell,
  world: World,
  { id, body }: Command,
  now: number,
  later: (at: number, act: () => void) => void,
): void {
  const minute = Math.floor((now - T0) / 60_000);
  const { provisioningMs = 60_000, copyMs = 30_000 } = world;
  const shard = (id: ShardId, type: string, state: ShardProgress['state']) => () =>
    cell.shardReady(id, type, state, provisioningMs);
  switch (body.kind) {
    case 'AllocateShard':
      later(
        now + provisioningMs,
        shard(body.shardId, body.datastoreType, world.isSoldOut?.(body.datastoreType, minute) ? 'FAILED' : 'READY'),
      );
      return;
    case 'ResizeShard':
      later(
        now + provisioningMs,
        shard(body.shardId, body.datastoreType, world.isSoldOut?.(body.datastoreType, minute) ? 'FAILED' : 'RESIZED'),
      );
      return;
    case 'RetireShard':
      later(now + 10_000, shard(body.shardId, '', 'RELEASED'));
      return;
    case 'SplitSlice':
    case 'MergeSlices':
      later(now + 10_000, () => cell.progress({ kind: 'SliceProgress', commandId: id, done: true, reason: '' }));
      return;
    case 'MoveSlice': {
      const { moveId, slice, from, to } = body;
      const say = (state: MoveState) => () =>
        cell.progress({
          kind: 'MoveProgress',
          moveId,
          slice,
          from,
          to,
          state,
          paused: false,
          rowsCopied: 1,
          bytesCopied: 1,
          rowsVerified: 1,
          rowsErased: 1,
          etaMs: -1,
          reason: '',
        });
      if (world.isSilent?.('apply', minute)) return;
      for (let at = now + 10_000; at < now + copyMs; at += 30_000) later(at, say('COPYING'));
      later(now + copyMs, say('VERIFIED'));
      return;
    }
    case 'SteerMove': {
      const move = cell.commands.find(
        ({ command }) => command.body.kind === 'MoveSlice' && command.body.moveId === body.moveId,
      )!;
      const { moveId, slice, ...shards } = move.command.body as Extract<Command['body'], { kind: 'MoveSlice' }>;
      // A replica ends as a move back.
      const isBack = cell.commands.some(
        ({ command: { body: each } }) =>
          each.kind === 'SteerMove' && each.moveId === moveId && each.action === 'UNSHARE',
      );
      const [from, to] = isBack ? [shards.to, shards.from] : [shards.from, shards.to];
      const states: Partial<Record<typeof body.action, MoveState>> = {
        SWITCH: 'DRAINING',
        SHARE: 'SHARED',
        UNSHARE: 'DRAINING',
        RETIRE: 'RETIRED',
        ABORT: 'ABORTED',
      };
      const state = states[body.action];
      if (state === undefined) return;
      later(now + 10_000, () =>
        cell.progress({
          kind: 'MoveProgress',
          moveId,
          slice,
          from,
          to,
          state,
          paused: false,
          rowsCopied: 1,
          bytesCopied: 1,
          rowsVerified: 1,
          rowsErased: 1,
          etaMs: -1,
          reason: 'as asked',
        }),
      );
      return;
    }
  }
}

/** Rates of each series by minute: every topic in its leaf, and the heavy ones in their own series too. */
function seriesOf(world: World, signal: Signal, partitions: number, minutes: number): Map<string, number[]> {
  const rates = new Map<string, number[]>();
  const add = (series: string, byMinute: readonly number[]): void => {
    const sum = rates.get(series) ?? byMinute.map(() => 0);
    rates.set(
      series,
      sum.map((value, minute) => value + byMinute[minute]!),
    );
  };
  const all = Array.from({ length: minutes + 60 }, (_, minute) => minute);
  for (const { topic, perSecond, writes = false } of world.topics) {
    if (writes !== (signal === 'SUBSCRIPTIONS')) continue;
    const byMinute = all.map(perSecond);
    add(leafSeries(partitionOf(topic, partitions), leadingBits(filterHash(topic), LEAF_BITS)), byMinute);
    if (Math.max(...byMinute) >= world.heavyPerSecond) add(topicSeries(topic), byMinute);
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
    cell.send({ topic: 'forecasts', value: forecast(series, signal, now, median, upper, current) });
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

/** True when some shard is asked for more than it can do, by the true load and the published map. */
function overloaded(cell: Cell, world: World, minute: number): boolean {
  const map = shardMapOfRows(cell.rows, cell.settings.partitions);
  const asked = new Map<ShardId, number>();
  for (const { topic, perSecond, writes } of world.topics) {
    const slices = map.tree.slicesForTopic(topic).filter((key) => !isTrieSlice(key));
    for (const key of slices) {
      const { shards } = map.slices.get(key)!;
      const each = perSecond(minute) / (writes ? slices.length : shards.length);
      for (const shard of shards) asked.set(shard, (asked.get(shard) ?? 0) + each);
    }
  }
  return [...asked].some(([id, rate]) => rate > CATALOG.get(map.shards.get(id)!.datastoreType)!.operationsPerSecond);
}
