// Crowd: a fleet that lives on while a system test harms what serves it. Its trace passes PACE times as fast as the clock, so
// that an overload is noticed within seconds; a few topics of one shard are hot while the test wants a move. Moves begin
// slowly, and are let go by the same request that an operator would send.

import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet } from '../../evaluation/fleet.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { eventTime, type MoveId } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { placeOf } from '../../state/keys.ts';
import type { EventLedger } from './event-ledger.ts';
import type { PlanWatch } from './plan-watch.ts';

const PACE = 10;
const STEP_MS = 200;
const FILTERS = 2_000;
const FIRST_EVENTS = 20_000;
/** Events per second of the trace: of everybody, and of those topics that overload a shard. */
const BASE_PER_SECOND = 5;
const HOT_PER_SECOND = 40;
const HOT_TOPICS = 6;
/** Events that may be sent again. */
const RECENT_EVENTS = 2_000;
/** Operations per second of a shard: what everybody does fits, the hot topics do not. */
const SHARD_OPERATIONS = 60;

const TYPE = {
  entriesMax: 10_000_000,
  memoryBytes: 2 ** 33,
  dollarsPerHour: 0.05,
  dollarsPerProvisioning: 0.001,
  dollarsPerGibMoved: 0.02,
  provisioningMs: 1_000,
};
/** Shards that the hot topics are too much for. */
export const CROWDED_TYPES = [
  { ...TYPE, name: 'kv', kind: 'KEY_VALUE', operationsPerSecond: SHARD_OPERATIONS },
  { ...TYPE, name: 'trie', kind: 'TRIE', operationsPerSecond: 1e6 },
];

export interface CrowdOptions {
  readonly ledger: EventLedger;
  readonly watch: PlanWatch;
  readonly seed: number;
  /** An instance that takes a person's word about moves; it may be dead at the moment. */
  readonly address: () => string;
  /** What is due cannot be asked while Kafka is away, as the test wants it to be. */
  readonly mayLoseKafka?: boolean;
}

export class Crowd {
  readonly fleet: Fleet;
  /** How fast open moves are let go on; absent: as fast as they began. */
  rowsPerSecond: number | undefined;
  readonly #options: CrowdOptions;
  readonly #random: () => number;
  readonly #throttled = new Map<MoveId, number>();
  #now = Date.UTC(2024, 0, 1);
  #hot: readonly string[] = [];
  #recent: readonly SubscriptionEvent[] = [];
  #isPaused = false;
  #isOver = false;
  #sending: Promise<void> = Promise.resolve();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#random = randomFrom(options.seed);
    this.fleet = new Fleet({
      seed: options.seed,
      filters: FILTERS,
      wildcardShare: 0.1,
      clients: 5_000,
      brokers: 2,
      skew: 0.3,
      unsubscribeShare: 0.3,
    });
  }

  /** Sends what is there from the beginning; or as much again, at once. How many events that is. */
  async gather(): Promise<number> {
    await this.#options.ledger.send(this.#eventsOver(FIRST_EVENTS, 600_000));
    return FIRST_EVENTS;
  }

  /** From now on it lives by itself. */
  start(): void {
    this.#running = Promise.all([this.#pump(), this.#refresh(), this.#letGo()]);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  /** The shard that holds most of the concrete filters gets more than it can serve. */
  heatUp(): void {
    this.#hot = this.#hotTopics();
  }

  coolDown(): void {
    this.#hot = [];
  }

  /** A producer keeps what it cannot send; here it waits. Resolves when what was on its way is sent. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#sending;
  }

  resume(): void {
    this.#isPaused = false;
  }

  /** Sends the latest events again, as a producer does that has lost its place; how many. `fleet` does not know of it. */
  async replay(): Promise<number> {
    const again = this.#recent;
    await this.#options.ledger.send(again);
    return again.length;
  }

  /** Topics that are published to, as brokers ask for them. */
  topics(seed: number): () => string {
    const random = randomFrom(seed);
    return () =>
      this.fleet
        .filterAt(Math.floor(random() * FILTERS))
        .replace('#', 'status')
        .replaceAll('+', `d${Math.floor(random() * 1_000)}`);
  }

  /** Concrete filters that lie on one shard, the one that holds most of them. */
  #hotTopics(): string[] {
    const byShard = new Map<string, string[]>();
    for (let rank = 0; rank < FILTERS; rank++) {
      const filter = this.fleet.filterAt(rank);
      if (placeOf(filter).trie) continue;
      const shard = this.#options.watch.table.resolve(filter, '')!.shards[0]!;
      byShard.set(shard, [...(byShard.get(shard) ?? []), filter]);
    }
    const most = [...byShard.values()].sort((a, b) => b.length - a.length)[0]!;
    return Array.from({ length: HOT_TOPICS }, () => this.#oneOf(most));
  }

  #oneOf<Item>(items: readonly Item[]): Item {
    return items[Math.floor(this.#random() * items.length)]!;
  }

  /** So many events, spread over that much trace time; hot ones among them. */
  #eventsOver(count: number, ms: number, hotShare = 0): SubscriptionEvent[] {
    const from = this.#now;
    this.#now += ms;
    const events = Array.from({ length: count }, (_, each) => {
      const at = eventTime(from + Math.floor((each * ms) / count));
      const isHot = this.#random() < hotShare;
      return this.fleet.next(at, isHot ? this.#oneOf(this.#hot) : undefined);
    });
    this.#recent = [...this.#recent, ...events].slice(-RECENT_EVENTS);
    return events;
  }

  async #pump(): Promise<void> {
    while (!this.#isOver) {
      const began = performance.now();
      const hotPerSecond = this.#hot.length > 0 ? HOT_PER_SECOND : 0;
      const perSecond = BASE_PER_SECOND + hotPerSecond;
      const count = Math.round((perSecond * STEP_MS * PACE) / 1_000);
      if (!this.#isPaused) {
        this.#sending = this.#options.ledger.send(this.#eventsOver(count, STEP_MS * PACE, hotPerSecond / perSecond));
        await this.#sending;
      }
      await sleep(Math.max(0, began + STEP_MS - performance.now()));
    }
  }

  async #refresh(): Promise<void> {
    const { ledger, mayLoseKafka = false } = this.#options;
    while (!this.#isOver) {
      await ledger.refresh().catch((error: unknown) => {
        if (!mayLoseKafka) throw error;
      });
      await sleep(200);
    }
  }

  async #letGo(): Promise<void> {
    while (!this.#isOver) {
      for (const move of this.#options.watch.open) {
        const wanted = this.rowsPerSecond;
        if (wanted === undefined || this.#throttled.get(move) === wanted) continue;
        const response = await fetch(`${this.#options.address()}/moves/${move}`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ action: 'THROTTLE', rowsPerSecond: wanted }),
        }).catch(() => undefined);
        if (response?.status === 202) this.#throttled.set(move, wanted);
      }
      await sleep(100);
    }
  }
}
