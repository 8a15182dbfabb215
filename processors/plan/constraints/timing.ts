// Timing: act when the crossing is no further away than the lead time and one tick. Earlier is paying too soon, on an
// older forecast. The last constraint: what it refuses is right, and only has time.

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
        `It takes ${Math.round(action.leadTimeMs / 1000)} s and is needed in ${Math.round((action.crossingAt - snapshot.now) / 1000)} s; there is time.`,
      );
};
