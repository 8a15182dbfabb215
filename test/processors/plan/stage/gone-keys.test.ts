// Keys of the pointer table that are GONE: removed a day later, so that the topic does not grow with every pin there ever
// was; a key that comes back stays, and its epochs grow on (turn.ts U4).

import { expect, test } from 'vitest';
import { pointerEntry, shardEntry, Turn } from '../../../../processors/plan/stage/turn.ts';
import { shardId } from '../../../../schemas/ids.ts';
import type { PointerRecord } from '../../../../schemas/records.ts';
import { pinSlice } from '../../../../state/keys.ts';
import { PointerTable } from '../../../../state/pointer-table.ts';
import { SETTINGS, StageByHand, T0 } from '../stage-by-hand.ts';

const HOUR_MS = 3_600_000;
const HOME = shardId('shard-0001');

type Entry = readonly [key: string, value: PointerRecord | null];
type Read = readonly [key: string, record: { readonly value: PointerRecord | null; readonly offset: number }];

/** What a reader knows that reads these records to the end. */
function tableOf(records: readonly Read[]) {
  const table = new PointerTable(SETTINGS.partitions);
  for (const [key, { value, offset }] of records) table.apply(key, value, offset);
  table.reached(1_000, 1_000);
  return table.snapshot();
}

test('a key that is gone is removed a day later, one that came back is not, and no reader notices', () => {
  const cell = new StageByHand().genesis();
  const turn = new Turn(cell.state, cell.settings, []);
  const said = (emits: Turn['emits']): Entry[] =>
    emits.flatMap((emit) => (emit.topic === 'pointer-table' ? [[emit.key, emit.value] as const] : []));
  const before: Entry[] = cell.table.map(({ key, value }) => [key, value]);
  const [gone, back] = [pinSlice('gone'), pinSlice('back')];
  const shard = {
    ...(cell.rows.get('shard/shard-0001') as Parameters<typeof shardEntry>[0]),
    id: shardId('shard-0009'),
  };
  turn.publish([
    pointerEntry(gone, 'SINGLE', [HOME]),
    pointerEntry(back, 'SINGLE', [HOME]),
    shardEntry(shard, 'READY'),
  ]);
  turn.publish([pointerEntry(gone, 'GONE', []), pointerEntry(back, 'GONE', []), shardEntry(shard, 'GONE')]);
  const last = turn.publish([pointerEntry(back, 'SINGLE', [HOME])]);

  const removed = (): string[] => cell.table.filter(({ value }) => value === null).map(({ key }) => key);
  for (let at = T0; at <= T0 + 24 * HOUR_MS; at += HOUR_MS / 2) {
    cell.at(at);
    cell.tick();
  }
  expect(removed()).toEqual([]);
  cell.at(T0 + 24.5 * HOUR_MS);
  cell.tick();
  expect(removed()).toEqual([`p:${gone}`, 's:shard-0009']);
  cell.at(T0 + 25 * HOUR_MS);
  cell.tick();
  expect(removed()).toHaveLength(2);

  const later = cell.table.slice(before.length).map(({ key, value }): Entry => [key, value]);
  const all = [...before, ...said(turn.emits), ...later].map(([key, value], offset): Read => [key, { value, offset }]);
  const kept = [...new Map(all)].filter(([, { value }]) => value !== null).sort(([, a], [, b]) => a.offset - b.offset);
  expect(kept.map(([key]) => key)).not.toContain(`p:${gone}`);
  expect(tableOf(kept)).toEqual(tableOf(all));
  expect(tableOf(kept).pointers.map(({ slice }) => slice)).toContain(back);
  const again = turn.publish([pointerEntry(gone, 'SINGLE', [HOME])]);
  expect(again).toBeGreaterThan(last);
});
