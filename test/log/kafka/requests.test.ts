import { expect, test } from 'vitest';
import type { RawBroker, RawCluster, RawRequest } from '../../../log/kafka/client.ts';
import { requireRights } from '../../../log/kafka/control-topics.ts';
import { describeTopics, endOfEpoch } from '../../../log/kafka/requests.ts';

/** Answers with these bytes, and keeps those it was asked with. */
class Answering {
  asked = '';
  version: unknown;
  readonly broker: RawBroker;

  constructor(answer: string) {
    const send = async <Answer>({ request, response }: RawRequest<Answer>): Promise<Answer> => {
      this.asked = (await request.encode()).buf.toString('hex');
      this.version = [request.apiKey, request.apiVersion];
      return response.decode(Buffer.from(answer.replaceAll(' ', ''), 'hex'));
    };
    this.broker = { connectionPool: { send } } as unknown as RawBroker;
  }
}

// By the protocol's description: kafka.apache.org/protocol, OffsetForLeaderEpoch 3.
test('the end of an epoch is asked for as a consumer, and told with the epoch that it is of', async () => {
  const kafka = new Answering('00000000 00000001 0002 696e 00000001 0000 00000003 00000007 0000000000000dac');
  const found = await endOfEpoch(kafka.broker, { topic: 'in', partition: 3, leaderEpoch: 8, currentLeaderEpoch: 9 });
  expect(found).toMatchObject({ leaderEpoch: 7, endOffset: 3_500 });
  expect(kafka.version).toEqual([23, 3]);
  expect(kafka.asked).toBe(
    ['ffffffff', '00000001', '0002696e', '00000001', '00000003', '00000009', '00000008'].join(''),
  );
});

test('a leader that no longer is one, or knows another epoch, is asked again after a look for the leader', async () => {
  for (const code of ['0006', '004a', '004b']) {
    const kafka = new Answering(`00000000 00000001 0002 696e 00000001 ${code} 00000003 ffffffff ffffffffffffffff`);
    await expect(
      endOfEpoch(kafka.broker, { topic: 'in', partition: 3, leaderEpoch: 8, currentLeaderEpoch: 9 }),
    ).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
    });
  }
});

// By the protocol's description: Metadata 8.
test('of a topic its leaders are told with their epochs, and what may be done with it', async () => {
  const broker = '00000001 0001 68 00002384 ffff'; // Number 1, host h, port 9092, no rack.
  const replicas = '00000001 00000001'; // Broker 1.
  const partition = `0000 00000000 00000001 00000005 ${replicas} ${replicas} 00000000`;
  const described = `0000 0002 696e 00 00000001 ${partition} 00000508`; // READ, DESCRIBE, DESCRIBE_CONFIGS
  const hidden = '001d 0003 6f7574 00 00000000 80000000';
  const kafka = new Answering(`00000000 00000001 ${broker} 0001 63 00000001 00000002 ${described} ${hidden} 80000000`);
  expect(await describeTopics(kafka.broker, ['in', 'out'])).toEqual([
    { topic: 'in', errorCode: 0, partitions: [{ partition: 0, leader: 1, leaderEpoch: 5 }], operations: 0x508 },
    { topic: 'out', errorCode: 29, partitions: [], operations: undefined },
  ]);
  expect(kafka.version).toEqual([3, 8]);
  expect(kafka.asked).toBe(['00000002', '0002696e', '00036f7574', '00', '00', '01'].join(''));
  const cluster = {
    isConnected: () => true,
    brokerPool: { findConnectedBroker: async () => kafka.broker },
  } as unknown as RawCluster;
  await expect(requireRights(cluster, ['in', 'out'])).rejects.toMatchObject({
    code: 'LOG_UNAVAILABLE',
    message: expect.stringContaining('does not let this user WRITE on in, DESCRIBE on out: grant it'),
  });
});
