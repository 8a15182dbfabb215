// Apply on stores: one apply task of one partition, its effects performed on real stores in a folder of the test's own.
// Time is told by hand; an input has had all its effects, and theirs, when `feed` resolves.

import { effectsOver, type PerformSettings } from '../../../datastores/perform.ts';
import type { Answer, Provisioner } from '../../../datastores/shard-store.ts';
import {
  APPLY_DEFAULTS,
  type ApplySettings,
  carryOut,
  partitionStates,
  type Row,
  subscriptionsOnDisk,
} from '../../../processors/apply/apply.ts';
import { type KeptRow, subscriptionTable } from '../../../processors/apply/subscriptions.ts';
import type { Rows } from '../../../processors/step.ts';
import { DiskTable } from '../../../runtime/disk-table.ts';
import { RowTable } from '../../../runtime/row-table.ts';
import { epoch, eventTime, moveId, type ShardId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Command, MoveProgress, Progress, SubscriptionEvent } from '../../../schemas/records.ts';
import type { Effect } from '../../../state/effects.ts';
import { isTrieFilter, placeOf } from '../../../state/keys.ts';
import { memoryFolder } from '../../../state/memory-store.ts';
import type { Change, Store } from '../../../state/store.ts';
import { localShards } from '../../support/shards.ts';
import { tempFolder } from '../../support/temp-folder.ts';

const DEFAULTS: ApplySettings = {
  ...APPLY_DEFAULTS,
  partitions: 1,
  incarnation: 0,
  genesis: { concreteType: 'kv', trieType: 'trie' },
};

export class ApplyOnStores {
  readonly told: Progress['body'][] = [];
  /** Keys of the table's topic as they were written, or removed. */
  readonly tabled: (readonly [key: string, isThere: boolean])[] = [];
  readonly shards: Provisioner;
  /** The subscription table, where it is kept. */
  kept: DiskTable | undefined;
  #durable = new Map<string, Buffer>();
  #rows = new RowTable(partitionStates as never);
  readonly #settings: ApplySettings;
  readonly #store: Store;
  readonly #effects: ReturnType<typeof effectsOver>;
  readonly #remove: () => Promise<void>;
  #offset = 0;
  #commands = 0;
  #wallMs = 1_000_000;

  private constructor(
    shards: Provisioner,
    used: Provisioner,
    settings: Partial<ApplySettings & PerformSettings>,
    store: Store,
    remove: () => Promise<void>,
  ) {
    this.shards = shards;
    this.#store = store;
    this.#settings = { ...DEFAULTS, ...settings };
    const kindOf = (type: string) => (type === 'trie' ? ('TRIE' as const) : ('KEY_VALUE' as const));
    this.#effects = effectsOver(used, { rowsPerWrite: 100, partitions: 1, kindOf, ...settings });
    this.#remove = remove;
  }

  /** `through`: what the task uses in place of the shards, for planted faults. */
  static async start(
    settings: Partial<ApplySettings & PerformSettings> = {},
    through: (shards: Provisioner) => Provisioner = (shards) => shards,
    keepsTable = false,
  ): Promise<ApplyOnStores> {
    const folder = await tempFolder();
    const shards = localShards(folder.path, 1);
    const store = await memoryFolder().open('work-0');
    const task = new ApplyOnStores(shards, through(shards), settings, store, () => folder.remove());
    task.#keepTable(keepsTable);
    await task.tick();
    return task;
  }

  async close(): Promise<void> {
    await this.shards.close();
    await this.#remove();
  }

  feed(topic: string, value: unknown, offset = this.#offset++): Promise<void> {
    return this.batch([{ topic, offset, value }]);
  }

  /** Inputs whose effects are performed together, after the last of them. */
  async batch(inputs: readonly object[]): Promise<void> {
    await this.#run(inputs);
    await this.#commit();
  }

  /** The process dies with the effects of these inputs performed, and nothing committed. */
  async crash(inputs: readonly object[]): Promise<void> {
    await this.#run(inputs);
    this.restart();
  }

  async #commit(): Promise<void> {
    this.#durable = new Map(
      [...this.#rows.entries()].map(([key, row]) => [key, partitionStates.encode(row as never)] as const),
    );
    const changes: Change[] = [];
    this.kept?.drain(changes);
    await this.#store.write(changes, { changelog: 0, inputs: {} });
  }

  #keepTable(keepsTable: boolean): void {
    this.kept = keepsTable ? new DiskTable(subscriptionTable as never) : undefined;
    this.kept?.open(this.#store);
  }

  async #run(inputs: readonly object[]): Promise<void> {
    const step = carryOut(this.#settings);
    let effects: Effect[] = [];
    const take = async (given: object): Promise<void> => {
      const input = { partition: 0, key: '', ...given } as never;
      const rows = this.#rows as Rows<never>;
      await this.kept?.read([subscriptionsOnDisk(this.#settings).needs(rows, input)]);
      for (const emit of step(rows, input, this.kept as never)) {
        if (emit.topic === 'effects') effects.push(emit.value as Effect);
        else if (emit.topic === 'progress') this.told.push((emit.value as Progress).body);
        else if (emit.topic === 'subscription-table') this.tabled.push([emit.key, emit.value !== null]);
      }
    };
    for (const input of inputs) await take(input);
    while (effects.length > 0) {
      const asked = effects;
      effects = [];
      for (const outcome of await this.#effects.perform(asked))
        await take({ topic: 'outcomes', offset: 0, value: outcome });
    }
  }

  /** The process ends after its last commit, and another one goes on. */
  restart(keepsTable = this.kept !== undefined): void {
    const rows = new RowTable(partitionStates as never);
    for (const [key, bytes] of this.#durable) rows.set(key, partitionStates.decode(bytes));
    this.#rows = rows;
    this.#keepTable(keepsTable);
  }

  /** The rows of the subscription table. */
  async tableRows(): Promise<[key: string, row: KeptRow][]> {
    const { prefix } = new DiskTable(subscriptionTable as never);
    const rows: [string, KeptRow][] = [];
    for await (const [key, bytes] of this.#store.entries(prefix))
      rows.push([key.slice(prefix.length), subscriptionTable.decode(bytes)]);
    return rows;
  }

  /** A row of the task. */
  row(key: string): Row | undefined {
    return this.#rows.get(key) as Row | undefined;
  }

  /** An event by its own way: trie events come re-keyed. */
  async event(
    action: SubscriptionEvent['action'],
    topicFilter: string,
    clientId: string,
    brokerId: string,
  ): Promise<void> {
    await this.batch([this.inputOf(action, topicFilter, clientId, brokerId)]);
  }

  inputOf(
    action: SubscriptionEvent['action'],
    topicFilter: string,
    clientId: string,
    brokerId: string,
    more: Partial<SubscriptionEvent> = {},
  ): object {
    const offset = this.#offset++;
    const timestamp = eventTime(1_000 + offset);
    const event = { action, topicFilter, clientId, brokerId, qos: 1, timestamp, ...more };
    if (!isTrieFilter(topicFilter)) return { topic: 'subscriptions', offset, value: event };
    const firstLevel = placeOf(topicFilter).routingKey;
    const value = { firstLevel, events: [{ ...event, offset, incarnation: -1 }] };
    return { topic: 'wildcard-subscriptions', offset, value };
  }

  async tick(times = 1, eventTime = 0): Promise<void> {
    for (let i = 0; i < times; i++) await this.batch([this.tickInput(eventTime)]);
  }

  tickInput(eventTime = 0): object {
    this.#wallMs += 1_000;
    return { topic: 'clock', offset: 0, value: { eventTime, wallTime: this.#wallMs } };
  }

  async command(body: Command['body'], at: number): Promise<void> {
    const id = `command-${this.#commands++}`;
    await this.feed('commands', { id, epoch: epoch(at), reason: '', deadline: eventTime(0), body });
  }

  async allocate(...shards: readonly ShardId[]): Promise<void> {
    for (const shard of shards) await this.command({ kind: 'AllocateShard', shardId: shard, datastoreType: 'kv' }, 1);
    await this.tick();
  }

  async startMove(id: string, slice: string, from: ShardId, to: ShardId, at: number): Promise<void> {
    const body = { kind: 'MoveSlice', moveId: moveId(id), slice: sliceKey(slice), from, to, rowsPerSecond: 0 } as const;
    await this.command(body, at);
  }

  async steer(
    id: string,
    slice: string,
    action: 'SWITCH' | 'RETIRE' | 'ABORT' | 'SHARE' | 'UNSHARE',
    at: number,
  ): Promise<void> {
    const body = { kind: 'SteerMove', moveId: moveId(id), slice: sliceKey(slice), action, rowsPerSecond: 0 } as const;
    await this.command(body, at);
  }

  /** The whole way of a move whose pointer gets this epoch, or as far as ABORT. */
  async move(
    id: string,
    slice: string,
    from: ShardId,
    to: ShardId,
    at: number,
    end: 'RETIRE' | 'ABORT' = 'RETIRE',
  ): Promise<void> {
    await this.startMove(id, slice, from, to, at - 1);
    await this.tick(8);
    if (end === 'RETIRE') {
      await this.steer(id, slice, 'SWITCH', at);
      await this.tick(2);
    }
    await this.steer(id, slice, end, at);
    await this.tick(5);
  }

  /** The last thing that was told about this move. */
  progressOf(id: string): MoveProgress | undefined {
    return this.told.filter((body): body is MoveProgress => body.kind === 'MoveProgress' && body.moveId === id).at(-1);
  }

  async ask(shard: string, filter: string, asker: number): Promise<Answer> {
    return (await (await this.shards.store(shardId(shard))).lookup([filter], epoch(asker)))[0]!;
  }
}
