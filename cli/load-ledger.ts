// Load ledger: the true load of each shard, minute by minute, from the generated load and the published pointers,
// and the load it would have had if nothing had been done from some moment on. A pure fold; the demo's oracle.

import type { CostCoefficients } from '../processors/plan/settings.ts';
import type { ShardId } from '../schemas/ids.ts';
import type { PointerRecord, StoreKind, SubscriptionEvent, TopicTraffic } from '../schemas/records.ts';
import { isTrieSlice } from '../state/keys.ts';
import { PointerTable } from '../state/pointer-table.ts';
import type { Seen } from './simulation.ts';

/** Operations per second of one minute. */
export interface Minute {
  readonly startAt: number;
  readonly byShard: ReadonlyMap<ShardId, number>;
  readonly byKind: Readonly<Record<StoreKind, number>>;
}

const SECONDS = 60;

/** Operations by shard under one pointer table, in one minute. */
class Sums {
  readonly table: PointerTable;
  readonly #coefficients: CostCoefficients;
  #byShard = new Map<ShardId, number>();
  #turn = 0;

  constructor(table: PointerTable, coefficients: CostCoefficients) {
    this.table = table;
    this.#coefficients = coefficients;
  }

  event({ action, topicFilter, clientId }: SubscriptionEvent): void {
    const { operationsPerSubscribe, operationsPerUnsubscribe } = this.#coefficients;
    const pointer = this.table.resolve(topicFilter, clientId);
    for (const shard of pointer?.shards ?? [])
      this.#add(shard, action === 'SUBSCRIBE' ? operationsPerSubscribe : operationsPerUnsubscribe);
  }

  traffic({ topic, publishes }: TopicTraffic): void {
    const { operationsPerConcreteLookup, operationsPerWildcardLookup } = this.#coefficients;
    for (const { shard, pointers } of this.table.route(topic, this.#turn++))
      for (const { slice } of pointers)
        this.#add(shard, publishes * (isTrieSlice(slice) ? operationsPerWildcardLookup : operationsPerConcreteLookup));
  }

  takeMinute(): Map<ShardId, number> {
    const byShard = new Map([...this.#byShard].map(([shard, sum]) => [shard, sum / SECONDS]));
    this.#byShard = new Map();
    return byShard;
  }

  #add(shard: ShardId, operations: number): void {
    this.#byShard.set(shard, (this.#byShard.get(shard) ?? 0) + operations);
  }
}

/** The load if nothing had been done since `startAt`. */
export interface Counterfactual {
  readonly startAt: number;
  readonly minutes: { readonly startAt: number; readonly byShard: ReadonlyMap<ShardId, number> }[];
}

/** How long a counterfactual is computed: longer than any lead time and horizon that was used. */
const FOLLOWED_MINUTES = 60;

export class LoadLedger {
  readonly minutes: Minute[] = [];
  readonly #true: Sums;
  readonly #coefficients: CostCoefficients;
  readonly #followed: { readonly sums: Sums; readonly counterfactual: Counterfactual }[] = [];
  readonly #kinds = new Map<ShardId, StoreKind>();

  constructor(partitions: number, coefficients: CostCoefficients) {
    this.#coefficients = coefficients;
    this.#true = new Sums(new PointerTable(partitions), coefficients);
  }

  pointer({ key, value, offset, endOffset }: Seen<PointerRecord>): void {
    const { table } = this.#true;
    table.apply(key, value, offset);
    table.reached(offset + 1, endOffset);
    if (value?.body.kind === 'ShardEntry') this.#kinds.set(value.body.shardId, value.body.storeKind);
  }

  /** From now on, also computes the load that this pointer table would give if it stayed as it is. */
  follow(startAt: number): Counterfactual {
    const counterfactual: Counterfactual = { startAt, minutes: [] };
    const table = PointerTable.restore(this.#true.table.snapshot());
    this.#followed.push({ sums: new Sums(table, this.#coefficients), counterfactual });
    return counterfactual;
  }

  add(events: readonly SubscriptionEvent[], traffic: readonly TopicTraffic[]): void {
    for (const sums of [this.#true, ...this.#open()]) {
      for (const event of events) sums.event(event);
      for (const report of traffic) sums.traffic(report);
    }
  }

  closeMinute(startAt: number): void {
    const byShard = this.#true.takeMinute();
    const byKind = { KEY_VALUE: 0, TRIE: 0 };
    for (const [shard, load] of byShard) byKind[this.#kinds.get(shard) ?? 'KEY_VALUE'] += load;
    this.minutes.push({ startAt, byShard, byKind });
    for (const { sums, counterfactual } of this.#followed)
      if (counterfactual.minutes.length < FOLLOWED_MINUTES)
        counterfactual.minutes.push({ startAt, byShard: sums.takeMinute() });
  }

  #open(): Sums[] {
    return this.#followed.flatMap(({ sums, counterfactual }) =>
      counterfactual.minutes.length < FOLLOWED_MINUTES ? [sums] : [],
    );
  }
}
