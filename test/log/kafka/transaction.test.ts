import { describe, expect, test } from 'vitest';
import type { RawBroker, RawCluster, RawRequest } from '../../../log/kafka/client.ts';
import { type Placed, Transaction } from '../../../log/kafka/transaction.ts';

/** One broker that leads and coordinates everything; what it is asked waits for `answer` or `refuse`. */
class HeldKafka {
  epoch = -1;
  /** The epoch of each batch that was sent, and how to end its request. */
  readonly produced: { readonly epoch: number; readonly answer: () => void }[] = [];
  refuseOffsets: (() => void) | undefined;

  readonly cluster = {
    isConnected: () => true,
    addMultipleTargetTopics: async () => {},
    findLeaderForPartitions: () => ({ '1': [0] }),
    findBroker: async () => this.broker,
    findGroupCoordinator: async () => this.broker,
  } as unknown as RawCluster;

  readonly broker = {
    connectionPool: { send: <Answer>(request: RawRequest<Answer>) => this.#produce(request) },
    initProducerId: async () => ({ producerId: 7, producerEpoch: ++this.epoch }),
    addPartitionsToTxn: async () => {},
    addOffsetsToTxn: () =>
      new Promise((_, reject) => {
        this.refuseOffsets = () => reject(new Error('Connection lost'));
      }),
    endTxn: async () => {},
  } as unknown as RawBroker;

  async #produce<Answer>({ request, response }: RawRequest<Answer>): Promise<Answer> {
    const { buf } = await request.encode();
    const batch = buf.subarray(buf.length - buf.readInt32BE(buf.indexOf(Buffer.from('out')) + 3 + 4 + 4));
    await new Promise<void>((answer) => this.produced.push({ epoch: batch.readInt16BE(51), answer }));
    const answered = Buffer.alloc(4 + 2 + 3 + 4 + 4 + 2 + 24);
    answered.writeInt32BE(1, 0);
    answered.writeInt16BE(3, 4);
    answered.write('out', 6);
    answered.writeInt32BE(1, 9);
    return response.decode(answered);
  }
}

const record = (value: string): Placed => ({
  topic: 'out',
  partition: 0,
  record: { key: null, value: Buffer.from(value), headers: undefined },
});
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

describe('a transaction', () => {
  test('that fails ends with its last request: no round of it is sent under the next epoch', async () => {
    const kafka = new HeldKafka();
    const transaction = new Transaction(kafka.cluster, 'task-0', { timeoutMs: 30_000, batchBytesMax: 100 });
    await transaction.open();
    const consumed = { groupId: 'work', offsets: [{ topic: 'in', partition: 0, offset: 5, metadata: null }] };
    let ended = false;
    const commit = transaction.commit(
      ['a', 'b', 'c'].map((each) => record(each.repeat(80))),
      consumed,
    );
    const failure = commit.catch((error: unknown) => {
      ended = true;
      return error;
    });
    await turns();
    expect(kafka.produced).toHaveLength(1);
    kafka.refuseOffsets!(); // The offsets fail while the first of three rounds is on its way.
    await turns();
    expect(ended).toBe(false);
    for (let round = 0; round < 3; round++) {
      kafka.produced[round]!.answer();
      await turns();
    }
    expect(await failure).toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await transaction.open();
    expect(kafka.epoch).toBe(1);
    expect(kafka.produced.map(({ epoch }) => epoch)).toEqual([0, 0, 0]);
  });
});
