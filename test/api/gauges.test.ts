// Gauges: what an operator can watch of the rows of a process.

import { expect, test } from 'vitest';
import { reportGauges } from '../../api/gauges.ts';
import type { Row } from '../../processors/plan/stage/rows.ts';
import type { Meter, Sample } from '../../runtime/telemetry.ts';
import { StageByHand } from '../processors/plan/stage-by-hand.ts';

/** What is set, by name and labels. */
function gaugesOf(planRows: Iterable<readonly [string, Row]>, applyRows: readonly object[] = []): Map<string, number> {
  const set = new Map<string, number>();
  const meter = {
    set: (name: string, value: number, labels: Record<string, string> = {}) =>
      set.set([name, ...Object.values(labels)].join(' '), value),
    replace: (name: string, series: readonly Sample[]) => {
      for (const { value, labels } of series) set.set([name, ...Object.values(labels)].join(' '), value);
    },
  } as unknown as Meter;
  const plan = new Map(planRows);
  const waiting = [{ group: 'work', partition: 3, since: 1_000 }];
  const lag = { group: 'work', topic: 'subscriptions', records: 9 };
  const lags = [
    { ...lag, partition: 0, owner: 'self' },
    { ...lag, partition: 1, owner: 'other' },
    { ...lag, partition: 2, owner: 'nobody' },
  ];
  const running = {
    readiness: () => ({ restoredPercent: 100, waiting, standing: lags.slice(1) }),
    lags: () => lags,
    read: (_group: string, _table: string, _partition: number, key: string) => {
      const row = plan.get(key);
      return row === undefined ? { kind: 'unknown' } : { kind: 'here', row };
    },
    rows: (group: string, table: string) => {
      if (group === 'plan') return plan.entries();
      return table === 'lives' ? applyRows.map((row, i) => [`row-${i}`, row]) : [];
    },
  } as never;
  reportGauges(running, { pending: 3 }, meter, 16_000);
  return set;
}

test('what the planner takes operations and memory to cost can be watched, also before anything is learned', () => {
  const gauges = gaugesOf(new StageByHand().genesis().rows.entries());
  expect(Object.fromEntries([...gauges].filter(([name]) => / (KEY_VALUE|TRIE) /.test(name)))).toEqual({
    'foreshard_operation_cost KEY_VALUE visit': 1,
    'foreshard_operation_cost KEY_VALUE match': 0,
    'foreshard_operation_cost KEY_VALUE subscribe': 2,
    'foreshard_operation_cost KEY_VALUE unsubscribe': 2,
    'foreshard_operation_cost KEY_VALUE entry': 0,
    'foreshard_memory_footprint KEY_VALUE base': 0,
    'foreshard_memory_footprint KEY_VALUE entry': 0,
    'foreshard_memory_footprint KEY_VALUE byte': 1,
    'foreshard_operation_cost TRIE visit': 1,
    'foreshard_operation_cost TRIE match': 0,
    'foreshard_operation_cost TRIE subscribe': 2,
    'foreshard_operation_cost TRIE unsubscribe': 2,
    'foreshard_operation_cost TRIE entry': 0,
    'foreshard_memory_footprint TRIE base': 0,
    'foreshard_memory_footprint TRIE entry': 0,
    'foreshard_memory_footprint TRIE byte': 1,
  });
});

test('moves are counted by state', () => {
  const move = (state: string): Row => ({ kind: 'move', state }) as never;
  const gauges = gaugesOf([
    ['move/1', move('COPYING')],
    ['move/2', move('SHARED')],
    ['move/3', move('COPYING')],
  ]);
  expect(gauges.get('foreshard_moves COPYING')).toBe(2);
  expect(gauges.get('foreshard_moves SHARED')).toBe(1);
  expect(gauges.get('foreshard_moves DRAINING')).toBe(0);
});

test('a task that waits for a store is told with its seconds', () => {
  expect(gaugesOf([]).get('foreshard_store_waiting_seconds work 3')).toBe(15);
});

test('lag is told by who has the task, and by all when nobody has it; what stands still is told by all', () => {
  const gauges = gaugesOf([]);
  expect([...gauges].filter(([name]) => /lag|standing/.test(name))).toEqual([
    ['foreshard_lag_records work subscriptions 0', 9],
    ['foreshard_lag_records work subscriptions 2', 9],
    ['foreshard_standing_partitions work', 2],
  ]);
});

test('what the last passes of the continuous check have found is told together, and the age of the oldest', () => {
  const found = { rows: 9, missing: 0, extra: 0, different: 0, stray: 0, mended: 0, unchecked: 0 };
  const pass = (endedWallMs: number, findings: object) => ({
    ...{ kind: 'pass', beganWallMs: 0, endedWallMs, findings: { ...found, ...findings } },
  });
  const gauges = gaugesOf([], [pass(9_000, { missing: 2, stray: 1 }), pass(6_000, { missing: 3, unchecked: 4 })]);
  expect([...gauges].filter(([name]) => name.includes('check'))).toEqual([
    ['foreshard_check_age_seconds', 10],
    ['foreshard_check_differences missing', 5],
    ['foreshard_check_differences extra', 0],
    ['foreshard_check_differences different', 0],
    ['foreshard_check_differences stray', 1],
    ['foreshard_check_differences unchecked', 4],
  ]);
  expect([...gaugesOf([]).keys()].filter((name) => name.includes('check'))).toEqual([]);
});

test('tables that are not whole are counted', () => {
  const life = (tableIsWhole: boolean) => ({ kind: 'life', tableIsWhole });
  expect(gaugesOf([], [life(false), life(true), life(false)]).get('foreshard_partial_tables')).toBe(2);
  expect(gaugesOf([]).get('foreshard_partial_tables')).toBe(0);
});
