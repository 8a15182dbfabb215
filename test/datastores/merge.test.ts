import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { decodeRow, encodeRow } from '../../datastores/level-kv/values.ts';
import { mergeRows } from '../../datastores/merge.ts';
import { rowOf, wireRow } from '../../datastores/protocol/wire.ts';
import { RowDigest } from '../../datastores/rows.ts';
import { frameOf, recordIn } from '../../datastores/trie/journal-records.ts';
import { eventTime } from '../../schemas/ids.ts';
import { BinaryWriter } from '../../state/binary.ts';
import type { SubscriptionRow } from '../../state/effects.ts';
import { fc } from '../support/property.ts';
import { OPTIONS, optionsAt, row } from './shard-store-suite.ts';

const event = (offset: number, brokerId: string, gone: boolean) =>
  row('a/+', 'c', offset, { brokerId, gone, qos: gone ? 0 : offset % 3, ...(gone ? {} : optionsAt(offset)) });
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
    row('a/+', 'c', 7),
    ...OPTIONS.flatMap((options) => [
      row('a/+', 'c', 7, { options }),
      joined([row('a/+', 'c', 7, { options, brokerId: 'A' }), event(8, 'A', true)])!,
      joined([row('a/+', 'c', 7, { options, brokerId: 'A' }), event(8, 'B', true)])!,
    ]),
  ];
  const brokers = ['A', 'B', 'C', 'broker-1'];

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
    expect(JSON.parse(JSON.stringify(rows.map(wireRow))).map(rowOf)).toEqual(rows);
    const frame = frameOf({ kind: 'rows', rows });
    expect(recordIn(frame.subarray(0, 12), frame.subarray(12))).toEqual({ kind: 'rows', rows });
  });

  test('rows without options are what they were before there were any: in stores, on the wire, in digests', () => {
    const live = row('a/+', 'c', 5, { brokerId: 'A' });
    const other = { brokerId: 'B', version: { incarnation: 1, offset: 7 }, at: eventTime(1_007) };
    const old = [live, { ...joined([live, row('a/+', 'c', 6, { brokerId: 'A', gone: true })])!, at: live.at }];
    const all: SubscriptionRow[] = [...old, { ...live, others: [other] }];
    const digest = new RowDigest();
    for (const each of all) digest.add(each);
    const shortHash = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    expect(digest.result().digest).toBe('468e04c02bf52f44');
    expect(shortHash(frameOf({ kind: 'rows', rows: all }))).toBe('68ff7357d9ee7a00');
    const values = all.map((each) => encodeRow(each, (name) => name.charCodeAt(0)));
    expect(shortHash(Buffer.concat(values))).toBe('a7cf3b6513100070');
    expect(shortHash(JSON.stringify(all.map(wireRow)))).toBe('d005d87e8dd19701');
  });

  test('an earlier release refuses rows with options, and does not misread them', () => {
    const [options] = OPTIONS;
    const value = encodeRow(row('a/+', 'c', 5, { options: options! }), () => 0);
    expect(value[0], 'a format that it does not know').toBe(3);
    const frame = frameOf({ kind: 'rows', rows: [row('a/+', 'c', 5, { options: options! })] });
    expect(frame[12], 'a kind that it does not know').toBe(6);
  });

  test('a row with options that is cut short, or says more than it has, is corrupt', () => {
    const value = encodeRow(row('a/+', 'c', 5, { options: OPTIONS[4]! }), () => 0);
    for (const bad of [value.subarray(0, -1), value.subarray(0, 27), Buffer.concat([value, Buffer.alloc(1)])])
      expect(() => decodeRow({ filter: 'a/+', clientId: 'c' }, bad, ['A'])).toThrow(
        expect.objectContaining({ code: 'STORE_CORRUPT' }),
      );
  });

  test('a removed row of an earlier release refuses what it refused then', () => {
    const value = encodeRow(row('a/+', 'c', 5, { brokerId: 'A' }), () => 0);
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
