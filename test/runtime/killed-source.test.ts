// A move whose source is a process that is killed after the switch, and never comes back: two real shard servers.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { effectsOver } from '../../datastores/perform.ts';
import { APPLY_DEFAULTS, carryOut, partitionStates } from '../../processors/apply/apply.ts';
import { remoteProvisioner } from '../../provisioners/remote/remote-provisioner.ts';
import { epoch, eventTime, moveId, type ShardId, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Command, MoveProgress, Progress } from '../../schemas/records.ts';
import { defineTopology, stage } from '../../topology/graph.ts';
import {
  clock,
  commands,
  effects,
  outcomes,
  progress,
  subscriptions,
  subscriptionTable,
  tallies,
} from '../../topology/topics.ts';
import { drive } from '../support/drive.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const FROM = shardId('shard-0001');
const SLICE = sliceKey('c/0/');
const genesis = { concreteType: 'kv', trieType: 'trie' };
const SIZE = {
  ...{ operationsPerSecond: 10_000, entriesMax: 1_000_000, memoryBytes: 1e9, dollarsPerHour: 1 },
  ...{ dollarsPerProvisioning: 0, dollarsPerGibMoved: 0, provisioningMs: 0 },
};
const CATALOG = {
  types: [
    { name: 'kv', kind: 'KEY_VALUE', ...SIZE },
    { name: 'trie', kind: 'TRIE', ...SIZE },
  ],
};
const topology = defineTopology(
  [
    stage('apply', {
      reads: [subscriptions, commands, outcomes, clock],
      keeps: partitionStates,
      emits: [progress, effects, tallies, subscriptionTable],
      step: carryOut({ ...APPLY_DEFAULTS, partitions: 1, incarnation: 0, genesis }),
    }),
  ],
  { inputs: [subscriptions, commands] },
);

const servers: ChildProcess[] = [];
let folder: TempFolder;
afterEach(async () => {
  for (const server of servers.splice(0)) server.kill('SIGKILL');
  await folder.remove();
});

async function serve(name: string): Promise<{ readonly address: string; readonly process: ChildProcess }> {
  const env = {
    ...process.env,
    FORESHARD_CATALOG_PATH: join(folder.path, 'catalog.json'),
    SHARD_FOLDER: join(folder.path, name),
    SHARD_PORT: '0',
  };
  const server = spawn(process.execPath, ['--import', 'tsx', 'test/support/shard-server.ts'], { env });
  servers.push(server);
  const [line] = (await once(server.stdout!, 'data')) as [Buffer];
  return { address: line.toString('utf8').trim().replace('ready ', ''), process: server };
}

test('a source that is killed after the switch holds nothing, and the slice is served whole by its target', async () => {
  folder = await tempFolder();
  await writeFile(join(folder.path, 'catalog.json'), JSON.stringify(CATALOG));
  const both = [await serve('a'), await serve('b')];
  const shards = remoteProvisioner({ addresses: both.map(({ address }) => address), token: undefined, partitions: 1 });
  const performs = effectsOver(shards, {
    rowsPerWrite: 100,
    partitions: 1,
    kindOf: (type) => (type === genesis.trieType ? 'TRIE' : 'KEY_VALUE'),
  });
  const run = await drive(topology, { effects: performs, start: Date.now() });
  let ids = 0;
  const command = async (at: number, body: Command['body']): Promise<void> => {
    const id = `command-${ids++}`;
    const value = { id, epoch: epoch(at), reason: '', deadline: eventTime(0), term: 1, planner: 'p', body };
    await run.send(commands, id, value);
  };
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds; i++) await run.advance(1_000);
  };
  const subscribe = (clientId: string): Promise<void> =>
    run.send(subscriptions, 'alarm', {
      ...{ action: 'SUBSCRIBE', topicFilter: 'alarm', clientId, brokerId: 'b', qos: 1, timestamp: eventTime(1) },
    });
  const homeOf = async (shard: ShardId): Promise<string> =>
    (await shards.ensure(shard, genesis.concreteType, false)).address;

  await pass(1);
  const source = await homeOf(FROM);
  let to = shardId('shard-0003');
  for (let i = 4; (await homeOf(to)) === source; i++) to = shardId(`shard-${String(i).padStart(4, '0')}`);
  await command(1, { kind: 'AllocateShard', shardId: to, datastoreType: genesis.concreteType });
  for (let i = 0; i < 6; i++) await subscribe(`client-${i}`);
  const move = { moveId: moveId('m'), slice: SLICE } as const;
  await command(1, { kind: 'MoveSlice', ...move, from: FROM, to, rowsPerSecond: 0 });
  await pass(6);
  await command(5, { kind: 'SteerMove', ...move, action: 'SWITCH', rowsPerSecond: 0 });
  both.find(({ address }) => address === source)!.process.kill('SIGKILL');
  await subscribe('client-6');
  await command(5, { kind: 'SteerMove', ...move, action: 'RETIRE', rowsPerSecond: 0 });
  await pass(20);
  const told = run.read(progress).map(({ value }) => (value as Progress).body);
  const last = told.filter((body): body is MoveProgress => body.kind === 'MoveProgress').at(-1);
  expect(last).toMatchObject({ state: 'RETIRED', reason: expect.stringContaining(`no longer waits for ${FROM}`) });
  const [answer] = await (await shards.store(to)).lookup(['alarm'], epoch(5));
  expect(answer).toMatchObject({ kind: 'found', subscribers: { length: 7 } });
  await run.stop();
});
