// Shard stores: writing rows with their versions checked, and look-ups, on the stores of this process. The peer of a
// key-value write is LevelDB's own batch of the same puts, which checks nothing.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { rowKey } from '../datastores/level-kv/keys.ts';
import { openLevelKv } from '../datastores/level-kv/level-kv.ts';
import { encodeRow } from '../datastores/level-kv/values.ts';
import type { ShardStore } from '../datastores/shard-store.ts';
import { openTrieStore } from '../datastores/trie/trie-store.ts';
import { epoch, eventTime } from '../schemas/ids.ts';
import type { SubscriptionRow } from '../state/effects.ts';
import { groupSlice, hashSlice, partitionOf } from '../state/keys.ts';
import { fleetTopics } from '../test/support/fleet-topics.ts';
import type { Measurement } from './measurement.ts';

const PARTITIONS = 16;
const ROWS = 300_000;
const BATCH_ROWS = 5_000;
const LOOKUPS = 20_000;
const SEED = 11;

export async function shardStores(): Promise<readonly Measurement[]> {
  const folder = await mkdtemp(join(tmpdir(), 'foreshard-bench-'));
  try {
    return [...(await keyValue(folder)), ...(await trie(folder))];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function keyValue(folder: string): Promise<Measurement[]> {
  const rows = concreteRows();
  const peer = await plainBatches(join(folder, 'plain'), rows);
  const store = await openLevelKv(join(folder, 'kv'), { partitions: PARTITIONS });
  for (let partition = 0; partition < PARTITIONS; partition++)
    await store.own({ slice: hashSlice(partition), state: 'owned', epoch: epoch(1) });
  const fresh = await written(store, rows);
  const again = await written(store, rows.map(newer));
  const filters = rows.slice(0, LOOKUPS).map((row) => row.filter);
  const start = performance.now();
  for (let from = 0; from < filters.length; from += 500) await store.lookup(filters.slice(from, from + 500), epoch(1));
  const lookups = rate(filters.length, start);
  await store.close();
  const bar = 'at least 80,000 rows/s';
  return [
    {
      ...measured('key-value rows written, new, on the disk', fresh, 'rows/s', bar, fresh >= 80_000),
      peer: 'LevelDB batch',
      peerFigure: peer,
      ratio: fresh / peer,
    },
    measured('key-value rows written, known, on the disk', again, 'rows/s', bar, again >= 80_000),
    measured('key-value look-ups', lookups, 'filters/s', '', null),
  ];
}

async function trie(folder: string): Promise<Measurement[]> {
  const { filters, topics } = fleetTopics(ROWS / 3, LOOKUPS, SEED);
  const rows = filters.flatMap((filter, i) =>
    [0, 1, 2].map((part) => rowOf(filter, `client-${i * 7 + part}`, i * 3 + part)),
  );
  const settings = { partitions: PARTITIONS };
  globalThis.gc?.();
  const before = process.memoryUsage();
  let store = await openTrieStore(join(folder, 'trie'), settings);
  for (let partition = 0; partition < PARTITIONS; partition++)
    await store.own({ slice: groupSlice(partition), state: 'owned', epoch: epoch(1) });
  const fresh = await written(store, rows);
  const root = partitionOf('#', PARTITIONS);
  const queries = topics.flatMap((topic) => {
    const own = partitionOf(topic.slice(0, topic.indexOf('/')), PARTITIONS);
    return [...new Set([root, own])].map((partition) => ({ topic, slice: groupSlice(partition), epoch: epoch(1) }));
  });
  const start = performance.now();
  let found = 0;
  for (let from = 0; from < queries.length; from += 200)
    for (const answer of await store.match(queries.slice(from, from + 200)))
      if (answer.kind === 'found') found += answer.subscribers.length;
  const matches = rate(topics.length, start);
  if (found < topics.length) throw new Error(`only ${found} subscribers found`);
  await store.close();
  const restart = performance.now();
  store = await openTrieStore(join(folder, 'trie'), settings);
  const restored = rate(rows.length, restart);
  globalThis.gc?.();
  const after = process.memoryUsage();
  await store.close();
  const perRow = (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / rows.length;
  return [
    measured('trie rows written, new, on the disk', fresh, 'rows/s', '', null),
    measured(
      `trie topics matched, ${filters.length} filters, ${Math.round(found / topics.length)} subscribers each`,
      matches,
      'topics/s',
      '',
      null,
    ),
    measured('trie rows read again at a restart', restored, 'rows/s', '', null),
    ...(globalThis.gc === undefined ? [] : [measured('trie memory, ids included', perRow, 'bytes/row', '', null)]),
  ];
}

async function plainBatches(folder: string, rows: readonly SubscriptionRow[]): Promise<number> {
  const database = new Level<Buffer, Buffer>(folder, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  await database.open();
  const start = performance.now();
  for (const some of batches(rows)) {
    const puts = some.map((row) => ({
      type: 'put' as const,
      key: rowKey(row.filter, row.clientId, PARTITIONS),
      value: encodeRow(row, () => 0),
    }));
    await database.batch(puts, { sync: true });
  }
  const figure = rate(rows.length, start);
  await database.close();
  return figure;
}

async function written(store: ShardStore, rows: readonly SubscriptionRow[]): Promise<number> {
  const start = performance.now();
  let applied = 0;
  for (const some of batches(rows)) applied += (await store.write(some)).applied;
  if (applied !== rows.length) throw new Error(`${rows.length - applied} rows were not applied`);
  return rate(rows.length, start);
}

function concreteRows(): SubscriptionRow[] {
  return Array.from({ length: ROWS }, (_, i) => {
    const at = (i * 7_919) % ROWS; // Keys come in no particular order, as from real clients.
    return rowOf(`fleet/${at % 5_000}/vehicle/v${at}/position`, `client-${at}`, i);
  });
}

function rowOf(filter: string, clientId: string, offset: number): SubscriptionRow {
  const version = { incarnation: 1, offset };
  return { filter, clientId, brokerId: `broker-${offset % 8}`, qos: 1, version, gone: false, at: eventTime(offset) };
}

const newer = (row: SubscriptionRow): SubscriptionRow => ({ ...row, version: { ...row.version, incarnation: 2 } });

function* batches(rows: readonly SubscriptionRow[]): Generator<readonly SubscriptionRow[]> {
  for (let from = 0; from < rows.length; from += BATCH_ROWS) yield rows.slice(from, from + BATCH_ROWS);
}

const rate = (count: number, start: number): number => (count / (performance.now() - start)) * 1_000;

function measured(name: string, figure: number, unit: string, bar: string, met: boolean | null): Measurement {
  return { name, figure, unit, peer: '', peerFigure: null, ratio: null, bar, met };
}
