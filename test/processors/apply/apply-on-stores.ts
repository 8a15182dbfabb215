// Apply on stores: one apply task of one partition, its effects performed on real stores in a folder of the test's own.
// Time is told by hand; an input has had all its effects, and theirs, when `feed` resolves.

import { effectsOver, type PerformSettings } from '../../../datastores/perform.ts';
import type { Answer, Provisioner } from '../../../datastores/shard-store.ts';
import { APPLY_DEFAULTS, type ApplySettings, carryOut, partitionStates } from '../../../processors/apply/apply.ts';
import type { Rows } from '../../../processors/step.ts';
import { RowTable } from '../../../runtime/row-table.ts';
import { epoch, eventTime, moveId, type ShardId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Command, MoveProgress, Progress, SubscriptionEvent } from '../../../schemas/records.ts';
import type { Effect } from '../../../state/effects.ts';
import { isTrieFilter, placeOf } from '../../../state/keys.ts';
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
  readonly shards: Provisioner;
  readonly #rows = new RowTable(partitionStates as never);
  readonly #settings: ApplySettings;
  readonly #effects: ReturnType<typeof effectsOver>;
  readonly #remove: () => Promise<void>;
  #offset = 0;
  #commands = 0;
  #wallMs = 1_000_000;

  private constructor(
    shards: Provisioner,
    used: Provisioner,
    settings: Partial<ApplySettings & PerformSettings>,
    remove: () => Promise<void>,
  ) {
    this.shards = shards;
    this.#settings = { ...DEFAULTS, ...settings };
    const kindOf = (type: string) => (type === 'trie' ? ('TRIE' as const) : ('KEY_VALUE' as const));
    this.#effects = effectsOver(used, { rowsPerWrite: 100, partitions: 1, kindOf, ...settings });
    this.#remove = remove;
  }

  /** `through`: what the task uses in place of the shards, for planted faults. */
  static async start(
    settings: Partial<ApplySettings & PerformSettings> = {},
    through: (shards: Provisioner) => Provisioner = (shards) => shards,
  ): Promise<ApplyOnStores> {
    const folder = await tempFolder();
    const shards = localShards(folder.path, 1);
    const task = new ApplyOnStores(shards, through(shards), settings, () => folder.remove());
    await task.tick();
    return task;
  }

  async close(): Promise<void> {
    await this.shards.close();
    await this.#remove();
  }

  async feed(topic: string, value: unknown, offset = this.#offset++): Promise<void> {
    const step = carryOut(this.#settings);
    let effects: Effect[] = [];
    const take = (input: object): void => {
      for (const emit of step(this.#rows as Rows<never>, { partition: 0, key: '', ...input } as never)) {
        if (emit.topic === 'effects') effects.push(emit.value as Effect);
        else this.told.push((emit.value as Progress).body);
      }
    };
    take({ topic, offset, value });
    while (effects.length > 0) {
      const asked = effects;
      effects = [];
      for (const outcome of await this.#effects.perform(asked)) take({ topic: 'outcomes', offset: 0, value: outcome });
    }
  }

  /** An event by its own way: trie events come re-keyed. */
  async event(
    action: SubscriptionEvent['action'],
    topicFilter: string,
    clientId: string,
    brokerId: string,
  ): Promise<void> {
    const offset = this.#offset++;
    const event = { action, topicFilter, clientId, brokerId, qos: 1, timestamp: eventTime(1_000 + offset) };
    if (!isTrieFilter(topicFilter)) return this.feed('subscriptions', event, offset);
    const firstLevel = placeOf(topicFilter).routingKey;
    return this.feed('wildcard-subscriptions', { firstLevel, events: [{ ...event, offset, incarnation: -1 }] }, offset);
  }

  async tick(times = 1): Promise<void> {
    for (let i = 0; i < times; i++) {
      this.#wallMs += 1_000;
      await this.feed('clock', { eventTime: 0, wallTime: this.#wallMs }, 0);
    }
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
