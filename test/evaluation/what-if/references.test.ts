import { describe, expect, test } from 'vitest';
import { type Bucket, Ladder } from '../../../evaluation/what-if/ladder.ts';
import {
  type KindLoad,
  predictions,
  REFERENCES,
  type ReferenceName,
  runReference,
} from '../../../evaluation/what-if/references.ts';
import { accountOf, CATALOG, finished, fleetOf, KV, played } from './synthetic.ts';

/** Up to four even shards (and more that are not) that do 100 operations/s each; safe up to 80. */
const BUCKETS: Bucket[] = Array.from({ length: 12 }, () => ({ operations: Float64Array.of(1), entries: 1 }));
const LADDER = new Ladder(BUCKETS, KV, Float64Array.of(1));
const LEARN = 30;

const kindOf = (perMinute: readonly number[], learnMinutes = perMinute.length): KindLoad => ({
  ladder: LADDER,
  perMinute: Float64Array.from(perMinute),
  learnMinutes,
  predicted: predictions(Float64Array.from(perMinute)),
});

/** What is wanted at the end of each of these minutes, when what was wanted is there by the next. */
function wantedOver(name: ReferenceName, past: readonly number[], loads: readonly number[]): number[] {
  const sizing = REFERENCES[name](kindOf([...past, ...loads], past.length));
  let shards = sizing.start;
  return loads.map((_, at) => {
    shards = sizing.wanted(past.length + at, shards);
    return shards;
  });
}

const flat = (value: number, minutes: number): number[] => new Array<number>(minutes).fill(value);

describe('references', () => {
  for (const { name, past, start } of [
    { name: 'static_peak', past: [10, 200, 30], start: 3 }, // 200 / 80
    { name: 'static_mean', past: [10, 200, 30], start: 1 }, // 80 / 80
    { name: 'static_mean', past: [10, 200, 31], start: 2 },
    { name: 'reactive', past: [10, 200, 130], start: 3 }, // 130 / 60
  ] as const)
    test(`${name} begins with ${start} after ${past.join(', ')}`, () => {
      expect(REFERENCES[name](kindOf(past)).start).toBe(start);
    });

  for (const name of ['static_peak', 'static_mean'] as const)
    test(`${name} never changes its mind`, () => {
      expect(wantedOver(name, [100], [0, 700, 0])).toEqual(flat(REFERENCES[name](kindOf([100])).start, 3));
    });

  test('reactive orders above 0.8 of what there is, so that 0.6 of it is used', () => {
    expect(wantedOver('reactive', [60], [80])).toEqual([1]);
    expect(wantedOver('reactive', [60], [81])).toEqual([2]); // 81 / 60
    expect(wantedOver('reactive', [60], [130])).toEqual([3]); // 130 / 60
  });

  test('reactive gives back after ten minutes below 0.4 of what there is', () => {
    expect(wantedOver('reactive', [170], flat(100, 11))).toEqual([...flat(3, 9), 2, 2]);
    expect(wantedOver('reactive', [170], [...flat(100, 9), 130, ...flat(100, 9)])).toEqual(flat(3, 19));
  });

  test('reactive keeps what it has between its two thresholds', () => {
    expect(wantedOver('reactive', [170], [130, 150, 200, 239])).toEqual(flat(3, 4));
  });

  test('P-Store holds what a steady load needs, with its allowance', () => {
    expect(REFERENCES.p_store(kindOf(flat(100, LEARN))).start).toBe(2); // 115 of 160
    expect(wantedOver('p_store', flat(100, LEARN), flat(100, 10))).toEqual(flat(2, 10));
  });

  test('P-Store plans every five minutes, and gives back after three plans', () => {
    const wanted = wantedOver('p_store', [...flat(40, 4 * LEARN), 130], flat(40, 20));
    expect(wanted.slice(0, 13)).toEqual(flat(2, 13)); // 130 x 1.15 / 80 at first
    expect(wanted.slice(14)).toEqual(flat(1, 6)); // from the third plan on
  });

  test('P-Store orders what its forecast needs', () => {
    const wave = Array.from({ length: 4 * 1440 }, (_, minute) => 150 - 110 * Math.cos((2 * Math.PI * minute) / 360));
    const learn = 3 * 1440;
    const sizing = REFERENCES.p_store(kindOf(wave, learn));
    let shards = sizing.start;
    let short = 0;
    for (let minute = learn; minute < wave.length; minute++) {
      if (wave[minute]! > LADDER.capacity(shards)) short++;
      shards = sizing.wanted(minute, shards);
    }
    expect(short).toBe(0);
    expect(shards).toBeLessThan(5); // In the trough again.
  });

  test('a static policy pays its shards for each hour and nothing else', () => {
    const fleet = fleetOf(played({ one: () => 1 }, 120));
    const account = accountOf({ firstMinute: 60, entries: fleet.entries });
    finished(runReference('static_peak', { fleet, catalog: CATALOG, account, startAt: 0 }));
    const { dollars, runningDollars, moves, violationSeconds } = account.score();
    expect([dollars, moves, violationSeconds]).toEqual([runningDollars, 0, 0]);
  });

  for (const { busyPerSecond, dollars } of [
    { busyPerSecond: 20, dollars: 0.5 + 1 }, // 60 operations/s for the concrete filters: one kv, and one trie.
    { busyPerSecond: 100, dollars: 1.8 + 1 }, // 300: one kv-large is cheaper than four or more kv.
  ])
    test(`a load of ${busyPerSecond} messages/s is on the type that is cheapest for it`, () => {
      const fleet = fleetOf(played({ one: () => 1 }, 120), { busyPerSecond });
      const account = accountOf({ firstMinute: 60, entries: fleet.entries });
      finished(runReference('static_peak', { fleet, catalog: CATALOG, account, startAt: 0 }));
      expect(account.score().dollars).toBeCloseTo(dollars, 9);
    });

  test('the mean is not enough for a load that doubles', () => {
    const fleet = fleetOf(played({ one: (minute) => (minute < 60 ? 1 : 4) }, 120));
    const account = accountOf({ firstMinute: 60, entries: fleet.entries });
    finished(runReference('static_mean', { fleet, catalog: CATALOG, account, startAt: 0 }));
    expect(account.score().violationSeconds).toBeGreaterThanOrEqual(3_600);
  });
});
