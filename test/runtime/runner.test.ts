// The runner's promises (K1 to K5 of runtime/task.ts), on small topologies made for the purpose.

import { describe, expect, test } from 'vitest';
import { ingestWith } from '../../processors/ingest/ingest.ts';
import { byKey, type Emit, type Input, jsonTable, type Step, type Tick } from '../../processors/step.ts';
import { inlineFitter } from '../../runtime/inline-fitter.ts';
import type { Log } from '../../runtime/ports.ts';
import { run as start } from '../../runtime/runner.ts';
import { SimulatedClock } from '../../runtime/simulated-clock.ts';
import { silentLogger } from '../../runtime/telemetry.ts';
import { type Codec, jsonCodec } from '../../schemas/codec.ts';
import { AppError } from '../../schemas/errors.ts';
import { eventTime } from '../../schemas/ids.ts';
import type { RateWindow, SubscriptionEvent, WildcardEvents } from '../../schemas/records.ts';
import type { Effect, Outcome } from '../../state/effects.ts';
import { partitionOf } from '../../state/keys.ts';
import { memoryFolder } from '../../state/memory-store.ts';
import type { Change, StoreFolder } from '../../state/store.ts';
import { defineTopology, PLAN, stage } from '../../topology/graph.ts';
import {
  clientEvents,
  clock,
  deadLetters,
  effects,
  fits,
  fitted,
  outcomes,
  rates,
  subscriptions,
  wildcards,
} from '../../topology/topics.ts';
import { CountingMeter, drive } from '../support/drive.ts';
import { MemoryLog } from '../support/memory-log.ts';

const event = (topicFilter: string, clientId = 'client-1'): SubscriptionEvent => ({
  action: 'SUBSCRIBE',
  topicFilter,
  clientId,
  brokerId: 'broker-1',
  qos: 1,
  timestamp: eventTime(1_000),
});

const windowOf = (series: string, subscribes: number): RateWindow => ({
  series: series as RateWindow['series'],
  source: 0,
  windowStart: eventTime(0),
  windowMs: 10_000,
  subscribes,
  unsubscribes: 0,
  publishes: 0,
  bytes: 0,
  distinctClients: 0,
  lateEvents: 0,
});

/** Counts the events of each filter and emits the count. */
const counting = defineTopology(
  [
    stage('count', {
      reads: [subscriptions],
      keeps: jsonTable<number>('counts'),
      emits: [rates],
      step: byKey<Input<'subscriptions', SubscriptionEvent>, number, Emit<'rates', RateWindow>>(
        (input) => input.key,
        (row = 0, input) => ({
          row: row + 1,
          emit: [{ topic: 'rates', key: input.key, value: windowOf(input.key, row + 1) }],
        }),
      ),
    }),
  ],
  { inputs: [subscriptions] },
);

/** Writes each event to a shard; counts what came of it. */
const writing = (perform: (effects: readonly Effect[]) => Promise<Outcome[]>) => {
  const step: Step<
    Input<'subscriptions', SubscriptionEvent> | Input<'outcomes', Outcome> | Input<'clock', Tick>,
    number,
    Emit<'effects', Effect>
  > = (rows, input) => {
    if (input.topic === 'outcomes') rows.set('outcomes', (rows.get('outcomes') ?? 0) + 1);
    if (input.topic !== 'subscriptions') return [];
    rows.set('events', (rows.get('events') ?? 0) + 1);
    return [{ topic: 'effects', key: '', value: { kind: 'write', shard: 's' as never, rows: [] } }];
  };
  return {
    topology: defineTopology(
      [
        stage('write', {
          reads: [subscriptions, outcomes, clock],
          keeps: jsonTable<number>('tallies'),
          emits: [effects],
          step,
        }),
      ],
      { inputs: [subscriptions] },
    ),
    fitter: inlineFitter,
    effects: { perform },
  };
};

const written: Outcome = { kind: 'written', shard: 's' as never, applied: 1, stale: 0 };

describe('a task', () => {
  test('keeps rows, emits and positions in one commit', async () => {
    const run = await drive(counting);
    for (const filter of ['a', 'b', 'a']) await run.send(subscriptions, filter, event(filter));
    expect(run.row('work', 'counts', 0, 'a')).toBe(2);
    expect(run.read(rates).map((record) => [record.key, (record.value as RateWindow).subscribes])).toEqual([
      ['a', 1],
      ['b', 1],
      ['a', 2],
    ]);
    await run.stop();
  });

  test('waits for a schema registry that is away, and steps its records once it is back', async () => {
    let isAway = true;
    const codec: Codec = {
      ...jsonCodec,
      async prepare() {
        if (isAway) throw new AppError('REGISTRY_UNAVAILABLE', 'no answer');
      },
    };
    const run = await drive(counting, { codec });
    let isOver = false;
    const over = run.running.done.catch(() => {
      isOver = true;
    });
    const value = jsonCodec.encode('SubscriptionEvent', event('a'));
    await run.log.append([{ topic: subscriptions.name, partition: 0, key: 'a', value }]);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    expect(run.row('work', 'counts', 0, 'a')).toBeUndefined();
    isAway = false;
    await run.clock.settle(run.log.settle());
    expect(run.row('work', 'counts', 0, 'a')).toBe(1);
    await run.stop();
    await over;
  });

  test('goes on after a restart where it stopped', async () => {
    const first = await drive(counting);
    await first.send(subscriptions, 'a', event('a'));
    await first.stop();
    const second = await drive(counting, { storage: first.log.storage, stores: first.stores });
    expect(second.row('work', 'counts', 0, 'a')).toBe(1);
    await second.send(subscriptions, 'a', event('a'));
    expect(second.row('work', 'counts', 0, 'a')).toBe(2);
    await second.stop();
  });

  test('rebuilds a lost store from the changelog', async () => {
    const first = await drive(counting);
    for (const filter of ['a', 'b', 'a']) await first.send(subscriptions, filter, event(filter));
    await first.stop();
    const second = await drive(counting, { storage: first.log.storage });
    expect(second.row('work', 'counts', 0, 'a')).toBe(2);
    expect(second.row('work', 'counts', 0, 'b')).toBe(1);
    await second.stop();
  });

  test('replays only what its store is missing', async () => {
    const first = await drive(counting);
    await first.send(subscriptions, 'a', event('a'));
    const stores = memoryFolder();
    const copy = await stores.open('work-0');
    const store = await first.stores.open('work-0');
    const changes: Change[] = [];
    for await (const [key, value] of store.entries('')) changes.push({ key, value });
    await copy.write(changes, (await store.mark())!);
    for (const filter of ['b', 'a']) await first.send(subscriptions, filter, event(filter));
    await first.stop();
    const second = await drive(counting, { storage: first.log.storage, stores });
    expect(second.row('work', 'counts', 0, 'a')).toBe(2);
    expect(second.row('work', 'counts', 0, 'b')).toBe(1);
    // Two commits, each of one row and the positions; not the first one.
    expect(second.meter.sum('foreshard_restored_records_total')).toBe(4);
    await second.stop();
  });

  test('destroys a store that cannot be trusted, and rebuilds it from the changelog', async () => {
    const first = await drive(counting);
    for (const filter of ['a', 'b', 'a']) await first.send(subscriptions, filter, event(filter));
    await first.stop();
    let destroyed = 0;
    const corrupt: StoreFolder = {
      async open(task) {
        if (destroyed === 0) throw new AppError('STORE_CORRUPT', 'a block does not match its checksum', { task });
        return first.stores.open(task);
      },
      async destroy(task) {
        destroyed++;
        await first.stores.destroy(task);
      },
    };
    const second = await drive(counting, { storage: first.log.storage, stores: corrupt });
    expect(destroyed).toBe(1);
    expect(second.row('work', 'counts', 0, 'a')).toBe(2);
    expect(second.row('work', 'counts', 0, 'b')).toBe(1);
    await second.stop();
  });

  for (const { name, tookEffect } of [
    { name: 'a commit whose result is unknown and that took effect', tookEffect: true },
    { name: 'a commit whose result is unknown and that did not take effect', tookEffect: false },
  ]) {
    test(`counts every event once through ${name}`, async () => {
      const run = await drive(counting);
      await run.send(subscriptions, 'a', event('a'));
      run.log.failNextCommit(tookEffect);
      await run.send(subscriptions, 'a', event('a'));
      await run.send(subscriptions, 'a', event('a'));
      expect(run.row('work', 'counts', 0, 'a')).toBe(3);
      expect(run.read(rates).map((record) => (record.value as RateWindow).subscribes)).toEqual([1, 2, 3]);
      await run.stop();
    });
  }

  test('steps a batch that is delivered twice once, and counts the rest as duplicate', async () => {
    const run = await drive(counting);
    run.log.deliverTwice();
    await run.send(subscriptions, 'a', event('a'));
    expect(run.row('work', 'counts', 0, 'a')).toBe(1);
    expect(run.meter.sum('foreshard_duplicate_total')).toBe(1);
    await run.stop();
  });

  test('joins what one commit sends on under one key, in order', async () => {
    const run = await drive(
      defineTopology(
        [stage('ingest', { reads: [subscriptions], emits: [wildcards, clientEvents], step: ingestWith(0) })],
        {
          inputs: [subscriptions],
        },
      ),
    );
    const filters = ['home/+/a', 'home/+/b', 'home/#', 'yard/+'];
    await run.log.append(
      filters.map((filter) => ({
        topic: 'subscriptions',
        partition: 0,
        key: filter,
        value: Buffer.from(JSON.stringify(event(filter))),
      })),
    );
    await run.log.settle();
    expect(
      run
        .read(wildcards)
        .map((record) => [record.key, (record.value as WildcardEvents).events.map((each) => each.topicFilter)]),
    ).toEqual([
      ['home', ['home/+/a', 'home/+/b', 'home/#']],
      ['yard', ['yard/+']],
    ]);
    await run.stop();
  });
});

describe('a refused record', () => {
  const good = Buffer.from(JSON.stringify(event('a')));
  for (const { name, key, value, partition, code } of [
    { name: 'without a value', key: 'a', value: null, code: 'VALUE_MISSING' },
    { name: 'with an empty value', key: 'a', value: Buffer.alloc(0), code: 'VALUE_MISSING' },
    { name: 'without a key', key: null, value: good, code: 'KEY_MISSING' },
    { name: 'whose bytes are not a record', key: 'a', value: Buffer.from('{"action":'), code: 'UNDECODABLE' },
    { name: 'whose key is another filter', key: 'b', value: good, code: 'KEY_MISMATCH' },
    { name: 'above 1 MiB', key: 'a', value: Buffer.alloc((1 << 20) + 1, 0x20), code: 'VALUE_TOO_LARGE' },
    {
      name: 'in the wrong partition',
      key: 'a',
      value: good,
      partition: 1 - partitionOf('a', 2),
      code: 'WRONG_PARTITION',
    },
  ]) {
    test(`${name} is dead-lettered as ${code}, and its neighbours are worked`, async () => {
      const run = await drive(counting, { partitions: 2 });
      const at = partition ?? partitionOf('a', 2);
      await run.sendBytes(subscriptions, key, value, at);
      await run.send(subscriptions, 'a', event('a'));
      expect(run.row('work', 'counts', partitionOf('a', 2), 'a')).toBe(1);
      const [letter, ...rest] = run.read(deadLetters);
      expect(rest).toEqual([]);
      expect(letter!.key).toBe(key);
      expect(letter!.value).toEqual(value === null ? null : value.subarray(0, 1 << 20));
      const headers = Object.fromEntries(
        Object.entries(letter!.headers).map(([header, each]) => [header, String(each)]),
      );
      expect(headers).toMatchObject({
        'foreshard.code': code,
        '__streams.errors.topic': 'subscriptions',
        '__streams.errors.partition': String(at),
        '__streams.errors.offset': '0',
      });
      expect(run.meter.sum('foreshard_refused_total', { code })).toBe(1);
      expect(run.meter.sum('foreshard_dead_lettered_total')).toBe(1);
      expect(run.meter.sum('foreshard_consumed_total')).toBe(
        run.meter.sum('foreshard_stepped_total') + run.meter.sum('foreshard_refused_records_total'),
      );
      await run.stop();
    });
  }
});

describe('a batch with refused records', () => {
  const good = jsonCodec.encode('SubscriptionEvent', event('a'));
  const bad: Readonly<Record<string, { readonly key: string | null; readonly value: Buffer | null }>> = {
    'without a value': { key: 'a', value: null },
    'without a key': { key: null, value: good },
    'that is no record': { key: 'a', value: Buffer.from('{"action":') },
    'whose key is another filter': { key: 'b', value: good },
    'above 1 MiB': { key: 'a', value: Buffer.alloc((1 << 20) + 1, 0x20) },
  };
  for (const [name, refused] of Object.entries(bad))
    for (const pattern of ['bad good good', 'bad bad good', 'good bad good', 'good good bad', 'bad', 'bad bad'])
      test(`loses none of the others, and is passed whole: ${pattern}, the bad one ${name}`, async () => {
        const run = await drive(counting);
        const kinds = pattern.split(' ');
        const goods = kinds.filter((kind) => kind === 'good').length;
        await run.log.append(
          kinds.map((kind) => ({
            topic: 'subscriptions',
            partition: 0,
            ...(kind === 'good' ? { key: 'a', value: good } : refused),
          })),
        );
        await run.log.settle();
        await run.send(subscriptions, 'a', event('a'));
        expect(run.row('work', 'counts', 0, 'a')).toBe(goods + 1);
        expect(run.read(deadLetters)).toHaveLength(kinds.length - goods);
        expect(run.meter.sum('foreshard_stepped_total')).toBe(goods + 1);
        expect(run.meter.sum('foreshard_refused_records_total')).toBe(kinds.length - goods);
        expect(run.meter.sum('foreshard_consumed_total')).toBe(kinds.length + 1);
        await run.stop();
      });
});

describe('effects', () => {
  test('are performed, and their outcomes stepped, before the positions are committed', async () => {
    const seen: unknown[] = [];
    const { topology, effects } = writing(async (asked) => {
      seen.push(...asked.map((effect) => effect.kind));
      return asked.map(() => written);
    });
    const run = await drive(topology, { effects });
    await run.send(subscriptions, 'a', event('a'));
    expect(seen).toEqual(['write']);
    expect(run.row('work', 'tallies', 0, 'outcomes')).toBe(1);
    await run.stop();
  });

  test('on a store that does not answer are repeated until it does, and nothing is committed meanwhile', async () => {
    let calls = 0;
    let committed = (): unknown[] => [];
    const { topology, effects } = writing(async (asked) => {
      expect(committed()).toEqual(['{"inputs":{},"incarnation":0,"starts":1}']);
      if (++calls < 4) throw new AppError('STORE_UNAVAILABLE', 'the store is away', { shard: 's' });
      return asked.map(() => written);
    });
    const run = await drive(topology, { effects });
    committed = () => run.log.recordsOf('drive-work-changelog').map(({ value }) => value?.toString('utf8'));
    const began = run.clock.now();
    await run.send(subscriptions, 'a', event('a'));
    expect(run.clock.now() - began).toBe(100 + 200 + 400); // The pauses between the tries double.
    expect(calls).toBe(4);
    expect(run.row('work', 'tallies', 0, 'events')).toBe(1);
    await run.stop();
  });

  test('K10: no two starts have one under the same number, whatever became of their commits', async () => {
    type In = Input<'subscriptions', SubscriptionEvent> | Input<'outcomes', Outcome>;
    const byStart: Step<In, number, Emit<'effects', Effect>> = (rows) => [
      { topic: 'effects', key: '', value: { kind: 'write', shard: `start-${rows.starts}` as never, rows: [] } },
    ];
    const topology = defineTopology(
      [
        stage('write', {
          reads: [subscriptions, outcomes],
          keeps: jsonTable<number>('none'),
          emits: [effects],
          step: byStart,
        }),
      ],
      { inputs: [subscriptions] },
    );
    const seen: string[] = [];
    let deaths = 2;
    const perform = async (asked: readonly Effect[]): Promise<Outcome[]> => {
      for (const effect of asked) seen.push((effect as Extract<Effect, { kind: 'write' }>).shard);
      if (deaths-- > 0) run.log.failNextCommit(deaths === 0);
      return [];
    };
    const run = await drive(topology, { effects: { perform } });
    run.log.failNextCommit(false); // Of the number itself: nothing has been done under it.
    await run.send(subscriptions, 'a', event('a'));
    expect(seen).toEqual(['start-1', 'start-2']); // The second commit had taken effect.
    const { log, stores } = run;
    await run.stop();
    const again = await drive(topology, { effects: { perform }, storage: log.storage, stores });
    await again.send(subscriptions, 'a', event('a'));
    expect(seen).toEqual(['start-1', 'start-2', 'start-3']); // The one in between had nothing to do.
    await again.stop();
  });
});

describe('the clock', () => {
  const ticking = (seen: Tick[]) =>
    defineTopology(
      [
        stage('tick', {
          reads: [subscriptions, clock],
          emits: [rates],
          step: (
            _rows,
            input: Input<'subscriptions', SubscriptionEvent> | Input<'clock', Tick>,
          ): readonly Emit<'rates', RateWindow>[] => {
            if (input.topic === 'subscriptions') return [{ topic: 'rates', key: input.key, value: windowOf('s', 1) }];
            seen.push(input.value);
            return [];
          },
        }),
      ],
      { inputs: [subscriptions] },
    );

  test('tells the event time that a closed window proves, and follows the host once all is silent', async () => {
    const seen: Tick[] = [];
    const run = await drive(ticking(seen), { start: 5_000_000 });
    await run.advance(200);
    await run.send(subscriptions, 'a', event('a'));
    await run.advance(200);
    await run.advance(30_000);
    await run.advance(60_000);
    expect(seen).toEqual([
      { eventTime: 0, wallTime: 5_000_200 },
      { eventTime: 10_000, wallTime: 5_000_400 },
      { eventTime: 10_200, wallTime: 5_030_400 },
      { eventTime: 70_200, wallTime: 5_090_400 },
    ]);
    await run.stop();
  });

  test('is not led away by a time that is hours off, and believes it when nothing nearer is proved for a minute', async () => {
    const seen: Tick[] = [];
    const proving = defineTopology(
      [
        stage('tick', {
          reads: [subscriptions, clock],
          emits: [rates],
          step: (
            _rows,
            input: Input<'subscriptions', SubscriptionEvent> | Input<'clock', Tick>,
          ): readonly Emit<'rates', RateWindow>[] => {
            if (input.topic === 'clock') seen.push(input.value);
            else
              return [{ topic: 'rates', key: 's', value: { ...windowOf('s', 1), windowStart: input.value.timestamp } }];
            return [];
          },
        }),
      ],
      { inputs: [subscriptions] },
    );
    const run = await drive(proving, { start: 5_000_000 });
    const proves = (millis: number) =>
      run.send(subscriptions, 'a', { ...event('a'), timestamp: eventTime(millis - 10_000) });
    const told = async (ms: number): Promise<number> => {
      await run.advance(ms);
      return seen.at(-1)!.eventTime;
    };
    const [now, wrong] = [100_000_000, 900_000_000];
    await proves(now);
    await proves(wrong);
    expect(await told(20_000)).toBe(now);
    await proves(now + 20_000);
    await proves(wrong + 20_000);
    await told(1_000);
    expect(await told(59_000)).toBe(now + 20_000 + 30_000); // Silence: the host's clock goes on.
    expect(await told(1_000)).toBe(wrong + 20_000);
    await run.stop();
  });
});

test('a task is nobody’s to ask while it restores, and tells its rows after', async () => {
  const first = await drive(counting);
  await first.send(subscriptions, 'a', event('a'));
  await first.stop();
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const stores: StoreFolder = {
    ...first.stores,
    open: async (name) => {
      await opened;
      return first.stores.open(name);
    },
  };
  const clock = new SimulatedClock(0);
  const log = new MemoryLog({ app: 'drive', partitions: 1, storage: first.log.storage });
  const running = await start(
    counting,
    {
      log,
      codec: jsonCodec,
      stores,
      clock,
      meter: new CountingMeter(),
      logger: silentLogger,
      fitter: inlineFitter,
      effects: { perform: async () => [] },
    },
    {
      app: 'drive',
      partitions: 1,
      address: 'here:1',
      commitIntervalMs: 0,
      commitRecordsMax: 100,
      effectRetryMs: 100,
      tickMs: 1_000,
      idleMs: 30_000,
    },
  );
  const asked = () => [
    running.read('work', 'counts', 0, 'a'),
    [...running.rows('work', 'counts')],
    running.readiness().ready,
  ];
  while (running.readiness().tasks === 0) await new Promise((resolve) => setImmediate(resolve));
  expect(asked()).toEqual([{ kind: 'unknown' }, [], false]);
  open();
  await log.settle();
  expect(asked()).toEqual([{ kind: 'here', row: 1 }, [['a', 1]], true]);
  const stopped = running.stop(1_000);
  clock.advance(1_000);
  await stopped;
  await log.close();
});

test('a bug in a step ends the run with its error', async () => {
  const run = await drive(
    defineTopology(
      [
        stage('broken', {
          reads: [subscriptions],
          emits: [],
          step: () => {
            throw new Error('a bug');
          },
        }),
      ],
      { inputs: [subscriptions] },
    ),
  );
  const ended = expect(run.running.done).rejects.toThrow('a bug');
  await run.send(subscriptions, 'a', event('a')).catch(() => {});
  await ended;
});

for (const name of ['work', 'plan'] as const)
  test(`a group that cannot go on ends the run with its error, and nothing is committed any more: ${name}`, async () => {
    const memory = new MemoryLog({ app: 'drive', partitions: 1 });
    let end = (_error: unknown): void => {};
    const log: Log = new Proxy(memory, {
      get(target, property) {
        if (property !== 'join') {
          const found = Reflect.get(target, property, target) as unknown;
          return typeof found === 'function' ? found.bind(target) : found;
        }
        return async (...given: Parameters<Log['join']>) => {
          const membership = await target.join(...given);
          if (given[0].name !== name) return membership;
          const done = new Promise<void>((_resolve, reject) => {
            end = reject;
          });
          const { ownerOf, standings, leave } = membership;
          return {
            ownerOf: ownerOf.bind(membership),
            standings: standings.bind(membership),
            leave: leave.bind(membership),
            done,
          };
        };
      },
    });
    const clock = new SimulatedClock(0);
    const step: Step<Input<'subscriptions', SubscriptionEvent>, number, never> = (rows, { key }) => {
      rows.set(key, (rows.get(key) ?? 0) + 1);
      return [];
    };
    const reads = [subscriptions] as const;
    const running = await start(
      defineTopology(
        [
          stage('count', { reads, keeps: jsonTable<number>('counts'), emits: [], step }),
          stage('plan', { group: PLAN, reads, keeps: jsonTable<number>('cells'), emits: [], step }),
        ],
        { inputs: [subscriptions] },
      ),
      {
        log,
        codec: jsonCodec,
        stores: memoryFolder(),
        clock,
        meter: new CountingMeter(),
        logger: silentLogger,
        fitter: inlineFitter,
        effects: { perform: async () => [] },
      },
      {
        app: 'drive',
        partitions: 1,
        address: '',
        commitIntervalMs: 0,
        commitRecordsMax: 100,
        effectRetryMs: 100,
        tickMs: Number.MAX_SAFE_INTEGER,
        idleMs: 30_000,
      },
    );
    const ended = expect(running.done).rejects.toThrow('the group is at odds');
    end(new Error('the group is at odds'));
    await ended;
    const kept = memory.recordsOf('drive-work-changelog').length;
    const value = jsonCodec.encode('SubscriptionEvent', event('a'));
    await memory.append([{ topic: 'subscriptions', partition: 0, key: 'a', value }]);
    await memory.settle();
    expect(memory.recordsOf('drive-work-changelog')).toHaveLength(kept);
    expect(running.where('work', 0)).not.toMatchObject({ kind: 'here' });
    await memory.close();
  });

test('a bug in a step that takes a fit ends the run with its error', async () => {
  const asked = { series: 'c/0/', signal: 0, models: [], shape: { nearSteps: 1, farSlots: 1 }, regime: 0 };
  const run = await drive(
    defineTopology(
      [
        stage('broken', {
          reads: [subscriptions, fitted],
          emits: [fits],
          step: (_rows, input) => {
            if (input.topic === 'fitted') throw new Error('a bug in a fit');
            return [{ topic: 'fits' as const, key: '', value: { ...asked, history: new Uint8Array() } }];
          },
        }),
      ],
      { inputs: [subscriptions] },
    ),
  );
  const ended = expect(run.running.done).rejects.toThrow('a bug in a fit');
  await run.send(subscriptions, 'a', event('a'));
  await run.advance(1_000).catch(() => {});
  await ended;
});
