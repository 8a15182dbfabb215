import { describe, expect, test } from 'vitest';
import { LagWatch } from '../../runtime/lag-watch.ts';

const at = (partition: number, committed: number, end: number) => ({
  ...{ topic: 'subscriptions', partition, task: partition, committed, end },
});

/** Which partitions stand still, and since when. */
const standing = (watch: LagWatch, now: number): (readonly [number, number])[] =>
  watch
    .lags(now)
    .flatMap(({ partition, standsSince }) => (standsSince === undefined ? [] : [[partition, standsSince]]));

describe('the lag watch', () => {
  test('tells the end of the log less what was committed, never less than nothing', () => {
    const watch = new LagWatch();
    watch.take('work', [at(0, 5, 12), at(1, 7, 7), at(2, 9, 3)], 1_000);
    expect(watch.lags(1_000).map(({ group, task, records }) => ({ group, task, records }))).toEqual([
      { group: 'work', task: 0, records: 7 },
      { group: 'work', task: 1, records: 0 },
      { group: 'work', task: 2, records: 0 },
    ]);
  });

  test('says that it does not know, rather than what it knew long ago', () => {
    const watch = new LagWatch();
    expect(watch.knows('work', 0)).toBe(false);
    watch.take('work', [at(0, 0, 12)], 1_000);
    expect([watch.lags(31_000).length, watch.knows('work', 31_000)]).toEqual([1, true]);
    expect([watch.lags(31_001).length, watch.knows('work', 31_001)]).toEqual([0, false]);
  });

  for (const { name, looks, stands } of [
    {
      name: 'a position that does not move stands since it was first seen',
      looks: [
        [0, 5, 9],
        [3, 5, 9],
        [6, 5, 30],
      ],
      stands: [[0, 0]],
    },
    {
      name: 'less than six seconds are nothing',
      looks: [
        [0, 5, 9],
        [5, 5, 9],
      ],
      stands: [],
    },
    {
      name: 'one that moves does not stand, however far behind it is',
      looks: [
        [0, 5, 900],
        [3, 6, 900],
        [6, 7, 900],
      ],
      stands: [],
    },
    {
      name: 'one that has nothing to consume does not stand',
      looks: [
        [0, 5, 5],
        [60, 5, 5],
      ],
      stands: [],
    },
    {
      name: 'what comes in after a long silence begins the time',
      looks: [
        [0, 5, 5],
        [60, 5, 6],
        [64, 5, 6],
      ],
      stands: [],
    },
    {
      name: 'it stands on while there is more to consume',
      looks: [
        [0, 5, 5],
        [60, 5, 6],
        [66, 5, 9],
      ],
      stands: [[0, 60_000]],
    },
    {
      name: 'a position that went back has moved',
      looks: [
        [0, 5, 9],
        [5, 2, 9],
        [9, 2, 9],
      ],
      stands: [],
    },
  ])
    test(name, () => {
      const watch = new LagWatch();
      for (const [second, committed, end] of looks) watch.take('work', [at(0, committed!, end!)], second! * 1000);
      expect(standing(watch, looks.at(-1)![0]! * 1000)).toEqual(stands);
    });

  test('groups are watched apart, and a partition that is no longer told is forgotten', () => {
    const watch = new LagWatch();
    watch.take('work', [at(0, 1, 2), at(1, 1, 2)], 0);
    watch.take('plan', [at(0, 2, 2)], 0);
    watch.take('work', [at(1, 1, 2)], 6_000);
    expect(watch.lags(6_000).map(({ group, partition }) => `${group} ${partition}`)).toEqual(['work 1', 'plan 0']);
    expect(standing(watch, 6_000)).toEqual([[1, 0]]);
  });
});
