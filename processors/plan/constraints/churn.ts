// Churn: in the long run, moves that no overload asks for take at most a stated share of all keys for each hour.
//
// It is a debt and not a cap: every move, also one against an overload, adds its keys to the debt, and the budget pays
// the debt off hour by hour. A move passes while there is no debt, whatever its size, or while the debt with it stays
// within one hour's budget. In a small cluster a single slice may hold more keys than that; after it moves, the next
// calm move waits longer.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const churn: Constraint = (cluster, action) => {
  if (action.kind !== 'MOVE' || action.urgent || cluster.ledger.churnDebtKeys === 0) return undefined;
  const budget = cluster.settings.churnShareMax * cluster.totalKeys;
  const after = cluster.ledger.churnDebtKeys + action.slice.entries;
  return after <= budget
    ? undefined
    : refusal(
        action,
        'churn',
        `With this move ${Math.round(after)} keys would be owed to the churn budget, which allows ${Math.floor(budget)} an hour. No overload is forecast, so the move waits until earlier moves are paid off.`,
      );
};
