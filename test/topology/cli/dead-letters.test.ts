import { describe, expect, test } from 'vitest';
import { letterOf, originalOf } from '../../../topology/cli/dead-letters.ts';
import { DEAD_VALUE_BYTES_MAX, deadLetter } from '../../../topology/dead-letter.ts';
import type { RawRecord } from '../../../topology/ports.ts';

const refused: RawRecord = {
  offset: 41,
  key: Buffer.from('a/#/b'),
  value: Buffer.from([0, 0, 0, 0, 7, 1, 2]),
  timestamp: 1_767_000_000_000,
  headers: { traceparent: '00-1', twice: ['x', 'y'] },
};
const refusal = { code: 'FILTER_INVALID', reason: 'the filter is wrong' } as const;
const origin = { topic: 'subscriptions', partition: 3, group: 'work' };

/** As it is read back: the letter as a record of the dead-letters topic. */
function read(record: RawRecord): RawRecord {
  const { key, value, headers } = deadLetter(record, refusal, origin);
  return { offset: 5, key: key as Buffer, value, timestamp: 0, headers };
}

describe('dead letters', () => {
  test('a letter tells what was refused, where it came from and why', () => {
    expect(letterOf(read(refused))).toEqual({
      number: 5,
      code: 'FILTER_INVALID',
      reason: 'the filter is wrong',
      topic: 'subscriptions',
      partition: 3,
      offset: 41,
      timestamp: 1_767_000_000_000,
      key: 'a/#/b',
      sizeBytes: 7,
    });
  });

  test('what is replayed is the record as it came, with its own headers alone', () => {
    expect(originalOf(read(refused))).toEqual({
      topic: 'subscriptions',
      partition: 3,
      key: refused.key,
      value: refused.value,
      headers: refused.headers,
    });
  });

  test('a record that was too large to be kept whole is not replayed in part', () => {
    const large = { ...refused, value: Buffer.alloc(DEAD_VALUE_BYTES_MAX + 1) };
    expect(() => originalOf(read(large))).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
  });

  test('a record that is no dead letter is not replayed', () => {
    expect(() => originalOf(refused)).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
  });
});
