// The plan stage by hand: each input is sent by the test, each output is kept, and nothing is carried out; with a small
// catalogue and settings for all tests of the planner. world.ts lets time pass and carries out what is commanded.

import { catalogOf } from '../../../processors/plan/cluster/catalog.ts';
import { type Costs, priorCosts } from '../../../processors/plan/demand/coefficients.ts';
import { BARE } from '../../../processors/plan/demand/footprint.ts';
import { usualLookupWork } from '../../../processors/plan/demand/lookup-work.ts';
import { CellState, cellOf } from '../../../processors/plan/stage/cell-state.ts';
import {
  cells,
  PLAN_DEFAULTS,
  type PlanInput,
  type PlanSettings,
  planWith,
  type Row,
} from '../../../processors/plan/stage/plan-stage.ts';
import { shardMapOfRows } from '../../../processors/plan/stage/views.ts';
import type { Rows } from '../../../processors/step.ts';
import { eventTime, seriesId, shardId } from '../../../schemas/ids.ts';
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
import { leafSeries } from '../../../state/keys.ts';
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
export class StageByHand {
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

  constructor(settings: Partial<PlanSettings> = {}) {
    this.settings = { ...SETTINGS, ...settings };
    this.#step = planWith(this.settings);
  }

  get state(): CellState {
    return new CellState(this.rows, cellOf(this.rows)!);
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

  /** What is wrong with what was published so far; empty when nothing is. */
  problems(): string[] {
    return tableProblems(this);
  }
}

/** What is wrong with what a planner has published (I4, I5, I10); empty when nothing is. */
export function tableProblems({
  rows,
  pointers,
  settings,
}: {
  readonly rows: Rows<Row>;
  readonly pointers: readonly PointerRecord[];
  readonly settings: PlanSettings;
}): string[] {
  const problems = rows.get('cell')?.kind === 'cell' ? problemsOf(shardMapOfRows(rows, settings.partitions)) : [];
  let before = { epoch: 0, index: 0, count: 1 };
  for (const { change } of pointers) {
    const goesOn = change.epoch === before.epoch && change.index === before.index + 1 && change.count === before.count;
    const begins = change.epoch === before.epoch + 1 && change.index === 0 && before.index === before.count - 1;
    if (!goesOn && !begins) problems.push(`change ${JSON.stringify(change)} after ${JSON.stringify(before)}`);
    before = change;
  }
  if (before.index !== before.count - 1) problems.push('the last change is torn');
  return problems;
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
