// World: a whole fleet in one process, from a seed: instances, brokers, shard servers and the log between them, in time that
// passes by hand. Load comes, faults strike, and an oracle that stands outside is asked all the while.
//
//   W1. One seed, one run: see scheduler.ts.
//   W2. A run has two parts: with load and faults, in which nothing may go wrong for good; then without, in which everything
//       must come to rest within SETTLE_MS of the last event that was due, and then be as the log says. How long a backlog or
//       the rows of a move take is a matter of this world's log, network and disks, within SETTLE_MS_MAX: they must go on.

import type { LocalShardStore } from '../../datastores/shard-store.ts';
import { partitionStates } from '../../processors/apply/apply.ts';
import { refusal } from '../../processors/plan/cluster/actions.ts';
import { CONSTRAINTS } from '../../processors/plan/constraints/constraints.ts';
import type { CellRow, MoveRow, Row as PlanRow } from '../../processors/plan/stage/rows.ts';
import type { Effects } from '../../runtime/ports.ts';
import { shapesOf } from '../../runtime/runner.ts';
import type { Logger } from '../../runtime/telemetry.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import type { Codec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { eventTime, type ShardId, type SliceKey } from '../../schemas/ids.ts';
import type { Command, Metric, MoveRequestAction, SubscriptionEvent } from '../../schemas/records.ts';
import type { OwnerRecord, SliceRange, SubscriptionRow } from '../../state/effects.ts';
import { groupSlice, hashSlice, isWithin, partitionOf } from '../../state/keys.ts';
import { defineTopology, type Stage } from '../../topology/graph.ts';
import { topologyOf } from '../../topology/topology.ts';
import { Broker, type BrokerParts } from './broker.ts';
import { type Doses, dosesOf, FAULTS, type FaultName, Faults } from './faults.ts';
import { Instance } from './instance.ts';
import { Load } from './load.ts';
import { LocalStates } from './local-states.ts';
import { APP, type LogMutation, SharedLog, THE_LOG } from './log.ts';
import { Breach, Oracle, type Table } from './oracle.ts';
import { type HandSettings, withHand } from './planner.ts';
import { type Moment, Process } from './process.ts';
import { type Chance, Scheduler } from './scheduler.ts';
import { BROKER_SILENT_MS, CATALOG, settingsOf } from './settings.ts';
import { ALL_SHARDS, type Shard, Shards } from './shards.ts';

/** What a run is made of, and nothing else (W1). */
export interface Case {
  readonly seed: number;
  readonly events: number;
  /** Faults that this run does without. */
  readonly without?: readonly FaultName[];
  /** Faults that it has whatever its seed says. */
  readonly with?: readonly FaultName[];
}

/** A planted bug: what is put around the parts of the product. */
export interface Mutation {
  readonly name: string;
  /** Faults without which it does no harm. */
  readonly with?: readonly FaultName[];
  readonly log?: (world: World) => LogMutation;
  readonly effects?: (effects: Effects, world: World) => Effects;
  readonly store?: (store: LocalShardStore, shard: Shard, world: World) => LocalShardStore;
  readonly reads?: BrokerParts['reads'];
  readonly stage?: (stage: Stage, world: World) => Stage;
  readonly codec?: (codec: Codec, world: World) => Codec;
  readonly compact?: (world: World, topic: string) => void;
  /** Patches what cannot be wrapped; what it returns takes that back. */
  readonly install?: () => () => void;
}

export interface Result {
  readonly seed: number;
  readonly breach: Breach | undefined;
  readonly hash: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly faults: Faults;
  /** Virtual milliseconds until everything had come to rest. */
  readonly settledMs: number;
}

const START_AT = Date.UTC(2026, 0, 5);
const SETTLE_MS = 60_000;
/** A broker whose last heartbeat is younger is heard, for every clock. */
const HEARD_MS = BROKER_SILENT_MS - 2_000;
/** In this time the planner has read a heartbeat. */
const READ_MS = 2_000;
const SETTLE_MS_MAX = 600_000;
/** A shard that was given up is asked again after at most five minutes. */
const LEFT_MS = 400_000;
const MINUTE_MS = 60_000;
const LOOK_AGAIN_MS = 1_000;

/** Runs a case. `mutation`: with this bug in it. */
export async function simulate(given: Case, mutation?: Mutation): Promise<Result> {
  const undo = mutation?.install?.();
  const world = new World(given, mutation);
  try {
    return await world.run();
  } finally {
    undo?.();
  }
}

interface Shape {
  readonly partitions: number;
  readonly brokers: number;
  readonly eventsPerSecond: number;
  readonly asksPerEvent: number;
  readonly networkMs: number;
  readonly diskMs: number;
  readonly logMs: number;
  readonly lagMs: number;
  readonly tickMs: number;
  readonly commitIntervalMs: number;
  readonly commitRecordsMax: number;
  readonly recordsPerRead: number;
  readonly copyRowsPerSecond: number;
  readonly chunkRowsMax: number;
  readonly mode: 'auto' | 'observe';
  readonly handShare: number;
  readonly startsAfterMs: number;
  readonly keepsTable: boolean;
}

function shapeOf(chance: Chance): Shape {
  return {
    partitions: chance.oneOf([1, 1, 2, 3]),
    brokers: chance.oneOf([2, 2, 3]),
    eventsPerSecond: chance.oneOf([10, 20, 40]),
    asksPerEvent: chance.oneOf([0.1, 0.2, 0.5]),
    networkMs: chance.oneOf([0, 2, 20, 100]),
    diskMs: chance.oneOf([0, 0, 5, 50]),
    logMs: chance.oneOf([1, 5, 30, 100]),
    lagMs: chance.oneOf([10, 200, 2_000]),
    tickMs: chance.oneOf([500, 1_000]),
    commitIntervalMs: chance.oneOf([0, 200, 500]),
    commitRecordsMax: chance.oneOf([5, 50, 1_000]),
    recordsPerRead: chance.oneOf([20, 100, 500]),
    copyRowsPerSecond: chance.oneOf([50, 200, 10_000]),
    chunkRowsMax: chance.oneOf([3, 20, 200]),
    mode: 'auto',
    handShare: chance.oneOf([0.3, 0.8, 2]),
    startsAfterMs: chance.oneOf([0, 0, 3_000]),
    keepsTable: chance.hits(0.85),
  };
}

export class World {
  readonly scheduler: Scheduler;
  readonly faults: Faults;
  readonly oracle: Oracle;
  readonly log: SharedLog;
  readonly shards: Shards;
  readonly codec: Codec;
  readonly shape: Shape;
  readonly brokers: Broker[] = [];
  readonly counts: Record<string, number> = {};
  readonly #case: Case;
  readonly #mutation: Mutation | undefined;
  readonly #load: Load;
  readonly #chance: Chance;
  readonly #hosts: readonly LocalStates[];
  #host = 0;
  #instance: Instance | undefined;
  readonly #zombies = new Set<Instance>();
  #starts = 0;
  #stepMs = 0;
  #breach: Breach | undefined;
  #isLoaded = false;
  #settledMs = 0;
  /** Tombstones from before are to be forgotten. */
  #sweptBefore = Number.NEGATIVE_INFINITY;
  readonly #skew: Chance;
  readonly #words = new Map<string, { readonly epoch: number; readonly turn: number }>();
  /** Slices that are moved from the subscription table. */
  readonly #rebuilt = new Set<SliceKey>();
  readonly #published = new Map<number, number>();
  readonly #beats = new Map<string, { readonly at: number; readonly since: number; readonly position: number }>();

  constructor(given: Case, mutation: Mutation | undefined) {
    this.#case = given;
    this.#mutation = mutation;
    this.scheduler = new Scheduler(given.seed, START_AT);
    const { scheduler } = this;
    const doses: Record<FaultName, number> = { ...dosesOf(scheduler.stream('doses')) };
    for (const name of [...(given.with ?? []), ...(mutation?.with ?? [])])
      doses[name] = Math.max(doses[name], 3 * FAULTS[name].dose);
    for (const name of given.without ?? []) doses[name] = 0;
    this.faults = new Faults(doses satisfies Doses, scheduler.stream('faults'));
    this.shape = shapeOf(scheduler.stream('shape'));
    this.#chance = scheduler.stream('world');
    this.#skew = scheduler.stream('clocks');
    const codec = CODEC;
    this.codec = mutation?.codec?.(codec, this) ?? codec;
    const { partitions } = this.shape;
    this.oracle = new Oracle({
      partitions,
      codec,
      broken: (breach) => {
        this.#breach ??= breach;
      },
      told: {
        table: (before, now) => this.#onTable(before, now),
        due: (filters) => this.#onDue(filters),
      },
    });
    this.log = new SharedLog({
      scheduler,
      faults: this.faults,
      partitions,
      recordsPerRead: this.shape.recordsPerRead,
      latencyMs: this.shape.logMs,
      written: (appends, positions) => {
        for (const { topic, records } of appends) {
          if (topic === 'metrics') for (const { value } of records) this.#hearMetric(value ?? null);
          if (topic === 'commands') for (const { value } of records) this.#hearCommand(value ?? null);
        }
        this.oracle.written(appends, positions);
      },
    });
    const around = mutation?.store;
    this.shards = new Shards({
      scheduler,
      faults: this.faults,
      partitions,
      catalog: CATALOG,
      networkMs: this.shape.networkMs,
      diskMs: this.shape.diskMs,
      ...(around === undefined ? {} : { around: (store, shard) => around(store, shard, this) }),
      told: {
        own: (shard, owner) => this.#onWord(shard, owner),
        forgotten: (shard, slice) => this.#forgetWords(shard, slice),
      },
    });
    this.#load = new Load(scheduler.stream('load'), this.oracle);
    this.#hosts = [0, 1].map((host) => new LocalStates(this.faults, scheduler.stream(`host ${host}`)));
  }

  get isOver(): boolean {
    return this.#breach !== undefined;
  }

  /** Every filter that may be subscribed to. */
  get filters(): readonly string[] {
    return this.#load.filters;
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  async run(): Promise<Result> {
    const { scheduler, shape } = this;
    const onRejection = (error: unknown): void => this.#bug(error);
    process.on('unhandledRejection', onRejection);
    try {
      await this.log.local.prepare(shapesOf(this.#topology('nobody'), { app: APP, partitions: shape.partitions }));
      this.#setClocks();
      for (let i = 0; i < shape.brokers; i++) this.brokers.push(this.#broker(`broker-${i}`));
      scheduler.after(shape.startsAfterMs, 'start', () => this.#startInstance());
      this.#plan();
      await this.#pass(() => this.#isLoaded, 3_600_000);
      if (!this.isOver) await this.#settle();
      if (!this.isOver) await this.#checkEnd();
    } catch (error) {
      this.#bug(error);
    } finally {
      for (const each of [this.#instance, ...this.#zombies]) each?.process.kill();
      for (const broker of this.brokers) broker.process.kill();
      process.off('unhandledRejection', onRejection);
    }
    return this.#result();
  }

  // ---- time ----------------------------------------------------------------------------------------------------------

  /** Lets time pass until it is so, at most so long. */
  async #pass(until: () => boolean, ms: number): Promise<boolean> {
    await this.scheduler.run(this.scheduler.now + ms, () => this.isOver || until());
    return until();
  }

  /** W2. */
  async #settle(): Promise<void> {
    const from = this.scheduler.now;
    this.faults.end();
    for (const each of this.#processes()) each.heal();
    this.log.awayUntil = 0;
    for (const shard of this.shards.all.values()) {
      shard.awayUntil = 0;
      if (!this.shape.keepsTable) this.#putBack(shard);
    }
    for (const broker of this.brokers) {
      broker.stopReader(0);
      broker.revive();
    }
    this.#instance?.process.resume();
    if (this.#instance === undefined) this.#startInstance();
    let isAtRest = false;
    let fewest = Number.POSITIVE_INFINITY;
    let progressAt = from;
    let moved = this.#movedRows();
    const isInTime = (): boolean =>
      this.scheduler.now - progressAt < SETTLE_MS + 60_000 && this.scheduler.now - from < SETTLE_MS_MAX;
    while (!isAtRest && !this.isOver && isInTime()) {
      await this.#pass(() => false, 1_000);
      isAtRest = this.#unrest() === undefined;
      const { waiting } = this.oracle;
      const rows = this.#movedRows();
      if (waiting >= fewest && rows === moved) continue;
      fewest = Math.min(fewest, waiting);
      moved = rows;
      progressAt = this.scheduler.now;
    }
    if (!isAtRest && !this.isOver)
      this.oracle.break('I14', `not at rest after ${(this.scheduler.now - from) / 1000} s: ${this.#unrest()}`);
    this.#settledMs = this.scheduler.now - from;
  }

  /** How many rows the open moves have worked on. */
  #movedRows(): number {
    const running = this.#instance?.running;
    const cell = running?.read<PlanRow>('plan', 'cells', 0, 'cell');
    if (running === undefined || cell?.kind !== 'here' || cell.row === undefined) return 0;
    let sum = 0;
    for (const id of (cell.row as CellRow).openMoves) {
      const move = running.read<MoveRow>('plan', 'cells', 0, `move/${id}`);
      if (move.kind === 'here' && move.row !== undefined)
        sum += move.row.rowsCopied + move.row.rowsVerified + move.row.rowsErased;
    }
    return sum;
  }

  /** What is still going on; `undefined` for nothing. */
  #unrest(): string | undefined {
    const running = this.#instance?.running;
    if (running === undefined) return 'no instance is running';
    if (!this.oracle.isSettled) return `events wait: ${JSON.stringify(running.readiness())}`;
    const cell = running.read<PlanRow>('plan', 'cells', 0, 'cell');
    if (cell.kind !== 'here' || cell.row === undefined) return 'nobody plans';
    for (const id of (cell.row as CellRow).openMoves) {
      const move = running.read<MoveRow>('plan', 'cells', 0, `move/${id}`);
      if (move.kind === 'here' && move.row?.state !== 'SHARED')
        return `${id} of ${move.row?.slice} is ${move.row?.state}: ${move.row?.outcome}`;
    }
    for (const [slice, { shards }] of this.oracle.table.slices)
      for (const id of shards)
        if (this.shards.all.get(id)?.lostDisk !== undefined) return `${slice} is on ${id}, which is lost`;
    const open = (cell.row as CellRow).openShards;
    if (open.length > 0) return `${open} are not ready`;
    const table = this.oracle.table.position;
    for (const broker of this.brokers)
      if ((broker.reader?.table.position ?? 0) < table)
        return `${broker.id} has read the table up to ${broker.reader?.table.position} of ${table}`;
    return undefined;
  }

  /** A shard that was given up while it was away, and is told where its slices are. */
  #isLeft(): boolean {
    for (const [, row] of this.#instance?.running?.rows<{ readonly kind: string }>('work', partitionStates.name) ?? [])
      if (row.kind === 'left') return true;
    return false;
  }

  async #checkEnd(): Promise<void> {
    await this.#pass(() => !this.#isLeft(), LEFT_MS);
    await this.#pass(() => false, 2_000);
    const { oracle } = this;
    oracle.checkLetters();
    if (this.shape.keepsTable) oracle.checkKept();
    for (const broker of this.brokers) {
      const asked = this.#load.topics.map((topic) => broker.publish(topic, true));
      let isDone = false;
      void Promise.all(asked).then(() => {
        isDone = true;
      });
      if (!(await this.#pass(() => isDone, 60_000))) oracle.break('I14', `${broker.id} gets no answer`);
      if (this.isOver) return;
    }
    await this.#pass(() => oracle.isSettled, 10_000); // An append that a broker has repeated may come late.
    for (const shard of this.shards.all.values()) oracle.checkRows(shard.id, await this.#rowsOf(shard));
    for (const { meter } of [this.#instance!, ...this.#zombies]) this.#checkBooks(meter);
  }

  #checkBooks(meter: Instance['meter']): void {
    const [consumed, stepped, duplicate, refused] = [
      'consumed_total',
      'stepped_total',
      'duplicate_total',
      'refused_records_total',
    ].map((name) => meter.sum(`foreshard_${name}`));
    if (consumed !== stepped! + duplicate! + refused!)
      this.oracle.break(
        'I15',
        `${consumed} records were consumed, ${stepped} stepped, ${duplicate} duplicate and ${refused} refused`,
      );
    this.count('records consumed', consumed);
    this.count('duplicates', duplicate);
  }

  async #rowsOf(shard: Shard): Promise<readonly SubscriptionRow[]> {
    const rows: SubscriptionRow[] = [];
    for (let partition = 0; partition < this.shape.partitions; partition++) {
      const slice = shard.kind === 'TRIE' ? groupSlice(partition) : hashSlice(partition);
      rows.push(...((await this.shards.contents(shard.id, { slice, except: [] }))?.rows ?? []));
    }
    return rows;
  }

  #result(): Result {
    const { oracle, scheduler, counts } = this;
    for (const name of ['events', 'questions', 'judged', 'redirects', 'unanswered'] as const)
      this.count(name, oracle[name]);
    this.count('live at the end', oracle.liveCount);
    this.count('epochs', oracle.table.epoch);
    this.count('steps of the scheduler', scheduler.fired);
    return {
      seed: this.#case.seed,
      breach: this.#breach,
      hash: scheduler.hash,
      counts,
      faults: this.faults,
      settledMs: this.#settledMs,
    };
  }

  #bug(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#breach ??= error instanceof Breach ? error : new Breach('bug', text);
  }

  // ---- instances -----------------------------------------------------------------------------------------------------

  #startInstance(): void {
    const { scheduler, shape } = this;
    const instance = new Process(`instance-${this.#host}.${++this.#starts}`, scheduler);
    const mutation = this.#mutation;
    const started = new Instance({
      process: instance,
      topology: this.#topology(instance.name),
      log: this.log,
      codec: this.codec,
      provisioner: this.shards.provisionerFor(instance),
      stores: this.#hosts[this.#host]!.folderOf(instance),
      ...shape,
      ...(this.#mutation === undefined && TELLS ? { logger: tellingLogger(instance.name, scheduler) } : {}),
      ...(mutation?.log === undefined ? {} : { logMutation: mutation.log(this) }),
      ...(mutation?.effects === undefined ? {} : { effectsMutation: (effects) => mutation.effects!(effects, this) }),
    });
    this.#instance = started;
    this.count('starts');
    this.#setClocks();
    void started.ended.then((error) => this.#onEnd(started, error));
  }

  #topology(planner: string) {
    const { shape, scheduler } = this;
    const settings = settingsOf({ ...shape, planner });
    const isCalm = (): boolean => this.faults.isOver;
    const over = (_: unknown, action: Parameters<(typeof CONSTRAINTS)[number]>[1]) =>
      isCalm() ? refusal(action, 'own-calm', 'The run is over.') : undefined;
    const { stages, inputs } = topologyOf({ ...settings, constraints: [over, ...CONSTRAINTS] });
    const hand: HandSettings = {
      chance: scheduler.stream(`hand ${planner}`),
      plan: settings.plan,
      share: (shape.handShare * shape.tickMs) / 1_000,
      shardsMax: 8,
      movesMax: 4,
      filters: this.#load.filters,
      isOver: isCalm,
    };
    const mutate = this.#mutation?.stage ?? ((stage: Stage) => stage);
    return defineTopology(
      stages.map((stage) => mutate(stage.name === 'plan' ? withHand(stage, hand) : stage, this)),
      { inputs },
    );
  }

  #onEnd(instance: Instance, error: unknown): void {
    if (instance.process.state === 'down') return;
    const isFenced = error instanceof AppError && error.code === 'TASK_FENCED';
    if (!(error instanceof AppError)) {
      this.#bug(error);
      return;
    }
    this.count(isFenced ? 'zombies ended' : `ended by ${error.code}`);
    instance.process.kill();
    this.#zombies.delete(instance);
    if (this.#instance !== instance) return;
    this.#instance = undefined;
    this.#restartLater();
  }

  /** Its host loses what was not written, perhaps. */
  #kill(): boolean {
    const instance = this.#instance;
    if (instance === undefined || instance.process.state === 'down') return false;
    instance.process.kill();
    this.#checkBooks(instance.meter);
    this.#instance = undefined;
    this.count('kills');
    void this.#hosts[this.#host]!.torn();
    this.#restartLater();
    return true;
  }

  #restartLater(): void {
    this.scheduler.after(this.#chance.between(100, 3_000), 'restart', () => {
      if (this.#instance === undefined) this.#startInstance();
    });
  }

  #broker(id: string): Broker {
    const { scheduler, faults, log, codec, shards, oracle, shape } = this;
    const reads = this.#mutation?.reads;
    return new Broker({
      ...{ id, scheduler, faults, log, codec, shards, oracle, partitions: shape.partitions },
      lagMs: shape.lagMs,
      heartbeatMs: 1_000,
      filters: this.#load.filters,
      started: () => this.#setClocks(),
      ...(reads === undefined ? {} : { reads }),
    });
  }

  #setClocks(): void {
    const isApart = this.faults.doses['clocks apart'] > 0;
    const skew = (): number => (isApart ? this.#skew.between(-900, 900) : 0);
    if (isApart && !this.faults.hit.has('clocks apart')) {
      this.faults.draw('clocks apart');
      this.faults.meet('clocks apart');
    }
    for (const each of this.#processes()) each.clockAheadMs = skew() + this.#stepMs;
    this.shards.clockAheadMs = skew() + this.#stepMs;
  }

  // ---- load and faults -----------------------------------------------------------------------------------------------

  #plan(): void {
    const { scheduler, shape, faults } = this;
    let events = 0;
    const next = (): void => {
      scheduler.after(-Math.log(1 - this.#chance.next()) * (1_000 / shape.eventsPerSecond), 'load', () => {
        if (++events >= this.#case.events) {
          this.#isLoaded = true;
          return;
        }
        next();
        this.#deed();
      });
    };
    next();
    for (const name of Object.keys(FAULTS) as FaultName[]) {
      if (FAULTS[name].by !== 'minute' || faults.doses[name] === 0) continue;
      const chance = scheduler.stream(`fault ${name}`);
      const again = (): void => {
        scheduler.after((-Math.log(1 - chance.next()) * MINUTE_MS) / faults.doses[name], name, () => {
          if (faults.isOver) return;
          faults.draw(name);
          this.#strike(name, chance);
          again();
        });
      };
      again();
    }
  }

  /** One event, and perhaps a question. */
  #deed(): void {
    const { faults, shape } = this;
    const chance = this.#chance;
    const up = this.brokers.filter(({ isUp }) => isUp);
    if (up.length === 0) return;
    const deed = this.#load.next();
    const broker = this.brokers.find(({ id, isUp }) => isUp && id === deed.brokerId) ?? chance.oneOf(up);
    if (faults.strikes('poison')) this.#poison(broker);
    if (faults.strikes('event time wrong'))
      this.#raw(
        broker,
        deed,
        chance.oneOf([0, 1, Date.UTC(1999, 1, 1), Date.UTC(2099, 1, 1), this.scheduler.now - 60_000]),
      );
    else if (faults.strikes('event twice')) for (let i = 0; i < 2; i++) this.#raw(broker, deed, this.scheduler.now);
    else void broker.send(deed.action, deed.filter, deed.clientId, deed.qos);
    if (up.length > 1 && faults.strikes('client moves')) this.#reconnect(deed.clientId, up);
    let asks = shape.asksPerEvent;
    while (asks > 0 && chance.hits(asks)) {
      asks -= 1;
      void chance.oneOf(up).publish(this.#load.topic());
    }
  }

  /** The client goes to another broker, and its former one cleans up after it, late. */
  #reconnect(clientId: string, up: readonly Broker[]): void {
    const held = this.#load.heldBy(clientId);
    if (held.length === 0) return;
    const to = this.#chance.oneOf(up);
    for (const { filter, brokerId, qos } of held) {
      void to.send('SUBSCRIBE', filter, clientId, qos);
      const former = this.brokers.find(({ id }) => id === brokerId);
      if (former === undefined || former === to) continue;
      this.scheduler.after(this.#chance.between(0, 10_000), 'former broker', () => {
        if (former.isUp) void former.send('UNSUBSCRIBE', filter, clientId, 0);
      });
    }
  }

  /** An event past the producer, as somebody else's client writes it. */
  #raw(
    { id }: Broker,
    {
      action,
      filter,
      clientId,
      qos,
    }: { action: 'SUBSCRIBE' | 'UNSUBSCRIBE'; filter: string; clientId: string; qos: number },
    at: number,
  ): void {
    const event: SubscriptionEvent = {
      ...BARE_EVENT,
      action,
      topicFilter: filter,
      clientId,
      brokerId: id,
      qos,
      timestamp: eventTime(Math.floor(at)),
    };
    const value = this.codec.encode('SubscriptionEvent', event);
    void this.log.local.append([
      { topic: 'subscriptions', partition: partitionOf(filter, this.shape.partitions), key: filter, value },
    ]);
  }

  #poison({ id }: Broker): void {
    const { chance, filter, value } = { chance: this.#chance, filter: 'a/b', value: Buffer.from('no event') };
    const event = {
      ...BARE_EVENT,
      action: 'SUBSCRIBE',
      topicFilter: filter,
      clientId: 'c',
      brokerId: id,
      qos: 0,
      timestamp: eventTime(1),
    };
    const encoded = (change: object): Buffer => this.codec.encode('SubscriptionEvent', { ...event, ...change });
    const [key, bytes] = chance.oneOf<readonly [string | null, Buffer | null]>([
      [filter, value],
      [filter, null],
      [null, encoded({})],
      [filter, encoded({ qos: 3 })],
      [filter, encoded({ clientId: '' })],
      ['a/#/b', encoded({ topicFilter: 'a/#/b' })],
      ['other', encoded({})],
    ]);
    void this.log.local.append([
      { topic: 'subscriptions', partition: chance.below(this.shape.partitions), key, value: bytes },
    ]);
  }

  #strike(name: FaultName, chance: Chance): void {
    const { faults, scheduler, shards } = this;
    const instance = this.#instance;
    const met = (isMet: boolean): void => {
      if (isMet) faults.meet(name);
    };
    const killAt = (moments: readonly Moment[]): void => {
      instance?.process.trap(chance.oneOf(moments), () =>
        met(this.#instance === instance && !faults.isOver && this.#kill()),
      );
    };
    const shard = (): Shard | undefined => {
      const made = [...shards.all.values()].filter(({ isMade }) => isMade);
      return made.length === 0 ? undefined : chance.oneOf(made);
    };
    switch (name) {
      case 'crash':
        met(this.#kill());
        return;
      case 'crash in a commit':
        killAt(['before a commit', 'after a commit']);
        return;
      case 'crash in a store call':
        killAt(['before a store call', 'after a store call']);
        return;
      case 'pause': {
        if (instance?.process.state !== 'up') return;
        met(true);
        instance.process.pause();
        scheduler.after(chance.between(1_000, 20_000), 'resume', () => instance.process.resume());
        return;
      }
      case 'takeover': {
        if (instance?.process.state === 'down' || instance === undefined) return;
        met(true);
        this.#zombies.add(instance);
        if (chance.hits(0.6)) {
          instance.process.pause();
          scheduler.after(chance.between(500, 15_000), 'resume', () => instance.process.resume());
        }
        this.#host = 1 - this.#host;
        this.#startInstance();
        return;
      }
      case 'rebalance':
        met(instance?.running !== undefined);
        if (chance.hits(0.3)) this.log.local.fence('plan', 0);
        else this.log.local.fence('work', chance.below(this.shape.partitions));
        return;
      case 'log away':
        this.log.awayUntil = scheduler.now + chance.between(200, 8_000);
        return;
      case 'compaction':
        met(true);
        for (const topic of ['pointer-table', 'simulated-work-changelog', 'simulated-plan-changelog']) {
          if (this.log.local.partitionsOf(topic) === undefined) continue;
          if (this.#mutation?.compact !== undefined) this.#mutation.compact(this, topic);
          else this.log.compact(topic);
        }
        return;
      case 'shard away': {
        const away = shard();
        if (away !== undefined) away.awayUntil = scheduler.now + chance.between(500, 15_000);
        return;
      }
      case 'shard killed': {
        const killed = shard();
        met(killed?.opened !== undefined);
        if (killed !== undefined) shards.kill(killed);
        return;
      }
      case 'shard emptied': {
        const emptied = shard();
        // Before it is published nobody has been told to use it.
        if (emptied === undefined || emptied.lostDisk !== undefined || !this.oracle.table.shards.has(emptied.id))
          return;
        met(true);
        shards.empty(emptied);
        this.#forgetWords(emptied.id, undefined);
        // Its data is gone for good, or comes back: before it is rebuilt elsewhere, or after.
        if (this.shape.keepsTable && chance.hits(0.6)) return;
        scheduler.after(chance.between(1_000, 30_000), 'put back', () => this.#putBackOnceRead(emptied));
        return;
      }
      case 'reader stopped':
        chance.oneOf(this.brokers).stopReader(chance.between(1_000, 2 * BROKER_SILENT_MS));
        return;
      case 'broker killed':
        met(true);
        chance.oneOf(this.brokers).restart(chance.between(0, 2 * BROKER_SILENT_MS));
        return;
      case 'clock steps':
        met(true);
        this.#stepMs = Math.max(0, this.#stepMs + chance.oneOf([-3_600_000, -60_000, -500, 500, 60_000, 3_600_000]));
        this.#setClocks();
        return;
      case 'cut from a shard': {
        const one = shard();
        if (one !== undefined) this.#cut(name, one.id, chance, 15_000);
        return;
      }
      case 'cut from all shards':
        this.#cut(name, ALL_SHARDS, chance, 15_000);
        return;
      case 'cut from the log':
        // Shorter than a broker is waited for: what it reads after that is nobody's promise.
        this.#cut(name, THE_LOG, chance, BROKER_SILENT_MS - 2_000);
        return;
      case 'move steered':
        met(this.#steer(chance));
        return;
      case 'sweep':
        met(true);
        this.#sweptBefore = scheduler.now - TOMBSTONE_MS;
        void shards.sweep(this.#sweptBefore).catch(() => {});
    }
  }

  /** A process, whichever, cannot reach that for a time. */
  #cut(name: FaultName, from: string, chance: Chance, msMax: number): void {
    const one = chance.oneOf(this.#processes());
    const ms = chance.between(500, msMax);
    one.cut(from, ms, chance.oneOf(['there', 'back']), () => {
      if (!this.faults.isOver) this.faults.meet(name);
    });
  }

  #processes(): Process[] {
    const running = [this.#instance?.process, ...[...this.#zombies].map((each) => each.process)];
    return [...running.filter((each) => each !== undefined), ...this.brokers.map((each) => each.process)];
  }

  /**
   * Once every reader knows that its slices are elsewhere: a store with records of before its rebuild cannot tell a late reader
   * that it has missed something.
   */
  #putBackOnceRead(shard: Shard): void {
    if (!this.#isBeingRead(shard.id)) this.#putBack(shard);
    else this.scheduler.after(LOOK_AGAIN_MS, 'put back', () => this.#putBackOnceRead(shard));
  }

  /** Readers may still ask it for slices that have been rebuilt elsewhere, as far as anybody knows. */
  #isBeingRead(shard: ShardId): boolean {
    const running = this.#instance?.running;
    const cell = running?.read<PlanRow>('plan', 'cells', 0, 'cell');
    if (running === undefined || cell?.kind !== 'here' || cell.row === undefined) return true;
    return (cell.row as CellRow).openMoves.some((id) => {
      const move = running.read<MoveRow>('plan', 'cells', 0, `move/${id}`);
      return move.kind === 'here' && move.row?.rebuilds === true && move.row.from === shard;
    });
  }

  #putBack(shard: Shard): void {
    this.shards.putBack(shard);
    this.#forgetWords(shard.id, undefined);
  }

  #steer(chance: Chance): boolean {
    const cell = this.#instance?.running?.read<CellRow>('plan', 'cells', 0, 'cell');
    const open = cell?.kind === 'here' ? (cell.row?.openMoves ?? []) : [];
    if (open.length === 0) return false;
    const moveId = chance.oneOf(open);
    const request = (action: MoveRequestAction, rowsPerSecond = 0): void => {
      const requestId = `request-${action}-${this.scheduler.fired}`;
      const timestamp = eventTime(Math.floor(this.scheduler.now));
      const body = { kind: 'MoveRequest', requestId, moveId, action, rowsPerSecond, timestamp } as const;
      const value = this.codec.encode('Metric', { body } satisfies Metric);
      void this.log.local.append([
        { topic: 'metrics', partition: partitionOf(moveId, this.shape.partitions), key: moveId, value },
      ]);
    };
    const action = chance.oneOf<MoveRequestAction>(['ABORT', 'PAUSE', 'THROTTLE']);
    request(action, chance.oneOf([1, 50, 1_000]));
    if (action === 'ABORT') return true;
    this.scheduler.after(chance.between(500, 8_000), 'let go', () =>
      request(action === 'PAUSE' ? 'RESUME' : 'THROTTLE'),
    );
    return true;
  }

  // ---- what is watched -----------------------------------------------------------------------------------------------

  #hearMetric(value: Buffer | null): void {
    if (value === null) return;
    const { body } = this.codec.decode('Metric', value) as Metric;
    if (body.kind !== 'BrokerHeartbeat') return;
    const { now } = this.scheduler;
    const before = this.#beats.get(body.brokerId);
    const since = before !== undefined && now - before.at < HEARD_MS ? before.since : now;
    this.#beats.set(body.brokerId, { at: now, since, position: body.pointerOffset });
  }

  /** A source is left only once every broker that is heard has read that the slice is elsewhere. */
  #hearCommand(value: Buffer | null): void {
    if (value === null) return;
    const { body, epoch } = this.codec.decode('Command', value) as Command;
    this.count(`command ${body.kind === 'SteerMove' ? body.action : body.kind}`);
    if (body.kind === 'MoveSlice') {
      if (body.source === 'TABLE') this.#rebuilt.add(body.slice);
      else this.#rebuilt.delete(body.slice);
    }
    if (body.kind !== 'SteerMove' || body.action !== 'RETIRE') return;
    const table = this.oracle.tables.get(epoch);
    const publishedAt = this.#published.get(epoch);
    if (table === undefined || publishedAt === undefined || this.faults.doses['clock steps'] > 0) return;
    for (const broker of this.brokers) {
      const beat = this.#beats.get(broker.id);
      if (!broker.isUp || broker.upSince >= publishedAt || beat === undefined) continue;
      if (beat.position >= table.position || this.scheduler.now - beat.at >= HEARD_MS) continue;
      if (this.scheduler.now - beat.since < READ_MS) continue; // It is just back: what it says is on its way.
      this.oracle.break(
        'I1',
        `${body.moveId} leaves its source although ${broker.id} has read the table up to ${beat.position} alone, of ${table.position}`,
      );
    }
  }

  /** I7. At a switch both shards hold the same, but for what is on its way. */
  #onTable(before: Table, now: Table): void {
    this.#published.set(now.epoch, this.scheduler.now);
    for (const [slice, { shards, mode }] of now.slices) {
      const known = before.slices.get(slice);
      if (known === undefined || String(known.shards) === String(shards)) continue;
      const [from, to] =
        mode === 'REPLICAS' ? [shards[0], shards[1]] : [known.shards.find((shard) => shard !== shards[0]), shards[0]];
      this.count(mode === 'REPLICAS' ? 'replicas' : 'switches');
      if (from !== undefined && to !== undefined)
        void this.#checkCopy(slice, from, to, now).catch((error) => this.#bug(error));
    }
  }

  async #checkCopy(slice: SliceKey, from: ShardId, to: ShardId, table: Table): Promise<void> {
    const except = [...table.slices.keys()].filter(
      (other) => other !== slice && isWithin(other, slice, this.shape.partitions),
    );
    const range: SliceRange = { slice, except };
    const [source, target] = await Promise.all([this.shards.contents(from, range), this.shards.contents(to, range)]);
    if (source === undefined || target === undefined) return;
    this.count('copies compared');
    const there = new Map(target.rows.map((row) => [`${row.filter}\u0000${row.clientId}`, row]));
    const differs = (row: SubscriptionRow, what: string): void => {
      if (!this.oracle.isPending(row.filter, row.clientId))
        this.oracle.break('I7', `${row.clientId} at ${row.filter} ${what} when ${slice} goes from ${from} to ${to}`);
    };
    for (const row of source.rows) {
      const other = there.get(`${row.filter}\u0000${row.clientId}`);
      there.delete(`${row.filter}\u0000${row.clientId}`);
      if (other === undefined && row.gone && this.#rebuilt.has(slice)) continue; // The table has no tombstones.
      if (other === undefined && this.#isSwept(row)) continue;
      if (other === undefined) differs(row, 'is missing');
      else if (
        other.gone !== row.gone ||
        other.brokerId !== row.brokerId ||
        other.version.offset !== row.version.offset
      )
        differs(row, 'is another');
    }
    for (const row of there.values()) if (!this.#isSwept(row)) differs(row, 'is too much');
  }

  /** A tombstone that either shard may have forgotten by now. */
  #isSwept({ gone, at }: SubscriptionRow): boolean {
    return gone && at < this.#sweptBefore;
  }

  /** I6. */
  #onWord(shard: ShardId, { slice, epoch, turn = 0 }: OwnerRecord): void {
    const key = `${shard} ${slice}`;
    const known = this.#words.get(key);
    if (known !== undefined && (epoch < known.epoch || (epoch === known.epoch && turn < known.turn)))
      this.oracle.break(
        'I6',
        `${shard} has taken a word of epoch ${epoch}, turn ${turn}, of ${slice} over one of ${known.epoch}, turn ${known.turn}`,
      );
    this.#words.set(key, { epoch, turn });
  }

  #forgetWords(shard: ShardId, slice: SliceKey | undefined): void {
    for (const key of this.#words.keys()) {
      const [of, about] = key.split(' ') as [ShardId, SliceKey];
      if (of === shard && (slice === undefined || isWithin(about, slice, this.shape.partitions)))
        this.#words.delete(key);
    }
  }

  /** I9. What has just become due is asked for at once, now and then. */
  #onDue(filters: readonly string[]): void {
    if (!this.#chance.hits(0.1)) return;
    const up = this.brokers.filter(({ isUp }) => isUp);
    if (up.length > 0) void this.#chance.oneOf(up).publish(this.#load.topicOf(this.#chance.oneOf(filters)));
  }
}

const CODEC = embeddedCodec();
/** With TELL=1 what the instances say is printed, with the time. */
const TELLS = process.env.TELL === '1';

function tellingLogger(name: string, scheduler: Scheduler): Logger {
  const say =
    (level: string) =>
    (facts: Readonly<Record<string, unknown>>, message: string): void => {
      const seconds = ((scheduler.now - START_AT) / 1_000).toFixed(3);
      process.stderr.write(`${seconds} ${name} ${level}: ${message} ${JSON.stringify(facts).slice(0, 400)}\n`);
    };
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
}

/** Longer than anything is late here. */
const TOMBSTONE_MS = 120_000;

/** Fields that no client here gives. */
const BARE_EVENT = {};
