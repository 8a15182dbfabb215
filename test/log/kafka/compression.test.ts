// Compression: batches as Java's client library (kafka-clients 4.1.0) writes them, and bytes that mean harm.

import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { decompress } from '../../../log/kafka/compression.ts';
import { decodeRecords } from '../../../log/kafka/record-batch.ts';

/** 40 records from offset 1000 on, whole batches of MemoryRecords.withRecords, base64. */
const BATCHES = {
  none: 'AAAAAAAAA+gAAAiN/////wJKuT4CAAAAAAAnAAABi8/laAAAAAGLz+VoJ///////////////////AAAAKGYAAAAKa2V5LTBQdGhlIHNhbWUgd29yZHMgYWdhaW4gYW5kIGFnYWluLCBudW1iZXIgMABmAAICCmtleS0xUHRoZSBzYW1lIHdvcmRzIGFnYWluIGFuZCBhZ2FpbiwgbnVtYmVyIDEAZgAEBAprZXktMlB0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyAGYABgYKa2V5LTNQdGhlIHNhbWUgd29yZHMgYWdhaW4gYW5kIGFnYWluLCBudW1iZXIgMwBmAAgICmtleS00UHRoZSBzYW1lIHdvcmRzIGFnYWluIGFuZCBhZ2FpbiwgbnVtYmVyIDQAZgAKCgprZXktNVB0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciA1AGYADAwKa2V5LTZQdGhlIHNhbWUgd29yZHMgYWdhaW4gYW5kIGFnYWluLCBudW1iZXIgNgBmAA4OCmtleS03UHRoZSBzYW1lIHdvcmRzIGFnYWluIGFuZCBhZ2FpbiwgbnVtYmVyIDcAZgAQEAprZXktOFB0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciA4AGYAEhIKa2V5LTlQdGhlIHNhbWUgd29yZHMgYWdhaW4gYW5kIGFnYWluLCBudW1iZXIgOQBqABQUDGtleS0xMFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxMABqABYWDGtleS0xMVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxMQBqABgYDGtleS0xMlJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxMgBqABoaDGtleS0xM1J0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxMwBqABwcDGtleS0xNFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxNABqAB4eDGtleS0xNVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxNQBqACAgDGtleS0xNlJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxNgBqACIiDGtleS0xN1J0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxNwBqACQkDGtleS0xOFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxOABqACYmDGtleS0xOVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAxOQBqACgoDGtleS0yMFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyMABqACoqDGtleS0yMVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyMQBqACwsDGtleS0yMlJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyMgBqAC4uDGtleS0yM1J0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyMwBqADAwDGtleS0yNFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyNABqADIyDGtleS0yNVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyNQBqADQ0DGtleS0yNlJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyNgBqADY2DGtleS0yN1J0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyNwBqADg4DGtleS0yOFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyOABqADo6DGtleS0yOVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAyOQBqADw8DGtleS0zMFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzMABqAD4+DGtleS0zMVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzMQBqAEBADGtleS0zMlJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzMgBqAEJCDGtleS0zM1J0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzMwBqAEREDGtleS0zNFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzNABqAEZGDGtleS0zNVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzNQBqAEhIDGtleS0zNlJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzNgBqAEpKDGtleS0zN1J0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzNwBqAExMDGtleS0zOFJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzOABqAE5ODGtleS0zOVJ0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQgYWdhaW4sIG51bWJlciAzOQA=',
  gzip: 'AAAAAAAAA+gAAAG3/////wJPeeMjAAEAAAAnAAABi8/laAAAAAGLz+VoJ///////////////////AAAAKB+LCAAAAAAAAP+N0u2GQlEUxvEjSZIkSZJsSZIm56x9XpMkSZKMuYMzOs2bGpoZY+5+1trrBp5vz5ffp+d/8Tyv9lH8PfiP36+F+cqvhfn9vJ+/TP6Sv91Mfjvrmpnbz/W5uBvfu3ilkjMBagI25bIzhBpiU6k4Y1Fj2VSrzoSoCdnUas5EqInY1OvOxKiJ2TQaziSoSdg0m86kqEnZtFrOZKjJvHev3a67T/0n9FSfVaejKoBVwKrbVUWwIla9nioLK8uq31cVwipkNRioimAVsTJGVQyrmNVwqCqBVcJqNFKVwiplNR6rymAlbUwmThHcBkkb06kquA2SNmYzVXAbJG3M56rgNkja8H1VcBskbRCpgtsgaSMMVcFtkLQRx6rgNkjaSFNVcBskbSwWquA2SNpYLp2ycBtW2litVMFtWGljvVYFt2Gljc1GFdyGlTa2W1VwG1ba2O1UwW1YaWO/VwW3YaWNw0EV3IaVNo5HVXAbVto4nVTBbdjM+wcUNJXXXAgAAA==',
  snappy:
    'AAAAAAAAA+gAAAJ6/////wJvZ/yLAAIAAAAnAAABi8/laAAAAAGLz+VoJ///////////////////AAAAKIJTTkFQUFkAAAAAAQAAAAEAAAI13BCIZgAAAAprZXktMFB0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQJCjgsIG51bWJlciAwAGYAAgIFNAAxnjQAFDEAZgAEBAU0ADKeNAAUMgBmAAYGBTQAM540ABQzAGYACAgFNAA0njQAFDQAZgAKCgU0ADWeNAAUNQBmAAwMBTQANp40ABQ2AGYADg4FNAA3njQAFDcAZgAQEAU0ADieNAAUOABmABISBTQAOZ40ABg5AGoAFBQMQQgIMTBSmgkCGDEwAGoAFhYJNgAxojYAFDEAagAYGAk2ADKiNgAUMgBqABoaCTYAM6I2ABQzAGoAHBwJNgA0ojYAFDQAagAeHgk2ADWiNgAUNQBqACAgCTYANqI2ABQ2AGoAIiIJNgA3ojYAFDcAagAkJAk2ADiiNgAUOABqACYmCTYAOaI2AEEcBCgoBTYAMqIcAgAyQRwEKioJNqIcAgAyQRwELCwJNqIcAgAyQRwELi4JNqIcAgAyQRwEMDAJNqIcAgAyQRwEMjIJNqIcAgAyQRwENDQJNqIcAgAyQRwENjYJNqIcAgAyQRwEODgJNqIcAgAyQRwEOjoJNqIcAgAyQRwEPDwFNgAzohwCADNBHAQ+Pgk2ohwCADNBHARAQAk2ohwCADNBHARCQgk2ohwCADNBHARERAk2ohwCADNBHARGRgk2ohwCADNBHARISAk2ohwCADNBHARKSgk2ohwCADNBHARMTAk2ohwCADNBHAROTgk2ohwCCDM5AA==',
  lz4: 'AAAAAAAAA+gAAAKK/////wL5O4QzAAMAAAAnAAABi8/laAAAAAGLz+VoJ///////////////////AAAAKAQiTRhgQIJKAgAA8hRmAAAACmtleS0wUHRoZSBzYW1lIHdvcmRzIGFnYWluIGFuZAoA8QAsIG51bWJlciAwAGYAAgI0AB8xNAAVYTEAZgAEBDQAHzI0ABVhMgBmAAYGNAAfMzQAFWEzAGYACAg0AB80NAAVYTQAZgAKCjQAHzU0ABVhNQBmAAwMNAAfNjQAFWE2AGYADg40AB83NAAVYTcAZgAQEDQAHzg0ABVhOABmABISNAAfOTQAFXA5AGoAFBQMCAI/MTBSCQIUcjEwAGoAFhY2AB8xNgAWYjEAagAYGDYAHzI2ABZiMgBqABoaNgAfMzYAFmIzAGoAHBw2AB80NgAWYjQAagAeHjYAHzU2ABZiNQBqACAgNgAfNjYAFmI2AGoAIiI2AB83NgAWYjcAagAkJDYAHzg2ABZiOABqACYmNgAfOTYAFgAcAiEoKDYAHzIcAhYQMhwCIioqNgAPHAIWEDIcAiIsLDYADxwCFhAyHAIiLi42AA8cAhYQMhwCIjAwNgAPHAIWEDIcAiIyMjYADxwCFhAyHAIiNDQ2AA8cAhYQMhwCIjY2NgAPHAIWEDIcAiI4ODYADxwCFhAyHAIiOjo2AA8cAhYQMhwCITw8NgAfMxwCFhAzHAIiPj42AA8cAhYQMxwCIkBANgAPHAIWEDMcAiJCQjYADxwCFhAzHAIiREQ2AA8cAhYQMxwCIkZGNgAPHAIWEDMcAiJISDYADxwCFhAzHAIiSko2AA8cAhYQMxwCIkxMNgAPHAIWEDMcAiJOTjYADxwCFFByIDM5AAAAAAA=',
  zstd: 'AAAAAAAAA+gAAAF8/////wJ6DHKNAAQAAAAnAAABi8/laAAAAAGLz+VoJ///////////////////AAAAKCi1L/0AWPwJAHZUPSTgLlVjdCQfviDj2TBGJ4fyOOh4YWS7S5k/qGz0DpVD5VAZLwU7ADAALgD1GCGQ6xA+HtffcziuO9doXG+NwbjOloRJAaLitEALp2qdHCqGak0sSERYLBNENbFMDRQIDODC9AD5a+9SrvUeo0bzDmEm8/4eBvPu3OXy3prF8s5aAmuRSuWdoiiU65ROJtfnlEiuSxmJHJTS9zmlfJcSwvcYnXuHkLH390Khd+dAoPfWPp935pjzeN4pqtN5p5TDeZ9zswlT1MHBO6UGBu9zFhS8S0lA8B7jwMA7hAIC7+8FBLw7Vyq9t0YivbPH3mj0TlEi0TsNT6gR4A0R4u2xHfCVMRJgMIEF//9L/ZqLl5h2Vik+zWHwasAK+q3E0gTGjxW8Ji9OiDkphYuKaLsPunD25s3iCq83VVebrAIBAAA=',
} as const;
/** The body of the first of them by snappy-java's Snappy.compress, without any frame: as librdkafka's producers write it. */
const RAW_SNAPPY =
  '3BCIZgAAAAprZXktMFB0aGUgc2FtZSB3b3JkcyBhZ2FpbiBhbmQJCjgsIG51bWJlciAwAGYAAgIFNAAxnjQAFDEAZgAEBAU0ADKeNAAUMgBmAAYGBTQAM540ABQzAGYACAgFNAA0njQAFDQAZgAKCgU0ADWeNAAUNQBmAAwMBTQANp40ABQ2AGYADg4FNAA3njQAFDcAZgAQEAU0ADieNAAUOABmABISBTQAOZ40ABg5AGoAFBQMQQgIMTBSmgkCGDEwAGoAFhYJNgAxojYAFDEAagAYGAk2ADKiNgAUMgBqABoaCTYAM6I2ABQzAGoAHBwJNgA0ojYAFDQAagAeHgk2ADWiNgAUNQBqACAgCTYANqI2ABQ2AGoAIiIJNgA3ojYAFDcAagAkJAk2ADiiNgAUOABqACYmCTYAOaI2AEEcBCgoBTYAMqIcAgAyQRwEKioJNqIcAgAyQRwELCwJNqIcAgAyQRwELi4JNqIcAgAyQRwEMDAJNqIcAgAyQRwEMjIJNqIcAgAyQRwENDQJNqIcAgAyQRwENjYJNqIcAgAyQRwEODgJNqIcAgAyQRwEOjoJNqIcAgAyQRwEPDwFNgAzohwCADNBHAQ+Pgk2ohwCADNBHARAQAk2ohwCADNBHARCQgk2ohwCADNBHARERAk2ohwCADNBHARGRgk2ohwCADNBHARISAk2ohwCADNBHARKSgk2ohwCADNBHARMTAk2ohwCADNBHAROTgk2ohwCCDM5AA==';

const bytesOf = (base64: string): Buffer => Buffer.from(base64, 'base64');
const GZIP = 1;
const SNAPPY = 2;
const LZ4 = 3;
const ZSTD = 4;

describe('what Java’s producers compress', () => {
  for (const [codec, batch] of Object.entries(BATCHES))
    test(`${codec} is read`, () => {
      const { records, nextOffset, isCorrupt } = decodeRecords(bytesOf(batch), 1_000, []);
      expect(isCorrupt).toBe(false);
      expect(nextOffset).toBe(1_040);
      expect(
        records.map(({ offset, key, value, timestamp }) => [offset, String(key), String(value), timestamp]),
      ).toEqual(
        Array.from({ length: 40 }, (_, i) => [
          1_000 + i,
          `key-${i}`,
          `the same words again and again, number ${i}`,
          1_700_000_000_000 + i,
        ]),
      );
    });

  test('snappy without a frame is read', () => {
    expect(decompress(SNAPPY, bytesOf(RAW_SNAPPY), 10_000)).toEqual(bytesOf(BATCHES.none).subarray(61));
  });
});

/** An LZ4 frame of one block. */
function lz4Frame(block: readonly number[], flags = 0x60): Buffer {
  const head = Buffer.from([0x04, 0x22, 0x4d, 0x18, flags, 0x40, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(block.length, 7);
  return Buffer.concat([head, Buffer.from(block), Buffer.alloc(4)]);
}

/** A block of `literals`, then `count` bytes from `distance` back, then five literals, as blocks have to end. */
const lz4Block = (literals: string, distance: number, count: number): number[] => {
  const more = count - 4 - 15;
  const lengths = [...Array.from({ length: Math.floor(more / 255) }, () => 255), more % 255];
  const end = [0x50, ...Buffer.from('ABCDE')];
  return [(literals.length << 4) | 15, ...Buffer.from(literals), distance & 255, distance >> 8, ...lengths, ...end];
};

describe('LZ4', () => {
  for (const { name, frame, read } of [
    {
      name: 'a match that overlaps itself repeats',
      frame: lz4Frame(lz4Block('ab', 2, 20)),
      read: `${'ab'.repeat(11)}ABCDE`,
    },
    {
      name: 'two frames follow each other',
      frame: Buffer.concat([lz4Frame([0x10, 97]), lz4Frame([0x10, 98])]),
      read: 'ab',
    },
    { name: 'a block that is stored as it is', frame: stored('plain'), read: 'plain' },
  ])
    test(name, () => expect(String(decompress(LZ4, frame, 1_000))).toBe(read));

  for (const { name, frame } of [
    { name: 'a match from before the beginning', frame: lz4Frame(lz4Block('ab', 3, 20)) },
    { name: 'a match from no distance', frame: lz4Frame(lz4Block('ab', 0, 20)) },
    { name: 'a match from the frame before', frame: Buffer.concat([lz4Frame([0x10, 97]), lz4Frame([0x0f, 1, 0, 0])]) },
    { name: 'more literals than there are bytes', frame: lz4Frame([0xf0, 255, 255, 0]) },
    { name: 'a length without an end', frame: lz4Frame([0x1f, 97, 1, 0, 255, 255]) },
    { name: 'a dictionary', frame: lz4Frame([0x10, 97], 0x61) },
    { name: 'no end of the frame', frame: lz4Frame([0x10, 97]).subarray(0, -4) },
    { name: 'another version', frame: lz4Frame([0x10, 97], 0xa0) },
    { name: 'something else behind the frame', frame: Buffer.concat([lz4Frame([0x10, 97]), Buffer.from('else')]) },
  ])
    test(`${name} is refused`, () => expect(decompress(LZ4, frame, 1_000)).toBeUndefined());
});

function stored(text: string): Buffer {
  const frame = lz4Frame([...Buffer.from(text)]);
  frame.writeUInt32LE(0x8000_0000 + text.length, 7);
  return frame;
}

describe('bombs', () => {
  const bytesMax = 1_000_000;
  const lz4Bomb = lz4Frame(lz4Block('a', 1, bytesMax));
  const snappyBomb = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07, 0, 97]); // Says that it is 2 GiB.
  const xerialBomb = Buffer.concat([
    Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, snappyBomb.length]),
    snappyBomb,
  ]);
  /** A frame of one block that repeats a byte: 128 KiB from four bytes, ten times. */
  const block = Buffer.from([0x02 | ((128 * 1024) << 3), ((128 * 1024) >> 5) & 255, (128 * 1024) >> 13, 97]);
  const zstdBomb = Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x58]),
    ...Array.from({ length: 10 }, () => block),
    Buffer.from([0x01, 0, 0]),
  ]);
  for (const { name, codec, bomb, atMost } of [
    { name: 'gzip', codec: GZIP, bomb: gzipSync(Buffer.alloc(bytesMax + 1)), atMost: bytesMax + 1 },
    { name: 'snappy', codec: SNAPPY, bomb: snappyBomb, atMost: undefined },
    { name: 'snappy of Java', codec: SNAPPY, bomb: xerialBomb, atMost: undefined },
    { name: 'LZ4', codec: LZ4, bomb: lz4Bomb, atMost: bytesMax + 6 },
    { name: 'zstd', codec: ZSTD, bomb: zstdBomb, atMost: 10 * 128 * 1024 },
  ])
    test(`${name} is refused beyond the bound, and read within it`, () => {
      expect(decompress(codec, bomb, bytesMax)).toBeUndefined();
      if (atMost !== undefined) expect(decompress(codec, bomb, atMost)?.length).toBe(atMost);
    });

  test('a codec that nobody knows is refused', () => expect(decompress(5, Buffer.from('x'), bytesMax)).toBeUndefined());
});
