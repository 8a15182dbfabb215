import { createRequire } from 'node:module';
import { gzipSync } from 'node:zlib';
import { crc32c } from '@node-rs/crc32';
import { describe, expect, test } from 'vitest';
import { decodeRecords, encodeBatch, type WireRecord, writeInt64 } from '../../../log/kafka/record-batch.ts';
import { fc } from '../../support/property.ts';

// kafkajs's own codec is the oracle: slow, and known to be understood by brokers.
const internal = createRequire(createRequire(import.meta.url).resolve('kafkajs'));
const { RecordBatch } = internal('./src/protocol/recordBatch/v0');
const RecordEncoder = internal('./src/protocol/recordBatch/record/v0');
const decodeBatch = internal('./src/protocol/recordBatch/v0/decoder');
const Decoder = internal('./src/protocol/decoder');

const producer = { producerId: 4_300_000_123, producerEpoch: 7, baseSequence: 12, transactional: true };
const TIMESTAMP = 1_790_000_000_123;

const bytesOrNull = fc.option(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  { nil: null },
);
const wireRecord: fc.Arbitrary<WireRecord> = fc.record({
  key: bytesOrNull,
  value: bytesOrNull,
  headers: fc.option(
    fc.dictionary(fc.stringMatching(/^h-[a-z_.]{0,12}$/), fc.string({ maxLength: 20 }), { maxKeys: 3 }),
    {
      nil: undefined,
    },
  ),
});

/** The batch as it lies in the log: its leader has given it an offset. */
function at(offset: number, batch: Buffer): Buffer {
  const bytes = Buffer.from(batch);
  writeInt64(bytes, 0, offset);
  return bytes;
}

/** Sealed anew after a change by hand. */
function sealed(bytes: Buffer): Buffer {
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
  return bytes;
}

/** A batch of two records whose body is this, by the codec of this number. */
function packed(offset: number, codec: number, body: Buffer): Buffer {
  const bytes = Buffer.concat([batchOf(offset, ['a', 'b']).subarray(0, 61), body]);
  bytes.writeInt16BE(0x10 | codec, 21);
  return sealed(bytes);
}

const plain = (value: string): WireRecord => ({ key: null, value: Buffer.from(value), headers: undefined });
const batchOf = (offset: number, values: string[], of: Partial<typeof producer> = {}): Buffer =>
  at(offset, encodeBatch(values.map(plain), { ...producer, ...of }, TIMESTAMP));

/** A control batch: what Kafka writes when a transaction ends. */
function marker(offset: number, producerId: number, type: 'abort' | 'commit'): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'commit' ? 1 : 0]);
  const bytes = at(
    offset,
    encodeBatch([{ key, value: Buffer.alloc(6), headers: undefined }], { ...producer, producerId }, TIMESTAMP),
  );
  bytes.writeInt16BE(0x30, 21);
  return sealed(bytes);
}

const valuesOf = (decoded: ReturnType<typeof decodeRecords>): string[] =>
  decoded.records.map((each) => String(each.value));

describe('record batches', () => {
  test('what is written is the same, byte for byte, as kafkajs writes it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(wireRecord, { minLength: 1, maxLength: 20 }), async (records) => {
        const expected = await RecordBatch({
          transactional: true,
          firstTimestamp: TIMESTAMP,
          maxTimestamp: TIMESTAMP,
          producerId: producer.producerId,
          producerEpoch: producer.producerEpoch,
          firstSequence: producer.baseSequence,
          lastOffsetDelta: records.length - 1,
          records: records.map((each, offsetDelta) =>
            RecordEncoder({
              offsetDelta,
              timestampDelta: 0,
              key: each.key,
              value: each.value,
              headers: each.headers ?? {},
            }),
          ),
        });
        const ours = encodeBatch(records, producer, TIMESTAMP);
        const theirs: Buffer = Buffer.from(expected.buffer);
        ours.writeInt32BE(0, 12); // kafkajs writes its own idea of a leader epoch; the broker replaces both.
        theirs.writeInt32BE(0, 12);
        expect(ours.equals(theirs)).toBe(true);
      }),
    );
  });

  test('what is read is what kafkajs reads', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(wireRecord, { minLength: 1, maxLength: 20 }),
        fc.nat(2 ** 40),
        async (records, offset) => {
          const bytes = at(offset, encodeBatch(records, producer, TIMESTAMP));
          const theirs = await decodeBatch(new Decoder(bytes));
          const ours = decodeRecords(bytes, offset, []);
          expect(ours.nextOffset).toBe(offset + records.length);
          expect(ours.records.map((each) => String(each.offset))).toEqual(
            theirs.records.map((each: { offset: string }) => each.offset),
          );
          for (const [index, each] of ours.records.entries()) {
            expect(each.key).toEqual(records[index]!.key);
            expect(each.value).toEqual(records[index]!.value);
            expect(each.timestamp).toBe(TIMESTAMP);
            expect({ ...each.headers }).toEqual(theirs.records[index].headers);
          }
        },
      ),
    );
  });

  for (const { name, bytes, from, aborted, values, next } of [
    { name: 'nothing', bytes: [], from: 5, aborted: [], values: [], next: 5 },
    {
      name: 'several batches',
      bytes: [batchOf(5, ['a', 'b']), batchOf(9, ['c'])],
      from: 5,
      aborted: [],
      values: ['a', 'b', 'c'],
      next: 10,
    },
    {
      name: 'records before the offset asked for',
      bytes: [batchOf(5, ['a', 'b', 'c'])],
      from: 6,
      aborted: [],
      values: ['b', 'c'],
      next: 8,
    },
    {
      name: 'a batch that the answer cuts off',
      bytes: [batchOf(5, ['a']), batchOf(6, ['b', 'c']).subarray(0, 70)],
      from: 5,
      aborted: [],
      values: ['a'],
      next: 6,
    },
    { name: 'a marker alone', bytes: [marker(5, 1, 'commit')], from: 5, aborted: [], values: [], next: 6 },
    {
      name: 'an aborted transaction between two committed ones',
      bytes: [
        batchOf(0, ['a'], { producerId: 1 }),
        batchOf(1, ['no'], { producerId: 2 }),
        batchOf(2, ['b'], { producerId: 1 }),
        marker(3, 2, 'abort'),
        batchOf(4, ['yes'], { producerId: 2 }),
      ],
      from: 0,
      aborted: [{ producerId: 2, firstOffset: 1 }],
      values: ['a', 'b', 'yes'],
      next: 5,
    },
    {
      name: 'two aborted transactions, the one that began first ended last',
      bytes: [
        batchOf(0, ['no'], { producerId: 1 }),
        batchOf(1, ['no'], { producerId: 2 }),
        marker(2, 2, 'abort'),
        batchOf(3, ['no'], { producerId: 1 }),
        marker(4, 1, 'abort'),
        batchOf(5, ['yes'], { producerId: 2 }),
      ],
      from: 0,
      aborted: [
        { producerId: 2, firstOffset: 1 },
        { producerId: 1, firstOffset: 0 },
      ],
      values: ['yes'],
      next: 6,
    },
    {
      name: 'records outside transactions of a producer that aborted one',
      bytes: [batchOf(0, ['no'], { producerId: 2 }), batchOf(1, ['yes'], { producerId: 2, transactional: false })],
      from: 0,
      aborted: [{ producerId: 2, firstOffset: 0 }],
      values: ['yes'],
      next: 2,
    },
  ])
    test(`reading ${name}`, () => {
      const decoded = decodeRecords(Buffer.concat(bytes), from, aborted);
      expect(valuesOf(decoded)).toEqual(values);
      expect(decoded.nextOffset).toBe(next);
    });

  test('a batch that compaction has emptied still says how far it reached', () => {
    const bytes = batchOf(10, ['a', 'b', 'c']).subarray(0, 61);
    bytes.writeInt32BE(0, 57);
    bytes.writeInt32BE(4, 12);
    expect(decodeRecords(sealed(bytes), 10, [])).toEqual({
      records: [],
      nextOffset: 13,
      isCorrupt: false,
      leaderEpoch: 4,
    });
  });

  test('one call gives what was written under one leader epoch, and the next goes on behind it', () => {
    const epochs = [3, 3, 4, 6];
    const bytes = Buffer.concat(
      epochs.map((epoch, offset) => {
        const batch = at(offset, batchOf(0, [`${offset}`]));
        batch.writeInt32BE(epoch, 12); // Not under the seal: the leader fills it in.
        return batch;
      }),
    );
    const seen: unknown[] = [];
    for (let next = 0; next < epochs.length; ) {
      const decoded = decodeRecords(bytes, next, []);
      seen.push([valuesOf(decoded), decoded.leaderEpoch]);
      next = decoded.nextOffset;
    }
    expect(seen).toEqual([
      [['0', '1'], 3],
      [['2'], 4],
      [['3'], 6],
    ]);
    expect(decodeRecords(bytes, 4, []).leaderEpoch).toBeUndefined();
  });

  for (const codec of [1, 2, 3, 4])
    test(`a batch that does not come out of codec ${codec} is one record of its bytes, and reading goes on behind it`, () => {
      const body = Buffer.from('this is not what it says, whatever it says');
      const bytes = Buffer.concat([packed(3, codec, body), batchOf(5, ['c'])]);
      const { records, nextOffset } = decodeRecords(bytes, 3, []);
      expect(records.map(({ offset, key, value }) => [offset, key?.length, value?.equals(body)])).toEqual([
        [3, 0, true],
      ]);
      expect(nextOffset).toBe(5);
      expect(valuesOf(decodeRecords(bytes, nextOffset, []))).toEqual(['c']);
    });

  test('bombs come out as their bytes, one call inflates one of them, and the next goes on behind it', () => {
    const bomb = gzipSync(Buffer.alloc(65 * 1024 * 1024));
    const bytes = Buffer.concat([packed(3, 1, bomb), packed(5, 1, bomb), batchOf(7, ['c'])]);
    const offsets: number[] = [];
    let next = 3;
    for (let calls = 0; next < 8 && calls < 4; calls++) {
      const decoded = decodeRecords(bytes, next, []);
      offsets.push(...decoded.records.map(({ offset }) => offset));
      next = decoded.nextOffset;
    }
    expect(offsets).toEqual([3, 5, 7]);
  });

  test('a compressed batch that says it has more records than one can have is one record of its bytes', () => {
    const bytes = packed(3, 1, gzipSync(Buffer.alloc(1_000)));
    bytes.writeInt32BE(1_000_001, 57);
    expect(decodeRecords(sealed(bytes), 3, []).records).toHaveLength(1);
  });

  test('nothing is read of a batch that is not as its writer sealed it, nor behind it', () => {
    const damaged = batchOf(6, ['damaged']);
    damaged[70]! ^= 1;
    const decoded = decodeRecords(Buffer.concat([batchOf(5, ['good']), damaged, batchOf(7, ['c'])]), 5, []);
    expect(valuesOf(decoded)).toEqual(['good']);
    expect(decoded).toMatchObject({ nextOffset: 6, isCorrupt: true });
  });
});
