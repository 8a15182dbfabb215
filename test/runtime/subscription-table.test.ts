// The table of subscriptions beside the shards it is the truth of: the whole way of an event, with real stores.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectsOver } from '../../datastores/perform.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { APPLY_DEFAULTS } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
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

describe('the table of subscriptions', () => {
  let folder: TempFolder;
  let shards: Provisioner;
  let run: Drive;
  const storage = { current: new MemoryStorage() };
  beforeEach(async () => {
    storage.current = new MemoryStorage();
    folder = await tempFolder();
    shards = localShards(folder.path, PARTITIONS);
  });
  afterEach(async () => {
    await run.stop();
    await shards.close();
    await folder.remove();
  });

  const start = async (settings: { readonly subscriptionTable?: boolean } = {}, stores = memoryFolder()) => {
    const topology = topologyOf({
      sessions: { ...SESSION_DEFAULTS, partitions: PARTITIONS },
      rates: { ...RATES_DEFAULTS, partitions: PARTITIONS },
      forecast: FORECAST_DEFAULTS,
      plan: { ...PLAN_DEFAULTS, partitions: PARTITIONS, genesis, catalog },
      apply: { ...APPLY_DEFAULTS, partitions: PARTITIONS, genesis, incarnation: 0, ...settings },
    });
    const kindOf = (type: string) => (type === 'trie' ? 'TRIE' : 'KEY_VALUE');
    const effects = effectsOver(shards, { rowsPerWrite: 100, partitions: PARTITIONS, kindOf });
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
});
