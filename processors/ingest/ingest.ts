// Ingest: sends the subscription events that belong in tries on to the partition of their first literal level, so that
// each trie slice has one writer. Concrete events stay where they are: rates and apply read them from the same batch.
//
//   N1. Every trie event goes on exactly once, with its offset, which orders the events of its filter for ever.
//   N2. Events under one key keep their order.

import type { SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import { isTrieFilter, placeOf } from '../../state/keys.ts';
import { type Emit, type Input, NOTHING, type Step } from '../step.ts';

export const ingest: Step<
  Input<'subscriptions', SubscriptionEvent>,
  never,
  Emit<'wildcard-subscriptions', WildcardEvents>
> = (_rows, { value: event, offset }) => {
  if (!isTrieFilter(event.topicFilter)) return NOTHING;
  const key = placeOf(event.topicFilter).routingKey;
  const { action, topicFilter, clientId, brokerId, qos, timestamp } = event;
  const value = { firstLevel: key, events: [{ action, topicFilter, clientId, brokerId, qos, timestamp, offset }] };
  return [{ topic: 'wildcard-subscriptions', key, value }];
};
