import { describe, expect, test } from 'vitest';
import { LaggingReader, Prober } from '../../cli/readers.ts';
import type { Seen } from '../../cli/simulation.ts';
import type { Provisioner, ShardStore, Subscriber } from '../../datastores/shard-store.ts';
import { DEFAULT_FLEET, Fleet } from '../../evaluation/fleet.ts';
import { epoch, eventTime, type ShardId, shardId } from '../../schemas/ids.ts';
import type { PointerRecord } from '../../schemas/records.ts';
import { firstSlices } from '../../state/slice-tree.ts';

const OLD = shardId('shard-0001');
const NEW = shardId('shard-0003');
const FILTER = 'a/b';

/** All first slices of one partition on one shard, as one change. */
function change(at: number, shard: ShardId, firstOffset: number): Seen<PointerRecord>[] {
  const bodies: PointerRecord['body'][] = [
    {
      kind: 'ShardEntry',
      shardId: shard,
      storeKind: 'KEY_VALUE',
      datastoreType: 'kv',
      instanceId: '',
      address: '',
      state: 'READY',
      epoch: epoch(at),
    },
    ...firstSlices(1).map(
      (slice) => ({ kind: 'PointerEntry', slice, mode: 'SINGLE', shards: [shard], epoch: epoch(at) }) as const,
    ),
  ];
  return bodies.map((body, index) => ({
    key: body.kind === 'ShardEntry' ? `s:${body.shardId}` : `p:${body.slice}`,
    value: { change: { epoch: epoch(at), index, count: bodies.length, term: 1, planner: 'p' }, body },
    offset: firstOffset + index,
    endOffset: firstOffset + bodies.length,
  }));
}

/** Shards that answer `found`, or `moved` when there is nothing. */
function shards(answers: ReadonlyMap<ShardId, readonly Subscriber[]>): Provisioner {
  const store = (id: ShardId) => {
    const found = answers.get(id);
    const answer =
      found === undefined
        ? { kind: 'moved' as const, epoch: epoch(2) }
        : { kind: 'found' as const, subscribers: found };
    return {
      lookup: async (filters: readonly string[]) => filters.map(() => answer),
      match: async (queries: readonly unknown[]) =>
        queries.map(() => (answer.kind === 'moved' ? answer : { kind: 'found' as const, subscribers: [] })),
    } as unknown as ShardStore;
  };
  return { store: async (id: ShardId) => store(id) } as unknown as Provisioner;
}

/** A fleet with one live subscription. */
function fleetOf(): { fleet: Fleet; clientId: string } {
  const fleet = new Fleet({ ...DEFAULT_FLEET, filters: 4 });
  return { fleet, clientId: fleet.next(eventTime(0), FILTER).clientId };
}

const subscriber = (clientId: string): Subscriber => ({ filter: FILTER, clientId, brokerId: 'broker-0', qos: 0 });

function readerOf(...records: readonly { readonly seen: Seen<PointerRecord>; readonly at: number }[]): LaggingReader {
  const reader = new LaggingReader('broker-0', 1);
  for (const { seen, at } of records) reader.arrive(seen, at);
  return reader;
}

const first = change(1, OLD, 0).map((seen) => ({ seen, at: 100 }));
const second = change(2, NEW, first.length).map((seen, index) => ({ seen, at: 200 - index }));

describe('lagging readers', () => {
  test('a reader knows only what has reached it, and its heartbeat says no more', () => {
    const reader = readerOf(...first, ...second);
    reader.catchUp(99);
    expect(reader.heartbeat(99).pointerOffset).toBe(0);
    reader.catchUp(150);
    expect(reader.table.epoch).toBe(1);
    expect(reader.heartbeat(150).pointerOffset).toBe(first.length);
    reader.catchUp(199);
    expect(reader.table.epoch).toBe(1); // One record of the change is not there yet.
    reader.catchUp(200);
    expect(reader.table.epoch).toBe(2);
  });

  for (const { name, live, misses, ghosts } of [
    { name: 'the right answer is neither a miss nor a ghost', live: (id: string) => [id], misses: 0, ghosts: 0 },
    { name: 'a live subscription that is not in the answer is a miss', live: () => [], misses: 1, ghosts: 0 },
    {
      name: 'one in the answer that is not live is a ghost',
      live: (id: string) => [id, 'nobody'],
      misses: 0,
      ghosts: 1,
    },
    { name: 'another client in its place is both', live: () => ['nobody'], misses: 1, ghosts: 1 },
  ])
    test(name, async () => {
      const { fleet, clientId } = fleetOf();
      const reader = readerOf(...first);
      reader.catchUp(100);
      const prober = new Prober(shards(new Map([[OLD, live(clientId).map(subscriber)]])), fleet);
      await prober.filter(reader, FILTER);
      expect(prober.counts).toMatchObject({ probes: 1, misses, ghosts, redirects: 0, unanswered: 0 });
    });

  test('a reader that is told MOVED takes in what it has missed and asks again', async () => {
    const { fleet, clientId } = fleetOf();
    const reader = readerOf(...first, ...second);
    reader.catchUp(100);
    const prober = new Prober(shards(new Map([[NEW, [subscriber(clientId)]]])), fleet);
    await prober.filter(reader, FILTER);
    expect(prober.counts).toMatchObject({ probes: 1, misses: 0, ghosts: 0, redirects: 1, unanswered: 0 });
  });

  test('a question that is sent on for ever is counted as unanswered', async () => {
    const { fleet } = fleetOf();
    const reader = readerOf(...first);
    reader.catchUp(100);
    const prober = new Prober(shards(new Map()), fleet);
    await prober.filter(reader, FILTER);
    expect(prober.counts).toMatchObject({ probes: 1, misses: 0, redirects: 2, unanswered: 1 });
  });
});
