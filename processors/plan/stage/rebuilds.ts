// Rebuilds: a shard that has lost its data is rebuilt without an operator. A new shard of its type replaces it, and each
// slice that it holds is moved there, with the subscription table as the source. Then the lost shard is given back.
//
//   R1. The slice with the highest load is rebuilt first, across all lost shards.
//   R2. A slice that is not served is worse than anything a cap prevents. So a rebuild ignores the caps on shards and
//       dollars (the new shard replaces an existing one), cool-downs and churn; what it uses still counts for later
//       actions. It obeys only the cap on concurrent moves (FORESHARD_MOVES_MAX), and precedes other moves.
//   R3. A shard that answers again before its rebuild has begun is in use as before. When the rebuild has begun it
//       continues, and until it has ended nobody asks the old shard, which has missed what the new one has. A shard
//       that belongs to another fleet has lost nothing: the settings are wrong, and an operator has to correct them.
//   R4. What fails is retried after a pause: the rebuild of a slice, the request for a shard, the release of the lost
//       one.
//   R5. A slice that the subscription table does not have completely is not rebuilt from it. It waits for its shard, as
//       it does without a table.
//   R6. An operator may request a rebuild; then it begins at once. With `force` a shard is rebuilt that is not known to
//       be lost, because it will not come back or its content is wrong; later signs of life do not end that rebuild.
//       The old shard is not read any more, so the table must have every slice on it completely.
//   R7. Readers are told when the rebuild is expected to be over, estimated from the share done and the time it took.

import type { ShardId, SliceKey } from '../../../schemas/ids.ts';
import type { RebuildRequest } from '../../../schemas/records.ts';
import { parseSlice, partitionOfSlice } from '../../../state/keys.ts';
import { peakOf } from '../demand/demand.ts';
import { brokersPast, canRebuild, isOpen, isSwitched, remembered, startMove } from './moves.ts';
import type { ShardRow, SliceRow } from './rows.ts';
import { loseShard, publishLoss, startRetire, startShard, takeBack } from './shards.ts';
import { snapshotOf } from './snapshot.ts';
import type { Turn } from './turn.ts';

type LostShard = ShardRow & { readonly lost: string };

/**
 * Pause before a retry (R4): longer than a successful rebuild usually takes, and long enough for a refusal to be read.
 */
const TRY_AGAIN_MS = 30_000;
const RELEASE_AGAIN_MS = 300_000;
/** Time between two checks: each reads every slice, and a rebuild takes seconds. */
const LOOK_MS = 1_000;

/** Called at each tick. */
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
    if (lost.back) {
      takeBack(turn, lost);
      continue;
    }
    expectEnd(turn, lost, slices, wallTime);
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
    lost.rebuilding ??= { since: wallTime, rows: rowsOf(slicesOn.get(lost.id)!) };
    turn.shards.put(lost);
    const reason = `${lost.id} has lost its data, so ${slice.slice} is rebuilt on ${target.id} from the subscription table.`;
    startMove(turn, slice, target.id, reason, {}, { rebuilds: true });
    turn.cell.ledger.push({ at: turn.now, keys: slice.entries, urgent: true, shards: 0, dollars: 0 });
    turn.keepCell();
  }
}

/** Handles an operator's request (R6). */
export function takeRebuildRequest(turn: Turn, { requestId, shardId: id, force }: RebuildRequest): void {
  if (remembered(turn, requestId)) return;
  const slices = [...turn.slices.all()].filter(({ shard }) => shard === id).map(({ slice }) => slice);
  const without = slices.filter((slice) => !canRebuild(turn, slice));
  const refusal = refusalOf(turn, id, force, slices, without);
  if (refusal !== undefined) {
    const [constraint, reason] = refusal;
    turn.decide({ kind: 'REFUSE', subject: id, reason, constraint, requestId });
    return;
  }
  const shard = turn.shards.get(id)!;
  shard.asked = true;
  delete shard.triedWallTime;
  if (shard.lost === undefined) {
    shard.forced = true;
    shard.silent = true;
    loseShard(turn, shard, 'a person has it rebuilt, whatever it holds');
  } else turn.shards.put(shard);
  for (const key of slices) {
    const { rebuiltWallTime: _, ...slice } = turn.slices.get(key)!;
    turn.slices.put(slice);
  }
  const rest =
    without.length === 0
      ? ''
      : ` ${without.length} more wait for the shard: the subscription table is not whole in ${partitionsOf(turn, without)}.`;
  const begun = slices.length - without.length;
  const reason = `${begun} ${begun === 1 ? 'slice of' : 'slices of'} ${id} ${begun === 1 ? 'is' : 'are'} rebuilt from the subscription table, as a person requested.${rest}`;
  turn.decide({ kind: 'KEEP', subject: id, reason, requestId });
}

/** Why a request is refused: a constraint's name, and a sentence. */
function refusalOf(
  turn: Turn,
  id: ShardId,
  force: boolean,
  slices: readonly SliceKey[],
  without: readonly SliceKey[],
): readonly [constraint: string, reason: string] | undefined {
  const { settings } = turn;
  const shard = turn.shards.get(id);
  if (shard === undefined) return ['shard-unknown', `There is no shard ${id}.`];
  if (!settings.rebuilds)
    return [
      'table-off',
      'There is no subscription table to rebuild from: it is switched off (FORESHARD_SUBSCRIPTION_TABLE).',
    ];
  if (settings.mode === 'observe') return ['observe', 'Nothing is carried out in mode observe (FORESHARD_MODE).'];
  if (shard.foreign)
    return ['foreign', `${id} has lost nothing: the store that is there is another fleet’s (${shard.lost}).`];
  if (shard.state !== 'READY') return ['not-ready', `${id} is ${shard.state}.`];
  const move = [...turn.moves.open()].find(({ rebuilds, from }) => rebuilds === true && from === id);
  if (move !== undefined) return ['rebuilding', `${id} is being rebuilt on ${move.to} already.`];
  if (shard.lost === undefined && !force)
    return [
      'not-lost',
      `${id} is not known to have lost anything. What it holds is compared with what was subscribed, and mended, by: foreshard check ${id} --repair. If it will not come back, or cannot be mended, have it rebuilt all the same with --force.`,
    ];
  if (slices.length === 0) return ['empty', `No slice is on ${id}: there is nothing to rebuild.`];
  const isHeldBack = shard.lost === undefined ? without.length > 0 : without.length === slices.length;
  if (!isHeldBack) return undefined;
  return [
    'table-not-whole',
    `The subscription table does not have everything that is on ${id}: it was not kept from the first event on in ${partitionsOf(turn, without)}.`,
  ];
}

function partitionsOf({ settings }: Turn, slices: readonly SliceKey[]): string {
  const partitions = new Set(slices.map((slice) => partitionOfSlice(parseSlice(slice)!, settings.partitions)));
  const [first, ...others] = [...partitions].sort((a, b) => a - b);
  return others.length === 0 ? `partition ${first}` : `partitions ${[first, ...others].join(', ')}`;
}

/** Whether the subscription table has the slice (R5). */
function isCovered(turn: Turn, lost: LostShard, { slice }: SliceRow): boolean {
  if (canRebuild(turn, slice)) return true;
  const reason = `${slice} is not rebuilt, and waits for ${lost.id} to come back: the subscription table was not kept from the first event on in its partition, and has not been filled since, so it does not have every subscription.`;
  turn.refuse(slice, 'table', reason);
  return false;
}

/** Whether the rebuild of a lost shard may begin (R3). */
function isDue(turn: Turn, shard: LostShard, wallTime: number): boolean {
  if (shard.state !== 'READY' || shard.foreign) return false;
  if (shard.lostWallTime === undefined) {
    shard.lostWallTime = wallTime;
    turn.shards.put(shard);
  }
  if (shard.silent && !isGivenUp(turn, shard, wallTime)) return false;
  if (shard.asked) return true; // R6.
  return shard.replacement !== undefined || wallTime - shard.lostWallTime >= turn.settings.rebuildAfterMs;
}

/** The brokers have read that it is not to be asked: nobody waits for it any more (shards.ts C6). */
function isGivenUp(turn: Turn, shard: LostShard, wallTime: number): boolean {
  const { silentOffset, silentWallTime } = shard;
  if (silentWallTime === undefined) {
    shard.silentWallTime = wallTime;
    turn.shards.put(shard);
    return false;
  }
  if (silentOffset === undefined) return false;
  if (brokersPast(turn, silentOffset, wallTime - silentWallTime, wallTime) === undefined) return false;
  delete shard.silent;
  publishLoss(turn, shard);
  return true;
}

/** R7. */
function expectEnd(turn: Turn, lost: LostShard, slices: readonly SliceRow[], wallTime: number): void {
  const { rebuilding, rebuiltAt } = lost;
  if (rebuilding === undefined) return;
  let left = rowsOf(slices);
  for (const { rebuilds, from, state, rowsCopied, rowsVerified } of turn.moves.open())
    if (rebuilds === true && from === lost.id && !isSwitched(state)) left -= (rowsCopied + rowsVerified) / 2;
  const done = rebuilding.rows - left;
  if (!(done > 0 && left >= 0)) return;
  const restMs = ((wallTime - rebuilding.since) * left) / done;
  const at = Math.round(wallTime + restMs);
  if (rebuiltAt !== undefined && Math.abs(at - rebuiltAt) < Math.max(TOLD_MS, restMs * TOLD_SHARE)) return;
  lost.rebuiltAt = at;
  publishLoss(turn, lost);
}

/** A slice without rows is work too. */
const rowsOf = (slices: readonly SliceRow[]): number => slices.reduce((sum, { entries }) => sum + entries + 1, 0);

/** An expectation that has changed by less is not published again. */
const TOLD_MS = 5_000;
const TOLD_SHARE = 0.25;

const isPast = (tried: number | undefined, wallTime: number, pauseMs = TRY_AGAIN_MS): boolean =>
  tried === undefined || Math.abs(wallTime - tried) >= pauseMs;

/** The shard that replaces the lost one; requested when there is none. */
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

/** Whether another move to this shard may begin (R2). */
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

/** Gives the lost shard back: no slice is on it any more. */
function giveBack(turn: Turn, lost: LostShard, wallTime: number): void {
  for (const move of turn.moves.open())
    if (isOpen(move.state) && (move.from === lost.id || move.to === lost.id)) return;
  if (!isPast(lost.releasedWallTime, wallTime, RELEASE_AGAIN_MS)) return;
  lost.releasedWallTime = wallTime;
  startRetire(turn, lost, `It has lost its data, and nothing lives on it any more: ${lost.lost}`, {});
}
