import { describe, expect, test } from 'vitest';
import { mergeRows } from '../../../datastores/merge.ts';
import {
  foldEvent,
  recordOf,
  type Subscription,
  subscriptionAt,
  subscriptionKey,
  subscriptionTable,
} from '../../../processors/apply/subscriptions.ts';
import { eventTime } from '../../../schemas/ids.ts';
import type { SubscriptionEvent } from '../../../schemas/records.ts';
import type { SubscriptionRow } from '../../../state/effects.ts';
import { filterHash, isTrieFilter, placeOf } from '../../../state/keys.ts';
import { compareUtf8 } from '../../../state/utf8.ts';
import { fc } from '../../support/property.ts';

const NONE = 0;
const at = (offset: number) => ({ incarnation: 0, offset });
const event = (
  action: SubscriptionEvent['action'],
  brokerId: string,
  sessionEpoch: number,
  more: Partial<SubscriptionEvent> = {},
): SubscriptionEvent => ({
  ...{ action, topicFilter: 'a/b', clientId: 'client-1', brokerId, qos: 1, timestamp: eventTime(1_000), sessionEpoch },
  ...more,
});

describe('what an event makes of a subscription', () => {
  const held = (brokerId: string, session = NONE): Subscription => ({
    ...{ brokerId, qos: 1, version: at(5), at: eventTime(500) },
    ...(session === NONE ? {} : { session }),
  });
  const ended = (session: number): Subscription => ({ ...held('A', session), removed: true });

  for (const { name, known, by, comes } of [
    { name: 'the first SUBSCRIBE makes it', known: undefined, by: event('SUBSCRIBE', 'A', NONE), comes: 'live of A' },
    { name: 'another broker takes it over', known: held('A'), by: event('SUBSCRIBE', 'B', NONE), comes: 'live of B' },
    { name: 'its broker ends it', known: held('A'), by: event('UNSUBSCRIBE', 'A', NONE), comes: 'none' },
    { name: 'no other broker does', known: held('A'), by: event('UNSUBSCRIBE', 'B', NONE), comes: 'foreign' },
    { name: 'nothing ends what is not there', known: undefined, by: event('UNSUBSCRIBE', 'A', NONE), comes: 'none' },
    { name: 'a later session takes it over', known: held('A', 2), by: event('SUBSCRIBE', 'B', 3), comes: 'live of B' },
    { name: 'an earlier one does not', known: held('B', 3), by: event('SUBSCRIBE', 'A', 2), comes: 'superseded' },
    {
      name: 'an earlier one does not end it',
      known: held('B', 3),
      by: event('UNSUBSCRIBE', 'A', 2),
      comes: 'superseded',
    },
    { name: 'its own session ends it', known: held('A', 2), by: event('UNSUBSCRIBE', 'A', 2), comes: 'remembered' },
    {
      name: 'a later session ends it at a broker that it was resumed by',
      known: held('A', 2),
      by: event('UNSUBSCRIBE', 'B', 3),
      comes: 'remembered',
    },
    {
      name: 'an end is remembered before the beginning',
      known: undefined,
      by: event('UNSUBSCRIBE', 'A', 2),
      comes: 'remembered',
    },
    {
      name: 'an ended one stays so for an earlier session',
      known: ended(3),
      by: event('SUBSCRIBE', 'A', 2),
      comes: 'superseded',
    },
    { name: 'and begins anew in its own', known: ended(3), by: event('SUBSCRIBE', 'A', 3), comes: 'live of A' },
    {
      name: 'a broker without sessions takes it over',
      known: held('A', 3),
      by: event('SUBSCRIBE', 'B', NONE),
      comes: 'live of B',
    },
    { name: 'but ends no other broker’s', known: held('A', 3), by: event('UNSUBSCRIBE', 'B', NONE), comes: 'foreign' },
  ])
    test(name, () => {
      const folded = foldEvent(known, by, at(6));
      const row = folded.is === 'changed' ? folded.row : undefined;
      const live = row === undefined ? 'none' : row.removed ? 'remembered' : `live of ${row.brokerId}`;
      expect(folded.is === 'changed' ? live : folded.is).toBe(comes);
      if (folded.is === 'changed') expect(folded.write.gone).toBe(!comes.startsWith('live'));
    });

  test('what was folded before changes nothing', () => {
    expect(foldEvent(held('A'), event('SUBSCRIBE', 'A', NONE), at(4))).toEqual({ is: 'stale' });
    expect(foldEvent(held('A'), event('UNSUBSCRIBE', 'A', NONE), at(5))).toEqual({ is: 'stale' });
    expect(foldEvent(ended(3), event('SUBSCRIBE', 'A', 3), at(5))).toEqual({ is: 'stale' });
    expect(foldEvent(held('A'), event('SUBSCRIBE', 'A', NONE), { incarnation: 1, offset: 0 }).is).toBe('changed');
  });

  test('the event that it is of is done again: the row may have been read from a shard', () => {
    const folded = foldEvent(held('A'), event('SUBSCRIBE', 'A', NONE), at(5));
    expect(folded).toMatchObject({ is: 'changed', row: { brokerId: 'A', version: at(5) }, write: { gone: false } });
  });

  test('its options are kept, and told to shards and to the topic', () => {
    const options = { noLocal: true, retainAsPublished: false, retainHandling: 2, subscriptionIdentifier: 7 };
    const folded = foldEvent(undefined, event('SUBSCRIBE', 'A', 4, options), at(6));
    expect(folded).toMatchObject({ row: { options, session: 4 }, write: { options } });
    const row = (folded as { row: Subscription }).row;
    expect(recordOf(3, 'a/b', 'client-1', row)).toMatchObject({
      ...{ topic: 'subscription-table', partition: 3, key: 'a/b\u0000client-1' },
      value: { topicFilter: 'a/b', clientId: 'client-1', ...options, sessionEpoch: 4, offset: 6, removed: false },
    });
    expect(recordOf(3, 'a/b', 'client-1', undefined).value).toBeNull();
  });
});

test('a shard ends with what the table says, in whatever order and how often its writes come', () => {
  const step = fc.record({
    action: fc.constantFrom('SUBSCRIBE' as const, 'UNSUBSCRIBE' as const),
    broker: fc.constantFrom('A', 'B', 'C'),
    session: fc.constantFrom(NONE, 1, 2, 3),
    qos: fc.integer({ min: 0, max: 2 }),
    identifier: fc.constantFrom(0, 0, 9),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.infiniteStream(fc.nat()), (steps, order) => {
      let row: Subscription | undefined;
      const writes: SubscriptionRow[] = [];
      for (const [offset, { action, broker, session, qos, identifier }] of steps.entries()) {
        const came = event(action, broker, session, { qos, subscriptionIdentifier: identifier });
        const folded = foldEvent(row, came, at(offset));
        if (folded.is !== 'changed') continue;
        row = folded.row;
        writes.push(folded.write);
      }
      const again = [...writes, ...writes].sort(() => (order.next().value! % 3) - 1);
      const inOrder = writes.reduce(merged, undefined as SubscriptionRow | undefined);
      for (const stored of [inOrder, again.reduce(merged, undefined as SubscriptionRow | undefined)]) {
        const isLive = row !== undefined && row.removed !== true;
        expect(stored !== undefined && !stored.gone).toBe(isLive);
        if (!isLive) continue;
        const { brokerId, qos, version, options } = row!;
        expect(stored).toMatchObject({ brokerId, qos, version });
        expect(stored!.options).toEqual(options);
      }
    }),
    { numRuns: 5_000 },
  );
});

describe('where a subscription lies', () => {
  const level = fc.constantFrom('a', 'b', 'é', '😀', '\ufffd', '+');
  const inner = fc.array(level, { minLength: 1, maxLength: 3 }).map((levels) => levels.join('/'));
  const filter = fc.oneof(
    inner,
    inner.map((text) => `${text}/#`),
    inner.map((text) => `$share/g/${text}`),
  );
  const place = fc.record({ filter, clientId: fc.constantFrom('', 'c', 'c\u0000d', 'é') });

  test('is told by its key', () => {
    fc.assert(
      fc.property(place, (each) => {
        expect(subscriptionAt(subscriptionKey(each.filter, each.clientId))).toEqual(each);
      }),
    );
  });

  test('is in the order of the shards: of concrete filters by hash, of others by literal prefix, then by filter and client', () => {
    const hashOf = (text: string) => filterHash(text).toString(16).padStart(8, '0');
    fc.assert(
      fc.property(place, place, (a, b) => {
        if (isTrieFilter(a.filter) !== isTrieFilter(b.filter)) return;
        const by = isTrieFilter(a.filter) ? (text: string) => placeOf(text).prefix : hashOf;
        const expected =
          compareUtf8(by(a.filter), by(b.filter)) ||
          compareUtf8(a.filter, b.filter) ||
          compareUtf8(a.clientId, b.clientId);
        const found = compareUtf8(subscriptionKey(a.filter, a.clientId), subscriptionKey(b.filter, b.clientId));
        expect(Math.sign(found)).toBe(Math.sign(expected));
      }),
    );
  });

  test('and its row is what was written', () => {
    for (const row of [
      { brokerId: 'A', qos: 2, version: at(7), at: eventTime(9) },
      { brokerId: 'A', qos: 0, version: { incarnation: 3, offset: 7 }, at: eventTime(9), session: 4, removed: true },
    ] as const)
      expect(subscriptionTable.decode(subscriptionTable.encode(row))).toEqual(row);
  });
});

const merged = (known: SubscriptionRow | undefined, row: SubscriptionRow): SubscriptionRow => mergeRows(known, row).row;
