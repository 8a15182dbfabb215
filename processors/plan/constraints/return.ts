// Return: what has left a shard does not come back within two cool-downs, or it would go to and fro. An overload that is
// forecast or measured may send it back: then the shard that it went to is in trouble.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const comeBack: Constraint = (cluster, action) => {
  if (action.kind !== 'MOVE' || action.urgent || action.replicates) return undefined;
  const { now } = cluster.snapshot;
  const left = action.slice.left?.find(({ shard, until }) => shard === action.to && until > now);
  return left === undefined
    ? undefined
    : refusal(action, 'return', `${action.slice.slice} has left ${action.to} lately; it does not come back so soon.`);
};
