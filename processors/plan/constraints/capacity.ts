// Capacity: a move never makes its target too full, at any time of the horizon.

import { type Constraint, refusal } from '../cluster/actions.ts';

export const capacity: Constraint = (cluster, action) => {
  if (action.kind === 'RESIZE') {
    const shard = cluster.shards.get(action.shard)!;
    const needed = cluster.utilisation({ ...shard, type: action.type }).utilisation;
    return needed <= cluster.settings.safeUtilisation
      ? undefined
      : refusal(action, 'capacity', `${action.type.name} would be ${Math.round(needed * 100)} % full.`);
  }
  if (action.kind !== 'MOVE') return undefined;
  const target = cluster.shards.get(action.to)!;
  const after = cluster.utilisation(target, action.slice).utilisation;
  return after <= cluster.placeLimit
    ? undefined
    : refusal(
        action,
        'capacity',
        `${target.id} would be ${Math.round(after * 100)} % full, of at most ${Math.round(cluster.placeLimit * 100)} %.`,
      );
};
