// Apply world: one apply task with its log, its shards, a planner that drives one move, and readers at old and new
// pointers. Crashes lose the rows since the last commit and keep what was performed. `check` throws at the first breach
// of I1, I2 or I7; stores refuse stale writes (I6) by their own rule.

import {
  APPLY_DEFAULTS,
  type ApplySettings,
  carryOut,
  partitionStates,
  type Row,
  subscriptionsOnDisk,
} from '../../../processors/apply/apply.ts';
import type { KeptRow } from '../../../processors/apply/subscriptions.ts';
import type { Input, Tick } from '../../../processors/step.ts';
import { epoch, eventTime, moveId, type ShardId, type SliceKey, shardId } from '../../../schemas/ids.ts';
import type {
  Command,
  MoveProgress,
  MoveState,
  Progress,
  SteerAction,
  SubscriptionEvent,
  WildcardEvents,
} from '../../../schemas/records.ts';
import type { Effect, Outcome, SubscriptionRow } from '../../../state/effects.ts';
import { placeOf } from '../../../state/keys.ts';
import { SliceTree } from '../../../state/slice-tree.ts';
import { MapDisk } from './map-disk.ts';
import { covers, MemoryShards } from './memory-shards.ts';

type AnyInput =
  | Input<'subscriptions', SubscriptionEvent>
  | Input<'wildcard-subscriptions', WildcardEvents>
  | Input<'commands', Command>
  | Input<'outcomes', Outcome>
  | Input<'clock', Tick>;

export const settings: ApplySettings = {
  ...APPLY_DEFAULTS,
  partitions: 1,
  incarnation: 1,
  genesis: { concreteType: 'kv', trieType: 'trie' },
  copyRowsPerSecond: 10,
  chunkRowsMax: 2,
  failuresMax: 3,
  rebuildRowsPerSecond: 10,
  passageRowsMax: 2,
  checkRowsPerSecond: 0,
};
const { needs } = subscriptionsOnDisk(settings);

export const MOVE = moveId('move-1');
export const TARGET = shardId('shard-0009');

/** Cycles after which a replica is ended. */
const SHARED_CYCLES = 8;

export type Crash = 'none' | 'before commit' | 'half performed';

/** A planted bug: what it makes of the effects of one step. */
export type Mutation = (effects: readonly Effect[]) => readonly Effect[];

export class ApplyWorld {
  readonly shards = new MemoryShards(1);
  readonly progress: Progress[] = [];
  readonly slice: SliceKey;
  readonly source: ShardId;
  /** The pointers of the moved slice, oldest first. */
  readonly pointers: { readonly epoch: number; readonly shard: ShardId }[];
  mutate: Mutation = (effects) => effects;
  /** The move makes a replica, which is read for a while and then ended. */
  replicates = false;
  autopilot = true;
  /** The subscription table is kept. To be said before the first cycle. */
  keepsTable = false;
  /** The source has lost its data, and the move fills the target from the table. */
  rebuilds = false;

  readonly #step = carryOut(settings);
  readonly #tree: SliceTree;
  readonly #log: AnyInput[] = [];
  readonly #truth = new Map<
    string,
    { filter: string; clientId: string; brokerId: string; live: boolean; at: number }
  >();
  #starts = 1;
  #rows = started(new Map<string, Row>(), 1);
  #durable = new Map<string, Buffer>();
  readonly #disk = new MapDisk<KeptRow>();
  #next = 0;
  #committed = 0;
  #wallMs = 1_000_000;
  #retireSent = false;
  #sharedCycles = 0;
  #epoch = 5;
  #commandIds = 0;

  /** `carved` are split off first, so that the moved slice has neighbours on both sides of its border. */
  constructor(slice: SliceKey, source: ShardId, carved: readonly (readonly [SliceKey, SliceKey])[]) {
    this.slice = slice;
    this.source = source;
    this.pointers = [{ epoch: 1, shard: source }];
    this.#tree = new SliceTree(1, ['c/0/' as SliceKey, 'w/0/' as SliceKey]);
    for (const [from, pin] of carved) {
      this.command({ kind: 'SplitSlice', slice: from, into: [from, pin] });
      this.#tree.add(pin);
    }
  }

  /** A removal counts when the broker is the one that the client subscribed through last. */
  subscribe(filter: string, clientId: string, live: boolean, brokerId = 'b'): void {
    const offset = this.#log.length;
    const event = {
      topicFilter: filter,
      clientId,
      brokerId,
      qos: 0,
      timestamp: eventTime(1_000 + offset),
      action: live ? ('SUBSCRIBE' as const) : ('UNSUBSCRIBE' as const),
    };
    const at = { partition: 0, offset, key: filter };
    const trie = placeOf(filter).trie;
    if (trie) {
      const value = { firstLevel: 'x', events: [{ ...event, offset, incarnation: 1 }] };
      this.#log.push({ topic: 'wildcard-subscriptions', ...at, value });
    } else this.#log.push({ topic: 'subscriptions', ...at, value: event });
    const key = `${filter}\u0000${clientId}`;
    const before = this.#truth.get(key);
    if (live || before === undefined || before.brokerId === brokerId)
      this.#truth.set(key, { filter, clientId, brokerId, live, at: offset });
    else this.#truth.set(key, { ...before, at: offset });
  }

  command(body: Command['body'], id = `command-${this.#commandIds++}`, at = this.#epoch): void {
    const value: Command = { id, epoch: epoch(at), reason: '', deadline: eventTime(0), body, term: 1, planner: 'p' };
    this.#log.push({ topic: 'commands', partition: 0, offset: this.#log.length, key: id, value });
  }

  startMove(): void {
    const body = { kind: 'MoveSlice', moveId: MOVE, slice: this.slice, from: this.source, to: TARGET } as const;
    this.command({ ...body, rowsPerSecond: 0, ...(this.rebuilds && { source: 'TABLE' }) });
  }

  loseSource(): void {
    this.rebuilds = true;
    this.shards.lose(this.source);
  }

  steer(action: SteerAction, at = this.#epoch): void {
    this.command({ kind: 'SteerMove', moveId: MOVE, slice: this.slice, action, rowsPerSecond: 0 }, undefined, at);
  }

  /** The same records once more, as an at-least-once producer or a replay gives them. */
  repeat(record: number): void {
    const input = this.#log[record % Math.max(1, this.#next)];
    if (input !== undefined && this.#next > 0) this.#run([input], 'none');
  }

  /** One micro-batch: some inputs, a tick, effects, outcomes, and a commit or a crash. */
  cycle(inputs: number, crash: Crash): void {
    const taken = this.#log.slice(this.#next, this.#next + inputs);
    this.#next += taken.length;
    this.#wallMs = Math.max(this.#wallMs + 200, this.shards.nowMs);
    this.shards.nowMs = this.#wallMs;
    const tick: Tick = { eventTime: 1_000 + this.#next, wallTime: this.#wallMs, pointerEpoch: this.#epoch };
    const told = this.#run([...taken, { topic: 'clock', partition: 0, offset: 0, key: '', value: tick }], crash);
    if (crash !== 'none') {
      const rows = new Map([...this.#durable].map(([key, bytes]) => [key, partitionStates.decode(bytes)]));
      this.#rows = started(rows, ++this.#starts);
      this.#next = this.#committed;
      this.#disk.crash();
      return;
    }
    this.#disk.commit();
    this.#durable = new Map([...this.#rows].map(([key, row]) => [key, partitionStates.encode(row)]));
    this.#committed = this.#next;
    this.progress.push(...told);
    if (!this.autopilot) return;
    for (const { body } of told) if (body.kind === 'MoveProgress' && body.moveId === MOVE) this.#plan(body.state);
    if (this.state() === 'SHARED' && ++this.#sharedCycles === SHARED_CYCLES) {
      this.#epoch += 1;
      this.pointers.push({ epoch: this.#epoch, shard: this.source });
      this.steer('UNSHARE');
    }
  }

  /** Faults off: runs until all is consumed and the move has ended; how many cycles that took. */
  settle(cyclesMax: number): number {
    this.shards.down.clear();
    this.steer('RESUME');
    for (let cycle = 0; cycle < cyclesMax; cycle++) {
      this.cycle(3, 'none');
      this.check();
      const state = this.state();
      const isEnded = state === undefined || state === 'RETIRED' || state === 'ABORTED';
      // A lost source has its data after all: it learns that the slice is elsewhere.
      if (isEnded && this.shards.lost.has(this.source)) this.shards.find(this.source);
      else if (isEnded && this.#next === this.#log.length && !this.#isLeft()) return cycle;
    }
    throw new Error(`I14: the move is still ${this.state()} after ${cyclesMax} cycles`);
  }

  state(): MoveState | undefined {
    return this.#lastMove()?.state;
  }

  check(): void {
    for (const { filter, clientId, live, at } of this.#truth.values()) {
      if (at >= this.#committed) continue; // Its effects may or may not have been performed yet.
      if (this.#tree.sliceOf(filter, clientId) !== this.slice) {
        const owner = placeOf(filter).trie ? shardId('shard-0002') : shardId('shard-0001');
        if (this.#isUnserved(owner)) continue;
        this.#expect(
          this.shards.ask(owner, filter, clientId, epoch(1)),
          live,
          `${filter} ${clientId} at its neighbour`,
        );
        continue;
      }
      for (const pointer of this.pointers) {
        const name = `${filter} ${clientId} by a reader of epoch ${pointer.epoch}`;
        if (this.#isUnserved(pointer.shard)) continue;
        let answer = this.shards.ask(pointer.shard, filter, clientId, epoch(pointer.epoch));
        const newest = this.pointers.at(-1)!;
        if (answer.kind === 'moved') answer = this.shards.ask(newest.shard, filter, clientId, epoch(newest.epoch));
        this.#expect(answer, live, name);
      }
    }
    const range = { slice: this.slice, except: this.#tree.carvedOutOf(this.slice) };
    const state = this.state();
    // A crash may have left half of what is done again from the last commit on.
    const settled = (row: SubscriptionRow): boolean =>
      (this.#truth.get(`${row.filter}\u0000${row.clientId}`)?.at ?? 0) < this.#committed;
    const there = this.shards.rowsOf(TARGET, range).filter(settled);
    const here = this.shards.rowsOf(this.source, range).filter(settled);
    // Of a move that is told to end, the target may be half erased before that is committed: no pointer names it.
    if (this.rebuilds) return;
    if (state === 'SWITCHED' || state === 'SHARED' || (state === 'VERIFIED' && this.autopilot)) {
      if (JSON.stringify(there) !== JSON.stringify(here)) throw new Error(`I7: the copy differs when ${state}`);
    }
    const left = this.replicates ? there : here;
    // A shard that stays away is given up, and emptied once it is back.
    if (state === 'RETIRED' && !this.#isLeft() && left.length > 0)
      throw new Error(`I7: ${left.length} orphans where nobody asks any more`);
    if (state === 'ABORTED' && !this.#isLeft() && there.length > 0)
      throw new Error(`I7: ${there.length} rows left at the target`);
    for (const row of this.shards.shard(TARGET).rows.values())
      if (!covers(this.slice, row.filter, row.clientId, 1)) throw new Error(`I5: ${row.filter} is at the target`);
  }

  /** Readers do not ask a lost shard: not before it has been told, and has written what it missed. */
  #isUnserved(shard: ShardId): boolean {
    if (!this.rebuilds || shard !== this.source) return false;
    return this.shards.lost.has(shard) || [...this.#rows.keys()].some((key) => /^(left|spill)\//.test(key));
  }

  #isLeft(): boolean {
    return [...this.#rows.keys()].some((key) => key.startsWith('left/'));
  }

  #lastMove(): MoveProgress | undefined {
    for (let i = this.progress.length - 1; i >= 0; i--) {
      const body = this.progress[i]!.body;
      if (body.kind === 'MoveProgress' && body.moveId === MOVE) return body;
    }
    return undefined;
  }

  #expect(answer: { kind: 'moved' } | { kind: 'found'; live: boolean }, live: boolean, who: string): void {
    if (answer.kind === 'moved') throw new Error(`I1: ${who} gets no answer`);
    if (live && !answer.live) throw new Error(`I1: ${who} is missed`);
    if (!live && answer.live) throw new Error(`I2: ${who} came back`);
  }

  /** What the planner does on committed progress: the pointer and its command in one transaction. */
  #plan(state: MoveState): void {
    if (state === 'VERIFIED' && this.pointers.length === 1) {
      this.#epoch += 1;
      this.pointers.push({ epoch: this.#epoch, shard: TARGET });
      if (this.replicates) this.pointers.push({ epoch: this.#epoch, shard: this.source });
      this.steer(this.replicates ? 'SHARE' : 'SWITCH');
    }
    if (state === 'DRAINING' && !this.#retireSent) {
      this.#retireSent = true;
      this.steer('RETIRE');
    }
  }

  #run(inputs: readonly AnyInput[], crash: Crash): Progress[] {
    const told: Progress[] = [];
    let effects = this.#feed(inputs, told);
    while (effects.length > 0) {
      const performed = crash === 'half performed' ? effects.slice(0, effects.length >> 1) : effects;
      const outcomes = performed.map((effect) => this.shards.perform(effect));
      if (crash === 'half performed') return told;
      effects = this.#feed(
        outcomes.map((value) => ({ topic: 'outcomes', partition: 0, offset: 0, key: '', value })),
        told,
      );
    }
    return told;
  }

  #feed(inputs: readonly AnyInput[], told: Progress[]): Effect[] {
    const effects: Effect[] = [];
    for (const input of inputs) {
      const emitted: Effect[] = [];
      if (this.keepsTable) this.#disk.foresee(needs(this.#rows, input));
      for (const { topic, value } of this.#step(this.#rows, input, this.keepsTable ? this.#disk : undefined)) {
        if (topic === 'effects') emitted.push(value as Effect);
        else if (topic === 'progress') told.push(value as Progress);
      }
      effects.push(...this.mutate(emitted));
    }
    return effects;
  }
}

/** Rows as a start of the task has them. */
const started = (rows: Map<string, Row>, starts: number) => Object.assign(rows, { starts });
