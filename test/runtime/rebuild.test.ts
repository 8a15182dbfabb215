// A shard that loses its data, in a whole fleet over real stores: nobody acts, and in the end every look-up is that of a
// linear scan over what was acknowledged.

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Router } from '../../broker/router.ts';
import { effectsOver } from '../../datastores/perform.ts';
import { askShard } from '../../datastores/reachability.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { randomFrom } from '../../evaluation/random.ts';
import { APPLY_DEFAULTS, type ApplySettings } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import { LostShards } from '../../runtime/lost-shards.ts';
import { SilentShards } from '../../runtime/silent-shards.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { type ShardId, shardId } from '../../schemas/ids.ts';
import type { Decision, PointerRecord, SubscriptionEvent } from '../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../state/genesis.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { PointerTable } from '../../state/pointer-table.ts';
import { matches } from '../../state/topic-filter.ts';
import { decisions, pointers, subscriptions } from '../../topology/topics.ts';
import { topologyOf } from '../../topology/topology.ts';
import { CountingMeter, type Drive, drive } from '../support/drive.ts';
import { MemoryStorage } from '../support/memory-log.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const START = 1_700_000_040_000;
const PARTITIONS = 2;
const genesis = { concreteType: 'kv', trieType: 'trie' };
const SIZE = {
  ...{ operationsPerSecond: 10_000, entriesMax: 1_000_000, memoryBytes: 1e9, dollarsPerHour: 1 },
  ...{ dollarsPerProvisioning: 0, dollarsPerGibMoved: 0, provisioningMs: 0 },
};
const catalog = catalogOf({
  types: [
    { name: 'kv', kind: 'KEY_VALUE', ...SIZE },
    { name: 'trie', kind: 'TRIE', ...SIZE },
  ],
});
const TOPICS = ['site/a', 'site/b', 'site/c/d', 'hall/1', 'hall/2'];
const FILTERS = [...TOPICS, 'site/+', 'site/#', '#', '$share/g/site/a', 'hall/+'];

class Fleet {
  readonly folder: TempFolder;
  readonly #storage = new MemoryStorage();
  readonly #stores = memoryFolder();
  readonly #live = new Map<string, { readonly filter: string; readonly clientId: string }>();
  shards: Provisioner;
  run!: Drive;
  /** They do not answer the tasks; brokers may still reach them. */
  readonly away = new Set<ShardId>();
  #silent: SilentShards | undefined;
  #seconds = 0;
  #sent = 0;
  #known: { readonly records: number; readonly table: PointerTable } | undefined;

  static async start(apply: Partial<ApplySettings> = {}): Promise<Fleet> {
    const fleet = new Fleet(await tempFolder());
    await fleet.startAgain(apply);
    return fleet;
  }

  private constructor(folder: TempFolder) {
    this.folder = folder;
    this.shards = localShards(folder.path, PARTITIONS);
  }

  async startAgain(apply: Partial<ApplySettings> = {}): Promise<void> {
    const now = this.run?.clock.now() ?? START;
    await this.run?.stop();
    const settings = { partitions: PARTITIONS, genesis };
    const topology = topologyOf({
      rates: { ...RATES_DEFAULTS, partitions: PARTITIONS },
      forecast: FORECAST_DEFAULTS,
      sessions: { ...SESSION_DEFAULTS, partitions: PARTITIONS },
      plan: { ...PLAN_DEFAULTS, ...settings, catalog },
      apply: { ...APPLY_DEFAULTS, ...settings, incarnation: 0, passageRowsMax: 3, ...apply },
    });
    const codec = embeddedCodec();
    let lostShards: LostShards | undefined;
    const effects = effectsOver(this.#provisioner(), {
      ...{ rowsPerWrite: 100, partitions: PARTITIONS },
      kindOf: (type) => (type === 'trie' ? 'TRIE' : 'KEY_VALUE'),
      watch: {
        lost: (shard, reason) => lostShards?.lost(shard, reason),
        found: (shard, afterStart) => lostShards?.found(shard, afterStart),
      },
      instanceOf: (shard) => this.#table().shard(shard)?.instanceId,
      isGivenUp: (shard) => this.#table().shard(shard)?.loss === 'LOST',
    });
    const run = await drive(topology, {
      ...{ partitions: PARTITIONS, start: now, codec, effects, stores: this.#stores, storage: this.#storage },
    });
    lostShards = new LostShards({ log: run.log, codec, logger: silentLogger, meter: new CountingMeter() });
    this.run = run;
    this.#silent = new SilentShards({
      ask: (shard) => askShard(this.#provisioner(), shard),
      ...{ shards: () => this.#table().shards(), reports: lostShards, now: () => run.clock.now() },
      lostAfterMs: 60_000,
    });
    await this.pass(3);
  }

  async close(): Promise<void> {
    await this.run.stop();
    await this.shards.close();
    await this.folder.remove();
  }

  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      await this.run.advance(1_000);
      this.#seconds += 1;
      if (this.#seconds % 10 === 0) await this.#silent?.round();
    }
  }

  async event(action: SubscriptionEvent['action'], filter: string, clientId: string): Promise<void> {
    const event = { action, topicFilter: filter, clientId, brokerId: 'b', qos: 1, timestamp: START + this.#sent++ };
    if (action === 'SUBSCRIBE') this.#live.set(`${filter} ${clientId}`, { filter, clientId });
    else this.#live.delete(`${filter} ${clientId}`);
    await this.run.send(subscriptions, filter, event);
  }

  /** The machine loses what lies in the shards’ folders. */
  async lose(...lost: readonly ShardId[]): Promise<void> {
    await this.shards.close();
    for (const shard of lost) await rm(join(this.folder.path, shard), { recursive: true });
    this.shards = localShards(this.folder.path, PARTITIONS);
  }

  pointers(): PointerTable {
    const table = new PointerTable(PARTITIONS);
    const records = this.run.log.recordsOf(pointers.name);
    const codec = embeddedCodec();
    for (const { key, value, offset } of records) {
      const record = value === null ? null : (codec.decode('PointerRecord', value) as PointerRecord);
      table.apply(key!.toString('utf8'), record, offset);
    }
    table.reached(records.length, records.length);
    return table;
  }

  /** What a broker is told, of every topic. */
  async answers(): Promise<string[]> {
    const table = this.pointers();
    const router = new Router({
      pointers: { table, newerThan: async () => false },
      storeOf: ({ shardId, instanceId }) => this.shards.store(shardId, { instanceId }),
    });
    const found: string[] = [];
    for (const topic of TOPICS)
      for (const { filter, clientId } of await router.subscribersOf(topic))
        found.push(`${topic}: ${filter} ${clientId}`);
    return found.sort();
  }

  expected(): string[] {
    return TOPICS.flatMap((topic) =>
      [...this.#live.values()]
        .filter(({ filter }) => matches(filter.replace('$share/g/', ''), topic))
        .map(({ filter, clientId }) => `${topic}: ${filter} ${clientId}`),
    ).sort();
  }

  reasons(): string[] {
    return this.run.read(decisions).map(({ value }) => `${(value as Decision).kind} ${(value as Decision).reason}`);
  }

  #table(): PointerTable {
    const records = this.run?.log.recordsOf(pointers.name).length ?? 0;
    if (this.#known?.records !== records)
      this.#known = { records, table: records === 0 ? new PointerTable(PARTITIONS) : this.pointers() };
    return this.#known.table;
  }

  #provisioner(): Provisioner {
    const reached = <Result>(shard: ShardId, work: () => Promise<Result>): Promise<Result> =>
      this.away.has(shard) ? Promise.reject(new AppError('STORE_UNAVAILABLE', `${shard} is away`)) : work();
    return {
      ensure: (shard, ...rest) => reached(shard, () => this.shards.ensure(shard, ...rest)),
      store: (shard, ...rest) => reached(shard, () => this.shards.store(shard, ...rest)),
      release: (shard, ...rest) => reached(shard, () => this.shards.release(shard, ...rest)),
      sweep: (before) => this.shards.sweep(before),
      close: async () => {},
    };
  }
}

describe('a shard that has lost its data', () => {
  let fleet: Fleet;
  beforeEach(async () => {
    fleet = await Fleet.start();
    for (const filter of FILTERS) for (let i = 0; i < 4; i++) await fleet.event('SUBSCRIBE', filter, `client-${i}`);
    for (const filter of FILTERS) await fleet.event('UNSUBSCRIBE', filter, 'client-1');
    await fleet.pass(2);
    expect(await fleet.answers()).toEqual(fleet.expected());
  });
  afterEach(() => fleet.close());

  for (const [name, lost] of [
    ['a key-value shard', [FIRST_CONCRETE_SHARD]],
    ['a trie shard', [FIRST_TRIE_SHARD]],
    ['both at once', [FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD]],
  ] as const)
    test(`is rebuilt from the subscription table without a person: ${name}`, async () => {
      await fleet.lose(...lost);
      await fleet.startAgain();
      await fleet.pass(60);
      expect(await fleet.answers()).toEqual(fleet.expected());
      const table = fleet.pointers();
      for (const shard of lost) expect(table.shard(shard)?.state ?? 'GONE').toBe('GONE');
      expect(fleet.reasons().filter((reason) => reason.startsWith('FINISH'))).toHaveLength(lost.length * PARTITIONS);
    });

  test('is rebuilt too when it never answers again, and is emptied when it does after all', async () => {
    fleet.away.add(FIRST_CONCRETE_SHARD);
    await fleet.event('SUBSCRIBE', 'site/a', 'late');
    await fleet.pass(30);
    expect(fleet.reasons().some((reason) => reason.includes('rebuilt'))).toBe(false);
    await fleet.pass(90);
    await fleet.event('UNSUBSCRIBE', 'site/b', 'client-2');
    await fleet.pass(2);
    expect(await fleet.answers()).toEqual(fleet.expected());
    const table = fleet.pointers();
    expect([...table.pointers()].some(({ shards }) => shards.includes(FIRST_CONCRETE_SHARD))).toBe(false);

    fleet.away.clear();
    await fleet.pass(400);
    expect(fleet.pointers().shard(FIRST_CONCRETE_SHARD)?.state ?? 'GONE').toBe('GONE');
    expect(await fleet.answers()).toEqual(fleet.expected());
  });

  test('is rebuilt under load: every event that comes meanwhile counts, and no other shard waits', async () => {
    const chance = randomFrom(7);
    const load = async (seconds: number): Promise<void> => {
      for (let second = 0; second < seconds; second++) {
        for (let i = 0; i < 5; i++) {
          const filter = FILTERS[Math.floor(chance() * FILTERS.length)]!;
          await fleet.event(chance() < 0.5 ? 'SUBSCRIBE' : 'UNSUBSCRIBE', filter, `client-${Math.floor(chance() * 6)}`);
        }
        await fleet.pass(1);
      }
    };
    await load(5);
    await fleet.lose(FIRST_CONCRETE_SHARD);
    await load(3);
    const table = fleet.pointers();
    expect(table.shard(FIRST_CONCRETE_SHARD)?.state).toBe('READY');
    await expect(fleet.answers()).rejects.toThrow(); // Never a part of the answer.
    await load(40);
    await fleet.pass(10);
    expect(await fleet.answers()).toEqual(fleet.expected());
    await fleet.lose(shardId('shard-0003'), FIRST_TRIE_SHARD);
    await load(40);
    await fleet.startAgain();
    await load(10);
    await fleet.pass(60);
    expect(await fleet.answers()).toEqual(fleet.expected());
    expect(fleet.pointers().shard(FIRST_CONCRETE_SHARD)?.state ?? 'GONE').toBe('GONE');
  });
});

test('a fleet that had no subscription table has a lost shard rebuilt once the table is filled', async () => {
  const fleet = await Fleet.start({ subscriptionTable: false });
  try {
    for (const filter of FILTERS) for (let i = 0; i < 4; i++) await fleet.event('SUBSCRIBE', filter, `client-${i}`);
    for (const filter of FILTERS) await fleet.event('UNSUBSCRIBE', filter, 'client-1');
    await fleet.pass(2);
    await fleet.startAgain({ checkPageRows: 3 });
    for (const filter of FILTERS) await fleet.event('UNSUBSCRIBE', filter, 'client-2');
    await fleet.pass(20);
    await fleet.lose(FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD);
    await fleet.startAgain();
    await fleet.pass(60);
    expect(await fleet.answers()).toEqual(fleet.expected());
    expect(fleet.pointers().shard(FIRST_CONCRETE_SHARD)?.state ?? 'GONE').toBe('GONE');
    await fleet.startAgain({ subscriptionTable: false });
    await fleet.event('UNSUBSCRIBE', FILTERS[0]!, 'client-3');
    await fleet.pass(2);
    await fleet.startAgain({ fillRowsPerSecond: 0 });
    await fleet.lose(shardId('shard-0003'));
    await fleet.startAgain({ fillRowsPerSecond: 0 });
    await fleet.pass(60);
    expect(fleet.reasons().some((reason) => reason.includes('has not been filled since'))).toBe(true);
  } finally {
    await fleet.close();
  }
});
