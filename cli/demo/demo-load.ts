// Demo load: the load of a small fleet in a day: messages follow a daily wave, and one evening a stadium fills up.
// Pure: the same settings give the same events.

import { DEFAULT_FLEET, Fleet } from '../../evaluation/fleet.ts';
import { randomFrom, roundedAtRandom } from '../../evaluation/random.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent, TopicTraffic } from '../../schemas/records.ts';

export interface DemoLoadSettings {
  readonly seed: number;
  readonly startAt: number;
  /** Minutes from the start to the first arrival at the stadium. */
  readonly crowdFromMinute: number;
}

/** A step is as long as a rate window, so that one step's events do not look like a burst. */
export const STEP_MS = 10_000;
const MINUTE_MS = 60_000;
const DAY_MINUTES = 1_440;
const MESSAGE_BYTES = 120;

/** The crowd: it comes for 30 minutes, stays for 20 and leaves within 35. */
export const CROWD = { rampMinutes: 30, stayMinutes: 20, leaveMinutes: 35 } as const;
export const crowdMinutes = CROWD.rampMinutes + CROWD.stayMinutes + CROWD.leaveMinutes;

/** Messages per second over all topics, at the mean of the wave and at the peak of the crowd. */
const BASE_PER_SECOND = 300;
const WAVE = 0.35;
const CROWD_PER_SECOND = 950;
/** Messages per second of each gate while nobody is there. */
const QUIET_GATE_PER_SECOND = 3;
/** Subscription events per second. */
const BASE_EVENTS_PER_SECOND = 0.6;
const CROWD_EVENTS_PER_SECOND = 8;
const FEEDS = 8;
const GATES = 8;
/** Share by which a feed's rate varies around its mean. */
const NOISE = 0.04;
/** One in this many of the stadium's filters covers all gates. */
const CROWD_WILDCARD_EVERY = 12;

export class DemoLoad {
  readonly fleet: Fleet;
  readonly #settings: DemoLoadSettings;
  readonly #random: () => number;
  readonly #feeds: readonly string[];
  readonly #gates: readonly string[];

  constructor(settings: DemoLoadSettings) {
    this.#settings = settings;
    this.fleet = new Fleet({ ...DEFAULT_FLEET, seed: settings.seed, filters: 4_000, clients: 20_000, brokers: 3 });
    this.#random = randomFrom(settings.seed + 1);
    // The feeds are concrete filters of the fleet, so that their messages have subscribers.
    this.#feeds = Array.from({ length: FEEDS * 2 }, (_, rank) => this.fleet.filterAt(rank * 3))
      .filter((filter) => !filter.includes('+') && !filter.includes('#'))
      .slice(0, FEEDS);
    this.#gates = Array.from({ length: GATES }, (_, gate) => `stadium/gate-${gate}/turnstile`);
  }

  /** The events and the traffic in [from, from + STEP_MS). */
  step(from: number): { readonly events: SubscriptionEvent[]; readonly traffic: TopicTraffic[] } {
    const minute = (from - this.#settings.startAt) / MINUTE_MS;
    const crowd = crowdAt(minute - this.#settings.crowdFromMinute);
    const wave = waveAt(minute);
    return { events: this.#events(from, wave, crowd), traffic: this.#traffic(from, wave, crowd) };
  }

  #events(from: number, wave: number, crowd: number): SubscriptionEvent[] {
    const seconds = STEP_MS / 1_000;
    const base = roundedAtRandom(BASE_EVENTS_PER_SECOND * wave * seconds, this.#random);
    const arrivals = roundedAtRandom(CROWD_EVENTS_PER_SECOND * crowd * seconds, this.#random);
    const events: SubscriptionEvent[] = [];
    const total = base + arrivals;
    for (let each = 0; each < total; each++) {
      const at = eventTime(from + Math.floor((each * STEP_MS) / total));
      // The kinds are interleaved over the step, not one after the other.
      const isArrival = Math.floor(((each + 1) * arrivals) / total) > Math.floor((each * arrivals) / total);
      events.push(isArrival ? this.fleet.next(at, this.#stadiumFilter()) : this.fleet.next(at));
    }
    return events;
  }

  #stadiumFilter(): string {
    const number = Math.floor(this.#random() * GATES * CROWD_WILDCARD_EVERY);
    if (number % CROWD_WILDCARD_EVERY === 0) return `stadium/+/sector-${number % 7}`;
    const gate = number % GATES;
    return number % 2 === 0 ? this.#gates[gate]! : `stadium/gate-${gate}/seat-${number % 40}`;
  }

  #traffic(from: number, wave: number, crowd: number): TopicTraffic[] {
    const reports: TopicTraffic[] = [];
    const report = (topic: string, perSecond: number): void => {
      const noisy = perSecond * (1 + NOISE * (2 * this.#random() - 1));
      const publishes = roundedAtRandom((noisy * STEP_MS) / 1_000, this.#random);
      if (publishes === 0) return;
      reports.push({
        kind: 'TopicTraffic',
        brokerId: `broker-${reports.length % 3}`,
        topic,
        publishes,
        bytes: publishes * MESSAGE_BYTES,
        windowStart: eventTime(from),
        windowMs: STEP_MS,
      });
    };
    for (const feed of this.#feeds) report(feed, (BASE_PER_SECOND * wave) / FEEDS);
    for (const gate of this.#gates) report(gate, QUIET_GATE_PER_SECOND + (CROWD_PER_SECOND * crowd) / GATES);
    return reports;
  }
}

/** The day's wave around 1: lowest at two in the morning, highest at two in the afternoon. */
export const waveAt = (minute: number): number => 1 - WAVE * Math.cos((2 * Math.PI * (minute - 120)) / DAY_MINUTES);

/** How full the stadium is, 0..1, by minutes since the first arrival. */
export function crowdAt(minute: number): number {
  const { rampMinutes, stayMinutes, leaveMinutes } = CROWD;
  if (minute < 0 || minute >= crowdMinutes) return 0;
  if (minute < rampMinutes) return minute / rampMinutes;
  const leaving = minute - rampMinutes - stayMinutes;
  return leaving <= 0 ? 1 : 1 - leaving / leaveMinutes;
}
