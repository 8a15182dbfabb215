// Validation: which decoded input records are accepted. A refusal is a value with a code; the runner dead-letters the
// record with it. Code behind these checks does not check the same things again.
//
// Timestamps: any instant from 1970 to 9999 is accepted, since a wrong clock must not lose a subscription; how far a
// timestamp may move event time is decided by the rates stage.

import type { ErrorCode, Refusal } from '../schemas/errors.ts';
import type {
  ClientEvents,
  Metric,
  SessionOperation,
  SessionRecord,
  SubscriptionEvent,
  WildcardEvents,
} from '../schemas/records.ts';
import { parseSlice, partitionOf, placeOf } from './keys.ts';
import { IDENTIFIER_MAX, RETAIN_HANDLING_MAX } from './subscription-options.ts';
import { filterProblem, isShared, topicProblem } from './topic-filter.ts';

/** MQTT 5, 1.5.4: a UTF-8 string has at most 65,535 bytes. */
export const STRING_BYTES_MAX = 65_535;
/** Above any real counter, and far enough below 2^53 for sums to stay exact. */
export const COUNT_MAX = 1e15;
/** Longest name that the planner stores: names are part of a row that is written often. */
export const NAME_BYTES_MAX = 128;
export const TIMESTAMP_MAX = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

interface Place {
  readonly key: string;
  readonly partition: number;
  readonly partitions: number;
}

export function refuseSubscription(event: SubscriptionEvent, place: Place): Refusal | undefined {
  if (event.topicFilter !== place.key) return no('KEY_MISMATCH', 'the record key is not the topicFilter of the event');
  return refuseEvent(event) ?? refusePlace(place);
}

/** Accepts what ingest itself sends on. A foreign record under another key would give a slice a second writer. */
export function refuseWildcards(batch: WildcardEvents, place: Place): Refusal | undefined {
  for (const event of batch.events) {
    const refusal = refuseEvent(event);
    if (refusal !== undefined) return refusal;
    const { trie, routingKey } = placeOf(event.topicFilter);
    if (!trie || routingKey !== place.key || batch.firstLevel !== place.key)
      return no('KEY_MISMATCH', 'the record key is not the first literal level of every filter in it');
    if (!Number.isSafeInteger(event.offset) || event.offset < 0)
      return no('UNDECODABLE', 'the offset of an event must be a whole number of 0 or more');
    if (!Number.isSafeInteger(event.incarnation) || event.incarnation < -1)
      return no('UNDECODABLE', 'the incarnation of an event must be a whole number of -1 or more');
  }
  return refusePlace(place);
}

/** Accepts what ingest itself sends on. A foreign record under another key would give the client a second task. */
export function refuseClientEvents({ clientId, events }: ClientEvents, place: Place): Refusal | undefined {
  if (clientId !== place.key) return no('KEY_MISMATCH', 'the record key is not the clientId of the events');
  for (const event of events) {
    if (event.sessionEpoch === 0) return no('SESSION_INVALID', 'sessionEpoch must be at least 1');
    const refusal = refuseEvent({ ...event, clientId });
    if (refusal !== undefined) return refusal;
  }
  return refusePlace(place);
}

export function refuseSession({ body, timestamp }: SessionRecord, place: Place): Refusal | undefined {
  const { clientId, brokerId, sessionEpoch } = body;
  if (clientId !== place.key) return no('KEY_MISMATCH', 'the record key is not the clientId of the session');
  if (clientId === '' || tooLong(clientId)) return no('CLIENT_INVALID', 'clientId must have 1 to 65,535 bytes');
  if (clientId.includes(NUL)) return no('CLIENT_INVALID', NUL_IN_CLIENT);
  if (!isName(brokerId)) return no('BROKER_INVALID', 'brokerId must have 1 to 128 bytes and no control characters');
  if (!isWhole(sessionEpoch, Number.MAX_SAFE_INTEGER) || sessionEpoch === 0)
    return no('SESSION_INVALID', 'sessionEpoch must be a whole number of 1 or more, below 2^53');
  if (body.kind !== 'Ended') {
    const { sessionExpirySeconds } = body;
    const isUnchanged = body.kind === 'Disconnected' && sessionExpirySeconds === -1;
    if (!isUnchanged && !isWhole(sessionExpirySeconds, EXPIRY_SECONDS_MAX))
      return no('SESSION_INVALID', 'sessionExpirySeconds must be 0 to 4294967295');
  }
  if (!Number.isInteger(timestamp) || !isInstant(timestamp))
    return no('TIMESTAMP_INVALID', 'timestamp must be milliseconds since 1970, below the year 10000');
  return refusePlace(place);
}

/** A session operation is sent to each partition: its key does not decide where it belongs. */
export function refuseOperation(
  { operationId, brokerId, at, body }: SessionOperation,
  place: Place,
): Refusal | undefined {
  if (operationId !== place.key) return no('KEY_MISMATCH', 'the record key is not the operationId');
  if (!isId(operationId)) return no('SESSION_INVALID', `operationId ${ID_WANTED}`);
  if (brokerId !== '' && !isName(brokerId))
    return no('BROKER_INVALID', 'brokerId must have at most 128 bytes and no control characters');
  if (!isInstant(at) || (body.kind === 'OperationStart' && !isInstant(body.before)))
    return no('TIMESTAMP_INVALID', 'a time must be milliseconds since 1970, below the year 10000');
  return undefined;
}

function refuseEvent(event: SubscriptionEvent): Refusal | undefined {
  const problem = filterProblem(event.topicFilter);
  if (problem !== undefined) return no('FILTER_INVALID', problem);
  if (event.clientId === '' || tooLong(event.clientId))
    return no('CLIENT_INVALID', 'clientId must have 1 to 65,535 bytes');
  if (tooLong(event.brokerId)) return no('BROKER_INVALID', 'brokerId must have at most 65,535 bytes');
  if (event.qos !== 0 && event.qos !== 1 && event.qos !== 2)
    return no('QOS_INVALID', `qos must be 0, 1 or 2, not ${event.qos}`);
  if (!isInstant(event.timestamp))
    return no('TIMESTAMP_INVALID', 'timestamp must be milliseconds since 1970, below the year 10000');
  return refuseOptions(event);
}

function refuseOptions(event: SubscriptionEvent): Refusal | undefined {
  const { noLocal = false, retainHandling = 0, subscriptionIdentifier = 0, sessionEpoch = 0 } = event;
  if (!isWhole(retainHandling, RETAIN_HANDLING_MAX))
    return no('OPTIONS_INVALID', `retainHandling must be 0, 1 or 2, not ${retainHandling}`);
  if (!isWhole(subscriptionIdentifier, IDENTIFIER_MAX))
    return no('OPTIONS_INVALID', 'subscriptionIdentifier must be 1 to 268,435,455, or 0 for none');
  if (!isWhole(sessionEpoch, Number.MAX_SAFE_INTEGER))
    return no('SESSION_INVALID', 'sessionEpoch must be a whole number of 0 or more, below 2^53');
  if (sessionEpoch > 0 && event.clientId.includes(NUL)) return no('CLIENT_INVALID', NUL_IN_CLIENT);
  // MQTT-3.8.3-4: noLocal on a shared subscription is a protocol error. A removal has no options; it must not be lost
  // for them.
  if (noLocal && event.action === 'SUBSCRIBE' && isShared(event.topicFilter))
    return no('OPTIONS_INVALID', 'noLocal must not be set on a shared subscription');
  return undefined;
}

function refusePlace({ key, partition, partitions }: Place): Refusal | undefined {
  return partitionOf(key, partitions) === partition
    ? undefined
    : no(
        'WRONG_PARTITION',
        'the record is not where Kafka’s default partitioner (murmur2) puts its key: set librdkafka’s partitioner to murmur2_random, Sarama’s to NewMurmur2Partitioner, kafkajs’s to Partitioners.DefaultPartitioner; Java and franz-go need nothing set',
      );
}

export function refuseMetric(metric: Metric): Refusal | undefined {
  const body = metric.body;
  switch (body.kind) {
    case 'TopicTraffic': {
      const problem = topicProblem(body.topic);
      if (problem !== undefined) return no('TOPIC_INVALID', problem);
      if (tooLong(body.brokerId)) return no('BROKER_INVALID', 'brokerId must have at most 65,535 bytes');
      if (!isCount(body.publishes) || !isCount(body.bytes))
        return no('METRIC_INVALID', 'publishes and bytes must be finite and not negative');
      if (!(body.windowMs > 0 && body.windowMs <= 3_600_000))
        return no('METRIC_INVALID', 'windowMs must be 1 to 3,600,000');
      return isInstant(body.windowStart)
        ? undefined
        : no('TIMESTAMP_INVALID', 'windowStart must be milliseconds since 1970');
    }
    case 'DatastoreMetrics': {
      if (!SHARD_ID.test(body.shardId)) return no('SHARD_INVALID', SHARD_WANTED);
      const numbers = {
        cpu: body.cpu,
        memoryBytes: body.memoryBytes,
        memoryLimitBytes: body.memoryLimitBytes,
        iops: body.iops,
        iopsLimit: body.iopsLimit,
        entries: body.entries,
        lookupP99Ms: body.lookupP99Ms,
      };
      for (const [name, value] of Object.entries(numbers))
        if (!isCount(value)) return no('METRIC_INVALID', `${name} must be finite and not negative`);
      const reach = { nodesPerLookup: body.nodesPerLookup, matchesPerLookup: body.matchesPerLookup };
      for (const [name, value] of Object.entries(reach))
        if (!isCount(value) && value !== -1)
          return no('METRIC_INVALID', `${name} must be finite and not negative, or -1 when the store does not say it`);
      if (body.cpu > 1) return no('METRIC_INVALID', 'cpu must be 0 to 1, a share and not a percentage');
      return isInstant(body.timestamp)
        ? undefined
        : no('TIMESTAMP_INVALID', 'timestamp must be milliseconds since 1970');
    }
    case 'BrokerHeartbeat':
      if (!isName(body.brokerId))
        return no('BROKER_INVALID', 'brokerId must have 1 to 128 bytes and no control characters');
      if (!Number.isSafeInteger(body.pointerOffset) || body.pointerOffset < 0)
        return no('METRIC_INVALID', 'pointerOffset must be a whole number of 0 or more');
      if (!isInstant(body.startedAt ?? 0))
        return no('TIMESTAMP_INVALID', 'startedAt must be milliseconds since 1970, or 0 when it is not said');
      return isInstant(body.timestamp)
        ? undefined
        : no('TIMESTAMP_INVALID', 'timestamp must be milliseconds since 1970');
    case 'PlanRequest': {
      if (!isId(body.requestId)) return no('METRIC_INVALID', `requestId ${ID_WANTED}`);
      const problem = filterProblem(body.topic);
      return problem === undefined ? undefined : no('FILTER_INVALID', problem);
    }
    case 'PlanAnswer':
      if (!isId(body.requestId)) return no('METRIC_INVALID', `requestId ${ID_WANTED}`);
      return isId(body.planId) ? undefined : no('METRIC_INVALID', `planId ${ID_WANTED}`);
    case 'MoveRequest':
      if (!isId(body.requestId)) return no('METRIC_INVALID', `requestId ${ID_WANTED}`);
      if (!isId(body.moveId)) return no('METRIC_INVALID', `moveId ${ID_WANTED}`);
      return body.rowsPerSecond >= 0 ? undefined : no('METRIC_INVALID', 'rowsPerSecond must be 0 or more');
    case 'CheckRequest':
      if (!isId(body.requestId)) return no('METRIC_INVALID', `requestId ${ID_WANTED}`);
      if (body.shardId !== '' && !SHARD_ID.test(body.shardId)) return no('SHARD_INVALID', SHARD_WANTED);
      if (body.slice !== '' && (body.shardId !== '' || tooLong(body.slice) || parseSlice(body.slice) === undefined))
        return no('METRIC_INVALID', 'slice must be the key of a slice, and stand without shardId');
      return undefined;
    case 'RebuildRequest':
      if (!isId(body.requestId)) return no('METRIC_INVALID', `requestId ${ID_WANTED}`);
      if (!SHARD_ID.test(body.shardId)) return no('SHARD_INVALID', SHARD_WANTED);
      return undefined;
  }
}

const NUL = '\u0000';
const NUL_IN_CLIENT = 'clientId must not contain the character U+0000';
/** MQTT 5, 3.1.2.11.2: four bytes, all of them set for a session that does not expire. */
const EXPIRY_SECONDS_MAX = 0xffff_ffff;

const no = (code: ErrorCode, reason: string): Refusal => ({ code, reason });
const isWhole = (value: number, max: number): boolean => Number.isInteger(value) && value >= 0 && value <= max;
const isCount = (value: number): boolean => value >= 0 && value <= COUNT_MAX;
/** The same rule as the HTTP API's for ids: they go into decisions, commands and rows. */
const isId = (text: string): boolean => /^[\w.:-]{1,128}$/.test(text);
const SHARD_ID = /^[\w.-]{1,128}$/;
const SHARD_WANTED = 'shardId must be 1 to 128 letters, digits, "_", "." or "-"';
const ID_WANTED = 'must be 1 to 128 letters, digits, "_", ".", ":" or "-"';
const isName = (text: string): boolean =>
  text !== '' && Buffer.byteLength(text, 'utf8') <= NAME_BYTES_MAX && !/\p{Cc}/u.test(text);
const isInstant = (value: number): boolean => Number.isFinite(value) && value >= 0 && value <= TIMESTAMP_MAX;
const tooLong = (text: string): boolean =>
  text.length > STRING_BYTES_MAX / 3 && Buffer.byteLength(text, 'utf8') > STRING_BYTES_MAX;
