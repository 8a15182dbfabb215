// Busy: nothing is asked of a slice or shard that is still doing the last thing it was asked.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const busy: Constraint = (cluster, action) => {
  switch (action.kind) {
    case 'MOVE':
      return action.slice.busy ? refusal(action, 'busy', 'The slice takes part in a move or change.') : undefined;
    case 'SPLIT':
    case 'MERGE': {
      const taken = action.before.find((slice) => slice.busy);
      return taken === undefined
        ? undefined
        : refusal(action, 'busy', `${taken.slice} takes part in a move or change.`);
    }
    case 'RESIZE':
    case 'RETIRE': {
      const shard = cluster.shards.get(action.shard)!;
      if (shard.resizing || !shard.ready) return refusal(action, 'busy', 'The shard is being provisioned or resized.');
      return shard.moves > 0 ? refusal(action, 'busy', `${shard.moves} moves touch the shard.`) : undefined;
    }
    default:
      return undefined;
  }
};
