// Floods: right in each record, wrong in their number or size. They are worked in bounded time and memory, and no row or
// record that comes of them grows beyond what a topic takes. Numbers are scaled down where each test says so.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OutRecord } from '../../runtime/ports.ts';
import { embeddedCodec } from '../../schemas/avro-codec.ts';
import { eventTime } from '../../schemas/ids.ts';
import { openWorld, START, type World } from './bad-input/world.ts';

const HEAP_GROWTH_BYTES_MAX = 512 << 20;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
/** What is held: when V8 last collected is its own affair. */
function heldBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

let world: World;
let heapBefore = 0;
beforeEach(async () => {
  world = await openWorld(embeddedCodec());
  heapBefore = heldBytes();
});
afterEach(async () => {
  expect(heldBytes() - heapBefore).toBeLessThan(HEAP_GROWTH_BYTES_MAX);
  await world.close(); // Looks at the size of every record that was written.
});

const many = <Value>(count: number, make: (i: number) => Value): Value[] =>
  Array.from({ length: count }, (_, i) => make(i));
/** The flood, and time passing until its windows have closed and a plan was made of them. */
async function flood(records: readonly OutRecord[], minutes = 2): Promise<void> {
  for (let from = 0; from < records.length; from += 5_000) await world.feedGood(records.slice(from, from + 5_000));
  for (let i = 0; i < minutes * 6; i++) {
    await world.run.advance(10_000);
    await world.feedGood([world.event('a/b'), world.event('c/d'), world.event('e/+'), world.traffic('a/b')]);
  }
  world.check();
}
const entriesOf = async (): Promise<number> => {
  let entries = 0;
  for (const shard of ['shard-0001', 'shard-0002'])
    entries += [
      ...(world.run.running.rows('work', 'lives') as Iterable<
        [string, { homes?: Map<string, { shard: string; entries: number }> }]
      >),
    ]
      .flatMap(([, row]) => [...(row.homes?.values() ?? [])])
      .filter((home) => home.shard === shard)
      .reduce((sum, home) => sum + Math.max(0, home.entries), 0);
  return entries;
};

describe('floods', () => {
  test('37: one client with 30,000 filters (for a million)', async () => {
    await flood(many(30_000, (i) => world.event(`home/${i % 97}/${i}`, { clientId: 'one' })));
    expect(await world.clientsOf('home/0/0')).toEqual(['one']);
    expect(await entriesOf()).toBeGreaterThan(0);
  });

  test('38: 30,000 clients on one filter (for a million), concrete and wildcard', async () => {
    await flood(many(30_000, (i) => world.event(i % 2 === 0 ? 'hot/topic' : 'hot/+', { clientId: `client-${i}` })));
    expect(await world.clientsOf('hot/topic')).toHaveLength(15_000);
    expect(await world.clientsOf('hot/+')).toHaveLength(15_000);
  });

  test('59: 10,000 filters that begin with + and differ in the last level', async () => {
    await flood(many(10_000, (i) => world.event(`+/+/${i}`, { clientId: 'one' })));
    expect(await world.clientsOf('+/+/9999')).toEqual(['one']);
  });

  test('70: 30,000 topics of traffic (for 100,000 label sets) make no label sets and no more series', async () => {
    await flood(many(30_000, (i) => world.traffic(`label/${i}/${i}`, { brokerId: `broker-${i}` })));
    expect(world.run.meter.size).toBeLessThan(100);
    expect([...world.run.running.rows('work', 'histories')].length).toBeLessThan(2_000);
  });

  test('44: 600 filters and topics of 65,535 bytes, each in its own first level', async () => {
    const long = (i: number): string => `${i}`.padEnd(65_000, 'x');
    await flood(
      many(600, (i) => i).flatMap((i) => [
        world.event(`${long(i)}/c`),
        world.event(`${long(i)}/+`),
        world.traffic(`${long(i)}/c`, { publishes: 1_000 }),
      ]),
    );
    expect(await world.clientsOf(`${long(599)}/c`)).toEqual(['client-1']);
  });

  test('65: 12,000 brokers send heartbeats, under the longest names there may be', async () => {
    const name = (i: number): string => `"${i}`.padEnd(128, '"');
    await flood(
      many(12_000, (i) =>
        world.metric({ kind: 'BrokerHeartbeat', brokerId: name(i), pointerOffset: i, timestamp: eventTime(START) }),
      ),
    );
  });

  test('66: 12,000 loads of shards that nobody has leave no row', async () => {
    const rows = (): number => [...world.run.running.rows('plan', 'cells')].length;
    await flood([]);
    const before = rows();
    await flood(
      many(12_000, (i) =>
        world.metric({
          kind: 'DatastoreMetrics',
          shardId: `shard-x${i}` as never,
          instanceId: 'i',
          cpu: 1,
          memoryBytes: 1,
          memoryLimitBytes: 1,
          iops: 1,
          iopsLimit: 1,
          entries: 1,
          lookupP99Ms: 1,
          timestamp: eventTime(START),
          nodesPerLookup: -1,
          matchesPerLookup: -1,
        }),
      ),
    );
    expect(rows() - before).toBeLessThan(50);
  });

  test('65: 3,000 plans and steerings asked for by 3,000 ids are each answered once', async () => {
    const before = world.run.log.recordsOf('decisions').length;
    await flood(
      many(1_500, (i) => i).flatMap((i) => [
        world.metric({ kind: 'PlanRequest', requestId: `plan-${i}`, topic: 'a/b', timestamp: eventTime(START) }),
        world.metric({
          kind: 'MoveRequest',
          requestId: `move-${i}`,
          moveId: `move-${i}` as never,
          action: 'ABORT',
          rowsPerSecond: 0,
          timestamp: eventTime(START),
        }),
      ]),
    );
    expect(world.run.log.recordsOf('decisions').length - before).toBeGreaterThanOrEqual(3_000);
  });

  test('68: a silence of an hour, then a burst of 10,000', async () => {
    await flood(many(100, (i) => world.event(`s/${i}`)));
    await world.run.advance(3_600_000);
    await flood(many(10_000, (i) => world.event(`s/${i % 500}`, { clientId: `c-${i}` })));
    expect(await world.clientsOf('s/499')).toContain('c-9999');
  });

  for (const { name, wrong } of [
    { name: 'the year 2099', wrong: Date.UTC(2099, 0, 1) },
    { name: '1970', wrong: 0 },
  ])
    test(`32: a clock in ${name} leads event time away for minutes at most, and plans go on`, async () => {
      const cell = () => world.run.row('plan', 'cells', 0, 'cell') as { now: number; plannedAt: number };
      const state = () => world.run.row('work', 'lives', 0, 'life') as { eventTime: number };
      const minutes = async (count: number): Promise<void> => {
        for (let i = 0; i < count * 6; i++) {
          await world.feedGood(many(200, (n) => world.event(`t/${n}`, { clientId: `c-${i}` })));
          await world.run.advance(10_000);
        }
      };
      await minutes(3);
      const events = many(400, (i) => world.event(`t/${i % 200}`, { timestamp: eventTime(wrong + i * 1_000) }));
      await world.feedGood(events);
      await minutes(15);
      for (const time of [cell().now, cell().plannedAt, state().eventTime])
        expect(Math.abs(time - world.run.clock.now())).toBeLessThan(180_000);
    });

  test('69: constant, zero and single reports give forecasts that are numbers', async () => {
    for (let minute = 0; minute < 75; minute++) {
      await world.feedGood([
        world.traffic('zero', { publishes: 0, bytes: 0 }),
        ...many(10, () => world.traffic('constant', { publishes: 600 })),
        ...(minute === 0 ? [world.traffic('single', { publishes: 1 })] : []),
      ]);
      for (let i = 0; i < 6; i++) await world.run.advance(10_000);
    }
    const forecasts = world.run.log.recordsOf('forecasts').filter((each) => each.value !== null);
    expect(forecasts.length).toBeGreaterThan(50);
    for (const { value } of forecasts) {
      const { quantiles, currentPerSecond } = world.codec.decode('Forecast', value!) as {
        quantiles: number[];
        currentPerSecond: number;
      };
      for (const each of [...quantiles, currentPerSecond]) if (!(each >= 0 && each < 1e9)) expect(each).toBe('a rate');
    }
  });
});
