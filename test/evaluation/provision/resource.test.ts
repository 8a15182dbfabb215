import { describe, expect, test } from 'vitest';
import { provision, Resource, scoreOf } from '../../../evaluation/provision/resource.ts';

const load = (values: number[], testStart: number, leadRows = 2) => ({
  values: Float64Array.from(values),
  testStart,
  stepSeconds: 1800,
  shardCapacity: 10,
  leadRows,
});

describe('a resource', () => {
  for (const { name, start, changes, serving, paid } of [
    { name: 'what nobody changes stays', start: 2, changes: [0, 0, 0], serving: [2, 2, 2], paid: [2, 2, 2] },
    {
      name: 'what is ordered is paid at once and serves a lead time later',
      start: 1,
      changes: [2, 0, 0, 0],
      serving: [1, 1, 3, 3],
      paid: [3, 3, 3, 3],
    },
    {
      name: 'what is removed serves and is paid for a lead time',
      start: 3,
      changes: [-2, 0, 0, 0],
      serving: [3, 3, 1, 1],
      paid: [3, 3, 1, 1],
    },
    {
      name: 'changes take effect in their order',
      start: 2,
      changes: [1, -2, 3, 0, 0, 0],
      serving: [2, 2, 3, 1, 4, 4],
      paid: [3, 3, 6, 4, 4, 4],
    },
    {
      name: 'one shard is left, whatever is removed (P2)',
      start: 2,
      changes: [-5, -5, 0, 0],
      serving: [2, 2, 1, 1],
      paid: [2, 2, 1, 1],
    },
  ])
    test(name, () => {
      let row = 0;
      const outcome = provision(load([0, ...changes], 1), () => changes[row++]!, start);
      expect(outcome).toEqual({ serving, paid });
    });

  test('begins with what carries the last row before at 60 %', () =>
    expect(new Resource(load([12, 0], 1)).shards).toEqual({ serving: 2, ordered: 0, removing: 0 }));

  test('says before each row what is ordered and what is being removed', () => {
    const resource = new Resource(load([0, 0], 1), 5);
    resource.pass(2);
    expect(resource.shards).toEqual({ serving: 5, ordered: 2, removing: 0 });
    resource.pass(-3);
    expect(resource.shards).toEqual({ serving: 7, ordered: 0, removing: 3 });
    resource.pass(0);
    expect(resource.shards).toEqual({ serving: 4, ordered: 0, removing: 0 });
  });
});

test('a score counts what was paid, the rows that were short, and the load beyond', () => {
  const score = scoreOf(load([99, 10, 25, 5, 40], 1), { serving: [1, 2, 1, 3], paid: [2, 2, 1, 3] });
  expect(score).toEqual({ shardHours: 4, underPercent: 50, lostPercent: (100 * 15) / 80, hours: 2 });
});
