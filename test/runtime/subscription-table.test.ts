// The subscription table beside the shards it is the truth of: the whole way of an event, with real stores.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectsOver } from '../../datastores/perform.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { APPLY_DEFAULTS, type Row as ApplyRow, type ApplySettings } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { AppError } from '../../schemas/errors.ts';
import type { Subscription, SubscriptionEvent } from '../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../state/genesis.ts';
import { groupSlice, hashSlice } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { subscriptions, subscriptionTable } from '../../topology/topics.ts';
import { topologyOf } from '../../topology/topology.ts';
import { type Drive, drive } from '../support/drive.ts';
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

describe('the subscription table', () => {
  let folder: TempFolder;
  let shards: Provisioner;
  let run: Drive;
  const storage = { current: new MemoryStorage() };
  beforeEach(async () => {
    storage.current = new MemoryStorage();
    folder = await tempFolder();
    shards = localShards(folder.path, PARTITIONS);
    away.clear();
    asked = 0;
    onAsked = () => {};
  });
  afterEach(async () => {
    await run.stop();
    await shards.close();
    await folder.remove();
  });

  /** Shards that cannot be reached. */
  const away = new Set<string>();
  /** How often they were asked. */
  let asked = 0;
  let onAsked = (): void => {};
  const reached = (): Provisioner => ({
    ...bound(shards),
    async store(shard, meant) {
      if (!away.has(shard)) return shards.store(shard, meant);
      asked += 1;
      onAsked();
      throw new AppError('STORE_UNAVAILABLE', `${shard} does not answer`);
    },
  });
  const start = async (settings: Partial<ApplySettings> = {}, stores = memoryFolder()) => {
    const topology = topologyOf({
      sessions: { ...SESSION_DEFAULTS, partitions: PARTITIONS },
      rates: { ...RATES_DEFAULTS, partitions: PARTITIONS },
      forecast: FORECAST_DEFAULTS,
      plan: { ...PLAN_DEFAULTS, partitions: PARTITIONS, genesis, catalog },
      apply: { ...APPLY_DEFAULTS, partitions: PARTITIONS, genesis, incarnation: 0, ...settings },
    });
    const kindOf = (type: string) => (type === 'trie' ? 'TRIE' : 'KEY_VALUE');
    const effects = effectsOver(reached(), { rowsPerWrite: 100, partitions: PARTITIONS, kindOf });
    run = await drive(topology, {
      ...{ partitions: PARTITIONS, start: START, codec: embeddedCodec(), effects, stores },
      storage: storage.current,
    });
    await run.advance(1_000);
  };
  const send = async (
    action: SubscriptionEvent['action'],
    topicFilter: string,
    clientId: string,
    brokerId: string,
    sessionEpoch = 0,
  ) => {
    const event = { action, topicFilter, clientId, brokerId, qos: 1, timestamp: START, sessionEpoch };
    await run.send(subscriptions, topicFilter, event);
    await run.advance(1_000);
  };
  /** `filter client broker`, as the compacted topic has it. */
  const inTopic = (): string[] => {
    const last = new Map<string, Subscription | null>();
    for (const { key, value } of run.read(subscriptionTable)) last.set(key!, value as Subscription | null);
    return [...last.values()]
      .flatMap((row) => (row === null || row.removed ? [] : nameOf(row.topicFilter, row)))
      .sort();
  };
  const inShards = async (): Promise<string[]> => {
    const found: string[] = [];
    for (const [id, sliceOf] of [
      [FIRST_CONCRETE_SHARD, hashSlice],
      [FIRST_TRIE_SHARD, groupSlice],
    ] as const) {
      const store = await shards.store(id);
      for (let partition = 0; partition < PARTITIONS; partition++) {
        const page = await store.scan({ slice: sliceOf(partition), except: [] }, undefined, 1_000);
        found.push(...page.rows.flatMap((row) => (row.gone ? [] : nameOf(row.filter, row))));
      }
    }
    return found.sort();
  };
  const nameOf = (filter: string, { clientId, brokerId }: { clientId: string; brokerId: string }): string =>
    `${filter} ${clientId} ${brokerId}`;

  test('holds what the shards hold, concrete filters and others, through takeovers and ends', async () => {
    await start();
    await send('SUBSCRIBE', 'a/b', 'x', 'A');
    await send('SUBSCRIBE', 'a/b', 'y', 'A');
    await send('SUBSCRIBE', 'a/+', 'x', 'A', 5);
    await send('SUBSCRIBE', '$share/g/a/b', 'z', 'A');
    await send('SUBSCRIBE', 'a/b', 'x', 'B');
    await send('UNSUBSCRIBE', 'a/b', 'x', 'A'); // Late: foreign.
    await send('UNSUBSCRIBE', 'a/b', 'y', 'A');
    await send('SUBSCRIBE', 'a/+', 'x', 'B', 4); // Of an earlier session.
    expect(inTopic()).toEqual(['$share/g/a/b z A', 'a/+ x A', 'a/b x B']);
    expect(await inShards()).toEqual(inTopic());
    expect(run.meter.sum('foreshard_foreign_removals_total')).toBe(1);
    expect(run.meter.sum('foreshard_superseded_total')).toBe(1);
  });

  test('goes on from the changelog alone, and knows who holds what', async () => {
    await start();
    await send('SUBSCRIBE', 'a/b', 'x', 'A');
    await send('SUBSCRIBE', 'a/b', 'x', 'B');
    await run.stop();
    await start({}, memoryFolder());
    await send('UNSUBSCRIBE', 'a/b', 'x', 'A');
    expect(inTopic()).toEqual(['a/b x B']);
    await send('UNSUBSCRIBE', 'a/b', 'x', 'B');
    expect(inTopic()).toEqual([]);
    expect(await inShards()).toEqual([]);
  });

  test('is not kept where the setting says so, and the shards are as they were without it', async () => {
    await start({ subscriptionTable: false });
    await send('SUBSCRIBE', 'a/b', 'x', 'A');
    await send('SUBSCRIBE', 'a/b', 'x', 'B');
    await send('UNSUBSCRIBE', 'a/b', 'x', 'A');
    expect(run.read(subscriptionTable)).toEqual([]);
    expect(await inShards()).toEqual(['a/b x B']);
  });

  describe('while a shard cannot be reached', () => {
    const waiting = () => run.running.readiness().waiting.map(({ shard }) => shard);
    /** Rows on disk for the shard, in all partitions. */
    const spilled = (shard: string): number =>
      [...run.running.rows<ApplyRow>('work', 'lives')].reduce(
        (sum, [, row]) => sum + (row.kind === 'spill' && row.shard === shard ? row.rows : 0),
        0,
      );
    /** The shards that tasks wait for, as they are asked; all are back after the second time. */
    const backOnceWaitedFor = (): string[] => {
      const seen: string[] = [];
      onAsked = () => {
        seen.push(...waiting());
        if (seen.length >= 2) away.clear();
      };
      return seen;
    };
    const until = async (isSo: () => boolean): Promise<void> => {
      for (let i = 0; i < 100 && !isSo(); i++) await run.advance(1_000);
      expect(isSo()).toBe(true);
    };

    test('the other slices of its partition go on, and it gets all that it missed once it is back', async () => {
      await start();
      await send('SUBSCRIBE', 'a/b', 'x', 'A');
      await send('SUBSCRIBE', 'a/b', 'y', 'A');
      away.add(FIRST_CONCRETE_SHARD);
      await send('UNSUBSCRIBE', 'a/b', 'x', 'A');
      await send('SUBSCRIBE', 'a/b', 'y', 'B');
      await send('SUBSCRIBE', 'a/b', 'z', 'A');
      await send('UNSUBSCRIBE', 'a/b', 'z', 'A');
      await send('SUBSCRIBE', 'a/b', 'z', 'B');
      await send('SUBSCRIBE', 'a/+', 'x', 'A');
      expect(waiting()).toEqual([]);
      expect(await inShards()).toEqual(['a/+ x A', 'a/b x A', 'a/b y A']);
      expect(inTopic()).toEqual(['a/+ x A', 'a/b y B', 'a/b z B']);
      expect(spilled(FIRST_CONCRETE_SHARD)).toBe(5);
      away.clear();
      await until(() => spilled(FIRST_CONCRETE_SHARD) === 0);
      expect(await inShards()).toEqual(inTopic());
    });

    test('it is asked seldom, and what waits outlives a restart, from the changelog alone', async () => {
      await start();
      away.add(FIRST_CONCRETE_SHARD);
      for (let i = 0; i < 20; i++) await send('SUBSCRIBE', 'a/b', `client-${i}`, 'A');
      expect(asked).toBeLessThan(12);
      await run.stop();
      await start({}, memoryFolder());
      await send('UNSUBSCRIBE', 'a/b', 'client-3', 'A');
      expect(await inShards()).toEqual([]);
      away.clear();
      await until(() => spilled(FIRST_CONCRETE_SHARD) === 0);
      expect(await inShards()).toEqual(inTopic());
      expect(inTopic()).toHaveLength(19);
    });

    test('the partition waits when as much waits as may, says so, and nothing is lost', async () => {
      await start({ spillRowsMax: 4 });
      away.add(FIRST_CONCRETE_SHARD);
      for (let i = 0; i < 4; i++) await send('SUBSCRIBE', 'a/b', `client-${i}`, 'A');
      expect(waiting()).toEqual([]);
      expect(run.meter.sum('foreshard_spill_alarms_total', { spill: 'half-full' })).toBe(1);
      expect(run.meter.sum('foreshard_spill_alarms_total', { spill: 'full' })).toBe(1);
      const seen = backOnceWaitedFor();
      await send('SUBSCRIBE', 'a/b', 'client-4', 'A');
      expect(seen).toContain(FIRST_CONCRETE_SHARD);
      await until(() => spilled(FIRST_CONCRETE_SHARD) === 0);
      expect(await inShards()).toEqual(inTopic());
      expect(inTopic()).toHaveLength(5);
    });

    test('the partition waits from the first write on where nothing may wait on disk', async () => {
      await start({ spillRowsMax: 0 });
      away.add(FIRST_CONCRETE_SHARD);
      const seen = backOnceWaitedFor();
      await send('SUBSCRIBE', 'a/b', 'x', 'A');
      expect(seen).toContain(FIRST_CONCRETE_SHARD);
      expect(await inShards()).toEqual(['a/b x A']);
    });
  });
});

/** The methods of a provisioner as an object of its own. */
const bound = (shards: Provisioner): Provisioner => ({
  ensure: (...args) => shards.ensure(...args),
  store: (...args) => shards.store(...args),
  release: (...args) => shards.release(...args),
  sweep: (...args) => shards.sweep(...args),
  close: () => shards.close(),
});
