import { describe, expect, test } from 'vitest';
import { KEPT_MS, KEYS_MAX, RepeatedRequests } from '../../../api/repeated-requests.ts';
import { AppError } from '../../../schemas/errors.ts';
import { fakeViews } from '../../support/fake-views.ts';
import { appOf, OPEN } from '../../support/http-app.ts';

const EVENT = { action: 'SUBSCRIBE', topicFilter: 'a/+', clientId: 'c', brokerId: 'b' };

describe('POST /subscriptions', () => {
  test('takes one event, with what MQTT 5 says of it, at the time it came', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const payload = { ...EVENT, qos: 2, noLocal: true, retainHandling: 1, subscriptionIdentifier: 7, sessionEpoch: 3 };
    const answer = await app.inject({ method: 'POST', url: '/subscriptions', payload });
    expect(answer.statusCode).toBe(202);
    expect(answer.json()).toEqual({ accepted: 1, refused: 0, refusals: [] });
    expect(views.subscribed).toEqual([{ ...payload, timestamp: views.now() }]);
  });

  test('takes what is right of a list, in its order, and names what is wrong', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const payload = [
      EVENT,
      { ...EVENT, topicFilter: 'a/#/b' },
      { ...EVENT, topicFilter: undefined },
      { ...EVENT, clientId: '\ud800' },
      { ...EVENT, brokerId: 'b'.repeat(129) },
      { ...EVENT, qos: 3 },
      { ...EVENT, action: 'PUBLISH' },
      { ...EVENT, topicFilter: '$share/g/a', noLocal: true },
      { ...EVENT, topic: 'a' },
      { ...EVENT, timestamp: -1 },
      { ...EVENT, bySession: true },
      { ...EVENT, action: 'UNSUBSCRIBE', timestamp: 5 },
    ];
    const answer = await app.inject({ method: 'POST', url: '/subscriptions', payload });
    expect(answer.statusCode).toBe(202);
    const { accepted, refusals } = answer.json() as {
      accepted: number;
      refusals: { index: number; code: string; field: string }[];
    };
    expect(accepted).toBe(2);
    expect(refusals.map(({ index, code, field }) => `${index} ${code} ${field}`)).toEqual([
      '1 FILTER_INVALID topicFilter',
      '2 REQUEST_INVALID topicFilter',
      '3 REQUEST_INVALID clientId',
      '4 REQUEST_INVALID brokerId',
      '5 REQUEST_INVALID qos',
      '6 REQUEST_INVALID action',
      '7 OPTIONS_INVALID ',
      '8 REQUEST_INVALID topic',
      '9 REQUEST_INVALID timestamp',
      '10 REQUEST_INVALID bySession',
    ]);
    expect(views.subscribed.map(({ action, timestamp }) => `${action} ${timestamp}`)).toEqual([
      `SUBSCRIBE ${views.now()}`,
      'UNSUBSCRIBE 5',
    ]);
  });

  test('with nothing right is 400 and appends nothing', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const answer = await app.inject({ method: 'POST', url: '/subscriptions', payload: { ...EVENT, qos: '1' } });
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ code: 'REQUEST_INVALID', field: 'qos', accepted: 0 });
    expect(views.subscribed).toEqual([]);
  });

  test('sent again with the same key has the same answer, and no second effect', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const send = (key: string, payload: object) =>
      app.inject({ method: 'POST', url: '/subscriptions', payload, headers: { 'idempotency-key': key } });
    const [first, second] = await Promise.all([send('k1', EVENT), send('k1', EVENT)]);
    expect([first.statusCode, second.statusCode]).toEqual([202, 202]);
    expect((await send('k1', EVENT)).json()).toEqual(first.json());
    expect(views.subscribed).toHaveLength(1);
    const other = await send('k1', { ...EVENT, qos: 1 });
    expect(other.statusCode).toBe(400);
    expect(other.json()).toMatchObject({ code: 'REQUEST_INVALID' });
    await send('k2', EVENT);
    expect(views.subscribed).toHaveLength(2);
    expect((await send('k 3', EVENT)).json()).toMatchObject({ code: 'REQUEST_INVALID', field: 'Idempotency-Key' });
  });
});

describe('repeated requests', () => {
  test('Q1: what failed may be tried again', async () => {
    const repeated = new RepeatedRequests<number>(() => 0);
    let calls = 0;
    const work = async (): Promise<number> => {
      calls += 1;
      if (calls === 1) throw new AppError('LOG_UNAVAILABLE', 'away');
      return calls;
    };
    await expect(repeated.answer('k', '', work)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(await repeated.answer('k', '', work)).toBe(2);
    expect(await repeated.answer('k', '', work)).toBe(2);
  });

  test('Q3: keys are forgotten after their time, and the oldest when there are too many', async () => {
    let now = 0;
    const repeated = new RepeatedRequests<number>(() => now);
    const ask = (key: string, value: number): Promise<number> => repeated.answer(key, '', async () => value);
    await ask('old', 1);
    now = KEPT_MS - 1;
    expect(await ask('old', 2)).toBe(1);
    now = KEPT_MS;
    expect(await ask('old', 3)).toBe(3);
    for (let i = 0; i < KEYS_MAX; i++) await ask(`k${i}`, i);
    expect(await ask('old', 4)).toBe(4);
    expect(await ask(`k${KEYS_MAX - 1}`, 0)).toBe(KEYS_MAX - 1);
  });
});
