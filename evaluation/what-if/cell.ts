// Cell: the plan stage in a simulated world without stores. Its commands are carried out in stated times, a broker
// reads back the pointer table at once, and shards report their load. Pure: time is advanced by the caller. The
// planner's tests use it too, with stores that fail and brokers that fall silent.
//
//   L1. The stage decides by its records alone; nothing here reads its state, except the shard map that it published.
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

/** How long the planner's commands take. */
export interface Pace {
  /** Of one move; each move uses one link. */
  readonly rowsPerSecond: number;
  readonly bytesPerEntry: number;
  /** Giving an instance back; a split or merge; erasing rows that have moved. */
  readonly shortMs: number;
  /** A switch and other steering of a move; by default done at the next tick. */
  readonly steerMs?: number;
  /** A whole move, however many rows it has; overrides `rowsPerSecond`. */
  readonly moveMs?: number;
  /** Provisioning of any instance, instead of the catalogue's time. */
  readonly provisioningMs?: number;
}

/** Faults in the simulated world; by default there are none. */
export interface Faults {
  /** True when an instance of this type that is ordered now fails. */
  isSoldOut?(type: string): boolean;
  /** True while the broker's heartbeats, or apply's reports on a move that starts now, do not arrive. */
  isSilent?(who: 'broker' | 'apply'): boolean;
}

/** Called with the costs of finished commands. */
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

/** Apply reports at least this often that a copy is progressing. */
const SIGN_EVERY_MS = 30_000;

export class Cell {
  readonly decisions: Decision[] = [];
  readonly commands: Command[] = [];
  readonly pointers: PointerRecord[] = [];
  /** The stage's rows, for its views. */
  readonly rows = new Map<string, Row>();
  settings: PlanSettings;
  readonly #pace: Pace;
  readonly #costs: Costs;
  readonly #constraints: readonly Constraint[];
  readonly #faults: Faults;
  #step: ReturnType<typeof planWith>;
  #due: { readonly at: number; readonly act: () => void }[] = [];
  /** Instances that are paid for, by shard; two while one replaces another. */
  readonly #instances = new Map<ShardId, string[]>();
  readonly #moves = new Map<string, Extract<Command['body'], { kind: 'MoveSlice' }>>();
  #now = 0;
  #readCount = 0;
  #performed = 0;

  /** `startAt`: initial time of both clocks. */
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

  /** Restarts the planner on its stored rows, with other settings. */
  restart(settings: Partial<PlanSettings>): void {
    this.settings = { ...this.settings, ...settings };
    for (const [key, row] of this.rows) this.rows.set(key, cells.decode(cells.encode(row)));
    this.#step = planWith(this.settings, this.#constraints);
  }

  /**
   * Advances time to `now`: what is due happens, then `told` is called; the broker reports, the planner's clock ticks,
   * and its commands are started.
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

  /** The shards in the pointer table, and the shards of each slice: several when it has a replica. */
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
      if (!this.#instances.has(shard)) return; // Given back before it was ready.
      this.#instances.set(shard, [name]);
      this.#shardProgress(shard, name, state, provisioningMs);
    });
  }

  /** Copies and verifies the rows of a move (L2). */
  #copy({ moveId, slice, to }: Extract<Command['body'], { kind: 'MoveSlice' }>): void {
    const { entries = 0, bytes = 0 } = slicesOf(this.rows).find((each) => each.slice === slice) ?? {};
    const { rowsPerSecond, moveMs = (2 * entries * 1000) / rowsPerSecond } = this.#pace;
    if (this.#faults.isSilent?.('apply')) return;
    this.#moveProgress(moveId, 'COPYING');
    for (let ms = SIGN_EVERY_MS; ms < moveMs; ms += SIGN_EVERY_MS)
      this.#later(ms, () => this.#moveProgress(moveId, 'COPYING'));
    this.#later(moveMs, () => {
      if (!this.#moves.has(moveId)) return; // The move was aborted meanwhile.
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

/** The types of the first shards: the cheapest of each kind. */
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
