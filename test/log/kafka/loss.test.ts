import { describe, expect, test } from 'vitest';
import { letterOfLoss, shardsOf } from '../../../cli/accept-loss.ts';
import { originalOf } from '../../../cli/dead-letters.ts';
import type { RawCluster } from '../../../log/kafka/client.ts';
import { acceptedLoss, acceptLosses, committedIn } from '../../../log/kafka/loss.ts';
import { letterOf } from '../../../runtime/dead-letter.ts';
import { shardId, sliceKey } from '../../../schemas/ids.ts';
import { PointerTable } from '../../../state/pointer-table.ts';

/** A group's committed offsets, as its coordinator keeps them. */
class Offsets {
  readonly kept = new Map<string, { offset: string; metadata: string | null }>();
  refusal: Error | undefined;

  readonly cluster = {
    findGroupCoordinator: async () => ({
      offsetFetch: async ({ topics }: { topics: { topic: string; partitions: { partition: number }[] }[] }) => ({
        responses: topics.map(({ topic, partitions }) => ({
          topic,
          partitions: partitions.map(({ partition }) => ({
            partition,
            ...(this.kept.get(`${topic}/${partition}`) ?? { offset: '-1', metadata: null }),
          })),
        })),
      }),
      offsetCommit: async ({
        topics,
      }: {
        topics: { topic: string; partitions: { partition: number; offset: string; metadata: string }[] }[];
      }) => {
        if (this.refusal !== undefined) throw this.refusal;
        for (const { topic, partitions } of topics)
          for (const { partition, offset, metadata } of partitions)
            this.kept.set(`${topic}/${partition}`, { offset, metadata });
      },
    }),
  } as unknown as RawCluster;
}

const PLACE = { topic: 'subscriptions', partition: 3 };
const HOLDS = { start: 10, end: 60 };

async function isAccepted(offsets: Offsets, place = PLACE): Promise<boolean> {
  const [committed] = await committedIn(offsets.cluster, 'work', [place]);
  return acceptedLoss(committed!);
}

describe('a loss that a person accepts', () => {
  test('is that of the group’s own position, and no other', async () => {
    const offsets = new Offsets();
    offsets.kept.set('subscriptions/3', { offset: '5', metadata: null });
    offsets.kept.set('subscriptions/2', { offset: '50', metadata: null });
    expect(await isAccepted(offsets)).toBe(false);
    const places = [1, 2, 3].map((partition) => ({ topic: 'subscriptions', partition, ...HOLDS }));
    const losses = await acceptLosses(offsets.cluster, 'work', places);
    expect(losses).toEqual([{ ...PLACE, offset: 5, next: 10 }]);
    expect(await isAccepted(offsets)).toBe(true);
    expect(await isAccepted(offsets, { ...PLACE, partition: 2 })).toBe(false);
    const { metadata } = offsets.kept.get('subscriptions/3')!;
    expect(acceptedLoss({ offset: 6, metadata })).toBe(false);
  });

  test('is accepted once: the next commit of the task takes the word back', async () => {
    const offsets = new Offsets();
    offsets.kept.set('subscriptions/3', { offset: '5', metadata: null });
    await acceptLosses(offsets.cluster, 'work', [{ ...PLACE, ...HOLDS }]);
    offsets.kept.set('subscriptions/3', { offset: '12', metadata: null });
    expect(await isAccepted(offsets)).toBe(false);
  });

  test('is also that of a topic which ends before the group’s position: it was created anew', async () => {
    const offsets = new Offsets();
    offsets.kept.set('subscriptions/3', { offset: '90', metadata: null });
    const losses = await acceptLosses(offsets.cluster, 'work', [{ ...PLACE, ...HOLDS }]);
    expect(losses).toEqual([{ ...PLACE, offset: 90, next: 10 }]);
    expect(await isAccepted(offsets)).toBe(true);
  });

  test('is not accepted while the group is at work', async () => {
    const offsets = new Offsets();
    offsets.kept.set('subscriptions/3', { offset: '5', metadata: null });
    offsets.refusal = Object.assign(new Error('not a member'), { type: 'UNKNOWN_MEMBER_ID' });
    await expect(acceptLosses(offsets.cluster, 'work', [{ ...PLACE, ...HOLDS }])).rejects.toMatchObject({
      code: 'REQUEST_INVALID',
      message: expect.stringMatching(/stop every instance/),
    });
  });

  test('names the shards to check, and is kept as a dead letter that cannot be replayed', () => {
    const table = new PointerTable(4);
    const record = (slice: string, shard: string, index: number) => ({
      change: { epoch: 1, index, count: 4 },
      body: { kind: 'PointerEntry', slice: sliceKey(slice), epoch: 1, mode: 'SINGLE', shards: [shardId(shard)] },
    });
    for (const [index, [slice, shard]] of [
      ['c/3/', 'shard-b'],
      ['w/3/', 'shard-a'],
      ['c/2/', 'shard-c'],
      ['t/f', 'shard-d'], // Of as many partitions as the table has, it is in 3.
    ].entries())
      table.apply(`p:${slice}`, record(slice!, shard!, index) as never, index);
    table.reached(4, 4);
    const shards = shardsOf(table, 3);
    expect(shards).toEqual(['shard-a', 'shard-b', 'shard-d']);
    const letter = letterOfLoss(
      { topic: 'subscriptions', partition: 3, from: 5, to: 10, wasRead: false, group: 'work', shards },
      1_000,
    );
    const raw = { ...letter, key: null, offset: 0, timestamp: 1_000, headers: letter.headers };
    expect(letterOf(raw)).toMatchObject({ code: 'INPUT_TRUNCATED', topic: 'subscriptions', partition: 3, offset: 5 });
    expect(letterOf(raw).reason).toMatch(/records 5 to 9 are gone.*shards to check: shard-a shard-b shard-d/);
    expect(() => originalOf(raw)).toThrow(/cannot be replayed/);
  });
});
