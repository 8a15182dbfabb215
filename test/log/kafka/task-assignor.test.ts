import { describe, expect, test } from 'vitest';
import { assignTasks, type Member } from '../../../log/kafka/task-assignor.ts';
import { fc } from '../../support/property.ts';

const member = (id: string, owned: number[] = [], held: number[] = []): Member => ({
  id,
  address: `${id}:7000`,
  owned,
  held,
});

describe('task assignor', () => {
  for (const { name, tasks, members, wanted } of [
    { name: 'one member gets everything', tasks: 3, members: [member('a')], wanted: { a: [0, 1, 2] } },
    {
      name: 'new members share evenly',
      tasks: 5,
      members: [member('a'), member('b')],
      wanted: { a: [0, 1, 3], b: [2, 4] },
    },
    {
      name: 'a task stays with the member that has it',
      tasks: 4,
      members: [member('a', [1, 3]), member('b', [0, 2])],
      wanted: { a: [1, 3], b: [0, 2] },
    },
    {
      name: 'a task that has to move is first taken from its owner and given to nobody',
      tasks: 4,
      members: [member('a', [0, 1, 2, 3]), member('b')],
      wanted: { a: [0, 1], b: [] },
    },
    {
      name: 'once its owner has given it up, the other gets it',
      tasks: 4,
      members: [member('a', [0, 1], [0, 1, 2, 3]), member('b')],
      wanted: { a: [0, 1], b: [2, 3] },
    },
    {
      name: 'a free task goes to the member that holds its state',
      tasks: 4,
      members: [member('a', [], [2, 3]), member('b', [], [0, 1])],
      wanted: { a: [2, 3], b: [0, 1] },
    },
    {
      name: 'the odd task stays with the member that has more already',
      tasks: 3,
      members: [member('a', [0]), member('b', [1, 2])],
      wanted: { a: [0], b: [1, 2] },
    },
    {
      name: 'the task of a gathering group goes back to the member that had it',
      tasks: 1,
      members: [member('a'), member('b', [], [0]), member('c')],
      wanted: { a: [], b: [0], c: [] },
    },
    {
      name: 'a task that two members claim goes to one of them',
      tasks: 2,
      members: [member('a', [0]), member('b', [0, 1])],
      wanted: { a: [0], b: [1] },
    },
    {
      name: 'members without a task have none',
      tasks: 1,
      members: [member('a'), member('b')],
      wanted: { a: [0], b: [] },
    },
    {
      name: 'claims of tasks that do not exist count for nothing',
      tasks: 1,
      members: [member('a', [7], [9])],
      wanted: { a: [0] },
    },
  ])
    test(name, () => {
      expect(Object.fromEntries(assignTasks(tasks, members).tasks)).toEqual(wanted);
    });

  test('every task has the address of its owner, or of who gets it', () => {
    const { addresses } = assignTasks(3, [member('a', [0, 1, 2]), member('b')]);
    expect(addresses).toEqual(['a:7000', 'a:7000', 'a:7000']); // Task 2 is with a until a gives it up.
  });

  const members = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1 }).chain((ids) =>
    fc.tuple(
      ...ids.map((id) =>
        fc.record({
          id: fc.constant(id),
          address: fc.constant(''),
          owned: fc.uniqueArray(fc.nat(12)),
          held: fc.uniqueArray(fc.nat(12)),
        }),
      ),
    ),
  );

  test('members differ by at most one task, once all have given up what they should (A1)', () => {
    fc.assert(
      fc.property(members, fc.integer({ min: 0, max: 13 }), (initial, taskCount) => {
        let current: Member[] = initial;
        let rounds = 0;
        for (; rounds < 4; rounds++) {
          const plan = assignTasks(taskCount, current);
          const given = [...plan.tasks.values()].flat();
          expect(new Set(given).size).toBe(given.length); // Never two owners.
          const next = current.map((each) => ({ ...each, owned: [...plan.tasks.get(each.id)!] }));
          if (JSON.stringify(next) === JSON.stringify(current)) break;
          current = next;
        }
        expect(rounds).toBeLessThanOrEqual(3);
        const sizes = current.map((each) => each.owned.length);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(taskCount);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('the order in which members come changes nothing (A3)', () => {
    fc.assert(
      fc.property(members, fc.integer({ min: 0, max: 13 }), (all, taskCount) => {
        const plan = assignTasks(taskCount, all);
        const reversed = assignTasks(taskCount, [...all].reverse());
        expect([...reversed.tasks].sort()).toEqual([...plan.tasks].sort());
        expect(reversed.addresses).toEqual(plan.addresses);
      }),
    );
  });
});
