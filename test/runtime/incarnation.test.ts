// The subscriptions topic made anew: its offsets start again, and what was read of it before must neither be asked for nor
// outrank what comes. The whole topology on a log that stays, with real stores; only the one topic is another.

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
import { epoch, eventTime, shardId } from '../../schemas/ids.ts';
import { isTrieFilter } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { subscriptions } from '../../topology/topics.ts';
import { topologyOf } from '../../topology/topology.ts';
import { type Drive, drive } from '../support/drive.ts';
import { MemoryStorage } from '../support/memory-log.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const START = 1_700_000_040_000;
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

describe('the subscriptions topic made anew', () => {
  const storage = { current: new MemoryStorage() };
  let stores = memoryFolder();
  let folder: TempFolder;
  let shards: Provisioner;
  let run: Drive;
  beforeEach(async () => {
    storage.current = new MemoryStorage();
    stores = memoryFolder();
    folder = await tempFolder();
    shards = localShards(folder.path, 1);
  });
  afterEach(async () => {
    await run.stop();
    await shards.close();
    await folder.remove();
  });

  const start = async (incarnation: number): Promise<void> => {
    const topology = topologyOf({
      sessions: { ...SESSION_DEFAULTS, partitions: 1 },
      rates: { ...RATES_DEFAULTS, partitions: 1 },
      forecast: FORECAST_DEFAULTS,
      plan: { ...PLAN_DEFAULTS, partitions: 1, genesis, catalog },
      apply: { ...APPLY_DEFAULTS, partitions: 1, genesis, incarnation },
    });
    const effects = effectsOver(shards, {
      rowsPerWrite: 1_000,
      partitions: 1,
      kindOf: (type) => catalog.get(type)!.kind,
    });
    const codec = embeddedCodec();
    run = await drive(topology, { start: START, codec, effects, storage: storage.current, stores, incarnation });
    for (let i = 0; i < 5; i++) await run.advance(200);
  };
  const send = async (action: string, topicFilter: string, clientId = 'phone'): Promise<void> => {
    const value = { action, topicFilter, clientId, brokerId: 'b', qos: 1, timestamp: eventTime(START) };
    await run.send(subscriptions, topicFilter, value);
  };
  const makeAnew = async (): Promise<void> => {
    await run.stop();
    const { shape } = storage.current.topics().find((topic) => topic.shape.name === 'subscriptions')!;
    await storage.current.create(shape);
  };
  const clientsOf = async (filter: string): Promise<string[]> => {
    const store = await shards.store(shardId(isTrieFilter(filter) ? 'shard-0002' : 'shard-0001'));
    const [answer] = await store.lookup([filter], epoch(1));
    return answer?.kind === 'found' ? answer.subscribers.map((each) => each.clientId) : ['moved'];
  };

  for (const filter of ['alarm', 'home/+'])
    test(`with the number raised, ${filter} is read from the start, and what comes counts`, async () => {
      await start(0);
      for (let i = 0; i < 50; i++) await send('SUBSCRIBE', filter, `client-${i % 5}`);
      await makeAnew();
      await start(1);
      await send('UNSUBSCRIBE', filter, 'client-3');
      await send('SUBSCRIBE', filter, 'client-9');
      await run.advance(1_000);
      expect(await clientsOf(filter)).toEqual(['client-0', 'client-1', 'client-2', 'client-4', 'client-9']);
      expect(run.running.readiness().reasons).toEqual([]);
      await run.stop();
      await start(1); // Positions of the new life are gone on from.
      await send('UNSUBSCRIBE', filter, 'client-9');
      expect(await clientsOf(filter)).toEqual(['client-0', 'client-1', 'client-2', 'client-4']);
      expect(run.meter.sum('foreshard_stepped_total', { topic: 'subscriptions' })).toBe(1);
    });

  test('other inputs go on where they were', async () => {
    await start(0);
    for (let i = 0; i < 20; i++) await send('SUBSCRIBE', 'home/+', `client-${i}`);
    await makeAnew();
    await start(1);
    await run.advance(1_000);
    expect(run.meter.sum('foreshard_stepped_total', { topic: 'wildcard-subscriptions' })).toBe(0);
  });

  test('the local state lost as well, the changelog tells the same', async () => {
    await start(0);
    for (let i = 0; i < 5; i++) await send('SUBSCRIBE', 'alarm', `client-${i}`);
    await makeAnew();
    stores = memoryFolder();
    await start(1);
    await send('UNSUBSCRIBE', 'alarm', 'client-0');
    expect(await clientsOf('alarm')).toEqual(['client-1', 'client-2', 'client-3', 'client-4']);
  });

  test('without it, positions beyond the end are told, and nothing is guessed', async () => {
    await start(0);
    for (let i = 0; i < 5; i++) await send('SUBSCRIBE', 'alarm', `client-${i}`);
    await makeAnew();
    await start(0);
    await expect(run.running.done).rejects.toMatchObject({ code: 'INPUT_TRUNCATED' });
  });

  test('a number that was lowered is refused: all that comes would count as old', async () => {
    await start(2);
    await send('SUBSCRIBE', 'alarm');
    await run.stop();
    await start(1);
    await expect(run.running.done).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
