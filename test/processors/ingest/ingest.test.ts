import { describe, expect, test } from 'vitest';
import { ingestWith } from '../../../processors/ingest/ingest.ts';
import { eventTime } from '../../../schemas/ids.ts';

describe('ingest, and what belongs to a session goes to its client too', () => {
  for (const { name, filter, key } of [
    { name: 'leaves a concrete event where it is', filter: 'home/kitchen/t', key: undefined },
    { name: 'sends a wildcard on by its first literal level', filter: 'home/+/t', key: 'home' },
    { name: 'sends a filter that begins with a wildcard on by the root key', filter: '+/kitchen', key: '#' },
    { name: 'sends "#" on by the root key', filter: '#', key: '#' },
    { name: 'knows the empty first level from the root', filter: '/+', key: '' },
    {
      name: 'sends a shared filter on by the first level of what it shares',
      filter: '$share/group/home/kitchen',
      key: 'home',
    },
    { name: 'sends a shared filter of one level on by the root key', filter: '$share/group/home', key: '#' },
    { name: 'does not take $SYS for a literal of its own', filter: '$SYS/#', key: '$SYS' },
  ]) {
    test(name, () => {
      const value = {
        action: 'SUBSCRIBE',
        topicFilter: filter,
        clientId: 'c',
        brokerId: 'b',
        qos: 1,
        timestamp: eventTime(5),
        ...{ noLocal: true, retainAsPublished: true, retainHandling: 2 },
        ...{ subscriptionIdentifier: 7, sessionEpoch: 9 },
      } as const;
      const emits = ingestWith(3)(undefined as never, {
        topic: 'subscriptions',
        partition: 0,
        offset: 42,
        key: filter,
        value,
      });
      const { clientId, ...ofClient } = value;
      expect(emits.map((emit) => [emit.topic, emit.key, emit.value?.events])).toEqual([
        ...(key === undefined ? [] : [['wildcard-subscriptions', key, [{ ...value, offset: 42, incarnation: 3 }]]]),
        ['client-subscriptions', clientId, [ofClient]],
      ]);
      const unheard = { ...value, sessionEpoch: 0 };
      const others = ingestWith(3)(undefined as never, {
        ...{ topic: 'subscriptions', partition: 0, offset: 42, key: filter },
        value: unheard,
      });
      expect(others.map((emit) => emit.topic)).toEqual(key === undefined ? [] : ['wildcard-subscriptions']);
    });
  }
});
