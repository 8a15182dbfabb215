import { expect, test } from 'vitest';
import { HEAD_BYTES_MAX, LETTERS_MAX, LetterRing } from '../../api/letter-ring.ts';
import { deadLetter } from '../../runtime/dead-letter.ts';
import type { RawRecord } from '../../runtime/ports.ts';

const RECORD: RawRecord = { offset: 1, key: Buffer.from('a'), value: Buffer.from('b'), timestamp: 2, headers: {} };
const REFUSAL = { code: 'UNDECODABLE', reason: 'no' } as const;
const ORIGIN = { topic: 'subscriptions', partition: 0, group: 'work' };

/** The letter of that number. */
function letter(offset: number, record = RECORD): RawRecord {
  const { key, value, headers } = deadLetter(record, REFUSAL, ORIGIN);
  return { offset, key: key as Buffer | null, value, timestamp: 0, headers };
}

const numbersOf = (ring: LetterRing, limit: number): number[] => {
  const numbers: number[] = [];
  for (let before: number | undefined; ; ) {
    const page = ring.page({ before, limit });
    expect(page.letters.length).toBeLessThanOrEqual(limit);
    numbers.push(...page.letters.map(({ number }) => number));
    if (page.next === undefined) return numbers;
    before = Number(page.next);
  }
};

test('pages go from the newest letter to the oldest, each once', () => {
  const ring = new LetterRing();
  expect(numbersOf(ring, 3)).toEqual([]);
  for (const offset of [0, 1, 2, 5, 6, 9]) ring.take(letter(offset));
  for (const limit of [1, 2, 3, 6, 7]) expect(numbersOf(ring, limit)).toEqual([9, 6, 5, 2, 1, 0]);
});

test('a letter that was taken before changes nothing', () => {
  const ring = new LetterRing();
  for (const offset of [0, 1, 0, 1, 2]) ring.take(letter(offset));
  expect(numbersOf(ring, 10)).toEqual([2, 1, 0]);
});

test('as many are kept as are said, with a bounded part of each', () => {
  const ring = new LetterRing();
  const huge = { ...RECORD, key: Buffer.alloc(60_000, 'k'), value: Buffer.alloc(900_000, 'v') };
  for (let offset = 0; offset < LETTERS_MAX + 5; offset++) ring.take(letter(offset, huge));
  const numbers = numbersOf(ring, 100);
  expect([numbers.length, numbers.at(-1)]).toEqual([LETTERS_MAX, 5]);
  const [first] = ring.page({ before: undefined, limit: 1 }).letters;
  expect(first).toMatchObject({ key: 'k'.repeat(HEAD_BYTES_MAX), sizeBytes: 900_000 });
  expect(Buffer.from(first!.headBase64!, 'base64')).toEqual(Buffer.alloc(HEAD_BYTES_MAX, 'v'));
});

test('a record that somebody else wrote there is told with what is known of it', () => {
  const ring = new LetterRing();
  const headers = { 'foreshard.code': 'x'.repeat(9_999), '__streams.errors.offset': 'many' };
  ring.take({ offset: 3, key: null, value: null, timestamp: 0, headers });
  expect(ring.page({ before: undefined, limit: 1 }).letters).toEqual([
    {
      ...{ number: 3, code: 'x'.repeat(64), reason: '', topic: '', partition: 0, offset: 0, timestamp: 0, key: null },
      ...{ sizeBytes: 0, headBase64: null },
    },
  ]);
});
