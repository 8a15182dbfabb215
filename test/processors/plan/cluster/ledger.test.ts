import { describe, expect, test } from 'vitest';
import type { DatastoreType } from '../../../../processors/plan/cluster/catalog.ts';
import { Ledger } from '../../../../processors/plan/cluster/ledger.ts';
import { eventTime } from '../../../../schemas/ids.ts';

const HOUR_MS = 3_600_000;
const NOW = eventTime(100 * HOUR_MS);
const BUDGET = 60;
const spent = (minutesAgo: number, keys: number, urgent = false) => ({
  at: eventTime(NOW - minutesAgo * 60_000),
  keys,
  urgent,
  shards: 1,
  dollars: 0.5,
});

describe('ledger', () => {
  for (const { name, spendings, debt } of [
    { name: 'nothing was spent', spendings: [], debt: 0 },
    { name: 'what was moved is paid off by the hour', spendings: [spent(30, 50)], debt: 20 },
    { name: 'long ago is paid off', spendings: [spent(90, 50)], debt: 0 },
    { name: 'debts add up', spendings: [spent(30, 50), spent(15, 40)], debt: 60 },
    { name: 'an overload holds calm moves back for two hours at most', spendings: [spent(0, 1e6, true)], debt: 120 },
  ])
    test(`churn: ${name}`, () => expect(new Ledger(spendings, NOW, BUDGET).churnDebtKeys).toBeCloseTo(debt, 9));

  test('of shards and dollars, those of the last hour count', () => {
    const { shardsMade, dollarsSpent } = new Ledger([spent(60, 0), spent(59, 0), spent(1, 0)], NOW, BUDGET);
    expect([shardsMade, dollarsSpent]).toEqual([2, 1]);
  });

  test('what the plan decides is added', () => {
    const ledger = new Ledger([], NOW, BUDGET);
    const type = { dollarsPerProvisioning: 0.25 } as DatastoreType;
    ledger.moved(7);
    ledger.allocated(type);
    ledger.resized(type);
    expect(ledger).toEqual({ churnDebtKeys: 7, shardsMade: 1, dollarsSpent: 0.5 });
  });
});
