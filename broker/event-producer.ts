// Event producer: what a broker reports to the fleet: subscription events, optionally the sessions of its clients, how
// much is published to each topic, and heartbeats, which say that it is alive and how far it has read the pointer
// table.
//
//   V1. Events are appended in the order they were given. A promise resolves when its event is durable: in the log, or
//       in the outbox where there is one (outbox-queue.ts Y2). Sessions share the queue: what a client subscribes to is
//       appended after its connection.
//   V2. An event that cannot be taken is refused with an error: LOG_UNAVAILABLE (event-queue.ts Q2), or with an outbox
//       OUTBOX_FULL or OUTBOX_UNAVAILABLE.
//   V3. Measurements are dropped before subscriptions: their append is not repeated, and topics beyond a limit are not
//       counted.

import type { Clock, Log, OutRecord } from '../runtime/ports.ts';
import type { Codec } from '../schemas/codec.ts';
import { AppError } from '../schemas/errors.ts';
import { type EventTime, eventTime, type Offset } from '../schemas/ids.ts';
import type { Action, Metric, SessionRecord, SubscriptionEvent } from '../schemas/records.ts';
import { partitionOf } from '../state/keys.ts';
import type { SubscriptionOptions } from '../state/subscription-options.ts';
import { refuseMetric, refuseSession, refuseSubscription } from '../state/validation.ts';
import {
  metrics as metricsTopic,
  sessions as sessionsTopic,
  subscriptions as subscriptionsTopic,
} from '../topology/topics.ts';

import { type EventQueue, MemoryQueue, type MemoryQueueSettings, type QueuedRecord } from './event-queue.ts';
import type { Outbox } from './outbox.ts';
import { OutboxQueue, type OutboxQueueSettings } from './outbox-queue.ts';

/** What a broker may say of a subscription besides its QoS; what is left out has its default. */
export interface SubscriptionDetails extends Partial<SubscriptionOptions> {
  /** The connection of the client that the subscription came by; for a broker that reports its sessions. */
  readonly sessionEpoch?: number;
}

/**
 * What CONNECT says of a session. MQTT 3.1.1: a clean session has a clean start and expires at once, any other never
 * expires.
 */
export interface Connection {
  /** Which connection of the client this is (`newSessionEpoch`). */
  readonly sessionEpoch: number;
  readonly cleanStart: boolean;
  /** Seconds after the connection closes; 0: when it closes; NEVER_SECONDS: never. */
  readonly sessionExpirySeconds: number;
}

/** MQTT 5, 3.1.2.11.2: the session does not expire. */
export const NEVER_SECONDS = 0xffff_ffff;

export interface EventProducerPorts {
  readonly log: Pick<Log, 'append'>;
  readonly codec: Codec;
  readonly clock: Clock;
  /** How far the pointer table has been read: the position of the broker's own reader. */
  readonly pointerPosition: () => Offset;
  /** Where events wait for the log; without one, in memory. Whoever has opened it closes it after the producer. */
  readonly outbox?: Outbox;
}

export interface EventProducerSettings extends MemoryQueueSettings {
  readonly brokerId: string;
  /** Number of partitions of the subscriptions topic; the metrics topic has as many. */
  readonly partitions: number;
  readonly heartbeatMs: number;
  readonly trafficWindowMs: number;
  /** Most topics counted in one window; publishes to others are counted in `shed`. */
  readonly topicsMax: number;
  /** Of the outbox, where there is one. */
  readonly outbox: Pick<OutboxQueueSettings, 'bytesMax' | 'confirm'>;
  /** How long `close` tries to send the last measurements and, with an outbox, what waits there. */
  readonly closeMs: number;
}

export const EVENT_PRODUCER_DEFAULTS: Omit<EventProducerSettings, 'brokerId' | 'partitions'> = {
  heartbeatMs: 1_000, // A move's source is kept until every broker's heartbeat has passed the switch.
  trafficWindowMs: 10_000,
  queueMax: 100_000,
  batchMax: 5_000,
  topicsMax: 100_000,
  triesMax: 10,
  retryMs: 200,
  outbox: { bytesMax: 256 * 1024 * 1024, confirm: 'outbox' }, // Some 1.5 million events.
  closeMs: 5_000,
};

interface Traffic {
  publishes: number;
  bytes: number;
}

export class EventProducer {
  readonly #ports: EventProducerPorts;
  readonly #settings: EventProducerSettings;
  readonly #stopTicking: () => void;
  readonly #queue: EventQueue;
  #traffic = new Map<string, Traffic>();
  #windowStart: EventTime;
  #beatAt = 0;
  #shed = 0;
  #isClosed = false;
  readonly #startedAt: EventTime;
  #lastEpoch: number;

  /** Starts sending heartbeats and traffic. */
  constructor(ports: EventProducerPorts, settings: EventProducerSettings) {
    this.#ports = ports;
    this.#settings = settings;
    const { log, clock, outbox } = ports;
    this.#queue =
      outbox === undefined
        ? new MemoryQueue(log, clock, settings)
        : new OutboxQueue(outbox, log, clock, { ...settings, ...settings.outbox });
    this.#lastEpoch = outbox?.sessionEpoch ?? 0;
    this.#startedAt = eventTime(clock.now());
    this.#windowStart = this.#windowOf(this.#startedAt);
    const tickMs = Math.min(settings.heartbeatMs, settings.trafficWindowMs);
    this.#stopTicking = ports.clock.every(tickMs, () => this.#tick());
  }

  /**
   * Resolves when the subscription is durable in the log. Rejects with the error code of the reason when it is not
   * valid.
   */
  subscribe(topicFilter: string, clientId: string, qos: number, details: SubscriptionDetails = {}): Promise<void> {
    return this.#event('SUBSCRIBE', topicFilter, clientId, qos, details);
  }

  /** Resolves when the removal is durable in the log. */
  unsubscribe(
    topicFilter: string,
    clientId: string,
    details: Pick<SubscriptionDetails, 'sessionEpoch'> = {},
  ): Promise<void> {
    return this.#event('UNSUBSCRIBE', topicFilter, clientId, 0, details);
  }

  /**
   * A number for a new connection, greater than every one that this producer has given, and than those that an earlier
   * process has left in the outbox: the time in milliseconds. A fleet whose clocks are far apart takes the numbers from a counter that its brokers share.
   */
  newSessionEpoch(): number {
    this.#lastEpoch = Math.max(this.#lastEpoch + 1, Math.floor(this.#ports.clock.now()));
    return this.#lastEpoch;
  }

  /** A client has connected. Call it before `subscribe` for that connection, with the same epoch. */
  connected(clientId: string, connection: Connection): Promise<void> {
    const { cleanStart, sessionExpirySeconds, sessionEpoch } = connection;
    return this.#session({ kind: 'Connected', ...this.#of(clientId), cleanStart, sessionExpirySeconds, sessionEpoch });
  }

  /**
   * The connection has closed, whoever closed it. `sessionExpirySeconds`: the new value, if DISCONNECT has changed it.
   */
  disconnected(
    clientId: string,
    {
      sessionEpoch,
      sessionExpirySeconds = -1,
    }: { readonly sessionEpoch: number; readonly sessionExpirySeconds?: number },
  ): Promise<void> {
    return this.#session({ kind: 'Disconnected', ...this.#of(clientId), sessionExpirySeconds, sessionEpoch });
  }

  /** The broker has ended the session itself. */
  ended(clientId: string, { sessionEpoch }: { readonly sessionEpoch: number }): Promise<void> {
    return this.#session({ kind: 'Ended', ...this.#of(clientId), sessionEpoch });
  }

  /** Counts one PUBLISH; the counts are sent once a window. */
  published(topic: string, sizeBytes: number): void {
    const counted = this.#traffic.get(topic);
    if (counted !== undefined) {
      counted.publishes += 1;
      counted.bytes += sizeBytes;
    } else if (this.#traffic.size < this.#settings.topicsMax)
      this.#traffic.set(topic, { publishes: 1, bytes: sizeBytes });
    else this.#shed += 1; // V3
  }

  /** Number of publishes that were not counted, and of measurements that were not sent. */
  get shed(): number {
    return this.#shed;
  }

  /** Events that wait for the log. */
  get queued(): number {
    return this.#queue.length;
  }

  /** Why events wait for the log, while it does not take them. */
  get trouble(): string | undefined {
    return this.#queue.trouble;
  }

  /**
   * Sends what is waiting, and the last window; idempotent. With an outbox it tries for `closeMs`: what still waits is
   * sent by the next process.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopTicking();
    await this.#queue.close();
    const { closeMs } = this.#settings;
    await Promise.race([this.#measure(this.#takeTraffic()), this.#ports.clock.sleep(closeMs)]); // V3
  }

  async #event(
    action: Action,
    topicFilter: string,
    clientId: string,
    qos: number,
    details: SubscriptionDetails,
  ): Promise<void> {
    const { brokerId, partitions } = this.#settings;
    const timestamp = eventTime(this.#ports.clock.now());
    const event: SubscriptionEvent = { ...details, action, topicFilter, clientId, brokerId, qos, timestamp };
    const partition = partitionOf(topicFilter, partitions);
    const refusal = refuseSubscription(event, { key: topicFilter, partition, partitions });
    if (refusal !== undefined) throw new AppError(refusal.code, refusal.reason, { clientId });
    await this.#queued(details.sessionEpoch, () => ({
      ...{ topic: subscriptionsTopic.name, partition, key: topicFilter },
      value: this.#ports.codec.encode('SubscriptionEvent', event),
    }));
  }

  #of(clientId: string) {
    return { clientId, brokerId: this.#settings.brokerId };
  }

  async #session(body: SessionRecord['body']): Promise<void> {
    const { partitions } = this.#settings;
    const key = body.clientId;
    const record: SessionRecord = { body, timestamp: eventTime(Math.floor(this.#ports.clock.now())) };
    const partition = partitionOf(key, partitions);
    const refusal = refuseSession(record, { key, partition, partitions });
    if (refusal !== undefined) throw new AppError(refusal.code, refusal.reason, { clientId: key });
    await this.#queued(body.sessionEpoch, () => ({
      ...{ topic: sessionsTopic.name, partition, key },
      value: this.#ports.codec.encode('SessionRecord', record),
    }));
  }

  /** Resolves when the record is durable. */
  async #queued(sessionEpoch: number | undefined, recordOf: () => QueuedRecord): Promise<void> {
    if (this.#isClosed) throw new AppError('STOPPED', 'the event producer is closed');
    await this.#queue.give(recordOf(), sessionEpoch ?? 0);
  }

  #tick(): void {
    const now = this.#ports.clock.now();
    const due: Metric['body'][] = [];
    if (now - this.#beatAt >= this.#settings.heartbeatMs || now < this.#beatAt) {
      this.#beatAt = now;
      const { brokerId } = this.#settings;
      due.push({
        kind: 'BrokerHeartbeat',
        brokerId,
        pointerOffset: this.#ports.pointerPosition(),
        timestamp: eventTime(now),
        startedAt: this.#startedAt,
      });
    }
    if (this.#windowOf(now) !== this.#windowStart) due.push(...this.#takeTraffic());
    if (due.length > 0) void this.#measure(due);
  }

  #takeTraffic(): Metric['body'][] {
    const { brokerId, trafficWindowMs: windowMs } = this.#settings;
    const windowStart = this.#windowStart;
    const bodies = [...this.#traffic].map(
      ([topic, { publishes, bytes }]) =>
        ({ kind: 'TopicTraffic', brokerId, topic, publishes, bytes, windowStart, windowMs }) as const,
    );
    this.#traffic = new Map();
    this.#windowStart = this.#windowOf(this.#ports.clock.now());
    return bodies;
  }

  /** V3. */
  async #measure(bodies: readonly Metric['body'][]): Promise<void> {
    const { partitions } = this.#settings;
    const records: OutRecord[] = [];
    for (const body of bodies) {
      if (refuseMetric({ body }) !== undefined) {
        this.#shed += 1;
        continue;
      }
      const key = body.kind === 'TopicTraffic' ? body.topic : this.#settings.brokerId;
      const value = this.#ports.codec.encode('Metric', { body });
      records.push({ topic: metricsTopic.name, partition: partitionOf(key, partitions), key, value });
    }
    if (records.length === 0) return;
    try {
      await this.#ports.log.append(records);
    } catch {
      this.#shed += records.length;
    }
  }

  #windowOf(now: number): EventTime {
    const { trafficWindowMs } = this.#settings;
    return eventTime(Math.floor(now / trafficWindowMs) * trafficWindowMs);
  }
}
