// The catalogue of bad input as Avro records: bytes on any topic (1 to 24), subscription events (25 to 42), filters and
// topics (43 to 60), metrics (61 to 72). What is about JSON alone is in json-cases.ts.

import { gzipSync } from 'node:zlib';
import { DEAD_VALUE_BYTES_MAX } from '../../../runtime/dead-letter.ts';
import { embeddedCodec } from '../../../schemas/avro-codec.ts';
import { eventTime, shardId } from '../../../schemas/ids.ts';
import type { DatastoreMetrics, Metric, SubscriptionEvent, TopicTraffic } from '../../../schemas/records.ts';
import { partitionOf } from '../../../state/keys.ts';
import { avroText, type BadRecord, header, type NotOurs, rawEvent, varint } from './bad-record.ts';

const NOW = eventTime(Date.UTC(2026, 0, 1));
const codec = embeddedCodec();
type Expected = BadRecord['expected'];

const GOOD: SubscriptionEvent = {
  action: 'SUBSCRIBE',
  topicFilter: 'a/b',
  clientId: 'client-1',
  brokerId: 'broker-1',
  qos: 1,
  timestamp: NOW,
};
const REMOVED = { action: 'UNSUBSCRIBE' } as const;
const goodBytes = codec.encode('SubscriptionEvent', GOOD);

const event = (number: number, name: string, changes: Partial<SubscriptionEvent>, expected: Expected): BadRecord => {
  const value = { ...GOOD, ...changes };
  return {
    number,
    name,
    topic: 'subscriptions',
    key: value.topicFilter,
    value: codec.encode('SubscriptionEvent', value),
    expected,
  };
};
const bytes = (
  number: number,
  name: string,
  value: Buffer | null,
  expected: Expected,
  changes: Partial<BadRecord> = {},
): BadRecord => ({ number, name, topic: 'subscriptions', key: 'a/b', value, expected, ...changes });
const metric = (number: number, name: string, body: Metric['body'], expected: Expected): BadRecord => ({
  number,
  name,
  topic: 'metrics',
  key: 'metric',
  value: codec.encode('Metric', { body }),
  expected,
});
const traffic = (number: number, name: string, changes: Partial<TopicTraffic>, expected: Expected): BadRecord =>
  metric(
    number,
    name,
    {
      kind: 'TopicTraffic',
      brokerId: 'broker-1',
      topic: 'a/b',
      publishes: 10,
      bytes: 100,
      windowStart: NOW,
      windowMs: 10_000,
      ...changes,
    },
    expected,
  );
const load = (number: number, name: string, changes: Partial<DatastoreMetrics>, expected: Expected): BadRecord =>
  metric(
    number,
    name,
    {
      kind: 'DatastoreMetrics',
      shardId: shardId('shard-0001'),
      instanceId: 'instance-1',
      cpu: 0.5,
      memoryBytes: 1e9,
      memoryLimitBytes: 2e9,
      iops: 10,
      iopsLimit: 100,
      entries: 1_000,
      lookupP99Ms: 1,
      timestamp: NOW,
      nodesPerLookup: -1,
      matchesPerLookup: -1,
      ...changes,
    },
    expected,
  );
const filter = (number: number, topicFilter: string, expected: Expected, name = topicFilter): BadRecord =>
  event(number, `the filter ${JSON.stringify(name)}`, { topicFilter }, expected);

const bothTopics = (number: number, name: string, value: Buffer | null, expected: Expected): BadRecord[] => [
  bytes(number, `${name} on subscriptions`, value, expected),
  bytes(number, `${name} on metrics`, value, expected, { topic: 'metrics' }),
];
const zeros = (sizeBytes: number): Buffer => Buffer.alloc(sizeBytes);

export const BYTES: readonly BadRecord[] = [
  ...bothTopics(1, 'an empty value', zeros(0), 'VALUE_MISSING'),
  ...bothTopics(2, 'no value, on a topic that is not compacted', null, 'VALUE_MISSING'),
  bytes(3, 'no key on subscriptions', goodBytes, 'KEY_MISSING', { key: null }),
  bytes(3, 'no key on metrics', codec.encode('Metric', { body: { ...beat(), brokerId: 'b' } }), 'KEY_MISSING', {
    topic: 'metrics',
    key: null,
  }),
  bytes(4, 'a key that is another filter', goodBytes, 'KEY_MISMATCH', { key: 'a/c' }),
  bytes(4, 'an empty key', goodBytes, 'KEY_MISMATCH', { key: '' }),
  bytes(4, 'a key in the wrong partition', goodBytes, 'WRONG_PARTITION', { partition: 1 - partitionOf('a/b', 2) }),
  bytes(5, 'a key of 1 MB', goodBytes, 'KEY_MISMATCH', { key: 'k'.repeat(1_000_000) }),
  bytes(6, 'one byte under a MiB', zeros(DEAD_VALUE_BYTES_MAX - 1), 'UNDECODABLE'),
  bytes(6, 'a MiB', zeros(DEAD_VALUE_BYTES_MAX), 'UNDECODABLE'),
  bytes(6, 'one byte over a MiB', zeros(DEAD_VALUE_BYTES_MAX + 1), 'VALUE_TOO_LARGE'),
  bytes(6, 'a right event with a MiB behind it', Buffer.concat([goodBytes, zeros(1 << 20)]), 'VALUE_TOO_LARGE'),
  bytes(7, '10 MB, as a bomb is once the client has inflated it', zeros(10_000_000), 'VALUE_TOO_LARGE'),
  bytes(7, 'a bomb inside the value, which nobody inflates', gzipSync(zeros(10_000_000)), 'UNDECODABLE'),
  ...[
    { name: 'an overlong slash (C0 AF)', text: Buffer.from([0x61, 0xc0, 0xaf]) },
    { name: 'an overlong NUL (C0 80)', text: Buffer.from([0xc0, 0x80]) },
    { name: 'half a surrogate pair (ED A0 80)', text: Buffer.from([0xed, 0xa0, 0x80]) },
    { name: 'above U+10FFFF (F4 90 80 80)', text: Buffer.from([0xf4, 0x90, 0x80, 0x80]) },
    { name: 'a continuation alone', text: Buffer.from([0x80]) },
    { name: 'a sequence cut short', text: Buffer.from([0xe2, 0x82]) },
  ].flatMap(({ name, text }) => [
    bytes(8, `a filter with ${name}`, rawEvent({ filter: text }), 'UNDECODABLE', { key: text, partition: 0 }),
    bytes(8, `a client with ${name}`, rawEvent({ client: text }), 'UNDECODABLE'),
  ]),
  ...Array.from({ length: goodBytes.length - 1 }, (_, length) =>
    bytes(11, `cut after ${length + 1} bytes`, goodBytes.subarray(0, length + 1), 'UNDECODABLE'),
  ),
  bytes(12, 'a byte behind the record', Buffer.concat([goodBytes, zeros(1)]), 'UNDECODABLE'),
  bytes(12, 'two records in one value', Buffer.concat([goodBytes, goodBytes]), 'UNDECODABLE'),
  ...[
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    '__defineGetter__',
    'constructor.prototype',
  ].flatMap((name) => [
    event(
      16,
      `${name} as filter, client and broker`,
      { topicFilter: name, clientId: name, brokerId: name },
      'ACCEPTED',
    ),
    event(16, `${name}/# as a filter`, { topicFilter: `${name}/#`, clientId: name }, 'ACCEPTED'),
    traffic(16, `${name} as a topic`, { topic: name, brokerId: name }, 'ACCEPTED'),
    load(16, `${name} as a shard`, { shardId: shardId(name) }, 'ACCEPTED'),
    metric(16, `${name} as a broker`, { ...beat(), brokerId: name }, 'ACCEPTED'),
    metric(16, `${name} as a move`, { ...steering(), moveId: name as never, requestId: name }, 'ACCEPTED'),
  ]),
  bytes(
    17,
    'a number of eleven bytes',
    Buffer.concat([rawEvent().subarray(0, -6), Buffer.alloc(10, 255), zeros(1)]),
    'UNDECODABLE',
  ),
  bytes(17, 'the largest long', rawEvent({ timestamp: 2n ** 63n - 1n }), 'UNDECODABLE'),
  bytes(17, 'the smallest long', rawEvent({ timestamp: -(2n ** 63n) }), 'UNDECODABLE'),
  bytes(17, '2^53 + 1', rawEvent({ timestamp: 2n ** 53n + 1n }), 'UNDECODABLE'),
  bytes(17, 'an int of 33 bits', rawEvent({ qos: 2n ** 32n }), 'UNDECODABLE'),
  event(19, 'a NUL in the filter', { topicFilter: 'a\0b' }, 'FILTER_INVALID'),
  event(19, 'a NUL in the client', { clientId: 'a\0b' }, 'ACCEPTED'),
  ...[
    { name: 'a right-to-left mark', text: 'a\u200f\u202eb' },
    { name: 'a flood of combining signs', text: `a${'\u0301'.repeat(10_000)}` },
    { name: 'emoji', text: '👩‍👩‍👧‍👦/🏳️‍🌈' },
    { name: 'a line break and a log line', text: 'x\n{"level":"info","msg":"admin login"}\u001b[31m' },
  ].flatMap(({ name, text }) => [
    event(19, `${name} in the filter`, { topicFilter: text }, 'ACCEPTED'),
    event(19, `${name} in the client`, { clientId: text }, 'ACCEPTED'),
  ]),
  ...[0, 999, 3, 0x7fffffff].map((id) =>
    bytes(
      22,
      `schema id ${id}`,
      Buffer.concat([header(id), goodBytes.subarray(5)]),
      id === 0 ? 'UNDECODABLE' : 'SCHEMA_UNKNOWN',
    ),
  ),
  bytes(22, 'schema id -1', Buffer.concat([header(-1), goodBytes.subarray(5)]), 'UNDECODABLE'),
  bytes(22, 'magic byte 1', Buffer.concat([Buffer.from([1]), goodBytes.subarray(1)]), 'UNDECODABLE'),
  bytes(22, 'the schema of the other topic', codec.encode('Metric', { body: beat() }), 'SCHEMA_UNKNOWN'),
  bytes(23, 'JSON on a topic of Avro', Buffer.from(JSON.stringify(GOOD)), 'UNDECODABLE'),
  bytes(
    23,
    'Protobuf with its message index',
    Buffer.concat([header(1), Buffer.from([0, 0x0a, 3, 0x61, 0x2f, 0x62])]),
    'UNDECODABLE',
  ),
  bytes(23, 'Avro’s file format', Buffer.concat([Buffer.from('Obj\u0001'), goodBytes]), 'UNDECODABLE'),
  ...(
    [
      { name: '10,000 headers', headers: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`h${i}`, 'x'])) },
      { name: 'a header of 1 MB', headers: { large: Buffer.alloc(1_000_000, 'x') } },
      { name: 'a header named by nothing', headers: { '': 'x' } },
      {
        name: 'headers that reach for a prototype',
        headers: JSON.parse('{"__proto__":"x","constructor":"y","toString":"z"}'),
      },
      { name: 'a header of many values', headers: { many: Array.from({ length: 1_000 }, () => 'x') } },
      { name: 'a header without value', headers: { none: undefined } },
      { name: 'a traceparent that is none', headers: { traceparent: '00-zz-\0-ff', tracestate: ','.repeat(10_000) } },
      {
        name: 'headers that claim to be a dead letter’s',
        headers: { 'foreshard.code': 'FORGED', '__streams.errors.offset': '-1' },
      },
    ] as { name: string; headers: NonNullable<BadRecord['headers']> }[]
  ).flatMap(({ name, headers }) => [
    bytes(24, `${name} on a right event`, goodBytes, 'ACCEPTED', { headers }),
    bytes(24, `${name} on a wrong one`, zeros(9), 'UNDECODABLE', { headers }),
  ]),
];

export const EVENTS: readonly BadRecord[] = [
  ...[2, -1, 1_000_000].map((action) => bytes(25, `action number ${action}`, rawEvent({ action }), 'UNDECODABLE')),
  event(26, 'UNSUBSCRIBE of what was never known', { action: 'UNSUBSCRIBE', topicFilter: 'never/known' }, 'ACCEPTED'),
  event(26, 'UNSUBSCRIBE of a wildcard never known', { action: 'UNSUBSCRIBE', topicFilter: 'never/+' }, 'ACCEPTED'),
  event(
    27,
    'UNSUBSCRIBE …',
    { action: 'UNSUBSCRIBE', topicFilter: 'early/end', timestamp: eventTime(NOW + 5) },
    'ACCEPTED',
  ),
  event(27, '… before its SUBSCRIBE', { topicFilter: 'early/end', timestamp: NOW }, 'ACCEPTED'),
  event(28, 'an event …', { topicFilter: 'twice/told' }, 'ACCEPTED'),
  event(
    28,
    '… and the same with another body',
    { topicFilter: 'twice/told', brokerId: 'broker-2', qos: 2 },
    'ACCEPTED',
  ),
  event(32, 'timestamp 0', { timestamp: eventTime(0) }, 'ACCEPTED'),
  event(32, 'timestamp -1', { timestamp: eventTime(-1) }, 'TIMESTAMP_INVALID'),
  event(32, 'the year 2099', { timestamp: eventTime(Date.UTC(2099, 0, 1)) }, 'ACCEPTED'),
  event(32, 'the year 9999', { timestamp: eventTime(253_402_300_799_999) }, 'ACCEPTED'),
  event(32, 'the year 10000', { timestamp: eventTime(253_402_300_800_000) }, 'TIMESTAMP_INVALID'),
  event(32, 'seconds for milliseconds', { timestamp: eventTime(NOW / 1000) }, 'ACCEPTED'),
  event(32, 'microseconds for milliseconds', { timestamp: eventTime(NOW * 1000) }, 'TIMESTAMP_INVALID'),
  bytes(32, 'nanoseconds for milliseconds', rawEvent({ timestamp: BigInt(NOW) * 1_000_000n }), 'UNDECODABLE'),
  event(33, 'an empty client', { clientId: '' }, 'CLIENT_INVALID'),
  event(33, 'a client of 65,535 bytes', { clientId: 'c'.repeat(65_535) }, 'ACCEPTED'),
  event(33, 'a client of 65,536 bytes', { clientId: 'c'.repeat(65_536) }, 'CLIENT_INVALID'),
  event(33, 'a client of 32,768 letters of two bytes', { clientId: 'é'.repeat(32_768) }, 'CLIENT_INVALID'),
  ...['/', '+', '#', '%c', '%u', '\n', 'a/+/#'].map((clientId) =>
    event(33, `the client ${JSON.stringify(clientId)}`, { clientId }, 'ACCEPTED'),
  ),
  ...[3, -1, 2_147_483_647].map((qos) => event(34, `qos ${qos}`, { qos }, 'QOS_INVALID')),
  event(35, 'every option', { noLocal: true, retainAsPublished: true, retainHandling: 2 }, 'ACCEPTED'),
  ...[3, -1].map((retainHandling) =>
    event(35, `retain handling ${retainHandling}`, { retainHandling }, 'OPTIONS_INVALID'),
  ),
  event(36, 'the highest subscription identifier', { subscriptionIdentifier: 268_435_455 }, 'ACCEPTED'),
  ...[-1, 268_435_456].map((subscriptionIdentifier) =>
    event(36, `subscription identifier ${subscriptionIdentifier}`, { subscriptionIdentifier }, 'OPTIONS_INVALID'),
  ),
  event(39, 'a broker that is not in the fleet', { brokerId: 'broker-of-nobody' }, 'ACCEPTED'),
  event(39, 'no broker', { brokerId: '' }, 'ACCEPTED'),
  event(39, 'a broker of 65,536 bytes', { brokerId: 'b'.repeat(65_536) }, 'BROKER_INVALID'),
  event(40, 'an event of no session', { sessionEpoch: 0 }, 'ACCEPTED'),
  event(40, 'an event of a session before any', { sessionEpoch: -1 }, 'SESSION_INVALID'),
  event(41, 'shared, and not local', { topicFilter: '$share/g/a/b', noLocal: true }, 'OPTIONS_INVALID'),
  event(41, 'shared, not local, and removed', { ...REMOVED, topicFilter: '$share/g/a/b', noLocal: true }, 'ACCEPTED'),
  ...[
    { name: 'says three and holds one', count: 3, size: undefined },
    { name: 'says a billion and holds one', count: 1_000_000_000, size: undefined },
    { name: 'says none and holds one', count: 0, size: undefined },
    { name: 'gives its size in bytes wrong', count: -1, size: 1_000_000 },
  ].map(({ name, count, size }) =>
    bytes(
      42,
      `a batch of wildcard events that ${name}`,
      Buffer.concat([
        header(2),
        avroText('a'),
        varint(count),
        size === undefined ? zeros(0) : varint(size),
        rawEvent({ filter: 'a/+' }).subarray(5),
        varint(7),
        varint(0),
      ]),
      'UNDECODABLE',
      { topic: 'wildcard-subscriptions', key: 'a' },
    ),
  ),
];

const NFC = 'caf\u00e9';
const NFD = 'cafe\u0301';

export const FILTERS: readonly BadRecord[] = [
  filter(43, '', 'FILTER_INVALID'),
  filter(44, 'f'.repeat(65_535), 'ACCEPTED', '65,535 bytes'),
  filter(44, 'f'.repeat(65_536), 'FILTER_INVALID', '65,536 bytes'),
  filter(44, 'é'.repeat(32_767), 'ACCEPTED', '32,767 letters of two bytes'),
  filter(44, 'é'.repeat(32_768), 'FILTER_INVALID', '32,768 letters of two bytes'),
  filter(44, `${'f'.repeat(65_533)}/#`, 'ACCEPTED', '65,535 bytes with a wildcard'),
  filter(45, 'a/\0/b', 'FILTER_INVALID'),
  ...['\u0001', '\u001f', '\u007f', '\u009f', '\uffff', '\ufdd0'].map((sign) => filter(46, `a/${sign}/b`, 'ACCEPTED')),
  ...['a#', '#/a', 'a/#/b', '++', 'a+/b', '+a', '#a', '##', '#/#', '+/a#', 'a/b+'].map((text) =>
    filter(47, text, 'FILTER_INVALID'),
  ),
  filter(48, '$share', 'ACCEPTED', '$share, which is a topic'),
  ...['$share/', '$share//f', '$share/g', '$share/g/', '$share/g+/f', '$share/#/f', '$share/g/a#'].map((text) =>
    filter(48, text, 'FILTER_INVALID'),
  ),
  ...['$share/g/f', '$share/g/$share/f', '$share/g/#', '$share/g//'].map((text) => filter(48, text, 'ACCEPTED')),
  filter(49, '$SHARE/g/f', 'ACCEPTED'),
  ...['/', '//', '/'.repeat(127)].map((text) => filter(50, text, 'ACCEPTED')),
  filter(50, '/'.repeat(128), 'FILTER_INVALID', '129 levels'),
  filter(50, '/'.repeat(65_535), 'FILTER_INVALID', '65,536 levels'),
  filter(51, Array.from({ length: 128 }, () => '+').join('/'), 'ACCEPTED', '128 levels of +'),
  filter(51, Array.from({ length: 32_767 }, () => '+').join('/'), 'FILTER_INVALID', '32,767 levels of +'),
  ...['$SYS/#', '$SYS/+', '$queue/f', '$local/f', '$JS/x', '$', '$/'].map((text) => filter(52, text, 'ACCEPTED')),
  filter(53, NFC, 'ACCEPTED', 'é in one sign'),
  filter(53, NFD, 'ACCEPTED', 'é in two signs'),
  filter(54, 'Case/x', 'ACCEPTED'),
  filter(54, 'case/x', 'ACCEPTED'),
  ...[' ', ' /', '/ ', 'a/ /b', 'a ', '\t', '\u00a0'].map((text) => filter(55, text, 'ACCEPTED')),
  ...['%c', '%u', '%c/#', 'a/%u/+'].map((text) => filter(56, text, 'ACCEPTED')),
  ...['*', '>', 'a.b.>', 'a.*', 'a.b'].map((text) => filter(57, text, 'ACCEPTED')),
  ...['.*', '(a+)+$', '[', '\\', 'le(el1/le?el2', '^$', '{1,}', '$&'].map((text) =>
    filter(58, text, text === '(a+)+$' ? 'FILTER_INVALID' : 'ACCEPTED'),
  ),
  ...['a/+', '#', '+', 'a/#'].map((topic) => traffic(60, `a publish to ${topic}`, { topic }, 'TOPIC_INVALID')),
  traffic(60, 'a publish to nothing', { topic: '' }, 'TOPIC_INVALID'),
  traffic(60, 'a publish to a NUL', { topic: 'a\0' }, 'TOPIC_INVALID'),
  traffic(60, 'a publish to 65,536 bytes', { topic: 'f'.repeat(65_536) }, 'TOPIC_INVALID'),
  traffic(60, 'a publish to 65,535 levels', { topic: '/'.repeat(65_535) }, 'ACCEPTED'),
  metric(60, 'a plan for a filter', { kind: 'PlanRequest', requestId: 'r', topic: 'a/+', timestamp: NOW }, 'ACCEPTED'),
  metric(
    60,
    'a plan for what is no filter',
    { kind: 'PlanRequest', requestId: 'r', topic: 'a+', timestamp: NOW },
    'FILTER_INVALID',
  ),
];

const LOADS = ['cpu', 'memoryBytes', 'memoryLimitBytes', 'iops', 'iopsLimit', 'entries', 'lookupP99Ms'] as const;
const REACH = ['nodesPerLookup', 'matchesPerLookup'] as const;
const DOUBLES = ['cpu', 'iops', 'iopsLimit', 'lookupP99Ms', ...REACH] as const;

export const METRICS: readonly BadRecord[] = [
  ...DOUBLES.flatMap((name) =>
    [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) =>
      load(61, `${name} ${value}`, { [name]: value }, 'METRIC_INVALID'),
    ),
  ),
  ...LOADS.map((name) => load(61, `${name} -1`, { [name]: -1 }, 'METRIC_INVALID')),
  ...REACH.map((name) => load(61, `${name} -2`, { [name]: -2 }, 'METRIC_INVALID')),
  traffic(61, 'publishes -1', { publishes: -1 }, 'METRIC_INVALID'),
  traffic(61, 'bytes -1', { bytes: -1 }, 'METRIC_INVALID'),
  traffic(61, 'windowMs 0', { windowMs: 0 }, 'METRIC_INVALID'),
  traffic(61, 'windowMs -1', { windowMs: -1 }, 'METRIC_INVALID'),
  metric(61, 'an offset of -1', { ...beat(), pointerOffset: -1 }, 'METRIC_INVALID'),
  metric(61, 'a throttle of -1', { ...steering(), rowsPerSecond: -1 }, 'METRIC_INVALID'),
  load(62, 'entries of 1,000 …', { entries: 1_000 }, 'ACCEPTED'),
  load(62, '… then of 0: the counter began again', { entries: 0 }, 'ACCEPTED'),
  metric(62, 'a heartbeat at 100 …', { ...beat(), pointerOffset: 100 }, 'ACCEPTED'),
  metric(62, '… then at 0: the broker began again', { ...beat(), pointerOffset: 0 }, 'ACCEPTED'),
  ...DOUBLES.map((name) => load(63, `${name} 1e308`, { [name]: 1e308 }, 'METRIC_INVALID')),
  load(63, 'the most there may be', { iops: 1e15, iopsLimit: 1e-308, entries: 1e15, lookupP99Ms: 1e15 }, 'ACCEPTED'),
  load(63, 'cpu as a percentage', { cpu: 50 }, 'METRIC_INVALID'),
  ...Array.from({ length: 20 }, (_, i) =>
    traffic(63, `the most publishes there may be, time ${i + 1}`, { publishes: 1e15, bytes: 1e15 }, 'ACCEPTED'),
  ),
  traffic(63, 'more publishes than that', { publishes: 1e15 + 1 }, 'METRIC_INVALID'),
  traffic(64, 'a window of next year', { windowStart: eventTime(NOW + 365 * 86_400_000) }, 'ACCEPTED'),
  traffic(64, 'a window of yesterday', { windowStart: eventTime(NOW - 86_400_000) }, 'ACCEPTED'),
  traffic(64, 'a window before 1970', { windowStart: eventTime(-1) }, 'TIMESTAMP_INVALID'),
  load(64, 'a load of the year 9999', { timestamp: eventTime(253_402_300_799_999) }, 'ACCEPTED'),
  load(64, 'a load before 1970', { timestamp: eventTime(-1) }, 'TIMESTAMP_INVALID'),
  metric(64, 'a heartbeat of the year 9999', { ...beat(), timestamp: eventTime(253_402_300_799_999) }, 'ACCEPTED'),
  metric(64, 'a heartbeat before 1970', { ...beat(), timestamp: eventTime(-1) }, 'TIMESTAMP_INVALID'),
  load(65, 'one source says 0.1 …', { instanceId: 'instance-1', cpu: 0.1 }, 'ACCEPTED'),
  load(65, '… another says 0.9', { instanceId: 'instance-2', cpu: 0.9 }, 'ACCEPTED'),
  load(66, 'a shard that nobody has', { shardId: shardId('shard-9999') }, 'ACCEPTED'),
  ...['../x', '/etc/passwd', '..', 'a/b', 'a\\b', 'a\0', '', 'x'.repeat(129), 'a b', '%2e%2e', 'ü'].map((id) =>
    load(67, `the shard ${JSON.stringify(id)}`, { shardId: shardId(id) }, id === '..' ? 'ACCEPTED' : 'SHARD_INVALID'),
  ),
  traffic(71, 'a window of ten milliseconds', { windowMs: 10 }, 'ACCEPTED'),
  traffic(71, 'a window of an hour', { windowMs: 3_600_000 }, 'ACCEPTED'),
  traffic(71, 'a window of ten seconds in microseconds', { windowMs: 10_000_000 }, 'METRIC_INVALID'),
  traffic(71, 'a start in seconds', { windowStart: eventTime(NOW / 1000) }, 'ACCEPTED'),
  traffic(71, 'a start in microseconds', { windowStart: eventTime(NOW * 1000) }, 'TIMESTAMP_INVALID'),
  traffic(72, 'a report …', { brokerId: 'broker-7', windowStart: NOW }, 'ACCEPTED'),
  traffic(72, '… told again with its timestamp', { brokerId: 'broker-7', windowStart: NOW }, 'ACCEPTED'),
  load(72, 'a load told again with its timestamp and other values', { cpu: 0.7 }, 'ACCEPTED'),
  // Texts that end up in rows and decisions of the planner.
  metric(61, 'a broker without a name', { ...beat(), brokerId: '' }, 'BROKER_INVALID'),
  metric(61, 'a broker named in 129 bytes', { ...beat(), brokerId: 'b'.repeat(129) }, 'BROKER_INVALID'),
  metric(61, 'a request of a MB', { ...steering(), requestId: 'r'.repeat(1_000_000) }, 'METRIC_INVALID'),
  metric(61, 'a plan named in a MB', { ...answering(), planId: 'p'.repeat(1_000_000) as never }, 'METRIC_INVALID'),
  metric(61, 'an answer of no id', { ...answering(), requestId: '' }, 'METRIC_INVALID'),
  metric(61, 'a move named in a MB', { ...steering(), moveId: 'm'.repeat(1_000_000) as never }, 'METRIC_INVALID'),
  metric(
    61,
    'a plan asked for without an id',
    { kind: 'PlanRequest', requestId: '', topic: 'a', timestamp: NOW },
    'METRIC_INVALID',
  ),
  metric(
    61,
    'a plan with an id of a MB',
    { kind: 'PlanRequest', requestId: 'r'.repeat(1_000_000), topic: 'a', timestamp: NOW },
    'METRIC_INVALID',
  ),
];

export const NOT_OURS: readonly NotOurs[] = [
  { number: 29, reason: 'an event has no sequence number: its order is its offset, which the log gives' },
  { number: 30, reason: 'an event has no sequence number' },
  { number: 31, reason: 'an event has no sequence number' },
];

function beat() {
  return { kind: 'BrokerHeartbeat' as const, brokerId: 'broker-1', pointerOffset: 0, timestamp: NOW };
}
function answering() {
  return {
    kind: 'PlanAnswer' as const,
    requestId: 'request-1',
    planId: 'plan-000001' as never,
    answer: 'APPROVE' as const,
    timestamp: NOW,
  };
}
function steering() {
  return {
    kind: 'MoveRequest' as const,
    requestId: 'request-1',
    moveId: 'move-000001' as never,
    action: 'PAUSE' as const,
    rowsPerSecond: 0,
    timestamp: NOW,
  };
}
