import { describe, expect, test } from 'vitest';
import { PointerRecords } from '../../api/pointer-records.ts';
import type { PointerRecord } from '../../schemas/records.ts';
import { keyOfBody, PointerTable } from '../../state/pointer-table.ts';
import { FakeTopic, pointer, shard } from '../broker/fakes.ts';

const never = new Promise<void>(() => {});

/** A topic of changes, and the records of it. */
function given(partitions = 1) {
  const topic = new FakeTopic();
  const records = new PointerRecords(partitions);
  let taken = 0;
  return {
    topic,
    records,
    read(): void {
      for (; taken < topic.records.length; taken++) {
        const { key, value } = topic.records[taken]!;
        records.take(key!, value === null ? null : (JSON.parse(value.toString('utf8')) as PointerRecord), taken);
      }
      records.reached(taken);
    },
  };
}

describe('pointer records', () => {
  test('are the newest of each key, in order, and make the table that the topic makes', () => {
    const { topic, records, read } = given();
    topic.change(shard('a'), shard('b'), pointer('c/0/', ['a']), pointer('w/0/', ['b']));
    topic.change(pointer('c/0/', ['b']));
    topic.put(keyOfBody({ ...pointer('w/9/', ['b']), epoch: 1 } as never), null);
    read();
    const page = records.page(0);
    expect(page).toMatchObject({ partitions: 1, next: 6, end: 6, restarts: false });
    expect(page.records.map(({ offset }) => offset)).toEqual([0, 1, 3, 4, 5]);
    const table = new PointerTable(1);
    for (const { key, value, offset } of page.records) table.apply(key, value, offset);
    table.reached(page.next, page.end);
    expect([table.epoch, table.resolve('a', 'c')?.shards]).toEqual([2, ['b']]);
    expect(records.page(4).records.map(({ offset }) => offset)).toEqual([4, 5]);
    expect(records.page(6)).toMatchObject({ records: [], next: 6 });
  });

  test('of a reader of another table begin anew', () => {
    const { topic, records, read } = given();
    topic.change(shard('a'));
    read();
    expect(records.page(9)).toMatchObject({ restarts: true, records: [{ offset: 0 }], next: 1 });
  });

  test('come in pages', () => {
    const { topic, records, read } = given();
    for (let i = 0; i < 5_001; i++) topic.change(shard(`s${i}`));
    read();
    const first = records.page(0);
    expect([first.records.length, first.next, first.end]).toEqual([5_000, 5_000, 5_001]);
    expect(records.page(first.next)).toMatchObject({ records: [{ offset: 5_000 }], next: 5_001 });
  });

  test('are waited for', async () => {
    const { topic, records, read } = given();
    await records.newerThan(0, Promise.resolve()); // Patience is over.
    let isThere = false;
    const waiting = records.newerThan(0, never).then(() => {
      isThere = true;
    });
    await Promise.resolve();
    expect(isThere).toBe(false);
    topic.change(shard('a'));
    read();
    await waiting;
    await records.newerThan(0, never);
  });
});
