// Churn: over time at most a stated share of all keys moves within an hour, unless an overload is forecast or measured.
//
// Moves run up a debt that the budget pays off. A move must fit what is left of one hour's budget, or find no debt: in a
// small cluster one slice may be more than an hour's budget, and is then followed by a longer rest.

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
        `It would bring the keys moved to ${Math.round(after)}, of at most ${Math.floor(budget)} an hour while no overload is forecast.`,
      );
};
