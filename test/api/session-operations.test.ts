import { expect, test } from 'vitest';
import { SessionOperations } from '../../api/session-operations.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { OperationProgress, SessionOperation } from '../../schemas/records.ts';

const said = (body: SessionOperation['body'], operationId = 'lose-5-1', at = 5): SessionOperation => ({
  ...{ operationId, brokerId: 'broker-1', at: eventTime(at), body },
});
const begun = { kind: 'OperationStart', action: 'LOSE', before: eventTime(4) } as const;
const told = (
  partition: number,
  state: OperationProgress['state'],
  more: Partial<OperationProgress> = {},
): OperationProgress => ({
  kind: 'OperationProgress',
  action: 'LOSE',
  ...{ partition, state, sessions: 10, ended: 4, events: 8, startedAt: eventTime(5), reason: '' },
  ...more,
});

test('an operation is the sum of what the partitions say, and under way until each has ended', () => {
  const operations = new SessionOperations(2);
  for (const body of [begun, told(0, 'RUNNING', { sessions: 3 }), told(0, 'DONE'), told(1, 'RUNNING')])
    operations.take(said(body));
  expect(operations.all()).toEqual([
    {
      ...{ operationId: 'lose-5-1', brokerId: 'broker-1', action: 'LOSE', state: 'RUNNING', startedAt: 5 },
      ...{ partitions: 2, finished: 1, sessions: 20, ended: 8, events: 16, reason: '' },
    },
  ]);
  operations.take(said(told(1, 'DONE')));
  expect(operations.all()).toMatchObject([{ state: 'DONE', finished: 2 }]);
});

test('one that a partition has stopped is stopped, and says why', () => {
  const operations = new SessionOperations(2);
  operations.take(said(told(0, 'DONE')));
  operations.take(said({ kind: 'OperationStop', reason: 'not heard yet' }));
  operations.take(said(told(1, 'STOPPED', { reason: 'a person has stopped it' })));
  expect(operations.all()).toMatchObject([{ state: 'STOPPED', reason: 'a person has stopped it' }]);
});

test('the last ones are kept, newest first', () => {
  const operations = new SessionOperations(1);
  for (let at = 0; at < 1_200; at++) operations.take(said(begun, `lose-${at}-1`, at));
  const all = operations.all();
  expect(all).toHaveLength(1_000);
  expect(all[0]!.operationId).toBe('lose-1199-1');
  expect([operations.has('lose-1199-1'), operations.has('lose-0-1')]).toEqual([true, false]);
});
