// Settings of the rates stage: what an operator may set, and the other numbers that it uses.

import { fallbacksOf, integer, type ValuesOf } from '../../schemas/setting.ts';
import { singleEvents } from '../../state/watermark.ts';
import type { HeavySettings } from './heavy-series.ts';
import { type LaneSettings, WINDOW_MS } from './lane.ts';

export const RATES_SETTINGS = {
  rateGraceMs: integer(
    2_000,
    { min: 0, max: WINDOW_MS, unit: 'ms' },
    'How late an event may be and still count in its window; at most one window, since two are open at a time.',
  ),
  leafBits: integer(
    4,
    { min: 0, max: 12, unit: 'bits' },
    'Each partition is counted and forecast in 2^bits parts (leaves).',
  ),
  heavyTopicsMax: integer(
    64,
    { min: 1, max: 100_000, unit: 'topics' },
    'Most topics of one partition that get a series of their own.',
  ),
};

export interface RatesSettings extends LaneSettings {
  /** How many partitions the subscriptions topic has. */
  readonly partitions: number;
  /** Each partition has 2^leafBits leaves. */
  readonly leafBits: number;
  /** Topics watched in each partition; those above the thresholds of `heavy` are series. */
  readonly heavyTopics: number;
  /** First levels watched in each partition. */
  readonly heavyGroups: number;
  readonly heavy: HeavySettings;
}

/** The stage's settings, from what was configured. */
export function ratesSettings(given: ValuesOf<typeof RATES_SETTINGS>, partitions: number): RatesSettings {
  return {
    partitions,
    leafBits: given.leafBits,
    heavyTopics: given.heavyTopicsMax,
    heavyGroups: 64,
    graceMs: given.rateGraceMs,
    watermark: singleEvents(100),
    // One percent of a partition, and a rate that is high enough for a useful forecast; not heavy after five cold
    // minutes.
    heavy: { share: 0.01, perSecond: 1, coolWindows: 30 },
  };
}

/** The settings when nothing is configured. */
export const RATES_DEFAULTS: Omit<RatesSettings, 'partitions'> = ratesSettings(fallbacksOf(RATES_SETTINGS), 1);
