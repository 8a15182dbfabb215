// Refusals: commands that apply refused. The planner also hears of refused commands that somebody else sent, and of its
// own when somebody else has used a higher term (state/fence.ts F4).
//
//   N1. A planner whose term is no longer accepted takes a higher one, and sends again every command that its rows
//       still wait for. Where a command had been heard before, it is answered as a repetition.

import type { CommandRefused } from '../../../schemas/records.ts';
import { isSwitched, steer } from './moves.ts';
import { takeSliceProgress } from './shards.ts';
import type { Turn } from './turn.ts';

export function takeRefusal(turn: Turn, { commandId, constraint, term, reason }: CommandRefused): void {
  turn.cell.ignored.commands = (turn.cell.ignored.commands ?? 0) + 1;
  turn.keepCell();
  turn.refuse('commands', constraint, `Apply refused a command: ${reason}.`);
  if (turn.state.changes.has(commandId))
    takeSliceProgress(turn, { kind: 'SliceProgress', commandId, done: false, reason });
  const own = turn.cell.term ?? 0;
  if (constraint !== 'epoch-not-published') {
    if (term < own || (term === own && constraint !== 'another-planner')) return; // Not from this planner and term.
    turn.newTerm(term);
  }
  sayAgain(turn);
}

/** N1. A move that apply never heard of ends when apply stays silent about it. */
function sayAgain(turn: Turn): void {
  const why = 'sent again in a new term';
  for (const move of turn.moves.open()) {
    if (move.asked !== '') steer(turn, move, move.asked, why);
    else if (move.state === 'SHARED') steer(turn, move, 'SHARE', why);
    else if (isSwitched(move.state)) steer(turn, move, move.replicates ? 'UNSHARE' : 'SWITCH', why);
  }
  for (const { id, state } of turn.shards.all())
    if (state === 'RETIRING') turn.commandShard(id, { kind: 'RetireShard', shardId: id }, why);
}
