// Constraints: the list an action must pass, cheapest first. A new constraint is a file in this folder and a name here; one
// of an installation's own is given with the list to `planWith` or to `start` (examples/own-constraint.ts).

import type { Action, Constraint, Refusal } from '../cluster/actions.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';
import { busy } from './busy.ts';
import { capacity } from './capacity.ts';
import { caps } from './caps.ts';
import { churn } from './churn.ts';
import { coolDown } from './cool-down.ts';
import { cost } from './cost.ts';
import { comeBack } from './return.ts';
import { timing } from './timing.ts';

export { type Action, type Constraint, type ConstraintName, type Refusal, refusal } from '../cluster/actions.ts';

export const CONSTRAINTS: readonly Constraint[] = [busy, coolDown, comeBack, caps, churn, cost, capacity, timing];

/** The first constraint that says no. */
export function firstRefusal(
  constraints: readonly Constraint[],
  cluster: ClusterModel,
  action: Action,
): Refusal | undefined {
  for (const constraint of constraints) {
    const refused = constraint(cluster, action);
    if (refused !== undefined) return refused;
  }
  return undefined;
}
