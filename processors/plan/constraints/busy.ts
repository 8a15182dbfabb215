// Busy: a slice or shard takes no new action while its last one is still under way.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const busy: Constraint = (cluster, action) => {
  switch (action.kind) {
    case 'MOVE':
      return action.slice.busy ? refusal(action, 'busy', 'The slice is already in a move, split or merge.') : undefined;
    case 'SPLIT':
    case 'MERGE': {
      const taken = action.before.find((slice) => slice.busy);
      return taken === undefined
        ? undefined
        : refusal(action, 'busy', `${taken.slice} is already in a move, split or merge.`);
    }
    case 'RESIZE':
    case 'RETIRE': {
      const shard = cluster.shards.get(action.shard)!;
      if (shard.resizing || !shard.ready) return refusal(action, 'busy', 'The shard is being provisioned or resized.');
      return shard.moves > 0
        ? refusal(action, 'busy', `${shard.moves} moves from or to the shard are under way.`)
        : undefined;
    }
    default:
      return undefined;
  }
};
