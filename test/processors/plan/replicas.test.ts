// Replicas: a slice whose look-ups are too many for any instance is served by two shards, for as long as that is needed.

import { describe, expect, test } from 'vitest';
import type { Cell } from '../../../evaluation/what-if/cell.ts';
import { movesOf, shardMapOfRows, shardsOf } from '../../../processors/plan/stage/views.ts';
import { eventTime, type SliceKey, shardId } from '../../../schemas/ids.ts';
import type { SteerAction } from '../../../schemas/records.ts';
import { T0 } from './stage-by-hand.ts';
import { type Result, simulate, type World } from './world.ts';

const HOT = 't/fleet/hot' as SliceKey;
/** From the sixtieth minute on more than a `kv-large` can do, and less than two can. */
const crowd = (minute: number): number => Math.min(1, Math.max(0, minute - 60) / 40) * (minute < 240 ? 4_500 : 0);

const run = (minutes: number, more: Partial<World> = {}): Result =>
  simulate(
    {
      topics: [
        ...Array.from({ length: 100 }, (_, i) => ({ topic: `fleet/device-${i}`, perSecond: () => 2 })),
        { topic: 'fleet/hot', perSecond: crowd },
      ],
      forecaster: 'perfect',
      heavyPerSecond: 200,
      entriesPerSlice: 10_000,
      ...more,
    },
    minutes,
  );

const steers = ({ commands }: Cell): SteerAction[] =>
  commands.flatMap(({ body }) => (body.kind === 'SteerMove' && body.slice === HOT ? [body.action] : []));
const said = ({ decisions }: Cell): string[] =>
  decisions.filter(({ kind }) => kind === 'REPLICATE' || kind === 'UNREPLICATE').map(({ kind }) => kind);

describe('a topic with more look-ups than any instance can do', () => {
  test('is served by two shards while it is, and by one again afterwards; none is overloaded', () => {
    const { cell, overloadedMinutes, problems } = run(420);
    expect(overloadedMinutes).toBe(0);
    expect(problems).toEqual([]);
    expect(said(cell)).toEqual(['REPLICATE', 'UNREPLICATE']);
    expect(steers(cell).slice(0, 3)).toEqual(['SHARE', 'UNSHARE', 'RETIRE']);
    const modes = cell.pointers.flatMap(({ body }) =>
      body.kind === 'PointerEntry' && body.slice === HOT ? [[body.mode, body.shards.length]] : [],
    );
    expect(modes.slice(0, 3)).toEqual([
      ['SINGLE', 1],
      ['REPLICAS', 2],
      ['SINGLE', 1],
    ]);
  });

  test('is on both in the shard map and the summary while it is shared, and its move is open', () => {
    const { cell } = run(120);
    const home = shardMapOfRows(cell.rows, cell.settings.partitions).slices.get(HOT)!;
    expect(home).toMatchObject({ mode: 'REPLICAS', shards: ['shard-0001', 'shard-0004'] });
    for (const id of home.shards) expect(shardsOf(cell.rows).find(({ shardId }) => shardId === id)!.slices).toBe(1);
    expect(movesOf(cell.rows).find(({ slice }) => slice === HOT)).toMatchObject({ state: 'SHARED', closedAt: 0 });
  });

  test('keeps what it promised: what the replica takes away is counted as avoided', () => {
    const { cell } = run(200);
    const [review] = cell.decisions.filter(({ kind }) => kind === 'REVIEW');
    expect(review!.realisedDollars).toBeGreaterThan(0.9 * review!.promisedDollars);
  });

  test('is served by its replica alone when its own shard has lost its data', () => {
    let isTold = false;
    const meanwhile = (cell: Cell, minute: number): void => {
      if (minute !== 110 || isTold) return;
      isTold = true;
      const nothing = { datastoreType: '', instanceId: '', address: '', tookMs: 0 };
      const lost = { state: 'LOST', reason: 'its store is empty', foreign: false } as const;
      const body = { kind: 'ShardProgress', shardId: shardId('shard-0001'), ...lost, ...nothing } as const;
      cell.send({ topic: 'progress', value: { at: eventTime(T0), body } });
    };
    const { cell, problems } = run(112, { meanwhile });
    expect(problems).toEqual([]);
    expect(steers(cell)).toEqual(['SHARE', 'SWITCH', 'RETIRE']);
    const home = shardMapOfRows(cell.rows, cell.settings.partitions).slices.get(HOT)!;
    expect(home).toMatchObject({ mode: 'SINGLE', shards: ['shard-0004'] });
    expect(movesOf(cell.rows).find(({ slice }) => slice === HOT)?.state).not.toBe('SHARED');
  });

  test('loses its replica when a person aborts the move, with an answer', () => {
    let requested = false;
    const meanwhile = (cell: Cell, minute: number): void => {
      if (minute !== 110 || requested) return;
      requested = true;
      const { moveId } = movesOf(cell.rows).find(({ state }) => state === 'SHARED')!;
      cell.metric({
        kind: 'MoveRequest',
        requestId: 'r1',
        moveId,
        action: 'ABORT',
        rowsPerSecond: 0,
        timestamp: eventTime(T0),
      });
    };
    const { cell, problems } = run(112, { meanwhile });
    expect(cell.decisions.find(({ requestId }) => requestId === 'r1')).toMatchObject({ kind: 'UNREPLICATE' });
    expect(steers(cell)).toEqual(['SHARE', 'UNSHARE', 'RETIRE']);
    expect(problems).toEqual([]);
  });

  test('survives a restart of the planner while it is shared', () => {
    const meanwhile = (cell: Cell, minute: number): void => {
      if (minute === 110) cell.restart({});
    };
    const { cell, overloadedMinutes, problems } = run(420, { meanwhile });
    expect([overloadedMinutes, problems]).toEqual([0, []]);
    expect(said(cell)).toEqual(['REPLICATE', 'UNREPLICATE']);
  });

  test('is not served by two when a person must agree and nobody does', () => {
    const { cell } = run(200, { settings: { mode: 'approve' } });
    expect(said(cell)).toEqual([]);
    expect(
      cell.decisions.some(({ kind, steps }) => kind === 'PROPOSE' && steps.some((step) => /split/.test(step))),
    ).toBe(true);
  });
});
