// Ingest: sends the subscription events that belong in tries on to the partition of their first literal level, so that
// each trie slice has one writer. Concrete events stay where they are: rates and apply read them from the same batch.
//
//   N1. Every trie event is forwarded exactly once, with its offset and the incarnation of the topic that the offset
//       belongs to: together they order the events of its filter, also across a recreation of the topic.
//   N2. Events under one key keep their order.

import type { SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import { isTrieFilter, placeOf } from '../../state/keys.ts';
import { type Emit, type Input, NOTHING, type Step } from '../step.ts';

export const ingestWith =
  (
    incarnation: number,
  ): Step<Input<'subscriptions', SubscriptionEvent>, never, Emit<'wildcard-subscriptions', WildcardEvents>> =>
  (_rows, { value: event, offset }) => {
    if (!isTrieFilter(event.topicFilter)) return NOTHING;
    const key = placeOf(event.topicFilter).routingKey;
    const { action, topicFilter, clientId, brokerId, qos, timestamp } = event;
    const { noLocal, retainAsPublished, retainHandling, subscriptionIdentifier, sessionEpoch } = event;
    // One literal: spreading is five times as slow.
    const sent = {
      action,
      topicFilter,
      clientId,
      brokerId,
      qos,
      timestamp,
      offset,
      incarnation,
      noLocal,
      retainAsPublished,
      retainHandling,
      subscriptionIdentifier,
      sessionEpoch,
    };
    return [{ topic: 'wildcard-subscriptions', key, value: { firstLevel: key, events: [sent] } }];
  };
