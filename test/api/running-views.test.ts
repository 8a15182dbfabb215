// Running views: what an instance answers from its own rows, from topics, or not at all.

import { describe, expect, test } from 'vitest';
import { type Codec, jsonCodec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { moveId, planId } from '../../schemas/ids.ts';
import { groupSlice, hashSlice, partitionOf } from '../../state/keys.ts';
import { decisions, metrics, pointers } from '../../topology/topics.ts';
import { bare, here, PARTITIONS, pointerRecords, runnerElsewhere, world } from './views-world.ts';

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
