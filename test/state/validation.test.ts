import { describe, expect, test } from 'vitest';
import { eventTime } from '../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../schemas/records.ts';
import { partitionOf, placeOf } from '../../state/keys.ts';
import { refuseSubscription, refuseWildcards } from '../../state/validation.ts';

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
