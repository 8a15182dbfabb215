// A shard server that loses its disk under the apply stage, or serves a fleet that it was not made for: real stores, and
// restarts of either side.

import { cp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { effectsOver } from '../../../datastores/perform.ts';
import { type ShardServer, startShardServer } from '../../../datastores/protocol/shard-server.ts';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { APPLY_DEFAULTS, carryOut, partitionStates, type Row } from '../../../processors/apply/apply.ts';
import { remoteProvisioner } from '../../../provisioners/remote/remote-provisioner.ts';
import { epoch, eventTime, moveId, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Command, Progress } from '../../../schemas/records.ts';
import type { Effect } from '../../../state/effects.ts';
import { partitionOf } from '../../../state/keys.ts';
import { localShards } from '../../support/shards.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';

const PARTITIONS = 4;
const settings = {
  ...APPLY_DEFAULTS,
  partitions: PARTITIONS,
  incarnation: 0,
  genesis: { concreteType: 'kv', trieType: 'trie' },
};
const [FIRST, SECOND] = [shardId('shard-0001'), shardId('shard-0003')];

let folder: TempFolder;
let host: Provisioner;
let server: ShardServer;
beforeEach(async () => {
  folder = await tempFolder();
  await serve(0);
});
afterEach(async () => {
  await server.close();
  await host.close();
  await folder.remove();
});

/** A machine whose own setting of partitions is another one. */
async function serve(port: number): Promise<void> {
  host = localShards(folder.path, 2 * PARTITIONS);
  server = await startShardServer({ provisioner: host, token: undefined, host: '127.0.0.1', port });
}

async function serveAgain(meanwhile: () => Promise<unknown>): Promise<void> {
  const port = Number(new URL(server.address).port);
  await server.close();
  await host.close();
  await meanwhile();
  await serve(port);
}

const client = (): Provisioner =>
  remoteProvisioner({ addresses: [server.address], token: undefined, partitions: PARTITIONS });

/** One task with its rows, and what it says. */
class Task {
  readonly partition: number;
  readonly told: Progress['body'][] = [];
  readonly heard: string[] = [];
  rows = new Map<string, Row>();
  #step = carryOut(settings);
  #effects = this.#client();
  #offset = 0;
  #wallTime = 1_000_000;

  constructor(partition: number) {
    this.partition = partition;
  }

  /** Steps the input and performs what comes of it; the rows are kept as in a commit, or not at all. */
  async feed(input: object): Promise<void> {
    const rows = new Map([...this.rows].map(([key, row]) => [key, row]));
    let pending: Effect[] = [];
    const told: Progress['body'][] = [];
    const take = (each: object): void => {
      for (const { topic, value } of this.#step(rows, each as never))
        if (topic === 'effects') pending.push(value as Effect);
        else if (topic === 'progress') told.push((value as Progress).body);
    };
    take({ partition: this.partition, offset: this.#offset, key: '', ...input });
    while (pending.length > 0) {
      const some = pending;
      pending = [];
      for (const value of await this.#effects.perform(some))
        take({ topic: 'outcomes', partition: this.partition, offset: 0, key: '', value });
    }
    this.#offset += 1;
    this.rows = rows;
    this.told.push(...told);
  }

  subscribe(topicFilter: string, clientId: string): Promise<void> {
    const value = { action: 'SUBSCRIBE', topicFilter, clientId, brokerId: 'b', qos: 1, timestamp: eventTime(5) };
    return this.feed({ topic: 'subscriptions', value });
  }

  async tick(times = 1): Promise<void> {
    for (let i = 0; i < times; i++) {
      this.#wallTime += 1_000;
      await this.feed({ topic: 'clock', value: { eventTime: 5, wallTime: this.#wallTime } });
    }
  }

  command(id: string, at: number, body: Command['body']): Promise<void> {
    const value = { id, epoch: epoch(at), reason: '', deadline: eventTime(0), term: 1, planner: 'foreshard', body };
    return this.feed({ topic: 'commands', value });
  }

  restart(): void {
    this.rows = new Map([...this.rows].map(([key, row]) => [key, partitionStates.decode(partitionStates.encode(row))]));
    this.#step = carryOut(settings);
    this.#effects = this.#client();
  }

  #client() {
    return effectsOver(client(), {
      rowsPerWrite: 1_000,
      partitions: PARTITIONS,
      kindOf: (type) => (type === 'trie' ? 'TRIE' : 'KEY_VALUE'),
      watch: {
        lost: (shard) => this.heard.push(`${shard} lost`),
        found: (shard, afterStart) => afterStart && this.heard.push(`${shard} found`),
      },
    });
  }
}

const home = partitionOf('alarm', PARTITIONS);
const subscribers = async (shard: typeof FIRST, at: number) =>
  (await (await client().store(shard)).lookup(['alarm'], epoch(at)))[0];

describe('a shard server that comes back without its disk', () => {
  for (const { name, lose } of [
    { name: 'its folder is gone', lose: () => rm(join(folder.path, FIRST), { recursive: true }) },
    { name: 'its data is gone', lose: () => rm(join(folder.path, FIRST, 'data'), { recursive: true }) },
  ])
    test(`${name}: nobody is told "found", nothing is moved, and nothing is lost once it is back`, async () => {
      const task = new Task(home);
      await task.tick();
      for (let i = 0; i < 50; i++) await task.subscribe('alarm', `c${i}`);
      await task.command('a', 1, { kind: 'AllocateShard', shardId: SECOND, datastoreType: 'kv' });
      const copy = join(folder.path, 'copy');
      await serveAgain(async () => {
        await cp(join(folder.path, FIRST), copy, { recursive: true });
        await lose();
      });
      const refused = { code: 'STORE_UNAVAILABLE', facts: { code: expect.stringMatching(/^SHARD_(LOST|UNKNOWN)$/) } };
      await expect(task.subscribe('alarm', 'new')).rejects.toMatchObject(refused);
      task.restart();
      await task.tick(); // Its slices cannot be counted: nobody waits for that.
      await expect(task.subscribe('alarm', 'new')).rejects.toMatchObject(refused);
      await expect(subscribers(FIRST, 1)).rejects.toMatchObject({ code: expect.stringMatching(/^SHARD_/) });
      expect(new Set(task.heard)).toContain(`${FIRST} lost`);
      const body = {
        kind: 'MoveSlice',
        moveId: moveId('m'),
        slice: sliceKey(`c/${home}/`),
        from: FIRST,
        to: SECOND,
      } as const;
      await task.command('m', 2, { ...body, rowsPerSecond: 0 });
      for (let i = 0; i < 20; i++) await task.tick().catch(() => {});
      const moves = task.told.flatMap((each) =>
        each.kind === 'MoveProgress' ? [`${each.state} ${each.rowsCopied}`] : [],
      );
      expect(moves[0]).toBe('PLANNED 0');
      for (const each of moves) expect(each).toMatch(/^(PLANNED|PROVISIONING|COPYING|ABORTED) 0$/);

      await serveAgain(async () => {
        await rm(join(folder.path, FIRST), { recursive: true, force: true });
        await rename(copy, join(folder.path, FIRST));
      });
      await task.tick();
      await task.subscribe('alarm', 'new');
      await expect(subscribers(FIRST, 1)).resolves.toMatchObject({ kind: 'found', subscribers: { length: 51 } });
      expect((await readdir(folder.path)).filter((each) => each.startsWith('shard-')).sort()).toEqual(
        [FIRST, shardId('shard-0002'), SECOND].sort(),
      );
    });
});

test('a shard server on a machine of another number of partitions serves a fleet of 4 whole, through a move', async () => {
  const filters = Array.from({ length: 400 }, (_, i) => `home/${i}/t`);
  const tasks = Array.from({ length: PARTITIONS }, (_, partition) => new Task(partition));
  for (const task of tasks) await task.tick();
  for (const filter of filters) await tasks[partitionOf(filter, PARTITIONS)]!.subscribe(filter, 'c');
  await tasks[partitionOf(SECOND, PARTITIONS)]!.command('a', 1, {
    kind: 'AllocateShard',
    shardId: SECOND,
    datastoreType: 'kv',
  });
  for (const task of tasks) {
    const slice = sliceKey(`c/${task.partition}/`);
    const id = moveId(`m${task.partition}`);
    await task.command('m', 2, { kind: 'MoveSlice', moveId: id, slice, from: FIRST, to: SECOND, rowsPerSecond: 0 });
    await task.tick(8);
    for (const action of ['SWITCH', 'RETIRE'] as const) {
      await task.command(action, 3, { kind: 'SteerMove', moveId: id, slice, action, rowsPerSecond: 0 });
      await task.tick(6);
    }
    expect(task.told.filter((body) => body.kind === 'MoveProgress').at(-1)).toMatchObject({ state: 'RETIRED' });
  }
  const answers = await (await client().store(SECOND)).lookup(filters, epoch(3));
  expect(answers.filter((each) => each.kind === 'found' && each.subscribers.length === 1)).toHaveLength(400);
});
