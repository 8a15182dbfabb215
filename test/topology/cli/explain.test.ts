import { describe, expect, test } from 'vitest';
import { epoch, eventTime, shardId, sliceKey } from '../../../schemas/ids.ts';
import type { Decision } from '../../../schemas/records.ts';
import { PointerTable } from '../../../state/pointer-table.ts';
import { firstSlices } from '../../../state/slice-tree.ts';
import { decisionsAbout, explanationLines, subjectsOf } from '../../../topology/cli/explain.ts';

const AT = Date.UTC(2026, 0, 5, 19, 41, 20);

const decision = (more: Partial<Decision>): Decision => ({
  id: 'd-1',
  at: eventTime(AT),
  kind: 'ALLOCATE',
  subject: 'shard-0003',
  reason: 'shard-0001 goes above its safe 800 operations/s in 3 min by the forecast.',
  constraint: '',
  requestId: '',
  commandIds: [],
  forecastPerSecond: -1,
  capacityPerSecond: -1,
  crossingAt: eventTime(0),
  leadTimeMs: 0,
  dollarsPerHour: 0,
  alternatives: [],
  ...more,
});

describe('explain', () => {
  test('a decision is told with its forecast, constraint and alternatives', () => {
    const lines = explanationLines(
      decision({
        constraint: 'timing',
        requestId: 'ask-1',
        commandIds: ['k-1', 'k-2'],
        forecastPerSecond: 893.6,
        capacityPerSecond: 800,
        crossingAt: eventTime(AT + 180_000),
        leadTimeMs: 122_000,
        dollarsPerHour: 0.5,
        alternatives: [{ what: 'do nothing', dollars: 41.5, whyNot: 'it costs more' }],
      }),
    );
    expect(lines).toEqual([
      '2026-01-05 19:41:20  ALLOCATE shard-0003  (d-1)',
      '  shard-0001 goes above its safe 800 operations/s in 3 min by the forecast.',
      '  bound by: timing',
      '  forecast peak within the lead time 893.6/s; safe capacity 800/s; crossed at 2026-01-05 19:44:20 (3 min ahead); lead time 122 s; +$0.50/h',
      '  asked for by: ask-1',
      '  commands: k-1, k-2',
      '  instead: do nothing, $41.50: it costs more',
    ]);
  });

  test('what does not apply is left out', () => {
    expect(explanationLines(decision({}))).toHaveLength(2);
  });

  test('what others wrote cannot move the terminal’s cursor', () => {
    expect(explanationLines(decision({ subject: 't/\u001b[2Ja' })).join('')).not.toContain('\u001b');
  });

  const all = [
    decision({ id: 'd-1', at: eventTime(AT) }),
    decision({ id: 'd-2', at: eventTime(AT + 2), subject: 'c/0/1', reason: 'full', commandIds: ['k-9'] }),
    decision({ id: 'd-3', at: eventTime(AT + 1), subject: 't/a/b', reason: 'hot', requestId: 'ask-7' }),
  ];
  for (const { wanted, found } of [
    { wanted: 'd-2', found: ['d-2'] },
    { wanted: 'c/0/1', found: ['d-2'] },
    { wanted: 'k-9', found: ['d-2'] },
    { wanted: 'ask-7', found: ['d-3'] },
    { wanted: 'a/b', found: ['d-3'] },
    { wanted: 'shard-0003', found: ['d-1'] },
    { wanted: 'shard-0001', found: ['d-1'] },
    { wanted: 'shard-000', found: [] },
    { wanted: '', found: [] },
  ])
    test(`${JSON.stringify(wanted)} is answered by ${found.length === 0 ? 'nothing' : found.join(' and ')}`, () => {
      expect(decisionsAbout(wanted, subjectsOf(wanted, undefined), all).map(({ id }) => id)).toEqual(found);
    });

  test('a topic is answered by what was decided about its slice and its shards, newest first', () => {
    const pointers = new PointerTable(1);
    const slices = firstSlices(1);
    slices.forEach((slice, index) => {
      const body = {
        kind: 'PointerEntry',
        slice,
        mode: 'SINGLE',
        shards: [shardId('shard-0003')],
        epoch: epoch(1),
      } as const;
      pointers.apply(`p:${slice}`, { change: { epoch: epoch(1), index, count: slices.length }, body }, index);
    });
    pointers.reached(slices.length, slices.length);
    const subjects = subjectsOf('some/topic', pointers);
    expect(subjects).toContain(sliceKey('c/0/'));
    expect(
      decisionsAbout('some/topic', subjects, [
        ...all,
        decision({ id: 'd-4', at: eventTime(AT + 9), subject: 'c/0/' }),
      ]).map(({ id }) => id),
    ).toEqual(['d-4', 'd-1']);
  });
});
