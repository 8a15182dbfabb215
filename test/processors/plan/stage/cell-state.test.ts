import { expect, test } from 'vitest';
import { CellState } from '../../../../processors/plan/stage/cell-state.ts';
import { cells, type MoveRow, type Row } from '../../../../processors/plan/stage/rows.ts';
import { eventTime, moveId } from '../../../../schemas/ids.ts';
import { StageByHand } from '../stage-by-hand.ts';

const stateNow = (): StageByHand => new StageByHand().genesis();
const aMove = (stage: StageByHand, number: number): MoveRow => ({
  ...({ kind: 'move', state: 'PLANNED', requests: [] } as unknown as MoveRow),
  id: moveId(`move-${number}`),
  slice: [...stage.state.slices.all()][0]!.slice,
});
const idsOf = (moves: Iterable<MoveRow>): string[] => [...moves].map(({ id }) => id);

test('B1: a repository knows the rows of its kind by their ids, and stores them where every release has', () => {
  const { rows, state } = stateNow();
  const slice = state.slices.get('c/0/')!;
  expect(rows.get('slice/c/0/')).toBe(slice);
  rows.set('shard/c/0/', slice);
  expect(state.shards.has('c/0/')).toBe(false); // It is there under the key of another kind.
  state.slices.delete('c/0/');
  expect(rows.get('slice/c/0/')).toBeUndefined();
  state.slices.put(slice);
  expect([state.slices.get('c/0/'), rows.get('slice/c/0/')]).toEqual([slice, slice]);
  state.series.set('c/0/00', { kind: 'series' });
  expect(rows.get('series/c/0/00')).toEqual({ kind: 'series' });
  state.said.set('capacity/shard-0001', { kind: 'said', at: eventTime(7) });
  expect(rows.get('said/capacity/shard-0001')).toEqual({ kind: 'said', at: 7 });
});

test('B2: moves are open until they close, and the last of those can still be looked at', () => {
  const stage = stateNow();
  const { moves, cell } = stage.state;
  for (let number = 0; number < 203; number++) moves.begin(aMove(stage, number));
  for (const { id } of moves.open()) if (id !== 'move-1') moves.close(id); // They close while they are walked.
  expect([idsOf(moves.open()), cell.openMoves]).toEqual([['move-1'], ['move-1']]);
  const closed = idsOf(moves.closed());
  expect([closed.length, closed[0], closed.at(-1)]).toEqual([200, 'move-3', 'move-202']);
  expect([moves.has('move-0'), moves.has('move-1'), moves.has('move-3')]).toEqual([false, true, true]);
});

test('B2: brokers are known from their first sign of life until they are forgotten', () => {
  const { brokers, cell } = stateNow().state;
  for (const name of ['one', 'two']) {
    brokers.meet(name);
    brokers.set(name, { kind: 'broker', pointerOffset: 3, beats: 1, seenBeats: 0, seenWallTime: 0 });
  }
  for (const [name] of brokers.known()) if (name === 'one') brokers.forget(name);
  expect([[...brokers.known()].map(([name]) => name), brokers.count, cell.brokers]).toEqual([['two'], 1, ['two']]);
  expect(brokers.has('one')).toBe(false);
});

test('one walk tells of the kinds that are asked for, each row with its id', () => {
  const { rows, state } = stateNow();
  state.surges.set('c/0/00', {
    kind: 'surge',
    windowStart: eventTime(1),
    subscriptionsPerSecond: 1,
    publishesPerSecond: 1,
  });
  const told: string[] = [];
  state.each({ shard: (_, id) => told.push(id), surge: ({ kind }, id) => told.push(`${kind} of ${id}`) });
  expect(told).toEqual(['shard-0001', 'shard-0002', 'surge of c/0/00']);
  const read = new Map([...rows.entries()].map(([key, row]) => [key, cells.decode(cells.encode(row)) as Row]));
  expect(new CellState(read as never, state.cell).surges.get('c/0/00')).toEqual(state.surges.get('c/0/00'));
});
