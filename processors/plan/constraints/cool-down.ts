// Cool-down: what has just moved stays, so that noise cannot send a slice to and fro. A measured overload waits for it
// too: the same slice helping twice within minutes is a sign that it does not help.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const coolDown: Constraint = (cluster, action) => {
  if (action.kind !== 'MOVE' && action.kind !== 'SPLIT' && action.kind !== 'MERGE') return undefined;
  const { now } = cluster.snapshot;
  const slices = action.kind === 'MOVE' ? [action.slice] : action.before;
  const warm = slices.find((slice) => slice.coolUntil > now);
  return warm === undefined
    ? undefined
    : refusal(action, 'cool-down', `${warm.slice} has moved or changed lately; it rests a while.`);
};
