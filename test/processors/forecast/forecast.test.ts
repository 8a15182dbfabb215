import { describe, expect, test } from 'vitest';
import {
  FORECAST_DEFAULTS,
  type ForecastSettings,
  forecastWith,
  histories,
  type Row,
} from '../../../processors/forecast/forecast.ts';
import type { EventTime, SeriesId } from '../../../schemas/ids.ts';
import type { Forecast, RateWindow } from '../../../schemas/records.ts';
import { rowsOf } from '../rates/rows.ts';

const T0 = 1_704_067_200_000;
const MINUTE = 60_000;

function task(settings: Partial<ForecastSettings> = {}) {
  const rows = rowsOf<Row>();
  const step = forecastWith({ ...FORECAST_DEFAULTS, ...settings });
  const out: { key: string; value: Forecast | null }[] = [];
  const place = { partition: 0, offset: 0 };
  const firstTick = (seconds: number): void => {
    const value = { eventTime: T0 + seconds * 1000, wallTime: 0 };
    out.push(...step(rows, { topic: 'clock', ...place, key: '', value }));
  };
  return {
    rows,
    out,
    window(seconds: number, fields: Partial<Omit<RateWindow, 'series'>> & { series?: string } = {}) {
      const value: RateWindow = {
        source: 0,
        windowStart: (T0 + seconds * 1000) as EventTime,
        windowMs: 10_000,
        subscribes: 60,
        unsubscribes: 0,
        publishes: 0,
        bytes: 0,
        distinctClients: 5,
        lateEvents: 0,
        ...fields,
        series: (fields.series ?? 'c/0/') as SeriesId,
      };
      out.push(...step(rows, { topic: 'rates', ...place, key: value.series, value }));
    },
    firstTick,
    /** A time told for the first time closes nothing yet (F7): here the tick that tells it again counts. */
    tick(seconds: number) {
      firstTick(seconds);
      firstTick(seconds);
    },
    store() {
      for (const [key, row] of [...rows.entries()]) rows.set(key, histories.decode(histories.encode(row)));
    },
  };
}

const made = (out: readonly { value: Forecast | null }[]) =>
  out.map(({ value }) => (value === null ? null : [(value.madeAt - T0) / MINUTE, value.currentPerSecond]));

describe('forecast: steps', () => {
  test('F7: when time leaps, windows that are committed after the ones that prove it still count', () => {
    const { window, firstTick, out } = task();
    window(0, { subscribes: 0, publishes: 0 });
    window(60, { series: 'c/0/1' });
    window(70, { series: 'c/0/1' }); // Another lane has proved 01:20, ...
    firstTick(80);
    window(50, { subscribes: 120 }); // ... and this lane's windows follow one commit later.
    expect(made(out)).toEqual([]);
    firstTick(80);
    expect(made(out)).toEqual([[1, 2]]);
  });

  for (const { name, play, expected } of [
    {
      name: 'F1: a step stays open through its grace',
      play: [
        ['w', 0],
        ['w', 10],
        ['t', 69.9],
      ],
      expected: [],
    },
    {
      name: 'F1: a tick past the grace closes it, and windows of it add up',
      play: [
        ['w', 0],
        ['w', 10],
        ['t', 70],
      ],
      expected: [[1, 2]],
    },
    {
      name: 'F1: a step closes once',
      play: [
        ['w', 0],
        ['t', 70],
        ['t', 71],
        ['t', 72],
      ],
      expected: [[1, 1]],
    },
    {
      name: 'F1: a window two steps on closes it',
      play: [
        ['w', 0],
        ['w', 120],
      ],
      expected: [[1, 1]],
    },
    {
      name: 'F1: the next step is open beside it',
      play: [
        ['w', 0],
        ['w', 60],
        ['w', 50],
        ['t', 70],
        ['t', 130],
      ],
      expected: [
        [1, 2],
        [2, 1],
      ],
    },
    {
      name: 'F1: a window of a closed step changes nothing',
      play: [
        ['w', 0],
        ['t', 70],
        ['w', 30],
        ['i', 130],
      ],
      expected: [
        [1, 1],
        [2, 0],
      ],
    },
    {
      name: 'F2: missing windows are zeros',
      play: [
        ['w', 0],
        ['t', 70],
        ['i', 250],
      ],
      expected: [
        [1, 1],
        [4, 0],
      ],
    },
    {
      name: 'F4: once none come in any more, time goes on with the others',
      play: [
        ['w', 0],
        ['i', 190],
      ],
      expected: [[3, 0]],
    },
    {
      name: 'F4: a tick from 2099 closes nothing',
      play: [
        ['w', 0],
        ['t', 2.4e9],
        ['w', 10],
        ['t', 70],
      ],
      expected: [[1, 2]],
    },
    {
      name: 'a series begins with its first whole step',
      play: [
        ['w', 30],
        ['w', 60],
        ['t', 130],
      ],
      expected: [[2, 1]],
    },
  ] as { name: string; play: ['w' | 't' | 'i', number][]; expected: number[][] }[])
    test(name, () => {
      const { window, tick, out } = task();
      for (const [what, seconds] of play) {
        if (what === 'w') window(seconds);
        else for (let ticks = what === 'i' ? 10 : 1; ticks > 0; ticks--) tick(seconds); // Idle: ten ticks without a window.
      }
      expect(made(out)).toEqual(expected);
    });

  test('F4: a source that is behind the others loses no window to the time that they tell', () => {
    const { window, tick, rows } = task();
    for (let minute = 0; minute < 20; minute++) {
      window(1800 + minute * 60, { series: 'ahead' });
      window(minute * 60);
      tick(1800 + minute * 60);
    }
    expect(rows.get('c/0/')).toMatchObject({ lateWindows: 0, openStep: T0 / MINUTE + 18 });
  });

  test('F2: a silence of the whole task is a gap: no zeros are learned from it', () => {
    const { window, out, rows } = task();
    for (let minute = 0; minute < 100; minute++) window(minute * 60);
    window(6000 * 60);
    window(6002 * 60);
    expect(out.at(-1)!.value).toMatchObject({ distrust: 'only 1 of 60 steps seen' });
    expect(rows.size).toBe(2);
  });

  test('windows of one series from several partitions add up', () => {
    const { window, tick, out } = task();
    for (const source of [0, 1, 2]) window(0, { source, subscribes: 0, publishes: 600, bytes: 6000, series: 'w/1/' });
    tick(70);
    expect(out.map(({ key }) => key)).toEqual(['w/1/|SUBSCRIPTIONS', 'w/1/|PUBLISHES']);
    expect(out[1]!.value).toMatchObject({
      series: 'w/1/',
      signal: 'PUBLISHES',
      currentPerSecond: 30,
      bytesPerSecond: 300,
    });
  });

  test('publishes are told of from the first one seen', () => {
    const { window, tick, out } = task();
    window(0);
    tick(70);
    window(60, { publishes: 6 });
    tick(130);
    expect(out.map(({ key }) => key)).toEqual(['c/0/|SUBSCRIPTIONS', 'c/0/|SUBSCRIPTIONS', 'c/0/|PUBLISHES']);
  });

  test('numbers that are none, from a broken writer, do no harm', () => {
    const { window, tick, out } = task();
    for (let minute = 0; minute < 90; minute++) {
      window(minute * 60, {
        subscribes: [Number.NaN, 1e308, -7, Number.POSITIVE_INFINITY, 60][minute % 5]!,
        publishes: 1e308,
      });
      tick(minute * 60 + 70);
    }
    for (const { value } of out)
      for (const quantile of value!.quantiles) expect(quantile >= 0 && quantile <= 1e12).toBe(true);
  });
});

describe('forecast: bounds', () => {
  test('F5: a tick makes a bounded number of forecasts, the next one goes on', () => {
    const { window, firstTick, out } = task({ seriesPerTick: 4 });
    for (let i = 0; i < 10; i++) window(0, { series: `t/${i}` });
    firstTick(70);
    for (const expected of [4, 8, 10, 10]) {
      firstTick(70);
      expect(out.length).toBe(expected);
    }
    expect(new Set(out.map(({ key }) => key)).size).toBe(10);
  });

  test('F5: series beyond the bound are not taken', () => {
    const { window, rows } = task({ seriesMax: 3 });
    for (let i = 0; i < 10; i++) window(0, { series: `t/${i}` });
    expect(rows.size).toBe(3 + 1);
  });

  test('F5: a silent series is told of seldom, then forgotten with its forecasts', () => {
    const { window, tick, out, rows } = task({ idleSteps: 10, forgetSteps: 50 });
    window(0);
    for (let minute = 1; minute <= 60; minute++) {
      window(minute * 60, { series: 'other' });
      tick(minute * 60 + 10);
    }
    const mine = out.filter(({ key }) => key.startsWith('c/0/|'));
    expect(mine.filter(({ value }) => value !== null).length).toBe(1 + 10 + 4);
    expect(mine.slice(-2)).toEqual([
      { topic: 'forecasts', key: 'c/0/|SUBSCRIPTIONS', value: null },
      { topic: 'forecasts', key: 'c/0/|PUBLISHES', value: null },
    ]);
    expect(rows.get('c/0/')).toBeUndefined();
  });

  test('a row with both signals, days old, takes less than 5,300 bytes', () => {
    const { window, rows } = task();
    for (let minute = 0; minute < 3000; minute++)
      window(minute * 60, { subscribes: 100 + (minute % 700), publishes: 5000 + (minute % 300) });
    expect(histories.encode(rows.get('c/0/')!).length).toBeLessThan(5_300);
  });
});

describe('forecast: time', () => {
  test('stored and read back at any time, the same forecasts follow', () => {
    const [straight, stored] = [task(), task()];
    for (const each of [straight, stored])
      for (let minute = 0; minute < 200; minute++) {
        each.window(minute * 60 + 10, { subscribes: 100 + ((minute * 37) % 50) });
        each.window(minute * 60 + 20, { series: 'w/1/', publishes: minute });
        if (each === stored && minute % 23 === 0) each.store();
        each.tick(minute * 60 + 70);
      }
    expect(straight.out.length).toBeGreaterThan(500);
    expect(stored.out).toEqual(straight.out);
  });

  test('F4: time that was led into the future comes back when window after window says so', () => {
    const { window, tick, out } = task();
    window(2.4e9);
    for (let i = 0; i < 120; i++) {
      window(i * 10);
      tick(i * 10 + 5);
    }
    tick(1210);
    expect(made(out).at(-1)).toEqual([20, 6]);
  });
});
