// Settings of the sessions stage: what an operator may set, and the other numbers that it uses.

import { fallbacksOf, integer, type ValuesOf, valuesOf } from '../../schemas/setting.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const SESSION_SETTINGS = {
  sessionEventsPerSecond: integer(
    2_000,
    { min: 1, max: 1_000_000, unit: 'events/s' },
    'Most subscriptions of each partition that are removed or moved in a second because sessions end or change brokers.',
  ),
  sessionGraceMs: integer(
    10_000,
    { min: 0, max: HOUR_MS, unit: 'ms' },
    'How long an expired session is still kept (event time), in case a report comes late that its client had connected in time.',
  ),
  sessionMemoryMs: integer(
    HOUR_MS,
    { min: 60_000, max: 7 * DAY_MS, unit: 'ms' },
    'How long ended sessions and their subscriptions are remembered (event time), so that late reports about them are handled correctly.',
  ),
  brokerLostMs: integer(
    60_000,
    { min: 30_000, max: DAY_MS, unit: 'ms' },
    'Silence of a broker’s heartbeats (event time) after which it is lost: its sessions are no longer connected.',
  ),
};

export interface SessionSettings extends ValuesOf<typeof SESSION_SETTINGS> {
  readonly partitions: number;
}

/** The stage's settings, from what was configured. */
export const sessionSettings = (given: ValuesOf<typeof SESSION_SETTINGS>, partitions: number): SessionSettings => ({
  ...valuesOf(SESSION_SETTINGS, given),
  partitions,
});

/** The settings when nothing is configured. */
export const SESSION_DEFAULTS: Omit<SessionSettings, 'partitions'> = fallbacksOf(SESSION_SETTINGS);
