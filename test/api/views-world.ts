// Views world: views over a whole topology, for tests: real stages on the memory log, effects on maps. What another
// instance would answer is asked of a runner that has no tasks.

import { afterEach } from 'vitest';
import { runningViews } from '../../api/running-views.ts';
import { APPLY_DEFAULTS } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import type { Running } from '../../runtime/runner.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { type Codec, jsonCodec } from '../../schemas/codec.ts';
import { epoch, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Metric, PointerEntry, PointerRecord } from '../../schemas/records.ts';
import { pointers } from '../../topology/topics.ts';
import { topologyOf } from '../../topology/topology.ts';
import { MemoryShards } from '../processors/apply/memory-shards.ts';
import { drive } from '../support/drive.ts';
import { MemoryLog } from '../support/memory-log.ts';

export const PARTITIONS = 2;
export const START = 1_700_000_040_000; // A whole minute.
export const RATES = { ...RATES_DEFAULTS, partitions: PARTITIONS };
const GENESIS = { concreteType: 'kv', trieType: 'trie' };
const SIZE = {
  operationsPerSecond: 10_000,
  entriesMax: 1_000_000,
  memoryBytes: 1e9,
  dollarsPerHour: 1,
  dollarsPerProvisioning: 0,
  dollarsPerGibMoved: 0,
  provisioningMs: 0,
};
const CATALOG = catalogOf({
  types: [
    { name: 'kv', kind: 'KEY_VALUE', ...SIZE },
    { name: 'trie', kind: 'TRIE', ...SIZE },
  ],
});
export const TOPOLOGY = topologyOf({
  sessions: { ...SESSION_DEFAULTS, partitions: PARTITIONS },
  rates: RATES,
  forecast: FORECAST_DEFAULTS,
  plan: { ...PLAN_DEFAULTS, partitions: PARTITIONS, genesis: GENESIS, catalog: CATALOG },
  apply: { ...APPLY_DEFAULTS, partitions: PARTITIONS, genesis: GENESIS, incarnation: 0, copyRowsPerSecond: 10_000 },
});

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

export async function world() {
  const shards = new MemoryShards(PARTITIONS);
  const cell = await drive(TOPOLOGY, {
    partitions: PARTITIONS,
    start: START,
    effects: { perform: async (effects) => effects.map((effect) => shards.perform(effect)) },
  });
  cleanUps.push(() => cell.stop());
  let ids = 0;
  const lost: string[] = [];
  const away = new Set<string>();
  const views = await runningViews({
    running: cell.running,
    log: cell.log,
    codec: jsonCodec,
    clock: cell.clock,
    settings: RATES,
    metricsText: async () => 'up 1\n',
    lostShards: () => lost,
    unreachable: async (asked) => new Set(asked.filter((shard) => away.has(shard))),
    newId: () => `id-${++ids}`,
  });
  await cell.log.settle();
  cleanUps.push(() => views.close());
  /** Ticks until every task has had its say. */
  const passed = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 1_000) await cell.advance(1_000);
  };
  return { cell, views, passed, shards, lost, away };
}

/** A runner whose planner is not here. */
export const runnerElsewhere = (where: ReturnType<Running['where']>): Running => ({
  read: () => where as never,
  *rows() {},
  where: () => where,
  tick: async () => {},
  liveness: () => ({ live: true, reasons: [] }),
  eventTime: 0,
  readiness: () => ({
    ready: true,
    reasons: [],
    restoredPercent: 100,
    tasks: 0,
    waiting: [],
    lagRecords: 0,
    standing: [],
  }),
  lags: () => [],
  done: new Promise(() => {}),
  stop: async () => {},
});

/** Views over a log with nothing running on it but what the test appends. */
export async function bare(running: Running, options: { readonly codec?: Codec; readonly settle?: boolean } = {}) {
  const clock = new SimulatedClock(START);
  const log = new MemoryLog({ app: 'bare', partitions: PARTITIONS, now: () => clock.now() });
  await log.prepare(
    TOPOLOGY.topics.map(({ name, partitions, cleanup, retentionMs }) => ({
      name,
      partitions: partitions === 'one' ? 1 : PARTITIONS,
      cleanup,
      retentionMs,
    })),
  );
  const codec = options.codec ?? jsonCodec;
  const texts = { metricsText: async () => '', lostShards: () => [], newId: () => 'id-1' };
  const unreachable = async () => new Set<never>();
  const parts = { running, log, codec, clock, settings: RATES, unreachable, ...texts };
  const open = async () => {
    const views = await runningViews(parts);
    cleanUps.push(() => views.close());
    return views;
  };
  cleanUps.push(() => log.close());
  return { log, clock, open };
}

export const pointerRecords = (
  entries: readonly { readonly slice: string; readonly shards: readonly string[] }[],
  at = 1,
): { topic: string; partition: number; key: string; value: Buffer }[] => {
  const ids = [...new Set(entries.flatMap((entry) => entry.shards))];
  const bodies: PointerRecord['body'][] = [
    ...entries.map(
      ({ slice, shards }): PointerEntry => ({
        kind: 'PointerEntry',
        slice: sliceKey(slice),
        mode: 'SINGLE',
        shards: shards.map(shardId),
        epoch: epoch(at),
      }),
    ),
    ...ids.map(
      (id) =>
        ({
          kind: 'ShardEntry',
          shardId: shardId(id),
          storeKind: 'KEY_VALUE',
          datastoreType: 'kv',
          instanceId: `${id}-instance`,
          address: '',
          state: 'READY',
          epoch: epoch(at),
        }) as const,
    ),
  ];
  return bodies.map((body, index) => ({
    topic: pointers.name,
    partition: 0,
    key: body.kind === 'PointerEntry' ? `p:${body.slice}` : `s:${body.shardId}`,
    value: jsonCodec.encode('PointerRecord', {
      change: { epoch: at, index, count: bodies.length, term: 1, planner: 'p' },
      body,
    }),
  }));
};

export const metricsOf = (records: readonly { readonly value: unknown }[]) =>
  records.map(({ value }) => (value as Metric).body);
export const here = <Answer>(answer: Answer) => ({ kind: 'here', answer });
