// Watch: brokers, the pointer table read back, and time passing.
//
//   W1. Nobody is called silent for a time in which the planner itself was away or the host's clock jumped.
//   W2. A record of the pointer table that is not the next one of ours is never taken for ours; if its epoch is above
//       ours, our next change is put above it, so that readers who took it in are set right.

import type { Offset } from '../../schemas/ids.ts';
import { epoch } from '../../schemas/ids.ts';
import type { BrokerHeartbeat, PointerRecord } from '../../schemas/records.ts';
import { shardsOfSlice } from './moves.ts';
import { brokerKey, moveKey, rowOf, shardKey, sliceRowKey } from './rows.ts';
import type { Turn } from './turn.ts';

export function takeHeartbeat(turn: Turn, beat: BrokerHeartbeat): void {
  const key = brokerKey(beat.brokerId);
  const broker = rowOf(turn.rows, 'broker', key);
  if (broker === undefined) {
    if (turn.cell.brokers.length >= BROKERS_MAX) {
      turn.refuse(
        'brokers',
        'brokers-max',
        `More than ${BROKERS_MAX} brokers send heartbeats; new ones are not waited for.`,
      );
      return;
    }
    turn.cell.brokers.push(beat.brokerId);
    turn.keepCell();
  }
  turn.rows.set(key, {
    kind: 'broker',
    // As it says, lower ones included: a broker that starts again has read nothing yet.
    pointerOffset: beat.pointerOffset,
    beats: (broker?.beats ?? 0) + 1,
    seenBeats: broker?.seenBeats ?? 0,
    seenWallTime: broker?.seenWallTime ?? 0,
  });
}

/** On each tick, before anything else that looks at wall time (W1). */
export function watchClock(turn: Turn, wallTime: number): void {
  const { cell, rows, settings } = turn;
  const sinceMs = wallTime - cell.wallTime;
  const wasAway = sinceMs < -CLOCK_SLACK_MS || sinceMs > settings.brokerSilentMs / 2;
  if (wasAway) {
    for (const name of cell.brokers) {
      const broker = rowOf(rows, 'broker', brokerKey(name))!;
      rows.set(brokerKey(name), { ...broker, seenWallTime: wallTime });
    }
    for (const id of cell.openMoves) {
      const move = rowOf(rows, 'move', moveKey(id))!;
      const switchedWallTime = move.switchedWallTime === 0 ? 0 : wallTime;
      rows.set(moveKey(id), { ...move, seenWallTime: wallTime, startedWallTime: 0, switchedWallTime });
    }
    for (const id of cell.openShards) {
      const shard = rowOf(rows, 'shard', shardKey(id))!;
      rows.set(shardKey(id), { ...shard, askedWallTime: wallTime });
    }
  }
  if (wasAway || sinceMs > settings.brokerSilentMs / 8) {
    cell.wallTime = wallTime;
    turn.keepCell();
  }
}

/** On each tick: when each broker was last heard of; long silent ones are forgotten. */
export function watchBrokers(turn: Turn, wallTime: number): void {
  const { cell, rows, settings } = turn;
  for (const name of cell.brokers) {
    const broker = rowOf(rows, 'broker', brokerKey(name))!;
    if (broker.beats !== broker.seenBeats) {
      // Written at most a few times in the time that counts as silence; a move's source is retired no sooner for it.
      if (wallTime - broker.seenWallTime < settings.brokerSilentMs / 8) continue;
      rows.set(brokerKey(name), { ...broker, seenBeats: broker.beats, seenWallTime: wallTime });
    } else if (wallTime - broker.seenWallTime > settings.brokerSilentMs * FORGET_FACTOR) {
      rows.delete(brokerKey(name));
      cell.brokers = cell.brokers.filter((other) => other !== name);
      turn.keepCell();
    }
  }
}

/** Our own changes read back, for their offsets; anything else in the table is foreign (W2). */
export function takePointer(turn: Turn, record: PointerRecord, offset: Offset): void {
  const { cell, rows } = turn;
  const { change, body } = record;
  const problem = pointerProblem(turn, record);
  if (problem !== undefined) {
    cell.ignored.pointers++;
    if (change.epoch > cell.epoch && change.epoch <= cell.epoch + EPOCH_SKIP_MAX) cell.epoch = epoch(change.epoch);
    turn.keepCell();
    turn.refuse('pointer-table', 'foreign-pointer', `A record of the pointer table was ignored: ${problem}.`);
    return;
  }
  cell.read = { epoch: change.epoch, index: change.index, count: change.count };
  turn.keepCell();
  if (body.kind !== 'PointerEntry') return;
  const busyWith = rowOf(rows, 'slice', sliceRowKey(body.slice))?.busyWith ?? '';
  const move = rowOf(rows, 'move', moveKey(busyWith));
  if (move === undefined || move.switchEpoch !== change.epoch) return;
  move.switchOffset = offset;
  rows.set(moveKey(move.id), move);
}

const BROKERS_MAX = 10_000;
const CLOCK_SLACK_MS = 1_000;
/** A broker silent for so many times `brokerSilentMs` is gone for good, or comes back as a new one. */
const FORGET_FACTOR = 20;
/** A foreign epoch further above ours is not followed: epochs end at 2^53, and one forged record must not use them up. */
const EPOCH_SKIP_MAX = 1e9;

function pointerProblem(turn: Turn, { change, body }: PointerRecord): string | undefined {
  const { read, epoch: published } = turn.cell;
  if (change.epoch > published) return `epoch ${change.epoch} is above ${published}, the last that was published`;
  const goesOn = change.epoch === read.epoch && change.index === read.index + 1 && change.count === read.count;
  const begins = change.epoch > read.epoch && change.index === 0 && change.index < change.count;
  if (!goesOn && !begins)
    return `epoch ${change.epoch}, entry ${change.index} of ${change.count}, does not follow epoch ${read.epoch}, entry ${read.index} of ${read.count}`;
  if (body.epoch !== change.epoch) return `an entry of epoch ${body.epoch} is in the change of epoch ${change.epoch}`;
  if (body.kind === 'ShardEntry') return undefined;
  const slice = rowOf(turn.rows, 'slice', sliceRowKey(body.slice));
  if (slice?.epoch !== body.epoch) return undefined;
  const shards = shardsOfSlice(turn.rows, slice).join(' and ');
  return body.shards.join(' and ') === shards
    ? undefined
    : `${body.slice} is on ${shards}, not on ${body.shards.join(' and ')}`;
}
