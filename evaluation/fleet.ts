// Fleet: a synthetic fleet of clients whose subscribing follows a given rate, for demos, replays, benchmarks and system
// tests. It stores the live subscriptions, so it is also the model that readers are checked against.
//
//   F1. The same settings and calls give the same events.
//   F2. `live` is what a linear scan over all events so far would find.

import type { EventTime } from '../schemas/ids.ts';
import type { SubscriptionEvent } from '../schemas/records.ts';
import { placeOf } from '../state/keys.ts';
import { randomFrom, zipf } from './random.ts';

export interface FleetSettings {
  readonly seed: number;
  /** Number of distinct topic filters. */
  readonly filters: number;
  /** Share of the filters that have a wildcard, 0..1. */
  readonly wildcardShare: number;
  readonly clients: number;
  readonly brokers: number;
  /** Zipf exponent of the filters' popularity; 0 is uniform. */
  readonly skew: number;
  /** Share of the events that end a live subscription, 0..1. */
  readonly unsubscribeShare: number;
}

export const DEFAULT_FLEET: FleetSettings = {
  seed: 7,
  filters: 20_000,
  wildcardShare: 0.1,
  clients: 100_000,
  brokers: 8,
  skew: 1.05,
  unsubscribeShare: 0.3,
};

export interface LiveSubscription {
  readonly brokerId: string;
  readonly qos: number;
}

export class Fleet {
  /** Filter -> client -> subscription. */
  readonly live = new Map<string, Map<string, LiveSubscription>>();
  /** The filters in `live` that can match several topics, or topics of another name: with a wildcard, or shared. */
  readonly livePatterns = new Set<string>();
  readonly settings: FleetSettings;
  readonly #random: () => number;
  readonly #rank: () => number;
  readonly #filters: string[] = [];
  #liveCount = 0;

  constructor(settings: FleetSettings) {
    this.settings = settings;
    this.#random = randomFrom(settings.seed);
    this.#rank = zipf(settings.filters, settings.skew, this.#random);
    for (let rank = 0; rank < settings.filters; rank++) this.#filters.push(filterOf(rank, settings.wildcardShare));
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  /** The filter of that popularity rank, 0 the most popular. */
  filterAt(rank: number): string {
    return this.#filters[rank % this.#filters.length]!;
  }

  /** The next event, at this time: for a filter drawn by popularity, or for the given one. */
  next(timestamp: EventTime, filter = this.#filters[this.#rank()]!): SubscriptionEvent {
    const clients = this.live.get(filter);
    if (clients !== undefined && clients.size > 0 && this.#random() < this.settings.unsubscribeShare) {
      const [clientId, subscription] = oneOf(clients);
      clients.delete(clientId);
      if (clients.size === 0) this.#forget(filter);
      this.#liveCount--;
      return {
        action: 'UNSUBSCRIBE',
        topicFilter: filter,
        clientId,
        brokerId: subscription.brokerId,
        qos: 0,
        timestamp,
      };
    }
    const number = Math.floor(this.#random() * this.settings.clients);
    const clientId = `client-${number}`;
    const subscription = { brokerId: `broker-${number % this.settings.brokers}`, qos: number % 3 };
    const into = clients ?? new Map<string, LiveSubscription>();
    if (clients === undefined) this.#keep(filter, into);
    if (!into.has(clientId)) this.#liveCount++;
    into.set(clientId, subscription);
    return { action: 'SUBSCRIBE', topicFilter: filter, clientId, timestamp, ...subscription };
  }

  /** A topic for a PUBLISH: from a filter drawn by popularity, with its wildcards filled in. */
  topic(): string {
    const filter = this.#filters[this.#rank()]!;
    return filter.replace('#', 'status').replaceAll('+', `d${Math.floor(this.#random() * 1000)}`);
  }

  #keep(filter: string, clients: Map<string, LiveSubscription>): void {
    this.live.set(filter, clients);
    if (placeOf(filter).trie) this.livePatterns.add(filter);
  }

  #forget(filter: string): void {
    this.live.delete(filter);
    this.livePatterns.delete(filter);
  }
}

/** The client that has been live longest: a Map keeps the order of insertion. */
function oneOf(clients: Map<string, LiveSubscription>): [string, LiveSubscription] {
  return clients.entries().next().value!;
}

const METRICS = ['temperature', 'humidity', 'pressure', 'vibration', 'state', 'alarm', 'battery', 'position'];

/** Sites with lines and devices; some filters, by `wildcardShare`, have wildcards and match several of them. */
function filterOf(rank: number, wildcardShare: number): string {
  const site = `site-${rank % 97}`;
  const metric = METRICS[rank % METRICS.length]!;
  const every = wildcardShare > 0 ? Math.max(1, Math.round(1 / wildcardShare)) : Number.POSITIVE_INFINITY;
  if (rank % every !== every - 1) return `${site}/line-${rank % 13}/device-${rank}/${metric}`;
  switch (Math.floor(rank / every) % 4) {
    case 0:
      return `${site}/+/device-${rank}/${metric}`;
    case 1:
      return `${site}/line-${rank % 13}/+/${metric}-${rank}`;
    case 2:
      return `${site}/line-${rank % 13}/device-${rank}/#`;
    default:
      return `+/line-${rank % 13}/device-${rank}/${metric}`;
  }
}
