import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { httpLog } from '../../../broker/edge/http-log.ts';

interface Answer {
  readonly status: number;
  readonly body: object;
}

/** A process whose answers to `GET /pointers` are these, one after the other; the last one holds. */
async function answering(answers: readonly Answer[]) {
  const asked: string[] = [];
  const bodies: unknown[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const isQuestion = request.method === 'GET';
      if (isQuestion) asked.push(request.url!);
      else bodies.push([request.url, JSON.parse(text)]);
      if (isQuestion && asked.length > answers.length) return; // It waits for a change.
      const { status, body } = isQuestion ? answers[asked.length - 1]! : { status: 202, body: { refusals: [] } };
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const log = httpLog({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
  onTestFinished(() => log.close());
  return { log, asked, bodies };
}

const page = (next: number, more: object = {}): Answer => ({
  status: 200,
  body: {
    partitions: 4,
    records: [{ offset: next - 1, key: `k${next}`, value: { at: next } }],
    ...{ next, end: next, restarts: false, ...more },
  },
});

test('the pointer table is followed page by page, over troubles, and anew when it is another one', async () => {
  const refused = { status: 401, body: { message: 'no' } };
  const { log, asked } = await answering([page(1, { end: 2 }), page(2), refused, page(1, { restarts: true })]);
  const seen: string[] = [];
  let restarted = (): void => {};
  const done = new Promise<void>((resolve) => {
    restarted = resolve;
  });
  const follower = await log.follow(
    'pointer-table',
    'earliest',
    async ({ records, nextOffset, endOffset, restartsAt }) => {
      seen.push(`${records.map(({ key }) => key)} ${nextOffset}/${endOffset} ${restartsAt ?? ''}`);
      if (restartsAt !== undefined) restarted();
    },
  );
  await follower.caughtUp;
  expect(seen).toEqual(['k1 1/2 ', 'k2 2/2 ']);
  await done;
  expect(seen.at(-1)).toBe('k1 1/1 0');
  expect(asked.slice(0, 4)).toEqual([
    '/pointers?after=0&waitMs=0',
    '/pointers?after=1&waitMs=0',
    '/pointers?after=2&waitMs=3000',
    '/pointers?after=2&waitMs=3000',
  ]);
  expect(log.health()).toEqual({ ok: true, reason: '' });
});

test('records are appended in their order, a request for each run of one topic', async () => {
  const { log, bodies } = await answering([]);
  const record = (topic: string, value: object) => ({
    ...{ topic, partition: 0, key: 'k' },
    value: Buffer.from(JSON.stringify(value)),
  });
  await log.append([
    record('sessions', { body: { kind: 'Ended' }, timestamp: 5 }),
    record('subscriptions', { topicFilter: 'a' }),
    record('subscriptions', { topicFilter: 'b' }),
    record('metrics', { body: { kind: 'BrokerHeartbeat' } }),
  ]);
  expect(bodies).toEqual([
    ['/sessions', [{ kind: 'Ended', timestamp: 5 }]],
    ['/subscriptions', [{ topicFilter: 'a' }, { topicFilter: 'b' }]],
    ['/update_metrics', [{ kind: 'BrokerHeartbeat' }]],
  ]);
});
