// Series row: one series in the forecast stage: the steps that are still open, and each signal. It is stored as two
// rows: one that changes with every step (some 3 KB for a signal), and the past row (some 20 KB), which is rewritten
// only now and then.
//
//   S1. The past row as last written, and the series row written with it or later, are together the whole series.

import type { SeriesId } from '../../schemas/ids.ts';
import type { RateWindow, Signal as SignalName } from '../../schemas/records.ts';
import { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import type { Forecaster } from './forecaster.ts';
import { MINUTE_GRID } from './grid.ts';
import { RATE_MAX } from './history/history.ts';
import { Signal } from './signal.ts';

export const SIGNALS: readonly SignalName[] = ['SUBSCRIPTIONS', 'PUBLISHES'];

/** Most steps that the series row holds until the past row is rewritten: some 700 bytes. */
const TAIL_STEPS_MAX = 360;
const STEP_SECONDS = MINUTE_GRID.stepMs / 1000;
/** Share of the counts behind the unsubscribe share that is kept at each step: a mean over about ten steps. */
const RECENT_KEPT = 0.9;

/** Counts of one open step. */
interface OpenStep {
  events: number;
  unsubscribes: number;
  publishes: number;
  bytes: number;
  clients: number;
}

export class SeriesRow {
  readonly kind = 'series';
  readonly series: SeriesId;
  /** Number of the older of the two open steps. */
  openStep: number;
  /** Windows that came after their step had closed. */
  lateWindows = 0;
  /** Ticks since the last window. Not stored: after a restart a series counts as idle a little later. */
  silentTicks = 0;
  /** In the order of SIGNALS; the publishes signal exists from the first publish on. */
  readonly signals: [Signal, Signal | undefined];
  /** Clients in the last closed step. */
  distinctClients = 0;
  bytesPerSecond = 0;
  /** Subscription events of the latest steps; older ones count less. */
  #recentEvents = 0;
  #recentUnsubscribes = 0;
  /** Stored as a row of its own, when it is due. */
  readonly past: PastRow;
  #older: OpenStep = emptyStep();
  #newer: OpenStep = emptyStep();
  readonly #brain: Forecaster;

  constructor(brain: Forecaster, series: SeriesId, openStep: number, past = new PastRow()) {
    this.#brain = brain;
    this.series = series;
    this.openStep = openStep;
    const [subscriptions, publishes] = past.memoriesFor(brain);
    this.signals = [
      new Signal(brain, subscriptions),
      publishes === undefined ? undefined : new Signal(brain, publishes),
    ];
    this.past = past;
    past.row = this;
  }

  /** Adds a window to `step`, which must be one of the two open ones. */
  add(step: number, window: RateWindow): void {
    this.silentTicks = 0;
    const open = step === this.openStep ? this.#older : this.#newer;
    open.events += checked(window.subscribes) + checked(window.unsubscribes);
    open.unsubscribes += checked(window.unsubscribes);
    open.publishes += checked(window.publishes);
    open.bytes += checked(window.bytes);
    // Clients of several windows overlap by an unknown share: the largest window is a lower bound.
    open.clients = Math.max(open.clients, checked(window.distinctClients));
  }

  closeStep(): void {
    const { openStep } = this;
    const older = this.#older;
    this.signals[0].close(openStep, older.events / STEP_SECONDS);
    if (older.publishes > 0 || this.signals[1] !== undefined) {
      this.signals[1] ??= new Signal(this.#brain);
      this.signals[1].close(openStep, older.publishes / STEP_SECONDS);
    }
    this.distinctClients = older.clients;
    this.bytesPerSecond = older.bytes / STEP_SECONDS;
    this.#recentEvents = this.#recentEvents * RECENT_KEPT + older.events;
    this.#recentUnsubscribes = this.#recentUnsubscribes * RECENT_KEPT + older.unsubscribes;
    this.#older = this.#newer;
    this.#newer = emptyStep();
    this.openStep++;
  }

  /** Continues at a step far away: the open steps are dropped, and the signals see a gap. */
  jump(step: number): void {
    this.openStep = step;
    this.#older = emptyStep();
    this.#newer = emptyStep();
  }

  /** Share of the latest subscription events that were unsubscribes; 0.5 before the first of them. */
  get unsubscribeShare(): number {
    return this.#recentEvents > 0 ? this.#recentUnsubscribes / this.#recentEvents : 0.5;
  }

  /** Consecutive closed steps without an event of any signal. */
  get silentSteps(): number {
    return Math.min(this.signals[0].silentSteps, this.signals[1]?.silentSteps ?? Number.POSITIVE_INFINITY);
  }

  write(to: BinaryWriter): void {
    to.text(this.series).count(this.openStep).count(this.lateWindows);
    for (const { events, publishes, bytes, clients } of [this.#older, this.#newer])
      to.double(events).double(publishes).double(bytes).double(clients);
    to.double(this.distinctClients).double(this.bytesPerSecond);
    to.count(this.signals[1] === undefined ? 1 : 2);
    for (const signal of this.signals) signal?.writeTail(to, this.past.step);
    to.double(this.#older.unsubscribes).double(this.#newer.unsubscribes);
    to.double(this.#recentEvents).double(this.#recentUnsubscribes);
  }

  static read(from: BinaryReader, brain: Forecaster, past: PastRow): SeriesRow {
    const series = from.text() as SeriesId;
    const row = new SeriesRow(brain, series, from.count(), past);
    row.lateWindows = from.count();
    row.#older = readStep(from);
    row.#newer = readStep(from);
    row.distinctClients = from.double();
    row.bytesPerSecond = from.double();
    if (from.count() === 2) row.signals[1] ??= new Signal(brain);
    else row.signals[1] = undefined;
    for (const signal of row.signals) signal?.readTail(from);
    if (from.isAtEnd) return row; // Written by a release that did not count unsubscribes separately.
    row.#older.unsubscribes = from.double();
    row.#newer.unsubscribes = from.double();
    row.#recentEvents = from.double();
    row.#recentUnsubscribes = from.double();
    return row;
  }
}

/** What changes seldom: histories and fitted parameters; either the stored bytes, or as the row holds them. */
export class PastRow {
  readonly kind = 'past';
  /** The step at which it was last written; -1 before. */
  step = -1;
  row: SeriesRow | undefined;
  #revision = 0;
  #stored: Buffer | undefined;

  constructor(stored?: Buffer) {
    this.#stored = stored;
  }

  /** True when it must be written now (S1): because it has changed, or because it was written long ago. */
  isDue(): boolean {
    const { openStep, signals } = this.row!;
    const revision = signals.reduce((sum, signal) => sum + (signal?.memory.history.revision ?? 0), 0);
    if (openStep - this.step <= TAIL_STEPS_MAX && revision === this.#revision) return false;
    this.#revision = revision;
    this.step = openStep;
    return true;
  }

  /** The memories read from the stored bytes; reading the row completes them. */
  memoriesFor(brain: Forecaster) {
    if (this.#stored === undefined) return [brain.fresh(), undefined] as const;
    const from = new BinaryReader(this.#stored);
    this.#stored = undefined;
    this.step = from.count();
    this.#revision = from.count();
    const count = from.count();
    return [brain.readPast(from), count === 2 ? brain.readPast(from) : undefined] as const;
  }

  bytes(): Buffer {
    if (this.row === undefined) return this.#stored ?? Buffer.alloc(0);
    const { signals } = this.row;
    const to = new BinaryWriter(24 * 1024).count(this.step).count(this.#revision);
    to.count(signals[1] === undefined ? 1 : 2);
    for (const signal of signals) signal?.writePast(to);
    return to.bytes();
  }
}

const emptyStep = (): OpenStep => ({ events: 0, unsubscribes: 0, publishes: 0, bytes: 0, clients: 0 });

const readStep = (from: BinaryReader): OpenStep => ({
  events: from.double(),
  unsubscribes: 0,
  publishes: from.double(),
  bytes: from.double(),
  clients: from.double(),
});

/** Another process's count, clipped to a valid one. */
const checked = (value: number): number => (value > 0 ? Math.min(value, RATE_MAX) : 0);
