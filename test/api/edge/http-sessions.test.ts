import { describe, expect, test } from 'vitest';
import { fakeViews } from '../../support/fake-views.ts';
import { appOf, OPEN } from '../../support/http-app.ts';

const OF = { clientId: 'c', brokerId: 'b', sessionEpoch: 7 };
const CONNECTED = { kind: 'Connected', ...OF, cleanStart: true, sessionExpirySeconds: 60 };

describe('POST /sessions', () => {
  test('takes what is right of a list, in its order, and names what is wrong', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const payload = [
      CONNECTED,
      { kind: 'Lost', ...OF },
      { ...CONNECTED, cleanStart: undefined },
      { ...CONNECTED, sessionExpirySeconds: -1 },
      { ...CONNECTED, sessionEpoch: 0 },
      { ...CONNECTED, clientId: '\ud800' },
      { ...CONNECTED, clientId: 'a\u0000' },
      { kind: 'Ended', ...OF, cleanStart: true },
      'Ended',
      { kind: 'Disconnected', ...OF, timestamp: 5 },
      { kind: 'Ended', ...OF },
    ].filter((each) => typeof each === 'object');
    const answer = await app.inject({ method: 'POST', url: '/sessions', payload });
    expect(answer.statusCode).toBe(202);
    const { accepted, refusals } = answer.json() as {
      accepted: number;
      refusals: { index: number; code: string; field: string }[];
    };
    expect(accepted).toBe(3);
    expect(refusals.map(({ index, code, field }) => `${index} ${code} ${field}`)).toEqual([
      '1 REQUEST_INVALID kind',
      '2 REQUEST_INVALID cleanStart',
      '3 REQUEST_INVALID sessionExpirySeconds',
      '4 REQUEST_INVALID sessionEpoch',
      '5 REQUEST_INVALID clientId',
      '6 CLIENT_INVALID clientId',
      '7 REQUEST_INVALID cleanStart',
    ]);
    expect(views.asked).toEqual(
      [
        { body: CONNECTED, timestamp: views.now() },
        { body: { kind: 'Disconnected', ...OF, sessionExpirySeconds: -1 }, timestamp: 5 },
        { body: { kind: 'Ended', ...OF }, timestamp: views.now() },
      ].map((session) => `session ${JSON.stringify(session)}`),
    );
  });

  test('with nothing right is 400 and appends nothing', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    const answer = await app.inject({ method: 'POST', url: '/sessions', payload: { kind: 'Ended' } });
    expect([answer.statusCode, answer.json().code]).toEqual([400, 'REQUEST_INVALID']);
    expect(views.asked).toEqual([]);
  });
});

describe('GET /pointers', () => {
  test('asks for the records from an offset on, and how long to wait', async () => {
    const views = fakeViews();
    const app = await appOf(OPEN, views);
    expect((await app.inject('/pointers')).json()).toMatchObject({ partitions: 8, records: [], next: 0 });
    expect((await app.inject('/pointers?after=5&waitMs=3000')).json()).toMatchObject({ next: 5 });
    expect((await app.inject('/pointers?waitMs=3001')).statusCode).toBe(400);
    expect(views.asked).toEqual(['pointers 0 0', 'pointers 5 3000']);
  });
});
