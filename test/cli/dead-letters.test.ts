import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { serveHttp } from '../../api/edge/http-server.ts';
import { LetterRing } from '../../api/letter-ring.ts';
import { listLetters, originalOf, overtaken, showLetter } from '../../cli/dead-letters.ts';
import { Output } from '../../cli/output.ts';
import { type Config, configOf } from '../../config/config.ts';
import { DEAD_VALUE_BYTES_MAX, deadLetter, letterOf } from '../../runtime/dead-letter.ts';
import type { Log, OutRecord, RawRecord } from '../../runtime/ports.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { jsonCodec } from '../../schemas/codec.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { fakeViews } from '../support/fake-views.ts';
import { ADMIN_TOKEN, CLOSED, READ_TOKEN } from '../support/http-app.ts';
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

  test('an event that was refused for its options is replayed with all that it says', () => {
    const options = { noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionIdentifier: 7 };
    const said = { ...event('me', 'SUBSCRIBE', '$share/g/a'), ...options, sessionEpoch: 9 };
    const value = embeddedCodec().encode('SubscriptionEvent', said);
    const letter = { ...refused, value };
    expect(originalOf(read(letter)).value).toEqual(value);
    expect(embeddedCodec().decode('SubscriptionEvent', originalOf(read(letter)).value!)).toMatchObject(said);
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

describe('dead letters of a running process', () => {
  async function asked(work: (source: { config: Config; url: string }, output: Output) => Promise<void>) {
    const ring = new LetterRing();
    for (const offset of [4, 5]) ring.take({ ...read(refused), offset });
    const views = fakeViews({ deadLetters: async (query) => ({ kind: 'here', answer: ring.page(query) }) });
    const server = await serveHttp(views, CLOSED);
    const values = { httpReadToken: READ_TOKEN, httpAdminToken: ADMIN_TOKEN };
    const { config } = configOf([{ source: 'test', values }]);
    const out = new PassThrough();
    try {
      await work({ config, url: `http://127.0.0.1:${server.port}` }, new Output(false, { out }));
    } finally {
      await server.close(0);
    }
    return String(out.read());
  }

  test('are listed as those of a log are: the oldest first, with code and origin', async () => {
    const lines = (await asked(listLetters)).trim().split('\n').slice(-2);
    expect(
      lines.map((line) =>
        line
          .trim()
          .split(/\s{2,}/)
          .filter((_, column) => column !== 1),
      ),
    ).toEqual([
      ['4', 'FILTER_INVALID', 'subscriptions/3@41', 'a/#/b', '7'],
      ['5', 'FILTER_INVALID', 'subscriptions/3@41', 'a/#/b', '7'],
    ]);
  });

  test('are shown one by one, with their bytes', async () => {
    const text = await asked((source, output) => showLetter(source, 4, output));
    expect(text).toContain('FILTER_INVALID: the filter is wrong');
    expect(text).toContain('00 00 00 00 07 01 02');
    await expect(asked((source, output) => showLetter(source, 3, output))).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
