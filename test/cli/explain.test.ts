import { describe, expect, test } from 'vitest';
import { askedFor, decisionsAbout, explanationLines, nothingText, placeLine, subjectsOf } from '../../cli/explain.ts';
import { epoch, eventTime, shardId, sliceKey } from '../../schemas/ids.ts';
import type { Decision } from '../../schemas/records.ts';
import { PointerTable } from '../../state/pointer-table.ts';
import { firstSlices } from '../../state/slice-tree.ts';
import { decisionWith } from '../support/decision.ts';

const AT = Date.UTC(2026, 0, 5, 19, 41, 20);

const decision = (more: Partial<Decision>): Decision =>
  decisionWith({
    at: eventTime(AT),
    kind: 'ALLOCATE',
    subject: 'shard-0003',
    reason: 'shard-0001 goes above its safe 800 operations/s in 3 min by the forecast.',
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
      expect(
        decisionsAbout(wanted, subjectsOf(wanted, askedFor(wanted, all, undefined), undefined), all).map(
          ({ id }) => id,
        ),
      ).toEqual(found);
    });

  test('a topic is answered by what was decided about its slice and its shards, newest first', () => {
    const pointers = tableOnOneShard('shard-0003');
    const subjects = subjectsOf('some/topic', 'topic', pointers);
    expect(subjects).toContain(sliceKey('c/0/'));
    expect(
      decisionsAbout('some/topic', subjects, [
        ...all,
        decision({ id: 'd-4', at: eventTime(AT + 9), subject: 'c/0/' }),
      ]).map(({ id }) => id),
    ).toEqual(['d-4', 'd-1']);
  });

  for (const { wanted, asked } of [
    { wanted: 'decision-000001', asked: 'decision' },
    { wanted: 'move-000001', asked: 'move' },
    { wanted: 'plan-000001', asked: 'plan' },
    { wanted: 'shard-0001', asked: 'shard' },
    { wanted: 'ask-7', asked: 'request' },
    { wanted: 'c/0/1', asked: 'slice' },
    { wanted: 'c/0/0', asked: 'topic' }, // No decision calls a slice so.
    { wanted: 'a/b', asked: 'topic' },
  ] as const)
    test(`${wanted} is taken for a ${asked}`, () => expect(askedFor(wanted, all, undefined)).toBe(asked));

  test('a slice of the pointer table is taken for one, whatever decisions there are', () => {
    expect(askedFor('c/0/', [], tableOnOneShard('shard-0003'))).toBe('slice');
    expect(askedFor('c/0/', [], undefined)).toBe('topic');
  });

  test('decisions about the place of a topic are told as that', () => {
    expect(placeLine('a/b', ['a/b', 't/a/b', 'c/0/', 'shard-0003'])).toBe(
      'a/b, as a topic, is in c/0/; what was decided about that, and about its shards:',
    );
  });

  test('a shard is not taken for the topic of that name, wherever that would be', () => {
    const pointers = tableOnOneShard('shard-0003');
    expect([...subjectsOf('shard-0001', 'shard', pointers)]).toEqual(['shard-0001']);
  });

  test('a slice is answered by what it was split from, too', () => {
    expect([...subjectsOf('c/0/01', 'slice', undefined)]).toEqual(['c/0/01', 'c/0/', 'c/0/0']);
  });

  test('decisions of one moment are told newest first as well', () => {
    const same = ['d-1', 'd-2', 'd-3'].map((id) => decision({ id }));
    expect(decisionsAbout('shard-0003', new Set(['shard-0003']), same).map(({ id }) => id)).toEqual([
      'd-3',
      'd-2',
      'd-1',
    ]);
  });

  test('what was promised is told beside what was saved', () => {
    const lines = explanationLines(
      decision({ kind: 'REVIEW', dollarsOnce: 0.11, promisedDollars: 48.33, realisedDollars: 46.67 }),
    );
    expect(lines.at(-1)).toBe('  $0.11 once; promised to save $48.33; saved $46.67');
  });

  test('a plan that waits is told with its price, its shards and its steps', () => {
    const change = { typeBefore: '', typeAfter: 'kv', slicesBefore: 0, slicesAfter: 2, fullBefore: 0, fullAfter: 0.6 };
    const lines = explanationLines(
      decision({
        kind: 'PROPOSE',
        subject: 'plan-000001',
        dollarsPerHour: 0.1,
        dollarsOnce: 0.01,
        promisedDollars: 50,
        expiresAt: eventTime(AT + 1_800_000),
        steps: ['allocate shard-0003 on kv', 'then move c/0/ to shard-0003'],
        changes: [{ shardId: shardId('shard-0003'), ...change }],
      }),
    );
    expect(lines.slice(2)).toEqual([
      '  +$0.10/h; $0.01 once; promised to save $50.00; holds until 2026-01-05 20:11:20',
      '  price: +$0.10/h and $0.01 once; doing nothing: $50.00',
      '  shard       type        slices  full',
      '  shard-0003  none -> kv  0 -> 2  0 % -> 60 %',
      '  1. allocate shard-0003 on kv',
      '  2. then move c/0/ to shard-0003',
    ]);
  });

  for (const { wanted, asked, slices, says } of [
    { wanted: 'shard-0009', asked: 'shard', slices: [], says: '`foreshard shards`' },
    { wanted: 'move-000009', asked: 'move', slices: [], says: '`foreshard moves`' },
    { wanted: 'plan-000009', asked: 'plan', slices: [], says: '`foreshard plans`' },
    { wanted: 'decision-000009', asked: 'decision', slices: [], says: 'too old to be kept' },
    { wanted: 'a/b', asked: 'topic', slices: ['c/0/'], says: 'which is in c/0/' },
    { wanted: 'a/+/', asked: 'topic', slices: [], says: 'in no slice yet' },
  ] as const)
    test(`nothing about ${wanted} is said with what to do`, () =>
      expect(nothingText(wanted, asked, slices)).toContain(says));
});

/** A pointer table whose one shard has everything. */
function tableOnOneShard(id: string): PointerTable {
  const pointers = new PointerTable(1);
  const slices = firstSlices(1);
  slices.forEach((slice, index) => {
    const body = { kind: 'PointerEntry', slice, mode: 'SINGLE', shards: [shardId(id)], epoch: epoch(1) } as const;
    pointers.apply(
      `p:${slice}`,
      { change: { epoch: epoch(1), index, count: slices.length, term: 1, planner: 'p' }, body },
      index,
    );
  });
  pointers.reached(slices.length, slices.length);
  return pointers;
}
