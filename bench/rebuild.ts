// Rebuild: a shard of a million rows has lost its folder and is filled again from the subscription table, on this
// machine's disk. Measured from the command until the last row was compared equal: what follows is only a pointer
// change.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLevelKv } from '../datastores/level-kv/level-kv.ts';
import { effectsOver } from '../datastores/perform.ts';
import { openTrieStore } from '../datastores/trie/trie-store.ts';
import { embeddedLog } from '../log/embedded/embedded-log.ts';
import { APPLY_DEFAULTS, carryOut, partitionStates, subscriptionsOnDisk } from '../processors/apply/apply.ts';
import type { Move } from '../processors/apply/move.ts';
import { embeddedProvisioner } from '../provisioners/embedded/embedded-provisioner.ts';
import { systemClock } from '../runtime/edge/system-clock.ts';
import { inlineFitter } from '../runtime/inline-fitter.ts';
import { type Running, run } from '../runtime/runner.ts';
import { silentLogger, silentMeter } from '../runtime/telemetry.ts';
import { embeddedCodec } from '../schemas/avro-codec.ts';
import { epoch, eventTime, moveId, shardId } from '../schemas/ids.ts';
import type { Command, StoreKind } from '../schemas/records.ts';
import { levelFolder } from '../state/edge/level-store.ts';
import { FIRST_CONCRETE_SHARD, FIRST_TRIE_SHARD } from '../state/genesis.ts';
import { groupSlice, hashSlice, keySpaceOf } from '../state/keys.ts';
import { defineTopology, stage } from '../topology/graph.ts';
import {
  clock,
  commands,
  effects,
  outcomes,
  progress,
  subscriptions,
  subscriptionTable,
  tallies,
  wildcards,
} from '../topology/topics.ts';
import { runnerSettings } from './ingest.ts';
import type { Measurement } from './measurement.ts';

const ROWS = 1_000_000;
const BAR_SECONDS = 30;
const BATCH = 10_000;
const MOVE = moveId('rebuild');
const TARGET = shardId('shard-0003');

const SETTINGS = {
  ...APPLY_DEFAULTS,
  partitions: 1,
  incarnation: 0,
  genesis: { concreteType: 'kv', trieType: 'trie' },
};
const applyAlone = defineTopology(
  [
    stage('apply', {
      reads: [subscriptions, wildcards, commands, outcomes, clock],
      keeps: partitionStates,
      onDisk: subscriptionsOnDisk(SETTINGS),
      emits: [progress, effects, tallies, subscriptionTable],
      step: carryOut(SETTINGS),
    }),
  ],
  { inputs: [subscriptions, wildcards, commands] },
);

export async function rebuild(): Promise<Measurement[]> {
  return [await measured('KEY_VALUE'), await measured('TRIE')];
}

async function measured(kind: StoreKind): Promise<Measurement> {
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  const log = await embeddedLog({ dir: join(folder, 'log'), app: 'rebuild', partitions: 1 });
  const codec = embeddedCodec();
  const types = new Map(
    (['KEY_VALUE', 'TRIE'] as const).map((each) => [
      each === 'TRIE' ? 'trie' : 'kv',
      { kind: each, provisioningMs: 0 },
    ]),
  );
  const shardsOf = () =>
    embeddedProvisioner({
      ...{ folder: join(folder, 'shards'), types, keySpace: keySpaceOf(1), now: Date.now },
      open: {
        KEY_VALUE: (path, opening) => openLevelKv(path, { partitions: 1, opening }),
        TRIE: (path, opening) => openTrieStore(path, { partitions: 1, opening }),
      },
    });
  let shards = shardsOf();
  const start = (): Promise<Running> =>
    run(
      applyAlone,
      {
        ...{ log, codec, clock: systemClock(), fitter: inlineFitter, logger: silentLogger, meter: silentMeter },
        stores: levelFolder(join(folder, 'state')),
        effects: effectsOver(shards, {
          ...{ rowsPerWrite: 5_000, partitions: 1 },
          kindOf: (type) => types.get(type)!.kind,
        }),
      },
      runnerSettings('rebuild', 1),
    );
  const lost = kind === 'TRIE' ? FIRST_TRIE_SHARD : FIRST_CONCRETE_SHARD;
  const slice = kind === 'TRIE' ? groupSlice(0) : hashSlice(0);
  const command = (body: Command['body']) => {
    const id = body.kind;
    const fields = { id, epoch: epoch(1), reason: '', deadline: eventTime(0), term: 1, planner: 'bench' };
    const value = codec.encode('Command', { ...fields, body });
    return log.append([{ topic: commands.name, partition: 0, key: id, value }]);
  };
  try {
    let running = await start();
    for (let at = 0; at < ROWS; at += BATCH)
      await log.append(Array.from({ length: BATCH }, (_, index) => recordOf(kind, at + index)));
    await log.whenIdle();
    await running.stop(60_000);
    await shards.close();
    await rm(join(folder, 'shards', lost), { recursive: true });
    shards = shardsOf();
    running = await start();
    await command({ kind: 'AllocateShard', shardId: TARGET, datastoreType: kind === 'TRIE' ? 'trie' : 'kv' });
    const began = performance.now();
    const move = { kind: 'MoveSlice', moveId: MOVE, slice, from: lost, to: TARGET, rowsPerSecond: 0 } as const;
    await command({ ...move, source: 'TABLE' });
    const row = await settled(running);
    const seconds = (performance.now() - began) / 1_000;
    await running.stop(60_000);
    if (row.rowsCopied !== ROWS || row.rowsVerified !== ROWS) throw new Error(`${row.rowsCopied} rows: ${row.reason}`);
    return {
      name: `rebuild of a ${kind === 'TRIE' ? 'trie' : 'key-value'} shard of ${ROWS.toLocaleString('en')} rows`,
      ...{ figure: seconds, unit: 's', peer: '', peerFigure: null, ratio: null },
      ...{ bar: `at most ${BAR_SECONDS} s`, met: seconds <= BAR_SECONDS },
    };
  } finally {
    await shards.close();
    await log.close();
    await rm(folder, { recursive: true, force: true });
  }

  function recordOf(of: StoreKind, number: number) {
    const topicFilter = `site-${number % 97}/device-${number >> 2}/${of === 'TRIE' ? '+' : 'temperature'}`;
    const event = {
      ...{ action: 'SUBSCRIBE', topicFilter, clientId: `client-${number}`, brokerId: 'broker-1', qos: 1 },
      timestamp: eventTime(Date.now()),
    } as const;
    if (of === 'KEY_VALUE')
      return {
        ...{ topic: subscriptions.name, partition: 0, key: topicFilter },
        value: codec.encode('SubscriptionEvent', event),
      };
    const batch = { firstLevel: `site-${number % 97}`, events: [{ ...event, offset: number, incarnation: 0 }] };
    return {
      ...{ topic: wildcards.name, partition: 0, key: batch.firstLevel },
      value: codec.encode('WildcardEvents', batch),
    };
  }
}

/** The move, once every row has been compared; throws when the move is given up. */
async function settled(running: Running): Promise<Move> {
  for (;;) {
    const found = running.read('work', partitionStates.name, 0, `move/${MOVE}`);
    const move = found.kind === 'here' ? (found.row as Move | undefined) : undefined;
    if (move?.phase === 'verified') return move;
    if (move?.phase === 'aborted') throw new Error(move.reason);
    await new Promise((done) => setTimeout(done, 20));
  }
}
