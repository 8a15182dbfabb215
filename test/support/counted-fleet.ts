// Counted fleet: a fleet on a deployment, each of whose events is to be counted once and to be where it belongs in the end,
// whatever is done to what serves it meanwhile.

import { expect } from 'vitest';
import { Fleet } from '../../evaluation/fleet.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { RateWindow } from '../../schemas/records.ts';
import { rates } from '../../topology/topics.ts';
import { CLOSES_AFTER_MS, Counted, closersAt } from './counted.ts';
import { type Deployment, until } from './deployment.ts';
import { EventLedger } from './event-ledger.ts';
import { fullCheck } from './full-check.ts';
import { PlanWatch } from './plan-watch.ts';

const START = Date.UTC(2024, 0, 1);
/** Trace time between two events. */
const EVENT_MS = 2;
const BATCH = 500;

const TYPE = {
  entriesMax: 10_000_000,
  memoryBytes: 2 ** 33,
  operationsPerSecond: 1e6,
  dollarsPerHour: 0.05,
  dollarsPerProvisioning: 0.001,
  dollarsPerGibMoved: 0.02,
  provisioningMs: 1_000,
};
/** Shards that the whole fleet fits into. */
export const AMPLE_TYPES = [
  { ...TYPE, name: 'kv', kind: 'KEY_VALUE' },
  { ...TYPE, name: 'trie', kind: 'TRIE' },
];

export interface CountedFleetOptions {
  readonly seed: number;
  readonly filters: number;
  readonly clients: number;
  /** All that will be sent. */
  readonly events: number;
}

export class CountedFleet {
  readonly ledger: EventLedger;
  readonly watch: PlanWatch;
  readonly counted: Counted;
  sent = 0;
  readonly #deployment: Deployment;
  readonly #fleet: Fleet;
  readonly #endsAt: number;

  private constructor(
    deployment: Deployment,
    parts: { readonly ledger: EventLedger; readonly watch: PlanWatch; readonly counted: Counted },
    options: CountedFleetOptions,
    endsAt: number,
  ) {
    this.#deployment = deployment;
    this.ledger = parts.ledger;
    this.watch = parts.watch;
    this.counted = parts.counted;
    this.#endsAt = endsAt;
    const { seed, filters, clients } = options;
    this.#fleet = new Fleet({
      ...{ seed, filters, clients, wildcardShare: 0.1, brokers: 4, skew: 0.8, unsubscribeShare: 0.4 },
    });
  }

  /** Resolves when the first shards are there: an instance has to run. */
  static async open(deployment: Deployment, options: CountedFleetOptions): Promise<CountedFleet> {
    const ledger = await EventLedger.open(deployment);
    const watch = await PlanWatch.open(deployment);
    await until('the first shards are there', () => watch.table.epoch > 0);
    const endsAt = START + options.events * EVENT_MS;
    const counted = new Counted(endsAt + 2 * CLOSES_AFTER_MS);
    await deployment.observe<RateWindow>(rates, (window) => counted.take(window!));
    return new CountedFleet(deployment, { ledger, watch, counted }, options, endsAt);
  }

  async send(count = BATCH): Promise<void> {
    const next = () => this.#fleet.next(eventTime(START + this.sent++ * EVENT_MS));
    await this.ledger.send(Array.from({ length: count }, next));
  }

  /** Closes every window, and looks whether each event was counted once and is where it belongs; how many there were. */
  async check(everythingIsDue: () => Promise<void>): Promise<number> {
    const { partitions } = this.#deployment.config;
    await this.ledger.send(closersAt(this.#endsAt + CLOSES_AFTER_MS, partitions));
    const expected = this.ledger.sentCount;
    await everythingIsDue();
    await this.ledger.send(closersAt(this.#endsAt + 3 * CLOSES_AFTER_MS, partitions));
    await everythingIsDue();
    await until('every event is counted', () => this.counted.events >= expected, 30_000).catch(() => {}); // The numbers say more.
    expect(this.counted.events).toBe(expected);
    await until('every move has ended', () => this.watch.open.length === 0);
    expect(await fullCheck(this.#deployment, this.watch.table, this.ledger.due)).toMatchObject({
      missing: [],
      unknown: [],
      orphans: [],
    });
    return expected;
  }

  async stop(): Promise<void> {
    await this.watch.stop();
    await this.ledger.stop();
  }
}
