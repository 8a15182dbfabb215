// Cost: an action must save more dollars than it costs. What an action against an overload saves is the price of the
// overload.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const cost: Constraint = (_board, action) =>
  action.dollars <= action.savesDollars
    ? undefined
    : refusal(
        action,
        'cost',
        `It would cost $${action.dollars.toFixed(4)} and save only $${action.savesDollars.toFixed(4)}.`,
      );
