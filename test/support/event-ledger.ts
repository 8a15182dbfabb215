// Event ledger: sends a fleet's subscription events, and knows at each moment what shards must hold: which events are due,
// because the work group has committed past them, and which are still on their way.
//
//   E1. An event is due once its task has committed its offset: of a wildcard event, that of its record in
//       `wildcard-subscriptions`. Before that it may be seen or not. Where shards may be away, what was committed may still
//       wait for them: then it is due when `areInShards` has said since that nothing does.
//   E2. A question is judged on what no event touched from before it was asked until it was answered: all of that must be
//       in the answer, and nothing else.

import { type Admin, Kafka, logLevel } from 'kafkajs';
import type { Subscriber } from '../../datastores/shard-store.ts';
import type { LiveSubscription } from '../../evaluation/fleet.ts';
import type { Offset } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf, placeOf } from '../../state/keys.ts';
import { matches } from '../../state/topic-filter.ts';
import { subscriptions, wildcards } from '../../topology/topics.ts';
import type { Deployment } from './deployment.ts';

/** A question that is open: what its answer must hold, and what it may. */
export interface Question {
  readonly topic: string;
  readonly expected: ReadonlyMap<string, LiveSubscription>;
  /** Subscriptions that an event has touched meanwhile. */
  readonly unsettled: Set<string>;
}

interface Sent {
  readonly offset: Offset;
  readonly event: SubscriptionEvent;
}

/** A queue that is emptied from the front. */
class Queue<Item> {
  #items: Item[] = [];
  #from = 0;

  get first(): Item | undefined {
    return this.#items[this.#from];
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  shift(): void {
    if (++this.#from < 10_000) return;
    this.#items = this.#items.slice(this.#from);
    this.#from = 0;
  }
}

export class EventLedger {
  /** Filter -> client -> subscription, by the events that are due. */
  readonly due = new Map<string, Map<string, LiveSubscription>>();
  sentCount = 0;
  dueCount = 0;
  /** Whether all that was committed before the call is in its shards (E1). */
  areInShards: () => Promise<boolean> = async () => true;
  readonly #deployment: Deployment;
  readonly #admin: Admin;
  readonly #partitions: number;
  readonly #nextOffsets: Offset[];
  readonly #concrete: Queue<Sent>[];
  readonly #trie: Queue<{ readonly offset: Offset; readonly events: readonly SubscriptionEvent[] }>[];
  /** Events on their way, for each subscription. */
  readonly #pending = new Map<string, Map<string, number>>();
  readonly #trieFilters = new Set<string>();
  readonly #filters = new Set<string>();
  readonly #questions = new Set<Question>();
  #following: { close(): Promise<void> } | undefined;
  #refreshing: Promise<void> | undefined;

  private constructor(deployment: Deployment) {
    const { partitions, brokers } = deployment.config;
    this.#deployment = deployment;
    this.#partitions = partitions;
    this.#admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
    this.#nextOffsets = Array.from({ length: partitions }, () => 0);
    this.#concrete = Array.from({ length: partitions }, () => new Queue());
    this.#trie = Array.from({ length: partitions }, () => new Queue());
  }

  /** The topics must be there and empty: an instance has to run. */
  static async open(deployment: Deployment): Promise<EventLedger> {
    const ledger = new EventLedger(deployment);
    await ledger.#admin.connect();
    ledger.#following = await deployment.log.follow(wildcards.name, 'earliest', async (batch) => {
      await deployment.codec.prepare(
        'WildcardEvents',
        batch.records.map(({ value }) => value),
      );
      for (const { value, offset } of batch.records) {
        const { events } = deployment.codec.decode('WildcardEvents', value!) as {
          events: readonly SubscriptionEvent[];
        };
        ledger.#trie[batch.partition]!.push({ offset, events });
      }
    });
    return ledger;
  }

  /** Filters that any event named. */
  get filterCount(): number {
    return this.#filters.size;
  }

  get wildcardCount(): number {
    return this.#trieFilters.size;
  }

  /** Resolves when the log has them. They are on their way from the call on. */
  async send(events: readonly SubscriptionEvent[]): Promise<void> {
    const records = events.map((event) => {
      const partition = partitionOf(event.topicFilter, this.#partitions);
      const offset = this.#nextOffsets[partition]!++;
      this.#filters.add(event.topicFilter);
      if (placeOf(event.topicFilter).trie) this.#trieFilters.add(event.topicFilter);
      else this.#concrete[partition]!.push({ offset, event });
      this.#onItsWay(event);
      const value = this.#deployment.codec.encode('SubscriptionEvent', event);
      return { topic: subscriptions.name, partition, key: event.topicFilter, value };
    });
    this.sentCount += events.length;
    await this.#deployment.log.append(records);
  }

  /** Sends what is no event of the fleet's, to places where the fleet's own are. */
  async sendAside(records: readonly { readonly key: string | null; readonly value: Buffer | null }[]): Promise<void> {
    const placed = records.map(({ key, value }, each) => {
      const partition = each % this.#partitions;
      this.#nextOffsets[partition]!++;
      return { topic: subscriptions.name, partition, key, value };
    });
    await this.#deployment.log.append(placed);
  }

  /** Asks Kafka how far the work group has come. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  open(topic: string): Question {
    const filters = [...this.#trieFilters].filter((filter) => matches(filter, topic));
    if (this.#filters.has(topic)) filters.push(topic);
    const expected = new Map<string, LiveSubscription>();
    const unsettled = new Set<string>();
    for (const filter of filters) {
      for (const [clientId, live] of this.due.get(filter) ?? []) expected.set(keyOf(filter, clientId), live);
      for (const clientId of this.#pending.get(filter)?.keys() ?? []) unsettled.add(keyOf(filter, clientId));
    }
    const question = { topic, expected, unsettled };
    this.#questions.add(question);
    return question;
  }

  /** What was missed and what came back from the dead (E2). */
  close(
    question: Question,
    answer: readonly Subscriber[] | undefined,
  ): { readonly misses: string[]; readonly ghosts: string[]; readonly judged: number } {
    this.#questions.delete(question);
    const misses: string[] = [];
    const ghosts: string[] = [];
    if (answer === undefined) return { misses, ghosts, judged: 0 };
    const { expected, unsettled } = question;
    const found = new Map(answer.map((each) => [keyOf(each.filter, each.clientId), each]));
    let judged = 0;
    for (const [key, live] of expected) {
      if (unsettled.has(key)) continue;
      judged++;
      const each = found.get(key);
      if (each?.brokerId !== live.brokerId || each.qos !== live.qos) misses.push(key);
    }
    for (const key of found.keys()) if (!expected.has(key) && !unsettled.has(key)) ghosts.push(key);
    return { misses, ghosts, judged };
  }

  async stop(): Promise<void> {
    await this.#following?.close();
    await this.#admin.disconnect();
  }

  #onItsWay({ topicFilter, clientId }: SubscriptionEvent): void {
    let clients = this.#pending.get(topicFilter);
    if (clients === undefined) {
      clients = new Map();
      this.#pending.set(topicFilter, clients);
    }
    clients.set(clientId, (clients.get(clientId) ?? 0) + 1);
    for (const { topic, unsettled } of this.#questions)
      if (topicFilter === topic || (this.#trieFilters.has(topicFilter) && matches(topicFilter, topic)))
        unsettled.add(keyOf(topicFilter, clientId));
  }

  async #refresh(): Promise<void> {
    const prefix = this.#deployment.config.topicPrefix;
    const [ofSubscriptions, ofWildcards] = await this.#admin.fetchOffsets({
      groupId: `${this.#deployment.config.applicationId}-work`,
      topics: [`${prefix}${subscriptions.name}`, `${prefix}${wildcards.name}`],
    });
    if (!(await this.areInShards())) return;
    for (const { partition, offset } of ofSubscriptions!.partitions) {
      const queue = this.#concrete[partition]!;
      for (let sent = queue.first; sent !== undefined && sent.offset < Number(offset); sent = queue.first) {
        this.#settle(sent.event);
        queue.shift();
      }
    }
    for (const { partition, offset } of ofWildcards!.partitions) {
      const queue = this.#trie[partition]!;
      for (let sent = queue.first; sent !== undefined && sent.offset < Number(offset); sent = queue.first) {
        for (const event of sent.events) this.#settle(event);
        queue.shift();
      }
    }
  }

  #settle({ action, topicFilter, clientId, brokerId, qos }: SubscriptionEvent): void {
    this.dueCount++;
    const pending = this.#pending.get(topicFilter)!;
    const left = pending.get(clientId)! - 1;
    if (left > 0) pending.set(clientId, left);
    else pending.delete(clientId);
    let clients = this.due.get(topicFilter);
    if (clients === undefined) {
      clients = new Map();
      this.due.set(topicFilter, clients);
    }
    if (action === 'SUBSCRIBE') clients.set(clientId, { brokerId, qos });
    else clients.delete(clientId);
    if (clients.size === 0) this.due.delete(topicFilter);
  }
}

const keyOf = (filter: string, clientId: string): string => `${filter}\n${clientId}`;
