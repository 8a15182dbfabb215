// Proposals: what waits for a person in mode approve, and what becomes of it. Invariants Q1 to Q4 of proposals.ts.

import { describe, expect, test } from 'vitest';
import type { PlanMode } from '../../../../processors/plan/settings.ts';
import { eventTime, planId } from '../../../../schemas/ids.ts';
import type { Decision, PlanVerdict } from '../../../../schemas/records.ts';
import { forecast, StageByHand, T0 } from '../stage-by-hand.ts';

const MINUTE = 60_000;

/** A cell whose one shard is asked for `perSecond` of its safe 800, a minute after genesis. */
function crowded(perSecond: number, mode: PlanMode = 'approve'): StageByHand {
  const cell = new StageByHand({ mode, approvalMs: 30 * MINUTE }).genesis();
  load(cell, perSecond, T0);
  planAt(cell, 1);
  return cell;
}

function load(cell: StageByHand, perSecond: number, madeAt: number): void {
  const each = perSecond / 4;
  for (const partition of [0, 1, 2, 3])
    cell.send({ topic: 'forecasts', value: forecast(`c/${partition}/`, 'PUBLISHES', madeAt, [each], [each], each) });
}

function planAt(cell: StageByHand, minute: number): void {
  cell.at(T0 + minute * MINUTE);
  cell.tick();
}

function answer(cell: StageByHand, plan: string, verdict: PlanVerdict, requestId = `ask-${verdict}-${plan}`): Decision {
  const timestamp = eventTime(T0);
  cell.metric({ kind: 'PlanAnswer', requestId, planId: planId(plan), answer: verdict, timestamp });
  return cell.decisions.at(-1)!;
}

const said = (cell: StageByHand, kind: Decision['kind']): Decision[] =>
  cell.decisions.filter((each) => each.kind === kind);
const asked = (cell: StageByHand): string[] => cell.commands.map(({ command }) => command.body.kind);

describe('a plan that waits', () => {
  test('is one decision with its steps, price, end, and each shard before and after', () => {
    const cell = crowded(1_200);
    expect(asked(cell)).toEqual([]);
    expect(said(cell, 'PROPOSE')).toMatchObject([
      {
        subject: 'plan-000001',
        steps: ['allocate shard-0003 on kv', 'then move c/0/ to shard-0003', 'then move c/1/ to shard-0003'],
        dollarsPerHour: 0.1,
        dollarsOnce: 0.01,
        promisedDollars: 50,
        forecastPerSecond: 1_200,
        capacityPerSecond: 800,
        expiresAt: T0 + 31 * MINUTE,
        changes: [
          {
            shardId: 'shard-0001',
            typeBefore: 'kv',
            typeAfter: 'kv',
            slicesBefore: 4,
            slicesAfter: 2,
            fullBefore: 1.2,
            fullAfter: 0.6,
          },
          {
            shardId: 'shard-0003',
            typeBefore: '',
            typeAfter: 'kv',
            slicesBefore: 0,
            slicesAfter: 2,
            fullBefore: 0,
            fullAfter: 0.6,
          },
        ],
      },
    ]);
  });

  test('stands while later plans want nothing else (Q2)', () => {
    const cell = crowded(1_200);
    for (let minute = 2; minute < 30; minute++) {
      load(cell, 1_200, T0 + minute * MINUTE);
      planAt(cell, minute);
    }
    expect(said(cell, 'PROPOSE')).toHaveLength(1);
  });

  test('gives way to one that wants more (Q1, Q2)', () => {
    const cell = crowded(1_200);
    load(cell, 1_600, T0 + MINUTE);
    planAt(cell, 2);
    expect(said(cell, 'PROPOSE').map(({ subject }) => subject)).toEqual(['plan-000001', 'plan-000002']);
    expect(said(cell, 'EXPIRE')[0]).toMatchObject({ subject: 'plan-000001' });
    expect(answer(cell, 'plan-000001', 'APPROVE').reason).toContain('was replaced by plan-000002');
    expect(asked(cell)).toEqual([]);
  });

  test('ends unanswered in event time, and is made anew when it is still needed', () => {
    const cell = crowded(1_200);
    load(cell, 1_200, T0 + 30 * MINUTE);
    planAt(cell, 30);
    expect(said(cell, 'EXPIRE')).toEqual([]);
    load(cell, 1_200, T0 + 31 * MINUTE);
    planAt(cell, 31);
    expect(said(cell, 'EXPIRE')).toMatchObject([{ subject: 'plan-000001' }]);
    expect(said(cell, 'PROPOSE').map(({ subject }) => subject)).toEqual(['plan-000001', 'plan-000002']);
    expect(answer(cell, 'plan-000001', 'APPROVE')).toMatchObject({ kind: 'REFUSE', constraint: 'request' });
    expect(asked(cell)).toEqual([]);
  });

  test('ends in its time when plans need no approval any more', () => {
    const cell = crowded(1_200);
    cell.restart({ mode: 'auto' });
    expect(answer(cell, 'plan-000001', 'APPROVE').reason).toContain(
      'the mode is auto, in which plans do not wait for approval',
    );
    planAt(cell, 31);
    expect(said(cell, 'EXPIRE')).toMatchObject([{ subject: 'plan-000001' }]);
  });

  test('outlives a restart', () => {
    const cell = crowded(1_200);
    cell.rows.restart();
    expect(answer(cell, 'plan-000001', 'APPROVE')).toMatchObject({ kind: 'APPROVE' });
  });
});

describe('an approval', () => {
  test('is carried out at once, and names the commands', () => {
    const cell = crowded(1_200);
    const approved = answer(cell, 'plan-000001', 'APPROVE', 'yes-1');
    expect(asked(cell)).toEqual(['AllocateShard']);
    expect(approved).toMatchObject({
      kind: 'APPROVE',
      subject: 'plan-000001',
      requestId: 'yes-1',
      commandIds: [cell.commands[0]!.command.id],
    });
  });

  test('covers what follows from it, without asking again', () => {
    const cell = crowded(1_200);
    answer(cell, 'plan-000001', 'APPROVE');
    cell.shardReady('shard-0003', 'kv');
    load(cell, 1_200, T0 + 2 * MINUTE);
    planAt(cell, 3);
    expect(asked(cell)).toEqual(['AllocateShard', 'MoveSlice', 'MoveSlice']);
    expect(said(cell, 'PROPOSE')).toHaveLength(1);
  });

  test('ends: what has not begun by then is proposed again (Q3)', () => {
    const cell = crowded(1_200);
    answer(cell, 'plan-000001', 'APPROVE');
    cell.shardReady('shard-0003', 'kv');
    load(cell, 1_200, T0 + 40 * MINUTE);
    planAt(cell, 40);
    expect(asked(cell)).toEqual(['AllocateShard']);
    expect(said(cell, 'PROPOSE').at(-1)).toMatchObject({
      subject: 'plan-000002',
      steps: ['move c/0/ to shard-0003', 'move c/1/ to shard-0003'],
    });
  });

  test('does nothing that is not wanted any more (Q3)', () => {
    const cell = crowded(1_200);
    load(cell, 400, T0 + MINUTE);
    expect(answer(cell, 'plan-000001', 'APPROVE').reason).toContain('none of its actions is needed at the moment');
    expect(asked(cell)).toEqual([]);
  });

  test('that comes twice has one effect', () => {
    const cell = crowded(1_200);
    answer(cell, 'plan-000001', 'APPROVE', 'yes-1');
    const before = cell.decisions.length;
    answer(cell, 'plan-000001', 'APPROVE', 'yes-1');
    expect(cell.decisions).toHaveLength(before);
    expect(answer(cell, 'plan-000001', 'APPROVE', 'yes-2').reason).toContain('is approved already');
    expect(asked(cell)).toEqual(['AllocateShard']);
  });
});

describe('a rejection', () => {
  test('keeps the same from being proposed until it ends (Q4)', () => {
    const cell = crowded(1_200);
    expect(answer(cell, 'plan-000001', 'REJECT')).toMatchObject({ kind: 'REJECT', expiresAt: T0 + 31 * MINUTE });
    load(cell, 1_200, T0 + 29 * MINUTE);
    planAt(cell, 30);
    expect(said(cell, 'PROPOSE')).toHaveLength(1);
    load(cell, 1_200, T0 + 31 * MINUTE);
    planAt(cell, 32);
    expect(said(cell, 'PROPOSE')).toHaveLength(2);
    expect(asked(cell)).toEqual([]);
  });

  test('of a plan leaves others to be proposed', () => {
    const cell = crowded(1_200);
    answer(cell, 'plan-000001', 'REJECT');
    load(cell, 1_600, T0 + MINUTE);
    planAt(cell, 2);
    expect(said(cell, 'PROPOSE')).toHaveLength(2);
  });
});

describe('an answer that cannot be taken says why', () => {
  for (const { name, mode, plan, reason } of [
    { name: 'to a plan that never was', mode: 'approve', plan: 'plan-000009', reason: 'there is no plan plan-000009' },
    { name: 'in mode auto', mode: 'auto', plan: 'plan-000001', reason: 'there is no plan plan-000001' },
    { name: 'in mode observe', mode: 'observe', plan: 'plan-000001', reason: 'there is no plan plan-000001' },
  ] as const)
    test(name, () => {
      const cell = crowded(1_200, mode);
      const commands = asked(cell).length;
      const refused = answer(cell, plan, 'APPROVE', 'yes-1');
      expect(refused).toMatchObject({ kind: 'REFUSE', constraint: 'request', requestId: 'yes-1' });
      expect(refused.reason).toContain(reason);
      expect(asked(cell)).toHaveLength(commands);
    });
});

test('at most twenty plans are kept, however often nobody answers', () => {
  const cell = crowded(1_200);
  for (let minute = 31; minute < 31 * 40; minute += 31) {
    load(cell, 1_200, T0 + minute * MINUTE);
    planAt(cell, minute);
  }
  expect(said(cell, 'PROPOSE').length).toBeGreaterThan(25);
  expect([...cell.rows.entries()].filter(([, row]) => row.kind === 'proposal')).toHaveLength(20);
});
