// Timing: act once the time until capacity is crossed is down to the lead time and one tick. Acting earlier costs money
// sooner than needed and relies on an older forecast. This is the last constraint: an action that it refuses is right
// and only early.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const timing: Constraint = (cluster, action) => {
  if (!action.urgent || action.crossingAt === 0) return undefined;
  const { snapshot, settings } = cluster;
  const latest = action.crossingAt - action.leadTimeMs - settings.tickMs;
  return snapshot.now >= latest
    ? undefined
    : refusal(
        action,
        'timing',
        `It takes ${Math.round(action.leadTimeMs / 1000)} s and is needed in ${Math.round((action.crossingAt - snapshot.now) / 1000)} s, so it need not begin yet.`,
      );
};
