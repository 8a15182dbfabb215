import { expect, test, vi } from 'vitest';
import { Health } from '../../../log/kafka/client.ts';
import { follow } from '../../../log/kafka/follower.ts';
import type { Batch } from '../../../runtime/ports.ts';
import { silentLogger } from '../../../runtime/telemetry.ts';
import { FakePartition } from '../../support/fake-partition.ts';

const settings = { maxWaitMs: 1, maxBytes: 1e6, maxBytesPerPartition: 1e6, queueBytesMax: 1e6, recordsMax: 100 };

test('a topic that lost what was followed is read from its start, its reader is told, and it is counted', async () => {
  const partition = new FakePartition('foreshard.table');
  partition.append('a', 'b', 'c');
  const batches: Batch[] = [];
  const counted: unknown[] = [];
  const follower = await follow({
    cluster: partition.cluster,
    places: [{ topic: 'foreshard.table', partition: 0 }],
    from: 'earliest',
    take: async (batch) => void batches.push(batch),
    settings,
    health: new Health(silentLogger, { add: (name, _by, labels) => void counted.push([name, labels]) }),
    logger: silentLogger,
    topic: 'table',
  });
  await follower.caughtUp;
  partition.elect(1);
  partition.append('B', 'C', 'D', 'E');
  const values = (): string[] => batches.flatMap(({ records }) => records.map(({ value }) => String(value)));
  await vi.waitFor(() => expect(values()).toEqual(['a', 'b', 'c', 'a', 'B', 'C', 'D', 'E']), { interval: 1 });
  await follower.close();
  expect(batches.map(({ restartsAt }) => restartsAt).filter((at) => at !== undefined)).toEqual([0]);
  expect(counted).toEqual([['foreshard_input_truncated_total', { topic: 'table' }]]);
});

test('a follower catches up with a topic that became shorter before it got to its end', async () => {
  const partition = new FakePartition('foreshard.table');
  partition.append('a', 'b', 'c');
  const taken: number[] = [];
  partition.onTheWay = (bytes) => bytes.subarray(0, bytes.length / 3); // The first record, and no more of it after that.
  const follower = await follow({
    cluster: partition.cluster,
    places: [{ topic: 'foreshard.table', partition: 0 }],
    from: 'earliest',
    take: async ({ nextOffset }) => void taken.push(nextOffset),
    settings,
    health: new Health(silentLogger),
    logger: silentLogger,
    topic: 'table',
  });
  await vi.waitFor(() => expect(taken).toEqual([1]), { interval: 1 });
  partition.elect(0);
  await follower.caughtUp;
  await follower.close();
});
