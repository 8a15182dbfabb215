// The remote reader, over shard servers that are there, are not, and have other shards. What a broker makes of it:
// test/broker/delivery.test.ts.

import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ShardServer, startShardServer } from '../../../datastores/protocol/shard-server.ts';
import type { Provisioner, PublishQuestion } from '../../../datastores/shard-store.ts';
import { RemoteReader } from '../../../provisioners/remote/remote-reader.ts';
import { epoch, shardId } from '../../../schemas/ids.ts';
import { hashSlice } from '../../../state/keys.ts';
import { owned, row } from '../../datastores/shard-store-suite.ts';
import { freePort } from '../../support/processes.ts';
import { localShards } from '../../support/shards.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';

const SLICE = hashSlice(0);
const SHARD = shardId('s');
const QUESTION: PublishQuestion = { topic: 'a', slices: [SLICE], epoch: epoch(1) };

interface Host {
  readonly provisioner: Provisioner;
  server: ShardServer;
}

let folders: TempFolder[];
let hosts: Host[];
let readers: RemoteReader[];

beforeEach(() => {
  [folders, hosts, readers] = [[], [], []];
});
afterEach(async () => {
  for (const reader of readers) reader.close();
  for (const { server, provisioner } of hosts) {
    await server.close();
    await provisioner.close();
  }
  for (const folder of folders) await folder.remove();
});

async function host(): Promise<Host> {
  const folder = await tempFolder();
  const provisioner = localShards(folder.path, 1);
  const server = await startShardServer({ provisioner, token: 't', readToken: 'r', host: '127.0.0.1', port: 0 });
  const started = { provisioner, server };
  folders.push(folder);
  hosts.push(started);
  return started;
}

/** Gives a host the shard, with one subscriber of this client. */
async function plant({ provisioner }: Host, clientId: string): Promise<string> {
  const { instanceId } = await provisioner.ensure(SHARD, 'kv', false);
  const store = await provisioner.store(SHARD);
  await store.own(owned(SLICE));
  await store.write([row('a', clientId, 1, { brokerId: `at ${clientId}` })]);
  return instanceId;
}

function reading(addresses: readonly string[], instanceId = '', token = 'r') {
  const reader = new RemoteReader({ addresses, token, partitions: 1, timeoutMs: 2_000 });
  readers.push(reader);
  return reader.shard({ shardId: SHARD, instanceId });
}

test('the token that allows reading is sufficient for every look-up', async () => {
  const only = await host();
  await plant(only, 'c');
  const shard = reading([only.server.address]);
  expect(await shard.audience(QUESTION)).toMatchObject({
    kind: 'audience',
    audience: { brokers: ['at c'], groups: [] },
  });
  expect(await shard.hearers(QUESTION)).toMatchObject({ kind: 'found', subscribers: [{ filter: 'a', clientId: 'c' }] });
  await (await only.provisioner.store(SHARD)).own(owned(SLICE, 2, 'moved'));
  for (const asked of [shard.audience(QUESTION), shard.hearers(QUESTION)])
    expect(await asked).toEqual({ kind: 'moved', slice: SLICE, epoch: 2 });
  const stranger = reading([only.server.address], '', 'wrong');
  for (const asked of [stranger.audience(QUESTION), stranger.hearers(QUESTION)])
    await expect(asked).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
});

test('a shard is asked where it is, although another server is away', async () => {
  const [first, second] = [await host(), await host()];
  await plant(second, 'c');
  const away = `http://127.0.0.1:${await freePort()}`;
  const shard = reading([away, first.server.address, second.server.address]);
  for (let i = 0; i < 3; i++) expect(await shard.audience(QUESTION)).toMatchObject({ audience: { brokers: ['at c'] } });
});

test('a shard that is found elsewhere is asked there', async () => {
  const [first, second] = [await host(), await host()];
  await plant(first, 'before');
  const shard = reading([first.server.address, second.server.address]);
  expect(await shard.audience(QUESTION)).toMatchObject({ audience: { brokers: ['at before'] } });
  await first.provisioner.release(SHARD).catch(() => {});
  await plant(second, 'after');
  await first.server.close(); // Its server is given up.
  await expect(shard.audience(QUESTION)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  expect(await shard.audience(QUESTION)).toMatchObject({ audience: { brokers: ['at after'] } });
});

test('the error is the one that says most', async () => {
  const [first, second] = [await host(), await host()];
  await plant(first, 'c');
  const away = `http://127.0.0.1:${await freePort()}`;
  const [a, b] = [first.server.address, second.server.address];
  const codeOf = (addresses: string[], instanceId = '') =>
    reading(addresses, instanceId)
      .audience(QUESTION)
      .then(
        () => 'answered',
        (error: { code: string }) => error.code,
      );
  expect(await codeOf([b])).toBe('SHARD_UNKNOWN');
  expect(await codeOf([b, a], 'another-instance')).toBe('SHARD_LOST');
  expect(await codeOf([away, b])).toBe('STORE_UNAVAILABLE'); // It may be there.
  expect(await codeOf([away, a], 'another-instance')).toBe('STORE_UNAVAILABLE');
});

test('no server is refused', () => {
  expect(() => reading([])).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
});
