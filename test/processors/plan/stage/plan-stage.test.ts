// The plan stage fed by hand: genesis, the life of a move, and inputs that must not be believed.

import { describe, expect, test } from 'vitest';
import { NEXT } from '../../../../processors/plan/stage/moves.ts';
import { cellSummary, movesOf, pointerOf, shardMapOfRows, shardsOf } from '../../../../processors/plan/stage/views.ts';
import { type Epoch, epoch, eventTime, moveId, type ShardId, type SliceKey } from '../../../../schemas/ids.ts';
import { keyOfBody } from '../../../../state/pointer-table.ts';
import { fc } from '../../../support/property.ts';
import { forecast, StageByHand, T0 } from '../stage-by-hand.ts';

const SLICE = 'c/0/' as SliceKey;

/** A cell with one move of c/0/ under way: shard-0001 is measured too hot, shard-0003 is there. */
function moving(settings: ConstructorParameters<typeof StageByHand>[0] = {}): StageByHand {
  const cell = new StageByHand(settings).genesis();
  for (const [partition, rate] of [240, 220, 220, 220].entries())
    cell.send({ topic: 'forecasts', value: { ...forecast(`c/${partition}/`, 'PUBLISHES', T0, [rate], [rate], rate) } });
  cell.at(T0 + 60_000);
  cell.tick();
  cell.shardReady('shard-0003', 'kv');
  cell.readBack();
  cell.at(T0 + 120_000);
  cell.tick();
  return cell;
}

const kinds = (cell: StageByHand): string[] => cell.decisions.map((decision) => decision.kind);
const steers = (cell: StageByHand): string[] =>
  cell.commands.flatMap(({ command }) => (command.body.kind === 'SteerMove' ? [command.body.action] : []));
const refusals = (cell: StageByHand): string[] =>
  cell.decisions.filter((decision) => decision.kind === 'REFUSE').map((decision) => decision.constraint);
const beat = (cell: StageByHand, brokerId: string, pointerOffset: number): void =>
  cell.metric({ kind: 'BrokerHeartbeat', brokerId, pointerOffset, timestamp: eventTime(T0) });

describe('genesis', () => {
  test('nothing is published until both first shards are ready, then everything in one change', () => {
    const cell = new StageByHand();
    cell.tick();
    cell.shardReady('shard-0001', 'kv');
    expect(cell.pointers).toEqual([]);
    cell.shardReady('shard-0002', 'trie');
    expect(cell.pointers.map(({ change }) => change)).toEqual(
      Array.from({ length: 10 }, (_, index) => ({ epoch: 1, index, count: 10, term: 1, planner: 'foreshard' })),
    );
    expect(kinds(cell)).toEqual(['START']);
    expect(cell.problems()).toEqual([]);
  });

  test('a shard that is ready before the first tick is not missed', () => {
    const cell = new StageByHand();
    cell.shardReady('shard-0001', 'kv');
    cell.shardReady('shard-0002', 'trie');
    cell.tick();
    expect(kinds(cell)).toEqual(['START']);
  });

  test('READY said again changes nothing; a new address is published', () => {
    const cell = new StageByHand().genesis();
    const before = cell.pointers.length;
    cell.shardReady('shard-0001', 'kv');
    expect(cell.pointers.length).toBe(before);
    cell.progress({
      kind: 'ShardProgress',
      shardId: 'shard-0001' as ShardId,
      datastoreType: 'kv',
      state: 'READY',
      instanceId: 'other',
      address: 'http://h:1',
      tookMs: 1,
      reason: '',
    });
    expect(cell.pointers.slice(before).map(({ change, body }) => [change.epoch, body.kind])).toEqual([
      [2, 'ShardEntry'],
    ]);
  });
});

describe('a move', () => {
  test('is commanded on the partition of its slice once its target is there', () => {
    const cell = moving();
    expect(kinds(cell)).toEqual(['START', 'ALLOCATE', 'MOVE']);
    const { command, partition } = cell.commands.at(-1)!;
    expect(command.body).toMatchObject({ kind: 'MoveSlice', from: 'shard-0001', to: 'shard-0003' });
    expect(`c/${partition}/`).toBe((command.body as { slice: string }).slice);
  });

  test('goes from command to FINISH: switch with the next epoch, retire when the broker has passed, then closed', () => {
    const cell = moving();
    beat(cell, 'b1', 0);
    cell.tick();
    cell.moveProgress('COPYING');
    cell.moveProgress('VERIFYING');
    const before = cell.pointers.length;
    cell.moveProgress('VERIFIED');
    const [pointer] = cell.pointers.slice(before);
    const switching = cell.commands.at(-1)!.command;
    expect(pointer).toMatchObject({ change: { index: 0, count: 1 }, body: { mode: 'SINGLE', shards: ['shard-0003'] } });
    expect(switching).toMatchObject({ epoch: pointer!.change.epoch, body: { kind: 'SteerMove', action: 'SWITCH' } });
    cell.moveProgress('DRAINING');
    beat(cell, 'b1', cell.pointers.length); // Past the switch, but nobody here knows its offset yet.
    cell.tick();
    expect(steers(cell)).toEqual(['SWITCH']);
    beat(cell, 'b1', cell.pointers.length - 1); // The switch itself not yet applied.
    cell.readBack();
    cell.tick();
    expect(steers(cell)).toEqual(['SWITCH']);
    beat(cell, 'b1', cell.pointers.length);
    cell.tick();
    expect(steers(cell)).toEqual(['SWITCH', 'RETIRE']);
    cell.moveProgress('RETIRED', { rowsErased: 10 });
    expect(kinds(cell).slice(-3)).toEqual(['MOVE', 'SWITCH', 'FINISH']);
    expect(movesOf(cell.rows)[0]).toMatchObject({ state: 'RETIRED', rowsErased: 10 });
    expect(cellSummary(cell.rows)!.openMoves).toBe(0);
    expect(cell.problems()).toEqual([]);
  });

  for (const { name, brokers, waitMs, retired } of [
    { name: 'a live broker that lags holds the source', brokers: ['lags'], waitMs: 0, retired: false },
    { name: 'a broker silent for long holds it no more', brokers: ['lags'], waitMs: 40_000, retired: true },
    { name: 'with no broker known the drain time must pass', brokers: [], waitMs: 2_000, retired: false },
    { name: 'with no broker known the drain time is enough', brokers: [], waitMs: 7_000, retired: true },
  ])
    test(`drain: ${name}`, () => {
      const cell = moving();
      for (const broker of brokers) beat(cell, broker, 0);
      cell.tick();
      cell.moveProgress('VERIFIED');
      cell.readBack();
      cell.pass(waitMs);
      expect(steers(cell).includes('RETIRE')).toBe(retired);
    });

  test('silence counts from our own return: after an absence a broker has its full time again', () => {
    const cell = moving();
    beat(cell, 'b1', 0);
    cell.tick();
    cell.moveProgress('VERIFIED');
    cell.readBack();
    cell.tick(3_600_000);
    cell.rows.restart();
    cell.pass(20_000);
    expect(steers(cell)).toEqual(['SWITCH']);
    cell.pass(20_000);
    expect(steers(cell)).toEqual(['SWITCH', 'RETIRE']);
  });

  test('apply that is silent before the switch makes it be given up, once', () => {
    const cell = moving();
    cell.pass(70_000);
    expect(steers(cell)).toEqual(['ABORT']);
    cell.moveProgress('VERIFIED'); // Said before apply had read ABORT: too late to switch.
    expect(steers(cell)).toEqual(['ABORT']);
    cell.moveProgress('ABORTED', { reason: 'as asked' });
    expect(kinds(cell).filter((kind) => kind === 'ABORT')).toHaveLength(1);
    expect(pointerOf(cell.rows, 4, 'x').every((home) => home.shard !== 'shard-0003')).toBe(true);
  });

  test('one that is silent while it copies keeps what it has: that is told once, and a person may abort it', () => {
    const cell = moving();
    cell.moveProgress('COPYING');
    cell.pass(200_000);
    expect(steers(cell)).toEqual([]);
    const told = () => cell.decisions.filter(({ reason }) => reason.includes('no progress for 60 s')).length;
    expect(told()).toBe(1);
    cell.moveProgress('COPYING');
    cell.pass(200_000);
    expect(told()).toBe(2);
    const { moveId } = cell.last('MoveSlice')!;
    cell.metric({
      kind: 'MoveRequest',
      requestId: 'r',
      moveId,
      action: 'ABORT',
      rowsPerSecond: 0,
      timestamp: eventTime(T0),
    });
    expect(steers(cell)).toEqual(['ABORT']);
  });

  test('an abort of apply itself is told with its reason, and the slice rests', () => {
    const cell = moving();
    cell.moveProgress('ABORTED', { reason: 'the target is full' });
    expect(cell.decisions.at(-1)).toMatchObject({
      kind: 'ABORT',
      reason: expect.stringContaining('the target is full'),
    });
    const { slice } = cell.last('MoveSlice')!;
    cell.at(T0 + 180_000);
    cell.tick();
    expect(
      cell.commands.filter(({ command }) => command.body.kind === 'MoveSlice' && command.body.slice === slice),
    ).toHaveLength(1);
  });

  test('progress said again, in any order, changes nothing after the end', () => {
    const cell = moving();
    for (const state of ['COPYING', 'VERIFIED', 'DRAINING'] as const) cell.moveProgress(state);
    cell.readBack();
    cell.pass(10_000);
    cell.moveProgress('RETIRED');
    const pointers = cell.pointers.length;
    const commands = cell.commands.length;
    for (const state of Object.keys(NEXT) as (keyof typeof NEXT)[]) cell.moveProgress(state);
    expect([cell.pointers.length, cell.commands.length]).toEqual([pointers, commands]);
    expect(refusals(cell).filter((constraint) => constraint === 'illegal-step')).toHaveLength(1);
    expect(cellSummary(cell.rows)!.ignored.progress).toBe(10);
  });

  for (const { name, state, more } of [
    { name: 'RETIRED that nobody asked for', state: 'RETIRED', more: {} },
    { name: 'SWITCHED before we did', state: 'SWITCHED', more: {} },
    { name: 'another slice under its id', state: 'VERIFIED', more: { slice: 'c/3/' as SliceKey } },
    { name: 'an unknown move', state: 'VERIFIED', more: { moveId: moveId('move-999999') } },
  ] as const)
    test(`forged progress is refused: ${name}`, () => {
      const cell = moving();
      const before = cell.pointers.length;
      cell.moveProgress(state, more);
      expect(cell.pointers.length).toBe(before);
      expect(refusals(cell)).toContain('illegal-step');
    });

  test('a move that nobody here has begun is given up, so that it stands in the way of none', () => {
    const cell = moving();
    cell.moveProgress('COPYING', { moveId: moveId('move-x'), slice: 'c/3/' as SliceKey });
    expect(cell.commands.at(-1)).toMatchObject({
      partition: 3,
      command: { body: { kind: 'SteerMove', moveId: 'move-x', slice: 'c/3/', action: 'ABORT' } },
    });
    const before = cell.commands.length;
    cell.moveProgress('ABORTED', { moveId: moveId('move-x'), slice: 'c/3/' as SliceKey });
    cell.moveProgress('COPYING', { moveId: moveId('move-y'), slice: 'no slice' as SliceKey });
    expect(cell.commands.length).toBe(before);
  });

  test('a person can pause it before the switch; the switch waits for RESUME; each request counts once', () => {
    const cell = moving();
    const request = (requestId: string, action: 'PAUSE' | 'RESUME' | 'ABORT' | 'THROTTLE'): void =>
      cell.metric({
        kind: 'MoveRequest',
        requestId,
        moveId: cell.last('MoveSlice')!.moveId,
        action,
        rowsPerSecond: 5,
        timestamp: eventTime(T0),
      });
    request('r1', 'PAUSE');
    request('r1', 'PAUSE');
    cell.pass(120_000);
    cell.moveProgress('VERIFIED');
    expect(steers(cell)).toEqual(['PAUSE']);
    request('r2', 'RESUME');
    expect(steers(cell)).toEqual(['PAUSE', 'RESUME', 'SWITCH']);
    request('r3', 'ABORT');
    expect(cell.decisions.at(-1)).toMatchObject({ kind: 'REFUSE', requestId: 'r3', constraint: 'request' });
  });
});

describe('what is read back from the pointer table', () => {
  test('a foreign record is refused, and what is true is published again, in a new term', () => {
    const cell = moving();
    const body = {
      kind: 'PointerEntry',
      slice: SLICE,
      mode: 'SINGLE',
      shards: ['evil' as ShardId],
      epoch: epoch(50),
    } as const;
    cell.send(
      {
        topic: 'pointer-table',
        value: { change: { epoch: epoch(50), index: 0, count: 1, term: 0, planner: '' }, body },
      },
      99,
    );
    expect(refusals(cell)).toContain('foreign-pointer');
    const [again, ...gone] = cell.pointers.slice(-3);
    expect(again).toMatchObject({ change: { epoch: 3, term: 2 }, body: { slice: SLICE, shards: ['shard-0001'] } });
    expect(gone.map(({ body }) => body)).toMatchObject([
      { slice: 'c/0/0', mode: 'GONE' },
      { slice: 'c/0/1', mode: 'GONE' },
    ]);
    expect(pointerOf(cell.rows, 4, 'any').some((home) => home.shard === 'evil')).toBe(false);
    cell.readBack();
    cell.moveProgress('VERIFIED');
    expect(cell.pointers.at(-1)!.change).toMatchObject({ epoch: 4, term: 2 });
    expect(refusals(cell).filter((constraint) => constraint === 'foreign-pointer')).toHaveLength(1);
  });

  for (const [name, at] of [
    ['an epoch that ran before', 1],
    ['an epoch that would use them all up', 2 ** 52],
  ] as const)
    test(`${name} is refused and not followed`, () => {
      const cell = moving();
      const body = {
        kind: 'PointerEntry',
        slice: SLICE,
        mode: 'SINGLE',
        shards: ['x' as ShardId],
        epoch: at as Epoch,
      } as const;
      cell.send(
        {
          topic: 'pointer-table',
          value: { change: { epoch: at as Epoch, index: 0, count: 1, term: 0, planner: '' }, body },
        },
        99,
      );
      expect(refusals(cell)).toContain('foreign-pointer');
      expect(cellSummary(cell.rows)!.epoch).toBe(3); // What is true was published again.
    });
});

describe('the planner’s term', () => {
  const terms = (cell: StageByHand): number[] => cell.commands.map(({ command }) => command.term);
  const refused = (cell: StageByHand, constraint: string, term: number, commandId = 'command-9'): void =>
    cell.progress({ kind: 'CommandRefused', commandId, constraint, term, reason: 'forged' });

  test('is on all that it says, and grows with its first word after each take-over alone', () => {
    const cell = moving();
    expect(terms(cell)).toEqual([1, 1]);
    cell.rows.restart();
    cell.tick();
    expect(cellSummary(cell.rows)!.epoch).toBe(2);
    cell.moveProgress('VERIFIED');
    expect(cell.pointers.at(-1)!.change).toMatchObject({ term: 2, planner: 'foreshard' });
    expect(terms(cell)).toEqual([1, 1, 2]);
  });

  test('goes above one that somebody has used in its place, and what is waited for is said again', () => {
    const cell = moving();
    cell.moveProgress('VERIFIED');
    refused(cell, 'old-term', 400);
    expect(cell.commands.at(-1)!.command).toMatchObject({ term: 401, body: { kind: 'SteerMove', action: 'SWITCH' } });
    expect(refusals(cell)).toContain('old-term');
  });

  test('stays where somebody else’s command was refused', () => {
    const cell = moving();
    cell.moveProgress('VERIFIED');
    const before = cell.commands.length;
    refused(cell, 'old-term', 1);
    refused(cell, 'no-identity', 1);
    expect(cell.commands.length).toBe(before);
    cell.moveProgress('DRAINING');
    cell.readBack();
    cell.pass(7_000);
    expect(terms(cell).at(-1)).toBe(1);
  });
});

describe('what is removed from the pointer table', () => {
  test('a slice that is in use is put back, one that is not is nobody’s loss', () => {
    const cell = moving();
    cell.send({ topic: 'pointer-table', value: null }, 99, 'p:c/0/0');
    expect(refusals(cell)).not.toContain('foreign-pointer');
    for (const key of ['p:c/1/', 's:shard-0001', 'p:w/2/']) {
      const before = cell.pointers.length;
      cell.send({ topic: 'pointer-table', value: null }, 100, key);
      expect(keyOfBody(cell.pointers[before]!.body)).toBe(key);
      expect(cell.pointers[before]!.body).not.toMatchObject({ mode: 'GONE' });
    }
    expect(refusals(cell)).toContain('foreign-pointer');
    cell.readBack();
    expect(cellSummary(cell.rows)!.ignored.pointers).toBe(3);
  });

  test('a slice that is not ours is called gone', () => {
    const cell = moving();
    const body = { kind: 'PointerEntry', slice: 'c/0/011', mode: 'SINGLE', shards: ['shard-0001'] } as const;
    const change = { epoch: epoch(3), index: 0, count: 1, term: 1, planner: 'foreshard' };
    cell.send({ topic: 'pointer-table', value: { change, body: { ...body, epoch: epoch(3) } as never } }, 99);
    expect(cell.pointers.at(-1)).toMatchObject({
      change: { epoch: 3, term: 2 },
      body: { slice: 'c/0/011', mode: 'GONE' },
    });
  });
});

describe('a shard that has lost its data, where there is no subscription table', () => {
  const say = (cell: StageByHand, shard: string, state: 'LOST' | 'FOUND'): void =>
    cell.progress({
      kind: 'ShardProgress',
      shardId: shard as ShardId,
      datastoreType: '',
      state,
      instanceId: '',
      address: '',
      tookMs: 0,
      reason: state === 'LOST' ? 'its store is empty' : '',
    });
  const stateOf = (cell: StageByHand, shard: string) =>
    shardsOf(cell.rows).find(({ shardId }) => shardId === shard)?.state;

  for (const { shard, state, steered } of [
    { shard: 'shard-0001', state: 'PROVISIONING', steered: ['ABORT'] },
    { shard: 'shard-0001', state: 'COPYING', steered: [] },
    { shard: 'shard-0003', state: 'COPYING', steered: ['ABORT'] },
  ] as const)
    test(`takes part in no move until it is back, and one under way keeps its copy where it may be the last: ${shard}, ${state}`, () => {
      const cell = moving({ rebuilds: false });
      cell.moveProgress(state);
      const before = cell.commands.length;
      say(cell, shard, 'LOST');
      say(cell, shard, 'LOST');
      expect(stateOf(cell, shard)).toBe('LOST');
      expect(steers(cell)).toEqual(steered);
      expect(kinds(cell).filter((kind) => kind === 'KEEP')).toHaveLength(steered.length === 0 ? 2 : 1);
      if (steered.length > 0) cell.moveProgress('ABORTED');
      for (let minute = 3; minute < 60; minute++) {
        cell.at(T0 + minute * 60_000);
        cell.tick();
      }
      for (const { command } of cell.commands.slice(before))
        expect(JSON.stringify(command.body)).not.toContain(`"${shard}"`);
      expect(refusals(cell)).toContain('lost');
      say(cell, shard, 'FOUND');
      say(cell, shard, 'FOUND');
      expect(stateOf(cell, shard)).toBe('READY');
      expect(cell.decisions.filter(({ reason }) => reason.includes('is back with'))).toHaveLength(1);
    });

  const waiting = (cell: StageByHand): string[] =>
    cell.decisions.filter(({ reason }) => reason.includes('waits: shard-0003 has lost')).map(({ kind }) => kind);

  test('keeps what the source has of a slice that has been switched to it, until it is back', () => {
    const cell = moving({ rebuilds: false });
    beat(cell, 'b1', 0);
    cell.tick();
    cell.moveProgress('VERIFIED');
    cell.moveProgress('DRAINING');
    cell.readBack();
    say(cell, 'shard-0003', 'LOST');
    beat(cell, 'b1', cell.pointers.length);
    cell.tick();
    cell.tick();
    expect(steers(cell)).toEqual(['SWITCH']);
    expect(waiting(cell)).toEqual(['KEEP']);
    say(cell, 'shard-0003', 'FOUND');
    cell.tick();
    cell.tick();
    expect(steers(cell)).toEqual(['SWITCH', 'RETIRE']);
  });

  test('is switched to only once it is back', () => {
    const cell = moving({ rebuilds: false });
    beat(cell, 'b1', 0);
    cell.tick();
    cell.moveProgress('COPYING');
    say(cell, 'shard-0001', 'LOST'); // So the move waits, and is not given up for the loss of its target.
    say(cell, 'shard-0003', 'LOST');
    cell.moveProgress('VERIFIED');
    cell.tick();
    expect(steers(cell)).toEqual([]);
    say(cell, 'shard-0003', 'FOUND');
    expect(steers(cell)).toEqual(['SWITCH']);
  });

  test('FOUND of a shard that nobody missed says nothing', () => {
    const cell = moving({ rebuilds: false });
    const before = cell.decisions.length;
    say(cell, 'shard-0001', 'FOUND');
    expect(cell.decisions.length).toBe(before);
    expect(cellSummary(cell.rows)?.ignored.progress).toBe(0);
  });
});

describe('shards', () => {
  test('one that never comes up is given up after its time, cleaned up, and tried again on what is left', () => {
    const cell = new StageByHand().genesis();
    for (const partition of [0, 1, 2, 3])
      cell.send({ topic: 'forecasts', value: forecast(`c/${partition}/`, 'PUBLISHES', T0, [300], [300], 300) });
    cell.at(T0 + 60_000);
    cell.tick();
    expect(cell.last('AllocateShard')).toMatchObject({ shardId: 'shard-0003', datastoreType: 'kv' });
    cell.pass(601_000);
    expect(cell.last('RetireShard')).toMatchObject({ shardId: 'shard-0003' });
    expect(cell.decisions.at(-2)).toMatchObject({ kind: 'ABORT', subject: 'shard-0003' });
    cell.shardReady('shard-0003', 'kv');
    expect(shardsOf(cell.rows).find((shard) => shard.shardId === 'shard-0003')!.state).toBe('RETIRING');
    cell.shardReady('shard-0003', 'kv', 'RELEASED');
    cell.at(T0 + 120_000);
    cell.tick();
    expect(cell.commands.at(-1)!.command.body).toMatchObject({ datastoreType: 'kv-large' });
    expect(cell.problems()).toEqual([]);
  });

  test('one that was taken away although nobody here asked is asked for again', () => {
    const cell = moving();
    cell.shardReady('shard-0003', 'kv', 'RELEASED');
    expect(refusals(cell)).toContain('illegal-step');
    expect(cell.last('AllocateShard')).toMatchObject({ shardId: 'shard-0003', datastoreType: 'kv' });
    expect(shardsOf(cell.rows).find((shard) => shard.shardId === 'shard-0003')!.state).toBe('READY');
  });
});

describe('requests', () => {
  const ask = (cell: StageByHand, requestId: string, topic = 'a/b'): void =>
    cell.metric({ kind: 'PlanRequest', requestId, topic, timestamp: eventTime(T0) });

  test('a topic on a cool shard: KEEP, with forecast and capacity; the same request is answered once', () => {
    const cell = new StageByHand().genesis();
    ask(cell, 'q1');
    ask(cell, 'q1');
    expect(cell.decisions.slice(1)).toMatchObject([
      { kind: 'KEEP', requestId: 'q1', subject: 'a/b', capacityPerSecond: 800 },
    ]);
  });

  test('a topic on a hot shard: acts, and the answer names the commands', () => {
    const cell = new StageByHand({ mode: 'approve' }).genesis();
    for (const partition of [0, 1, 2, 3])
      cell.send({ topic: 'forecasts', value: forecast(`c/${partition}/`, 'PUBLISHES', T0, [300], [300], 300) });
    cell.at(T0 + 60_000);
    cell.tick();
    expect(cell.commands).toEqual([]); // Nobody has approved.
    expect(refusals(cell)).toContain('approval');
    ask(cell, 'q1');
    const answer = cell.decisions.at(-1)!;
    expect(answer).toMatchObject({ kind: 'ALLOCATE', requestId: 'q1', forecastPerSecond: 1_200 });
    expect(answer.commandIds).toEqual(cell.commands.map(({ command }) => command.id));
  });

  test('a wildcard filter is judged by the shard of its group', () => {
    const cell = new StageByHand().genesis();
    cell.send({ topic: 'forecasts', value: forecast('w/0/', 'PUBLISHES', T0, [2_000], [2_000], 2_000) });
    for (const filter of ['a/+', '#', '$share/g/a/b']) ask(cell, filter.replaceAll(/\W/g, '.'), filter);
    expect(cell.decisions.slice(1).map(({ kind, subject, reason }) => [kind, subject, reason.split(' ')[0]])).toEqual([
      ['KEEP', 'a/+', 'shard-0002'],
      ['KEEP', '#', 'shard-0002'],
      ['KEEP', '$share/g/a/b', 'shard-0002'],
    ]);
  });

  test('more requests than one plan answers are refused', () => {
    const cell = new StageByHand({ planRequestsPerTickMax: 2 }).genesis();
    for (const id of ['a', 'b', 'c']) ask(cell, id);
    expect(cell.decisions.slice(1).map((decision) => decision.constraint || decision.kind)).toEqual([
      'KEEP',
      'KEEP',
      'requests-per-tick',
    ]);
  });
});

describe('the hot path', () => {
  test('rates that the forecast has brought already mark no rows', () => {
    const cell = new StageByHand().genesis();
    cell.send({ topic: 'forecasts', value: forecast('c/0/00', 'PUBLISHES', T0, [100], [100], 100) });
    const before = cell.rows.writes;
    const none = { subscribes: 0, unsubscribes: 0, bytes: 0, distinctClients: 0, lateEvents: 0 };
    for (let i = 0; i < 1_000; i++)
      cell.send({
        topic: 'rates',
        value: {
          series: 'c/0/00' as never,
          source: 0,
          windowStart: eventTime(T0 - 10_000),
          windowMs: 10_000,
          publishes: 1_050,
          ...none,
        },
      });
    expect(cell.rows.writes).toBe(before);
  });

  test('an unchanged refusal is said once, not at each tick', () => {
    const cell = new StageByHand({ dollarsPerHourMax: 0.31 }).genesis();
    for (let minute = 1; minute <= 10; minute++) {
      for (const partition of [0, 1, 2, 3])
        cell.send({
          topic: 'forecasts',
          value: forecast(`c/${partition}/`, 'PUBLISHES', T0 + minute * 60_000, [300], [300], 300),
        });
      cell.at(T0 + minute * 60_000);
      cell.tick();
    }
    expect(refusals(cell)).toEqual(['dollars-per-hour']);
  });
});

test('I13: whatever a forecaster says, invariants and caps hold, and rows survive a restart', () => {
  const number = fc.oneof(
    fc.double(),
    fc.constantFrom(Number.NaN, 1e308, -1, 0, Number.POSITIVE_INFINITY),
    fc.double({ min: 0, max: 5_000, noNaN: true }),
  );
  const noise = fc.record({
    partition: fc.integer({ min: 0, max: 3 }),
    kind: fc.constantFrom('c', 'w', 't'),
    numbers: fc.array(fc.tuple(number, number), { maxLength: 8 }),
    current: number,
    madeAt: fc.oneof(fc.integer({ min: -600_000, max: 600_000 }), fc.constantFrom(Number.NaN, 1e308, -1e308)),
    finish: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(noise, { minLength: 5, maxLength: 60 }), (noises) => {
      const cell = new StageByHand({ dollarsPerHourMax: 1, shardsPerHourMax: 3 }).genesis();
      for (const [index, { partition, kind, numbers, current, madeAt, finish }] of noises.entries()) {
        const now = T0 + (index + 1) * 60_000;
        const series = kind === 't' ? `t/topic-${partition}` : `${kind}/${partition}/`;
        const medians = numbers.map(([median]) => median);
        const uppers = numbers.map(([, upper]) => upper);
        cell.send({ topic: 'forecasts', value: forecast(series, 'PUBLISHES', now + madeAt, medians, uppers, current) });
        cell.at(now);
        cell.tick();
        cell.readBack();
        const allocated = cell.last('AllocateShard');
        if (finish && allocated !== undefined) cell.shardReady(allocated.shardId, allocated.datastoreType);
        if (finish && cell.last('MoveSlice') !== undefined)
          for (const state of ['VERIFIED', 'RETIRED'] as const) cell.moveProgress(state);
        cell.rows.restart();
      }
      const dollars = shardsOf(cell.rows).reduce(
        (sum, shard) => sum + cell.settings.catalog.get(shard.datastoreType)!.dollarsPerHour,
        0,
      );
      expect(cell.problems()).toEqual([]);
      expect(dollars).toBeLessThanOrEqual(1);
      expect(cell.commands.filter(({ command }) => command.body.kind === 'AllocateShard').length).toBeLessThanOrEqual(
        3,
      );
      expect(cellSummary(cell.rows)!.openMoves).toBeLessThanOrEqual(4);
      expect(shardMapOfRows(cell.rows, 4).slices.size).toBeGreaterThanOrEqual(8);
    }),
    { numRuns: 150 },
  );
});
