// Sessions over the whole way: what brokers tell of them, through every stage, with real stores.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SessionOperations } from '../../api/session-operations.ts';
import { effectsOver } from '../../datastores/perform.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { APPLY_DEFAULTS } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import type { SessionOperation, SessionRecord, SubscriptionEvent } from '../../schemas/records.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../../state/genesis.ts';
import { groupSlice, hashSlice } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import { metrics, sessionOperations, sessions, subscriptions } from '../../topology/topics.ts';
import { topologyOf } from '../../topology/topology.ts';
import { type Drive, drive } from '../support/drive.ts';
import { MemoryStorage } from '../support/memory-log.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const START = 1_700_000_040_000;
const PARTITIONS = 4;
const NEVER = 0xffff_ffff;
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

for (const subscriptionTable of [true, false])
  describe(`sessions, ${subscriptionTable ? 'with' : 'without'} a subscription table`, () => {
    let folder: TempFolder;
    let shards: Provisioner;
    let run: Drive;
    let storage = new MemoryStorage();
    beforeEach(async () => {
      storage = new MemoryStorage();
      folder = await tempFolder();
      shards = localShards(folder.path, PARTITIONS);
      await start();
    });
    afterEach(async () => {
      await run.stop();
      await shards.close();
      await folder.remove();
    });

    const start = async () => {
      const topology = topologyOf({
        sessions: { ...SESSION_DEFAULTS, partitions: PARTITIONS },
        rates: { ...RATES_DEFAULTS, partitions: PARTITIONS },
        forecast: FORECAST_DEFAULTS,
        plan: { ...PLAN_DEFAULTS, partitions: PARTITIONS, genesis, catalog },
        apply: { ...APPLY_DEFAULTS, partitions: PARTITIONS, genesis, incarnation: 0, subscriptionTable },
      });
      const kindOf = (type: string) => (type === 'trie' ? 'TRIE' : 'KEY_VALUE');
      const effects = effectsOver(shards, { rowsPerWrite: 100, partitions: PARTITIONS, kindOf });
      run = await drive(topology, {
        ...{ partitions: PARTITIONS, codec: embeddedCodec(), effects, storage, stores: memoryFolder() },
        start: run === undefined ? START : Math.max(START, run.clock.now()),
      });
      await pass(1);
    };
    /** The brokers that send heartbeats while time passes, and since when they run. */
    let beating: ReadonlyMap<string, number> = new Map();
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds; second += 5) {
        await run.advance(Math.min(5, seconds - second) * 1_000);
        for (const [brokerId, startedAt] of beating) await beat(brokerId, startedAt);
      }
      for (let tick = 0; tick < 10; tick++) await run.advance(200);
    };
    const beat = (brokerId: string, startedAt: number) =>
      run.send(metrics, brokerId, {
        body: { kind: 'BrokerHeartbeat', brokerId, pointerOffset: 0, timestamp: run.clock.now(), startedAt },
      });
    const tell = (body: SessionRecord['body']) =>
      run.send(sessions, body.clientId, { body, timestamp: run.clock.now() });
    const connect = (clientId: string, brokerId: string, sessionEpoch: number, sessionExpirySeconds = NEVER) =>
      tell({ kind: 'Connected', clientId, brokerId, cleanStart: false, sessionExpirySeconds, sessionEpoch });
    const disconnect = (clientId: string, brokerId: string, sessionEpoch: number) =>
      tell({ kind: 'Disconnected', clientId, brokerId, sessionExpirySeconds: -1, sessionEpoch });
    const subscribe = (topicFilter: string, clientId: string, brokerId: string, sessionEpoch: number) => {
      const event = { topicFilter, clientId, brokerId, qos: 1, timestamp: run.clock.now(), sessionEpoch };
      return run.send(subscriptions, topicFilter, { action: 'SUBSCRIBE', ...event });
    };
    const inShards = async (): Promise<string[]> => {
      const found: string[] = [];
      for (const [id, sliceOf] of [
        [FIRST_CONCRETE_SHARD, hashSlice],
        [FIRST_TRIE_SHARD, groupSlice],
      ] as const)
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const slice = { slice: sliceOf(partition), except: [] };
          const { rows } = await (await shards.store(id)).scan(slice, undefined, 10_000);
          for (const { gone, filter, clientId, brokerId } of rows)
            if (!gone) found.push(`${filter} ${clientId} ${brokerId}`);
        }
      return found.sort();
    };
    const operations = () => {
      const known = new SessionOperations(PARTITIONS);
      for (const { value } of run.read(sessionOperations)) known.take(value as SessionOperation);
      return known.all();
    };

    test('subscriptions move with a client, and go with its session', async () => {
      await connect('phone', 'a', 1);
      for (const filter of ['home/door', 'home/+', '$share/g/home/x']) await subscribe(filter, 'phone', 'a', 1);
      await pass(2);
      expect(await inShards()).toEqual(['$share/g/home/x phone a', 'home/+ phone a', 'home/door phone a']);
      await connect('phone', 'b', 2);
      await pass(2);
      expect(await inShards()).toEqual(['$share/g/home/x phone b', 'home/+ phone b', 'home/door phone b']);
      await tell({ kind: 'Ended', clientId: 'phone', brokerId: 'b', sessionEpoch: 2 });
      await pass(2);
      expect(await inShards()).toEqual([]);
      expect(run.meter.sum('foreshard_session_events_total', { action: 'SUBSCRIBE' })).toBe(3);
      expect(run.meter.sum('foreshard_session_events_total', { action: 'UNSUBSCRIBE' })).toBe(3);
    });

    test('a session expires after the instance was restored from the changelog, in a fleet that is silent', async () => {
      await connect('phone', 'a', 1, 600);
      await subscribe('home/door', 'phone', 'a', 1);
      await pass(60);
      await disconnect('phone', 'a', 1);
      await pass(60);
      await run.stop();
      await start();
      await pass(500);
      expect(await inShards()).toEqual(['home/door phone a']);
      await pass(120);
      expect(await inShards()).toEqual([]);
    });

    test('a broker that dies takes its clean sessions with it, in every partition, and no other', async () => {
      beating = new Map([
        ['a', 5],
        ['b', 5],
      ]);
      for (let client = 0; client < 20; client++)
        for (const [name, broker, expiry] of [
          ['clean', 'a', 0],
          ['kept', 'a', NEVER],
          ['other', 'b', 0],
        ] as const) {
          await connect(`${name}-${client}`, broker, 1, expiry);
          await subscribe(`home/${client}`, `${name}-${client}`, broker, 1);
        }
      await pass(60);
      expect(await inShards()).toHaveLength(60);
      beating = new Map([['b', 5]]);
      await pass(150);
      const left = await inShards();
      expect(left.filter((row) => row.includes('clean'))).toEqual([]);
      expect(left).toHaveLength(40);
      expect(operations()).toMatchObject([
        { action: 'LOSE', brokerId: 'a', state: 'DONE', partitions: PARTITIONS, sessions: 40, ended: 20, events: 20 },
      ]);
      expect(run.meter.sum('foreshard_session_operations_total', { action: 'LOSE', state: 'DONE' })).toBe(PARTITIONS);
      // It was well, only its heartbeats did not come.
      beating = new Map([
        ['a', 5],
        ['b', 5],
      ]);
      await pass(20);
      expect(await inShards()).toHaveLength(60);
      expect(operations()[0]).toMatchObject({ action: 'RESTORE', state: 'DONE', sessions: 40, ended: 0, events: 20 });
      // It is started again: nobody is connected to it.
      beating = new Map([
        ['a', run.clock.now()],
        ['b', 5],
      ]);
      await pass(20);
      expect(await inShards()).toHaveLength(40);
      expect(operations()[0]).toMatchObject({ action: 'DISCONNECT', state: 'DONE', sessions: 40, ended: 20 });
    });

    test('an event without a session epoch goes the way it always went', async () => {
      await subscribe('home/door', 'phone', 'a', 0);
      await subscribe('home/door', 'phone', 'b', 0);
      const late = { topicFilter: 'home/door', clientId: 'phone', brokerId: 'a', qos: 0, timestamp: START };
      await run.send(subscriptions, 'home/door', { action: 'UNSUBSCRIBE', ...late } as SubscriptionEvent);
      await pass(2);
      expect(await inShards()).toEqual(['home/door phone b']);
      expect(run.meter.sum('foreshard_consumed_total', { topic: 'client-subscriptions' })).toBe(0);
    });
  });
