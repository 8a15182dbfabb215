import { describe, expect, test } from 'vitest';
import type { Batch, TaskHandler, TaskLog } from '../../../runtime/ports.ts';
import { MemoryLog } from '../../support/memory-log.ts';
import { logSuite } from '../log-suite.ts';

logSuite('memory', async ({ app, partitions }) => {
  let log = new MemoryLog({ app, partitions });
  return {
    log,
    restart: async () => {
      await log.close();
      log = new MemoryLog({ app, partitions, storage: log.storage });
      return log;
    },
    fence: async (group, partition) => log.fence(group.name, partition),
    failNextCommit: (tookEffect) => log.failNextCommit(tookEffect),
    compact: async (topic) => log.compact(topic),
    dispose: () => log.close(),
  };
});

describe('local log: what tests can bring about in memory', () => {
  const shape = { name: 'in', partitions: 1, cleanup: 'delete', retentionMs: 1000 } as const;
  const group = { name: 'g', gathers: false, address: '', topics: [{ name: 'in', partitions: 'all' }] } as const;
  const append = (log: MemoryLog, ...values: string[]) =>
    log.append(values.map((value) => ({ topic: 'in', partition: 0, key: null, value: Buffer.from(value) })));

  function handlerOf(take: (task: TaskLog, batch: Batch) => Promise<void>): TaskHandler {
    return { gained: async () => ({}), records: take, lost: async () => {} };
  }

  test('it waits for what a task emits while it takes what was appended', async () => {
    const log = new MemoryLog({ app: 'a', partitions: 1 });
    await log.prepare([shape]);
    const seen: string[] = [];
    await log.join(
      group,
      handlerOf(async (task, batch) => {
        for (const { value } of batch.records) {
          seen.push(String(value));
          const next = Number(value) - 1;
          if (next < 0) continue;
          const output = { topic: 'in', partition: 0, key: null, value: Buffer.from(String(next)) };
          await task.commit({ changelog: [], outputs: [output], inputs: {} });
        }
      }),
    );
    await append(log, '5');
    await log.settle();
    expect(seen).toEqual(['5', '4', '3', '2', '1', '0']);
    await log.close();
  });

  test('a batch can be delivered twice', async () => {
    const log = new MemoryLog({ app: 'a', partitions: 1 });
    await log.prepare([shape]);
    const seen: string[] = [];
    await log.join(
      group,
      handlerOf(async (_, batch) => {
        seen.push(batch.records.map((each) => String(each.value)).join());
      }),
    );
    log.deliverTwice();
    await append(log, 'a', 'b');
    await log.settle();
    await append(log, 'c');
    await log.settle();
    expect(seen).toEqual(['a,b', 'a,b', 'c']);
    await log.close();
  });

  test('a newer member of the group fences the older one', async () => {
    const log = new MemoryLog({ app: 'a', partitions: 1 });
    await log.prepare([shape]);
    let old: TaskLog | undefined;
    const losses: boolean[] = [];
    const first = await log.join(group, {
      gained: async (task) => {
        old = task;
        return {};
      },
      records: async () => {},
      lost: async (_, orderly) => {
        losses.push(orderly);
      },
    });
    await log.settle();
    await log.join(
      group,
      handlerOf(async () => {}),
    );
    await expect(old!.commit({ changelog: [], outputs: [], inputs: {} })).rejects.toMatchObject({
      code: 'TASK_FENCED',
    });
    await expect(first.done).rejects.toMatchObject({ code: 'TASK_FENCED' });
    await log.settle();
    expect(losses).toEqual([false]);
    await log.close();
  });

  for (const { what, next } of [
    { what: 'before the start', next: 0 },
    { what: 'past the end', next: 99 },
  ]) {
    test(`a task that goes on ${what} of its input is told, not reset`, async () => {
      const log = new MemoryLog({ app: 'a', partitions: 1 });
      await log.prepare([shape]);
      await append(log, 'a', 'b');
      log.storage.start = () => 1;
      const member = await log.join(group, { ...handlerOf(async () => {}), gained: async () => ({ 'in/0': next }) });
      await expect(member.done).rejects.toMatchObject({ code: 'INPUT_TRUNCATED' });
      await log.close();
    });
  }

  test('after a failed write a commit is in doubt, nothing more is written, and every group ends', async () => {
    const log = new MemoryLog({ app: 'a', partitions: 1 });
    await log.prepare([shape]);
    let owned: TaskLog | undefined;
    const losses: boolean[] = [];
    const member = await log.join(group, {
      gained: async (task) => {
        owned = task;
        return {};
      },
      records: async () => {},
      lost: async (_, orderly) => {
        losses.push(orderly);
      },
    });
    const follower = await log.follow('in', 'earliest', async () => {});
    await log.settle();
    log.storage.write = () => Promise.reject(new Error('no space left on device'));
    const commit = { changelog: [{ key: 'a', value: Buffer.from('1') }], outputs: [], inputs: {} };
    const results = await Promise.allSettled([owned!.commit(commit), append(log, 'a')]);
    expect(results.map((each) => each.status === 'rejected' && each.reason.code)).toEqual([
      'COMMIT_UNKNOWN',
      'LOG_UNAVAILABLE',
    ]);
    await expect(append(log, 'b')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await expect(member.done).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(log.health()).toMatchObject({ ok: false, reason: expect.stringContaining('no space left') });
    await follower.close();
    await log.close();
    expect(losses).toEqual([false]);
  });

  test('a handler that throws a bug ends its group with it', async () => {
    const log = new MemoryLog({ app: 'a', partitions: 1 });
    await log.prepare([shape]);
    const member = await log.join(
      group,
      handlerOf(async () => {
        throw new Error('a bug');
      }),
    );
    await append(log, 'a');
    await expect(member.done).rejects.toThrow('a bug');
    await log.close();
  });

  test('leaving does not wait longer than its deadline for a batch that is never taken', async () => {
    const log = new MemoryLog({ app: 'a', partitions: 1 });
    await log.prepare([shape]);
    let taking: TaskLog | undefined;
    const took = new Promise<void>((resolve) => {
      void log.join(
        group,
        handlerOf((task) => {
          taking = task;
          resolve();
          return new Promise(() => {});
        }),
      );
    });
    await append(log, 'a');
    await took;
    const member = await log.join(
      { ...group, name: 'other' },
      handlerOf(() => new Promise(() => {})),
    );
    await member.leave(5);
    await member.done;
    log.fence('g', 0);
    await expect(taking!.commit({ changelog: [], outputs: [], inputs: {} })).rejects.toMatchObject({
      code: 'TASK_FENCED',
    });
  });
});
