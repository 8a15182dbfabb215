// Readers: simulated brokers that follow the pointer table late and ask the shards that it names, as any broker does.
// Their answers are compared with the fleet's own list of live subscriptions.
//
//   R1. A reader knows only what has reached it: each batch of the pointer table arrives up to `lagMs` late.
//   R2. A reader that gets the answer MOVED reads what it has missed and asks again, at most twice (broker/router.ts).
//   R3. A miss is a live subscription that is not in the answer; a ghost is one in the answer that is not live.

import { ROUTER_DEFAULTS, Router } from '../broker/router.ts';
import type { Provisioner, Subscriber } from '../datastores/shard-store.ts';
import type { Fleet } from '../evaluation/fleet.ts';
import { AppError } from '../schemas/errors.ts';
import { eventTime } from '../schemas/ids.ts';
import type { BrokerHeartbeat, PointerRecord } from '../schemas/records.ts';
import { PointerTable } from '../state/pointer-table.ts';
import { matches } from '../state/topic-filter.ts';
import type { Seen } from './simulation.ts';

interface Arriving {
  readonly at: number;
  readonly seen: Seen<PointerRecord>;
}

/** One broker's view of the pointer table. */
export class LaggingReader {
  readonly brokerId: string;
  readonly table: PointerTable;
  readonly #arriving: Arriving[] = [];
  #lastAt = 0;

  constructor(brokerId: string, partitions: number) {
    this.brokerId = brokerId;
    this.table = new PointerTable(partitions);
  }

  /** A record that arrives at time `at`, or later when an earlier one is late. */
  arrive(seen: Seen<PointerRecord>, at: number): void {
    this.#lastAt = Math.max(this.#lastAt, at);
    this.#arriving.push({ at: this.#lastAt, seen });
  }

  /** Applies what has arrived by `now`. */
  catchUp(now: number): void {
    let last: Seen<PointerRecord> | undefined;
    while (this.#arriving.length > 0 && this.#arriving[0]!.at <= now) {
      last = this.#arriving.shift()!.seen;
      this.table.apply(last.key, last.value, last.offset);
    }
    if (last !== undefined) this.table.reached(last.offset + 1, last.endOffset);
  }

  heartbeat(now: number): BrokerHeartbeat {
    return {
      kind: 'BrokerHeartbeat',
      brokerId: this.brokerId,
      pointerOffset: this.table.position,
      timestamp: eventTime(now),
    };
  }
}

export interface ProbeCounts {
  probes: number;
  subscriptionsChecked: number;
  misses: number;
  ghosts: number;
  redirects: number;
  unanswered: number;
}

export class Prober {
  readonly counts: ProbeCounts = {
    probes: 0,
    subscriptionsChecked: 0,
    misses: 0,
    ghosts: 0,
    redirects: 0,
    unanswered: 0,
  };
  readonly #provisioner: Provisioner;
  readonly #fleet: Fleet;
  readonly #routers = new Map<LaggingReader, Router>();

  constructor(provisioner: Provisioner, fleet: Fleet) {
    this.#provisioner = provisioner;
    this.#fleet = fleet;
  }

  /** Asks for the subscribers of a message to this topic. */
  async topic(reader: LaggingReader, topic: string): Promise<void> {
    const { live, livePatterns } = this.#fleet;
    const expected = new Set<string>();
    for (const filter of [topic, ...[...livePatterns].filter((pattern) => matches(pattern, topic))])
      for (const clientId of live.get(filter)?.keys() ?? []) expected.add(keyOf(filter, clientId));
    this.#judge(expected, await answered(() => this.#routerOf(reader).subscribersOf(topic)));
  }

  /** Asks for the subscribers of exactly this filter, where the reader's table says it is. */
  async filter(reader: LaggingReader, filter: string): Promise<void> {
    if (!isTrieFilter(filter)) return this.topic(reader, filter);
    const expected = new Set<string>();
    for (const clientId of this.#fleet.live.get(filter)?.keys() ?? []) expected.add(keyOf(filter, clientId));
    this.#judge(expected, await answered(() => this.#lookup(reader, filter)));
  }

  async #lookup(reader: LaggingReader, filter: string): Promise<readonly Subscriber[]> {
    for (let hop = 0; ; hop++) {
      const home = this.#routerOf(reader).homeOf(filter, '');
      const store = await this.#provisioner.store(home.pointer.shards[0]!, home.shards[0]);
      const [answer] = await store.lookup([filter], reader.table.epoch);
      if (answer!.kind === 'found') return answer!.subscribers;
      if (hop === ROUTER_DEFAULTS.hopsMax)
        throw new AppError('POINTER_STALE', `${filter} was not found in ${hop} hops`, { filter });
      await this.#catchUp(reader);
    }
  }

  #routerOf(reader: LaggingReader): Router {
    let router = this.#routers.get(reader);
    if (router === undefined) {
      const pointers = { table: reader.table, newerThan: () => this.#catchUp(reader) };
      router = new Router({ pointers, storeOf: (shard) => this.#provisioner.store(shard.shardId, shard) });
      this.#routers.set(reader, router);
    }
    return router;
  }

  /** Catches up after MOVED; false when that is not possible (R2). */
  async #catchUp(reader: LaggingReader): Promise<boolean> {
    this.counts.redirects++;
    reader.catchUp(Number.POSITIVE_INFINITY);
    return true;
  }

  /** Counts misses and ghosts (R3). */
  #judge(expected: ReadonlySet<string>, found: readonly Subscriber[] | undefined): void {
    this.counts.probes++;
    if (found === undefined) {
      this.counts.unanswered++;
      return;
    }
    const answers = new Set(found.map(({ filter, clientId }) => keyOf(filter, clientId)));
    for (const key of expected) if (!answers.has(key)) this.counts.misses++;
    for (const key of answers) if (!expected.has(key)) this.counts.ghosts++;
    this.counts.subscriptionsChecked += expected.size;
  }
}

const keyOf = (filter: string, clientId: string): string => `${clientId}\n${filter}`;
const isTrieFilter = (filter: string): boolean =>
  filter.includes('+') || filter.includes('#') || filter.startsWith('$share/');

async function answered(ask: () => Promise<readonly Subscriber[]>): Promise<readonly Subscriber[] | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof AppError && error.code === 'POINTER_STALE') return undefined;
    throw error;
  }
}
