// Rebuilds: a shard that has lost its data comes back without a person. A new shard of its type takes its place, and each
// slice that it holds is moved there, with the table of subscriptions as the source. Then the lost one is given back.
//
//   R1. The slice with the highest load comes first, of all lost shards together.
//   R2. A slice that is not served is the worst that there is: nothing that can last holds a rebuild back, neither the caps on
//       shards and dollars, as the new shard takes the place of one, nor cool-downs and churn. What it takes still counts for
//       everything that comes after. It waits for the caps on moves alone (FORESHARD_MOVES_MAX), and goes before other moves.
//   R3. A shard that is heard of again before its rebuild has begun is as it was. Of one whose rebuild has begun, what has
//       been begun goes on.
//       A shard that is another fleet's has lost nothing: the settings are wrong, and a person puts them right.
//   R4. What fails is tried again after a pause: the rebuild of a slice, the request for a shard, the release of the lost one.
//   R5. What the table of subscriptions does not have whole is not rebuilt from it. It waits for its shard, as where there is
//       no table.

import type { ShardId } from '../../../schemas/ids.ts';
import { peakOf } from '../demand/demand.ts';
import { canRebuild, isOpen, startMove } from './moves.ts';
import type { ShardRow, SliceRow } from './rows.ts';
import { startRetire, startShard } from './shards.ts';
import { snapshotOf } from './snapshot.ts';
import type { Turn } from './turn.ts';

type LostShard = ShardRow & { readonly lost: string };

/** R4. Longer than a rebuild that works usually takes, and than a refusal needs to be read. */
const TRY_AGAIN_MS = 30_000;
const RELEASE_AGAIN_MS = 300_000;
/** Looking at every slice costs something; a rebuild takes seconds. */
const LOOK_MS = 1_000;

/** On each tick. */
export function rebuildShards(turn: Turn, wallTime: number): void {
  const { settings, shards, state } = turn;
  if (!settings.rebuilds) return;
  const due = [...shards.lost()].filter((shard) => isDue(turn, shard, wallTime));
  if (due.length === 0 || Math.abs(wallTime - state.rebuildsSeenAt) < LOOK_MS) return;
  state.rebuildsSeenAt = wallTime;
  const slicesOn = new Map<ShardId, SliceRow[]>(due.map(({ id }) => [id, []]));
  for (const slice of turn.slices.all()) slicesOn.get(slice.shard)?.push(slice);
  const waiting: { readonly slice: SliceRow; readonly lost: LostShard; readonly target: ShardRow }[] = [];
  for (const lost of due) {
    const slices = slicesOn.get(lost.id)!;
    if (settings.mode === 'observe') {
      turn.refuse(lost.id, 'observe', `Not carried out in mode observe: rebuild ${lost.id}, which has lost its data.`);
      continue;
    }
    if (slices.length === 0) giveBack(turn, lost, wallTime);
    const free = slices
      .filter((slice) => slice.busyWith === '' && isPast(slice.rebuiltWallTime, wallTime))
      .filter((slice) => isCovered(turn, lost, slice));
    if (free.length === 0) continue;
    const target = replacementOf(turn, lost, wallTime);
    if (target?.state === 'READY') waiting.push(...free.map((slice) => ({ slice, lost, target })));
  }
  if (waiting.length === 0) return;
  const loads = new Map<string, number>();
  for (const { slice, load } of snapshotOf(state, settings).snapshot.slices) loads.set(slice, peakOf(load).perSecond);
  const urgency = ({ slice }: { readonly slice: SliceRow }): number => loads.get(slice.slice) ?? 0;
  waiting.sort((a, b) => urgency(b) - urgency(a) || b.slice.entries - a.slice.entries); // R1
  for (const { slice, lost, target } of waiting) {
    if (!mayMove(turn, target.id)) continue;
    slice.rebuiltWallTime = wallTime;
    const reason = `${lost.id} has lost its data, so ${slice.slice} is rebuilt on ${target.id} from the table of subscriptions.`;
    startMove(turn, slice, target.id, reason, {}, { rebuilds: true });
    turn.cell.ledger.push({ at: turn.now, keys: slice.entries, urgent: true, shards: 0, dollars: 0 });
    turn.keepCell();
  }
}

/** R5. */
function isCovered(turn: Turn, lost: LostShard, { slice }: SliceRow): boolean {
  if (canRebuild(turn, slice)) return true;
  const reason = `${slice} is not rebuilt, and waits for ${lost.id} to come back: the table of subscriptions was not kept from the first event on in its partition, so it does not have every subscription.`;
  turn.refuse(slice, 'table', reason);
  return false;
}

/** R3. */
function isDue(turn: Turn, shard: LostShard, wallTime: number): boolean {
  if (shard.state !== 'READY' || shard.foreign) return false;
  if (shard.lostWallTime === undefined) {
    shard.lostWallTime = wallTime;
    turn.shards.put(shard);
  }
  return shard.replacement !== undefined || wallTime - shard.lostWallTime >= turn.settings.rebuildAfterMs;
}

const isPast = (tried: number | undefined, wallTime: number, pauseMs = TRY_AGAIN_MS): boolean =>
  tried === undefined || Math.abs(wallTime - tried) >= pauseMs;

/** The shard that takes the place of the lost one; asked for when there is none. */
function replacementOf(turn: Turn, lost: LostShard, wallTime: number): ShardRow | undefined {
  const { shards, settings } = turn;
  const known = lost.replacement === undefined ? undefined : shards.get(lost.replacement);
  if (known !== undefined && known.lost === undefined && known.state !== 'RETIRING') return known;
  if (!isPast(lost.triedWallTime, wallTime)) return undefined;
  const { catalog, genesis } = settings;
  const firstType = lost.storeKind === 'TRIE' ? genesis.trieType : genesis.concreteType;
  const type = catalog.get(lost.datastoreType) ?? catalog.get(firstType)!;
  const reason = `${lost.id} has lost its data, and a ${type.name} takes its place. The caps on shards and dollars do not hold it back (${lost.lost}).`;
  lost.replacement = startShard(turn, lost.storeKind, type.name, reason, {});
  lost.triedWallTime = wallTime;
  shards.put(lost);
  turn.cell.ledger.push({ at: turn.now, keys: 0, urgent: true, shards: 1, dollars: type.dollarsPerProvisioning });
  turn.keepCell();
  return undefined;
}

/** R2. */
function mayMove({ moves, settings }: Turn, target: ShardId): boolean {
  let open = 0;
  let toTarget = 0;
  for (const move of moves.open()) {
    if (move.state === 'SHARED') continue;
    open++;
    if (move.to === target || move.from === target) toTarget++;
  }
  return open < settings.movesMax && toTarget < settings.movesPerShardMax;
}

/** Nothing lives on it any more. */
function giveBack(turn: Turn, lost: LostShard, wallTime: number): void {
  for (const move of turn.moves.open())
    if (isOpen(move.state) && (move.from === lost.id || move.to === lost.id)) return;
  if (!isPast(lost.releasedWallTime, wallTime, RELEASE_AGAIN_MS)) return;
  lost.releasedWallTime = wallTime;
  startRetire(turn, lost, `It has lost its data, and nothing lives on it any more: ${lost.lost}`, {});
}
