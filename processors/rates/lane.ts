// Lane: the event time of one input of one partition, and its two open windows. Each input has its own lane, since
// inputs catch up at different speeds. Event time is judged by state/watermark.ts.
//
//   L1. At most two windows are open: the one that contains event time, and the one before it until its grace is over.
//   L2. An event whose time is doubted (watermark.ts W2) counts at the current event time, and in `clamped`; one from
//       far behind counts as late.
//   L3. When event time restarts elsewhere (watermark.ts W3 and W4), counts in the open windows are kept, and the
//       windows get new start times. Windows that were closed before may then be reported again, as in a replay.
//   L4. A tick moves only an idle lane, and no farther than `nearMs`: a lane that is catching up closes windows by its
//       own events.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { Watermark, type WatermarkRule } from '../../state/watermark.ts';

/** Ten seconds: fine enough to see a burst, coarse enough that a window costs next to nothing. */
export const WINDOW_MS = 10_000;

/** Ticks (about five a second) without an event after which a lane counts as idle: two seconds. */
const IDLE_TICKS = 10;

export interface LaneSettings {
  /** How long a window stays open after its end, for events out of order. At most the length of a window (L1). */
  readonly graceMs: number;
  readonly watermark: WatermarkRule;
}

export class Lane {
  readonly watermark = new Watermark();
  /** Start of the older open window. */
  openStart = 0;
  /** Events that were counted at the current event time because their own was not believed. */
  clamped = 0;
  /** Not stored: after a restart a lane counts as idle a little later. */
  #silentTicks = 0;

  /** The time at which an event with this timestamp counts. Event time may have moved: check `due` afterwards. */
  accept(timestamp: number, settings: LaneSettings): number {
    this.#silentTicks = 0;
    const verdict = this.watermark.hear(timestamp, settings.watermark);
    if (verdict === 'near') return timestamp;
    if (verdict === 'doubted') {
      this.clamped++;
      return this.watermark.time; // L2
    }
    if (verdict === 'restarted') this.catchUp(settings); // L3
    return timestamp;
  }

  /** Returns true when the tick moved event time. */
  tick(eventTime: number, settings: LaneSettings): boolean {
    const { watermark } = this;
    if (watermark.time < 0 || ++this.#silentTicks < IDLE_TICKS) return false;
    if (eventTime <= watermark.time || !watermark.reaches(eventTime, settings.watermark)) return false; // L4
    watermark.time = eventTime;
    return true;
  }

  /** True while the older open window has to be closed; `close` then opens the next one. */
  due(settings: LaneSettings): boolean {
    return this.openStart + WINDOW_MS + settings.graceMs <= this.watermark.time;
  }

  close(): void {
    this.openStart += WINDOW_MS;
  }

  /** Skips windows in which nothing can have been counted. */
  catchUp(settings: LaneSettings): void {
    this.openStart = windowStart(Math.max(0, this.watermark.time - settings.graceMs));
  }

  write(to: BinaryWriter): void {
    const { time, votes, dissent, dissentTime } = this.watermark;
    to.double(time).double(this.openStart).count(this.clamped);
    to.count(votes).double(dissent).double(dissentTime);
  }

  read(from: BinaryReader): void {
    const { watermark } = this;
    watermark.time = from.double();
    this.openStart = from.double();
    this.clamped = from.count();
    watermark.votes = from.count();
    watermark.dissent = from.double();
    watermark.dissentTime = from.double();
  }
}

const windowStart = (time: number): number => time - (time % WINDOW_MS);
