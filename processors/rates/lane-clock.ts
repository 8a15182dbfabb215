// Lane clock: event time of one input of one partition. Each input has its own, since inputs catch up at different speeds.
//
//   L1. At most two windows are open: the one that event time is in, and the one before it until its grace is over.
//   L2. Once established, event time goes back only when ten times `jumpEvents` in a row, all more than `jumpMs` behind,
//       agree: it was a wrong clock that led it away. Windows closed meanwhile may then be told of again, as a replay is.
//   L3. One event, or fewer than `jumpEvents` in a row that agree, moves event time by at most `jumpMs`; what lies farther
//       ahead is counted at the current event time, and in `clamped`.
//   L4. Before `jumpEvents` events have spoken for it, event time is a candidate: others outvote it (Boyer and Moore's
//       majority vote), so that a wild first event does not make every later one late.
//   L5. A tick moves an idle lane alone, and by at most `jumpMs`: a lane that is catching up closes by its own events.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';

/** Ten seconds: fine enough to see a burst, coarse enough that a window costs next to nothing. */
export const WINDOW_MS = 10_000;

/** Ticks (about five a second) without an event after which a lane counts as idle: two seconds. */
const IDLE_TICKS = 10;

/** Going back costs a window told twice, being stuck in a wrong future costs every event: it takes more agreement, no more. */
const BACK_EVENTS_FACTOR = 10;

export interface LaneClockSettings {
  /** How long a window stays open after its end, for events out of order. At most one window (L1). */
  readonly graceMs: number;
  /** An event farther ahead of event time than this is not believed alone (L3). */
  readonly jumpMs: number;
  /** So many events in a row that agree are believed. */
  readonly jumpEvents: number;
}

export class LaneClock {
  /** The latest event time; -1 before the first event. */
  eventTime = -1;
  /** Start of the older open window. */
  openStart = 0;
  /** Events counted at the current event time because theirs was not believed. */
  clamped = 0;
  #votes = 0;
  /** Events in a row that disagree with event time but agree with each other; negative for those behind. */
  #dissent = 0;
  #dissentTime = 0;
  /** Not stored: after a restart a lane is idle a little later. */
  #silentTicks = 0;

  /** The time at which an event with this timestamp counts. Event time may have moved: `due` then tells. */
  accept(timestamp: number, settings: LaneClockSettings): number {
    this.#silentTicks = 0;
    const ahead = timestamp - this.eventTime;
    if (ahead > settings.jumpMs || ahead < -settings.jumpMs) return this.#doubt(timestamp, ahead, settings);
    if (this.#votes < settings.jumpEvents) this.#votes++;
    this.#dissent = 0;
    if (ahead > 0) this.eventTime = timestamp;
    return timestamp;
  }

  /** True when the tick moved event time. */
  tick(eventTime: number, settings: LaneClockSettings): boolean {
    if (this.eventTime < 0 || ++this.#silentTicks < IDLE_TICKS) return false;
    if (eventTime <= this.eventTime || eventTime > this.eventTime + settings.jumpMs) return false; // L5
    this.eventTime = eventTime;
    return true;
  }

  /** True while the older open window has to be closed; `close` then opens the next one. */
  due(settings: LaneClockSettings): boolean {
    return this.openStart + WINDOW_MS + settings.graceMs <= this.eventTime;
  }

  close(): void {
    this.openStart += WINDOW_MS;
  }

  /** Skips windows in which nothing can have been counted. */
  catchUp(settings: LaneClockSettings): void {
    this.openStart = windowStart(Math.max(0, this.eventTime - settings.graceMs));
  }

  #doubt(timestamp: number, ahead: number, settings: LaneClockSettings): number {
    if (this.#votes < settings.jumpEvents) {
      if (this.#votes > 0) this.#votes--;
      if (this.#votes > 0) return this.#clamp();
      this.#votes = 1;
      return this.#restart(timestamp, settings); // L4: the candidate is outvoted.
    }
    const direction = ahead > 0 ? 1 : -1;
    const agrees = this.#dissent * direction > 0 && Math.abs(timestamp - this.#dissentTime) <= settings.jumpMs;
    this.#dissent = agrees ? this.#dissent + direction : direction;
    this.#dissentTime = timestamp;
    if (direction < 0) {
      if (-this.#dissent < settings.jumpEvents * BACK_EVENTS_FACTOR) return timestamp; // Late, as any other late event.
      this.#dissent = 0;
      return this.#restart(timestamp, settings); // L2
    }
    if (this.#dissent < settings.jumpEvents) return this.#clamp(); // L3
    this.#dissent = 0;
    this.eventTime = timestamp;
    return timestamp;
  }

  /** What was counted stays in the open windows, under their new names. */
  #restart(timestamp: number, settings: LaneClockSettings): number {
    this.eventTime = timestamp;
    this.catchUp(settings);
    return timestamp;
  }

  #clamp(): number {
    this.clamped++;
    return this.eventTime;
  }

  write(to: BinaryWriter): void {
    to.double(this.eventTime).double(this.openStart).count(this.clamped);
    to.count(this.#votes).double(this.#dissent).double(this.#dissentTime);
  }

  read(from: BinaryReader): void {
    this.eventTime = from.double();
    this.openStart = from.double();
    this.clamped = from.count();
    this.#votes = from.count();
    this.#dissent = from.double();
    this.#dissentTime = from.double();
  }
}

const windowStart = (time: number): number => time - (time % WINDOW_MS);
