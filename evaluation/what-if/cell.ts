// Cell: the plan stage in a world without stores. What it commands is carried out in stated times, the pointer table it
// writes is read back by a broker at once, and shards report what they are asked for. Pure: time is moved by hand. The
// planner's tests run it too, with stores that fail and brokers that fall silent.
//
//   L1. The stage decides by its records alone; nothing here looks into its mind but for the shard map that it published.
//   L2. A move takes the time of reading its rows twice (copying and verifying) at the stated rate.

import type { DatastoreType } from '../../processors/plan/cluster/catalog.ts';
import { typeNamed, typesOfKind } from '../../processors/plan/cluster/catalog.ts';
import { CONSTRAINTS, type Constraint } from '../../processors/plan/constraints/constraints.ts';
import {
  cells,
  type PlanInput,
  type PlanSettings,
  planWith,
  type Row,
} from '../../processors/plan/stage/plan-stage.ts';
import { shardsOf, slicesOf } from '../../processors/plan/stage/views.ts';
import { type EventTime, eventTime, type ShardId, type SliceKey } from '../../schemas/ids.ts';
import type {
  Command,
  Decision,
  Metric,
  MoveProgress,
  PointerRecord,
  Progress,
  ShardProgress,
} from '../../schemas/records.ts';
import { keyOfBody } from '../../state/pointer-table.ts';

/** How long what the planner commands takes. */
export interface Pace {
  /** Of one move; each fills one link. */
  readonly rowsPerSecond: number;
  readonly bytesPerEntry: number;
  /** Giving an instance back; a split or merge; erasing what has moved. */
  readonly shortMs: number;
  /** A switch, and other turns of a move; by default they are there at the next tick. */
  readonly steerMs?: number;
  /** A whole move, whatever its rows. */
  readonly moveMs?: number;
  /** Any instance, whatever its catalogue entry says. */
  readonly provisioningMs?: number;
}

/** What goes wrong in a world; by default nothing does. */
export interface Faults {
  /** Asked for now, an instance of the type fails. */
  isSoldOut?(type: string): boolean;
  /** The broker's heartbeats, or what apply says of a move that is begun now, are not heard. */
  isSilent?(who: 'broker' | 'apply'): boolean;
}

/** What a finished command has cost. */
export interface Costs {
  /** An instance was asked for. */
  provisioned(type: DatastoreType): void;
  moved(keys: number, bytes: number, to: DatastoreType): void;
}

/** A shard's instance as the pointer table has it. */
export interface ShardPlacement {
  readonly shard: ShardId;
  readonly type: DatastoreType;
}

/** Apply says at least so often that a copy goes on. */
const SIGN_EVERY_MS = 30_000;

export class Cell {
  readonly decisions: Decision[] = [];
  readonly commands: Command[] = [];
  readonly pointers: PointerRecord[] = [];
  /** The stage's own, for its views. */
  readonly rows = new Map<string, Row>();
  settings: PlanSettings;
  readonly #pace: Pace;
  readonly #costs: Costs;
  readonly #constraints: readonly Constraint[];
  readonly #faults: Faults;
  #step: ReturnType<typeof planWith>;
  #due: { readonly at: number; readonly act: () => void }[] = [];
  /** Instances that are paid for, by shard; two while one is replaced. */
  readonly #instances = new Map<ShardId, string[]>();
  readonly #moves = new Map<string, Extract<Command['body'], { kind: 'MoveSlice' }>>();
  #now = 0;
  #readCount = 0;
  #performed = 0;

  /** `startAt`: of both clocks. */
  constructor(
    settings: PlanSettings,
    pace: Pace,
    costs: Costs,
    startAt: number,
    { constraints = CONSTRAINTS, faults = {} }: { constraints?: readonly Constraint[]; faults?: Faults } = {},
  ) {
    this.settings = settings;
    this.#pace = pace;
    this.#costs = costs;
    this.#constraints = constraints;
    this.#faults = faults;
    this.#now = startAt;
    this.#step = planWith(settings, constraints);
    this.send({ topic: 'clock', value: { eventTime: startAt, wallTime: startAt } });
    for (const { shardId, datastoreType } of shardsOf(this.rows)) {
      this.#instances.set(shardId, [datastoreType]);
      this.#shardProgress(shardId, datastoreType, 'READY', this.#typeNamed(datastoreType).provisioningMs);
    }
  }

  /** How often the pointer table has changed. */
  get version(): number {
    return this.pointers.length;
  }

  send(input: Pick<PlanInput, 'topic' | 'value'>, offset = 0, key = ''): void {
    const full = { ...input, partition: 0, offset, key } as PlanInput;
    for (const emit of this.#step(this.rows, full)) {
      if (emit.topic === 'commands') this.commands.push(emit.value!);
      else if (emit.topic === 'decisions') this.decisions.push(emit.value!);
      else if (emit.value !== null) this.pointers.push(emit.value);
    }
  }

  /** The planner begins again on the rows that it has stored, with other settings. */
  restart(settings: Partial<PlanSettings>): void {
    this.settings = { ...this.settings, ...settings };
    for (const [key, row] of this.rows) this.rows.set(key, cells.decode(cells.encode(row)));
    this.#step = planWith(this.settings, this.#constraints);
  }

  /**
   * Time is `now`: what is due happens, then what is `told`; the broker reports, the planner's clock ticks, and its commands
   * are begun.
   */
  tick(now: number, told: () => void = () => {}): void {
    this.#now = now;
    const ready = this.#due.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
    this.#due = this.#due.filter(({ at }) => at > now);
    for (const { act } of ready) act();
    told();
    this.#readBack();
    const beat = { kind: 'BrokerHeartbeat', brokerId: 'broker', timestamp: eventTime(now) } as const;
    if (!this.#faults.isSilent?.('broker')) this.metric({ ...beat, pointerOffset: this.pointers.length });
    this.send({ topic: 'clock', value: { eventTime: now, wallTime: now } });
    this.#readBack();
    for (; this.#performed < this.commands.length; this.#performed++) this.#perform(this.commands[this.#performed]!);
  }

  /** The shards in the pointer table, and which of them each slice is on: several when it has a replica. */
  homes(): { readonly shards: readonly ShardPlacement[]; readonly slices: ReadonlyMap<SliceKey, readonly ShardId[]> } {
    const shards = shardsOf(this.rows)
      .filter(({ state, epoch }) => state === 'READY' && epoch > 0)
      .map(({ shardId, datastoreType }) => ({ shard: shardId, type: this.#typeNamed(datastoreType) }));
    return { shards, slices: new Map(slicesOf(this.rows).map((each) => [each.slice, each.shards])) };
  }

  /** The types of all instances that are paid for. */
  paid(): DatastoreType[] {
    return [...this.#instances.values()].flat().map((name) => this.#typeNamed(name));
  }

  count(slice: SliceKey, entries: number): void {
    const bytes = entries * this.#pace.bytesPerEntry;
    this.#progress({ kind: 'SliceEntries', slice, entries, bytes });
  }

  measured(shard: ShardId, utilisation: number, at: EventTime): void {
    this.metric({ ...UNMEASURED, shardId: shard, cpu: Math.min(1, utilisation), timestamp: at });
  }

  metric(body: Metric['body']): void {
    this.send({ topic: 'metrics', value: { body } });
  }

  #readBack(): void {
    for (; this.#readCount < this.pointers.length; this.#readCount++) {
      const value = this.pointers[this.#readCount]!;
      this.send({ topic: 'pointer-table', value }, this.#readCount, keyOfBody(value.body));
    }
  }

  #progress(body: Progress['body']): void {
    this.send({ topic: 'progress', value: { at: eventTime(this.#now), body } });
  }

  #later(afterMs: number, act: () => void): void {
    this.#due.push({ at: this.#now + afterMs, act });
  }

  #perform({ id, body }: Command): void {
    const { shortMs, steerMs = 0 } = this.#pace;
    switch (body.kind) {
      case 'AllocateShard':
      case 'ResizeShard':
        this.#provision(body.shardId, body.datastoreType, body.kind === 'AllocateShard' ? 'READY' : 'RESIZED');
        return;
      case 'RetireShard':
        this.#later(shortMs, () => {
          this.#instances.delete(body.shardId);
          this.#shardProgress(body.shardId, '', 'RELEASED', shortMs);
        });
        return;
      case 'SplitSlice':
      case 'MergeSlices':
        this.#later(shortMs, () => this.#progress({ kind: 'SliceProgress', commandId: id, done: true, reason: '' }));
        return;
      case 'MoveSlice':
        this.#moves.set(body.moveId, body);
        this.#copy(body);
        return;
      case 'SteerMove':
        if (body.action === 'SWITCH') this.#later(steerMs, () => this.#moveProgress(body.moveId, 'DRAINING'));
        else if (body.action === 'SHARE') this.#later(steerMs, () => this.#moveProgress(body.moveId, 'SHARED'));
        else if (body.action === 'UNSHARE') this.#unshare(body.moveId, steerMs);
        else if (body.action === 'RETIRE') this.#later(shortMs, () => this.#moveProgress(body.moveId, 'RETIRED'));
        else if (body.action === 'ABORT') this.#later(steerMs, () => this.#moveProgress(body.moveId, 'ABORTED'));
    }
  }

  #provision(shard: ShardId, name: string, state: 'READY' | 'RESIZED'): void {
    const type = this.#typeNamed(name);
    const { provisioningMs = type.provisioningMs } = this.#pace;
    if (this.#faults.isSoldOut?.(name)) {
      this.#later(provisioningMs, () => this.#shardProgress(shard, name, 'FAILED', provisioningMs));
      return;
    }
    this.#instances.set(shard, [...(this.#instances.get(shard) ?? []), name]);
    this.#costs.provisioned(type);
    this.#later(provisioningMs, () => {
      if (!this.#instances.has(shard)) return; // Given back before it was there.
      this.#instances.set(shard, [name]);
      this.#shardProgress(shard, name, state, provisioningMs);
    });
  }

  /** L2 */
  #copy({ moveId, slice, to }: Extract<Command['body'], { kind: 'MoveSlice' }>): void {
    const { entries = 0, bytes = 0 } = slicesOf(this.rows).find((each) => each.slice === slice) ?? {};
    const { rowsPerSecond, moveMs = (2 * entries * 1000) / rowsPerSecond } = this.#pace;
    if (this.#faults.isSilent?.('apply')) return;
    this.#moveProgress(moveId, 'COPYING');
    for (let ms = SIGN_EVERY_MS; ms < moveMs; ms += SIGN_EVERY_MS)
      this.#later(ms, () => this.#moveProgress(moveId, 'COPYING'));
    this.#later(moveMs, () => {
      if (!this.#moves.has(moveId)) return; // It was given up.
      const target = shardsOf(this.rows).find(({ shardId }) => shardId === to)!;
      this.#costs.moved(entries, bytes, this.#typeNamed(target.datastoreType));
      this.#moveProgress(moveId, 'VERIFIED', entries, bytes);
    });
  }

  /** A replica ends as a move back. */
  #unshare(moveId: MoveProgress['moveId'], steerMs: number): void {
    const move = this.#moves.get(moveId);
    if (move === undefined) return;
    this.#moves.set(moveId, { ...move, from: move.to, to: move.from });
    this.#later(steerMs, () => this.#moveProgress(moveId, 'DRAINING'));
  }

  #moveProgress(moveId: MoveProgress['moveId'], state: MoveProgress['state'], rows = 0, bytes = 0): void {
    const move = this.#moves.get(moveId);
    if (move === undefined) return;
    if (state === 'ABORTED' || state === 'RETIRED') this.#moves.delete(moveId);
    const { slice, from, to } = move;
    const counts = { rowsCopied: rows, bytesCopied: bytes, rowsVerified: rows, rowsErased: 0, etaMs: -1 };
    this.#progress({ kind: 'MoveProgress', moveId, slice, from, to, state, paused: false, ...counts, reason: '' });
  }

  #typeNamed(name: string): DatastoreType {
    return typeNamed(this.settings.catalog, name);
  }

  #shardProgress(shard: ShardId, type: string, state: ShardProgress['state'], tookMs: number): void {
    this.#progress({
      kind: 'ShardProgress',
      shardId: shard,
      datastoreType: type,
      state,
      instanceId: `${shard}-${type}`,
      address: '',
      tookMs,
      reason: '',
    });
  }
}

/** The types that a cell begins with: the cheapest that there are. */
export const genesisOf = ({ catalog }: Pick<PlanSettings, 'catalog'>): PlanSettings['genesis'] => ({
  concreteType: typesOfKind(catalog, 'KEY_VALUE')[0]!.name,
  trieType: typesOfKind(catalog, 'TRIE')[0]!.name,
});

const UNMEASURED = {
  kind: 'DatastoreMetrics',
  instanceId: '',
  memoryBytes: 0,
  memoryLimitBytes: 0,
  iops: 0,
  iopsLimit: 0,
  entries: 0,
  lookupP99Ms: 0,
  nodesPerLookup: -1,
  matchesPerLookup: -1,
} as const;
