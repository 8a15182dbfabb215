import { describe, expect, test } from 'vitest';
import { eventTime } from '../../schemas/ids.ts';
import { partitionOf } from '../../state/keys.ts';
import { refuseWildcards } from '../../state/validation.ts';

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
