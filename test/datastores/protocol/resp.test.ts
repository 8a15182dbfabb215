import { describe, expect, test } from 'vitest';
import { array, bulk, failure, RespReader } from '../../../datastores/protocol/resp.ts';
import { fc } from '../../support/property.ts';

const LIMITS = { wordsMax: 8, bytesMax: 1_000 };
const read = (...chunks: readonly (string | Buffer)[]): string[][] => {
  const reader = new RespReader(() => LIMITS);
  const commands: string[][] = [];
  for (const chunk of chunks) {
    const problem = reader.push(Buffer.from(chunk), (words) => commands.push(words.map(String)));
    if (problem !== undefined) return [...commands, ['problem']];
  }
  return commands;
};

describe('RespReader', () => {
  test('commands are the same however their bytes are cut', () => {
    const words = fc.array(fc.string({ unit: 'grapheme', maxLength: 20 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.array(words, { maxLength: 6 }), fc.array(fc.nat(40), { maxLength: 50 }), (commands, cuts) => {
        const bytes = Buffer.from(commands.map((each) => array(each.map(bulk))).join(''));
        const chunks: Buffer[] = [];
        let from = 0;
        for (const cut of cuts) {
          chunks.push(bytes.subarray(from, from + cut));
          from += cut;
        }
        chunks.push(bytes.subarray(from));
        expect(read(...chunks)).toEqual(commands);
      }),
    );
  });

  test('a word of many pieces is read when the last one is there', () => {
    const reader = new RespReader(() => ({ wordsMax: 2, bytesMax: 1_000_000 }));
    let commands = 0;
    const bytes = Buffer.from(array([bulk('FS.CALL'), bulk('x'.repeat(500_000))]));
    for (let from = 0; from < bytes.length; from += 1_000) {
      expect(commands).toBe(0);
      reader.push(bytes.subarray(from, from + 1_000), () => {
        commands += 1;
      });
    }
    expect(commands).toBe(1);
  });

  test('what a person types is a command, too', () => {
    expect(read('PING\r\n  ECHO   hello \n\r\n')).toEqual([['PING'], ['ECHO', 'hello']]);
  });

  for (const { name, bytes } of [
    { name: 'more words than a command may have', bytes: '*9\r\n' },
    { name: 'a word that is longer than a command may be', bytes: '*1\r\n$2000\r\n' },
    { name: 'words that together are longer', bytes: `*2\r\n$600\r\n${'x'.repeat(600)}\r\n$600\r\n` },
    { name: 'a number of words that is none', bytes: '*x\r\n' },
    { name: 'no number of words', bytes: '*\r\n' },
    { name: 'a negative length', bytes: '*1\r\n$-1\r\n' },
    { name: 'a length without end', bytes: `*${'1'.repeat(40)}` },
    { name: 'a word without its length', bytes: '*1\r\n+PING\r\n' },
    { name: 'a word that is longer than it says', bytes: '*1\r\n$2\r\nPING\r\n' },
    { name: 'a line that nobody ends', bytes: 'x'.repeat(70_000) },
  ])
    test(`${name} is a problem, after what came before it`, () => {
      expect(read(`PING\r\n${bytes}`)).toEqual([['PING'], ['problem']]);
    });

  test('any bytes are commands, or a problem', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 8 }), (chunks) => {
        read(...chunks.map((chunk) => Buffer.from(chunk)));
      }),
    );
  });
});

test('a failure is one line', () => {
  expect(failure('ERR', 'one\r\ntwo\nthree')).toBe('-ERR one two three\r\n');
});
