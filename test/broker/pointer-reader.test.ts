import { describe, expect, test } from 'vitest';
import { PointerReader } from '../../broker/pointer-reader.ts';
import { type Codec, jsonCodec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { epoch } from '../../schemas/ids.ts';
import { firstSlices } from '../../state/slice-tree.ts';
import { FakeClock, FakeTopic, PARTITIONS, pointer, shard, turns } from './fakes.ts';

const begun = (): FakeTopic => {
  const topic = new FakeTopic();
  topic.change(shard('s1'), shard('s2'), ...firstSlices(PARTITIONS).map((slice) => pointer(slice, ['s1'])));
  return topic;
};
const opened = (topic: FakeTopic, snapshot?: PointerReader['table']): Promise<PointerReader> =>
  PointerReader.open(
    { log: topic, codec: jsonCodec, clock: new FakeClock() },
    { partitions: PARTITIONS, ...(snapshot && { snapshot: snapshot.snapshot() }) },
  );
const following = async (topic: FakeTopic): Promise<PointerReader> => {
  const reader = await opened(topic);
  await topic.hand();
  topic.caughtUp();
  await reader.ready;
  return reader;
};

describe('pointer reader', () => {
  test('it is ready when it has read what there was, not before', async () => {
    const topic = begun();
    const reader = await opened(topic);
    await topic.hand(3);
    expect(reader.isReady).toBe(false);
    expect(reader.table.size).toBe(0);
    await topic.hand();
    topic.caughtUp();
    await reader.ready;
    expect(reader.table.size).toBe(4);
    expect(reader.table.position).toBe(topic.records.length);
  });

  test('it is not ready in the middle of a change that was written while it read', async () => {
    const topic = begun();
    const reader = await opened(topic);
    const heard: number[] = [];
    reader.onChange((at) => heard.push(at));
    topic.change(pointer('c/0/', [], 'GONE'), pointer('c/0/0', ['s1']), pointer('c/0/1', ['s1']));
    await topic.hand(topic.records.length - 2);
    topic.caughtUp(); // What there was at the start has been handed over.
    await turns();
    expect([reader.isReady, heard]).toEqual([false, []]);
    await topic.hand(topic.records.length - 1);
    await turns();
    expect([reader.isReady, heard]).toEqual([false, []]);
    await topic.hand();
    await reader.ready;
    expect(heard).toEqual([2]);
    expect([...reader.table.pointers()].map(({ slice }) => slice)).toContain('c/0/1');
  });

  test('an empty topic is read at once', async () => {
    const topic = new FakeTopic();
    const reader = await opened(topic);
    topic.caughtUp();
    await reader.ready;
    topic.change(shard('s1'), pointer('c/0/', ['s1']));
    await topic.hand();
    expect(reader.table.epoch).toBe(1);
  });

  test('listeners hear of each change once, and not of half of one', async () => {
    const topic = begun();
    const reader = await following(topic);
    const heard: number[] = [];
    const stop = reader.onChange((at) => heard.push(at));
    topic.change(pointer('c/0/', [], 'GONE'), pointer('c/0/0', ['s1']), pointer('c/0/1', ['s1']));
    await topic.hand(topic.records.length - 1);
    expect(heard).toEqual([]);
    await topic.hand();
    expect(heard).toEqual([2]);
    stop();
    topic.change(pointer('c/1/', ['s2']));
    await topic.hand();
    expect(heard).toEqual([2]);
  });

  test('where the topic lost what was read, the table in use stays until a new one is whole', async () => {
    const topic = begun();
    const reader = await following(topic);
    topic.change(pointer('c/1/', ['s2']));
    await topic.hand();
    const before = reader.table;
    expect(before.resolve('a', 'client')).toBeDefined();
    topic.loseFrom(topic.records.length - 1);
    topic.epoch -= 1;
    topic.change(shard('s3'), pointer('c/1/', ['s3']));
    await topic.hand(3);
    expect(reader.table).toBe(before);
    await topic.hand();
    expect(reader.table).not.toBe(before);
    const entry = reader.table.snapshot().pointers.find(({ slice }) => slice === 'c/1/');
    expect(entry?.shards).toEqual(['s3']);
  });

  test('waiting for a newer table ends with it, or with the time', async () => {
    const topic = begun();
    const reader = await following(topic);
    expect(await reader.newerThan(epoch(0), 1_000)).toBe(true);
    expect(await reader.newerThan(epoch(1), 1_000)).toBe(false);
    const waiting = reader.newerThan(epoch(1), 1_000);
    topic.change(pointer('c/1/', ['s2']));
    await topic.hand();
    expect(await waiting).toBe(true);
  });

  test('records that cannot be read are counted and passed over', async () => {
    const topic = begun();
    topic.put('p:c/0/', Buffer.from('{'));
    topic.put(null, Buffer.from('{}'));
    topic.change(pointer('c/0/', ['s2']));
    const reader = await following(topic);
    expect(reader.ignored).toBe(2);
    expect(reader.table.epoch).toBe(2);
  });

  test('a snapshot spares what it holds', async () => {
    const topic = begun();
    const { table } = await following(topic);
    topic.records.fill({ key: 'p:c/0/', value: Buffer.from('{') }); // Would be counted if it were read.
    topic.change(pointer('c/0/', ['s2']));
    const again = new FakeTopic();
    again.records.push(...topic.records);
    const reader = await opened(again, table);
    expect(reader.table.size).toBe(4);
    await again.hand();
    again.caughtUp();
    await reader.ready;
    expect(reader.ignored).toBe(0);
    expect(reader.table.epoch).toBe(2);
  });

  for (const { name, left } of [
    { name: 'shorter', left: 2 },
    { name: 'empty', left: 0 },
  ])
    test(`a snapshot of another life of the topic is dropped: the topic is ${name}`, async () => {
      const { table } = await following(begun());
      const topic = new FakeTopic();
      if (left > 0) topic.change(shard('s9'), pointer('c/0/', ['s9']));
      const reader = await opened(topic, table);
      if (left > 0) await topic.hand();
      topic.caughtUp();
      await reader.ready;
      expect(reader.table.size).toBe(left > 0 ? 1 : 0);
    });

  test('it stands still while the registry is away, and goes on by itself', async () => {
    const topic = begun();
    const clock = new FakeClock();
    let refusals = 0;
    const codec: Codec = {
      ...jsonCodec,
      async prepare() {
        if (refusals-- > 0) throw new AppError('REGISTRY_UNAVAILABLE', 'no answer');
      },
    };
    const reader = await PointerReader.open({ log: topic, codec, clock }, { partitions: PARTITIONS });
    await topic.hand();
    topic.caughtUp();
    await reader.ready;
    refusals = 50;
    topic.change(pointer('c/0/', ['s2']));
    await topic.hand();
    expect(clock.slept).toHaveLength(50);
    expect(reader.table.epoch).toBe(2);
  });

  test('closing ends its wait for the registry', async () => {
    const topic = begun();
    const codec: Codec = {
      ...jsonCodec,
      async prepare() {
        throw new AppError('REGISTRY_UNAVAILABLE', 'no answer');
      },
    };
    const reader = await PointerReader.open({ log: topic, codec, clock: new FakeClock() }, { partitions: PARTITIONS });
    const handed = topic.hand();
    await reader.close();
    await handed;
    expect(reader.table.position).toBe(0);
  });

  test('closing stops following', async () => {
    const topic = begun();
    const reader = await following(topic);
    await reader.close();
    await turns();
    expect(topic.isClosed).toBe(true);
  });
});
