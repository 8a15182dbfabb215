// Caps: hard limits that hold whatever a forecast says (I12, I13).

import { type Goal, refusal } from '../cluster/actions.ts';
import type { Board } from '../cluster/board.ts';
import type { DatastoreType } from '../cluster/catalog.ts';

export const caps: Goal = (board, action) => {
  const { settings } = board;
  switch (action.kind) {
    case 'MOVE': {
      if (board.moves >= settings.movesMax)
        return refusal(action, 'moves-at-once', `${board.moves} moves are in flight, of at most ${settings.movesMax}.`);
      const full = [action.slice.shard, action.to].find(
        (id) => (board.shards.get(id)?.moves ?? 0) >= settings.movesPerShardMax,
      );
      return full === undefined
        ? undefined
        : refusal(action, 'moves-per-shard', `${full} takes part in ${settings.movesPerShardMax} moves already.`);
    }
    case 'SPLIT':
      return board.sliceCount >= settings.slicesMax
        ? refusal(action, 'slices-max', `There are ${board.sliceCount} slices, of at most ${settings.slicesMax}.`)
        : undefined;
    case 'ALLOCATE':
      if (board.shards.size >= settings.shardsMax)
        return refusal(
          action,
          'shards-max',
          `There are ${board.shards.size} shards, of at most ${settings.shardsMax}.`,
        );
      if (board.shardsMade >= settings.shardsPerHourMax)
        return refusal(
          action,
          'shards-per-hour',
          `${board.shardsMade} shards were made within an hour, of at most ${settings.shardsPerHourMax}.`,
        );
      return dollars(board, action);
    case 'RESIZE':
      return dollars(board, action);
    default:
      return undefined;
  }
};

/** True when the caps let a shard of this type be bought. */
export const canBuy = (board: Board, type: DatastoreType): boolean =>
  board.shards.size < board.settings.shardsMax &&
  board.shardsMade < board.settings.shardsPerHourMax &&
  board.dollarsPerHour + type.dollarsPerHour + board.dollarsSpent + type.dollarsPerProvisioning <=
    board.settings.dollarsPerHourMax;

/** Running cost after the action, with what was spent once within the last hour, stays below the cap. */
const dollars: Goal = (board, action) => {
  if (action.dollarsPerHour <= 0 || (action.kind !== 'ALLOCATE' && action.kind !== 'RESIZE')) return undefined;
  const once = board.dollarsSpent + action.type.dollarsPerProvisioning;
  const total = board.dollarsPerHour + action.dollarsPerHour + once;
  return total <= board.settings.dollarsPerHourMax
    ? undefined
    : refusal(
        action,
        'dollars-per-hour',
        `The cell would cost $${total.toFixed(2)} an hour, of at most $${board.settings.dollarsPerHourMax.toFixed(2)}.`,
      );
};
