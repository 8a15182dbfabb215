// Session world: brokers that tell of the connections of clients, the steps ingest and sessions, and what apply makes of the
// events, in memory. Which of the records that wait somewhere goes on next is for the test to say: the order within one
// partition is kept, between partitions there is none. Its state can be copied, so that a test can go every way.

import { mergeRows } from '../../../datastores/merge.ts';
import { foldEvent, type Subscription } from '../../../processors/apply/subscriptions.ts';
import { ingestWith } from '../../../processors/ingest/ingest.ts';
import { Agenda, type MemoryRow, sessionRows, sessionWork } from '../../../processors/sessions/rows.ts';
import { type In, sessionsWith } from '../../../processors/sessions/sessions.ts';
import { SESSION_DEFAULTS, type SessionSettings } from '../../../processors/sessions/settings.ts';
import type { Rows } from '../../../processors/step.ts';
import { eventTime } from '../../../schemas/ids.ts';
import type {
  ClientEvents,
  OperationProgress,
  SessionOperation,
  SessionRecord,
  SubscriptionEvent,
} from '../../../schemas/records.ts';
import type { SubscriptionRow, Version } from '../../../state/effects.ts';
import { Watermark } from '../../../state/watermark.ts';
import { MemoryDisk } from '../../support/memory-disk.ts';

export const SETTINGS: SessionSettings = {
  ...SESSION_DEFAULTS,
  partitions: 1,
  sessionGraceMs: 0,
};

/** What a broker appends. */
export type Appended =
  | { readonly topic: 'sessions'; readonly value: SessionRecord }
  | { readonly topic: 'subscriptions'; readonly value: SubscriptionEvent };

/** A subscription as apply holds it. */
export interface Held {
  readonly brokerId: string;
  readonly qos: number;
}

/** Way in which records can go on. */
export type Move =
  | { readonly is: 'append'; readonly broker: number }
  | { readonly is: 'ingest'; readonly filter: string }
  | { readonly is: 'session' }
  | { readonly is: 'event' }
  | { readonly is: 'operation' }
  | { readonly is: 'tick' };

const ingest = ingestWith(0);

export class SessionWorld {
  readonly #settings: SessionSettings;
  readonly #byEpoch: boolean;
  /** What is still to be appended, by broker. */
  #scripts: readonly (readonly Appended[])[];
  #subscriptions = new Map<string, readonly SubscriptionEvent[]>();
  #ingested = new Map<string, number>();
  #sessions: readonly SessionRecord[] = [];
  #events: readonly ClientEvents[] = [];
  #operations: readonly SessionOperation[] = [];
  #disk = new MemoryDisk(sessionRows);
  #rows = new Map<string, MemoryRow>();
  #starts = 0;
  #wallTime = 1_000;
  #tickedAt = 0;
  eventTime = 1;
  /** Events that the stage has written. */
  written = 0;
  /** Session records that it took no notice of. */
  ignored = 0;
  /** What it has told of operations, and the last one that it has begun or stopped. */
  told: readonly OperationProgress[] = [];
  operation: SessionOperation | undefined;

  constructor(scripts: readonly (readonly Appended[])[], byEpoch = true, settings: SessionSettings = SETTINGS) {
    this.#byEpoch = byEpoch;
    this.#scripts = scripts;
    this.#settings = settings;
  }

  copy(): SessionWorld {
    const copy = new SessionWorld(this.#scripts, this.#byEpoch, this.#settings);
    copy.#subscriptions = new Map(this.#subscriptions);
    copy.#ingested = new Map(this.#ingested);
    copy.#sessions = this.#sessions;
    copy.#events = this.#events;
    copy.#operations = this.#operations;
    copy.#disk = new MemoryDisk(sessionRows, this.#disk.stored);
    for (const [key, row] of this.#rows) copy.#rows.set(key, copied(row));
    copy.#starts = this.#starts;
    copy.#wallTime = this.#wallTime;
    copy.#tickedAt = this.#tickedAt;
    copy.eventTime = this.eventTime;
    copy.written = this.written;
    copy.ignored = this.ignored;
    return copy;
  }

  /** Two worlds of one name go on alike. */
  get name(): string {
    const rows = [...this.#rows].map(([key, row]) => {
      if (!(row instanceof Agenda)) return [key, row];
      const { pending, due, working, scanned, dueFrom } = row;
      return [pending, due, working, scanned, dueFrom];
    });
    const disk = this.#disk.keys.map((key) => [key, this.#disk.stored.get(key)!.toString('latin1')]);
    const waiting = [this.#scripts.map(({ length }) => length), [...this.#ingested], this.#sessions, this.#events];
    return JSON.stringify([waiting, [...this.#subscriptions], rows, disk, this.eventTime]);
  }

  /** Every way in which something can go on. A tick only where something is left to do. */
  moves(): Move[] {
    const moves: Move[] = [];
    for (const [broker, script] of this.#scripts.entries()) if (script.length > 0) moves.push({ is: 'append', broker });
    for (const [filter, events] of this.#subscriptions)
      if ((this.#ingested.get(filter) ?? 0) < events.length) moves.push({ is: 'ingest', filter });
    if (this.#sessions.length > 0) moves.push({ is: 'session' });
    if (this.#events.length > 0) moves.push({ is: 'event' });
    if (this.#operations.length > 0) moves.push({ is: 'operation' });
    if (this.isBusy) moves.push({ is: 'tick' });
    return moves;
  }

  get isBusy(): boolean {
    const agenda = this.#rows.get('agenda');
    if (!(agenda instanceof Agenda)) return false;
    const { pending, due, working, scanned, dueFrom } = agenda;
    const isRunning = [...this.#rows.values()].some((row) => row.kind === 'operation' && row.state === 'RUNNING');
    return pending + due.length + working.length + scanned.length > 0 || dueFrom <= this.eventTime || isRunning;
  }

  go(move: Move): void {
    if (move.is === 'append') this.#append(move.broker);
    else if (move.is === 'ingest') this.#ingest(move.filter);
    else if (move.is === 'tick') this.tick();
    else if (move.is === 'session') {
      const [record, ...rest] = this.#sessions;
      this.#sessions = rest;
      this.#step('sessions', record!);
    } else if (move.is === 'event') {
      const [record, ...rest] = this.#events;
      this.#events = rest;
      this.#step('client-subscriptions', record!);
    } else {
      const [record, ...rest] = this.#operations;
      this.#operations = rest;
      this.#step('session-operations', record!);
    }
  }

  tick(): void {
    this.#wallTime += 200 + Math.max(0, this.eventTime - this.#tickedAt);
    this.#tickedAt = Math.max(this.#tickedAt, this.eventTime);
    this.#step('clock', { eventTime: this.eventTime, wallTime: this.#wallTime });
  }

  /** A heartbeat of a broker. */
  beat(brokerId: string, timestamp: number, startedAt = 0): void {
    const body = { kind: 'BrokerHeartbeat', brokerId, pointerOffset: 0, timestamp, startedAt };
    this.#step('metrics', { body } as never);
  }

  /** Another word to this partition. */
  operate(said: SessionOperation): void {
    this.#operations = [...this.#operations, said];
  }

  append(...records: readonly Appended[]): void {
    this.#scripts = [...this.#scripts, records];
    while (this.#scripts.at(-1)!.length > 0) this.#append(this.#scripts.length - 1);
    this.#scripts = this.#scripts.slice(0, -1);
  }

  /** The task dies after a commit and starts again. */
  restart(): void {
    this.#starts++;
    for (const [key, row] of this.#rows) this.#rows.set(key, sessionWork.decode(sessionWork.encode(row)));
  }

  /** Until nothing goes on by itself. */
  settle(choose: (moves: readonly Move[]) => Move = (moves) => moves[0]!): void {
    for (let turns = 0; ; turns++) {
      if (turns > 100_000) throw new Error('it does not come to rest');
      const moves = this.moves();
      if (moves.length === 0) return;
      this.go(choose(moves));
    }
  }

  /** When the first session record that the stage has not had was written; Infinity when it has had all. */
  get undelivered(): number {
    const waiting = [...this.#scripts.flat().flatMap((each) => (each.topic === 'sessions' ? [each.value] : []))];
    return Math.min(...[...waiting, ...this.#sessions].map(({ timestamp }) => timestamp));
  }

  /** What apply makes of all events: `<client> <filter>` to what it holds. */
  get held(): Map<string, Held> {
    const held = new Map<string, Held>();
    for (const [filter, events] of this.#subscriptions) {
      for (const clientId of new Set(events.map((event) => event.clientId))) {
        const all = events.map((event, offset) => ({ event, version: { incarnation: 0, offset } }));
        const of = all.filter(({ event }) => event.clientId === clientId);
        const after = this.#byEpoch ? inTable(of) : inStore(of);
        if (after !== undefined) held.set(`${clientId} ${filter}`, after);
      }
    }
    return held;
  }

  get disk(): MemoryDisk<unknown> {
    return this.#disk as MemoryDisk<unknown>;
  }

  get rows(): ReadonlyMap<string, MemoryRow> {
    return this.#rows;
  }

  /** All that was written to `subscriptions`. */
  events(): readonly SubscriptionEvent[] {
    return [...this.#subscriptions.values()].flat();
  }

  #append(broker: number): void {
    const [record, ...rest] = this.#scripts[broker]!;
    this.#scripts = this.#scripts.map((script, at) => (at === broker ? rest : script));
    if (record!.topic === 'sessions') this.#sessions = [...this.#sessions, record!.value];
    else this.#write(record!.value);
  }

  #write(event: SubscriptionEvent): void {
    this.#subscriptions.set(event.topicFilter, [...(this.#subscriptions.get(event.topicFilter) ?? []), event]);
  }

  #ingest(filter: string): void {
    const offset = this.#ingested.get(filter) ?? 0;
    this.#ingested.set(filter, offset + 1);
    const value = this.#subscriptions.get(filter)![offset]!;
    const none: Rows<never> = { get: () => undefined, set() {}, delete() {}, entries: () => [].values(), size: 0 };
    for (const emit of ingest(none, { topic: 'subscriptions', partition: 0, offset, key: filter, value }))
      if (emit.topic === 'client-subscriptions') this.#events = [...this.#events, emit.value!];
  }

  #step<Topic extends In['topic']>(topic: Topic, value: Extract<In, { readonly topic: Topic }>['value']): void {
    const { step, onDisk } = sessionsWith(this.#settings, this.#byEpoch);
    const input = { topic, partition: 0, offset: 0, key: '', value } as In;
    const all = this.#rows;
    const rows: Rows<MemoryRow> = {
      get: (key) => all.get(key),
      set: (key, row) => void all.set(key, row),
      delete: (key) => void all.delete(key),
      entries: () => all.entries(),
      size: all.size,
      starts: this.#starts,
    };
    this.#disk.need(onDisk.needs(rows, input));
    for (const emit of step(rows, input, this.#disk)) {
      if (emit.topic === 'subscriptions') {
        this.written++;
        this.#write(emit.value!);
      } else if (emit.topic === 'session-operations') {
        this.#operations = [...this.#operations, emit.value!];
        if (emit.value!.body.kind === 'OperationProgress') this.told = [...this.told, emit.value!.body];
        else this.operation = emit.value!;
      } else this.ignored++;
    }
  }
}

interface Versioned {
  readonly event: SubscriptionEvent;
  readonly version: Version;
}

/** As apply's table has it. */
function inTable(events: readonly Versioned[]): Held | undefined {
  let row: Subscription | undefined;
  for (const { event, version } of events) {
    const folded = foldEvent(row, event, version);
    if (folded.is === 'changed') row = folded.row;
  }
  return row === undefined || row.removed === true ? undefined : { brokerId: row.brokerId, qos: row.qos };
}

/** As a store has it that apply writes to without a table. */
function inStore(events: readonly Versioned[]): Held | undefined {
  let known: SubscriptionRow | undefined;
  for (const { event, version } of events) {
    const { topicFilter: filter, clientId, brokerId, qos, timestamp: at, action } = event;
    const row = { filter, clientId, brokerId, qos, version, gone: action === 'UNSUBSCRIBE', at };
    known = mergeRows(known, row).row;
  }
  return known === undefined || known.gone ? undefined : { brokerId: known.brokerId, qos: known.qos };
}

const copied = (row: MemoryRow): MemoryRow =>
  row instanceof Agenda
    ? Object.assign(new Agenda(), row, { heard: Object.assign(new Watermark(), row.heard) })
    : structuredClone(row);

// ---- what a broker appends ------------------------------------------------------------------------------------------

export const NEVER = 0xffff_ffff;
type Of = { readonly client?: string; readonly broker: string; readonly epoch: number; readonly at: number };

export const connected = (of: Of, cleanStart: boolean, sessionExpirySeconds: number): Appended => ({
  topic: 'sessions',
  value: {
    timestamp: eventTime(of.at),
    body: { kind: 'Connected', ...placeOf(of), cleanStart, sessionExpirySeconds },
  },
});

export const disconnected = (of: Of, sessionExpirySeconds = -1): Appended => ({
  topic: 'sessions',
  value: { timestamp: eventTime(of.at), body: { kind: 'Disconnected', ...placeOf(of), sessionExpirySeconds } },
});

export const ended = (of: Of): Appended => ({
  topic: 'sessions',
  value: { timestamp: eventTime(of.at), body: { kind: 'Ended', ...placeOf(of) } },
});

export const said = (of: Of, action: SubscriptionEvent['action'], topicFilter: string, qos = 0): Appended => {
  const { clientId, brokerId, sessionEpoch } = placeOf(of);
  const timestamp = eventTime(of.at);
  return { topic: 'subscriptions', value: { action, topicFilter, clientId, brokerId, qos, timestamp, sessionEpoch } };
};

const placeOf = ({ client = 'phone', broker, epoch }: Of) => ({
  clientId: client,
  brokerId: broker,
  sessionEpoch: epoch,
});
