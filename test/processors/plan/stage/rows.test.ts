import { expect, test } from 'vitest';
import {
  type Row,
  type SliceRow,
  shardKey,
  shardsIn,
  sliceRowKey,
  slicesIn,
} from '../../../../processors/plan/stage/rows.ts';
import type { Rows } from '../../../../processors/step.ts';
import { epoch, eventTime, shardId, sliceKey } from '../../../../schemas/ids.ts';

const SLICE: SliceRow = {
  ...{
    kind: 'slice' as const,
    slice: sliceKey('h/3'),
    shard: shardId('shard-0001'),
    epoch: epoch(1),
    entries: 0,
    bytes: 0,
  },
  ...{ coolUntil: eventTime(0), busyWith: '' },
};

test('a repository knows the rows of its kind by their ids, and stores them where every release has', () => {
  const rows = new Map<string, Row>([[shardKey('h/3'), SLICE]]);
  const all = rows as unknown as Rows<Row>;
  expect(slicesIn(all).get('h/3')).toBeUndefined();
  expect(shardsIn(all).get('h/3')).toBeUndefined(); // It is there under the key of another kind.
  slicesIn(all).put(SLICE);
  expect(slicesIn(all).get('h/3')).toBe(SLICE);
  expect(rows.get(sliceRowKey('h/3'))).toBe(SLICE);
  slicesIn(all).delete('h/3');
  expect([...slicesIn(all).all()]).toEqual([SLICE]);
  expect(rows.has(sliceRowKey('h/3'))).toBe(false);
});
