// Churn: at most a stated share of all keys moves within an hour, unless an overload is forecast or measured.

import { type Goal, refusal } from '../actions.ts';

export const churn: Goal = (board, action) => {
  if (action.kind !== 'MOVE' || action.urgent) return undefined;
  const budget = board.settings.churnShareMax * board.totalKeys;
  const after = board.keysMoved + action.slice.entries;
  return after <= budget
    ? undefined
    : refusal(
        action,
        'churn',
        `It would make ${Math.round(after)} keys moved within an hour, of at most ${Math.floor(budget)} while no overload is forecast.`,
      );
};
