import { describe, expect, test } from 'vitest';
import type { History } from '../../../../processors/forecast/history/history.ts';
import { type Pattern, patternOf } from '../../../../processors/forecast/history/patterns.ts';
import {
  FIVE_MINUTES,
  historyOf,
  MINUTES,
  normalFrom,
  poissonFrom,
  type Rates,
  redNoise,
  type Synthetic,
  wave,
} from '../synthetic-series.ts';

const DAY = MINUTES.season;
const HOUR = 60;
const WEEK = MINUTES.longSeason;

const noise: Synthetic = (seed) => {
  const normal = normalFrom(seed);
  return () => 100 + 20 * normal();
};
const poisson: Synthetic = (seed, season) => {
  const events = poissonFrom(seed, 0.3);
  return () => events() / (86_400 / season);
};
const shaped =
  (rate: Rates, spread = 5): Synthetic =>
  (seed) => {
    const normal = normalFrom(seed);
    return (step) => rate(step) + spread * normal();
  };
const daily = (step: number): number => 100 * wave(step, DAY, 0.6);
const weekend = (step: number): number => (Math.floor(step / DAY) % 7 >= 5 ? 0.5 : 1);
const beat = (step: number): number => (step % HOUR === 17 ? 8 : 1);

const seasonsOf = ({ seasons }: Pattern): number[] => seasons.map(({ steps }) => steps);

describe('patterns: what a series is called, and its seasons', () => {
  for (const { name, made, steps, label, seasons } of [
    { name: 'ten minutes of anything', made: shaped(daily), steps: 10, label: 'UNKNOWN', seasons: [] },
    { name: 'a constant', made: shaped(() => 100, 0), steps: 600, label: 'CONSISTENT', seasons: [] },
    { name: 'zeros', made: shaped(() => 0, 0), steps: 600, label: 'CONSISTENT', seasons: [] },
    { name: 'noise', made: noise, steps: 3 * DAY, label: 'CONSISTENT', seasons: [] },
    { name: 'an hour of noise', made: noise, steps: HOUR, label: 'CONSISTENT', seasons: [] },
    {
      name: 'independent events, one in three minutes',
      made: poisson,
      steps: 3 * DAY,
      label: 'CONSISTENT',
      seasons: [],
    },
    { name: 'a daily wave', made: shaped(daily), steps: 3 * DAY, label: 'PERIODIC', seasons: [DAY] },
    {
      name: 'a daily wave under noise as large as it is',
      made: shaped((step) => 100 * wave(step, DAY, 0.25), 25),
      steps: 2 * WEEK,
      label: 'PERIODIC',
      seasons: [DAY],
    },
    {
      name: 'a daily wave with quiet weekends',
      made: shaped((step) => weekend(step) * daily(step)),
      steps: 2 * WEEK,
      label: 'PERIODIC',
      seasons: [DAY, WEEK],
    },
    {
      name: 'a beat of the hour',
      made: shaped((step) => 50 * beat(step)),
      steps: DAY,
      label: 'PERIODIC',
      seasons: [HOUR],
    },
    {
      name: 'a beat of the hour on a daily wave',
      made: shaped((step) => beat(step) * daily(step)),
      steps: 3 * DAY,
      label: 'PERIODIC',
      seasons: [HOUR, DAY],
    },
    {
      name: 'half an hour up, half an hour down',
      made: shaped((step) => 50 + 4 * Math.abs((step % 30) - 15), 0),
      steps: 600,
      label: 'PERIODIC',
      seasons: [30],
    },
    {
      name: 'a length no clock knows',
      made: shaped((step) => 100 * wave(step, 47, 0.5)),
      steps: 600,
      label: 'PERIODIC',
      seasons: [47],
    },
    { name: 'five hours of growth', made: shaped((step) => 10 + step, 3), steps: 300, label: 'TRENDING', seasons: [] },
    {
      name: 'a ramp without any noise',
      made: shaped((step) => 10 + step, 0),
      steps: 300,
      label: 'TRENDING',
      seasons: [],
    },
    {
      name: 'two weeks of growth',
      made: shaped((step) => 10 + (30 * step) / DAY, 3),
      steps: 2 * WEEK,
      label: 'TRENDING',
      seasons: [],
    },
    {
      name: 'decline to a third in a week',
      made: shaped((step) => 300 - (200 * step) / WEEK),
      steps: WEEK,
      label: 'TRENDING',
      seasons: [],
    },
    {
      name: 'growth of a daily wave',
      made: shaped((step) => (0.5 + step / WEEK) * daily(step)),
      steps: WEEK,
      label: 'MIXED',
      seasons: [DAY],
    },
    {
      name: 'bursts of ten minutes, not by the clock',
      made: shaped((step) => (Math.sin(step / 40) + Math.sin(step / 97) > 1.95 ? 900 : 20), 1),
      steps: 3 * DAY,
      label: 'BURSTY',
      seasons: [],
    },
    {
      name: 'two bursts in a day and a half',
      made: shaped((step) => (step % 1000 > 990 ? 900 : 20), 1),
      steps: 1995,
      label: 'BURSTY',
      seasons: [],
    },
    {
      name: 'a burst on a daily wave',
      made: shaped((step) => daily(step) * (step > 3200 && step < 3220 ? 12 : 1)),
      steps: 3 * DAY,
      label: 'MIXED',
      seasons: [DAY],
    },
  ] satisfies { name: string; made: Synthetic; steps: number; label: Pattern['label']; seasons: number[] }[])
    test(`${name}: ${label}`, () => {
      const pattern = patternOf(historyOf(made(11, DAY), steps));
      expect(pattern.label).toBe(label);
      expect(seasonsOf(pattern)).toEqual(seasons);
      for (const { correlation } of pattern.seasons) expect(correlation).toBeGreaterThan(0.35);
    });

  test('a daily wave is seen through a gap of four hours and a night without data', () => {
    const left = (step: number): boolean => (step > 3000 && step < 3240) || (step > 5400 && step < 5900);
    const pattern = patternOf(historyOf(shaped(daily)(5, DAY), 6 * DAY, MINUTES, left));
    expect(pattern).toMatchObject({ label: 'PERIODIC', seasons: [{ steps: DAY }] });
  });

  test('steps of five minutes show the same seasons as minutes do', () => {
    const { season, longSeason } = FIVE_MINUTES;
    const rates = shaped((step) => weekend(5 * step) * daily(5 * step) * (step % 12 === 0 ? 4 : 1))(3, season);
    const pattern = patternOf(historyOf(rates, 2 * longSeason, FIVE_MINUTES));
    expect(pattern.label).toBe('PERIODIC');
    expect(seasonsOf(pattern)).toEqual([12, season, longSeason]);
  });
});

describe('patterns: the figures', () => {
  const figures = (rates: Rates, steps: number): Pattern => patternOf(historyOf(rates, steps));

  test('the dispersion of independent events is about one, of bursts far above', () => {
    expect(figures(poisson(1, DAY), DAY).dispersion).toBeCloseTo(1, 0);
    expect(figures((step) => (step % 100 > 90 ? 900 : 20), 500).dispersion).toBeGreaterThan(100);
  });

  test('peak to mean is what it says', () => {
    expect(figures((step) => (step === 250 ? 1010 : 10), 500).peakToMean).toBeCloseTo(1010 / 12, 0);
    expect(figures(() => 7, 500).peakToMean).toBeCloseTo(1, 2);
  });

  test('a trend is told as a share of the mean per day, with its sign', () => {
    const up = figures(shaped((step) => 100 + (10 * step) / DAY)(2, DAY), WEEK);
    expect(up.trendPerSeason).toBeCloseTo(10 / 135, 2);
    expect(up.trendSignificance).toBeGreaterThan(3);
    expect(figures(shaped((step) => 170 - (10 * step) / DAY)(2, DAY), WEEK).trendPerSeason).toBeCloseTo(-10 / 135, 2);
  });

  for (const rate of [0, 1e-9, 1e12])
    test(`P1: figures of ${rate} per second, and of one step of it, are finite`, () => {
      for (const steps of [1, 31, 700]) {
        const { label: _label, seasons: _seasons, ...numbers } = figures((step) => rate * (1 + (step % 3)), steps);
        for (const number of Object.values(numbers)) expect(Number.isFinite(number)).toBe(true);
      }
    });
});

type Held = (made: Synthetic, seed: number) => History;

describe('patterns: over 200 seeds', () => {
  const SEEDS = 200;
  const share = (made: Synthetic, held: Held, is: (pattern: Pattern) => boolean): number => {
    let count = 0;
    for (let seed = 1; seed <= SEEDS; seed++) if (is(patternOf(held(made, seed)))) count++;
    return count / SEEDS;
  };
  const week: Held = (made, seed) => historyOf(made(seed, FIVE_MINUTES.season), FIVE_MINUTES.longSeason, FIVE_MINUTES);
  const hours: Held = (made, seed) => historyOf(made(seed, DAY), 300);

  for (const { name, made } of [
    { name: 'noise', made: noise },
    { name: 'independent events', made: poisson },
    { name: 'a random walk', made: redNoise(1, 0.03) },
    { name: 'red noise that keeps nine tenths', made: redNoise(0.9, 0.1) },
    { name: 'red noise that keeps 99 hundredths', made: redNoise(0.99, 0.03) },
  ])
    test(`${name} is found to have a season less than once in twenty`, () => {
      for (const held of [week, hours])
        expect(share(made, held, ({ seasons }) => seasons.length > 0)).toBeLessThan(0.05);
    });

  test('P3: independent events, however rare, are called bursty less than once in twenty', () => {
    for (const held of [week, hours])
      expect(share(poisson, held, ({ label }) => label === 'BURSTY')).toBeLessThan(0.05);
  });

  test('a daily wave of a quarter of the mean under as much noise is found in a week nine times in ten', () => {
    const made = shaped((step) => 100 * wave(step, FIVE_MINUTES.season, 0.25), 25);
    expect(share(made, week, ({ seasons }) => seasons[0]?.steps === FIVE_MINUTES.season)).toBeGreaterThan(0.9);
  });
});
