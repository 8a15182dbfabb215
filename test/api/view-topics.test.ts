// View topics: what the views answer from topics: forecasts, dead letters and the pointer table.

import { describe, expect, test, vi } from 'vitest';
import { deadLetter } from '../../runtime/dead-letter.ts';
import { eventTime } from '../../schemas/ids.ts';
import {
  filterHash,
  hashSlice,
  leadingBits,
  leafSeries,
  partitionOf,
  pinSlice,
  spreadSlice,
  topicSeries,
} from '../../state/keys.ts';
import { deadLetters, forecasts, subscriptions } from '../../topology/topics.ts';
import { bare, here, PARTITIONS, pointerRecords, RATES, runnerElsewhere, START, world } from './views-world.ts';

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
