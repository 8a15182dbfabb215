// Refusals: commands that apply did not obey. A planner hears of somebody else's, too, and of its own when somebody has
// used a higher term in its place (state/fence.ts F4).
//
//   N1. A planner whose term does not count any more takes a higher one, and says again what its rows still wait for: all of
//       that is answered as a repetition where it was heard before.

import type { CommandRefused } from '../../../schemas/records.ts';
import { isSwitched, steer } from './moves.ts';
import { rowsOf } from './rows.ts';
import { takeSliceProgress } from './shards.ts';
import type { Turn } from './turn.ts';

export function takeRefusal(turn: Turn, { commandId, constraint, term, reason }: CommandRefused): void {
  turn.cell.ignored.commands = (turn.cell.ignored.commands ?? 0) + 1;
  turn.keepCell();
  turn.refuse('commands', constraint, `A command was not obeyed: ${reason}.`);
  if (turn.changes.get(commandId) !== undefined)
    takeSliceProgress(turn, { kind: 'SliceProgress', commandId, done: false, reason });
  const own = turn.cell.term ?? 0;
  if (constraint !== 'epoch-not-published') {
    if (term < own || (term === own && constraint !== 'another-planner')) return; // Not ours, or from before our term.
    turn.newTerm(term);
  }
  sayAgain(turn);
}

/** N1. A move that was not heard of at all ends by its own silence. */
function sayAgain(turn: Turn): void {
  const why = 'sent again in a new term';
  for (const id of turn.cell.openMoves) {
    const move = turn.moves.get(id)!;
    if (move.asked !== '') steer(turn, move, move.asked, why);
    else if (move.state === 'SHARED') steer(turn, move, 'SHARE', why);
    else if (isSwitched(move.state)) steer(turn, move, move.replicates ? 'UNSHARE' : 'SWITCH', why);
  }
  for (const [, { id, state }] of rowsOf(turn.rows, 'shard'))
    if (state === 'RETIRING') turn.commandShard(id, { kind: 'RetireShard', shardId: id }, why);
}
