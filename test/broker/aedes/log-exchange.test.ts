// Messages between brokers of several processes, through a topic of the log.

import { expect, test } from 'vitest';
import { LogExchange, messagesTopic, type Positions } from '../../../broker/aedes/log-exchange.ts';
import { decodeEnvelope, decodeMessage, encodeMessage, type Message } from '../../../broker/aedes/message.ts';
import type { OutRecord } from '../../../runtime/ports.ts';
import { MemoryLog } from '../../support/memory-log.ts';

const PARTITIONS = 2;

async function logOf(): Promise<MemoryLog> {
  const log = new MemoryLog({ app: 'test', partitions: PARTITIONS });
  await log.prepare([messagesTopic(PARTITIONS)]);
  return log;
}

function positions(): Positions {
  const kept = new Map<number, number>();
  return { get: (partition) => kept.get(partition), set: (partition, offset) => void kept.set(partition, offset) };
}

/** A broker that takes messages, and what it has taken. */
async function broker(log: MemoryLog, brokerId: string, kept = positions(), more = {}) {
  const clock = { sleep: async () => {} };
  const exchange = new LogExchange({ log, clock, positions: kept }, { brokerId, partitions: PARTITIONS, ...more });
  const taken: string[] = [];
  await exchange.receive(async (message) => void taken.push(message.toString('utf8')));
  return {
    taken,
    exchange,
    kept,
    send: (to: readonly string[] | 'all', text: string) => exchange.send(to, Buffer.from(text)),
  };
}

test('a message reaches the brokers that it names, or all others, in the order in which they were sent', async () => {
  const log = await logOf();
  const [a, b, c] = [await broker(log, 'a'), await broker(log, 'b'), await broker(log, 'c')];
  await Promise.all(['1', '2', '3'].map((text) => a.send(['b'], text)));
  await a.send(['b', 'c'], '4');
  await a.send('all', '5');
  await c.send('all', '6');
  await log.settle();
  expect(b.taken.filter((each) => each !== '6')).toEqual(['1', '2', '3', '4', '5']);
  expect(c.taken).toEqual(['4', '5']);
  expect([a.taken, b.taken.includes('6')]).toEqual([['6'], true]);
});

test('a broker that was away takes what was sent meanwhile, once, and nothing from before its first start', async () => {
  const log = await logOf();
  const a = await broker(log, 'a');
  await a.send('all', 'before');
  await log.settle();
  const first = await broker(log, 'b');
  await log.settle();
  await a.send(['b'], '1');
  await log.settle();
  await first.exchange.close();
  await a.send(['b'], '2');
  await a.send(['c'], 'for another');
  await log.settle();
  const second = await broker(log, 'b', first.kept);
  await log.settle();
  expect([first.taken, second.taken]).toEqual([['1'], ['2']]);
});

test('while the log is away senders wait, so many at most; who is left when the exchange closes is told', async () => {
  const log = await logOf();
  const [a, b] = [await broker(log, 'a', undefined, { queueMax: 2 }), await broker(log, 'b')];
  const append = log.append.bind(log);
  let failures = 2;
  log.append = async (records: readonly OutRecord[]) => {
    if (failures > 0) {
      failures -= 1;
      throw new Error('away');
    }
    await append(records);
  };
  await a.send('all', '1');
  failures = 20;
  const [second, third] = [a.send('all', '2'), a.send('all', '3')];
  await expect(a.send('all', '4')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  await Promise.all([second, third]);
  await log.settle();
  expect(b.taken).toEqual(['1', '2', '3']);
  failures = Number.POSITIVE_INFINITY;
  const left = a.send('all', '5');
  await Promise.all([expect(left).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' }), a.exchange.close()]);
});

test('a message is the same on the other side, and what is none is passed over', () => {
  const packet = {
    topic: 'a/b',
    payload: Buffer.from([0, 255]),
    qos: 1,
    retain: false,
    brokerId: 'x',
    brokerCounter: 7,
  } as const;
  const sent: Message[] = [
    { kind: 'publish', sender: 'a', packet },
    { kind: 'queued', clientId: 'c', packet },
    { kind: 'session', clientId: 'c', subscriptions: [{ topic: 'a/+', qos: 1 }] },
  ];
  for (const each of sent) expect(decodeMessage(encodeMessage(each))).toMatchObject(each);
  const foreign = ['', 'abc', '\u0000\u0000\u0000\u0002{}', '\u00ff\u00ff\u00ff\u00ff', '\u0000\u0000\u0000\u0004null'];
  const kinds = ['publish', 'queued', 'session'].map((kind) => framed(JSON.stringify({ kind })));
  for (const bytes of [...foreign.map((text) => Buffer.from(text, 'latin1')), ...kinds])
    expect([decodeMessage(bytes), decodeEnvelope(bytes)]).toEqual([undefined, undefined]);
});

function framed(header: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(header.length);
  return Buffer.concat([length, Buffer.from(header)]);
}
