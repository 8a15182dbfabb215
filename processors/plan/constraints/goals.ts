// Goals: the list an action must pass, cheapest first. A new goal is a file in this folder and a name here.

import type { Action, Goal, Refusal } from '../cluster/actions.ts';
import type { Board } from '../cluster/board.ts';
import { busy } from './busy.ts';
import { capacity } from './capacity.ts';
import { caps } from './caps.ts';
import { churn } from './churn.ts';
import { coolDown } from './cool-down.ts';
import { cost } from './cost.ts';
import { comeBack } from './return.ts';
import { timing } from './timing.ts';

export const GOALS: readonly Goal[] = [busy, coolDown, comeBack, caps, churn, cost, capacity, timing];

/** The first goal that says no. */
export function firstRefusal(goals: readonly Goal[], board: Board, action: Action): Refusal | undefined {
  for (const goal of goals) {
    const refused = goal(board, action);
    if (refused !== undefined) return refused;
  }
  return undefined;
}
