import { describe, expect, test } from 'vitest';
import { countRates, type Row, windows } from '../../../processors/rates/rates.ts';
import { RATES_DEFAULTS, RATES_SETTINGS, type RatesSettings } from '../../../processors/rates/settings.ts';
import type { EventTime } from '../../../schemas/ids.ts';
import type { Action, RateWindow } from '../../../schemas/records.ts';
import { filterHash, leadingBits, partitionOf, placeOf } from '../../../state/keys.ts';
import { singleEvents } from '../../../state/watermark.ts';
import { fc } from '../../support/property.ts';
import { rowsOf } from './rows.ts';

const PARTITION = 3;
const SECOND = 1000;
/** 2024-01-01: a whole number of windows. */
const T0 = 1_704_067_200_000;
const SETTINGS: RatesSettings = { ...RATES_DEFAULTS, partitions: 8, watermark: singleEvents(5), graceMs: 5_000 };

function task(settings: RatesSettings = SETTINGS) {
  const rows = rowsOf<Row>();
  const step = countRates(settings);
  const out: RateWindow[] = [];
  const take = (emits: ReturnType<typeof step>) => {
    for (const emit of emits) {
      expect(emit.key).toBe(emit.value!.series);
      out.push(emit.value!);
    }
  };
  const place = { partition: PARTITION, offset: 0 };
  return {
    out,
    rows,
    event(filter: string, seconds: number, client = 'client', action: Action = 'SUBSCRIBE') {
      const value = {
        action,
        topicFilter: filter,
        clientId: client,
        brokerId: 'b',
        qos: 0,
        timestamp: (T0 + seconds * SECOND) as EventTime,
      };
      take(step(rows, { topic: 'subscriptions', ...place, key: filter, value }));
    },
    wildcard(filter: string, seconds: number) {
      const { routingKey } = placeOf(filter);
      const event = {
        action: 'SUBSCRIBE' as const,
        topicFilter: filter,
        clientId: 'client',
        brokerId: 'b',
        qos: 0,
        timestamp: (T0 + seconds * SECOND) as EventTime,
        offset: 0,
        incarnation: 0,
      };
      take(
        step(rows, {
          topic: 'wildcard-subscriptions',
          ...place,
          key: routingKey,
          value: { firstLevel: routingKey, events: [event] },
        }),
      );
    },
    traffic(topic: string, seconds: number, publishes: number, windowMs = 10_000) {
      const body = {
        kind: 'TopicTraffic' as const,
        brokerId: 'b',
        topic,
        publishes,
        bytes: publishes * 100,
        windowStart: (T0 + seconds * SECOND) as EventTime,
        windowMs,
      };
      take(step(rows, { topic: 'metrics', ...place, key: topic, value: { body } }));
    },
    tick(seconds: number, times = 1) {
      for (let i = 0; i < times; i++)
        take(
          step(rows, { topic: 'clock', ...place, key: '', value: { eventTime: T0 + seconds * SECOND, wallTime: 0 } }),
        );
    },
  };
}

const sum = (
  records: readonly RateWindow[],
  field: 'subscribes' | 'unsubscribes' | 'publishes' | 'lateEvents',
): number => records.reduce((total, each) => total + each[field], 0);

const leafOf = (filter: string): string => `c/${PARTITION}/${leadingBits(filterHash(filter), SETTINGS.leafBits)}`;

const ELSEWHERE = ['x', 'y', 'z'].find((filter) => leafOf(filter) !== leafOf('a/b'))!;

describe('rates: windows of one filter', () => {
  for (const { name, seconds, closed, established } of [
    {
      name: 'R1: no window closes while events stay within it and its grace',
      seconds: [0, 5, 9.999, 14.999],
      closed: [],
    },
    { name: 'R1: the first event past the end and the grace closes it', seconds: [0, 5, 9, 15], closed: [[0, 3]] },
    { name: 'R1: an event of the grace counts in its own window', seconds: [0, 12, 9, 15], closed: [[0, 2]] },
    {
      name: 'R1: both open windows close, each once',
      seconds: [0, 11, 14, 30],
      closed: [
        [0, 1],
        [10, 2],
      ],
    },
    {
      name: 'R2: a late event reopens nothing and is told in the next window',
      seconds: [0, 15, 3, 25],
      closed: [
        [0, 1],
        [10, 1, 1],
      ],
    },
    {
      name: 'R4: windows without events emit nothing',
      seconds: [0, 100, 500],
      closed: [
        [0, 1],
        [100, 1],
      ],
    },
    { name: 'R3: an hour ahead is believed', seconds: [0, 3600], closed: [[0, 1]], established: true },
    {
      name: 'R3: more than an hour ahead is not, and counts now',
      seconds: [0, 3601, 2],
      closed: [],
      established: true,
    },
    { name: 'R3: one event from 2099 closes nothing', seconds: [0, 2.4e9, 2, 16], closed: [[0, 3]], established: true },
    {
      name: 'R3: five in a row that agree are believed',
      seconds: [0, 9000, 9001, 9002, 9003, 9004],
      closed: [[0, 5]],
      established: true,
    },
    {
      name: 'R3: five in a row that disagree are not',
      seconds: [0, 9000, 19000, 9000, 19000, 9000, 19000],
      closed: [],
      established: true,
    },
    {
      name: 'R3: an honest event in between starts the count again',
      seconds: [0, 9000, 9001, 9002, 9003, 1, 9004],
      closed: [],
      established: true,
    },
    {
      name: 'R3: a first event from 2099 is outvoted by what follows',
      seconds: [2.4e9, 1, 2, 3, 16],
      closed: [[0, 4]],
    },
    {
      name: 'R3: fifty in a row that agree on the past take event time back from a wrong future',
      seconds: [2.4e9, ...Array.from({ length: 50 }, (_, i) => 1 + i / 100), 5, 16],
      closed: [
        [-10, 0, 49],
        [0, 3],
      ],
      established: true,
    },
    {
      name: 'R2: once established, the past is late however often it is told',
      seconds: [20000, 1, 2, 3, 4, 5, 6, 7, 20016],
      closed: [
        [19990, 0, 7],
        [20000, 1],
      ],
      established: true,
    },
  ] as { name: string; seconds: number[]; closed: number[][]; established?: boolean }[])
    test(name, () => {
      const { event, out, rows } = task();
      const [first, ...later] = seconds;
      event('a/b', first!);
      // Filters of another leaf speak for the first event's time without adding to this filter's series.
      if (established) for (let i = 0; i < 5; i++) event(ELSEWHERE, first!);
      for (const at of later) event('a/b', at);
      const mine = out.filter((each) => each.series === leafOf('a/b'));
      expect(
        mine.map(({ windowStart, subscribes, lateEvents }) => [
          (windowStart - T0) / SECOND,
          subscribes,
          ...(lateEvents > 0 ? [lateEvents] : []),
        ]),
      ).toEqual(closed);
      expect(rows.size).toBe(1);
    });
});

describe('rates: what counts where', () => {
  test('subscribes and unsubscribes are counted apart, with distinct clients', () => {
    const { event, out } = task();
    for (let i = 0; i < 30; i++) event('a', 1, `client-${i % 20}`, i % 3 === 0 ? 'UNSUBSCRIBE' : 'SUBSCRIBE');
    event('a', 20);
    expect(out[0]).toMatchObject({
      series: leafOf('a'),
      source: PARTITION,
      windowMs: 10_000,
      subscribes: 20,
      unsubscribes: 10,
    });
    expect(out[0]!.distinctClients).toBeGreaterThan(16);
    expect(out[0]!.distinctClients).toBeLessThan(24);
  });

  for (const filter of ['a/+', '#', '$share/g/a/b', 'a/#'])
    test(`R5: ${filter} is not counted from subscriptions`, () => {
      const { event, out, rows } = task();
      event(filter, 0);
      event(filter, 60);
      expect(out).toEqual([]);
      expect(rows.size).toBe(0);
    });

  test('R5: wildcard events count in the rest of their partition', () => {
    const { wildcard, out } = task();
    for (const filter of ['a/+', '+/b', '$share/g/a/b']) wildcard(filter, 1);
    wildcard('a/#', 20);
    expect(out).toMatchObject([{ series: `w/${PARTITION}/`, subscribes: 3, publishes: 0 }]);
  });

  test('a heavy first level becomes a group of its own, and its events leave the rest', () => {
    const { wildcard, out } = task();
    for (let s = 0; s < 120; s++) {
      for (let i = 0; i < 20; i++) wildcard(`heavy/${i}/+`, s);
      wildcard(`rare-${s}/+`, s);
    }
    wildcard('x/+', 200);
    const heavy = out.filter((each) => each.series === `w/${PARTITION}/heavy/`);
    const rest = out.filter((each) => each.series === `w/${PARTITION}/`);
    expect(heavy.length).toBeGreaterThan(8);
    for (const each of heavy) expect(each.subscribes).toBe(200); // H2: whole windows alone.
    expect(sum(heavy, 'subscribes') + sum(rest, 'subscribes')).toBe(120 * 21);
    expect(rest.at(-1)!.subscribes).toBe(10);
  });

  test('a heavy topic is a series as well, from its first whole window on, and stops when it has cooled', () => {
    const { event, out } = task({ ...SETTINGS, heavy: { share: 0.05, perSecond: 1, coolWindows: 3 } });
    for (let s = 0; s < 600; s++) {
      if (s < 300) for (let i = 0; i < 10; i++) event('hot', s, `client-${i}`);
      for (let i = 0; i < 20; i++) event(`cold/${s % 97}/${i}`, s);
    }
    const hot = out.filter((each) => each.series === 't/hot');
    for (const each of hot) expect([0, 100]).toContain(each.subscribes);
    expect(hot.length).toBeGreaterThan(26);
    expect(hot.at(-1)!.windowStart - T0).toBe(290 * SECOND);
    const leaves = out.filter((each) => each.series.startsWith('c/'));
    expect(sum(leaves, 'subscribes')).toBeGreaterThan(300 * 10 + 580 * 20);
  });

  test('traffic counts in the leaf, in the first level’s partition and in the root’s', () => {
    const { traffic, out } = task();
    traffic('plant/1/temperature', 0, 500);
    traffic('plant/1/temperature', 20, 1);
    const partition = partitionOf('plant', 8);
    const root = partitionOf('#', 8);
    const expected = new Set([leafOf('plant/1/temperature'), `w/${partition}/`, `w/${root}/`]);
    expect(new Set(out.map((each) => each.series as string))).toEqual(expected);
    for (const each of out)
      expect(each).toMatchObject({
        source: PARTITION,
        publishes: 500,
        bytes: 50_000,
        subscribes: 0,
        distinctClients: 0,
      });
  });

  test('a traffic report late by at most its own length counts in the older open window', () => {
    const { traffic, out } = task();
    traffic('a', 100, 1);
    traffic('a', 60, 7, 60_000);
    traffic('a', 0, 1000);
    traffic('a', 130, 1);
    const leaf = out.filter((each) => each.series === leafOf('a'));
    expect([sum(leaf, 'publishes'), sum(leaf, 'lateEvents')]).toEqual([8, 1]);
  });

  test('a topic that is heavy by its subscriptions has its traffic told too', () => {
    const { event, traffic, out } = task({ ...SETTINGS, heavyTopics: 4 });
    for (let s = 0; s < 100; s++) {
      for (let i = 0; i < 10; i++) event('hot', s);
      if (s % 10 === 0) {
        traffic('hot', s, 5);
        for (let i = 0; i < 8; i++) traffic(`busy/${i}`, s, 1_000_000);
      }
    }
    expect(
      sum(
        out.filter((each) => each.series === 't/hot'),
        'publishes',
      ),
    ).toBeGreaterThan(20);
  });
});

describe('rates: the grace', () => {
  test('the longest that may be set tells each event in its own window, however late within it', () => {
    const { event, out } = task({ ...SETTINGS, graceMs: RATES_SETTINGS.rateGraceMs.max! });
    for (const seconds of [0, 19.999, 9.999, 10, 29.999, 19.999, 20, 60]) event('a', seconds);
    expect(out.map(({ windowStart, subscribes }) => [(windowStart - T0) / SECOND, subscribes])).toEqual([
      [0, 2],
      [10, 3],
      [20, 2],
    ]);
  });
});

describe('rates: the clock', () => {
  test('R1: ticks close the windows of an idle partition, once', () => {
    const { event, tick, out } = task();
    event('a', 1);
    tick(14, 20);
    expect(out).toEqual([]);
    tick(15, 1);
    tick(3600, 40);
    expect(out.map((each) => each.subscribes)).toEqual([1]);
  });

  test('ticks do not close a lane that is catching up', () => {
    const { event, tick, out } = task();
    for (let s = 0; s < 300; s += 3) {
      event('a', s);
      tick(1000, 5);
    }
    event('a', 1000);
    expect([sum(out, 'subscribes'), sum(out, 'lateEvents')]).toEqual([100, 0]);
  });

  test('R3: a tick from 2099 closes nothing', () => {
    const { event, tick, out } = task();
    event('a', 1);
    tick(2.4e9, 500);
    event('a', 2);
    event('a', 15);
    expect(out.map((each) => each.subscribes)).toEqual([2]);
  });
});

describe('rates: the row', () => {
  test('equals the plain version for any stream, and goes on after being stored and read back at any point', () => {
    const entry = fc.record({
      filter: fc.integer({ min: 0, max: 30 }).map((n) => `topic/${n}`),
      advance: fc.integer({ min: -12_000, max: 9_000 }),
      subscribe: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 120 }), fc.nat(119), (entries, stored) => {
        const { event, out, rows } = task({ ...SETTINGS, heavy: { share: 2, perSecond: 0, coolWindows: 1 } });
        const plain = new PlainRates();
        let now = 0;
        entries.forEach(({ filter, advance, subscribe }, index) => {
          if (index === stored)
            for (const [key, row] of [...rows.entries()]) rows.set(key, windows.decode(windows.encode(row)));
          const at = Math.max(0, now + advance);
          now = Math.max(now, at);
          event(filter, at / SECOND, 'client', subscribe ? 'SUBSCRIBE' : 'UNSUBSCRIBE');
          plain.count(leafOf(filter), T0 + at, subscribe);
        });
        expect(
          out
            .filter(({ subscribes, unsubscribes }) => subscribes + unsubscribes > 0) // The others tell of late events.
            .map(
              ({ series, windowStart, subscribes, unsubscribes }) =>
                `${series} ${windowStart} ${subscribes} ${unsubscribes}`,
            )
            .sort(),
        ).toEqual(plain.closed.sort());
        const open = [...plain.open.values()].reduce((total, [up, down]) => total + up + down, 0);
        expect(sum(out, 'subscribes') + sum(out, 'unsubscribes') + open + plain.late).toBe(entries.length);
      }),
      { numRuns: 300 },
    );
  });

  test('stored and read back in the middle, heavy topics included, nothing changes', () => {
    const straight = task();
    const stored = task();
    for (const each of [straight, stored])
      for (let s = 0; s < 200; s++) {
        for (let i = 0; i < 10; i++) each.event(`t/${i % (1 + (s % 7))}`, s, `client-${i * s}`);
        each.wildcard(`group-${s % 3}/+`, s);
        each.traffic(`t/${s % 5}`, s, 20 * s);
        if (each === stored && s % 37 === 0)
          for (const [key, row] of [...each.rows.entries()]) each.rows.set(key, windows.decode(windows.encode(row)));
      }
    expect(straight.out.filter((each) => each.series.startsWith('t/')).length).toBeGreaterThan(50);
    expect(stored.out).toEqual(straight.out);
  });

  test('a busy row stays under 64 KiB', () => {
    const { event, rows } = task();
    for (let i = 0; i < 20_000; i++) event(`site/${i % 3000}/sensor`, i / 500, `client-${i}`);
    expect(windows.encode(rows.get('windows')!).length).toBeLessThan(65_536);
  });

  test('other leaves keep the clock: what was closed stays closed', () => {
    const { event, rows } = task();
    event('a', 0);
    event('a', 100);
    const step = countRates({ ...SETTINGS, leafBits: 1 });
    const value = {
      action: 'SUBSCRIBE' as const,
      topicFilter: 'a',
      clientId: 'c',
      brokerId: 'b',
      qos: 0,
      timestamp: T0 as EventTime,
    };
    const emits = [T0, T0 + 200 * SECOND].flatMap((timestamp) =>
      step(rows, {
        topic: 'subscriptions',
        partition: PARTITION,
        offset: 0,
        key: 'a',
        value: { ...value, timestamp: timestamp as EventTime },
      }),
    );
    expect(emits.map((each) => [each.value!.windowStart, each.value!.lateEvents])).toEqual([
      [T0 + 100 * SECOND - 10 * SECOND, 1],
    ]);
  });
});

/** The slow plain version: a map of windows, closed by looking at all of them. */
class PlainRates {
  readonly open = new Map<string, [number, number]>();
  readonly closed: string[] = [];
  late = 0;
  #eventTime = Number.NEGATIVE_INFINITY;
  #closedBefore = Number.NEGATIVE_INFINITY;

  count(series: string, timestamp: number, subscribe: boolean): void {
    this.#eventTime = Math.max(this.#eventTime, timestamp);
    this.#closedBefore = Math.floor((this.#eventTime - SETTINGS.graceMs) / 10_000) * 10_000;
    for (const [key, [up, down]] of this.open) {
      if (Number(key.split(' ')[1]) >= this.#closedBefore) continue;
      this.closed.push(`${key} ${up} ${down}`);
      this.open.delete(key);
    }
    const start = Math.floor(timestamp / 10_000) * 10_000;
    if (start < this.#closedBefore) {
      this.late++;
      return;
    }
    const window = this.open.get(`${series} ${start}`) ?? [0, 0];
    window[subscribe ? 0 : 1]++;
    this.open.set(`${series} ${start}`, window);
  }
}
