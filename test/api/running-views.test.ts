// Views over a whole topology: real stages on the memory log, effects on maps. What another instance would answer is
// asked of a runner that has no tasks.

import { afterEach, describe, expect, test, vi } from 'vitest';
import { runningViews } from '../../api/running-views.ts';
import { APPLY_DEFAULTS } from '../../processors/apply/apply.ts';
import { FORECAST_DEFAULTS } from '../../processors/forecast/settings.ts';
import { catalogOf } from '../../processors/plan/cluster/catalog.ts';
import { PLAN_DEFAULTS } from '../../processors/plan/settings.ts';
import type { ProposalRow } from '../../processors/plan/stage/rows.ts';
import { RATES_DEFAULTS } from '../../processors/rates/settings.ts';
import { SESSION_DEFAULTS } from '../../processors/sessions/settings.ts';
import { deadLetter } from '../../runtime/dead-letter.ts';
import type { Running } from '../../runtime/runner.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { type Codec, jsonCodec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch, eventTime, moveId, planId, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Metric, PointerEntry, PointerRecord } from '../../schemas/records.ts';
import {
  filterHash,
  groupSlice,
  hashSlice,
  leadingBits,
  leafSeries,
  partitionOf,
  pinSlice,
  spreadSlice,
  topicSeries,
} from '../../state/keys.ts';
import { deadLetters, decisions, forecasts, metrics, pointers, subscriptions } from '../../topology/topics.ts';
import { topologyOf } from '../../topology/topology.ts';
import { MemoryShards } from '../processors/apply/memory-shards.ts';
import { drive } from '../support/drive.ts';
import { MemoryLog } from '../support/memory-log.ts';

const PARTITIONS = 2;
const START = 1_700_000_040_000; // A whole minute.
const RATES = { ...RATES_DEFAULTS, partitions: PARTITIONS };
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
const TOPOLOGY = topologyOf({
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

async function world() {
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
const runnerElsewhere = (where: ReturnType<Running['where']>): Running => ({
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
async function bare(running: Running, options: { readonly codec?: Codec; readonly settle?: boolean } = {}) {
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

const pointerRecords = (
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

const metricsOf = (records: readonly { readonly value: unknown }[]) =>
  records.map(({ value }) => (value as Metric).body);
const here = <Answer>(answer: Answer) => ({ kind: 'here', answer });

describe('a cell that has just begun', () => {
  test('has its first shards, in the rows and in the pointer table', async () => {
    const { views, passed } = await world();
    await passed(2_000);
    const shards = await views.shards();
    expect(shards).toMatchObject(
      here([
        { shardId: 'shard-0001', storeKind: 'KEY_VALUE', state: 'READY', epoch: 1, slices: PARTITIONS },
        { shardId: 'shard-0002', storeKind: 'TRIE', state: 'READY', epoch: 1, slices: PARTITIONS },
      ]),
    );
    expect(await views.moves()).toEqual(here([]));
    const topic = 'site/line-1/state';
    expect(await views.shardFor(topic)).toMatchObject(
      here({
        slice: hashSlice(partitionOf(topic, PARTITIONS)),
        mode: 'SINGLE',
        epoch: 1,
        shards: [{ shardId: 'shard-0001', datastoreType: 'kv', state: 'READY' }],
        publishAsks: ['shard-0001', 'shard-0002'],
      }),
    );
    expect(await views.shardFor('site/+/state')).toMatchObject(
      here({
        slice: groupSlice(partitionOf('site', PARTITIONS)),
        shards: [{ shardId: 'shard-0002' }],
        publishAsks: [],
      }),
    );
  });

  test('shows a shard whose store does not answer as unreachable, until it answers again', async () => {
    const { views, passed, away } = await world();
    await passed(2_000);
    const states = async () => {
      const found = await views.shards();
      return found.kind === 'here' ? found.answer.map(({ shardId, state }) => `${shardId} ${state}`) : [];
    };
    away.add('shard-0002');
    expect(await states()).toEqual(['shard-0001 READY', 'shard-0002 UNREACHABLE']);
    away.clear();
    expect(await states()).toEqual(['shard-0001 READY', 'shard-0002 READY']);
  });

  test('is ready and live, and its first decision can be read', async () => {
    const { views, passed } = await world();
    await passed(2_000);
    expect(views.ready()).toMatchObject({ ready: true, reasons: [], restorePercent: 100, waiting: [], standing: [] });
    expect(views.live()).toEqual({ live: true, reasons: [] });
    expect(await views.decisions({ after: undefined, limit: 10, requestId: undefined })).toMatchObject(
      here({ decisions: [{ id: 'decision-000001', kind: 'START' }] }),
    );
    expect(await views.metricsText()).toBe('up 1\n');
  });

  test('has no forecast', async () => {
    const { views } = await world();
    expect(await views.forecastFor('site/line-1/state', 'SUBSCRIPTIONS')).toEqual(here(undefined));
  });

  test('is not live when the tasks are not told the time any more', async () => {
    const { cell, views } = await world();
    await cell.advance(1_000);
    cell.clock.advance(30_000);
    expect(views.live().live).toBe(true);
    cell.clock.advance(1);
    expect(views.live()).toEqual({ live: false, reasons: ['no task has had a clock tick for 30001 ms'] });
  });
});

describe('forecasts', () => {
  test('are of the topic itself when it is heavy, else of its leaf; the last one made is told', async () => {
    const { cell, views } = await world();
    const [heavy, light] = ['site/hot', 'site/cold'];
    for (let second = 0; second < 360; second++) {
      const timestamp = eventTime(cell.clock.now());
      const event = { action: 'SUBSCRIBE', brokerId: 'b', qos: 0, timestamp } as const;
      for (let i = 0; i < 5; i++)
        await cell.send(subscriptions, heavy, { ...event, topicFilter: heavy, clientId: `c${second}-${i}` });
      if (second % 10 === 0) await cell.send(subscriptions, light, { ...event, topicFilter: light, clientId: 'c' });
      await cell.advance(1_000);
    }
    const own = await views.forecastFor(heavy, 'SUBSCRIPTIONS');
    expect(own).toMatchObject(here({ series: topicSeries(heavy), share: 1 }));
    const leaf = leafSeries(partitionOf(light, PARTITIONS), leadingBits(filterHash(light), RATES.leafBits));
    expect(await views.forecastFor(light, 'SUBSCRIPTIONS')).toMatchObject(here({ series: leaf }));
    expect(await views.forecastFor(heavy, 'PUBLISHES')).toEqual(here(undefined));

    const told = cell.read(forecasts);
    const last = told.findLast(({ key }) => key === `${topicSeries(heavy)}|SUBSCRIPTIONS`)!;
    expect(own.kind === 'here' && own.answer?.forecast).toEqual(last.value);
  });
});

describe('what is sent', () => {
  test('metrics go to the partition of their subject, in order', async () => {
    const { cell, views } = await world();
    const timestamp = eventTime(START);
    const bodies: Metric['body'][] = [
      {
        kind: 'TopicTraffic',
        topic: 'a/b',
        brokerId: 'b',
        publishes: 1,
        bytes: 2,
        windowStart: timestamp,
        windowMs: 1,
      },
      {
        kind: 'DatastoreMetrics',
        shardId: shardId('shard-0001'),
        instanceId: '',
        cpu: 0.5,
        memoryBytes: 1,
        memoryLimitBytes: 2,
        iops: 1,
        iopsLimit: 2,
        entries: 3,
        lookupP99Ms: 4,
        timestamp,
        nodesPerLookup: 9,
        matchesPerLookup: 3,
      },
      { kind: 'BrokerHeartbeat', brokerId: 'broker-1', pointerOffset: 1, timestamp, startedAt: eventTime(0) },
    ];
    await views.sendMetrics(bodies.map((body) => ({ body })));
    await cell.log.settle();
    const read = cell.read(metrics);
    expect(new Map(read.map(({ key, partition }) => [key, partition]))).toEqual(
      new Map(['a/b', 'shard-0001', 'broker-1'].map((key) => [key, partitionOf(key, PARTITIONS)])),
    );
    expect(metricsOf(read)).toEqual(expect.arrayContaining(bodies));
  });

  test('one metric that is refused keeps all of them back', async () => {
    const { cell, views } = await world();
    const beat = {
      kind: 'BrokerHeartbeat',
      brokerId: 'broker-1',
      pointerOffset: 1,
      timestamp: eventTime(START),
    } as const;
    await expect(views.sendMetrics([{ body: beat }, { body: { ...beat, pointerOffset: -1 } }])).rejects.toMatchObject({
      code: 'METRIC_INVALID',
    });
    expect(cell.read(metrics)).toEqual([]);
  });

  test('a log that does not take a metric in time is told of, and the metric may be there later', async () => {
    const { log, clock, open } = await bare(runnerElsewhere({ kind: 'unknown' }));
    const views = await open();
    let take = (): void => {};
    const append = log.append.bind(log);
    log.append = async (records) => {
      await new Promise<void>((resolve) => {
        take = resolve;
      });
      await append(records);
    };
    const body = { kind: 'BrokerHeartbeat', brokerId: 'b', pointerOffset: 1, timestamp: eventTime(START) } as const;
    const sent = views.sendMetrics([{ body }]);
    sent.catch(() => {});
    clock.advance(5_000);
    await expect(sent).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
      message: expect.stringMatching(/may still do so/),
    });
    take();
    await log.settle();
    log.append = async () => Promise.reject(new AppError('LOG_UNAVAILABLE', 'gone'));
    await expect(views.sendMetrics([{ body }])).rejects.toMatchObject({ message: 'gone' });
  });

  test('a request to plan is answered by a decision of its id', async () => {
    const { cell, views, passed } = await world();
    await passed(2_000);
    const asked = [views.requestPlan('a/b', undefined), views.requestPlan('a/b', 'mine')];
    await passed(1_000);
    expect(await Promise.all(asked)).toMatchObject([
      { requestId: 'id-1', decision: { subject: 'a/b', kind: 'KEEP', requestId: 'id-1' } },
      { requestId: 'mine', decision: { subject: 'a/b', kind: 'KEEP', requestId: 'mine' } },
    ]);
    for (const requestId of ['id-1', 'mine']) {
      const page = await views.decisions({ after: undefined, limit: 10, requestId });
      expect(page).toMatchObject(here({ decisions: [{ subject: 'a/b', requestId }], next: undefined }));
    }
    expect(cell.read(decisions).length).toBeGreaterThan(2);
  });

  test('one that was answered before is answered again at once, by the same decision', async () => {
    const { views, passed } = await world();
    await passed(2_000);
    const first = views.requestPlan('a/+', 'mine');
    await passed(1_000);
    expect(await views.requestPlan('a/+', 'mine')).toEqual(await first);
  });

  test('one that the planner does not answer in time has its id, and the waiting ends', async () => {
    const { clock, open } = await bare(runnerElsewhere({ kind: 'unknown' }));
    const views = await open();
    const asked = views.requestPlan('a/b', 'mine');
    await new Promise(setImmediate); // The log has it.
    clock.advance(2_999);
    expect(await Promise.race([asked, new Promise((resolve) => setImmediate(resolve, 'waits'))])).toBe('waits');
    clock.advance(1);
    expect(await asked).toEqual({ requestId: 'mine', decision: undefined });
  });
});

describe('moves', () => {
  const MOVE = {
    kind: 'move',
    id: moveId('move-000001'),
    slice: hashSlice(0),
    from: shardId('shard-0001'),
    to: shardId('shard-0003'),
    state: 'COPYING',
    paused: false,
    rowsCopied: 5,
    bytesCopied: 6,
    rowsVerified: 0,
    rowsErased: 0,
    etaMs: 7,
    startedAt: eventTime(START),
    closedAt: eventTime(0),
    reason: 'shard-0001 will be too busy',
    outcome: '',
  };
  const planner: Running = {
    ...runnerElsewhere({ kind: 'here', row: undefined }),
    read: (_group, _table, _partition, key) => ({
      kind: 'here',
      row: (key === 'move/move-000001' ? MOVE : undefined) as never,
    }),
    rows: () => new Map([['move/move-000001', MOVE]]).entries() as never,
  };
  const steering = { moveId: MOVE.id, action: 'THROTTLE', rowsPerSecond: 9, requestId: undefined } as const;

  test('are told with their progress', async () => {
    const views = await (await bare(planner)).open();
    const { kind: _, id, closedAt, ...shown } = MOVE;
    expect(await views.moves()).toEqual(here([{ ...shown, moveId: id, endedAt: closedAt }]));
  });

  test('are steered by a request that says who and when', async () => {
    const { log, open } = await bare(planner);
    expect(await (await open()).steerMove(steering)).toEqual(here('id-1'));
    const { requestId: _, ...asked } = steering;
    const [record, ...others] = log.recordsOf(metrics.name);
    expect(others).toEqual([]);
    expect(record).toMatchObject({ partition: partitionOf(MOVE.id, PARTITIONS) });
    expect(String(record!.key)).toBe(MOVE.id);
    expect(metricsOf([{ value: jsonCodec.decode('Metric', record!.value!) }])).toEqual([
      { kind: 'MoveRequest', requestId: 'id-1', ...asked, timestamp: START },
    ]);
  });

  test('that are not known are not steered', async () => {
    const { log, open } = await bare(planner);
    const views = await open();
    expect(await views.steerMove({ ...steering, moveId: moveId('move-000002') })).toEqual(here(undefined));
    expect(log.recordsOf(metrics.name)).toEqual([]);
  });
});

describe('plans that wait', () => {
  const PLAN: ProposalRow = {
    kind: 'proposal',
    id: planId('plan-000001'),
    madeAt: eventTime(START),
    expiresAt: eventTime(START + 1_800_000),
    state: 'OPEN',
    deeds: ['allocate shard-0003 on kv'],
    steps: ['allocate shard-0003 on kv'],
    changes: [],
    reason: 'shard-0001 will be too busy',
    dollarsPerHour: 0.1,
    dollarsOnce: 0.01,
    promisedDollars: 50,
  };
  const planner: Running = {
    ...runnerElsewhere({ kind: 'here', row: undefined }),
    read: (_group, _table, _partition, key) => ({
      kind: 'here',
      row: (key === 'proposal/plan-000001' ? PLAN : undefined) as never,
    }),
    rows: () => new Map([['proposal/plan-000001', PLAN]]).entries() as never,
  };
  const answering = { planId: PLAN.id, answer: 'APPROVE', requestId: undefined } as const;

  test('are told with their price and their end', async () => {
    const views = await (await bare(planner)).open();
    const { kind: _, deeds: __, id, ...shown } = PLAN;
    expect(await views.plans()).toEqual(here([{ planId: id, ...shown }]));
  });

  test('are answered by a request that says who and when', async () => {
    const { log, open } = await bare(planner);
    expect(await (await open()).answerPlan(answering)).toEqual(here('id-1'));
    const [record, ...others] = log.recordsOf(metrics.name);
    expect(others).toEqual([]);
    expect(String(record!.key)).toBe(PLAN.id);
    expect(metricsOf([{ value: jsonCodec.decode('Metric', record!.value!) }])).toEqual([
      { kind: 'PlanAnswer', requestId: 'id-1', planId: PLAN.id, answer: 'APPROVE', timestamp: START },
    ]);
  });

  test('that are not known are not answered', async () => {
    const { log, open } = await bare(planner);
    expect(await (await open()).answerPlan({ ...answering, planId: planId('plan-000002') })).toEqual(here(undefined));
    expect(log.recordsOf(metrics.name)).toEqual([]);
  });
});

describe('where the planner is not here', () => {
  const cases = [
    { where: { kind: 'elsewhere', address: 'other:8080' }, answer: { kind: 'elsewhere', address: 'other:8080' } },
    { where: { kind: 'unknown' }, answer: { kind: 'nobody' } },
  ] as const;
  for (const { where, answer } of cases) {
    test(`shards, moves and steering are answered with ${answer.kind}, and nothing is sent`, async () => {
      const { log, open } = await bare(runnerElsewhere(where));
      const views = await open();
      await log.settle();
      expect(await views.shards()).toEqual(answer);
      expect(await views.moves()).toEqual(answer);
      const steering = { moveId: moveId('move-000001'), action: 'ABORT', rowsPerSecond: 0, requestId: 'r' } as const;
      expect(await views.steerMove(steering)).toEqual(answer);
      expect(await views.plans()).toEqual(answer);
      const yes = { planId: planId('plan-000001'), answer: 'APPROVE', requestId: 'r' } as const;
      expect(await views.answerPlan(yes)).toEqual(answer);
      expect(log.recordsOf(metrics.name)).toEqual([]);
    });

    test(`what topics tell is answered all the same (${answer.kind})`, async () => {
      const { log, open } = await bare(runnerElsewhere(where));
      const views = await open();
      await log.append(pointerRecords([{ slice: hashSlice(partitionOf('a', PARTITIONS)), shards: ['shard-0001'] }]));
      await log.settle();
      expect(await views.shardFor('a')).toMatchObject(here({ shards: [{ shardId: 'shard-0001' }] }));
      expect(await views.forecastFor('a', 'SUBSCRIPTIONS')).toEqual(here(undefined));
      expect(await views.decisions({ after: undefined, limit: 1, requestId: undefined })).toEqual(
        here({ decisions: [], next: undefined }),
      );
    });
  }
});

describe('dead letters', () => {
  test('are read when somebody asks for them, and kept up to date from then on', async () => {
    const { log, open } = await bare(runnerElsewhere({ kind: 'unknown' }));
    await log.prepare([{ name: deadLetters.name, partitions: 1, cleanup: 'delete', retentionMs: -1 }]);
    const refuse = (key: string) => {
      const record = { offset: 41, key: Buffer.from(key), value: Buffer.alloc(600), timestamp: START, headers: {} };
      const origin = { topic: 'subscriptions', partition: 1, group: 'work' };
      return log.append([deadLetter(record, { code: 'FILTER_INVALID', reason: 'the filter is wrong' }, origin)]);
    };
    await refuse('first');
    const follow = vi.spyOn(log, 'follow');
    const views = await open();
    expect(follow.mock.calls.map(([topic]) => topic)).not.toContain(deadLetters.name);
    const ask = async () => await views.deadLetters({ before: undefined, limit: 10 });
    const told = { code: 'FILTER_INVALID', topic: 'subscriptions', partition: 1, offset: 41, timestamp: START };
    expect(await ask()).toMatchObject(here({ letters: [{ number: 0, key: 'first', sizeBytes: 600, ...told }] }));
    await refuse('second');
    await log.settle();
    expect(await ask()).toMatchObject(
      here({
        letters: [
          { number: 1, key: 'second' },
          { number: 0, key: 'first' },
        ],
        next: undefined,
      }),
    );
    expect(follow.mock.calls.filter(([topic]) => topic === deadLetters.name)).toHaveLength(1);
  });

  test('are nobody’s while they cannot be read, and the waiting ends', async () => {
    const { clock, log, open } = await bare(runnerElsewhere({ kind: 'unknown' }));
    const views = await open();
    vi.spyOn(log, 'follow').mockReturnValue(new Promise(() => {})); // The log is away.
    const asked = views.deadLetters({ before: undefined, limit: 10 });
    clock.advance(3_000);
    expect(await asked).toEqual({ kind: 'nobody' });
  });
});

describe('the place of a topic', () => {
  const nobody = runnerElsewhere({ kind: 'unknown' });
  const leaf = hashSlice(partitionOf('a', PARTITIONS));
  const spread = [0, 1, 2].map((part) => spreadSlice('a', part, 3));
  const cases = [
    { name: 'unknown, when no slice covers it', entries: [], place: undefined },
    {
      name: 'its pin before its leaf',
      entries: [
        { slice: leaf, shards: ['shard-0001'] },
        { slice: pinSlice('a'), shards: ['shard-0003'] },
      ],
      place: { slice: pinSlice('a'), mode: 'SINGLE', ids: ['shard-0003'], publishAsks: ['shard-0003'] },
    },
    {
      name: 'every shard of its parts, when it is spread',
      entries: [
        { slice: leaf, shards: ['shard-0001'] },
        ...spread.map((slice, part) => ({ slice, shards: [`shard-000${4 + (part % 2)}`] })),
      ],
      place: {
        slice: expect.stringMatching(/^s\/\dof3\/a$/),
        mode: 'SPREAD',
        ids: ['shard-0004', 'shard-0005'],
        publishAsks: ['shard-0004', 'shard-0005'],
      },
    },
  ];
  for (const { name, entries, place } of cases) {
    test(name, async () => {
      const { log, open } = await bare(nobody);
      await log.append(pointerRecords(entries));
      const views = await open();
      await log.settle();
      const found = await views.shardFor('a');
      if (place === undefined) {
        expect(found).toEqual(here(undefined));
        return;
      }
      const { ids, ...rest } = place;
      expect(found).toMatchObject(here({ ...rest, shards: ids.map((id) => ({ shardId: id })) }));
    });
  }

  test('changes when the table changes', async () => {
    const { log, open } = await bare(nobody);
    const views = await open();
    for (const [index, shard] of ['shard-0001', 'shard-0003'].entries()) {
      await log.append(pointerRecords([{ slice: leaf, shards: [shard] }], index + 1));
      await log.settle();
      expect(await views.shardFor('a')).toMatchObject(here({ epoch: index + 1, shards: [{ shardId: shard }] }));
    }
  });

  test('has no shard that the table names and does not know', async () => {
    const { log, open } = await bare(nobody);
    const [pointer] = pointerRecords([{ slice: leaf, shards: ['shard-0001'] }]);
    await log.append([pointer!]);
    const views = await open();
    await log.settle();
    expect(await views.shardFor('a')).toMatchObject(here({ slice: leaf, shards: [] }));
  });
});

describe('following', () => {
  const ready = runnerElsewhere({ kind: 'here', row: undefined });
  const unavailable = new AppError('REGISTRY_UNAVAILABLE', 'no answer');

  test('waits for a registry that does not answer, and says what is not read', async () => {
    let answers = false;
    const codec: Codec = {
      ...jsonCodec,
      async prepare() {
        if (!answers) throw unavailable;
      },
    };
    const { log, clock, open } = await bare(ready, { codec });
    await log.append(pointerRecords([{ slice: hashSlice(partitionOf('a', PARTITIONS)), shards: ['shard-0001'] }]));
    const views = await open();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await views.shardFor('a')).toEqual({ kind: 'nobody' });
    expect(views.ready()).toMatchObject({ ready: false, reasons: ['still reading the existing pointers'] });
    answers = true;
    await clock.settle(log.settle());
    expect(await views.shardFor('a')).toMatchObject(here({ shards: [{ shardId: 'shard-0001' }] }));
    expect(views.ready().ready).toBe(true);
  });

  test('leaves out what cannot be decoded', async () => {
    const { log, open } = await bare(ready);
    const views = await open();
    const good = pointerRecords([{ slice: hashSlice(partitionOf('a', PARTITIONS)), shards: ['shard-0001'] }]);
    await log.append([{ topic: pointers.name, partition: 0, key: 'p:x', value: Buffer.from('{') }, ...good]);
    await log.append([{ topic: decisions.name, partition: 0, key: null, value: Buffer.from('') }]);
    await log.settle();
    expect(await views.shardFor('a')).toMatchObject(here({ shards: [{ shardId: 'shard-0001' }] }));
    expect(log.health().ok).toBe(true);
  });

  test('ends with close, also while it waits for the registry', async () => {
    const codec: Codec = {
      ...jsonCodec,
      async prepare() {
        throw unavailable;
      },
    };
    const { log, clock, open } = await bare(ready, { codec });
    await log.append(pointerRecords([{ slice: hashSlice(0), shards: ['shard-0001'] }]));
    const views = await open();
    await views.close();
    await views.close();
    await clock.settle(log.settle());
    expect(log.health().ok).toBe(true);
  });
});

test('an instance that has looked for a shard in vain is not ready, and says what is to be done', async () => {
  const { views, passed, lost } = await world();
  await passed(2_000);
  expect(views.ready().ready).toBe(true);
  lost.push('shard-0001: its data is lost');
  expect(views.ready()).toMatchObject({ ready: false, reasons: ['shard-0001: its data is lost'] });
});
