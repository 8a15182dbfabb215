// Caps: hard limits that hold whatever a forecast says (I12, I13).

import { type Constraint, refusal } from '../cluster/actions.ts';
import type { DatastoreType } from '../cluster/catalog.ts';
import type { ClusterModel } from '../cluster/cluster-model.ts';

export const caps: Constraint = (cluster, action) => {
  const { settings } = cluster;
  switch (action.kind) {
    case 'MOVE': {
      if (cluster.moves >= settings.movesMax)
        return refusal(
          action,
          'moves-at-once',
          `${cluster.moves} moves are under way; at most ${settings.movesMax} may be (FORESHARD_MOVES_MAX).`,
        );
      const full = [action.slice.shard, action.to].find(
        (id) => (cluster.shards.get(id)?.moves ?? 0) >= settings.movesPerShardMax,
      );
      return full === undefined
        ? undefined
        : refusal(
            action,
            'moves-per-shard',
            `${full} already takes part in ${settings.movesPerShardMax} moves, the most for one shard.`,
          );
    }
    case 'SPLIT':
      return cluster.sliceCount >= settings.slicesMax
        ? refusal(
            action,
            'slices-max',
            `There are ${cluster.sliceCount} slices; at most ${settings.slicesMax} are allowed.`,
          )
        : undefined;
    case 'ALLOCATE':
      if (cluster.shards.size >= settings.shardsMax)
        return refusal(
          action,
          'shards-max',
          `There are ${cluster.shards.size} shards; at most ${settings.shardsMax} are allowed (FORESHARD_SHARDS_MAX).`,
        );
      if (cluster.ledger.shardsMade >= settings.shardsPerHourMax)
        return refusal(
          action,
          'shards-per-hour',
          `${cluster.ledger.shardsMade} shards were added within the last hour; at most ${settings.shardsPerHourMax} are allowed (FORESHARD_SHARDS_PER_HOUR_MAX).`,
        );
      return dollars(cluster, action);
    case 'RESIZE':
      return dollars(cluster, action);
    default:
      return undefined;
  }
};

/** True when the caps let a shard of this type be bought. */
export const canBuy = (cluster: ClusterModel, type: DatastoreType): boolean =>
  cluster.shards.size < cluster.settings.shardsMax &&
  cluster.ledger.shardsMade < cluster.settings.shardsPerHourMax &&
  cluster.costs.dollarsPerHour + type.dollarsPerHour + cluster.ledger.dollarsSpent + type.dollarsPerProvisioning <=
    cluster.settings.dollarsPerHourMax;

/** Running cost after the action, with what was spent once within the last hour, stays below the cap. */
const dollars: Constraint = (cluster, action) => {
  if (action.dollarsPerHour <= 0 || (action.kind !== 'ALLOCATE' && action.kind !== 'RESIZE')) return undefined;
  const once = cluster.ledger.dollarsSpent + action.type.dollarsPerProvisioning;
  const total = cluster.costs.dollarsPerHour + action.dollarsPerHour + once;
  return total <= cluster.settings.dollarsPerHourMax
    ? undefined
    : refusal(
        action,
        'dollars-per-hour',
        `The cell would cost $${total.toFixed(2)} an hour; at most $${cluster.settings.dollarsPerHourMax.toFixed(2)} is allowed (FORESHARD_DOLLARS_PER_HOUR_MAX).`,
      );
};
