// View requests: metrics, plan requests, moves and plans that callers send through the views.

import { describe, expect, test } from 'vitest';
import type { ProposalRow } from '../../processors/plan/stage/rows.ts';
import type { Running } from '../../runtime/runner.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { eventTime, moveId, planId, shardId } from '../../schemas/ids.ts';
import type { Metric } from '../../schemas/records.ts';
import { hashSlice, partitionOf } from '../../state/keys.ts';
import { decisions, metrics } from '../../topology/topics.ts';
import { bare, here, metricsOf, PARTITIONS, runnerElsewhere, START, world } from './views-world.ts';

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
