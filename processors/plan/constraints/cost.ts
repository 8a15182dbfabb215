// Cost: an action must save more dollars than it costs; for an overload that is the price of the overload itself.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const cost: Constraint = (_board, action) =>
  action.dollars <= action.savesDollars
    ? undefined
    : refusal(
        action,
        'cost',
        `It costs $${action.dollars.toFixed(4)} and saves $${action.savesDollars.toFixed(4)} over its time.`,
      );
