// Look-ups: finding where a PUBLISH goes, through the router, from a shard server in a process of its own; compared with SMEMBERS of a
// Redis on the same machine through the same client library, with the same subscribers. Redis knows no wildcards, so its
// look-up is one set; ours asks a key-value shard and a trie shard, each topic anew unless it says "kept".

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Router } from '../broker/router.ts';
import { randomFrom } from '../evaluation/random.ts';
import { remoteProvisioner } from '../provisioners/remote/remote-provisioner.ts';
import { epoch, eventTime, type ShardId, type SliceKey, shardId } from '../schemas/ids.ts';
import type { SubscriptionRow } from '../state/effects.ts';
import { groupSlice, hashSlice } from '../state/keys.ts';
import { PointerTable } from '../state/pointer-table.ts';
import type { Measurement } from './measurement.ts';

const PARTITIONS = 8;
const TOPICS = 100_000;
const HOT_CLIENTS = 4_000;
const BROKERS = ['broker-1', 'broker-2', 'broker-3'];
const BATCH_ROWS = 5_000;
/** Topics that fit into the caches of the router and, beside all earlier ones, of the server. */
const KEPT_TOPICS = 20_000;
const ROUNDS = 5;
/** Passes over these topics: meanwhile the server drops older topics, and some of these too. */
const KEEPING_PASSES = 3;
const SEED = 7;
/** Arbitrary, as a fleet of sensors has them. */
const topicOf = (i: number): string => `site/s${i % 97}/device/d${i}/temperature`;
const HOT = 'site/all/alarm';

export async function lookUps(): Promise<readonly Measurement[]> {
  if (spawnSync('redis-server', ['--version']).error !== undefined)
    throw new Error('there is no redis-server here, which is the peer: apt-get install redis-server');
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  const children: ChildProcess[] = [];
  try {
    const [port, redisPort] = [await freePort(), await freePort()];
    children.push(
      spawn(process.execPath, [...process.execArgv, 'test/support/shard-server.ts'], {
        env: {
          ...process.env,
          FORESHARD_CATALOG_PATH: 'catalog/example.json',
          SHARD_FOLDER: folder,
          SHARD_PORT: String(port),
        },
        stdio: ['ignore', 'inherit', 'inherit'],
      }),
      spawn('redis-server', ['--port', String(redisPort), '--save', '', '--appendonly', 'no', '--dir', folder], {
        stdio: 'ignore',
      }),
    );
    const address = `http://127.0.0.1:${port}`;
    await until(async () => (await fetch(`${address}/livez`)).ok);
    const redis = new Redis({ port: redisPort, host: '127.0.0.1' });
    redis.on('error', () => {}); // While it starts.
    await until(async () => (await redis.ping()) === 'PONG');
    return await measured(address, redis);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

async function measured(address: string, redis: Redis): Promise<Measurement[]> {
  const shards = remoteProvisioner({ addresses: [address], token: undefined, partitions: PARTITIONS });
  const [kv, trie] = [shardId('shard-kv'), shardId('shard-trie')];
  const table = await fleet(shards, kv, trie);
  await fill(shards, kv, redis);

  const ports = {
    pointers: { table, newerThan: async () => false },
    storeOf: ({ shardId: id }: { readonly shardId: ShardId }) => shards.store(id),
    now: () => performance.now(),
  };
  const asking = new Router(ports, { cacheBytes: 0 });
  const keeping = new Router(ports);
  const random = randomFrom(SEED);
  const cold = (): string => topicOf(Math.floor(random() * TOPICS));
  const hot = (): string => HOT;
  const ours = (topic: string): unknown => asking.deliveryOf(topic);
  const peers = (topic: string): unknown => redis.smembers(topic);

  const first = await asking.deliveryOf(topicOf(1));
  if (first.brokers.length !== 2) throw new Error(`two brokers were to be told, not ${first.brokers.join()}`);
  const heard = await asking.deliveryOf(HOT);
  if (heard.brokers.length !== BROKERS.length) throw new Error('the hot topic has three brokers');

  await side(100_000, 64, cold, ours); // Every topic is asked for once, about: what follows is of a server that runs.
  const measurements: Measurement[] = [];
  for (const { name, draw, inFlight, count, bar, p99 } of [
    { name: 'one at a time', draw: cold, inFlight: 1, count: 4_000, bar: 0, p99: 0 },
    { name: '64 in flight', draw: cold, inFlight: 64, count: 60_000, bar: 0.8, p99: 2 },
    { name: '64 in flight, 4,000 clients on 3 brokers', draw: hot, inFlight: 64, count: 60_000, bar: 0, p99: 0 },
  ]) {
    const rounds: { ours: Side; peer: Side }[] = [];
    const isHot = draw === hot;
    for (let i = 0; i < ROUNDS; i++) {
      const own = await side(count, inFlight, draw, ours);
      // A set of 4,000 members a time: fewer of them do.
      rounds.push({ ours: own, peer: await side(isHot ? 500 : count, inFlight, draw, peers) });
    }
    const best = (of: 'ours' | 'peer'): Side =>
      rounds.map((round) => round[of]).reduce((a, b) => (a.perSecond > b.perSecond ? a : b));
    const [own, peer] = [best('ours'), best('peer')];
    const ratio = own.perSecond / peer.perSecond;
    measurements.push({
      name: `look-ups, ${name} (p50 ${own.p50.toFixed(2)} ms, p99 ${own.p99.toFixed(2)} ms; Redis ${peer.p50.toFixed(2)}, ${peer.p99.toFixed(2)})`,
      figure: Math.round(own.perSecond),
      unit: 'topics/s',
      peer: 'SMEMBERS',
      peerFigure: Math.round(peer.perSecond),
      ratio,
      bar: bar === 0 ? '' : `at least ${bar} x, p99 at most ${p99} ms`,
      met: bar === 0 ? null : ratio >= bar && own.p99 <= p99,
    });
  }

  for (let i = 0; i < KEPT_TOPICS * KEEPING_PASSES; i++) await keeping.deliveryOf(topicOf(i % KEPT_TOPICS));
  const plain = new Map(Array.from({ length: KEPT_TOPICS }, (_, i) => [topicOf(i), i]));
  const topics = Array.from({ length: 1_000_000 }, () => topicOf(Math.floor(random() * KEPT_TOPICS)));
  const kept = Math.max(...Array.from({ length: ROUNDS }, () => inTurn(topics, (topic) => keeping.deliveryOf(topic))));
  const gets = Math.max(...Array.from({ length: ROUNDS }, () => inTurn(topics, (topic) => plain.get(topic))));
  measurements.push({
    name: 'look-ups, kept',
    figure: Math.round(kept),
    unit: 'topics/s',
    peer: 'a Map',
    peerFigure: Math.round(gets),
    ratio: kept / gets,
    bar: 'at least 1,000,000/s',
    met: kept >= 1_000_000,
  });
  await shards.close();
  redis.disconnect();
  return measurements;
}

async function fleet(shards: ReturnType<typeof remoteProvisioner>, kv: ShardId, trie: ShardId): Promise<PointerTable> {
  await shards.ensure(kv, 'level-small', false);
  await shards.ensure(trie, 'trie-small', false);
  const pointers: { slice: SliceKey; mode: 'SINGLE'; shards: ShardId[]; epoch: ReturnType<typeof epoch> }[] = [];
  for (let partition = 0; partition < PARTITIONS; partition++)
    for (const [slice, shard] of [
      [hashSlice(partition), kv],
      [groupSlice(partition), trie],
    ] as const) {
      await (await shards.store(shard)).own({ slice, state: 'owned', epoch: epoch(1) });
      pointers.push({ slice, mode: 'SINGLE', shards: [shard], epoch: epoch(1) });
    }
  const entry = { datastoreType: '', instanceId: '', address: '', state: 'READY', epoch: epoch(1) } as const;
  return PointerTable.restore({
    ...{ format: 1, partitions: PARTITIONS, epoch: epoch(1), position: 1, pointers },
    shards: [
      { kind: 'ShardEntry', shardId: kv, storeKind: 'KEY_VALUE', ...entry },
      { kind: 'ShardEntry', shardId: trie, storeKind: 'TRIE', ...entry },
    ] as never,
  });
}

async function fill(shards: ReturnType<typeof remoteProvisioner>, kv: ShardId, redis: Redis): Promise<void> {
  const store = await shards.store(kv);
  let offset = 0;
  const rowOf = (filter: string, clientId: string, brokerId: string): SubscriptionRow => ({
    ...{ filter, clientId, brokerId, qos: 1, gone: false, at: eventTime(1) },
    version: { incarnation: 1, offset: offset++ },
  });
  let rows: SubscriptionRow[] = [];
  const put = async (topic: string, clientId: string, broker: number, isLast = false): Promise<void> => {
    rows.push(rowOf(topic, clientId, BROKERS[broker % BROKERS.length]!));
    if (rows.length < BATCH_ROWS && !isLast) return;
    await store.write(rows);
    const pipeline = redis.pipeline();
    for (const { filter, clientId: client, brokerId } of rows) pipeline.sadd(filter, `${brokerId}/${client}`);
    await pipeline.exec();
    rows = [];
  };
  for (let i = 0; i < TOPICS; i++) {
    await put(topicOf(i), `a${i}`, i);
    await put(topicOf(i), `b${i}`, i + 1);
  }
  for (let i = 0; i < HOT_CLIENTS; i++) await put(HOT, `client-${i}`, i, i === HOT_CLIENTS - 1);
}

interface Side {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

async function side(
  count: number,
  inFlight: number,
  draw: () => string,
  ask: (topic: string) => unknown,
): Promise<Side> {
  const times: number[] = [];
  const start = performance.now();
  const worker = async (): Promise<void> => {
    for (let i = 0; i < count / inFlight; i++) {
      const began = performance.now();
      await ask(draw());
      times.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - start) / 1_000;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(share * (times.length - 1))]!;
  return { perSecond: times.length / seconds, p50: at(0.5), p99: at(0.99) };
}

function inTurn(topics: readonly string[], ask: (topic: string) => unknown): number {
  const start = performance.now();
  for (const topic of topics) {
    const answer = ask(topic);
    if (answer === undefined || answer instanceof Promise) throw new Error(`${topic} was not kept`);
  }
  return (topics.length / (performance.now() - start)) * 1_000;
}

async function until(isDone: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await isDone().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('a server did not start');
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
