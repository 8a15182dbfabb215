// Late readers: brokers whose table is from before a slice left a shard, when that shard was asked to take the slice back
// and the move was given up. Each is sent on; none is told that nobody subscribes.

import { afterEach, describe, expect, test } from 'vitest';
import { shardId } from '../../../schemas/ids.ts';
import { ApplyOnStores } from './apply-on-stores.ts';

const [A, B, C] = ['shard-0001', 'shard-0003', 'shard-0004'].map(shardId) as [
  ReturnType<typeof shardId>,
  ReturnType<typeof shardId>,
  ReturnType<typeof shardId>,
];

describe('apply: a reader from before an aborted move is sent on', () => {
  let task: ApplyOnStores;
  afterEach(() => task.close());

  /** `alarm` is pinned at A with epoch 2 and moves to B with epoch 5. */
  const pinned = async (settings = {}): Promise<void> => {
    task = await ApplyOnStores.start(settings);
    await task.allocate(B, C);
    await task.event('SUBSCRIBE', 'alarm', 'phone', 'broker-1');
    await task.command({ kind: 'SplitSlice', slice: 'c/0/' as never, into: ['c/0/', 't/alarm'] as never }, 2);
    await task.move('out', 't/alarm', A, B, 5);
  };

  test('while the slice around it has moved too', async () => {
    await pinned();
    await task.move('rest', 'c/0/', A, C, 6);
    expect((await task.ask(A, 'alarm', 4)).kind).toBe('moved');
    await task.move('back', 't/alarm', B, A, 7, 'ABORT');
    expect(task.progressOf('back')?.state).toBe('ABORTED');
    expect(await task.ask(A, 'alarm', 4)).toEqual({ kind: 'moved', epoch: 5 });
    expect((await task.ask(B, 'alarm', 6)).kind).toBe('found');
  });

  test('while the slice around it is still there', async () => {
    await pinned();
    await task.move('back', 't/alarm', B, A, 7, 'ABORT');
    expect(await task.ask(A, 'alarm', 4)).toEqual({ kind: 'moved', epoch: 5 });
    const records = await (await task.shards.store(A)).owners();
    expect(records).toContainEqual({ turn: 6, slice: 't/alarm', state: 'moved', epoch: 5, movedTo: B });
  });

  test('and a later move to the same shard ends well, as does a merge', async () => {
    await pinned();
    await task.move('back', 't/alarm', B, A, 7, 'ABORT');
    await task.move('again', 't/alarm', B, A, 8);
    expect(await task.ask(A, 'alarm', 8)).toMatchObject({ kind: 'found', subscribers: [{ clientId: 'phone' }] });
    expect((await task.ask(B, 'alarm', 7)).kind).toBe('moved');
    await task.command({ kind: 'MergeSlices', slices: ['c/0/', 't/alarm'] as never, into: 'c/0/' as never }, 9);
    expect(await task.ask(A, 'alarm', 9)).toMatchObject({ kind: 'found', subscribers: [{ clientId: 'phone' }] });
  });

  test('and what the shard never had is not asked for there by anybody, nor found', async () => {
    await pinned();
    await task.move('never', 't/alarm', B, C, 7, 'ABORT');
    expect((await task.ask(C, 'alarm', 7)).kind).toBe('moved');
    await task.move('there', 't/alarm', B, C, 8);
    expect(await task.ask(C, 'alarm', 8)).toMatchObject({ kind: 'found', subscribers: [{ clientId: 'phone' }] });
  });
});
