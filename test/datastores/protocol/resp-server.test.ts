import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ShardServer, startShardServer } from '../../../datastores/protocol/shard-server.ts';
import type { Provisioner } from '../../../datastores/shard-store.ts';
import { shardId } from '../../../schemas/ids.ts';
import { groupSlice, hashSlice, spreadSlice } from '../../../state/keys.ts';
import { Connection, Refused, type Value } from '../../conformance/connection.ts';
import { localShards } from '../../support/shards.ts';
import { type TempFolder, tempFolder } from '../../support/temp-folder.ts';
import { owned, row } from '../shard-store-suite.ts';

const ADMIN = 'canary-admin';
const READ = 'canary-read';
const CONCRETE = hashSlice(0);
const GROUP = groupSlice(0);
const INVALIDATE = '__redis__:invalidate';

let folder: TempFolder;
let provisioner: Provisioner;
let server: ShardServer;
let told: string[];
const opened: { disconnect(): void }[] = [];

beforeEach(async () => {
  folder = await tempFolder();
  provisioner = localShards(folder.path, 1);
  told = [];
  server = await startShardServer({
    provisioner,
    token: ADMIN,
    readToken: READ,
    host: '127.0.0.1',
    port: 0,
    log: ({ call, shard, error }) => told.push(`${call} ${shard} ${(error as { code?: string }).code ?? error}`),
  });
  for (const [shard, type, slice] of [
    ['kv', 'kv', CONCRETE],
    ['trie', 'trie', GROUP],
  ] as const) {
    await provisioner.ensure(shardId(shard), type, false);
    await (await provisioner.store(shardId(shard))).own(owned(slice));
  }
});
afterEach(async () => {
  for (const each of opened.splice(0)) each.disconnect();
  await server.close();
  await provisioner.close();
  await folder.remove();
});

const port = (): number => Number(new URL(server.address).port);
function client(password = READ, protocol: 2 | 3 = 3): Redis {
  const redis = new Redis({ host: '127.0.0.1', port: port(), password, protocol, retryStrategy: () => null });
  redis.on('error', () => {}); // Whoever awaits a call is told.
  opened.push(redis);
  return redis;
}
const write = async (shard: string, ...rows: ReturnType<typeof row>[]) =>
  (await provisioner.store(shardId(shard))).write(rows);
const brokers = (redis: Redis, shard: string, topic: string, ...slices: string[]) =>
  redis.call('FS.BROKERS', shard, '', '1', topic, ...slices);
const refusal = async (answer: Promise<unknown>): Promise<string> =>
  answer.then(
    (value) => `answered ${JSON.stringify(value)}`,
    (error: Error) => error.message,
  );

/** Sends bytes as they are; what comes back until nothing does for a while. */
async function raw(bytes: string): Promise<{ readonly text: string; readonly ended: boolean }> {
  const socket: Socket = connect(port(), '127.0.0.1');
  let text = '';
  let ended = false;
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.on('close', () => {
    ended = true;
  });
  socket.write(bytes);
  socket.write('*1\r\n$4\r\nQUIT\r\n');
  await new Promise((resolve) => socket.on('close', resolve));
  return { text, ended };
}

describe('who may ask', () => {
  test('nothing is answered before a token', async () => {
    for (const command of ['PING', 'INFO', 'CLIENT ID', 'FS.BROKERS kv  1 a c/0/', 'FS.CALL kv x owners {}'])
      expect((await raw(`${command}\r\n`)).text).toMatch(/^-NOAUTH /);
    expect((await raw('HELLO 3\r\n')).text).toMatch(/^-NOAUTH /);
    expect((await raw('AUTH nobody wrong\r\nPING\r\n')).text).toMatch(/^-WRONGPASS .*\r\n-NOAUTH /);
    expect((await raw(`AUTH ${READ}\r\nPING\r\n`)).text).toBe('+OK\r\n+PONG\r\n+OK\r\n');
    expect((await raw(`HELLO 3 AUTH default ${READ}\r\n`)).text).toMatch(/^%7\r\n\$6\r\nserver\r\n\$9\r\nforeshard/);
    expect(await refusal(client('wrong').ping())).toMatch(/WRONGPASS|closed/);
  });

  test('whoever has no token yet sends short commands; with it, longer ones, also in one go', async () => {
    const long = `*2\r\n$4\r\nECHO\r\n$20000\r\n${'x'.repeat(20_000)}\r\n`;
    expect((await raw(long)).text).toMatch(/^-ERR Protocol error: a command has at most 16384 bytes/);
    expect((await raw(`*11\r\n`)).text).toMatch(/^-ERR Protocol error: a command has at most 10 words/);
    expect((await raw(`AUTH ${READ}\r\n${long}`)).text).toHaveLength('+OK\r\n'.length + 20_010 + '+OK\r\n'.length);
  });

  test('the read token looks up and changes nothing', async () => {
    await write('kv', row('a', 'c', 1));
    expect(await brokers(client(READ), 'kv', 'a', CONCRETE)).toEqual([['broker-1'], [], 0]);
    expect(await refusal(client(READ).call('FS.CALL', 'kv', '', 'owners', '{}'))).toMatch(/^NOPERM /);
    expect(JSON.parse((await client(ADMIN).call('FS.CALL', 'kv', '', 'owners', '{}')) as string)).toHaveLength(1);
  });

  test('no reply has a token in it', async () => {
    const { text } = await raw(`AUTH ${ADMIN}x\r\nAUTH ${ADMIN}\r\nINFO\r\nHELLO 3 AUTH a ${ADMIN}\r\nCLIENT ID\r\n`);
    expect(text).not.toContain('canary');
  });
});

describe('who hears a PUBLISH', () => {
  for (const protocol of [2, 3] as const)
    test(`brokers, each once, and one member of each share group (RESP${protocol})`, async () => {
      await write(
        'trie',
        row('a/+', 'c1', 1, { brokerId: 'x' }),
        row('a/+', 'c2', 2, { brokerId: 'x' }),
        row('#', 'c1', 3, { brokerId: 'y' }),
        row('$share/g/a/#', 'm1', 4, { brokerId: 'x' }),
        row('$share/g/a/#', 'm2', 5, { brokerId: 'y', options: { ...NO_OPTIONS, subscriptionIdentifier: 7 } }),
        row('$share/g/a/#', 'm3', 6, { brokerId: '' }),
      );
      const redis = client(READ, protocol);
      const answers = [];
      for (let i = 0; i < 4; i++) answers.push(await brokers(redis, 'trie', 'a/b', GROUP));
      for (const answer of answers as [string[], unknown[][], number][]) {
        expect([...answer[0]].sort()).toEqual(['x', 'y']);
        expect(answer[2]).toBe(0); // Another member is told each time.
      }
      const chosen = (answers as [string[], unknown[][], number][]).map(([, members]) => members);
      expect(chosen).toEqual([[M1], [M2], [M1], [M2]]);
      expect(await redis.call('FS.CLIENTS', 'trie', '', '1', 'a/b', GROUP)).toHaveLength(6);
    });

  test('of a spread topic a shard says only what is of the parts that it is asked for', async () => {
    const store = await provisioner.store(shardId('kv'));
    await store.own(owned(spreadSlice('a', 0, 2), 2));
    await store.own(owned(spreadSlice('a', 1, 2), 2));
    await write('kv', ...['c0', 'c1', 'c2', 'c3'].map((c, i) => row('a', c, i, { brokerId: `of ${c}` })));
    const redis = client();
    const asked = async (...slices: string[]) =>
      ((await redis.call('FS.BROKERS', 'kv', '', '2', 'a', ...slices)) as [string[]])[0].sort();
    const [first, second] = [await asked(spreadSlice('a', 0, 2)), await asked(spreadSlice('a', 1, 2))];
    expect([...first, ...second].sort()).toEqual(['of c0', 'of c1', 'of c2', 'of c3']);
    expect(first.length * second.length).toBeGreaterThan(0);
    expect(await asked(spreadSlice('a', 0, 2), spreadSlice('a', 1, 2))).toHaveLength(4);
  });

  test('what has moved is MOVED, with its slice and the epoch to reach', async () => {
    await (await provisioner.store(shardId('kv'))).own(owned(CONCRETE, 5, 'moved'));
    expect(await refusal(brokers(client(), 'kv', 'a', CONCRETE))).toBe('MOVED c/0/ 5');
  });

  for (const { name, words, says } of [
    { name: 'a shard that is not there', words: ['nowhere', '', '1', 'a', 'c/0/'], says: /^SHARD_UNKNOWN / },
    { name: 'another instance than is there', words: ['kv', 'other', '1', 'a', 'c/0/'], says: /^SHARD_LOST / },
    { name: 'a name that is none', words: ['../kv', '', '1', 'a', 'c/0/'], says: /^SHARD_INVALID / },
    { name: 'a topic with a wildcard', words: ['kv', '', '1', 'a/+', 'c/0/'], says: /^REQUEST_INVALID / },
    { name: 'a slice that is none', words: ['kv', '', '1', 'a', 'c/0'], says: /^REQUEST_INVALID / },
    { name: 'an epoch that is none', words: ['kv', '', '-1', 'a', 'c/0/'], says: /^REQUEST_INVALID / },
    { name: 'no slice', words: ['kv', '', '1', 'a'], says: /^ERR wrong number/ },
  ])
    test(`${name} is refused, and costs nothing else`, async () => {
      const redis = client();
      expect(await refusal(redis.call('FS.BROKERS', ...words))).toMatch(says);
      expect(await redis.ping()).toBe('PONG');
    });

  test('another fleet is refused, and told to the log once a minute', async () => {
    const redis = client();
    await redis.call('FS.FLEET', '7', '1');
    for (let i = 0; i < 3; i++) expect(await refusal(brokers(redis, 'kv', 'a', CONCRETE))).toMatch(/^FLEET_MISMATCH /);
    expect(told).toEqual(['FS.BROKERS kv FLEET_MISMATCH']);
    expect(await refusal(redis.call('FS.FLEET', '0', '1'))).toMatch(/^REQUEST_INVALID /);
  });
});

describe('a connection that tracks', () => {
  /** What it is told, from now on. */
  async function tracking(protocol: 2 | 3): Promise<{ redis: Redis; heard: string[][] }> {
    const redis = client(READ, protocol);
    const listener = protocol === 3 ? redis : client(READ, 2);
    const heard: string[][] = [];
    listener.on('messageBuffer', (channel, keys) => {
      expect(String(channel)).toBe(INVALIDATE);
      heard.push((keys as unknown as Buffer[]).map(String));
    });
    const id = (await listener.client('ID')) as number;
    await listener.subscribe(INVALIDATE);
    await redis.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', String(id));
    return { redis, heard };
  }
  const until = async (done: () => boolean): Promise<void> => {
    while (!done()) await new Promise((resolve) => setTimeout(resolve, 1));
  };

  for (const protocol of [2, 3] as const)
    test(`is told of each answer that it may keep, once, when it does not count any more (RESP${protocol})`, async () => {
      const { redis, heard } = await tracking(protocol);
      await write('kv', row('a', 'c', 1));
      expect(await brokers(redis, 'kv', 'a', CONCRETE)).toEqual([['broker-1'], [], -1]);
      expect(await brokers(redis, 'trie', 'a', GROUP)).toEqual([[], [], -1]);
      await write('kv', row('other', 'c', 2));
      await write('kv', row('a', 'c', 3, { brokerId: 'broker-2' }));
      await write('kv', row('a', 'c', 4, { brokerId: 'broker-3' }));
      await write('trie', row('+', 'c', 5));
      await until(() => heard.length >= 2);
      expect(heard).toEqual([['kv a'], ['trie a']]);
      expect(await brokers(redis, 'kv', 'a', CONCRETE)).toEqual([['broker-3'], [], -1]);
      await (await provisioner.store(shardId('kv'))).own(owned(CONCRETE, 9, 'moved'));
      await until(() => heard.length >= 3);
      expect(heard[2]).toEqual(['kv']); // All of it.
      await redis.call('CLIENT', 'TRACKING', 'OFF');
      expect(await brokers(redis, 'trie', 'a', GROUP)).toEqual([['broker-1'], [], 0]);
    });

  test('that speaks RESP3 and subscribes to nothing is told by a push of its own', async () => {
    const { text } = await new Promise<{ text: string }>((resolve) => {
      const socket = connect(port(), '127.0.0.1');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
        if (text.includes(':-1\r\n') && !text.includes('>2')) void write('kv', row('a', 'c', 1));
        if (text.includes('>2')) {
          socket.destroy();
          resolve({ text });
        }
      });
      socket.write(`HELLO 3 AUTH a ${READ}\r\nCLIENT TRACKING ON\r\n`);
      socket.write('*6\r\n$10\r\nFS.BROKERS\r\n$2\r\nkv\r\n$0\r\n\r\n$1\r\n1\r\n$1\r\na\r\n$4\r\nc/0/\r\n');
    });
    expect(text.endsWith('>2\r\n$10\r\ninvalidate\r\n*1\r\n$4\r\nkv a\r\n')).toBe(true);
  });

  test('without anybody to be told, tracking is refused', async () => {
    expect((await raw(`AUTH ${READ}\r\nCLIENT TRACKING ON\r\n`)).text).toMatch(/-ERR a connection of RESP2/);
    expect(await refusal(client().call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', '99'))).toMatch(/does not exist/);
    expect(await refusal(client().call('CLIENT', 'TRACKING', 'ON', 'BCAST'))).toMatch(/^ERR /);
  });
});

describe('a connection', () => {
  test('has its replies in the order of its commands, however they are cut and however long each takes', async () => {
    const redis = client();
    const asked: Promise<unknown>[] = [];
    for (let i = 0; i < 2_000; i++)
      asked.push(i % 3 === 0 ? brokers(redis, 'kv', `t/${i}`, CONCRETE) : redis.echo(`${i}`));
    const answers = await Promise.all(asked);
    expect(answers.every((answer, i) => (i % 3 === 0 ? Array.isArray(answer) : answer === `${i}`))).toBe(true);
  });

  test('that sends what is no command is told so and closed; others go on', async () => {
    const other = client();
    await other.ping();
    const { text } = await raw(`AUTH ${READ}\r\n*1\r\n$-5\r\nPING\r\n`);
    expect(text).toMatch(/^\+OK\r\n-ERR Protocol error: /);
    expect(await other.ping()).toBe('PONG');
  });

  test('of HTTP is served as before', async () => {
    const response = await fetch(`${server.address}/shards/kv`, { headers: { authorization: `Bearer ${ADMIN}` } });
    expect(await response.json()).toMatchObject({ kind: 'KEY_VALUE' });
    const refused = await fetch(`${server.address}/shards/kv`, { headers: { authorization: `Bearer ${READ}` } });
    expect(refused.status).toBe(401);
  });

  test('sees INFO as Redis has it', async () => {
    const redis = client();
    await brokers(redis, 'kv', 'a', CONCRETE);
    const info = await redis.info();
    for (const field of ['used_memory_rss', 'used_cpu_user', 'connected_clients', 'look_up_ms_p99'])
      expect(info).toMatch(new RegExp(`^${field}:[\\d.]+\r$`, 'm'));
    expect(info).toMatch(/^total_look_ups:1\r$/m);
    expect(await redis.info('memory')).not.toContain('# CPU');
  });

  test('asks a shard again that was closed in between', async () => {
    const redis = client();
    await brokers(redis, 'kv', 'a', CONCRETE);
    const store = await provisioner.store(shardId('kv'));
    await store.own(owned(CONCRETE, 2, 'moved'));
    expect(await provisioner.release(shardId('kv'))).toBeUndefined();
    expect(await refusal(brokers(redis, 'kv', 'a', CONCRETE))).toMatch(/^SHARD_UNKNOWN /);
  });
});

test('the examples of docs/protocol.md are what goes over the line', async () => {
  await write('trie', row('home/+', 'c1', 1), row('$share/g/home/1', 'm1', 2, { brokerId: 'broker-2' }));
  const [, block] = /```resp\n([\s\S]*?)```/.exec(readFileSync('docs/protocol.md', 'utf8'))!;
  const lines = block!.trim().split('\n');
  expect(lines.length).toBeGreaterThan(6);
  for (let i = 0; i < lines.length; i += 2) {
    const [asked, answered] = [lines[i]!, lines[i + 1]!].map((line) => line.slice(2).replaceAll('\\r\\n', '\r\n'));
    expect((await raw(`AUTH ${READ}\r\n${asked}`)).text).toBe(`+OK\r\n${answered}+OK\r\n`);
  }
});

/** A reply as redis-cli prints it; `indent`: how far its second line is set in. */
function printed(value: Value, indent = 0): string {
  if (value instanceof Refused) return `(error) ${value.code} ${value.message}`;
  if (typeof value === 'number') return `(integer) ${value}`;
  if (!Array.isArray(value)) return `"${value}"`;
  return (value as readonly Value[])
    .map((each, i) => `${i === 0 ? '' : ' '.repeat(indent)}${i + 1}) ${printed(each, indent + 3)}`)
    .join('\n');
}

test('the session with redis-cli in docs/operating.md goes as printed', async () => {
  const shard = shardId('shard-0002');
  await provisioner.ensure(shard, 'trie', false);
  await (await provisioner.store(shard)).own(owned(GROUP));
  await write(shard, row('home/+', 'c1', 1), row('$share/g/home/1', 'm1', 2, { brokerId: 'broker-2' }));
  const [, block] = /```redis-cli\n([\s\S]*?)```/.exec(readFileSync('docs/operating.md', 'utf8'))!;
  const steps = block!.split(/^> /m).slice(1);
  expect(steps.length).toBeGreaterThan(4);
  const connection = await Connection.open({ host: '127.0.0.1', port: port() });
  try {
    for (const step of steps) {
      const [line, ...answer] = step.trimEnd().split('\n');
      const words = line!.split(' ').map((word) => (word === '""' ? '' : word.replace('READ-TOKEN', READ)));
      const reply = await connection.ask(...words);
      expect(reply === 'OK' ? 'OK' : printed(reply), line).toBe(answer.join('\n'));
    }
  } finally {
    connection.close();
  }
});

test('FS.CALL carries out what HTTP does, checked as there', async () => {
  const redis = client(ADMIN);
  const call = async (shard: string, name: string, body: unknown) =>
    JSON.parse((await redis.call('FS.CALL', shard, '', name, JSON.stringify(body))) as string);
  await redis.call('FS.FLEET', '1', '1');
  expect(await call('new', 'ensure', { datastoreType: 'kv', resize: false })).toMatchObject({ state: 'ready' });
  expect(await call('new', 'own', { owner: owned(CONCRETE) })).toBe(true);
  expect(await call('new', 'write', { rows: [['a', 'c', 'b', 1, 1, 1, false, 1]] })).toMatchObject({ applied: 1 });
  expect(await call('new', 'find', {})).toMatchObject({ kind: 'KEY_VALUE' });
  expect(await call('new', 'release', {})).toMatchObject({ resident: expect.any(String) });
  for (const [name, body] of [
    ['write', '{"rows":[1]}'],
    ['write', '{'],
    ['scan', '{"range":{"slice":"nonsense","except":[]},"limit":1}'],
    ['toString', '{}'],
  ] as const)
    expect(await refusal(redis.call('FS.CALL', 'new', '', name, body))).toMatch(/^REQUEST_INVALID /);
});

const NO_OPTIONS = { noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 };
const M1 = ['$share/g/a/#', 'm1', 'x', 1, 0, 0, 0, 0];
const M2 = ['$share/g/a/#', 'm2', 'y', 1, 0, 0, 0, 7];
