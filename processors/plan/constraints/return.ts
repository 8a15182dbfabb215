// Return: a slice that has left a shard does not come back to it within two cool-downs, so that it does not move back
// and forth. An overload that is forecast or measured may send it back, because then the shard that it went to is in
// trouble.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const comeBack: Constraint = (cluster, action) => {
  if (action.kind !== 'MOVE' || action.urgent || action.replicates) return undefined;
  const { now } = cluster.snapshot;
  const left = action.slice.left?.find(({ shard, until }) => shard === action.to && until > now);
  if (left === undefined) return undefined;
  const leftSeconds = Math.ceil((left.until - now) / 1000);
  return refusal(
    action,
    'return',
    `${action.slice.slice} left ${action.to} recently; without an overload it may return in ${leftSeconds} s at the earliest.`,
  );
};
