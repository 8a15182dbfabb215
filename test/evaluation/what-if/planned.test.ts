import { describe, expect, test } from 'vitest';
import type { Account } from '../../../evaluation/what-if/account.ts';
import type { Cell } from '../../../evaluation/what-if/cell.ts';
import { LearnedForecasts, PerfectForecasts } from '../../../evaluation/what-if/forecast-source.ts';
import { runPlanner } from '../../../evaluation/what-if/planned.ts';
import type { Forecast } from '../../../schemas/records.ts';
import { accountOf, CATALOG, finished, fleetOf, played } from './synthetic.ts';

const START_AT = Date.UTC(2026, 0, 5);
const DAY = 1_440;

/** Rises to twice as much within an hour in the middle of the run, and stays there. */
const RISING = played({ a: (minute) => 20 + 20 * Math.min(1, Math.max(0, (minute - 240) / 60)), b: () => 20 }, 420);

function run(kind: 'perfect' | 'learned', settleFrom = 60): { cell: Cell; account: Account } {
  const fleet = fleetOf(RISING, { learnMinutes: 180, busyPerSecond: 60 });
  const counted = fleet.counted();
  const account = accountOf({ firstMinute: 180, minutes: 240, entries: fleet.entries });
  const forecasts = kind === 'perfect' ? new PerfectForecasts(fleet, counted) : new LearnedForecasts(fleet, counted);
  const cell = finished(
    runPlanner({ fleet, counted, catalog: CATALOG, forecasts: forecasts, account, startAt: START_AT, settleFrom }),
  );
  return { cell, account };
}

describe('the planner in a what-if', () => {
  test('with the future known, a doubling of the load finds its shards ready', () => {
    const { cell, account } = run('perfect');
    expect(account.score().violationSeconds).toBe(0);
    const late = cell.decisions.filter(({ kind, at }) => kind === 'ALLOCATE' && at > START_AT + 180 * 60_000);
    expect(late.length).toBeGreaterThan(0);
  });

  test('what it allocates and moves is paid and counted', () => {
    const { cell, account } = run('perfect');
    const since = START_AT + 180 * 60_000;
    const allocated = cell.decisions.filter(({ kind, at }) => kind === 'ALLOCATE' && at >= since).length;
    const resized = cell.decisions.filter(({ kind, at }) => kind === 'RESIZE' && at >= since).length;
    const { provisioningDollars, moves, churnPercent } = account.score();
    expect(provisioningDollars).toBeCloseTo(0.1 * (allocated + resized), 9);
    const switched = cell.decisions.filter(({ kind, at }) => kind === 'SWITCH' && at >= since).length;
    expect(moves).toBe(switched);
    expect(churnPercent > 0).toBe(moves > 0);
  });

  test('none of its decisions is about progress that the planner had no use for', () => {
    for (const kind of ['perfect', 'learned'] as const) {
      const odd = run(kind).cell.decisions.filter(
        ({ constraint, kind: what }) => ['illegal-step', 'foreign-pointer'].includes(constraint) || what === 'ABORT',
      );
      expect(odd).toEqual([]);
    }
  });

  test('the same run gives the same decisions and the same score', () => {
    const [one, two] = [run('learned'), run('learned')];
    expect(two.cell.decisions).toEqual(one.cell.decisions);
    expect(two.account.score()).toEqual(one.account.score());
  });
});

describe('forecast sources', () => {
  const rates = (forecast: Forecast | undefined, level: number): number[] => {
    const { levels, quantiles } = forecast!;
    return quantiles.filter((_, at) => at % levels.length === levels.indexOf(level));
  };

  test('the perfect one tells the minutes to come, for both signals of a leaf', () => {
    const fleet = fleetOf(RISING);
    const counted = fleet.counted();
    const forecasts = new PerfectForecasts(fleet, counted);
    const told = forecasts.forecasts(239, START_AT as never);
    const leaf = counted.find(({ series }) => series.startsWith('c/'))!;
    const own = told.filter(({ series }) => series === leaf.series);
    expect(own.map(({ signal }) => signal)).toEqual(['PUBLISHES', 'SUBSCRIPTIONS']);
    expect(rates(own[0], 0.5)).toEqual(Array.from({ length: 60 }, (_, step) => fleet.sum(leaf.shares, 240 + step)));
    expect(own[1]!.quantiles).toEqual(own[0]!.quantiles); // An event for each message.
  });

  test('groups have no subscription events', () => {
    const fleet = fleetOf(RISING);
    const told = new PerfectForecasts(fleet, fleet.counted()).forecasts(10, START_AT as never);
    expect(told.filter(({ series }) => series.startsWith('w/')).every(({ signal }) => signal === 'PUBLISHES')).toBe(
      true,
    );
  });

  test('the learned one knows nothing of the minutes to come', () => {
    const past = (minute: number): number => 20 + 10 * Math.sin(minute / 100);
    const told = [past, (minute: number) => (minute < DAY ? past(minute) : 500)].map((rate) => {
      const fleet = fleetOf(played({ one: rate }, DAY + 120), { learnMinutes: DAY });
      const forecasts = new LearnedForecasts(fleet, fleet.counted().slice(0, 2));
      for (let minute = 0; minute < DAY; minute++) forecasts.close(minute);
      return forecasts.forecasts(DAY - 1, START_AT as never);
    });
    expect(told[1]).toEqual(told[0]);
    expect(told[0]!.every(({ trusted }) => trusted)).toBe(true);
  });
});
