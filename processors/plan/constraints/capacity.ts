// Capacity: a move never makes its target too full, at any time of the horizon.

import { type Goal, refusal } from '../cluster/actions.ts';

export const capacity: Goal = (board, action) => {
  if (action.kind === 'RESIZE') {
    const shard = board.shards.get(action.shard)!;
    const needed = board.outline({ ...shard, type: action.type }).utilisation;
    return needed <= board.settings.safeUtilisation
      ? undefined
      : refusal(action, 'capacity', `${action.type.name} would be ${Math.round(needed * 100)} % full.`);
  }
  if (action.kind !== 'MOVE') return undefined;
  const target = board.shards.get(action.to)!;
  const after = board.outline(target, action.slice).utilisation;
  return after <= board.placeLimit
    ? undefined
    : refusal(
        action,
        'capacity',
        `${target.id} would be ${Math.round(after * 100)} % full, of at most ${Math.round(board.placeLimit * 100)} %.`,
      );
};
