import { describe, expect, test } from 'vitest';
import { eventTime } from '../../schemas/ids.ts';
import type { ClientEvent, SessionRecord, SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf, placeOf } from '../../state/keys.ts';
import {
  refuseClientEvents,
  refuseOperation,
  refuseSession,
  refuseSubscription,
  refuseWildcards,
} from '../../state/validation.ts';

const PARTITIONS = 4;
const event = (topicFilter: string, offset = 7) => ({
  action: 'SUBSCRIBE' as const,
  topicFilter,
  clientId: 'client-1',
  brokerId: 'broker-1',
  qos: 1,
  timestamp: eventTime(1_000),
  offset,
  incarnation: 0,
});

describe('a record of wildcard events', () => {
  for (const { name, key, firstLevel, events, partition, code } of [
    {
      name: 'of one first level is taken',
      key: 'home',
      events: [event('home/+'), event('$share/g/home/x')],
      code: undefined,
    },
    {
      name: 'of filters that begin with a wildcard is taken',
      key: '#',
      events: [event('+/x'), event('#')],
      code: undefined,
    },
    {
      name: 'with a filter of another first level is refused',
      key: 'home',
      events: [event('home/+'), event('yard/+')],
      code: 'KEY_MISMATCH',
    },
    { name: 'with a concrete filter is refused', key: 'home', events: [event('home/x')], code: 'KEY_MISMATCH' },
    {
      name: 'that says another first level than its key is refused',
      key: 'home',
      firstLevel: 'yard',
      events: [event('home/+')],
      code: 'KEY_MISMATCH',
    },
    { name: 'with an invalid filter is refused', key: 'home', events: [event('home/a+')], code: 'FILTER_INVALID' },
    { name: 'with a negative offset is refused', key: 'home', events: [event('home/+', -1)], code: 'UNDECODABLE' },
    {
      name: 'in the wrong partition is refused',
      key: 'home',
      events: [event('home/+')],
      partition: (partitionOf('home', PARTITIONS) + 1) % PARTITIONS,
      code: 'WRONG_PARTITION',
    },
  ])
    test(name, () => {
      const place = { key, partition: partition ?? partitionOf(key, PARTITIONS), partitions: PARTITIONS };
      expect(refuseWildcards({ firstLevel: firstLevel ?? key, events }, place)?.code).toBe(code);
    });
});

describe('the options of a subscription', () => {
  const shared = '$share/group/home/x';
  for (const { name, code, ...options } of [
    { name: 'may all be given', noLocal: true, retainAsPublished: true, retainHandling: 2, subscriptionIdentifier: 1 },
    { name: 'may all be left out' },
    { name: 'retainHandling 1', retainHandling: 1 },
    { name: 'retainHandling 3', retainHandling: 3, code: 'OPTIONS_INVALID' },
    { name: 'retainHandling -1', retainHandling: -1, code: 'OPTIONS_INVALID' },
    { name: 'retainHandling 0.5', retainHandling: 0.5, code: 'OPTIONS_INVALID' },
    { name: 'subscription identifier 0, which is none', subscriptionIdentifier: 0 },
    { name: 'subscription identifier 268,435,455', subscriptionIdentifier: 268_435_455 },
    { name: 'subscription identifier 268,435,456', subscriptionIdentifier: 268_435_456, code: 'OPTIONS_INVALID' },
    { name: 'subscription identifier -1', subscriptionIdentifier: -1, code: 'OPTIONS_INVALID' },
    { name: 'session epoch 2^53 - 1', sessionEpoch: 2 ** 53 - 1 },
    { name: 'session epoch 2^53', sessionEpoch: 2 ** 53, code: 'SESSION_INVALID' },
    { name: 'session epoch -1', sessionEpoch: -1, code: 'SESSION_INVALID' },
    { name: 'session epoch NaN', sessionEpoch: Number.NaN, code: 'SESSION_INVALID' },
    { name: 'noLocal on a shared subscription', topicFilter: shared, noLocal: true, code: 'OPTIONS_INVALID' },
    { name: 'noLocal on the removal of one', action: 'UNSUBSCRIBE' as const, topicFilter: shared, noLocal: true },
    { name: 'the other options on a shared subscription', topicFilter: shared, retainAsPublished: true },
    { name: 'a wrong option of a removal', action: 'UNSUBSCRIBE' as const, retainHandling: 3, code: 'OPTIONS_INVALID' },
  ] as readonly (Partial<SubscriptionEvent> & { readonly name: string; readonly code?: string })[])
    test(`${name}: ${code ?? 'taken'}`, () => {
      for (const trie of [false, true]) {
        const { offset, incarnation, ...sent } = { ...event(trie ? 'home/+' : 'home/x'), ...options };
        const { topicFilter } = sent;
        const place = { key: topicFilter, partition: partitionOf(topicFilter, PARTITIONS), partitions: PARTITIONS };
        expect(refuseSubscription(sent, place)?.code).toBe(code);
        if (!placeOf(topicFilter).trie) continue;
        const key = placeOf(topicFilter).routingKey;
        const batch = { firstLevel: key, events: [{ ...sent, offset, incarnation }] };
        expect(refuseWildcards(batch, { ...place, key, partition: partitionOf(key, PARTITIONS) })?.code).toBe(code);
      }
    });
});

describe('a session record', () => {
  const at = (key: string) => ({ key, partition: partitionOf(key, 8), partitions: 8 });
  const CONNECTED = {
    ...{ kind: 'Connected', clientId: 'phone', brokerId: 'b1', cleanStart: true },
    ...{ sessionExpirySeconds: 0, sessionEpoch: 1 },
  } as const;
  const DISCONNECTED = { kind: 'Disconnected', clientId: 'phone', brokerId: 'b1', sessionEpoch: 1 } as const;
  const ENDED = { kind: 'Ended', clientId: 'phone', brokerId: 'b1', sessionEpoch: 1 } as const;

  for (const { name, body, timestamp = 5, code } of [
    { name: 'of a connection', body: CONNECTED, code: undefined },
    { name: 'that never expires', body: { ...CONNECTED, sessionExpirySeconds: 0xffff_ffff }, code: undefined },
    { name: 'of a closed connection', body: { ...DISCONNECTED, sessionExpirySeconds: -1 }, code: undefined },
    { name: 'of an end', body: ENDED, code: undefined },
    { name: 'without a client', body: { ...ENDED, clientId: '' }, code: 'CLIENT_INVALID' },
    { name: 'with U+0000 in the client', body: { ...ENDED, clientId: 'a\u0000b' }, code: 'CLIENT_INVALID' },
    { name: 'without a broker', body: { ...ENDED, brokerId: '' }, code: 'BROKER_INVALID' },
    { name: 'of epoch 0', body: { ...ENDED, sessionEpoch: 0 }, code: 'SESSION_INVALID' },
    { name: 'of epoch 2^53', body: { ...ENDED, sessionEpoch: 2 ** 53 }, code: 'SESSION_INVALID' },
    { name: 'of epoch 1.5', body: { ...ENDED, sessionEpoch: 1.5 }, code: 'SESSION_INVALID' },
    { name: 'with expiry -1', body: { ...CONNECTED, sessionExpirySeconds: -1 }, code: 'SESSION_INVALID' },
    { name: 'with expiry 2^32', body: { ...CONNECTED, sessionExpirySeconds: 2 ** 32 }, code: 'SESSION_INVALID' },
    { name: 'of a closed one, -2', body: { ...DISCONNECTED, sessionExpirySeconds: -2 }, code: 'SESSION_INVALID' },
    { name: 'in the year 10000', body: ENDED, timestamp: 253_402_300_800_000, code: 'TIMESTAMP_INVALID' },
  ])
    test(`${name} is ${code ?? 'taken'}`, () => {
      const record = { body, timestamp: eventTime(timestamp) } as SessionRecord;
      expect(refuseSession(record, at(body.clientId))?.code).toBe(code);
    });

  test('under another key, or in another partition, is refused', () => {
    const record: SessionRecord = { body: ENDED, timestamp: eventTime(5) };
    expect(refuseSession(record, at('other'))?.code).toBe('KEY_MISMATCH');
    const place = at('phone');
    expect(refuseSession(record, { ...place, partition: (place.partition + 1) % 8 })?.code).toBe('WRONG_PARTITION');
  });
});

describe('what a client says', () => {
  const at = (key: string) => ({ key, partition: partitionOf(key, 8), partitions: 8 });
  const said: ClientEvent = {
    action: 'SUBSCRIBE',
    topicFilter: 'a/+',
    brokerId: 'b',
    qos: 1,
    timestamp: eventTime(5),
    sessionEpoch: 1,
  };
  for (const { name, clientId = 'phone', key = 'phone', event = said, code } of [
    { name: 'is taken', code: undefined },
    { name: 'under another key is refused', key: 'other', code: 'KEY_MISMATCH' },
    { name: 'outside of a session is refused', event: { ...said, sessionEpoch: 0 }, code: 'SESSION_INVALID' },
    { name: 'of a filter that is none is refused', event: { ...said, topicFilter: 'a#' }, code: 'FILTER_INVALID' },
    { name: 'with U+0000 in its id is refused', clientId: 'a\u0000b', key: 'a\u0000b', code: 'CLIENT_INVALID' },
  ])
    test(name, () => {
      expect(refuseClientEvents({ clientId, events: [event] }, at(key))?.code).toBe(code);
    });
});

describe('an operation on sessions', () => {
  const said = { operationId: 'lose-5-1', brokerId: 'b', at: eventTime(5) };
  const place = { key: 'lose-5-1', partition: 3, partitions: 8 };
  for (const { name, operation, code } of [
    { name: 'is taken wherever it is', operation: {}, code: undefined },
    { name: 'of another id than its key is refused', operation: { operationId: 'x' }, code: 'KEY_MISMATCH' },
    { name: 'of a broker of no name that is one is refused', operation: { brokerId: '\n' }, code: 'BROKER_INVALID' },
    { name: 'of no time is refused', operation: { at: eventTime(-1) }, code: 'TIMESTAMP_INVALID' },
  ])
    test(name, () => {
      const body = { kind: 'OperationStop', reason: '' } as const;
      expect(refuseOperation({ ...said, body, ...operation }, place)?.code).toBe(code);
    });
});
