// Series row: one series in the forecast stage: the steps that are still open, and a forecast for each signal.

import type { SeriesId } from '../../schemas/ids.ts';
import type { RateWindow, Signal } from '../../schemas/records.ts';
import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { RATE_MAX, STEP_MS } from './history.ts';
import { SignalForecast } from './signal-forecast.ts';

export const SIGNALS: readonly Signal[] = ['SUBSCRIPTIONS', 'PUBLISHES'];

/** What one open step has gathered. */
interface OpenStep {
  events: number;
  publishes: number;
  bytes: number;
  clients: number;
}

export class SeriesRow {
  readonly kind = 'series';
  readonly series: SeriesId;
  /** Number of the older open step; the one after it is open too. */
  openStep: number;
  /** Windows that came after their step had closed. */
  lateWindows = 0;
  /** Ticks since the last window. Not stored: after a restart a series is idle a little later. */
  silentTicks = 0;
  /** By the order of SIGNALS; publishes from the first one seen on. */
  readonly signals: [SignalForecast, SignalForecast | undefined];
  /** Of the last closed step. */
  distinctClients = 0;
  bytesPerSecond = 0;
  private older: OpenStep = emptyStep();
  private newer: OpenStep = emptyStep();

  constructor(series: SeriesId, openStep: number, signals: [SignalForecast, SignalForecast | undefined]) {
    this.series = series;
    this.openStep = openStep;
    this.signals = signals;
  }

  /** The step must be one of the two open ones. */
  add(step: number, window: RateWindow): void {
    this.silentTicks = 0;
    const open = step === this.openStep ? this.older : this.newer;
    open.events += checked(window.subscribes) + checked(window.unsubscribes);
    open.publishes += checked(window.publishes);
    open.bytes += checked(window.bytes);
    // Clients of several windows overlap by an unknown share: the largest window is the surest bound from below.
    open.clients = Math.max(open.clients, checked(window.distinctClients));
  }

  closeStep(): void {
    const { older, openStep } = this;
    const seconds = STEP_MS / 1000;
    this.signals[0].close(openStep, older.events / seconds);
    if (older.publishes > 0 || this.signals[1] !== undefined) {
      this.signals[1] ??= new SignalForecast();
      this.signals[1].close(openStep, older.publishes / seconds);
    }
    this.distinctClients = older.clients;
    this.bytesPerSecond = older.bytes / seconds;
    this.older = this.newer;
    this.newer = emptyStep();
    this.openStep++;
  }

  /** Goes on at a step far away; what was open is dropped, and the signals see a gap. */
  jump(step: number): void {
    this.openStep = step;
    this.older = emptyStep();
    this.newer = emptyStep();
  }

  /** Closed steps in a row without an event of any signal. */
  get silentSteps(): number {
    return Math.min(this.signals[0].silentSteps, this.signals[1]?.silentSteps ?? Number.POSITIVE_INFINITY);
  }

  write(to: BinaryWriter): void {
    to.text(this.series).count(this.openStep).count(this.lateWindows);
    for (const { events, publishes, bytes, clients } of [this.older, this.newer])
      to.double(events).double(publishes).double(bytes).double(clients);
    to.double(this.distinctClients).double(this.bytesPerSecond);
    this.signals[0].write(to);
    to.count(this.signals[1] === undefined ? 0 : 1);
    this.signals[1]?.write(to);
  }

  static read(from: BinaryReader): SeriesRow {
    const series = from.text() as SeriesId;
    const openStep = from.count();
    const lateWindows = from.count();
    const [older, newer] = [readStep(from), readStep(from)];
    const distinctClients = from.double();
    const bytesPerSecond = from.double();
    const subscriptions = SignalForecast.read(from);
    const publishes = from.count() === 1 ? SignalForecast.read(from) : undefined;
    const row = new SeriesRow(series, openStep, [subscriptions, publishes]);
    return Object.assign(row, { lateWindows, older, newer, distinctClients, bytesPerSecond });
  }
}

const emptyStep = (): OpenStep => ({ events: 0, publishes: 0, bytes: 0, clients: 0 });

const readStep = (from: BinaryReader): OpenStep => ({
  events: from.double(),
  publishes: from.double(),
  bytes: from.double(),
  clients: from.double(),
});

/** A count as another process wrote it: whatever is not one is cut to one. */
const checked = (value: number): number => (value > 0 ? Math.min(value, RATE_MAX) : 0);
