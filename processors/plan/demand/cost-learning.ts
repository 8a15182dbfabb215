// Cost learning: chooses, once for each plan, the measurements from which the cost of operations (coefficients.ts) and
// the memory of entries (footprint.ts) are learned.

import type { ShardId } from '../../../schemas/ids.ts';
import type { StoreKind } from '../../../schemas/records.ts';
import type { Snapshot } from '../cluster/cluster-model.ts';
import type { PlanSettings } from '../settings.ts';
import type { CellRow } from '../stage/rows.ts';
import type { Turn } from '../stage/turn.ts';
import { type Costs, costsOf, learn, lookupCost } from './coefficients.ts';
import { type Footprint, footprintOf, type Holding, learnMemory } from './footprint.ts';
import type { LookupWork } from './lookup-work.ts';

/** The costs of operations, by everything that the cell has learned. */
export const costsOfCell = (
  cell: Pick<CellRow, 'learned'>,
  { coefficients }: Pick<PlanSettings, 'coefficients'>,
): Costs => ({
  KEY_VALUE: costsOf('KEY_VALUE', cell.learned.KEY_VALUE, coefficients),
  TRIE: costsOf('TRIE', cell.learned.TRIE, coefficients),
});

/** The memory of entries, by everything that the cell has learned. */
export const footprintsOfCell = ({ learned }: Pick<CellRow, 'learned'>): Record<StoreKind, Footprint> => ({
  KEY_VALUE: footprintOf(learned.KEY_VALUE),
  TRIE: footprintOf(learned.TRIE),
});

/**
 * Learns from the shards that were measured since the last plan and not disturbed since. `reaches` must be the values
 * that the snapshot's loads were computed with.
 */
export function learnCosts(turn: Turn, { shards, slices }: Snapshot, reaches: ReadonlyMap<ShardId, LookupWork>): void {
  const { cell, settings } = turn;
  const costs = costsOfCell(cell, settings);
  const disturbed = disturbedShards(turn);
  const asked = askedOf(slices);
  for (const { id, kind, type, ready, resizing } of shards) {
    const measured = turn.shards.get(id)?.measured;
    const sum = asked.get(id);
    if (!ready || resizing || disturbed.has(id) || sum === undefined || measured === undefined) continue;
    if (Math.abs(turn.now - measured.at) > settings.tickMs) continue;
    const reach = reaches.get(id)!;
    const { subscribe, unsubscribe, entry } = costs[kind];
    const sample = {
      lookupsPerSecond: sum.lookups / lookupCost(costs[kind], reach),
      reach,
      subscribesPerSecond: Math.max(0, sum.now - sum.lookups - sum.unsubscribes - sum.entries * entry) / subscribe,
      unsubscribesPerSecond: sum.unsubscribes / unsubscribe,
      entries: sum.entries,
      operationsPerSecond: type.operationsPerSecond,
      shares: { cpu: measured.cpu, iops: measured.iops },
    };
    learn(cell.learned[kind], kind, sample, settings.coefficients, settings.catalog);
    const used = { usedBytes: measured.memoryBytes, limitBytes: measured.memoryLimitBytes };
    learnMemory(cell.learned[kind], sum, type, used);
  }
  turn.keepCell();
}

interface Asked extends Holding {
  readonly lookups: number;
  readonly unsubscribes: number;
  readonly now: number;
}

/** The entries of each shard, and its present load in operations. */
function askedOf(slices: Snapshot['slices']): Map<ShardId, Asked> {
  const asked = new Map<ShardId, Asked>();
  for (const { shard, load, entries, bytes } of slices) {
    const sum = asked.get(shard) ?? { lookups: 0, unsubscribes: 0, now: 0, entries: 0, bytes: 0 };
    asked.set(shard, {
      lookups: sum.lookups + load.lookups,
      unsubscribes: sum.unsubscribes + load.unsubscribes,
      now: sum.now + load.now,
      entries: sum.entries + entries,
      bytes: sum.bytes + bytes,
    });
  }
  return asked;
}

/** A store's measurement is a mean over some time, so it still includes a copy this long after the copy has ended. */
const SETTLED_MS = 120_000;

/** Shards that are the source or target of a move, or were until a short while ago (coefficients.ts K2). */
function disturbedShards({ moves, now }: Turn): Set<ShardId> {
  const disturbed = new Set<ShardId>();
  for (const move of [...moves.open(), ...moves.closed()]) {
    if (move.state === 'SHARED' || (move.closedAt > 0 && now - move.closedAt > SETTLED_MS)) continue;
    disturbed.add(move.from).add(move.to);
  }
  return disturbed;
}
