// Requests: those that we build ourselves (Fetch 11, Produce 7, Metadata 8, OffsetForLeaderEpoch 3: supported by every
// broker since 2.3), so that records are decoded and encoded by record-batch.ts, every partition's outcome is seen, and
// so is what kafkajs does not ask for.

import { AppError } from '../../schemas/errors.ts';
import type { Offset, Partition } from '../../schemas/ids.ts';
import type { RawBroker, RawRequest } from './client.ts';
import { logFailure } from './failure.ts';
import { type AbortedTransaction, readInt64, writeInt64 } from './record-batch.ts';

export interface FetchFrom {
  readonly topic: string;
  readonly partition: Partition;
  readonly offset: Offset;
  /** The broker asked must lead under this epoch; NO_EPOCH: under any. */
  readonly currentLeaderEpoch: number;
}

export interface FetchSettings {
  /** How long a broker holds back the answer while there is nothing to read. */
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly maxBytesPerPartition: number;
}

export interface Fetched {
  readonly topic: string;
  readonly partition: Partition;
  /** Kafka's error code; 0: no error. */
  readonly errorCode: number;
  /** The end of the committed records. */
  readonly stableOffset: Offset;
  readonly startOffset: Offset;
  readonly aborted: readonly AbortedTransaction[];
  readonly records: Buffer;
}

export interface ProduceBatch {
  readonly topic: string;
  readonly partition: Partition;
  readonly batch: Buffer;
}

export interface Produced {
  readonly topic: string;
  readonly partition: Partition;
  readonly errorCode: number;
  readonly baseOffset: Offset;
}

export const ERROR = {
  none: 0,
  offsetOutOfRange: 1,
  unknownTopicOrPartition: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  messageTooLarge: 10,
  recordListTooLarge: 18,
  topicAuthorizationFailed: 29,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  unknownProducerId: 59,
  producerFenced: 90,
} as const;

/** A leader epoch that is not known. */
export const NO_EPOCH = -1;

const CONSUMER = -1;
const READ_COMMITTED = 1;
const ACKS_OF_ALL = -1;
/** How long to wait for an answer beyond `maxWaitMs`, in case the broker is gone. */
const FETCH_GRACE_MS = 10_000;
const PRODUCE_TIMEOUT_MS = 15_000;

export function fetchRecords(
  broker: RawBroker,
  from: readonly FetchFrom[],
  settings: FetchSettings,
): Promise<Fetched[]> {
  const writer = new Writer();
  writer.int32(CONSUMER);
  writer.int32(settings.maxWaitMs);
  writer.int32(1);
  writer.int32(settings.maxBytes);
  writer.int8(READ_COMMITTED);
  writer.int32(0); // No fetch session.
  writer.int32(-1);
  writer.list(from, (each) => {
    writer.string(each.topic);
    writer.list([each], () => {
      writer.int32(each.partition);
      writer.int32(each.currentLeaderEpoch);
      writer.int64(each.offset);
      writer.int64(-1);
      writer.int32(settings.maxBytesPerPartition);
    });
  });
  writer.list([], () => {});
  writer.string('');
  return send(broker, 1, 11, 'Fetch', writer, decodeFetched, settings.maxWaitMs + FETCH_GRACE_MS);
}

function decodeFetched(bytes: Buffer): Fetched[] {
  const reader = new Reader(bytes);
  reader.int32(); // Throttle time.
  reader.int16(); // Of the fetch session.
  reader.int32();
  return reader
    .list(() => {
      const topic = reader.string();
      return reader.list((): Fetched => {
        const partition = reader.int32();
        const errorCode = reader.int16();
        reader.int64(); // High watermark.
        const stableOffset = reader.int64();
        const startOffset = reader.int64();
        const aborted = reader.list(() => ({ producerId: reader.int64(), firstOffset: reader.int64() }));
        reader.int32(); // Preferred replica.
        return { topic, partition, errorCode, stableOffset, startOffset, aborted, records: reader.bytes() };
      });
    })
    .flat();
}

export interface ToldTopic {
  readonly topic: string;
  readonly errorCode: number;
  readonly partitions: readonly {
    readonly partition: Partition;
    readonly leader: number;
    readonly leaderEpoch: number;
  }[];
  /** Allowed operations: bit n for Kafka's operation number n; `undefined` when the broker does not tell (KIP-430). */
  readonly operations: number | undefined;
}

/** Describes the topics that exist. */
export function describeTopics(broker: RawBroker, topics: readonly string[]): Promise<ToldTopic[]> {
  const writer = new Writer();
  writer.list(topics, (topic) => writer.string(topic));
  writer.int8(0); // Topics are not created.
  writer.int8(0);
  writer.int8(1); // With the allowed operations.
  return send(broker, 3, 8, 'Metadata', writer, decodeTopics);
}

const OPERATIONS_UNTOLD = -0x8000_0000;

function decodeTopics(bytes: Buffer): ToldTopic[] {
  const reader = new Reader(bytes);
  reader.int32(); // Throttle time.
  reader.list(() => {
    reader.int32(); // A broker: its number, host, port and rack.
    reader.string();
    reader.int32();
    reader.string();
  });
  reader.string(); // The cluster, and its controller.
  reader.int32();
  return reader.list(() => {
    const errorCode = reader.int16();
    const topic = reader.string();
    reader.int8(); // Whether it is Kafka's own.
    const partitions = reader.list(() => {
      reader.int16(); // Error code of the partition; one without leader says so itself.
      const [partition, leader, leaderEpoch] = [reader.int32(), reader.int32(), reader.int32()];
      for (let replicas = 0; replicas < 3; replicas++) reader.list(() => reader.int32()); // All, in sync, offline.
      return { partition, leader, leaderEpoch };
    });
    const operations = reader.int32();
    return {
      topic,
      errorCode,
      partitions,
      operations: operations === OPERATIONS_UNTOLD ? undefined : operations,
    };
  });
}

/**
 * Where the records of `leaderEpoch`, or of the latest earlier epoch that the leader knows, end in the leader's log
 * (OffsetForLeaderEpoch 3).
 */
export async function endOfEpoch(
  broker: RawBroker,
  of: Omit<FetchFrom, 'offset'> & { readonly leaderEpoch: number },
): Promise<{ readonly leaderEpoch: number; readonly endOffset: Offset }> {
  const writer = new Writer();
  writer.int32(CONSUMER);
  writer.list([of], ({ topic, partition, leaderEpoch, currentLeaderEpoch }) => {
    writer.string(topic);
    writer.list([partition], () => {
      writer.int32(partition);
      writer.int32(currentLeaderEpoch);
      writer.int32(leaderEpoch);
    });
  });
  const [found] = await send(broker, 23, 3, 'OffsetForLeaderEpoch', writer, decodeEndsOfEpochs);
  if (found === undefined || found.errorCode !== ERROR.none)
    throw new AppError(
      'LOG_UNAVAILABLE',
      `the leader of partition ${of.partition} of topic ${of.topic} does not return its epochs: Kafka error ${found?.errorCode}`,
      { topic: of.topic, partition: of.partition, errorCode: found?.errorCode },
    );
  return found;
}

function decodeEndsOfEpochs(bytes: Buffer) {
  const reader = new Reader(bytes);
  reader.int32(); // Throttle time.
  return reader
    .list(() => {
      reader.string();
      return reader.list(() => {
        const errorCode = reader.int16();
        reader.int32(); // The partition.
        return { errorCode, leaderEpoch: reader.int32(), endOffset: reader.int64() };
      });
    })
    .flat();
}

export function produceBatches(
  broker: RawBroker,
  transactionalId: string | undefined,
  batches: readonly ProduceBatch[],
): Promise<Produced[]> {
  const writer = new Writer(batches.reduce((sum, each) => sum + each.batch.length + each.topic.length + 32, 256));
  writer.string(transactionalId);
  writer.int16(ACKS_OF_ALL);
  writer.int32(PRODUCE_TIMEOUT_MS);
  writer.list(batches, (each) => {
    writer.string(each.topic);
    writer.list([each], () => {
      writer.int32(each.partition);
      writer.bytes(each.batch);
    });
  });
  return send(broker, 0, 7, 'Produce', writer, decodeProduced);
}

function decodeProduced(bytes: Buffer): Produced[] {
  const reader = new Reader(bytes);
  return reader
    .list(() => {
      const topic = reader.string();
      return reader.list((): Produced => {
        const partition = reader.int32();
        const errorCode = reader.int16();
        const baseOffset = reader.int64();
        reader.int64(); // Append time.
        reader.int64(); // Start of the log.
        return { topic, partition, errorCode, baseOffset };
      });
    })
    .flat();
}

function send<Answer>(
  broker: RawBroker,
  apiKey: number,
  apiVersion: number,
  apiName: string,
  writer: Writer,
  decode: (bytes: Buffer) => Answer,
  requestTimeout?: number,
): Promise<Answer> {
  const request: RawRequest<Answer> = {
    request: { apiKey, apiVersion, apiName, encode: async () => ({ buf: writer.written, buffer: writer.written }) },
    response: { decode: async (bytes) => decode(bytes), parse: async (answer) => answer },
    ...(requestTimeout === undefined ? {} : { requestTimeout }),
  };
  return broker.connectionPool.send(request).catch(async (error: { name?: string }) => {
    // As kafkajs does for its own requests: a connection that was closed by the other side cannot be used.
    if (error.name === 'KafkaJSConnectionClosedError') await broker.disconnect();
    throw logFailure(error);
  });
}

class Writer {
  #bytes: Buffer;
  #at = 0;

  constructor(sizeBytes = 1024) {
    this.#bytes = Buffer.allocUnsafe(sizeBytes);
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  int8(value: number): void {
    this.#at = this.#room(1).writeInt8(value, this.#at);
  }

  int16(value: number): void {
    this.#at = this.#room(2).writeInt16BE(value, this.#at);
  }

  int32(value: number): void {
    this.#at = this.#room(4).writeInt32BE(value, this.#at);
  }

  int64(value: number): void {
    writeInt64(this.#room(8), this.#at, value);
    this.#at += 8;
  }

  string(value: string | undefined): void {
    const size = value === undefined ? -1 : Buffer.byteLength(value);
    this.int16(size);
    if (value !== undefined) this.#at += this.#room(size).write(value, this.#at);
  }

  bytes(value: Buffer): void {
    this.int32(value.length);
    this.#at += value.copy(this.#room(value.length), this.#at);
  }

  list<Item>(items: readonly Item[], write: (item: Item) => void): void {
    this.int32(items.length);
    for (const item of items) write(item);
  }

  #room(sizeBytes: number): Buffer {
    const needed = this.#at + sizeBytes;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#at);
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int8(): number {
    this.#at += 1;
    return this.#bytes.readInt8(this.#at - 1);
  }

  int16(): number {
    this.#at += 2;
    return this.#bytes.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }

  int64(): number {
    this.#at += 8;
    return readInt64(this.#bytes, this.#at - 8);
  }

  /** Empty when there is none. */
  string(): string {
    const size = Math.max(0, this.int16());
    this.#at += size;
    return this.#bytes.toString('utf8', this.#at - size, this.#at);
  }

  /** Empty when there are none. */
  bytes(): Buffer {
    const size = Math.max(0, this.int32());
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }

  list<Item>(read: () => Item): Item[] {
    const items: Item[] = [];
    for (let left = this.int32(); left > 0; left--) items.push(read());
    return items;
  }
}
