// Task: one partition of a group's stages. It takes batches, steps them through the stages in memory, performs
// the resulting effects, and commits: changelog, outputs and input positions in one transaction of the log, then
// the same changes to the local store.
//
//   K1. A record is stepped once in each committed history: positions are part of the state that they led to.
//   K2. Effects are durable before the positions that caused them (I9). They may be performed twice, but are never
//       skipped.
//   K3. The local store is never ahead of the log: it is written after the log's commit, with the changelog's position.
//   K4. consumed = stepped + duplicate + refused (I15): every record is counted.
//   K5. After a failed commit the task is dead; nothing it holds in memory is used again.
//   K6. Requests that run beside the task (fits) are answered by records of a local topic, in no transaction: the
//       changes they cause are committed with the next commit.
//   K7. An abandoned task waits for no store. What its last attempt may still do there counts as a former owner's: the
//       stores refuse it, or have it already (I6, I8).
//   K8. A local store that was last written so long ago that its changelog may have dropped removals since is not
//       caught up but rebuilt: otherwise rows removed meanwhile would stay in it.
//   K9. Positions are stored with the incarnation of those topics that may be created anew. When it is raised, these
//       topics are read from their start; the other inputs continue at their positions.
//   K10. Each start takes a new number, and commits it before its first effect: so a start that died before it could
//        commit has sent nothing to a store under the number of the next one. That commit carries no input positions,
//        so what is stored with the group's committed offsets (a leader epoch, a consent to a loss) stays for the
//        reading that follows.
//   K11. A task that could not be restored is dead: a tick that waits behind the restore would otherwise commit empty
//        positions.

import type { FitRequest } from '../processors/forecast/fits.ts';
import { type Input, NEEDS_NOTHING, type Needs, type Tick } from '../processors/step.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError, assert, type Refusal } from '../schemas/errors.ts';
import type { Offset, Partition } from '../schemas/ids.ts';
import type { RecordName } from '../schemas/records.ts';
import type { Effect } from '../state/effects.ts';
import type { Change, StoreFolder } from '../state/store.ts';
import type { Group, Stage } from '../topology/graph.ts';
import type { AnyTopic, Topic } from '../topology/topics.ts';
import { DEAD_VALUE_BYTES_MAX, deadLetter } from './dead-letter.ts';
import { DiskTable } from './disk-table.ts';
import { LocalState } from './local-state.ts';
import { Outbox } from './outbox.ts';
import { PatientEffects, type Waiting } from './patient-effects.ts';
import type { Batch, Clock, Commit, Effects, Fitter, RawRecord, TaskLog } from './ports.ts';
import { preparePatiently } from './registry-patience.ts';
import { NO_TABLE, RowTable } from './row-table.ts';
import type { Logger, Meter } from './telemetry.ts';

export interface TaskPorts {
  readonly codec: Codec;
  readonly stores: StoreFolder;
  readonly effects: Effects;
  readonly fitter: Pick<Fitter, 'fit'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meter: Meter;
}

export interface TaskSettings {
  readonly partitions: number;
  /** How long stepped records may wait for their commit. */
  readonly commitIntervalMs: number;
  /** At most this many records between commits: bounds memory and what a crash repeats. */
  readonly commitRecordsMax: number;
  /** Incarnation of the topics that may be created anew; 0 by default. */
  readonly incarnation?: number;
  /** First pause before an effect on an unreachable store is repeated; doubles up to 64 times this. */
  readonly effectRetryMs: number;
}

/** What a task reports to its runner. */
export interface TaskEvents {
  /** A stage has reported this event time. */
  eventTime(millis: number): void;
  /** Whether this group writes the dead letters of a topic that several groups read. */
  filesDeadLetters(topic: string): boolean;
}

/** What a task is working on or waiting for. */
export interface Busy {
  /**
   * When it last made progress. An attempt on a store that ended in a refusal is progress, since it can be made again.
   */
  readonly since: number;
  readonly at: 'stages' | 'store' | 'log';
}

interface StageRun {
  readonly stage: Stage;
  readonly rows: RowTable;
  /** For a stage that keeps rows on disk too. */
  readonly disk: DiskTable | undefined;
}

/** What a commit writes. */
interface Kept extends Pick<Commit, 'outputs' | 'inputs'> {
  readonly changes: readonly Change[];
}

export class Task {
  readonly partition: Partition;
  readonly group: Group;
  readonly #log: TaskLog;
  readonly #ports: TaskPorts;
  readonly #settings: TaskSettings;
  readonly #events: TaskEvents;
  readonly #runs: readonly StageRun[];
  readonly #readers = new Map<string, readonly StageRun[]>();
  readonly #topics = new Map<string, AnyTopic>();
  readonly #state: LocalState;
  readonly #outbox: Outbox;
  readonly #stores: PatientEffects;
  /** `<group>-<partition>`: also the name of its local store. */
  readonly name: string;
  #queue: Promise<unknown> = Promise.resolve();
  #dead = false;
  #bug: unknown;
  #busy: Busy | undefined;
  #inputs: Record<string, Offset> = {};
  #committedInputs: Record<string, Offset> = {};
  #isCounted = false; // This start's number is committed.
  #effects: Effect[] = [];
  #recordsPending = 0;
  #moved = false; // Positions have changed since the last commit.
  #committedAt = 0;

  constructor(group: Group, log: TaskLog, ports: TaskPorts, settings: TaskSettings, events: TaskEvents) {
    this.partition = log.partition;
    this.group = group;
    this.#log = log;
    this.#ports = ports;
    this.#settings = settings;
    this.#events = events;
    this.name = `${group.name}-${log.partition}`;
    this.#runs = group.stages.map((stage) => ({
      stage,
      rows: new RowTable(stage.keeps ?? NO_TABLE),
      disk: stage.onDisk && new DiskTable(stage.onDisk.table),
    }));
    for (const run of this.#runs) {
      for (const topic of run.stage.reads) {
        this.#topics.set(topic.name, topic);
        this.#readers.set(topic.name, [...(this.#readers.get(topic.name) ?? []), run]);
      }
    }
    this.#state = new LocalState({
      name: this.name,
      group: group.name,
      log,
      ports,
      tables: this.#runs.map(({ rows }) => rows),
      diskTables: this.#runs.flatMap(({ disk }) => disk ?? []),
      incarnation: settings.incarnation ?? 0,
      topics: group.topics,
      heard: () => this.#isAt('log'),
    });
    this.#outbox = new Outbox({
      group,
      partitions: settings.partitions,
      codec: ports.codec,
      proved: (eventTime) => events.eventTime(eventTime),
    });
    this.#stores = new PatientEffects({
      task: { name: this.name, group: group.name, partition: this.partition },
      ports,
      retryMs: settings.effectRetryMs,
      attempted: () => this.#isAt('store'),
    });
  }

  /** A row of one of the stages' tables, for queries; `undefined` when there is none. */
  rowsOf(table: string): RowTable | undefined {
    return this.#runs.find((run) => run.rows.table.name === table)?.rows;
  }

  get restored(): { readonly done: number; readonly total: number } {
    return this.#state.restored;
  }

  get alive(): boolean {
    return !this.#dead;
  }

  /** `undefined` while it has nothing to do. */
  get busy(): Busy | undefined {
    return this.#busy;
  }

  /** The store that it waits for; `undefined` when none. */
  get waiting(): Waiting | undefined {
    return this.#stores.waiting;
  }

  /**
   * Brings the local store up to the changelog's end and loads all rows. Resolves with the input positions to continue
   * from.
   */
  restore(): Promise<Readonly<Record<string, Offset>>> {
    return this.#exclusive(async () => {
      try {
        this.#inputs = await this.#state.restore();
      } catch (error) {
        this.#dead = true; // K11
        throw error;
      }
      this.#committedInputs = { ...this.#inputs };
      this.#committedAt = this.#ports.clock.now();
      return this.#inputs;
    });
  }

  /** Steps a batch through the stages; commits when a commit is due. */
  take(batch: Batch): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#dead) return;
      const topic = this.#topics.get(batch.topic);
      assert(topic !== undefined, `task ${this.name} was given a batch of ${batch.topic}, which no stage of it reads`);
      if (topic.record !== undefined && !(await this.#prepare(topic.record, batch))) return;
      const place = `${batch.topic}/${batch.partition}`;
      const from = batch.restartsAt ?? this.#inputs[place] ?? 0;
      const counts = { stepped: 0, duplicate: 0, refused: 0 };
      const inputs: Input<string, unknown>[] = [];
      for (const record of batch.records) {
        if (record.offset < from) counts.duplicate++;
        else if (this.#accept(topic, batch.partition, record, inputs)) counts.stepped++;
        else counts.refused++;
      }
      await this.#readNeeded(topic.name, inputs);
      for (const input of inputs) this.#deliver(input);
      if (batch.nextOffset > from) {
        this.#inputs[place] = batch.nextOffset;
        this.#moved = true;
      }
      this.#recordsPending += batch.records.length;
      this.#count(batch, counts);
      if (this.#recordsPending >= this.#settings.commitRecordsMax || this.#isDue()) await this.#commit();
    });
  }

  /** Waits for a schema registry that does not answer. False when the task is dead before it answers. */
  #prepare(record: RecordName, batch: Batch): Promise<boolean> {
    const { codec, clock, logger } = this.#ports;
    const told = (reason: string): void =>
      logger.warn({ task: this.name, topic: batch.topic, reason }, 'a task waits for the schema registry');
    const values = batch.records.map(({ value }) => value);
    return preparePatiently({ codec, clock, isOver: () => this.#dead, told }, record, values);
  }

  /** Tells the stages the time, and commits what is waiting. */
  tick(tick: Tick): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#bug !== undefined) throw this.#bug;
      if (this.#dead || !this.#state.isOpen) return;
      await this.#deliverLocal(this.group.local.time, tick);
      if (this.#hasWork() && this.#isDue()) await this.#commit();
    });
  }

  /** Commits what was taken, if the task is still ours, and closes the store. Idempotent. */
  stop(orderly: boolean): Promise<void> {
    return this.#exclusive(async () => {
      try {
        if (orderly && !this.#dead && this.#state.isOpen && this.#hasWork()) await this.#commit();
      } finally {
        this.#dead = true;
        await this.#state.close();
      }
    });
  }

  /**
   * Stops waiting for stores that do not answer (K7): what is not committed will be stepped again by the next owner.
   */
  abandon(): void {
    this.#dead = true;
    this.#stores.abandon();
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(async () => {
      this.#isAt('stages');
      try {
        return await work();
      } finally {
        this.#busy = undefined;
      }
    });
    this.#queue = result.catch(() => {});
    return result;
  }

  #isAt(at: Busy['at']): void {
    this.#busy = { at, since: this.#ports.clock.now() };
  }

  /** Adds the record's inputs for the stages to `inputs`. False when the record was refused. */
  #accept(topic: AnyTopic, partition: Partition, record: RawRecord, inputs: Input<string, unknown>[]): boolean {
    const { key: keyBytes, value: bytes } = record;
    if (bytes === null && topic.cleanup === 'compact') {
      if (topic.hearsRemovals && keyBytes !== null)
        inputs.push({
          topic: topic.name,
          partition,
          offset: record.offset,
          key: keyBytes.toString('utf8'),
          value: null,
        });
      return true;
    }
    if (bytes === null || bytes.length === 0)
      return this.#refuse(topic, partition, record, { code: 'VALUE_MISSING', reason: 'the record has no value' });
    if (bytes.length > DEAD_VALUE_BYTES_MAX) {
      const reason = `the value has ${bytes.length} bytes, more than 1 MiB`;
      return this.#refuse(topic, partition, record, { code: 'VALUE_TOO_LARGE', reason });
    }
    if (keyBytes === null)
      return this.#refuse(topic, partition, record, { code: 'KEY_MISSING', reason: 'the record has no key' });
    const key = keyBytes.toString('utf8');
    let value: unknown;
    try {
      value = topic.record === undefined ? bytes : this.#ports.codec.decode(topic.record, bytes);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return this.#refuse(topic, partition, record, { code: error.code, reason: error.message });
    }
    const refusal = topic.refuse?.(value, { key, partition, partitions: this.#settings.partitions });
    if (refusal !== undefined) return this.#refuse(topic, partition, record, refusal);
    inputs.push({ topic: topic.name, partition, offset: record.offset, key, value });
    return true;
  }

  #refuse(topic: AnyTopic, partition: Partition, record: RawRecord, refusal: Refusal): false {
    if (this.#events.filesDeadLetters(topic.name)) {
      const origin = { topic: topic.name, partition, group: this.group.name };
      this.#outbox.addLetter(deadLetter(record, refusal, origin));
    }
    this.#ports.meter.add('foreshard_refused_total', 1, { topic: topic.name, code: refusal.code });
    return false;
  }

  /** Steps a value of a local topic. */
  async #deliverLocal<Value>(topic: Topic<string, Value>, value: Value): Promise<void> {
    this.#tell(topic, value);
    const input = { topic: topic.name, partition: this.partition, offset: 0, key: '', value };
    await this.#readNeeded(topic.name, [input]);
    this.#deliver(input);
  }

  /** Reads the rows on disk that the stages need for these inputs of one topic. */
  async #readNeeded(topic: string, inputs: readonly Input<string, unknown>[]): Promise<void> {
    for (const { stage, rows, disk } of this.#readers.get(topic) ?? []) {
      if (disk === undefined) continue;
      const needed: Needs[] = [];
      for (const input of inputs) {
        const needs = stage.onDisk!.needs(rows, input);
        if (needs !== NEEDS_NOTHING) needed.push(needs);
      }
      if (needed.length > 0) await disk.read(needed);
    }
  }

  #deliver(input: Input<string, unknown>): void {
    const { beforeCommit, beside, told } = this.group.local;
    for (const { stage, rows, disk } of this.#readers.get(input.topic) ?? []) {
      const emits = stage.step(rows, input, disk);
      for (let i = 0; i < emits.length; i++) {
        const emit = emits[i]!;
        if (emit.topic === beforeCommit.asked.name) this.#effects.push(emit.value as Effect);
        else if (emit.topic === beside.asked.name) this.#fit(emit.value as FitRequest);
        else if (emit.topic === told.name) this.#tell(told, emit.value);
        else this.#outbox.add(emit);
      }
    }
  }

  /** Not part of the transaction: a fit that is lost, with this task or its thread, is asked for again later. */
  #fit(request: FitRequest): void {
    const { fitter, meter, clock } = this.#ports;
    const began = clock.now();
    const taken = fitter.fit(request).then((result) =>
      this.#exclusive(async () => {
        if (this.#dead || !this.#state.isOpen) return;
        meter.observe('foreshard_fit_seconds', (clock.now() - began) / 1000);
        await this.#deliverLocal(this.group.local.beside.answered, result);
      }),
    );
    taken.catch((error: unknown) => {
      this.#bug ??= error; // Nobody awaits a fit: the next tick throws it.
    });
  }

  /** Also when the host's clock has been set back: then it cannot tell how long ago the last commit was. */
  #isDue(): boolean {
    const sinceMs = this.#ports.clock.now() - this.#committedAt;
    return sinceMs >= this.#settings.commitIntervalMs || sinceMs < 0;
  }

  #hasWork(): boolean {
    if (this.#moved || this.#effects.length > 0 || !this.#outbox.isEmpty) return true;
    return this.#runs.some(({ rows, disk }) => rows.dirtyCount > 0 || (disk !== undefined && disk.dirtyCount > 0));
  }

  async #commit(): Promise<void> {
    const began = this.#ports.clock.now();
    await this.#performEffects(); // K2
    if (this.#dead) return;
    const changes: Change[] = [];
    for (const { rows, disk } of this.#runs) {
      rows.drain(changes);
      disk?.drain(changes);
    }
    const inputs = { ...this.#inputs };
    await this.#keep(inputs, { changes, outputs: this.#outbox.records(), inputs });
    const { meter, clock } = this.#ports;
    meter.add('foreshard_dead_lettered_total', this.#outbox.letters.length);
    meter.add('foreshard_commits_total', 1, { group: this.group.name });
    for (const { topic, value } of this.#outbox.emits)
      if (value !== null) this.#tell(this.#outbox.topicOf(topic), value);
    meter.observe('foreshard_commit_seconds', (clock.now() - began) / 1000, { group: this.group.name });
    this.#outbox.clear();
    this.#recordsPending = 0;
    this.#moved = false;
    this.#committedAt = clock.now();
  }

  /** `at`: the positions that the state belongs to; `inputs`: those that are committed to the log. */
  async #keep(at: Record<string, Offset>, { changes, outputs, inputs }: Kept): Promise<void> {
    try {
      this.#isAt('log');
      const next = await this.#log.commit({ changelog: [...changes, this.#state.markOf(at)], outputs, inputs });
      await this.#state.write(changes, next, at); // K3
    } catch (error) {
      this.#dead = true; // K5
      throw error;
    }
    this.#committedInputs = at;
    this.#isCounted = true;
  }

  /** Performs effects until none is left: an outcome may cause more, which the apply stage bounds. */
  async #performEffects(): Promise<void> {
    const { meter, clock } = this.#ports;
    if (this.#effects.length > 0 && !this.#isCounted)
      await this.#keep(this.#committedInputs, { changes: [], outputs: [], inputs: {} }); // K10
    while (this.#effects.length > 0 && !this.#dead) {
      const asked = this.#effects;
      this.#effects = [];
      const began = clock.now();
      const outcomes = await this.#stores.perform(asked);
      meter.observe('foreshard_effects_seconds', (clock.now() - began) / 1000, { group: this.group.name });
      for (const outcome of outcomes) await this.#deliverLocal(this.group.local.beforeCommit.answered, outcome);
    }
  }

  /** Reports what the topology wants operators to know of a value. */
  #tell(topic: AnyTopic, value: unknown): void {
    const { meter, logger } = this.#ports;
    for (const { metric, by, labels, line } of topic.notes?.(value) ?? []) {
      meter.add(metric, by, labels);
      if (line !== undefined) logger[line.level]({ task: this.name, ...line.facts }, line.message);
    }
  }

  #count(
    batch: Batch,
    counts: { readonly stepped: number; readonly duplicate: number; readonly refused: number },
  ): void {
    const { meter } = this.#ports;
    const labels = { group: this.group.name, topic: batch.topic };
    meter.add('foreshard_consumed_total', batch.records.length, labels);
    meter.add('foreshard_stepped_total', counts.stepped, labels);
    if (counts.duplicate > 0) meter.add('foreshard_duplicate_total', counts.duplicate, labels);
    if (counts.refused > 0) meter.add('foreshard_refused_records_total', counts.refused, labels);
  }
}
