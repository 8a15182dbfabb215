// Fake partition: one partition as its leader keeps it, behind the requests that a reader sends. Its log can lose what it has,
// be written on under another leader, and be damaged on the way.

import type { RawBroker, RawCluster, RawRequest } from '../../log/kafka/client.ts';
import { encodeBatch, writeInt64 } from '../../log/kafka/record-batch.ts';

const FETCH = 1;
const METADATA = 3;
const OFFSET_FOR_LEADER_EPOCH = 23;
const OFFSET_OUT_OF_RANGE = 1;
const FENCED_LEADER_EPOCH = 74;
const UNKNOWN_LEADER_EPOCH = 75;
const PRODUCER = { producerId: -1, producerEpoch: -1, baseSequence: -1, transactional: false };

interface Kept {
  readonly offset: number;
  readonly epoch: number;
  readonly bytes: Buffer;
}

export class FakePartition {
  readonly topic: string;
  start = 0;
  /** The leader's epoch, and with which offset it and the earlier ones began, as its checkpoint has them. */
  epoch = 0;
  begins: { readonly epoch: number; readonly at: number }[] = [{ epoch: 0, at: 0 }];
  /** Which epoch the other brokers name, when that is another one. */
  told: number | undefined;
  /** What a fetch gives instead of what lies there. */
  onTheWay: (bytes: Buffer) => Buffer = (bytes) => bytes;
  /** How often the leader was asked of an epoch. */
  questions = 0;
  #kept: Kept[] = [];

  constructor(topic: string) {
    this.topic = topic;
  }

  get end(): number {
    return (this.#kept.at(-1)?.offset ?? this.start - 1) + 1;
  }

  /** One batch for each value. */
  append(...values: readonly string[]): void {
    for (const value of values) {
      const bytes = encodeBatch([{ key: null, value: Buffer.from(value), headers: undefined }], PRODUCER, 1_000);
      writeInt64(bytes, 0, this.end);
      bytes.writeInt32BE(this.epoch, 12);
      this.#kept.push({ offset: this.end, epoch: this.epoch, bytes });
    }
  }

  /** Another leader, which has the log up to `end` only. */
  elect(end = this.end): void {
    this.#kept = this.#kept.filter(({ offset }) => offset < end);
    this.begins = this.begins.filter(({ at }) => at < end);
    this.epoch += 1;
    this.begins.push({ epoch: this.epoch, at: end });
  }

  /** Retention deletes what is before `start`. */
  deleteBefore(start: number): void {
    this.start = start;
    this.#kept = this.#kept.filter(({ offset }) => offset >= start);
  }

  /** Created anew under its name. */
  create(): void {
    [this.start, this.epoch, this.begins, this.#kept] = [0, 0, [{ epoch: 0, at: 0 }], []];
  }

  readonly #broker = {
    connectionPool: {
      send: async <Answer>({ request, response }: RawRequest<Answer>): Promise<Answer> => {
        const { buf } = await request.encode();
        await new Promise((resolve) => setImmediate(resolve));
        if (request.apiKey === FETCH) return response.decode(this.#fetch(buf));
        if (request.apiKey === METADATA) return response.decode(this.#described());
        if (request.apiKey === OFFSET_FOR_LEADER_EPOCH) return response.decode(this.#endOfEpoch(buf));
        throw new Error(`a fake partition is not asked for ${request.apiName}`);
      },
    },
  } as unknown as RawBroker;

  readonly cluster = {
    isConnected: () => true,
    refreshMetadata: async () => {},
    refreshMetadataIfNecessary: async () => {},
    addMultipleTargetTopics: async () => {},
    findLeaderForPartitions: () => ({ '1': [0] }),
    brokerPool: { findConnectedBroker: async () => this.#broker },
    findBroker: async () => this.#broker,
    fetchTopicsOffset: async ([asked]: { fromBeginning: boolean }[]) => [
      {
        topic: this.topic,
        partitions: [{ partition: 0, offset: String(asked!.fromBeginning ? this.start : this.end) }],
      },
    ],
    disconnect: async () => {},
  } as unknown as RawCluster;

  #fetch(request: Buffer): Buffer {
    const at = 4 + 4 + 4 + 4 + 1 + 4 + 4 + 4 + 2 + this.topic.length + 4 + 4 + 4;
    const offset = Number(request.readBigInt64BE(at));
    const refusal = this.#refusalOf(request.readInt32BE(at - 4));
    const isGone = offset < this.start || offset > this.end;
    const found = isGone || refusal !== 0 ? [] : this.#kept.filter((each) => each.offset >= offset);
    const records =
      found.length === 0 ? Buffer.alloc(0) : this.onTheWay(Buffer.concat(found.map(({ bytes }) => bytes)));
    const partition = Buffer.alloc(4 + 2 + 8 + 8 + 8 + 4 + 4 + 4);
    partition.writeInt16BE(refusal !== 0 ? refusal : isGone ? OFFSET_OUT_OF_RANGE : 0, 4);
    for (const [i, value] of [this.end, this.end, this.start].entries()) writeInt64(partition, 6 + 8 * i, value);
    partition.writeInt32BE(-1, 34);
    partition.writeInt32BE(records.length, 38);
    return Buffer.concat([Buffer.alloc(4 + 2 + 4), this.#named(partition), records]);
  }

  /** What a leader of this epoch says to who takes it for one of another. */
  #refusalOf(currentLeaderEpoch: number): number {
    if (currentLeaderEpoch === -1 || currentLeaderEpoch === this.epoch) return 0;
    return currentLeaderEpoch < this.epoch ? FENCED_LEADER_EPOCH : UNKNOWN_LEADER_EPOCH;
  }

  #described(): Buffer {
    const partition = Buffer.alloc(2 + 4 + 4 + 4 + 3 * 4);
    partition.writeInt32BE(1, 6);
    partition.writeInt32BE(this.told ?? this.epoch, 10);
    const topic = Buffer.alloc(4 + 2 + 2 + this.topic.length + 1 + 4);
    topic.writeInt32BE(1, 0);
    topic.writeInt16BE(this.topic.length, 6);
    topic.write(this.topic, 8);
    topic.writeInt32BE(1, 9 + this.topic.length);
    return Buffer.concat([Buffer.alloc(4 + 4 + 2 + 4), topic, partition, Buffer.alloc(4 + 4)]);
  }

  /** As Kafka's LeaderEpochFileCache.endOffsetFor. */
  #endOfEpoch(request: Buffer): Buffer {
    this.questions += 1;
    const asked = request.readInt32BE(request.length - 4);
    const next = this.begins.find(({ epoch }) => epoch > asked);
    const floor = this.begins.findLast(({ epoch }) => epoch <= asked);
    const [epoch, end] =
      asked === this.epoch
        ? [asked, this.end]
        : next === undefined
          ? [-1, -1]
          : [floor?.epoch ?? asked, floor === undefined ? this.begins[0]!.at : next.at];
    const partition = Buffer.alloc(2 + 4 + 4 + 8);
    partition.writeInt16BE(this.#refusalOf(request.readInt32BE(request.length - 8)), 0);
    partition.writeInt32BE(epoch, 6);
    writeInt64(partition, 10, end);
    return Buffer.concat([Buffer.alloc(4), this.#named(partition)]);
  }

  /** A list of one topic with a list of one partition. */
  #named(partition: Buffer): Buffer {
    const head = Buffer.alloc(4 + 2 + this.topic.length + 4);
    head.writeInt32BE(1, 0);
    head.writeInt16BE(this.topic.length, 4);
    head.write(this.topic, 6);
    head.writeInt32BE(1, 6 + this.topic.length);
    return Buffer.concat([head, partition]);
  }
}
