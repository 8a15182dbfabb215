// Checks as the planner sees them: what it passes on to which tasks, and what it keeps of what they tell.

import { describe, expect, test } from 'vitest';
import { type CheckSummary, checksOf } from '../../../../processors/plan/stage/checks.ts';
import { eventTime, shardId, sliceKey } from '../../../../schemas/ids.ts';
import type { CheckProgress, CheckSlices } from '../../../../schemas/records.ts';
import { StageByHand, T0 } from '../stage-by-hand.ts';

const DIFFERENCE = {
  kind: 'MISSING' as const,
  ...{ slice: sliceKey('c/1/'), shardId: shardId('shard-0001'), topicFilter: 'a', clientId: 'x', mended: false },
};

class Cell extends StageByHand {
  ask(requestId: string, { shardId: shard = '', slice = '', repair = false } = {}): this {
    const body = { kind: 'CheckRequest', requestId, shardId: shard, slice, repair, timestamp: eventTime(T0) } as const;
    this.send({ topic: 'metrics', value: { body } });
    return this;
  }

  tell(checkId: string, partition: number, more: Partial<CheckProgress> = {}): this {
    const found = {
      rows: 10,
      missing: 0,
      extra: 0,
      different: 0,
      stray: 0,
      mended: 0,
      unchecked: 0,
      dropped: 0,
      reason: '',
    };
    const far = { state: 'DONE' as const, slices: 2, slicesDone: 2, differences: [] };
    this.progress({ kind: 'CheckProgress', checkId, partition, ...far, ...found, ...more });
    return this;
  }

  /** What tasks were asked, by partition. */
  get asked(): [partition: number, body: CheckSlices][] {
    return this.commands.flatMap(({ partition, command: { body } }) =>
      body.kind === 'CheckSlices' ? [[partition, body] as [number, CheckSlices]] : [],
    );
  }

  summary(checkId: string): CheckSummary | undefined {
    return checksOf(this.rows).find((check) => check.checkId === checkId);
  }
}

describe('a check that a person asks for', () => {
  test('of everything goes to every partition, with all shards where strays are looked for', () => {
    const cell = new Cell().genesis();
    cell.ask('r1', { repair: true });
    expect(cell.asked.map(([partition]) => partition)).toEqual([0, 1, 2, 3]);
    for (const [, body] of cell.asked)
      expect(body).toEqual({
        ...{ kind: 'CheckSlices', checkId: 'r1', shardId: '', slice: '', repair: true },
        ...{ concreteShards: ['shard-0001'], trieShards: ['shard-0002'] },
      });
    expect(cell.decisions.at(-1)).toMatchObject({ kind: 'KEEP', requestId: 'r1' });
  });

  test('of a shard looks for strays there alone; of a slice goes to its partition, and looks for none', () => {
    const cell = new Cell().genesis();
    cell.ask('r1', { shardId: 'shard-0002' });
    expect(cell.asked).toHaveLength(4);
    expect(cell.asked[0]![1]).toMatchObject({ shardId: 'shard-0002', concreteShards: [], trieShards: ['shard-0002'] });
    cell.ask('r2', { slice: 'c/2/' });
    expect(cell.asked.slice(4)).toMatchObject([[2, { slice: 'c/2/', concreteShards: [], trieShards: [] }]]);
  });

  test('has one effect, however often it comes, and after a restart', () => {
    const cell = new Cell().genesis();
    cell.ask('r1').ask('r1');
    cell.rows.restart();
    cell.ask('r1', { repair: true });
    expect(cell.asked).toHaveLength(4);
    expect(cell.summary('r1')).toMatchObject({ repair: false, state: 'RUNNING' });
  });

  for (const { name, asked, reason } of [
    { name: 'a shard', asked: { shardId: 'shard-0099' }, reason: 'There is no shard shard-0099.' },
    { name: 'a slice', asked: { slice: 't/none' }, reason: 'There is no slice t/none.' },
  ])
    test(`of ${name} that is not there is refused, and kept as that`, () => {
      const cell = new Cell().genesis();
      cell.ask('r1', asked);
      expect(cell.asked).toEqual([]);
      expect(cell.decisions.at(-1)).toMatchObject({ kind: 'REFUSE', constraint: 'request', requestId: 'r1', reason });
      expect(cell.summary('r1')).toMatchObject({ state: 'REFUSED', reasons: [reason], partitions: 0 });
    });

  test('is summed over partitions, and done when all are', () => {
    const cell = new Cell().genesis();
    cell.ask('r1', { repair: true });
    expect(cell.summary('r1')).toMatchObject({ state: 'RUNNING', partitions: 4, partitionsHeard: 0, rows: 0 });
    cell.tell('r1', 0, { state: 'RUNNING', slicesDone: 1, rows: 3 });
    cell.tell('r1', 0, { missing: 2, mended: 1, differences: [DIFFERENCE] });
    cell.tell('r1', 1, { state: 'RUNNING', slicesDone: 1 });
    expect(cell.summary('r1')).toMatchObject({
      ...{ state: 'RUNNING', partitionsHeard: 2, partitionsDone: 1, rows: 20, slices: 4, slicesDone: 3 },
      ...{ missing: 2, mended: 1, differences: [DIFFERENCE] },
    });
    for (const partition of [1, 2, 3]) cell.tell('r1', partition, { unchecked: 1, reason: 'it is moving' });
    expect(cell.summary('r1')).toMatchObject({ state: 'DONE', rows: 40, unchecked: 3, reasons: ['it is moving'] });
  });

  test('is refused when a partition cannot be compared', () => {
    const cell = new Cell().genesis();
    cell.ask('r1');
    for (const partition of [0, 1, 2]) cell.tell('r1', partition);
    cell.tell('r1', 3, { state: 'REFUSED', reason: 'the subscription table is not kept' });
    expect(cell.summary('r1')).toMatchObject({ state: 'REFUSED', reasons: ['the subscription table is not kept'] });
  });

  test('that nobody asked for is not listened to', () => {
    const cell = new Cell().genesis();
    cell.tell('r7', 0, { missing: 5 });
    expect(checksOf(cell.rows)).toEqual([]);
  });

  test('is kept for a while: the last sixteen, newest first', () => {
    const cell = new Cell().genesis();
    for (let i = 10; i < 30; i++) cell.ask(`r${i}`).tell(`r${i}`, 0);
    const kept = checksOf(cell.rows).map(({ checkId }) => checkId);
    expect(kept).toEqual(Array.from({ length: 16 }, (_, i) => `r${29 - i}`));
    const parts = [...cell.rows.map.values()].filter(({ kind }) => kind === 'checkPart');
    expect(parts).toHaveLength(16);
  });
});

test('the check that always goes on is told last, once it has found something, and cannot be asked for', () => {
  const cell = new Cell().genesis();
  cell.ask('continuous');
  expect(cell.asked).toEqual([]);
  cell.ask('r1').tell('continuous', 1, { extra: 3 }).tell('continuous', 2, { missing: 1 });
  expect(checksOf(cell.rows).map(({ checkId }) => checkId)).toEqual(['r1', 'continuous']);
  expect(cell.summary('continuous')).toMatchObject({ state: 'DONE', extra: 3, missing: 1, partitions: 2, at: 0 });
  cell.tell('continuous', 1);
  expect(cell.summary('continuous')).toMatchObject({ extra: 0, missing: 1 });
});
