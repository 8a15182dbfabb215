// Cool-down: a slice that has just moved or changed stays where it is for a while, so that noise cannot move it back
// and forth. A measured overload waits for it too: if moving the same slice a second time within minutes is needed,
// moving it does not help.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const coolDown: Constraint = (cluster, action) => {
  if (action.kind !== 'MOVE' && action.kind !== 'SPLIT' && action.kind !== 'MERGE') return undefined;
  const { now } = cluster.snapshot;
  const slices = action.kind === 'MOVE' ? [action.slice] : action.before;
  const warm = slices.find((slice) => slice.coolUntil > now);
  if (warm === undefined) return undefined;
  const leftSeconds = Math.ceil((warm.coolUntil - now) / 1000);
  return refusal(
    action,
    'cool-down',
    `${warm.slice} moved or changed recently; its cool-down lasts another ${leftSeconds} s (FORESHARD_COOL_DOWN_MS).`,
  );
};
