// The cases of the catalogue that are about JSON, for topics whose codec is JSON.

import { embeddedCodec } from '../../../schemas/avro-codec.ts';
import type { BadRecord } from './bad-record.ts';

const GOOD = {
  action: 'SUBSCRIBE',
  topicFilter: 'a/b',
  clientId: 'client-1',
  brokerId: 'broker-1',
  qos: 1,
  timestamp: Date.UTC(2026, 0, 1),
};
const TEXT = JSON.stringify(GOOD);
const LOAD = {
  kind: 'DatastoreMetrics',
  shardId: 'shard-0001',
  instanceId: 'i',
  cpu: 0.5,
  memoryBytes: 1,
  memoryLimitBytes: 2,
  iops: 1,
  iopsLimit: 2,
  entries: 1,
  lookupP99Ms: 1,
  timestamp: GOOD.timestamp,
};
const METRIC = JSON.stringify({ body: LOAD });

const json = (
  number: number,
  name: string,
  text: string | Buffer,
  expected: BadRecord['expected'],
  changes: Partial<BadRecord> = {},
): BadRecord => ({
  number,
  name,
  topic: 'subscriptions',
  key: 'a/b',
  value: Buffer.from(text as string),
  expected,
  ...changes,
});
/** The event with one field written as this text. */
const field = (number: number, name: string, text: string, expected: BadRecord['expected']): BadRecord =>
  json(
    number,
    `${name} as ${text.slice(0, 40)}`,
    TEXT.replace(new RegExp(`("${name}":)("[^"]*"|\\d+)`), `$1${text}`),
    expected,
  );
const load = (number: number, name: string, text: string, expected: BadRecord['expected']): BadRecord =>
  json(
    number,
    `${name} as ${text.slice(0, 40)}`,
    METRIC.replace(new RegExp(`("${name}":)("[^"]*"|[\\d.]+)`), `$1${text}`),
    expected,
    {
      topic: 'metrics',
    },
  );
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

export const JSON_CASES: readonly BadRecord[] = [
  json(1, 'an empty value', '', 'VALUE_MISSING'),
  json(1, 'white space', ' \n', 'UNDECODABLE'),
  json(8, 'an overlong slash', Buffer.from(TEXT.replace('client-1', '\u00ff'), 'latin1'), 'UNDECODABLE'),
  json(
    8,
    'half a surrogate pair',
    Buffer.concat([Buffer.from('"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"')]),
    'UNDECODABLE',
  ),
  json(9, 'a byte order mark', `\ufeff${TEXT}`, 'UNDECODABLE'),
  json(10, 'UTF-16', Buffer.from(TEXT, 'utf16le'), 'UNDECODABLE'),
  json(10, 'UTF-16 with its mark', Buffer.from(`\ufeff${TEXT}`, 'utf16le'), 'UNDECODABLE'),
  ...Array.from({ length: TEXT.length - 1 }, (_, at) =>
    json(11, `cut after ${at + 1} bytes`, TEXT.slice(0, at + 1), 'UNDECODABLE'),
  ),
  json(12, 'a second value behind it', `${TEXT}{}`, 'UNDECODABLE'),
  json(12, 'a comma behind it', `${TEXT},`, 'UNDECODABLE'),
  json(12, 'a line break behind it', `${TEXT}\r\n`, 'ACCEPTED'),
  json(13, '100,000 open brackets', '['.repeat(100_000), 'UNDECODABLE'),
  json(13, '100,000 lists in lists', nested(100_000), 'SCHEMA_MISMATCH'),
  json(13, '100,000 lists in lists in a field nobody knows', TEXT.replace('{', `{"x":${nested(100_000)},`), 'ACCEPTED'),
  json(13, '50,000 objects in objects', '{"body":'.repeat(50_000) + '1' + '}'.repeat(50_000), 'SCHEMA_MISMATCH'),
  json(
    14,
    '100,000 keys (as many as a MiB holds)',
    `{${Array.from({ length: 100_000 }, (_, i) => `"${i}":1`).join()}}`,
    'SCHEMA_MISMATCH',
  ),
  json(
    14,
    '80,000 more keys',
    TEXT.replace('{', `{${Array.from({ length: 80_000 }, (_, i) => `"${i}":1`).join()},`),
    'ACCEPTED',
  ),
  json(15, 'a field twice: the last one counts', TEXT.replace('{', '{"qos":9,'), 'ACCEPTED'),
  json(15, 'a field twice, and the last one is wrong', TEXT.replace('}', ',"qos":9}'), 'QOS_INVALID'),
  ...[
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'valueOf',
    'hasOwnProperty',
    '__defineGetter__',
    'then',
    'toJSON',
  ].flatMap((name) => [
    json(16, `${name} as a key`, TEXT.replace('{', `{"${name}":{"polluted":1,"qos":1},`), 'ACCEPTED'),
    json(16, `${name} as the kind`, METRIC.replace('DatastoreMetrics', name), 'SCHEMA_MISMATCH', { topic: 'metrics' }),
    json(16, `${name} as the action`, TEXT.replace('"SUBSCRIBE"', `"${name}"`), 'SCHEMA_MISMATCH'),
    json(16, `${name} instead of the fields`, `{"${name}":${TEXT}}`, 'SCHEMA_MISMATCH'),
  ]),
  json(16, 'constructor.prototype', TEXT.replace('{', '{"constructor":{"prototype":{"polluted":1}},'), 'ACCEPTED'),
  field(16, 'qos', '{"valueOf":1,"toString":2}', 'SCHEMA_MISMATCH'),
  field(17, 'timestamp', '1e999', 'SCHEMA_MISMATCH'),
  field(17, 'timestamp', '-0', 'ACCEPTED'),
  field(17, 'timestamp', '1e-400', 'ACCEPTED'),
  field(17, 'timestamp', '9007199254740993', 'SCHEMA_MISMATCH'),
  field(17, 'timestamp', '"12"', 'SCHEMA_MISMATCH'),
  ...['0x10', 'NaN', 'Infinity', '-Infinity', '01', '1.', '.5', '+1', '1_000', '1n'].map((text) =>
    field(17, 'timestamp', text, 'UNDECODABLE'),
  ),
  load(17, 'cpu', '1e999', 'METRIC_INVALID'),
  load(17, 'cpu', '-1e999', 'METRIC_INVALID'),
  load(17, 'cpu', '1e-400', 'ACCEPTED'),
  load(17, 'cpu', '-0', 'ACCEPTED'),
  load(17, 'iops', 'null', 'SCHEMA_MISMATCH'),
  load(17, 'entries', '1.5', 'SCHEMA_MISMATCH'),
  ...['null', 'true', '1', '"text"', '[]', '{}', '[{}]', 'undefined'].map((text) =>
    json(18, `${text} for the event`, text, text === 'undefined' ? 'UNDECODABLE' : 'SCHEMA_MISMATCH'),
  ),
  ...['null', 'true', '1', '"text"', '[]', '{"body":[]}', '{"body":null}', '{"body":{}}', '{"body":{"kind":1}}'].map(
    (text) => json(18, `${text} for the metric`, text, 'SCHEMA_MISMATCH', { topic: 'metrics' }),
  ),
  ...Object.keys(GOOD).flatMap((name) =>
    ['null', 'true', '[]', '{}', name === 'qos' || name === 'timestamp' ? '"x"' : '1', '[1]'].map((text) =>
      field(18, name, text, 'SCHEMA_MISMATCH'),
    ),
  ),
  field(19, 'clientId', '"\\ud800"', 'SCHEMA_MISMATCH'),
  field(19, 'clientId', '"\\udc00\\ud800"', 'SCHEMA_MISMATCH'),
  field(19, 'clientId', '"\\u0000"', 'ACCEPTED'),
  field(19, 'clientId', '"\\ud83d\\ude00"', 'ACCEPTED'),
  json(
    20,
    'a field nobody knows is kept out of the way',
    TEXT.replace('{', '{"isAdmin":true,"epoch":9,"partition":7,'),
    'ACCEPTED',
  ),
  ...Object.keys(GOOD).map((name) =>
    json(
      21,
      `without ${name}`,
      JSON.stringify({ ...GOOD, [name]: undefined }),
      name === 'qos' ? 'ACCEPTED' : 'SCHEMA_MISMATCH',
    ),
  ),
  ...Object.keys(LOAD).map((name) =>
    json(21, `a load without ${name}`, JSON.stringify({ body: { ...LOAD, [name]: undefined } }), 'SCHEMA_MISMATCH', {
      topic: 'metrics',
    }),
  ),
  ...['0', '-1', '999', '"v1"'].map((text) =>
    json(22, `a version ${text} beside the fields`, TEXT.replace('{', `{"version":${text},`), 'ACCEPTED'),
  ),
  json(23, 'Avro on a topic of JSON', embeddedCodec().encode('SubscriptionEvent', GOOD), 'UNDECODABLE'),
  json(23, 'Protobuf', Buffer.from([0x0a, 3, 0x61, 0x2f, 0x62]), 'UNDECODABLE'),
  ...['"SUBSCRIBE "', '"subscribe"', '"SUB"', 'null', '"UNSUBSCRIBE\\u0000"', '0'].map((text) =>
    field(25, 'action', text, 'SCHEMA_MISMATCH'),
  ),
  field(32, 'timestamp', '"2026-01-01T00:00:00Z"', 'SCHEMA_MISMATCH'),
  field(32, 'timestamp', '1.5', 'SCHEMA_MISMATCH'),
  ...['1.5', '"1"', '2147483648'].map((text) => field(34, 'qos', text, 'SCHEMA_MISMATCH')),
];
