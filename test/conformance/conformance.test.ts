import { connect, createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ShardServer, startShardServer } from '../../datastores/protocol/shard-server.ts';
import type { Provisioner } from '../../datastores/shard-store.ts';
import { localShards } from '../support/shards.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';
import { type Asked, conformance, type Result } from './conformance.ts';

const TOKENS = { adminToken: 'admin', readToken: 'read' };
const TYPES = { concreteType: 'kv', trieType: 'trie' };

let folder: TempFolder;
let provisioner: Provisioner;
let server: ShardServer;

beforeAll(async () => {
  folder = await tempFolder();
  provisioner = localShards(folder.path, 1);
  server = await startShardServer({
    ...{ provisioner, token: TOKENS.adminToken, readToken: TOKENS.readToken, host: '127.0.0.1', port: 0 },
    log: () => {},
  });
});
afterAll(async () => {
  await server.close();
  await provisioner.close();
  await folder.remove();
});

const port = (): number => Number(new URL(server.address).port);
const asked = (more: Partial<Asked> = {}): Asked => ({
  ...{ address: { host: '127.0.0.1', port: port() }, ...TOKENS, ...TYPES },
  ...more,
});
const failedIn = (results: readonly Result[]): string[] =>
  results.filter(({ state }) => state === 'failed').map(({ name }) => name);

/** A server whose replies are changed on their way. */
async function changing(change: (reply: string) => string, use: (port: number) => Promise<void>): Promise<void> {
  const between: Server = createServer((socket) => {
    const behind = connect(port(), '127.0.0.1');
    socket.pipe(behind);
    behind.on('data', (chunk) => socket.write(Buffer.from(change(chunk.toString('latin1')), 'latin1')));
    for (const [one, other] of [[socket, behind] as const, [behind, socket] as const]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((done) => between.listen(0, '127.0.0.1', done));
  try {
    await use((between.address() as { readonly port: number }).port);
  } finally {
    await new Promise((done) => between.close(done));
  }
}

describe('conformance', () => {
  test('of our own server is whole, twice, and leaves nothing behind', async () => {
    for (let i = 0; i < 2; i++) {
      const results = await conformance(asked());
      expect(results.filter(({ state }) => state !== 'passed')).toEqual([]);
      expect(results.length).toBeGreaterThan(80);
    }
  });

  test('says what was not checked for want of a token', async () => {
    const results = await conformance(asked({ readToken: '' }));
    expect(results.filter(({ state }) => state === 'skipped')).toMatchObject([
      { name: 'the token for reading looks up, and changes nothing', reason: expect.stringContaining('--read-token') },
    ]);
  });

  for (const { name, change, found } of [
    {
      name: 'keeps answers longer than it may tell of',
      change: (reply: string) => reply.replace(/^(\*3\r\n[\s\S]*):0\r\n$/, '$1:-1\r\n'),
      found: 'an answer with a share group may not be kept, nor one without tracking',
    },
    {
      name: 'sends on without the slice',
      change: (reply: string) => reply.replace('-MOVED t/left 7', '-MOVED 7'),
      found: 'a slice that has left is MOVED, with the slice and the epoch',
    },
    {
      name: 'is silent of changes',
      change: (reply: string) => reply.replace(/>2\r\n\$10\r\ninvalidate\r\n\*1\r\n\$\d+\r\n[^\r]*\r\n/g, ''),
      found: 'a kept answer of concrete filters is taken back when it changes, before the next answer',
    },
    {
      name: 'forgets a subscriber',
      change: (reply: string) => reply.replaceAll('\r\nt9\r\n', '\r\nt8\r\n'),
      found: 'FS.CLIENTS of wildcard filters: every subscriber to $SYS/load, with its options',
    },
    {
      name: 'writes replies that are none',
      change: (reply: string) => reply.replace('+PONG\r\n', 'PONG\r\n'),
      found: 'a command is an array of texts',
    },
    {
      name: 'has one member of a share group alone',
      change: (reply: string) => reply.replaceAll('\r\ns2\r\n', '\r\ns1\r\n'),
      found: 'members of a share group have their turns',
    },
  ])
    test(`finds a server that ${name}`, async () => {
      await changing(change, async (through) => {
        const results = await conformance(asked({ address: { host: '127.0.0.1', port: through } }));
        expect(failedIn(results)).toContain(found);
        expect(failedIn(results).length).toBeLessThan(15); // And not everything.
      });
    });
});
