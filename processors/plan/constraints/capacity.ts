// Capacity: a move never makes its target too full, at any time of the horizon.

import { type Constraint, refusal } from '../cluster/actions.ts';
import type { UtilisationForecast } from '../demand/utilisation-forecast.ts';

export const capacity: Constraint = (cluster, action) => {
  if (action.kind === 'RESIZE') {
    const shard = cluster.shards.get(action.shard)!;
    const needed = cluster.rooms.utilisation({ ...shard, type: action.type });
    return needed.utilisation <= cluster.settings.safeUtilisation
      ? undefined
      : refusal(action, 'capacity', `A ${action.type.name} would be ${fullText(needed)}.`);
  }
  if (action.kind !== 'MOVE') return undefined;
  const target = cluster.shards.get(action.to)!;
  const after = cluster.rooms.utilisation(target, action.slice);
  return after.utilisation <= cluster.rooms.placeLimit
    ? undefined
    : refusal(
        action,
        'capacity',
        `${target.id} would be ${fullText(after)}; slices are placed only up to ${Math.round(cluster.rooms.placeLimit * 100)} %.`,
      );
};

const fullText = ({ utilisation, dimension }: UtilisationForecast): string =>
  `${Math.round(utilisation * 100)} % full${dimension === 'operations' ? '' : ` of ${dimension}`}`;
