// Ingest: sends the subscription events that belong in tries on to the partition of their first literal level, so that
// each trie slice has one writer. Concrete events stay where they are: rates and apply read them from the same batch.
//
//   N1. Every trie event is forwarded exactly once, with its offset and the incarnation of the topic that the offset
//       belongs to: together they order the events of its filter, also across a recreation of the topic.
//   N2. Events under one key keep their order.
//   N3. Events that belong to sessions are also sent to the partition of their client; for other events this costs
//       nothing.

import type { ClientEvents, SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import { isTrieFilter, placeOf } from '../../state/keys.ts';
import { type Emit, type Input, NOTHING, type Step } from '../step.ts';

type Out = Emit<'wildcard-subscriptions', WildcardEvents> | Emit<'client-subscriptions', ClientEvents>;

export const ingestWith =
  (incarnation: number): Step<Input<'subscriptions', SubscriptionEvent>, never, Out> =>
  (_rows, { value: event, offset }) => {
    const isTrie = isTrieFilter(event.topicFilter);
    if (event.sessionEpoch === undefined || event.sessionEpoch === 0)
      return isTrie ? [toTrie(event, offset, incarnation)] : NOTHING;
    const toClient = ofClient(event, event.sessionEpoch);
    return isTrie ? [toTrie(event, offset, incarnation), toClient] : [toClient];
  };

function toTrie(event: SubscriptionEvent, offset: number, incarnation: number): Out {
  const key = placeOf(event.topicFilter).routingKey;
  const { action, topicFilter, clientId, brokerId, qos, timestamp } = event;
  const { noLocal, retainAsPublished, retainHandling, subscriptionIdentifier, sessionEpoch } = event;
  // One literal: the spread operator takes five times as long.
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
  return { topic: 'wildcard-subscriptions', key, value: { firstLevel: key, events: [sent] } };
}

/** The record for the partition of the event's client (N3). */
function ofClient(event: SubscriptionEvent, sessionEpoch: number): Out {
  const { clientId, action, topicFilter, brokerId, qos, timestamp, bySession } = event;
  const { noLocal, retainAsPublished, retainHandling, subscriptionIdentifier } = event;
  const sent = {
    action,
    topicFilter,
    brokerId,
    qos,
    timestamp,
    sessionEpoch,
    bySession,
    noLocal,
    retainAsPublished,
    retainHandling,
    subscriptionIdentifier,
  };
  return { topic: 'client-subscriptions', key: clientId, value: { clientId, events: [sent] } };
}
