// Watch: brokers, the pointer table read back, and time passing.
//
//   W1. A broker is not counted as silent for a time in which the planner itself was away or the host's clock jumped.
//   W2. A record of the pointer table that is not the next one of ours is never taken for ours. The entries that it
//       concerns are published again, since a reader may have believed it, and compaction may have dropped ours in
//       favour of it. Where its epoch or its term is above ours, they are published in a new term, which readers put
//       above everything before it.

import type { Offset, SliceKey } from '../../../schemas/ids.ts';
import type { BrokerHeartbeat, PointerRecord } from '../../../schemas/records.ts';
import { hashSlice, parseSlice } from '../../../state/keys.ts';
import { keyOfBody } from '../../../state/pointer-table.ts';
import { shardsOfSlice } from './moves.ts';
import { pointerEntry, shardEntry, type Turn, type Unpublished } from './turn.ts';

export function takeHeartbeat(turn: Turn, beat: BrokerHeartbeat): void {
  const { brokers } = turn.state;
  const broker = brokers.get(beat.brokerId);
  if (broker === undefined) {
    if (brokers.count >= BROKERS_MAX) {
      turn.refuse(
        'brokers',
        'brokers-max',
        `More than ${BROKERS_MAX} brokers send heartbeats; moves do not wait for further ones.`,
      );
      return;
    }
    brokers.meet(beat.brokerId);
    turn.keepCell();
  }
  brokers.set(beat.brokerId, {
    kind: 'broker',
    // The reported offset is taken even when it is lower: a restarted broker has read nothing yet.
    pointerOffset: beat.pointerOffset,
    beats: (broker?.beats ?? 0) + 1,
    seenBeats: broker?.seenBeats ?? 0,
    seenWallTime: broker?.seenWallTime ?? 0,
  });
}

/** On each tick, before anything else that uses wall time (W1). */
export function watchClock(turn: Turn, wallTime: number): void {
  const { cell, moves, settings, shards } = turn;
  const { brokers } = turn.state;
  const sinceMs = wallTime - cell.wallTime;
  const wasAway = sinceMs < -CLOCK_SLACK_MS || sinceMs > settings.brokerSilentMs / 2;
  if (wasAway) {
    for (const [name, broker] of brokers.known()) brokers.set(name, { ...broker, seenWallTime: wallTime });
    for (const move of moves.open()) {
      const switchedWallTime = move.switchedWallTime === 0 ? 0 : wallTime;
      moves.put({ ...move, seenWallTime: wallTime, startedWallTime: 0, switchedWallTime });
    }
    for (const shard of shards.awaited()) shards.put({ ...shard, askedWallTime: wallTime });
  }
  if (wasAway || sinceMs > settings.brokerSilentMs / 8) {
    cell.wallTime = wallTime;
    turn.keepCell();
  }
}

/** On each tick: notes when each broker was last heard of, and forgets long silent ones. */
export function watchBrokers(turn: Turn, wallTime: number): void {
  const { settings } = turn;
  const { brokers } = turn.state;
  for (const [name, broker] of brokers.known()) {
    if (broker.beats !== broker.seenBeats) {
      // Written only a few times within the time that counts as silence; no source is retired sooner because of it.
      if (wallTime - broker.seenWallTime < settings.brokerSilentMs / 8) continue;
      brokers.set(name, { ...broker, seenBeats: broker.beats, seenWallTime: wallTime });
    } else if (wallTime - broker.seenWallTime > settings.brokerSilentMs * FORGET_FACTOR) {
      brokers.forget(name);
      turn.keepCell();
    }
  }
}

/** Our own changes are read back for their offsets; anything else in the table is foreign (W2). */
export function takePointer(turn: Turn, key: string, record: PointerRecord | null, offset: Offset): void {
  const { cell, moves, shards, slices } = turn;
  if (record === null) {
    if (isLive(turn, key)) repair(turn, `${key} was removed`, new Set([key]));
    return;
  }
  const { change, body } = record;
  const problem = pointerProblem(turn, key, record);
  if (problem !== undefined) {
    if (change.epoch > cell.epoch || change.term > (cell.term ?? 0)) turn.newTerm(change.term);
    repair(turn, problem, new Set([key, keyOfBody(body)]), body);
    return;
  }
  cell.read = { epoch: change.epoch, index: change.index, count: change.count };
  turn.keepCell();
  if (body.kind !== 'PointerEntry') {
    const shard = shards.get(body.shardId);
    if (shard?.silent && body.epoch === shard.epoch) shards.put({ ...shard, silentOffset: offset });
    return;
  }
  const busyWith = slices.get(body.slice)?.busyWith ?? '';
  const move = moves.get(busyWith);
  if (move === undefined || move.switchEpoch !== change.epoch) return;
  move.switchOffset = offset;
  moves.put(move);
}

const BROKERS_MAX = 10_000;
const CLOCK_SLACK_MS = 1_000;
/**
 * A broker that has been silent for this many times `brokerSilentMs` is forgotten, and counts as new if it comes back.
 */
const FORGET_FACTOR = 20;

/** Whether a key of the pointer table is that of a slice or shard of ours. */
const isLive = ({ shards, slices }: Turn, key: string): boolean =>
  (key.startsWith('p:') ? slices : shards).has(key.slice(2));

/** Reports that somebody else has written to the table, and publishes the true entries of these keys (W2). */
function repair(turn: Turn, problem: string, keys: ReadonlySet<string>, body?: PointerRecord['body']): void {
  turn.cell.ignored.pointers++;
  turn.keepCell();
  turn.refuse('pointer-table', 'foreign-pointer', `A record of the pointer table was ignored: ${problem}.`);
  const entries = [...keys].flatMap((key) => entriesOf(turn, key, body));
  if (!turn.cell.started || entries.length === 0) return;
  const at = turn.publish(entries);
  for (const key of keys) {
    const slice = key.startsWith('p:') ? turn.slices.get(key.slice(2)) : undefined;
    const shard = key.startsWith('p:') ? undefined : turn.shards.get(key.slice(2));
    if (slice !== undefined) {
      slice.epoch = at;
      turn.slices.put(slice);
    }
    if (shard !== undefined && shard.epoch > 0) {
      shard.epoch = at;
      turn.shards.put(shard);
    }
  }
}

/**
 * The true entry of a key. A key that is not ours is published as GONE; one that no reader could have believed is left
 * alone.
 */
function entriesOf(turn: Turn, key: string, body: PointerRecord['body'] | undefined): Unpublished[] {
  if (key.startsWith('s:')) {
    const shard = turn.shards.get(key.slice(2));
    if (shard !== undefined)
      return shard.epoch === 0 ? [] : [shardEntry(shard, shard.state === 'RETIRING' ? 'DRAINING' : 'READY')];
    return body?.kind === 'ShardEntry' && body.shardId === key.slice(2) ? [{ ...body, state: 'GONE' }] : [];
  }
  const slice = key.slice(2) as SliceKey;
  const parsed = key.startsWith('p:') ? parseSlice(slice) : undefined;
  if (parsed === undefined) return [];
  const row = turn.slices.get(slice);
  if (row === undefined) return [pointerEntry(slice, 'GONE', [])];
  const shards = shardsOfSlice(turn, row);
  const entry = pointerEntry(slice, shards.length > 1 ? 'REPLICAS' : 'SINGLE', shards);
  if (parsed.kind !== 'hash') return [entry];
  // A reader may still hold the slices that this one was made of, or was part of, since it has missed the change
  // between.
  const { partition, bits } = parsed;
  const around = Array.from(bits, (_, length) => hashSlice(partition, bits.slice(0, length)));
  const within = [hashSlice(partition, `${bits}0`), hashSlice(partition, `${bits}1`)];
  return [entry, ...[...around, ...within].map((gone) => pointerEntry(gone, 'GONE', []))];
}

function pointerProblem(turn: Turn, key: string, { change, body }: PointerRecord): string | undefined {
  const { read, epoch: published, term = 0 } = turn.cell;
  if (key !== keyOfBody(body))
    return `its key is ${key.slice(0, 64)}, but its value is about ${keyOfBody(body).slice(0, 64)}`;
  if (change.term > term) return `its term ${change.term} is above this planner's term ${term}`;
  if (change.epoch > published) return `its epoch ${change.epoch} is above ${published}, the last that was published`;
  const goesOn = change.epoch === read.epoch && change.index === read.index + 1 && change.count === read.count;
  const begins = change.epoch > read.epoch && change.index === 0 && change.index < change.count;
  if (!goesOn && !begins)
    return `epoch ${change.epoch}, entry ${change.index} of ${change.count}, does not follow epoch ${read.epoch}, entry ${read.index} of ${read.count}`;
  if (body.epoch !== change.epoch) return `an entry of epoch ${body.epoch} is in the change of epoch ${change.epoch}`;
  if (body.kind === 'ShardEntry') {
    const shard = turn.shards.get(body.shardId);
    if (shard === undefined || body.epoch <= shard.epoch || shard.state !== 'READY') return undefined;
    return `${shard.id} was last published in epoch ${shard.epoch}`;
  }
  const slice = turn.slices.get(body.slice);
  if (slice === undefined) {
    const isUnknown = body.mode !== 'GONE' && body.epoch === published;
    return isUnknown ? `there is no slice ${body.slice.slice(0, 64)}` : undefined;
  }
  if (body.epoch > slice.epoch) return `${slice.slice} was last published in epoch ${slice.epoch}`;
  if (body.epoch < slice.epoch) return undefined; // Replaced in the meantime.
  const shards = shardsOfSlice(turn, slice).join(' and ');
  return body.shards.join(' and ') === shards
    ? undefined
    : `${body.slice} is on ${shards}, not on ${body.shards.join(' and ')}`;
}
