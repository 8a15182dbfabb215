import { describe, expect, test } from 'vitest';
import type { Batch, TaskHandler, TaskLog } from '../../topology/ports.ts';
import { MemoryLog } from '../support/memory-log.ts';
import { logSuite } from './log-suite.ts';

logSuite('memory', async ({ app, partitions }) => {
  let log = new MemoryLog({ app, partitions });
  return {
    log,
    restart: async () => {
      await log.close();
      log = new MemoryLog({ app, partitions, shelf: log.shelf });
      return log;
    },
    fence: async (group, partition) => log.fence(group.name, partition),
    failNextCommit: (tookEffect) => log.failNextCommit(tookEffect),
    compact: async (topic) => log.compact(topic),
    dispose: () => log.close(),
  };
});

describe('memory log: settling', () => {
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
      log.shelf.start = () => 1;
      const member = await log.join(group, { ...handlerOf(async () => {}), gained: async () => ({ 'in/0': next }) });
      await expect(member.done).rejects.toMatchObject({ code: 'INPUT_TRUNCATED' });
      await log.close();
    });
  }
});
