import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeRow, encodeRow } from '../../datastores/level-kv/values.ts';
import { mergeRows } from '../../datastores/merge.ts';
import { frameOf, recordIn } from '../../datastores/trie/journal-records.ts';
import { BinaryWriter } from '../../state/binary.ts';
import type { SubscriptionRow } from '../../state/effects.ts';
import { row } from './shard-store-suite.ts';

const event = (offset: number, brokerId: string, gone: boolean) =>
  row('a/+', 'c', offset, { brokerId, gone, qos: gone ? 0 : offset % 3 });
const joined = (rows: readonly SubscriptionRow[]): SubscriptionRow | undefined =>
  rows.reduce<SubscriptionRow | undefined>((known, each) => mergeRows(known, each).row, undefined);

describe('merging rows of one place', () => {
  const events = fc
    .array(fc.record({ broker: fc.constantFrom('A', 'B', 'C', 'D'), gone: fc.boolean() }), { maxLength: 12 })
    .map((each) => each.map(({ broker, gone }, offset) => event(offset, broker, gone)));

  test('G3: neither order, nor repetition, nor what was joined before makes a difference', () => {
    fc.assert(
      fc.property(
        events.chain((each) =>
          fc.tuple(
            fc.constant(each),
            fc.shuffledSubarray([...each, ...each], { minLength: each.length * 2 }),
            fc.nat(each.length),
          ),
        ),
        ([each, shuffled, cut]) => {
          const expected = joined(each);
          expect(joined(shuffled)).toEqual(expected);
          // As of a move: some events reach the target first, then the copy of what the source makes of all of them.
          const [early, copy] = [joined(shuffled.slice(0, cut)), joined(each)];
          if (early !== undefined && copy !== undefined) expect(mergeRows(early, copy).row).toEqual(expected);
        },
      ),
      { numRuns: 3_000 },
    );
  });

  test('G1: what is left is what the events in their order say', () => {
    fc.assert(
      fc.property(events, (each) => {
        let holder = '';
        for (const { brokerId, gone } of each) {
          if (!gone) holder = brokerId;
          else if (brokerId === holder) holder = '';
        }
        const left = joined(each);
        expect(left === undefined || left.gone ? '' : left.brokerId).toBe(holder);
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('rows in stores', () => {
  const rows = [
    event(5, 'A', false),
    event(5, 'A', true),
    joined([event(1, 'A', false), event(2, 'A', true)])!,
    joined([event(1, 'A', false), event(2, 'B', true), event(3, 'C', true)])!,
    joined([event(1, 'A', true), event(2, 'B', true)])!,
  ];
  const brokers = ['A', 'B', 'C'];

  test('every form of a row is read as it was written', () => {
    for (const each of rows) {
      expect(
        decodeRow(
          each,
          encodeRow(each, (name) => brokers.indexOf(name)),
          brokers,
        ),
      ).toEqual(each);
    }
    const frame = frameOf({ kind: 'rows', rows });
    expect(recordIn(frame.subarray(0, 12), frame.subarray(12))).toEqual({ kind: 'rows', rows });
  });

  test('a removed row of an earlier release refuses what it refused then', () => {
    const value = encodeRow(event(5, 'A', false), () => 0);
    value[1]! |= 4;
    const ofLevel = decodeRow({ filter: 'a/+', clientId: 'c' }, value, brokers);
    const payload = new BinaryWriter().count(0).count(1).text('a/+').text('c').text('A').count(4).count(1);
    const bytes = payload.double(5).double(1_005).bytes();
    const frame = frameOf({ kind: 'rows', rows: [event(5, 'A', true)] });
    const header = Buffer.from(frame.subarray(0, 12));
    header.writeUInt32LE(crc32(bytes), 8);
    const record = recordIn(header, bytes);
    const ofJournal = record.kind === 'rows' ? record.rows[0]! : undefined;
    for (const old of [ofLevel, ofJournal!]) {
      expect(old).toMatchObject({ gone: true, version: { offset: 5 }, since: { offset: 5 } });
      expect(mergeRows(old, event(4, 'B', false)).is).toBe('stale');
      expect(mergeRows(old, event(5, 'A', true)).is).toBe('stale');
      expect(mergeRows(old, event(6, 'B', false))).toMatchObject({ is: 'applied', row: { gone: false } });
    }
  });
});
