import { describe, expect, test } from 'vitest';
import { letterOf, originalOf, overtaken } from '../../cli/dead-letters.ts';
import { DEAD_VALUE_BYTES_MAX, deadLetter } from '../../runtime/dead-letter.ts';
import type { Log, OutRecord, RawRecord } from '../../runtime/ports.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { MemoryLog } from '../support/memory-log.ts';

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

  for (const { name, after, kept = 0, expected } of [
    { name: 'nothing came after it', after: [], expected: [] },
    { name: 'its client has unsubscribed since', after: [event('me', 'UNSUBSCRIBE')], expected: [5] },
    { name: 'its client has subscribed anew since', after: [event('me', 'SUBSCRIBE')], expected: [5] },
    { name: 'another client has unsubscribed since', after: [event('you', 'UNSUBSCRIBE')], expected: [] },
    {
      name: 'its client has unsubscribed from another filter since',
      after: [event('me', 'UNSUBSCRIBE', 'b')],
      expected: [],
    },
    { name: 'what came after it may be gone', after: [event('you', 'SUBSCRIBE')], kept: 2, expected: [5] },
  ])
    test(`an event that was refused is ${expected.length > 0 ? 'left out' : 'replayed'} when ${name}`, async () => {
      const log = new MemoryLog({ app: 'letters', partitions: 1, now: () => 0 });
      await log.prepare([{ name: 'subscriptions', partitions: 1, cleanup: 'delete', retentionMs: 1 }]);
      const before = [event('me', 'UNSUBSCRIBE'), event('me', 'SUBSCRIBE')];
      await log.append([...before, ...after].map(recordOf));
      const letter = recordOf(event('me', 'SUBSCRIBE'));
      const origin = { topic: 'subscriptions', partition: 0, group: 'work' };
      const record = { offset: 1, key: Buffer.from('a'), value: letter.value, timestamp: 0, headers: {} };
      const { key, value, headers } = deadLetter(record, refusal, origin);
      const following = kept === 0 ? log : withoutFirst(log, kept);
      const found = await overtaken({ log: following, codec: jsonCodec }, [
        { offset: 5, key: key as Buffer, value, timestamp: 0, headers },
      ]);
      expect([...found]).toEqual(expected);
      await log.close();
    });
});

function event(clientId: string, action: SubscriptionEvent['action'], topicFilter = 'a'): SubscriptionEvent {
  return { action, topicFilter, clientId, brokerId: 'b', qos: 0, timestamp: eventTime(1) };
}

const recordOf = (value: SubscriptionEvent): OutRecord => ({
  topic: 'subscriptions',
  partition: 0,
  key: value.topicFilter,
  value: jsonCodec.encode('SubscriptionEvent', value),
});

/** The log after its oldest records have been deleted. */
const withoutFirst = (log: Log, count: number): Log =>
  ({
    follow: (topic, from, take) =>
      log.follow(topic, from, (batch) =>
        take({ ...batch, records: batch.records.filter(({ offset }) => offset >= count) }),
      ),
  }) satisfies Partial<Log> as Log;
