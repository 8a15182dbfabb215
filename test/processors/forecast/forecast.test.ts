import { describe, expect, test } from 'vitest';
import { type FitRequest, fitModels } from '../../../processors/forecast/fits.ts';
import { forecastWith, type Row } from '../../../processors/forecast/forecast.ts';
import { FORECAST_DEFAULTS, type ForecastSettings } from '../../../processors/forecast/settings.ts';
import type { Emit, Rows, Table } from '../../../processors/step.ts';
import { RowTable } from '../../../runtime/row-table.ts';
import type { EventTime, SeriesId } from '../../../schemas/ids.ts';
import type { Forecast, RateWindow } from '../../../schemas/records.ts';
import { BinaryWriter } from '../../../state/binary.ts';
import type { Change } from '../../../state/store.ts';
import type { Watermark } from '../../../state/watermark.ts';
import { noiseFrom } from './shapes.ts';

const T0 = 1_704_067_200_000;
const MINUTE = 60_000;

function task(settings: Partial<ForecastSettings> = {}) {
  const { step, keeps } = forecastWith({ ...FORECAST_DEFAULTS, ...settings });
  let table = new RowTable(keeps as Table<unknown>);
  const stored = new Map<string, Buffer>();
  const out: { topic: string; key: string; value: Forecast | null }[] = [];
  const fits: FitRequest[] = [];
  const take = (emits: readonly Emit[]): void => {
    for (const emit of emits)
      if (emit.topic === 'fits') fits.push(emit.value as FitRequest);
      else out.push(emit as (typeof out)[number]);
  };
  const rows = (): Rows<Row> => table as unknown as Rows<Row>;
  const place = { partition: 0, offset: 0 };
  const firstTick = (seconds: number): void => {
    const value = { eventTime: T0 + seconds * 1000, wallTime: 0 };
    take(step(rows(), { topic: 'clock', ...place, key: '', value }));
  };
  return {
    rows,
    out,
    fits,
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
      take(step(rows(), { topic: 'rates', ...place, key: value.series, value }));
    },
    firstTick,
    /** A time told for the first time closes nothing yet (F7): here the tick that tells it again counts. */
    tick(seconds: number) {
      firstTick(seconds);
      firstTick(seconds);
    },
    /** What a commit writes, and how many bytes of it. */
    commit(): number {
      const changes: Change[] = [];
      table.drain(changes);
      let sizeBytes = 0;
      for (const { key, value } of changes) {
        sizeBytes += value?.length ?? 0;
        if (value === undefined) stored.delete(key);
        else stored.set(key, value);
      }
      return sizeBytes;
    },
    /** Another process goes on from what was committed, or from what `written` makes of each row. */
    restart(written = (_key: string, row: Buffer) => row) {
      table = new RowTable(keeps as Table<unknown>);
      for (const [key, value] of stored) {
        const name = key.slice(table.prefix.length);
        table.load(name, written(name, value));
      }
    },
    /** Answers what was asked for. */
    fit() {
      for (const request of fits.splice(0))
        take(step(rows(), { topic: 'fitted', ...place, key: '', value: fitModels(request) }));
    },
  };
}

const seriesIn = (rows: Rows<Row>): number => [...rows.entries()].filter(([, row]) => row.kind === 'series').length;

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
    expect(rows().get('c/0/')).toMatchObject({ lateWindows: 0, openStep: T0 / MINUTE + 18 });
  });

  test('F2: a silence of the whole task is a gap: no zeros are learned from it', () => {
    const { window, out, rows } = task();
    for (let minute = 0; minute < 100; minute++) window(minute * 60);
    window(6000 * 60);
    window(6002 * 60);
    expect(out.at(-1)!.value).toMatchObject({ distrust: 'only 1 of 60 steps seen' });
    expect(seriesIn(rows())).toBe(1);
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

  test('the share of unsubscribes is told, of the latest steps the most', () => {
    const { window, tick, out } = task();
    const shares: number[] = [];
    for (let minute = 0; minute < 60; minute++) {
      const leaving = minute >= 30;
      window(minute * 60, { subscribes: leaving ? 10 : 100, unsubscribes: leaving ? 90 : 0 });
      tick(minute * 60 + 70);
      shares.push(out.at(-1)!.value!.unsubscribeShare);
    }
    expect(shares.slice(1, 30)).toEqual(Array(29).fill(0));
    expect(shares[40]).toBeGreaterThan(0.5);
    expect(shares.at(-1)).toBeCloseTo(0.9, 1);
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
    expect(seriesIn(rows())).toBe(3);
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
    expect([...rows().entries()].filter(([key]) => key.startsWith('c/0/'))).toEqual([]);
  });

  test('of a series days old with both signals, less than 7,000 bytes are written for a step, and its past seldom', () => {
    const { window, commit } = task({ idleSteps: 0, fitsPerMinute: 0 });
    const sizes: number[] = [];
    for (let minute = 0; minute < 3000; minute++) {
      window(minute * 60, { subscribes: 100 + (minute % 700), publishes: 5000 + (minute % 300) });
      sizes.push(commit());
    }
    const large = sizes.slice(600).filter((sizeBytes) => sizeBytes >= 7_000);
    expect(large.length).toBeLessThanOrEqual(2400 / 360 + 2);
    expect(Math.max(...large)).toBeLessThan(32_000);
  });
});

describe('forecast: time', () => {
  test('stored and read back at any time, the same forecasts follow', () => {
    const [straight, stored] = [task(), task()];
    for (const each of [straight, stored])
      for (let minute = 0; minute < 200; minute++) {
        each.window(minute * 60 + 10, { subscribes: 100 + ((minute * 37) % 50) });
        each.window(minute * 60 + 20, { series: 'w/1/', publishes: minute });
        each.tick(minute * 60 + 70);
        each.fit();
        if (each !== stored) continue;
        each.commit();
        if (minute % 23 === 0) each.restart();
      }
    expect(straight.out.length).toBeGreaterThan(500);
    expect(stored.out).toEqual(straight.out);
  });

  test('a row of a release that did not count unsubscribes apart is read, and only they are counted anew', () => {
    const [now, before] = [task(), task()];
    for (const each of [now, before]) {
      for (let minute = 0; minute < 100; minute++) {
        each.window(minute * 60, { unsubscribes: 40 });
        each.tick(minute * 60 + 70);
      }
      each.commit();
      const COUNTS_BYTES = 4 * 8;
      each.restart((key, row) => (each === before && key === 'c/0/' ? row.subarray(0, -COUNTS_BYTES) : row));
      each.out.length = 0;
      each.window(100 * 60, { unsubscribes: 40 });
      each.tick(100 * 60 + 70);
    }
    const { unsubscribeShare, ...rest } = before.out.at(-1)!.value!;
    expect(now.out.at(-1)!.value).toMatchObject(rest);
    expect(now.out.at(-1)!.value!.unsubscribeShare).toBeCloseTo(0.4, 9);
    expect(unsubscribeShare).toBeCloseTo(0.4, 9);
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

describe('forecast: fits', () => {
  const noise = noiseFrom(7);
  const played = (each: ReturnType<typeof task>, series: string, minutes: number, from = 0): void => {
    for (let minute = from; minute < minutes; minute++) {
      each.window(minute * 60, { series, subscribes: Math.round(6_000 + 300 * noise(minute)) });
      each.tick(minute * 60 + 70);
    }
  };

  test('F8: a fit is asked for once there is something to learn, and what it brings takes part in the forecast', () => {
    const each = task();
    played(each, 'c/0/', 75);
    expect(each.fits.map(({ series, signal }) => [series, signal])).toEqual([['c/0/', 0]]);
    expect(each.fits[0]!.models).toContain('auto-regression');
    expect(each.out.at(-1)!.value!.weights['auto-regression']).toBe(0);
    each.fit();
    played(each, 'c/0/', 90, 75);
    expect(each.out.at(-1)!.value!.weights['auto-regression']).toBeGreaterThan(0.05);
  });

  test('F8: without any answer, forecasts go on, and the fit is asked for again an hour later', () => {
    const each = task();
    played(each, 'c/0/', 150);
    expect(each.out.length).toBeGreaterThan(140);
    expect(each.fits.length).toBe(2);
  });

  test('F8: an answer for a series that is gone, or of models that are not ours, changes nothing', () => {
    const each = task();
    played(each, 'c/0/', 75);
    each.fits.push({ ...each.fits[0]!, series: 'c/0/gone' }, { ...each.fits[0]!, models: ['no-such-model'] });
    each.fit();
    played(each, 'c/0/', 80, 75);
    expect(each.out.at(-1)!.value!.distrust).toBe('');
  });

  test('F8: of many series the busiest are fitted first, within the budget of a minute', () => {
    const each = task({ fitsPerMinute: 2 });
    for (let minute = 0; minute < 62; minute++) {
      for (let i = 0; i < 5; i++) each.window(minute * 60, { series: `c/0/${i}`, subscribes: 600 * (i + 1) });
      each.tick(minute * 60 + 70);
    }
    expect(each.fits.slice(0, 2).map(({ series }) => series)).toEqual(['c/0/4', 'c/0/3']);
  });

  test('a series of next to no events is not worth a fit', () => {
    const each = task();
    for (let minute = 0; minute < 90; minute++) {
      each.window(minute * 60, { subscribes: minute % 3 === 0 ? 1 : 0 });
      each.tick(minute * 60 + 70);
    }
    expect(each.fits).toEqual([]);
  });

  test('a new series begins with what the oldest one of its prefix has learned', () => {
    const each = task();
    for (let minute = 0; minute < 300; minute++) {
      each.window(minute * 60, { series: 't/eu/cam/1', subscribes: Math.round(6_000 + 300 * noise(minute)) });
      each.tick(minute * 60 + 70);
      each.fit();
    }
    for (let minute = 300; minute < 330; minute++) {
      for (const series of ['t/eu/cam/1', 't/eu/cam/2', 't/us/cam/3'])
        each.window(minute * 60, { series, subscribes: Math.round(6_000 + 300 * noise(minute)) });
      each.tick(minute * 60 + 70);
    }
    const weightOf = (series: string): number =>
      each.out.findLast(({ key }) => key === `${series}|SUBSCRIPTIONS`)!.value!.weights['auto-regression']!;
    expect(weightOf('t/eu/cam/2')).toBeGreaterThan(0.05);
    expect(weightOf('t/us/cam/3')).toBe(0);
  });
});

describe('event time', () => {
  const time = (keeps: ReturnType<typeof forecastWith>['keeps'], bytes: Buffer) =>
    keeps.decode(bytes) as { time: number; watermark: Watermark };
  const { keeps } = forecastWith(FORECAST_DEFAULTS);

  test('as an earlier release has stored it, is read, and goes back as any other', () => {
    const stored = new BinaryWriter()
      .count(2)
      .count(0)
      .double(T0)
      .double(T0 + 1_000)
      .count(3)
      .bytes();
    const { watermark, time: until } = time(keeps, stored);
    expect([watermark.time, until]).toEqual([T0, T0 + 1_000]);
    const hour = 60 * MINUTE;
    for (let i = 0; i < 59; i++) expect(watermark.hear(T0 - 2 * hour, FORECAST_DEFAULTS.watermark)).toBe('late');
    expect(watermark.hear(T0 - 2 * hour, FORECAST_DEFAULTS.watermark)).toBe('restarted');
  });

  test('stored and read back with a doubt, doubts on', () => {
    const { window, rows } = task();
    window(0);
    for (let i = 0; i < 40; i++) window(-7_210);
    const row = rows().get('')!;
    expect(time(keeps, keeps.encode(row)).watermark).toEqual((row as unknown as { watermark: Watermark }).watermark);
  });
});
