// Plans on the command line: what the decisions tell of them, as lines.

import { describe, expect, test } from 'vitest';
import { planLines } from '../../cli/plan-text.ts';
import { plansIn } from '../../cli/plans.ts';
import { eventTime, planId } from '../../schemas/ids.ts';
import type { Decision } from '../../schemas/records.ts';
import { decisionWith } from '../support/decision.ts';

const AT = Date.UTC(2026, 0, 5, 19, 30);

const proposed = (subject: string): Decision =>
  decisionWith({
    kind: 'PROPOSE',
    subject,
    at: eventTime(AT),
    expiresAt: eventTime(AT + 1_800_000),
    reason: 'shard-0001 is crowded.',
    dollarsPerHour: 0.1,
    dollarsOnce: 0.01,
    promisedDollars: 50,
    steps: ['allocate shard-0003 on kv'],
  });

describe('plans', () => {
  for (const { name, later, state } of [
    { name: 'nobody has answered is open', later: [], state: 'OPEN' },
    { name: 'was approved says so', later: [{ kind: 'APPROVE' }], state: 'APPROVED' },
    { name: 'was rejected says so', later: [{ kind: 'REJECT' }], state: 'REJECTED' },
    { name: 'has expired says so', later: [{ kind: 'EXPIRE' }], state: 'EXPIRED' },
    { name: 'was replaced says so', later: [{ kind: 'EXPIRE', constraint: 'replaced' }], state: 'REPLACED' },
    { name: 'was asked for in vain stays open', later: [{ kind: 'REFUSE' }], state: 'OPEN' },
  ] as const)
    test(`a plan that ${name}`, () => {
      const said = later.map((more) => decisionWith({ ...more, subject: 'plan-000001' }));
      expect(plansIn([proposed('plan-000001'), ...said])).toMatchObject([{ planId: 'plan-000001', state }]);
    });

  test('are told newest first', () => {
    const ids = plansIn([proposed('plan-000001'), proposed('plan-000002')]).map((plan) => plan.planId);
    expect(ids).toEqual(['plan-000002', 'plan-000001']);
  });

  test('that wait say until when, at what price, and how to answer', () => {
    expect(planLines(plansIn([proposed('plan-000001')])[0]!)).toEqual([
      'plan-000001  OPEN until 2026-01-05 20:00:00, made at 2026-01-05 19:30:00',
      '  shard-0001 is crowded.',
      '  price: +$0.10/h and $0.01 once; doing nothing: $50.00',
      '  1. allocate shard-0003 on kv',
      '  foreshard approve plan-000001  or  foreshard reject plan-000001',
    ]);
  });

  test('that are over do not ask for an answer', () => {
    const [plan] = plansIn([proposed('plan-000001')]);
    const lines = planLines({ ...plan!, planId: planId('plan-000001'), state: 'EXPIRED' });
    expect(lines.join()).not.toContain('foreshard approve');
  });
});
