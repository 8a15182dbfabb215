import { expect, test } from 'vitest';
import type { RawBroker, RawRequest } from '../../../log/kafka/client.ts';
import { endOfEpoch } from '../../../log/kafka/requests.ts';

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
  const found = await endOfEpoch(kafka.broker, { topic: 'in', partition: 3, leaderEpoch: 8 });
  expect(found).toMatchObject({ leaderEpoch: 7, endOffset: 3_500 });
  expect(kafka.version).toEqual([23, 3]);
  expect(kafka.asked).toBe(
    ['ffffffff', '00000001', '0002696e', '00000001', '00000003', 'ffffffff', '00000008'].join(''),
  );
});

test('a leader that no longer is one, or knows another epoch, is asked again after a look for the leader', async () => {
  for (const code of ['0006', '004a', '004b']) {
    const kafka = new Answering(`00000000 00000001 0002 696e 00000001 ${code} 00000003 ffffffff ffffffffffffffff`);
    await expect(endOfEpoch(kafka.broker, { topic: 'in', partition: 3, leaderEpoch: 8 })).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
    });
  }
});
