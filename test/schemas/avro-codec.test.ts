import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import avsc from 'avsc';
import { describe, expect, test } from 'vitest';
import { decoderOf, embeddedCodec, encoderOf, LOCAL_SCHEMA_IDS, RECORD_NAMES } from '../../schemas/avro-codec.ts';
import { recordsSource } from '../../schemas/edge/generate.ts';
import { AppError } from '../../schemas/errors.ts';
import { type RecordName, SCHEMAS } from '../../schemas/records.ts';
import { recordArbitrary } from '../support/arbitrary-record.ts';
import { decisionWith } from '../support/decision.ts';
import { fc } from '../support/property.ts';

const SCHEMAS_DIR = join(import.meta.dirname, '../../schemas');
const codec = embeddedCodec();
/** What an event says that gives no options and knows of no session. */
const NONE = {
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
  subscriptionIdentifier: 0,
  sessionEpoch: 0,
};
/** So does one of `subscriptions`, and one that a broker has written. */
const BY_BROKER = { ...NONE, bySession: false };
const EVENT = {
  action: 'SUBSCRIBE',
  topicFilter: 'home/küche/+',
  clientId: 'client-1',
  brokerId: 'broker-1',
  qos: 1,
  timestamp: 1_700_000_000_000,
  ...BY_BROKER,
};
const NONE_BYTES = [0, 0, 0, 0, 0, 0];

describe('the schemas', () => {
  test('records.ts is what the generator makes of the .avsc files', () => {
    const files = readdirSync(SCHEMAS_DIR)
      .filter((file) => file.endsWith('.avsc'))
      .sort();
    const schemas = new Map(
      files.map((file) => {
        const schema = JSON.parse(readFileSync(join(SCHEMAS_DIR, file), 'utf8'));
        return [schema.name as string, schema];
      }),
    );
    expect(recordsSource(schemas)).toBe(readFileSync(join(SCHEMAS_DIR, 'records.ts'), 'utf8'));
  });

  test('a subscription event has exactly the fields that producers were promised', () => {
    expect(shapeOf(SCHEMAS.SubscriptionEvent)).toEqual({
      type: 'record',
      name: 'SubscriptionEvent',
      namespace: 'psm',
      fields: [
        { name: 'action', type: { type: 'enum', name: 'Action', symbols: ['SUBSCRIBE', 'UNSUBSCRIBE'] } },
        { name: 'topicFilter', type: 'string' },
        { name: 'clientId', type: 'string' },
        { name: 'brokerId', type: 'string' },
        { name: 'qos', type: 'int', default: 0 },
        { name: 'timestamp', type: { type: 'long', logicalType: 'timestamp-millis' } },
        { name: 'noLocal', type: 'boolean', default: false },
        { name: 'retainAsPublished', type: 'boolean', default: false },
        { name: 'retainHandling', type: 'int', default: 0 },
        { name: 'subscriptionIdentifier', type: 'int', default: 0 },
        { name: 'sessionEpoch', type: 'long', default: 0 },
        { name: 'bySession', type: 'boolean', default: false },
      ],
    });
  });

  test('every record has a local id of its own', () => {
    expect(new Set(Object.values(LOCAL_SCHEMA_IDS)).size).toBe(RECORD_NAMES.length);
    expect(Object.keys(LOCAL_SCHEMA_IDS).sort()).toEqual([...RECORD_NAMES].sort());
  });
});

describe('the Avro codec', () => {
  for (const record of RECORD_NAMES)
    test(`${record}: what was encoded is decoded, with kinds where a union was`, () => {
      fc.assert(
        fc.property(recordArbitrary(SCHEMAS[record]), (value) => {
          const bytes = codec.encode(record, value);
          expect(bytes.subarray(0, 5)).toEqual(Buffer.from([0, 0, 0, 0, LOCAL_SCHEMA_IDS[record]]));
          expect(codec.decode(record, bytes)).toEqual(value);
        }),
        { numRuns: 200 },
      );
    });

  test('a value longer than the scratch buffer is encoded whole', () => {
    const value = { ...EVENT, topicFilter: 'x'.repeat(100_000) };
    expect(codec.decode('SubscriptionEvent', codec.encode('SubscriptionEvent', value))).toEqual(value);
    expect(codec.decode('SubscriptionEvent', codec.encode('SubscriptionEvent', EVENT))).toEqual(EVENT);
  });

  test('a field with a default may be left out', () => {
    const { qos: _qos, noLocal: _noLocal, sessionEpoch: _sessionEpoch, ...rest } = EVENT;
    const bytes = codec.encode('SubscriptionEvent', { ...rest, sessionEpoch: undefined });
    expect(codec.decode('SubscriptionEvent', bytes)).toEqual({ ...EVENT, qos: 0 });
  });

  for (const { name, record, value } of [
    { name: 'a field is missing', record: 'SubscriptionEvent', value: { ...EVENT, clientId: undefined } },
    { name: 'a field has another type', record: 'SubscriptionEvent', value: { ...EVENT, clientId: 7 } },
    { name: 'an enum has an unknown symbol', record: 'SubscriptionEvent', value: { ...EVENT, action: 'HELLO' } },
    { name: 'a long is not safe', record: 'SubscriptionEvent', value: { ...EVENT, timestamp: 2 ** 53 } },
    { name: 'a long has a fraction', record: 'SubscriptionEvent', value: { ...EVENT, timestamp: 1.5 } },
    { name: 'a kind is unknown', record: 'Metric', value: { body: { kind: 'Nothing' } } },
    { name: 'a kind is inherited from Object', record: 'Metric', value: { body: { kind: 'constructor' } } },
    { name: 'a union has no kind', record: 'Metric', value: { body: {} } },
    { name: 'the value is null', record: 'Metric', value: null },
    { name: 'the value is a text', record: 'SubscriptionEvent', value: 'event' },
  ] as const)
    test(`encode refuses: ${name}`, () => {
      expect(codeOf(() => codec.encode(record, value))).toBe('SCHEMA_MISMATCH');
    });
});

describe('bad bytes', () => {
  for (const record of RECORD_NAMES)
    test(`${record}: every truncation and every extra byte is UNDECODABLE`, () => {
      const [value] = fc.sample(recordArbitrary(SCHEMAS[record]), { numRuns: 1, seed: 20_250_101 });
      const bytes = codec.encode(record, value);
      for (let size = 0; size < bytes.length; size++)
        expect(codeOf(() => codec.decode(record, bytes.subarray(0, size)))).toBe('UNDECODABLE');
      expect(codeOf(() => codec.decode(record, Buffer.concat([bytes, Buffer.from([0])])))).toBe('UNDECODABLE');
    });

  test('any change of any byte gives a record or a refusal, never anything else', () => {
    const bytes = codec.encode('Metric', { body: { kind: 'PlanRequest', requestId: 'r', topic: 'a/b', timestamp: 5 } });
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, byte) => {
        const changed = Buffer.from(bytes);
        changed[at] = byte;
        expect([undefined, 'UNDECODABLE', 'SCHEMA_UNKNOWN']).toContain(codeOf(() => codec.decode('Metric', changed)));
      }),
      { numRuns: 2_000 },
    );
  });

  const long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
  for (const { name, record, bytes, code } of [
    { name: 'nothing', record: 'SubscriptionEvent', bytes: [], code: 'UNDECODABLE' },
    { name: 'another magic byte', record: 'SubscriptionEvent', bytes: [1, 0, 0, 0, 1, 0], code: 'UNDECODABLE' },
    { name: 'schema id 0', record: 'SubscriptionEvent', bytes: [0, 0, 0, 0, 0, 0], code: 'UNDECODABLE' },
    { name: 'schema id 2^32-1', record: 'SubscriptionEvent', bytes: [0, 255, 255, 255, 255], code: 'UNDECODABLE' },
    {
      name: 'the id of another record',
      record: 'SubscriptionEvent',
      bytes: [0, 0, 0, 0, 3, 0],
      code: 'SCHEMA_UNKNOWN',
    },
    { name: 'an enum index beyond its symbols', record: 'SubscriptionEvent', bytes: event([4]), code: 'UNDECODABLE' },
    { name: 'a negative enum index', record: 'SubscriptionEvent', bytes: event([1]), code: 'UNDECODABLE' },
    { name: 'a negative length', record: 'SubscriptionEvent', bytes: event([0, 1]), code: 'UNDECODABLE' },
    { name: 'a length of 2^62', record: 'SubscriptionEvent', bytes: event([0, ...long, 0x01]), code: 'UNDECODABLE' },
    {
      name: 'a number of eleven bytes',
      record: 'SubscriptionEvent',
      bytes: event([0, ...long, 0xff, 1]),
      code: 'UNDECODABLE',
    },
    {
      name: 'a timestamp beyond 2^53',
      record: 'SubscriptionEvent',
      bytes: event([0, 0, 0, 0, 0, ...long, 0x01, ...NONE_BYTES]),
      code: 'UNDECODABLE',
    },
    {
      name: 'a qos beyond 32 bits',
      record: 'SubscriptionEvent',
      bytes: event([0, 0, 0, 0, 254, 255, 255, 255, 127, 0, ...NONE_BYTES]),
      code: 'UNDECODABLE',
    },
    { name: 'a union index beyond its members', record: 'Metric', bytes: [0, 0, 0, 0, 3, 10], code: 'UNDECODABLE' },
    {
      name: 'an array of 2^40 items',
      record: 'WildcardEvents',
      bytes: [0, 0, 0, 0, 2, 0, 128, 128, 128, 128, 128, 128, 1],
      code: 'UNDECODABLE',
    },
    {
      name: 'an array of 2^40 items in a sized block',
      record: 'WildcardEvents',
      bytes: [0, 0, 0, 0, 2, 0, 255, 255, 255, 255, 255, 255, 1, 0],
      code: 'UNDECODABLE',
    },
    { name: 'a boolean of 2', record: 'Progress', bytes: [0, 0, 0, 0, 7, 0, 4, 0, 2, 0], code: 'UNDECODABLE' },
  ] as const)
    test(`${name} is ${code}`, () => {
      expect(codeOf(() => codec.decode(record as RecordName, Buffer.from(bytes as readonly number[])))).toBe(code);
    });

  for (const { name, text } of [
    { name: 'a lone continuation byte', text: [0x80] },
    { name: 'a sequence cut short', text: [0xc3] },
    { name: 'an overlong slash', text: [0xc0, 0xaf] },
    { name: 'an overlong slash of three bytes', text: [0xe0, 0x80, 0xaf] },
    { name: 'a surrogate', text: [0xed, 0xa0, 0x80] },
    { name: 'a code point above U+10FFFF', text: [0xf4, 0x90, 0x80, 0x80] },
    { name: 'Latin-1', text: [0x6b, 0xfc, 0x63, 0x68, 0x65] },
    { name: 'byte FF', text: [0xff] },
  ])
    test(`invalid UTF-8 in a filter is UNDECODABLE: ${name}`, () => {
      const bytes = Buffer.from(event([0, text.length * 2, ...text, 0, 0, 0, 0, ...NONE_BYTES]));
      expect(codeOf(() => codec.decode('SubscriptionEvent', bytes))).toBe('UNDECODABLE');
    });

  test('a long that avsc would read as another number is UNDECODABLE', () => {
    for (const { timestamp, code } of [
      { timestamp: 2n ** 53n - 2n, code: undefined },
      { timestamp: 2n ** 53n, code: 'UNDECODABLE' },
      { timestamp: 2n ** 63n - 1n, code: 'UNDECODABLE' },
      { timestamp: -(2n ** 52n) + 1n, code: undefined },
      { timestamp: -(2n ** 52n) - 1n, code: 'UNDECODABLE' },
      { timestamp: -(2n ** 53n), code: 'UNDECODABLE' },
      { timestamp: -(2n ** 63n), code: 'UNDECODABLE' },
    ]) {
      const bytes = Buffer.from(event([0, 0, 0, 0, 0, ...varint(timestamp), ...NONE_BYTES]));
      expect(codeOf(() => codec.decode('SubscriptionEvent', bytes))).toBe(code);
      if (code === undefined)
        expect(codec.decode('SubscriptionEvent', bytes)).toMatchObject({ timestamp: Number(timestamp) });
    }
  });

  test('U+FFFD itself, U+0000 and the ends of each UTF-8 range are text', () => {
    const topicFilter = '\ufffd \u0000 \u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}';
    const value = { ...EVENT, topicFilter };
    expect(codec.decode('SubscriptionEvent', codec.encode('SubscriptionEvent', value))).toEqual(value);
  });

  test('strings are judged as Node judges them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (text) => {
        const bytes = Buffer.from(event([0, text.length * 2, ...text, 0, 0, 0, 0, ...NONE_BYTES]));
        const valid = Buffer.from(Buffer.from(text).toString('utf8')).equals(Buffer.from(text));
        expect(codeOf(() => codec.decode('SubscriptionEvent', bytes))).toBe(valid ? undefined : 'UNDECODABLE');
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('schemas that change', () => {
  const fields = SCHEMAS.SubscriptionEvent.fields as readonly unknown[];
  const writerWith = (changed: readonly unknown[], name = 'psm.SubscriptionEvent') => ({
    type: 'record',
    name,
    fields: changed,
  });
  const bytesOf = (parts: readonly number[]) => Buffer.from([0, 0, 0, 0, 77, ...parts]);
  const READ = {
    action: 'SUBSCRIBE',
    topicFilter: 'a',
    clientId: 'b',
    brokerId: 'c',
    qos: 1,
    timestamp: 5,
    ...BY_BROKER,
  };

  for (const { name, writer, bytes, expected } of [
    {
      name: 'a field that the writer added is dropped',
      writer: writerWith([...fields, { name: 'region', type: ['null', 'string'], default: null }]),
      bytes: bytesOf([0, 2, 97, 2, 98, 2, 99, 2, 10, ...NONE_BYTES, 2, 2, 120]),
      expected: READ,
    },
    {
      name: 'an array that the writer added is dropped',
      writer: writerWith([{ name: 'tags', type: { type: 'array', items: 'string' } }, ...fields]),
      bytes: bytesOf([2, 2, 120, 0, 0, 2, 97, 2, 98, 2, 99, 2, 10, ...NONE_BYTES]),
      expected: READ,
    },
    {
      name: 'a field with a default that the writer left out takes it',
      writer: writerWith(fields.filter((field) => (field as { name: string }).name !== 'qos')),
      bytes: bytesOf([2, 2, 97, 2, 98, 2, 99, 10, ...NONE_BYTES]),
      expected: { ...READ, action: 'UNSUBSCRIBE', qos: 0 },
    },
    {
      name: 'the writer may have another namespace and another order',
      writer: writerWith([...fields].reverse(), 'com.example.SubscriptionEvent'),
      bytes: bytesOf([...NONE_BYTES, 10, 4, 2, 99, 2, 98, 2, 97, 0]),
      expected: { ...READ, qos: 2 },
    },
  ])
    test(name, () => {
      expect(decoderOf('SubscriptionEvent', writer)(bytes)).toEqual(expected);
      for (let size = 5; size < bytes.length; size++)
        expect(codeOf(() => decoderOf('SubscriptionEvent', writer)(bytes.subarray(0, size)))).toBe('UNDECODABLE');
    });

  test('a decision from before plans were promised or proposed is read as one that promised nothing', () => {
    const added = ['dollarsOnce', 'promisedDollars', 'realisedDollars', 'expiresAt', 'steps', 'changes'];
    const before = SCHEMAS.Decision.fields.filter((field) => !added.includes(field.name));
    const addedBytes = 3 * 8 + 3; // Three doubles, then a zero each.
    const bytes = codec.encode('Decision', decisionWith({}));
    const old = decoderOf('Decision', { ...SCHEMAS.Decision, fields: before });
    expect(old(bytes.subarray(0, bytes.length - addedBytes))).toEqual(decisionWith({}));
  });

  for (const { name, writer } of [
    { name: 'a field without a default is missing', writer: writerWith(fields.slice(1)) },
    { name: 'it is another record', writer: writerWith(fields, 'psm.Other') },
    {
      name: 'a field has another type',
      writer: writerWith([...fields.slice(0, 5), { name: 'timestamp', type: 'string' }]),
    },
    { name: 'it is no record', writer: 'string' },
    { name: 'it is no schema', writer: { type: 'nonsense' } },
  ])
    test(`a writer's schema is SCHEMA_MISMATCH: ${name}`, () => {
      expect(codeOf(() => decoderOf('SubscriptionEvent', writer))).toBe('SCHEMA_MISMATCH');
    });

  test('a recursive writer cannot exhaust the stack, and items without bytes cannot take for ever', () => {
    const list = { type: 'record', name: 'L', fields: [{ name: 'next', type: ['null', 'L'] }] };
    const nested = decoderOf('SubscriptionEvent', writerWith([{ name: 'list', type: list }, ...fields]));
    expect(codeOf(() => nested(bytesOf(new Array(100_000).fill(2))))).toBe('UNDECODABLE');
    const nulls = { name: 'nulls', type: { type: 'array', items: 'null' } };
    const empty = decoderOf('SubscriptionEvent', writerWith([nulls, ...fields]));
    expect(codeOf(() => empty(bytesOf([128, 128, 128, 128, 128, 128, 1])))).toBe('UNDECODABLE');
    const items = { type: 'array', items: 'null' };
    const many = decoderOf(
      'SubscriptionEvent',
      writerWith([{ name: 'many', type: { type: 'array', items } }, ...fields]),
    );
    const nulls60k = [192, 169, 7, 0];
    expect(codeOf(() => many(bytesOf([192, 62, ...new Array(4_000).fill(nulls60k).flat(), 0])))).toBe('UNDECODABLE');
  });

  test('an encoder writes its schema id', () => {
    expect(encoderOf('SubscriptionEvent', 0x01020304)(EVENT).readUInt32BE(1)).toBe(0x01020304);
  });
});

test('a forecast of an earlier release is read, what it did not tell yet by its defaults', () => {
  const now = SCHEMAS.Forecast as { readonly fields: readonly { readonly name: string }[] };
  const added = ['farStepMs', 'farQuantiles', 'coverage', 'stepsSeen', 'unsubscribeShare'];
  const before = { ...now, fields: now.fields.filter(({ name }) => !added.includes(name)) };
  const bytes = Buffer.concat([Buffer.of(0, 0, 0, 0, 5), avsc.Type.forSchema(before as never).toBuffer(OLD_FORECAST)]);
  expect(embeddedCodec().decode('Forecast', bytes)).toMatchObject({
    ...{ series: 'c/0/', quantiles: [1, 2], farStepMs: 0, farQuantiles: [], coverage: -1, stepsSeen: 0 },
    unsubscribeShare: 0.5,
  });
});

describe('subscription events of before there were options', () => {
  const { SubscriptionEvent, WildcardEvents } = SCHEMAS;
  const without = (fields: readonly { readonly name: string }[]) => fields.filter(({ name }) => !(name in BY_BROKER));
  const oldEvent = avsc.Type.forSchema({ ...SubscriptionEvent, fields: without(SubscriptionEvent.fields) } as never);
  const [firstLevel, events] = WildcardEvents.fields;
  const items = { ...events.type.items, fields: without(events.type.items.fields) };
  const oldEvents = avsc.Type.forSchema({
    ...WildcardEvents,
    fields: [firstLevel, { ...events, type: { ...events.type, items } }],
  } as never);
  const sent = { action: 'SUBSCRIBE', topicFilter: 'a/+', clientId: 'c', brokerId: 'b', qos: 1, timestamp: 5 };
  const options = {
    ...{ noLocal: true, retainAsPublished: true, retainHandling: 2 },
    ...{ subscriptionIdentifier: 268_435_455, sessionEpoch: 1_700_000_000_123 },
  };
  const placed = { ...sent, offset: 42, incarnation: 1 };
  const header = (id: number) => Buffer.of(0, 0, 0, 0, id);
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value));

  test('those of an old writer are read, with none', () => {
    const one = Buffer.concat([header(1), oldEvent.toBuffer(sent)]);
    expect(codec.decode('SubscriptionEvent', one)).toEqual({ ...sent, ...BY_BROKER });
    const many = Buffer.concat([header(21), oldEvents.toBuffer({ firstLevel: 'a', events: [placed, placed] })]);
    expect(codec.decode('WildcardEvents', many)).toEqual({
      firstLevel: 'a',
      events: [
        { ...placed, ...NONE },
        { ...placed, ...NONE },
      ],
    });
  });

  test('an old reader reads those of a new writer, without them', () => {
    const type = avsc.Type.forSchema(SubscriptionEvent as never);
    const bytes = codec.encode('SubscriptionEvent', { ...sent, ...options });
    expect(plain(oldEvent.fromBuffer(bytes.subarray(5), oldEvent.createResolver(type)))).toEqual(sent);
    const types = avsc.Type.forSchema(WildcardEvents as never);
    const batch = codec.encode('WildcardEvents', { firstLevel: 'a', events: [{ ...placed, ...options }] });
    expect(plain(oldEvents.fromBuffer(batch.subarray(5), oldEvents.createResolver(types)))).toEqual({
      firstLevel: 'a',
      events: [placed],
    });
  });

  test('without any an event is six bytes longer, and all of them are kept', () => {
    expect(codec.encode('SubscriptionEvent', sent)).toHaveLength(5 + oldEvent.toBuffer(sent).length + 6);
    const value = { ...sent, ...options, bySession: true };
    expect(codec.decode('SubscriptionEvent', codec.encode('SubscriptionEvent', value))).toEqual(value);
  });
});

test('wildcard events of an earlier release are read, and do not say of which life of their topic they are', () => {
  const event = { topicFilter: 'a/+', clientId: 'c', brokerId: 'b', qos: 1, timestamp: 5, offset: 42 };
  const text = (value: string) => [value.length * 2, ...Buffer.from(value)];
  const body = [...text('a'), 2, 0, ...text('a/+'), ...text('c'), ...text('b'), 2, 10, 84, 0];
  expect(embeddedCodec().decode('WildcardEvents', Buffer.from([0, 0, 0, 0, 2, ...body]))).toEqual({
    firstLevel: 'a',
    events: [{ action: 'SUBSCRIBE', ...event, incarnation: -1, ...NONE }],
  });
});

test('metrics of a store of an earlier release are read, without how far its look-ups reach', () => {
  const body = (fields: readonly { readonly name: string; readonly type: unknown }[]) => ({
    ...SCHEMAS.Metric,
    fields: [{ name: 'body', type: [{ type: 'record', name: 'DatastoreMetrics', fields }] }],
  });
  const now = SCHEMAS.Metric.fields[0].type.find(({ name }) => name === 'DatastoreMetrics')!;
  const before = body(now.fields.filter(({ name }) => !['nodesPerLookup', 'matchesPerLookup'].includes(name)));
  const measured = { ...{ cpu: 0.5, memoryBytes: 1, memoryLimitBytes: 2, iops: 1, iopsLimit: 2 }, lookupP99Ms: 4 };
  const load = { shardId: 'shard-0001', instanceId: 'a', ...measured, entries: 3, timestamp: 60_000 };
  const bytes = avsc.Type.forSchema(before as never).toBuffer({ body: load });
  // The union of that release had other members before and after; its second is this one.
  const whole = Buffer.concat([Buffer.of(0, 0, 0, 0, 12), Buffer.of(2), bytes.subarray(1)]);
  expect(embeddedCodec().decode('Metric', whole)).toEqual({
    body: { kind: 'DatastoreMetrics', ...load, nodesPerLookup: -1, matchesPerLookup: -1 },
  });
});

test('a heartbeat of an earlier release is read, and does not say since when its broker runs', () => {
  const beat = { brokerId: 'b', pointerOffset: 7, timestamp: 60_000 };
  const now = SCHEMAS.Metric.fields[0].type.find(({ name }) => name === 'BrokerHeartbeat')!;
  const before = { ...now, fields: now.fields.filter(({ name }) => name !== 'startedAt') };
  const bytes = avsc.Type.forSchema(before as never).toBuffer(beat);
  // The third of its union.
  const whole = Buffer.concat([Buffer.of(0, 0, 0, 0, 16), Buffer.of(4), bytes]);
  expect(embeddedCodec().decode('Metric', whole)).toEqual({ body: { kind: 'BrokerHeartbeat', ...beat, startedAt: 0 } });
});

test('pointers and commands of an earlier release are read: nobody says that they wrote them', () => {
  const fields = (schema: unknown, names: readonly string[]): unknown =>
    JSON.parse(JSON.stringify(schema), (_key, value) =>
      Array.isArray(value) ? value.filter((each) => !names.includes(each?.name)) : value,
    );
  const written = (record: 'PointerRecord' | 'Command', id: number, value: object): Buffer =>
    Buffer.concat([
      Buffer.of(0, 0, 0, 0, id),
      avsc.Type.forSchema(fields(SCHEMAS[record], ['term', 'planner']) as never, { wrapUnions: true }).toBuffer(value),
    ]);
  const pointer = written('PointerRecord', 8, {
    change: { epoch: 7, index: 0, count: 1 },
    body: { 'psm.PointerEntry': { slice: 'c/0/', mode: 'SINGLE', shards: ['shard-0001'], epoch: 7 } },
  });
  expect(embeddedCodec().decode('PointerRecord', pointer)).toMatchObject({
    change: { epoch: 7, term: 0, planner: '' },
  });
  const command = written('Command', 13, {
    ...{ id: 'command-1', epoch: 7, reason: '', deadline: 0 },
    body: { 'psm.RetireShard': { shardId: 'shard-0001' } },
  });
  expect(embeddedCodec().decode('Command', command)).toMatchObject({ id: 'command-1', term: 0, planner: '' });
});

const OLD_FORECAST = {
  ...{ series: 'c/0/', signal: 'PUBLISHES', madeAt: 60_000, stepMs: 60_000, levels: [0.5, 0.9], quantiles: [1, 2] },
  ...{ currentPerSecond: 1, model: 'level', weights: { level: 1 }, recentError: 1, dispersion: 1, peakToMean: 1 },
  ...{ seasonMs: 0, pattern: 'CONSISTENT', trusted: true, distrust: '', distinctClients: 1, bytesPerSecond: 0 },
};

// A changed schema under an old id makes data of an older release unreadable. When this fails on purpose: give the record
// the next free number in LOCAL_SCHEMA_IDS, put the old schema into LOCAL_HISTORY, and write the new digest here.
test('the schema behind each local id is the one it always was', () => {
  const digests = Object.fromEntries(
    RECORD_NAMES.map((record) => [
      `${record} ${LOCAL_SCHEMA_IDS[record]}`,
      createHash('sha256')
        .update(JSON.stringify(shapeOf(SCHEMAS[record])))
        .digest('hex')
        .slice(0, 12),
    ]),
  );
  expect(digests).toMatchInlineSnapshot(`
    {
      "ClientEvents 28": "98c156934cb5",
      "Command 50": "b8cb2fbc2dfe",
      "Decision 15": "76d9c91b4c34",
      "Forecast 17": "2559d244d31a",
      "Metric 62": "99e09eec29bd",
      "PointerRecord 63": "0fbb77e510cb",
      "Progress 64": "594039322f1e",
      "RateWindow 4": "9129c14e7ad0",
      "SessionOperation 29": "5f648228ea52",
      "SessionRecord 27": "58571cdeee44",
      "Subscription 26": "42e528dfad5d",
      "SubscriptionEvent 25": "af30a81a7e70",
      "WildcardEvents 24": "f0cf42b369e8",
    }
  `);
});

/** A schema without what does not matter to its bytes. */
function shapeOf(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(shapeOf);
  if (typeof schema !== 'object' || schema === null) return schema;
  const kept = Object.entries(schema).filter(([key]) => !['doc', 'brand', 'optional'].includes(key));
  return Object.fromEntries(kept.map(([key, value]) => [key, shapeOf(value)]));
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

function event(body: readonly number[]): number[] {
  return [0, 0, 0, 0, LOCAL_SCHEMA_IDS.SubscriptionEvent, ...body];
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}
