// A whole real system in memory, to be fed with anything: the topology with real shards, and after each record the same
// questions: is it either worked or in `dead-letters` as it came, does its partition go on, do the counts add up?

import { expect } from 'vitest';
import { effectsOver } from '../../../datastores/perform.ts';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { APPLY_DEFAULTS } from '../../../processors/apply/apply.ts';
import type { PartitionState } from '../../../processors/apply/partition-state.ts';
import type { ModelSet } from '../../../processors/forecast/forecaster.ts';
import { FORECAST_DEFAULTS } from '../../../processors/forecast/settings.ts';
import { catalogOf } from '../../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../../processors/sessions/settings.ts';
import { DEAD_VALUE_BYTES_MAX } from '../../../runtime/dead-letter.ts';
import type { OutRecord, RawRecord } from '../../../runtime/ports.ts';
import type { Codec } from '../../../schemas/codec.ts';
import { eventTime } from '../../../schemas/ids.ts';
import type { Metric, SubscriptionEvent } from '../../../schemas/records.ts';
import { partitionOf, placeOf } from '../../../state/keys.ts';
import { deadLetters } from '../../../topology/topics.ts';
import { topologyOf } from '../../../topology/topology.ts';
import { type Drive, drive } from '../../support/drive.ts';
import { localShards, TYPES } from '../../support/shards.ts';
import { tempFolder } from '../../support/temp-folder.ts';
import type { BadRecord } from './bad-record.ts';

export const PARTITIONS = 2;
export const START = Date.UTC(2026, 0, 1);
/** What our Kafka topics take in one record (log/kafka/kafka-log.ts): more would stop the task that writes it. */
export const RECORD_BYTES_MAX = 8 << 20;

const prices = {
  operationsPerSecond: 20_000,
  entriesMax: 1e7,
  memoryBytes: 2 ** 31,
  dollarsPerHour: 0.1,
  dollarsPerProvisioning: 0.01,
  dollarsPerGibMoved: 0.02,
  provisioningMs: 0,
};
const catalog = catalogOf({ types: [...TYPES].map(([name, { kind }]) => ({ name, kind, ...prices })) });
const genesis = { concreteType: 'kv', trieType: 'trie' };

export interface World {
  readonly run: Drive;
  readonly shards: Provisioner;
  readonly codec: Codec;
  /** Appends the record and lets all that follows from it happen; then asks the questions. */
  feed(record: BadRecord): Promise<void>;
  /** Appends records at once, all of which are right. */
  feedGood(records: readonly OutRecord[]): Promise<void>;
  event(topicFilter: string, changes?: Partial<SubscriptionEvent>): OutRecord;
  traffic(topic: string, changes?: object): OutRecord;
  metric(body: Metric['body'], key?: string): OutRecord;
  /** The clients that a look-up of exactly this filter finds. */
  clientsOf(filter: string): Promise<string[]>;
  /** The invariants that hold at any time. */
  check(): void;
  close(): Promise<void>;
}

export async function openWorld(codec: Codec, models: ModelSet = FORECAST_DEFAULTS.models): Promise<World> {
  const folder = await tempFolder();
  const shards = localShards(folder.path, PARTITIONS);
  const topology = topologyOf({
    sessions: { ...SESSION_DEFAULTS, partitions: PARTITIONS },
    rates: { ...RATES_DEFAULTS, partitions: PARTITIONS },
    forecast: { ...FORECAST_DEFAULTS, models },
    plan: { ...PLAN_DEFAULTS, partitions: PARTITIONS, genesis, catalog },
    apply: { ...APPLY_DEFAULTS, partitions: PARTITIONS, incarnation: 0, genesis },
  });
  const effects = effectsOver(shards, {
    rowsPerWrite: 5_000,
    partitions: PARTITIONS,
    kindOf: (type) => catalog.get(type)!.kind,
  });
  const run = await drive(topology, { partitions: PARTITIONS, start: START, codec, effects });
  let failure: unknown;
  let ended = false;
  run.running.done.then(
    () => {
      ended = true;
    },
    (error) => {
      ended = true;
      failure = error;
    },
  );
  let strays = 0;
  const stray = (): void => void strays++;
  process.on('unhandledRejection', stray);
  for (let i = 0; i < 5; i++) await run.advance(200); // The first shards come up.

  const event: World['event'] = (topicFilter, changes) => {
    const value: SubscriptionEvent = {
      action: 'SUBSCRIBE',
      topicFilter,
      clientId: 'client-1',
      brokerId: 'broker-1',
      qos: 1,
      timestamp: eventTime(run.clock.now()),
      ...changes,
    };
    return {
      topic: 'subscriptions',
      partition: partitionOf(topicFilter, PARTITIONS),
      key: topicFilter,
      value: codec.encode('SubscriptionEvent', value),
    };
  };
  const metric: World['metric'] = (body, key = 'metric') => ({
    topic: 'metrics',
    partition: partitionOf(key, PARTITIONS),
    key,
    value: codec.encode('Metric', { body }),
  });
  const traffic: World['traffic'] = (topic, changes = {}) =>
    metric(
      {
        kind: 'TopicTraffic',
        brokerId: 'broker-1',
        topic,
        publishes: 10,
        bytes: 1_000,
        windowStart: eventTime(run.clock.now()),
        windowMs: 10_000,
        ...changes,
      },
      topic,
    );
  const goodTopics = Array.from({ length: PARTITIONS }, (_, partition) =>
    Array.from({ length: 100 }, (_, n) => `good/${n}`).find((name) => partitionOf(name, PARTITIONS) === partition),
  ) as string[];

  const append = async (records: readonly OutRecord[]): Promise<void> => {
    await run.log.append(records);
    await run.clock.settle(run.log.settle());
  };
  const letters = (): readonly RawRecord[] => run.log.recordsOf(deadLetters.name);
  let goodCount = 0;

  const check = (): void => {
    expect(failure).toBeUndefined();
    expect(ended).toBe(false);
    expect(strays).toBe(0);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    for (const [group, topics] of READ) {
      for (const topic of topics) {
        const sum = (name: string): number => run.meter.sum(name, { group, topic });
        const left = sum('foreshard_stepped_total') + sum('foreshard_duplicate_total');
        expect(left + sum('foreshard_refused_records_total'), `${group} ${topic}`).toBe(
          sum('foreshard_consumed_total'),
        );
      }
    }
    expect(run.meter.sum('foreshard_dead_lettered_total')).toBe(letters().length);
  };

  const clientsOf: World['clientsOf'] = async (filter) => {
    const { trie, prefix, routingKey } = placeOf(filter);
    const partition = partitionOf(routingKey, PARTITIONS);
    // Where the partition's only writer has it: bad measurements may well have made the planner move it.
    const state = run.row('work', 'lives', partition, 'life') as PartitionState;
    const slice = trie ? state.tree.groupOf(partition, prefix) : state.tree.concreteSliceOf(filter, partition, '');
    const home = state.homeOf(slice);
    const [answer] = await (await shards.store(home.shard)).lookup([filter], home.epoch);
    return answer?.kind === 'found' ? answer.subscribers.map((each) => each.clientId) : [];
  };

  return {
    run,
    shards,
    codec,
    event,
    metric,
    traffic,
    check,
    clientsOf,
    async feed({ topic, partition, key, value, headers, expected }) {
      const lettersBefore = letters().length;
      const asked = partition ?? (key === null ? 0 : partitionOf(key, PARTITIONS));
      await append([{ topic, partition: asked, key, value, ...(headers === undefined ? {} : { headers }) }]);
      const offset = run.log.recordsOf(topic).filter((each) => each.partition === asked).length - 1;
      const added = letters().slice(lettersBefore);
      if (expected === 'ACCEPTED') {
        expect(
          added.map((letter) => `${letter.headers!['foreshard.code']}: ${letter.headers!['__streams.errors.message']}`),
        ).toEqual([]);
      } else {
        expect(added.map(({ headers: told }) => told!['foreshard.code'])).toEqual([expected]);
        const letter = added[0]!;
        expect(letter.headers).toMatchObject({
          '__streams.errors.topic': topic,
          '__streams.errors.partition': String(asked),
          '__streams.errors.offset': String(offset),
        });
        expect(letter.headers!['__streams.errors.message']).not.toBe('');
        if (value === null) expect(letter.value).toBe(null);
        else expect(letter.value!.equals(value.subarray(0, DEAD_VALUE_BYTES_MAX))).toBe(true);
        expect(sizeOf(letter)).toBeLessThan(2 << 20);
      }
      // Its partition goes on, in order, and so do the others.
      const client = `good-${goodCount++}`;
      for (const good of goodTopics) await append([event(good, { clientId: client }), traffic(good)]);
      for (const good of goodTopics) expect(await clientsOf(good)).toContain(client);
      expect(letters().length).toBe(lettersBefore + added.length);
      for (const good of goodTopics) await append([event(good, { clientId: client, action: 'UNSUBSCRIBE' })]);
      check();
    },
    async feedGood(records) {
      const before = letters().length;
      await append(records);
      expect(letters().length).toBe(before);
    },
    async close() {
      check();
      for (const topic of [...topology.topics.map((each) => each.name), ...CHANGELOGS]) {
        for (const record of run.log.recordsOf(topic))
          if (topic !== 'subscriptions' && topic !== 'metrics')
            expect(sizeOf(record), `a record of ${topic}`).toBeLessThan(RECORD_BYTES_MAX);
      }
      process.off('unhandledRejection', stray);
      await run.stop();
      await shards.close();
      await folder.remove();
    },
  };
}

const READ: readonly (readonly [group: string, topics: readonly string[]])[] = [
  [
    'work',
    [
      ...['subscriptions', 'sessions', 'metrics', 'wildcard-subscriptions', 'client-subscriptions'],
      ...['session-operations', 'rates', 'commands'],
    ],
  ],
  ['plan', ['metrics', 'rates', 'forecasts', 'progress', 'pointer-table']],
];
const CHANGELOGS = ['drive-work-changelog', 'drive-plan-changelog'];

function sizeOf(record: RawRecord): number {
  let size = (record.key?.length ?? 0) + (record.value?.length ?? 0);
  for (const [name, value] of Object.entries(record.headers ?? {})) size += name.length + String(value).length;
  return size;
}
