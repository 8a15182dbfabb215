// Log exchange: brokers in several processes hand messages to each other through a topic of the fleet's log.
//
//   T1. A sender's messages are in one partition, in the order in which they were sent (exchange.ts N1). One append is
//       under way at a time; the next one takes all messages that came meanwhile. An append that failed is repeated
//       until the log is back: senders wait meanwhile, `queueMax` messages in all. A message may then be in the topic
//       twice: Aedes passes it on once, and what waits for a session may come twice.
//   T2. A broker reads on where it stopped, as long as the topic keeps what was sent meanwhile: `receive` resolves when
//       it has taken that. What comes after a position is taken again when the broker was killed before the position
//       was stored. A broker without positions begins with what is sent from now on.
//   T3. Every broker reads the whole topic, and passes over what is for others by its envelope.

import type { Batch, Clock, Follower, Log, TopicShape } from '../../runtime/ports.ts';
import { AppError } from '../../schemas/errors.ts';
import { partitionOf } from '../../state/keys.ts';
import type { Peers } from './exchange.ts';
import { decodeEnvelope, encodeEnvelope } from './message.ts';

const HOUR_MS = 3_600_000;

export const MESSAGES_TOPIC = 'broker-messages';

/** The topic, which brokers create themselves: it is no part of what Foreshard reads. */
export const messagesTopic = (partitions: number): TopicShape => ({
  ...{ name: MESSAGES_TOPIC, partitions, cleanup: 'delete' },
  retentionMs: HOUR_MS, // A broker may be away for this long.
});

/** Where a broker's positions are kept: for each partition the next offset to take. */
export interface Positions {
  get(partition: number): number | undefined;
  set(partition: number, offset: number): void;
}

export interface LogExchangePorts {
  readonly log: Pick<Log, 'append' | 'follow'>;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly positions: Positions;
}

export interface LogExchangeSettings {
  readonly brokerId: string;
  /** Of the messages topic. */
  readonly partitions: number;
  /** Most messages that may wait for the log. */
  readonly queueMax?: number;
}

interface Waiting {
  readonly value: Buffer;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

const BATCH_MAX = 1_000;
const RETRY_MS = 500;

export class LogExchange implements Peers {
  readonly #ports: LogExchangePorts;
  readonly #settings: Required<LogExchangeSettings>;
  readonly #partition: number;
  #queue: Waiting[] = [];
  #sending: Promise<void> | undefined;
  #following: Promise<Follower> | undefined;
  #isClosed = false;

  constructor(ports: LogExchangePorts, settings: LogExchangeSettings) {
    this.#ports = ports;
    this.#settings = { queueMax: 10_000, ...settings };
    this.#partition = partitionOf(settings.brokerId, settings.partitions);
  }

  /** Rejects with LOG_UNAVAILABLE when too many messages wait for the log, or when the exchange is closed meanwhile. */
  async send(to: readonly string[] | 'all', message: Buffer): Promise<void> {
    const { brokerId: sender, queueMax } = this.#settings;
    if (this.#isClosed) throw new AppError('STOPPED', 'the exchange is closed');
    if (this.#queue.length >= queueMax)
      throw new AppError('LOG_UNAVAILABLE', `${queueMax} messages wait for the log already`, { queueMax });
    await new Promise<void>((done, failed) => {
      this.#queue.push({ value: encodeEnvelope({ sender, to }, message), done, failed });
      this.#sending ??= this.#send();
    });
  }

  async receive(take: (message: Buffer) => Promise<void>): Promise<void> {
    const { log, positions } = this.#ports;
    const { brokerId, partitions } = this.#settings;
    const isKnown = Array.from({ length: partitions }, (_, partition) => partition).some(
      (partition) => positions.get(partition) !== undefined,
    );
    this.#following = log.follow(MESSAGES_TOPIC, isKnown ? 'earliest' : 'latest', async (batch: Batch) => {
      const from = batch.restartsAt ?? positions.get(batch.partition) ?? 0;
      for (const { offset, value } of batch.records) {
        if (this.#isClosed) return;
        if (offset < from || value === null) continue;
        const envelope = decodeEnvelope(value);
        if (envelope === undefined || envelope.sender === brokerId) continue;
        if (envelope.to === 'all' || envelope.to.includes(brokerId)) await take(envelope.message);
      }
      positions.set(batch.partition, batch.nextOffset);
    });
    await (await this.#following).caughtUp;
    if (!isKnown) await this.#begin();
  }

  /** Sends what is waiting, then stops following. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#sending;
    await (await this.#following)?.close();
  }

  /** Appends a record for nobody to each partition, so that the first positions are there before the first message (T2). */
  async #begin(): Promise<void> {
    const { brokerId, partitions } = this.#settings;
    const value = encodeEnvelope({ sender: brokerId, to: [] }, Buffer.alloc(0));
    await this.#ports.log.append(
      Array.from({ length: partitions }, (_, partition) => ({
        topic: MESSAGES_TOPIC,
        partition,
        key: brokerId,
        value,
      })),
    );
  }

  /** T1. */
  async #send(): Promise<void> {
    await Promise.resolve(); // What is sent in one turn goes into one append.
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, BATCH_MAX);
      try {
        await this.#appended(batch);
        for (const { done } of batch) done();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    this.#sending = undefined;
  }

  async #appended(batch: readonly Waiting[]): Promise<void> {
    const { brokerId: key } = this.#settings;
    const records = batch.map(({ value }) => ({ topic: MESSAGES_TOPIC, partition: this.#partition, key, value }));
    for (;;) {
      try {
        return await this.#ports.log.append(records);
      } catch (cause) {
        if (this.#isClosed) {
          const message = 'messages for other brokers could not be appended before the exchange was closed';
          throw new AppError('LOG_UNAVAILABLE', message, { messages: batch.length }, cause);
        }
        await this.#ports.clock.sleep(RETRY_MS);
      }
    }
  }
}
