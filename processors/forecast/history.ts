// History: what is remembered of one series and signal, in a fixed number of bytes: the last two hours by the minute, the
// last day by five minutes, and a daily profile learned from whole days. Models read it; it never holds a value newer than
// the last closed step, so no model can look ahead.
//
//   Y1. A step is put once, in order. Steps that were left out are holes; the caller puts a zero where nothing happened.
//   Y2. Every value is finite and within 0 .. RATE_MAX.

import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { fromBrief, toBrief, WindowRing } from '../../state/window-ring.ts';

export const STEP_MS = 60_000;
/** Events per second; anything above is a broken counter, and squares of it still fit a double. */
export const RATE_MAX = 1e12;
export const RECENT_STEPS = 120;
export const SLOT_STEPS = 5;
export const DAY_SLOTS = 288;
const DAY_STEPS = DAY_SLOTS * SLOT_STEPS;
/** Share of a new day in the profile: about the last four days count. */
const PROFILE_GAIN = 0.3;

export class History {
  /** Number of the last closed step, -1 before the first. */
  step = -1;
  /** Steps put since the beginning or the last gap. */
  seen = 0;
  readonly recent = new WindowRing(RECENT_STEPS, 'single');
  readonly day = new WindowRing(DAY_SLOTS, 'brief');
  /** Additive daily profile by slot, as a difference to the day's mean; empty until the first whole day. */
  private profile: Uint16Array | undefined;
  private slotSum = 0;
  private slotCount = 0;

  /** Rate of the last closed step. */
  get last(): number {
    return this.recent.at(this.step);
  }

  put(step: number, rate: number): void {
    const slot = Math.floor(step / SLOT_STEPS);
    if (this.slotCount > 0 && slot !== Math.floor(this.step / SLOT_STEPS)) this.closeSlot();
    this.recent.put(step, rate);
    this.step = step;
    this.seen++;
    this.slotSum += rate;
    this.slotCount++;
    if (step % SLOT_STEPS === SLOT_STEPS - 1) this.closeSlot();
  }

  /** Forgets the last hours; the day and its profile stay, since tomorrow is like yesterday across a gap too. */
  gap(): void {
    this.recent.clear();
    this.seen = 0;
    this.slotSum = this.slotCount = 0;
  }

  /** Average of the five minutes that hold the step's time of day, within the last day; NaN when that was not seen. */
  yesterday(step: number): number {
    return this.day.at(Math.floor(step / SLOT_STEPS) - DAY_SLOTS);
  }

  get hasProfile(): boolean {
    return this.profile !== undefined;
  }

  /** The daily profile at a step, joined by straight lines from slot to slot; 0 while there is none. */
  seasonal(step: number): number {
    if (this.profile === undefined) return 0;
    const at = (step + 0.5) / SLOT_STEPS - 0.5;
    const slot = Math.floor(at);
    const share = at - slot;
    const from = fromBrief(this.profile[(slot + DAY_SLOTS) % DAY_SLOTS]!);
    const to = fromBrief(this.profile[(slot + 1) % DAY_SLOTS]!);
    return from + (to - from) * share;
  }

  /** Mean of the last day, as far as it was seen. */
  dayMean(): number {
    let sum = 0;
    let count = 0;
    for (let slot = this.day.newest - DAY_SLOTS + 1; slot <= this.day.newest; slot++) {
      const rate = this.day.at(slot);
      if (Number.isNaN(rate)) continue;
      sum += rate;
      count++;
    }
    return count === 0 ? 0 : sum / count;
  }

  /** The most that was seen in the last day. */
  peak(): number {
    let peak = 0;
    for (let step = this.step - RECENT_STEPS + 1; step <= this.step; step++) {
      const rate = this.recent.at(step);
      if (rate > peak) peak = rate;
    }
    for (let slot = this.day.newest - DAY_SLOTS + 1; slot <= this.day.newest; slot++) {
      const rate = this.day.at(slot);
      if (rate > peak) peak = rate;
    }
    return peak;
  }

  write(to: BinaryWriter): void {
    to.count(this.step + 1)
      .count(this.seen)
      .double(this.slotSum)
      .count(this.slotCount);
    this.recent.write(to);
    this.day.write(to);
    to.count(this.profile === undefined ? 0 : 1);
    if (this.profile !== undefined) to.numbers(this.profile);
  }

  static read(from: BinaryReader): History {
    const history = new History();
    history.step = from.count() - 1;
    history.seen = from.count();
    history.slotSum = from.double();
    history.slotCount = from.count();
    history.recent.read(from);
    history.day.read(from);
    if (from.count() === 1) history.profile = from.numbers(new Uint16Array(DAY_SLOTS));
    return history;
  }

  private closeSlot(): void {
    if (this.slotCount === 0) return;
    const slot = Math.floor(this.step / SLOT_STEPS);
    const mean = this.slotSum / this.slotCount;
    this.day.put(slot, mean);
    this.slotSum = this.slotCount = 0;
    if (this.profile !== undefined) {
      const index = slot % DAY_SLOTS;
      const before = fromBrief(this.profile[index]!);
      this.profile[index] = toBrief(before + PROFILE_GAIN * (mean - this.dayMean() - before));
    } else if (this.seen >= DAY_STEPS) this.beginProfile();
  }

  private beginProfile(): void {
    this.profile = new Uint16Array(DAY_SLOTS);
    const mean = this.dayMean();
    for (let slot = this.day.newest - DAY_SLOTS + 1; slot <= this.day.newest; slot++) {
      const rate = this.day.at(slot);
      this.profile[((slot % DAY_SLOTS) + DAY_SLOTS) % DAY_SLOTS] = toBrief(Number.isNaN(rate) ? 0 : rate - mean);
    }
  }
}
