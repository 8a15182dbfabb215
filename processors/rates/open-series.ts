// Open series: the counts of one series in the two windows that are open at a time (lane.ts L1).

import type { EventTime, Partition, SeriesId } from '../../schemas/ids.ts';
import type { RateWindow } from '../../schemas/records.ts';
import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { DistinctCount } from '../../state/distinct-count.ts';
import { COUNT_MAX } from '../../state/validation.ts';
import { WINDOW_MS } from './lane.ts';

class OpenWindow {
  subscribes = 0;
  unsubscribes = 0;
  publishes = 0;
  bytes = 0;
  readonly clients: DistinctCount | undefined;

  constructor(registers: number) {
    this.clients = registers === 0 ? undefined : new DistinctCount(new Uint8Array(registers));
  }

  isEmpty(): boolean {
    return this.subscribes + this.unsubscribes + this.publishes + this.bytes === 0;
  }

  clear(): void {
    this.subscribes = this.unsubscribes = this.publishes = this.bytes = 0;
    this.clients?.clear();
  }
}

export class OpenSeries {
  readonly id: SeriesId;
  /** Number of registers of the distinct count of clients; 0 for series that count only traffic. */
  readonly registers: number;
  /** Start of the first window that this series sees from its start; earlier windows are not counted here. */
  readonly since: number;
  /** How many windows in a row a heavy series was not heavy. */
  coolWindows = 0;
  lateEvents = 0;
  /** By the parity of the window's number. */
  readonly #even: OpenWindow;
  readonly #odd: OpenWindow;

  constructor(id: SeriesId, registers: number, since: number) {
    this.id = id;
    this.registers = registers;
    this.since = since;
    this.#even = new OpenWindow(registers);
    this.#odd = new OpenWindow(registers);
  }

  event(start: number, subscribe: boolean, clientHash: number): void {
    const window = this.#at(start);
    if (subscribe) window.subscribes++;
    else window.unsubscribes++;
    window.clients?.see(clientHash);
  }

  traffic(start: number, publishes: number, bytes: number): void {
    const window = this.#at(start);
    // Each report is below COUNT_MAX; a window of many absurd reports must still be a number of 53 bits.
    window.publishes = Math.min(window.publishes + publishes, COUNT_MAX);
    window.bytes = Math.min(window.bytes + bytes, COUNT_MAX);
  }

  /** Returns the window's record and starts an empty window in its place; `undefined` when nothing was counted. */
  close(start: number, source: Partition): RateWindow | undefined {
    const window = this.#at(start);
    if (start < this.since || (window.isEmpty() && this.lateEvents === 0)) return undefined;
    const record: RateWindow = {
      series: this.id,
      source,
      windowStart: start as EventTime,
      windowMs: WINDOW_MS,
      subscribes: window.subscribes,
      unsubscribes: window.unsubscribes,
      publishes: window.publishes,
      bytes: window.bytes,
      distinctClients: window.clients?.estimate() ?? 0,
      lateEvents: this.lateEvents,
    };
    window.clear();
    this.lateEvents = 0;
    return record;
  }

  write(to: BinaryWriter): void {
    to.text(this.id).count(this.registers).double(this.since).count(this.coolWindows).count(this.lateEvents);
    for (const window of [this.#even, this.#odd]) {
      if (window.isEmpty()) {
        to.count(0);
        continue;
      }
      to.count(1).count(window.subscribes).count(window.unsubscribes).double(window.publishes).double(window.bytes);
      if (window.clients !== undefined) to.numbers(window.clients.registers);
    }
  }

  static read(from: BinaryReader): OpenSeries {
    const series = new OpenSeries(from.text() as SeriesId, from.count(), from.double());
    series.coolWindows = from.count();
    series.lateEvents = from.count();
    for (const window of [series.#even, series.#odd]) {
      if (from.count() === 0) continue;
      window.subscribes = from.count();
      window.unsubscribes = from.count();
      window.publishes = from.double();
      window.bytes = from.double();
      if (window.clients !== undefined) from.numbers(window.clients.registers);
    }
    return series;
  }

  #at(start: number): OpenWindow {
    return start % (2 * WINDOW_MS) < WINDOW_MS ? this.#even : this.#odd;
  }
}
