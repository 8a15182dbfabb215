// A shard that has lost its data, as the planner sees it: what it buys, moves and gives back, and what holds that back.

import { describe, expect, test } from 'vitest';
import type { PlanSettings } from '../../../../processors/plan/stage/plan-stage.ts';
import { shardsOf } from '../../../../processors/plan/stage/views.ts';
import { eventTime, type ShardId, type SliceKey, shardId } from '../../../../schemas/ids.ts';
import type { MoveSlice, MoveState } from '../../../../schemas/records.ts';
import { forecast, StageByHand, T0 } from '../stage-by-hand.ts';

const [CONCRETE, TRIE, THIRD, FOURTH] = ['shard-0001', 'shard-0002', 'shard-0003', 'shard-0004'].map(shardId) as [
  ShardId,
  ShardId,
  ShardId,
  ShardId,
];

class Cell extends StageByHand {
  say(shard: ShardId, state: 'LOST' | 'FOUND', foreign = false, silent = false): void {
    const reason = state === 'LOST' ? 'its store is empty' : '';
    const nothing = { datastoreType: '', instanceId: '', address: '', tookMs: 0 };
    this.progress({ kind: 'ShardProgress', shardId: shard, state, reason, foreign, silent, ...nothing });
  }

  /** A broker has read everything below the offset. */
  beat(brokerId: string, pointerOffset: number): void {
    this.metric({ kind: 'BrokerHeartbeat', brokerId, pointerOffset, timestamp: eventTime(T0) });
  }

  /** What readers are told last of the shard. */
  lossOf(shard: ShardId): string | undefined {
    const told = this.pointers.filter(({ body }) => body.kind === 'ShardEntry' && body.shardId === shard).at(-1)?.body;
    return told?.kind === 'ShardEntry' ? (told.loss ?? 'NONE') : undefined;
  }

  /** Apply has said of which partitions the subscription table is whole. */
  tables(whole: readonly number[]): void {
    for (const partition of [0, 1, 2, 3])
      this.progress({ kind: 'TableProgress', partition, whole: whole.includes(partition) });
  }

  /** Commands, each in a few words. */
  get asked(): string[] {
    return this.commands.map(({ command: { body } }) => {
      switch (body.kind) {
        case 'AllocateShard':
          return `allocate ${body.shardId} ${body.datastoreType}`;
        case 'RetireShard':
          return `retire ${body.shardId}`;
        case 'MoveSlice':
          return `${body.source === 'TABLE' ? 'rebuild' : 'move'} ${body.slice} ${body.from} ${body.to}`;
        case 'SteerMove':
          return `${body.action} ${body.slice}`;
        default:
          return body.kind;
      }
    });
  }

  get rebuilds(): MoveSlice[] {
    return this.commands.flatMap(({ command: { body } }) => (body.kind === 'MoveSlice' ? [body] : []));
  }

  tell({ moveId, slice, from, to }: MoveSlice, state: MoveState, reason = ''): void {
    const counts = { rowsCopied: 5, bytesCopied: 500, rowsVerified: 5, rowsErased: 0, etaMs: 0 };
    this.progress({ kind: 'MoveProgress', moveId, slice, from, to, state, paused: false, reason, ...counts });
  }

  request(shard: ShardId, { force = false, requestId = 'r1' } = {}): void {
    const body = { kind: 'RebuildRequest', requestId, shardId: shard, force, timestamp: eventTime(T0) } as const;
    this.send({ topic: 'metrics', value: { body } });
  }

  /** What became of a request: the constraint that stands against it, or its reason. */
  answer(requestId = 'r1'): string {
    const [decision] = this.decisions.filter((each) => each.requestId === requestId);
    return decision?.kind === 'REFUSE' ? decision.constraint : (decision?.reason ?? 'nothing');
  }

  /** Apply carries a rebuild out to its end. */
  finish(move: MoveSlice): void {
    this.tell(move, 'VERIFIED');
    this.readBack();
    this.tell(move, 'DRAINING');
    this.pass(10_000);
    this.tell(move, 'RETIRED');
  }

  finishAll(): void {
    for (let done = 0; done < this.rebuilds.length; done++) {
      this.finish(this.rebuilds[done]!);
      this.pass(2_000);
    }
  }
}

function cellWith(settings: Partial<PlanSettings> = {}, rates: readonly number[] = [10, 40, 20, 30]): Cell {
  const cell = new Cell(settings).genesis();
  cell.tables([0, 1, 2, 3]);
  for (const [partition, rate] of rates.entries())
    cell.send({ topic: 'forecasts', value: forecast(`c/${partition}/`, 'PUBLISHES', T0, [rate], [rate], rate) });
  return cell;
}

function lostIn(cell: Cell, whole: readonly number[] = [0, 1, 2, 3]): Cell {
  cell.tables(whole);
  cell.say(CONCRETE, 'LOST');
  return cell;
}

describe('a shard that has lost its data', () => {
  test('is waited for, then rebuilt on a new one, the slice with the highest load first, and given back', () => {
    const cell = cellWith();
    cell.say(CONCRETE, 'LOST');
    cell.pass(4_000);
    expect(cell.asked).toEqual([]);
    cell.pass(3_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv']);
    cell.shardReady(THIRD, 'kv');
    cell.readBack();
    cell.pass(2_000);
    const [first, second] = ['rebuild c/1/ shard-0001 shard-0003', 'rebuild c/3/ shard-0001 shard-0003'];
    expect(cell.asked.slice(1)).toEqual([first, second]); // Two moves of one shard at once.
    cell.finish(cell.rebuilds[0]!);
    cell.pass(2_000);
    expect(cell.asked).toContain('rebuild c/2/ shard-0001 shard-0003');
    cell.finishAll();
    expect(cell.asked.at(-1)).toBe('retire shard-0001');
    cell.progress(released(CONCRETE));
    expect(shardsOf(cell.rows).map(({ shardId: id, slices }) => [id, slices])).toEqual([
      [TRIE, 4],
      [THIRD, 4],
    ]);
    cell.pass(60_000);
    expect(cell.asked.filter((each) => !/SWITCH|RETIRE/.test(each))).toHaveLength(6);
  });

  test('is left alone when it is back in time', () => {
    const cell = cellWith();
    cell.say(CONCRETE, 'LOST');
    cell.pass(3_000);
    cell.say(CONCRETE, 'FOUND');
    cell.pass(60_000);
    expect(cell.asked).toEqual([]);
  });

  test('is not rebuilt when it is another fleet’s: nothing is lost then', () => {
    const cell = cellWith();
    cell.say(CONCRETE, 'LOST', true);
    cell.pass(60_000);
    expect(cell.asked).toEqual([]);
    cell.say(CONCRETE, 'LOST');
    cell.pass(7_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv']);
  });

  test('waits with what the subscription table does not have whole', () => {
    const cell = cellWith();
    cell.tables([2]);
    cell.say(CONCRETE, 'LOST');
    cell.pass(7_000);
    cell.shardReady(THIRD, 'kv');
    cell.pass(60_000);
    expect(cell.rebuilds.map(({ slice }) => slice)).toEqual(['c/2/']);
    const refused = cell.decisions.filter(({ constraint }) => constraint === 'table');
    expect(refused.map(({ subject }) => subject).sort()).toEqual(['c/0/', 'c/1/', 'c/3/']);
  });

  test('of several, whatever they are, the slices with the highest load come first', () => {
    const cell = cellWith();
    for (const [group, rate] of [35, 5, 5, 5].entries())
      cell.send({ topic: 'forecasts', value: forecast(`w/${group}/`, 'PUBLISHES', T0, [rate], [rate], rate) });
    cell.say(CONCRETE, 'LOST');
    cell.say(TRIE, 'LOST');
    cell.pass(7_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv', 'allocate shard-0004 trie']);
    cell.shardReady(THIRD, 'kv');
    cell.shardReady(FOURTH, 'trie');
    cell.pass(2_000);
    expect(cell.rebuilds).toHaveLength(4); // FORESHARD_MOVES_MAX.
    expect(cell.rebuilds[0]!.slice).toBe('w/0/');
    cell.finishAll();
    expect(new Set(cell.rebuilds.map(({ slice }) => slice)).size).toBe(8);
    expect(cell.asked).toContain('retire shard-0001');
    expect(cell.asked).toContain('retire shard-0002');
  });

  test('is held back by the cap on moves, and by none that lasts', () => {
    const cell = cellWith({ movesMax: 1, shardsMax: 2, shardsPerHourMax: 1, dollarsPerHourMax: 0 });
    cell.say(CONCRETE, 'LOST');
    cell.say(TRIE, 'LOST');
    cell.pass(7_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv', 'allocate shard-0004 trie']);
    cell.shardReady(THIRD, 'kv');
    cell.shardReady(FOURTH, 'trie');
    cell.pass(5_000);
    expect(cell.rebuilds).toHaveLength(1);
    cell.finishAll();
    expect(cell.rebuilds).toHaveLength(8);
  });

  for (const { mode, asked } of [
    { mode: 'observe', asked: [] },
    { mode: 'approve', asked: ['allocate shard-0003 kv'] },
  ] as const)
    test(`in mode ${mode}`, () => {
      const cell = cellWith({ mode });
      cell.say(CONCRETE, 'LOST');
      cell.pass(20_000);
      expect(cell.asked).toEqual(asked);
      expect(cell.decisions.some(({ constraint }) => constraint === 'observe')).toBe(mode === 'observe');
    });

  test('waits where there is no subscription table', () => {
    const cell = cellWith({ rebuilds: false });
    cell.say(CONCRETE, 'LOST');
    cell.pass(60_000);
    expect(cell.asked).toEqual([]);
  });

  test('is rebuilt after all when a rebuild, the new shard or the release fails the first time', () => {
    const cell = cellWith({}, [40]);
    cell.say(CONCRETE, 'LOST');
    cell.pass(7_000);
    cell.progress({ ...released(THIRD), state: 'FAILED', reason: 'out of stock' });
    cell.pass(60_000);
    expect(cell.asked.slice(1)).toEqual(['retire shard-0003', 'allocate shard-0004 kv']);
    cell.shardReady(FOURTH, 'kv');
    cell.pass(2_000);
    const [first] = cell.rebuilds;
    cell.tell(first!, 'ABORTED', 'the subscription table is not whole');
    cell.pass(10_000);
    const again = (): number => cell.rebuilds.filter(({ slice }) => slice === first!.slice).length;
    expect(again()).toBe(1);
    for (let at = 1; at < cell.rebuilds.length; at++) {
      cell.finish(cell.rebuilds[at]!);
      cell.pass(10_000);
    }
    expect(again()).toBe(2);
    const releases = (): number => cell.asked.filter((each) => each === 'retire shard-0001').length;
    expect(releases()).toBe(1);
    cell.progress({ ...released(CONCRETE), state: 'FAILED', reason: 'not released: another instance is there' });
    cell.pass(60_000);
    expect(releases()).toBe(1);
    cell.pass(300_000);
    expect(releases()).toBe(2);
  });
});

describe('a shard that has not answered for long', () => {
  test('is not asked by readers any more, and rebuilt once every live broker knows that', () => {
    const cell = cellWith();
    cell.beat('slow', 0);
    cell.say(CONCRETE, 'LOST', false, true);
    expect(cell.lossOf(CONCRETE)).toBe('SILENT');
    cell.readBack();
    for (let second = 0; second < 60; second++) {
      cell.beat('slow', 0);
      cell.pass(1_000);
    }
    expect(cell.asked).toEqual([]);
    cell.beat('slow', 1_000);
    cell.pass(1_000);
    expect(cell.lossOf(CONCRETE)).toBe('LOST');
    expect(cell.asked).toEqual(['allocate shard-0003 kv']);
    cell.shardReady(THIRD, 'kv');
    cell.pass(2_000);
    cell.finishAll();
    expect(cell.rebuilds).toHaveLength(4);
    expect(cell.asked.at(-1)).toBe('retire shard-0001');
    expect(cell.problems()).toEqual([]);
  });

  test('waits for no broker that is silent itself', () => {
    const cell = cellWith();
    cell.beat('dead', 0);
    cell.say(CONCRETE, 'LOST', false, true);
    cell.readBack();
    cell.pass(25_000);
    expect(cell.asked).toEqual([]);
    cell.pass(20_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv']);
  });

  test('is as it was when anybody hears of it before its rebuild has begun', () => {
    const cell = cellWith();
    cell.say(CONCRETE, 'LOST', false, true);
    cell.readBack();
    cell.pass(4_000);
    cell.say(CONCRETE, 'FOUND');
    expect(cell.lossOf(CONCRETE)).toBe('NONE');
    cell.pass(60_000);
    expect(cell.asked).toEqual([]);
  });

  for (const { name, settings, whole } of [
    { name: 'there is no subscription table', settings: { rebuilds: false }, whole: [0, 1, 2, 3] },
    { name: 'the table does not have everything on it', settings: {}, whole: [0, 1, 2] },
    { name: 'nothing is to be carried out', settings: { mode: 'observe' }, whole: [0, 1, 2, 3] },
  ] as const)
    test(`is waited for, and asked on, when ${name}`, () => {
      const cell = cellWith(settings);
      cell.tables(whole);
      cell.say(CONCRETE, 'LOST', false, true);
      cell.readBack();
      cell.pass(60_000);
      expect(cell.lossOf(CONCRETE)).toBe('NONE');
      expect(cell.asked).toEqual([]);
    });
});

test('a shard that is heard of while it is rebuilt is asked again when what was begun has ended', () => {
  const cell = lostIn(cellWith());
  cell.pass(7_000);
  cell.shardReady(THIRD, 'kv');
  cell.pass(2_000);
  const begun = cell.rebuilds.length;
  expect(begun).toBeLessThan(4);
  cell.say(CONCRETE, 'FOUND');
  cell.pass(10_000);
  expect(cell.lossOf(CONCRETE)).toBe('LOST');
  for (const move of [...cell.rebuilds]) cell.finish(move);
  cell.pass(2_000);
  expect(cell.rebuilds).toHaveLength(begun);
  expect(cell.lossOf(CONCRETE)).toBe('NONE');
});

test('readers are told when a rebuild is expected to be over, by what is done of it', () => {
  const cell = cellWith();
  for (const partition of [0, 1, 2, 3])
    cell.progress({ kind: 'SliceEntries', slice: `c/${partition}/` as SliceKey, entries: 999, bytes: 1 });
  const expected = (): number => {
    const entry = cell.pointers.filter(({ body }) => body.kind === 'ShardEntry' && body.shardId === CONCRETE).at(-1);
    return entry?.body.kind === 'ShardEntry' ? (entry.body.rebuiltAt ?? 0) : 0;
  };
  lostIn(cell);
  cell.pass(7_000);
  cell.shardReady(THIRD, 'kv');
  cell.pass(2_000);
  expect(expected()).toBe(0);
  const [move] = cell.rebuilds;
  const half = { rowsCopied: 999, bytesCopied: 1, rowsVerified: 0, rowsErased: 0, etaMs: 0, paused: false, reason: '' };
  const { moveId, slice, from, to } = move!;
  const began = cell.wallTime;
  cell.pass(9_000);
  cell.progress({ kind: 'MoveProgress', moveId, slice, from, to, state: 'VERIFYING', ...half });
  cell.pass(1_000);
  // About an eighth of it took about 10 s.
  expect(expected()).toBeGreaterThan(began + 70_000);
  expect(expected()).toBeLessThan(began + 110_000);
  const told = cell.pointers.length;
  cell.progress({ kind: 'MoveProgress', moveId, slice, from, to, state: 'VERIFYING', ...half, rowsCopied: 998 });
  cell.pass(1_000);
  expect(cell.pointers).toHaveLength(told);
});

describe('a rebuild that a person asks for', () => {
  test('is begun at once, and once', () => {
    const cell = cellWith();
    cell.say(CONCRETE, 'LOST');
    cell.request(CONCRETE);
    cell.request(CONCRETE);
    expect(cell.decisions.filter(({ requestId }) => requestId === 'r1')).toHaveLength(1);
    expect(cell.answer()).toBe(
      '4 slices of shard-0001 are rebuilt from the subscription table, as a person requested.',
    );
    cell.pass(1_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv']);
  });

  test('does not wait for the pause after one that failed', () => {
    const cell = cellWith();
    cell.say(CONCRETE, 'LOST');
    cell.pass(7_000);
    cell.shardReady(THIRD, 'kv');
    cell.pass(1_000);
    for (const move of cell.rebuilds.slice(0, 2)) cell.tell(move, 'ABORTED', 'the target refused');
    cell.request(CONCRETE);
    cell.pass(1_000);
    expect(cell.rebuilds.length).toBeGreaterThan(2);
  });

  for (const { name, when, ask, constraint } of [
    { name: 'there is no such shard', when: () => cellWith(), ask: THIRD, constraint: 'shard-unknown' },
    {
      name: 'there is no subscription table',
      when: () => lostIn(cellWith({ rebuilds: false })),
      ask: CONCRETE,
      constraint: 'table-off',
    },
    {
      name: 'the table is not whole where the shard’s slices are',
      when: () => lostIn(cellWith(), []),
      ask: CONCRETE,
      constraint: 'table-not-whole',
    },
    {
      name: 'nothing is to be carried out',
      when: () => lostIn(cellWith({ mode: 'observe' })),
      ask: CONCRETE,
      constraint: 'observe',
    },
    {
      name: 'the store that is there is another fleet’s',
      when: () => {
        const cell = cellWith();
        cell.say(CONCRETE, 'LOST', true);
        return cell;
      },
      ask: CONCRETE,
      constraint: 'foreign',
    },
    { name: 'the shard has its data', when: () => cellWith(), ask: CONCRETE, constraint: 'not-lost' },
    {
      name: 'the shard is being rebuilt',
      when: () => {
        const cell = lostIn(cellWith());
        cell.pass(7_000);
        cell.shardReady(THIRD, 'kv');
        cell.pass(1_000);
        return cell;
      },
      ask: CONCRETE,
      constraint: 'rebuilding',
    },
    {
      name: 'the shard is not there yet',
      when: () => {
        const cell = lostIn(cellWith());
        cell.pass(7_000);
        return cell;
      },
      ask: THIRD,
      constraint: 'not-ready',
    },
    {
      name: 'nothing is on the shard',
      when: () => {
        const cell = lostIn(cellWith());
        cell.pass(7_000);
        cell.shardReady(THIRD, 'kv');
        cell.say(THIRD, 'LOST');
        return cell;
      },
      ask: THIRD,
      constraint: 'empty',
    },
  ])
    test(`is refused when ${name}`, () => {
      const cell = when();
      const before = cell.asked.length;
      cell.request(ask);
      expect(cell.answer()).toBe(constraint);
      expect(cell.asked.length).toBe(before);
    });

  test('says what waits because the table does not have it', () => {
    const cell = lostIn(cellWith(), [2]);
    cell.request(CONCRETE);
    expect(cell.answer()).toContain('1 slice of shard-0001 is rebuilt');
    expect(cell.answer()).toContain(
      '3 more wait for the shard: the subscription table is not whole in partitions 0, 1, 3',
    );
  });

  test('by force rebuilds a shard that is not known to be lost, whatever is heard of it then', () => {
    const cell = cellWith();
    cell.request(CONCRETE, { force: true });
    cell.readBack();
    cell.pass(7_000);
    expect(cell.asked).toEqual(['allocate shard-0003 kv']);
    cell.say(CONCRETE, 'FOUND');
    cell.shardReady(THIRD, 'kv');
    cell.pass(2_000);
    cell.finishAll();
    expect(cell.rebuilds).toHaveLength(4);
    expect(cell.asked.at(-1)).toBe('retire shard-0001');
  });

  test('by force takes no shard from its readers of which the table does not have everything', () => {
    const cell = cellWith();
    cell.tables([0, 1, 2]);
    cell.request(CONCRETE, { force: true });
    expect(cell.answer()).toBe('table-not-whole');
    cell.pass(20_000);
    expect(cell.asked).toEqual([]);
  });
});

describe('a move whose shard is lost', () => {
  /** A move from the first shard to the third. */
  function moving(): { cell: Cell; move: MoveSlice } {
    const cell = cellWith({}, [240, 220, 220, 220]);
    cell.at(T0 + 60_000);
    cell.tick();
    cell.shardReady(THIRD, 'kv');
    cell.readBack();
    cell.at(T0 + 120_000);
    cell.tick();
    return { cell, move: cell.rebuilds[0]! };
  }

  for (const { shard, lost } of [
    { shard: 'source', lost: CONCRETE },
    { shard: 'target', lost: THIRD },
  ])
    for (const state of ['PROVISIONING', 'COPYING', 'VERIFYING'] as const)
      test(`ends, and what was lost is rebuilt: the ${shard}, ${state}`, () => {
        const { cell, move } = moving();
        cell.tell(move, state);
        cell.say(lost, 'LOST');
        expect(cell.asked.at(-1)).toBe(`ABORT ${move.slice}`);
        cell.tell(move, 'ABORTED', 'asked for');
        cell.pass(7_000);
        if (lost === CONCRETE) expect(cell.asked.at(-1)).toBe('allocate shard-0004 kv');
        else expect(cell.asked.at(-1)).toBe('retire shard-0003'); // Nothing lives there.
      });

  test('keeps its copy where it may be the only one', () => {
    const { cell, move } = moving();
    cell.tables([]);
    cell.tell(move, 'COPYING');
    cell.say(CONCRETE, 'LOST');
    cell.pass(60_000);
    expect(cell.asked.at(-1)).toContain('move');
  });

  test('a target that is lost after the switch is rebuilt as a shard of its own', () => {
    const { cell, move } = moving();
    cell.tell(move, 'VERIFIED');
    cell.readBack();
    cell.tell(move, 'DRAINING');
    cell.say(THIRD, 'LOST');
    cell.pass(8_000);
    expect(cell.asked).toContain(`RETIRE ${move.slice}`);
    expect(cell.asked.at(-1)).not.toContain('rebuild');
    cell.tell(move, 'RETIRED');
    cell.pass(2_000);
    expect(cell.asked.at(-1)).toBe('allocate shard-0004 kv');
    cell.shardReady(FOURTH, 'kv');
    cell.pass(2_000);
    expect(cell.asked.at(-1)).toBe(`rebuild ${move.slice} shard-0003 shard-0004`);
  });
});

const released = (shard: ShardId) => ({
  kind: 'ShardProgress' as const,
  shardId: shard,
  datastoreType: 'kv',
  state: 'RELEASED' as const,
  ...{ instanceId: '', address: '', tookMs: 0, reason: '' },
});
