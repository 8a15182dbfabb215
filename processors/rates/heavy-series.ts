// Heavy series: the keys of one lane (topics, or first levels) with enough weight to be series of their own.
//
//   H1. A key becomes a series when its share of the lane's recent weight and its rate reach their thresholds. It stops
//       being one when either was below half of its threshold for `coolWindows` windows in a row, or when it lost its
//       slot.
//   H2. A new series begins with the first window that it sees from the start.
//   H3. A key of more than KEY_LENGTH_MAX characters never becomes a series: every watched key is part of the row, and
//       with 65,535 bytes for each the row would be too large for a record. It still counts in its leaf or group.
//
// Recent: weights halve every minute, so a key is heavy within a minute or two and forgotten in a few.

import type { SeriesId } from '../../schemas/ids.ts';
import type { BinaryReader, BinaryWriter } from '../../state/binary.ts';
import { NONE, SpaceSaving } from '../../state/space-saving.ts';
import { WINDOW_MS } from './lane.ts';
import { OpenSeries } from './open-series.ts';

export interface HeavySettings {
  /** Share of the lane's recent weight, 0..1. */
  readonly share: number;
  /** Weight per second. */
  readonly perSecond: number;
  readonly coolWindows: number;
}

const KEY_LENGTH_MAX = 512;
const HALF_LIFE_WINDOWS = 6;
const DECAY = 0.5 ** (1 / HALF_LIFE_WINDOWS);
/** A key with constant weight per window reaches a decayed weight of 1 / (1 - DECAY) times that. */
const PER_SECOND = ((1 - DECAY) * 1000) / WINDOW_MS;

export class HeavySeries {
  readonly sketch: SpaceSaving;
  readonly #series: (OpenSeries | undefined)[] = [];
  readonly #registers: number;

  constructor(sketch: SpaceSaving, registers: number) {
    this.sketch = sketch;
    this.#registers = registers;
    sketch.onEvict = (slot) => {
      this.#series[slot] = undefined;
    };
  }

  /** Adds the key's weight. Returns its series when it has one that sees the window from `start` as a whole (H2). */
  weigh(key: string, hash: number, weight: number, start: number): OpenSeries | undefined {
    if (key.length > KEY_LENGTH_MAX) {
      this.sketch.total += weight; // H3
      return undefined;
    }
    const slot = this.sketch.add(key, hash, weight);
    if (slot === NONE) return undefined;
    const series = this.#series[slot];
    return series !== undefined && start >= series.since ? series : undefined;
  }

  isHeavy(key: string, hash: number): boolean {
    const slot = this.sketch.find(key, hash);
    return slot !== NONE && this.#series[slot] !== undefined;
  }

  *[Symbol.iterator](): Generator<OpenSeries> {
    for (const series of this.#series) if (series !== undefined) yield series;
  }

  /**
   * After `closed` windows have closed: decides which keys are series (H1). `since`: the next window in which nothing
   * was counted yet.
   */
  judge(closed: number, since: number, settings: HeavySettings, idOf: (key: string) => SeriesId): void {
    const { sketch } = this;
    const weightMin = Math.max(settings.share * sketch.total, settings.perSecond / PER_SECOND);
    for (let slot = 0; slot < sketch.size; slot++) {
      const weight = sketch.weight(slot) - sketch.error(slot);
      const series = this.#series[slot];
      // A series that waits for a future window was made while a wrong clock was believed.
      if (series === undefined || series.since > since) {
        this.#series[slot] = undefined;
        if (weight >= weightMin) this.#series[slot] = new OpenSeries(idOf(sketch.key(slot)), this.#registers, since);
      } else if (weight >= weightMin / 2) series.coolWindows = 0;
      else {
        series.coolWindows += closed;
        if (series.coolWindows >= settings.coolWindows) this.#series[slot] = undefined;
      }
    }
    sketch.decay(DECAY ** closed);
  }

  write(to: BinaryWriter): void {
    this.sketch.write(to);
    to.count([...this].length);
    for (let slot = 0; slot < this.#series.length; slot++) {
      const series = this.#series[slot];
      if (series === undefined) continue;
      to.count(slot);
      series.write(to);
    }
  }

  static read(from: BinaryReader, capacity: number, registers: number): HeavySeries {
    const heavy = new HeavySeries(SpaceSaving.read(from, capacity), registers);
    const count = from.count();
    for (let i = 0; i < count; i++) {
      const slot = from.count();
      heavy.#series[slot] = OpenSeries.read(from);
    }
    return heavy;
  }
}
