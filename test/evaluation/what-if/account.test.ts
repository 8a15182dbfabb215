import { describe, expect, test } from 'vitest';
import type { ServingShard } from '../../../evaluation/what-if/account.ts';
import { accountOf, KV, KV_LARGE, TRIE } from './synthetic.ts';

const GIB = 1024 ** 3;
const serving = (...loads: readonly number[]): ServingShard[] => loads.map((perSecond) => ({ type: KV, perSecond }));

describe('account', () => {
  test('an instance is paid for the time in which it is there', () => {
    const account = accountOf();
    for (let step = 0; step < 360; step++) account.step(Math.floor(step / 6), [KV, KV_LARGE], serving(1));
    expect(account.score()).toMatchObject({ runningDollars: expect.closeTo(0.5 + 1.8, 9), shardsMax: 2 });
    expect(account.score().shardHours).toBeCloseTo(2, 9);
  });

  test('dollars are the sum of running, provisioning, moving and violations', () => {
    const account = accountOf();
    account.provisioned(KV);
    account.moved(100, GIB / 2, KV);
    account.step(0, [KV], serving(101));
    const { dollars, runningDollars, provisioningDollars, movingDollars, violationDollars } = account.score();
    expect(runningDollars).toBeCloseTo((0.5 * 10) / 3600, 12);
    expect(provisioningDollars).toBe(0.1);
    expect(movingDollars).toBe(1); // Half a GiB at $2.
    expect(violationDollars).toBeCloseTo(0.1, 12); // Ten seconds at $36 an hour.
    expect(dollars).toBeCloseTo(runningDollars + provisioningDollars + movingDollars + violationDollars, 12);
  });

  for (const { name, steps, seconds } of [
    { name: 'a shard that is just full', steps: [[100]], seconds: 0 },
    { name: 'a shard above its capacity for one step', steps: [[100.1], [99]], seconds: 10 },
    { name: 'two shards at once, each on its own', steps: [[101, 150, 20]], seconds: 20 },
  ])
    test(`violation seconds of ${name}`, () => {
      const account = accountOf();
      for (const loads of steps) account.step(0, [KV], serving(...loads));
      expect(account.score().violationSeconds).toBe(seconds);
    });

  for (const { name, keys, minutes, percent } of [
    { name: 'a tenth of the keys in an hour', keys: [60, 40], minutes: 60, percent: 10 },
    { name: 'the same in two hours is half as much', keys: [60, 40], minutes: 120, percent: 5 },
    { name: 'a key that moves twice counts twice', keys: [500, 500], minutes: 60, percent: 100 },
  ])
    test(`churn: ${name}`, () => {
      const account = accountOf({ minutes });
      for (const count of keys) account.moved(count, 0, KV);
      expect(account.score()).toMatchObject({ churnPercent: percent, moves: keys.length });
    });

  for (const { name, shards, ratio } of [
    { name: 'even shards', shards: serving(50, 50), ratio: 1 },
    { name: 'one of two with all of it', shards: serving(80, 0), ratio: 2 },
    {
      name: 'shards of several types by how full they are',
      shards: [...serving(50), { type: KV_LARGE, perSecond: 200 }],
      ratio: 1,
    },
    {
      name: 'the more uneven of two kinds, each against itself',
      shards: [...serving(60, 20), { type: TRIE, perSecond: 900 }],
      ratio: 1.5,
    },
    { name: 'no load at all', shards: serving(0, 0), ratio: 1 },
  ])
    test(`peak to mean of ${name}`, () => {
      const account = accountOf();
      account.step(0, [KV], shards);
      expect(account.score().peakToMean).toBeCloseTo(ratio, 12);
    });

  test('peak to mean is that of the median step', () => {
    const account = accountOf();
    for (const loads of [
      [50, 50],
      [60, 40],
      [100, 0],
    ])
      account.step(0, [KV], serving(...loads));
    expect(account.score().peakToMean).toBeCloseTo(1.2, 12);
  });

  test('nothing before the first paid minute counts', () => {
    const account = accountOf({ firstMinute: 5 });
    account.step(4, [KV], serving(500));
    account.provisioned(KV);
    account.moved(100, GIB, KV);
    expect(account.score()).toMatchObject({ dollars: 0, violationSeconds: 0, moves: 0, churnPercent: 0, shardsMax: 0 });
    account.step(5, [KV], serving(50));
    expect(account.score().dollars).toBeGreaterThan(0);
  });

  test('the course says what was paid by the end of each minute', () => {
    const account = accountOf({ firstMinute: 1, minutes: 2 });
    for (const minute of [0, 1, 2]) account.step(minute, [KV], serving(150));
    expect([...account.course.violationSeconds]).toEqual([10, 10]);
    expect([...account.course.capacity]).toEqual([100, 100]);
    expect(account.course.dollars[1]).toBeCloseTo(account.score().dollars, 12);
    expect(account.course.dollars[0]).toBeCloseTo(account.score().dollars / 2, 12);
  });
});
