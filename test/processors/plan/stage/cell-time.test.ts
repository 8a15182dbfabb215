// The planner's event time: what is believed of it when, and what of it is stored. Invariants C1 to C3 of cell-time.ts.

import { expect, test } from 'vitest';
import { cellOf } from '../../../../processors/plan/stage/cell-state.ts';
import { heardTime } from '../../../../processors/plan/stage/cell-time.ts';
import type { CellRow } from '../../../../processors/plan/stage/rows.ts';
import { eventTime } from '../../../../schemas/ids.ts';
import { StageByHand, T0 } from '../stage-by-hand.ts';

const HOUR_MS = 3_600_000;

function cellAt(fields: Partial<CellRow> = {}) {
  const cell = new StageByHand().genesis();
  const row = cellOf(cell.rows)!;
  Object.assign(row, { now: eventTime(T0) }, fields);
  const stored = JSON.stringify(row);
  return {
    row,
    rows: cell.rows,
    hear: (ms: number) => heardTime(cell.state, eventTime(T0 + ms)),
    isChanged: () => JSON.stringify(row) !== stored,
  };
}

test('C1: what lies far away is not believed, and is kept as a doubt until something near comes', () => {
  const { hear, row } = cellAt();
  expect([hear(5 * HOUR_MS), hear(-5 * HOUR_MS)]).toEqual([false, false]);
  expect([row.now, row.strayed]).toEqual([T0, { to: T0 - 5 * HOUR_MS, sinceWallTime: 0 }]);
  expect([hear(1), row.strayed, hear(10_000), row.now]).toEqual([true, undefined, true, T0 + 10_000]);
});

test('C2: the row stays as it is until ten seconds have passed', () => {
  const { hear, isChanged } = cellAt();
  expect([hear(9_999), isChanged(), hear(10_000), isChanged()]).toEqual([true, false, true, true]);
});

test('a row without any time yet believes the first', () => {
  const { hear, row } = cellAt({ now: eventTime(0) });
  expect([hear(0), row.now]).toEqual([true, T0]);
});

test('C3: a doubt that a row was stored with goes on by the same clock, and takes the cell back', () => {
  const cell = new StageByHand().genesis();
  const row = cellOf(cell.rows)!;
  cell.at(T0);
  cell.tick();
  const { now } = row;
  row.plannedAt = now;
  row.strayed = { to: eventTime(now - 5 * HOUR_MS), sinceWallTime: cell.wallTime - 59_000 };
  cell.tick();
  expect(row.now).toBe(now);
  for (let ticks = 0; row.now === now && ticks < 1_000; ticks++) cell.tick();
  expect([row.now, row.plannedAt, row.strayed]).toEqual([now - 5 * HOUR_MS, now - 5 * HOUR_MS, undefined]);
});
