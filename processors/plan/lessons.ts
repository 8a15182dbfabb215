// Lessons: which measurements teach what operations cost (coefficients.ts), once for each plan.

import type { ShardId } from '../../schemas/ids.ts';
import type { Snapshot } from './board.ts';
import { type Costs, costsOf, learn } from './coefficients.ts';
import { type CellRow, moveKey, rowOf, shardKey } from './rows.ts';
import type { PlanSettings } from './settings.ts';
import type { Turn } from './turn.ts';

/** What operations cost, by all that the cell has learned. */
export const costsOfCell = (cell: CellRow, { coefficients }: PlanSettings): Costs => ({
  KEY_VALUE: costsOf('KEY_VALUE', cell.learned.KEY_VALUE, coefficients),
  TRIE: costsOf('TRIE', cell.learned.TRIE, coefficients),
});

/** Takes the lessons of the shards that were measured since the last plan and that nothing disturbed. */
export function learnCosts(turn: Turn, { shards, slices }: Snapshot): void {
  const { cell, rows, settings } = turn;
  const costs = costsOfCell(cell, settings);
  const disturbed = disturbedShards(turn);
  const asked = new Map<ShardId, { lookups: number; now: number; entries: number }>();
  for (const { shard, load, entries } of slices) {
    const sum = asked.get(shard) ?? { lookups: 0, now: 0, entries: 0 };
    asked.set(shard, { lookups: sum.lookups + load.lookups, now: sum.now + load.now, entries: sum.entries + entries });
  }
  for (const { id, kind, type, ready, resizing } of shards) {
    const measured = rowOf(rows, 'shard', shardKey(id))?.measured;
    const sum = asked.get(id);
    if (!ready || resizing || disturbed.has(id) || sum === undefined || measured === undefined) continue;
    if (Math.abs(turn.now - measured.at) > settings.tickMs) continue;
    const { lookup, write, entry } = costs[kind];
    const lesson = {
      lookupsPerSecond: sum.lookups / lookup,
      writesPerSecond: Math.max(0, sum.now - sum.lookups - sum.entries * entry) / write,
      entries: sum.entries,
      operationsPerSecond: type.operationsPerSecond,
      shares: { cpu: measured.cpu, iops: measured.iops },
    };
    learn(cell.learned[kind], kind, lesson, settings.coefficients, settings.catalog);
  }
  turn.keepCell();
}

/** A store's own measurement is a mean over some time: a copy is in it for so long after it has ended. */
const SETTLED_MS = 120_000;

/** Shards that a move touches or has touched a short while ago (K2). */
function disturbedShards({ cell, rows, now }: Turn): Set<ShardId> {
  const disturbed = new Set<ShardId>();
  for (const id of [...cell.openMoves, ...cell.closedMoves]) {
    const move = rowOf(rows, 'move', moveKey(id));
    if (move === undefined || move.state === 'SHARED' || (move.closedAt > 0 && now - move.closedAt > SETTLED_MS))
      continue;
    disturbed.add(move.from).add(move.to);
  }
  return disturbed;
}
